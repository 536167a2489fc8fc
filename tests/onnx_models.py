"""Small ONNX models built by hand, weights from 14 levels so that 4-bit sharing is exact and float32 sums nearly so."""

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

LEVELS = np.concatenate((np.arange(-7, 0), np.arange(1, 8))).astype(np.float32) / 32
OPSET = 18


def drawn(rng, *shape, density=0.5):
    """Pruned weights from LEVELS."""
    return np.where(rng.random(shape) < density, rng.choice(LEVELS, shape), 0).astype(np.float32)


def node(op, inputs, outputs, name=None, **attributes):
    return helper.make_node(op, inputs, outputs, name or f"{op.lower()}_{outputs[0]}", **attributes)


def model(nodes, inputs, outputs, weights, sparse=(), opset=OPSET):
    """A model; inputs and outputs map names to shapes, weights to arrays or tensors."""
    tensors = [
        numpy_helper.from_array(value, name) if isinstance(value, np.ndarray) else value
        for name, value in weights.items()
    ]
    graph = helper.make_graph(
        nodes,
        "test",
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name, shape in inputs.items()],
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name, shape in outputs.items()],
        tensors,
        sparse_initializer=sparse,
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=9)


def mlp(seed=0):
    """Gemm with transB, MatMul + Add, Gemm with alpha and beta; ReLU between."""
    rng = np.random.default_rng(seed)
    weights = {
        "fc1.weight": drawn(rng, 30, 20),
        "fc1.bias": drawn(rng, 30),
        "w2": drawn(rng, 30, 25),
        "fc2.bias": drawn(rng, 25),
        "w3": drawn(rng, 25, 10),
        "b3": drawn(rng, 10) * 4,
    }
    nodes = [
        node("Gemm", ["x", "fc1.weight", "fc1.bias"], ["h1"], transB=1),
        node("Relu", ["h1"], ["a1"]),
        node("MatMul", ["a1", "w2"], ["m2"]),
        node("Add", ["fc2.bias", "m2"], ["h2"]),
        node("Relu", ["h2"], ["a2"]),
        node("Gemm", ["a2", "w3", "b3"], ["y"], name="last", alpha=2.0, beta=0.5),
    ]
    return model(nodes, {"x": ["batch", 20]}, {"y": ["batch", 10]}, weights)


def cnn(seed=0):
    """3x3, strided with SAME padding, 1x1, grouped and dilated convolutions; pooling, a residual sum, a concat."""
    rng = np.random.default_rng(seed)
    weights = {
        "c1.weight": drawn(rng, 8, 3, 3, 3),
        "c1.bias": drawn(rng, 8),
        "c2.weight": drawn(rng, 8, 8, 3, 3),
        "c3.weight": drawn(rng, 8, 8, 1, 1),
        "c3.bias": drawn(rng, 8),
        "c4.weight": drawn(rng, 8, 4, 3, 3),
        "c5.weight": drawn(rng, 6, 8, 2, 3),
        "fc.weight": drawn(rng, 5, 22),
        "fc.bias": drawn(rng, 5),
        "scale": rng.random(8).astype(np.float32) + 0.5,
        "shift": rng.standard_normal(8).astype(np.float32),
        "mean": rng.standard_normal(8).astype(np.float32) / 8,
        "variance": rng.random(8).astype(np.float32) + 0.5,
        "flat": np.array([0, -1], np.int64),
    }
    nodes = [
        node("Conv", ["x", "c1.weight", "c1.bias"], ["h1"], pads=[1, 1, 1, 1]),
        node("Relu", ["h1"], ["a1"]),
        node("Conv", ["a1", "c2.weight"], ["h2"], strides=[2, 2], auto_pad="SAME_UPPER", kernel_shape=[3, 3]),
        node("Relu", ["h2"], ["a2"]),
        node("Conv", ["a2", "c3.weight", "c3.bias"], ["h3"]),
        node("BatchNormalization", ["h3", "scale", "shift", "mean", "variance"], ["n3"]),
        node("Relu", ["n3"], ["a3"]),
        node("Conv", ["a3", "c4.weight"], ["h4"], group=2, dilations=[2, 2], pads=[2, 2, 2, 2]),
        node("Add", ["h4", "a2"], ["s4"]),
        node("Relu", ["s4"], ["a4"]),
        node("Conv", ["a4", "c5.weight"], ["h5"], strides=[1, 2], pads=[0, 1, 1, 0]),
        node("LeakyRelu", ["h5"], ["a5"], alpha=0.125),
        node("MaxPool", ["a4"], ["p4"], kernel_shape=[3, 3], strides=[2, 2], pads=[1, 1, 0, 0]),
        node("AveragePool", ["p4"], ["q4"], kernel_shape=[2, 2], ceil_mode=1),
        node("GlobalAveragePool", ["q4"], ["g4"]),
        node("GlobalMaxPool", ["a5"], ["g5"]),
        node("Concat", ["g4", "g5", "g4"], ["joined"], axis=1),
        node("Reshape", ["joined", "flat"], ["f"]),
        node("Gemm", ["f", "fc.weight", "fc.bias"], ["y"], transB=1),
    ]
    return model(nodes, {"x": ["batch", 3, 13, 13]}, {"y": ["batch", 5]}, weights)


def lstm(direction="forward", seed=0, steps=6):
    """A sequence-first LSTM, as torch exports it, with a fully connected layer behind every step."""
    rng = np.random.default_rng(seed)
    ways = 2 if direction == "bidirectional" else 1
    weights = {
        "w": drawn(rng, ways, 28, 5),
        "r": drawn(rng, ways, 28, 7),
        "b": np.concatenate((drawn(rng, ways, 28), np.zeros((ways, 28), np.float32)), axis=1),
        "h0": np.zeros((ways, 2, 7), np.float32),
        "shape": np.array([0, 0, -1], np.int64),
        "fc.weight": drawn(rng, 7 * ways, 4),
        "fc.bias": drawn(rng, 4),
    }
    nodes = [
        node("LSTM", ["x", "w", "r", "b", "", "h0", "h0"], ["h"], "rnn", hidden_size=7, direction=direction),
        node("Transpose", ["h"], ["t"], perm=[0, 2, 1, 3]),
        node("Reshape", ["t", "shape"], ["f"]),
        node("Relu", ["f"], ["a"]),
        node("MatMul", ["a", "fc.weight"], ["m"]),
        node("Add", ["m", "fc.bias"], ["y"]),
    ]
    return model(nodes, {"x": [steps, 2, 5]}, {"y": [steps, 2, 4]}, weights)


def saved(proto, path):
    """Write a model after the checker has passed it, and return its path."""
    onnx.checker.check_model(proto)
    path.write_bytes(proto.SerializeToString())
    return path


def run(proto, x, names):
    """Run in onnxruntime; return the tensors called ``names``."""
    import onnxruntime

    proto = onnx.ModelProto.FromString(proto.SerializeToString())
    given = {one.name for one in proto.graph.output}
    for name in dict.fromkeys(names):
        if name not in given:
            proto.graph.output.append(helper.make_empty_tensor_value_info(name))
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    session = onnxruntime.InferenceSession(proto.SerializeToString(), options, providers=["CPUExecutionProvider"])
    return dict(zip(names, session.run(list(names), {proto.graph.input[0].name: x}), strict=True))
