"""Files written whole or not at all.

Comes in: a path, and text or whatever a caller writes into the open file. Goes out: files. Read by formats, which write
arrays so, and by every answer's ``to_json``, ``to_csv``, ``to_html`` and ``plot``.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import stat
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import IO

from eie.errors import EieError


@contextlib.contextmanager
def replacing(path: str | Path) -> Iterator[IO[bytes]]:
    """Open a temporary file beside ``path`` for writing; rename it onto ``path`` only if all went well.

    A link's target is written, not the link, and other names of a file stay names of it; a device or pipe is
    written as it is.
    """
    if not isinstance(path, str | os.PathLike):
        raise EieError(f"a file's name cannot be a {type(path).__name__}: must be a text or a path")
    temporary: Path | None = None
    try:
        target = Path(path).resolve()
        if target.exists() and not target.is_file() and not target.is_dir():
            with target.open("wb") as file:
                yield file
            return
        before = target.stat() if target.is_file() else None
        # Named after nothing: a name of 255 bytes, which is allowed, would leave no room for more.
        handle, name = tempfile.mkstemp(prefix=".eie-", dir=target.parent)
        temporary = Path(name)
        with os.fdopen(handle, "wb") as file:
            yield file
            file.flush()
            # Before the new name: after a power cut it must not be that of an empty file.
            os.fsync(file.fileno())
        _put_in_place(temporary, target, before)
    except OSError as error:
        raise EieError(f"{path}: cannot be written: {error.strerror or error}") from None
    finally:
        if temporary is not None:
            temporary.unlink(missing_ok=True)


@contextlib.contextmanager
def whole_folder(path: Path) -> Iterator[Path]:
    """Give a folder to write in: one beside ``path`` that becomes it once all went well; ``path`` itself if it exists.

    One that is there may be somebody's working folder or a mount, which no other can take the place of.
    """
    if path.exists():
        yield path
        return
    temporary: Path | None = None
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary = Path(tempfile.mkdtemp(prefix=".eie-", dir=path.parent))
        yield temporary
        umask = os.umask(0)
        os.umask(umask)
        temporary.chmod(0o777 & ~umask)
        temporary.rename(path)
    except OSError as error:
        raise EieError(f"{path}: cannot be made: {error.strerror or error}") from None
    finally:
        if temporary is not None:
            shutil.rmtree(temporary, ignore_errors=True)


def _put_in_place(temporary: Path, target: Path, before: os.stat_result | None) -> None:
    """Give a finished file its name; one that was there keeps its rights and its other names."""
    if before is not None and before.st_nlink > 1:
        # Renamed onto, the other names would keep the old content.
        with temporary.open("rb") as source, target.open("wb") as file:
            shutil.copyfileobj(source, file)
            file.flush()
            os.fsync(file.fileno())
        return
    if before is None:
        umask = os.umask(0)
        os.umask(umask)
        temporary.chmod(0o666 & ~umask)
    else:
        temporary.chmod(stat.S_IMODE(before.st_mode))
    temporary.replace(target)


def write_text(path: str | Path, text: str) -> None:
    """Write ``text`` as UTF-8, atomically."""
    with replacing(path) as file:
        file.write(text.encode())
