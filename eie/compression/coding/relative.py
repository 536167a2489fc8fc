"""Deep Compression's storage of a pruned layer: codes and zero runs over the flattened weights.

Comes in: codes (outputs, inputs), row by row, or weights that are not shared. Goes out: the entries' codes and runs,
and the flattened codes again. Read by `coded_file` and `size`. A gap of 2**b zeros or more costs
padding entries (code 0, run 2**b - 1), as in the accelerator's own encoding; see docs/cycle-model.md.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from eie.errors import ModelError


@dataclass(frozen=True, eq=False)
class RelativeCodes:
    """Entries in order.

    Attributes
    ----------
    codes
        (entries,) of the type that was encoded: a code or weight, 0 for padding.
    runs
        uint8 (entries,): zeros skipped since the entry before.
    """

    codes: NDArray[Any]
    runs: NDArray[np.uint8]

    @property
    def padding(self) -> int:
        """Entries that only bridge a long gap."""
        # No entry but padding is 0: only non-zeros were listed, and code 0 always means the value zero.
        return int(np.count_nonzero(self.codes == 0))


def encode(positions: NDArray[Any], codes: NDArray[Any], index_bits: int) -> RelativeCodes:
    """List entries with their runs.

    Parameters
    ----------
    positions
        (nnz,) ascending places of the non-zeros in the flattened array.
    codes
        (nnz,) their codes (uint8) or weights (float32), none of them 0.
    index_bits
        b, bits of a run, 1 to 8.

    Examples
    --------
    >>> entries = encode(np.array([2, 3, 22]), np.array([1, 2, 3], np.uint8), 4)
    >>> entries.codes.tolist(), entries.runs.tolist()
    ([1, 2, 0, 3], [2, 0, 15, 2])
    """
    # As if an entry stood before the first place: zeros at the very front count like those between two.
    places = np.concatenate((np.full(1, -1), positions)).astype(np.int64)
    gaps = places[1:] - places[:-1] - 1
    # gap // 2**b: a padding entry stands for 2**b places, its run of 2**b - 1 zeros and its own.
    padding = gaps >> index_bits
    last = np.cumsum(padding + 1) - 1
    entries = int(last[-1]) + 1 if len(last) else 0
    # Everything is padding to begin with; the real entries, each the last of its group, are written over it.
    runs = np.full(entries, (1 << index_bits) - 1, np.uint8)
    runs[last] = gaps & ((1 << index_bits) - 1)
    out = np.zeros(entries, codes.dtype)
    out[last] = codes
    return RelativeCodes(out, runs)


def decode(coded: RelativeCodes, size: int) -> NDArray[Any]:
    """Return the flattened codes, (size,) of the type that was encoded.

    Raises
    ------
    ModelError
        If an entry lies beyond ``size``, or codes and runs are not equally many.
    """
    if coded.codes.shape != coded.runs.shape:
        raise ModelError(f"relative codes: {coded.codes.size} codes and {coded.runs.size} runs: must be equally many")
    # In 64 bits and checked before anything is written: a run is a byte, their sum can be any number.
    places = np.cumsum(coded.runs, dtype=np.int64) + np.arange(len(coded.runs))
    if len(places) and places[-1] >= size:
        raise ModelError(f"relative codes: an entry at place {places[-1]}: must be below {size}")
    flat = np.zeros(size, coded.codes.dtype)
    flat[places] = coded.codes
    return flat
