"""Products of weights and inputs as loops, which is how ZigZag and Timeloop state layers, into lines of a topology.

Comes in: loops, and which of them index what. Goes out: a `Row`. Read by `workloads`. What is an output, an input and a
product of the matrix follows from who is indexed by what, whatever the loops are called.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from math import prod

from eie.importers.topology_table import Row


@dataclass(frozen=True, kw_only=True)
class Window:
    """A place in the input that moves with two loops: ``stride * position + dilation * filter``."""

    position: str
    filter: str
    stride: int
    dilation: int


@dataclass(frozen=True, kw_only=True)
class Einsum:
    """A sum of products of weights and inputs.

    Attributes
    ----------
    sizes
        How often each loop goes round.
    output, weights, inputs
        The loops that index each; a window's two for the input.
    windows
        Where filters move over the input: rows, then columns.
    """

    name: str
    sizes: Mapping[str, int]
    output: frozenset[str]
    weights: frozenset[str]
    inputs: frozenset[str]
    windows: tuple[Window, ...]

    def row(self) -> Row:
        """Return the line of a topology that it is."""
        groups = self.weights & self.output & self.inputs
        outputs, sums = (self.weights & self.output) - groups, self.weights - self.output
        positions = self.output - self.weights
        if not self._moves(positions, sums):
            # Groups that are no channels: as many products of weights of the same shape.
            sizes = (self._size(positions), self._size(outputs), self._size(sums))
            return Row(kind="gemm", name=self.name, sizes=sizes, batch=self._size(groups))
        sides = [
            ((self.sizes[window.position] - 1) * window.stride + self.sizes[window.filter], self.sizes[window.filter])
            for window in self.windows
        ]
        # In one dimension, maps are one row high.
        (height, rows), (width, columns) = [(1, 1), *sides][-2:]
        down, across = [1, *(window.stride for window in self.windows)][-2:]
        channels = self._size(sums - {window.filter for window in self.windows}) * self._size(groups)
        return Row(
            kind="conv",
            name=self.name,
            sizes=(height, width, rows, columns, channels, self._size(outputs), down, across),
            batch=self._size(positions - {window.position for window in self.windows}),
            groups=self._size(groups),
        )

    def _moves(self, positions: frozenset[str], sums: frozenset[str]) -> bool:
        """Whether it is a convolution of one or two dimensions; with a dilation it is counted as a GEMM."""
        return len(self.windows) in (1, 2) and all(
            window.position in positions and window.filter in sums and window.dilation == 1 for window in self.windows
        )

    def _size(self, loops: frozenset[str]) -> int:
        return prod(self.sizes[loop] for loop in loops)
