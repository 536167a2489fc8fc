"""What accumulators hold before the first product: zero, or their layer's bias, laid out as the kernels add to them.

Comes in: a bias (outputs,) in float32 or as raw fixed-point numbers, or None for zeros. Goes out: arrays of sums to
walk into. Read by `products`.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from eie.compiler.encoded import EncodedLayer
from eie.kernels.datapath import LANES
from eie.simulator.functional import to_raw

Start = NDArray[Any] | None


def raw_start(layer: EncodedLayer, fraction_bits: int, data_bits: int) -> Start:
    """Return a layer's bias in the accumulators' format, int64 (outputs,); None where they start from zero."""
    bias = layer.accumulator_bias
    return None if bias is None else to_raw(bias, fraction_bits, data_bits)


def largest_start(layer: EncodedLayer) -> float:
    """Largest magnitude that an accumulator starts from: their format must hold it as it holds the sums."""
    bias = layer.accumulator_bias
    return 0.0 if bias is None else float(np.abs(bias).max(initial=0))


def in_rows(start: Start, shape: tuple[int, int], dtype: Any) -> NDArray[Any]:
    """Make sums (count, outputs), a row an input."""
    # zeros, not a broadcast of zero: their memory is not touched before the walk does.
    sums = np.zeros(shape, dtype)
    if start is not None:
        sums += start.astype(dtype)
    return sums


def in_lanes(start: Start, shape: tuple[int, int], dtype: Any) -> NDArray[Any]:
    """Make sums (blocks, outputs * LANES) for ``shape`` (count, outputs): the lanes of each output side by side."""
    count, outputs = shape
    lanes = np.zeros((-(-count // LANES), outputs * LANES), dtype)
    if start is not None:
        lanes += np.repeat(start.astype(dtype), LANES)
    return lanes


def in_pairs(start: Start, raw: Start, shape: tuple[int, int]) -> NDArray[np.float32]:
    """Make sums (count, 2 * outputs): float32 and fixed-point sum of each output in turn, both as float32."""
    count, outputs = shape
    sums = np.zeros((count, 2 * outputs), np.float32)
    if start is not None and raw is not None:
        sums[:, ::2], sums[:, 1::2] = start, raw
    return sums
