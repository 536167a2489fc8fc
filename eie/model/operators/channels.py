"""Whether and how channels survive an operator: the record that rules take and give, and rules that several share.

Comes in: the `Channels` of an operator's inputs, its constants and attributes. Goes out: the `Channels` of its output,
and, where some were taken out before it, its constants and attributes as they are then. Read by the operators beside
this; channel pruning follows them from layer to layer.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]
Attributes = Mapping[str, Any]
Labels = NDArray[np.int64]


@dataclass(frozen=True, eq=False, kw_only=True)
class Channels:
    """The channels of one tensor.

    Attributes
    ----------
    labels
        int64 (C,): in their order, a number for each channel that it keeps wherever it goes.
    axis
        Where they lie, counted from the last axis, which is -1: there each is one number, or a block of them where a
        map was flattened. In front of it each is a map.
    rank
        Axes of the tensor, batch included; None where nobody knows.
    blocks
        Whether a channel may be several numbers of the last axis.
    ties
        Pairs of label arrays: channels that only go together, since the operator joins their numbers.
    """

    labels: Labels
    axis: int = -1
    rank: int | None = None
    blocks: bool = False
    ties: tuple[tuple[Labels, Labels], ...] = field(default=())

    @property
    def flat(self) -> bool:
        """Whether they lie along the last axis."""
        return self.axis == -1

    def at(self, axis: int) -> bool | None:
        """Whether ``axis`` of the tensor is theirs; None where nobody knows."""
        if axis < 0:
            return axis == self.axis
        return None if self.rank is None else axis - self.rank == self.axis

    def flattened(self, *, blocks: bool) -> Channels:
        """Return the same channels of a map in one row of numbers."""
        return replace(self, axis=-1, rank=2, blocks=blocks)


# A constant among the inputs is the array itself, without a batch axis.
Operand = Channels | Array
ChannelRule = Callable[[Sequence[Operand], Attributes], Channels | None]
# Inputs, which of their channels are left and in which order (None: of a constant), attributes; to the constants by
# their place, and the attributes, as they are then.
Taken = tuple[Mapping[int, Array], Attributes]
TakeRule = Callable[[Sequence[Operand], Sequence[Labels | None], Attributes], Taken]


def mixed(_: Sequence[Operand], __: Attributes) -> None:
    """Channel rule of what mixes channels, or moves them where nobody follows."""
    return


def kept(x: Sequence[Operand], _: Attributes) -> Channels | None:
    """Channel rule of what works on every number of its first input alone."""
    return _only(x)


def kept_on_maps(x: Sequence[Operand], _: Attributes) -> Channels | None:
    """Channel rule of what works on every feature map alone: a flattened one is none any more."""
    only = _only(x)
    return None if only is None or only.flat else only


def _only(x: Sequence[Operand]) -> Channels | None:
    (only,) = x
    return only if isinstance(only, Channels) else None


def joined(x: Sequence[Operand], _: Attributes) -> Channels | None:
    """Channel rule of what joins tensors number by number: a channel of one needs its counterpart in the others."""
    tensors = [part for part in x if isinstance(part, Channels)]
    first = tensors[0]
    if any(not alike(part, first) or len(part.labels) != len(first.labels) for part in tensors[1:]):
        return None
    if any(constant_axis(part, first) is None for part in x if not isinstance(part, Channels)):
        return None
    # A tensor and what was made of it, as x and sigmoid(x): nothing new is tied.
    others = [part for part in tensors[1:] if not np.array_equal(part.labels, first.labels)]
    return replace(first, ties=tuple((first.labels, part.labels) for part in others))


def alike(these: Channels, others: Channels) -> bool:
    """Whether channels of two tensors lie alike; blocks of unknown width never do."""
    return these.axis == others.axis and these.blocks == others.blocks


def constant_axis(constant: Array, beside: Channels) -> int | None:
    """Which axis of a constant, counted from the end, runs along the channels beside it; 0 if none, None if unclear."""
    size = np.shape(constant)[beside.axis] if np.ndim(constant) >= -beside.axis else 1
    if size == 1:
        return 0
    return beside.axis if size == len(beside.labels) else None


def unchanged(_: Sequence[Operand], __: Sequence[Labels | None], at: Attributes) -> Taken:
    """Take rule of what does not count its channels."""
    return {}, at


def constants_too(x: Sequence[Operand], places: Sequence[Labels | None], at: Attributes) -> Taken:
    """Take rule of what has constants beside a tensor: a number for each channel goes with it."""
    beside, left = next((part, place) for part, place in zip(x, places, strict=True) if isinstance(part, Channels))
    assert left is not None
    taken = {}
    for place, constant in enumerate(x):
        if not isinstance(constant, Channels) and (axis := constant_axis(constant, beside)):
            taken[place] = constant.take(left, axis)
    return taken, at
