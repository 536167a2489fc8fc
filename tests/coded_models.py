"""Networks for the tests of coded files: one of every shape that a layer can have, and the frozen one."""

import numpy as np
from small_networks import cnn

import eie
from eie.compiler.lower import lower
from eie.model.geometry import Conv2d, Lstm, Winograd
from eie.model.graph import Graph, Node

SMALL = "small.eie"


def frozen_network():
    """Fixed numbers, nothing drawn: grouped convolution, float layer with padding entries, 2:4 codes, a constant."""
    conv = eie.Layer.from_conv(
        name="conv",
        weights=(np.arange(36).reshape(4, 1, 3, 3) * 7 % 4).astype(np.uint8),
        bias=np.array([0, 1, 2, 3], np.uint8),
        conv=Conv2d(in_channels=2, out_channels=4, kernel=(3, 3), groups=2),
        codebook=np.array([0, 0.5, -1, 2], np.float32),
        relu=True,
    )
    weights = np.zeros((48, 16), np.float32)
    weights.ravel()[[5, 6, 100, 767]] = [0.25, -0.0625, 3, 1e-40]
    wide = eie.Layer.from_weights("wide", weights, np.arange(48.0), relu=True)
    paired = np.zeros((48, 48), np.uint8)
    paired[:, 1::4], paired[:, 2::4] = 1, 2
    last = eie.Layer.from_codes(name="last", codes=paired, codebook=[0, 1, -1])
    nodes = (
        Node(op="layer", inputs=("image",), outputs=("c",), layer="conv"),
        Node(op="flatten", inputs=("c",), outputs=("f",)),
        Node(op="add", inputs=("f", "shift"), outputs=("s",)),
        Node(op="layer", inputs=("s",), outputs=("w",), layer="wide"),
        Node(op="layer", inputs=("w",), outputs=("y",), layer="last"),
    )
    constants = {"shift": np.arange(16, dtype=np.float64)}
    graph = Graph(inputs=(("image", (2, 4, 4)),), nodes=nodes, outputs=("y",), constants=constants)
    return eie.Network(
        name="small", layers=(conv, wide, last), graph=graph, source="fixed numbers", notes=("a note", "ein zweiter: ä")
    )


def winograd_layer():
    """A convolution lowered to 16 blocks on a diagonal."""
    return lower(cnn().layers[1], "winograd")[0]


def shape_of(kind, rng):
    """Return the shape of the weights and the geometry of one kind of layer."""
    if kind == "linear":
        return tuple(int(size) for size in rng.integers(1, 40, 2)), None
    if kind == "lstm":
        lstm = Lstm(input_size=int(rng.integers(1, 9)), hidden_size=int(rng.integers(1, 9)), reverse=True)
        return lstm.matrix_shape, lstm
    groups, channels, maps = (int(size) for size in rng.integers(1, 4, 3))
    if kind == "conv":
        conv = Conv2d(
            in_channels=groups * channels, out_channels=groups * maps, kernel=(2, 3), stride=(2, 1), groups=groups
        )
        return conv.dense_shape, conv
    conv = Conv2d(in_channels=channels, out_channels=maps, kernel=(3, 3))
    return (Winograd.products_per_row * maps, channels), Winograd(conv)
