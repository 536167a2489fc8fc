"""Where samples stand in each tensor of a file, followed from node to node by what its operators do.

Comes in: nodes, constants, and the batch of each input. Goes out: the axis of the batch, by name of a tensor. Read by
`mixing`: where the axis of all that it watches is known, no sample can mix with another, and nothing has to be run.

A rule says of one operator that sample ``i`` of what it makes hangs on sample ``i`` of what it reads and on no other.
Where there is no rule, or a rule is not sure, nothing is known of the result, nor of what is made of it.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from eie.importers.onnx.constants import Constants
from eie.model.operators.from_onnx import OnnxNode, axes_of

# Constants that say where and not what: axes, starts, shapes.
_SMALL = 64
# From here on the end of a slice means the last.
_ALL = (1 << 31) - 1


@dataclass(frozen=True)
class Placed:
    """A tensor: its sizes, None where they are not known, and the axis of its batch; None if no sample is in it."""

    sizes: tuple[int | None, ...]
    batch: int | None

    @property
    def rank(self) -> int:
        """How many axes there are."""
        return len(self.sizes)


Rule = Callable[[OnnxNode, Sequence[Placed | None], Constants], Placed | None]


def places(
    nodes: Sequence[OnnxNode], constants: Constants, inputs: Mapping[str, Placed], where: str
) -> dict[str, Placed]:
    """Return what is known of each tensor, inputs included."""
    known = dict(inputs)
    for node in nodes:
        if node.op == "Constant":
            constants.fold(node, where)
        rule, read = RULES.get(node.op), [_read(name, known, constants) for name in node.inputs]
        # Second outputs are places within all of the first, or statistics over it.
        if rule is None or not read or read[0] is None or (any(node.outputs[1:]) and node.op != "Split"):
            continue
        # An empty name is an input left out; what nobody knows of may hold any sample.
        if any(name and value is None for name, value in zip(node.inputs, read, strict=True)):
            continue
        if (made := _made(rule, node, read, constants=constants)) is not None:
            known.update((name, made) for name in node.outputs if name)
    return known


def _made(rule: Rule, node: OnnxNode, read: Sequence[Placed | None], *, constants: Constants) -> Placed | None:
    try:
        return rule(node, read, constants)
    # Of a damaged node, with inputs too few or attributes of another kind: `reader` says what is wrong with it.
    except (ValueError, IndexError, TypeError):
        return None


def _read(name: str, known: Mapping[str, Placed], constants: Constants) -> Placed | None:
    if not name or name in known:
        return known.get(name)
    shape = constants.shape(name)
    return None if shape is None else Placed(shape, None)


def _small(node: OnnxNode, place: int, constants: Constants) -> list[int] | None:
    """Return integers that an input states; None if it is not there, or worked out."""
    name = node.inputs[place] if len(node.inputs) > place else ""
    shape = constants.shape(name) if name else None
    if shape is None or math.prod(shape) > _SMALL:
        return None
    return [int(number) for number in np.ravel(constants[name])]


def _axes(node: OnnxNode, rank: int, constants: Constants) -> list[int] | None:
    stated = axes_of((), node.attributes) if len(node.inputs) < 2 else _small(node, 1, constants)
    return None if stated is None else [axis + rank if axis < 0 else axis for axis in stated]


def _rest_still(read: Sequence[Placed | None]) -> bool:
    """Whether only the first input holds samples."""
    return all(value is None or value.batch is None for value in read[1:])


def _same(node: OnnxNode, read: Sequence[Placed | None], constants: Constants) -> Placed | None:
    """Number by number, as the first."""
    del node, constants
    return read[0] if _rest_still(read) else None


def _together(node: OnnxNode, read: Sequence[Placed | None], constants: Constants) -> Placed | None:
    """Number by number, with broadcasting: all batches as far from the last axis."""
    del node, constants
    values = [value for value in read if value is not None]
    rank = max(value.rank for value in values)
    behind = {value.rank - value.batch for value in values if value.batch is not None}
    if len(behind) > 1:
        return None
    return Placed((None,) * rank, rank - behind.pop() if behind else None)


def _window(node: OnnxNode, read: Sequence[Placed | None], constants: Constants) -> Placed | None:
    """Convolutions, pooling and norms by channel: (batch, channels, ...)."""
    del constants
    x = read[0]
    if x is None or x.batch != 0 or not _rest_still(read) or node.attributes.get("training_mode", 0):
        return None
    return Placed((None,) * x.rank, 0)


def _transpose(node: OnnxNode, read: Sequence[Placed | None], constants: Constants) -> Placed | None:
    del constants
    x = read[0]
    if x is None:
        return None
    order = [int(axis) for axis in node.attributes.get("perm", range(x.rank)[::-1])]
    if sorted(order) != list(range(x.rank)):
        return None
    return Placed(tuple(x.sizes[axis] for axis in order), None if x.batch is None else order.index(x.batch))


def _unsqueeze(node: OnnxNode, read: Sequence[Placed | None], constants: Constants) -> Placed | None:
    x = read[0]
    axes = None if x is None else _axes(node, x.rank, constants)
    if x is None or axes is None:
        return None
    # Axes below zero count those of the result.
    rank = x.rank + len(axes)
    stated = axes_of((), node.attributes) if len(node.inputs) < 2 else _small(node, 1, constants)
    fresh = {axis % rank for axis in stated or ()}
    kept = [axis for axis in range(rank) if axis not in fresh]
    if len(kept) != x.rank:
        return None
    sizes: list[int | None] = [1] * rank
    for axis, size in zip(kept, x.sizes, strict=True):
        sizes[axis] = size
    return Placed(tuple(sizes), None if x.batch is None else kept[x.batch])


def _without(node: OnnxNode, read: Sequence[Placed | None], constants: Constants) -> Placed | None:
    """Squeeze, and sums, means and extremes over stated axes."""
    x = read[0]
    axes = None if x is None else _axes(node, x.rank, constants)
    # Without axes it is all of them.
    if x is None or not axes or x.batch in axes:
        return None
    if node.op != "Squeeze" and node.attributes.get("keepdims", 1):
        return Placed(tuple(1 if axis in axes else size for axis, size in enumerate(x.sizes)), x.batch)
    kept = [axis for axis in range(x.rank) if axis not in axes]
    return Placed(tuple(x.sizes[axis] for axis in kept), None if x.batch is None else kept.index(x.batch))


def _softmax(node: OnnxNode, read: Sequence[Placed | None], constants: Constants) -> Placed | None:
    del constants
    x = read[0]
    axis = int(node.attributes.get("axis", -1 if node.attributes["opset"] >= 13 else 1))
    if x is None or not -x.rank <= axis < x.rank:
        return None
    # Until opset 13 it goes over all axes from this one on.
    return x if x.batch is None or x.batch < axis % x.rank else None


def _concat(node: OnnxNode, read: Sequence[Placed | None], constants: Constants) -> Placed | None:
    del constants
    values = [value for value in read if value is not None]
    batches = {value.batch for value in values if value.batch is not None}
    rank, axis = values[0].rank, int(node.attributes.get("axis", 0))
    if len(batches) > 1 or any(value.rank != rank for value in values) or not -rank <= axis < rank:
        return None
    batch = batches.pop() if batches else None
    return None if axis % rank == batch else Placed((None,) * rank, batch)


def _slice(node: OnnxNode, read: Sequence[Placed | None], constants: Constants) -> Placed | None:
    x, (starts, ends, axes) = read[0], (_small(node, place, constants) for place in (1, 2, 3))
    steps = _small(node, 4, constants) or [1] * len(axes or ())
    if x is None or starts is None or ends is None or axes is None or 0 in steps:
        return None
    sizes = list(x.sizes)
    for axis, *part in zip([axis % max(x.rank, 1) for axis in axes], starts, ends, steps, strict=True):
        if axis == x.batch:
            if part[0] == 0 and part[1] >= _ALL and part[2] == 1:
                continue
            return None
        size = sizes[axis]
        sizes[axis] = None if size is None or part[2] < 0 else len(range(*slice(*part).indices(size)))
    return Placed(tuple(sizes), x.batch)


def _split(node: OnnxNode, read: Sequence[Placed | None], constants: Constants) -> Placed | None:
    del constants
    x, axis = read[0], int(node.attributes.get("axis", 0))
    if x is None or not -x.rank <= axis < x.rank or axis % x.rank == x.batch:
        return None
    return Placed((None,) * x.rank, x.batch)


def _resize(node: OnnxNode, read: Sequence[Placed | None], constants: Constants) -> Placed | None:
    """Where a scale of 1 for the batch is stated; a part that is cut out of it may be of another size."""
    x, name = read[0], node.inputs[2] if len(node.inputs) == 3 else ""
    shape = constants.shape(name) if name else None
    if x is None or x.batch is None or shape != (x.rank,) or any(v is not None and v.sizes != (0,) for v in read[1:2]):
        return None
    return Placed((None,) * x.rank, x.batch) if constants[name][x.batch] == 1 else None


def _shape(node: OnnxNode, read: Sequence[Placed | None], constants: Constants) -> Placed | None:
    """Sizes hang on how many samples there are, and on none of them."""
    del node, read, constants
    return Placed((None,), None)


def _matmul(node: OnnxNode, read: Sequence[Placed | None], constants: Constants) -> Placed | None:
    del node, constants
    x, w = read[:2]
    if x is None or w is None or w.batch is not None or w.rank != 2 or x.rank < 2 or x.batch == x.rank - 1:
        return None
    return Placed((*x.sizes[:-1], w.sizes[1]), x.batch)


def _gemm(node: OnnxNode, read: Sequence[Placed | None], constants: Constants) -> Placed | None:
    del constants
    x = read[0]
    if x is None or x.batch != 0 or x.rank != 2 or not _rest_still(read) or node.attributes.get("transA", 0):
        return None
    return Placed((None, None), 0)


def _flatten(node: OnnxNode, read: Sequence[Placed | None], constants: Constants) -> Placed | None:
    del constants
    x = read[0]
    if x is None or x.batch != 0 or int(node.attributes.get("axis", 1)) != 1:
        return None
    return Placed((None, _product(x.sizes[1:])), 0)


def _reshape(node: OnnxNode, read: Sequence[Placed | None], constants: Constants) -> Placed | None:
    x, wanted = read[0], _small(node, 1, constants)
    if x is not None and x.batch is None and wanted:
        return Placed((None,) * len(wanted), None)
    if x is None or x.batch != 0 or not wanted or node.attributes.get("allowzero", 0):
        return None
    # The first axis is taken over: what lies in it, lies in it still, since it is the outermost.
    taken = wanted[0] == 0
    if wanted[0] == -1 and all(size > 0 for size in wanted[1:]):
        # It is what is left, and that is the batch if a sample has as many numbers as before.
        taken = _product(x.sizes[1:]) == math.prod(wanted[1:])
    return Placed((None, *(size if size > 0 else None for size in wanted[1:])), 0) if taken else None


def _product(sizes: Sequence[int | None]) -> int | None:
    return None if None in sizes else math.prod(size for size in sizes if size is not None)


_NUMBERWISE = (
    *("Abs", "Cast", "Ceil", "Clip", "Cos", "DequantizeLinear", "Elu", "Erf", "Exp", "Floor", "Gelu", "HardSigmoid"),
    *("HardSwish", "Identity", "LeakyRelu", "Log", "Mish", "Neg", "QuantizeLinear", "Reciprocal", "Relu", "Round"),
    *("Selu", "Sigmoid", "Sign", "Sin", "Softplus", "Softsign", "Sqrt", "Tanh", "ThresholdedRelu"),
)
_BROADCAST = ("Add", "Div", "Max", "Mean", "Min", "Mul", "PRelu", "Pow", "Sub", "Sum")
_WINDOWED = (
    *("AveragePool", "BatchNormalization", "Conv", "ConvTranspose", "GlobalAveragePool", "GlobalMaxPool"),
    *("InstanceNormalization", "LRN", "MaxPool"),
)
_REDUCED = ("L1", "L2", "LogSum", "LogSumExp", "Max", "Mean", "Min", "Prod", "Sum", "SumSquare")
RULES: dict[str, Rule] = {
    **dict.fromkeys(_NUMBERWISE, _same),
    **dict.fromkeys(_BROADCAST, _together),
    **dict.fromkeys(_WINDOWED, _window),
    **{f"Reduce{name}": _without for name in _REDUCED},
    "Concat": _concat,
    "Flatten": _flatten,
    "Gemm": _gemm,
    "LogSoftmax": _softmax,
    "MatMul": _matmul,
    "Reshape": _reshape,
    "Resize": _resize,
    "Shape": _shape,
    "Slice": _slice,
    "Softmax": _softmax,
    "Split": _split,
    "Squeeze": _without,
    "Transpose": _transpose,
    "Unsqueeze": _unsqueeze,
}
