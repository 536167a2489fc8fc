"""Canonical Huffman codes of limited length, for weight codes and zero runs (Deep Compression, section 4).

Comes in: symbols below 256. Goes out: bytes, and symbols again. A code is fixed by the lengths of its words alone, so
the table that is stored is one half byte a symbol. Lengths are optimal for their limit of 15 bits (package-merge:
Larmore and Hirschberg, JACM 1990).

Layout of `encode`'s bytes: alphabet size - 1 (1 byte); a length for each symbol (half a byte each, the even symbol in
the low half, 0 = does not occur); number of symbols coded (4 bytes, little-endian); code words one after the other,
each from its highest bit on, filled with zeros to a whole byte.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from eie.compression.coding import bits
from eie.errors import ModelError
from eie.kernels import huffman as kernels
from eie.model.matrix import frozen

# So that a length fits half a byte, 0 included for symbols that do not occur.
MAX_LENGTH = 15
# The count is stored, since the zeros behind the last word could be words themselves.
COUNT_BYTES = 4


def code_lengths(counts: NDArray[Any]) -> NDArray[np.uint8]:
    """Return the optimal length of each symbol's word, at most `MAX_LENGTH`; 0 for symbols that do not occur.

    A single symbol gets one bit.

    Parameters
    ----------
    counts
        (alphabet,) how often each symbol occurs; 1 to 256 symbols.

    Examples
    --------
    >>> code_lengths(np.array([5, 0, 2, 1, 1])).tolist()
    [1, 0, 2, 3, 3]
    """
    lengths = np.zeros(len(counts), np.uint8)
    present = np.flatnonzero(counts)
    # A bit even where there is nothing to tell apart: `decode` bounds the symbols by the bits there are.
    if len(present) <= 1:
        lengths[present] = 1
        return lengths
    leaves: list[tuple[int, tuple[int, ...]]] = sorted((int(counts[symbol]), (int(symbol),)) for symbol in present)
    packages = leaves
    # Package-merge: coins of each width are paired and laid among those of the next; 15 widths, 15 lengths.
    for _ in range(MAX_LENGTH - 1):
        pairs = [
            (packages[i][0] + packages[i + 1][0], packages[i][1] + packages[i + 1][1])
            for i in range(0, len(packages) - 1, 2)
        ]
        # Stable, single symbols before packages of the same weight: the lengths, and so the file, are always the same.
        packages = sorted(leaves + pairs, key=lambda package: package[0])
    # A symbol's word is as long as the number of packages taken that hold it; 2n - 2 of them make a complete code.
    for _, symbols in packages[: 2 * len(present) - 2]:
        np.add.at(lengths, list(symbols), 1)
    return lengths


def code_words(lengths: NDArray[np.uint8]) -> NDArray[np.uint16]:
    """Return each symbol's canonical word: shorter words first, equal lengths in symbol order."""
    words = np.zeros(len(lengths), np.uint16)
    word, before = 0, 0
    for symbol in np.lexsort((np.arange(len(lengths)), lengths)):
        length = int(lengths[symbol])
        if length == 0:
            continue
        # One past the last word, with zeros behind: it begins like no shorter one.
        word <<= length - before
        words[symbol] = word
        word, before = word + 1, length
    return words


def coded_bits(counts: NDArray[Any]) -> int:
    """Bits that symbols occurring ``counts`` times take, the table not counted."""
    return int(np.dot(counts.astype(np.int64), code_lengths(counts).astype(np.int64)))


def table_bytes(alphabet: int) -> int:
    """Bytes of everything that is stored beside the code words."""
    return 1 + bits.packed_bytes(4, alphabet) + COUNT_BYTES


def encode(symbols: NDArray[Any], alphabet: int) -> bytes:
    """Code unsigned integers below ``alphabet`` (at most 256).

    Raises
    ------
    ModelError
        If a symbol is outside the alphabet, or there are 2**32 of them or more.
    """
    # Signed and wide, so that a negative symbol shows as one instead of wrapping into the alphabet.
    flat = symbols.ravel().astype(np.int64)
    if not 1 <= alphabet <= 256 or (flat.size and not 0 <= flat.min() <= flat.max() < alphabet):
        raise ModelError(f"huffman: symbols must lie in 0 to {alphabet - 1}, and the alphabet hold 1 to 256")
    if flat.size >= 1 << 32:
        raise ModelError(f"huffman: {flat.size} symbols: must be < 2**32")
    lengths = code_lengths(np.bincount(flat, minlength=alphabet))
    words = code_words(lengths)
    # Where each word ends, in bits: one pass for each bit of a word then sets it in all words at once.
    ends = np.cumsum(lengths[flat], dtype=np.int64)
    stream = np.zeros(int(ends[-1]) if flat.size else 0, np.uint8)
    for bit in range(int(lengths.max(initial=0))):
        # Bit 0 is a word's lowest and its last.
        reaching = lengths[flat] > bit
        stream[ends[reaching] - 1 - bit] = (words[flat[reaching]] >> bit) & 1
    head = bytes([alphabet - 1]) + bits.pack(lengths, 4) + flat.size.to_bytes(COUNT_BYTES, "little")
    return head + np.packbits(stream).tobytes()


def decode(data: bytes) -> NDArray[np.uint8]:
    """Undo `encode`: uint8 symbols.

    Raises
    ------
    ModelError
        If the bytes are cut short, too long, or no such code.
    """
    alphabet = data[0] + 1 if data else 0
    head = table_bytes(alphabet)
    if not data or len(data) < head:
        raise ModelError(f"huffman: {len(data)} bytes: too short to hold a table")
    lengths = bits.unpack(data[1 : head - COUNT_BYTES], 4, alphabet).astype(np.uint8)
    count = int.from_bytes(data[head - COUNT_BYTES : head], "little")
    stream = frozen(np.frombuffer(data, np.uint8, offset=head), np.uint8)
    # Kraft's sum: above 1 the lengths are those of no code. A word takes a bit or more, so a count that the stream
    # cannot hold is refused before its symbols take memory.
    share = float(np.ldexp(1.0, -lengths[lengths > 0].astype(int)).sum())
    if share > 1 or count > 8 * len(stream):
        raise ModelError("huffman: damaged: its table is no code, or it states more symbols than it can hold")
    # By length, then symbol, as `code_words` numbers them; those without a word sort first and are cut off below.
    order = np.lexsort((np.arange(alphabet), lengths))
    symbols = np.empty(count, np.uint8)
    used = kernels.decode(
        stream,
        frozen(np.bincount(lengths, minlength=MAX_LENGTH + 1), np.int64),
        frozen(order[np.count_nonzero(lengths == 0) :], np.uint8),
        symbols,
    )
    # Strict about the end: the stream's last byte is the last used one, and the bits that fill it are zero.
    if used < 0 or -(-used // 8) != len(stream) or (used % 8 and stream[-1] & (0xFF >> used % 8)):
        raise ModelError("huffman: damaged: its code words do not end where its symbols do")
    return symbols
