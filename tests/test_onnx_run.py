"""The same numbers as onnxruntime, layer by layer, on the float32 datapath; few levels keep the weights exact."""

import numpy as np
import pytest

pytest.importorskip("onnx", reason="needs the onnx extra")

import onnx
import onnx_models as models

import eie
from eie.model.geometry import Lstm

SPEC = eie.EIE_64PE.replace(n_pe=4)


def batch_first(tensor, batch):
    return np.moveaxis(tensor, batch, 0)


def compare(proto, path, x, batch=0):
    """Run both; return the result after comparing every weight layer and the first output."""
    net = eie.load(models.saved(proto, path))
    result = eie.simulate(eie.compile(net, SPEC), batch_first(x, batch), datapath="float32")
    made = {node.layer: node.outputs[0] for node in net.graph.nodes if node.layer is not None}
    in_file = {name for node in proto.graph.node for name in node.output}
    reference = models.run(proto, x, [name for name in made.values() if name in in_file])
    compared = 0
    for layer in result.layers:
        if made[layer.name] in reference:
            wanted = batch_first(reference[made[layer.name]], batch)
            np.testing.assert_allclose(
                layer.computed.float32.reshape(wanted.shape), wanted, rtol=1e-5, atol=1e-5, err_msg=layer.name
            )
            compared += 1
    assert compared == sum(not isinstance(layer.geometry, Lstm) for layer in net.layers)
    return net, result


def test_mlp(tmp_path):
    x = np.random.default_rng(1).standard_normal((7, 20)).astype(np.float32)
    _, result = compare(models.mlp(), tmp_path / "mlp.onnx", x)
    assert result.drive == "execution"
    assert all(layer.encoded.shared.exact for layer in result.layers)
    assert not any("bias moved" in note for note in result.notes())


def test_cnn_with_1x1_3x3_strided_and_grouped_convolutions(tmp_path):
    x = np.random.default_rng(1).standard_normal((2, 3, 13, 13)).astype(np.float32)
    _, result = compare(models.cnn(), tmp_path / "cnn.onnx", x)
    assert [layer.name for layer in result.layers] == ["c1", "c2", "c3", "c4", "c5", "fc"]


