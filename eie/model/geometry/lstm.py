"""LSTM layers: a product a time step, gates and cell state computed between the products.

Comes in: sizes. Goes out: a frozen `Lstm`. Read as `protocol` says.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from eie.model.geometry.cell import Cell
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

    def step(
        self, gates: NDArray[np.float64], state: tuple[NDArray[np.float64], ...]
    ) -> tuple[NDArray[np.float64], ...]:
        """Return h and c, (N, hidden) each, behind the product of a step; c never leaves the unit beside the matrix."""
        # In the order of `GATES`: how much of the candidate comes in, how much of the old cell stays, ...
        keep_in, keep_old, candidate, keep_out = np.split(gates, 4, axis=1)
        c = sigmoid(keep_old) * state[1] + sigmoid(keep_in) * np.tanh(candidate)
        return sigmoid(keep_out) * np.tanh(c), c
