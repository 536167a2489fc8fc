"""Recurrent nodes that no layer has, step by step, and both branches of an If, against onnxruntime."""

import numpy as np
import pytest

import eie

onnx = pytest.importorskip("onnx", reason="needs the onnx extra")
onnxruntime = pytest.importorskip("onnxruntime", reason="needs the onnx extra")
import onnx_models as make  # noqa: E402
from onnx import TensorProto, helper  # noqa: E402

from eie.simulator.reference import run_given  # noqa: E402

node = make.node
SAMPLES, STEPS, INPUTS, HIDDEN = 3, 6, 4, 5
GATES = {"GRU": 3, "LSTM": 4, "RNN": 1}


def drawn(*shape, seed=0):
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


def as_in_onnxruntime(path, feed, batches):
    """Run the file as it was read, and compare each output with onnxruntime's, samples last in both."""
    # Of one sample; all other sizes are stated in the file, or are the batch.
    network = eie.load(path, input_shape={"h": (feed["h"].shape[0], HIDDEN)} if "h" in feed else None)
    assert network.unmodelled == ()
    layers = {layer.name: layer for layer in network.layers}
    taken = {name: np.moveaxis(feed[name], batches.get(name, 0), 0) for name, _ in network.graph.inputs}
    made = dict(zip(network.graph.outputs, run_given(network.graph, layers, taken), strict=True))
    session = onnxruntime.InferenceSession(str(path))
    for entry, wanted in zip(session.get_outputs(), session.run(None, feed), strict=True):
        ours = made[entry.name]
        # Whichever axis the file has the samples in: rows of numbers, sample by sample.
        at = wanted.shape.index(SAMPLES) if SAMPLES in wanted.shape else 0
        ours, right = (x.reshape(len(x), -1) for x in (ours, np.moveaxis(wanted, at, 0)))
        assert np.abs(ours - right).max() <= 1e-5 * max(1, np.abs(right).max())
    return network


def recurrent(op, *, direction="forward", opset=17, lengths=False, state=False, peepholes=False, **attributes):
    """A recurrent node, and a layer behind each of its outputs, so that all of them are needed."""
    ways, gates = 1 + (direction == "bidirectional"), GATES[op]
    weights = {
        "w": drawn(ways, gates * HIDDEN, INPUTS),
        "r": drawn(ways, gates * HIDDEN, HIDDEN, seed=1),
        "b": drawn(ways, 2 * gates * HIDDEN, seed=2),
        "v": drawn(HIDDEN, 7, seed=3),
        "p": drawn(ways, 3 * HIDDEN, seed=4),
    }
    inputs = ["x", "w", "r", "b", "lengths" if lengths else "", "h" if state else "", "", "p" if peepholes else ""]
    outputs = ["y", "last", "cell"][: 2 + (op == "LSTM")]
    inputs = inputs if op == "LSTM" else inputs[:6]
    nodes = [
        node(op, inputs, outputs, "cell", hidden_size=HIDDEN, direction=direction, **attributes),
        *(node("MatMul", [out, "v"], [f"z {out}"]) for out in outputs),
    ]
    given = {"x": [STEPS, "n", INPUTS], **({"h": [ways, "n", HIDDEN]} if state else {})}
    results = {f"z {out}": [ways, "n", 7] for out in outputs} | {"z y": [STEPS, ways, "n", 7]}
    proto = make.model(nodes, given, results, weights, opset=opset)
    feed = {"x": drawn(STEPS, SAMPLES, INPUTS, seed=5)}
    if state:
        feed["h"] = drawn(ways, SAMPLES, HIDDEN, seed=6)
    if lengths:
        proto.graph.input.append(helper.make_tensor_value_info("lengths", TensorProto.INT32, ["n"]))
        feed["lengths"] = np.array([STEPS, 2, 4], np.int32)
    return proto, feed


FORMS = {
    "a GRU that resets before its product": ("GRU", {}),
    "both ways": ("GRU", {"direction": "bidirectional"}),
    "backwards, from a state": ("GRU", {"direction": "reverse", "state": True}),
    "before Unsqueeze took its axes as an input": ("GRU", {"opset": 11, "direction": "bidirectional"}),
    "lengths of a GRU that resets behind": (
        "GRU",
        {"lengths": True, "linear_before_reset": 1, "direction": "bidirectional"},
    ),
    "lengths of a GRU that resets before": ("GRU", {"lengths": True, "state": True}),
    "lengths of an LSTM": ("LSTM", {"lengths": True, "direction": "bidirectional"}),
    "peepholes": ("LSTM", {"peepholes": True}),
    "peepholes, lengths, both ways": ("LSTM", {"peepholes": True, "lengths": True, "direction": "bidirectional"}),
    "a clip": ("LSTM", {"clip": 0.5}),
    "a forget gate that is what the input gate leaves": ("LSTM", {"input_forget": 1}),
    "other functions": ("LSTM", {"activations": ["HardSigmoid", "Softsign", "Relu"]}),
    "functions with parameters": (
        "LSTM",
        {
            "direction": "bidirectional",
            "activations": ["HardSigmoid", "Tanh", "LeakyRelu", "sigmoid", "Elu", "Tanh"],
            "activation_alpha": [0.3, 0.05, 0.7],
            "activation_beta": [0.4],
        },
    ),
    "ReLU": ("RNN", {"activations": ["Relu", "Elu"], "direction": "bidirectional", "lengths": True}),
}


