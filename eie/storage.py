"""Files written whole or not at all, and array files read with errors a user can act on.

Comes in: paths, arrays, text. Goes out: files, arrays. Used by importers, traces, programs and reports.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import lzma
import math
import os
import re
import stat
import struct
import tempfile
import tomllib
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
    """Open a temporary file beside ``path`` for writing; rename it onto ``path`` only if all went well.

    A link's target is written, not the link; a device or pipe is written as it is.
    """
    temporary: Path | None = None
    try:
        target = Path(path).resolve()
        if target.exists() and not target.is_file() and not target.is_dir():
            with target.open("wb") as file:
                yield file
            return
        handle, name = tempfile.mkstemp(prefix=f".{target.name}.", dir=target.parent)
        temporary = Path(name)
        with os.fdopen(handle, "wb") as file:
            yield file
        umask = os.umask(0)
        os.umask(umask)
        temporary.chmod(0o666 & ~umask)
        temporary.replace(target)
    except OSError as error:
        raise EieError(f"{path}: cannot be written: {error.strerror or error}") from None
    finally:
        if temporary is not None:
            temporary.unlink(missing_ok=True)


def file_sha256(*paths: Path) -> str | None:
    """SHA-256 of the files' contents one after the other, None if one cannot be read: ties a trace to its model."""
    digest = hashlib.sha256()
    try:
        for path in paths:
            with path.open("rb") as file:
                while block := file.read(1 << 20):
                    digest.update(block)
    except OSError:
        return None
    return digest.hexdigest()


def write_text(path: str | Path, text: str) -> None:
    """Write ``text`` as UTF-8, atomically."""
    with replacing(path) as file:
        file.write(text.encode())


