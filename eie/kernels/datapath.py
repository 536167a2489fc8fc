"""What is computed: the arithmetic of the PEs over their stored entries, in broadcast order.

The entries are walked once, column by column over all PEs, into a flat list of those that write an accumulator; every
input then runs over that list. An accumulator meets a column at most once, so the order of additions is the hardware's.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from eie.kernels.jit import njit


@njit
def list_writes(
    bases: NDArray[np.int64],
    pointers: NDArray[np.int32],
    codes: NDArray[np.uint8],
    runs: NDArray[np.uint8],
    row_start: int,
    starts: NDArray[np.int64],
    rows_out: NDArray[np.int32],
    codes_out: NDArray[np.uint8],
) -> None:
    """List which accumulator every entry of a column writes, and its code; padding writes none.

    Column j owns ``rows_out[starts[j] : starts[j + 1]]``; ``starts`` (J + 1,) is filled, the rest (E,) up to its end.
    """
    columns, n_pe = pointers.shape[0] - 1, pointers.shape[1]
    to = 0
    starts[0] = 0
    for j in range(columns):
        for pe in range(n_pe):
            row = row_start + pe - n_pe
            for at in range(bases[pe] + pointers[j, pe], bases[pe] + pointers[j + 1, pe]):
                row += (np.int64(runs[at]) + 1) * n_pe
                if codes[at] != 0:
                    rows_out[to] = row
                    codes_out[to] = codes[at]
                    to += 1
        starts[j + 1] = to


@njit
def accumulate_float(
    starts: NDArray[np.int64],
    columns: NDArray[np.int32],
    values: NDArray[np.float32],
    writes: NDArray[np.int64],
    rows: NDArray[np.int32],
    codes: NDArray[np.uint8],
    codebook: NDArray[np.float32],
    accumulators: NDArray[np.float32],
    peaks: NDArray[np.float32],
) -> None:
    """Add every input's products to ``accumulators`` (N, outputs), float32.

    Input s owns ``columns[starts[s] : starts[s + 1]]`` with their ``values``; ``writes, rows, codes`` are what
    `list_writes` filled. ``peaks`` (N,) keeps the largest magnitude that any accumulator had on the way.
    """
    for s in range(starts.shape[0] - 1):
        peak = peaks[s]
        for k in range(starts[s], starts[s + 1]):
            j, value = columns[k], values[k]
            for at in range(writes[j], writes[j + 1]):
                total = accumulators[s, rows[at]] + codebook[codes[at]] * value
                accumulators[s, rows[at]] = total
                peak = max(peak, abs(total))
        peaks[s] = peak


@njit
def accumulate_fixed(
    starts: NDArray[np.int64],
    columns: NDArray[np.int32],
    values: NDArray[np.int64],
    writes: NDArray[np.int64],
    rows: NDArray[np.int32],
    codes: NDArray[np.uint8],
    codebook: NDArray[np.int64],
    shift: int,
    largest: int,
    accumulators: NDArray[np.int64],
    saturations: NDArray[np.int64],
) -> None:
    """Add every input's products to ``accumulators`` (N, outputs) in fixed point; arguments as `accumulate_float`'s.

    A product is shifted right by ``shift`` bits, halves rounded up, and added with saturation to
    [-largest - 1, largest]; ``saturations`` (N,) counts the additions that did saturate.
    """
    half = np.int64(1) << (shift - 1) if shift > 0 else np.int64(0)
    for s in range(starts.shape[0] - 1):
        clipped = 0
        for k in range(starts[s], starts[s + 1]):
            j, value = columns[k], values[k]
            for at in range(writes[j], writes[j + 1]):
                total = accumulators[s, rows[at]] + ((codebook[codes[at]] * value + half) >> shift)
                if total > largest:
                    total = largest
                    clipped += 1
                elif total < -largest - 1:
                    total = -largest - 1
                    clipped += 1
                accumulators[s, rows[at]] = total
        saturations[s] += clipped
