"""Which sample every row of a tensor is of: samples are changed, and it is seen which rows move.

Comes in: a way to run a batch, and the batch. Goes out: the places of each sample's rows. Read by the recorders. Where
a framework has the batch is not asked: time may stand before it, or be merged with it, in front of it or behind.

Each sample is changed in half of the runs, no two in the same ones. A row of one sample moves in just its runs; one
that moves in more reads several samples, one that moves in none reads none. Sets of equal size, none of which lies in
the union of fewer: of m runs, as many samples can be told apart as there are ways to choose half of them. That is 6
runs for a batch of 16, 4 for one of 4, beside the one that is changed.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from itertools import combinations, count
from typing import Any

import numpy as np
from numpy.typing import NDArray

from eie.errors import TraceError

# In the place of a sample's number.
CONSTANT, MIXED = -1, -2
# Changes drawn anew while rows that did not move leave it open how the others lie.
ROUNDS = 3
SEED = 0
# Of a row's largest number. Sums whose order depends on the rest of the batch may differ in their last bits.
TOLERANCE = 1e-5

Array = NDArray[Any]
Places = NDArray[np.int64]
# From a batch, by the inputs' names, to the rows (rows, width) of each recorded tensor.
Run = Callable[[Mapping[str, Array]], Sequence[Array]]


class MixedError(TraceError):
    """A row depends on several samples of a batch."""


class UnclearError(TraceError):
    """Rows that no change moves, and that do not lie as others do, could be any sample's."""


def owned_places(run: Run, batch: Mapping[str, Array], names: Sequence[str]) -> list[Places]:
    """Find which rows of each tensor are which sample's.

    Parameters
    ----------
    run
        Called with batches of equal shape.
    batch
        (samples, ...) by the name of the network's input.
    names
        What errors call the tensors.

    Returns
    -------
    list of ndarray
        int64 (samples, rows of one sample) for each tensor: places in it, in their order. Rows that no sample moves are
        of every sample, unless those that move say how they lie.

    Raises
    ------
    MixedError
        If a row moves with several samples.
    UnclearError
        If too few rows move to tell.
    """
    samples = len(next(iter(batch.values())))
    base = run(batch)
    if samples == 1:
        return [np.arange(len(rows))[None] for rows in base]
    rng = np.random.default_rng(SEED)
    owners = [np.full(len(rows), CONSTANT) for rows in base]
    for left in reversed(range(ROUNDS)):
        _merge(owners, _decoded(run, base=base, batch=batch, changed=_changed(batch, rng)))
        if mixed := [name for name, owner in zip(names, owners, strict=True) if (owner == MIXED).any()]:
            raise MixedError(f"layer {mixed[0]!r}: its rows depend on several samples of a batch")
        layouts = [_layouts(owner, samples) for owner in owners]
        if not left or all(_is_clear(owner, ways) for owner, ways in zip(owners, layouts, strict=True)):
            break
    return [
        _places(name, owner=owner, layouts=ways, rows=rows, samples=samples)
        for name, owner, ways, rows in zip(names, owners, layouts, base, strict=True)
    ]


def _is_clear(owner: NDArray[np.int64], layouts: Sequence[int]) -> bool:
    idle = owner == CONSTANT
    # Where nothing moves at all, there is nothing to be told apart.
    return len(layouts) == 1 or idle.all() or not idle.any()


def _changed(batch: Mapping[str, Array], rng: np.random.Generator) -> dict[str, Array]:
    """Return other samples of the same kind: fractions of like spread, and whole numbers that occur."""
    changed = {}
    for name, array in batch.items():
        if array.dtype.kind == "f":
            # All zeros have no spread, and are changed all the same.
            spread = float(array.std()) or 1.0
            changed[name] = (rng.standard_normal(array.shape) * spread + float(array.mean())).astype(array.dtype)
        else:
            # Ids have bounds that nobody states: those that occur lie within them.
            changed[name] = rng.choice(np.unique(array), array.shape)
    return changed


