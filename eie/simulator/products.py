"""What a layer computes, bit for bit in fixed point and beside it in float32; no time.

Comes in: an `EncodedLayer` and its inputs. Goes out: `Sums` and `LayerOutputs`. Called by the network, the LSTM and the
run. The stored entries themselves are walked, so a wrong image gives wrong numbers.

Single inputs walk both datapaths at once (`eie.simulator.singles`). Batches whose inputs share most columns walk 8
inputs at a time, float32 first (`eie.simulator.sums`).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from eie.compiler.encoded import EncodedLayer
from eie.simulator.agreement import Agree
from eie.simulator.functional import FixedPoint, LayerOutputs, Rows, largest_difference
from eie.simulator.scale import Scale
from eie.simulator.singles import walk_singles
from eie.simulator.sums import blocks_pay, fixed_sums, float_sums

WIDEST_EXACT = 24  # bits whose integers float32 holds, one more than its mantissa


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
    walked, scale = None, Scale.of(layer, rows.fraction_bits, data_bits)
    if data_bits <= WIDEST_EXACT and not blocks_pay(layer, rows.count, rows.float32):
        walked = walk_singles(layer=layer, rows=rows, scale=scale, threads=threads, agree=agree)
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
        weight_fraction_bits=scale.codebook.fraction_bits,
    )
