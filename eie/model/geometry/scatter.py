"""Convolutions that broadcast each activation once: which outputs an activation reaches, strip by strip.

Comes in: a `Conv2d` and the size of a map. Goes out: `Scatter`, where each weight lies, and `Visit`s, what is read of
the map in which order. Read by the compiler, which stores the weights so, by the plan of maps and by both engines.

An input pixel reaches the outputs under all places of the kernel at once, so a column of the matrix is here a channel
and a kernel column: it holds the weights of all kernel rows and all outputs. With a stride, only every stride-th kernel
row and column meets a pixel; which ones is its *phase*. Columns of a channel lie phase by phase, so those that a pixel
takes are neighbours, at the edge of a strip as well, where it takes fewer.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache, cached_property
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from eie.model.geometry.conv2d import Conv2d
from eie.model.geometry.protocol import Geometry
from eie.model.matrix import SparseColumns
from eie.show.brief import Brief


@dataclass(frozen=True, eq=False, kw_only=True, repr=False)
class Visit(Brief):
    """The pixels of a map that one strip reads, in order, rows first.

    Attributes
    ----------
    window
        int64 (pixels,): an output pixel that sees the pixel, as its number in the output map.
    tap
        int64 (pixels,): the place of the kernel at which it does, counted row by row.
    first, stop
        int64 (pixels,): the columns of channel 0 that the pixel takes.
    low, high
        int64 (pixels,): of the kernel rows of the pixel's phase, those that reach the output map, as a range.
    across
        Pixels of one row.
    """

    window: NDArray[np.int64]
    tap: NDArray[np.int64]
    first: NDArray[np.int64]
    stop: NDArray[np.int64]
    low: NDArray[np.int64]
    high: NDArray[np.int64]
    across: int

    def __repr__(self) -> str:
        return f"<Visit: {len(self.window):,} pixels, {self.across} a row>"


@dataclass(frozen=True)
class Scatter:
    """Where the weights of a convolution lie when activations are broadcast once.

    A row of the matrix is a kernel row of a phase and an output channel, a column an input channel, a phase of rows and
    a kernel column.
    """

    conv: Conv2d

    @classmethod
    def of(cls, geometry: Geometry) -> Scatter | None:
        """Return this way to run a layer; None where it is no convolution over maps."""
        return cls(geometry) if isinstance(geometry, Conv2d) else None

    @cached_property
    def open_rows(self) -> int:
        """Output rows that one input row reaches, at most: those whose sums are open at a time."""
        span = self.conv.dilation[0] * (self.conv.kernel[0] - 1) + 1
        return -(-span // self.conv.stride[0])

    @cached_property
    def row_phases(self) -> tuple[tuple[int, ...], ...]:
        """Kernel rows by phase, phases that no kernel row has left out."""
        return _phases(self.conv.kernel[0], self.conv.stride[0], self.conv.dilation[0])

    @cached_property
    def column_order(self) -> tuple[int, ...]:
        """Kernel columns in the order in which they lie: phase by phase."""
        phases = _phases(self.conv.kernel[1], self.conv.stride[1], self.conv.dilation[1])
        return tuple(column for phase in phases for column in phase)

    @property
    def depth(self) -> int:
        """Kernel rows that meet a pixel, at most."""
        return max(map(len, self.row_phases))

    @property
    def columns_a_channel(self) -> int:
        """Columns of one input channel."""
        return len(self.row_phases) * self.conv.kernel[1]

    @property
    def columns(self) -> int:
        """Columns of all input channels."""
        return self.conv.in_channels * self.columns_a_channel

    def rows(self, n_pe: int) -> int:
        """Rows on so many PEs: channels are filled up, so that row i lies in PE i mod P like its channel."""
        return self.depth * self.filled(n_pe)

    def filled(self, n_pe: int) -> int:
        """Output channels, rounded up to whole rows of PEs."""
        return -(-self.conv.out_channels // n_pe) * n_pe

    def scattered(self, matrix: SparseColumns, *, start: int, stop: int, n_pe: int) -> SparseColumns:
        """Return output channels start..stop-1 of an im2col matrix in this order of rows and columns."""
        height = -(-(stop - start) // n_pe) * n_pe
        owned = matrix.row_block(start, stop)
        # Columns that become one lie behind each other in the order of their kernel rows, and rows ascend in each: what
        # is moved is whole columns, and nothing is sorted.
        above, column = self._places
        order = np.lexsort((above, column))
        moved = (np.arange(self.conv.in_channels)[:, None] * self._taps + order).reshape(-1)
        sizes = np.diff(owned.starts)[moved]
        before = np.concatenate(([0], np.cumsum(sizes)))
        entries = np.repeat(owned.starts[moved] - before[:-1], sizes) + np.arange(before[-1])
        upper = np.repeat(np.tile((above[order] * height).astype(np.int32), self.conv.in_channels), sizes)
        # Of each new column the place of the first one in it; phases with fewer rows have fewer.
        first = np.searchsorted(column[order], np.arange(self.columns_a_channel))
        firsts = (np.arange(self.conv.in_channels)[:, None] * self._taps + first).reshape(-1)
        return SparseColumns.of(
            shape=(self.depth * height, self.columns),
            starts=before[np.append(firsts, len(moved))],
            rows=upper + owned.rows[entries],
            data=owned.data[entries],
        )

    def gathered(self, parts: list[tuple[int, SparseColumns]]) -> SparseColumns:
        """Undo `scattered`, for matrices that begin at these output channels each.

        Raises
        ------
        ValueError
            If one has an entry where no weight can be; from a file.
        """
        above, column = self._places
        # Every place of a column has one kernel row for each height: found back by looking all of them up.
        tap_of = np.full((self.depth, self.columns_a_channel), -1, np.int64)
        tap_of[above, column] = np.arange(self._taps)
        rows, columns, data = [], [], []
        for start, matrix in parts:
            height = matrix.shape[0] // self.depth
            up, output = np.divmod(matrix.rows, height)
            channel, place = np.divmod(matrix.column_of, self.columns_a_channel)
            tap = tap_of[up, place]
            if (tap < 0).any() or (start + output >= self.conv.out_channels).any():
                raise ValueError("an entry lies where the kernel has no weight")
            rows.append(start + output)
            columns.append(channel * self._taps + tap)
            data.append(matrix.data)
        return SparseColumns.from_entries(
            shape=self.conv.matrix_shape,
            rows=np.concatenate(rows),
            columns=np.concatenate(columns),
            data=np.concatenate(data),
        )

    def strips(self, width: int, most: int) -> list[tuple[int, int]]:
        """Cut an output row of ``width`` pixels into strips (start, stop) of at most ``most``, as even as can be."""
        count = -(-width // most)
        edges = [width * i // count for i in range(count + 1)]
        return list(pairwise(edges))

    def visits(self, size: tuple[int, int], most: int) -> Iterator[Visit]:
        """Return what each strip reads of a map of (height, width); what no window sees is not read."""
        height, width = self.conv.output_size(*size)
        taps = self.conv.kernel[1]
        rows = _Met.over(self.conv, axis=0, size=size[0], outputs=(0, height))
        for strip in self.strips(width, most):
            across = _Met.over(self.conv, axis=1, size=size[1], outputs=strip)
            # Phases of rows lie one behind the other in a channel, each with all kernel columns.
            offset = rows.phase[:, None] * taps
            yield Visit(
                window=(rows.output[:, None] * width + across.output).reshape(-1),
                tap=(rows.tap[:, None] * taps + across.tap).reshape(-1),
                first=(offset + across.first).reshape(-1),
                stop=(offset + across.stop).reshape(-1),
                low=np.repeat(rows.low, len(across.tap)),
                high=np.repeat(rows.high, len(across.tap)),
                across=len(across.tap),
            )

    @property
    def _taps(self) -> int:
        return self.conv.kernel[0] * self.conv.kernel[1]

    @cached_property
    def _places(self) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """For each place of the kernel, row by row: which row of its phase it is, and its column in a channel."""
        down, across = self.conv.kernel
        above, column = np.empty((down, across), np.int64), np.empty((down, across), np.int64)
        for number, phase in enumerate(self.row_phases):
            for height, row in enumerate(phase):
                above[row] = height
                column[row, list(self.column_order)] = number * across + np.arange(across)
        return above.reshape(-1), column.reshape(-1)


@dataclass(frozen=True, eq=False, kw_only=True)
class _Met:
    """Input rows or columns that some outputs see, int64 each.

    Their phase, the kernel's columns (rows) taken, counted over all phases and in their own, one of them, its output.
    """

    phase: NDArray[np.int64]
    first: NDArray[np.int64]
    stop: NDArray[np.int64]
    low: NDArray[np.int64]
    high: NDArray[np.int64]
    tap: NDArray[np.int64]
    output: NDArray[np.int64]

    @classmethod
    def over(cls, conv: Conv2d, *, axis: int, size: int, outputs: tuple[int, int]) -> _Met:
        """List those of ``size`` rows (axis 0) or columns (1) that outputs start..stop-1 see."""
        kernel, stride, gap, pad = conv.kernel[axis], conv.stride[axis], conv.dilation[axis], conv.pads[axis]
        start, stop = outputs
        met = []
        # Only where the kernel reaches: of a long row, a strip sees little.
        for place in range(max(0, start * stride - pad), min(size, (stop - 1) * stride + gap * (kernel - 1) + 1 - pad)):
            before = 0
            for number, phase in enumerate(_phases(kernel, stride, gap)):
                if (place + pad - phase[0] * gap) % stride == 0:
                    reached = [(place + pad - tap * gap) // stride for tap in phase]
                    # Outputs fall as taps rise, so those inside are neighbours.
                    inside = [i for i, output in enumerate(reached) if start <= output < stop]
                    if inside:
                        low, high = inside[0], inside[-1]
                        places = (before + low, before + high + 1, low, high + 1)
                        met.append((number, *places, phase[low], reached[low]))
                before += len(phase)
        phases, first, last, bottom, top, taps, seen = np.array(met, np.int64).reshape(-1, 7).T
        return cls(phase=phases, first=first, stop=last, low=bottom, high=top, tap=taps, output=seen)


@cache
def _phases(kernel: int, stride: int, gap: int) -> tuple[tuple[int, ...], ...]:
    """Sort the kernel's rows (columns) by what the stride leaves of their distance."""
    rests = [tap * gap % stride for tap in range(kernel)]
    return tuple(tuple(tap for tap in range(kernel) if rests[tap] == rest) for rest in sorted(set(rests)))
