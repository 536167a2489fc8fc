"""The mean over ``axes``, which stay as ones if ``keep`` (False).

Takes one tensor; gives one without those axes.
"""

from __future__ import annotations

from collections.abc import Sequence

from eie.model.operators.channels import Channels, Operand
from eie.model.operators.from_onnx import Builder, OnnxNode, UnsupportedError, Value, axes_of, constant_inputs
from eie.model.operators.registry import Array, Attributes, Operator, Shape, register


def _compute(x: Sequence[Array], at: Attributes) -> Array:
    mean: Array = x[0].mean(axis=tuple(at["axes"]), keepdims=at.get("keep", False))
    return mean


def _shape(shapes: Sequence[Shape], at: Attributes) -> Shape:
    rank = len(shapes[0])
    places = {axis % rank for axis in at["axes"]}
    if at.get("keep", False):
        return tuple(1 if i in places else size for i, size in enumerate(shapes[0]))
    return tuple(size for i, size in enumerate(shapes[0]) if i not in places)


def _channels(x: Sequence[Operand], at: Attributes) -> Channels | None:
    """Over height and width it leaves one number a channel, as `flatten` would of a 1 x 1 map."""
    (maps,) = x
    if not isinstance(maps, Channels) or maps.flat or set(at.get("axes", ())) not in ({2, 3}, {-1, -2}):
        return None
    return maps if at.get("keep", False) else maps.flattened(blocks=False)


def _read(node: OnnxNode, into: Builder, x: Value) -> None:
    axes = axes_of(constant_inputs(node, into), node.attributes)
    # No axes mean all of them, the batch included.
    if not axes:
        raise UnsupportedError("over all axes")
    # ONNX keeps axes unless told otherwise, numpy drops them.
    keep = bool(node.attributes.get("keepdims", 1))
    ours = tuple(sorted(x.axis(axis) for axis in axes))
    # In the file, the batch moves up by the axes before it that vanish.
    gone = 0 if keep else sum(place < x.batch for place in {axis % len(x.shape) for axis in axes})
    out = node.outputs[0]
    into.set(out, into.emit("mean", [x], out, batch=x.batch - gone, axes=ours, keep=keep))


register(Operator(name="mean", compute=_compute, shape=_shape, channels=_channels, onnx={"ReduceMean": _read}))
