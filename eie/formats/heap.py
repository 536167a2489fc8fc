"""Memory that is free and that the C library keeps for later, given back to the system.

Comes in: nothing. Goes out: nothing. Called between the steps of reading a large file: what a run in onnxruntime leaves
behind would otherwise lie beside all that is read next.
"""

from __future__ import annotations

import ctypes
import sys


def give_back() -> None:
    """Return free memory to the system, where the C library is one that keeps it and can be asked."""
    if not sys.platform.startswith("linux"):
        return
    # glibc's; others, as musl, have none and keep less.
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim is not None:
        trim(0)
