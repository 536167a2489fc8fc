"""``.safetensors`` files: named tensors and a header of texts.

Comes in: a path, or tensors. Goes out: tensors, or a file. Read by importers and compiled programs.
"""

from __future__ import annotations

import json
import struct
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from eie.errors import EieError
from eie.formats.files import Arrays, first_line, regular_file
from eie.show.writing import replacing


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
        # Eight bytes of length, the JSON header, then the data; offsets count from the end of the header.
        (length,) = struct.unpack("<Q", file.read(8))
        entry = json.loads(file.read(length))[name]
        begin, end = entry["data_offsets"]
        file.seek(8 + length + begin)
        halves = np.frombuffer(file.read(end - begin), "<u2")
    # bfloat16 is the upper half of a float32.
    return (halves.astype(np.uint32) << 16).view(np.float32).reshape(entry["shape"])


def parse_safetensors(data: bytes, where: str, kind: type[EieError]) -> Arrays:
    """Read every tensor out of the bytes of a ``.safetensors`` file; its offsets are checked against its length."""
    from safetensors import SafetensorError
    from safetensors.numpy import load

    try:
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
