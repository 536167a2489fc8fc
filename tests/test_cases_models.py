"""Small models of the kinds that used to be refused: whole, execution-driven, and onnxruntime's float32 outputs."""

from dataclasses import dataclass

import numpy as np
import pytest

import eie
from eie.model.dataflow import dataflow
from eie.simulator.reference import run_given

onnx = pytest.importorskip("onnx", reason="needs the onnx extra")
ort = pytest.importorskip("onnxruntime", reason="needs the onnx extra")

import onnx_models as make  # noqa: E402
from onnx import TensorProto, helper, numpy_helper  # noqa: E402

SPEC = eie.EIE_64PE.replace(n_pe=4)
SAMPLES = 3
node = make.node


@dataclass(kw_only=True)
class Case:
    """A graph from ``x``, with its samples at ``axis``, to ``out`` and ``more``; ``open``: sizes are not stated."""

    nodes: list
    shape: tuple
    weights: dict
    open: bool = False
    axis: int = 0
    out: str = "y"
    opset: int = 20
    layers: int = 2
    tolerance: float = 1e-5
    more: tuple = ()


def drawn(*shape, seed=0):
    """Weights of 14 levels: shared by 4 bits they are what they were."""
    return make.drawn(np.random.default_rng(seed + sum(shape)), *shape, density=0.8)


def dense(between, **more):
    """A layer, nodes from ``h`` to ``s``, a layer."""
    nodes = [node("Gemm", ["x", "a", "ab"], ["h"], "a"), *between, node("Gemm", ["s", "b"], ["y"], "b", transB=1)]
    weights = {"a": drawn(6, 8), "ab": drawn(8), "b": drawn(4, 8), **more.pop("weights", {})}
    return Case(nodes=nodes, shape=(6,), weights=weights, **more)


def maps(between, **more):
    """A padded convolution over images, nodes from ``h`` to ``s``, a strided convolution, means, a layer."""
    nodes = [
        node("Conv", ["x", "c1", "cb"], ["h"], "c1", pads=[1, 1, 1, 1]),
        *between,
        node("Conv", ["s", "c2"], ["k"], "c2", strides=[2, 2]),
        node("GlobalAveragePool", ["k"], ["g"]),
        node("Flatten", ["g"], ["f"]),
        node("Gemm", ["f", "w"], ["y"], "fc"),
    ]
    weights = {"c1": drawn(4, 3, 3, 3), "cb": drawn(4), "c2": drawn(6, 4, 1, 1), "w": drawn(6, 5)}
    return Case(nodes=nodes, shape=(3, 8, 8), weights={**weights, **more.pop("weights", {})}, layers=3, **more)


def unet(mode):
    sizes = np.array([1, 1, 2, 2], np.float32)
    options = {"coordinate_transformation_mode": "half_pixel" if mode == "linear" else "asymmetric", "mode": mode}
    nodes = [
        node("Conv", ["x", "c1"], ["h"], "c1", pads=[1, 1, 1, 1]),
        node("Relu", ["h"], ["r"]),
        node("MaxPool", ["r"], ["p"], kernel_shape=[2, 2], strides=[2, 2]),
        node("Conv", ["p", "c2"], ["k"], "c2", pads=[1, 1, 1, 1]),
        node("Resize", ["k", "", "sizes"], ["u"], nearest_mode="floor", **options),
        node("Concat", ["u", "r"], ["j"], axis=1),
        node("Conv", ["j", "c3"], ["y"], "c3"),
    ]
    weights = {"c1": drawn(4, 3, 3, 3), "c2": drawn(6, 4, 3, 3), "c3": drawn(2, 10, 1, 1), "sizes": sizes}
    return Case(nodes=nodes, shape=(3, 8, 8), weights=weights, layers=3)


