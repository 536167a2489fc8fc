"""Stacked bars and strips as HTML and inline SVG: every value on hover, and in words for those who see nothing.

Comes in: `Bars` and `Strips`. Goes out: HTML text, names escaped. Read by `eie.show.page`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from eie.show.charts import Bars, Strips
from eie.show.html import key, safe
from eie.show.numbers import number, percent, signed
from eie.show.palette import SHARES
from eie.show.sections import Column, Grid, Value
from eie.show.tables import table_html

THINNEST = 1e-4  # of a bar: what nobody can see is not drawn


def bars_html(chart: Bars) -> str:
    """Return a bar a row, with its name before and what is said beside it."""
    rows = chart.rows.values()
    low, high = _ends(rows)
    drawn = "".join(
        f'<div class="row"><span class="name">{safe(name)}</span>'
        f'<span class="bar" role="img" aria-label="{safe(_bar_in_words(chart, name))}">'
        f"{_pieces(chart, name, _ends([parts]) if chart.whole else (low, high))}</span>"
        f'<span class="beside">{safe(chart.beside.get(name, ""))}</span></div>'
        for name, parts in chart.rows.items()
    )
    # Without words beside them, bars take the room.
    return f'{legend(_used(rows))}<div class="rows{" plain" * (not chart.beside)}">{drawn}</div>'


def _ends(rows: Iterable[Mapping[str, float]]) -> tuple[float, float]:
    """How far bars reach to the left and to the right of zero."""
    lows = [sum(value for value in parts.values() if value < 0) for parts in rows]
    highs = [sum(value for value in parts.values() if value > 0) for parts in rows]
    return min(lows, default=0.0), max(highs, default=0.0)


def _pieces(chart: Bars, name: str, ends: tuple[float, float]) -> str:
    low, high = ends
    span = (high - low) or 1.0
    # Parts below zero grow to the left of it, the others to the right.
    left = right = -low / span
    pieces = []
    if low < 0:
        pieces.append(f'<span class="zero" style="left:{100 * left:.3f}%"></span>')
    for part, value in chart.rows[name].items():
        width = abs(value) / span
        if width < THINNEST:
            continue
        left, right, start = (left - width, right, left - width) if value < 0 else (left, right + width, right)
        title = f"{name}: {said_of(part)} {_value(chart, name, value)}"
        pieces.append(
            f'<span class="{look_of(part)}" style="left:{100 * max(start, 0.0):.3f}%;width:{100 * width:.3f}%" '
            f'title="{safe(title)}"></span>'
        )
    return "".join(pieces)


def _value(chart: Bars, name: str, value: float) -> str:
    if not chart.whole:
        return f"{signed(value)} {chart.unit}"
    whole = sum(chart.rows[name].values()) or 1.0
    return f"{percent(value / whole)} %, {number(value)} {chart.unit}"


def _bar_in_words(chart: Bars, name: str) -> str:
    parts = {part: value for part, value in chart.rows[name].items() if value}
    listed = ", ".join(f"{said_of(part)} {_value(chart, name, value)}" for part, value in parts.items())
    return f"{name}: {listed or 'nothing'}"


def strips_html(chart: Strips) -> str:
    """Return a strip a row, its name above and the names of its outer columns below."""
    first, last = (chart.names[0], chart.names[-1]) if chart.names else ("", "")
    drawn = "".join(
        f'<div class="strip"><div class="name">{safe(name)}</div>{_strip(chart, name)}'
        f'<div class="axis"><span>{safe(first)}</span><span>{safe(last)}</span></div>'
        f"<details><summary>{safe(f'{name}, {chart.column} by {chart.column}')}</summary>"
        f"{table_html(_columns_grid(chart, name), name, sorts=True)}</details></div>"
        for name in chart.rows
    )
    return legend(_used({part: sum(map(abs, v)) for part, v in parts.items()} for parts in chart.rows.values())) + drawn


def _columns_grid(chart: Strips, name: str) -> Grid:
    """Return a strip's values as a table: what hovering shows, for those who have no mouse."""
    parts = {part: values for part, values in chart.rows[name].items() if any(values)}
    columns = (Column("column", chart.column, "text"), *(Column(part, said_of(part)) for part in parts))
    rows: tuple[Mapping[str, Value], ...] = tuple(
        {"column": column, **{part: values[i] for part, values in parts.items()}}
        for i, column in enumerate(chart.names)
    )
    return Grid(columns=columns, rows=rows)


