"""Record the shipped traces: the first test images of Fashion-MNIST and their labels, for both LeNets.

Needs the Debian package dataset-fashion-mnist (MIT licence), or its IDX files in the folder given as first argument.
"""

import sys
from pathlib import Path

import eie
from eie.compression.dataset import FASHION_MNIST, idx_examples

# Model, name of its input, images: LeNet-5 runs 640 products an image.
TRACES = (("lenet-300-100", "ip1", 256), ("lenet-5", "input", 128))

test = idx_examples(sys.argv[1] if len(sys.argv) > 1 else FASHION_MNIST, "test")
for model, name, samples in TRACES:
    images = test.head(samples)
    source = f"Fashion-MNIST (Zalando, MIT licence), first {samples} test images, pixels / 255"
    target = Path(__file__).parent.parent / "traces" / f"{model}.npz"
    eie.Trace({name: eie.LayerTrace.from_dense(images.inputs)}, images.labels, source).save(target)
    print(f"wrote {target}")
