"""Sections as HTML: tables, inline SVG, claims; the same for the same numbers, no date, no outside resource.

Comes in: `Section` records and their figures as SVG. Goes out: HTML text; everything that is not ours is escaped. Read
by ``to_html`` and by notebooks (``_repr_html_``) through `eie.show.face`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape

from eie.errors import printable
from eie.show.cells import Cells, cells_of
from eie.show.sections import Column, Grid, Section, Statement, Value, statements_of
from eie.show.text import tally, verdict

LARGE_DEVIATION = 0.05
MANY_SECTIONS = 3
# In the element, since notebooks show sections without the page's style sheet.
_LEFT, _RIGHT, _BOLD = "text-align: left", "text-align: right", "; font-weight: bold"
CSS = """
body { font: 15px/1.5 system-ui, sans-serif; color: #222; max-width: 1200px; margin: 2rem auto; padding: 0 1rem; }
h1 { font-size: 1.6rem; } h2 { font-size: 1.25rem; margin-top: 2.5rem; border-bottom: 1px solid #ccc; }
nav a { margin-right: .8rem; white-space: nowrap; }
.scroll { overflow-x: auto; margin: 1rem 0; }
table { border-collapse: collapse; font-size: 13px; }
caption { text-align: left; font-weight: 600; padding: .3rem 0; }
th, td { padding: .15rem .55rem; border-bottom: 1px solid #eee; white-space: nowrap; }
th { border-bottom: 1px solid #888; vertical-align: bottom; }
tfoot td { border-top: 1px solid #888; }
td.large { background: #fbe3d0; }
td.close { background: #e3f0f8; }
svg { width: 720px; max-width: 100%; height: auto; display: block; margin: 1rem 0; }
.claims td { white-space: normal; }
.claims td:nth-child(2) { white-space: nowrap; }
.pass { color: #00614a; font-weight: 600; } .FAIL { color: #a63c00; font-weight: 600; }
.note { color: #555; font-size: 13px; margin: .3rem 0; }
"""


def page(
    headline: str, sections: Sequence[Section], claims: str = "", drawings: Mapping[str, str] | None = None
) -> str:
    """Return a whole page; ``drawings`` are SVG elements by section name."""
    title = _safe(headline)
    return (
        '<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8"/>'
        '<meta name="viewport" content="width=device-width, initial-scale=1"/>'
        f"<title>{title}</title><style>{CSS}</style></head><body><h1>{title}</h1>"
        f"{_lead(sections, claims)}{body(sections, drawings or {})}</body></html>\n"
    )


def fragment(headline: str, sections: Sequence[Section], drawings: Mapping[str, str] | None = None) -> str:
    """Return what a notebook shows: the same without head, style sheet and overview."""
    return f'<div class="eie"><p><b>{_safe(headline)}</b></p>{body(sections, drawings or {})}</div>'


def body(sections: Sequence[Section], drawings: Mapping[str, str]) -> str:
    """Return sections one after the other, each with its figure."""
    return "".join(section_html(section, drawings.get(section.name, "")) for section in sections)


def section_html(section: Section, drawing: str = "") -> str:
    """Return one section, its figure (an SVG element) and tables, as HTML."""
    parts = [
        f'<section id="{_safe(section.name)}">',
        f"<h2>{_safe(section.title)}</h2>" if section.title else "",
        drawing,
    ]
    parts += [_table(grid) for grid in section.grids]
    if section.statements:
        parts.append(claims_html(section.statements))
    parts += [_note(line) for line in section.lines]
    parts += [_note(f"Note: {note}") for note in section.notes]
    return "".join([*parts, "</section>\n"])


def claims_html(statements: Sequence[Statement]) -> str:
    """Return claims as a table: verdict, place, claim, what was found."""
    left = f' style="{_LEFT}"'
    rows = "".join(
        f'<tr><td class="{verdict(claim).split()[0]}">{verdict(claim)}</td><td{left}>{_safe(claim.place)}</td>'
        f"<td{left}>{_safe(claim.claim)}</td><td{left}>{_safe(claim.found)}</td></tr>"
        for claim in statements
    )
    return (
        '<div class="scroll"><table class="claims"><thead><tr><th></th>'
        f"<th{left}>where</th><th{left}>claim, and bound</th><th{left}>found</th></tr></thead>"
        f"<tbody>{rows}</tbody></table></div>"
    )


def _lead(sections: Sequence[Section], claims: str) -> str:
    """Links, what the colours mean, and all claims before the details: what a reader of a long page looks for."""
    titled = [section for section in sections if section.title]
    lead = ""
    if any(column.format == "deviation" for section in sections for grid in section.grids for column in grid.columns):
        bound = f"{LARGE_DEVIATION:.0%}"
        lead += f"<p>Deviations are ours against printed: up to {bound} blue, beyond orange.</p>"
    if len(titled) > MANY_SECTIONS:
        links = (f'<a href="#{_safe(part.name)}">{_safe(part.title.split(":")[0])}</a>' for part in titled)
        lead += f"<nav>{' '.join(links)}</nav>"
    statements = statements_of(sections)
    if statements and claims:
        lead += f"<p>{_safe(tally(statements, claims))}</p>"
        # One section's claims stand in it; those of several are worth reading together.
        if sum(bool(section.statements) for section in sections) > 1:
            lead += claims_html(statements)
    return lead


def _table(grid: Grid) -> str:
    columns = cells_of(grid)
    marks = [[_mark(column, row.get(column.key)) for column in grid.columns] for row in grid.rows]
    head = "".join(_cell("th", column, column.heading) for column in columns)
    rows = "".join(
        "<tr>"
        + "".join(_cell("td", c, c.cells[i], mark=mark) for c, mark in zip(columns, marks[i], strict=True))
        + "</tr>"
        for i in range(len(grid.rows))
    )
    foot = "".join(_cell("td", column, column.total, style=_BOLD) for column in columns)
    foot = f"<tfoot><tr>{foot}</tr></tfoot>" if grid.total is not None else ""
    caption = f"<caption>{_safe(grid.caption)}</caption>" if grid.caption else ""
    return (
        f'<div class="scroll"><table>{caption}<thead><tr>{head}</tr></thead><tbody>{rows}</tbody>{foot}</table></div>'
        + "".join(map(_note, grid.notes))
    )


def _cell(tag: str, column: Cells, text: str, mark: str = "", style: str = "") -> str:
    # `Cells` hold printable text already; only HTML's own signs are left to escape.
    return f'<{tag}{mark} style="{_LEFT if column.left else _RIGHT}{style}">{escape(text)}</{tag}>'


def _mark(column: Column, value: Value) -> str:
    if column.format == "deviation" and isinstance(value, float):
        return ' class="large"' if abs(value) > LARGE_DEVIATION else ' class="close"'
    return ""


def _note(text: str) -> str:
    return f'<p class="note">{_safe(text)}</p>'


def _safe(text: str) -> str:
    return escape(printable(text))
