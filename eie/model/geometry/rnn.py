"""Plain recurrent layers (Elman's): a product a time step, then tanh.

Comes in: sizes. Goes out: a frozen `Rnn`. Read as `protocol` says.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from eie.model.geometry.cell import Cell
from eie.model.geometry.protocol import Array, Product, Walk
from eie.model.geometry.registry import register


@register
@dataclass(frozen=True)
class Rnn(Cell):
    """One direction: per time step ``h = tanh(W [x, h] + b)`` with a hidden x (input + hidden) matrix."""

    @property
    def matrix_shape(self) -> tuple[int, int]:
        """(hidden, input + hidden)."""
        return self.hidden_size, self.input_size + self.hidden_size

    def walk(
        self,
        x: Array,
        state: tuple[NDArray[np.float64], ...],
        *,
        product: Product,
        stored: Callable[[NDArray[np.float64]], Array],
    ) -> Walk:
        """Walk the steps of (N, T, input); the state is h, (N, hidden)."""
        (h,) = state
        n, steps, _ = x.shape
        rows = np.empty((n, steps, self.input_size + self.hidden_size), x.dtype)
        hidden = np.empty((n, steps, self.hidden_size))
        for t in self.order(steps):
            rows[:, t] = np.concatenate((x[:, t], stored(h)), axis=1)
            h = np.tanh(product(rows[:, t]).astype(np.float64))
            hidden[:, t] = h
        return Walk(rows=rows, outputs=hidden, last=(h,))
