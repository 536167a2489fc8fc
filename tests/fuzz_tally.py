"""Counts of what was tried on one kind of file, with what failed: what `fuzz_files` and `schema_words` print.

Comes in: cases, one by one. Goes out: a line of JSON that `fuzz_all` reads, and a line for each kind of failure.
"""

from __future__ import annotations

import faulthandler
import json
import resource
import signal
import sys
import time
import traceback
from collections import Counter
from contextlib import contextmanager

# Far beyond what any damaged file of some kilobytes may take on a busy machine; then the case counts as failed.
CASE_S = 60


class TooLong(Exception):
    pass


def _too_long(_signal, _frame):
    raise TooLong(f"more than {CASE_S} s")


class Tally:
    """How often a kind was read and refused, and every other outcome by its exception and place."""

    def __init__(self, name):
        self.name = name
        self.outcomes = Counter()
        self.failures = {}
        self.slowest = (0.0, "")
        self.begin = time.monotonic()

    def case(self, what, attempt):
        """Try one case; return whether it failed."""
        begin = time.monotonic()
        try:
            with _limited():
                self.outcomes[attempt()] += 1
            return False
        # A panic of a library in Rust is no Exception.
        except BaseException as error:
            if isinstance(error, KeyboardInterrupt):
                raise
            self.outcomes["failed"] += 1
            self.failures.setdefault(_described(error), []).append(what)
            return True
        finally:
            self.slowest = max(self.slowest, (time.monotonic() - begin, str(what)))

    def close(self):
        """Print the counts and the failures; return the exit code."""
        counts = {
            **{outcome: self.outcomes[outcome] for outcome in ("read", "refused", "failed")},
            "seconds": round(time.monotonic() - self.begin, 1),
            "slowest_s": round(self.slowest[0], 2),
            "slowest": self.slowest[1],
            "peak_mib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss >> 10,
        }
        sys.stdout.write(f"{self.name}: {json.dumps(counts)}\n")
        for failure, whats in self.failures.items():
            sys.stdout.write(f"    {len(whats)} x {failure}: {whats[:3]}\n")
        sys.stdout.flush()
        return 1 if self.failures else 0


@contextmanager
def _limited():
    before = signal.signal(signal.SIGALRM, _too_long)
    signal.alarm(CASE_S)
    # Code that never comes back to Python hears no signal.
    faulthandler.dump_traceback_later(2 * CASE_S, exit=True)
    try:
        yield
    finally:
        faulthandler.cancel_dump_traceback_later()
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)


def _described(error):
    frames = traceback.extract_tb(error.__traceback__)
    where = " < ".join(f"{frame.filename.split('/')[-1]}:{frame.lineno}" for frame in frames[-1:-5:-1])
    return f"{type(error).__name__} {str(error)[:90]!r} @ {where}"
