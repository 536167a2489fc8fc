"""Integer operators as their float equivalents between DequantizeLinear and QuantizeLinear, which the reader knows.

Comes in: a parsed model. Goes out: the same one, rewritten in place. Called by `normalise`. Weights stay the integers
that they are in the file, with a DequantizeLinear before the layer, so that nothing grows and their width is known. By
the operators' definitions in ONNX and in onnxruntime's documentation of its own domain.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from eie.importers.onnx.rewriting import add_constant, new_node, replace_nodes

if TYPE_CHECKING:
    import onnx

_CONTRIB = "com.microsoft"
# One tensor and its scale in, one out; the float operator's name is the rest of theirs.
_UNARY = ("QLinearAveragePool", "QLinearGlobalAveragePool", "QLinearLeakyRelu", "QLinearReduceMean", "QLinearSigmoid")


def rewrite_integers(graph: onnx.GraphProto) -> None:
    """Replace QLinear..., QGemm, and what follows DynamicQuantizeLinear."""
    if not any(node.op_type in _REWRITTEN or node.op_type == "DynamicQuantizeLinear" for node in graph.node):
        return
    rewriter = _Rewriter(graph)
    nodes = [made for node in graph.node for made in rewriter.rewritten(node)]
    replace_nodes(graph, _needed(nodes, graph, rewriter.loose))


def _needed(nodes: list[onnx.NodeProto], graph: onnx.GraphProto, loose: set[str]) -> list[onnx.NodeProto]:
    """Leave out nodes that a rewriting has made idle: those that made ``loose`` names, if nobody else reads them."""
    outputs = {entry.name for entry in graph.output}
    while True:
        read = {name for node in nodes for name in node.input} | outputs
        kept = [node for node in nodes if not (set(node.output) & loose) or any(name in read for name in node.output)]
        if len(kept) == len(nodes):
            return nodes
        nodes = kept


class _Rewriter:
    """The nodes that stand for integer ones; ``loose`` are tensors that nobody needs any more."""

    def __init__(self, graph: onnx.GraphProto) -> None:
        self.loose: set[str] = set()
        self._graph = graph
        self._makers = {name: node for node in graph.node for name in node.output if name}
        self._users: dict[str, list[onnx.NodeProto]] = {}
        for node in graph.node:
            for name in node.input:
                self._users.setdefault(name, []).append(node)
        self._outputs = {entry.name for entry in graph.output}
        self._shapes = {tensor.name: tuple(tensor.dims) for tensor in graph.initializer}
        self._replaced: dict[str, list[onnx.NodeProto]] = {}
        for node in graph.node:
            if node.op_type in ("MatMulInteger", "ConvInteger"):
                self._dynamic(node)

    def rewritten(self, node: onnx.NodeProto) -> list[onnx.NodeProto]:
        """Return what stands for ``node``, itself if it is none of them."""
        first = next(iter(node.output), "")
        if first in self._replaced:
            return self._replaced[first]
        # Somebody's own operator of that name is another one.
        rewrite = _REWRITTEN.get(node.op_type) if node.domain in ("", "ai.onnx", _CONTRIB) else None
        complete = all(any(node.input[place : place + 1]) for place in _NEEDED.get(node.op_type, ()))
        made = rewrite(self, node) if rewrite is not None and complete and first else None
        return [node] if made is None else made

    def add_constant(self, name: str, value: Any) -> str:
        """Put a constant into the file."""
        return add_constant(self._graph, name, value)

    def real(self, node: onnx.NodeProto, place: int, axis: int | None = None) -> tuple[str, list[onnx.NodeProto]]:
        """Dequantise the tensor at ``place``, with its scale and zero point behind it."""
        names = [name for name in node.input[place : place + 3] if name]
        # A tensor of the file may be an input twice, and of several nodes.
        out = f"{node.output[0]}/{place} {node.input[place]}"
        return out, [new_node("DequantizeLinear", names, out, axis=axis)]

    def turned(self, node: onnx.NodeProto, place: int, scale: int) -> tuple[str, list[onnx.NodeProto]]:
        """Turn and dequantise (directions, columns, rows): with a scale for each direction, or for each row of it."""
        name, words = node.input[place], [each for each in node.input[scale : scale + 2] if each]
        start = f"{node.output[0] or node.name}/{place}"
        turned, real = f"{start} turned", f"{start} real"
        nodes = [new_node("Transpose", [name], turned, perm=[0, 2, 1])]
        shape = self._shapes.get(name, ())
        if len(self._shapes.get(words[0], ())) < 2 or len(shape) != 3:
            return real, [*nodes, new_node("DequantizeLinear", [turned, *words], real, axis=0)]
        # The operator knows scales along one axis: directions and rows become one, and two again.
        flat = add_constant(self._graph, f"{start} flat", np.array([-1]))
        rows = add_constant(self._graph, f"{start} rows", np.array([shape[0] * shape[2], shape[1]]))
        whole = add_constant(self._graph, f"{start} whole", np.array([shape[0], shape[2], shape[1]]))
        flattened = [f"{start} flat {i}" for i in range(len(words))]
        nodes += [new_node("Reshape", [each, flat], out) for each, out in zip(words, flattened, strict=True)]
        nodes.append(new_node("Reshape", [turned, rows], f"{start} matrix"))
        nodes.append(new_node("DequantizeLinear", [f"{start} matrix", *flattened], f"{start} real matrix", axis=0))
        return real, [*nodes, new_node("Reshape", [f"{start} real matrix", whole], real)]

    def real_source(self, name: str) -> str:
        """Return the floats that were quantised as they came; nothing of other integers."""
        maker = self._makers.get(name)
        if maker is None or maker.op_type != "DynamicQuantizeLinear":
            return ""
        self.loose |= set(maker.output)
        return str(maker.input[0])

    def _dynamic(self, node: onnx.NodeProto) -> None:
        """Replace ``x quantised as it comes, times integers, Cast, times both scales`` by the product of floats."""
        quantise = self._makers.get(node.input[0])
        if quantise is not None and (quantise.op_type != "DynamicQuantizeLinear" or len(quantise.output) < 3):
            quantise = None
        cast = self._only_user(node.output[0])
        rounded = None if quantise is None else self._rounded_bias(node, cast, of_inputs=quantise.output[1])
        summed = cast if rounded is not None else None
        if summed is not None:
            cast = self._only_user(summed.output[0])
        scale = None if cast is None or cast.op_type != "Cast" else self._only_user(cast.output[0])
        if cast is None or scale is None or scale.op_type != "Mul":
            return
        factor = scale.input[1] if scale.input[0] == cast.output[0] else scale.input[0]
        before: list[onnx.NodeProto] = []
        if quantise is None:
            # Integers from elsewhere, as out of a table of them: their scale is as constant as that of the weights.
            theirs, own = self._both_scales(factor, f"{scale.output[0]}/one")
            x = f"{scale.output[0]}/inputs"
            before.append(new_node("DequantizeLinear", [node.input[0], theirs or "", *node.input[2:3]], x))
        else:
            theirs, own, x = quantise.output[1], self._weight_scale(factor, quantise.output[1]), quantise.input[0]
        if own is None or theirs is None:
            return
        out, many = f"{scale.output[0]}/weights", self._shapes.get(own, ())
        conv = node.op_type == "ConvInteger"
        # A scale an output comes as it is broadcast over results: (1, outputs, 1, 1) of a convolution.
        if len(many) > 1:
            flat = f"{scale.output[0]}/scale"
            before.append(new_node("Squeeze", [own], flat))
            own = flat
        if (second := self._as_it_comes(own)) is not None:
            out = second.input[0]
        else:
            names = [node.input[1], own, *(name for name in node.input[3:4] if name)]
            before.append(new_node("DequantizeLinear", names, out, axis=(0 if conv else 1) if many else None))
        inputs = [x, out, *([rounded] if rounded is not None else [])]
        product = _like(node, "Conv" if conv else "MatMul", inputs, out=scale.output[0])
        gone = [part.output[0] for part in (node, summed, cast) if part is not None]
        for made in (quantise, second):
            self.loose |= set(() if made is None else made.output)
        self.loose |= {*gone, factor} - set(self._shapes)
        self._replaced |= {**{name: [] for name in gone}, scale.output[0]: [*before, product]}

    def _both_scales(self, factor: str, unit: str) -> tuple[str | None, str | None]:
        """Return two constants whose product is ``factor``: that of the inputs, one number, and that of the weights."""
        product = self._makers.get(factor)
        if factor in self._shapes:
            # Multiplied out already.
            return add_constant(self._graph, unit, np.float32(1)), factor
        if product is None or product.op_type != "Mul" or any(name not in self._shapes for name in product.input):
            return None, None
        first, second = sorted(product.input, key=lambda name: math.prod(self._shapes[name]))
        return (first, second) if math.prod(self._shapes[first]) == 1 else (None, None)

    def _rounded_bias(self, node: onnx.NodeProto, add: onnx.NodeProto | None, of_inputs: str) -> str | None:
        """Return the float bias that an Add behind a ConvInteger adds in units of both scales, as early files do."""
        if node.op_type != "ConvInteger" or add is None or add.op_type != "Add":
            return None
        name, passed = add.input[1] if add.input[0] == node.output[0] else add.input[0], set()
        # Reshape(Cast(Floor(bias / (scale of the inputs * scale of the weights)))).
        for op in ("Reshape", "Cast", "Floor"):
            maker = self._makers.get(name)
            if maker is None or maker.op_type != op:
                return None
            passed.add(name)
            name = maker.input[0]
        divided = self._makers.get(name)
        if divided is None or divided.op_type != "Div" or self._weight_scale(divided.input[1], of_inputs) is None:
            return None
        self.loose |= {*passed, name, divided.input[1]}
        return divided.input[0] if len(self._shapes.get(divided.input[0], ())) == 1 else None

    def _weight_scale(self, factor: str, of_inputs: str) -> str | None:
        """Return the constant that, times the inputs' scale, makes ``factor``."""
        product = self._makers.get(factor)
        if product is None or product.op_type != "Mul" or of_inputs not in product.input:
            return None
        own = product.input[1] if product.input[0] == of_inputs else product.input[0]
        return own if own in self._shapes or self._as_it_comes(own) is not None else None

    def _as_it_comes(self, scale: str) -> onnx.NodeProto | None:
        """Return the DynamicQuantizeLinear that makes a scale: of weights that are worked out, or of a second input."""
        maker = self._makers.get(scale)
        return maker if maker is not None and maker.op_type == "DynamicQuantizeLinear" else None

    def _only_user(self, name: str) -> onnx.NodeProto | None:
        users = self._users.get(name, [])
        return users[0] if len(users) == 1 and name not in self._outputs else None


