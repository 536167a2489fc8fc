"""Reading canonical Huffman words bit by bit, straight from their bytes."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from eie.kernels.jit import njit


@njit
def decode(
    packed: NDArray[np.uint8], words_of_length: NDArray[np.int64], order: NDArray[np.uint8], symbols: NDArray[Any]
) -> int:
    """Fill ``symbols`` from a stream of bits.

    Parameters
    ----------
    packed
        (bytes,) the stream, its first bit the highest of the first byte.
    words_of_length
        (longest + 1,): number of words of each length; entry 0 is not used.
    order
        Symbols by length, then number: the order of their words.
    symbols
        (count,) is written.

    Returns
    -------
    Bits used, or -1 if the stream ends too early or holds what is no word.
    """
    at = 0
    end = 8 * len(packed)
    longest = len(words_of_length) - 1
    for i in range(len(symbols)):
        word, first, index, length = 0, 0, 0, 0
        while True:
            if length == longest or at == end:
                return -1
            # int() first: a uint8 shifted in plain Python would stay a uint8.
            word = (word << 1) | ((int(packed[at >> 3]) >> (7 - (at & 7))) & 1)
            at += 1
            length += 1
            words = words_of_length[length]
            # Words of one length are consecutive numbers from ``first`` on; their symbols begin at ``index``.
            if word - first < words:
                symbols[i] = order[index + word - first]
                break
            index += words
            first = (first + words) << 1
    return at
