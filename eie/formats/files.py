"""Plain files only; text, JSON and TOML read with errors a user can act on.

Comes in: paths, text. Goes out: bytes, parsed text. Read by the other formats, importers, programs, reports.
"""

from __future__ import annotations

import hashlib
import json
import math
import os
import re
import stat
import tomllib
from collections import Counter
from pathlib import Path
from typing import Any, BinaryIO

from numpy.typing import NDArray

from eie.errors import EieError, printable
from eie.formats.budget import afford

Arrays = dict[str, NDArray[Any]]

# Bytes that are hashed at once.
_PIECE = 1 << 18


def file_sha256(*paths: Path) -> str | None:
    """SHA-256 of the files' contents one after the other, None if one cannot be read: ties a trace to its model."""
    digest = hashlib.sha256()
    try:
        for path in paths:
            with path.open("rb") as file:
                # In pieces, each in the place of the one before: checkpoints are larger than memory can spare.
                piece = memoryview(bytearray(_PIECE))
                while size := file.readinto(piece):
                    digest.update(piece[:size])
    except OSError:
        return None
    return digest.hexdigest()


LARGEST_BYTES = 16 << 30
LARGEST_TEXT_BYTES = 256 << 20
# Enough for the whole of a pointer, which states the size of what it stands for.
_HEAD_BYTES = 512


def regular_file(path: str | Path, kind: type[EieError]) -> int:
    """Return the size in bytes of what ``path`` (or the link it is) leads to.

    Raises
    ------
    EieError
        Of ``kind``, if it is missing or not a plain file: opening a pipe or a device could wait for ever. Also if
        something else was downloaded in its place: a Git-LFS pointer, an HTML page.
    """
    with open_plain(path, kind) as file:
        return os.fstat(file.fileno()).st_size


def open_plain(path: str | Path, kind: type[EieError]) -> BinaryIO:
    """Open a plain file for reading: the one door for every file that is read.

    Raises
    ------
    EieError
        As `regular_file`.
    """
    if not isinstance(path, str | os.PathLike):
        raise kind(f"a file's name cannot be a {type(path).__name__}: must be a text or a path")
    # A line end in a name would make two lines of an error.
    shown = printable(str(path))
    try:
        # Opened first and asked then, so that what is asked is what is read; without waiting for a pipe's other end.
        handle = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        file = os.fdopen(handle, "rb") if stat.S_ISREG(mode := os.fstat(handle).st_mode) else None
    except OSError as error:
        raise kind(f"{shown}: cannot be read: {error.strerror or error}") from None
    except ValueError as error:
        # A name with a null byte in it.
        raise kind(f"{str(path)!r}: not a file name: {error}") from None
    if file is None:
        os.close(handle)
        what = "a folder" if stat.S_ISDIR(mode) else "a pipe, socket or device"
        raise kind(f"{shown}: {what}: must be a file")
    try:
        _refuse_stand_in(file.read(_HEAD_BYTES), path, kind)
        file.seek(0)
    except EieError:
        file.close()
        raise
    return file


def _refuse_stand_in(head: bytes, path: str | Path, kind: type[EieError]) -> None:
    """Name what a clone or a browser leaves in a file's place; every reader would only call it damaged."""
    # Git LFS specification, "The Pointer": a line with the version, then keys in order, oid and size among them.
    if head.startswith(b"version https://git-lfs"):
        size = re.search(rb"\nsize (\d{1,18})\b", head)
        real = f", which has {int(size[1]):,} bytes" if size else ""
        raise kind(f"{path}: a Git-LFS pointer in place of the file{real}: fetch it with git lfs pull")
    if head.removeprefix(b"\xef\xbb\xbf").lstrip().lower().startswith((b"<!doctype html", b"<html")):
        raise kind(f"{path}: an HTML page in place of the file (of a login or an error?): download the file itself")


def read_bytes(path: str | Path, kind: type[EieError], largest: int = LARGEST_BYTES) -> bytes:
    """Read a whole plain file of at most ``largest`` bytes."""
    try:
        with open_plain(path, kind) as file:
            size = os.fstat(file.fileno()).st_size
            if size > largest:
                raise kind(f"{path}: {size:,} bytes: must be at most {largest:,}")
            afford(size, path, kind, what="has")
            # No more than was asked for: a file can grow while it is read.
            return file.read(size)
    except (OSError, MemoryError) as error:
        raise kind(f"{path}: cannot be read: {first_line(error)}") from None


