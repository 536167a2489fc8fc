"""What a layer computes, bit for bit in fixed point and beside it in float32; no time.

Comes in: an `EncodedLayer` and its inputs. Goes out: `LayerOutputs`. Read by the run (the next layer's inputs, outputs,
accuracy). The stored entries themselves are walked, so a wrong image gives wrong numbers.

Fixed point: a value x is kept as round(x * 2**fraction_bits) in ``data_bits`` bits. Each layer's activations, codebook
and accumulators have fraction bits of their own, chosen so that the largest magnitude met fits.
"""

from __future__ import annotations

import math
import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from eie.compiler.encode import Encoding
from eie.compiler.encoded import EncodedLayer
from eie.kernels import datapath as kernels
from eie.model.matrix import frozen
from eie.show.face import View
from eie.show.numbers import count, number
from eie.show.sections import Section, facts

WIDEST_FRACTION = 30
SMALLEST_SLICE = 16  # rows; below, a thread costs more than it saves
SLICE_ELEMENTS = 1 << 20


@dataclass(frozen=True, eq=False, repr=False)
class FixedPoint(View):
    """Numbers as the hardware holds them: ``raw / 2**fraction_bits``; raw is int64 of any shape."""

    raw: NDArray[np.int64]
    fraction_bits: int

    @classmethod
    def quantise(cls, values: NDArray[Any], data_bits: int, largest: float = 0.0) -> FixedPoint:
        """Choose the fraction so that the largest magnitude (and ``largest``) fits, and round (halves up)."""
        fraction = fraction_bits(float(np.abs(values).max(initial=largest)), data_bits)
        return cls(to_raw(values, fraction, data_bits), fraction)

    @property
    def value(self) -> NDArray[np.float32]:
        """float32: what the raw numbers stand for."""
        return np.ldexp(self.raw.astype(np.float32), -self.fraction_bits)

    @property
    def exact_value(self) -> NDArray[np.float64]:
        """float64: the same, without rounding wide formats."""
        return np.ldexp(self.raw.astype(np.float64), -self.fraction_bits)

    def with_room_for(self, largest: float, data_bits: int) -> FixedPoint:
        """Return the same numbers in a format that also holds ``largest``: 1.0, say, the bias column's activation."""
        lost = self.fraction_bits - fraction_bits(largest, data_bits)
        if largest == 0 or lost <= 0:
            return self
        return FixedPoint((self.raw + (1 << (lost - 1))) >> lost, self.fraction_bits - lost)

    def relu(self) -> FixedPoint:
        """Negative numbers become zero."""
        return FixedPoint(np.maximum(self.raw, 0), self.fraction_bits)

    def headline(self) -> str:
        """Say how many numbers there are, and their format."""
        return f"{' x '.join(map(str, self.raw.shape))} numbers with {self.fraction_bits} fraction bits"

    def sections(self) -> tuple[Section, ...]:
        """Return format and range; the numbers themselves are in ``value``."""
        # Empty where only a summary was kept.
        ends = {"least": self.value.min(), "largest": self.value.max()} if self.raw.size else {}
        shape = " x ".join(map(str, self.raw.shape))
        told = {"shape": shape, "fraction bits": str(self.fraction_bits)}
        grid = facts({**told, **{name: number(float(end)) for name, end in ends.items()}})
        return (Section(name="numbers", grids=(grid,)),)


