"""Kinds of ONNX files met in packages: states that are fed, a switch among the inputs, early dynamic quantisation."""

import numpy as np
import pytest

import eie
from eie.errors import ModelError
from eie.importers.onnx.reader import read_onnx
from eie.simulator.reference import run_given

onnx = pytest.importorskip("onnx", reason="needs the onnx extra")
ort = pytest.importorskip("onnxruntime", reason="needs the onnx extra")
helper, numpy_helper = onnx.helper, onnx.numpy_helper
INPUTS, HIDDEN, STEPS, SAMPLES = 3, 4, 5, 2


def saved(path, nodes, inputs, outputs, constants):
    graph = helper.make_graph(
        nodes,
        "g",
        [helper.make_tensor_value_info(name, kind, shape) for name, kind, shape in inputs],
        [helper.make_tensor_value_info(name, 1, None) for name in outputs],
        [numpy_helper.from_array(np.asarray(array), name) for name, array in constants.items()],
    )
    opsets = [helper.make_opsetid("", 13)]
    onnx.save(helper.make_model(graph, opset_imports=opsets, ir_version=8), path)
    return path


def run(network, feed):
    layers = {layer.name: layer for layer in network.layers}
    return run_given(network.graph, layers, {name: feed[name] for name, _ in network.graph.inputs})


def recurrent(path, op, gates, directions):
    rng = np.random.default_rng(0)
    shapes = {"W": (gates * HIDDEN, INPUTS), "R": (gates * HIDDEN, HIDDEN), "B": (2 * gates * HIDDEN,)}
    constants = {name: rng.standard_normal((directions, *shape)).astype(np.float32) for name, shape in shapes.items()}
    states = ["h", "c"] if op == "LSTM" else ["h"]
    more = {"linear_before_reset": 1} if op == "GRU" else {}
    outputs = ["Y", "Yh"]
    node = helper.make_node(
        op,
        ["x", "W", "R", "B", "", *states],
        outputs,
        hidden_size=HIDDEN,
        direction="bidirectional" if directions == 2 else "forward",
        **more,
    )
    inputs = [("x", 1, [STEPS, "n", INPUTS]), *((name, 1, [directions, "n", HIDDEN]) for name in states)]
    feed = {"x": rng.standard_normal((STEPS, SAMPLES, INPUTS)).astype(np.float32)}
    feed |= {name: rng.standard_normal((directions, SAMPLES, HIDDEN)).astype(np.float32) for name in states}
    return saved(path, [node], inputs=inputs, outputs=outputs, constants=constants), feed


@pytest.mark.parametrize(("op", "gates"), [("LSTM", 4), ("GRU", 3), ("RNN", 1)])
@pytest.mark.parametrize("directions", [1, 2])
def test_a_recurrent_layer_begins_from_a_state_that_is_fed(op, gates, directions, tmp_path):
    path, feed = recurrent(tmp_path / "m.onnx", op, gates=gates, directions=directions)
    right = ort.InferenceSession(path).run(None, feed)
    model = read_onnx(path)
    # Time, like directions, stands before the batch.
    assert {entry.batch for entry in model.inputs} == {1}
    made = run(model.network, {name: np.moveaxis(array, 1, 0) for name, array in feed.items()})
    for ours, wanted in zip(made, right, strict=True):
        np.testing.assert_allclose(np.moveaxis(ours, 0, wanted.ndim - 2), wanted, atol=1e-6)


class TestInputValues:
    """A file that chooses its layers by a number."""

    @pytest.fixture
    def path(self, tmp_path):
        rng = np.random.default_rng(0)
        constants = {"rate": np.array(16000), "a": rng.random((3, 4)), "b": rng.random((3, 4))}
        constants = {name: array.astype(np.float32 if array.ndim else np.int64) for name, array in constants.items()}
        out = helper.make_tensor_value_info("z", 1, None)
        branches = [helper.make_graph([helper.make_node("MatMul", ["x", w], ["z"])], w, [], [out]) for w in "ab"]
        nodes = [
            helper.make_node("Equal", ["sr", "rate"], ["same"]),
            helper.make_node("If", ["same"], ["y"], then_branch=branches[0], else_branch=branches[1]),
        ]
        inputs = [("x", 1, ["n", 3]), ("sr", 7, [])]
        return saved(tmp_path / "m.onnx", nodes, inputs=inputs, outputs=["y"], constants=constants)

    @pytest.mark.parametrize("rate", [16000, 8000])
    def test_the_branch_is_taken_and_the_input_gone(self, path, rate):
        network = eie.load(path, input_values={"sr": rate})
        assert [name for name, _ in network.graph.inputs] == ["x"]
        x = np.random.default_rng(1).random((2, 3)).astype(np.float32)
        right = ort.InferenceSession(path).run(None, {"x": x, "sr": np.array(rate)})[0]
        np.testing.assert_allclose(run(network, {"x": x})[0], right, atol=1e-6)

    def test_it_is_stated_on_the_command_line(self, path, cli):
        code, out, _ = cli("inspect", str(path), "--input-value", "sr=16000")
        assert code == 0
        assert "not modelled" not in out
        assert "must be an input's name and its numbers" in cli("inspect", str(path), "--input-value", "16000")[2]
        assert "stated twice" in cli("inspect", str(path), *["--input-value", "sr=1"] * 2)[2]

    def test_what_does_not_fit_is_refused(self, path):
        with pytest.raises(ModelError, match="input value of 'fs': its inputs are x, sr"):
            eie.load(path, input_values={"fs": 1})
        with pytest.raises(ModelError, match=r"input value of 'sr' has shape \(2,\): must be \(\)"):
            eie.load(path, input_values={"sr": [1, 2]})


