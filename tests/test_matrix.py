"""Matrices with few or no zeros list no rows: whatever is asked of them, the answer is that of a list."""

import copy
import pickle

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from eie.errors import ModelError
from eie.model.matrix import SparseColumns, Tile, tiled


def pair(seed, rows, columns, zeros=0):
    """The same numbers without a list of rows and with one; at most so many of them, and a quarter, are zero."""
    rng = np.random.default_rng(seed)
    dense = rng.integers(1, 200, (rows, columns)).astype(np.uint8)
    dense.ravel()[rng.permutation(dense.size)[: min(zeros, dense.size // 4)]] = 0
    matrix, (columns_of, rows_of) = SparseColumns.from_dense(dense, "w"), np.nonzero(dense.T)
    listed = SparseColumns.of(
        shape=dense.shape,
        starts=np.searchsorted(columns_of, np.arange(columns + 1)),
        rows=rows_of,
        data=dense.T[dense.T != 0],
    )
    assert matrix.is_full == (len(rows_of) == dense.size)
    assert matrix.listed is None
    assert not listed.is_full
    return dense, matrix, listed


def assert_same(ours, right):
    assert ours.shape == right.shape
    for name in ("starts", "rows", "data", "column_of"):
        left, other = getattr(ours, name), getattr(right, name)
        np.testing.assert_array_equal(left, other)
        assert left.dtype == other.dtype
    for name in ("starts", "rows", "data"):
        assert not getattr(ours, name).flags.writeable


@given(st.integers(0, 2**32 - 1), st.integers(1, 20), st.integers(1, 7), st.integers(0, 9), st.data())
def test_without_a_list_all_is_as_with_one(seed, rows, columns, zeros, data):
    dense, full, listed = pair(seed, rows, columns, zeros)
    _, more, more_listed = pair(seed + 1, rows, data.draw(st.integers(1, 5)), data.draw(st.integers(0, 3)))
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
    for same in (full, full.put_away(), copy.copy(full), copy.deepcopy(full), pickle.loads(pickle.dumps(full))):
        np.testing.assert_array_equal(same.rows, listed.rows)
    # Once more, now that the rows were read.
    np.testing.assert_array_equal(full.dense(), dense)
    assert_same(full.with_data(full.data), listed)
    assert_same(full.put_away(), listed)


@pytest.mark.parametrize(("kept", "is_noted"), [(19, True), (5, True), (4, False)])
def test_few_zeros_are_noted_many_are_not_listed(kept, is_noted):
    """A bit for each place while a quarter of them is not zero, below that a list."""
    dense = (np.arange(20) < kept).astype(np.float32).reshape(4, 5)
    matrix = SparseColumns.from_dense(dense, "w")
    assert not matrix.is_full
    assert (matrix.bits is not None, matrix.listed is not None) == (is_noted, not is_noted)
    assert matrix.nnz == kept
    np.testing.assert_array_equal(matrix.dense(), dense)
    np.testing.assert_array_equal(matrix.rows, np.nonzero(dense.T)[1])


def test_bits_of_a_diagonal_are_not_more_than_a_list():
    """33 blocks of one full column: a list takes 4 bytes for each entry, bits 33 times an eighth."""
    for blocks, is_noted in ((32, True), (33, False)):
        tiles = [Tile(row=8 * i, column=i, dense=np.ones((8, 1), np.float32), where="w") for i in range(blocks)]
        matrix = tiled((8 * blocks, blocks), tiles)
        assert (matrix.bits is not None) == is_noted
        np.testing.assert_array_equal(matrix.rows, np.arange(8 * blocks))


@given(
    st.lists(st.integers(1, 5), min_size=1, max_size=3), st.lists(st.integers(1, 5), min_size=1, max_size=3), st.data()
)
def test_tiles_are_what_they_make_together(heights, widths, data):
    """Some left out, some of zeros, some lying in memory the other way round."""
    whole, tiles = np.zeros((sum(heights), sum(widths)), np.float32), []
    rng = np.random.default_rng(data.draw(st.integers(0, 99)))
    for row, height in zip(np.cumsum([0, *heights]), heights, strict=False):
        for column, width in zip(np.cumsum([0, *widths]), widths, strict=False):
            kind = data.draw(st.sampled_from(["full", "turned", "few", "zero", "none"]))
            if kind == "none":
                continue
            part = rng.integers(1, 9, (height, width)).astype(np.float32)
            part *= {"few": rng.random(part.shape) < 0.5, "zero": 0}.get(kind, 1)
            whole[row : row + height, column : column + width] = part
            part = np.asfortranarray(part) if kind == "turned" else part
            tiles.append(Tile(row=int(row), column=int(column), dense=part, where="w"))
    if tiles:
        assert_same(tiled(whole.shape, tiles), SparseColumns.from_dense(whole, "w"))


def test_a_tile_says_where_it_is_not_finite():
    bad = np.ones((2, 3), np.float32)
    bad[1, 2] = np.inf
    tile = Tile(row=4, column=5, dense=bad, where="hidden_weights", origin=5)
    with pytest.raises(ModelError, match=r"hidden_weights\[5, 2\] = inf: must be finite"):
        tiled((6, 8), [tile])


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
