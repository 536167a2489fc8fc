"""Tables as HTML: numbers as everywhere else, what a row is of as its heading, raw values for the sort of a page.

Comes in: `Grid` records and claims. Goes out: HTML text. Read by `eie.show.page`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from html import escape

from eie.show.cells import Cells, cells_of
from eie.show.html import note_html, safe
from eie.show.sections import Column, Grid, Statement, Value
from eie.show.text import verdict

LARGE_DEVIATION = 0.05
FEWEST_SORTED = 2  # rows: a table of one is in order
# In the element, since notebooks show sections without the page's style sheet.
_LEFT, _RIGHT, _BOLD = "text-align: left", "text-align: right", "; font-weight: bold"


def table_html(grid: Grid, title: str = "", *, sorts: bool = False) -> str:
    """Return a table in a box of its own, which scrolls where the page is narrower.

    Parameters
    ----------
    title
        What it is of, where it has no caption.
    sorts
        Whether the page it stands on sorts it: then cells hold their numbers as well.
    """
    # Names that a group has once on a terminal stand in every row: rows change places, and are read out one by one.
    columns = cells_of(replace(grid, grouped=False))
    sorts = sorts and len(grid.rows) >= FEWEST_SORTED and any(column.heading for column in columns)
    rows = "".join(
        f"<tr>{_row(grid, columns, [c.cells[i] for c in columns], values=row, sorts=sorts)}</tr>"
        for i, row in enumerate(grid.rows)
    )
    foot = ""
    if grid.total is not None:
        foot = f"<tfoot><tr>{_row(grid, columns, [c.total for c in columns], values={}, style=_BOLD)}</tr></tfoot>"
    return _box(
        f"{_caption(grid)}{_head(columns)}<tbody>{rows}</tbody>{foot}", grid.caption or title, look="sorts" * sorts
    ) + "".join(map(note_html, grid.notes))


def claims_html(statements: Sequence[Statement]) -> str:
    """Return claims as a table: verdict, place, claim, what was found."""
    left = f' style="{_LEFT}"'
    rows = "".join(
        f'<tr><td class="{verdict(claim).split()[0]}">{verdict(claim)}</td><td{left}>{safe(claim.place)}</td>'
        f"<td{left}>{safe(claim.claim)}</td><td{left}>{safe(claim.found)}</td></tr>"
        for claim in statements
    )
    head = "".join(f'<th scope="col"{left}>{text}</th>' for text in ("verdict", "where", "claim, and bound", "found"))
    return _box(f"<thead><tr>{head}</tr></thead><tbody>{rows}</tbody>", "claims", look="claims")


def _box(table: str, label: str, look: str) -> str:
    # Reached by the Tab key, so that what is wider than the page can be scrolled without a mouse.
    named = f' role="region" aria-label="{safe(label)}"' if label else ""
    classes = f' class="{look}"' if look else ""
    return f'<div class="scroll" tabindex="0"{named}><table{classes}>{table}</table></div>'


def _caption(grid: Grid) -> str:
    return f"<caption>{safe(grid.caption)}</caption>" if grid.caption else ""


def _head(columns: Sequence[Cells]) -> str:
    # Facts have no headings, and an empty row of them would be read out.
    if not any(column.heading for column in columns):
        return ""
    cells = "".join(f'<th scope="col" style="{_side(column)}">{escape(column.heading)}</th>' for column in columns)
    return f"<thead><tr>{cells}</tr></thead>"


def _row(
    grid: Grid,
    columns: Sequence[Cells],
    texts: Sequence[str],
    *,
    values: Mapping[str, Value],
    sorts: bool = False,
    style: str = "",
) -> str:
    cells = []
    for place, (cells_column, column, text) in enumerate(zip(columns, grid.columns, texts, strict=True)):
        value = values.get(column.key)
        # `Cells` hold printable text already; only HTML's own signs are left to escape.
        inside = f' style="{_side(cells_column)}{style}">{escape(text)}'
        if place < grid.keys:
            cells.append(f'<th scope="row"{_mark(column, None)}{inside}</th>')
        else:
            cells.append(f"<td{_mark(column, value)}{_raw(value) if sorts else ''}{inside}</td>")
    return "".join(cells)


def _side(column: Cells) -> str:
    return _LEFT if column.left else _RIGHT


def _raw(value: Value) -> str:
    # What is printed is rounded; a sort must not take 1,234.4 and 1,233.6 for equals.
    return f' data-v="{value!r}"' if isinstance(value, int | float) and not isinstance(value, bool) else ""


def _mark(column: Column, value: Value) -> str:
    if column.format == "prose":
        return ' class="prose"'
    if column.format == "deviation" and isinstance(value, float):
        return ' class="large"' if abs(value) > LARGE_DEVIATION else ' class="close"'
    return ""
