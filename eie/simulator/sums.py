"""A layer's sums on one datapath after the other: float32, then fixed point in the format that holds the largest.

Comes in: an `EncodedLayer` and rows of inputs. Goes out: float32 or raw sums, and how many additions saturated. Called
by `eie.simulator.products` where 8 inputs at a time pay, by recurrent layers, and for what the walk of
`eie.simulator.singles` has to compute anew.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from eie.compiler.encoded import EncodedLayer
from eie.kernels import datapath as kernels
from eie.model.matrix import frozen
from eie.simulator.functional import FixedPoint, largest_slice
from eie.simulator.scale import Scale
from eie.simulator.spread import spread
from eie.simulator.starts import in_lanes, in_rows, largest_start, raw_start

RealRows = Callable[[int, int], NDArray[np.float32]]
RawRows = Callable[[int, int], NDArray[np.int64]]
Number = TypeVar("Number", np.float32, np.int32)
WIDEST_NARROW = 16  # bits whose products int32 holds
LARGEST_NARROW_SHIFT = 30
SAMPLED_ROWS = 64


def float_sums(
    layer: EncodedLayer, count: int, rows: RealRows, threads: int | None = None
) -> tuple[NDArray[np.float32], float]:
    """Return float32 (count, outputs) and the largest magnitude an accumulator had on the way."""
    shape, bias, least = (count, layer.outputs), layer.accumulator_bias, largest_start(layer)
    if blocks_pay(layer, count, rows):
        lanes = in_lanes(bias, shape, np.float32)
        largest = np.full(len(lanes), least, np.float32)

        def walk(start: int, stop: int) -> None:
            inputs, blocks = frozen(rows(start, stop), np.float32), _blocks(start, stop)
            for encoding in layer.passes:
                kernels.walk_block(
                    inputs, encoding.place, *encoding.writes, layer.codebook, lanes[blocks], largest[blocks]
                )

        in_slices(run=walk, layer=layer, count=count, threads=threads)
        peak = float(largest.max(initial=0))
        # Infinities cancel to NaN, of which this kernel's maximum knows nothing: left to the one below.
        if math.isfinite(peak):
            return _from_lanes(lanes, count), peak
    sums = in_rows(bias, shape, np.float32)
    peaks = np.full(count, least, np.float32)

    def add(start: int, stop: int) -> None:
        inputs = frozen(rows(start, stop), np.float32)
        for encoding in layer.passes:
            kernels.add_float(
                inputs, encoding.place, *encoding.writes, layer.codebook, sums[start:stop], peaks[start:stop]
            )

    in_slices(run=add, layer=layer, count=count, threads=threads)
    return sums, float(peaks.max(initial=0))


def fixed_sums(
    layer: EncodedLayer,
    count: int,
    rows: RawRows,
    activation_fraction_bits: int,
    peak: float,
    data_bits: int,
    threads: int | None = None,
) -> tuple[FixedPoint, int]:
    """Return the sums (count, outputs) in the finest format that holds ``peak``, and how many additions saturated."""
    scale = Scale.of(layer, activation_fraction_bits, data_bits)
    fraction = scale.fraction_of(peak)
    shift = scale.shift_to(fraction)
    if count < kernels.LANES or data_bits > WIDEST_NARROW or shift > LARGEST_NARROW_SHIFT:
        sums = np.zeros((count, layer.outputs), np.int64)
        every_row = [(0, count)]
        return FixedPoint(sums, fraction), add_fixed(
            layer=layer, rows=rows, scale=scale, fraction=fraction, sums=sums, runs=every_row, threads=threads
        )
    half_range = 1 << (data_bits - 1)
    lanes = in_lanes(raw_start(layer, fraction, data_bits), (count, layer.outputs), np.int32)
    lanes += half_range
    seen = np.zeros((len(lanes), kernels.LANES), np.int32)
    levels = frozen(scale.codebook.raw, np.int32)

    def walk(start: int, stop: int) -> None:
        inputs, blocks = frozen(rows(start, stop), np.int64), _blocks(start, stop)
        for encoding in layer.passes:
            kernels.walk_block_raw(
                inputs, scale.unit, encoding.place, *encoding.writes, levels, shift, lanes[blocks], seen[blocks]
            )

    in_slices(run=walk, layer=layer, count=count, threads=threads)
    sums = _from_lanes(lanes, count).astype(np.int64)
    sums -= half_range
    saturated = seen.reshape(-1)[:count] >> data_bits != 0
    return FixedPoint(sums, fraction), add_fixed(
        layer=layer, rows=rows, scale=scale, fraction=fraction, sums=sums, runs=runs_of(saturated), threads=threads
    )


def blocks_pay(layer: EncodedLayer, count: int, rows: RealRows) -> bool:
    """Whether 8 inputs at a time are quicker than one by one: they visit every column that any of them uses."""
    if count < kernels.LANES:
        return False
    some = rows(0, min(count, SAMPLED_ROWS))
    density = np.count_nonzero(some) / some.size
    writes = max(1, sum(len(encoding.writes[1]) for encoding in layer.passes)) / layer.inputs
    # Nanoseconds a weight and input, both datapaths: measured on AlexNet's and ResNet-50's layers. A single input pays
    # 17 more for each column, which short columns do not spread.
    return bool(0.55 * (1 - (1 - density) ** kernels.LANES) < density * (0.85 + 17 / writes))


def add_fixed(
    layer: EncodedLayer,
    rows: RawRows,
    scale: Scale,
    fraction: int,
    sums: NDArray[np.int64],
    runs: list[tuple[int, int]],
    threads: int | None,
) -> int:
    """Compute the sums of some runs of rows anew, with saturation; return how many additions saturated."""
    saturations = np.zeros(len(sums), np.int64)
    shift, start_sums = scale.shift_to(fraction), raw_start(layer, fraction, scale.data_bits)
    largest = (1 << (scale.data_bits - 1)) - 1
    for first, end in runs:
        sums[first:end] = 0 if start_sums is None else start_sums

        def add(start: int, stop: int, first: int = first) -> None:
            here = slice(first + start, first + stop)
            inputs = frozen(rows(here.start, here.stop), np.int64)
            for encoding in layer.passes:
                kernels.add_fixed(
                    inputs,
                    scale.unit,
                    encoding.place,
                    *encoding.writes,
                    scale.codebook.raw,
                    shift,
                    largest,
                    sums[here],
                    saturations[here],
                )

        in_slices(run=add, layer=layer, count=end - first, threads=threads)
    return int(saturations.sum())


def runs_of(wanted: NDArray[np.bool_]) -> list[tuple[int, int]]:
    """List where a mask is set, as runs (start, stop)."""
    edges = np.flatnonzero(np.diff(wanted, prepend=False, append=False))
    return [(int(start), int(stop)) for start, stop in edges.reshape(-1, 2)]


def _blocks(start: int, stop: int) -> slice:
    return slice(start // kernels.LANES, -(-stop // kernels.LANES))


def _from_lanes(lanes: NDArray[Number], count: int) -> NDArray[Number]:
    """(blocks, outputs * LANES) into (count, outputs)."""
    blocks = lanes.reshape(len(lanes), -1, kernels.LANES)
    return np.ascontiguousarray(blocks.transpose(0, 2, 1)).reshape(-1, blocks.shape[1])[:count]


def in_slices(run: Callable[[int, int], None], layer: EncodedLayer, count: int, threads: int | None) -> None:
    """Call ``run(start, stop)`` over all rows, on threads."""
    for encoding in layer.passes:
        _ = encoding.writes  # made once, before the threads ask for it
    spread(run=run, count=count, largest=largest_slice(layer.inputs), threads=threads)
