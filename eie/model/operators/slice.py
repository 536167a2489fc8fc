"""A range of one ``axis``: ``start``, ``stop``, ``step`` (1).

Takes one tensor; gives the numbers in the range. ONNX's Slice is one for each axis, its Gather of one place is one too.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from eie.errors import ModelError
from eie.model.operators.channels import Channels, Labels, Operand, Taken
from eie.model.operators.from_onnx import (
    LARGEST_TENSOR,
    Builder,
    OnnxNode,
    UnsupportedError,
    Value,
    constant,
    constant_inputs,
)
from eie.model.operators.registry import Array, Attributes, Operator, Shape, register


def _range(at: Attributes) -> slice:
    return slice(at.get("start"), at.get("stop"), at.get("step", 1))


def _where(rank: int, at: Attributes) -> tuple[slice, ...]:
    where = [slice(None)] * rank
    where[at["axis"]] = _range(at)
    return tuple(where)


def _compute(x: Sequence[Array], at: Attributes) -> Array:
    return x[0][_where(x[0].ndim, at)]


def _shape(shapes: Sequence[Shape], at: Attributes) -> Shape:
    sizes = list(shapes[0])
    sizes[at["axis"]] = len(range(*_range(at).indices(sizes[at["axis"]])))
    return tuple(sizes)


def ranges(inputs: Sequence[Any], attributes: Attributes) -> list[tuple[int, slice]]:
    """Return (axis, range) pairs of an ONNX Slice: inputs in newer operator sets, attributes in older ones."""
    # Attributes until operator set 9, inputs from 10 on.
    if len(inputs) > 1:
        lists = [None if part is None else [int(value) for value in part.ravel()] for part in inputs[1:]]
    else:
        lists = [attributes["starts"], attributes["ends"], attributes.get("axes")]
    # The last two may be missing or empty: all axes from the first on, a step of 1.
    starts, ends, axes, steps = (*lists, None, None)[:4]
    places = axes or list(range(len(starts or ())))
    strides = steps or [1] * len(places)
    # Walking backwards to before index 0 is an end that Python calls None.
    return [
        (axis, slice(start, None if step < 0 and end < -LARGEST_TENSOR else end, step))
        for start, end, axis, step in zip(starts or (), ends or (), places, strides, strict=True)
    ]


def _read(node: OnnxNode, into: Builder, x: Value) -> None:
    """Cut stated ranges out, one axis after the other."""
    inputs = constant_inputs(node, into)
    # A name without an array: it is computed from the input. An empty name is one left out.
    if any(part is None and name for part, name in zip(inputs[1:], node.inputs[1:], strict=True)):
        raise UnsupportedError("its ranges are not constant")
    value, cuts = x, ranges(inputs, node.attributes)
    for i, (axis, wanted) in enumerate(cuts):
        # The graph's axis for the node, the file's for the size: the batch stands elsewhere.
        ours, place = x.axis(axis), axis % len(x.shape)
        cut = range(*wanted.indices(value.shape[place]))
        if cut.step < 1:
            raise UnsupportedError("walks backwards")
        name = node.outputs[0] if i == len(cuts) - 1 else f"{node.outputs[0]} [{i}]"
        # An empty range can end before it starts.
        stop = max(cut.stop, cut.start)
        value = into.emit("slice", [value], name, axis=ours, start=cut.start, stop=stop, step=cut.step)
    into.set(node.outputs[0], value)


def _read_gather(node: OnnxNode, into: Builder, x: Value) -> None:
    """Pick one index of an axis, e.g. the last time step."""
    index = constant(node, into, 1)
    axis = int(node.attributes.get("axis", 0))
    # One place alone is a range of one; several in any order are no range.
    if index.size != 1 or index.ndim > 1 or index.dtype.kind not in "iu":
        raise UnsupportedError("picks several")
    ours = x.axis(axis)
    axis %= len(x.shape)
    place = int(index.reshape(()))
    place += x.shape[axis] if place < 0 else 0
    if not 0 <= place < x.shape[axis]:
        raise ModelError(f"index {place} of an axis of {x.shape[axis]}")
    out = node.outputs[0]
    # An index without dimensions takes its axis away, too.
    cut = into.emit("slice", [x], out if index.ndim else f"{out} [one]", axis=ours, start=place, stop=place + 1)
    if not index.ndim:
        # An axis gone before the batch moves the batch up by one.
        cut = into.emit("squeeze", [cut], out, batch=x.batch - (axis < x.batch), axes=(ours,))
    into.set(out, cut)


def _channels(x: Sequence[Operand], at: Attributes) -> Channels | None:
    """Those in the range, where it is one of channels; else all of them."""
    (whole,) = x
    along = whole.at(at["axis"]) if isinstance(whole, Channels) else None
    if not isinstance(whole, Channels) or along is None:
        return None
    if not along:
        return whole
    # Of blocks a range may begin within one; and of every second channel, not every second is left.
    if whole.blocks or at.get("step", 1) != 1:
        return None
    return replace(whole, labels=whole.labels[_range(at)])


def _take(x: Sequence[Operand], places: Sequence[Labels | None], at: Attributes) -> Taken:
    """The range moves by as many channels as went before it, and shrinks by those that went within it."""
    (whole,), (left,) = x, places
    if not isinstance(whole, Channels) or left is None or not whole.at(at["axis"]):
        return {}, at
    picked = range(*_range(at).indices(len(whole.labels)))
    inside = np.flatnonzero((left >= picked.start) & (left < picked.stop))
    start = int(inside[0]) if len(inside) else 0
    return {}, {**at, "start": start, "stop": start + len(inside), "step": 1}


register(
    Operator(
        name="slice",
        compute=_compute,
        exact=True,
        shape=_shape,
        channels=_channels,
        take=_take,
        # Tensors are cut by the same words as arrays.
        torch=lambda x, at: x[0][_where(x[0].ndim, at)],
        onnx={"Slice": _read, "Gather": _read_gather},
    )
)
