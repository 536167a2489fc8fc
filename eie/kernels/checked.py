"""Kernel files that are looked at before numba unpickles them: whose they are, who may write them, and their hash.

Comes in: numba's cache of one kernel, and what it would write. Goes out: the same files, each begun by its hash; None
for whatever is damaged or could be somebody else's, which numba then compiles anew. Read by `jit`.

A pickle runs what it says, and a cut one raises anything: so nothing is unpickled that was not written here, whole.
"""

from __future__ import annotations

import hashlib
import logging
import os
import pickle
import stat
import uuid
from pathlib import Path
from typing import Any

from numba.core.caching import IndexDataCacheFile
from numba.core.serialize import dumps

_MARK = b"eie-kernel-1\n"
_HEAD = len(_MARK) + hashlib.sha256().digest_size
# Without a handler of the caller's, its lines go to standard error as they are.
_log = logging.getLogger("eie.kernels")
_said: list[str] = []


class CheckedFile(IndexDataCacheFile):
    """numba's index and data files of one kernel; what cannot be trusted counts as missing."""

    def save(self, key: Any, data: Any) -> None:
        """Keep a compiled kernel, where there is room for it."""
        # Named after what it was compiled for: numba counts, and two first runs at once count alike.
        name = self._data_name_pattern.format(number=int(_digest(repr(key).encode()).hex()[:12], 16))
        try:
            self._save_data(name, (repr(key), data))
            # Behind the data, and read as late as can be: what another process has added since stays.
            self._save_index({**self._load_index(), key: name})
        except OSError as error:
            say(f"{self._cache_path}: kernels cannot be kept: {error.strerror}")

    def load(self, key: Any) -> Any:
        """Return a compiled kernel, None if there is none, or none that was compiled for ``key``."""
        name = self._load_index().get(key)
        kept = None if name is None else self._load_data(name)
        return kept[1] if kept and kept[0] == repr(key) else None

    def _load_index(self) -> dict[Any, str]:
        content = _checked(self._index_path)
        if content is None:
            return {}
        version, stamp, overloads = pickle.loads(content)
        return overloads if (version, stamp) == (self._version, self._source_stamp) else {}

    def _save_index(self, overloads: dict[Any, str]) -> None:
        _write(self._index_path, pickle.dumps((self._version, self._source_stamp, overloads)))

    def _load_data(self, name: str) -> Any:
        content = _checked(os.path.join(self._cache_path, name))
        return None if content is None else pickle.loads(content)

    def _save_data(self, name: str, data: Any) -> None:
        # numba's own pickler: machine code comes with functions that the standard one does not take.
        pickled: bytes = dumps(data)  # type: ignore[no-untyped-call]
        _write(os.path.join(self._cache_path, name), pickled)


def say(text: str) -> None:
    """Tell the first of what is wrong with the cache; the rest has the same cause."""
    if not _said:
        _log.warning("eie: %s", text)
    _said.append(text)


def is_ours(status: os.stat_result) -> bool:
    """Whether a file or folder is this user's, and nobody else may write it."""
    return status.st_uid == os.geteuid() and not status.st_mode & (stat.S_IWGRP | stat.S_IWOTH)


def _checked(path: str) -> bytes | None:
    """Return what follows a file's hash, None if it is missing or not to be trusted."""
    try:
        # A link could lead to another's file, and a pipe would be waited for.
        handle = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except FileNotFoundError:
        return None
    except OSError as error:
        say(f"{path}: cannot be read ({error.strerror}): kernels are compiled anew")
        return None
    with open(handle, "rb") as file:
        status = os.fstat(handle)
        if not stat.S_ISREG(status.st_mode) or not is_ours(status):
            say(f"{path}: another user's, or others may write it: kernels are compiled anew")
            return None
        content = file.read()
    # The name goes in: a whole file in another's place is damage as well.
    if content[:_HEAD] != _MARK + _digest(Path(path).name.encode(), content[_HEAD:]):
        say(f"{path}: damaged: kernels are compiled anew")
        return None
    return content[_HEAD:]


def _write(path: str, content: bytes) -> None:
    # Unlike any other process's, and put in place whole.
    temporary = f"{path}.tmp.{uuid.uuid4().hex[:16]}"
    try:
        with open(os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600), "wb") as file:
            file.write(_MARK + _digest(Path(path).name.encode(), content) + content)
        os.replace(temporary, path)
    finally:
        Path(temporary).unlink(missing_ok=True)


def _digest(*parts: bytes) -> bytes:
    digest = hashlib.sha256()
    for part in parts:
        digest.update(len(part).to_bytes(8, "little") + part)
    return digest.digest()
