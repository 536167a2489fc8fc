"""Plain recurrent layers (Elman's): a product a time step, then tanh.

Comes in: sizes. Goes out: a frozen `Rnn`. Read as `protocol` says.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from eie.model.geometry.cell import Cell
from eie.model.geometry.registry import register


@register
@dataclass(frozen=True)
class Rnn(Cell):
    """One direction: per time step ``h = tanh(W [x, h] + b)`` with a hidden x (input + hidden) matrix."""

    @property
    def matrix_shape(self) -> tuple[int, int]:
        """(hidden, input + hidden)."""
        return self.hidden_size, self.input_size + self.hidden_size

    def step(
        self,
        gates: NDArray[np.float64],
        state: tuple[NDArray[np.float64], ...],  # noqa: ARG002 - it is in the product already
    ) -> tuple[NDArray[np.float64], ...]:
        """Return h, (N, hidden), behind the product of a step."""
        return (np.tanh(gates),)