def _codes(samples: int) -> NDArray[np.bool_]:
    """bool (samples, runs): in which runs a sample is changed, half of them."""
    runs = next(many for many in count(2) if math.comb(many, many // 2) >= samples)
    codes = np.zeros((samples, runs), bool)
    for code, places in zip(codes, combinations(range(runs), runs // 2), strict=False):
        code[list(places)] = True
    return codes


def _decoded(
    run: Run, *, base: Sequence[Array], batch: Mapping[str, Array], changed: Mapping[str, Array]
) -> list[NDArray[np.int64]]:
    codes = _codes(len(next(iter(batch.values()))))
    # A run's bit for each row that moved in it.
    moved = [np.zeros(len(rows), np.int64) for rows in base]
    for digit, chosen in enumerate(codes.T):
        fed = {
            name: np.where(chosen.reshape(-1, *[1] * (array.ndim - 1)), changed[name], array)
            for name, array in batch.items()
        }
        for i, (rows, other) in enumerate(zip(base, run(fed), strict=True)):
            moved[i] |= _moved(rows, other).astype(np.int64) << digit
    weights = (codes << np.arange(codes.shape[1])).sum(axis=1)
    order = np.argsort(weights)
    owners = []
    for bits in moved:
        nearest = order[np.searchsorted(weights[order], bits).clip(max=len(order) - 1)]
        owners.append(np.where(bits == 0, CONSTANT, np.where(weights[nearest] == bits, nearest, MIXED)))
    return owners


def _moved(rows: Array, other: Array) -> NDArray[np.bool_]:
    """bool (rows,): which differ by more than rounding."""
    if rows.shape != other.shape:
        raise TraceError(
            f"recorded rows have shape {rows.shape}, with other numbers {other.shape}: they hang on values"
        )
    moved: NDArray[np.bool_] = (rows != other).any(axis=1)
    # Only of these it is asked by how much: of most rows not a bit is another.
    places = np.flatnonzero(moved)
    before, after = rows[places].astype(np.float64), other[places].astype(np.float64)
    with np.errstate(all="ignore"):
        bound = TOLERANCE * np.maximum(np.abs(before), np.abs(after)).max(axis=1, initial=0, keepdims=True)
        # What is not finite has no distance.
        same = (before == after) | (np.abs(before - after) <= bound) | (np.isnan(before) & np.isnan(after))
    moved[places] = ~same.all(axis=1)
    return moved


def _merge(owners: list[NDArray[np.int64]], fresh: Sequence[NDArray[np.int64]]) -> None:
    for i, other in enumerate(fresh):
        both = (owners[i] != CONSTANT) & (other != CONSTANT)
        merged = np.where(owners[i] == CONSTANT, other, owners[i])
        owners[i] = np.where(both & (owners[i] != other), MIXED, merged)


def _layouts(owner: NDArray[np.int64], samples: int) -> list[int]:
    """Return for which numbers of neighbours in one sample the rows can be (outer, samples, neighbours)."""
    if len(owner) % samples:
        return []
    rest, known = len(owner) // samples, np.flatnonzero(owner >= 0)
    ways = [inner for inner in range(1, rest + 1) if rest % inner == 0]
    return [inner for inner in ways if np.array_equal(known // inner % samples, owner[known])]


def _places(name: str, *, owner: NDArray[np.int64], layouts: Sequence[int], rows: Array, samples: int) -> Places:
    every = np.arange(len(owner))
    if (owner == CONSTANT).all():
        for inner in reversed(layouts):
            cut = _cut(len(owner), samples, inner)
            # The same in every sample, since no sample changes it.
            if (rows[cut] == rows[cut[:1]]).all():
                return cut
        return np.tile(every, (samples, 1))
    # Batch first is the widest, and what it is taken for where rows that never move leave several.
    if layouts and (len(layouts) == 1 or layouts[-1] * samples == len(owner)):
        return _cut(len(owner), samples, layouts[-1])
    idle = np.flatnonzero(owner == CONSTANT)
    # Rows of all samples, beside as many of each: only where those that do not move could not be of each as well.
    each = [np.flatnonzero((owner == i) | (owner == CONSTANT)) for i in range(samples)]
    if len({len(places) for places in each}) > 1 or (len(idle) and len(owner) % samples == 0):
        raise UnclearError(f"layer {name!r}: too few of its rows move with the samples to tell whose they are")
    return np.stack(each)


def _cut(count: int, samples: int, inner: int) -> Places:
    # (outer, samples, inner) with the samples in front.
    return np.arange(count).reshape(-1, samples, inner).transpose(1, 0, 2).reshape(samples, -1)
