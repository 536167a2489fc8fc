"""Train Caffe's LeNet-5 on Fashion-MNIST, compress it, write ``models/lenet-5.npz``.

Needs ``pip install 'eie[torch]'`` and the Debian package dataset-fashion-mnist, or ``--data FOLDER`` with IDX files.
"""

import numpy as np
from lenet_training import initial, run

import eie

rng = np.random.default_rng(0)
layers = (
    eie.Layer.from_conv("conv1", initial(rng, (20, 1, 5, 5), relu=False), np.zeros(20)),
    eie.Layer.from_conv("conv2", initial(rng, (50, 20, 5, 5), relu=False), np.zeros(50)),
    eie.Layer.from_weights("ip1", initial(rng, (500, 800), relu=True), np.zeros(500), relu=True),
    eie.Layer.from_weights("ip2", initial(rng, (10, 500), relu=False), np.zeros(10)),
)
pool = ("max_pool", {"kernel": (2, 2)})
steps = [("layer", "conv1"), pool, ("layer", "conv2"), pool, ("flatten", {}), ("layer", "ip1"), ("layer", "ip2")]
run(
    eie.Network(name="lenet-5", layers=layers, graph=eie.Graph.sequence("input", (1, 28, 28), steps)),
    dense=eie.Training(batch=64, dropout=0.3),
    epochs=10,
    keys={layer.name: (f"{layer.name}.weight", f"{layer.name}.bias") for layer in layers},
)
