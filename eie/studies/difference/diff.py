"""`diff`: two results, or two sweeps, beside each other.

Comes in: two answers, or their files. Goes out: a frozen `Difference`. Called by users and the command line.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from eie.errors import EieError
from eie.formats.answers import Document
from eie.formats.arguments import taken
from eie.formats.files import unmet
from eie.results.result import Result
from eie.spec.apart import labels
from eie.studies.difference.answer import Difference
from eie.studies.difference.changes import Delta, Spent, layer_changes, point_changes, total_of
from eie.studies.difference.facts import facts
from eie.studies.difference.sides import Side, side_of
from eie.sweeps.result import SweepResult

Comparable = Result | SweepResult | Document | str | Path


@taken
def diff(a: Comparable, b: Comparable) -> Difference:
    """Say what differs between two results or two sweeps, and where the time went.

    Parameters
    ----------
    a, b
        Results (`eie.simulate`) or sweeps (`eie.sweep`), what `eie.read_answer` gave, their ``.json`` files, or the
        folder of a sweep; two of a kind.

    Returns
    -------
    Difference
        Facts that are not alike, and a row a layer or point with the change in cycles, energy, and by what PEs did.

    Raises
    ------
    EieError
        If a file is missing, damaged or of another schema, or one is a result and the other a sweep.

    Examples
    --------
    >>> import numpy as np, eie
    >>> layer = eie.Layer.from_weights("ones", np.ones((8, 6)))
    >>> two, four = (eie.simulate(layer, np.ones(6), spec=eie.EIE_64PE.replace(n_pe=n)) for n in (2, 4))
    >>> change = eie.diff(two, four).changes[0]
    >>> change.cycles, change.parts["useful"], sum(change.parts.values())
    (-12.0, -12.0, -12.0)
    """
    sides = side_of(a), side_of(b)
    if sides[0].kind != sides[1].kind:
        kinds = " and ".join(f"{side.label} is a {side.kind}" for side in sides)
        raise EieError(f"{kinds}: a difference is of two results or of two sweeps")
    try:
        return _difference(sides)
    # A file's rows that lack a key, or have a text where a number belongs: what is read is bounded, not complete.
    except (KeyError, TypeError, ValueError, ArithmeticError, AttributeError) as error:
        named = " or ".join(dict.fromkeys(side.label for side in sides))
        raise EieError(f"{named}: damaged {sides[0].kind}: {unmet(error)}") from None


def _difference(sides: tuple[Side, Side]) -> Difference:
    results = sides[0].kind == "result"
    changes = layer_changes(*sides) if results else point_changes(*sides)
    reasons = [reason for side in sides for reason in side.values.get("incomplete") or ()]
    return Difference(
        kind=sides[0].kind,
        labels=_labels(*sides),
        facts=facts(*sides),
        changes=changes,
        total=_total(changes, *sides) if results and not reasons else None,
        clocks_mhz=(sides[0].spec.clock_mhz, sides[1].spec.clock_mhz),
        notes=(*_notes(changes, sides), *(f"no total: {reason}" for reason in dict.fromkeys(reasons))),
    )


def _labels(a: Side, b: Side) -> tuple[str, str]:
    """Call A and B by their files and, where these are not alike, by their machines."""
    # A sweep's own spec has one value of what it varies, which none of its points need have.
    machines = labels([a.spec, b.spec], {*a.values.get("vary", ()), *b.values.get("vary", ())})
    if machines[0] == machines[1]:
        return a.label, b.label
    return f"{a.label} ({machines[0]})", f"{b.label} ({machines[1]})"


def _total(changes: tuple[Delta, ...], a: Side, b: Side) -> Delta:
    """Add the layers up; what binds the whole stands in the files, since shares of layers do not add up to it."""
    total = total_of(changes)
    return Delta(total.names, _bound(total.a, a), _bound(total.b, b))


def _bound(cost: Spent | None, side: Side) -> Spent | None:
    parts = side.values.get("bound_parts") or {}
    name = side.values.get("bound_by") or ""
    return None if cost is None else replace(cost, bound_by=name, bound_by_share=parts.get(name))


def _notes(changes: tuple[Delta, ...], sides: tuple[Side, Side]) -> list[str]:
    notes = []
    what = "layer" if sides[0].kind == "result" else "point"
    if all(change.only for change in changes):
        notes.append(f"no {what} of A is in B: nothing can be set side by side")
    if what == "layer":
        # A sweep has no shares at all, and docs/outputs.md says so.
        notes += [
            f"{letter} says nothing of what its PEs did: simulate(..., shares=True), or eie run --json, counts it"
            for letter, costs in (("A", [c.a for c in changes]), ("B", [c.b for c in changes]))
            if any(cost is not None and cost.parts is None for cost in costs)
        ]
    if all(cost is None or cost.energy_nj is None for change in changes for cost in (change.a, change.b)):
        notes.append("no method prices both sides: energies are left out")
    return notes
