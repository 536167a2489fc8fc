"""What recurrent layers of one state have in common: a product a time step with what came in and what went out before.

Comes in: sizes. Goes out: the base of `Lstm`, `Gru` and `Rnn`. Read as `protocol` says; the steps are driven by the
simulator's `recurrence` and `reference`.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from eie.errors import ModelError
from eie.model.geometry.dense_form import DenseForm, float32
from eie.model.geometry.protocol import LARGEST_SIZE, Array, Product, Recurrent, Walk, is_size


@dataclass(frozen=True)
class Cell(Recurrent):
    """One direction of a recurrent layer whose rows are [x, h].

    Attributes
    ----------
    reverse
        Whether time runs from the last step to the first.
    states
        The state's parts, each (N, hidden); the first is h.
    """

    states: ClassVar[tuple[str, ...]] = ("h",)

    input_size: int
    hidden_size: int
    reverse: bool = False

    def __post_init__(self) -> None:
        for name in ("input_size", "hidden_size"):
            if not is_size(getattr(self, name), 1):
                raise ModelError(
                    f"{self.kind} {name}={getattr(self, name)}: must be an integer from 1 to {LARGEST_SIZE}"
                )
            # Frozen, yet numpy's integers from a file have to become plain ones, which JSON knows.
            object.__setattr__(self, name, int(getattr(self, name)))

    @property
    def entrance(self) -> tuple[int, ...]:
        """(steps, input)."""
        # Steps before inputs, without the batch: (N, T, input).
        return -1, self.input_size

    @property
    def channels(self) -> tuple[int, int]:
        """(hidden, input): what goes out and in a step."""
        return self.hidden_size, self.input_size

    def dense_form(self, weights: Array, products: int, batch: int) -> DenseForm:
        """ONNX's operator of this name over a sequence of so many steps."""
        over_x, over_h = self.onnx_parts(weights)
        return DenseForm(
            op=self.kind.upper(),
            # One direction each, which stands in front.
            weights=(float32(over_x[None]), float32(over_h[None])),
            input_shape=(products, batch, self.input_size),
            attributes={"hidden_size": self.hidden_size},
        )

    def onnx_parts(self, weights: Array) -> tuple[Array, Array]:
        """Return the weights over x and over h; the order of the gates is ours, which no time depends on."""
        return weights[:, : self.input_size], weights[:, self.input_size :]

    def check(self, x: Array) -> None:
        """Raise `ModelError` unless ``x`` is (N, T, input)."""
        if x.ndim != 3 or x.shape[2] != self.input_size:
            raise ModelError(f"{self.kind.upper()} over {self.input_size} inputs: got an array of shape {x.shape}")

    def initial_state(self, n: int, stated: Sequence[Array]) -> tuple[NDArray[np.float64], ...]:
        """Return the state before the first step, (n, hidden) each part: as stated, or zeros if nothing is."""
        shape = (n, self.hidden_size)
        if not stated:
            return tuple(np.zeros(shape) for _ in self.states)
        shapes = [part.shape for part in stated]
        if shapes != [shape] * len(self.states):
            names = " and ".join(self.states)
            raise ModelError(f"initial states {', '.join(map(str, shapes))}: must be {names}, {shape} each")
        # State is carried in float64 whatever the format of the rows: it is rounded once, where it enters them.
        return tuple(part.astype(np.float64) for part in stated)

    def order(self, steps: int) -> Sequence[int]:
        """Return the steps in the order in which they are walked."""
        return range(steps)[::-1] if self.reverse else range(steps)

    @abstractmethod
    def step(
        self, gates: NDArray[np.float64], state: tuple[NDArray[np.float64], ...]
    ) -> tuple[NDArray[np.float64], ...]:
        """Return the state after a step whose product is ``gates`` (N, rows)."""

    def walk(
        self,
        x: Array,
        state: tuple[NDArray[np.float64], ...],
        *,
        product: Product,
        stored: Callable[[NDArray[np.float64]], Array],
    ) -> Walk:
        """Walk the steps of (N, T, input).

        Only h goes back into the matrix and is therefore ``stored``; the rest of the state stays in float64.
        """
        n, steps, _ = x.shape
        # In the number format of the inputs: integers on the fixed-point datapath.
        rows = np.empty((n, steps, self.input_size + self.hidden_size), x.dtype)
        hidden = np.empty((n, steps, self.hidden_size))
        for t in self.order(steps):
            rows[:, t] = np.concatenate((x[:, t], stored(state[0])), axis=1)
            state = self.step(product(rows[:, t]).astype(np.float64), state)
            # At its own step, not in the order of the walk: backwards, outputs still line up with the inputs.
            hidden[:, t] = state[0]
        return Walk(rows=rows, outputs=hidden, last=state)

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
