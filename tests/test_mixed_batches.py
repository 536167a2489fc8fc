"""Files whose samples mix are said to: a stated batch is then one sample, of an open one each runs alone."""

import numpy as np
import pytest

import eie
from eie.model.dataflow import dataflow
from eie.model.samples import Samples
from eie.recording.record import record
from eie.simulator.reference import run_given

pytest.importorskip("onnx", reason="needs the onnx extra")
ort = pytest.importorskip("onnxruntime", reason="needs the onnx extra")

import onnx_models as make  # noqa: E402

RNG = np.random.default_rng(0)
WEIGHTS = {"fc.weight": make.drawn(RNG, 6, 6), "out.weight": make.drawn(RNG, 6, 4), "first": np.array([0])}


def saved(tmp_path, nodes, *, shape=("n", 6), extra=None, weights=WEIGHTS):
    path = tmp_path / "net.onnx"
    path.write_bytes(make.model(nodes, {"x": shape}, {"y": None}, weights | (extra or {})).SerializeToString())
    return path


def between(*nodes):
    """A layer, whatever turns h into s, a layer."""
    return [
        make.node("MatMul", ["x", "fc.weight"], ["h"], "fc"),
        *nodes,
        make.node("MatMul", ["s", "out.weight"], ["y"], "out"),
    ]


def in_onnxruntime(path, x):
    (y,) = ort.InferenceSession(str(path), providers=["CPUExecutionProvider"]).run(None, {"x": x})
    return y


def as_read(network, x):
    layers = {layer.name: layer for layer in network.layers}
    (y,) = run_given(dataflow(network), layers, {"x": x})
    return y


def samples(*shape):
    return np.random.default_rng(1).standard_normal(shape).astype(np.float32)


# What turns h (samples, 6) into s, so that each row hangs on several samples; and what it needs beside.
MIXED = {
    "mean": ([make.node("ReduceMean", ["h", "first"], ["m"]), make.node("Sub", ["h", "m"], ["s"])], {}),
    "softmax over samples": ([make.node("Softmax", ["h"], ["s"], axis=0)], {}),
    "sums over samples": ([make.node("CumSum", ["h", "zero"], ["s"])], {"zero": np.array(0)}),
    "behind a layer of its own": (
        [
            make.node("ReduceMean", ["h", "first"], ["m"]),
            make.node("MatMul", ["h", "fc.weight"], ["g"], "second"),
            make.node("Sub", ["g", "m"], ["s"]),
        ],
        {},
    ),
    # Operators of ours, and no host: the batch is taken to be where it is not.
    "one row of all": (
        [
            make.node("Reshape", ["h", "row"], ["r"]),
            make.node("Softmax", ["r"], ["e"], axis=-1),
            make.node("Reshape", ["e", "rows"], ["s"]),
        ],
        {"row": np.array([1, -1]), "rows": np.array([-1, 6])},
    ),
    "flattened before its first axis": (
        [
            make.node("Flatten", ["h"], ["r"], axis=0),
            make.node("Softmax", ["r"], ["e"], axis=-1),
            make.node("Reshape", ["e", "rows"], ["s"]),
        ],
        {"rows": np.array([-1, 6])},
    ),
}
# The same, but each row hangs on one sample.
APART = {
    "mean within": ([make.node("ReduceMean", ["h", "last"], ["m"]), make.node("Sub", ["h", "m"], ["s"])], {}),
    "softmax within": ([make.node("Softmax", ["h"], ["s"], axis=-1)], {}),
    "merged and parted again": (
        [
            make.node("Reshape", ["h", "pairs"], ["p"]),
            make.node("Elu", ["p"], ["e"]),
            make.node("Reshape", ["e", "rows"], ["s"]),
        ],
        {"pairs": np.array([-1, 2]), "rows": np.array([-1, 6])},
    ),
    "attention within, shapes made of the batch": (
        [
            make.node("Shape", ["h"], ["sizes"]),
            make.node("Gather", ["sizes", "first"], ["many"]),
            make.node("Concat", ["many", "rest"], ["heads"], axis=0),
            make.node("Reshape", ["h", "heads"], ["split"]),
            make.node("Transpose", ["split"], ["keys"], perm=[0, 2, 1]),
            make.node("MatMul", ["split", "keys"], ["scores"]),
            make.node("Softmax", ["scores"], ["shares"], axis=-1),
            make.node("MatMul", ["shares", "split"], ["mixed"]),
            make.node("Reshape", ["mixed", "sizes"], ["s"]),
        ],
        {"rest": np.array([3, 2])},
    ),
    "random numbers": ([make.node("RandomNormalLike", ["h"], ["r"]), make.node("Add", ["h", "r"], ["s"])], {}),
    "steps on a merged axis": (
        [
            make.node("Transpose", ["h"], ["t"], perm=[1, 0]),
            make.node("Elu", ["t"], ["e"]),
            make.node("Transpose", ["e"], ["s"], perm=[1, 0]),
        ],
        {},
    ),
}
APART["mean within"][1]["last"] = np.array([-1])


