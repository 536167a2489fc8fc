"""Sections as HTML: tables, charts, inline SVG, claims; the same for the same numbers, no date, no outside resource.

Comes in: `Section` records and their figures as SVG. Goes out: HTML text; everything that is not ours is escaped. Read
by ``to_html`` and by notebooks (``_repr_html_``) through `eie.show.face`. A page is one file: style sheet and script,
which sorts tables and nothing else, stand in it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from eie.show.bars import bars_html, strips_html
from eie.show.charts import Bars, Chart, Strips
from eie.show.html import note_html, safe
from eie.show.numbers import percent
from eie.show.palette import SHARES
from eie.show.plane import SERIES, plane_html
from eie.show.sections import Section, Value, facts, statements_of
from eie.show.tables import LARGE_DEVIATION, claims_html, table_html
from eie.show.text import tally

MANY_SECTIONS = 3


def page(
    headline: str,
    sections: Sequence[Section],
    *,
    claims: str = "",
    drawings: Mapping[str, str] | None = None,
    made: Mapping[str, Value] | None = None,
) -> str:
    """Return a whole page.

    Parameters
    ----------
    claims
        Heads the count of claims that hold.
    drawings
        SVG elements by section name.
    made
        Where the numbers are from, and how the page was made: its foot.
    """
    title = safe(headline)
    return (
        '<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8"/>'
        '<meta name="viewport" content="width=device-width, initial-scale=1"/>'
        f"<title>{title}</title><style>{_styles()}</style></head><body><header><h1>{title}</h1>"
        f"{_lead(sections, claims)}</header><main>{body(sections, drawings or {}, sorts=True)}</main>"
        f"{_foot(made or {})}<script>{_part('page.js')}</script></body></html>\n"
    )


def fragment(headline: str, sections: Sequence[Section], drawings: Mapping[str, str] | None = None) -> str:
    """Return what a notebook shows: the same without head, style sheet, charts and overview."""
    return f'<div class="eie"><p><b>{safe(headline)}</b></p>{body(sections, drawings or {})}</div>'


def body(sections: Sequence[Section], drawings: Mapping[str, str], *, sorts: bool = False) -> str:
    """Return sections one after the other, each with its figure."""
    return "".join(section_html(section, drawings.get(section.name, ""), sorts=sorts) for section in sections)


def section_html(section: Section, drawing: str = "", *, sorts: bool = False) -> str:
    """Return one section, its figure (an SVG element), charts and tables, as HTML.

    Parameters
    ----------
    sorts
        Whether it stands on a page, whose style sheet draws charts and whose script sorts tables.
    """
    parts = [
        f'<section id="{safe(section.name)}">',
        f"<h2>{safe(section.title)}</h2>" if section.title else "",
        drawing,
    ]
    parts += [chart_html(chart) for chart in section.charts if sorts]
    parts += [table_html(grid, section.title or section.name, sorts=sorts) for grid in section.grids]
    if section.statements:
        parts.append(claims_html(section.statements))
    parts += [note_html(line) for line in section.lines]
    parts += [note_html(f"Note: {note}") for note in section.notes]
    return "".join([*parts, "</section>\n"])


def chart_html(chart: Chart) -> str:
    """Return a chart with its caption."""
    if isinstance(chart, Bars):
        drawn = bars_html(chart)
    elif isinstance(chart, Strips):
        drawn = strips_html(chart)
    else:
        drawn = plane_html(chart)
    return f'<figure class="chart"><figcaption>{safe(chart.caption)}</figcaption>{drawn}</figure>'


def _foot(made: Mapping[str, Value]) -> str:
    if not made:
        return ""
    return f'<footer class="made"><h2>How it was made</h2>{table_html(facts(made), "How it was made")}</footer>'


def _styles() -> str:
    """Return the style sheet, the palette's colours among it."""
    parts = [f".part.{name.replace('_', '-')}" for name in SHARES]
    light, dark = (
        "".join(
            f"{part}{{fill:{colours[i]};background:{colours[i]}}}"
            for part, colours in zip(parts, SHARES.values(), strict=True)
        )
        for i in (0, 1)
    )
    series = "".join(
        f".s{i}{{fill:var(--s{i});background:var(--s{i})}}polyline.s{i}{{stroke:var(--s{i})}}" for i in range(SERIES)
    )
    return f"{_part('page.css')}{light}{series}@media (prefers-color-scheme: dark) {{{dark}}}"


def _part(name: str) -> str:
    return Path(__file__).with_name(name).read_text(encoding="utf-8")


def _link_words(titles: Sequence[str]) -> list[str]:
    """Return the part of each title before its colon; behind it where several begin alike, as with a network's name."""
    heads = [title.partition(":")[0] for title in titles]
    return [
        head if heads.count(head) == 1 else title.partition(":")[2].strip() or title
        for head, title in zip(heads, titles, strict=True)
    ]


def _lead(sections: Sequence[Section], claims: str) -> str:
    """Links, what the colours mean, and all claims before the details: what a reader of a long page looks for."""
    titled = [section for section in sections if section.title]
    lead = ""
    if any(column.format == "deviation" for section in sections for grid in section.grids for column in grid.columns):
        bound = f"{percent(LARGE_DEVIATION, 0)} %"
        lead += f"<p>Deviations are ours against printed: up to {bound} blue, beyond orange.</p>"
    if len(titled) > MANY_SECTIONS:
        words = _link_words([section.title for section in titled])
        links = (f'<a href="#{safe(part.name)}">{safe(word)}</a>' for part, word in zip(titled, words, strict=True))
        lead += f'<nav aria-label="Sections">{" ".join(links)}</nav>'
    statements = statements_of(sections)
    if statements and claims:
        lead += f"<p>{safe(tally(statements, claims))}</p>"
        # One section's claims stand in it; those of several are worth reading together.
        if sum(bool(section.statements) for section in sections) > 1:
            lead += claims_html(statements)
    return lead
