"""Whatever is rewritten of a file stays of the file's operator set: each rewriting in sets 7 to 21, run by a host."""

import numpy as np
import pytest

import eie
from eie.importers.onnx.reader import read_onnx
from eie.simulator.reference import run_given

onnx = pytest.importorskip("onnx", reason="needs the onnx extra")
ort = pytest.importorskip("onnxruntime", reason="needs the onnx extra")
helper, numpy_helper = onnx.helper, onnx.numpy_helper
MICROSOFT = "com.microsoft"
every_set = pytest.mark.parametrize("opset", range(7, 22))


def node(op, inputs, output, domain="", **attributes):
    outputs = [output] if isinstance(output, str) else output
    return helper.make_node(op, inputs, outputs, f"{op} {outputs[0]}", domain=domain, **attributes)


def drawn(*shape, seed=0):
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


def saved(path, nodes, *, opset, inputs, outputs, constants):
    graph = helper.make_graph(
        nodes,
        "g",
        [helper.make_tensor_value_info(name, kind, shape) for name, (kind, shape) in inputs.items()],
        [helper.make_tensor_value_info(name, 1, None) for name in outputs],
        [numpy_helper.from_array(np.asarray(array), name) for name, array in constants.items()],
    )
    opsets = [helper.make_opsetid("", opset), helper.make_opsetid(MICROSOFT, 1)]
    onnx.save(helper.make_model(graph, opset_imports=opsets, ir_version=8), path)
    return path


def check(path, feed, batch=0):
    """Whole, equal to onnxruntime, and onnxruntime runs the file as rewritten."""
    model = read_onnx(path)
    network = model.network
    assert not network.unmodelled
    fed = {name: np.moveaxis(array, batch, 0) for name, array in feed.items()}
    made = run_given(network.graph, {layer.name: layer for layer in network.layers}, fed)
    # Files of one output each.
    right = ort.InferenceSession(path).run(None, feed)[0]
    again = ort.InferenceSession(model.proto.SerializeToString()).run(None, feed)[0]
    np.testing.assert_allclose(again, right, atol=1e-5)
    np.testing.assert_allclose(
        made[0].reshape(right.shape) if batch == 0 else np.moveaxis(made[0], 0, batch), right, atol=1e-5
    )


@every_set
def test_rounds_of_a_loop_are_stacked(tmp_path, opset):
    def value(name, kind=1):
        return helper.make_tensor_value_info(name, kind, [] if kind != 1 else None)

    body = helper.make_graph(
        [node("MatMul", ["h", "w"], "next"), node("Identity", ["on"], "goes"), node("Identity", ["next"], "slice")],
        "body",
        [value("i", 7), value("on", 9), value("h")],
        [value("goes", 9), value("next"), value("slice")],
    )
    nodes = [
        node("Loop", ["three", "", "x"], ["last", "all"], body=body),
        node("MatMul", ["all", "v"], "over"),
        node("Transpose", ["over"], "y", perm=[1, 0, 2]),
    ]
    constants = {"three": np.array(3), "w": drawn(4, 4) / 2, "v": drawn(4, 2)}
    path = saved(
        tmp_path / "m.onnx", nodes, opset=opset, inputs={"x": (1, ["n", 4])}, outputs=["y"], constants=constants
    )
    check(path, {"x": drawn(2, 4)})


@pytest.mark.parametrize("opset", range(9, 22))
def test_rounds_of_a_scan_are_stacked(tmp_path, opset):
    def value(name):
        return helper.make_tensor_value_info(name, 1, None)

    body = helper.make_graph(
        [node("MatMul", ["h", "w"], "p"), node("Add", ["p", "x_t"], "next"), node("Identity", ["next"], "slice")],
        "body",
        [value("h"), value("x_t")],
        [value("next"), value("slice")],
    )
    nodes = [
        node("MatMul", ["x", "v"], "h0"),
        node("Scan", ["start", "h0"], ["last", "y"], body=body, num_scan_inputs=1),
    ]
    constants = {"start": np.zeros((2, 3), np.float32), "w": drawn(3, 3) / 2, "v": drawn(4, 3)}
    path = saved(
        tmp_path / "m.onnx", nodes, opset=opset, inputs={"x": (1, [5, 2, 4])}, outputs=["y"], constants=constants
    )
    assert not eie.load(path).unmodelled