@pytest.mark.parametrize("form", FORMS)
def test_a_recurrent_node_that_is_no_layer_runs_step_by_step(tmp_path, form):
    op, attributes = FORMS[form]
    proto, feed = recurrent(op, **attributes)
    path = make.saved(proto, tmp_path / "net.onnx")
    network = as_in_onnxruntime(path, feed, {"x": 1, "h": 1})
    # Each matrix is one layer, however many steps there are.
    parts = 3 if op == "GRU" else 2
    ways = 2 if attributes.get("direction") == "bidirectional" else 1
    assert len(network.layers) == parts * ways + 1
    hidden = next(layer for layer in network.layers if " R" in layer.name)
    uses = sum(part.layer == hidden.name for part in network.graph.nodes)
    # From a state of zeros there is nothing to multiply at first.
    assert uses == STEPS - (not attributes.get("state"))
    assert any(f"cell ({op}) runs step by step, {STEPS} times" in text for text in network.notes)


def test_steps_are_recorded_in_onnxruntime(tmp_path):
    """They share their node's name, which a session would refuse."""
    proto, feed = recurrent("GRU")
    path = make.saved(proto, tmp_path / "net.onnx")
    samples = np.moveaxis(feed["x"], 1, 0)
    trace = eie.record(path, samples, values=True)
    assert trace.source == "arrays, through net.onnx in onnxruntime"
    own = eie.record(eie.load(path), samples, values=True)
    assert list(trace.layers) == list(own.layers) == list(eie.load(path).graph.uses)
    for ours, theirs in zip(own.layers.values(), trace.layers.values(), strict=True):
        np.testing.assert_allclose(ours.dense(), theirs.dense(), atol=1e-6)


def test_a_node_of_more_steps_than_can_be_laid_out_is_a_row(tmp_path):
    weights = {"w": drawn(1, 15, 4), "r": drawn(1, 15, 5, seed=1), "v": drawn(4, 4, seed=2)}
    nodes = [node("MatMul", ["x", "v"], ["a"]), node("GRU", ["a", "w", "r"], ["y"], "cell", hidden_size=5)]
    proto = make.model(nodes, {"x": [2000, "n", 4]}, {"y": [2000, 1, "n", 5]}, weights)
    network = eie.load(make.saved(proto, tmp_path / "net.onnx"))
    (row,) = network.unmodelled
    assert row.startswith("GRU (cell): 89 % of the weights")


def test_states_of_another_size_are_damage(tmp_path):
    weights = {"w": drawn(1, 20, 4), "r": drawn(1, 20, 5, seed=1), "c": np.zeros((1, 1, 9), np.float32)}
    nodes = [node("LSTM", ["x", "w", "r", "", "", "", "c"], ["y"], "cell", hidden_size=5)]
    proto = make.model(nodes, {"x": [6, 1, 4]}, {"y": [6, 1, 1, 5]}, weights)
    (tmp_path / "net.onnx").write_bytes(proto.SerializeToString())
    with pytest.raises(eie.EieError, match=r"initial_c has shape \(1, 1, 9\): must be \(directions, samples, 5\)"):
        eie.load(tmp_path / "net.onnx")


def decided(*, second=4, behind=True):
    """A network that runs a second one if its own result is large."""
    weights = {
        "w": drawn(8, 4),
        "more": drawn(4, second, seed=1),
        "bound": np.array(0, np.float32),
        "v": drawn(4, 5, seed=2),
    }
    inner = {
        "then_branch": [node("MatMul", ["h", "more"], ["m"]), node("Sigmoid", ["m"], ["made"])],
        "else_branch": [node("Neg", ["h"], ["made"])],
    }
    bodies = {
        key: helper.make_graph(
            nodes,
            key,
            [],
            [helper.make_tensor_value_info("made", TensorProto.FLOAT, [1, second if key == "then_branch" else 4])],
        )
        for key, nodes in inner.items()
    }
    nodes = [
        node("MatMul", ["x", "w"], ["h"]),
        node("ReduceMax", ["h"], ["largest"], keepdims=0),
        node("Greater", ["largest", "bound"], ["large"]),
        node("If", ["large"], ["chosen"], "decides", **bodies),
        *([node("MatMul", ["chosen", "v"], ["y"])] if behind else [node("Tanh", ["chosen"], ["y"])]),
    ]
    return make.model(nodes, {"x": [1, 8]}, {"y": [1, 5 if behind else "n"]}, weights, opset=17)


@pytest.mark.parametrize("sign", [-1, 1])
def test_both_branches_run_where_numbers_decide(tmp_path, sign):
    path = make.saved(decided(), tmp_path / "net.onnx")
    x = np.eye(8, dtype=np.float32)[:1] * np.float32(sign)
    # One way or the other all of a row's numbers have one sign.
    proto = decided()
    proto.graph.initializer[0].CopyFrom(onnx.numpy_helper.from_array(np.abs(drawn(8, 4)), "w"))
    path.write_bytes(proto.SerializeToString())
    network = as_in_onnxruntime(path, {"x": x}, {})
    assert [layer.matrix.shape for layer in network.layers] == [(4, 8), (4, 4), (5, 4)]
    assert "decides (If) decides by what is computed: both branches run and are counted" in network.notes


