"""The reproduction as plain text, JSON and single cells.

Comes in: a `Reproduction`. Goes out: text. Read by the command line; `page` formats its cells here too.
"""

from __future__ import annotations

import json
from textwrap import wrap
from typing import Any

from eie.paper.records import Column, Grid, Section, Statement, Value
from eie.paper.reproduce import Reproduction
from eie.version import package_versions

SCHEMA_NAME = "eie-paper"
SCHEMA = 1
WIDTH = 110


def plain(found: Reproduction) -> str:
    """Return everything as aligned text."""
    parts = [found.paper, *_wrapped(found.data, 0), ""]
    for section in found.sections:
        parts += _section(section)
    if found.statements:
        parts += [*_wrapped(tally(found.statements), 0), ""]
    return "\n".join(parts)


def tally(statements: tuple[Statement, ...]) -> str:
    """Say how many claims hold."""
    failed = [statement for statement in statements if not statement.holds]
    text = f"Claims of the text: {len(statements) - len(failed)} of {len(statements)} hold."
    return text + (f" Not reproduced: {'; '.join(f'{one.place}: {one.claim}' for one in failed)}." if failed else "")


def _section(section: Section) -> list[str]:
    lines = [section.title, "=" * len(section.title), ""]
    for grid in section.grids:
        lines += [grid.caption, *_aligned(grid), ""]
    for one in section.statements:
        lines += [*_wrapped(f"{verdict(one)}  {one.claim}", 6), *_wrapped(f"      found: {one.found}", 13)]
    lines += [""] * bool(section.statements)
    for note in section.notes:
        lines += _wrapped(f"Note: {note}", 6)
    return [*lines, ""] if section.notes else lines


def _wrapped(text: str, indent: int) -> list[str]:
    return wrap(text, WIDTH, subsequent_indent=" " * indent)


def verdict(statement: Statement) -> str:
    """``pass`` or ``FAIL``."""
    return "pass" if statement.holds else "FAIL"


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
    if value is None:
        return ""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, str):
        return value
    if column.format == "deviation":
        return f"{100 * value:+.1f} %"
    if column.format == "percent":
        return f"{100 * value:.1f} %"
    return number(value)


def number(value: float) -> str:
    """Four significant digits, thousands separated, no exponent."""
    if value == int(value) or abs(value) >= 1000:
        return f"{value:,.0f}"
    digits = 3 if abs(value) < 1 else 2 if abs(value) < 100 else 1
    return f"{value:.{digits}f}"


def to_json(found: Reproduction) -> str:
    """Return everything as JSON (schema ``eie-paper`` 1)."""
    value: dict[str, Any] = {
        "schema": SCHEMA_NAME,
        "schema_version": SCHEMA,
        "paper": found.paper,
        "data": found.data,
        "versions": package_versions(),
        "sections": [
            {
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
                    {"x_label": one.x_label, "x": one.x, "y_label": one.y_label, "series": one.series}
                    for one in section.curves
                ],
                "claims": [
                    {"place": one.place, "claim": one.claim, "holds": one.holds, "found": one.found}
                    for one in section.statements
                ],
                "notes": section.notes,
            }
            for section in found.sections
        ],
    }
    return json.dumps(value, indent=2, allow_nan=False) + "\n"
