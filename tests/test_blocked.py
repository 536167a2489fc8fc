"""Convolutional files as onnxruntime saves them at its highest level: kernels and maps in blocks of channels."""

from contextlib import suppress

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

import eie
from eie.importers.onnx.reader import read_onnx
from eie.simulator.reference import run_given

onnx = pytest.importorskip("onnx", reason="needs the onnx extra")
ort = pytest.importorskip("onnxruntime", reason="needs the onnx extra")
helper, numpy_helper = onnx.helper, onnx.numpy_helper
SIZE = 9
DOMAIN = "com.microsoft.nchwc"
# Kernels that fill no whole blocks.
ODD = ((5, 3, 1, 1), (8, 0, 1, 1), (0, 3, 1, 1), (16, 5, 1, 1), (24, 24, 1, 1), (16, 1, 3, 3))


def drawn(*shape, seed=0):
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


def node(op, inputs, output, **attributes):
    return helper.make_node(op, inputs, [output], f"{op} {output}", **attributes)


def optimised(folder, nodes, weights, channels):
    """Save the file that onnxruntime makes of one; None where it has no blocks in it."""
    graph = helper.make_graph(
        nodes,
        "g",
        [helper.make_tensor_value_info("x", 1, [1, channels, SIZE, SIZE])],
        [helper.make_tensor_value_info("y", 1, None)],
        [numpy_helper.from_array(np.asarray(array), name) for name, array in weights.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)
    options, path = ort.SessionOptions(), folder / "blocked.onnx"
    options.optimized_model_filepath, options.log_severity_level = str(path), 4
    ort.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    return (model, path) if any(part.domain == DOMAIN for part in onnx.load(path).graph.node) else None


@pytest.fixture(autouse=True, scope="module")
def blocks(tmp_path_factory):
    conv = node("Conv", ["x", "w"], "y")
    if optimised(tmp_path_factory.mktemp("blocks"), [conv], {"w": drawn(32, 32, 1, 1)}, 32) is None:
        pytest.skip("onnxruntime has no blocked layout on this processor")


def check(model, path, channels):
    network = read_onnx(path).network
    assert not network.unmodelled
    x = drawn(1, channels, SIZE, SIZE, seed=9)
    (made,) = run_given(network.graph, {layer.name: layer for layer in network.layers}, {"x": x})
    (right,) = ort.InferenceSession(model.SerializeToString()).run(None, {"x": x})
    np.testing.assert_allclose(made, right, atol=1e-5 * max(1, np.abs(right).max()))
    return [(layer.geometry.in_channels, layer.geometry.out_channels) for layer in network.layers]


@settings(max_examples=20, deadline=None)
@given(st.integers(1, 40), st.integers(1, 40), st.integers(1, 40))
def test_law(tmp_path_factory, first, second, third):
    """No channel that fills up a block stays, whichever blocks there are."""
    nodes = [
        node("Conv", ["x", "w", "b"], "h", pads=[1] * 4),
        node("Relu", ["h"], "a"),
        node("MaxPool", ["a"], "p", kernel_shape=[2, 2]),
        node("Conv", ["p", "v"], "y"),
    ]
    weights = {"w": drawn(second, first, 3, 3), "b": drawn(second), "v": drawn(third, second, 1, 1)}
    made = optimised(tmp_path_factory.mktemp("law"), nodes, weights, first)
    # Of a few channels it leaves some convolutions as they are.
    assume(made is not None)
    assert check(*made, first) == [(first, second), (second, third)]


NEAREST = {"mode": "nearest", "coordinate_transformation_mode": "asymmetric", "nearest_mode": "floor"}
CASES = {
    "groups": ([node("Conv", ["x", "w"], "y", group=2)], {"w": drawn(32, 16, 3, 3)}, 32),
    "depthwise": (
        [node("Conv", ["x", "w"], "h", group=20), node("Conv", ["h", "v"], "y")],
        {"w": drawn(20, 1, 3, 3), "v": drawn(12, 20, 1, 1)},
        20,
    ),
    "residual": (
        [
            *(node("Conv", ["x", "w"], "h"), node("Conv", ["h", "v"], "q")),
            *(node("Add", ["h", "q"], "z"), node("Relu", ["z"], "y")),
        ],
        {"w": drawn(20, 3, 1, 1), "v": drawn(20, 20, 1, 1)},
        3,
    ),
    "joined": (
        [
            *(node("Conv", ["x", "w"], "h"), node("Conv", ["h", "v"], "q"), node("Concat", ["h", "q"], "j", axis=1)),
            *(node("Sigmoid", ["j"], "s"), node("GlobalAveragePool", ["s"], "y")),
        ],
        {"w": drawn(32, 3, 1, 1), "v": drawn(32, 32, 1, 1)},
        3,
    ),
    "larger": (
        [
            node("Conv", ["x", "w"], "h"),
            node("Resize", ["h", "", "twice"], "r", **NEAREST),
            node("Conv", ["r", "v"], "y"),
        ],
        {"w": drawn(16, 3, 1, 1), "v": drawn(5, 16, 1, 1), "twice": np.array([1, 1, 2, 2], np.float32)},
        3,
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_as_the_file_it_was_made_of(tmp_path, case):
    nodes, weights, channels = CASES[case]
    model, path = optimised(tmp_path, nodes, weights, channels)
    check(model, path, channels)


def test_somebody_elses_operator_of_the_domain_is_refused(tmp_path):
    _, path = optimised(tmp_path, [node("Conv", ["x", "w"], "y")], {"w": drawn(8, 3, 1, 1)}, 3)
    model = onnx.load(path)
    model.graph.node.append(helper.make_node("Unheard", ["x"], ["z"], domain=DOMAIN))
    onnx.save(model, path)
    with pytest.raises(eie.EieError, match=r"nchwc\.Conv"):
        eie.load(path)


@pytest.mark.parametrize(
    "shape", [(5, 3, 1, 1), (8, 0, 1, 1), (0, 3, 1, 1), (16, 5, 1, 1), (24, 24, 1, 1), (16, 1, 3, 3)]
)
@pytest.mark.parametrize("groups", [-1, 0, 1, 2, 16])
@pytest.mark.parametrize("bias", [0, 3])
def test_kernels_that_fill_no_blocks_are_no_traceback(tmp_path, shape, groups, bias):
    weights = {"w": np.ones(shape, np.float32), "b": np.ones(bias, np.float32)}
    inputs = ["w", "b"] if bias else ["w"]
    nodes = [
        helper.make_node("Conv", ["x", *inputs], ["c"], "c", domain=DOMAIN, group=groups),
        helper.make_node("Conv", ["c", *inputs], ["d"], "d", domain=DOMAIN, group=groups, activation="Relu"),
        helper.make_node("ReorderOutput", ["d"], ["y"], "y", domain=DOMAIN, channels=99),
    ]
    graph = helper.make_graph(
        nodes,
        "g",
        [helper.make_tensor_value_info("x", 1, [1, 3, SIZE, SIZE])],
        [helper.make_tensor_value_info("y", 1, None)],
        [numpy_helper.from_array(array, name) for name, array in weights.items() if name in inputs],
    )
    sets = [helper.make_opsetid("", 13), helper.make_opsetid(DOMAIN, 1)]
    onnx.save(helper.make_model(graph, opset_imports=sets, ir_version=8), tmp_path / "m.onnx")
    with suppress(eie.EieError):
        eie.load(tmp_path / "m.onnx")
