"""Tables of a difference: what is not alike, what each layer took on both sides, and by what PEs did.

Comes in: `Fact` and `Delta` records. Goes out: `Grid` records, without columns that say nothing. Read by the answer.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from eie.results import accounting
from eie.show.sections import Column, Grid, Value
from eie.studies.difference.changes import Delta, Spent
from eie.studies.difference.facts import Fact

# Says what a row is of, wherever it is stated.
_NAMES = {"model": "model", "trace": "trace", "layer": "layer"}


def facts_grid(facts: Sequence[Fact]) -> Grid:
    """Return a row a fact."""
    columns = (
        Column("about", "about", "text"),
        Column("what", "what", "prose"),
        Column("a", "A", "word"),
        Column("b", "B", "word"),
    )
    rows = tuple({"about": fact.about, "what": fact.what, "a": fact.a, "b": fact.b} for fact in facts)
    return Grid(columns=columns, rows=rows, keys=2, grouped=True)


def costs_grid(changes: Sequence[Delta], total: Delta | None) -> Grid:
    """Return what each took on both sides."""
    names = _names(changes)
    columns = (
        *names,
        Column("only", "only in", "word"),
        Column("weights_a", "weights A %", "percent"),
        Column("weights_b", "weights B %", "percent"),
        Column("acts_a", "acts A %", "percent"),
        Column("acts_b", "acts B %", "percent"),
        Column("cycles_a", "cycles A", "count"),
        Column("cycles_b", "cycles B", "count"),
        Column("cycles", "change", "change"),
        Column("relative", "%", "change_percent"),
        Column("us_a", "us A"),
        Column("us_b", "us B"),
        Column("nj_a", "nJ A"),
        Column("nj_b", "nJ B"),
        Column("nj", "nJ change", "change"),
        Column("bound_a", "bound by A", "word"),
        Column("bound_b", "bound by B", "word"),
    )
    rows = tuple(_cost_row(change) for change in changes)
    grid = Grid(columns=columns, rows=rows, total=None if total is None else _cost_row(total), keys=max(1, len(names)))
    # What is equal wherever both sides have it is no difference, and half of a column would be left of it.
    alike = [
        key
        for key in ("weights", "acts")
        if all(row[f"{key}_a"] == row[f"{key}_b"] for row, change in zip(rows, changes, strict=True) if not change.only)
    ]
    gone = {f"{key}_{side}" for key in alike for side in "ab"}
    return replace(grid, columns=tuple(column for column in columns if column.key not in gone)).without_empty()


def parts_grid(changes: Sequence[Delta], total: Delta | None) -> Grid | None:
    """Return the changes of cycles by what PEs did; None where one was not accounted, or nothing moved."""
    rows = tuple(_parts_row(change) for change in changes if change.parts is not None)
    if len(rows) < len(changes) or not rows:
        return None
    moved = [name for name in accounting.SHARES if any(row[name] for row in rows)]
    columns = (
        *_names(changes),
        *(Column(name, name.replace("_", " "), "change") for name in moved),
        Column("sum", "sum", "change"),
    )
    whole = None if total is None else _parts_row(total)
    caption = "Cycles of the mean PE that B takes more, by what it does"
    return Grid(caption=caption, columns=columns, rows=rows, total=whole) if moved else None


def _names(changes: Sequence[Delta]) -> tuple[Column, ...]:
    keys = dict.fromkeys(key for change in changes for key in change.names if key not in ("row",))
    # Of points there are totals only, which have no layer.
    return tuple(
        Column(key, key, "text" if key in _NAMES else "word")
        for key in keys
        if any(change.names[key] != "" for change in changes)
    )


def _cost_row(change: Delta) -> dict[str, Value]:
    return {
        **_said(change),
        "only": change.only,
        **_of("weights", change, "weight_density"),
        **_of("acts", change, "activation_density"),
        **_of("cycles", change, "cycles"),
        "cycles": change.cycles,
        "relative": change.cycles / change.a.cycles if change.a and change.b and change.a.cycles else None,
        **_of("us", change, "latency_us"),
        **_of("nj", change, "energy_nj"),
        "nj": change.energy_nj,
        "bound_a": _bound(change.a),
        "bound_b": _bound(change.b),
    }


def _parts_row(change: Delta) -> dict[str, Value]:
    return {**_said(change), **(change.parts or {}), "sum": change.cycles}


def _said(change: Delta) -> dict[str, Value]:
    # A varied value is shown as it was given: 800.0 is no number to be rounded.
    return {key: value if isinstance(value, str) else str(value) for key, value in change.names.items()}


def _of(key: str, change: Delta, name: str) -> dict[str, Value]:
    sides = {"a": change.a, "b": change.b}
    return {f"{key}_{side}": None if cost is None else getattr(cost, name) for side, cost in sides.items()}


def _bound(cost: Spent | None) -> str:
    if cost is None or not cost.bound_by:
        return ""
    return accounting.in_words({cost.bound_by: cost.bound_by_share or 0.0})