@dataclass(frozen=True, eq=False, kw_only=True, repr=False)
class LayerOutputs(View):
    """One layer's outputs over N products, (N, outputs), or folded back into maps or sequences.

    Attributes
    ----------
    fixed
        The 16-bit (``data_bits``) result.
    float32
        float32: the same codes and inputs on a float32 datapath.
    saturations
        Additions that saturated, over all products.
    max_abs_error
        Largest difference between the two.
    activation_fraction_bits, weight_fraction_bits
        Formats of the inputs and the codebook.
    map_density
        Non-zeros of the feature map that a Winograd layer transformed; None for other layers.
    """

    fixed: FixedPoint
    float32: NDArray[np.float32]
    saturations: int
    max_abs_error: float
    activation_fraction_bits: int
    weight_fraction_bits: int
    map_density: float | None = None

    def with_values(self, fixed: FixedPoint, float32: NDArray[np.float32]) -> LayerOutputs:
        """Return other values (folded, after ReLU) of the same computation."""
        return replace(self, fixed=fixed, float32=float32, max_abs_error=largest_difference(fixed, float32))

    def summary(self) -> LayerOutputs:
        """Return the same without the values themselves (empty arrays), to save memory."""
        none = FixedPoint(np.zeros(0, np.int64), self.fixed.fraction_bits)
        return replace(self, fixed=none, float32=np.zeros(0, np.float32))

    def relu(self) -> LayerOutputs:
        """Negative outputs become zero."""
        return self.with_values(self.fixed.relu(), np.maximum(self.float32, 0))

    def headline(self) -> str:
        """Say what was computed, and how near to float32."""
        return f"{self.fixed.headline()}, at most {number(self.max_abs_error)} from float32"

    def sections(self) -> tuple[Section, ...]:
        """Return formats, saturations and the error; the numbers themselves are in ``fixed`` and ``float32``."""
        told = {
            "activation fraction bits": str(self.activation_fraction_bits),
            "weight fraction bits": str(self.weight_fraction_bits),
            "saturated additions": count(self.saturations),
            "largest difference from float32": number(self.max_abs_error),
        }
        return (*self.fixed.sections(), Section(name="datapath", grids=(facts(told),)))


def largest_difference(fixed: FixedPoint, float32: NDArray[np.float32]) -> float:
    """Largest difference between the two datapaths."""
    return float(np.abs(fixed.value - float32).max(initial=0))


def fraction_bits(largest: float, data_bits: int) -> int:
    """Most fraction bits with which ``largest`` still fits ``data_bits`` signed bits (at most 30)."""
    top = (1 << (data_bits - 1)) - 1
    if largest == 0 or not math.isfinite(largest):
        return data_bits - 1
    bits = min(math.floor(math.log2(top) - math.log2(largest)) + 1, WIDEST_FRACTION)
    while math.floor(largest * 2.0**bits + 0.5) > top:
        bits -= 1
    return bits


def to_raw(values: NDArray[Any], fraction: int, data_bits: int) -> NDArray[np.int64]:
    """Round to the nearest representable number, halves up, saturating."""
    top = (1 << (data_bits - 1)) - 1
    scaled = np.floor(np.ldexp(values.astype(np.float64), fraction) + 0.5)
    return np.clip(scaled, -top - 1, top).astype(np.int64)


@dataclass(frozen=True, eq=False, kw_only=True)
class Rows:
    """A layer's inputs on both datapaths, made a slice at a time: unrolling a convolution as a whole is too much.

    Attributes
    ----------
    count
        Matrix-vector products.
    fixed, float32
        ``(start, stop)`` to int64 or float32 (stop - start, inputs).
    fraction_bits
        Format of the fixed-point rows.
    """

    count: int
    fixed: Callable[[int, int], NDArray[np.int64]]
    float32: Callable[[int, int], NDArray[np.float32]]
    fraction_bits: int

    @classmethod
    def of(cls, fixed: FixedPoint, float32: NDArray[np.float32]) -> Rows:
        """Wrap rows that exist already, (N, inputs) each."""
        return cls(
            count=len(float32),
            fixed=lambda a, b: fixed.raw[a:b],
            float32=lambda a, b: float32[a:b],
            fraction_bits=fixed.fraction_bits,
        )


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
    outputs = run_products(layer, Rows.of(fixed_inputs, float_inputs), data_bits)
    return outputs.relu() if layer.relu else outputs


def run_products(layer: EncodedLayer, rows: Rows, data_bits: int, threads: int | None = None) -> LayerOutputs:
    """Multiply every row with the layer's matrix on both datapaths, without ReLU.

    The accumulators' format is chosen for all rows at once, so the float32 sums come first.
    """
    float32, peak = float_sums(layer=layer, count=rows.count, rows=rows.float32, threads=threads)
    fixed, saturations = fixed_sums(
        layer=layer,
        count=rows.count,
        rows=rows.fixed,
        activation_fraction_bits=rows.fraction_bits,
        peak=peak,
        data_bits=data_bits,
        threads=threads,
    )
    weight_fraction = FixedPoint.quantise(layer.codebook, data_bits).fraction_bits
    error = largest_difference(fixed, float32)
    return LayerOutputs(
        fixed=fixed,
        float32=float32,
        saturations=saturations,
        max_abs_error=error,
        activation_fraction_bits=rows.fraction_bits,
        weight_fraction_bits=weight_fraction,
    )