def test_branches_of_other_shapes_are_not_both_run(tmp_path):
    network = eie.load(make.saved(decided(second=3, behind=False), tmp_path / "net.onnx"))
    (row,) = network.unmodelled
    assert row.startswith("If (decides): 27 % of the weights")


def sequence(rank):
    """Maps in an open axis in front, which a recurrent layer takes for time."""
    spatial = [12] * (rank - 2)
    weights = {
        "k": drawn(3, 2, *[3] * (rank - 2)),
        "w": drawn(1, 20, 3 * 10 ** (rank - 2), seed=1),
        "r": drawn(1, 20, 5, seed=2),
        "flat": np.array([0, 1, -1], np.int64),
        "v": drawn(5, 7, seed=3),
    }
    nodes = [
        node("Conv", ["x", "k"], ["c"]),
        node("Relu", ["c"], ["a"]),
        node("Reshape", ["a", "flat"], ["f"]),
        node("LSTM", ["f", "w", "r"], ["h"], hidden_size=5),
        node("MatMul", ["h", "v"], ["y"]),
    ]
    return make.model(nodes, {"x": ["steps", 2, *spatial]}, {"y": ["steps", 1, 1, 7]}, weights)


@pytest.mark.parametrize("rank", [3, 4])
def test_an_axis_in_front_that_is_time_is_stated_with_all_sizes(tmp_path, rank):
    path = make.saved(sequence(rank), tmp_path / "net.onnx")
    network = eie.load(path)
    assert any(row.startswith("LSTM") for row in network.unmodelled)
    assert any("if it is no batch, state all sizes, as --input-shape x=4x" in text for text in network.notes)
    shape = (4, 2, *[12] * (rank - 2))
    x = drawn(*shape)
    network = eie.load(path, input_shape=shape)
    assert network.unmodelled == ()
    assert network.graph.inputs == (("x", shape),)
    layers = {layer.name: layer for layer in network.layers}
    (made,) = run_given(network.graph, layers, {"x": x[None]})
    wanted = make.run(sequence(rank), x, ["y"])["y"]
    assert made.size == wanted.size
    assert np.abs(made.reshape(wanted.shape) - wanted).max() <= 1e-5
    # What is fed says it as well, and what is recorded is what the layers read.
    trace = eie.record(path, eie.Samples.of(x), values=True)
    assert trace.input_shapes == {"x": shape}
    result = eie.simulate(path, x, spec=eie.EIE_64PE)
    assert max(layer.computed.max_abs_error for layer in result.layers) < 0.01
    again = eie.simulate(path, trace, spec=eie.EIE_64PE)
    # What later layers read is rounded in a run, and is not in a trace.
    assert again.layers[0].cycles == result.layers[0].cycles


def test_a_state_beside_an_open_batch_belongs_to_each_sample(tmp_path):
    """A file traced for one sample: its states of two layers are no two samples."""
    weights = {"w": drawn(1, 20, 4), "r": drawn(1, 20, 5, seed=1), "u": drawn(1, 20, 5, seed=2), "v": drawn(5, 3)}
    weights |= {name: np.array([i], np.int64) for i, name in enumerate(("zero", "one", "two"))}
    states = [
        node("Slice", [name, first, last, "zero"], [f"{name}{first}"])
        for name in ("h", "c")
        for first, last in (("zero", "one"), ("one", "two"))
    ]
    nodes = [
        *states,
        node("Transpose", ["x"], ["t"], perm=[1, 0, 2]),
        node("LSTM", ["t", "w", "r", "", "", "hzero", "czero"], ["a"], hidden_size=5),
        node("Squeeze", ["a", "one"], ["s"]),
        node("LSTM", ["s", "u", "r", "", "", "hone", "cone"], ["b"], hidden_size=5),
        node("MatMul", ["b", "v"], ["y"]),
    ]
    inputs = {"x": ["n", 6, 4], "h": [2, 1, 5], "c": [2, 1, 5]}
    path = make.saved(make.model(nodes, inputs, {"y": [6, 1, 1, 3]}, weights), tmp_path / "net.onnx")
    network = eie.load(path)
    assert dict(network.graph.inputs) == {"x": (6, 4), "h": (2, 1, 5), "c": (2, 1, 5)}
    feed = {"x": drawn(1, 6, 4), "h": drawn(2, 1, 5, seed=8), "c": drawn(2, 1, 5, seed=9)}
    layers = {layer.name: layer for layer in network.layers}
    taken = {name: array if name == "x" else array[None] for name, array in feed.items()}
    (made,) = run_given(network.graph, layers, taken)
    (wanted,) = onnxruntime.InferenceSession(str(path)).run(None, feed)
    assert np.abs(made.ravel() - wanted.ravel()).max() <= 1e-5
