"""LSTM layers: a product a time step, gates and cell state computed between the products.

Comes in: sizes. Goes out: a frozen `Lstm`. Read as `protocol` says; the steps are driven by the simulator's
`recurrence` and `reference`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from eie.errors import ModelError
from eie.model.geometry.protocol import LARGEST_SIZE, Array, Product, Recurrent, Walk, is_size
from eie.model.geometry.registry import register
from eie.model.operators.sigmoid import sigmoid

GATES = ("input", "forget", "cell", "output")


@register
@dataclass(frozen=True)
class Lstm(Recurrent):
    """One direction of an LSTM: per time step one product of the (4 * hidden) x (input + hidden) matrix with [x, h].

    Rows are the gates in the order of `GATES` (input, forget, cell, output), ``hidden_size`` rows each. The gates'
    sigmoid and tanh and the cell state are computed outside the matrix engine. A bidirectional LSTM is two layers.

    Attributes
    ----------
    reverse
        Whether time runs from the last step to the first.
    """

    input_size: int
    hidden_size: int
    reverse: bool = False

    def __post_init__(self) -> None:
        for name in ("input_size", "hidden_size"):
            if not is_size(getattr(self, name), 1):
                raise ModelError(f"lstm {name}={getattr(self, name)}: must be an integer from 1 to {LARGEST_SIZE}")
            # Frozen, yet numpy's integers from a file have to become plain ones, which JSON knows.
            object.__setattr__(self, name, int(getattr(self, name)))

    @property
    def matrix_shape(self) -> tuple[int, int]:
        """(4 * hidden, input + hidden)."""
        return 4 * self.hidden_size, self.input_size + self.hidden_size

    @property
    def entrance(self) -> tuple[int, ...]:
        """(steps, input)."""
        # Steps before inputs, without the batch: (N, T, input).
        return -1, self.input_size

    @property
    def channels(self) -> tuple[int, int]:
        """(hidden, input): what goes out and in a step."""
        return self.hidden_size, self.input_size

    def check(self, x: Array) -> None:
        """Raise `ModelError` unless ``x`` is (N, T, input)."""
        if x.ndim != 3 or x.shape[2] != self.input_size:
            raise ModelError(f"an LSTM over {self.input_size} inputs got an array of shape {x.shape}")

    def initial_state(self, n: int, stated: Sequence[Array]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Return h and c before the first step, (n, hidden) each: as stated, or zeros if nothing is."""
        shape = (n, self.hidden_size)
        if not stated:
            return np.zeros(shape), np.zeros(shape)
        shapes = [part.shape for part in stated]
        if shapes != [shape, shape]:
            raise ModelError(f"initial states {', '.join(map(str, shapes))}: must be h and c, {shape} each")
        # State is carried in float64 whatever the format of the rows: it is rounded once, where it enters them.
        h, c = (part.astype(np.float64) for part in stated)
        return h, c

    def walk(
        self,
        x: Array,
        state: tuple[NDArray[np.float64], ...],
        *,
        product: Product,
        stored: Callable[[NDArray[np.float64]], Array],
    ) -> Walk:
        """Walk the steps of (N, T, input); the state is h and c, (N, hidden) each.

        Only h goes back into the matrix and is therefore ``stored``; c never leaves the unit beside it and stays in
        float64.
        """
        h, c = state
        n, steps, _ = x.shape
        # In the number format of the inputs: integers on the fixed-point datapath.
        rows = np.empty((n, steps, self.input_size + self.hidden_size), x.dtype)
        hidden = np.empty((n, steps, self.hidden_size))
        for t in reversed(range(steps)) if self.reverse else range(steps):
            rows[:, t] = np.concatenate((x[:, t], stored(h)), axis=1)
            gates = product(rows[:, t]).astype(np.float64)
            # In the order of `GATES`: how much of the candidate comes in, how much of the old cell stays, ...
            keep_in, keep_old, candidate, keep_out = np.split(gates, 4, axis=1)
            c = sigmoid(keep_old) * c + sigmoid(keep_in) * np.tanh(candidate)
            h = sigmoid(keep_out) * np.tanh(c)
            # At its own step, not in the order of the walk: backwards, outputs still line up with the inputs.
            hidden[:, t] = h
        return Walk(rows=rows, outputs=hidden, last=(h, c))

    def recorded(self, x: Array, outputs: Array | None) -> Array:
        """Put the hidden state of the step before beside each step of (N, T, input); zeros before the first.

        Without ``outputs``, ``x`` is taken to be whole rows already.
        """
        if outputs is None:
            return x
        # A framework hands out no row, but what a step read beside its input is what the step before gave.
        before = np.zeros_like(outputs)
        if self.reverse:
            before[:, :-1] = outputs[:, 1:]
        else:
            before[:, 1:] = outputs[:, :-1]
        return np.concatenate((x, before), axis=2)
