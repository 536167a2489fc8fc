"""Reading canonical Huffman words bit by bit."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from eie.kernels.jit import njit


@njit
def decode(
    stream: NDArray[np.uint8], words_of_length: NDArray[np.int64], order: NDArray[np.uint8], symbols: NDArray[Any]
) -> int:
    """Fill ``symbols`` from a stream of bits.

    Parameters
    ----------
    stream
        (bits,) each 0 or 1.
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
    longest = len(words_of_length) - 1
    for i in range(len(symbols)):
        word, first, index, length = 0, 0, 0, 0
        is_word = False
        while length < longest and at < len(stream):
            word = (word << 1) | int(stream[at])
            at += 1
            length += 1
            words = words_of_length[length]
            if word - first < words:
                symbols[i] = order[index + word - first]
                is_word = True
                break
            index += words
            first = (first + words) << 1
        if not is_word:
            return -1
    return at
