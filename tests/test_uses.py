"""A weight used n times: one layer with n uses, each of which costs what a copy would cost; the image is there once."""

from dataclasses import replace

import numpy as np
import onnx_models as models
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import eie
from eie.compiler.program import Program
from eie.compression.coding.size import size_report
from eie.compression.pruning.structure import readers, removable, shrinkable
from eie.errors import RecipeError, TraceError
from eie.importers.tied import Matrices, tie
from eie.model.graph import Graph, Node
from eie.model.recorded import recorded_of
from eie.model.uses import layer_of, numbered
from eie.recording.record import record
from eie.simulator.reference import run_given
from eie.studies.machines import shared

SPEC = eie.EIE_64PE.replace(n_pe=4)
# 1,600 entries a PE of a layer of `LARGE`, and room for 1,024.
TIGHT, LARGE = SPEC.replace(spmat_kib=1, ptr_kib=1, stream_kib=1), 80
SIDE = 8


def drawn(name, rng, *, side=SIDE, density=0.5, relu=True):
    weights = rng.standard_normal((side, side)) * (rng.random((side, side)) < density)
    weights[0, 0] = 1
    return eie.Layer.from_weights(name, weights, rng.standard_normal(side), relu=relu)


def chained(layers, steps, side=SIDE):
    graph = Graph.sequence("x", (side,), [("layer", step) for step in steps])
    return eie.Network(name="net", layers=tuple(layers), graph=graph)


def tied_and_copied(steps, rng, side=SIDE):
    """Return a network whose layers run as often as ``steps`` name them, and one with a copy for each use."""
    layers = {name: drawn(name, rng, side=side) for name in dict.fromkeys(steps)}
    copies = [replace(layers[step], name=f"copy{i}") for i, step in enumerate(steps)]
    tied = chained(layers.values(), steps, side)
    return tied, chained(copies, [layer.name for layer in copies], side)


STEPS = st.lists(st.sampled_from(["a", "b", "c"]), min_size=1, max_size=6)


@settings(deadline=None, max_examples=30)
@given(steps=STEPS, seed=st.integers(0, 1000), engine=st.sampled_from(["fast", "events"]), batch=st.integers(1, 3))
def test_uses_cost_and_compute_what_copies_do(steps, seed, engine, batch):
    rng = np.random.default_rng(seed)
    tied, copied = tied_and_copied(steps, rng)
    x = rng.standard_normal((3, SIDE))
    ours, theirs = (eie.simulate(net, x, spec=SPEC, engine=engine, batch=batch) for net in (tied, copied))
    np.testing.assert_array_equal(ours.sample_us, theirs.sample_us)
    for layer in ours.layers:
        copies = [theirs.layers[i] for i, step in enumerate(steps) if step == layer.name]
        assert layer.uses == len(copies)
        assert layer.products == len(copies)
        assert layer.activity.counts.keys() == copies[0].activity.counts.keys()
        for key, values in layer.activity.counts.items():
            np.testing.assert_array_equal(values, sum(copy.activity.counts[key] for copy in copies))
        for key, values in layer.activity.per_pe.items():
            np.testing.assert_array_equal(values, sum(copy.activity.per_pe[key] for copy in copies))
        for name, cycles in layer.pe_cycles.items():
            np.testing.assert_array_equal(cycles, sum(copy.pe_cycles[name] for copy in copies))
        assert layer.activity.walks.tolist() == sum(copy.activity.walks for copy in copies).tolist()
        # Each use has the number format that its copy has.
        for made, copy in zip(layer.computed_uses, copies, strict=True):
            assert made.activation_fraction_bits == copy.computed.activation_fraction_bits
            np.testing.assert_array_equal(made.fixed.raw, copy.computed.fixed.raw)
        np.testing.assert_array_equal(layer.outputs, copies[-1].outputs)
    # The image is there once.
    entries = {layer.name: layer.entries for layer in ours.memory.layers}
    assert entries == {step: theirs.memory.layers[i].entries for i, step in enumerate(steps)}
    assert ours.dense_us == pytest.approx(theirs.dense_us)
    assert ours.shares == theirs.shares
    for layer in ours.layers:
        assert layer.lower_bound_cycles <= layer.total_cycles


