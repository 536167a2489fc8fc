"""ONNX graphs in forms that exporters and optimisers leave them in, against onnxruntime, on models made here."""

from dataclasses import dataclass

import numpy as np
import pytest

import eie

onnx = pytest.importorskip("onnx", reason="needs the onnx extra")
pytest.importorskip("onnxruntime", reason="needs the onnx extra")
import onnx_models as make  # noqa: E402

from eie.errors import ModelError  # noqa: E402
from eie.model.network import dataflow  # noqa: E402
from eie.simulator.reference import run_given  # noqa: E402

node = make.node


@dataclass
class Case:
    nodes: list
    inputs: dict
    outputs: dict
    weights: dict
    batch: int = 0
    made: int | None = None
    opset: int = 17


def whole(case, tmp_path, tolerance=1e-5, proto=None):
    """Load the case whole, compare its float32 outputs with onnxruntime's, and return the network."""
    proto = proto or make.model(case.nodes, case.inputs, case.outputs, case.weights, opset=case.opset)
    path = tmp_path / "net.onnx"
    path.write_bytes(proto.SerializeToString())
    network = eie.load(path)
    assert network.unmodelled == ()
    shape, out = next(iter(case.inputs.values())), next(iter(case.outputs))
    x = np.random.default_rng(1).standard_normal(shape).astype(np.float32)
    wanted = make.run(proto, x, [out])[out]
    flow = dataflow(network)
    layers = {layer.name: layer for layer in network.layers}
    (made,) = run_given(flow, layers, {flow.inputs[0][0]: np.moveaxis(x, case.batch, 0)})
    axis = case.batch if case.made is None else case.made
    scale = np.abs(wanted).max()
    assert np.abs(np.moveaxis(made, 0, axis) - wanted).max() <= tolerance * scale
    return network


def weights(*shape, seed=0):
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


def matmul(a, b):
    return node("MatMul", [a, b], ["y"])


EINSUMS = [
    ("bi,io->bo", (2, 6), (6, 4)),
    ("oi,bi->bo", (2, 6), (4, 6)),
    ("btd,dhk->bthk", (2, 5, 6), (6, 3, 4)),
    ("bthk,hkd->btd", (2, 5, 3, 4), (3, 4, 6)),
    ("btd,dhk->bhtk", (2, 5, 6), (6, 3, 4)),
    ("bct,oc->bot", (2, 6, 5), (4, 6)),
    ("...i,io->...o", (2, 5, 6), (6, 4)),
    ("bi,io", (2, 6), (6, 4)),
]


@pytest.mark.parametrize(("equation", "x", "w"), EINSUMS)
def test_einsum_with_constant_weights_is_one_layer(tmp_path, equation, x, w):
    first = equation.split(",")[0] in ("oi",)
    names = ["w", "x"] if first else ["x", "w"]
    shape = np.einsum(equation, *((np.zeros(w), np.zeros(x)) if first else (np.zeros(x), np.zeros(w)))).shape
    case = Case([node("Einsum", names, ["y"], equation=equation)], {"x": x}, {"y": shape}, {"w": weights(*w)})
    network = whole(case, tmp_path)
    assert [layer.matrix.nnz for layer in network.layers] == [np.prod(w)]


def test_einsum_that_is_no_product_with_one_matrix_is_refused_by_name(tmp_path):
    nodes = [node("Einsum", ["x", "w"], ["y"], "e", equation="bhi,hio->bho")]
    proto = make.model(nodes, {"x": (2, 3, 6)}, {"y": (2, 3, 4)}, {"w": weights(3, 6, 4)})
    (tmp_path / "net.onnx").write_bytes(proto.SerializeToString())
    with pytest.raises(ModelError, match=r"e \(Einsum: letters bhi, hio -> bho are no product with one matrix"):
        eie.load(tmp_path / "net.onnx")


class TestProducts:
    def test_samples_in_the_columns_of_a_transposed_gemm(self, tmp_path):
        nodes = [node("Gemm", ["x", "w"], ["h"], transA=1), node("Relu", ["h"], ["y"])]
        case = Case(nodes, {"x": (6, 3)}, {"y": (3, 4)}, {"w": weights(6, 4)}, batch=1, made=0)
        whole(case, tmp_path)

    def test_weights_on_the_left_of_columns(self, tmp_path):
        inputs, outputs = {"x": (6, 3)}, {"y": (4, 3)}
        case = Case(
            [node("MatMul", ["w", "x"], ["h"]), node("Relu", ["h"], ["y"])],
            inputs,
            outputs,
            {"w": weights(4, 6)},
            batch=1,
        )
        whole(case, tmp_path)
        gemm = [node("Gemm", ["w", "x", "c"], ["y"], alpha=0.5, beta=2.0)]
        whole(Case(gemm, inputs, outputs, {"w": weights(4, 6), "c": weights(4, 1)}, batch=1), tmp_path)

    def test_weights_on_the_left_of_matrices(self, tmp_path):
        case = Case([matmul("w", "x")], {"x": (2, 6, 5)}, {"y": (2, 4, 5)}, {"w": weights(4, 6)})
        network = whole(case, tmp_path)
        assert [layer.matrix.shape for layer in network.layers] == [(4, 6)]

    def test_a_matrix_in_a_batch_of_one(self, tmp_path):
        whole(Case([matmul("x", "w")], {"x": (2, 5, 6)}, {"y": (2, 5, 4)}, {"w": weights(1, 6, 4)}), tmp_path)

    @pytest.mark.parametrize("heads", [1, 3])
    def test_a_stack_of_matrices_is_a_layer_each(self, tmp_path, heads):
        case = Case([matmul("x", "w")], {"x": (2, heads, 5, 6)}, {"y": (2, 3, 5, 4)}, {"w": weights(3, 6, 4)})
        network = whole(case, tmp_path)
        assert [layer.matrix.shape for layer in network.layers] == [(4, 6)] * 3

    def test_what_turned_layers_read_is_recorded_in_their_order(self, tmp_path):
        nodes = [node("MatMul", ["w", "x"], ["h"]), node("Einsum", ["h", "e"], ["y"], equation="bct,oct->bo")]
        proto = make.model(nodes, {"x": (2, 6, 5)}, {"y": (2, 3)}, {"w": weights(4, 6), "e": weights(3, 4, 5)})
        path = tmp_path / "net.onnx"
        path.write_bytes(proto.SerializeToString())
        x = weights(2, 6, 5, seed=3)
        trace = eie.record(path, eie.Samples.of(x), values=True)
        h = make.run(proto, x, ["h"])["h"]
        first, second = trace.layers.values()
        assert np.array_equal(first.dense(), x.transpose(0, 2, 1).reshape(-1, 6))
        assert np.array_equal(second.dense(), h.reshape(2, -1))
