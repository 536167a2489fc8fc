"""The passes of a layer as its hardware runs them: where each finds its rows, columns and starts, and puts its outputs.

Comes in: a `LayerWork`. Goes out: `Passes`, with a frozen `Pass` for each. Read by `design`, which makes images of it.

A pass is what the accumulators hold at a time. Of a matrix it is a group of rows. Of a convolution by scatter it is a
strip of the output map for a group of output channels; `eie.rtl.strips` makes those.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from eie.compiler.encode import Encoding
from eie.rtl.hexfile import padded
from eie.spec import AcceleratorSpec


def address_bits(depth: int) -> int:
    """Bits that tell so many words apart; one at least, since Verilog has no wires of none."""
    return max(1, (depth - 1).bit_length())


@dataclass(frozen=True, kw_only=True)
class Pass:
    """One pass, in the fields of its word in `pass_control.v`; those from ``ring`` on are of a strip.

    Attributes
    ----------
    first_row, last_row
        Its rows of source activations.
    origin
        Number of its first column's pointer.
    first_start, first_result
        Where its starts of accumulators, and its outputs, begin.
    ring, pitch, channels, skew
        In accumulators: all open rows of an output column; what a kernel column lies further; a row of one; what a
        kernel row of a phase lies further than one row.
    first_map_row, first_map_column, last_map_column
        Its words in the tables of `map_walk.v`.
    last_part
        Scan rows of a pixel, less one.
    """

    first_row: int
    last_row: int
    origin: int
    first_start: int
    first_result: int
    ring: int = 0
    pitch: int = 0
    channels: int = 0
    skew: int = 0
    first_map_row: int = 0
    first_map_column: int = 0
    last_map_column: int = 0
    last_part: int = 0


@dataclass(frozen=True, eq=False, kw_only=True)
class Passes:
    """All passes of a layer, and what of its numbers lies where.

    Attributes
    ----------
    sums
        Accumulators of a PE.
    results
        Words of a PE that hold outputs.
    sources
        int64 (products, scan rows, P): source activations, those of all passes.
    starts
        int64 (starts, P): what accumulators start from.
    outputs
        int64 (products, results, P), where ``is_output`` (results, P); zeros elsewhere.
    map_rows, map_columns
        Fields of `map_walk.v`'s words, int64 (words, fields); no words without scatter.
    settings
        Parameters of the hardware that only scatter sets.
    """

    passes: tuple[Pass, ...]
    sums: int
    results: int
    sources: NDArray[np.int64]
    starts: NDArray[np.int64]
    outputs: NDArray[np.int64]
    is_output: NDArray[np.bool_]
    map_rows: NDArray[np.int64] = field(default_factory=lambda: np.zeros((0, 5), np.int64))
    map_columns: NDArray[np.int64] = field(default_factory=lambda: np.zeros((0, 3), np.int64))
    settings: dict[str, int] = field(default_factory=dict)


@dataclass(frozen=True, eq=False, kw_only=True)
class Matrix:
    """The stored weights of all passes side by side in a PE's memories.

    Each pass begins with an SRAM row of its own, since the first entry of a pass is read anew. Pointers count from the
    layer's first entry.
    """

    passes: tuple[Encoding, ...]
    spec: AcceleratorSpec

    @cached_property
    def first_rows(self) -> NDArray[np.int64]:
        """int64 (passes + 1, P): the SRAM row with which each pass begins, and the one behind the last."""
        rows = [-(-encoding.entries_per_pe // self.spec.entries_per_row) for encoding in self.passes]
        return np.concatenate((np.zeros((1, self.spec.n_pe), np.int64), np.cumsum(rows, axis=0)))

    @property
    def depth(self) -> int:
        """Rows of the fullest PE, one at least."""
        return max(1, int(self.first_rows[-1].max()))

    @property
    def last_entry(self) -> int:
        """The largest pointer."""
        first = self.first_rows[:-1] * self.spec.entries_per_row
        return int((first + np.array([encoding.entries_per_pe for encoding in self.passes])).max())

    @property
    def pointers_a_pass(self) -> int:
        """Columns of a pass, and one more."""
        return len(self.passes[0].pointers)

    def image(self, pe: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Return a PE's entries (rows, entries of a row) and its pointers (pointers of all passes,)."""
        spec, entries, pointers = self.spec, [], []
        for encoding, first, stop in zip(self.passes, self.first_rows[:-1, pe], self.first_rows[1:, pe], strict=True):
            codes, runs, own = encoding.pe_image(pe)
            words = (codes.astype(np.int64) << spec.index_bits) | runs
            entries.append(padded(words, int(stop - first) * spec.entries_per_row))
            pointers.append(own.astype(np.int64) + first * spec.entries_per_row)
        whole = padded(np.concatenate(entries), self.depth * spec.entries_per_row)
        return whole.reshape(-1, spec.entries_per_row), np.concatenate(pointers)


def row_groups(
    passes: tuple[Encoding, ...],
    *,
    inputs: NDArray[np.int64],
    unit: int,
    starts: NDArray[np.int64],
    outputs: NDArray[np.int64],
) -> Passes:
    """Lay out a matrix: activation j in row j // P and lane j % P; output i in accumulator i // P of PE i % P.

    ``inputs`` (products, inputs), ``starts`` (outputs,) and ``outputs`` (products, outputs) are raw numbers; ``unit``
    is that of a bias column.
    """
    first, n_pe = passes[0], passes[0].n_pe
    sums = max(-(-(part.row_stop - part.row_start) // n_pe) for part in passes)
    sources = np.zeros((len(inputs), first.scan_rows * n_pe), np.int64)
    sources[:, : first.inputs] = inputs
    if first.has_bias:
        sources[:, first.bias_position] = unit
    words = tuple(
        Pass(
            first_row=0,
            last_row=first.scan_rows - 1,
            origin=number * len(first.pointers),
            first_start=number * sums,
            first_result=number * sums,
        )
        for number in range(len(passes))
    )
    # With a row of ones: where these come to lie is an output, and elsewhere what fills up the last row of PEs.
    stacked = np.concatenate((starts[None], outputs, np.ones((1, outputs.shape[1]), np.int64)))
    laid = np.zeros((len(stacked), len(passes), sums * n_pe), np.int64)
    for number, part in enumerate(passes):
        rows = stacked[:, part.row_start : part.row_stop]
        laid[:, number, : rows.shape[1]] = rows
    # All but the last pass fill their accumulators, and those of the first are as many as any has.
    laid = laid.reshape(len(stacked), -1, n_pe)
    return Passes(
        passes=words,
        sums=sums,
        results=len(passes) * sums,
        sources=sources.reshape(len(inputs), first.scan_rows, n_pe),
        starts=laid[0],
        outputs=laid[1:-1],
        is_output=laid[-1].astype(bool),
    )
