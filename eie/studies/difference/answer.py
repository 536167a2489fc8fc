"""The answer of a difference: what is not alike, what each layer or point took on both sides, and where the time went.

Comes in: labels, `Fact` and `Delta` records. Goes out: a frozen `Difference`. Read by the command line, notebooks and
`eie.plots.difference`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from statistics import geometric_mean
from typing import Any, ClassVar

from eie.results import accounting
from eie.show.face import Answer
from eie.show.numbers import factor, of, signed
from eie.show.sections import Section, Value
from eie.studies.difference.changes import Delta, Spent
from eie.studies.difference.charts import part_bars, point_bars
from eie.studies.difference.facts import Fact
from eie.studies.difference.grids import costs_grid, facts_grid, parts_grid
from eie.studies.difference.sides import Kind

MOST_ROWS = 30  # of a table of points; files and pages hold them all
MOST_NAMED = 3  # layers, or things that PEs did, which a sentence names


@dataclass(frozen=True, kw_only=True, repr=False)
class Difference(Answer):
    """Two results, or two sweeps, side by side.

    Attributes
    ----------
    kind
        ``"result"`` or ``"sweep"``.
    labels
        What A and B are: their files, or names.
    facts
        What differs in machine, model, inputs and how they were run.
    changes
        A layer each, or of sweeps a row each of points and their layers.
    total
        All layers together; None of sweeps, and where the layers do not add up to a network.
    clocks_mhz
        Of both machines: a change of the clock changes time, and no cycle.
    notes
        What a reader must know before believing the numbers.
    """

    SCHEMA: ClassVar[str] = "eie-diff"

    kind: Kind
    labels: tuple[str, str]
    facts: tuple[Fact, ...]
    changes: tuple[Delta, ...]
    total: Delta | None
    clocks_mhz: tuple[float, float]
    notes: tuple[str, ...] = ()

    @property
    def same(self) -> bool:
        """Whether nothing differs: machine, model, inputs, cycles, what PEs did, energy."""
        return not self.facts and all(change.none for change in self.changes)

    @property
    def points(self) -> tuple[Delta, ...]:
        """What a table shows: all layers of results, totals of the points of sweeps."""
        return tuple(change for change in self.changes if change.names.get("row", "total") == "total")

    def headline(self) -> str:
        """Say what is compared, and what it came to."""
        a, b = self.labels
        between = f"A: {a}, B: {b}"
        if self.same:
            return f"{between}: no difference"
        if self.kind == "sweep":
            return f"{between}: {self._points_in_words()}"
        if self.total is None or self.total.only:
            return f"{between}: no total to compare"
        return f"{between}: B takes {' and '.join(_ratios(self.total))}"

    def _points_in_words(self) -> str:
        both = [change for change in self.points if not change.only]
        ratios = [change.b.latency_us / change.a.latency_us for change in both if change.a and change.b]
        if not ratios or min(ratios) <= 0:
            return f"{of(len(both), 'point')} in both"
        spread = f" ({factor(min(ratios))} to {factor(max(ratios))})" if len(both) > 1 else ""
        return f"{of(len(both), 'point')} in both, for which B takes {factor(geometric_mean(ratios))} the time{spread}"

    def sections(self) -> tuple[Section, ...]:
        """Return what is not alike, then what each layer or point took, then by what PEs did."""
        if self.same:
            return (Section(name="difference", lines=("No difference.",), notes=self.notes),)
        return self._sections(MOST_ROWS)

    def page_sections(self) -> tuple[Section, ...]:
        """Return the same with all points."""
        return self.sections() if self.same else self._sections(len(self.points))

    def _sections(self, most: int) -> tuple[Section, ...]:
        # Layers in their order; of points those first that changed most, last those that only one side has.
        points = self.points
        if self.kind == "sweep":
            points = tuple(sorted(points, key=lambda change: (change.only, -abs(_relative(change))))[:most])
        left = len(self.points) - len(points)
        lines = self._lines()
        facts = facts_grid(self.facts)
        first = Section(
            name="facts", title="What differs", grids=(facts,) if facts.rows else (), lines=_alike(self.facts)
        )
        costs = Section(
            name="costs",
            title="What it took",
            charts=(point_bars(points),)
            if self.kind == "sweep" and any(_relative(change) for change in points)
            else (),
            grids=(costs_grid(points, self.total),),
            lines=(*lines, *([f"And {left:,} more points."] if left else [])),
            notes=self.notes,
        )
        parts = parts_grid(points, self.total)
        if parts is None:
            return (first, costs)
        return (
            first,
            costs,
            Section(name="shares", title="Where the time went", charts=(part_bars(points),), grids=(parts,)),
        )

    def provenance(self) -> Mapping[str, Value]:
        """Return what A and B are."""
        return {"A": self.labels[0], "B": self.labels[1]}

    def _lines(self) -> list[str]:
        total = self.total
        if total is None or total.only or not total.cycles:
            return []
        lines = [f"Cycles: {signed(total.cycles)}, of which {_largest(self._by_layer())}."]
        if total.parts is not None:
            parts = {name.replace("_", " "): cycles for name, cycles in total.parts.items()}
            lines.append(f"Of the mean PE: {_largest(parts)}.")
        before, after = self.clocks_mhz
        if before != after and total.a is not None:
            # cycles / MHz = us: what A's cycles take at the other clock.
            by_clock = total.a.cycles / after - total.a.cycles / before
            lines.append(f"Of the change of {signed(total.latency_us)} us, {signed(by_clock)} us are the clock's.")
        return lines

    def _by_layer(self) -> Mapping[str, float]:
        return {str(change.names["layer"]): change.cycles for change in self.changes}

    def records(self) -> list[dict[str, Any]]:
        """One flat record a layer or point, units in the keys, and of results one of all layers."""
        rows = [_record(change) for change in self.changes]
        if self.kind == "result":
            rows = [{"row": "layer", **row} for row in rows]
            rows += [] if self.total is None else [{"row": "total", **_record(self.total)}]
        return rows

    def content(self) -> dict[str, Any]:
        """Return what differs, and the records."""
        return {
            "kind": self.kind,
            "a": self.labels[0],
            "b": self.labels[1],
            "same": self.same,
            "facts": [vars(fact) for fact in self.facts],
            "rows": self.records(),
            "notes": list(self.notes),
        }


def _ratios(change: Delta) -> list[str]:
    """Say how much B takes of what A takes."""
    assert change.a is not None
    assert change.b is not None
    said = []
    if change.a.latency_us:
        said.append(f"{factor(change.b.latency_us / change.a.latency_us)} the time")
    if change.a.energy_nj and change.b.energy_nj is not None:
        said.append(f"{factor(change.b.energy_nj / change.a.energy_nj)} the energy")
    return said or ["as much"]


def _relative(change: Delta) -> float:
    return change.cycles / change.a.cycles if change.a and change.b and change.a.cycles else 0.0


def _largest(cycles: Mapping[str, float]) -> str:
    """Name what changed most, whichever way."""
    moved = sorted((name for name in cycles if cycles[name]), key=lambda name: -abs(cycles[name]))
    named = [f"{name} {signed(cycles[name])}" for name in moved[:MOST_NAMED]]
    left = sum(cycles[name] for name in moved[MOST_NAMED:])
    return ", ".join([*named, *([f"all others {signed(left)}"] if len(moved) > MOST_NAMED else [])])


def _alike(facts: tuple[Fact, ...]) -> tuple[str, ...]:
    """Say which of machine, model and inputs are the same."""
    differing = {fact.about for fact in facts}
    alike = [about for about in ("machine", "model", "inputs") if about not in differing]
    return (f"Alike: {', '.join(alike)}.",) if alike else ()


def _record(change: Delta) -> dict[str, Any]:
    return {
        **change.names,
        "in": change.only or "both",
        **_both(change, "cycles"),
        "cycles_change": change.cycles,
        **_both(change, "latency_us"),
        "latency_us_change": change.latency_us,
        **_both(change, "energy_nj"),
        "energy_nj_change": change.energy_nj,
        **{f"energy_{kind}_nj_change": nj for kind, nj in change.kind_nj.items()},
        **_both(change, "bound_by"),
        **_both(change, "bound_by_share"),
        **_both(change, "weight_density"),
        **_both(change, "activation_density"),
        **{f"{name}_change": (change.parts or {}).get(name) for name in accounting.SHARES},
    }


def _both(change: Delta, name: str) -> dict[str, Any]:
    return {f"{name}_{letter}": _value(cost, name) for letter, cost in (("a", change.a), ("b", change.b))}


def _value(cost: Spent | None, name: str) -> Any:
    value = None if cost is None else getattr(cost, name)
    return None if value == "" else value