def read_toml(path: str | Path, kind: type[EieError]) -> dict[str, Any]:
    """Parse a TOML file."""
    content = read_bytes(path, kind, LARGEST_TEXT_BYTES)
    afford(parsed_bytes(content), path, kind)
    try:
        return tomllib.loads(content.decode())
    # Deep nesting ends in RecursionError, bytes that are no UTF-8 in a ValueError.
    except (ValueError, RecursionError) as error:
        # Of Python's own bound it says how a program lifts it, which is no remedy for a file.
        many = re.search(r"has (\d+) digits", str(error))
        said = f"a number of {many[1]} digits: must fit 64 bits" if many else first_line(error)
        raise kind(f"{path}: not valid TOML: {said}") from None


def read_json(text: str | bytes, where: str, kind: type[EieError]) -> dict[str, Any]:
    """Parse a JSON object."""
    afford(parsed_bytes(text), where, kind)
    # Asked for at once: a function called for every integer doubles the time of long lists.
    whole = _whole if _has(text, r"\d{19}") else int
    try:
        value = json.loads(
            text, parse_constant=_refused, parse_float=_finite, parse_int=whole, object_pairs_hook=distinct
        )
        if _has(text, r"\\u[dD][89a-fA-F]"):
            # Half of a letter beyond 16 bits is no text, and fails wherever it is written.
            json.dumps(value, ensure_ascii=False).encode()
    except (ValueError, RecursionError) as error:
        raise kind(f"{where}: not valid JSON: {first_line(error)}") from None
    if not isinstance(value, dict):
        raise kind(f"{where}: must be a JSON object")
    return value


def _has(text: str | bytes, pattern: str) -> bool:
    if isinstance(text, bytes):
        return re.search(pattern.encode(), text) is not None
    return re.search(pattern, text) is not None


def _whole(text: str) -> int:
    # No count, size or seed has more, and what has may fit no float either.
    # By its length first: int() refuses more than 4,300 digits in words for programmers.
    if len(text) > 20 or not -(1 << 63) <= (value := int(text)) < 1 << 64:
        raise ValueError(f"{text[:20]}... has {len(text)} digits: must fit 64 bits")
    return value


def distinct(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Make a dictionary of a JSON object's pairs: where a name stands twice, what counts would depend on the reader.

    Raises
    ------
    ValueError
        Naming it.
    """
    value = dict(pairs)
    if len(value) < len(pairs):
        name = next(name for name, many in Counter(name for name, _ in pairs).items() if many > 1)
        raise ValueError(f"{name[:80]!r} stands twice in one object: names must differ")
    return value


def parsed_bytes(text: str | bytes) -> int:
    """Return about how much memory the values of a text in JSON or TOML take: many times the text, for ``[[],[],``."""
    signs: Any = (b",", b"[", b"{", b"\n") if isinstance(text, bytes) else (",", "[", "{", "\n")
    parts, lists, objects, lines = map(text.count, signs)
    # CPython's sizes: a value with its place in a list, an empty list, a dictionary of a few; a key and its value.
    return len(text) + 64 * (parts + lists) + 256 * objects + 96 * lines


def _refused(word: str) -> None:
    raise ValueError(f"{word} is no JSON")


def _finite(text: str) -> float:
    # 1e400 is read as infinity, which no bound of a schema is meant for.
    value = float(text)
    if not math.isfinite(value):
        raise ValueError(f"{text[:20]} is beyond any number")
    return value


def unmet(error: BaseException) -> str:
    """What is wrong with a value in one line: a ValueError says it, a KeyError no more than the key."""
    said = first_line(error)
    return said if isinstance(error, ValueError) else f"{type(error).__name__} {said}"


def first_line(error: BaseException) -> str:
    """What an error says, cut to one line that fits into another message."""
    return (str(error).splitlines() or [type(error).__name__])[0][:200]
