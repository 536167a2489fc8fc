"""Ctrl-C and SIGTERM: both end a command alike, with one line and without a traceback, whenever they come.

Comes in: signals. Goes out: a `KeyboardInterrupt` where the command is, and which signal it was. Read by `eie.cli`.
It imports next to nothing: what it guards begins with imports.
"""

from __future__ import annotations

import atexit
import os
import sys

# Set by hand: ``typing`` took two thirds of the time before anything is guarded, and Ctrl-C there is Python's own
# traceback.
TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import NoReturn

# Not ``signal``, which makes enumerations of all signals first: half of what is left.
signal = __import__("_signal")
SIGNALS = (signal.SIGINT, signal.SIGTERM)
_seen: list[int] = []


def keep() -> Callable[[], None]:
    """Return what puts signals back as they are now: whoever calls a command within a program goes on with its own."""
    handlers, told = {name: signal.getsignal(name) for name in SIGNALS}, sys.unraisablehook

    def restore() -> None:
        sys.unraisablehook = told
        for name, handler in handlers.items():
            try:
                signal.signal(name, handler)
            # In a thread nothing was set.
            except ValueError:
                return

    return restore


def stopped_by() -> int | None:
    """Return the first signal that came, or None."""
    return _seen[0] if _seen else None


def at_once(line: str) -> None:
    """From now on leave at the first signal with ``line``: nothing has been begun that could be left half-done."""

    def leave(number: int, _: object) -> None:
        # Not by an exception: half-imported modules would catch it, or wrap it in errors of their own.
        os.write(2, f"eie: {line}\n".encode())
        os._exit(128 + number)

    _listen(leave)


def by_exception() -> None:
    """From now on raise `KeyboardInterrupt` at the first signal; a second one ends the process where it is."""

    def stop(number: int, _: object) -> None:
        _seen.append(number)
        for name in SIGNALS:
            # Whoever is impatient is not to read tracebacks of our own clearing up.
            signal.signal(name, signal.SIG_DFL)
        raise KeyboardInterrupt

    _listen(stop)
    # An interrupt in a callback of the interpreter's, which can raise nothing, is printed by it as a traceback.
    told = sys.unraisablehook
    sys.unraisablehook = lambda problem: None if _seen else told(problem)


def leave(status: int) -> NoReturn:
    """End the process as `sys.exit` does, but with this exit code whatever was interrupted on the way.

    Python would send itself SIGINT where an interrupt met code within code, though that was caught.
    """
    atexit._run_exitfuncs()
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        # Who read it is gone: there is nobody left to tell.
        except OSError:
            continue
    os._exit(status)


def _listen(handler: Callable[[int, object], None]) -> None:
    for name in SIGNALS:
        # Ignored by whoever started us, as by nohup, or in a thread, where nothing may be set: left so.
        if signal.getsignal(name) is not signal.SIG_IGN:
            try:
                signal.signal(name, handler)
            except ValueError:
                return
