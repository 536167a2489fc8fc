"""Batch normalisation at inference: inputs x, scale, bias, mean, variance; ``epsilon`` (1e-5).

Takes (N, C, ...) and four vectors (C,); gives (N, C, ...).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from eie.errors import ModelError
from eie.model.operators.channels import Channels, Labels, Operand, Taken
from eie.model.operators.from_onnx import Builder, OnnxNode, UnsupportedError, Value, constant
from eie.model.operators.registry import Array, Attributes, Operator, register

if TYPE_CHECKING:
    from torch import Tensor


def _compute(x: Sequence[Array], at: Attributes) -> Array:
    # (C,) to (C, 1, 1): without the batch, which broadcasts from the front.
    scale, bias, mean, variance = (part.reshape(-1, *[1] * (x[0].ndim - 2)) for part in x[1:])
    # One factor a channel, made first: a division a channel instead of one a number.
    normal: Array = (x[0] - mean) * (scale / np.sqrt(variance + at.get("epsilon", 1e-5))) + bias
    return normal


def _torch(x: Sequence[Tensor], at: Attributes) -> Tensor:
    from torch.nn import functional

    batch, scale, bias, mean, variance = x
    return functional.batch_norm(batch, mean, variance, scale, bias, eps=at.get("epsilon", 1e-5))


def _read(node: OnnxNode, into: Builder, x: Value) -> None:
    """Keep the four vectors as constants of the graph."""
    # Further outputs are the running statistics of training.
    if len(x.shape) < 2 or x.batch != 0 or node.attributes.get("training_mode", 0) or any(node.outputs[1:]):
        raise UnsupportedError("trains, or its input has no channels")
    operands: list[Value | str] = [x]
    for place in range(1, 5):
        vector = constant(node, into, place)
        if vector.shape != (x.shape[1],):
            raise ModelError(f"input {place} has shape {vector.shape}: must be ({x.shape[1]},)")
        operands.append(into.hold(f"{node.outputs[0]} [{place}]", vector))
    epsilon = float(node.attributes.get("epsilon", 1e-5))
    into.set(node.outputs[0], into.emit("batch_norm", operands, node.outputs[0], epsilon=epsilon))


def _channels(x: Sequence[Operand], _: Attributes) -> Channels | None:
    """Each channel has a number of its own in every vector."""
    batch, *vectors = x
    if not isinstance(batch, Channels) or batch.blocks or any(isinstance(vector, Channels) for vector in vectors):
        return None
    # The second axis, whatever the rank: of a sequence of vectors it is the step, not the channel.
    return batch if batch.at(1) else None


def _take(x: Sequence[Operand], places: Sequence[Labels | None], at: Attributes) -> Taken:
    left = places[0]
    return {place: np.asarray(vector)[left] for place, vector in enumerate(x) if place}, at


register(
    Operator(
        name="batch_norm",
        compute=_compute,
        inputs=5,
        channels=_channels,
        take=_take,
        torch=_torch,
        onnx={"BatchNormalization": _read},
        stays=("BatchNormalization",),
    )
)