@pytest.mark.parametrize("engine", ["fast", "events"])
def test_a_streamed_layer_is_loaded_for_each_use(engine):
    rng = np.random.default_rng(0)
    layer = drawn("a", rng, side=LARGE, density=1.0)
    x = rng.standard_normal((1, LARGE))
    once, thrice = (
        eie.simulate(chained([layer], ["a"] * uses, LARGE), x, spec=TIGHT, engine=engine).layers[0] for uses in (1, 3)
    )
    assert once.place.place == thrice.place.place == "streamed"
    # All inputs are active the first time only; what comes is whole columns.
    weights = thrice.counts["dram_bits"] - thrice.counts["map_dram_bits"]
    assert weights > 1.5 * (once.counts["dram_bits"] - once.counts["map_dram_bits"])
    assert thrice.dense.dram_bytes > 2.5 * once.dense.dram_bytes
    assert (thrice.place.entries, thrice.place.kib) == (once.place.entries, once.place.kib)


def test_the_layer_that_is_used_more_often_stays():
    rng = np.random.default_rng(0)
    layers = [drawn(name, rng, side=LARGE, density=1.0) for name in ("a", "b")]
    spec = TIGHT.replace(spmat_kib=3, dram_gb_per_s=1)
    places = {
        steps: {layer.name: layer.place for layer in eie.compile(chained(layers, steps, LARGE), spec).memory.layers}
        for steps in ("abb", "aab")
    }
    assert places == {"abb": {"a": "streamed", "b": "resident"}, "aab": {"a": "resident", "b": "streamed"}}


def test_rows_and_files_say_how_often_only_where_it_says_something(tmp_path):
    rng = np.random.default_rng(0)
    tied, copied = tied_and_copied(["a", "b", "a"], rng)
    x = rng.standard_normal((2, SIDE))
    result, plain = (eie.simulate(net, x, spec=SPEC) for net in (tied, copied))
    assert [row["uses"] for row in result.records()] == [2, 1]
    assert "uses" in str(result)
    assert "uses" in str(tied)
    assert "uses" not in str(plain)
    assert all("uses" not in row for row in plain.records())
    text = result.to_csv()
    assert text.splitlines()[0].split(",")[-1] == "uses"
    result.to_json(tmp_path / "r.json")
    read = eie.compare(tmp_path / "r.json", ["dense", "systolic:4x4:ws"])
    assert read.to_csv() == eie.compare(result, ["dense", "systolic:4x4:ws"]).to_csv()
    (dense,) = (column for column in read.columns if column.machine.name == "dense:4")
    assert dense.costs["a"].latency_us == pytest.approx(result.layers[0].dense_us)


def test_a_trace_holds_a_row_a_use_and_drives_them(tmp_path):
    rng = np.random.default_rng(0)
    tied, _ = tied_and_copied(["a", "b", "a"], rng)
    trace = record(tied, eie.Samples.of(rng.standard_normal((3, SIDE))), values=True)
    assert list(trace.layers) == ["a", "b", "a#2"]
    trace.save(tmp_path / "t.npz")
    read = eie.Trace.load(tmp_path / "t.npz")
    driven = eie.simulate(tied, read, spec=SPEC)
    assert [layer.uses for layer in driven.layers] == [2, 1]
    alone = eie.simulate(tied.layers[0], eie.Trace(layers={"a": trace.layers["a#2"]}), spec=SPEC)
    np.testing.assert_array_equal(driven.layers[0].outputs, alone.layers[0].outputs)
    both = recorded_of(read, "a", {"a", "b"})
    assert (both.products, both.samples) == (2, 3)
    np.testing.assert_array_equal(both.mask[1::2], trace.layers["a#2"].mask)
    without = eie.Trace(layers={name: rows for name, rows in trace.layers.items() if name != "a#2"})
    with pytest.raises(TraceError, match="no activations for"):
        eie.simulate(tied, without, spec=SPEC)
    more = eie.Trace(layers={**trace.layers, "a#3": trace.layers["a"]})
    with pytest.raises(TraceError, match="trace names a#3: the network has x, a, b, a#2"):
        eie.simulate(tied, more, spec=SPEC)