@pytest.mark.parametrize("kind", sorted(MIXED))
def test_of_an_open_batch_each_sample_runs_alone_and_the_network_says_so(kind, tmp_path):
    nodes, extra = MIXED[kind]
    path, x = saved(tmp_path, between(*nodes), extra=extra), samples(3, 6)
    network = eie.load(path)
    (said,) = [note for note in network.notes if "mixes the samples of a batch: each is run alone" in note]
    # By the first node whose result is mixed.
    assert repr(next(node.name for node in nodes if node.op_type not in ("Reshape", "Flatten", "MatMul"))) in said
    alone = np.concatenate([in_onnxruntime(path, x[i : i + 1]) for i in range(3)])
    np.testing.assert_allclose(as_read(network, x), alone, atol=1e-6)
    assert abs(in_onnxruntime(path, x) - alone).max() > 1e-3


@pytest.mark.parametrize("kind", sorted(set(MIXED) - {"one row of all", "flattened before its first axis"}))
def test_a_stated_batch_is_one_sample(kind, tmp_path):
    nodes, extra = MIXED[kind]
    path, x = saved(tmp_path, between(*nodes), shape=(3, 6), extra=extra), samples(3, 6)
    network = eie.load(path)
    assert network.graph.inputs == (("x", (3, 6)),)
    assert any("all 3 that the file states are one sample" in note for note in network.notes)
    np.testing.assert_allclose(as_read(network, x[None])[0], in_onnxruntime(path, x), atol=1e-6)


@pytest.mark.parametrize("batch", ["n", 3])
@pytest.mark.parametrize("kind", sorted(APART))
def test_what_keeps_samples_apart_is_as_it_was(kind, batch, tmp_path):
    nodes, extra = APART[kind]
    path, x = saved(tmp_path, between(*nodes), shape=(batch, 6), extra=extra), samples(3, 6)
    network = eie.load(path)
    assert network.graph.inputs == (("x", (6,)),)
    assert not any("batch" in note for note in network.notes)
    if kind != "random numbers":
        np.testing.assert_allclose(as_read(network, x), in_onnxruntime(path, x), atol=1e-6)


def test_of_a_batch_of_one_there_is_nothing_to_mix(tmp_path):
    network = eie.load(saved(tmp_path, between(*MIXED["mean"][0]), shape=(1, 6)))
    assert network.graph.inputs == (("x", (6,)),)
    assert network.notes == ()


@pytest.mark.parametrize("batch", ["n", 3])
def test_what_mixes_behind_the_last_layer_is_left_out_and_nothing_else_changes(batch, tmp_path):
    nodes = [
        make.node("MatMul", ["x", "fc.weight"], ["h"], "fc"),
        make.node("ReduceMean", ["h", "first"], ["y"]),
    ]
    network = eie.load(saved(tmp_path, nodes, shape=(batch, 6)))
    assert network.graph.inputs == (("x", (6,)),)
    assert not any("mixes" in note for note in network.notes)


def test_an_output_of_ours_that_is_mixed_is_said_to_be(tmp_path):
    nodes = [
        make.node("MatMul", ["x", "fc.weight"], ["h"], "fc"),
        make.node("Reshape", ["h", "row"], ["r"]),
        make.node("Softmax", ["r"], ["y"], "all", axis=-1),
    ]
    network = eie.load(saved(tmp_path, nodes, extra={"row": np.array([1, -1])}))
    assert any("node 'all' (Softmax) mixes the samples of a batch" in note for note in network.notes)


def recurrent(tmp_path, shape):
    """An LSTM behind an operator, so that nothing at the input says where its time is."""
    rng = np.random.default_rng(0)
    weights = {"w": make.drawn(rng, 1, 28, 6, density=1), "r": make.drawn(rng, 1, 28, 7, density=1)}
    nodes = [
        make.node("Elu", ["x"], ["e"]),
        make.node("LSTM", ["e", "w", "r"], ["y"], "rnn", hidden_size=7),
    ]
    return saved(tmp_path, nodes, shape=shape, weights=weights)


