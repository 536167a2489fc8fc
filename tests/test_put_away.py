"""Matrices put away while others are made: the same when they are read again, and never larger."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

import eie
from eie.machines import measured
from eie.machines.workload import LayerWork, Workload
from eie.model.matrix import SparseColumns


def matrix_of(seed, rows, columns, density):
    rng = np.random.default_rng(seed)
    return SparseColumns.from_dense(
        np.where(rng.random((rows, columns)) < density, rng.integers(1, 200, (rows, columns)), 0).astype(np.uint8), "w"
    )


def size_of(matrix):
    return matrix.rows.nbytes if matrix.bits is None else matrix.bits.nbytes


def is_noted(matrix):
    """Whether nothing but bits says which rows there are."""
    return matrix.bits is not None and matrix.listed is None and "rows" not in vars(matrix)


# Rows around whole bytes, and empty columns among full ones.
@given(st.integers(0, 2**32 - 1), st.integers(1, 40), st.integers(1, 12), st.sampled_from([0, 0.01, 0.1, 0.5, 1]))
def test_what_is_put_away_comes_back(seed, rows, columns, density):
    matrix = matrix_of(seed, rows, columns, density)
    away = again = matrix.put_away()
    assert "rows" not in vars(away)
    least = size_of(away)
    assert again.shape == matrix.shape
    for name in ("starts", "rows", "data"):
        before, after = getattr(matrix, name), getattr(again, name)
        np.testing.assert_array_equal(after, before)
        assert after.dtype == before.dtype
        assert not after.flags.writeable
    assert least <= size_of(matrix)


def test_bits_are_taken_where_they_are_less():
    # 64 x 64 places are 512 bytes of bits: row numbers take less up to 127 of them.
    dense = np.zeros(64 * 64, np.uint8)
    dense[:128] = 1
    assert not is_noted(SparseColumns.from_dense(dense.reshape(64, 64), "w").put_away())
    dense[128] = 1
    assert is_noted(SparseColumns.from_dense(dense.reshape(64, 64), "w").put_away())


def test_a_workload_put_away_is_measured_on_the_same_weights():
    matrix = matrix_of(0, 40, 30, 0.5)
    layer = LayerWork(name="a", outputs=40, inputs=30, kept_weights=matrix.nnz, matrix=matrix)
    away = Workload("w", (layer, LayerWork(name="b", outputs=2, inputs=2))).put_away()
    assert is_noted(away.layers[0].matrix)
    assert away.layers[1].columns is None
    rng = np.random.default_rng(0)
    np.testing.assert_array_equal(measured._dense(away.layers[0], rng), matrix.dense())
    np.testing.assert_array_equal(measured._sparse(away.layers[0], "csr", rng).toarray(), matrix.dense())


def test_a_study_keeps_no_forms_row_numbers(monkeypatch):
    """Forms wait for the last one as bits: as they run, they were the largest part of a study's memory."""
    waiting = []
    together = measured.run_together
    monkeypatch.setattr(measured, "run_until_known", lambda tasks, *_: waiting.extend(tasks) or together(tasks, 1))
    network = eie.Network.of(eie.Layer.from_weights("fc", np.random.default_rng(0).standard_normal((40, 30))))
    # `check` measures a probe, too: one of four weights.
    eie.granularity(network, ["fine:0.5"], ["measured:dense"], with_search=False)
    layers = [layer for task in waiting for layer in task.workload.layers if layer.name == "fc"]
    assert [is_noted(layer.matrix) for layer in layers] == [True] * 2
