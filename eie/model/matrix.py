"""A sparse matrix in compressed columns: the one form in which weights travel.

Comes in: a dense array (out, in), or a sparse one of scipy's. Goes out: `SparseColumns`. Read by networks, weight
sharing and the encoder.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from eie.errors import ModelError
from eie.model import arrays

# Numbers copied at a time where an array does not lie in memory row by row: a whole copy would be a matrix more.
_BLOCK = 1 << 18
# Where at least one of so many places is not zero, a bit for each place notes the rows: a list would be as much as the
# numbers, from the day that a network is read. Fewer are listed sooner than found among bits.
_NOTED = 4
# And where the zeros between tiles are not so many that all bits are more than a list.
_LIST_BITS = 32
CACHE_LINE = 64  # bytes, of every x86-64 and most other processors


def frozen(array: ArrayLike, dtype: Any) -> NDArray[Any]:
    """Return ``array`` contiguous, of ``dtype`` and read-only: what records hold and kernels are compiled for.

    A number too large for ``dtype`` becomes infinite without a warning: whoever reads foreign numbers checks for that.
    """
    if isinstance(array, np.ndarray) and array.dtype == dtype and array.flags.c_contiguous and array.ndim:
        view = array.view()  # nothing to convert: setting up errstate alone takes longer than all of this
    else:
        with np.errstate(over="ignore"):
            view = np.ascontiguousarray(array, dtype).view()
    # On a view, so that a caller's own array stays writeable.
    view.setflags(write=False)
    return view


def aligned(shape: tuple[int, ...], dtype: Any) -> NDArray[Any]:
    """Return zeros that begin a cache line, where numpy's begin anywhere: for tables that kernels load whole rows of.

    A vector register that lies across two lines is loaded twice.
    """
    room = np.zeros(math.prod(shape) * np.dtype(dtype).itemsize + CACHE_LINE, np.uint8)
    return np.ndarray(shape, dtype, room, offset=-room.__array_interface__["data"][0] % CACHE_LINE)


def _blocks(dense: NDArray[Any]) -> Iterator[tuple[int, NDArray[Any]]]:
    """Yield rows as the kernels take them, behind the first one's number; of a transposed array some at a time."""
    if dense.flags.c_contiguous:
        yield 0, frozen(dense, dense.dtype)
        return
    step = max(1, _BLOCK // max(1, dense.shape[1]))
    for first in range(0, dense.shape[0], step):
        yield first, frozen(dense[first : first + step], dense.dtype)


def _ordered(
    shape: tuple[int, int], rows: NDArray[np.int64], columns: NDArray[np.int64]
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return the order of entries by column and row, and where each column begins."""
    # Here, not above: ``import eie`` must not wait for numba.
    from eie.kernels import columns as kernels

    # Counting goes through every row and column, however few entries there are.
    many = len(rows) > sum(shape)
    if many and min(rows.min(), columns.min()) >= 0 and rows.max() < shape[0] and columns.max() < shape[1]:
        order, starts = np.empty(len(rows), np.int64), np.zeros(shape[1] + 1, np.int64)
        kernels.order_entries(rows, columns, shape[0], starts, order)
        return order, starts
    # The last key is the first: by column, and by row within one.
    order = np.lexsort((rows, columns))
    # One past the last column too: its place is the number of entries.
    return order, np.searchsorted(columns[order], np.arange(shape[1] + 1))


@dataclass(frozen=True, eq=False, kw_only=True)
class Tile:
    """A dense part of a matrix.

    Attributes
    ----------
    row, column
        Its first place in the matrix.
    dense
        (rows, columns) float32 or uint8.
    where
        What it is a part of, for errors, which count columns of the matrix from ``origin`` on.
    """

    row: int
    column: int
    dense: NDArray[Any]
    where: str
    origin: int = 0

    @property
    def columns(self) -> slice:
        """Which of the matrix's."""
        return slice(self.column, self.column + self.dense.shape[1])

    def not_finite(self) -> ModelError:
        """Say which value is none; looked for only now that there is one: the kernel just says whether."""
        bad = np.argwhere(~np.isfinite(self.dense))[0]
        place = f"{self.row + bad[0]}, {self.column - self.origin + bad[1]}"
        return ModelError(f"{self.where}[{place}] = {self.dense[tuple(bad)]}: must be finite")


@dataclass(frozen=True, eq=False, kw_only=True, repr=False)
class SparseColumns:
    """Non-zeros listed column by column, rows ascending.

    Attributes
    ----------
    shape
        (rows, columns) = (outputs, inputs).
    starts
        int64 (columns + 1,): where each column begins.
    listed
        int32 (nnz,): the row of each; None where ``bits`` or counting tell, until it is asked for. Read it as `rows`.
    data
        (nnz,) float32 weights or uint8 codes; never zero.
    bits
        uint8 (columns, ceil(rows / 8)), where few places are zero: bit ``r % 8`` of byte ``r // 8`` is set where row
        ``r`` is not. None where there is a list, or no zero.
    """

    shape: tuple[int, int]
    starts: NDArray[np.int64]
    listed: NDArray[np.int32] | None
    data: NDArray[Any]
    bits: NDArray[np.uint8] | None = None

    def __repr__(self) -> str:
        rows, columns = self.shape
        return f"<SparseColumns: {rows} x {columns}, {len(self.data):,} {self.data.dtype} non-zeros>"

    @classmethod
    def of(cls, shape: tuple[int, int], starts: ArrayLike, rows: ArrayLike, data: NDArray[Any]) -> SparseColumns:
        """Build from arrays that are already in this form."""
        return cls(
            shape=shape, starts=frozen(starts, np.int64), listed=frozen(rows, np.int32), data=frozen(data, data.dtype)
        )

    @classmethod
    def noted(
        cls, shape: tuple[int, int], starts: ArrayLike, bits: NDArray[np.uint8], data: NDArray[Any]
    ) -> SparseColumns:
        """Build from arrays that are already in this form, with bits in the place of the list."""
        return cls(
            shape=shape,
            starts=frozen(starts, np.int64),
            listed=None,
            data=frozen(data, data.dtype),
            bits=frozen(bits, np.uint8),
        )

    @classmethod
    def full(cls, dense: NDArray[Any]) -> SparseColumns:
        """Take a dense array (rows, columns) no number of which is zero: its rows need no list until they are read."""
        rows, columns = dense.shape
        data = np.empty((columns, rows), dense.dtype)
        data[...] = dense.T
        return cls.of_full((rows, columns), data.ravel())

    @classmethod
    def of_full(cls, shape: tuple[int, int], data: NDArray[Any]) -> SparseColumns:
        """Build from the numbers of all places, column by column, none of which is zero."""
        starts = np.arange(shape[1] + 1, dtype=np.int64) * shape[0]
        return cls(shape=shape, starts=frozen(starts, np.int64), listed=None, data=frozen(data, data.dtype))

    @classmethod
    def from_dense(cls, dense: NDArray[Any], where: str) -> SparseColumns:
        """Compress a dense float32 or uint8 array (rows, columns).

        Raises
        ------
        ModelError
            If a value is NaN or infinite; ``where`` names the array.
        """
        return tiled((dense.shape[0], dense.shape[1]), [Tile(row=0, column=0, dense=dense, where=where)])

    @classmethod
    def from_sparse(cls, matrix: Any, where: str, dtype: Any = np.float32) -> SparseColumns:
        """Take over a ``scipy.sparse`` matrix in time and memory of its entries.

        Raises
        ------
        ModelError
            If a value is NaN or infinite; ``where`` names the array.
        """
        starts, rows, values = arrays.columns(matrix)
        whole = cls.of(shape=(matrix.shape[0], matrix.shape[1]), starts=starts, rows=rows, data=frozen(values, dtype))
        # In float32, in which it is used: 1e39 is infinite only there.
        bad = np.flatnonzero(~np.isfinite(whole.data))
        if len(bad):
            place = f"{whole.rows[bad[0]]}, {whole.column_of[bad[0]]}"
            raise ModelError(f"{where}[{place}] = {whole.data[bad[0]]}: must be finite")
        # A listed zero is a pruned weight, and so is what float32 has no number for.
        return whole._kept(whole.data != 0, whole.shape, 0)

    @classmethod
    def from_entries(
        cls, shape: tuple[int, int], rows: NDArray[Any], columns: NDArray[Any], data: NDArray[Any]
    ) -> SparseColumns:
        """Sort a list of non-zeros, given in any order, each place at most once."""
        order, starts = _ordered(shape, frozen(rows, np.int64), frozen(columns, np.int64))
        return cls.of(shape=shape, starts=starts, rows=rows[order], data=data[order])

    @property
    def nnz(self) -> int:
        """Number of non-zeros."""
        return int(self.starts[-1])

    @cached_property
    def rows(self) -> NDArray[np.int32]:
        """int32 (nnz,): the row of every non-zero; once it was asked for, it stays."""
        if self.listed is not None:
            return self.listed
        if self.bits is not None:
            from eie.kernels import columns as kernels

            # One place more than there are: the kernel writes once behind the last.
            rows = np.empty(len(self.data) + 1, np.int32)
            kernels.list_rows(self.bits, rows)
            return frozen(rows[:-1], np.int32)
        return frozen(np.tile(np.arange(self.shape[0], dtype=np.int32), self.shape[1]), np.int32)

    @property
    def is_full(self) -> bool:
        """Whether no place is zero, and it was made so: then the rows are known without a list."""
        return self.listed is None and self.bits is None

    @property
    def column_of(self) -> NDArray[np.int32]:
        """int32 (nnz,): the column of every non-zero."""
        return np.repeat(np.arange(self.shape[1], dtype=np.int32), np.diff(self.starts))

    def with_data(self, data: NDArray[Any]) -> SparseColumns:
        """Return the same pattern with other values."""
        # Of a pattern that was read already, the list goes along: it would be made once more.
        listed = self.__dict__.get("rows", self.listed)
        return SparseColumns(
            shape=self.shape,
            starts=self.starts,
            listed=listed,
            data=frozen(data, data.dtype),
            bits=self.bits if listed is None else None,
        )

    def dense(self) -> NDArray[Any]:
        """Return the dense array (rows, columns)."""
        if self.is_full:
            return np.ascontiguousarray(self._by_column.T)
        # Written in stored order, then transposed: several times faster than jumping between rows.
        columns = np.zeros(self.shape[::-1], self.data.dtype)
        if self.bits is not None:
            columns[np.unpackbits(self.bits, axis=1, count=self.shape[0], bitorder="little").view(np.bool_)] = self.data
        else:
            columns[self.column_of, self.rows] = self.data
        return np.ascontiguousarray(columns.T)

    def put_away(self) -> SparseColumns:
        """Return the same in as little memory as it takes, for one that nobody reads for a while.

        Without a list of rows that was asked for; and with bits in the place of one, which take less from one non-zero
        in 32 places on.
        """
        rows, columns = self.shape
        width = -(-rows // 8)
        if self.listed is None or columns * width >= self.listed.nbytes:
            return replace(self)
        from eie.kernels import columns as kernels

        bits = np.zeros((columns, width), np.uint8)
        kernels.note_rows(self.starts, self.listed, bits)
        return SparseColumns.noted(shape=self.shape, starts=self.starts, bits=bits, data=self.data)

    def row_block(self, start: int, stop: int) -> SparseColumns:
        """Return rows start..stop-1 as a matrix of their own."""
        # The usual case, a layer that is one pass: the arrays are shared, not copied.
        if (start, stop) == (0, self.shape[0]):
            return self
        if self.is_full:
            return SparseColumns.full(self._by_column[:, start:stop].T)
        keep = (self.rows >= start) & (self.rows < stop)
        return self._kept(keep, (stop - start, self.shape[1]), start)

    def where(self, mask: NDArray[np.bool_]) -> SparseColumns:
        """Return the matrix without the entries that ``mask`` (rows, columns) drops."""
        return self._kept(mask[self.rows, self.column_of], self.shape, 0)

    def beside(self, right: SparseColumns) -> SparseColumns:
        """Return the matrix with the columns of another one, of as many rows, behind its own."""
        if self.is_full and right.is_full:
            # Their numbers one after the other: column by column they are what they were.
            data, columns = np.concatenate((self.data, right.data)), self.shape[1] + right.shape[1]
            return SparseColumns.of_full((self.shape[0], columns), data)
        return SparseColumns.of(
            shape=(self.shape[0], self.shape[1] + right.shape[1]),
            starts=np.concatenate((self.starts, right.starts[1:] + self.nnz)),
            rows=np.concatenate((self.rows, right.rows)),
            data=np.concatenate((self.data, right.data)),
        )

    @property
    def _by_column(self) -> NDArray[Any]:
        """(columns, rows): all of a matrix that is full."""
        return self.data.reshape(self.shape[::-1])

    def _kept(self, keep: NDArray[np.bool_], shape: tuple[int, int], first_row: int) -> SparseColumns:
        # total[i] is how many of the first i entries stay, so a column's old start leads to its new one.
        total = np.concatenate(([0], np.cumsum(keep)))
        return SparseColumns.of(
            shape=shape, starts=total[self.starts], rows=self.rows[keep] - first_row, data=self.data[keep]
        )

    def append_column(self, values: NDArray[Any]) -> SparseColumns:
        """Return the matrix with one more column (rows,) behind the last; the bias enters like this."""
        rows = np.flatnonzero(values)
        return SparseColumns.of(
            shape=(self.shape[0], self.shape[1] + 1),
            # Ascending rows behind the last column are in order already: nothing is sorted again.
            starts=np.append(self.starts, self.nnz + len(rows)),
            rows=np.concatenate((self.rows, rows.astype(np.int32))),
            data=np.concatenate((self.data, values[rows].astype(self.data.dtype))),
        )


def tiled(shape: tuple[int, int], tiles: Sequence[Tile]) -> SparseColumns:
    """Compress dense arrays of one type that lie side by side, those in higher rows behind; zero between them.

    What is put together from parts is so never there as a whole but in columns.

    Raises
    ------
    ModelError
        If a value is NaN or infinite.
    """
    # Here, not above: ``import eie`` and ``eie --help`` must not wait for numba.
    from eie.kernels import columns as kernels

    # Counted first, so that rows and data are made once at their size; two passes over the dense arrays in all.
    counts = np.zeros(shape[1], np.int64)
    for tile in tiles:
        finite = [kernels.count_nonzeros(block, counts[tile.columns]) for _, block in _blocks(tile.dense)]
        if not all(finite):
            raise tile.not_finite()
    starts = np.concatenate(([0], np.cumsum(counts)))
    if starts[-1] < math.prod(shape):
        return _filled(shape, starts, tiles)
    # As weights mostly come: with a list, a network would take twice the memory from the day it is read.
    data = np.empty(shape[::-1], tiles[0].dense.dtype)
    for tile in tiles:
        data[tile.columns, tile.row : tile.row + len(tile.dense)] = tile.dense.T
    return SparseColumns.of_full(shape, data.ravel())


def _filled(shape: tuple[int, int], starts: NDArray[np.int64], tiles: Sequence[Tile]) -> SparseColumns:
    """Return what `tiled` does where a place is zero: rows are noted as bits, or listed."""
    from eie.kernels import columns as kernels

    count, inside = int(starts[-1]), sum(tile.dense.size for tile in tiles)
    noted = inside <= _NOTED * count and math.prod(shape) <= _LIST_BITS * count
    data = np.empty(count, tiles[0].dense.dtype)
    rows = np.empty(0 if noted else count, np.int32)
    bits = np.zeros((shape[1], -(-shape[0] // 8) if noted else 0), np.uint8)
    # A copy: the kernels move each start on to the column's end as they write.
    cursor = starts[:-1].copy()
    for tile in tiles:
        for first, block in _blocks(tile.dense):
            part, first_row = cursor[tile.columns], tile.row + first
            if noted:
                kernels.fill_noted(block, first_row, part, bits[tile.columns], data)
            else:
                kernels.fill_columns(block, first_row, part, rows, data)
    if noted:
        return SparseColumns.noted(shape=shape, starts=starts, bits=bits, data=data)
    return SparseColumns.of(shape=shape, starts=starts, rows=rows, data=data)
