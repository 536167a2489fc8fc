"""Relative-indexed columns: what is stored decodes to what was given, for every shape, PE count and index width."""

import freeze
import naive
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from eie.compiler.encode import encode
from eie.errors import ProgramError
from eie.kernels.encode import expand_entries
from eie.model.matrix import SparseColumns
from eie.simulator.cache import held_bytes


@st.composite
def matrices(draw):
    rows, columns = draw(st.integers(1, 300)), draw(st.integers(1, 12))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    density = draw(st.sampled_from([0, 0.005, 0.05, 0.3, 1]))
    return (rng.integers(1, 16, (rows, columns)) * (rng.random((rows, columns)) < density)).astype(np.uint8)


@given(matrices(), st.sampled_from([1, 2, 5, 16, 64, 301]), st.integers(1, 8), st.booleans())
def test_round_trip_and_naive(codes, n_pe, index_bits, has_bias):
    sparse = SparseColumns.from_dense(codes, "codes")
    encoding = encode(sparse, n_pe, index_bits, has_bias=has_bias)
    assert np.array_equal(encoding.decode().dense(), codes)
    expected = naive.encode(codes, n_pe, index_bits)
    for pe in range(n_pe):
        found = [array.tolist() for array in encoding.pe_image(pe)]
        assert found == [list(part) for part in expected[pe]]
    assert encoding.padding.sum() == sum(codes.count(0) for codes, _, _ in expected)
    assert encoding.inputs == codes.shape[1] - has_bias


@given(matrices(), st.sampled_from([1, 3, 64]), st.integers(1, 8), st.data())
def test_a_column_block_is_the_encoding_of_those_columns(codes, n_pe, index_bits, data):
    start = data.draw(st.integers(0, codes.shape[1] - 1))
    stop = data.draw(st.integers(start + 1, codes.shape[1]))
    whole = encode(SparseColumns.from_dense(codes, "codes"), n_pe, index_bits)
    block = whole.columns(start, stop, with_bias=False)
    alone = encode(SparseColumns.from_dense(np.ascontiguousarray(codes[:, start:stop]), "codes"), n_pe, index_bits)
    for name in ("bases", "pointers", "padding", "codes", "runs"):
        assert np.array_equal(getattr(block, name), getattr(alone, name)), name


def test_the_papers_example():
    """EIE paper, section III-B: [0, 0, 1, 2, 18 zeros, 3]."""
    column = np.array([0, 0, 1, 2, *[0] * 18, 3], np.uint8)[:, None]
    codes, runs, pointers = encode(SparseColumns.from_dense(column, "codes"), 1, 4).pe_image(0)
    assert codes.tolist() == [1, 2, 0, 3]
    assert runs.tolist() == [2, 0, 15, 2]
    assert pointers.tolist() == [0, 4]


@pytest.mark.parametrize(("gap", "padding", "run"), [(15, 0, 15), (16, 1, 0), (31, 1, 15), (32, 2, 0)])
def test_padding_begins_at_sixteen_zeros(gap, padding, run):
    column = np.zeros((gap + 1, 1), np.uint8)
    column[-1] = 7
    codes, runs, _ = encode(SparseColumns.from_dense(column, "codes"), 1, 4).pe_image(0)
    assert codes.tolist() == [0] * padding + [7]
    assert runs.tolist() == [15] * padding + [run]


def test_the_longest_runs_decode():
    column = np.zeros((600, 1), np.uint8)
    column[[0, 599]] = 3
    encoding = encode(SparseColumns.from_dense(column, "codes"), 1, 8)
    assert encoding.runs.max() == 255
    assert np.array_equal(encoding.decode().dense(), column)


def test_every_entry_knows_its_row_and_padding_none():
    """One PE after the other; a column's entries end where the next one's begin, those of the last at the end."""
    column = np.zeros((40, 2), np.uint8)
    column[[0, 1, 39], 0], column[[2, 38], 1] = (1, 2, 3), (4, 5)
    encoding = encode(SparseColumns.from_dense(column, "codes"), 2, 4)
    rows = np.full(len(encoding.codes), -2)
    expand_entries(encoding.bases, encoding.pointers, encoding.codes, encoding.runs, rows)
    # PE 0 holds even rows: 0, then 2, 16 zeros bridged, 38; PE 1 rows 1, the bridge, 39.
    assert rows.tolist() == [0, 2, -1, 38, 1, -1, 39]


def test_zeros_behind_the_last_non_zero_are_not_stored():
    column = np.zeros((100, 1), np.uint8)
    column[0] = 1
    assert len(encode(SparseColumns.from_dense(column, "codes"), 1, 4).codes) == 1


def test_row_table_says_where_rows_go_on_and_where_they_are_opened():
    """One PE, 20 + 0 + 3 + 9 + 8 entries, 8 a row: rows begin at entries 0, 8, 16 (column 0), 24 (3) and 32 (4)."""
    codes = np.zeros((20, 5), np.uint8)
    for column, entries in enumerate((20, 0, 3, 9, 8)):
        codes[:entries, column] = 1
    encoding = encode(SparseColumns.from_dense(codes, "codes"), 1, 4)
    table = encoding.row_table(8)
    assert table.rows[:, 0, 0].tolist() == [0, 0, 1, 1, 0]
    assert table.rows[:, 1, 0].tolist() == [1, 0, 0, 1, 1]
    assert table.totals.tolist() == [[0, 3], [0, 0], [0, 1], [0, 2], [0, 1]]


def test_tables_begin_cache_lines():
    """Registers that lie across two lines are loaded twice."""
    encoding = encode(SparseColumns.from_dense(np.ones((20, 3), np.uint8), "codes"), 5, 4)
    for table in (encoding.counts, encoding.row_table(8).rows):
        assert table.ctypes.data % 64 == 0
        assert table.flags.c_contiguous
        assert not table.flags.writeable


def test_row_tables_are_made_once_and_one_is_kept():
    encoding = encode(SparseColumns.from_dense(np.ones((20, 3), np.uint8), "codes"), 1, 4)
    narrow = encoding.row_table(8)
    assert encoding.row_table(8) is narrow
    assert encoding.row_table(4) is not narrow
    assert held_bytes(vars(encoding)["_row_tables"]) == held_bytes(narrow)


def test_image_bytes_stay_as_they_are(root):
    """Change alarm: the images of the shipped LeNet, byte for byte; ``make freeze`` renews it."""
    frozen = (root / "tests" / "fixtures" / "lenet-300-100.image.sha256").read_text().strip()
    assert freeze.image_digest() == frozen


def test_the_last_pointer_that_is_allowed(monkeypatch):
    """A pointer more than columns on each PE: 9 columns on 4 PEs are 40 of them."""
    monkeypatch.setattr("eie.compiler.encode.LARGEST_POINTERS", 40)
    columns = [SparseColumns.from_dense(np.ones((4, count), np.uint8), "codes") for count in (9, 10)]
    assert encode(columns[0], 4, 4).pointers.size == 40
    with pytest.raises(ProgramError, match=r"^10 columns on 4 PEs need 44 pointers: at most 40$"):
        encode(columns[1], 4, 4)
