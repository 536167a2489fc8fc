"""Sections as HTML: tables, inline SVG, claims; the same for the same numbers, no date, no outside resource.

Comes in: `Section` records and their figures as SVG. Goes out: HTML text. Read by pages and notebooks.
"""

from __future__ import annotations

from html import escape

from eie.show.sections import Column, Grid, Section, Statement, Value
from eie.show.text import cell, verdict

LARGE_DEVIATION = 0.05
# In the element, since notebooks show sections without the page's style sheet.
_TEXT = ' style="text-align: left"'
CSS = """
body { font: 15px/1.5 system-ui, sans-serif; color: #222; max-width: 1200px; margin: 2rem auto; padding: 0 1rem; }
h1 { font-size: 1.6rem; } h2 { font-size: 1.25rem; margin-top: 2.5rem; border-bottom: 1px solid #ccc; }
nav a { margin-right: .8rem; white-space: nowrap; }
.scroll { overflow-x: auto; margin: 1rem 0; }
table { border-collapse: collapse; font-size: 13px; }
caption { text-align: left; font-weight: 600; padding: .3rem 0; }
th, td { padding: .15rem .55rem; text-align: right; border-bottom: 1px solid #eee; white-space: nowrap; }
th { border-bottom: 1px solid #888; vertical-align: bottom; }
td.large { background: #fbe3d0; }
td.close { background: #e3f0f8; }
svg { width: 720px; max-width: 100%; height: auto; display: block; margin: 1rem 0; }
.claims td { white-space: normal; }
.claims td:nth-child(2) { white-space: nowrap; }
.pass { color: #00614a; font-weight: 600; } .FAIL { color: #a63c00; font-weight: 600; }
.note { color: #555; font-size: 13px; margin: .3rem 0; }
"""


def page(title: str, lead: str, body: str) -> str:
    """Return a whole page; ``lead`` and ``body`` are HTML already."""
    return (
        '<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8"/>'
        '<meta name="viewport" content="width=device-width, initial-scale=1"/>'
        f"<title>{escape(title)}</title><style>{CSS}</style></head><body>"
        f"<h1>{escape(title)}</h1>{lead}{body}</body></html>\n"
    )


def section_html(section: Section, drawing: str = "") -> str:
    """Return one section, its figure (an SVG element) and tables, as HTML: what a notebook shows."""
    parts = [f'<section id="{section.name}"><h2>{escape(section.title)}</h2>', drawing]
    parts += [_table(grid) for grid in section.grids]
    if section.statements:
        parts.append(claims_html(section.statements))
    parts += [f'<p class="note">{escape(note)}</p>' for note in section.notes]
    return "".join([*parts, "</section>\n"])


def _table(grid: Grid) -> str:
    head = "".join(f"<th{_class(column, None)}>{escape(column.heading)}</th>" for column in grid.columns)
    rows = ""
    for row in grid.rows:
        cells = ((row.get(column.key), column) for column in grid.columns)
        rows += "<tr>" + "".join(f"<td{_class(c, v)}>{escape(cell(v, c))}</td>" for v, c in cells) + "</tr>"
    return (
        f'<div class="scroll"><table><caption>{escape(grid.caption)}</caption>'
        f"<thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table></div>"
    )


def _class(column: Column, value: Value) -> str:
    if column.format == "text":
        return _TEXT
    if column.format == "deviation" and isinstance(value, float):
        return ' class="large"' if abs(value) > LARGE_DEVIATION else ' class="close"'
    return ""


def claims_html(statements: tuple[Statement, ...]) -> str:
    """Return claims as a table: verdict, place, claim, what was found."""
    rows = "".join(
        f'<tr><td class="{verdict(one).split()[0]}">{verdict(one)}</td><td{_TEXT}>{escape(one.place)}</td>'
        f"<td{_TEXT}>{escape(one.claim)}</td><td{_TEXT}>{escape(one.found)}</td></tr>"
        for one in statements
    )
    return (
        '<div class="scroll"><table class="claims"><thead><tr><th></th>'
        f"<th{_TEXT}>where</th><th{_TEXT}>claim, and bound</th><th{_TEXT}>found</th></tr></thead>"
        f"<tbody>{rows}</tbody></table></div>"
    )