def test_time_before_the_batch_behind_an_operator(tmp_path):
    path, x = recurrent(tmp_path, ("t", "n", 6)), samples(4, 5, 6)
    network = eie.load(path, input_shape=(5, 6))
    assert network.graph.inputs == (("x", (5, 6)),)
    assert any("time stands before the batch" in note and "'rnn' (LSTM)" in note for note in network.notes)
    # (samples, time, ...) where the file has (time, directions, samples, ...).
    expected = np.moveaxis(in_onnxruntime(path, x.swapaxes(0, 1)), 2, 0)
    np.testing.assert_allclose(as_read(network, x).reshape(expected.shape), expected, atol=1e-6)


def test_a_trace_and_the_network_agree_on_time_before_the_batch(tmp_path):
    path, x = recurrent(tmp_path, ("t", "n", 6)), samples(4, 5, 6)
    trace = record(path, Samples.of(x), values=True)
    result = eie.simulate(eie.load(path, input_shape=trace.input_shapes), x, spec=eie.EIE_64PE.replace(n_pe=4))
    assert trace.layers["rnn"].products == 5
    assert result.layers[0].products == 5


def test_a_trace_of_a_mixed_batch_is_of_one_sample(tmp_path):
    path, x = saved(tmp_path, between(*MIXED["mean"][0]), shape=(3, 6)), samples(2, 3, 6)
    layer = record(path, Samples.of(x), values=True).layers["out"]
    assert (layer.samples, layer.products) == (2, 3)


@pytest.mark.parametrize(
    ("shape", "sample"),
    # All of a table beside a batch of any size, whatever its rank; the same batch stated here and left open there; one.
    [((4, 6), (4, 6)), ((2, 6), (2, 6)), ((3, 4, 6), (4, 6)), ((1, 4, 6), (4, 6)), ((1, 6), (6,))],
    ids=str,
)
@pytest.mark.parametrize("joined", ["Add", "MatMul and Mul"])
def test_all_sizes_stated_beside_an_open_batch(tmp_path, shape, sample, joined):
    """Which axis is the batch of an input of stated sizes is told by whether the file runs with other batches."""
    own = [make.node("MatMul", ["t", "fc.weight"], ["u"], "own")] if joined != "Add" else []
    last = make.node(joined.split()[-1], ["h", "u" if own else "t"], ["s"])
    (tmp_path / "net.onnx").write_bytes(
        make.model(
            between(*own, last), {"x": ("n", sample[0] if len(sample) > 1 else 1, 6), "t": shape}, {"y": None}, WEIGHTS
        ).SerializeToString()
    )
    network = eie.load(tmp_path / "net.onnx")
    assert dict(dataflow(network).inputs)["t"] == sample
    x, t = samples(3, *dict(dataflow(network).inputs)["x"]), samples(*shape)
    session = ort.InferenceSession(str(tmp_path / "net.onnx"), providers=["CPUExecutionProvider"])
    (right,) = session.run(None, {"x": x, "t": t})
    layers = {layer.name: layer for layer in network.layers}
    fed = t if shape[0] == 3 else np.broadcast_to(t.reshape(sample), (3, *sample))
    (made,) = run_given(dataflow(network), layers, {"x": x, "t": np.ascontiguousarray(fed)})
    np.testing.assert_allclose(made, right, rtol=1e-5, atol=1e-5)


def test_a_table_that_is_compared_with_each_sample(tmp_path):
    """Of one rank with the samples: (n, 6) times the (4, 6) turned has four results a sample, not one."""
    nodes = between(make.node("Transpose", ["t"], ["u"], perm=[1, 0]), make.node("MatMul", ["h", "u"], ["s"]))[:-1]
    nodes.append(make.node("MatMul", ["s", "last.weight"], ["y"], "last"))
    weights = WEIGHTS | {"last.weight": make.drawn(RNG, 4, 5)}
    model = make.model(nodes, {"x": ("n", 6), "t": (4, 6)}, {"y": None}, weights)
    (tmp_path / "net.onnx").write_bytes(model.SerializeToString())
    network = eie.load(tmp_path / "net.onnx")
    x, t = samples(3, 6), samples(4, 6)
    session = ort.InferenceSession(str(tmp_path / "net.onnx"), providers=["CPUExecutionProvider"])
    layers = {layer.name: layer for layer in network.layers}
    (made,) = run_given(dataflow(network), layers, {"x": x, "t": np.broadcast_to(t, (3, 4, 6)).copy()})
    np.testing.assert_allclose(made, session.run(None, {"x": x, "t": t})[0], rtol=1e-5, atol=1e-5)