LARGEST_BYTES = 16 << 30
LARGEST_TEXT_BYTES = 256 << 20
LARGEST_HEADER = 10_000
# The three facts in an .npy header, whatever their order.
_HEADER = (
    r"'descr': *'[<>|=]([biufcSUVO]\d{0,4})'",
    r"'fortran_order': *(True|False)",
    r"'shape': *\(([-\d, ]{0,600})\)",
)
_UNREADABLE = (
    ValueError,
    zipfile.BadZipFile,
    zlib.error,
    lzma.LZMAError,
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


def regular_file(path: str | Path, kind: type[EieError]) -> int:
    """Return the size in bytes of what ``path`` (or the link it is) leads to.

    Raises
    ------
    EieError
        Of ``kind``, if it is missing or not a plain file: opening a pipe or a device could wait for ever.
    """
    try:
        found = Path(path).stat()
        if stat.S_ISREG(found.st_mode):
            with Path(path).open("rb"):
                return found.st_size
    except OSError as error:
        raise kind(f"{path}: cannot be read: {error.strerror or error}") from None
    except ValueError as error:
        raise kind(f"{str(path)!r}: not a file name: {error}") from None
    what = "a folder" if stat.S_ISDIR(found.st_mode) else "a pipe, socket or device"
    raise kind(f"{path}: {what}: must be a file")


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
    except (ValueError, RecursionError) as error:
        raise kind(f"{path}: not valid TOML: {first_line(error)}") from None


def read_npz(path: str | Path, kind: type[EieError]) -> Arrays:
    """Read every array of an ``.npz`` file, never unpickling.

    What the archive says it holds, unpacked, must stay below ``LARGEST_BYTES``, and each array must be as long as its
    own header says: both are checked before memory is taken.
    """
    regular_file(path, kind)
    arrays: Arrays = {}
    try:
        if not zipfile.is_zipfile(path):
            raise ValueError("not an .npz archive")
        with zipfile.ZipFile(path) as archive:
            declared = sum(member.file_size for member in archive.infolist())
            if declared > LARGEST_BYTES:
                raise ValueError(f"unpacks to {declared:,} bytes: must be at most {LARGEST_BYTES:,}")
            for member in archive.infolist():
                with archive.open(member) as file:
                    name = member.filename.removesuffix(".npy")
                    arrays[name] = _read_array(file, member.file_size, name)
    except OSError as error:
        raise kind(f"{path}: cannot be read: {error.strerror or error}") from None
    except _UNREADABLE as error:
        raise kind(f"{path}: not a usable NumPy file: {first_line(error)}") from None
    return arrays


def read_npy(path: str | Path, kind: type[EieError]) -> NDArray[Any]:
    """Read the one array of an ``.npy`` file, never unpickling."""
    size = regular_file(path, kind)
    try:
        with Path(path).open("rb") as file:
            return _read_array(file, size, "the array")
    except OSError as error:
        raise kind(f"{path}: cannot be read: {error.strerror or error}") from None
    except _UNREADABLE as error:
        raise kind(f"{path}: not a usable NumPy file: {first_line(error)}") from None


def _read_array(file: IO[bytes], size: int, name: str) -> NDArray[Any]:
    """Read an ``.npy`` stream of ``size`` bytes; its header must agree with them."""
    major, _ = np.lib.format.read_magic(file)
    (length,) = struct.unpack("<H", file.read(2)) if major == 1 else struct.unpack("<I", file.read(4))
    header = file.read(min(length, LARGEST_HEADER)).decode("latin-1")
    kind, order, sizes = (re.search(pattern, header) for pattern in _HEADER)
    if kind is None or order is None or sizes is None:
        raise ValueError(f"{name} has the header {header.strip()[:80]!r}: must be a plain array of numbers")
    if kind[1].startswith("O"):
        raise ValueError(f"{name} holds pickled Python objects, which are never unpickled: must be numbers")
    dtype = np.dtype(kind[0][-len(kind[1]) - 2 : -1])
    shape = tuple(int(size) for size in sizes[1].split(",") if size.strip())
    found, declared = size - file.tell(), math.prod(shape) * dtype.itemsize
    if declared != found or min(shape, default=0) < 0:
        raise ValueError(f"{name} says it holds {shape} {dtype}, {declared:,} bytes, but {found:,} follow")
    if declared > LARGEST_BYTES:
        raise ValueError(f"{name} holds {declared:,} bytes: must be at most {LARGEST_BYTES:,}")
    data = file.read(declared)
    if len(data) != declared or file.read(1):
        raise ValueError(f"{name} is cut short")
    return np.ndarray(shape, dtype, data, order="F" if order[1] == "True" else "C")


def read_safetensors(path: str | Path, kind: type[EieError]) -> tuple[Arrays, dict[str, str]]:
    """Read every tensor and the text header of a ``.safetensors`` file; bfloat16 becomes float32."""
    from safetensors import SafetensorError, safe_open

    arrays: Arrays = {}
    regular_file(path, kind)
    try:
        with safe_open(str(path), framework="numpy") as file:
            header = file.metadata() or {}
            for name in file.keys():  # noqa: SIM118 - not a mapping
                if file.get_slice(name).get_dtype() == "BF16":
                    arrays[name] = _read_bfloat16(Path(path), name)
                else:
                    arrays[name] = file.get_tensor(name)
    except (SafetensorError, OSError, ValueError, TypeError, AttributeError, KeyError, MemoryError) as error:
        raise kind(f"{path}: not a usable .safetensors file: {first_line(error)}") from None
    return arrays, header


def _read_bfloat16(path: Path, name: str) -> NDArray[np.float32]:
    """Read one tensor that NumPy has no type for, from a file whose header has been checked."""
    with path.open("rb") as file:
        (length,) = struct.unpack("<Q", file.read(8))
        entry = json.loads(file.read(length))[name]
        begin, end = entry["data_offsets"]
        file.seek(8 + length + begin)
        halves = np.frombuffer(file.read(end - begin), "<u2")
    return (halves.astype(np.uint32) << 16).view(np.float32).reshape(entry["shape"])


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
        raise kind(f"{where}: not valid JSON: {first_line(error)}") from None
    if not isinstance(value, dict):
        raise kind(f"{where}: must be a JSON object")
    return value


def first_line(error: BaseException) -> str:
    """What an error says, cut to one line that fits into another message."""
    return (str(error).splitlines() or [type(error).__name__])[0][:200]