def group_norm():
    """As torch's older exporter writes it: groups as channels of an instance norm, and back."""
    between = [
        node("Reshape", ["h", "groups"], ["h1"]),
        node("InstanceNormalization", ["h1", "ones", "zeros"], ["h2"], epsilon=1e-5),
        node("Shape", ["h"], ["size"]),
        node("Reshape", ["h2", "size"], ["h3"]),
        node("Mul", ["h3", "scale"], ["h4"]),
        node("Add", ["h4", "shift"], ["h5"]),
        node("Add", ["h5", "h"], ["h6"]),
        node("Relu", ["h6"], ["s"]),
    ]
    weights = {
        "groups": np.array([0, 2, -1]),
        "ones": np.ones(2, np.float32),
        "zeros": np.zeros(2, np.float32),
        "scale": drawn(4, 1, 1, seed=1) + 1,
        "shift": drawn(4, 1, 1, seed=2),
    }
    return maps(between, weights=weights)


def dynamic_lstm():
    """As converters write it: time first, states of zeros in the shape of the input's batch."""
    nodes = [
        node("Shape", ["x"], ["size"]),
        node("Gather", ["size", "at"], ["batch"], axis=0),
        node("Unsqueeze", ["batch", "front"], ["b1"]),
        node("Concat", ["way", "b1", "hidden"], ["state"], axis=0),
        node("ConstantOfShape", ["state"], ["zeros"]),
        node("LSTM", ["x", "w", "r", "", "", "zeros", "zeros"], ["all", "last"], "rnn", hidden_size=5),
        node("Squeeze", ["last", "front"], ["h"]),
        node("Gemm", ["h", "v"], ["y"], "fc"),
    ]
    whole = {"at": 1, "front": [0], "way": [1], "hidden": [5]}
    weights = {"w": drawn(1, 20, 4), "r": drawn(1, 20, 5), "v": drawn(5, 3)}
    weights |= {name: np.array(value, np.int64) for name, value in whole.items()}
    return Case(nodes=nodes, shape=(6, 4), weights=weights, open=True, axis=1)


def half():
    nodes = [
        node("Gemm", ["c", "a"], ["h"], "a"),
        node("Relu", ["h"], ["s"]),
        node("Gemm", ["s", "b"], ["g"], "b"),
        # As a converter appends them: out of order.
        node("Cast", ["g"], ["y"], to=TensorProto.FLOAT),
        node("Cast", ["x"], ["c"], to=TensorProto.FLOAT16),
    ]
    weights = {"a": drawn(6, 8).astype(np.float16), "b": drawn(8, 4).astype(np.float16)}
    return Case(nodes=nodes, shape=(6,), weights=weights, tolerance=1e-3)


def three_axes():
    nodes = [
        node("MatMul", ["x", "a"], ["m"], "a"),
        node("Add", ["m", "ab"], ["h"]),
        node("Relu", ["h"], ["s"]),
        node("MatMul", ["s", "b"], ["y"], "b"),
    ]
    return Case(nodes=nodes, shape=(7, 6), weights={"a": drawn(6, 8), "ab": drawn(8), "b": drawn(8, 4)}, open=True)


def gelu_of_parts():
    numbers = {"root": 2**0.5, "unit": 1, "half": 0.5}
    between = [
        node("Div", ["h", "root"], ["h1"]),
        node("Erf", ["h1"], ["h2"]),
        node("Add", ["h2", "unit"], ["h3"]),
        node("Mul", ["h", "h3"], ["h4"]),
        node("Mul", ["h4", "half"], ["s"]),
    ]
    return dense(between, weights={name: np.array(value, np.float32) for name, value in numbers.items()}, opset=17)


def masked():
    nodes = [node("Where", ["mask", "w", "zero"], ["m"]), node("MatMul", ["x", "m"], ["y"], "fc")]
    mask = np.random.default_rng(0).random((6, 4)) < 0.5
    weights = {"mask": mask, "w": drawn(6, 4), "zero": np.array(0, np.float32)}
    return Case(nodes=nodes, shape=(6,), weights=weights, layers=1)


def decided():
    """An If whose condition is a constant, with layers in both branches."""

    def branch(weights):
        parts = [node("MatMul", ["h", weights], ["m"]), node("Relu", ["m"], ["r"])]
        return helper.make_graph(parts, weights, [], [helper.make_empty_tensor_value_info("r")])

    nodes = [
        node("MatMul", ["x", "a"], ["h"], "a"),
        node("If", ["yes"], ["y"], then_branch=branch("b"), else_branch=branch("other")),
    ]
    weights = {"a": drawn(6, 8), "b": drawn(8, 4), "other": drawn(8, 4, seed=1), "yes": np.array(True)}
    return Case(nodes=nodes, shape=(6,), weights=weights)


