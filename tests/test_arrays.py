"""Arrays as callers have them: scipy's sparse ones, masked ones, ml_dtypes, numpy's scalars."""

import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import eie
from eie.errors import ModelError, SpecError, TraceError
from eie.model.matrix import SparseColumns
from eie.sweeps.vary import check_vary

sparse = pytest.importorskip("scipy.sparse")
FORMATS = ("csr", "csc", "coo", "bsr", "dia", "lil", "dok")
RNG = np.random.default_rng(0)
DENSE = np.where(RNG.random((6, 9)) < 0.3, RNG.standard_normal((6, 9)), 0).astype(np.float32)


def same(one, other):
    assert one.matrix.shape == other.matrix.shape
    for name in ("starts", "rows", "data"):
        np.testing.assert_array_equal(getattr(one.matrix, name), getattr(other.matrix, name))
    assert one.geometry == other.geometry


@pytest.mark.parametrize("kind", ["matrix", "array"])
@pytest.mark.parametrize("form", FORMATS)
def test_every_format_of_scipy_is_the_dense_layer(form, kind):
    matrix = getattr(sparse, f"{form}_{kind}")(DENSE)
    same(eie.Layer.from_weights("w", matrix, np.ones(6)), eie.Layer.from_weights("w", DENSE, np.ones(6)))
    rows = getattr(sparse, f"{form}_{kind}")(np.abs(DENSE))
    layer = eie.Layer.from_weights("w", np.ones((2, 9)))
    assert eie.simulate(layer, rows).to_csv() == eie.simulate(layer, np.abs(DENSE)).to_csv()


@given(st.integers(1, 12), st.integers(1, 12), st.integers(0, 2**32 - 1))
@settings(max_examples=50)
def test_lists_of_entries_in_any_order(rows, columns, seed):
    rng = np.random.default_rng(seed)
    count = int(rng.integers(0, 40))
    places = rng.integers(0, rows, count), rng.integers(0, columns, count)
    values = rng.integers(-2, 3, count).astype(np.float64)  # zeros, and what cancels
    matrix = sparse.coo_array((values, places), shape=(rows, columns))
    before = matrix.data.copy(), matrix.nnz
    taken = SparseColumns.from_sparse(matrix, "w")
    expected = SparseColumns.from_dense(matrix.toarray().astype(np.float32), "w")
    for name in ("starts", "rows", "data"):
        np.testing.assert_array_equal(getattr(taken, name), getattr(expected, name))
    assert matrix.nnz == before[1]
    np.testing.assert_array_equal(matrix.data, before[0])


def test_a_callers_matrix_stays_as_it_is():
    # Columns with a place twice, not in order: adding up in place would change it.
    matrix = sparse.csc_array((np.array([1.0, 2, 4]), np.array([1, 0, 1]), np.array([0, 3])), shape=(2, 1))
    assert eie.Layer.from_weights("w", matrix).weights.tolist() == [[2], [5]]
    assert matrix.data.tolist() == [1, 2, 4]


def test_what_is_sparse_stays_so():
    # Fewer columns than rows: each has pointers of 64 PEs.
    rows, columns, count = 400_000, 25_000, 100_000
    places = np.stack((RNG.integers(0, rows, count), RNG.integers(0, columns, count)))
    matrix = sparse.coo_array((np.ones(count), tuple(places)), shape=(rows, columns))  # dense: 40 GB of float32
    layer = eie.Layer.from_weights("big", matrix)
    assert layer.matrix.shape == (rows, columns)
    assert layer.matrix.nnz == len(np.unique(places, axis=1).T)
    words = sparse.random_array((50, columns), density=1e-4, rng=1, format="csr")
    result = eie.simulate(layer, words, datapath="none")
    assert result.samples == 50
    with pytest.raises(ModelError, match=r"layer 'b': bias: sparse, of shape \(1000000, 1000000\): at most"):
        eie.Layer.from_weights("b", np.ones((2, 2)), sparse.csr_array((10**6, 10**6)))


