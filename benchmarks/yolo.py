"""A detector in the manner of YOLO's small ones, made by code, with about 3 M drawn weights.

Comes in: nothing. Goes out: a `Network` that takes an image: convolutions with SiLU behind them, blocks that split, add
and join channels, spatial pyramid pooling, three heads. For what takes long on such networks.
"""

import numpy as np

import eie
from eie.model.geometry import Conv2d
from eie.model.graph import Graph, Node

SIZE = 640
CLASSES = 18


class Builder:
    """Adds nodes one after the other; every method takes and gives names of tensors."""

    def __init__(self, seed=0):
        self.rng = np.random.default_rng(seed)
        self.nodes, self.layers, self.channels = [], [], {"image": 3}

    def node(self, op, inputs, channels, layer=None, **attributes):
        name = f"{op}_{len(self.nodes)}"
        self.nodes.append(Node(op=op, inputs=tuple(inputs), outputs=(name,), layer=layer, attributes=attributes))
        self.channels[name] = channels
        return name

    def conv(self, x, out, size=3, stride=1):
        """Convolution with its batch normalisation folded in."""
        name, inputs, pad = f"conv{len(self.layers)}", self.channels[x], size // 2
        conv = Conv2d(
            in_channels=inputs, out_channels=out, kernel=(size, size), stride=(stride, stride), pads=(pad,) * 4
        )
        weights = self.rng.standard_normal(conv.weight_shape) * np.sqrt(2 / (inputs * size * size))
        bias = 0.1 * self.rng.standard_normal(out)
        self.layers.append(eie.Layer.from_conv(name=name, weights=weights, bias=bias, conv=conv))
        return self.node("layer", [x], out, layer=name)

    def silu(self, x):
        return self.node("mul", [x, self.node("sigmoid", [x], self.channels[x])], self.channels[x])

    def block(self, x, out, size=3, stride=1):
        return self.silu(self.conv(x, out, size, stride))

    def split(self, x, out, repeats, *, shortcut=True):
        """Half of the channels go by, half through ``repeats`` bottlenecks; every step is joined (C2f)."""
        half = out // 2
        whole = self.block(x, out, 1)
        parts = [self.node("slice", [whole], half, axis=1, start=at, stop=at + half) for at in (0, half)]
        for _ in range(repeats):
            inner = self.block(self.block(parts[-1], half), half)
            parts.append(self.node("add", [parts[-1], inner], half) if shortcut else inner)
        return self.block(self.join(parts), out, 1)

    def join(self, parts):
        return self.node("concat", parts, sum(self.channels[part] for part in parts), axis=1)

    def pyramid(self, x, out):
        """Spatial pyramid pooling: one pool three times over."""
        parts = [self.block(x, self.channels[x] // 2, 1)]
        for _ in range(3):
            same = {"kernel": (5, 5), "stride": (1, 1), "pads": (2, 2, 2, 2)}
            parts.append(self.node("max_pool", [parts[-1]], self.channels[parts[0]], **same))
        return self.block(self.join(parts), out, 1)

    def head(self, x):
        """Boxes and classes of one scale."""
        box = self.conv(self.block(self.block(x, 64), 64), 64, 1)
        return box, self.conv(self.block(self.block(x, 64), 64), CLASSES, 1)


def yolo(size=SIZE, seed=0):
    """The network, with weights drawn as for training."""
    b = Builder(seed)
    x = b.split(b.block(b.block("image", 16, stride=2), 32, stride=2), 32, 1)
    small = b.split(b.block(x, 64, stride=2), 64, 2)
    middle = b.split(b.block(small, 128, stride=2), 128, 2)
    large = b.pyramid(b.split(b.block(middle, 256, stride=2), 256, 1), 256)
    first = b.split(small, 64, 1, shortcut=False)
    second = b.split(b.join([b.block(first, 64, stride=2), middle]), 128, 1, shortcut=False)
    third = b.split(b.join([b.block(second, 128, stride=2), large]), 256, 1, shortcut=False)
    outputs = [tensor for scale in (first, second, third) for tensor in b.head(scale)]
    graph = Graph(inputs=(("image", (3, size, size)),), nodes=tuple(b.nodes), outputs=tuple(outputs))
    return eie.Network(name="yolo", layers=tuple(b.layers), graph=graph)
