"""Sections as plain text, for pipes, files and ``str()``: a row, a note, a claim is one line, however long.

Comes in: `Section` records. Goes out: text. Read by `eie.show.face`; `section_data` makes plain data of them for JSON.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from eie.errors import printable
from eie.show.cells import Cells, cells_of
from eie.show.sections import Grid, Section, Statement

GAP = "  "


def plain(headline: str, sections: Sequence[Section], claims: str = "") -> str:
    """Return everything as aligned text; ``claims`` heads the count of claims that hold."""
    lines = [printable(headline), ""] if headline else []
    for section in sections:
        lines += section_lines(section)
    statements = [statement for section in sections for statement in section.statements]
    if claims and statements:
        lines += [printable(tally(statements, claims)), ""]
    while lines and not lines[-1]:
        lines.pop()
    return "\n".join(lines) + "\n"


def section_lines(section: Section) -> list[str]:
    """Return a section as aligned text: tables, claims, notes."""
    title = printable(section.title)
    lines = [title, "=" * len(title), ""] if title else []
    for grid in section.grids:
        lines += [printable(grid.caption)] * bool(grid.caption)
        lines += [*grid_lines(grid), *map(printable, grid.notes), ""]
    lines += claim_lines(section.statements)
    ends = [*section.lines, *(f"Note: {note}" for note in section.notes)]
    return [*lines, *map(printable, ends), *[""] * bool(ends)]


def claim_lines(statements: Sequence[Statement]) -> list[str]:
    """Return a verdict with its claim, and what was found, a line each."""
    lines = []
    for statement in statements:
        lines += [f"{verdict(statement)}  {printable(statement.claim)}", f"      found: {printable(statement.found)}"]
    return [*lines, *[""] * bool(lines)]


def verdict(statement: Statement) -> str:
    """``pass``, ``FAIL`` or ``not shown``."""
    return {True: "pass", False: "FAIL", None: "not shown"}[statement.holds]


def grid_lines(grid: Grid) -> Iterator[str]:
    """Return a table, one line a row."""
    columns = cells_of(grid)
    widths = [column.whole_width for column in columns]
    if any(column.heading for column in columns):
        yield row_line(columns, widths, [column.heading for column in columns])
    for i in range(len(grid.rows)):
        yield row_line(columns, widths, [column.cells[i] for column in columns])
    if grid.total is not None:
        yield row_line(columns, widths, [column.total for column in columns])


def row_line(columns: Sequence[Cells], widths: Sequence[int], texts: Sequence[str]) -> str:
    """Lay one row out."""
    padded = (column.padded(text, width) for column, width, text in zip(columns, widths, texts, strict=True))
    return GAP.join(padded).rstrip()


def tally(statements: Iterable[Statement], what: str) -> str:
    """Say how many claims hold; ``what`` heads the line."""
    statements = list(statements)
    failed = [statement for statement in statements if statement.holds is False]
    shown = [statement for statement in statements if statement.holds is not None]
    text = f"{what}: {len(shown) - len(failed)} of {len(shown)} hold"
    if len(shown) < len(statements):
        text += f", {len(statements) - len(shown)} are not shown"
    listed = "; ".join(f"{statement.place}: {statement.claim}" for statement in failed)
    return text + (f". Not reproduced: {listed}." if failed else ".")


def section_data(section: Section) -> dict[str, Any]:
    """Return a section as plain data, ready for JSON."""
    return {
        "name": section.name,
        "title": section.title,
        "tables": [_grid_data(grid) for grid in section.grids],
        "curves": [
            {"x_label": curves.x_label, "x": curves.x, "y_label": curves.y_label, "series": curves.series}
            for curves in section.curves
        ],
        "claims": [
            {"place": claim.place, "claim": claim.claim, "holds": claim.holds, "found": claim.found}
            for claim in section.statements
        ],
        "notes": [*section.lines, *section.notes],
    }


def _grid_data(grid: Grid) -> dict[str, Any]:
    rows = grid.rows if grid.total is None else (*grid.rows, grid.total)
    data = {
        "caption": grid.caption,
        "columns": [{"key": column.key, "heading": column.heading} for column in grid.columns],
        "rows": [dict(row) for row in rows],
        "notes": list(grid.notes),
    }
    return {**data, "basis": [dict(words) for words in grid.basis]} if grid.basis else data
