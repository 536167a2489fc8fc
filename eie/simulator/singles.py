"""Both datapaths in one walk, a single input after the other, in a format that is guessed.

Comes in: an `EncodedLayer` and rows of inputs. Goes out: fixed-point and float32 sums. Called by
`eie.simulator.products`.

The accumulators' format must hold the largest float32 sum met on the way in the whole batch, which is known afterwards.
It is guessed, and what was guessed wrong is walked again; no number depends on it.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from eie.compiler.encoded import EncodedLayer
from eie.kernels import datapath as kernels
from eie.model.matrix import frozen
from eie.simulator.agreement import Agree
from eie.simulator.functional import FixedPoint, Rows
from eie.simulator.scale import Memo, Scale, memo_of
from eie.simulator.starts import in_pairs, largest_start, raw_start
from eie.simulator.sums import SAMPLED_ROWS, add_fixed, float_sums, in_slices, runs_of

# Of a probed sum: the batch's largest is a little larger than the first input's, and a format too coarse costs no less.
PROBE_MARGIN = 1.15
# The largest of some thousand sums of random numbers is about so many standard deviations.
DEVIATIONS = 4.0


def walk_singles(
    *, layer: EncodedLayer, rows: Rows, data_bits: int, threads: int | None, agree: Agree
) -> tuple[FixedPoint, NDArray[np.float32], int] | None:
    """Walk both datapaths at once; None where a float32 sum is not finite."""
    scale, memo = Scale.of(layer, rows.fraction_bits, data_bits), memo_of(layer)
    norm = _norm(layer, rows)
    guessed = scale.fraction_of(_guess(layer=layer, memo=memo, rows=rows, norm=norm))
    sums, peaks = _walk_both(layer=layer, rows=rows, scale=scale, fraction=guessed, threads=threads)
    peak = float(peaks[:, 0].max())
    if not math.isfinite(peak):
        return None
    memo.gain = peak / norm if peak and norm else None
    fraction = scale.fraction_of(agree(peak))
    if fraction != guessed:
        # the float32 lane does not depend on the guess, so this walk is in the right format
        sums, peaks = _walk_both(layer=layer, rows=rows, scale=scale, fraction=fraction, threads=threads)
    float32, raw = np.ascontiguousarray(sums[:, ::2]), sums[:, 1::2].astype(np.int64)
    saturations, range_end = 0, 1 << (data_bits - 1)
    if peaks[:, 1].max() >= range_end:
        beyond = runs_of(peaks[:, 1] >= range_end)
        saturations = add_fixed(
            layer=layer, rows=rows.fixed, scale=scale, fraction=fraction, sums=raw, runs=beyond, threads=threads
        )
    return FixedPoint(raw, fraction), float32, saturations


def _walk_both(
    layer: EncodedLayer, rows: Rows, scale: Scale, fraction: int, threads: int | None
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Return `walk_single`'s sums and peaks for accumulators of so many fraction bits."""
    raw = raw_start(layer, fraction, scale.data_bits)
    sums = in_pairs(layer.accumulator_bias, raw, (rows.count, layer.outputs))
    peaks = np.zeros((rows.count, 2), np.float32)
    if raw is not None:
        peaks[:] = largest_start(layer), np.abs(raw).max(initial=0)

    def walk(start: int, stop: int) -> None:
        reals, raws = frozen(rows.float32(start, stop), np.float32), frozen(rows.fixed(start, stop), np.int64)
        for encoding in layer.passes:
            kernels.walk_single(
                reals,
                raws,
                scale.unit,
                encoding.place,
                *encoding.writes,
                layer.codebook,
                scale.codebook.raw,
                scale.shift_to(fraction),
                sums[start:stop],
                peaks[start:stop],
            )

    in_slices(run=walk, layer=layer, count=rows.count, threads=threads)
    return sums, peaks


def _guess(layer: EncodedLayer, memo: Memo, rows: Rows, norm: float) -> float:
    """Guess the largest sum: from the last call, else from the first of several inputs, else as of random numbers.

    What accumulators start from is part of what is met, in the first two; random sums are put on top of it.
    """
    gain = memo.gain
    if gain is not None:
        return gain * norm
    if rows.count > 1:
        return float_sums(layer=layer, count=1, rows=rows.float32, threads=1)[1] * PROBE_MARGIN
    squares = 0.0
    for encoding in layer.passes:
        packed = encoding.writes[1]
        some = layer.codebook[packed[: kernels.BAND] >> kernels.ROW_BITS].astype(np.float64)
        squares += float(some @ some) * len(packed) / max(1, len(some))
    return DEVIATIONS * norm * math.sqrt(squares / (layer.outputs * layer.inputs)) + largest_start(layer)


def _norm(layer: EncodedLayer, rows: Rows) -> float:
    """Euclidean norm of the largest of the first inputs, the bias counted as one more."""
    some = rows.float32(0, min(rows.count, SAMPLED_ROWS))
    # In float64, where squares of inputs near the end of float32 do not overflow.
    return math.sqrt(max(float(row.dot(row)) for row in some.astype(np.float64)) + layer.has_bias)
