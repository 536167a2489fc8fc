"""The command line: ``eie run``, ``compile``, ``simulate``, ``compress``, ``trace``, ``sweep``, ``paper`` and more.

Comes in: words. Goes out: tables on stdout, progress and notes on stderr, files where asked. Each command's module is
loaded when it is called, so that ``eie --help`` is instant. Exit codes: 0 done, 1 failed, 2 wrong usage,
130 interrupted.
"""

from __future__ import annotations

import gc
import os
import sys

from eie.cli.app import app
from eie.errors import EieError, RecipeError, SpecError

INTERRUPTED = "interrupted; nothing half-written was left behind"

# A recipe or sweep can complain of every layer; the first lines say what is wrong.
MOST_LINES = 20


def main() -> None:
    """Run ``eie``; every expected failure is one clear message, never a traceback."""
    # A command's imports stay: looking for garbage among them again and again, as they grew, took a fifth of a short
    # run. A hundred times as many new objects as usual may come before the next look.
    gc.set_threshold(100_000, 10, 10)
    try:
        # Not standalone: click would print errors and exit by itself, ours among them as tracebacks.
        status = app(standalone_mode=False)
        # Here, inside the try: a full disk or a reader that left shows at the last write only.
        sys.stdout.flush()
    except Exception as error:
        status = _complain(error)
    except KeyboardInterrupt as stop:
        _say(str(stop) or INTERRUPTED)
        # 128 + SIGINT, as shells have it.
        status = 130
    # click hands back what a command returned, which need not be a code.
    sys.exit(status if isinstance(status, int) else 0)


def _complain(error: Exception) -> int:
    """Print an expected error and return its exit code; raise what is a bug of ours."""
    import click

    code = 1
    if isinstance(error, click.exceptions.Exit):
        code = error.exit_code
    elif isinstance(error, click.Abort):
        # click turns an interrupt into Abort; its cause has the words of whoever knew what was kept, as a sweep does.
        _say(str(error.__cause__ or "") or INTERRUPTED)
        code = 130
    elif isinstance(error, click.ClickException):
        error.show()
        code = error.exit_code
    elif isinstance(error, EieError):
        _say(str(error))
        # What was typed is wrong (a field, a recipe), as for click's own errors; the rest failed on the way.
        code = 2 if isinstance(error, SpecError | RecipeError) else 1
    elif isinstance(error, MemoryError):
        _say("out of memory: a smaller model or layer, fewer samples (--samples) or fewer PEs need less")
    elif isinstance(error, OSError) and not isinstance(error, BrokenPipeError):
        _say(f"{error.filename or 'standard output'}: {error.strerror or error}")
        # Python flushes once more when it exits and would complain a second time.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    elif isinstance(error, BrokenPipeError):
        # The reader of our output left; point stdout elsewhere so that Python's exit does not complain.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    else:
        raise error
    return code


def _say(text: str) -> None:
    lines = text.splitlines()
    for line in lines[:MOST_LINES]:
        # On every line, so that it can be told from other programs' in a log.
        sys.stderr.write(f"eie: {line}\n")
    if len(lines) > MOST_LINES:
        sys.stderr.write(f"eie: ... and {len(lines) - MOST_LINES:,} more\n")