def test_of_layers_without_a_graph_the_recording_knows_how_often_they_run():
    rng = np.random.default_rng(0)
    layers = (drawn("a", rng), drawn("b", rng))
    x = rng.standard_normal((2, SIDE))
    trace = eie.Trace(layers={name: eie.LayerTrace.from_dense(x) for name in ("a", "a#2", "b")})
    result = eie.simulate(eie.Network(name="n", layers=layers), trace, spec=SPEC)
    assert [layer.uses for layer in result.layers] == [2, 1]
    assert result.layers[0].cycles == 2 * eie.simulate(layers[0], x, spec=SPEC).layers[0].cycles


@pytest.mark.parametrize("suffix", [".npz", ".safetensors", ".eie"])
def test_files_hold_uses(tmp_path, suffix):
    rng = np.random.default_rng(0)
    tied, _ = tied_and_copied(["a", "b", "a"], rng)
    if suffix == ".eie":
        tied = shared(tied, 4)
    eie.save(tied, tmp_path / f"m{suffix}")
    read = eie.load(tmp_path / f"m{suffix}")
    assert [layer.name for layer in read.layers] == ["a", "b"]
    assert list(read.graph.uses) == ["a", "b", "a#2"]
    program = eie.compile(read, SPEC)
    program.save(tmp_path / "p.safetensors")
    again = Program.load(tmp_path / "p.safetensors")
    assert again.content_hash == program.content_hash
    x = rng.standard_normal((2, SIDE))
    np.testing.assert_array_equal(eie.simulate(again, x).sample_us, eie.simulate(read, x, spec=SPEC).sample_us)


def test_sweeps_add_uses_up():
    rng = np.random.default_rng(0)
    tied, copied = tied_and_copied(["a", "b", "a"], rng)
    x = rng.standard_normal((2, SIDE))
    ours, theirs = (eie.sweep(net, {"act_queue_depth": [2, 8]}, trace=x, spec=SPEC) for net in (tied, copied))
    for our, their in zip(ours.totals, theirs.totals, strict=True):
        assert our["latency_us"] == their["latency_us"]
        assert our["energy_activity_nj"] == pytest.approx(their["energy_activity_nj"])
        assert our["products"] == 3


def test_structured_pruning_leaves_layers_with_several_uses_alone():
    tied, _ = tied_and_copied(["a", "b", "a", "c"], np.random.default_rng(0))
    with pytest.raises(RecipeError, match="'a' runs 2 times on its weights"):
        readers(tied, "b")
    assert shrinkable(tied) == ()
    assert removable(tied) == ("b", "c")


def onnx_of(tmp_path, *, transposed=False, biases=(None, None), relus=(False, False)):
    """Write two products by one matrix, the second through a Transpose of its transpose."""
    rng = np.random.default_rng(0)
    w = rng.standard_normal((5, 5)).astype(np.float32)
    arrays, nodes, at = {"w": w, "wt": np.ascontiguousarray(w.T)}, [], "x"
    for i, (bias, relu) in enumerate(zip(biases, relus, strict=True)):
        weight = "w"
        if i and transposed:
            nodes.append(models.node("Transpose", ["wt"], ["back"], perm=[1, 0]))
            weight = "back"
        nodes.append(models.node("MatMul", [at, weight], [f"m{i}"], f"n{i}"))
        at = f"m{i}"
        if bias is not None:
            arrays[f"b{i}"] = np.full(5, bias, np.float32)
            nodes.append(models.node("Add", [at, f"b{i}"], [f"s{i}"]))
            at = f"s{i}"
        if relu:
            nodes.append(models.node("Relu", [at], [f"r{i}"]))
            at = f"r{i}"
    proto = models.model(nodes, {"x": ["n", 5]}, {at: ["n", 5]}, arrays)
    return models.saved(proto, tmp_path / "m.onnx"), w


