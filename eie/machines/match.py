"""Which layer of a baseline is which of ours: by name, then by order and shape; the rest is listed.

Comes in: our layers' names and shapes, and a `Baseline`. Goes out: a frozen `Matched`. Read by the comparison.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from eie.machines.records import WHOLE, Baseline, LayerCost

Shape = tuple[int, int, int]


@dataclass(frozen=True)
class Matched:
    """A baseline's costs for our layers.

    Attributes
    ----------
    costs
        Our layer's name to the baseline's cost; layers without one are missing.
    notes
        What was paired by shape or order only, what was not matched, and why.
    """

    costs: Mapping[str, LayerCost]
    notes: tuple[str, ...]


def match(ours: Mapping[str, Shape], baseline: Baseline) -> Matched:
    """Pair layers.

    A name counts unless both shapes are known and differ. Layers left over are paired in order: with equal shapes, or,
    where the baseline states none, if as many are left on both sides.
    """
    theirs = [layer for layer in baseline.layers if layer.layer != WHOLE]
    costs, notes = _by_name(ours, theirs)
    # By identity: two layers of a report may be equal in every figure.
    paired = {id(cost) for cost in costs.values()}
    open_ours = [name for name in ours if name not in costs]
    open_theirs = [layer for layer in theirs if id(layer) not in paired]
    for name, cost in _by_order(ours, open_ours, open_theirs).items():
        costs[name] = cost
        paired.add(id(cost))
        notes.append(f"{name} is taken for {cost.layer}, by order{' and shape' if cost.shape else ''}")
    if theirs:
        missing = [name for name in ours if name not in costs]
        extra = [layer.layer for layer in theirs if id(layer) not in paired]
        if missing:
            notes.append(f"no figure for {', '.join(missing)}")
        if extra:
            notes.append(f"not among our layers: {', '.join(extra)}")
    return Matched(costs, tuple(notes))


def _by_name(ours: Mapping[str, Shape], theirs: list[LayerCost]) -> tuple[dict[str, LayerCost], list[str]]:
    # Reversed, so that of two layers of one name the first is taken.
    named = {layer.layer.casefold(): layer for layer in reversed(theirs)}
    costs, notes = {}, []
    for name, shape in ours.items():
        namesake = named.get(name.casefold())
        if namesake is None:
            continue
        if namesake.shape is None or namesake.shape == shape:
            costs[name] = namesake
        else:
            sizes = " against ".join("{} x {}, {} products".format(*sides) for sides in (shape, namesake.shape))
            notes.append(f"{name} has another shape there: {sizes}")
    return costs, notes


def _by_order(ours: Mapping[str, Shape], names: list[str], theirs: list[LayerCost]) -> dict[str, LayerCost]:
    if theirs and all(layer.shape is None for layer in theirs):
        return dict(zip(names, theirs, strict=True)) if len(names) == len(theirs) else {}
    pairs, start = {}, 0
    for name in names:
        # Never back: order is what makes equal shapes a match, so a pair further up closes what lies above it.
        for i in range(start, len(theirs)):
            if theirs[i].shape == ours[name]:
                pairs[name], start = theirs[i], i + 1
                break
    return pairs
