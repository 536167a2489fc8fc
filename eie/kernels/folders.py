"""Folders of compiled kernels, one for each state of the sources: held while in use, cleared away when they are old.

Comes in: the folder that this process uses. Goes out: nothing; older folders are gone. Read by `jit`, and by
``eie doctor`` for their size.
"""

from __future__ import annotations

import fcntl
import os
import re
import shutil
import stat
import time
from collections.abc import Iterator
from pathlib import Path

# Besides the one in use: people go back to the release before, and developers from branch to branch.
KEPT = 8
# Of versions that did not hold their folders yet, and of whoever starts one command after the other.
RECENT_S = 3600.0
_NAME = re.compile(r"kernels-[0-9a-f]{16}")
_HELD = "in-use"
# Open as long as the process: the system gives a lock back when its holder ends, however that happens.
_handles: list[int] = []


def hold(folder: Path) -> None:
    """Mark a folder as in use by this process, and as used now; without locks on its file system nothing is held."""
    try:
        # Twice: the folder may be cleared away between its making and its lock.
        for _ in range(2):
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            handle = os.open(folder / _HELD, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
            # Waits only for whoever is clearing it away just now.
            fcntl.flock(handle, fcntl.LOCK_SH)
            if _is_at(handle, folder):
                os.utime(handle)
                _handles.append(handle)
                return
            os.close(handle)
    except OSError:
        return


def _is_at(handle: int, folder: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(handle), os.stat(folder / _HELD))
    except OSError:
        return False


def clear_away(used: Path, *, kept: int = KEPT, recent_s: float = RECENT_S) -> list[Path]:
    """Delete folders beside ``used``, all but the last used ones, and none that is in use; return what was deleted."""
    now = time.time()
    # By the time of their last use, the latest first.
    others = sorted(((_last_used(folder), folder) for folder in beside(used)), reverse=True)
    return [folder for at, folder in others[kept:] if now - at > recent_s and _delete(folder)]


def beside(used: Path) -> Iterator[Path]:
    """Yield the folders of other states of the sources that are this user's own, links not followed."""
    try:
        entries = list(used.parent.iterdir())
    except OSError:
        return
    for entry in entries:
        if entry.name == used.name or not _NAME.fullmatch(entry.name):
            continue
        try:
            status = entry.lstat()
        except OSError:
            continue
        if stat.S_ISDIR(status.st_mode) and status.st_uid == os.geteuid():
            yield entry


def size_bytes(folder: Path) -> int:
    """Return how much a folder's files hold; what vanishes meanwhile holds nothing."""
    total = 0
    for place, _, names in os.walk(folder):
        for name in names:
            try:
                total += os.lstat(os.path.join(place, name)).st_size
            except OSError:
                continue
    return total


def _last_used(folder: Path) -> float:
    # The folder's own time, where a version before this one made it.
    for path in (folder / _HELD, folder):
        try:
            return path.stat().st_mtime
        except OSError:
            continue
    return 0.0


def _delete(folder: Path) -> bool:
    """Delete a folder unless a process holds it."""
    try:
        handle = os.open(folder / _HELD, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    except OSError:
        return False
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        # Under the lock, so that whoever comes for it waits, and finds it gone.
        shutil.rmtree(folder, ignore_errors=True)
    # Held, or on a file system where nobody can say whether it is.
    except OSError:
        return False
    finally:
        os.close(handle)
    return not folder.exists()
