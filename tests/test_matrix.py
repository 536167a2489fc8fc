"""Matrices without a zero list no rows: whatever is asked of them, the answer is that of a list."""

import copy
import pickle

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from eie.model.matrix import SparseColumns
from eie.model.packed import packed


def pair(seed, rows, columns):
    """The same numbers without a list of rows and with one."""
    dense = np.random.default_rng(seed).integers(1, 200, (rows, columns)).astype(np.uint8)
    full = SparseColumns.from_dense(dense, "w")
    listed = SparseColumns.of(
        shape=full.shape, starts=full.starts, rows=np.tile(np.arange(rows), columns), data=full.data
    )
    assert full.is_full
    assert not listed.is_full
    return dense, full, listed


def assert_same(ours, right):
    assert ours.shape == right.shape
    for name in ("starts", "rows", "data", "column_of"):
        left, other = getattr(ours, name), getattr(right, name)
        np.testing.assert_array_equal(left, other)
        assert left.dtype == other.dtype
    for name in ("starts", "rows", "data"):
        assert not getattr(ours, name).flags.writeable


@given(st.integers(0, 2**32 - 1), st.integers(1, 9), st.integers(1, 7), st.data())
def test_without_a_list_all_is_as_with_one(seed, rows, columns, data):
    dense, full, listed = pair(seed, rows, columns)
    _, more, more_listed = pair(seed + 1, rows, data.draw(st.integers(1, 5)))
    start = data.draw(st.integers(0, rows - 1))
    stop = data.draw(st.integers(start + 1, rows))
    mask = np.random.default_rng(seed).random(dense.shape) < 0.5
    bias = np.random.default_rng(seed).integers(0, 2, rows).astype(np.uint8)
    np.testing.assert_array_equal(full.dense(), dense)
    assert_same(full.beside(more), listed.beside(more_listed))
    assert_same(full.beside(more_listed), listed.beside(more_listed))
    assert_same(full.row_block(start, stop), listed.row_block(start, stop))
    assert_same(full.where(mask), listed.where(mask))
    assert_same(full.append_column(bias), listed.append_column(bias))
    assert_same(full.with_data(full.data + np.uint8(1)), listed.with_data(listed.data + np.uint8(1)))
    for same in (full, packed(full).unpacked(), copy.copy(full), copy.deepcopy(full)):
        np.testing.assert_array_equal(same.rows, listed.rows)


def test_one_zero_is_listed():
    dense = np.ones((4, 3), np.float32)
    dense[2, 1] = 0
    matrix = SparseColumns.from_dense(dense, "w")
    assert not matrix.is_full
    assert matrix.nnz == 11
    np.testing.assert_array_equal(matrix.dense(), dense)


def test_rows_are_made_when_they_are_read_and_then_stay():
    _, full, _ = pair(0, 5, 4)
    assert len(pickle.dumps(full)) < len(pickle.dumps(pair(0, 5, 4)[2]))
    assert full.rows is full.rows
    # A pattern whose rows were read hands them on.
    assert full.with_data(full.data).rows is full.rows


def test_the_callers_array_is_not_shared():
    dense = np.ones((3, 1), np.float32)
    matrix = SparseColumns.from_dense(dense, "w")
    dense[0] = 5
    assert matrix.data[0] == 1
