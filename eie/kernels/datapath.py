"""What is computed: the arithmetic of the PEs over their stored entries, in broadcast order.

The images are walked once, column by column over all PEs, into a packed list of the entries that write an accumulator;
every input then runs over that list. An accumulator meets a column at most once, so the order of additions is the
hardware's, whatever the order within a column.

A packed entry is ``code << ROW_BITS | row``, where ``row`` counts within a *band* of `BAND` accumulators: 16 bits hold
it where codes have 4, a third of the memory of an int32 row and a code side by side, and what the walk waits for is
memory. Column j of band b owns ``packed[starts[b * J + j] : starts[b * J + j + 1]]``. A band's accumulators on both
datapaths take 32 KiB, a first-level cache.

The two `walk_*` kernels for single inputs and for blocks of 8 are the fast ones. They note how large sums became; where
one left the range in which they are exact, the caller runs the input again with the two `add_*` kernels.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from eie.kernels.jit import fetch, inlined, njit, paired

ROW_BITS = 12
BAND = 1 << ROW_BITS
LANES = 8  # inputs of a block: eight float32 or int32 fill an AVX2 register


@njit
def count_writes(
    bases: NDArray[np.int64],
    pointers: NDArray[np.int32],
    codes: NDArray[np.uint8],
    runs: NDArray[np.uint8],
    starts: NDArray[np.int64],
) -> None:
    """Count the entries that write, for each band and column, into ``starts[1:]``, and sum them up; starts at zeros."""
    columns, n_pe = pointers.shape[0] - 1, bases.shape[0] - 1
    for j in range(columns):
        for pe in range(pointers.shape[1]):
            # One local row above the PE's first, so that a run of 0 leads to row ``pe``.
            row = pe - n_pe
            for at in range(bases[pe] + pointers[j, pe], bases[pe] + pointers[j + 1, pe]):
                # widened first: a uint8 run of 255 plus one is 0 where numpy's scalars do the sum
                row += (np.int64(runs[at]) + 1) * n_pe
                if codes[at] != 0:
                    # One place behind its own: the running sum below then leaves each column's start in its own place.
                    starts[(row >> ROW_BITS) * columns + j + 1] += 1
    for i in range(1, starts.shape[0]):
        starts[i] += starts[i - 1]


@njit
def list_writes(
    bases: NDArray[np.int64],
    pointers: NDArray[np.int32],
    codes: NDArray[np.uint8],
    runs: NDArray[np.uint8],
    cursor: NDArray[np.int64],
    packed: NDArray[Any],
) -> None:
    """Pack the entries that write; ``cursor`` is `count_writes`' ``starts``, a copy, since it is consumed."""
    columns, n_pe = pointers.shape[0] - 1, bases.shape[0] - 1
    for j in range(columns):
        for pe in range(pointers.shape[1]):
            row = pe - n_pe
            for at in range(bases[pe] + pointers[j, pe], bases[pe] + pointers[j + 1, pe]):
                row += (np.int64(runs[at]) + 1) * n_pe
                if codes[at] != 0:
                    owner = (row >> ROW_BITS) * columns + j
                    packed[cursor[owner]] = (np.int64(codes[at]) << ROW_BITS) | (row & (BAND - 1))
                    cursor[owner] += 1


@inlined
def _add(sums: NDArray[np.float32], at: Any, product: Any, peak: Any) -> Any:
    """Add to one float32 accumulator; return the largest magnitude so far."""
    total = sums[at] + product
    sums[at] = total
    size = abs(total)
    # this form, and not max(), is the processor's one-cycle maximum; max() has NaN rules of its own and took four
    return size if size > peak else peak


@inlined
def _product(level: Any, value: Any, half: Any, shift: Any) -> Any:
    """Multiply in fixed point, halves rounded up."""
    # The shift rounds towards minus infinity, also below zero, so adding a half first takes every half up.
    return (level * value + half) >> shift