def test_a_scan_of_the_first_kind_is_not_taken_for_the_second(tmp_path):
    """In set 8 a batch and lengths stand before everything; it runs on the host, and its product is a row."""

    def value(name):
        return helper.make_tensor_value_info(name, 1, [4])

    body = helper.make_graph(
        [node("MatMul", ["x_t", "w"], "p"), node("Add", ["h", "p"], "next"), node("Identity", ["next"], "slice")],
        "body",
        [value("h"), value("x_t")],
        [value("next"), value("slice")],
        [numpy_helper.from_array(drawn(4, 4), "w")],
    )
    nodes = [
        node("Scan", ["", "start", "x"], ["last", "all"], body=body, num_scan_inputs=1),
        node("MatMul", ["all", "v"], "y"),
    ]
    constants = {"start": np.zeros((1, 4), np.float32), "v": drawn(4, 3)}
    path = saved(tmp_path / "m.onnx", nodes, opset=8, inputs={"x": (1, [1, 5, 4])}, outputs=["y"], constants=constants)
    network = eie.load(path)
    assert any("Scan" in row for row in network.unmodelled)


@every_set
@pytest.mark.parametrize("place", [0, 1])
def test_a_vector_of_weights(tmp_path, opset, place):
    inputs = ["x", "w"] if place else ["w", "x"]
    nodes = [node("MatMul", inputs, "h"), node("Relu", ["h"], "y")]
    path = saved(
        tmp_path / "m.onnx",
        nodes,
        opset=opset,
        inputs={"x": (1, ["n", 4, 4])},
        outputs=["y"],
        constants={"w": drawn(4)},
    )
    check(path, {"x": drawn(2, 4, 4)})


@every_set
@pytest.mark.parametrize(
    ("activation", "parameters"),
    [
        ("Clip", {"activation_params": [-0.5, 0.5]}),
        ("LeakyRelu", {"activation_params": [0.2]}),
        ("Relu", {}),
        ("Tanh", {}),
        ("HardSigmoid", {"activation_params": [0.2, 0.4]}),
    ],
)
def test_a_fused_convolution(tmp_path, opset, activation, parameters):
    fused = node("FusedConv", ["x", "w", "b"], "h", MICROSOFT, activation=activation, **parameters)
    # A host part behind it, of the same set.
    nodes = [fused, node("Softplus", ["h"], "p"), node("Conv", ["p", "v"], "y")]
    constants = {"w": drawn(3, 2, 3, 3), "b": drawn(3), "v": drawn(2, 3, 1, 1)}
    path = saved(
        tmp_path / "m.onnx", nodes, opset=opset, inputs={"x": (1, ["n", 2, 5, 5])}, outputs=["y"], constants=constants
    )
    check(path, {"x": drawn(2, 2, 5, 5)})


@every_set
@pytest.mark.parametrize("op", ["GRU", "LSTM", "RNN"])
@pytest.mark.parametrize("clip", [0.0, 0.3])
def test_steps_of_a_recurrent_node(tmp_path, opset, op, clip):
    gates = {"GRU": 3, "LSTM": 4, "RNN": 1}[op]
    functions = {"GRU": ["HardSigmoid", "Tanh"], "LSTM": ["HardSigmoid", "Tanh", "Tanh"], "RNN": ["Softsign"]}[op]
    more = {"clip": clip} if clip else {}
    nodes = [
        node(op, ["x", "w", "r", "b"], ["over", "last"], hidden_size=3, activations=functions, **more),
        node("MatMul", ["over", "v"], "y"),
    ]
    constants = {"w": drawn(1, gates * 3, 4), "r": drawn(1, gates * 3, 3), "b": drawn(1, gates * 6), "v": drawn(3, 2)}
    path = saved(
        tmp_path / "m.onnx", nodes, opset=opset, inputs={"x": (1, [5, "n", 4])}, outputs=["y"], constants=constants
    )
    model = read_onnx(path)
    assert not model.network.unmodelled
    x = drawn(5, 2, 4)
    made = run_given(
        model.network.graph, {layer.name: layer for layer in model.network.layers}, {"x": x.transpose(1, 0, 2)}
    )
    right = ort.InferenceSession(path).run(None, {"x": x})[0]
    np.testing.assert_allclose(
        ort.InferenceSession(model.proto.SerializeToString()).run(None, {"x": x})[0], right, atol=1e-5
    )
    np.testing.assert_allclose(np.moveaxis(made[0], 0, 2), right, atol=1e-5)


