"""GRU layers whose reset gate acts behind the product, as torch and cuDNN have them: one product a time step.

Comes in: sizes. Goes out: a frozen `Gru`. Read as `protocol` says. The other form of the GRU, with the reset gate
before the product, needs a second product that waits for the first; it is not lowered.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from eie.model.geometry.cell import Cell
from eie.model.geometry.protocol import Array
from eie.model.geometry.registry import register
from eie.model.operators.sigmoid import sigmoid


@register
@dataclass(frozen=True)
class Gru(Cell):
    """One direction of a GRU: per time step one product of a (4 * hidden) x (input + hidden) matrix with [x, h].

    Rows are the update and reset gates, then the candidate's part of x and its part of h, which the reset gate scales
    before the two are added: the one is zero over h, the other over x, and zeros cost nothing on EIE. Gates are
    computed outside the matrix engine. A bidirectional GRU is two layers.
    """

    @property
    def matrix_shape(self) -> tuple[int, int]:
        """(4 * hidden, input + hidden)."""
        return 4 * self.hidden_size, self.input_size + self.hidden_size

    @property
    def dense_shape(self) -> tuple[int, int]:
        """(3 * hidden, input + hidden): the candidate's two halves are one row of weights."""
        return 3 * self.hidden_size, self.input_size + self.hidden_size

    def onnx_parts(self, weights: Array) -> tuple[Array, Array]:
        """Without the zeros that the candidate's two halves have beside them."""
        n = self.hidden_size
        return weights[: 3 * n, : self.input_size], np.concatenate([weights[: 2 * n], weights[-n:]])[
            :, self.input_size :
        ]

    def step(
        self, gates: NDArray[np.float64], state: tuple[NDArray[np.float64], ...]
    ) -> tuple[NDArray[np.float64], ...]:
        """Return h, (N, hidden), behind the product of a step."""
        (h,) = state
        keep_old, reset, of_input, of_state = np.split(gates, 4, axis=1)
        update = sigmoid(keep_old)
        return ((1 - update) * np.tanh(of_input + sigmoid(reset) * of_state) + update * h,)
