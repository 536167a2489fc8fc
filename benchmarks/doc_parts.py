"""Pages of docs/ whose tables a benchmark makes: they stand between markers and are replaced whole.

Comes in: a page, a table's name and text. Goes out: the page. Called by the zoo and by the synthesis.
"""

from __future__ import annotations

from pathlib import Path

DOCS = Path(__file__).parents[1] / "docs"


def replace_part(name: str, text: str, page: str) -> None:
    """Put ``text`` between ``<!-- name -->`` and ``<!-- end of name -->``."""
    begin, end = f"<!-- {name} -->", f"<!-- end of {name} -->"
    whole = (DOCS / page).read_text()
    if begin not in whole or end not in whole:
        raise ValueError(f"{page}: no part {name!r}: needs the lines {begin} and {end}")
    head, rest = whole.split(begin, 1)
    (DOCS / page).write_text(f"{head}{begin}\n{text}\n{end}{rest.split(end, 1)[1]}")
