"""A border of ``value`` (0): ``pads``, one (before, after) pair an axis.

Takes one tensor; gives a larger one.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from eie.model.operators.channels import Channels, Operand
from eie.model.operators.from_onnx import Builder, OnnxNode, UnsupportedError, Value, constant
from eie.model.operators.registry import Attributes, Operator, Shape, register


def _shape(shapes: Sequence[Shape], at: Attributes) -> Shape:
    return tuple(size + before + behind for size, (before, behind) in zip(shapes[0], at["pads"], strict=True))


def _read(node: OnnxNode, into: Builder, x: Value) -> None:
    """Add a constant border."""
    if str(node.attributes.get("mode", "constant")) != "constant":
        raise UnsupportedError(f"mode {node.attributes['mode']}")
    amounts = np.array(node.attributes["pads"]) if len(node.inputs) < 2 else constant(node, into, 1)
    value = node.attributes.get("value", 0.0)
    if len(node.inputs) > 2 and node.inputs[2]:
        value = constant(node, into, 2).reshape(())
    # Amounts are counted in the file's axes, batch included; `Value.axis` translates, and refuses to pad the batch.
    rank = len(x.shape)
    axes = list(range(rank))
    if len(node.inputs) > 3 and node.inputs[3]:
        axes = [int(axis) % rank for axis in constant(node, into, 3).ravel()]
    # The file lists all amounts before, then all behind.
    before = {axis: int(amounts[i]) for i, axis in enumerate(axes)}
    behind = {axis: int(amounts[len(axes) + i]) for i, axis in enumerate(axes)}
    pairs = [(0, 0)] * rank
    for axis in axes:
        if min(before[axis], behind[axis]) < 0:
            raise UnsupportedError("cuts instead of adding")
        # Checked before an axis is translated: nothing is added to the batch, and asking for it would be an error.
        if before[axis] or behind[axis]:
            pairs[x.axis(axis)] = (before[axis], behind[axis])
    into.set(node.outputs[0], into.emit("pad", [x], node.outputs[0], pads=tuple(pairs), value=float(value)))


def _channels(x: Sequence[Operand], at: Attributes) -> Channels | None:
    """Where no border is added along the channels: one would be channels of its own."""
    (padded,) = x
    if not isinstance(padded, Channels) or padded.blocks or any(at["pads"][padded.axis]):
        return None
    return padded


# Not exact: ``value`` is a real number, which the format of the raw integers may not hold.
register(
    Operator(
        name="pad",
        compute=lambda x, at: np.pad(x[0], at["pads"], constant_values=at.get("value", 0)),
        shape=_shape,
        channels=_channels,
        onnx={"Pad": _read},
        stays=("Pad",),
    )
)