def test_convolutions_codes_and_lstms_may_be_sparse():
    kernel = np.where(RNG.random((4, 3, 2, 2)) < 0.5, RNG.standard_normal((4, 3, 2, 2)), 0)
    conv = eie.Conv2d(in_channels=3, out_channels=4, kernel=(2, 2), stride=(2, 1))
    expected = eie.Layer.from_conv("c", kernel, conv=conv)
    same(eie.Layer.from_conv("c", sparse.csr_array(kernel.reshape(4, -1)), conv=conv), expected)
    same(eie.Layer.from_conv("c", sparse.coo_array(kernel), conv=conv), expected)
    same(eie.Layer.from_conv("c", sparse.coo_array(kernel)), eie.Layer.from_conv("c", kernel))
    with pytest.raises(ModelError, match=r"shape \(4, 12\): must be \(out, in / groups, kh, kw\)"):
        eie.Layer.from_conv("c", sparse.csr_array(kernel.reshape(4, -1)))
    with pytest.raises(ModelError, match=r"weights has shape \(4, 6\)"):
        eie.Layer.from_conv("c", sparse.csr_array(np.ones((4, 6))), conv=conv)
    codes = RNG.integers(0, 3, (5, 7))
    book = [0, 0.5, -1]
    same(eie.Layer.from_codes("k", sparse.csr_array(codes), book), eie.Layer.from_codes("k", codes, book))
    with pytest.raises(ModelError, match="codes holds 2: must be 0 to 1"):
        eie.Layer.from_codes("k", sparse.csr_array(codes), [0, 1])
    x, h = RNG.standard_normal((8, 3)), np.where(RNG.random((8, 2)) < 0.5, 1.0, 0)
    same(eie.Layer.from_lstm("l", x, sparse.csc_array(h)), eie.Layer.from_lstm("l", x, h))


@pytest.mark.parametrize(
    ("matrix", "text"),
    [
        (sparse.csr_array([[1.0, np.nan]]), r"layer 'w': weights\[0, 1\] = nan: must be finite"),
        (sparse.csr_array([[1e39, 1.0]]), r"weights\[0, 0\] = inf"),
        (sparse.csr_array([[1j]]), "dtype complex128: must be numbers"),
        (sparse.coo_array(np.ones(3)), r"weights has shape \(3,\): must be \(outputs, inputs\)"),
        (sparse.csr_array((0, 3)), "an empty layer"),
    ],
)
def test_sparse_weights_that_cannot_be_used(matrix, text):
    with pytest.raises(ModelError, match=text):
        eie.Layer.from_weights("w", matrix)


def test_small_numbers_vanish_in_float32_as_dense_ones_do():
    matrix = np.array([[1e-60, 1.0]])
    same(eie.Layer.from_weights("w", sparse.csr_array(matrix)), eie.Layer.from_weights("w", matrix))


def test_masked_elements_are_pruned():
    mask = DENSE < 0
    masked = np.ma.masked_array(DENSE, mask)
    pruned = np.where(mask, 0, DENSE)
    same(eie.Layer.from_weights("w", masked), eie.Layer.from_weights("w", pruned))
    kernel = np.ma.masked_less(RNG.standard_normal((2, 3, 2, 2)), 0)
    same(eie.Layer.from_conv("c", kernel), eie.Layer.from_conv("c", kernel.filled(0)))
    layer = eie.Layer.from_weights("w", np.ones((2, 9)), np.ma.masked_array([1.0, np.nan], [False, True]))
    assert layer.bias.tolist() == [1, 0]
    assert eie.simulate(layer, masked).to_csv() == eie.simulate(layer, pruned).to_csv()
    assert eie.Samples.of(masked).values.tolist() == pruned.tolist()


