"""Plain files only; text, JSON and TOML read with errors a user can act on.

Comes in: paths, text. Goes out: bytes, parsed text. Read by the other formats, importers, programs, reports.
"""

from __future__ import annotations

import hashlib
import json
import re
import stat
import tomllib
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from eie.errors import EieError

Arrays = dict[str, NDArray[Any]]


def file_sha256(*paths: Path) -> str | None:
    """SHA-256 of the files' contents one after the other, None if one cannot be read: ties a trace to its model."""
    digest = hashlib.sha256()
    try:
        for path in paths:
            with path.open("rb") as file:
                # In pieces of 1 MiB: checkpoints are larger than memory can spare.
                while block := file.read(1 << 20):
                    digest.update(block)
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
    try:
        status = Path(path).stat()
        if stat.S_ISREG(status.st_mode):
            # Opened at once, so that a file without the right to read it is refused here, with its name.
            with Path(path).open("rb") as file:
                _refuse_stand_in(file.read(_HEAD_BYTES), path, kind)
            return status.st_size
    except OSError as error:
        raise kind(f"{path}: cannot be read: {error.strerror or error}") from None
    except ValueError as error:
        # A name with a null byte in it: the only ValueError of stat().
        raise kind(f"{str(path)!r}: not a file name: {error}") from None
    what = "a folder" if stat.S_ISDIR(status.st_mode) else "a pipe, socket or device"
    raise kind(f"{path}: {what}: must be a file")


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
    size = regular_file(path, kind)
    if size > largest:
        raise kind(f"{path}: {size:,} bytes: must be at most {largest:,}")
    try:
        return Path(path).read_bytes()
    except (OSError, MemoryError) as error:
        raise kind(f"{path}: cannot be read: {first_line(error)}") from None


def read_toml(path: str | Path, kind: type[EieError]) -> dict[str, Any]:
    """Parse a TOML file."""
    try:
        return tomllib.loads(read_bytes(path, kind, LARGEST_TEXT_BYTES).decode())
    # Deep nesting ends in RecursionError, bytes that are no UTF-8 in a ValueError.
    except (ValueError, RecursionError) as error:
        raise kind(f"{path}: not valid TOML: {first_line(error)}") from None


def read_json(text: str | bytes, where: str, kind: type[EieError]) -> dict[str, Any]:
    """Parse a JSON object."""
    try:
        value = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise kind(f"{where}: not valid JSON: {first_line(error)}") from None
    if not isinstance(value, dict):
        raise kind(f"{where}: must be a JSON object")
    return value


def first_line(error: BaseException) -> str:
    """What an error says, cut to one line that fits into another message."""
    return (str(error).splitlines() or [type(error).__name__])[0][:200]
