"""Numbers as the text that ``$readmemh`` reads: a word a line, in hexadecimal.

Comes in: arrays of fields. Goes out: text. Read by `design`.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray


def hex_words(fields: NDArray[Any], bits: int, width: int | None = None) -> str:
    """Write (words, fields) as a word a line, the first field in the lowest bits.

    Parameters
    ----------
    bits
        Of a field; negative numbers in two's complement.
    width
        Bits of a word, if more than its fields take.
    """
    words, count = fields.shape
    width = count * bits if width is None else width
    digits = -(-width // 4)
    flags = np.zeros((words, digits * 4), np.uint8)
    taken = (fields[:, :, None].astype(np.int64) >> np.arange(bits)) & 1
    flags[:, : count * bits] = taken.reshape(words, count * bits)
    # packbits takes the highest bit first, and whole bytes: a nibble in front of an odd number of digits.
    spare = np.zeros((words, (digits % 2) * 4), np.uint8)
    packed = np.packbits(np.concatenate((spare, flags[:, ::-1]), axis=1), axis=1)
    return "".join(f"{row.tobytes().hex()[-digits:]}\n" for row in packed)


def padded(values: NDArray[np.int64], length: int) -> NDArray[np.int64]:
    """Return values followed by zeros up to a length."""
    return np.pad(values, (0, length - len(values)))
