"""Record ``traces/lenet-300-100.npz``: the first 256 test images of Fashion-MNIST and their labels.

Needs the Debian package dataset-fashion-mnist (MIT licence), or its IDX files in the folder given as first argument.
"""

import gzip
import sys
from pathlib import Path

import numpy as np

import eie

SAMPLES = 256
folder = Path(sys.argv[1] if len(sys.argv) > 1 else "/usr/share/datasets/fashion-mnist")
with gzip.open(folder / "t10k-images-idx3-ubyte.gz") as file:
    images = np.frombuffer(file.read(), np.uint8, offset=16).reshape(-1, 28 * 28)[:SAMPLES]
with gzip.open(folder / "t10k-labels-idx1-ubyte.gz") as file:
    labels = np.frombuffer(file.read(), np.uint8, offset=8)[:SAMPLES]
pixels = eie.LayerTrace.from_dense(images / np.float32(255))
source = f"Fashion-MNIST (Zalando, MIT licence), first {SAMPLES} test images, pixels / 255"
target = Path(__file__).parent.parent / "traces" / "lenet-300-100.npz"
eie.Trace({"ip1": pixels}, labels.astype(np.int64), source).save(target)
print(f"wrote {target}")
