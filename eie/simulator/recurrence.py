"""A recurrent layer over all its time steps: a product a step, what is computed between the products by its geometry.

Comes in: an `EncodedLayer` with a recurrent geometry, as `Lstm`, and a batch of sequences. Goes out: `RecurrentRun`.
Called by `eie.simulator.network`.

The product is the accelerator's; an LSTM's sigmoid, tanh and cell state are computed beside it in floating point, as
the EIE paper leaves them open. The hidden state goes back in as ``data_bits`` fixed point in the inputs' format, which
holds 1.0. The float32 datapath runs first, since the accumulators' format must hold the largest sum of any step.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from eie.compiler.encoded import EncodedLayer
from eie.model.geometry import Recurrent
from eie.simulator.agreement import Agree
from eie.simulator.functional import FixedPoint, LayerOutputs, Rows, largest_difference, to_raw
from eie.simulator.scale import quantised_codebook
from eie.simulator.sums import fixed_sums, float_sums


@dataclass(frozen=True, eq=False)
class RecurrentRun:
    """What a recurrent layer did over N sequences of T steps.

    Attributes
    ----------
    rows
        Its inputs, [x, h] of an LSTM, N * T of them, sample by sample.
    outputs
        (N, T, outputs), hidden states of an LSTM.
    last
        The state after the last step in both formats, hidden state and cell state (N, hidden) of an LSTM.
    """

    rows: Rows
    outputs: LayerOutputs
    last: tuple[tuple[FixedPoint, NDArray[np.float32]], ...]


def run_recurrent(
    layer: EncodedLayer,
    recurrence: Recurrent,
    fixed_x: FixedPoint,
    float_x: NDArray[np.float32],
    state: Sequence[NDArray[np.float32]],
    data_bits: int,
    agree: Agree = float,
) -> RecurrentRun:
    """Run all time steps on both datapaths.

    Parameters
    ----------
    recurrence
        The layer's geometry.
    fixed_x, float_x
        (N, T, input).
    state
        Nothing, or the state to begin with.
    agree
        Says how large the largest of all samples is, where these are a part of them.

    Raises
    ------
    ModelError
        If shapes do not fit.
    """
    recurrence.check(float_x)
    n, steps = float_x.shape[:2]
    first = recurrence.initial_state(n, state)
    # What goes back must fit the inputs' format: |h| < 1 by an LSTM's equations, an initial one may be larger.
    fixed_x = fixed_x.with_room_for(agree(max(1.0, float(np.abs(first[0]).max(initial=0)))), data_bits)
    fraction = fixed_x.fraction_bits
    peak, saturations = 0.0, 0

    def float_product(rows: NDArray[Any]) -> NDArray[Any]:
        nonlocal peak
        sums, largest = float_sums(layer=layer, count=n, rows=lambda start, stop: rows[start:stop], threads=1)
        peak = max(peak, largest)
        return sums

    def fixed_product(rows: NDArray[Any]) -> NDArray[Any]:
        nonlocal saturations
        sums, clipped = fixed_sums(
            layer=layer,
            count=n,
            rows=lambda start, stop: rows[start:stop],
            activation_fraction_bits=fraction,
            peak=peak,
            data_bits=data_bits,
            threads=1,
        )
        saturations += clipped
        return sums.exact_value

    # Float first: only then is the largest sum of any step known, on which the accumulators' format depends.
    real = recurrence.walk(float_x, first, product=float_product, stored=lambda part: part.astype(np.float32))
    peak = agree(peak)
    fixed = recurrence.walk(
        fixed_x.raw, first, product=fixed_product, stored=lambda part: to_raw(part, fraction, data_bits)
    )
    rows = Rows.of(FixedPoint(fixed.rows.reshape(n * steps, -1), fraction), real.rows.reshape(n * steps, -1))
    hidden, hidden32 = FixedPoint.quantise(fixed.outputs, data_bits, agree=agree), real.outputs.astype(np.float32)
    weight_fraction = quantised_codebook(layer, data_bits).fraction_bits
    error = largest_difference(hidden, hidden32)
    outputs = LayerOutputs(
        fixed=hidden,
        float32=hidden32,
        saturations=saturations,
        max_abs_error=error,
        activation_fraction_bits=fraction,
        weight_fraction_bits=weight_fraction,
    )
    last = tuple(
        (FixedPoint.quantise(a, data_bits, agree=agree), b.astype(np.float32))
        for a, b in zip(fixed.last, real.last, strict=True)
    )
    return RecurrentRun(rows, outputs, last)
