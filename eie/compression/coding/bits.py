"""Small unsigned integers packed to a fixed width: indices of an N:M matrix, table lengths.

The first value sits in the lowest bits of the first byte.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from eie.errors import ModelError


def pack(values: NDArray[Any], width: int) -> bytes:
    """Pack integers below ``2**width``, ``width`` bits each; the last byte is filled with zeros.

    Examples
    --------
    >>> pack(np.array([0, 2, 1, 3]), 2).hex()
    'd8'
    """
    # 16 bits, the widest that anyone packs (N:M positions up to M = 65536); a bit plane a column, lowest first.
    planes = (values.ravel().astype(np.uint16)[:, None] >> np.arange(width, dtype=np.uint16)) & 1
    return np.packbits(planes.astype(np.uint8).ravel(), bitorder="little").tobytes()


def unpack(data: bytes, width: int, count: int) -> NDArray[np.uint16]:
    """Undo `pack`: uint16 (count,).

    Raises
    ------
    ModelError
        If ``data`` is not exactly as long as ``count`` values need.
    """
    if len(data) != packed_bytes(width, count):
        raise ModelError(f"{count} values of {width} bits take {packed_bytes(width, count)} bytes, not {len(data)}")
    # Without the zeros that fill the last byte: they would be values that nobody packed.
    planes = np.unpackbits(np.frombuffer(data, np.uint8), count=count * width, bitorder="little")
    weights = np.uint16(1) << np.arange(width, dtype=np.uint16)
    values: NDArray[np.uint16] = (planes.reshape(count, width) * weights).sum(axis=1, dtype=np.uint16)
    return values


def packed_bytes(width: int, count: int) -> int:
    """Bytes that `pack` gives."""
    # Rounded up: the minus signs make a floor division a ceiling one, exact in integers of any size.
    return -(-width * count // 8)
