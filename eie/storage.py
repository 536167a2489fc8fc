"""Files written whole or not at all, and array files read with errors a user can act on.

Comes in: paths, arrays, text. Goes out: files, arrays. Used by importers, traces, programs and reports.
"""

from __future__ import annotations

import contextlib
import json
import os
import struct
import tempfile
import zipfile
import zlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from eie.errors import EieError

Arrays = dict[str, NDArray[Any]]


@contextlib.contextmanager
def replacing(path: str | Path) -> Iterator[IO[bytes]]:
    """Open a temporary file beside ``path`` for writing; rename it onto ``path`` only if all went well."""
    path = Path(path)
    temporary: Path | None = None
    try:
        handle, name = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
        temporary = Path(name)
        with os.fdopen(handle, "wb") as file:
            yield file
        umask = os.umask(0)
        os.umask(umask)
        temporary.chmod(0o666 & ~umask)
        temporary.replace(path)
    except OSError as error:
        raise EieError(f"{path}: cannot be written: {error.strerror or error}") from None
    finally:
        if temporary is not None:
            temporary.unlink(missing_ok=True)


def write_text(path: str | Path, text: str) -> None:
    """Write ``text`` as UTF-8, atomically."""
    with replacing(path) as file:
        file.write(text.encode())


_UNREADABLE = (
    ValueError,
    zipfile.BadZipFile,
    zlib.error,
    EOFError,
    KeyError,
    MemoryError,
    NotImplementedError,
    RuntimeError,
    SyntaxError,
    TypeError,
    ArithmeticError,
    struct.error,
)


def read_npz(path: str | Path, kind: type[EieError]) -> Arrays:
    """Read every array of an ``.npz`` file, never unpickling."""
    loaded = _load_numpy(path, kind)
    if not isinstance(loaded, dict):
        raise kind(f"{path}: a single array, not an .npz archive")
    return loaded


def read_npy(path: str | Path, kind: type[EieError]) -> NDArray[Any]:
    """Read the one array of an ``.npy`` file, never unpickling."""
    loaded = _load_numpy(path, kind)
    if isinstance(loaded, dict):
        raise kind(f"{path}: an .npz archive, not a single array")
    return loaded


def _load_numpy(path: str | Path, kind: type[EieError]) -> Arrays | NDArray[Any]:
    try:
        with Path(path).open("rb") as file:
            loaded = np.load(file, allow_pickle=False)
            if isinstance(loaded, np.lib.npyio.NpzFile):
                return {name: loaded[name] for name in loaded.files}
            return np.asarray(loaded)
    except OSError as error:
        raise kind(f"{path}: cannot be read: {error.strerror or error}") from None
    except _UNREADABLE as error:
        raise kind(f"{path}: not a usable NumPy file: {_first_line(error)}") from None


def read_safetensors(path: str | Path, kind: type[EieError]) -> tuple[Arrays, dict[str, str]]:
    """Read every tensor and the text header of a ``.safetensors`` file."""
    from safetensors import SafetensorError, safe_open

    arrays: Arrays = {}
    _probe(path, kind)
    try:
        with safe_open(str(path), framework="numpy") as file:
            header = file.metadata() or {}
            for name in file.keys():  # noqa: SIM118 - not a mapping
                arrays[name] = file.get_tensor(name)
    except (SafetensorError, OSError, ValueError, TypeError, AttributeError, KeyError, MemoryError) as error:
        raise kind(f"{path}: not a usable .safetensors file: {_first_line(error)}") from None
    return arrays, header


def _probe(path: str | Path, kind: type[EieError]) -> None:
    """Raise ``kind`` unless ``path`` is a file that can be opened."""
    try:
        with Path(path).open("rb"):
            pass
    except OSError as error:
        raise kind(f"{path}: cannot be read: {error.strerror or error}") from None


def write_npz(path: str | Path, arrays: Mapping[str, NDArray[Any]]) -> None:
    """Write a compressed ``.npz``, atomically."""
    with replacing(path) as file:
        np.savez_compressed(file, **arrays)  # type: ignore[arg-type]


def write_safetensors(path: str | Path, arrays: Mapping[str, NDArray[Any]], header: Mapping[str, str]) -> None:
    """Write tensors and a text header, atomically."""
    from safetensors.numpy import save

    contiguous = {name: np.ascontiguousarray(array) for name, array in arrays.items()}
    with replacing(path) as file:
        file.write(save(contiguous, dict(header)))


def read_json(text: str | bytes, where: str, kind: type[EieError]) -> dict[str, Any]:
    """Parse a JSON object."""
    try:
        value = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise kind(f"{where}: not valid JSON: {_first_line(error)}") from None
    if not isinstance(value, dict):
        raise kind(f"{where}: must be a JSON object")
    return value


def _first_line(error: BaseException) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0][:200]