def old_softmax():
    nodes = [
        node("Conv", ["x", "c"], ["h"], "c"),
        node("GlobalAveragePool", ["h"], ["g"]),
        # Before opset 13 over all axes from the first on.
        node("Softmax", ["g"], ["s"]),
        node("Conv", ["s", "d"], ["y"], "d"),
    ]
    return Case(nodes=nodes, shape=(3, 6, 6), weights={"c": drawn(4, 3, 3, 3), "d": drawn(2, 4, 1, 1)}, opset=9)


def two_ways():
    nodes = [
        node("Conv", ["x", "c"], ["h"], "c", pads=[1, 1, 1, 1]),
        node("Conv", ["x", "d"], ["k"], "d"),
        node("Sum", ["h", "k"], ["s"]),
        node("Conv", ["s", "e"], ["y"], "e"),
    ]
    weights = {"c": drawn(4, 3, 3, 3), "d": drawn(4, 3, 1, 1), "e": drawn(2, 4, 1, 1)}
    return Case(nodes=nodes, shape=(3, 6, 6), weights=weights, opset=9, layers=3)


def classifier():
    """A label beside the classes' shares, as scikit-learn's converter writes it."""
    case = dense([node("Relu", ["h"], ["s"])], more=("label", "shares"))
    case.nodes += [
        node("Softmax", ["y"], ["shares"], axis=1),
        node("ArgMax", ["shares"], ["at"], axis=1),
        node("ArrayFeatureExtractor", ["names", "at"], ["label"], domain="ai.onnx.ml"),
    ]
    case.weights["names"] = np.array([3, 5, 7, 9])
    return case


def behind(op, **attributes):
    """An operator that no layer reads stands behind the last one."""
    case = dense([node("Relu", ["h"], ["s"])], more=("z",))
    case.nodes.append(node(op, ["y"], ["z"], **attributes))
    return case


def one_op(op, *inputs, **attributes):
    return [node(op, ["h", *inputs], ["s"], **attributes)]


CASES = {
    "argmax_out": behind("ArgMax", axis=1),
    "mlp_logsm": behind("LogSoftmax", axis=1),
    "skl_mlp": classifier(),
    "m_sum2": two_ways(),
    "m_softmax_old4d": old_softmax(),
    "mlp_gelu": gelu_of_parts(),
    "mlp_gelu_dyn20": dense(one_op("Gelu")),
    "mlp_softplus": dense(one_op("Softplus")),
    "mobilenet_elu": maps(one_op("Elu", alpha=0.7)),
    "mobilenet_hswish": maps(one_op("HardSwish")),
    "mobilenet_prelu": maps(one_op("PRelu", "slope"), weights={"slope": drawn(4, 1, 1)}),
    "res_gn": group_norm(),
    "unet_bilinear": unet("linear"),
    "unet_nearest": unet("nearest"),
    "cnn_hw_dyn": maps([node("Relu", ["h"], ["s"])], open=True),
    "seq_mlp_3d": three_axes(),
    "lstm_tf_dynT": dynamic_lstm(),
    "where_mask_weight": masked(),
    "if_const": decided(),
    "mlp_fp16io": half(),
}


def stored(case, path):
    sizes = [f"d{i}" for i in range(len(case.shape))] if case.open else list(case.shape)
    # Features are stated, places and times are not.
    if case.open:
        keep = 0 if len(case.shape) == 3 else len(sizes) - 1
        sizes[keep] = case.shape[keep]
    sizes.insert(case.axis, "n")
    tensors = [numpy_helper.from_array(value, name) for name, value in case.weights.items()]
    outputs = [helper.make_empty_tensor_value_info(name) for name in (case.out, *case.more)]
    entrance = helper.make_tensor_value_info("x", TensorProto.FLOAT, sizes)
    graph = helper.make_graph(case.nodes, "net", [entrance], outputs, tensors)
    imports = [helper.make_opsetid("", case.opset), helper.make_opsetid("ai.onnx.ml", 1)]
    path.write_bytes(helper.make_model(graph, opset_imports=imports, ir_version=8).SerializeToString())
    return path


