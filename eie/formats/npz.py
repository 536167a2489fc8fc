"""NumPy's own files, ``.npz`` and ``.npy``: nothing is unpickled, and sizes are checked before memory is taken.

Comes in: a path, or arrays. Goes out: arrays, or a file. Read by importers, traces, recording and the command line.
"""

from __future__ import annotations

import lzma
import math
import os
import re
import struct
import zipfile
import zlib
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from eie.errors import EieError
from eie.formats.budget import afford
from eie.formats.files import LARGEST_BYTES, Arrays, first_line, open_plain, regular_file
from eie.show.writing import replacing

# NumPy's headers are some hundred bytes; its own reader refuses more than this as well.
LARGEST_HEADER = 10_000
# The three facts in an .npy header, whatever their order. Found by pattern: NumPy evaluates the header as a Python
# literal, which deep nesting can make slow or crash.
_HEADER = (
    r"'descr': *'[<>|=]([biufcSUVO]\d{0,4})'",
    r"'fortran_order': *(True|False)",
    r"'shape': *\(([-\d, ]{0,600})\)",
)
# What zipfile, its decompressors and NumPy raise on cut, flipped and made-up files.
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
            # A few kilobytes can unpack to terabytes.
            declared = sum(member.file_size for member in archive.infolist())
            if declared > LARGEST_BYTES:
                raise ValueError(f"unpacks to {declared:,} bytes: must be at most {LARGEST_BYTES:,}")
            afford(declared, path, kind)
            refuse_duplicates(archive)
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
    try:
        with open_plain(path, kind) as file:
            size = os.fstat(file.fileno()).st_size
            afford(size, path, kind, what="holds")
            return _read_array(file, size, "the array")
    except OSError as error:
        raise kind(f"{path}: cannot be read: {error.strerror or error}") from None
    except _UNREADABLE as error:
        raise kind(f"{path}: not a usable NumPy file: {first_line(error)}") from None


def refuse_duplicates(archive: zipfile.ZipFile) -> None:
    """Raise a ValueError where two members have one name: which of them counts would depend on the reader."""
    names = archive.namelist()
    # The array x is x.npy or x.
    for name, many in Counter(name.removesuffix(".npy") for name in names).items():
        if many > 1:
            raise ValueError(f"holds {name!r} {many} times: names must differ")


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
    remaining, declared = size - file.tell(), math.prod(shape) * dtype.itemsize
    if declared != remaining or min(shape, default=0) < 0:
        raise ValueError(f"{name} says it holds {shape} {dtype}, {declared:,} bytes, but {remaining:,} follow")
    if declared > LARGEST_BYTES:
        raise ValueError(f"{name} holds {declared:,} bytes: must be at most {LARGEST_BYTES:,}")
    data = file.read(declared)
    # The one byte more makes zipfile compare the checksum, which it does at the end only.
    if len(data) != declared or file.read(1):
        raise ValueError(f"{name} is cut short")
    return np.ndarray(shape, dtype, data, order="F" if order[1] == "True" else "C")


def write_npz(path: str | Path, arrays: Mapping[str, NDArray[Any]]) -> None:
    """Write a compressed ``.npz``, atomically."""
    with replacing(path) as file:
        np.savez_compressed(file, **arrays)  # type: ignore[arg-type]
