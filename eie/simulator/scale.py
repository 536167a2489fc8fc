"""In which fixed-point formats a layer computes, and what is remembered of a layer between calls.

Comes in: an `EncodedLayer`, the format of its inputs, the width of numbers. Goes out: a `Scale`. Read by the walks of
`eie.simulator.sums` and `eie.simulator.singles`.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from weakref import WeakKeyDictionary

import numpy as np

from eie.compiler.encoded import EncodedLayer
from eie.model.matrix import frozen
from eie.simulator.functional import FixedPoint, fraction_bits


@dataclass(eq=False)
class Memo:
    """What is remembered of a layer between calls: its codebook by width, and how large its sums became.

    ``gain`` is the last call's peak over the norm of its inputs, None before the first.
    """

    codebooks: dict[int, FixedPoint] = field(default_factory=dict)
    gain: float | None = None


_MEMOS: WeakKeyDictionary[EncodedLayer, Memo] = WeakKeyDictionary()


def memo_of(layer: EncodedLayer) -> Memo:
    memo = _MEMOS.get(layer)
    return _MEMOS.setdefault(layer, Memo()) if memo is None else memo


def quantised_codebook(layer: EncodedLayer, data_bits: int) -> FixedPoint:
    """Return the codebook as the hardware holds it."""
    known = memo_of(layer).codebooks
    if data_bits not in known:
        codebook = FixedPoint.quantise(layer.codebook, data_bits)
        known[data_bits] = FixedPoint(frozen(codebook.raw, np.int64), codebook.fraction_bits)
    return known[data_bits]


@dataclass(frozen=True, eq=False, kw_only=True)
class Scale:
    """A layer's fixed-point formats.

    ``unit`` is 1.0, the bias column's activation, ``product_fraction`` the fraction bits of a product.
    """

    codebook: FixedPoint
    unit: int
    product_fraction: int
    data_bits: int

    @classmethod
    def of(cls, layer: EncodedLayer, activation_fraction_bits: int, data_bits: int) -> Scale:
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
