"""What stands between the weight layers of an ONNX graph: pooling, shapes, elementwise operators.

Comes in: a node and the `Builder`. Goes out: graph nodes, or only another name where nothing happens to a sample.
Called by `reader`. The operators on our side are listed in `eie.model.graph`.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from eie.errors import ModelError
from eie.importers.onnx.builder import Builder, UnsupportedError, Value
from eie.importers.onnx.constants import axes_of, ranges, shape_of, squeezed, target_shape, unsqueezed
from eie.importers.onnx.layers import ints, padding
from eie.importers.onnx.nodes import OnnxNode

Handler = Callable[[OnnxNode, Builder, Value], None]


def same(node: OnnxNode, into: Builder, x: Value) -> None:
    """Pass the input through: Identity, Dropout at inference."""
    into.set(node.outputs[0], x)


def cast(node: OnnxNode, into: Builder, x: Value) -> None:
    """Pass through casts between floating-point types."""
    if node.attributes.get("to") not in (1, 10, 11, 16):
        raise UnsupportedError("to a type that is not floating point")
    into.set(node.outputs[0], x)


def shape(node: OnnxNode, into: Builder, x: Value) -> None:
    """Take the shape as a constant; an open batch counts as 1."""
    into.constants.set(node.outputs[0], shape_of(x.shape, node.attributes))


def elementwise(op: str) -> Handler:
    """Return a handler for an operator without parameters."""

    def handle(node: OnnxNode, into: Builder, x: Value) -> None:
        into.set(
            node.outputs[0], into.emit(op=op, inputs=(x.name,), name=node.outputs[0], full_shape=x.shape, batch=x.batch)
        )

    return handle


def leaky_relu(node: OnnxNode, into: Builder, x: Value) -> None:
    """Keep the slope."""
    slope = float(node.attributes.get("alpha", 0.01))
    into.set(
        node.outputs[0],
        into.emit(
            op="leaky_relu", inputs=(x.name,), name=node.outputs[0], full_shape=x.shape, batch=x.batch, slope=slope
        ),
    )


def clip(node: OnnxNode, into: Builder, x: Value) -> None:
    """Read the bounds from attributes (old) or inputs."""
    bounds = {}
    for place, (theirs, ours) in enumerate((("min", "low"), ("max", "high")), 1):
        if len(node.inputs) > place and node.inputs[place]:
            bounds[ours] = float(_constant(node, into, place).reshape(()))
        elif theirs in node.attributes:
            bounds[ours] = float(node.attributes[theirs])
    _clip(node=node, into=into, x=x, bounds=bounds)


def quantise(node: OnnxNode, into: Builder, x: Value) -> None:
    """Keep the saturation, which can be a ReLU in disguise, and leave the rounding out; the notes say so."""
    scale = _constant(node, into, 1)
    zero = _constant(node, into, 2) if len(node.inputs) > 2 and node.inputs[2] else np.zeros(1, np.uint8)
    if scale.size != 1 or zero.size != 1 or zero.dtype.kind not in "iu":
        raise UnsupportedError("quantises activations by channel or to floating point")
    bounds = np.iinfo(zero.dtype)
    step, offset = float(scale.reshape(())), int(zero.reshape(()))
    into.left_out.append(node.name)
    _clip(node=node, into=into, x=x, bounds={"low": (bounds.min - offset) * step, "high": (bounds.max - offset) * step})


def softmax(node: OnnxNode, into: Builder, x: Value) -> None:
    """Over one axis; older operator sets mean everything from that axis on, which is the same for the last one."""
    default = -1 if node.attributes["opset"] >= 13 else 1
    axis = int(node.attributes.get("axis", default))
    if node.attributes["opset"] < 13 and axis % len(x.shape) != len(x.shape) - 1:
        raise UnsupportedError("over several axes")
    out = node.outputs[0]
    into.set(
        out, into.emit(op="softmax", inputs=(x.name,), name=out, full_shape=x.shape, batch=x.batch, axis=x.axis(axis))
    )


def pool(op: str) -> Handler:
    """Return a handler for 2-D max or average pooling."""

    def handle(node: OnnxNode, into: Builder, x: Value) -> None:
        if len(x.shape) != 4 or x.batch != 0:
            raise UnsupportedError(f"its input has shape {x.shape}")
        if any(node.outputs[1:]) or node.attributes.get("storage_order", 0):
            raise UnsupportedError("gives indices")
        if "kernel_shape" not in node.attributes:
            raise ModelError("kernel_shape is missing")
        kernel = ints(node, "kernel_shape", (1, 1))
        stride, dilation = ints(node, "strides", (1, 1)), ints(node, "dilations", (1, 1))
        pads = padding(node=node, size=kernel, stride=stride, dilation=dilation, spatial=x.shape[2:])
        ceil = bool(node.attributes.get("ceil_mode", 0))
        attributes: dict[str, object] = {"kernel": kernel, "stride": stride, "pads": pads, "dilation": dilation}
        attributes["ceil"] = ceil
        if op == "average_pool":
            attributes["count_pads"] = bool(node.attributes.get("count_include_pad", 0))
        sizes = []
        for i, length in enumerate(x.shape[2:]):
            room = length + pads[i] + pads[i + 2] - dilation[i] * (kernel[i] - 1) - 1
            if room < 0:
                raise ModelError(f"kernel {kernel} does not fit its input {x.shape}")
            size = (-(-room // stride[i]) if ceil else room // stride[i]) + 1
            # The last window must start on the map or the padding before it.
            sizes.append(size - (ceil and (size - 1) * stride[i] >= length + pads[i]))
        out = node.outputs[0]
        into.set(
            out, into.emit(op=op, inputs=(x.name,), name=out, full_shape=(*x.shape[:2], *sizes), batch=0, **attributes)
        )

    return handle


def global_pool(node: OnnxNode, into: Builder, x: Value) -> None:
    """Average or maximum over the whole map."""
    if len(x.shape) != 4 or x.batch != 0:
        raise UnsupportedError(f"its input has shape {x.shape}")
    out, full = node.outputs[0], (*x.shape[:2], 1, 1)
    if node.op == "GlobalAveragePool":
        into.set(out, into.emit(op="global_average_pool", inputs=(x.name,), name=out, full_shape=full, batch=0))
    else:
        into.set(
            out, into.emit(op="max_pool", inputs=(x.name,), name=out, full_shape=full, batch=0, kernel=x.shape[2:])
        )


def mean(node: OnnxNode, into: Builder, x: Value) -> None:
    """Average over stated axes."""
    axes = axes_of(_known_inputs(node, into), node.attributes)
    if not axes:
        raise UnsupportedError("over all axes")
    keep = bool(node.attributes.get("keepdims", 1))
    ours = tuple(sorted(x.axis(axis) for axis in axes))
    places = {axis % len(x.shape) for axis in axes}
    sizes = [1 if i in places else size for i, size in enumerate(x.shape)]
    batch = x.batch
    if not keep:
        sizes = [size for i, size in enumerate(sizes) if i not in places]
        batch -= sum(place < batch for place in places)
    out = node.outputs[0]
    into.set(out, into.emit(op="mean", inputs=(x.name,), name=out, full_shape=sizes, batch=batch, axes=ours, keep=keep))


def reshape(node: OnnxNode, into: Builder, x: Value) -> None:
    """Flatten, Reshape, Squeeze, Unsqueeze: another shape for each sample, if the batch stays an axis of its own."""
    inputs, attributes = _known_inputs(node, into), node.attributes
    if node.op == "Reshape":
        wanted = inputs[1] if len(inputs) > 1 else np.array(attributes["shape"])
        if wanted is None:
            raise UnsupportedError("its shape is not constant")
        sizes = target_shape(x.shape, wanted, bool(attributes.get("allowzero", 0)))
    elif node.op == "Flatten":
        axis = int(attributes.get("axis", 1))
        axis += len(x.shape) if axis < 0 else 0
        sizes = (math.prod(x.shape[:axis]), math.prod(x.shape[axis:]))
    elif node.op == "Squeeze":
        axes = axes_of(inputs, attributes)
        if axes is None and x.shape[x.batch] == 1:
            raise UnsupportedError("names no axes, so that a batch of one would vanish")
        sizes = squeezed(x.shape, axes)
    else:
        sizes = unsqueezed(x.shape, axes_of(inputs, attributes) or [])
    into.set(node.outputs[0], _reshaped(into=into, x=x, out=node.outputs[0], sizes=sizes))


def transpose(node: OnnxNode, into: Builder, x: Value) -> None:
    """Reorder the axes; where only the batch moves, nothing happens to a sample."""
    rank = len(x.shape)
    order = [int(axis) for axis in node.attributes.get("perm", range(rank)[::-1])]
    if sorted(order) != list(range(rank)):
        raise ModelError(f"perm={order}: must reorder {rank} axes")
    batch = order.index(x.batch)
    ours = (0, *(x.axis(axis) for axis in order if axis != x.batch))
    sizes, out = tuple(x.shape[axis] for axis in order), node.outputs[0]
    if ours == tuple(range(rank)):
        into.set(out, Value(x.name, sizes, batch))
    else:
        into.set(out, into.emit(op="transpose", inputs=(x.name,), name=out, full_shape=sizes, batch=batch, axes=ours))


def concat(node: OnnxNode, into: Builder, _: Value) -> None:
    """Join activations of one batch axis."""
    parts = [into.known(name) for name in node.inputs]
    known = [part for part in parts if part is not None]
    if len(known) != len(parts) or len({part.batch for part in known}) != 1:
        raise UnsupportedError("joins constants, or tensors with their batch in different places")
    first, axis = known[0], int(node.attributes["axis"])
    ours = first.axis(axis)
    axis %= len(first.shape)
    sizes = list(first.shape)
    for part in known:
        rest = [(a, b) for i, (a, b) in enumerate(zip(part.shape, sizes, strict=True)) if i != axis and a != b]
        if rest:
            raise ModelError(f"joins shapes {first.shape} and {part.shape}")
    sizes[axis] = sum(part.shape[axis] for part in known)
    names = [part.name for part in known]
    into.set(
        node.outputs[0],
        into.emit(op="concat", inputs=names, name=node.outputs[0], full_shape=sizes, batch=first.batch, axis=ours),
    )


def arithmetic(op: str) -> Handler:
    """Return a handler for Add, Sub, Mul or Div of two activations, or one and a constant."""

    def handle(node: OnnxNode, into: Builder, x: Value) -> None:
        out = node.outputs[0]
        if len(node.inputs) != 2:
            raise ModelError(f"{len(node.inputs)} inputs: must be 2")
        names, sizes = [], x.shape
        for place, name in enumerate(node.inputs):
            part = into.known(name)
            if part is None:
                names.append(into.hold(f"{out} [{place}]", _beside(_constant(node, into, place), x)))
                continue
            if len(part.shape) != len(x.shape) or part.batch != x.batch:
                raise UnsupportedError(f"shapes {x.shape} and {part.shape}")
            names.append(part.name)
            sizes = np.broadcast_shapes(sizes, part.shape)
        into.set(out, into.emit(op=op, inputs=names, name=out, full_shape=sizes, batch=x.batch))

    return handle


def batch_norm(node: OnnxNode, into: Builder, x: Value) -> None:
    """Keep the four vectors as constants of the graph."""
    if len(x.shape) < 2 or x.batch != 0 or node.attributes.get("training_mode", 0) or any(node.outputs[1:]):
        raise UnsupportedError("trains, or its input has no channels")
    names = [x.name]
    for place in range(1, 5):
        vector = _constant(node, into, place)
        if vector.shape != (x.shape[1],):
            raise ModelError(f"input {place} has shape {vector.shape}: must be ({x.shape[1]},)")
        names.append(into.hold(f"{node.outputs[0]} [{place}]", vector))
    epsilon = float(node.attributes.get("epsilon", 1e-5))
    out = node.outputs[0]
    into.set(out, into.emit(op="batch_norm", inputs=names, name=out, full_shape=x.shape, batch=0, epsilon=epsilon))


def slices(node: OnnxNode, into: Builder, x: Value) -> None:
    """Cut stated ranges out, one axis after the other."""
    inputs = _known_inputs(node, into)
    if any(part is None and name for part, name in zip(inputs[1:], node.inputs[1:], strict=True)):
        raise UnsupportedError("its ranges are not constant")
    at, sizes, cuts = x.name, list(x.shape), ranges(inputs, node.attributes)
    for i, (axis, wanted) in enumerate(cuts):
        ours, place = x.axis(axis), axis % len(sizes)
        taken = range(*wanted.indices(sizes[place]))
        if taken.step < 1:
            raise UnsupportedError("walks backwards")
        sizes[place] = len(taken)
        name = node.outputs[0] if i == len(cuts) - 1 else f"{node.outputs[0]} [{i}]"
        bounds = {"axis": ours, "start": taken.start, "stop": max(taken.stop, taken.start), "step": taken.step}
        at = into.emit(op="slice", inputs=(at,), name=name, full_shape=sizes, batch=x.batch, **bounds).name
    into.set(node.outputs[0], Value(at, tuple(sizes), x.batch))


def gather(node: OnnxNode, into: Builder, x: Value) -> None:
    """Pick one index of an axis, e.g. the last time step."""
    index = _constant(node, into, 1)
    axis = int(node.attributes.get("axis", 0))
    if index.size != 1 or index.ndim > 1 or index.dtype.kind not in "iu":
        raise UnsupportedError("picks several")
    ours = x.axis(axis)
    axis %= len(x.shape)
    place = int(index.reshape(()))
    place += x.shape[axis] if place < 0 else 0
    if not 0 <= place < x.shape[axis]:
        raise ModelError(f"index {place} of an axis of {x.shape[axis]}")
    sizes = [*x.shape[:axis], 1, *x.shape[axis + 1 :]]
    out = node.outputs[0]
    name = out if index.ndim else f"{out} [one]"
    cut = into.emit(
        op="slice", inputs=(x.name,), name=name, full_shape=sizes, batch=x.batch, axis=ours, start=place, stop=place + 1
    )
    if not index.ndim:
        del sizes[axis]
        cut = into.emit(
            op="squeeze", inputs=(cut.name,), name=out, full_shape=sizes, batch=x.batch - (axis < x.batch), axes=(ours,)
        )
    into.set(out, cut)


def pad(node: OnnxNode, into: Builder, x: Value) -> None:
    """Add a constant border."""
    if str(node.attributes.get("mode", "constant")) != "constant":
        raise UnsupportedError(f"mode {node.attributes['mode']}")
    amounts = np.array(node.attributes["pads"]) if len(node.inputs) < 2 else _constant(node, into, 1)
    value = node.attributes.get("value", 0.0)
    if len(node.inputs) > 2 and node.inputs[2]:
        value = _constant(node, into, 2).reshape(())
    rank = len(x.shape)
    axes = list(range(rank))
    if len(node.inputs) > 3 and node.inputs[3]:
        axes = [int(axis) % rank for axis in _constant(node, into, 3).ravel()]
    before = {axis: int(amounts[i]) for i, axis in enumerate(axes)}
    behind = {axis: int(amounts[len(axes) + i]) for i, axis in enumerate(axes)}
    pairs, sizes = [(0, 0)] * rank, list(x.shape)
    for axis in axes:
        if min(before[axis], behind[axis]) < 0:
            raise UnsupportedError("cuts instead of adding")
        if before[axis] or behind[axis]:
            pairs[x.axis(axis)] = (before[axis], behind[axis])
            sizes[axis] += before[axis] + behind[axis]
    out = node.outputs[0]
    into.set(
        out,
        into.emit(
            op="pad", inputs=(x.name,), name=out, full_shape=sizes, batch=x.batch, pads=tuple(pairs), value=float(value)
        ),
    )


HANDLERS: dict[str, Handler] = {
    "Add": arithmetic("add"),
    "AveragePool": pool("average_pool"),
    "BatchNormalization": batch_norm,
    "Cast": cast,
    "Clip": clip,
    "Concat": concat,
    "DequantizeLinear": same,
    "Div": arithmetic("div"),
    "Dropout": same,
    "Flatten": reshape,
    "Gather": gather,
    "GlobalAveragePool": global_pool,
    "GlobalMaxPool": global_pool,
    "Identity": same,
    "LeakyRelu": leaky_relu,
    "MaxPool": pool("max_pool"),
    "Mul": arithmetic("mul"),
    "Pad": pad,
    "QuantizeLinear": quantise,
    "ReduceMean": mean,
    "Relu": elementwise("relu"),
    "Reshape": reshape,
    "Shape": shape,
    "Sigmoid": elementwise("sigmoid"),
    "Slice": slices,
    "Softmax": softmax,
    "Squeeze": reshape,
    "Sub": arithmetic("sub"),
    "Tanh": elementwise("tanh"),
    "Transpose": transpose,
    "Unsqueeze": reshape,
}


def _reshaped(into: Builder, x: Value, out: str, sizes: tuple[int, ...]) -> Value:
    """Find the batch among ``sizes``: an axis as long as the batch with as many values before it as now."""
    before = math.prod(x.shape[: x.batch])
    places = [
        i
        for i, size in enumerate(sizes)
        if size == x.shape[x.batch] and math.prod(sizes[:i]) == before and math.prod(sizes) == math.prod(x.shape)
    ]
    if not places:
        raise UnsupportedError(f"turns {x.shape} to {sizes}, which mixes the batch with other axes")
    batch = x.batch if x.batch in places else places[0]
    made = Value(x.name, sizes, batch)
    if made.sample == x.sample:
        return made
    return into.emit(op="reshape", inputs=(x.name,), name=out, full_shape=sizes, batch=batch, shape=(0, *made.sample))


def _clip(node: OnnxNode, into: Builder, x: Value, bounds: dict[str, float]) -> None:
    finite = {key: bound for key, bound in bounds.items() if math.isfinite(bound) and abs(bound) < 3e38}
    out = node.outputs[0]
    into.set(
        out,
        into.emit(op="clip", inputs=(x.name,), name=out, full_shape=x.shape, batch=x.batch, **finite) if finite else x,
    )


def _constant(node: OnnxNode, into: Builder, place: int) -> NDArray[Any]:
    if len(node.inputs) <= place or not node.inputs[place]:
        raise ModelError(f"input {place} is missing")
    if node.inputs[place] not in into.constants:
        raise UnsupportedError(f"its input {node.inputs[place]!r} is not constant")
    return into.constants[node.inputs[place]]


def _known_inputs(node: OnnxNode, into: Builder) -> list[NDArray[Any] | None]:
    return [into.constants.get(name) for name in node.inputs]


def _beside(array: NDArray[Any], x: Value) -> NDArray[Any]:
    """Turn a constant that broadcasts over ``x`` as the file has it into one that broadcasts with the batch first."""
    rank = len(x.shape)
    if array.ndim > rank or np.broadcast_shapes(array.shape, x.shape) != x.shape:
        raise UnsupportedError(f"a constant of shape {array.shape} beside {x.shape}")
    full = array.reshape((1,) * (rank - array.ndim) + array.shape)
    if full.shape[x.batch] != 1:
        raise UnsupportedError(f"a constant of shape {array.shape} differs over the batch")
    moved: NDArray[Any] = np.moveaxis(full, x.batch, 0)[0]
    return moved