def test_a_batch_that_is_an_lstms_time_is_a_row(tmp_path):
    """Of one sample it looks like one step; with two, the LSTM would go over samples."""
    constants = {"W": np.ones((1, 8, 3), np.float32), "R": np.ones((1, 8, 2), np.float32), "v": np.ones((3, 3))}
    constants["v"] = constants["v"].astype(np.float32)
    nodes = [
        helper.make_node("Flatten", ["x"], ["rows"]),
        helper.make_node("MatMul", ["rows", "v"], ["h"]),
        helper.make_node("Unsqueeze", ["h", "one"], ["steps"]),
        helper.make_node("LSTM", ["steps", "W", "R"], ["y"], hidden_size=2),
    ]
    constants["one"] = np.array([1])
    path = saved(tmp_path / "m.onnx", nodes, inputs=[("x", 1, ["n", 3])], outputs=["y"], constants=constants)
    (row,) = eie.load(path).unmodelled
    assert row.startswith("LSTM")


def test_axes_of_one_do_not_take_the_place_of_the_batch(tmp_path):
    """With one step and one sample, only the operators themselves say which axis is which."""
    constants = {"front": np.array([0]), "w": np.ones((2, 3, 1, 1), np.float32)}
    nodes = [
        helper.make_node("Transpose", ["x"], ["time first"], perm=[1, 0, 2]),
        helper.make_node("Unsqueeze", ["time first", "front"], ["ways"]),
        helper.make_node("Transpose", ["ways"], ["maps"], perm=[2, 3, 1, 0]),
        helper.make_node("Conv", ["maps", "w"], ["y"]),
    ]
    path = saved(tmp_path / "m.onnx", nodes, inputs=[("x", 1, ["n", 1, 3])], outputs=["y"], constants=constants)
    x = np.random.default_rng(0).random((4, 1, 3)).astype(np.float32)
    right = ort.InferenceSession(path).run(None, {"x": x})[0]
    np.testing.assert_allclose(run(eie.load(path), {"x": x})[0], right, atol=1e-6)


def test_a_bias_rounded_to_units_of_both_scales(tmp_path):
    """As onnxruntime's early dynamic quantisation writes it: ConvInteger, and Floor(bias / scales) added to it."""
    rng = np.random.default_rng(0)
    bias = rng.standard_normal(4).astype(np.float32)
    constants = {
        "w": rng.integers(0, 255, (4, 2, 3, 3)).astype(np.uint8),
        "w zero": np.array(128, np.uint8),
        "w scale": np.array(0.01, np.float32),
        "bias": bias,
        "shape": np.array([1, 4, 1, 1]),
    }
    steps = [
        ("DynamicQuantizeLinear", ["x"], ["xq", "xs", "xz"]),
        ("Mul", ["xs", "w scale"], ["units"]),
        ("Div", ["bias", "units"], ["many"]),
        ("Floor", ["many"], ["floor"]),
        ("ConvInteger", ["xq", "w", "xz", "w zero"], ["sum"]),
        ("Cast", ["floor"], ["whole"]),
        ("Reshape", ["whole", "shape"], ["across"]),
        ("Add", ["sum", "across"], ["biased"]),
        ("Cast", ["biased"], ["real"]),
        ("Mul", ["xs", "w scale"], ["again"]),
        ("Mul", ["real", "again"], ["y"]),
    ]
    casts = {"whole": 6, "real": 1}
    nodes = [
        helper.make_node(op, read, made, **({"to": casts[made[0]]} if op == "Cast" else {})) for op, read, made in steps
    ]
    path = saved(tmp_path / "m.onnx", nodes, inputs=[("x", 1, ["n", 2, 6, 6])], outputs=["y"], constants=constants)
    network = eie.load(path)
    (layer,) = network.layers
    np.testing.assert_array_equal(layer.bias, bias)
    assert layer.stored_bits == pytest.approx(8, abs=1)
    x = rng.standard_normal((1, 2, 6, 6)).astype(np.float32)
    right = ort.InferenceSession(path).run(None, {"x": x})[0]
    np.testing.assert_allclose(run(network, {"x": x})[0], right, atol=0.02 * np.abs(right).max())