@paired
def walk_single(
    reals: NDArray[np.float32],
    raws: NDArray[np.int64],
    bias_raw: int,
    place: NDArray[np.int64],
    starts: NDArray[np.int64],
    packed: NDArray[Any],
    levels: NDArray[np.float32],
    raw_levels: NDArray[np.int64],
    shift: int,
    sums: NDArray[np.float32],
    peaks: NDArray[np.float32],
) -> None:
    """Walk every input over both datapaths at once, two float32 lanes side by side.

    Parameters
    ----------
    reals, raws
        (N, W): the activations in both formats.
    bias_raw
        1.0 in the fixed-point format.
    place
        The pass's first row, its first column in W, how many it takes from there, and its columns J: one more with a
        bias.
    starts, packed
        Its packed entries.
    levels, raw_levels
        The codebook in both formats.
    shift
        Fixed-point products are shifted right by so many bits.
    sums
        (N, 2 * outputs): float32 and fixed-point sum of each output in turn, added to. float32 holds integers up to
        2**24 exactly, so a fixed-point sum is right as long as it has stayed below that.
    peaks
        (N, 2): largest magnitude in each lane on the way, updated.
    """
    first_row, first_column, inputs, columns = place[0], place[1], place[2], place[3]
    half = np.int64(1) << (shift - 1) if shift > 0 else np.int64(0)
    bands = (starts.shape[0] - 1) // columns
    # Entries in a cache line of 64 bytes: one request fetches all of them.
    a_line = np.uint64(64 // packed.itemsize)
    active = np.empty(columns + 1, np.int32)
    values = np.empty(columns + 1, np.float32)
    raw_values = np.empty(columns + 1, np.int64)
    # Two for each of the 256 codes there can be.
    products = np.empty(512, np.float32)
    code: Any
    for s in range(reals.shape[0]):
        count = np.int64(0)
        for j in range(inputs):
            value, raw_value = reals[s, first_column + j], raws[s, first_column + j]
            # Written always and kept by counting: which inputs are zero is random, and a branch on it guesses wrong.
            active[count] = j
            values[count] = value
            raw_values[count] = raw_value
            # The union: a number too small for the fixed-point format is zero there and not in float32.
            count += np.int64((value != 0) | (raw_value != 0))
        if columns > inputs:
            active[count] = inputs
            values[count] = np.float32(1)
            raw_values[count] = bias_raw
            count += 1
        line, peak, raw_peak = sums[s], peaks[s, 0], peaks[s, 1]
        for band in range(bands):
            # Two sums an output, side by side, as ``sums`` has them.
            base = np.uint64(2 * (first_row + band * BAND))
            # Columns within a band, not bands within a column: the band's sums stay in the nearest cache.
            owner = band * columns
            for k in range(count):
                # Two columns ahead: by the time the walk gets there, the entries have come from memory.
                later: Any = min(k + 2, count - 1)
                ahead = owner + active[later]
                for at in range(np.uint64(starts[ahead]), np.uint64(starts[ahead + 1]), a_line):
                    fetch(packed, at)
                value, raw_value = values[k], raw_values[k]
                begin, end = starts[owner + active[k]], starts[owner + active[k] + 1]
                if end - begin >= levels.shape[0]:
                    # a product for each code, made once a column: a zero input makes zeros, which add nothing
                    for level in range(levels.shape[0]):
                        products[2 * level] = levels[level] * value
                        products[2 * level + 1] = np.float32(_product(raw_levels[level], raw_value, half, shift))
                    # unsigned indices, or each access would first ask whether its index counts from the end
                    for at in range(np.uint64(begin), np.uint64(end)):
                        entry = np.uint64(packed[at])
                        code = (entry >> np.uint64(ROW_BITS)) << np.uint64(1)
                        to = base + ((entry & np.uint64(BAND - 1)) << np.uint64(1))
                        # both read before one is written, which might be the same memory for all the compiler knows
                        product, raw_product = products[code], products[code + np.uint64(1)]
                        peak = _add(line, to, product, peak)
                        raw_peak = _add(line, to + np.uint64(1), raw_product, raw_peak)
                else:
                    # fewer entries than codes: multiplying each is less work than the table
                    for at in range(np.uint64(begin), np.uint64(end)):
                        entry = np.uint64(packed[at])
                        code = entry >> np.uint64(ROW_BITS)
                        to = base + ((entry & np.uint64(BAND - 1)) << np.uint64(1))
                        product = levels[code] * value
                        raw_product = np.float32(_product(raw_levels[code], raw_value, half, shift))
                        peak = _add(line, to, product, peak)
                        raw_peak = _add(line, to + np.uint64(1), raw_product, raw_peak)
        peaks[s, 0], peaks[s, 1] = peak, raw_peak


@paired
def walk_block(
    reals: NDArray[np.float32],
    place: NDArray[np.int64],
    starts: NDArray[np.int64],
    packed: NDArray[Any],
    levels: NDArray[np.float32],
    sums: NDArray[np.float32],
    peaks: NDArray[np.float32],
) -> None:
    """Walk `LANES` inputs at a time over the float32 datapath; arguments as of `walk_single`, other shapes:

    ``sums`` (blocks, outputs * LANES): the lanes of each output side by side. ``peaks`` (blocks,). Lanes behind the
    last input repeat it, so that they change no peak.
    """
    first_row, first_column, inputs, columns = place[0], place[1], place[2], place[3]
    bands = (starts.shape[0] - 1) // columns
    last = reals.shape[0] - 1
    for block in range(sums.shape[0]):
        s = block * LANES
        s0, s1, s2, s3 = s, min(s + 1, last), min(s + 2, last), min(s + 3, last)
        s4, s5, s6, s7 = min(s + 4, last), min(s + 5, last), min(s + 6, last), min(s + 7, last)
        line = sums[block]
        # A peak for each lane, so that the maxima are vector operations like the sums.
        p0 = p1 = p2 = p3 = p4 = p5 = p6 = p7 = peaks[block]
        for band in range(bands):
            base = np.uint64((first_row + band * BAND) * LANES)
            for j in range(columns):
                v0 = v1 = v2 = v3 = v4 = v5 = v6 = v7 = np.float32(1)
                if j < inputs:
                    at = first_column + j
                    v0, v1, v2, v3 = reals[s0, at], reals[s1, at], reals[s2, at], reals[s3, at]
                    v4, v5, v6, v7 = reals[s4, at], reals[s5, at], reals[s6, at], reals[s7, at]
                    # Skipped only if no lane has it: a zero times a weight adds nothing to the others.
                    if not (
                        (v0 != 0) | (v1 != 0) | (v2 != 0) | (v3 != 0) | (v4 != 0) | (v5 != 0) | (v6 != 0) | (v7 != 0)
                    ):
                        continue
                owner = band * columns + j
                for here in range(np.uint64(starts[owner]), np.uint64(starts[owner + 1])):
                    entry = np.uint64(packed[here])
                    level = levels[entry >> np.uint64(ROW_BITS)]
                    # Times 8, the lanes of an output.
                    to = base + ((entry & np.uint64(BAND - 1)) << np.uint64(3))
                    # Spelt out: the compiler unrolls a loop of eight before it would make a vector of it.
                    p0 = _add(line, to, level * v0, p0)
                    p1 = _add(line, to + np.uint64(1), level * v1, p1)
                    p2 = _add(line, to + np.uint64(2), level * v2, p2)
                    p3 = _add(line, to + np.uint64(3), level * v3, p3)
                    p4 = _add(line, to + np.uint64(4), level * v4, p4)
                    p5 = _add(line, to + np.uint64(5), level * v5, p5)
                    p6 = _add(line, to + np.uint64(6), level * v6, p6)
                    p7 = _add(line, to + np.uint64(7), level * v7, p7)
        peaks[block] = max(p0, p1, p2, p3, p4, p5, p6, p7)


@inlined
def _add_raw(sums: NDArray[np.int32], at: Any, product: Any, seen: Any) -> Any:
    """Add to one int32 accumulator; return every bit that any sum so far had set."""
    # int32 at every step: numba would widen to 64 bits and then four lanes fill a register, not eight
    total = np.int32(sums[at] + product)
    sums[at] = total
    return np.int32(seen | total)


@inlined
def _narrow_product(level: Any, value: Any, half: Any, shift: Any) -> Any:
    """Multiply as `_product` does, in int32; the mask tells the compiler that 32 bits are enough."""
    # Two numbers of 16 bits make at most 2**30, and half of the last bit lost at most 2**29: int32 holds the sum.
    return np.int32(np.int32(np.int32(level * value) + half) >> (shift & 31))


@paired
def walk_block_raw(
    raws: NDArray[np.int64],
    bias_raw: int,
    place: NDArray[np.int64],
    starts: NDArray[np.int64],
    packed: NDArray[Any],
    levels: NDArray[np.int32],
    shift: int,
    sums: NDArray[np.int32],
    seen: NDArray[np.int32],
) -> None:
    """Walk `LANES` inputs at a time in fixed point of at most 16 bits, ``shift`` at most 30; otherwise `walk_block`.

    A sum is kept with 2**(data_bits - 1) added, as ``sums`` (blocks, outputs * LANES) begins: it is within the format
    as long as no bit from ``data_bits`` on is set. ``seen`` (blocks, LANES) gathers the bits of every sum on the way.
    """
    first_row, first_column, inputs, columns = place[0], place[1], place[2], place[3]
    half = np.int32(1 << (shift - 1)) if shift > 0 else np.int32(0)
    bands = (starts.shape[0] - 1) // columns
    last = raws.shape[0] - 1
    for block in range(sums.shape[0]):
        s = block * LANES
        s0, s1, s2, s3 = s, min(s + 1, last), min(s + 2, last), min(s + 3, last)
        s4, s5, s6, s7 = min(s + 4, last), min(s + 5, last), min(s + 6, last), min(s + 7, last)
        line, bits = sums[block], seen[block]
        # Gathered by "or", so that no sum needs a test of its own on the way.
        b0, b1, b2, b3, b4, b5, b6, b7 = bits[0], bits[1], bits[2], bits[3], bits[4], bits[5], bits[6], bits[7]
        for band in range(bands):
            base = np.uint64((first_row + band * BAND) * LANES)
            for j in range(columns):
                v0 = v1 = v2 = v3 = v4 = v5 = v6 = v7 = np.int32(bias_raw)
                if j < inputs:
                    at = first_column + j
                    v0, v1, v2, v3 = (
                        np.int32(raws[s0, at]), np.int32(raws[s1, at]), np.int32(raws[s2, at]), np.int32(raws[s3, at])
                    )  # fmt: skip
                    v4, v5, v6, v7 = (
                        np.int32(raws[s4, at]), np.int32(raws[s5, at]), np.int32(raws[s6, at]), np.int32(raws[s7, at])
                    )  # fmt: skip
                    if (v0 | v1 | v2 | v3 | v4 | v5 | v6 | v7) == 0:
                        continue
                owner = band * columns + j
                for here in range(np.uint64(starts[owner]), np.uint64(starts[owner + 1])):
                    entry = np.uint64(packed[here])
                    level = levels[entry >> np.uint64(ROW_BITS)]
                    to = base + ((entry & np.uint64(BAND - 1)) << np.uint64(3))
                    b0 = _add_raw(line, to, _narrow_product(level, v0, half, shift), b0)
                    b1 = _add_raw(line, to + np.uint64(1), _narrow_product(level, v1, half, shift), b1)
                    b2 = _add_raw(line, to + np.uint64(2), _narrow_product(level, v2, half, shift), b2)
                    b3 = _add_raw(line, to + np.uint64(3), _narrow_product(level, v3, half, shift), b3)
                    b4 = _add_raw(line, to + np.uint64(4), _narrow_product(level, v4, half, shift), b4)
                    b5 = _add_raw(line, to + np.uint64(5), _narrow_product(level, v5, half, shift), b5)
                    b6 = _add_raw(line, to + np.uint64(6), _narrow_product(level, v6, half, shift), b6)
                    b7 = _add_raw(line, to + np.uint64(7), _narrow_product(level, v7, half, shift), b7)
        bits[0], bits[1], bits[2], bits[3], bits[4], bits[5], bits[6], bits[7] = b0, b1, b2, b3, b4, b5, b6, b7


@njit
def add_float(
    reals: NDArray[np.float32],
    place: NDArray[np.int64],
    starts: NDArray[np.int64],
    packed: NDArray[Any],
    levels: NDArray[np.float32],
    sums: NDArray[np.float32],
    peaks: NDArray[np.float32],
) -> None:
    """Add every input's products to ``sums`` (N, outputs) in float32; arguments as of `walk_single`.

    ``peaks`` (N,) keeps the largest magnitude that any accumulator had on the way, infinite ones included.
    """
    first_row, first_column, inputs, columns = place[0], place[1], place[2], place[3]
    for s in range(reals.shape[0]):
        peak = peaks[s]
        for band in range((starts.shape[0] - 1) // columns):
            for j in range(columns):
                value = reals[s, first_column + j] if j < inputs else np.float32(1)
                if value == 0:
                    continue
                for at in range(starts[band * columns + j], starts[band * columns + j + 1]):
                    entry = np.int64(packed[at])
                    to = first_row + band * BAND + (entry & (BAND - 1))
                    total = sums[s, to] + levels[entry >> ROW_BITS] * value
                    sums[s, to] = total
                    # Plain max(), unlike `_add`: this kernel runs only where sums have left their range.
                    peak = max(peak, abs(total))
        peaks[s] = peak


@njit
def add_fixed(
    raws: NDArray[np.int64],
    bias_raw: int,
    place: NDArray[np.int64],
    starts: NDArray[np.int64],
    packed: NDArray[Any],
    levels: NDArray[np.int64],
    shift: int,
    largest: int,
    sums: NDArray[np.int64],
    saturations: NDArray[np.int64],
) -> None:
    """Add every input's products to ``sums`` (N, outputs) in fixed point of any width, with saturation.

    Sums stay within [-largest - 1, largest]; ``saturations`` (N,) counts the additions that did saturate.
    """
    first_row, first_column, inputs, columns = place[0], place[1], place[2], place[3]
    half = np.int64(1) << (shift - 1) if shift > 0 else np.int64(0)
    for s in range(raws.shape[0]):
        clipped = 0
        for band in range((starts.shape[0] - 1) // columns):
            for j in range(columns):
                value = raws[s, first_column + j] if j < inputs else np.int64(bias_raw)
                if value == 0:
                    continue
                for at in range(starts[band * columns + j], starts[band * columns + j + 1]):
                    entry = np.int64(packed[at])
                    to = first_row + band * BAND + (entry & (BAND - 1))
                    total = sums[s, to] + _product(levels[entry >> ROW_BITS], value, half, shift)
                    # After each addition, not at the end: the hardware clips on the way, and the order shows.
                    if total > largest:
                        total = largest
                        clipped += 1
                    elif total < -largest - 1:
                        total = -largest - 1
                        clipped += 1
                    sums[s, to] = total
        saturations[s] += clipped
