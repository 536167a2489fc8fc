"""atheris on the four binary formats that eie writes: programs, coded networks, stored networks, traces.

``python tests/fuzz_atheris.py SECONDS [NAME...]`` spends the time in equal parts, each format in a process of its own,
since libFuzzer ends the one it runs in. What it mutates is the content as safetensors bytes; a signed file is made of
it, so that the search is not for a hash. Content that is no such bytes goes into the file as it is.
"""

from __future__ import annotations

import importlib
import io
import json
import pkgutil
import subprocess
import sys
import tempfile
from pathlib import Path

NAMES = ("program.safetensors", "net.eie", "net.safetensors", "trace.npz")
HERE = Path(__file__)


def signed(name, data):
    """Return the file of a format whose content is ``data``, with the right hash; ``data`` where it is no content."""
    from fuzz_deep import resigned

    try:
        return resigned(name, data)
    # Of content that is none: the file is then damaged from the outside in, which is a case as well.
    except Exception:
        return data


def content_of(name, data):
    """Return a good file's content as safetensors bytes: what `signed` takes."""
    import numpy as np
    from safetensors.numpy import save

    if not name.endswith(".npz"):
        return data
    with np.load(io.BytesIO(data)) as file:
        return save(dict(file))


def look(name, seconds):
    """Look for ways through one format; never returns."""
    import atheris

    import eie.kernels

    # Before the others, and as they stand: numba compiles no instrumented code.
    for module in pkgutil.iter_modules(eie.kernels.__path__):
        importlib.import_module(f"eie.kernels.{module.name}")
    with atheris.instrument_imports(include=["eie"]):
        import fuzz_files

    folder = fuzz_files.build(Path(tempfile.mkdtemp()))
    corpus = Path(tempfile.mkdtemp())
    (corpus / "good").write_bytes(content_of(name, (folder / name).read_bytes()))
    assert fuzz_files.attempt(name, folder / name) == "read"
    target = folder / f"damaged-{name}"
    counts = {"read": 0, "refused": 0}

    def once(data):
        target.write_bytes(signed(name, data))
        counts[fuzz_files.attempt(name, target)] += 1
        if sum(counts.values()) % 500 == 0:
            sys.stdout.write(f"{name}: {json.dumps(counts)}\n")
            sys.stdout.flush()

    found = Path(tempfile.gettempdir()) / "fuzz-atheris-"
    options = [f"-max_total_time={seconds}", "-max_len=16384", "-timeout=60", "-rss_limit_mb=0", "-verbosity=0"]
    atheris.Setup([sys.argv[0], *options, f"-artifact_prefix={found}", str(corpus)], once)
    atheris.Fuzz()


def main(words):
    try:
        import atheris  # noqa: F401 - asked for here, so that one line says what is missing
    except ImportError:
        sys.stdout.write("atheris is not installed: pip install 'eie[fuzz]'; left out\n")
        return 0
    if words[0] == "look":
        look(words[1], int(words[2]))
    names = words[1:] or NAMES
    each = max(1, int(words[0]) // len(names))
    codes = [subprocess.run([sys.executable, HERE, "look", name, str(each)], check=False).returncode for name in names]
    return max(codes)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
