"""What a page draws itself, with its values on hover: stacked bars, a strip of many columns, points in a plane.

Comes in: numbers. Goes out: frozen records, parts of a `Section`. Made by answers, read by `eie.show.bars` and
`eie.show.plane`; text and terminals leave them out, since a table beside each has the same numbers.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from eie.show.brief import Brief


@dataclass(frozen=True, kw_only=True, repr=False)
class Bars(Brief):
    """A bar a row, made of parts.

    Attributes
    ----------
    rows
        What each row is of, and its parts by name; parts below zero go to the left.
    unit
        Of the values, in words.
    whole
        Whether a bar is as long as all others, whatever it adds up to; else all have one scale.
    beside
        What is said beside a row.
    """

    caption: str
    rows: Mapping[str, Mapping[str, float]]
    unit: str
    whole: bool
    beside: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True, repr=False)
class Strips(Brief):
    """Many columns side by side, such as all PEs, each made of parts; a strip a row.

    Attributes
    ----------
    column
        What a column is: ``PE``.
    names
        Of the columns, in order.
    rows
        What each strip is of, and its parts by name, a value a column each.
    """

    caption: str
    column: str
    names: Sequence[str]
    rows: Mapping[str, Mapping[str, Sequence[float]]]
    unit: str


@dataclass(frozen=True, kw_only=True, repr=False)
class Point(Brief):
    """One point: where it lies, what it is called, and whether it is one of the best."""

    x: float
    y: float
    name: str
    marked: bool


@dataclass(frozen=True, kw_only=True, repr=False)
class Points(Brief):
    """Points in a plane; those that are marked are joined where each is better than the one before in one way.

    Attributes
    ----------
    series
        Points by what they are of, such as a model.
    marked
        What a marked point is called: ``front``.
    """

    caption: str
    x_label: str
    y_label: str
    series: Mapping[str, Sequence[Point]]
    marked: str


Chart = Bars | Strips | Points
