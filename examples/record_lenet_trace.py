"""Record the shipped traces: the first test images of Fashion-MNIST and their labels, for all LeNets.

Needs the Debian package dataset-fashion-mnist (MIT licence), or its IDX files in the folder given as first argument.
"""

import sys
from pathlib import Path

import eie

# File, name of the model's input, images: LeNet-5 runs 640 products an image. The last one is for the dense models,
# whose accuracy is measured after pruning.
TRACES = (("lenet-300-100", "ip1", 256), ("lenet-5", "input", 128), ("fashion-mnist-1000", "input", 1000))

test = eie.idx_examples(sys.argv[1] if len(sys.argv) > 1 else eie.FASHION_MNIST, "test")
for file, name, samples in TRACES:
    images = test.head(samples)
    source = f"Fashion-MNIST (Zalando, MIT licence), first {samples} test images, pixels / 255"
    target = Path(__file__).parent.parent / "traces" / f"{file}.npz"
    eie.Trace(layers={name: eie.LayerTrace.from_dense(images.values)}, labels=images.labels, source=source).save(target)
    print(f"wrote {target}")
