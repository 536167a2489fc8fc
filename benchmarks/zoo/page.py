"""docs/zoo.md: its tables stand between markers and are replaced whole.

Comes in: a table's name and text. Goes out: the page. Written by `exports` and `run`.
"""

from __future__ import annotations

from pathlib import Path

PAGE = Path(__file__).parents[2] / "docs" / "zoo.md"


def replace_part(name: str, text: str, page: Path = PAGE) -> None:
    """Put ``text`` between ``<!-- name -->`` and ``<!-- end of name -->``."""
    begin, end = f"<!-- {name} -->", f"<!-- end of {name} -->"
    whole = page.read_text()
    if begin not in whole or end not in whole:
        raise ValueError(f"{page}: no part {name!r}: needs the lines {begin} and {end}")
    head, rest = whole.split(begin, 1)
    page.write_text(f"{head}{begin}\n{text}\n{end}{rest.split(end, 1)[1]}")
