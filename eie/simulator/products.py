"""What a layer computes, bit for bit in fixed point and beside it in float32; no time.

Comes in: an `EncodedLayer` and its inputs. Goes out: `Sums` and `LayerOutputs`. Called by the network, the LSTM and the
run. The stored entries themselves are walked, so a wrong image gives wrong numbers.

The accumulators' format must hold the largest float32 sum met on the way in the whole batch, which is known afterwards.
Single inputs walk both datapaths at once, in a format that is guessed, and walk again where the guess was wrong; no
number depends on it. Batches whose inputs share most columns walk 8 inputs at a time, float32 first.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TypeVar
from weakref import WeakKeyDictionary

import numpy as np
from numpy.typing import NDArray

from eie.compiler.encoded import EncodedLayer
from eie.kernels import datapath as kernels
from eie.model.matrix import frozen
from eie.simulator.functional import (
    FixedPoint,
    LayerOutputs,
    Rows,
    fraction_bits,
    largest_difference,
    largest_slice,
)
from eie.simulator.spread import spread
from eie.simulator.starts import in_lanes, in_pairs, in_rows, largest_start, raw_start

Agree = Callable[[float], float]
RealRows = Callable[[int, int], NDArray[np.float32]]
RawRows = Callable[[int, int], NDArray[np.int64]]
Number = TypeVar("Number", np.float32, np.int32)
WIDEST_EXACT = 24  # bits whose integers float32 holds, one more than its mantissa
WIDEST_NARROW = 16  # bits whose products int32 holds
LARGEST_NARROW_SHIFT = 30
SAMPLED_ROWS = 64
# Of a probed sum: the batch's largest is a little larger than the first input's, and a format too coarse costs no less.
PROBE_MARGIN = 1.15
# The largest of some thousand sums of random numbers is about so many standard deviations.
DEVIATIONS = 4.0


@dataclass(frozen=True, eq=False, kw_only=True)
class Sums:
    """A layer's accumulators over N products, (N, outputs), before ReLU; the fields are those of `LayerOutputs`."""

    fixed: FixedPoint
    float32: NDArray[np.float32]
    saturations: int
    activation_fraction_bits: int
    weight_fraction_bits: int

    def outputs(
        self, fixed: FixedPoint, float32: NDArray[np.float32], *, relu: bool, map_density: float | None = None
    ) -> LayerOutputs:
        """Return the layer's outputs: the sums as they are folded now, after ReLU if it has one."""
        if relu:
            fixed, float32 = fixed.relu(), np.maximum(float32, 0)
        return LayerOutputs(
            fixed=fixed,
            float32=float32,
            saturations=self.saturations,
            max_abs_error=largest_difference(fixed, float32),
            activation_fraction_bits=self.activation_fraction_bits,
            weight_fraction_bits=self.weight_fraction_bits,
            map_density=map_density,
        )


@dataclass(eq=False)
class _Memo:
    """What is remembered of a layer between calls: its codebook by width, and how large its sums became.

    ``gain`` is the last call's peak over the norm of its inputs, None before the first.
    """

    codebooks: dict[int, FixedPoint] = field(default_factory=dict)
    gain: float | None = None


_memos: WeakKeyDictionary[EncodedLayer, _Memo] = WeakKeyDictionary()


def _memo(layer: EncodedLayer) -> _Memo:
    memo = _memos.get(layer)
    return _memos.setdefault(layer, _Memo()) if memo is None else memo


def quantised_codebook(layer: EncodedLayer, data_bits: int) -> FixedPoint:
    """Return the codebook as the hardware holds it."""
    known = _memo(layer).codebooks
    if data_bits not in known:
        codebook = FixedPoint.quantise(layer.codebook, data_bits)
        known[data_bits] = FixedPoint(frozen(codebook.raw, np.int64), codebook.fraction_bits)
    return known[data_bits]


def run_layer(
    layer: EncodedLayer, fixed_inputs: FixedPoint, float_inputs: NDArray[np.float32], data_bits: int
) -> LayerOutputs:
    """Compute a layer on both datapaths, with its ReLU.

    Parameters
    ----------
    fixed_inputs, float_inputs
        (N, inputs) each: the same activations in both number formats. Where the layers before have rounded, they
        differ by those roundings.
    data_bits
        Width of activations, codebook and accumulators.
    """
    return run_products(layer, Rows.of(fixed_inputs, float_inputs), data_bits)