def _qlinear_conv(rewriter: _Rewriter, node: onnx.NodeProto) -> list[onnx.NodeProto]:
    x, nodes = rewriter.real(node, 0)
    w, more = rewriter.real(node, 3, axis=0)
    nodes += more
    inputs = [x, w]
    if any(node.input[8:9]):
        bias, more = _bias(node, 8, scales=(1, 4))
        nodes += more
        inputs.append(bias)
    return [*nodes, _like(node, "Conv", inputs, out=f"{node.output[0]}/real"), _rounded(node, 6)]


def _qlinear_matmul(rewriter: _Rewriter, node: onnx.NodeProto) -> list[onnx.NodeProto]:
    a, nodes = rewriter.real(node, 0)
    b, more = rewriter.real(node, 3, axis=1)
    return [*nodes, *more, _like(node, "MatMul", [a, b], out=f"{node.output[0]}/real"), _rounded(node, 6)]


def _qgemm(rewriter: _Rewriter, node: onnx.NodeProto) -> list[onnx.NodeProto]:
    attributes = {entry.name: entry for entry in node.attribute}
    alpha = attributes["alpha"].f if "alpha" in attributes else 1.0
    turned = "transB" in attributes and attributes["transB"].i
    a, nodes = rewriter.real(node, 0)
    b, more = rewriter.real(node, 3, axis=0 if turned else 1)
    nodes += more
    inputs = [a, b]
    if any(node.input[6:7]):
        # The integers of C are in units of all of them together.
        factor = "" if alpha == 1 else rewriter.add_constant(f"{node.output[0]}/alpha", np.float32(alpha))
        bias, more = _bias(node, 6, scales=(1, 4), factor=factor)
        nodes += more
        inputs.append(bias)
    integers = any(node.input[7:8])
    out = f"{node.output[0]}/real" if integers else node.output[0]
    return [*nodes, _like(node, "Gemm", inputs, out=out), *([_rounded(node, 7)] if integers else [])]


