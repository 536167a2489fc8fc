"""The reproduction as one self-contained HTML page: tables, figures as inline SVG, claims.

Comes in: a `Reproduction`. Goes out: HTML text, the same for the same numbers: no date, no outside resource.
"""

from __future__ import annotations

from html import escape

from eie.plots.paper import svg
from eie.show import page as section_page
from eie.show.page import LARGE_DEVIATION, claims_html, page
from eie.show.sections import Section
from eie.studies.paper.reproduce import Reproduction
from eie.studies.paper.text import claims


def html(found: Reproduction) -> str:
    """Return the whole page."""
    links = " ".join(f'<a href="#{one.name}">{escape(one.title.split(":")[0])}</a>' for one in found.sections)
    overview = ""
    if found.statements:
        overview = f"<p>{escape(claims(found.statements))}</p>{claims_html(found.statements)}"
    lead = (
        f"<p>{escape(found.paper)}</p><p>{escape(found.data)}</p>"
        f"<p>Deviations are ours against printed: up to {LARGE_DEVIATION:.0%} blue, beyond orange. "
        "docs/validation.md explains those beyond.</p>"
    )
    body = "".join(section_html(section) for section in found.sections)
    return page("The EIE paper, reproduced", lead, f"<nav>{links}</nav>{overview}{body}")


def section_html(section: Section) -> str:
    """Return one section with its figure, as HTML: what a notebook shows."""
    return section_page.section_html(section, svg(section) or "")
