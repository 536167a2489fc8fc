"""Small pieces of HTML that tables, charts and pages share; everything that is not ours is escaped.

Comes in: texts. Goes out: HTML text. Read by `eie.show.page` and what it is made of.
"""

from __future__ import annotations

from collections.abc import Mapping
from html import escape

from eie.errors import printable


def safe(text: str) -> str:
    """Return a text that is nothing but text, in an element and in an attribute alike."""
    return escape(printable(text))


def note_html(text: str) -> str:
    """Return a sentence under a table."""
    return f'<p class="note">{safe(text)}</p>'


def key(names: Mapping[str, str]) -> str:
    """Return which colour is what: names by the style sheet's names of their colours."""
    items = "".join(f'<li><span class="{look}"></span>{safe(name)}</li>' for look, name in names.items())
    return f'<ul class="key">{items}</ul>'