def as_read(network, inputs):
    flow = dataflow(network)
    made = run_given(flow, {layer.name: layer for layer in network.layers}, inputs)
    return dict(zip(flow.outputs, made, strict=True))


@pytest.mark.parametrize("name", CASES)
def test_a_kind_runs_whole_and_as_in_onnxruntime(name, tmp_path):
    case = CASES[name]
    path = stored(case, tmp_path / "net.onnx")
    network = eie.load(path, input_shape={"x": case.shape} if case.open else None)
    assert not network.unmodelled
    assert len(network.layers) == case.layers
    x = np.random.default_rng(1).standard_normal((SAMPLES, *case.shape)).astype(np.float32)
    session = ort.InferenceSession(path.read_bytes(), providers=["CPUExecutionProvider"])
    (wanted,) = session.run([case.out], {"x": np.moveaxis(x, 0, case.axis)})
    close = {"rtol": 0, "atol": case.tolerance * max(1, np.abs(wanted).max())}
    (made,) = as_read(network, {"x": x}).values()
    np.testing.assert_allclose(made, wanted, **close)
    # Levels are shared without loss, so that the machine's float32 datapath makes the same numbers.
    result = eie.simulate(network, x, spec=SPEC, datapath="float32")
    assert result.drive == "execution"
    last = next(layer for layer in result.layers if layer.name == list(network.graph.uses)[-1])
    np.testing.assert_allclose(last.computed.float32.reshape(wanted.shape), wanted, **close)


def test_bfloat16_at_the_ends_runs_here(tmp_path):
    """Which onnxruntime has no kernels for: weights are the file's rounded ones, products in float32."""
    kind = TensorProto.BFLOAT16
    nodes = [
        node("Gemm", ["x", "a"], ["h"], "a"),
        node("Relu", ["h"], ["s"]),
        node("Gemm", ["s", "b"], ["y"], "b"),
    ]
    # A few bits of a level are exact in 8.
    arrays = {"a": drawn(6, 8), "b": drawn(8, 4)}
    tensors = [helper.make_tensor(name, kind, array.shape, array.ravel()) for name, array in arrays.items()]
    ends = [[helper.make_tensor_value_info(name, kind, ["n", size])] for name, size in (("x", 6), ("y", 4))]
    graph = helper.make_graph(nodes, "net", *ends, tensors)
    path = tmp_path / "net.onnx"
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=9), path)
    x = np.random.default_rng(1).standard_normal((SAMPLES, 6)).astype(np.float32)
    network = eie.load(path)
    hidden = np.maximum(x @ arrays["a"], 0)
    np.testing.assert_allclose(as_read(network, {"x": x})["y"], hidden @ arrays["b"], atol=1e-6)
    trace = eie.record(path, eie.Samples.of(x), values=True)
    np.testing.assert_allclose(trace.layers["b"].dense(), hidden, atol=1e-6)
    assert eie.simulate(network, x, spec=SPEC).drive == "execution"


# Of the shared files, by name: shapes of one sample where they are open, the axis of the samples there and back.
OPEN = {"cnn_hw_dyn": (3, 12, 10), "seq_mlp_3d": (7, 16), "lstm_tf_dynT": (6, 20)}
AXES = {"lstm_tf_dynT": (1, 0), "timefirst": (0, 1), "gemm_ta": (1, 0)}
QUANTISED = {"mlp_dyn_0_QInt8", "cnn_old_op17_QOperator", "mlp_old_QDQ"}
# Non-zero weights of all layers, each counted once.
WEIGHTS = {
    "gru_bf": 5152,
    "conv3d": 2700,
    "einsum": 152,
    "loop": 48,
    "local_function": 32,
    "if_const": 32,
    "shared_loop3": 88,
}
# Of a weight as the file stores it, where that is no float.
BITS = {**dict.fromkeys(QUANTISED, 8), "matmulnbits": 4}
PRODUCTS = {"tenc_old": 4, "tenc_dyn": 4, "gpt_old": 4, "attn": 2}
FILES = [
    "argmax_out",
    "attn",
    "cnn_hw_dyn",
    "cnn_old_op17_QOperator",
    "conv3d",
    "einsum",
    "gemm_ta",
    "gpt_old",
    "gru_bf",
    "if_const",
    "local_function",
    "loop",
    "lstm_tf_dynT",
    "m_softmax_old4d",
    "m_sum2",
    "matmulnbits",
    "mlp_bf16",
    "mlp_dyn_0_QInt8",
    "mlp_fp16io",
    "mlp_gelu",
    "mlp_gelu_dyn20",
    "mlp_logsm",
    "mlp_old_QDQ",
    "mlp_softplus",
    "mobilenet_elu",
    "mobilenet_hswish",
    "mobilenet_prelu",
    "res_gn",
    "rgb",
    "seq_mlp_3d",
    "shared_loop3",
    "skl_mlp",
    "tenc_dyn",
    "tenc_old",
    "timefirst",
    "two_inputs",
    "unet_bilinear",
    "unet_nearest",
    "where_mask_weight",
]


