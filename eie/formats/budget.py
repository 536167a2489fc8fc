"""How much memory what a file unpacks to may take, asked before it is unpacked.

Comes in: ``EIE_MEMORY``, ``--memory``, what the machine and its control group say. Goes out: a number of bytes, or an
error that blames the file. Read by every reader of what can be larger than its file.
"""

from __future__ import annotations

import os
import re
from pathlib import Path

from eie.errors import EieError

VARIABLE = "EIE_MEMORY"
_UNITS = {"": 1, "k": 1 << 10, "m": 1 << 20, "g": 1 << 30, "t": 1 << 40}
_SIZE = re.compile(r"(\d{1,18}(?:\.\d{1,6})?)\s*([kmgt]?)(?:i?b)?", re.IGNORECASE)
# Where the kernel says how much a process of a container may have: version 2 of control groups, and version 1.
_LIMITS = (Path("/sys/fs/cgroup/memory.max"), Path("/sys/fs/cgroup/memory/memory.limit_in_bytes"))
_stated: list[int] = []


def size_of(text: str, where: str) -> int:
    """Read a size such as ``4GiB``, ``512M`` or ``1000000``; units are powers of 1,024.

    Raises
    ------
    EieError
        If it is none, or 0.
    """
    match = _SIZE.fullmatch(text.strip())
    size = int(float(match[1]) * _UNITS[match[2].lower()]) if match else 0
    if size < 1:
        raise EieError(f"{where}={text}: must be a size such as 4GiB or 512MiB")
    return size


def set_budget(text: str | None) -> None:
    """Set this process's budget, above ``EIE_MEMORY``; None takes it back."""
    # Read first: a wrong word leaves what was set.
    _stated[:] = [] if text is None else [size_of(text, "--memory")]


def budget_bytes(limits: tuple[Path, ...] = _LIMITS) -> int:
    """Return the budget: as set, else ``EIE_MEMORY``, else half of what the machine and its control group have."""
    if _stated:
        return _stated[0]
    if text := os.environ.get(VARIABLE):
        return size_of(text, VARIABLE)
    whole = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    return min([whole, *_group_limits(limits)]) // 2


def afford(size: int, where: object, kind: type[EieError], *, what: str = "unpacks to") -> None:
    """Refuse what would take more than the budget.

    Raises
    ------
    EieError
        Of ``kind``, naming the file and how to allow more.
    """
    limit = budget_bytes()
    if size > limit:
        raise kind(f"{where}: {what} {size:,} bytes: must be at most {limit:,} (--memory or {VARIABLE} sets it)")


def _group_limits(paths: tuple[Path, ...]) -> list[int]:
    limits = []
    for path in paths:
        try:
            text = path.read_text(encoding="ascii").strip()
        except (OSError, ValueError):
            continue
        # "max" is no limit; version 1 writes a number beyond any machine instead.
        if text.isdecimal() and int(text) > 0:
            limits.append(int(text))
    return limits
