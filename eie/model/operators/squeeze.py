"""Without ``axes``, each of which has one place.

Takes one tensor; gives the same numbers.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from eie.model.operators.channels import Channels, Operand
from eie.model.operators.from_onnx import (
    Builder,
    OnnxNode,
    UnsupportedError,
    Value,
    axes_of,
    constant_inputs,
    reshaped,
)
from eie.model.operators.registry import Attributes, Operator, Shape, register


def squeezed(shape: Shape, axes: list[int] | None) -> Shape:
    """Return ``shape`` without ``axes``, which must be 1; without all that are 1 for None."""
    if axes is None:
        return tuple(size for size in shape if size != 1)
    # Negative axes count from the end.
    places = {axis % len(shape) for axis in axes}
    if any(shape[place] != 1 for place in places):
        raise ValueError(f"axes {axes} of {shape} are not all 1")
    return tuple(size for i, size in enumerate(shape) if i not in places)


def _channels(x: Sequence[Operand], at: Attributes) -> Channels | None:
    """Without height and width, a channel is one number."""
    (maps,) = x
    if not isinstance(maps, Channels) or maps.flat or set(at.get("axes", ())) not in ({2, 3}, {-1, -2}):
        return None
    return maps.flattened(blocks=False)


def _read(node: OnnxNode, into: Builder, x: Value) -> None:
    axes = axes_of(constant_inputs(node, into), node.attributes)
    # Open batches count as 1, so whether this one would be dropped depends on how many samples come.
    if axes is None and x.shape[x.batch] == 1:
        raise UnsupportedError("names no axes, so that a batch of one would vanish")
    gone = {axis % len(x.shape) for axis in axes or ()}
    # Of a batch that goes itself, another axis of one takes the place.
    batch = None if x.batch in gone else x.batch - sum(axis < x.batch for axis in gone)
    reshaped(into, x, out=node.outputs[0], sizes=squeezed(x.shape, axes), batch=batch)


register(
    Operator(
        name="squeeze",
        # Axes are always stated here: without them numpy would drop a batch of one as well.
        compute=lambda x, at: np.squeeze(x[0], tuple(at["axes"])),
        exact=True,
        shape=lambda shapes, at: squeezed(shapes[0], list(at["axes"])),
        channels=_channels,
        onnx={"Squeeze": _read},
    )
)
