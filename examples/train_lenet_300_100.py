"""Train LeNet-300-100 on Fashion-MNIST, compress it, write ``models/lenet-300-100.npz``.

Needs ``pip install 'eie[torch]'`` and the Debian package dataset-fashion-mnist, or ``--data FOLDER`` with IDX files.
"""

import numpy as np
from lenet_training import initial, run

import eie

rng = np.random.default_rng(0)
sizes = (784, 300, 100, 10)
layers = tuple(
    eie.Layer.from_weights(f"ip{i + 1}", initial(rng, (out, sizes[i]), relu=out > 10), np.zeros(out), relu=out > 10)
    for i, out in enumerate(sizes[1:])
)
run(
    eie.Network(name="lenet-300-100", layers=layers, sequential=True),
    dense=eie.Training(dropout=0.2, weight_decay=0.05),
    epochs=20,
    keys={f"ip{i + 1}": (f"W{i}", f"b{i}") for i in range(3)},
)