def in_onnxruntime(path, feeds, names, axes):
    """Run samples one by one, and return tensors of the file by name, or its first output for what it does not have."""
    proto = onnx.load(path)
    made = {name for part in proto.graph.node for name in part.output}
    last = proto.graph.output[0].name
    # Integers are what stands behind a quantiser: their floats are the output.
    wanted = [name if name in made and "uantize" not in name else last for name in names]
    stated = {value.name for value in proto.graph.output}
    proto.graph.output.extend(helper.make_empty_tensor_value_info(name) for name in set(wanted) - stated)
    session = ort.InferenceSession(proto.SerializeToString(), providers=["CPUExecutionProvider"])
    batch = session.get_inputs()[0].shape[axes[0]]
    size = batch if isinstance(batch, int) else 1
    parts = []
    for start in range(0, len(next(iter(feeds.values()))), size):
        fed = {name: np.moveaxis(array[start : start + size], 0, axes[0]) for name, array in feeds.items()}
        parts.append([np.moveaxis(array, axes[1], 0) for array in session.run(wanted, fed)])
    return [np.concatenate(arrays) for arrays in zip(*parts, strict=True)]


@pytest.mark.parametrize("name", FILES)
def test_a_shared_file_is_whole_and_as_in_onnxruntime(name, shared):
    path = shared / "cases" / "models" / f"{name}.onnx"
    if not path.exists():
        pytest.skip(f"../shared/cases/models/{name}.onnx is not here")
    network = eie.load(path, input_shape={"x": OPEN[name]} if name in OPEN else None)
    assert not network.unmodelled
    rng = np.random.default_rng(0)
    ids = name == "gpt_old"
    feeds = {
        entrance: rng.integers(0, 97, (4, *shape)) if ids else rng.standard_normal((4, *shape)).astype(np.float32)
        for entrance, shape in dataflow(network).inputs
    }
    result = eie.simulate(network, feeds, spec=SPEC)
    assert result.drive == "execution"
    assert not result.incomplete
    if name in PRODUCTS:
        assert result.host.products == {"MatMul": PRODUCTS[name]}
    if name in WEIGHTS:
        assert sum(layer.matrix.nnz for layer in network.layers) == WEIGHTS[name]
    if name in BITS:
        # And the scales, zero points and biases that go with them.
        assert all(BITS[name] <= layer.stored_bits < BITS[name] + 5 for layer in network.layers)
    if name == "shared_loop3":
        assert {layer: len(uses) for layer, uses in network.graph.uses_by_layer.items()} == {"l": 3, "o": 1}
    if name == "mlp_bf16":
        # onnxruntime cannot be fed, and recording runs it here.
        assert "in eie, float32" in eie.record(path, eie.Samples.of(feeds["input"])).source
        return
    made = as_read(network, feeds)
    there = in_onnxruntime(path, feeds, list(made), AXES.get(name, (0, 0)))
    tolerance = 0.02 if name in QUANTISED else 1e-3 if name == "mlp_fp16io" else 1e-5
    for ours, wanted in zip(made.values(), there, strict=True):
        np.testing.assert_allclose(ours.reshape(wanted.shape), wanted, rtol=0, atol=tolerance * np.abs(wanted).max())
