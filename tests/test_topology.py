"""SCALE-Sim topologies as they exist: every way in which people write the same table."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import eie
from eie.errors import ModelError
from eie.importers.synthetic import draw_layer
from eie.importers.topology_table import read_table

CONV = "Layer name, IFMAP Height, IFMAP Width, Filter Height, Filter Width, Channels, Num Filter, Strides,"
GEMM = "Layer, M, N, K,"


@pytest.fixture
def loaded(tmp_path):
    def load(text, name="t.csv"):
        (tmp_path / name).write_text(text)
        return eie.load(tmp_path / name)

    return load


def facts(network):
    """What each layer is: name, matrix, products."""
    return [(layer.name, *layer.matrix.shape, network.trace.layers[layer.name].products) for layer in network.layers]


@pytest.mark.parametrize(
    "text",
    [
        f"{CONV}\nc, 8, 8, 3, 3, 2, 4, 1,\n",
        f"{CONV} ,\nc, 8, 8, 3, 3, 2, 4, 1, ,\n",
        f"{CONV}\nc, 8, 8, 3, 3, 2, 4, 1, , , ,\n",
        f"{CONV}\n\n,,,,,,,,\n   \nc, 8, 8, 3, 3, 2, 4, 1\n\n\n",
        f"{CONV}\n# remark, with, commas\nc, 8, 8, 3, 3, 2, 4, 1,\n",
        f"\ufeff{CONV}\r\nc, 8, 8, 3, 3, 2, 4, 1,\r\n",
        f"{CONV}\nc, 8, 8, 3, 3, 2, 4, 1,".replace(",", ";"),
        f"{CONV}\nc, 8, 8, 3, 3, 2, 4, 1,".replace(", ", "\t").replace(",", "\t"),
        "Layer name,Ifmap height,ifmap width,filter height,filter width,channels,num filter,stride height,stride width,"
        "\nc,8,8,3,3,2,4,1,1,\n",
        "Layer, IFMAP Width, IFMAP Width, Filter Height, Filter Width, Channels, Num Filter, Stride\nc,8,8,3,3,2,4,1",
        f"{CONV} Sparsity, Batch Size\nc, 8, 8, 3, 3, 2, 4, 1, 1:1, 1\n",
        f"{CONV} Sparsity,\nc, 8, 8, 3, 3, 2, 4, 1, 1,\n",
    ],
)
def test_the_same_convolution(loaded, text):
    network = loaded(text)
    assert facts(network) == [("c", 4, 18, 36)]
    assert network.notes == ()
    assert network.layers[0].weight_density == 1
    assert network.layers[0].synthetic
    assert network.trace.synthetic


@pytest.mark.parametrize(
    "head", ["Layer, M, N, K,", "L, M, N, K,", "Layer Name,M,N,K", "name;m;n;k;", "Layer\tM\tN\tK"]
)
def test_the_same_gemm(loaded, head):
    sign = next(sign for sign in ",;\t" if sign in head)
    assert facts(loaded(head + "\n" + sign.join(["a", "4", "5", "6", ""]))) == [("a", 5, 6, 4)]


def test_sizes_of_a_gemm_go_by_their_letters(loaded):
    assert facts(loaded("Layer, K, M, N\na, 6, 4, 5\n")) == facts(loaded("Layer, M, N, K\na, 4, 5, 6\n"))


def test_names_that_stand_twice_are_numbered(loaded):
    network = loaded(f"{GEMM}\na, 4, 5, 6,\na, 1, 2, 3,\na (2), 1, 1, 1,\na, 7, 7, 7,\n, 2, 2, 2,\n")
    assert [layer.name for layer in network.layers] == ["a", "a (3)", "a (2)", "a (4)", "layer 5"]
    assert facts(network)[1] == ("a (3)", 2, 3, 1)
    assert network.notes == (
        "layers numbered, since their names stand twice or not at all: 'a (3)', 'a (4)', 'layer 5'",
    )


@given(st.lists(st.sampled_from(["a", "b", "a (2)", "a (3)", "", "layer 1", "layer 2"]), min_size=1, max_size=12))
def test_numbered_names_always_differ(tmp_path_factory, names):
    file = tmp_path_factory.mktemp("t") / "t.csv"
    file.write_text("\n".join([GEMM, *(f"{name}, 1, 2, 3," for name in names)]))
    rows = read_table(file).rows
    assert len({row.name for row in rows}) == len(names)
    # The first of a name keeps it.
    assert {name for name in names if name} <= {row.name for row in rows}


def test_what_is_not_read_is_noted(loaded):
    network = loaded(f"{CONV.rstrip(',')},, Target\na,8,8,3,3,2,4,1, NPU\nb,8,8,3,3,2,4,1,#dw, x, stray\n")
    assert facts(network) == [("a", 4, 18, 36), ("b", 4, 18, 36)]
    assert network.notes == (
        "columns of the table not read: 'Target'",
        "cells of the table without a column not read: 'NPU', '#dw', 'stray'",
    )
    network = loaded(f"{GEMM}\nPart one,\na, 4, 5, 6,\n\nPart two\n{GEMM}\nb, 4, 5, 6,\n")
    assert facts(network) == [("a", 5, 6, 4), ("b", 5, 6, 4)]
    assert network.notes == ("lines of the table without sizes, taken as titles, not read: 'Part one', 'Part two'",)


def test_strides_down_and_across(loaded):
    network = loaded(f"{CONV.replace('Strides', 'Stride Height, Stride Width')}\nc, 9, 9, 3, 3, 1, 1, 1, 3,\n")
    assert facts(network) == [("c", 1, 9, 7 * 3)]
    assert network.layers[0].geometry.stride == (1, 3)
    # A window that hangs over the edge counts, in each direction by its own stride.
    network = loaded(f"{CONV.replace('Strides', 'Stride Height, Stride Width')}\nc, 30, 30, 3, 3, 3, 16, 1, 2,\n")
    assert facts(network) == [("c", 16, 27, 28 * 15)]


def test_batches(loaded):
    network = loaded(f"{CONV} Batch Size,\nc, 8, 8, 3, 3, 2, 4, 1, 5,\nd, 8, 8, 3, 3, 2, 4, 1, 1,\n")
    assert facts(network) == [("c", 4, 18, 180), ("d", 4, 18, 36)]
    assert network.notes == ("batches run as more products of the same weights: c x 5",)
    assert facts(loaded("Layer, M, N, K, Batch, Sparsity\na, 4, 5, 8, 3, 2:4\n")) == [("a", 5, 8, 12)]
    network = loaded(f"{GEMM}\na, 4, 5, 8, 3,\nb, 4, 5, 8, 2:4,\n")
    assert facts(network) == [("a", 5, 8, 12), ("b", 5, 8, 4)]
    assert network.layers[1].weight_density == 0.5
    assert network.notes[0] == "1 GEMMs have a number behind K, taken as their batch as SCALE-Sim takes it"
    # A convolution's ninth cell is no batch there.
    network = loaded(f"{CONV}\nc, 8, 8, 3, 3, 2, 4, 1, 2\n")
    assert facts(network) == [("c", 4, 18, 36)]
    assert network.notes == ("cells of the table without a column not read: '2'",)


def test_depthwise_by_its_name(loaded):
    layer = loaded(f"{CONV}\nDP_1, 8, 8, 3, 3, 6, 2, 1,\n").layers[0]
    assert layer.geometry.groups == 6
    assert (layer.geometry.dense_shape, layer.matrix.nnz) == ((12, 9), 12 * 9)


@given(
    outputs=st.integers(1, 40), inputs=st.integers(1, 70), pattern=st.tuples(st.integers(1, 8), st.integers(1, 8)),
    seed=st.integers(0, 99),
)  # fmt: skip
@settings(max_examples=60)
def test_n_of_each_m_inputs_are_kept(outputs, inputs, pattern, seed):
    n, m = min(pattern), max(pattern)
    rng = np.random.default_rng(seed)
    layer = draw_layer(name="l", shape=(outputs, inputs), density=(n, m), rng=rng, bias=False, relu=False)
    kept = layer.weights != 0
    for start in range(0, inputs, m):
        block = kept[:, start : start + m]
        assert (block.sum(axis=1) == min(n, block.shape[1])).all()


def test_patterns_are_drawn_evenly_and_in_slices(monkeypatch):
    def density():
        rng = np.random.default_rng(0)
        layer = draw_layer(name="l", shape=(300, 64), density=(2, 4), rng=rng, bias=False, relu=False)
        return (layer.weights != 0).mean(axis=0)

    whole = density()
    assert np.abs(whole - 0.5).max() < 0.15  # no place of a block is preferred
    monkeypatch.setattr("eie.importers.synthetic.SLICE_ELEMENTS", 1)
    assert density().sum() == whole.sum() == 32


def test_a_sparse_table_says_so(loaded):
    network = loaded("Layer Name, M, N, K, Sparsity,\ng, 3, 5, 16, 3:4,\ng, 1, 5, 16, 1:4,\nh, 1, 5, 16,\n")
    assert [layer.weight_density for layer in network.layers] == [0.75, 0.25, 1]
    assert network.notes[-1] == "N:M layers: of each M inputs of an output, N weights at places that are drawn"


def test_a_layer_does_not_change_with_its_neighbours(loaded):
    first = loaded(f"{GEMM} Sparsity\na, 1, 5, 16, 2:4\nb, 1, 6, 16, 2:4\n").layers[1].weights
    second = loaded(f"{GEMM} Sparsity\na, 1, 7, 36, 1:3\nb, 1, 6, 16, 2:4\n").layers[1].weights
    np.testing.assert_array_equal(first, second)


def test_layers_of_one_width_share_their_rows(loaded):
    network = loaded(f"{GEMM}\na, 4, 5, 6,\nb, 9, 5, 6,\n")
    bits = [network.trace.layers[name].bits for name in "ab"]
    assert np.shares_memory(*bits)
    assert [len(rows) for rows in bits] == [4, 9]
    result = eie.simulate(network)
    assert [layer.products for layer in result.layers] == [4, 9]


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        (f"{GEMM}\nonly a title\n", "no line below its header has sizes"),
        (f"{GEMM}\na, 4, B, 6,\n", "line 2: 'B': must be an integer >= 1"),
        (f"{GEMM}\na, 4, , 6,\n", "line 2: '': must be an integer >= 1"),
        (f"{GEMM} Batch,\na, 4, 5, 6, 0,\n", "line 2: '0': must be an integer >= 1"),
        (f"{GEMM} Sparsity,\na, 4, 5, 6, 4:2,\n", "sparsity '4:2': must be N:M"),
        (f"{GEMM} Sparsity,\na, 4, 5, 6, 0.5,\n", "sparsity '0.5': must be N:M"),
        (f"{CONV.replace('Strides', 'Steps')}\nc, 8, 8, 3, 3, 2, 4, 1,\n", "not a topology: the header must be"),
        ("layer,outputs,inputs,products,kind,groups,bias,cycles\na,1,1,1,linear,1,1,1\n", "not a topology"),
        ("Layer name, IFMAP Height Intraline Factor, IFMAP Width Intraline Factor,\nc, 2, 2,\n", "a SCALE-Sim layout"),
    ],
)
def test_tables_that_are_none(loaded, text, complaint):
    with pytest.raises(ModelError, match=complaint) as caught:
        loaded(text)
    assert "\n" not in str(caught.value)


def test_the_shared_tables(shared):
    folder = shared / "cases" / "tables"
    expected = {
        "conv10": [("Conv1", 16, 27, 28 * 15)], "hdr2": [("c", 4, 18, 36)], "hdr3": [("c", 4, 18, 36)],
        "dup": [("a", 5, 6, 4), ("a (2)", 5, 6, 4)], "sdup": [("g", 5, 16, 3), ("g (2)", 5, 16, 1)],
        "hdrL": [("a", 5, 6, 4)], "ragged": [("a", 4, 18, 36), ("b", 4, 18, 36)],
        "sect": [("a", 5, 6, 4), ("b", 5, 6, 4)], "semi": [("Conv1", 16, 27, 784)], "tab": [("Conv1", 16, 27, 784)],
    }  # fmt: skip
    assert {file.stem: facts(eie.load(file)) for file in folder.glob("*.csv")} == expected