def _strip(chart: Strips, name: str) -> str:
    """Draw one part as one shape over all columns, so that a thousand of them stay light; a column's values on top."""
    parts = chart.rows[name]
    columns = range(len(chart.names))
    tops = [sum(values[i] for values in parts.values()) for i in columns]
    high = max(tops, default=0.0) or 1.0
    base = [0.0] * len(chart.names)
    shapes = []
    for part, values in parts.items():
        if not any(values):
            continue
        upper = [low + value for low, value in zip(base, values, strict=True)]
        shapes.append(f'<path class="{look_of(part)}" d="{_stairs(base, upper, high)}"/>')
        base = upper
    hits = "".join(
        f'<rect x="{i}" y="0" width="1" height="100" class="hit">'
        f"<title>{safe(_column_in_words(chart, name, i))}</title></rect>"
        for i in columns
    )
    return (
        f'<svg class="strip" viewBox="0 0 {len(chart.names)} 100" preserveAspectRatio="none" role="img" '
        f'aria-label="{safe(_strip_in_words(chart, name))}">{"".join(shapes)}{hits}</svg>'
    )


def _stairs(base: Sequence[float], upper: Sequence[float], high: float) -> str:
    """Outline what lies between two flights of stairs: along the upper one, back along the lower one."""

    def y(value: float) -> str:
        return f"{100 * (1 - value / high):.2f}".rstrip("0").rstrip(".")

    there = " ".join(f"V{y(value)}H{i + 1}" for i, value in enumerate(upper))
    back = " ".join(f"V{y(value)}H{i}" for i, value in reversed(list(enumerate(base))))
    return f"M0 {y(upper[0])}{there}{back}Z"


def _column_in_words(chart: Strips, name: str, column: int) -> str:
    values = {part: listed[column] for part, listed in chart.rows[name].items()}
    whole = sum(values.values()) or 1.0
    said = [f"{said_of(part)} {percent(value / whole)} % ({number(value)})" for part, value in values.items() if value]
    return f"{chart.names[column]}: {', '.join(said)} of {number(whole)} {chart.unit}"


def _strip_in_words(chart: Strips, name: str) -> str:
    tops = [sum(values[i] for values in chart.rows[name].values()) or 1.0 for i in range(len(chart.names))]
    said = []
    for part, values in chart.rows[name].items():
        if any(values):
            shares = [value / top for value, top in zip(values, tops, strict=True)]
            mean = sum(values) / sum(tops)
            said.append(f"{said_of(part)} {percent(min(shares))} to {percent(max(shares))} %, mean {percent(mean)}")
    return f"{name}, {len(chart.names)} columns of {chart.unit}: {'; '.join(said)}"


def _used(rows: Iterable[Mapping[str, float]]) -> list[str]:
    """Parts that are anywhere more than nothing, in the order in which they stand."""
    return list(dict.fromkeys(part for parts in rows for part, value in parts.items() if value))


def legend(parts: Sequence[str]) -> str:
    """Return which colour is which part."""
    return key({look_of(part): said_of(part) for part in parts})


def look_of(part: str) -> str:
    """Return the style sheet's name of a part's colour."""
    return f"part {part.replace('_', '-')}" if part in SHARES else "part"


def said_of(part: str) -> str:
    """Return a part's name in words."""
    return part.replace("_", " ")
