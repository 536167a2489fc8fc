"""A line on standard error: whole in a log, broken between words on a terminal, which would break it within one.

Comes in: a line. Goes out: the same, or several. Read by `eie.cli` for errors and by `outputs` for notes.
"""

from __future__ import annotations

import os
import sys

INDENT = 2


def fitted(line: str) -> str:
    """Break a line where standard error is a terminal that it is too wide for."""
    width = _width()
    if width is None or len(line) * 2 <= width:
        return line
    from eie.show.cells import broken

    return "\n".join(broken(line, width, INDENT))


def _width() -> int | None:
    """Return how wide standard error is; None where it is no terminal."""
    try:
        if not sys.stderr.isatty():
            return None
        # The variable goes first, as for tables; a terminal may be of no known size.
        stated = os.environ.get("COLUMNS", "")
        columns = int(stated) if stated.isdecimal() else os.get_terminal_size(sys.stderr.fileno()).columns
    # Closed, or something of a test's that has no number.
    except (OSError, ValueError):
        return None
    return columns or None
