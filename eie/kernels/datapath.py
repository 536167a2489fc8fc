"""What is computed: the arithmetic of the PEs over their stored entries, in broadcast order."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from eie.kernels.jit import njit


@njit
def accumulate_float(
    starts: NDArray[np.int64],
    columns: NDArray[np.int32],
    values: NDArray[np.float32],
    bases: NDArray[np.int64],
    pointers: NDArray[np.int32],
    codes: NDArray[np.uint8],
    runs: NDArray[np.uint8],
    codebook: NDArray[np.float32],
    row_start: int,
    accumulators: NDArray[np.float32],
    peaks: NDArray[np.float32],
) -> None:
    """Add every input's products to ``accumulators`` (N, rows), float32.

    Input s owns ``columns[starts[s] : starts[s + 1]]`` with their ``values``. ``peaks`` (N,) keeps the largest
    magnitude that any accumulator had on the way.
    """
    n_pe = pointers.shape[1]
    for s in range(starts.shape[0] - 1):
        peak = peaks[s]
        for k in range(starts[s], starts[s + 1]):
            j, value = columns[k], values[k]
            for pe in range(n_pe):
                row = row_start + pe - n_pe
                for at in range(bases[pe] + pointers[j, pe], bases[pe] + pointers[j + 1, pe]):
                    row += (np.int64(runs[at]) + 1) * n_pe
                    if codes[at] != 0:
                        total = accumulators[s, row] + codebook[codes[at]] * value
                        accumulators[s, row] = total
                        peak = max(peak, abs(total))
        peaks[s] = peak


@njit
def accumulate_fixed(
    starts: NDArray[np.int64],
    columns: NDArray[np.int32],
    values: NDArray[np.int64],
    bases: NDArray[np.int64],
    pointers: NDArray[np.int32],
    codes: NDArray[np.uint8],
    runs: NDArray[np.uint8],
    codebook: NDArray[np.int64],
    shift: int,
    largest: int,
    row_start: int,
    accumulators: NDArray[np.int64],
    saturations: NDArray[np.int64],
) -> None:
    """Add every input's products to ``accumulators`` (N, rows) in fixed point.

    A product is shifted right by ``shift`` bits, halves rounded up, and added with saturation to
    [-largest - 1, largest]; ``saturations`` (N,) counts the additions that did saturate.
    """
    n_pe = pointers.shape[1]
    half = np.int64(1) << (shift - 1) if shift > 0 else np.int64(0)
    for s in range(starts.shape[0] - 1):
        clipped = 0
        for k in range(starts[s], starts[s + 1]):
            j, value = columns[k], values[k]
            for pe in range(n_pe):
                row = row_start + pe - n_pe
                for at in range(bases[pe] + pointers[j, pe], bases[pe] + pointers[j + 1, pe]):
                    row += (np.int64(runs[at]) + 1) * n_pe
                    if codes[at] != 0:
                        total = accumulators[s, row] + ((codebook[codes[at]] * value + half) >> shift)
                        if total > largest:
                            total = largest
                            clipped += 1
                        elif total < -largest - 1:
                            total = -largest - 1
                            clipped += 1
                        accumulators[s, row] = total
        saturations[s] += clipped
