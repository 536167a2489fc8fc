"""What a report with tables, figures and checked claims is made of: the EIE paper's reproduction, granularity studies.

Comes in: numbers. Goes out: frozen `Section` records, the same for tables and figures. Read by `section_text` and
`section_page`, which only lay them out, and by whoever draws.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

Value = str | float | bool | None
Format = Literal["text", "number", "percent", "deviation", "factor", "yes"]


@dataclass(frozen=True)
class Column:
    """A column of a `Grid`: key in the rows, heading, and how its values are written.

    ``percent`` and ``deviation`` hold fractions; a deviation is written with its sign, a factor as ``2.00x``.
    """

    key: str
    heading: str
    format: Format = "number"


@dataclass(frozen=True)
class Grid:
    """A table: rows are mappings by column key; a missing key is an empty cell."""

    caption: str
    columns: tuple[Column, ...]
    rows: tuple[Mapping[str, Value], ...]


@dataclass(frozen=True, kw_only=True)
class Curves:
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
        return Grid(caption, tuple(columns), rows)


@dataclass(frozen=True, kw_only=True)
class Statement:
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


@dataclass(frozen=True, kw_only=True)
class Section:
    """Tables that belong together, with the figure that shows them and the claims they bear on.

    Attributes
    ----------
    name
        Unique in its report: ``table2``, ``figure13``, ``claims``.
    curves
        What its figure shows; empty for sections without one.
    """

    name: str
    title: str
    grids: tuple[Grid, ...] = ()
    curves: tuple[Curves, ...] = ()
    statements: tuple[Statement, ...] = ()
    notes: tuple[str, ...] = ()


def deviation(ours: float, printed: float) -> float:
    """Ours against printed, as a signed fraction of the printed value."""
    return ours / printed - 1