def run_products(layer: EncodedLayer, rows: Rows, data_bits: int, threads: int | None = None) -> LayerOutputs:
    """Multiply every row with the layer's matrix on both datapaths, with its ReLU."""
    sums = multiply(layer=layer, rows=rows, data_bits=data_bits, threads=threads)
    return sums.outputs(sums.fixed, sums.float32, relu=layer.relu)


def multiply(layer: EncodedLayer, rows: Rows, data_bits: int, threads: int | None = None, agree: Agree = float) -> Sums:
    """Multiply every row with the layer's matrix on both datapaths, without ReLU.

    ``agree`` is asked once for the largest sum of all samples, where these rows are of a part of them.
    """
    layer = layer.gathered
    walked = None
    if data_bits <= WIDEST_EXACT and not _blocks_pay(layer, rows.count, rows.float32):
        walked = _walk_singles(layer=layer, rows=rows, data_bits=data_bits, threads=threads, agree=agree)
    if walked is None:
        float32, peak = float_sums(layer=layer, count=rows.count, rows=rows.float32, threads=threads)
        fixed, saturations = fixed_sums(
            layer=layer,
            count=rows.count,
            rows=rows.fixed,
            activation_fraction_bits=rows.fraction_bits,
            peak=agree(peak),
            data_bits=data_bits,
            threads=threads,
        )
    else:
        fixed, float32, saturations = walked
    return Sums(
        fixed=fixed,
        float32=float32,
        saturations=saturations,
        activation_fraction_bits=rows.fraction_bits,
        weight_fraction_bits=quantised_codebook(layer, data_bits).fraction_bits,
    )


