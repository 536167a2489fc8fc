"""A sweep's memory: one line a finished point, so that an interrupted sweep goes on where it was.

Comes in: entries, as they are finished. Goes out: a file, and the entries of earlier runs. Read by the run.

File format: JSON lines ``{"crc32": "<8 hex digits>", "entry": {...}}``; the sum covers the entry's text. The first
entry names the schema. A line is written in one piece behind the last whole one, so that a process killed at any moment
leaves at most one torn line at the end: it is cut off. A later entry of the same key replaces an earlier one. While a
journal is open its file is locked (POSIX ``flock``: the system gives it back even when the process is killed). Journals
of one plan may be joined one behind the other: a header line in the middle is passed over. Lines reach the disk
(``fsync``) at most once a second, and when the journal is closed.
"""

from __future__ import annotations

import errno
import fcntl
import json
import math
import os
import stat
import time
import zlib
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from eie.errors import SweepError
from eie.formats.files import distinct

Entry = Mapping[str, Any]
HEADER = {"schema": "eie-sweep-journal", "schema_version": 1}
SYNC_S = 1.0
# Of an entry, and of what lies beneath it: rows of layers, in each what `to_csv` has.
_TEXTS = ("key", "model", "engine", "error", "step", "columns")
_DEEPEST = 6


