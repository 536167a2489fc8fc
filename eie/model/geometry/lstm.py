"""LSTM layers: a product a time step, gates and cell state computed between the products.

Comes in: sizes. Goes out: a frozen `Lstm`. Read as `protocol` says.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from eie.model.geometry.cell import Cell
from eie.model.geometry.protocol import Array, Product, Walk
from eie.model.geometry.registry import register
from eie.model.operators.sigmoid import sigmoid

GATES = ("input", "forget", "cell", "output")


@register
@dataclass(frozen=True)
class Lstm(Cell):
    """One direction of an LSTM: per time step one product of the (4 * hidden) x (input + hidden) matrix with [x, h].

    Rows are the gates in the order of `GATES` (input, forget, cell, output), ``hidden_size`` rows each. The gates'
    sigmoid and tanh and the cell state are computed outside the matrix engine. A bidirectional LSTM is two layers.
    """

    states: ClassVar[tuple[str, ...]] = ("h", "c")

    @property
    def matrix_shape(self) -> tuple[int, int]:
        """(4 * hidden, input + hidden)."""
        return 4 * self.hidden_size, self.input_size + self.hidden_size

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
        for t in self.order(steps):
            rows[:, t] = np.concatenate((x[:, t], stored(h)), axis=1)
            gates = product(rows[:, t]).astype(np.float64)
            # In the order of `GATES`: how much of the candidate comes in, how much of the old cell stays, ...
            keep_in, keep_old, candidate, keep_out = np.split(gates, 4, axis=1)
            c = sigmoid(keep_old) * c + sigmoid(keep_in) * np.tanh(candidate)
            h = sigmoid(keep_out) * np.tanh(c)
            # At its own step, not in the order of the walk: backwards, outputs still line up with the inputs.
            hidden[:, t] = h
        return Walk(rows=rows, outputs=hidden, last=(h, c))
