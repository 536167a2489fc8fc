"""Tensors joined along ``axis``.

Takes any number of tensors that agree in all other axes; gives one.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from eie.errors import ModelError
from eie.model.operators.channels import Channels, Operand, alike, joined
from eie.model.operators.from_onnx import Builder, OnnxNode, UnsupportedError, Value
from eie.model.operators.registry import Array, Attributes, Operator, Shape, register

if TYPE_CHECKING:
    from torch import Tensor


def _compute(x: Sequence[Array], at: Attributes) -> Array:
    return np.concatenate(x, axis=at["axis"])


def _shape(shapes: Sequence[Shape], at: Attributes) -> Shape:
    sizes = list(shapes[0])
    sizes[at["axis"]] = sum(shape[at["axis"]] for shape in shapes)
    return tuple(sizes)


def _torch(x: Sequence[Tensor], at: Attributes) -> Tensor:
    import torch

    return torch.cat(list(x), at["axis"])


def _read(node: OnnxNode, into: Builder, _: Value) -> None:
    """Join activations of one batch axis."""
    parts = [into.known(name) for name in node.inputs]
    # None is a constant or what nobody could read; either way not all parts are activations.
    values = [part for part in parts if part is not None]
    if len(values) != len(parts) or len({value.batch for value in values}) != 1:
        raise UnsupportedError("joins constants, or tensors with their batch in different places")
    first, axis = values[0], int(node.attributes["axis"])
    ours = first.axis(axis)
    axis %= len(first.shape)
    for value in values:
        pairs = zip(value.shape, first.shape, strict=True)
        if any(i != axis and a != b for i, (a, b) in enumerate(pairs)):
            raise ModelError(f"joins shapes {first.shape} and {value.shape}")
    into.set(node.outputs[0], into.emit("concat", values, node.outputs[0], axis=ours))


def _channels(x: Sequence[Operand], at: Attributes) -> Channels | None:
    """One tensor's channels behind the other's; along any other axis they lie on each other."""
    parts = [part for part in x if isinstance(part, Channels)]
    first = parts[0]
    along = first.at(at["axis"])
    if along is None or len(parts) < len(x) or not all(alike(part, first) for part in parts):
        return None
    if not along:
        # Of flattened maps, another axis is the batch.
        return None if first.blocks else joined(x, at)
    # Blocks of unknown width could be of several, and a reader takes all its channels to be alike.
    return None if first.blocks else replace(first, labels=np.concatenate([part.labels for part in parts]))


# Not exact: its inputs have fixed-point formats of their own, and the result needs one that fits all of them.
register(
    Operator(
        name="concat",
        compute=_compute,
        inputs=None,
        shape=_shape,
        channels=_channels,
        torch=_torch,
        joins=True,
        onnx={"Concat": _read},
        stays=("Concat",),
    )
)