def float_sums(
    layer: EncodedLayer, count: int, rows: RealRows, threads: int | None = None
) -> tuple[NDArray[np.float32], float]:
    """Return float32 (count, outputs) and the largest magnitude an accumulator had on the way."""
    shape, bias, least = (count, layer.outputs), layer.accumulator_bias, largest_start(layer)
    if _blocks_pay(layer, count, rows):
        lanes = in_lanes(bias, shape, np.float32)
        largest = np.full(len(lanes), least, np.float32)

        def walk(start: int, stop: int) -> None:
            inputs, blocks = frozen(rows(start, stop), np.float32), _blocks(start, stop)
            for encoding in layer.passes:
                kernels.walk_block(
                    inputs, encoding.place, *encoding.writes, layer.codebook, lanes[blocks], largest[blocks]
                )

        _in_slices(run=walk, layer=layer, count=count, threads=threads)
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

    _in_slices(run=add, layer=layer, count=count, threads=threads)
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
    scale = _Scale.of(layer, activation_fraction_bits, data_bits)
    fraction = scale.fraction_of(peak)
    shift = scale.shift_to(fraction)
    if count < kernels.LANES or data_bits > WIDEST_NARROW or shift > LARGEST_NARROW_SHIFT:
        sums = np.zeros((count, layer.outputs), np.int64)
        every_row = [(0, count)]
        return FixedPoint(sums, fraction), _add_fixed(
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

    _in_slices(run=walk, layer=layer, count=count, threads=threads)
    sums = _from_lanes(lanes, count).astype(np.int64)
    sums -= half_range
    saturated = seen.reshape(-1)[:count] >> data_bits != 0
    return FixedPoint(sums, fraction), _add_fixed(
        layer=layer, rows=rows, scale=scale, fraction=fraction, sums=sums, runs=_runs(saturated), threads=threads
    )


@dataclass(frozen=True, eq=False, kw_only=True)
class _Scale:
    """A layer's fixed-point formats.

    ``unit`` is 1.0, the bias column's activation, ``product_fraction`` the fraction bits of a product.
    """

    codebook: FixedPoint
    unit: int
    product_fraction: int
    data_bits: int

    @classmethod
    def of(cls, layer: EncodedLayer, activation_fraction_bits: int, data_bits: int) -> _Scale:
        codebook = quantised_codebook(layer, data_bits)
        # as `to_raw`, on a single number
        unit = min(math.floor(2.0**activation_fraction_bits + 0.5), (1 << (data_bits - 1)) - 1)
        return cls(
            codebook=codebook,
            unit=unit,
            product_fraction=activation_fraction_bits + codebook.fraction_bits,
            data_bits=data_bits,
        )

    def fraction_of(self, peak: float) -> int:
        """Fraction bits of accumulators that hold ``peak``; no more than the products have."""
        return min(fraction_bits(peak, self.data_bits), self.product_fraction)

    def shift_to(self, fraction: int) -> int:
        """Bits by which products are shifted into accumulators of so many fraction bits."""
        # A bias may be beyond all products, and a shift by 64 or more does anything. Behind 63 every product is zero.
        return min(self.product_fraction - fraction, 63)


def _walk_singles(
    *, layer: EncodedLayer, rows: Rows, data_bits: int, threads: int | None, agree: Agree
) -> tuple[FixedPoint, NDArray[np.float32], int] | None:
    """Walk both datapaths at once; None where a float32 sum is not finite."""
    scale, memo = _Scale.of(layer, rows.fraction_bits, data_bits), _memo(layer)
    norm = _norm(layer, rows)
    guessed = scale.fraction_of(_guess(layer=layer, memo=memo, rows=rows, norm=norm))
    sums, peaks = _walk_both(layer=layer, rows=rows, scale=scale, fraction=guessed, threads=threads)
    peak, raw_peak = peaks.max(axis=0).tolist()
    if not math.isfinite(peak):
        return None
    memo.gain = peak / norm if peak and norm else None
    fraction = scale.fraction_of(agree(peak))
    if fraction != guessed:
        # the float32 lane does not depend on the guess, so this walk is in the right format
        sums, peaks = _walk_both(layer=layer, rows=rows, scale=scale, fraction=fraction, threads=threads)
        raw_peak = float(peaks[:, 1].max())
    float32, raw = np.ascontiguousarray(sums[:, ::2]), sums[:, 1::2].astype(np.int64)
    saturations, range_end = 0, 1 << (data_bits - 1)
    if raw_peak >= range_end:
        beyond = _runs(peaks[:, 1] >= range_end)
        saturations = _add_fixed(
            layer=layer, rows=rows.fixed, scale=scale, fraction=fraction, sums=raw, runs=beyond, threads=threads
        )
    return FixedPoint(raw, fraction), float32, saturations


def _walk_both(
    layer: EncodedLayer, rows: Rows, scale: _Scale, fraction: int, threads: int | None
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

    _in_slices(run=walk, layer=layer, count=rows.count, threads=threads)
    return sums, peaks


def _guess(layer: EncodedLayer, memo: _Memo, rows: Rows, norm: float) -> float:
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


def _blocks_pay(layer: EncodedLayer, count: int, rows: RealRows) -> bool:
    """Whether 8 inputs at a time are quicker than one by one: they visit every column that any of them uses."""
    if count < kernels.LANES:
        return False
    some = rows(0, min(count, SAMPLED_ROWS))
    density = np.count_nonzero(some) / some.size
    writes = max(1, sum(len(encoding.writes[1]) for encoding in layer.passes)) / layer.inputs
    # Nanoseconds a weight and input, both datapaths: measured on AlexNet's and ResNet-50's layers. A single input pays
    # 17 more for each column, which short columns do not spread.
    return bool(0.55 * (1 - (1 - density) ** kernels.LANES) < density * (0.85 + 17 / writes))


def _add_fixed(
    layer: EncodedLayer,
    rows: RawRows,
    scale: _Scale,
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

        _in_slices(run=add, layer=layer, count=end - first, threads=threads)
    return int(saturations.sum())


def _runs(wanted: NDArray[np.bool_]) -> list[tuple[int, int]]:
    """List where a mask is set, as runs (start, stop)."""
    edges = np.flatnonzero(np.diff(wanted, prepend=False, append=False))
    return [(int(start), int(stop)) for start, stop in edges.reshape(-1, 2)]


def _blocks(start: int, stop: int) -> slice:
    return slice(start // kernels.LANES, -(-stop // kernels.LANES))


def _from_lanes(lanes: NDArray[Number], count: int) -> NDArray[Number]:
    """(blocks, outputs * LANES) into (count, outputs)."""
    blocks = lanes.reshape(len(lanes), -1, kernels.LANES)
    return np.ascontiguousarray(blocks.transpose(0, 2, 1)).reshape(-1, blocks.shape[1])[:count]


def _in_slices(run: Callable[[int, int], None], layer: EncodedLayer, count: int, threads: int | None) -> None:
    """Call ``run(start, stop)`` over all rows, on threads."""
    for encoding in layer.passes:
        _ = encoding.writes  # made once, before the threads ask for it
    spread(run=run, count=count, largest=largest_slice(layer.inputs), threads=threads)