@pytest.mark.parametrize("transposed", [False, True])
@pytest.mark.parametrize(
    ("biases", "relus", "ops"),
    [
        ((None, None), (True, True), ["layer", "layer"]),
        ((1, 1), (False, False), ["layer", "layer"]),
        ((1, 2), (True, False), ["layer", "add", "relu", "layer", "add"]),
        ((None, 2), (False, True), ["layer", "layer", "add", "relu"]),
    ],
)
def test_onnx_products_by_one_matrix_are_one_layer(tmp_path, transposed, biases, relus, ops):
    path, w = onnx_of(tmp_path, transposed=transposed, biases=biases, relus=relus)
    net = eie.load(path)
    assert [layer.matrix.nnz for layer in net.layers] == [25]
    assert [node.op for node in net.graph.nodes] == ops
    x = np.random.default_rng(1).standard_normal((3, 5)).astype(np.float32)
    wanted = x
    for bias, relu in zip(biases, relus, strict=True):
        wanted = wanted @ w + (bias or 0)
        wanted = np.maximum(wanted, 0) if relu else wanted
    (made,) = run_given(net.graph, {layer.name: layer for layer in net.layers}, {"x": x})
    np.testing.assert_allclose(made, wanted, rtol=1e-4, atol=1e-4)
    trace = record(path, eie.Samples.of(x), values=True)
    assert list(trace.layers) == list(net.graph.uses) == [net.layers[0].name, f"{net.layers[0].name}#2"]
    assert eie.simulate(net, trace, spec=SPEC).layers[0].uses == 2


def test_one_linear_used_three_times(tmp_path):
    rng = np.random.default_rng(0)
    arrays = {"l.weight": (8, 8), "l.bias": (8,), "o.weight": (3, 8), "o.bias": (3,)}
    nodes, at = [], "x"
    for i in range(3):
        nodes.append(models.node("Gemm", [at, "l.weight", "l.bias"], [f"g{i}"], f"g{i}", transB=1))
        nodes.append(models.node("Relu", [f"g{i}"], [f"r{i}"]))
        at = f"r{i}"
    nodes.append(models.node("Gemm", [at, "o.weight", "o.bias"], ["y"], "last", transB=1))
    weights = {name: rng.standard_normal(shape).astype(np.float32) for name, shape in arrays.items()}
    net = eie.load(models.saved(models.model(nodes, {"x": ["n", 8]}, {"y": ["n", 3]}, weights), tmp_path / "m.onnx"))
    assert sum(layer.matrix.nnz for layer in net.layers) == 88
    assert {name: len(uses) for name, uses in net.graph.uses_by_layer.items()} == {"l": 3, "o": 1}
    assert size_report(shared(net, 4)).total.weights == 88


@pytest.mark.torch
def test_torch_modules_that_run_or_share_several_times():
    torch = pytest.importorskip("torch", reason="needs the torch extra")
    nn = torch.nn
    linear, other = nn.Linear(4, 4), nn.Linear(4, 4)
    other.weight = linear.weight
    module = nn.Sequential(linear, nn.ReLU(), linear, other)
    x = torch.randn(5, 4)
    trace = eie.record_torch(module, x.numpy(), values=True, batch=2)
    assert list(trace.layers) == ["0", "0#2", "0#3"]
    second = torch.relu(linear(x)).detach()
    np.testing.assert_allclose(trace.layers["0#2"].dense(), second, atol=1e-6)
    np.testing.assert_allclose(trace.layers["0#3"].dense(), linear(second).detach(), atol=1e-6)
    assert not trace.unmodelled


def test_names_of_uses():
    assert numbered(["a", "b", "a"]) == ["a", "b", "a#2"]
    assert layer_of("a#2", {"a", "b"}) == "a"
    # A layer's own name goes first, and only what `numbered` writes is a use.
    assert layer_of("a#2", {"a", "a#2"}) == "a#2"
    assert [layer_of(name, {"a"}) for name in ("a#1", "a#02", "a#", "#2", "b#2", "a#²")] == [None] * 6


def test_only_what_is_equal_is_tied():
    rng = np.random.default_rng(0)
    first = drawn("a", rng)
    turned = eie.Layer.from_weights("b", first.weights.T.copy())
    nearly = eie.Layer.from_weights("c", np.where(np.arange(64).reshape(8, 8) == 63, 9.0, first.weights))
    nodes = tuple(Node(op="layer", inputs=("x",), outputs=(name,), layer=name) for name in "abc")
    assert tie([first, turned, nearly], nodes, {}).names == {}
    known = Matrices()
    assert known.of(first.matrix) is known.of(drawn("d", np.random.default_rng(0)).matrix)