class Journal:
    """The open journal. ``entries`` holds the last entry of every key; ``damaged`` counts lines that were passed over.

    Raises
    ------
    SweepError
        If the file cannot be opened, belongs to something else, or is in use by another process.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        self.entries: dict[str, Entry] = {}
        self.damaged = 0
        self._synced = time.monotonic()
        self._dirty = False
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            # Bare `os` calls: a buffered file would keep lines back that a kill then takes. O_APPEND: every write goes
            # behind the last line, wherever reading stood. O_CLOEXEC: a child would inherit the lock and hold it on.
            self._handle = os.open(
                self.path, os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC | os.O_NONBLOCK, 0o666
            )
        except OSError as error:
            raise SweepError(f"{path}: cannot be opened: {error.strerror or error}") from None
        try:
            if not stat.S_ISREG(os.fstat(self._handle).st_mode):
                raise SweepError(f"{path}: a pipe, socket or device: must be a file")
            self._lock()
            self._read()
        # Ctrl-C while reading too: an open handle keeps the lock as long as the process lives.
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, where: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the file and give the lock back."""
        if self._handle >= 0:
            try:
                self._sync()
            finally:
                os.close(self._handle)
                self._handle = -1

    def append(self, entry: Entry) -> None:
        """Write one entry, which has a ``key``; it is in the file when this returns."""
        # O_APPEND: what is written next begins where the file ends now.
        at = os.lseek(self._handle, 0, os.SEEK_END)
        # File first: an entry that memory has is one that a restart will find.
        self._write(line_of(entry))
        self._remember(entry, at)
        self._dirty = True
        # A sync of every line would be the most of a sweep of small points; a power cut may cost one second.
        if time.monotonic() - self._synced >= SYNC_S:
            self._check_place()
            self._sync()

    def _remember(self, entry: Entry, at: int) -> None:  # noqa: ARG002 - where it stands is for a subclass
        """Note an entry whose line begins at byte ``at``."""
        self.entries[entry["key"]] = entry

    def _check_place(self) -> None:
        """Notice a journal that was deleted or replaced: what is written goes nowhere, and a restart begins anew."""
        try:
            there = os.stat(self.path)
        except OSError:
            there = None
        if there is None or not os.path.samestat(there, os.fstat(self._handle)):
            raise SweepError(f"{self.path}: the journal was deleted or replaced while the sweep ran: start it again")

    def _sync(self) -> None:
        if self._dirty:
            try:
                os.fsync(self._handle)
            except OSError as error:
                # A pipe or a file system without it: nothing to bring to a disk.
                if error.errno not in (errno.EINVAL, errno.ENOTSUP):
                    raise SweepError(f"{self.path}: cannot be written: {error.strerror or error}") from None
            self._synced, self._dirty = time.monotonic(), False

    def kept(self) -> int:
        """Points that the file holds: what a restart will find, also where Ctrl-C came between file and memory."""
        return len(_read_back(self.path.read_bytes())[0])

    def _lock(self) -> None:
        try:
            # LOCK_NB: a sweep may run for hours, so say so rather than wait.
            fcntl.flock(self._handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise SweepError(
                f"{self.path}: locked by another sweep that is writing it: wait for it, or use another folder"
            ) from None

    def _read(self) -> None:
        content = self.path.read_bytes()
        first = line_of(HEADER)
        if not content.startswith(first):
            # A beginning of the header, even an empty one, is a journal killed at birth: begun again. All else is
            # somebody's file and is not touched.
            if not first.startswith(content):
                raise SweepError(f"{self.path}: not a sweep journal of this version: use another file or folder")
            os.ftruncate(self._handle, 0)
            self._write(first)
            return
        whole = content.rfind(b"\n") + 1
        # What follows the last line end is torn; left there, the next line would be glued to it and be lost with it.
        os.ftruncate(self._handle, whole)
        self.entries, self.damaged = _read_back(content[:whole])

    def _write(self, line: bytes) -> None:
        try:
            while line:
                # A write may take a part only, as on a disk that is almost full.
                line = line[os.write(self._handle, line) :]
        except OSError as error:
            raise SweepError(f"{self.path}: cannot be written: {error.strerror or error}") from None


def _read_back(content: bytes) -> tuple[dict[str, Entry], int]:
    """Return the last entry of every key in a journal's content, and how many lines are no entries."""
    entries: dict[str, Entry] = {}
    damaged = 0
    first = line_of(HEADER)
    for line in content[len(first) :].splitlines():
        # Of a second journal that was put behind the first.
        if line == first.rstrip():
            continue
        entry = checked_entry_of(line)
        if entry is None:
            damaged += 1
        else:
            entries[entry["key"]] = entry
    return entries, damaged


def line_of(entry: Entry) -> bytes:
    """Return an entry as a line with its checksum."""
    # NaN is no JSON, and other readers of the file would stumble over it: better to fail here, at its source.
    text = json.dumps(entry, allow_nan=False)
    return f'{{"crc32": "{zlib.crc32(text.encode()):08x}", "entry": {text}}}\n'.encode()


def entry_of(line: bytes) -> Entry | None:
    """Return the entry of a line, or None if the line is not whole."""
    head, middle, rest = line.partition(b', "entry": ')
    # Without the brace that closes the outer object. The sum is taken of the text as it was written: parsed and written
    # again, floats or order could differ.
    text = rest[:-1]
    if not middle or head != f'{{"crc32": "{zlib.crc32(text):08x}"'.encode():
        return None
    try:
        entry: Entry = json.loads(text, parse_constant=_refused, object_pairs_hook=distinct)
    except (ValueError, RecursionError):
        return None
    return entry


def checked_entry_of(line: bytes) -> Entry | None:
    """Return the entry of a line, or None if the line is not whole, or not one that a command could have written."""
    entry = entry_of(line)
    return entry if _is_entry(entry) else None


def _refused(name: str) -> None:
    raise ValueError(f"{name}: must be finite")


def _is_entry(entry: Any) -> bool:
    """Whether a line with a right sum is one that a sweep or another long command could have written."""
    if not isinstance(entry, dict) or not isinstance(entry.get("key"), str) or not _is_plain(entry, _DEEPEST):
        return False
    texts = all(isinstance(entry[name], str) for name in _TEXTS if name in entry)
    if not texts or not isinstance(entry.get("changes", {}), dict):
        return False
    if "error" in entry or "step" in entry:
        return "error" in entry or "value" in entry
    if "values" in entry:
        return "columns" in entry and _is_compact(entry)
    rows = entry.get("layers")
    return (
        isinstance(entry.get("total"), dict) and isinstance(rows, list) and all(isinstance(row, dict) for row in rows)
    )


def _is_compact(entry: Entry) -> bool:
    """Whether rows without their names are lists, and names, where they stand, lists of texts; see `compact`."""
    rows, names = entry["values"], entry.get("names")
    if not isinstance(rows, list) or not rows or not all(isinstance(row, list) for row in rows):
        return False
    if names is None:
        return True
    return isinstance(names, dict) and all(
        isinstance(names.get(key), list) and all(isinstance(name, str) for name in names[key])
        for key in ("total", "layer")
    )


def _is_plain(value: Any, depth: int) -> bool:
    if isinstance(value, str):
        return value.isprintable() or "\n" in value
    if isinstance(value, dict):
        return depth > 0 and all(key.isprintable() and _is_plain(item, depth - 1) for key, item in value.items())
    if isinstance(value, list):
        return depth > 0 and all(_is_plain(item, depth - 1) for item in value)
    # A count below 0 is none, and one beyond 64 bits fits into no column; 1e400 is infinite.
    return value is None or (-(1 << 63) <= value < 1 << 63 if isinstance(value, int) else math.isfinite(value))
