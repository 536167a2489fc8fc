"""IDX files, the format of MNIST and its successors, raw or gzipped.

Comes in: a path. Goes out: a NumPy array. Read by `eie.compression.training.dataset` and by trace recording.

Format (big-endian): two zero bytes, a type byte, the number of dimensions, each dimension as uint32, the values.
"""

from __future__ import annotations

import gzip
import math
import zlib
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from eie.errors import TraceError
from eie.formats.budget import afford
from eie.formats.files import open_plain

# By the magic's third byte; big-endian, as the format is.
_TYPES = {0x08: ">u1", 0x09: ">i1", 0x0B: ">i2", 0x0C: ">i4", 0x0D: ">f4", 0x0E: ">f8"}
LARGEST_BYTES = 1 << 31


def read(path: str | Path) -> NDArray[Any]:
    """Read the one array of an IDX file; ``.gz`` files are unpacked on the way.

    Returns
    -------
    ndarray
        In the file's shape and type, in the machine's byte order.

    Raises
    ------
    TraceError
        If the file is missing, truncated, too long, or not IDX.
    """
    path = Path(path)
    try:
        with open_plain(path, TraceError) as plain:
            if path.suffix != ".gz":
                return _parse(path, plain)
            with gzip.open(plain) as file:
                return _parse(path, file)
    except (OSError, EOFError, zlib.error) as error:
        text = getattr(error, "strerror", None) or error
        raise TraceError(f"{path}: cannot be read: {text}") from None


def _parse(path: Path, file: IO[bytes] | gzip.GzipFile) -> NDArray[Any]:
    magic = file.read(4)
    if len(magic) < 4 or magic[:2] != b"\0\0" or magic[2] not in _TYPES:
        raise TraceError(f"{path}: not an IDX file: it begins with {magic.hex() or 'nothing'}")
    sizes = file.read(4 * magic[3])
    if len(sizes) < 4 * magic[3]:
        raise TraceError(f"{path}: truncated: {magic[3]} dimensions announced, {len(sizes) // 4} given")
    shape = tuple(int(size) for size in np.frombuffer(sizes, ">u4"))
    dtype = np.dtype(_TYPES[magic[2]])
    expected = math.prod(shape) * dtype.itemsize
    if expected > LARGEST_BYTES:
        raise TraceError(f"{path}: announces {expected} bytes of values: at most {LARGEST_BYTES}")
    # The file's own bytes, and the array in the machine's order.
    afford(2 * expected, path, TraceError)
    # One byte more than announced shows a file that goes on, without reading all of it.
    values = file.read(expected + 1)
    if len(values) != expected:
        present = f"{len(values)}" if len(values) < expected else "more"
        raise TraceError(f"{path}: {' x '.join(map(str, shape))} values take {expected} bytes, the file has {present}")
    return np.frombuffer(values, dtype).reshape(shape).astype(dtype.newbyteorder("="))