def _pair(rewriter: _Rewriter, node: onnx.NodeProto) -> list[onnx.NodeProto]:
    a, nodes = rewriter.real(node, 0)
    b, more = rewriter.real(node, 3)
    op = node.op_type.removeprefix("QLinear")
    return [*nodes, *more, _like(node, op, [a, b], out=f"{node.output[0]}/real"), _rounded(node, 6)]


def _single(rewriter: _Rewriter, node: onnx.NodeProto) -> list[onnx.NodeProto] | None:
    if any(entry.name == "channels_last" and entry.i for entry in node.attribute):
        return None
    x, nodes = rewriter.real(node, 0)
    op = node.op_type.removeprefix("QLinear")
    return [*nodes, _like(node, op, [x], out=f"{node.output[0]}/real"), _rounded(node, 3)]


def _concat(rewriter: _Rewriter, node: onnx.NodeProto) -> list[onnx.NodeProto]:
    nodes, parts = [], []
    for place in range(2, len(node.input), 3):
        part, more = rewriter.real(node, place)
        nodes += more
        parts.append(part)
    return [*nodes, _like(node, "Concat", parts, out=f"{node.output[0]}/real"), _rounded(node, 0)]


def _dynamic_matmul(rewriter: _Rewriter, node: onnx.NodeProto) -> list[onnx.NodeProto]:
    del rewriter
    weights, out = f"{node.output[0]}/weights", node.output[0]
    names = [name for name in node.input[1:4] if name]
    bias = any(node.input[4:5])
    product = _like(node, "MatMul", [node.input[0], weights], out=f"{out}/product" if bias else out)
    add = [new_node("Add", [product.output[0], node.input[4]], out)] if bias else []
    return [new_node("DequantizeLinear", names, weights, axis=1), product, *add]


