"""An LSTM layer over all its time steps: one product a step, the gates' arithmetic between the products.

Comes in: an `EncodedLayer` with `Lstm` geometry and a batch of sequences. Goes out: `LstmRun`. Called by
`eie.simulator.network`.

The product is the accelerator's; sigmoid, tanh and the cell state are computed beside it in floating point, as the EIE
paper leaves them open. The hidden state goes back in as ``data_bits`` fixed point in the inputs' format, which holds
1.0. The float32 datapath runs first, since the accumulators' format must hold the largest sum of any step.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from eie.compiler.encoded import EncodedLayer
from eie.errors import ModelError
from eie.model.geometry import Lstm
from eie.model.operators import sigmoid
from eie.simulator.functional import FixedPoint, LayerOutputs, Rows, largest_difference, to_raw
from eie.simulator.products import fixed_sums, float_sums, quantised_codebook


@dataclass(frozen=True, eq=False)
class LstmRun:
    """What an LSTM layer did over N sequences of T steps.

    Attributes
    ----------
    rows
        Its inputs [x, h], N * T of them, sample by sample.
    outputs
        Hidden states (N, T, hidden).
    last
        Hidden state and cell state after the last step, (N, hidden) in both formats.
    """

    rows: Rows
    outputs: LayerOutputs
    last: tuple[tuple[FixedPoint, NDArray[np.float32]], ...]


def run_lstm(
    layer: EncodedLayer,
    fixed_x: FixedPoint,
    float_x: NDArray[np.float32],
    state: Sequence[NDArray[np.float32]],
    data_bits: int,
) -> LstmRun:
    """Run all time steps on both datapaths.

    Parameters
    ----------
    fixed_x, float_x
        (N, T, input).
    state
        Nothing, or h and c (N, hidden) to begin with.

    Raises
    ------
    ModelError
        If shapes do not fit.
    """
    lstm = layer.geometry
    assert isinstance(lstm, Lstm)
    if float_x.ndim != 3 or float_x.shape[2] != lstm.input_size:
        raise ModelError(f"an LSTM over {lstm.input_size} inputs got an array of shape {float_x.shape}")
    n, steps, _ = float_x.shape
    h, c = initial_state(lstm, n, state)
    # the states must fit the inputs' format: |h| < 1 by its equations, an initial one may be larger
    fixed_x = fixed_x.with_room_for(max(1.0, float(np.abs(h).max(initial=0))), data_bits)
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

    float_rows, float_h, float_last = lstm_steps(
        lstm=lstm, x=float_x, h=h, c=c, product=float_product, stored=lambda hidden: hidden.astype(np.float32)
    )
    fixed_rows, fixed_h, fixed_last = lstm_steps(
        lstm=lstm,
        x=fixed_x.raw,
        h=h,
        c=c,
        product=fixed_product,
        stored=lambda hidden: to_raw(hidden, fraction, data_bits),
    )
    rows = Rows.of(FixedPoint(fixed_rows.reshape(n * steps, -1), fraction), float_rows.reshape(n * steps, -1))
    hidden, hidden32 = FixedPoint.quantise(fixed_h, data_bits), float_h.astype(np.float32)
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
        (FixedPoint.quantise(a, data_bits), b.astype(np.float32)) for a, b in zip(fixed_last, float_last, strict=True)
    )
    return LstmRun(rows, outputs, last)


def initial_state(lstm: Lstm, n: int, given: Sequence[NDArray[Any]]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return h and c before the first step, (n, hidden) each: as given, or zeros if nothing is."""
    shape = (n, lstm.hidden_size)
    if not given:
        return np.zeros(shape), np.zeros(shape)
    if [state.shape for state in given] != [shape, shape]:
        raise ModelError(
            f"initial states {', '.join(str(state.shape) for state in given)}: must be h and c, {shape} each"
        )
    h, c = (state.astype(np.float64) for state in given)
    return h, c


def lstm_steps(
    lstm: Lstm,
    x: NDArray[Any],
    h: NDArray[np.float64],
    c: NDArray[np.float64],
    product: Callable[[NDArray[Any]], NDArray[Any]],
    stored: Callable[[NDArray[np.float64]], NDArray[Any]],
) -> tuple[NDArray[Any], NDArray[np.float64], tuple[NDArray[np.float64], NDArray[np.float64]]]:
    """Walk the steps; return the products' inputs (N, T, input + hidden), all hidden states, and the last h and c."""
    n, steps, _ = x.shape
    rows = np.empty((n, steps, lstm.input_size + lstm.hidden_size), x.dtype)
    hidden = np.empty((n, steps, lstm.hidden_size))
    for t in reversed(range(steps)) if lstm.reverse else range(steps):
        rows[:, t] = np.concatenate((x[:, t], stored(h)), axis=1)
        gates = product(rows[:, t]).astype(np.float64)
        keep_in, keep_old, candidate, keep_out = np.split(gates, 4, axis=1)
        c = sigmoid(keep_old) * c + sigmoid(keep_in) * np.tanh(candidate)
        h = sigmoid(keep_out) * np.tanh(c)
        hidden[:, t] = h
    return rows, hidden, (h, c)
