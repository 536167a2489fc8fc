"""How much memory what a file unpacks to may take, asked before it is unpacked.

Comes in: ``EIE_MEMORY``, ``--memory``, what the machine and its control group say. Goes out: a number of bytes, or an
error that blames the file. Read by every reader of what can be larger than its file.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from pathlib import Path

from eie.errors import EieError, WordError

VARIABLE = "EIE_MEMORY"
_UNITS = {"": 1, "k": 1 << 10, "m": 1 << 20, "g": 1 << 30, "t": 1 << 40}
_SIZE = re.compile(r"(\d{1,18}(?:\.\d{1,6})?)\s*([kmgt]?)(?:i?b)?", re.IGNORECASE)
# Below /sys/fs/cgroup, by the controllers of a line of /proc/self/cgroup: none in version 2 of control groups.
_UNIFIED, _OLD = "memory.max", "memory.limit_in_bytes"
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
        raise WordError(f"{where}={text}: must be a size such as 4GiB or 512MiB")
    return size


def set_budget(text: str | None) -> None:
    """Set this process's budget, above ``EIE_MEMORY``; None takes it back."""
    # Read first: a wrong word leaves what was set.
    _stated[:] = [] if text is None else [size_of(text, "--memory")]


def budget_bytes(root: Path = Path("/")) -> int:
    """Return the budget: as set, else ``EIE_MEMORY``, else half of what the machine and its control group have.

    Parameters
    ----------
    root
        Where ``proc`` and ``sys`` are.
    """
    if _stated:
        return _stated[0]
    if text := os.environ.get(VARIABLE):
        return size_of(text, VARIABLE)
    whole = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    return min([whole, *_group_limits(root)]) // 2


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


class Room:
    """What is left of the budget for one model: many parts, each below it, may be too much in all.

    Parameters
    ----------
    where, kind, what
        As for `afford`.
    """

    def __init__(self, where: object, kind: type[EieError], *, what: str = "unpacks to") -> None:
        self._where, self._kind, self._what = where, kind, what
        self._taken = 0

    def take(self, size: int, *, briefly: int = 0) -> None:
        """Count ``size`` bytes that stay, and for this once those that are taken while they are made.

        Raises
        ------
        EieError
            As `afford`.
        """
        afford(self._taken + size + briefly, self._where, self._kind, what=self._what)
        self._taken += size


def _group_limits(root: Path) -> list[int]:
    """What this process's control groups, and those around them, allow."""
    return [int(text) for path in _limit_files(root) if (text := _text(path)).isdecimal() and int(text) > 0]


def _limit_files(root: Path) -> Iterator[Path]:
    for line in _text(root / "proc/self/cgroup").splitlines():
        _, controllers, group = line.split(":", 2)
        if controllers and "memory" not in controllers.split(","):
            continue
        # "max" is no limit; version 1 writes a number beyond any machine instead.
        top = root / ("sys/fs/cgroup/memory" if controllers else "sys/fs/cgroup")
        folder = top / group.lstrip("/")
        # A group has at most what those around it have; a container may see its own as the top.
        for place in (folder, *(parent for parent in folder.parents if parent.is_relative_to(top))):
            yield place / (_OLD if controllers else _UNIFIED)


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="ascii").strip()
    except (OSError, ValueError):
        return ""