def test_ml_dtypes_are_widened():
    types = pytest.importorskip("ml_dtypes")
    for name in ("bfloat16", "float8_e4m3fn", "float8_e5m2", "float8_e4m3fnuz"):
        narrow = DENSE.astype(getattr(types, name))
        wide = narrow.astype(np.float32)
        assert (wide != DENSE).any()
        same(eie.Layer.from_weights("w", narrow), eie.Layer.from_weights("w", wide))
        layer = eie.Layer.from_weights("w", np.ones((2, 9)), wide[:2, 0])
        same(layer, eie.Layer.from_weights("w", np.ones((2, 9)), narrow[:2, 0]))
        assert eie.simulate(layer, narrow).to_csv() == eie.simulate(layer, wide).to_csv()
    codes = np.array([[0, 1], [3, 0]])
    same(eie.Layer.from_codes("k", codes.astype(types.uint4), range(4)), eie.Layer.from_codes("k", codes, range(4)))
    with pytest.raises(ModelError, match="must be numbers"):
        eie.Layer.from_weights("w", np.zeros((2, 2), "V4"))


def test_activations_that_are_no_numbers():
    layer = eie.Layer.from_weights("w", np.ones((2, 9)))
    for bad in (sparse.csr_array(np.ones((1, 9), complex)), np.full((1, 9), "a")):
        with pytest.raises(TraceError, match="must be numbers"):
            eie.simulate(layer, bad)
    with pytest.raises(TraceError, match="holds NaN"):
        eie.simulate(layer, sparse.csr_array(np.full((1, 9), np.nan)))
    with pytest.raises(TraceError, match="3 rows: must be a multiple of 2 products"):
        eie.LayerTrace.from_dense(sparse.csr_array(np.ones((3, 9))), products=2)


def test_numpy_numbers_are_spec_values():
    changes = {
        "n_pe": np.int64(8),
        "clock_mhz": np.float32(400),
        "index_bits": np.array(3),
    }
    spec = eie.EIE_64PE.replace(**changes)
    assert spec == eie.EIE_64PE.replace(n_pe=8, clock_mhz=400.0, index_bits=3)
    assert [type(getattr(spec, name)) for name in changes] == [int, float, int]
    assert eie.AcceleratorSpec(n_pe=np.uint8(4)).n_pe == 4
    with pytest.warns(FutureWarning, match="enforce_capacity"):
        assert eie.EIE_64PE.replace(enforce_capacity=np.False_).residency == "ideal"
    for wrong in (np.float64(8), np.array([8]), np.str_("8"), np.complex128(8)):
        with pytest.raises(SpecError, match=r"spec\.n_pe=.*: must be an integer"):
            eie.EIE_64PE.replace(n_pe=wrong)
    # Words, as an f-string makes them of numpy's values.
    words = [f"{name}={value}" for name, value in changes.items()]
    assert eie.load_spec("EIE_64PE", words) == spec


def test_numpy_numbers_are_sweep_values():
    vary = {
        "n_pe": np.arange(1, 4),
        "clock_mhz": np.linspace(1, 2, 2),
        "act_queue_depth": np.array(4),
        "index_bits": np.int8(3),
        "residency": np.array(["auto", "ideal"]),
    }
    assert check_vary(vary) == {
        "n_pe": (1, 2, 3),
        "clock_mhz": (1.0, 2.0),
        "act_queue_depth": (4,),
        "index_bits": (3,),
        "residency": ("auto", "ideal"),
    }
    swept = eie.sweep((eie.Layer.from_weights("w", DENSE), np.ones(9)), {"n_pe": np.array([1, 2])}, spec=eie.EIE_64PE)
    assert [row["n_pe"] for row in swept.totals] == [1, 2]


def test_neither_scipy_nor_ml_dtypes_has_to_be_there():
    code = (
        "import sys; sys.modules |= {'scipy': None, 'ml_dtypes': None}; import numpy, eie;"
        "print(eie.simulate(eie.Layer.from_weights('w', numpy.ones((2, 2))), numpy.ones(2)).samples)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "1"
