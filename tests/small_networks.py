"""Small networks for the tests of compression, and what they compute."""

from dataclasses import replace
from itertools import pairwise

import numpy as np

import eie
from eie.model.dataflow import dataflow
from eie.model.geometry import Conv2d
from eie.model.graph import Graph, Node
from eie.simulator.reference import run_given

STEPS = [
    ("layer", "conv1"),
    ("relu", {}),
    ("max_pool", {"kernel": (2, 2)}),
    ("layer", "conv2"),
    ("relu", {}),
    ("flatten", {}),
    ("layer", "fc1"),
    ("relu", {}),
    ("layer", "fc2"),
]


def mlp(sizes, seed=0, density=1.0):
    rng = np.random.default_rng(seed)
    layers = []
    for i, (inputs, outputs) in enumerate(pairwise(sizes)):
        weights = rng.standard_normal((outputs, inputs)) * (rng.random((outputs, inputs)) < density)
        layers.append(eie.Layer.from_weights(f"fc{i}", weights, rng.standard_normal(outputs), relu=i < len(sizes) - 2))
    return eie.Network(name="mlp", layers=tuple(layers), sequential=True)


def cnn(seed=0):
    """1 x 8 x 8 image, conv 3x3 to 4 maps, pool, conv 3x3 to 6 maps of 2 x 2, two fully connected layers."""
    rng = np.random.default_rng(seed)

    def noise(*shape):
        return rng.standard_normal(shape)

    layers = (
        eie.Layer.from_conv(
            name="conv1",
            weights=noise(4, 1, 3, 3),
            bias=noise(4),
            conv=Conv2d(in_channels=1, out_channels=4, kernel=(3, 3), pads=(1, 1, 1, 1)),
        ),
        eie.Layer.from_conv("conv2", noise(6, 4, 3, 3), noise(6)),
        eie.Layer.from_weights("fc1", noise(5, 24), noise(5)),
        eie.Layer.from_weights("fc2", noise(3, 5), noise(3)),
    )
    return eie.Network(name="cnn", layers=layers, graph=Graph.sequence("image", (1, 8, 8), STEPS))


def residual(seed=0):
    """8 x 8 images: a, then b and c whose output is added to a's, then a classifier; SiLU behind a."""
    rng = np.random.default_rng(seed)

    def conv(name, inputs, out):
        how = Conv2d(in_channels=inputs, out_channels=out, kernel=(3, 3), pads=(1, 1, 1, 1))
        weights = rng.standard_normal(how.weight_shape)
        return eie.Layer.from_conv(name=name, weights=weights, bias=rng.standard_normal(out), conv=how)

    def node(op, inputs, name, **attributes):
        return Node(op=op, inputs=inputs, outputs=(name,), attributes=attributes)

    def run(layer, x, name):
        return Node(op="layer", inputs=(x,), outputs=(name,), layer=layer)

    nodes = (
        run("a", "image", "a0"),
        node("sigmoid", ("a0",), "a1"),
        node("mul", ("a0", "a1"), "a2"),
        run("b", "a2", "b0"),
        node("relu", ("b0",), "b1"),
        run("c", "b1", "c0"),
        node("add", ("a2", "c0"), "sum"),
        node("global_average_pool", ("sum",), "pooled"),
        node("flatten", ("pooled",), "flat"),
        run("d", "flat", "d0"),
    )
    layers = (
        conv("a", 1, 6),
        conv("b", 6, 8),
        conv("c", 8, 6),
        eie.Layer.from_weights("d", rng.standard_normal((3, 6))),
    )
    graph = Graph(inputs=(("image", (1, 8, 8)),), nodes=nodes, outputs=("d0",))
    return eie.Network(name="residual", layers=layers, graph=graph)


def outputs(network, x):
    flow = dataflow(network)
    return run_given(flow, {layer.name: layer for layer in network.layers}, {flow.inputs[0][0]: x})[0]


def images(count=5, seed=1):
    return np.random.default_rng(seed).standard_normal((count, 1, 8, 8)).astype(np.float32)


def labelled(network, count=60, seed=3):
    """Give a network inputs whose labels are its own answers, so that it is right to begin with."""
    shape = network.graph.inputs[0][1] if network.graph else (network.layers[0].inputs,)
    x = np.maximum(np.random.default_rng(seed).standard_normal((count, *shape)), 0).astype(np.float32)
    labels = outputs(network, x).argmax(axis=1)
    name = network.graph.inputs[0][0] if network.graph else network.layers[0].name
    return replace(
        network,
        trace=eie.Trace(layers={name: eie.LayerTrace.from_dense(x.reshape(count, -1))}, labels=labels, source="drawn"),
    )