@every_set
def test_lengths_of_a_recurrent_node(tmp_path, opset):
    """Step by step they need a Where, which there is from set 9 on; before, the node is a row."""
    nodes = [
        node("GRU", ["x", "w", "r", "b", "lengths"], ["over", "last"], hidden_size=3),
        node("MatMul", ["over", "v"], "y"),
    ]
    constants = {"w": drawn(1, 9, 4), "r": drawn(1, 9, 3), "b": drawn(1, 18), "v": drawn(3, 2)}
    path = saved(
        tmp_path / "m.onnx",
        nodes,
        opset=opset,
        inputs={"x": (1, [5, "n", 4]), "lengths": (6, ["n"])},
        outputs=["y"],
        constants=constants,
    )
    network = eie.load(path)
    feed = {"x": drawn(5, 2, 4), "lengths": np.array([3, 5], np.int32)}
    assert bool(network.unmodelled) == (opset < 9)
    if opset >= 9:
        fed = {"x": feed["x"].transpose(1, 0, 2), "lengths": feed["lengths"]}
        made = run_given(network.graph, {layer.name: layer for layer in network.layers}, fed)
        right = ort.InferenceSession(path).run(None, feed)[0]
        np.testing.assert_allclose(np.moveaxis(made[0], 0, 2), right, atol=1e-5)


@every_set
def test_a_transposed_convolution_over_a_volume(tmp_path, opset):
    constants = {"w": drawn(2, 3, 2, 2, 2)}
    nodes = [node("ConvTranspose", ["x", "w"], "y", strides=[2, 2, 2])]
    path = saved(
        tmp_path / "m.onnx",
        nodes,
        opset=opset,
        inputs={"x": (1, ["n", 2, 3, 3, 3])},
        outputs=["y"],
        constants=constants,
    )
    check(path, {"x": drawn(2, 2, 3, 3, 3)})


@every_set
def test_a_computed_term_of_a_gemm(tmp_path, opset):
    nodes = [node("MatMul", ["x", "v"], "c"), node("Gemm", ["x", "w", "c"], "y", beta=0.5)]
    constants = {"w": drawn(4, 3), "v": drawn(4, 3)}
    path = saved(
        tmp_path / "m.onnx", nodes, opset=opset, inputs={"x": (1, ["n", 4])}, outputs=["y"], constants=constants
    )
    check(path, {"x": drawn(2, 4)})


@pytest.mark.parametrize("opset", range(10, 22))
def test_integers_per_channel(tmp_path, opset):
    """The scales' axis is an attribute from set 13 on; before, onnxruntime reads no such node."""
    rng = np.random.default_rng(0)
    constants = {
        "w": rng.integers(-9, 9, (3, 2, 1, 1)).astype(np.int8),
        "ws": rng.uniform(0.01, 0.1, 3).astype(np.float32),
        "wz": np.zeros(3, np.int8),
        "b": rng.integers(-9, 9, 3).astype(np.int32),
        **{"s": np.float32(0.05), "z": np.uint8(128)},
    }
    nodes = [
        node("QuantizeLinear", ["x", "s", "z"], "q"),
        node("QLinearConv", ["q", "s", "z", "w", "ws", "wz", "s", "z", "b"], "c"),
        node("DequantizeLinear", ["c", "s", "z"], "y"),
    ]
    path = saved(
        tmp_path / "m.onnx", nodes, opset=opset, inputs={"x": (1, ["n", 2, 3, 3])}, outputs=["y"], constants=constants
    )
    network = eie.load(path)
    x = drawn(2, 2, 3, 3)
    made = run_given(network.graph, {layer.name: layer for layer in network.layers}, {"x": x})
    np.testing.assert_allclose(made[0], ort.InferenceSession(path).run(None, {"x": x})[0], atol=0.06)
