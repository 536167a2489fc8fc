"""The numbers of a layer on both datapaths, fixed point and float32: their formats, a layer's inputs and outputs.

Comes in: arrays. Goes out: `FixedPoint`, `Rows` and `LayerOutputs`. Read by `products`, which computes the one from the
other, and by the run (the next layer's inputs, outputs, accuracy).

Fixed point: a value x is kept as round(x * 2**fraction_bits) in ``data_bits`` bits. Each layer's activations, codebook
and accumulators have fraction bits of their own, chosen so that the largest magnitude met fits.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from eie.kernels import rounding as kernels
from eie.kernels.datapath import LANES
from eie.model.matrix import frozen
from eie.show.face import View
from eie.show.numbers import count, number
from eie.show.sections import Section, facts

WIDEST_FRACTION = 30
SLICE_ELEMENTS = 1 << 20
FEW = 1 << 12  # numbers that numpy rounds as quickly as their order is found out


@dataclass(frozen=True, eq=False, repr=False)
class FixedPoint(View):
    """Numbers as the hardware holds them: ``raw / 2**fraction_bits``; raw is int64 of any shape."""

    raw: NDArray[np.int64]
    fraction_bits: int

    @classmethod
    def quantise(
        cls, values: NDArray[Any], data_bits: int, largest: float = 0.0, agree: Callable[[float], float] = float
    ) -> FixedPoint:
        """Choose the fraction so that the largest magnitude (and ``largest``) fits, and round (halves up).

        ``agree`` says how large the largest of all samples is, where these are a part of them.
        """
        # two passes without an array between them, where max(abs(values)) would write one
        largest = agree(max(largest, float(values.max(initial=0)), -float(values.min(initial=0))))
        fraction = fraction_bits(largest, data_bits)
        return cls(to_raw(values, fraction, data_bits), fraction)

    @property
    def value(self) -> NDArray[np.float32]:
        """float32: what the raw numbers stand for."""
        # A power of two changes the exponent alone, so the product is ldexp's to the bit, at a tenth of the time.
        scale = np.float32(2.0**-self.fraction_bits)
        if self.raw.size < FEW:
            return self.raw.astype(np.float32) * scale
        real: NDArray[np.float32] = np.multiply(self.raw, scale, dtype=np.float32, casting="unsafe")
        return real

    @property
    def exact_value(self) -> NDArray[np.float64]:
        """float64: the same, without rounding wide formats."""
        exact: NDArray[np.float64] = np.multiply(self.raw, 2.0**-self.fraction_bits, dtype=np.float64)
        return exact

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

    @classmethod
    def last(cls, uses: Sequence[LayerOutputs | None]) -> LayerOutputs | None:
        """Return the outputs of a layer's last use with what all of them met; None if one was not computed."""
        made = [use for use in uses if use is not None]
        if len(made) < len(uses) or len(made) == 1:
            return made[0] if len(made) == len(uses) else None
        densities = [use.map_density for use in made if use.map_density is not None]
        return replace(
            made[-1],
            saturations=sum(use.saturations for use in made),
            max_abs_error=max(use.max_abs_error for use in made),
            map_density=sum(densities) / len(densities) if densities else None,
        )

    def summary(self) -> LayerOutputs:
        """Return the same without the values themselves (empty arrays), to save memory."""
        none = FixedPoint(np.zeros(0, np.int64), self.fixed.fraction_bits)
        return replace(self, fixed=none, float32=np.zeros(0, np.float32))

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
    raw, real = frozen(fixed.raw, np.int64).reshape(-1), frozen(float32, np.float32).reshape(-1)
    largest = float(kernels.largest_difference(raw, np.float32(2.0**-fixed.fraction_bits), real))
    if math.isfinite(largest):
        return largest
    # Near the end of float32, where a rounding alone leaves it.
    return float(np.abs(fixed.raw * 2.0**-fixed.fraction_bits - float32.astype(np.float64)).max(initial=0))


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
    if values.dtype.char not in "fd":
        return _to_raw(values, fraction, top)
    if values.flags.c_contiguous:
        return _rounded(values, fraction, top)
    if values.size >= FEW:
        # In the order in which the numbers lie, as numpy's own operations would leave them.
        order = np.argsort([-abs(step) for step in values.strides], kind="stable")
        flat = values.transpose(order)
        if flat.flags.c_contiguous:
            return _rounded(flat, fraction, top).transpose(np.argsort(order))
    return _to_raw(values, fraction, top)


def _rounded(flat: NDArray[Any], fraction: int, top: int) -> NDArray[np.int64]:
    raw = np.empty(flat.shape, np.int64)
    kernels.to_raw(frozen(flat, flat.dtype).reshape(-1), 2.0**fraction, top, raw.reshape(-1))
    return raw


def _to_raw(values: NDArray[Any], fraction: int, top: int) -> NDArray[np.int64]:
    # In place, and clipped as two plain operations: np.clip alone took half the time on few numbers.
    scaled = values.astype(np.float64)
    scaled *= 2.0**fraction
    scaled += 0.5
    np.floor(scaled, out=scaled)
    np.minimum(scaled, top, out=scaled)
    np.maximum(scaled, -top - 1, out=scaled)
    return scaled.astype(np.int64)


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


def largest_slice(width: int) -> int:
    """Rows of so many inputs that are made at a time: whole blocks of the kernels' lanes, about `SLICE_ELEMENTS`."""
    return max(LANES, SLICE_ELEMENTS // width // LANES * LANES)


def slices(count: int, width: int) -> list[tuple[int, int]]:
    """Cut ``count`` rows into slices (start, stop)."""
    step = largest_slice(width)
    return [(start, min(start + step, count)) for start in range(0, count, step)]
