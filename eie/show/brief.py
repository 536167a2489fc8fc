"""Records that hold much, in one line.

Comes in: a dataclass. Goes out: its ``repr``. Subclassed by records inside answers, which have no face of their own.
"""

from __future__ import annotations

from collections.abc import Sized
from dataclasses import fields

from eie.errors import printable

LONGEST_TEXT = 40
LONGEST_REPR = 240


class Brief:
    """A record whose ``repr`` states its numbers and short texts, and of everything else only how much there is."""

    def __repr__(self) -> str:
        # Fields of a mixin are unknown to the type checker; only dataclasses subclass this.
        told = ", ".join(f"{field.name}={_short(getattr(self, field.name))}" for field in fields(self))  # type: ignore[arg-type]
        return f"{type(self).__name__}({told if len(told) <= LONGEST_REPR else f'{told[:LONGEST_REPR]}...'})"


def _short(value: object) -> str:
    if value is None or isinstance(value, bool | int | float):
        return repr(value)
    if isinstance(value, str):
        return repr(value if len(value) <= LONGEST_TEXT else f"{value[:LONGEST_TEXT]}...")
    shape = getattr(value, "shape", None)
    if isinstance(shape, tuple):
        return f"<{' x '.join(map(str, shape)) or 'one number'}>"
    if isinstance(value, Sized):
        return f"<{len(value)}>"
    text = printable(repr(value))
    return text if len(text) <= LONGEST_TEXT else f"<{type(value).__name__}>"