def _to_float(rewriter: _Rewriter, node: onnx.NodeProto) -> list[onnx.NodeProto]:
    """``A B`` of integers, times both scales, and a bias."""
    names, out, nodes = (*node.input, *([""] * 7))[:7], node.output[0], []
    sides = []
    for place, label in ((0, "inputs"), (1, "weights")):
        source = rewriter.real_source(names[place])
        if not source:
            source = f"{out}/{label}"
            # One scale for all, or one a column; of one number an axis says nothing.
            parts = [name for name in (names[place], names[2 + place], names[4 + place]) if name]
            nodes.append(new_node("DequantizeLinear", parts, source, axis=1 if place else None))
        sides.append(source)
    product = _like(node, "MatMul", sides, out=f"{out}/product" if names[6] else out)
    return [*nodes, product, *([new_node("Add", [product.output[0], names[6]], out)] if names[6] else [])]


def _dynamic_lstm(rewriter: _Rewriter, node: onnx.NodeProto) -> list[onnx.NodeProto]:
    nodes, names = [], []
    # W and R come transposed, (directions, inputs, gates), their scales and zero points behind the peepholes.
    for place, scale in ((1, 8), (2, 10)):
        real, more = rewriter.turned(node, place, scale)
        nodes += more
        names.append(real)
    lstm = _like(node, "LSTM", [node.input[0], *names, *node.input[3:8]], out=node.output[0])
    del lstm.output[:]
    lstm.output.extend(node.output)
    return [*nodes, lstm]


def _bias(
    node: onnx.NodeProto, place: int, *, scales: tuple[int, int], factor: str = ""
) -> tuple[str, list[onnx.NodeProto]]:
    """Dequantise a bias of 32-bit integers: its scale is that of the inputs times that of the weights."""
    scale, out = f"{node.output[0]}/bias scale", f"{node.output[0]}/bias"
    nodes = [new_node("Mul", [node.input[i] for i in scales], scale)]
    if factor:
        nodes.append(new_node("Mul", [scale, factor], f"{scale} in all"))
        scale = f"{scale} in all"
    return out, [*nodes, new_node("DequantizeLinear", [node.input[place], scale], out, axis=0)]


def _rounded(node: onnx.NodeProto, place: int) -> onnx.NodeProto:
    names = [f"{node.output[0]}/real", *(name for name in node.input[place : place + 2] if name)]
    return new_node("QuantizeLinear", names, node.output[0])


def _like(node: onnx.NodeProto, op: str, inputs: Sequence[str], *, out: str) -> onnx.NodeProto:
    """Return a float node with the name and the attributes of ``node``."""
    made = new_node(op, inputs, out)
    made.name = node.name or made.name
    made.attribute.extend(entry for entry in node.attribute if entry.name != "channels_last")
    return made


# Inputs without which a node is damaged: tensors and their scales.
_NEEDED = {
    "DynamicQuantizeLSTM": (0, 1, 2, 8, 10),
    "DynamicQuantizeMatMul": (0, 1, 2),
    "MatMulIntegerToFloat": (0, 1, 2, 3),
    "QGemm": (0, 1, 3, 4),
    "QLinearAdd": (0, 1, 3, 4, 6),
    "QLinearConcat": (0, 2, 3),
    "QLinearConv": (0, 1, 3, 4, 6),
    "QLinearMatMul": (0, 1, 3, 4, 6),
    "QLinearMul": (0, 1, 3, 4, 6),
    **dict.fromkeys(_UNARY, (0, 1, 3)),
}
_REWRITTEN: dict[str, Callable[[_Rewriter, Any], list[Any] | None]] = {
    "ConvInteger": lambda _, node: [node],
    "DynamicQuantizeLSTM": _dynamic_lstm,
    "DynamicQuantizeMatMul": _dynamic_matmul,
    "MatMulInteger": lambda _, node: [node],
    "MatMulIntegerToFloat": _to_float,
    "QGemm": _qgemm,
    "QLinearAdd": _pair,
    "QLinearConcat": _concat,
    "QLinearConv": _qlinear_conv,
    "QLinearMatMul": _qlinear_matmul,
    "QLinearMul": _pair,
    **dict.fromkeys(_UNARY, _single),
}
