"""What reading a model file takes in memory, in terms of its weights at four bytes each; one layer is the hardest case.

Counted by `tracemalloc`, with what is read from a file in memory that it traces.
"""

import math
import tracemalloc

import numpy as np
import pytest

import eie
from eie.importers.onnx import tensors

pytest.importorskip("onnxruntime")
helper = pytest.importorskip("onnx.helper")
numpy_helper = pytest.importorskip("onnx.numpy_helper")

# Of the target, 3, what is kept for whatever else a process does.
SHARE = 2.8
# Outputs and inputs: two million weights.
OUTPUTS, INPUTS = 2048, 1024
RNG = np.random.default_rng(0)


def few_zeros(*shape):
    """Weights of which one in fifty is zero."""
    weights = RNG.standard_normal(shape, np.float32)
    weights[RNG.random(shape) < 0.02] = 0
    return weights


def int8(*shape):
    """As a file quantises them: about one in a hundred is zero."""
    return np.rint(RNG.standard_normal(shape) * 40).clip(-127, 127).astype(np.int8)


def matmul(weights):
    return [helper.make_node("MatMul", ["x", "w"], ["y"])], {"w": weights}


def dequantised(**more):
    nodes, _ = matmul(None)
    many = (INPUTS // 32, OUTPUTS) if more else (OUTPUTS,)
    stored = {"q": int8(INPUTS, OUTPUTS), "s": np.full(many, 0.01, np.float32), "z": np.zeros(many, np.int8)}
    return [helper.make_node("DequantizeLinear", ["q", "s", "z"], ["w"], **{"axis": 1, **more}), *nodes], stored


def qlinear():
    scales = {"s": np.float32(0.1), "z": np.uint8(3), "v": np.float32(0.01), "o": np.int8(0)}
    return [
        helper.make_node("QuantizeLinear", ["x", "s", "z"], ["xq"]),
        helper.make_node("QLinearMatMul", ["xq", "s", "z", "w", "v", "o", "s", "z"], ["yq"]),
        helper.make_node("DequantizeLinear", ["yq", "s", "z"], ["y"]),
    ], {**scales, "w": int8(INPUTS, OUTPUTS)}


def packed():
    node = helper.make_node(
        "MatMulNBits", ["x", "q", "s"], ["y"], domain="com.microsoft", N=OUTPUTS, K=INPUTS, bits=4, block_size=32
    )
    stored = RNG.integers(0, 256, (OUTPUTS, INPUTS // 32, 16)).astype(np.uint8)
    return [node], {"q": stored, "s": np.full(OUTPUTS * INPUTS // 32, 0.01, np.float32)}


def recurrent(op, gates, quantised):
    hidden = {4: 512, 3: 592, 1: 1024}[gates]
    attributes = {"linear_before_reset": 1} if op == "GRU" else {}
    node = helper.make_node(op, ["x", "W", "R"], ["y"], hidden_size=hidden, **attributes)
    if not quantised:
        return [node], {"W": few_zeros(1, gates * hidden, hidden), "R": few_zeros(1, gates * hidden, hidden)}
    stored = {"qW": int8(1, gates * hidden, hidden), "qR": int8(1, gates * hidden, hidden), "s": np.float32(0.01)}
    unpacked = [helper.make_node("DequantizeLinear", [f"q{name}", "s"], [name]) for name in "WR"]
    return [*unpacked, node], stored


def convolution(op="Conv", groups=1):
    return [helper.make_node(op, ["x", "w"], ["y"], group=groups)], {"w": few_zeros(480, 480, 3, 3)}


def many_small():
    nodes = [helper.make_node("MatMul", [f"x{i}" if i else "x", f"w{i}"], [f"x{i + 1}"]) for i in range(160)]
    return nodes, {f"w{i}": few_zeros(120, 120) for i in range(160)}


FORMS = {
    "a few zeros": lambda: matmul(few_zeros(INPUTS, OUTPUTS)),
    "int8, a scale an output": dequantised,
    "int8, a scale a block": lambda: dequantised(axis=0, block_size=32),
    "QLinearMatMul": qlinear,
    "4 bits": packed,
    "LSTM": lambda: recurrent("LSTM", 4, quantised=False),
    "int8 LSTM": lambda: recurrent("LSTM", 4, quantised=True),
    "GRU": lambda: recurrent("GRU", 3, quantised=False),
    "int8 RNN": lambda: recurrent("RNN", 1, quantised=True),
    "convolution": convolution,
    "grouped convolution": lambda: convolution(groups=2),
    "transposed convolution": lambda: convolution("ConvTranspose"),
    "many small layers": many_small,
}


def write(path, nodes, arrays):
    shapes = {"LSTM": [4, 1, 512], "GRU": [4, 1, 592], "RNN": [4, 1, 1024]}
    operators = {node.op_type for node in nodes}
    shape = next((shape for op, shape in shapes.items() if op in operators), ["n", INPUTS])
    if operators & {"Conv", "ConvTranspose"}:
        group = next(entry.i for entry in nodes[-1].attribute if entry.name == "group")
        shape = ["n", 480 * group, 8, 8]
    if len(nodes) > 100:
        shape = ["n", 120]
    graph = helper.make_graph(
        nodes,
        "one layer",
        [helper.make_tensor_value_info("x", 1, shape)],
        [helper.make_empty_tensor_value_info(nodes[-1].output[0])],
        [numpy_helper.from_array(np.asarray(array), name) for name, array in arrays.items()],
    )
    graph.output[0].type.tensor_type.elem_type = 1
    opsets = [helper.make_opsetid("", 21), helper.make_opsetid("com.microsoft", 1)]
    path.write_bytes(helper.make_model(graph, opset_imports=opsets, ir_version=10).SerializeToString())


@pytest.mark.parametrize("form", FORMS)
def test_reading_takes_less_than_three_times_the_weights(form, tmp_path, monkeypatch):
    monkeypatch.setattr(tensors, "mmap", lambda _, size: bytearray(size))
    file = tmp_path / "model.onnx"
    nodes, arrays = FORMS[form]()
    write(file, nodes, arrays)
    del arrays
    # Libraries and kernels come with the first file.
    weights = sum(math.prod(layer.geometry.dense_shape) for layer in eie.load(file).layers)
    assert weights >= 2_000_000
    tracemalloc.start()
    try:
        eie.load(file)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak <= SHARE * 4 * weights
