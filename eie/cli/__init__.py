"""The command line: ``eie run``, ``compile``, ``simulate``, ``compress``, ``trace``, ``sweep``, ``paper`` and more.

Comes in: words. Goes out: tables on stdout, progress and notes on stderr, files where asked. Each command's module is
loaded when it is called, so that ``eie --help`` is instant. Exit codes: 0 done, 1 failed, 2 wrong usage,
130 interrupted.
"""

from __future__ import annotations

import gc
import os
import sys
from io import StringIO

from eie.cli import stopping
from eie.cli.lines import fitted
from eie.errors import EieError, RecipeError, SpecError, WordError, folder_gone

# By hand, as in `stopping`, which comes before all that takes long to import.
TYPE_CHECKING = False
if TYPE_CHECKING:
    import click

INTERRUPTED = "interrupted; nothing half-written was left behind"

# A recipe or sweep can complain of every layer; the first lines say what is wrong.
MOST_LINES = 20


def main() -> None:
    """Run ``eie``; every expected failure is one clear message, never a traceback."""
    restore = stopping.keep()
    stopping.at_once(INTERRUPTED)
    # Here, behind the line above: commands' words take longest to import.
    from eie.cli.app import app

    # A command's imports stay: looking for garbage among them again and again, as they grew, took a fifth of a short
    # run. A hundred times as many new objects as usual may come before the next look.
    gc.set_threshold(100_000, 10, 10)
    try:
        stopping.by_exception()
        # Not standalone: click would print errors and exit by itself, ours among them as tracebacks.
        status = app(standalone_mode=False)
        # Here, inside the try: a full disk or a reader that left shows at the last write only.
        sys.stdout.flush()
    except Exception as error:
        status = _complain(error)
    except KeyboardInterrupt as stop:
        status = _interrupted(str(stop))
    if stopping.stopped_by() is not None:
        # No code where the interrupt came in a callback, which swallowed it: the command ended as if nothing had been.
        stopping.leave(status if isinstance(status, int) else _interrupted(""))
    restore()
    # click hands back what a command returned, which need not be a code.
    sys.exit(status if isinstance(status, int) else 0)


def _interrupted(words: str) -> int:
    """Say what whoever was interrupted had to say, and return the exit code of shells: 128 and the signal."""
    _say(words or INTERRUPTED)
    return 128 + (stopping.stopped_by() or stopping.SIGNALS[0])


def _complain(error: Exception) -> int:
    """Print an expected error and return its exit code; raise what is a bug of ours."""
    import click

    code = 1
    # A library that was interrupted while it was imported or called may give an error of its own for it.
    if stopping.stopped_by() is not None:
        return _interrupted(str(error.__cause__ or "") if isinstance(error, click.Abort) else "")
    if isinstance(error, click.exceptions.Exit):
        code = error.exit_code
    elif isinstance(error, click.Abort):
        # click turns an interrupt into Abort; its cause has the words of whoever knew what was kept, as a sweep does.
        code = _interrupted(str(error.__cause__ or ""))
    elif isinstance(error, click.ClickException):
        _show(error)
        code = error.exit_code
    elif isinstance(error, EieError):
        _say(str(error))
        # What was typed is wrong (a field, a recipe, a word), as for click's own errors; the rest failed on the way.
        code = 2 if isinstance(error, SpecError | RecipeError | WordError) else 1
    elif isinstance(error, MemoryError):
        _say("out of memory: a smaller model or layer, fewer samples (--samples) or fewer PEs need less")
    elif isinstance(error, OSError):
        _complain_of_file(error)
    else:
        raise error
    # Behind whatever failed: without it "No such file" is said of files that never were there, or that would be made.
    if isinstance(error, EieError) and (gone := folder_gone()) not in str(error):
        _say(gone)
    return code


def _show(error: click.ClickException) -> None:
    """Write a wrong usage as click words it: it does not break the line that says what is wrong."""
    words = StringIO()
    error.show(file=words)
    for line in words.getvalue().splitlines():
        sys.stderr.write(f"{fitted(line)}\n")


def _complain_of_file(error: OSError) -> None:
    """Say what became of a file or of stdout."""
    # The reader of our output left, and knows.
    if not isinstance(error, BrokenPipeError):
        # What asks for the working folder names no file, nor does what writes to stdout.
        gone = "" if error.filename else folder_gone()
        _say(gone or f"{error.filename or 'standard output'}: {error.strerror or error}")
    # Point stdout elsewhere: Python flushes once more when it exits, and would complain a second time.
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _say(text: str) -> None:
    lines = text.splitlines()
    for line in lines[:MOST_LINES]:
        # On every line, so that it can be told from other programs' in a log.
        sys.stderr.write(f"{fitted(f'eie: {line}')}\n")
    if len(lines) > MOST_LINES:
        sys.stderr.write(f"eie: ... and {len(lines) - MOST_LINES:,} more\n")
