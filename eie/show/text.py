"""Sections as plain text, plain data and single cells.

Comes in: `Section` records. Goes out: lines of text, or dicts ready for JSON. Read by the paper's reproduction and by
studies; `section_page` formats its cells here too.
"""

from __future__ import annotations

from collections.abc import Iterable
from textwrap import wrap
from typing import Any

from eie.show.sections import Column, Grid, Section, Statement, Value

WIDTH = 110


def section_lines(section: Section) -> list[str]:
    """Return a section as aligned text: tables, claims, notes."""
    lines = [section.title, "=" * len(section.title), ""]
    for grid in section.grids:
        lines += [grid.caption, *_aligned(grid), ""]
    for one in section.statements:
        lines += [*wrapped(f"{verdict(one)}  {one.claim}", 6), *wrapped(f"      found: {one.found}", 13)]
    lines += [""] * bool(section.statements)
    for note in section.notes:
        lines += wrapped(f"Note: {note}", 6)
    return [*lines, ""] if section.notes else lines


def wrapped(text: str, indent: int = 0) -> list[str]:
    """Break a line into several of at most `WIDTH` characters, all but the first indented."""
    return wrap(text, WIDTH, break_on_hyphens=False, subsequent_indent=" " * indent)


def verdict(statement: Statement) -> str:
    """``pass``, ``FAIL`` or ``not shown``."""
    return {True: "pass", False: "FAIL", None: "not shown"}[statement.holds]


def _aligned(grid: Grid) -> list[str]:
    table = [[column.heading for column in grid.columns]]
    table += [[cell(row.get(column.key), column) for column in grid.columns] for row in grid.rows]
    widths = [max(map(len, values)) for values in zip(*table, strict=True)]
    left = [column.format == "text" for column in grid.columns]
    return [
        "  ".join(
            text.ljust(width) if to_left else text.rjust(width)
            for text, width, to_left in zip(row, widths, left, strict=True)
        ).rstrip()
        for row in table
    ]


def cell(value: Value, column: Column) -> str:
    """Write one value as its column says; empty for None."""
    if value is None or isinstance(value, str):
        return value or ""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if column.format == "factor":
        return f"{value:,.0f}x" if value >= 100 else f"{value:.2f}x"
    signed = {"deviation": "+", "percent": ""}
    return number(value) if column.format not in signed else f"{100 * value:{signed[column.format]}.1f} %"


def number(value: float) -> str:
    """Four significant digits, thousands separated, no exponent."""
    if value == int(value) or abs(value) >= 1000:
        return f"{value:,.0f}"
    if abs(value) < 0.1:
        return f"{value:.3g}"
    digits = 3 if abs(value) < 1 else 2 if abs(value) < 100 else 1
    return f"{value:.{digits}f}"


def tally(statements: Iterable[Statement], what: str) -> str:
    """Say how many claims hold; ``what`` heads the line."""
    statements = list(statements)
    failed = [one for one in statements if one.holds is False]
    shown = [one for one in statements if one.holds is not None]
    text = f"{what}: {len(shown) - len(failed)} of {len(shown)} hold"
    if len(shown) < len(statements):
        text += f", {len(statements) - len(shown)} are not shown"
    return text + (f". Not reproduced: {'; '.join(f'{one.place}: {one.claim}' for one in failed)}." if failed else ".")


def section_data(section: Section) -> dict[str, Any]:
    """Return a section as plain data, ready for JSON."""
    return {
        "name": section.name,
        "title": section.title,
        "tables": [
            {
                "caption": grid.caption,
                "columns": [{"key": one.key, "heading": one.heading} for one in grid.columns],
                "rows": [dict(row) for row in grid.rows],
            }
            for grid in section.grids
        ],
        "curves": [
            {"x_label": one.x_label, "x": one.x, "y_label": one.y_label, "series": one.series} for one in section.curves
        ],
        "claims": [
            {"place": one.place, "claim": one.claim, "holds": one.holds, "found": one.found}
            for one in section.statements
        ],
        "notes": section.notes,
    }