def float_sums(
    layer: EncodedLayer, count: int, rows: Callable[[int, int], NDArray[np.float32]], threads: int | None = None
) -> tuple[NDArray[np.float32], float]:
    """Return float32 (count, outputs) and the largest magnitude an accumulator had on the way."""
    sums = np.zeros((count, layer.outputs), np.float32)
    peaks = np.zeros(count, np.float32)

    def run(start: int, stop: int) -> None:
        inputs = rows(start, stop)
        for one in layer.passes:
            kernels.accumulate_float(
                *_broadcast_order(inputs, one, np.float32(1)),
                *one.writes,
                layer.codebook,
                sums[start:stop],
                peaks[start:stop],
            )

    _in_slices(run=run, layer=layer, count=count, threads=threads)
    return sums, float(peaks.max(initial=0))


def fixed_sums(
    layer: EncodedLayer,
    count: int,
    rows: Callable[[int, int], NDArray[np.int64]],
    activation_fraction_bits: int,
    peak: float,
    data_bits: int,
    threads: int | None = None,
) -> tuple[FixedPoint, int]:
    """Return the sums (count, outputs) in the finest format that holds ``peak``, and how many additions saturated."""
    codebook = FixedPoint.quantise(layer.codebook, data_bits)
    product_fraction = activation_fraction_bits + codebook.fraction_bits
    out_fraction = min(fraction_bits(peak, data_bits), product_fraction)
    one_point_zero = to_raw(np.ones(1), activation_fraction_bits, data_bits)[0]
    sums = np.zeros((count, layer.outputs), np.int64)
    saturations = np.zeros(count, np.int64)

    def run(start: int, stop: int) -> None:
        inputs = rows(start, stop)
        for one in layer.passes:
            kernels.accumulate_fixed(
                *_broadcast_order(inputs, one, one_point_zero),
                *one.writes,
                codebook.raw,
                product_fraction - out_fraction,
                (1 << (data_bits - 1)) - 1,
                sums[start:stop],
                saturations[start:stop],
            )

    _in_slices(run=run, layer=layer, count=count, threads=threads)
    return FixedPoint(sums, out_fraction), int(saturations.sum())


def _in_slices(run: Callable[[int, int], None], layer: EncodedLayer, count: int, threads: int | None) -> None:
    """Call ``run(start, stop)`` over all rows, on threads."""
    for one in layer.passes:
        _ = one.writes  # made once, before the threads ask for it
    width = layer.inputs
    available = threads or os.cpu_count() or 1
    parts = slices(count, width, available)
    workers = min(available, len(parts))
    if workers <= 1:
        for part in parts:
            run(*part)
        return
    with ThreadPoolExecutor(workers) as pool:
        list(pool.map(lambda part: run(*part), parts))


def slices(count: int, width: int, workers: int = 1) -> list[tuple[int, int]]:
    """Cut ``count`` rows into slices (start, stop), of at most `SLICE_ELEMENTS` numbers or one row, for all workers."""
    step = max(1, min(SLICE_ELEMENTS // width, max(SMALLEST_SLICE, -(-count // workers))))
    return [(start, min(start + step, count)) for start in range(0, count, step)]


def _broadcast_order(
    inputs: NDArray[Any], one: Encoding, bias_input: Any
) -> tuple[NDArray[np.int64], NDArray[np.int32], NDArray[Any]]:
    """List each product's non-zero inputs of a pass, ascending, the bias last."""
    block = inputs[:, one.column_start : one.column_stop]
    if one.has_bias:
        block = np.concatenate((block, np.full((len(block), 1), bias_input, block.dtype)), axis=1)
    mask = block != 0
    starts = np.concatenate(([0], np.cumsum(mask.sum(axis=1))))
    return frozen(starts, np.int64), frozen(np.nonzero(mask)[1], np.int32), frozen(block[mask], block.dtype)