@pytest.mark.parametrize("direction", ["forward", "reverse", "bidirectional"])
def test_lstm(direction, tmp_path):
    proto = models.lstm(direction)
    x = np.random.default_rng(1).standard_normal((6, 2, 5)).astype(np.float32)
    _, result = compare(proto, tmp_path / "lstm.onnx", x, batch=1)
    states = models.run(proto, x, ["h"])["h"]
    for i, layer in enumerate(result.layers[:-1]):
        wanted = states[:, i].transpose(1, 0, 2)
        np.testing.assert_allclose(layer.computed.float32.reshape(wanted.shape), wanted, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("layout", [0, 1])
def test_last_states_of_an_lstm(layout, tmp_path):
    """Y_h as the network's output, with the batch where ``layout`` has it; onnxruntime runs layout 0 only."""
    proto = models.lstm("bidirectional")
    del proto.graph.node[1:]
    proto.graph.node[0].output.append("last")
    proto.graph.output[0].name = "last"
    proto.graph.output[0].type.tensor_type.shape.dim[0].dim_value = 2
    proto.graph.output[0].type.tensor_type.shape.dim[2].dim_value = 7
    x = np.random.default_rng(1).standard_normal((6, 2, 5)).astype(np.float32)
    wanted = models.run(proto, x, ["last"])["last"].transpose(1, 0, 2)
    if layout:
        proto.graph.node[0].attribute.append(onnx.helper.make_attribute("layout", 1))
        for i, size in enumerate((2, 6, 5)):
            proto.graph.input[0].type.tensor_type.shape.dim[i].dim_value = size
        for place in (5, 6):
            proto.graph.node[0].input[place] = ""
    path = tmp_path / "last.onnx"
    path.write_bytes(proto.SerializeToString())
    net = eie.load(path)
    from eie.simulator.reference import run_given

    layers = {layer.name: layer for layer in net.layers}
    np.testing.assert_allclose(run_given(net.graph, layers, {"x": x.transpose(1, 0, 2)})[0], wanted, atol=1e-5)


def glue():
    """(name, nodes from x to y, constants): each operator between two layers, on (n, 4, 6, 6)."""
    c = np.random.default_rng(3).standard_normal((4, 1, 1)).astype(np.float32)
    node = models.node
    yield "clip", [node("Clip", ["x", "low", "high"], ["y"])], {"low": np.float32(-0.5), "high": np.float32(0.5)}
    yield "relu6", [node("Clip", ["x", "low"], ["y"])], {"low": np.float32(0)}
    yield "arithmetic", [node("Mul", ["x", "c"], ["a"]), node("Sub", ["c", "a"], ["y"])], {"c": c}
    yield "division", [node("Div", ["x", "c"], ["a"]), node("Add", ["a", "x"], ["y"])], {"c": c}
    yield "sigmoid", [node("Sigmoid", ["x"], ["a"]), node("Mul", ["a", "x"], ["y"])], {}
    yield "tanh", [node("Tanh", ["x"], ["y"])], {}
    yield "softmax", [node("Softmax", ["x"], ["y"], axis=1)], {}
    yield "mean", [node("ReduceMean", ["x", "axes"], ["y"], keepdims=0)], {"axes": np.array([1, -1])}
    yield (
        "pad",
        [node("Pad", ["x", "by", "value"], ["y"])],
        {"by": np.array([0, 0, 1, 2, 0, 0, 0, 1]), "value": np.float32(2)},
    )
    yield (
        "slice",
        [node("Slice", ["x", "from", "to", "axes", "by"], ["y"])],
        {"from": np.array([1, -3]), "to": np.array([3, 1 << 40]), "axes": np.array([1, 2]), "by": np.array([1, 2])},
    )
    yield "gather", [node("Gather", ["x", "last"], ["y"], axis=2)], {"last": np.array(-1)}
    yield "gather_one", [node("Gather", ["x", "last"], ["y"], axis=3)], {"last": np.array([2])}
    yield (
        "squeeze",
        [node("GlobalMaxPool", ["x"], ["a"]), node("Squeeze", ["a", "axes"], ["y"])],
        {"axes": np.array([2, 3])},
    )
    yield "unsqueeze", [node("Unsqueeze", ["x", "axes"], ["y"])], {"axes": np.array([-1, 1])}
    yield "transpose", [node("Transpose", ["x"], ["y"], perm=[0, 3, 1, 2])], {}
    yield (
        "moved",
        [node("Transpose", ["x"], ["a"], perm=[1, 0, 2, 3]), node("Transpose", ["a"], ["y"], perm=[1, 2, 0, 3])],
        {},
    )
    yield "flatten", [node("Flatten", ["x"], ["a"]), node("Softmax", ["a"], ["y"])], {}
    yield (
        "identity",
        [node("Identity", ["x"], ["a"]), node("Dropout", ["a"], ["b"]), node("Cast", ["b"], ["y"], to=1)],
        {},
    )
    yield "concat", [node("Concat", ["x", "x"], ["y"], axis=2)], {}
    yield "max_pool", [node("MaxPool", ["x"], ["y"], kernel_shape=[3, 2], dilations=[2, 1], ceil_mode=1)], {}
    yield (
        "average_pool",
        [node("AveragePool", ["x"], ["y"], kernel_shape=[3, 3], strides=[2, 2], pads=[1, 1, 1, 1])],
        {},
    )
    yield (
        "counted_pads",
        [
            node(
                "AveragePool", ["x"], ["y"], kernel_shape=[3, 3], strides=[2, 2], pads=[1, 1, 1, 1], count_include_pad=1
            )
        ],
        {},
    )
    yield "same_pool", [node("MaxPool", ["x"], ["y"], kernel_shape=[2, 3], strides=[2, 2], auto_pad="SAME_LOWER")], {}
    yield (
        "conv1d",
        [
            node("Reshape", ["x", "to"], ["a"]),
            node("Conv", ["a", "k"], ["y"], strides=[2], pads=[1, 2], dilations=[2]),
        ],
        {"to": np.array([0, 4, 36]), "k": models.drawn(np.random.default_rng(0), 3, 4, 3)},
    )


@pytest.mark.parametrize(("nodes", "constants"), [one[1:] for one in glue()], ids=[one[0] for one in glue()])
def test_operators_between_layers(nodes, constants, tmp_path):
    """A 1x1 convolution before each operator; onnxruntime is the reference."""
    rng = np.random.default_rng(2)
    start = models.node("Conv", ["image", "k0"], ["x"], "start")
    weights = {"k0": models.drawn(rng, 4, 4, 1, 1), **{name: np.asarray(one) for name, one in constants.items()}}
    proto = models.model([start, *nodes], {"image": ["n", 4, 6, 6]}, {"y": None}, weights)
    x = rng.standard_normal((3, 4, 6, 6)).astype(np.float32)
    wanted = models.run(proto, x, ["y"])["y"]
    path = tmp_path / "glue.onnx"
    path.write_bytes(proto.SerializeToString())
    net = eie.load(path)
    program = eie.compile(net, SPEC)
    from eie.simulator.network import Settings, run_network

    layers = {layer.name: layer for layer in program.layers}
    made = run_network(
        graph=net.graph,
        layers=layers,
        inputs={"image": x},
        settings=Settings(data_bits=16, datapath="float32"),
        ran=lambda *_: None,
    )[0]
    np.testing.assert_allclose(made.float32, wanted, rtol=1e-5, atol=1e-5)


def test_quantised_weights_run_as_in_onnxruntime(tmp_path):
    """Per-channel Q/DQ weights of a convolution, as quantisation tools write them."""
    rng = np.random.default_rng(0)
    levels = rng.integers(-3, 4, (4, 2, 3, 3)).astype(np.int8)
    weights = {
        "q": levels,
        "s": np.array([0.25, 0.5, 0.25, 0.5], np.float32),
        "z": np.zeros(4, np.int8),
        "fw": models.drawn(rng, 4, 3),
    }
    nodes = [
        models.node("DequantizeLinear", ["q", "s", "z"], ["w"], axis=0),
        models.node("Conv", ["x", "w"], ["c"], "conv"),
        models.node("Relu", ["c"], ["r"]),
        models.node("GlobalAveragePool", ["r"], ["g"]),
        models.node("Flatten", ["g"], ["f"]),
        models.node("MatMul", ["f", "fw"], ["y"], "fc"),
    ]
    proto = models.model(nodes, {"x": ["n", 2, 5, 5]}, {"y": ["n", 3]}, weights)
    compare(proto, tmp_path / "q.onnx", rng.standard_normal((2, 2, 5, 5)).astype(np.float32))


def test_an_operator_on_the_host_feeds_the_next_layer_as_in_onnxruntime(tmp_path):
    from eie.recording.inputs import Samples
    from eie.recording.record import record

    rng = np.random.default_rng(0)
    nodes = [
        models.node("MatMul", ["x", "a.weight"], ["h"]),
        models.node("HardSwish", ["h"], ["s"], "swish"),
        models.node("MatMul", ["s", "b.weight"], ["y"]),
    ]
    weights = {"a.weight": models.drawn(rng, 6, 8), "b.weight": models.drawn(rng, 8, 4)}
    proto = models.model(nodes, {"x": ["n", 6]}, {"y": ["n", 4]}, weights)
    path = models.saved(proto, tmp_path / "swish.onnx")
    x = rng.standard_normal((3, 6)).astype(np.float32)
    trace = record(path, Samples.of(x), values=True)
    result = eie.simulate(eie.compile(eie.load(path), SPEC), {"x": x})
    np.testing.assert_allclose(result.layers[1].computed.float32, models.run(proto, x, ["y"])["y"], atol=1e-5)
    assert result.drive == "execution"
    # Recorded in onnxruntime as a whole, the second layer reads the same numbers.
    np.testing.assert_allclose(trace.layers["b"].dense(), models.run(proto, x, ["s"])["s"], atol=1e-6)
    on_trace = eie.simulate(eie.compile(eie.load(path), SPEC), trace)
    np.testing.assert_allclose(on_trace.layers[1].computed.float32, result.layers[1].computed.float32, atol=1e-5)


@pytest.mark.parametrize("kind", ["mlp", "cnn", "lstm"])
def test_exports_of_torch(kind, tmp_path):
    """torch -> ONNX -> eie against torch itself."""
    torch = pytest.importorskip("torch", reason="torch is not installed (make test-torch)")
    pytest.importorskip("onnxscript", reason="torch exports through onnxscript")
    import torch_models

    module, x = torch_models.build(kind)
    path = tmp_path / f"{kind}.onnx"
    torch_models.export(module, x, path)
    net = eie.load(path)
    result = eie.simulate(eie.compile(net, SPEC), x.numpy(), datapath="float32")
    with torch.no_grad():
        wanted = module(x).numpy()
    np.testing.assert_allclose(result.layers[-1].computed.float32.reshape(wanted.shape), wanted, rtol=1e-5, atol=1e-5)
    proto = onnx.load(path)
    made = {node.layer: node.outputs[0] for node in net.graph.nodes if node.layer is not None}
    in_file = {name for node in proto.graph.node for name in node.output}
    reference = models.run(proto, x.numpy(), [name for name in made.values() if name in in_file])
    for layer in result.layers:
        if made[layer.name] in reference:
            wanted = reference[made[layer.name]]
            np.testing.assert_allclose(layer.computed.float32.reshape(wanted.shape), wanted, rtol=1e-5, atol=1e-5)
