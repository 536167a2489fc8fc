"""Softmax of operator sets before 13 takes all axes from its own on as one, here between two convolutions."""

import numpy as np
import pytest

import eie
from eie.model.dataflow import dataflow
from eie.simulator.reference import run_given

pytest.importorskip("onnx", reason="needs the onnx extra")
ort = pytest.importorskip("onnxruntime", reason="needs the onnx extra")

import onnx_models as make  # noqa: E402


@pytest.mark.parametrize(("opset", "axis"), [(11, 1), (11, 2), (11, -1), (13, 1)])
def test_on_maps(opset, axis, tmp_path):
    rng = np.random.default_rng(0)
    weights = {"a.weight": make.drawn(rng, 4, 3, 3, 3), "b.weight": make.drawn(rng, 5, 4, 1, 1)}
    nodes = [
        make.node("Conv", ["x", "a.weight"], ["h"], "a"),
        make.node("Softmax", ["h"], ["s"], axis=axis),
        make.node("Conv", ["s", "b.weight"], ["y"], "b"),
    ]
    proto = make.model(nodes, {"x": ["n", 3, 6, 6]}, {"y": ["n", 5, 4, 4]}, weights, opset=opset)
    path, x = tmp_path / "net.onnx", rng.standard_normal((2, 3, 6, 6)).astype(np.float32)
    path.write_bytes(proto.SerializeToString())
    network = eie.load(path)
    (y,) = run_given(dataflow(network), {layer.name: layer for layer in network.layers}, {"x": x})
    (expected,) = ort.InferenceSession(path.read_bytes(), providers=["CPUExecutionProvider"]).run(None, {"x": x})
    np.testing.assert_allclose(y, expected, atol=1e-6)
    # A sum over maps and one over channels are told apart.
    assert abs(expected).max() > 1e-3
