"""Row interleaving and relative-indexed compressed columns: what each PE stores.

Comes in: a weight-shared matrix. Goes out: an `Encoding`, the images of all PEs for one block of rows and columns.
Read by `passes`, which cuts it where it does not fit, and by the simulator.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from eie.errors import ProgramError
from eie.kernels import account, datapath
from eie.kernels import encode as kernels
from eie.kernels.timing import LANES, padded
from eie.model.matrix import SparseColumns, aligned, frozen
from eie.show.brief import Brief

LARGEST_POINTERS = 1 << 30
HASHED_POINTERS = 1 << 22  # written out at a time for all PEs
# Files list all pointers of every PE up to here, 16 MiB, which version 0.1 reads; 4,096 PEs on one row would be 1 GiB.
LISTED_POINTERS = 1 << 22


def lanes_of(rows: int, n_pe: int) -> int:
    """L: PEs that are told apart, one for each row and one more for all that get none."""
    return min(n_pe, rows + 1)


@dataclass(frozen=True, eq=False, repr=False)
class RowTable(Brief):
    """What counting needs to know of an `Encoding` whose SRAM rows hold so many entries.

    Attributes
    ----------
    rows
        uint64 (J, 2, W), a bit for each of the S lanes, 64 in a word: in which PEs the column's first entry goes on in
        an SRAM row of entries before it, and in which the column opens a row. Neither where the PE holds nothing of it.
    totals
        int64 (J, 2): padding entries and SRAM rows of each column, over all PEs.
    """

    rows: NDArray[np.uint64]
    totals: NDArray[np.int64]

    @classmethod
    def of(cls, encoding: Encoding, entries_per_row: int) -> RowTable:
        """Make the table of an encoding."""
        columns, lanes = encoding.counts.shape
        rows = aligned((columns, 2, lanes // LANES), np.uint64)
        touched = np.empty(columns, np.int64)
        kernels.mark_rows(encoding.pointers, entries_per_row, rows, touched)
        return cls(frozen(rows, np.uint64), frozen(np.stack((encoding.padding, touched), axis=1), np.int64))


@dataclass(frozen=True, eq=False, kw_only=True, repr=False)
class Encoding:
    """The per-PE images of a block of a layer, one pass of the accelerator.

    Attributes
    ----------
    row_start, row_stop, column_start, column_stop
        The block, in the layer's rows (outputs) and columns (inputs); the bias column is not counted.
    has_bias
        Whether the last column is the bias.
    accumulator_bias
        float32 (rows,): what the block's accumulators start from, in the order of its rows; None where they start from
        zero, or go on from where the pass before left them.
    index_bits
        Bits of a zero run.
    bases
        int64 (P + 1,): PE p owns entries ``bases[p]`` to ``bases[p + 1] - 1``.
    pointers
        int32 (J + 1, L), J columns: first entry of each column, counted from the PE's base. L is P, or the rows and one
        more where those are fewer: PEs behind the rows hold nothing, and the last of L stands for them all.
    padding
        int64 (J,): padding entries of each column, over all PEs.
    codes, runs
        uint8 (E,): entries of PE 0, then PE 1, ...
    """

    row_start: int
    row_stop: int
    column_start: int
    column_stop: int
    has_bias: bool
    index_bits: int
    bases: NDArray[np.int64]
    pointers: NDArray[np.int32]
    padding: NDArray[np.int64]
    codes: NDArray[np.uint8]
    runs: NDArray[np.uint8]
    accumulator_bias: NDArray[np.float32] | None = None

    def __repr__(self) -> str:
        rows, columns = f"{self.row_start}..{self.row_stop - 1}", f"{self.column_start}..{self.column_stop - 1}"
        return f"<Encoding: rows {rows}, columns {columns} on {self.n_pe} PEs, {len(self.codes):,} entries>"

    @property
    def n_pe(self) -> int:
        """P, the PEs that the rows are spread over."""
        return len(self.bases) - 1

    @property
    def inputs(self) -> int:
        """Input activations this pass takes, bias not counted."""
        return self.column_stop - self.column_start

    @property
    def scan_rows(self) -> int:
        """G: rows of P activations to scan, plus one for the bias."""
        return -(-self.inputs // self.n_pe) + self.has_bias

    @property
    def bias_writes(self) -> int:
        """Accumulators that start from a bias, over all PEs: each is written once before the first product."""
        return 0 if self.accumulator_bias is None else len(self.accumulator_bias)

    @property
    def bias_words(self) -> int:
        """Words of the fullest PE's activation SRAM that hold them."""
        return -(-self.bias_writes // self.n_pe)

    @property
    def bias_position(self) -> int:
        """Scan position of the bias: lane 0 of its own row behind the inputs."""
        return -(-self.inputs // self.n_pe) * self.n_pe

    @property
    def entries_per_pe(self) -> NDArray[np.int64]:
        """int64 (P,): stored entries, padding included."""
        return np.diff(self.bases)

    @property
    def padding_per_pe(self) -> NDArray[np.int64]:
        """int64 (P,): stored padding entries."""
        before = np.concatenate(([0], np.cumsum(self.codes == 0)))
        return np.diff(before[self.bases])

    @cached_property
    def counts(self) -> NDArray[Any]:
        """(J, S): entries of each PE in a column; S lanes for L PEs, the rest 0.

        uint8 where all fit, else int32. This is all that queue timing needs to know of the weights.
        """
        counts = np.diff(self.pointers, axis=0)
        # No type between: it would be one more compilation of five kernels, for machines of few PEs, which are quick.
        dtype = np.uint8 if int(counts.max(initial=1)) <= 0xFF else np.int32
        lanes = counts.shape[1]
        narrow = aligned((len(counts), padded(lanes)), dtype)
        narrow[:, :lanes] = counts
        return frozen(narrow, dtype)

    @cached_property
    def wide_counts(self) -> NDArray[Any]:
        """(J, S): `counts` in int32, for queues so deep that backlogs need the widest type."""
        return self.counts if self.counts.dtype == np.int32 else frozen(self.counts.astype(np.int32), np.int32)

    @cached_property
    def padding_before(self) -> tuple[NDArray[np.int64], NDArray[np.int32]]:
        """Padding entries ahead of each column: int64 (J + 1,) over all PEs, and int32 (J + 1, L) in each."""
        each = np.empty(self.pointers.shape, np.int32)
        account.list_padding(self.bases, self.pointers, self.codes, each)
        return frozen(np.concatenate(([0], np.cumsum(self.padding))), np.int64), frozen(each, np.int32)

    @cached_property
    def column_entries(self) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """int64 (J,) twice: entries of each column, over all PEs and in the PE that holds most."""
        counts = np.diff(self.pointers, axis=0)
        return frozen(counts.sum(axis=1), np.int64), frozen(counts.max(axis=1), np.int64)

    @cached_property
    def largest_slot(self) -> int:
        """The most cycles any PE spends on one column, of which an empty one takes one."""
        return int(self.counts.max(initial=1))

    def row_table(self, entries_per_row: int) -> RowTable:
        """Return what counting needs to know of SRAM rows of this width; the last one made is kept."""
        kept = self._row_tables.get(entries_per_row)
        if kept is None:
            kept = RowTable.of(self, entries_per_row)
            # One at a time: a sweep over row widths would otherwise gather a table of J x S quarter bytes for each.
            self._row_tables.clear()
            self._row_tables[entries_per_row] = kept
        return kept

    @cached_property
    def _row_tables(self) -> dict[int, RowTable]:
        return {}

    @cached_property
    def place(self) -> NDArray[np.int64]:
        """int64 (4,): first row, first column, inputs and columns with the bias, as the datapath kernels take them."""
        return frozen([self.row_start, self.column_start, self.inputs, len(self.pointers) - 1], np.int64)

    @cached_property
    def writes(self) -> tuple[NDArray[np.int64], NDArray[Any]]:
        """Entries that write, found by walking the images: starts and packed entries, see `eie.kernels.datapath`."""
        bands = -(-(self.row_stop - self.row_start) // datapath.BAND)
        starts = np.zeros(bands * (len(self.pointers) - 1) + 1, np.int64)
        images = self.bases, self.pointers, self.codes, self.runs
        datapath.count_writes(*images, starts)
        narrow = datapath.ROW_BITS + int(self.codes.max(initial=0)).bit_length() <= 16
        packed = np.empty(starts[-1], np.uint16 if narrow else np.uint32)
        datapath.list_writes(*images, starts.copy(), packed)
        return frozen(starts, np.int64), frozen(packed, packed.dtype)

    def pe_image(self, pe: int) -> tuple[NDArray[np.uint8], NDArray[np.uint8], NDArray[np.int32]]:
        """Return (codes, runs, pointers) as PE ``pe`` stores them."""
        owned = slice(self.bases[pe], self.bases[pe + 1])
        return self.codes[owned], self.runs[owned], self.pointers[:, min(pe, self.pointers.shape[1] - 1)]

    def for_all(self, values: NDArray[Any]) -> NDArray[Any]:
        """Return (N, P) of (N, L): the last of L for every PE behind the rows."""
        return values if values.shape[1] == self.n_pe else values[:, self._lanes]

    @cached_property
    def _lanes(self) -> NDArray[np.int64]:
        """int64 (P,): of which of the L walked a PE has its counts; every call of a run asks for it."""
        lanes: NDArray[np.int64] = np.minimum(np.arange(self.n_pe), self.pointers.shape[1] - 1)
        return lanes

    @property
    def listed_whole(self) -> bool:
        """Whether files hold a pointer for every PE and column, or those of the L that are told apart."""
        return self.pointers.shape[1] == self.n_pe or len(self.pointers) * self.n_pe <= LISTED_POINTERS

    def whole_pointers(self) -> Iterator[NDArray[np.int32]]:
        """Give int32 (columns, P): all PEs' pointers, as files hold them, some columns at a time."""
        step = max(1, HASHED_POINTERS // self.n_pe)
        for start in range(0, len(self.pointers), step):
            yield np.ascontiguousarray(self.for_all(self.pointers[start : start + step]))

    def columns(self, start: int, stop: int, *, with_bias: bool) -> Encoding:
        """Return the block of columns start..stop-1 of this one, with its bias column or without."""
        ends = stop + (with_bias and self.has_bias)
        begin, end = self.pointers[start], self.pointers[ends]
        sizes = np.zeros(self.n_pe, np.int64)
        sizes[: len(begin)] = end - begin
        bases = np.concatenate(([0], np.cumsum(sizes)))
        owned = np.arange(bases[-1]) + np.repeat(self.bases[:-1] + self.for_all(begin[None])[0] - bases[:-1], sizes)
        return Encoding(
            row_start=self.row_start,
            row_stop=self.row_stop,
            column_start=self.column_start + start,
            column_stop=self.column_start + stop,
            has_bias=with_bias and self.has_bias,
            index_bits=self.index_bits,
            bases=frozen(bases, np.int64),
            pointers=frozen(self.pointers[start : ends + 1] - begin, np.int32),
            padding=frozen(self.padding[start:ends], np.int64),
            codes=frozen(self.codes[owned], np.uint8),
            runs=frozen(self.runs[owned], np.uint8),
            # Columns go in order, and only the first pass over them begins its sums.
            accumulator_bias=None if start else self.accumulator_bias,
        )

    def moved(self, rows: int, columns: int) -> Encoding:
        """Return the same images for a block that begins further down and to the right in its layer."""
        return replace(
            self,
            row_start=self.row_start + rows,
            row_stop=self.row_stop + rows,
            column_start=self.column_start + columns,
            column_stop=self.column_stop + columns,
        )

    def decode(self) -> SparseColumns:
        """Return the codes this encoding stores, as the block's own matrix, bias column included."""
        images = self.bases, self.pointers, self.codes, self.runs
        starts = np.empty(len(self.pointers), np.int64)
        longest = kernels.count_codes(*images, starts)
        rows, codes = np.empty(starts[-1], np.int32), np.empty(starts[-1], np.uint8)
        kernels.gather_codes(*images, longest, starts, rows, codes)
        shape = (self.row_stop - self.row_start, len(self.pointers) - 1)
        return SparseColumns.of(shape=shape, starts=starts, rows=rows, data=codes)


def encode(codes: SparseColumns, n_pe: int, index_bits: int, *, has_bias: bool = False, row_start: int = 0) -> Encoding:
    """Spread the rows of ``codes`` over ``n_pe`` PEs and list each PE's entries with their zero runs.

    Parameters
    ----------
    codes
        uint8 codes; when ``has_bias``, its last column is the bias.
    row_start
        Number of the block's first row in the layer, a multiple of ``n_pe``.

    Raises
    ------
    ProgramError
        If one PE would hold 2**31 entries or more, or all PEs more than `LARGEST_POINTERS` pointers.
    """
    rows, columns = codes.shape
    if (columns + 1) * n_pe > LARGEST_POINTERS:
        raise ProgramError(
            f"{columns:,} columns on {n_pe} PEs need {(columns + 1) * n_pe:,} pointers: at most {LARGEST_POINTERS:,}"
        )
    # 4,096 PEs on one row would be 4,095 pointers of zero for each column.
    lanes = lanes_of(rows, n_pe)
    numbers = np.arange(rows)
    pe_of, local_of = frozen(numbers % n_pe, np.int32), frozen(numbers // n_pe, np.int32)
    entries = np.zeros((columns, lanes), np.int32)
    padding = np.zeros(columns, np.int64)
    kernels.count_entries(codes.starts, codes.rows, pe_of, local_of, index_bits, entries, padding)
    sizes = entries.sum(axis=0, dtype=np.int64)
    if sizes.max() >= 1 << 31:
        raise ProgramError(f"a PE would hold {sizes.max()} entries: must be < 2**31 (use more PEs)")
    pointers = np.zeros((columns + 1, lanes), np.int32)
    np.cumsum(entries, axis=0, out=pointers[1:])
    bases = np.concatenate(([0], np.cumsum(sizes), np.full(n_pe - lanes, sizes.sum())))
    out_codes, out_runs = np.empty(bases[-1], np.uint8), np.empty(bases[-1], np.uint8)
    kernels.write_entries(
        codes.starts, codes.rows, codes.data, pe_of, local_of, index_bits, bases[:lanes].copy(), out_codes, out_runs
    )
    return Encoding(
        row_start=row_start,
        row_stop=row_start + rows,
        column_start=0,
        column_stop=columns - has_bias,
        has_bias=has_bias,
        index_bits=index_bits,
        bases=frozen(bases, np.int64),
        pointers=frozen(pointers, np.int32),
        padding=frozen(padding, np.int64),
        codes=frozen(out_codes, np.uint8),
        runs=frozen(out_runs, np.uint8),
    )
