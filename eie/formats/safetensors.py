"""``.safetensors`` files: named tensors and a header of texts.

Comes in: a path, or tensors. Goes out: tensors, or a file. Read by importers and compiled programs.
"""

from __future__ import annotations

import io
import json
import struct
from collections.abc import Mapping
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from eie.errors import EieError
from eie.formats import float8
from eie.formats.budget import afford
from eie.formats.contents import Contents
from eie.formats.files import Arrays, distinct, first_line, regular_file
from eie.show.writing import replacing

# The library's own bound on the header.
LARGEST_HEADER = 100_000_000
# Types without a NumPy one, and the bits of an element.
FOREIGN_BITS = {"BF16": 16} | dict.fromkeys(float8.TYPES, 8)
# Types as safetensors names them; what it may add later is refused by name.
_NUMPY = (
    "F64",
    "F32",
    "F16",
    "I64",
    "I32",
    "I16",
    "I8",
    "U64",
    "U32",
    "U16",
    "U8",
    "BOOL",
    "C64",
)


def read_safetensors(path: str | Path, kind: type[EieError]) -> tuple[Arrays, dict[str, str]]:
    """Read every tensor and the text header of a ``.safetensors`` file; bfloat16 and 8-bit floats become float32."""
    contents = safetensors_contents(path, kind)
    return contents.arrays, dict(contents.texts)


def safetensors_contents(path: str | Path, kind: type[EieError]) -> Contents:
    """Read a ``.safetensors`` file, and how wide its types were that NumPy does not have."""
    from safetensors import SafetensorError, safe_open

    arrays: Arrays = {}
    bits: dict[str, int] = {}
    afford(regular_file(path, kind), path, kind, what="holds")
    try:
        with Path(path).open("rb") as stated:
            _check_names(stated)
        with safe_open(str(path), framework="numpy") as file:
            texts = file.metadata() or {}
            foreign = _Foreign(Path(path))
            for name in file.keys():  # noqa: SIM118 - not a mapping
                stored_as = file.get_slice(name).get_dtype()
                if stored_as in FOREIGN_BITS:
                    arrays[name], bits[name] = foreign.read(name, stored_as), FOREIGN_BITS[stored_as]
                elif stored_as in _NUMPY:
                    arrays[name] = file.get_tensor(name)
                else:
                    known = ", ".join((*_NUMPY, *FOREIGN_BITS))
                    raise ValueError(f"tensor {name!r} is of type {stored_as}: must be one of {known}")
    except (SafetensorError, OSError, ValueError, TypeError, AttributeError, KeyError, MemoryError) as error:
        raise kind(f"{path}: not a usable .safetensors file: {first_line(error)}") from None
    return Contents(arrays=arrays, bits=bits, texts=texts)


def _check_names(file: IO[bytes]) -> None:
    """Raise a ValueError where the header names a tensor twice: safetensors itself takes the last of them."""
    # Eight bytes of length, then the JSON header; what is cut, longer or no JSON the library says better.
    (length,) = struct.unpack("<Q", file.read(8).ljust(8, b"\0"))
    if length <= LARGEST_HEADER:
        try:
            json.loads(file.read(length), object_pairs_hook=distinct)
        except (UnicodeDecodeError, json.JSONDecodeError, RecursionError):
            return


class _Foreign:
    """Tensors that NumPy has no type for, out of a file whose header has been checked."""

    def __init__(self, path: Path) -> None:
        self._path = path
        with path.open("rb") as file:
            # Eight bytes of length, the JSON header, then the data; offsets count from the end of the header.
            (length,) = struct.unpack("<Q", file.read(8))
            self._start = 8 + length
            self._entries = json.loads(file.read(length))

    def read(self, name: str, stored_as: str) -> NDArray[np.float32]:
        entry = self._entries[name]
        begin, end = entry["data_offsets"]
        with self._path.open("rb") as file:
            file.seek(self._start + begin)
            data = np.frombuffer(file.read(end - begin), np.uint8)
        if stored_as != "BF16":
            return float8.decode(data, stored_as).reshape(entry["shape"])
        # bfloat16 is the upper half of a float32.
        return (data.view("<u2").astype(np.uint32) << 16).view(np.float32).reshape(entry["shape"])


def parse_safetensors(data: bytes, where: str, kind: type[EieError]) -> Arrays:
    """Read every tensor out of the bytes of a ``.safetensors`` file; its offsets are checked against its length."""
    from safetensors import SafetensorError
    from safetensors.numpy import load

    try:
        _check_names(io.BytesIO(data))
        return load(data)
    except (SafetensorError, ValueError, TypeError, KeyError, MemoryError, OverflowError) as error:
        raise kind(f"{where}: not a usable .safetensors file: {first_line(error)}") from None


def safetensors_bytes(arrays: Mapping[str, NDArray[Any]], header: Mapping[str, str]) -> bytes:
    """Return what `write_safetensors` writes."""
    from safetensors.numpy import save

    data: bytes = save({name: np.ascontiguousarray(array) for name, array in arrays.items()}, dict(header))
    return data


def write_safetensors(path: str | Path, arrays: Mapping[str, NDArray[Any]], header: Mapping[str, str]) -> None:
    """Write tensors and a text header, atomically."""
    data = safetensors_bytes(arrays, header)
    with replacing(path) as file:
        file.write(data)
