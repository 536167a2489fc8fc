"""What everything that can be shown is made of: tables, figures, checked claims, notes.

Comes in: numbers. Goes out: frozen `Section` records. Made by every answer, read by the renderers `eie.show.text`,
`eie.show.terminal` and `eie.show.page`, which only lay them out, and by figures.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal

from eie.show.brief import Brief
from eie.show.charts import Chart

Value = str | float | bool | None
Format = Literal[
    "text",
    "prose",
    "word",
    "number",
    "count",
    "fixed1",
    "fixed2",
    "percent",
    "percent2",
    "deviation",
    "factor",
    "change",
    "change_percent",
    "yes",
]

UNKNOWN = (None, "", "-", "?")  # cells that say nothing: not there, or not known

Basis = Literal["printed", "predicted", "calibrated", "by construction", "textual claim only"]
# What stands beside a number, in brackets; nothing beside what is another's number.
MARKS: Mapping[Basis, str] = {
    "printed": "",
    "predicted": "p",
    "calibrated": "c",
    "by construction": "b",
    "textual claim only": "t",
}


@dataclass(frozen=True, repr=False)
class Column(Brief):
    """A column of a `Grid`: key in the rows, heading, and how its values are written.

    ``text`` is a name, to the left, shortened on terminals; ``prose`` a sentence, broken there between words; ``word``
    text that stands among numbers (``300 x 784``), to the right.
    ``percent``, ``deviation`` and ``change_percent`` hold fractions; the sign of percent is left to the heading where
    that has one. ``change`` and ``change_percent`` say what became more or less, ``deviation`` how far ours is from
    what is printed. See `eie.show.numbers` for the rest.
    """

    key: str
    heading: str
    format: Format = "number"


@dataclass(frozen=True, kw_only=True, repr=False)
class Grid(Brief):
    """A table: rows are mappings by column key; a missing key, or None, is an empty cell.

    Attributes
    ----------
    total
        The row under the line, or None.
    keys
        How many columns, from the left, say what a row is of: a table that is split repeats them.
    grouped
        Whether the first column is left empty where it repeats the row above.
    notes
        Reasons and sources of single rows: under the table, so that no cell holds a sentence.
    basis
        What each cell is, a mapping by column key for each row, where a table says so; shown by `MARKS`.
    """

    caption: str = ""
    columns: tuple[Column, ...]
    rows: tuple[Mapping[str, Value], ...]
    total: Mapping[str, Value] | None = None
    keys: int = 1
    grouped: bool = False
    notes: tuple[str, ...] = ()
    basis: tuple[Mapping[str, Basis], ...] = ()

    def without_empty(self) -> Grid:
        """Return the same without columns that say nothing in any row; those that say what a row is of stay."""
        rows = (*self.rows, *([] if self.total is None else [self.total]))
        kept = tuple(
            column
            for place, column in enumerate(self.columns)
            if place < self.keys or any(row.get(column.key) not in UNKNOWN for row in rows)
        )
        return replace(self, columns=kept)


@dataclass(frozen=True, kw_only=True, repr=False)
class Curves(Brief):
    """What a figure shows: one series of ``y`` over ``x`` each; None where there is no point.

    ``x`` holds numbers for curves and names for bars.
    """

    x_label: str
    x: tuple[float | str, ...]
    y_label: str
    series: Mapping[str, tuple[float | None, ...]]

    def grid(self, caption: str, format: Format = "number") -> Grid:
        """Return the same numbers as a table, one row a series."""
        columns = [Column("series", "", "text"), *(Column(str(x), f"{x}", format) for x in self.x)]
        rows = tuple(
            {"series": name, **{str(x): y for x, y in zip(self.x, values, strict=True)}}
            for name, values in self.series.items()
        )
        return Grid(caption=caption, columns=tuple(columns), rows=rows)


@dataclass(frozen=True, kw_only=True, repr=False)
class Statement(Brief):
    """A claim of a text, checked.

    Attributes
    ----------
    place
        Where the text says it.
    claim
        What it says, with the bound by which it is judged here.
    holds
        Whether our numbers agree; None where nothing here can show it.
    found
        The numbers.
    """

    place: str
    claim: str
    holds: bool | None
    found: str


@dataclass(frozen=True, kw_only=True, repr=False)
class Section(Brief):
    """Tables that belong together, with the figure that shows them and the claims they bear on.

    Attributes
    ----------
    name
        Unique in its report: ``table2``, ``figure13``, ``claims``; figures are found by it.
    title
        Empty where the answer's headline says it already.
    curves
        What its figure shows; empty for sections without one.
    charts
        What a page draws above the tables.
    lines
        Sentences under the tables, as they are.
    notes
        What a reader must know before believing the numbers; shown as such.
    """

    name: str
    title: str = ""
    grids: tuple[Grid, ...] = ()
    curves: tuple[Curves, ...] = ()
    charts: tuple[Chart, ...] = ()
    statements: tuple[Statement, ...] = ()
    lines: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()


def facts(pairs: Mapping[str, Value], caption: str = "") -> Grid:
    """Return a table of two columns, a row a fact: what a single record is shown as."""
    columns = (Column("fact", "", "prose"), Column("value", "", "word"))
    return Grid(caption=caption, columns=columns, rows=tuple({"fact": key, "value": v} for key, v in pairs.items()))


def statements_of(sections: Sequence[Section]) -> tuple[Statement, ...]:
    """Return the claims of all sections, in order."""
    return tuple(statement for section in sections for statement in section.statements)


def deviation(ours: float, printed: float) -> float:
    """Ours against printed, as a signed fraction of the printed value."""
    return ours / printed - 1
