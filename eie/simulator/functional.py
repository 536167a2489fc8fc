"""What a layer computes, bit for bit in fixed point and beside it in float32; no time.

Comes in: an `EncodedLayer` and its inputs. Goes out: `LayerOutputs`. Read by the run (the next layer's inputs, outputs,
accuracy). The stored entries themselves are walked, so a wrong image gives wrong numbers.

Fixed point: a value x is kept as round(x * 2**fraction_bits) in ``data_bits`` bits. Each layer's activations, codebook
and accumulators have fraction bits of their own, chosen so that the largest magnitude met fits.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from eie.compiler.encode import Encoding
from eie.compiler.program import EncodedLayer
from eie.kernels import datapath as kernels
from eie.matrix import frozen

WIDEST_FRACTION = 30


@dataclass(frozen=True, eq=False)
class FixedPoint:
    """Numbers as the hardware holds them: ``raw / 2**fraction_bits``; raw is int64 (rows, width)."""

    raw: NDArray[np.int64]
    fraction_bits: int

    @classmethod
    def quantise(cls, values: NDArray[np.float32], data_bits: int, largest: float = 0.0) -> FixedPoint:
        """Choose the fraction so that the largest magnitude (and ``largest``) fits, and round (halves up)."""
        fraction = fraction_bits(float(np.abs(values).max(initial=largest)), data_bits)
        return cls(to_raw(values, fraction, data_bits), fraction)

    @property
    def value(self) -> NDArray[np.float32]:
        """float32: what the raw numbers stand for."""
        return np.ldexp(self.raw.astype(np.float32), -self.fraction_bits)

    def with_room_for_one(self, needed: bool, data_bits: int) -> FixedPoint:
        """Return the same numbers in a format that also holds 1.0, the bias column's activation, if that is needed."""
        lost = self.fraction_bits - fraction_bits(1.0, data_bits)
        if not needed or lost <= 0:
            return self
        return FixedPoint((self.raw + (1 << (lost - 1))) >> lost, self.fraction_bits - lost)

    def relu(self) -> FixedPoint:
        """Negative numbers become zero."""
        return FixedPoint(np.maximum(self.raw, 0), self.fraction_bits)


@dataclass(frozen=True, eq=False)
class LayerOutputs:
    """One layer's outputs over N products, after ReLU where the layer has one.

    Attributes
    ----------
    fixed
        The 16-bit (``data_bits``) result.
    float32
        float32 (N, outputs): the same codes and inputs on a float32 datapath.
    saturations
        Additions that saturated, over all products.
    max_abs_error
        Largest difference between the two.
    activation_fraction_bits, weight_fraction_bits
        Formats of the inputs and the codebook.
    """

    fixed: FixedPoint
    float32: NDArray[np.float32]
    saturations: int
    max_abs_error: float
    activation_fraction_bits: int
    weight_fraction_bits: int


def fraction_bits(largest: float, data_bits: int) -> int:
    """Most fraction bits with which ``largest`` still fits ``data_bits`` signed bits (at most 30)."""
    top = (1 << (data_bits - 1)) - 1
    if largest == 0 or not math.isfinite(largest):
        return data_bits - 1
    bits = math.floor(math.log2(top / largest)) + 1
    while math.floor(largest * 2.0**bits + 0.5) > top:
        bits -= 1
    return min(bits, WIDEST_FRACTION)


def to_raw(values: NDArray[Any], fraction: int, data_bits: int) -> NDArray[np.int64]:
    """Round to the nearest representable number, halves up, saturating."""
    top = (1 << (data_bits - 1)) - 1
    scaled = np.floor(np.ldexp(values.astype(np.float64), fraction) + 0.5)
    return np.clip(scaled, -top - 1, top).astype(np.int64)


def run_layer(
    layer: EncodedLayer, fixed_inputs: FixedPoint, float_inputs: NDArray[np.float32], data_bits: int
) -> LayerOutputs:
    """Compute a layer on both datapaths.

    Parameters
    ----------
    fixed_inputs, float_inputs
        (N, inputs) each: the same activations in both number formats. Where the layers before have rounded, they
        differ by those roundings.
    data_bits
        Width of activations, codebook and accumulators.
    """
    products = len(float_inputs)
    sums32 = np.zeros((products, layer.outputs), np.float32)
    peaks = np.zeros(products, np.float32)
    for one in layer.passes:
        starts, columns, values = _broadcast_order(float_inputs, one, np.float32(1))
        kernels.accumulate_float(
            starts,
            columns,
            values,
            one.bases,
            one.pointers,
            one.codes,
            one.runs,
            layer.codebook,
            one.row_start,
            sums32,
            peaks,
        )
    codebook = FixedPoint.quantise(layer.codebook, data_bits)
    product_fraction = fixed_inputs.fraction_bits + codebook.fraction_bits
    out_fraction = min(fraction_bits(float(peaks.max(initial=0)), data_bits), product_fraction)
    one_point_zero = to_raw(np.ones(1), fixed_inputs.fraction_bits, data_bits)[0]
    sums = np.zeros((products, layer.outputs), np.int64)
    saturations = np.zeros(products, np.int64)
    for one in layer.passes:
        starts, columns, values = _broadcast_order(fixed_inputs.raw, one, one_point_zero)
        kernels.accumulate_fixed(
            starts,
            columns,
            values,
            one.bases,
            one.pointers,
            one.codes,
            one.runs,
            codebook.raw,
            product_fraction - out_fraction,
            (1 << (data_bits - 1)) - 1,
            one.row_start,
            sums,
            saturations,
        )
    fixed = FixedPoint(sums, out_fraction)
    if layer.relu:
        fixed, sums32 = fixed.relu(), np.maximum(sums32, 0)
    error = float(np.abs(fixed.value - sums32).max(initial=0))
    return LayerOutputs(
        fixed, sums32, int(saturations.sum()), error, fixed_inputs.fraction_bits, codebook.fraction_bits
    )


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
