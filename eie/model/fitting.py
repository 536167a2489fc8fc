"""The one rule for activations whose axes are not quite the network's: what is taken, and what is refused.

Comes in: an array and the shape of one sample of the network's input. Goes out: the same numbers in the same order as
(N, *shape). Read by runs, recordings, training and search, from the command line and from Python.

Axes of 1 may be added or dropped, a sample may be flat where the network takes axes and the other way round, and one
sample may come without its batch axis. Nothing else: a photo with its channels last holds as many numbers as one with
its channels first, and run as that it is another picture. Its axes are moved where a `Layout` says so.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence, Set
from functools import lru_cache
from typing import Literal, TypeVar, get_args

import numpy as np
from numpy.typing import NDArray

from eie.errors import TraceError

# Of the arrays that are given, not of the network: which of its sides channels are on, the shapes tell.
Layout = Literal["nchw", "nhwc"]
LAYOUTS: tuple[Layout, ...] = get_args(Layout)
Shape = tuple[int, ...]
Number = TypeVar("Number", bound=np.generic)
# From a sample's shape to those it may be taken in, given the wanted one.
_Step = Callable[[Shape, Shape], Set[Shape]]


def fitted(
    values: NDArray[Number], wanted: Sequence[int], where: str, *, layout: Layout | None = None, batched: bool = False
) -> NDArray[Number]:
    """Return ``values`` as (N, *wanted).

    Parameters
    ----------
    values
        (N, ...), or one sample.
    wanted
        Shape of a sample; -1 stands for any size.
    where
        What takes the samples, for errors.
    layout
        Where the channels of ``values`` are, if that may differ from the network; None: as the network has them.
    batched
        Whether the first axis is known to be the batch.

    Raises
    ------
    TraceError
        If they have another shape.
    """
    wanted = tuple(wanted)
    way = _way(values.shape, wanted, layout=layout, batched=batched)
    if way is None:
        raise TraceError(f"{where} is {_said(wanted)} a sample, {_problem(values.shape, wanted, layout)}")
    move, shape = way
    taken = values.reshape(shape)
    # Moved, and then as if it had come so: what runs reads rows of the axes' order.
    return taken if move is None else np.ascontiguousarray(np.moveaxis(taken, *move))


def shape_of(shape: Shape, wanted: Sequence[int], where: str) -> Shape:
    """Return the shape, batch first, that `fitted` would give a batch; for arrays that are not numpy's.

    Raises
    ------
    TraceError
        If it is none that fits.
    """
    way = _way(shape, tuple(wanted), layout=None, batched=True)
    if way is None:
        raise TraceError(f"{where} is {_said(tuple(wanted))} a sample, {_problem(shape, tuple(wanted), None)}")
    return way[1]


def filled(shape: Shape, wanted: Sequence[int], *, layout: Layout | None, batched: bool) -> Shape | None:
    """Return the shape of a sample that `fitted` makes of an array of this shape; None if it takes it in none."""
    way = _way(shape, tuple(wanted), layout=layout, batched=batched)
    if way is None:
        return None
    move, whole = way
    axes = list(range(len(whole)))
    if move is not None:
        axes.insert(move[1] % len(axes), axes.pop(move[0] % len(axes)))
    return tuple(whole[axis] for axis in axes)[1:]


def fits(shape: Shape, wanted: Sequence[int], *, layout: Layout | None = None, batched: bool = False) -> bool:
    """Whether `fitted` takes an array of this shape."""
    return _way(shape, tuple(wanted), layout=layout, batched=batched) is not None


def moved(values: NDArray[Number], layout: Layout | None) -> NDArray[Number]:
    """Return samples (N, ...) with their channels first, where ``layout`` says that they are last."""
    return np.ascontiguousarray(np.moveaxis(values, *_TO_FIRST)) if layout == "nhwc" and values.ndim > 2 else values


def checked_layout(layout: object) -> Layout | None:
    """Return a layout, or raise TraceError if it is none."""
    for known in LAYOUTS:
        if layout == known:
            return known
    if layout is None:
        return None
    raise TraceError(f"layout={layout!r}: must be {' or '.join(map(repr, LAYOUTS))}")


def _way(
    shape: Shape, wanted: Shape, *, layout: Layout | None, batched: bool
) -> tuple[tuple[int, int] | None, Shape] | None:
    """Return the axis that moves, from and to, and before that the shape, batch first, that an array is taken in."""
    if layout is None:
        whole = _batch_of(shape, wanted, _STEPS, batched=batched)
        return None if whole is None else (None, whole)
    # Of vectors, and of a flat picture, nothing tells in which of the two orders it was flattened.
    if len(wanted) < 2:
        return None
    # What is declared channels last is most likely for a network that takes them first; else it fits as it is.
    last, first = (_TO_FIRST, wanted[1:] + wanted[:1]), (_TO_LAST, wanted[-1:] + wanted[:-1])
    for move, order in (last, (None, wanted)) if layout == "nhwc" else ((None, wanted), first):
        whole = _batch_of(shape, order, _STEPS[:2], batched=batched)
        if whole is not None:
            return move, whole
    return None


def _batch_of(shape: Shape, wanted: Shape, steps: Sequence[_Step], *, batched: bool) -> Shape | None:
    """Return the whole shape, batch first, that an array is taken in."""
    # A batch before one sample without that axis: (5, 28, 28) for 1 x 28 x 28 are five.
    readings = [(shape[0], shape[1:])] if shape else []
    if not batched:
        readings.append((1, shape))
    for step in steps:
        for count, sample in readings:
            # Only a single axis: (8, 98) for 784 inputs is a batch of the wrong width and no flattened sample.
            if step is _flat and sample is shape and len(shape) > 1:
                continue
            if ways := step(sample, wanted):
                # Of (1, 5, 1) for two open sides, nothing says which axis of 1 is meant.
                return (count, *next(iter(ways))) if len(ways) == 1 else None
    return None


def _same(have: Shape, wanted: Shape) -> Set[Shape]:
    fits = len(have) == len(wanted) and all(want in (-1, size) for size, want in zip(have, wanted, strict=True))
    return {have} if fits else set()


# Cached: with many axes of 1, the same rests are reached in as many orders.
@lru_cache(maxsize=4096)
def _aligned(have: Shape, wanted: Shape) -> Set[Shape]:
    """Shapes that ``have`` gets to by adding and dropping axes of 1."""
    if not have and not wanted:
        return frozenset({()})
    ways: set[Shape] = set()
    if have and wanted and wanted[0] in (-1, have[0]):
        ways |= {(have[0], *rest) for rest in _aligned(have[1:], wanted[1:])}
    # Not an open size: a sample of no axes is not a map of one pixel.
    if wanted and wanted[0] == 1:
        ways |= {(1, *rest) for rest in _aligned(have, wanted[1:])}
    if have and have[0] == 1:
        ways |= _aligned(have[1:], wanted)
    return frozenset(ways)


def _flat(have: Shape, wanted: Shape) -> Set[Shape]:
    axes = [size for size in have if size != 1]
    wide = [size for size in wanted if size != 1]
    # One open size follows from the others, two do not: 6 numbers are 2 x 3 or 3 x 2.
    if (len(axes) > 1 and len(wide) > 1) or wanted.count(-1) > 1:
        return set()
    size, known = math.prod(have), math.prod(size for size in wanted if size != -1)
    whole = tuple(size // known if want == -1 else want for want in wanted)
    return {whole} if size and math.prod(whole) == size else set()


# Where the channels' axis of (N, ...) goes from and to.
_TO_FIRST, _TO_LAST = (-1, 1), (1, -1)
# Tried in this order: what is closest first.
_STEPS: tuple[_Step, ...] = (_same, _aligned, _flat)


def _said(wanted: Shape) -> str:
    return " x ".join("any" if size == -1 else str(size) for size in wanted) or "one value"


def _problem(shape: Shape, wanted: Shape, layout: Layout | None) -> str:
    have = f"the activations have shape {shape}"
    if layout is not None:
        return f"{have}: neither as {layout} nor as they are do they fit"
    rotations: dict[Layout, Shape] = {"nhwc": wanted[1:] + wanted[:1], "nchw": wanted[-1:] + wanted[:-1]}
    for known, order in rotations.items():
        if len(wanted) > 1 and _batch_of(shape, order, _STEPS[:2], batched=False) is not None:
            side = "last" if known == "nhwc" else "first"
            return f'{have}: channels {side}? --layout {known} (layout="{known}" in Python) moves them'
    return f"{have}: axes of 1 may be added or dropped, and the samples of a batch flattened"
