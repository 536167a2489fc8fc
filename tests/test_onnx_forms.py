"""ONNX graphs in forms that exporters and optimisers leave them in, against onnxruntime, on models made here."""

from dataclasses import dataclass

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import eie

onnx = pytest.importorskip("onnx", reason="needs the onnx extra")
pytest.importorskip("onnxruntime", reason="needs the onnx extra")
import onnx_models as make  # noqa: E402
from onnx import TensorProto, helper, numpy_helper  # noqa: E402

from eie.compression.share import share  # noqa: E402
from eie.errors import EieError, ModelError  # noqa: E402
from eie.model.dataflow import dataflow  # noqa: E402
from eie.model.host import host_work  # noqa: E402
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


BLOCKS = [
    ("bhi,hio->bho", (2, 3, 6), (3, 6, 4)),
    ("bthi,hio->btho", (2, 5, 3, 6), (3, 6, 4)),
    ("bhti,hoi->bhot", (2, 3, 5, 6), (3, 4, 6)),
]


@pytest.mark.parametrize(("equation", "x", "w"), BLOCKS)
def test_einsum_by_blocks_is_a_layer_for_each(tmp_path, equation, x, w):
    shape = np.einsum(equation, np.zeros(x), np.zeros(w)).shape
    case = Case([node("Einsum", ["x", "w"], ["y"], equation=equation)], {"x": x}, {"y": shape}, {"w": weights(*w)})
    network = whole(case, tmp_path)
    assert [layer.matrix.shape for layer in network.layers] == [(4, 6)] * 3


def test_einsum_of_several_operands_is_a_product_after_the_other(tmp_path):
    nodes = [
        node("MatMul", ["x", "q"], ["a"]),
        node("Einsum", ["w", "a", "x", "v"], ["y"], "e", equation="pq,bsp,bti,io->bstqo"),
    ]
    arrays = {"q": weights(6, 4), "w": weights(4, 3, seed=1), "v": weights(6, 2, seed=2)}
    network = whole(Case(nodes, {"x": (2, 5, 6)}, {"y": (2, 5, 5, 3, 2)}, arrays), tmp_path, tolerance=1e-4)
    assert [layer.matrix.shape for layer in network.layers] == [(4, 6), (3, 4), (2, 6)]


def test_einsum_that_is_no_product_with_one_matrix_is_refused_by_name(tmp_path):
    nodes = [node("Einsum", ["x", "w"], ["y"], "e", equation="bhji,hio->bho")]
    proto = make.model(nodes, {"x": (2, 3, 2, 6)}, {"y": (2, 3, 4)}, {"w": weights(3, 6, 4)})
    (tmp_path / "net.onnx").write_bytes(proto.SerializeToString())
    with pytest.raises(ModelError, match=r"e \(Einsum: letters bhji, hio -> bho are no product with one matrix"):
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

    def test_a_stack_of_matrices_on_the_left(self, tmp_path):
        nodes = [matmul("w", "x"), node("Relu", ["y"], ["z"])]
        case = Case(nodes, {"x": (2, 3, 6, 5)}, {"z": (2, 3, 4, 5)}, {"w": weights(3, 4, 6)})
        network = whole(case, tmp_path)
        assert [layer.matrix.shape for layer in network.layers] == [(4, 6)] * 3
        x = weights(2, 3, 6, 5, seed=3)
        trace = eie.record(tmp_path / "net.onnx", eie.Samples.of(x), values=True)
        for i, rows in enumerate(trace.layers.values()):
            assert np.array_equal(rows.dense(), x[:, i].transpose(0, 2, 1).reshape(-1, 6))

    @pytest.mark.parametrize("opset", [11, 17])
    def test_a_vector_is_a_matrix_of_one(self, tmp_path, opset):
        right = Case([matmul("x", "w")], {"x": (2, 5, 6)}, {"y": (2, 5)}, {"w": weights(6)}, opset=opset)
        assert [layer.matrix.shape for layer in whole(right, tmp_path).layers] == [(1, 6)]
        left = Case([matmul("w", "x")], {"x": (2, 6, 5)}, {"y": (2, 5)}, {"w": weights(6)}, opset=opset)
        assert [layer.matrix.shape for layer in whole(left, tmp_path).layers] == [(1, 6)]

    def test_what_a_gemm_adds_may_be_computed(self, tmp_path):
        nodes = [
            node("Gemm", ["x", "w"], ["a"]),
            node("Gemm", ["a", "v", "a"], ["h"], alpha=2.0, beta=0.5, transB=1),
            node("Gemm", ["h", "w"], ["y"], transB=1),
        ]
        case = Case(nodes, {"x": (3, 6)}, {"y": (3, 6)}, {"w": weights(6, 4), "v": weights(4, 4, seed=1)})
        assert [layer.matrix.shape for layer in whole(case, tmp_path).layers] == [(4, 6), (4, 4), (6, 4)]

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


def convolution(op, x, w, **attributes):
    """One convolution with a bias, and a ReLU that becomes part of it."""
    outputs = w[0] if op == "Conv" else w[1] * attributes.get("group", 1)
    nodes = [node(op, ["x", "w", "b"], ["h"], **attributes), node("Relu", ["h"], ["y"])]
    return Case(nodes, {"x": x}, {"y": [None] * len(x)}, {"w": weights(*w), "b": weights(outputs, seed=1)})


TRANSPOSED = {
    "plain": ((2, 3, 5, 4), (3, 2, 3, 2), {}),
    "stride and cut": ((2, 3, 5, 4), (3, 2, 4, 3), {"strides": [2, 3], "pads": [1, 0, 2, 1]}),
    "output padding": ((1, 3, 4, 4), (3, 2, 3, 3), {"strides": [2, 2], "pads": [1] * 4, "output_padding": [1, 1]}),
    "groups, dilation": ((1, 4, 5, 5), (4, 3, 2, 2), {"group": 2, "dilations": [2, 1], "strides": [2, 2]}),
    "SAME_UPPER": ((1, 3, 5, 5), (3, 2, 3, 3), {"auto_pad": "SAME_UPPER", "strides": [2, 2]}),
    "SAME_LOWER": ((1, 3, 5, 5), (3, 2, 4, 4), {"auto_pad": "SAME_LOWER", "strides": [3, 3]}),
    "stated size": ((1, 3, 5, 5), (3, 2, 3, 3), {"output_shape": [10, 11], "strides": [2, 2]}),
    "one dimension": ((2, 3, 7), (3, 2, 4), {"strides": [2], "pads": [1, 1]}),
}


@pytest.mark.parametrize(("x", "w", "attributes"), TRANSPOSED.values(), ids=TRANSPOSED)
def test_a_transposed_convolution_is_one_over_a_stretched_map(tmp_path, x, w, attributes):
    network = whole(convolution("ConvTranspose", x, w, **attributes), tmp_path)
    (layer,) = network.layers
    assert (layer.relu, layer.matrix.nnz, layer.weight_density) == (True, np.prod(w), 1)


VOLUMES = {
    "plain": ((2, 2, 5, 4, 3), (3, 2, 3, 2, 2), {}),
    "all": (
        (1, 4, 6, 7, 8),
        (6, 2, 2, 3, 3),
        {"group": 2, "strides": [1, 2, 2], "pads": [1, 0, 1, 0, 2, 1], "dilations": [2, 1, 1]},
    ),
    "SAME": ((1, 2, 5, 5, 5), (3, 2, 3, 3, 3), {"auto_pad": "SAME_UPPER", "strides": [2, 2, 2]}),
}


@pytest.mark.parametrize(("x", "w", "attributes"), VOLUMES.values(), ids=VOLUMES)
def test_a_convolution_over_a_volume(tmp_path, x, w, attributes):
    (layer,) = whole(convolution("Conv", x, w, **attributes), tmp_path).layers
    assert (layer.stored_weights.shape, layer.weight_density) == (w, 1)


VOLUMES_ACROSS = [
    ((2, 4, 3, 3, 4), (4, 2, 2, 3, 3), {"strides": [2, 1, 3], "group": 2}),
    ((1, 2, 3, 4, 3), (2, 3, 3, 3, 3), {"strides": [2, 2, 2], "pads": [1, 0, 1, 1, 2, 1], "output_padding": [1, 0, 1]}),
    ((1, 2, 3, 3, 3), (2, 3, 1, 2, 1), {"pads": [1, 1, 0, 1, 1, 1], "dilations": [1, 2, 1]}),
    ((1, 2, 3, 3, 3), (2, 3, 3, 3, 3), {"strides": [2, 2, 2], "auto_pad": "SAME_UPPER"}),
]


@pytest.mark.parametrize("opset", [9, 17])
@pytest.mark.parametrize(("x", "w", "attributes"), VOLUMES_ACROSS)
def test_a_transposed_convolution_over_a_volume(tmp_path, x, w, attributes, opset):
    case = convolution("ConvTranspose", x, w, **attributes)
    case.opset = opset
    whole(case, tmp_path)


def recurrent(op, direction, **attributes):
    gates, ways = {"GRU": 3, "RNN": 1, "LSTM": 4}[op], 2 if direction == "bidirectional" else 1
    arrays = {
        "w": weights(ways, gates * 5, 4),
        "r": weights(ways, gates * 5, 5, seed=1),
        "b": weights(ways, 2 * gates * 5, seed=2),
        "zero": np.zeros(1, np.float32),
    }
    # The zero state of a shape taken from the input, as exporters write it.
    nodes = [
        node("Shape", ["x"], ["s"]),
        node("Constant", [], ["one"], value_ints=[1]),
        node("Gather", ["s", "one"], ["n"], axis=0),
        node("Constant", [], ["head"], value_ints=[ways]),
        node("Constant", [], ["tail"], value_ints=[5]),
        node("Concat", ["head", "n", "tail"], ["size"], axis=0),
        node("Expand", ["zero", "size"], ["h0"]),
        node("Constant", [], ["lengths"], value=helper.make_tensor("l", TensorProto.INT32, [3], [6] * 3)),
        node(
            op,
            ["x", "w", "r", "b", "lengths", "h0"],
            ["y"],
            hidden_size=5,
            direction=direction,
            **attributes,
        ),
    ]
    return Case(nodes, {"x": (6, 3, 4)}, {"y": [None] * 4}, arrays, batch=1, made=2)


@pytest.mark.parametrize("direction", ["forward", "reverse", "bidirectional"])
@pytest.mark.parametrize("op", ["GRU", "RNN", "LSTM"])
def test_recurrent_layers_from_a_zero_state_of_the_inputs_shape(tmp_path, op, direction):
    more = {"linear_before_reset": 1} if op == "GRU" else {}
    network = whole(recurrent(op, direction, **more), tmp_path)
    assert {layer.geometry.kind for layer in network.layers} == {op.lower()}
    assert (
        sum(layer.matrix.nnz for layer in network.layers)
        == weights(*recurrent(op, direction).weights["w"].shape).size + recurrent(op, direction).weights["r"].size
    )


def test_what_a_gru_reads_is_recorded_with_its_states_and_runs_in_fixed_point(tmp_path):
    case = recurrent("GRU", "bidirectional", linear_before_reset=1)
    path = tmp_path / "net.onnx"
    path.write_bytes(make.model(case.nodes, case.inputs, case.outputs, case.weights, opset=17).SerializeToString())
    x = weights(3, 6, 4, seed=5)
    trace = eie.record(path, eie.Samples.of(x), values=True)
    states = make.run(
        make.model(case.nodes, case.inputs, case.outputs, case.weights, opset=17), x.transpose(1, 0, 2), ["y"]
    )["y"]
    forward, reverse = (rows.dense().reshape(3, 6, 9) for rows in trace.layers.values())
    assert np.array_equal(forward[:, 1:, 4:], states[:-1, 0].swapaxes(0, 1))
    assert np.array_equal(reverse[:, :-1, 4:], states[1:, 1].swapaxes(0, 1))
    result = eie.simulate(path, x, spec=eie.EIE_64PE)
    assert max(layer.computed.max_abs_error for layer in result.layers) < 0.01


def stored(proto, tmp_path):
    path = tmp_path / "net.onnx"
    path.write_bytes(proto.SerializeToString())
    return path


def tensor(value, name):
    return numpy_helper.from_array(np.asarray(value), name)


def body(nodes, inputs, outputs, *arrays):
    """A subgraph; types are left to be inferred where onnxruntime can."""
    infos = [[helper.make_empty_tensor_value_info(name) for name in names] for names in (inputs, outputs)]
    return helper.make_graph(nodes, "body", *infos, list(arrays))


class TestGraphs:
    def test_nodes_in_any_order_are_sorted(self, tmp_path):
        proto = make.mlp()
        nodes = list(proto.graph.node)[::-1]
        del proto.graph.node[:]
        proto.graph.node.extend(nodes)
        network = eie.load(stored(proto, tmp_path))
        assert [layer.name for layer in network.layers] == ["fc1", "fc2", "last"]

    def test_half_precision_inside_and_casts_behind(self, tmp_path):
        nodes = [
            node("Gemm", ["h", "w"], ["g"], "fc"),
            node("Cast", ["g"], ["y"], to=TensorProto.FLOAT),
            # As a converter appends it: last in the file, first to run.
            node("Cast", ["x"], ["h"], to=TensorProto.FLOAT16),
        ]
        case = Case(nodes, {"x": (2, 6)}, {"y": (2, 4)}, {"w": weights(6, 4).astype(np.float16)})
        network = whole(case, tmp_path, 1e-3)
        assert [(layer.name, layer.stored_bits) for layer in network.layers] == [("fc", 16)]

    def test_what_onnxruntime_has_no_kernel_for_is_recorded_by_our_own_run(self, tmp_path):
        kind = TensorProto.BFLOAT16
        nodes = [
            node("Cast", ["x"], ["h"], to=kind),
            node("Gemm", ["h", "w"], ["g"], "fc"),
            node("Gemm", ["g", "v"], ["k"], "last"),
            node("Cast", ["k"], ["y"], to=TensorProto.FLOAT),
        ]
        first, second = weights(6, 4), weights(4, 3)
        arrays = {name: helper.make_tensor(name, kind, w.shape, w.ravel()) for name, w in (("w", first), ("v", second))}
        path = stored(make.model(nodes, {"x": (2, 6)}, {"y": (2, 3)}, arrays), tmp_path)
        x = weights(2, 6, seed=3)
        trace = eie.record(path, eie.Samples.of(x), values=True)
        assert "in eie, float32" in trace.source
        assert np.allclose(trace.layers["last"].dense(), x @ first, atol=0.1)
        assert [layer.stored_bits for layer in eie.load(path).layers] == [16, 16]

    def test_nodes_in_a_circle_are_refused_and_do_not_hang(self, tmp_path):
        nodes = [node("Gemm", ["x", "w"], ["h"]), node("Add", ["h", "z"], ["y"]), node("Relu", ["y"], ["z"])]
        proto = make.model(nodes, {"x": (1, 4)}, {"y": (1, 4)}, {"w": weights(4, 4)})
        with pytest.raises(ModelError, match="no path from the input leads to"):
            eie.load(stored(proto, tmp_path))

    def test_a_local_function_is_inlined_each_time(self, tmp_path):
        opset = helper.make_opsetid("", 17)
        inner = [node("MatMul", ["a", "w"], ["m"]), node("Add", ["m", "c"], ["s"]), node("Relu", ["s"], ["r"])]
        function = helper.make_function("own", "Dense", ["a", "w", "c"], ["r"], inner, [opset])
        nodes = [
            helper.make_node("Dense", ["x", "w1", "b1"], ["h"], domain="own"),
            helper.make_node("Dense", ["h", "w2", "b2"], ["y"], domain="own"),
        ]
        arrays = {"w1": weights(6, 5), "b1": weights(5), "w2": weights(5, 4), "b2": weights(4)}
        case = Case(nodes, {"x": (2, 6)}, {"y": (2, 4)}, arrays)
        proto = make.model(case.nodes, case.inputs, case.outputs, case.weights, opset=17)
        proto.opset_import.append(helper.make_opsetid("own", 1))
        proto.functions.append(function)
        network = whole(case, tmp_path, proto=proto)
        assert [(layer.relu, layer.has_bias) for layer in network.layers] == [(True, True)] * 2

    @pytest.mark.parametrize("taken", [True, False])
    def test_an_if_that_the_shape_of_the_input_decides(self, tmp_path, taken):
        then = body([node("MatMul", ["x", "w"], ["t"])], [], ["t"])
        other = body(
            [node("Identity", ["v"], ["u"]), node("MatMul", ["x", "u"], ["e"])],
            [],
            ["e"],
            tensor(weights(6, 4, seed=9), "v"),
        )
        nodes = [
            node("Shape", ["x"], ["s"]),
            node("Gather", ["s", "last"], ["n"], axis=0),
            node("Equal", ["n", "six" if taken else "five"], ["c"]),
            node("If", ["c"], ["y"], then_branch=then, else_branch=other),
        ]
        arrays = {"w": weights(6, 4), "last": np.array(1), "six": np.array(6), "five": np.array(5)}
        (layer,) = whole(Case(nodes, {"x": (2, 6)}, {"y": (2, 4)}, arrays), tmp_path).layers
        assert np.array_equal(layer.weights.T, arrays["w"] if taken else weights(6, 4, seed=9))

    def test_a_loop_of_a_known_count_is_unrolled(self, tmp_path):
        inner = [
            node("MatMul", ["state", "w"], ["m"]),
            node("Add", ["m", "c"], ["next"]),
            node("Identity", ["going"], ["goes"]),
        ]
        loop = body(inner, ["i", "going", "state"], ["goes", "next", "next"], tensor(weights(4), "c"))
        for entry, kind, shape in zip(loop.input, (7, 9, 1), ([], [], [2, 4]), strict=True):
            entry.CopyFrom(helper.make_tensor_value_info(entry.name, kind, shape))
        nodes = [node("Loop", ["count", "", "x"], ["last", "y"], "l", body=loop)]
        arrays = {"count": np.array(3), "w": weights(4, 4) / 2}
        case = Case(nodes, {"x": (2, 4)}, {"y": (3, 2, 4)}, arrays, made=1)
        network = whole(case, tmp_path)
        assert [layer.matrix.shape for layer in network.layers] == [(4, 4)]
        assert len(network.graph.uses) == 3

    def test_a_loop_that_would_be_endless_is_refused(self, tmp_path):
        inner = [node("MatMul", ["state", "w"], ["next"]), node("Identity", ["going"], ["goes"])]
        loop = body(inner, ["i", "going", "state"], ["goes", "next"])
        nodes = [node("Loop", ["count", "", "x"], ["y"], "l", body=loop)]
        proto = make.model(nodes, {"x": (2, 4)}, {"y": (2, 4)}, {"count": np.array(1 << 60), "w": weights(4, 4)})
        with pytest.raises(ModelError, match="more than 20,000 nodes"):
            eie.load(stored(proto, tmp_path))

    def test_a_loop_whose_count_hangs_on_the_input_is_a_row(self, tmp_path):
        inner = [node("MatMul", ["state", "w"], ["next"]), node("Identity", ["going"], ["goes"])]
        loop = body(inner, ["i", "going", "state"], ["goes", "next"])
        nodes = [
            node("Gemm", ["x", "v"], ["h"]),
            node("ReduceMax", ["h"], ["m"], keepdims=0),
            node("Cast", ["m"], ["count"], to=7),
            node("Loop", ["count", "", "h"], ["y"], "l", body=loop),
        ]
        arrays = {"w": weights(4, 4), "v": weights(4, 4)}
        proto = make.model(nodes, {"x": (2, 4)}, {"y": (2, 4)}, arrays, opset=17)
        network = eie.load(stored(proto, tmp_path), unsupported="skip")
        assert network.unmodelled == ("Loop (l): 50 % of the weights, multiplications not known",)

    def test_a_scan_over_time_is_unrolled(self, tmp_path):
        inner = [
            node("MatMul", ["row", "v"], ["a"]),
            node("Add", ["a", "h"], ["sum"]),
            node("Tanh", ["sum"], ["next"]),
            node("Identity", ["next"], ["out"]),
        ]
        scan = body(inner, ["h", "row"], ["next", "out"])
        # Behind a recurrent layer, which says that time stands before the batch.
        before = recurrent("RNN", "forward")
        nodes = [
            *before.nodes,
            node("Squeeze", ["y", "ways"], ["rows"]),
            node("Scan", ["start", "rows"], ["last", "z"], "s", body=scan, num_scan_inputs=1),
        ]
        arrays = {"ways": np.array([1]), "start": np.zeros((3, 5), np.float32), "v": weights(5, 5)}
        case = Case(nodes, {"x": (6, 3, 4)}, {"z": [None] * 3}, {**before.weights, **arrays}, batch=1)
        network = whole(case, tmp_path)
        assert len(network.layers) == 1 + 1
        assert len(network.graph.uses) == 1 + 6

    @pytest.mark.parametrize("axis", [0, 1])
    @pytest.mark.parametrize("backwards", [0, 1])
    @pytest.mark.parametrize("stated", [True, False])
    def test_a_scan_in_either_direction_over_any_axis(self, tmp_path, axis, backwards, stated):
        inner = [
            node("MatMul", ["row", "w"], ["a"]),
            node("Add", ["a", "h"], ["sum"]),
            node("Tanh", ["sum"], ["next"]),
            node("Identity", ["next"], ["out"]),
        ]
        words = {"scan_input_directions": [backwards], "scan_output_directions": [1 - backwards]}
        axes = {"scan_input_axes": [axis - 3], "scan_output_axes": [axis]}
        scan = node(
            "Scan",
            ["start", "x"],
            ["last", "y"],
            "s",
            body=body(inner, ["h", "row"], ["next", "out"]),
            num_scan_inputs=1,
            **words,
            **axes,
        )
        # Time behind an open batch, or before one of one.
        shape = ("n" if axis and not stated else 1, 4, 6) if axis else (4, 1, 6)
        arrays = {"start": np.zeros((1, 5), np.float32), "w": weights(6, 5)}
        case = Case([scan], {"x": shape}, {"y": [None] * 3}, arrays)
        proto = make.model(case.nodes, case.inputs, case.outputs, arrays, opset=17)
        network = eie.load(stored(proto, tmp_path))
        x = weights(*(1 if size == "n" else size for size in shape), seed=4)
        (name, sample), *_ = network.graph.inputs
        (made,) = run_given(
            network.graph, {layer.name: layer for layer in network.layers}, {name: x.reshape(1, *sample)}
        )
        assert np.allclose(made.ravel(), make.run(proto, x, ["y"])["y"].ravel(), atol=1e-6)
        assert (len(network.layers), len(network.graph.uses)) == (1, 4)

    def test_a_scan_whose_body_states_no_shapes(self, tmp_path):
        inner = [node("Add", ["row", "h"], ["next"]), node("Identity", ["next"], ["out"])]
        scan = body(inner, ["h", "row"], ["next", "out"])
        nodes = [
            node("MatMul", ["x", "w"], ["rows"]),
            node("Scan", ["start", "rows"], ["last", "sums"], "s", body=scan, num_scan_inputs=1),
            node("MatMul", ["sums", "v"], ["y"]),
        ]
        arrays = {"start": np.zeros(4, np.float32), "w": weights(6, 4), "v": weights(4, 2)}
        proto = make.model(nodes, {"x": ("t", 6)}, {"y": ("t", 2)}, arrays, opset=17)
        network = eie.load(stored(proto, tmp_path), input_shape=(5, 6))
        x = weights(5, 6, seed=4)
        (made,) = run_given(network.graph, {layer.name: layer for layer in network.layers}, {"x": x[None]})
        assert np.allclose(made[0], make.run(proto, x, ["y"])["y"], atol=1e-5)
        assert len(network.layers) == 2

    def test_masks_splits_and_merged_factors_are_folded(self, tmp_path):
        mask = np.random.default_rng(3).random((6, 4)) < 0.5
        arrays = {
            "w": weights(6, 8),
            "mask": mask,
            "zero": np.zeros((), np.float32),
            "up": weights(6, 2),
            "down": weights(2, 4),
        }
        nodes = [
            node("Split", ["w"], ["left", "right"], axis=1, num_outputs=2),
            node("Where", ["mask", "left", "zero"], ["pruned"]),
            node("MatMul", ["up", "down"], ["update"]),
            node("Add", ["right", "update"], ["merged"]),
            node("MatMul", ["x", "pruned"], ["a"]),
            node("MatMul", ["x", "merged"], ["b"]),
            node("Add", ["a", "b"], ["y"]),
        ]
        network = whole(Case(nodes, {"x": (2, 6)}, {"y": (2, 4)}, arrays, opset=18), tmp_path)
        assert network.layers[0].matrix.nnz == mask.sum()

    def test_constants_that_would_fill_the_memory_are_refused(self, tmp_path):
        arrays = {"w": weights(4, 4), "times": np.array([1 << 30, 1 << 30])}
        nodes = [node("Tile", ["w", "times"], ["t"]), node("MatMul", ["x", "w"], ["y"])]
        with pytest.raises(ModelError, match="the result is too large"):
            eie.load(stored(make.model(nodes, {"x": (1, 4)}, {"y": (1, 4)}, arrays), tmp_path))


class TestIntegers:
    """onnxruntime's own quantiser makes the files; its integer kernels are what they are compared with."""

    @pytest.fixture
    def quantiser(self):
        return pytest.importorskip("onnxruntime.quantization", reason="needs the onnx extra")

    def float_model(self, tmp_path, conv):
        arrays = {"w1": weights(6, 30), "b1": weights(6), "w2": weights(5, 6), "b2": weights(5)}
        nodes = [
            node("Gemm", ["x", "w1", "b1"], ["h"], "fc1", transB=1),
            node("Relu", ["h"], ["a"]),
            node("Gemm", ["a", "w2", "b2"], ["y"], "fc2", transB=1),
        ]
        case = Case(nodes, {"x": (2, 30)}, {"y": (2, 5)}, arrays)
        if conv:
            nodes = [
                node("Conv", ["x", "k", "c"], ["m"], "conv", pads=[1, 1, 1, 1]),
                node("Relu", ["m"], ["r"]),
                node("GlobalAveragePool", ["r"], ["g"]),
                node("Flatten", ["g"], ["f"]),
                node("Gemm", ["f", "w2", "b2"], ["y"], "fc2", transB=1),
            ]
            arrays = {"k": weights(6, 3, 3, 3), "c": weights(6), **arrays}
            case = Case(nodes, {"x": (2, 3, 8, 8)}, {"y": (2, 5)}, arrays)
        path = tmp_path / "float.onnx"
        path.write_bytes(make.model(nodes, case.inputs, case.outputs, arrays, opset=17).SerializeToString())
        return case, path

    @pytest.mark.parametrize("conv", [False, True])
    def test_dynamic_quantisation(self, tmp_path, quantiser, conv):
        case, path = self.float_model(tmp_path, conv)
        there = tmp_path / "int8.onnx"
        quantiser.quantize_dynamic(
            path, there, weight_type=quantiser.QuantType.QInt8 if not conv else quantiser.QuantType.QUInt8
        )
        proto = onnx.load(there)
        assert any(node.op_type in ("MatMulInteger", "ConvInteger") for node in proto.graph.node)
        network = whole(case, tmp_path, tolerance=0.02, proto=proto)
        self.check(network)

    @pytest.mark.parametrize("form", ["QOperator", "QDQ"])
    @pytest.mark.parametrize("per_channel", [False, True])
    def test_static_quantisation(self, tmp_path, quantiser, form, per_channel):
        case, path = self.float_model(tmp_path, conv=True)
        shape = case.inputs["x"]

        class Reader(quantiser.CalibrationDataReader):
            def __init__(self):
                rng = np.random.default_rng(1)
                self.rows = iter([{"x": rng.standard_normal(shape).astype(np.float32)} for _ in range(8)])

            def get_next(self):
                return next(self.rows, None)

        there = tmp_path / "int8.onnx"
        quantiser.quantize_static(
            path, there, Reader(), quant_format=getattr(quantiser.QuantFormat, form), per_channel=per_channel
        )
        network = whole(case, tmp_path, tolerance=0.03, proto=onnx.load(there))
        self.check(network)

    def check(self, network):
        for layer in network.layers:
            # 8 bits, and scales and zero points shared by the weights.
            assert 8 <= layer.stored_bits <= 8 + 2 * 40 / 5
            # onnxruntime adds a convolution's bias in a node of its own.
            assert layer.has_bias or layer.geometry.takes_maps
            # The file's integers are few enough to be shared as they are: at 8 bits nothing is lost.
            if len(np.unique(layer.matrix.data)) <= 255:
                shared, report = share(layer, weight_bits=8)
                assert report.max_error <= 1e-6 * np.abs(layer.weights).max()
                assert np.allclose(shared.weights, layer.weights, rtol=1e-6)

    @pytest.mark.parametrize("bits", [4, 8])
    @pytest.mark.parametrize("zeros", [False, True])
    def test_blocks_of_a_few_bits(self, tmp_path, bits, zeros):
        rng = np.random.default_rng(0)
        blob, blocks = 32 * bits // 8, 2
        arrays = {
            "q": rng.integers(0, 256, (6, blocks, blob), np.uint8),
            "s": rng.random(6 * blocks).astype(np.float32) + 0.5,
            "b": weights(6),
        }
        names = ["x", "q", "s"]
        if zeros:
            arrays["z"] = rng.integers(0, 256, 6 * (blocks * bits // 8), np.uint8)
            names.append("z")
        product = helper.make_node(
            "MatMulNBits", names, ["h"], "fc", domain="com.microsoft", N=6, K=50, bits=bits, block_size=32
        )
        nodes = [product, node("Add", ["h", "b"], ["s1"]), node("Relu", ["s1"], ["y"])]
        case = Case(nodes, {"x": (2, 50)}, {"y": (2, 6)}, arrays)
        proto = make.model(nodes, case.inputs, case.outputs, arrays, opset=17)
        proto.opset_import.append(helper.make_opsetid("com.microsoft", 1))
        (layer,) = whole(case, tmp_path, proto=proto).layers
        assert layer.stored_bits == bits + (32 + (bits if zeros else 0)) / 32
        assert (layer.has_bias, layer.relu) == (True, True)

    def test_operators_of_onnxruntime_on_integers(self, tmp_path, quantiser):
        arrays = {
            **{f"s{i}": np.array(0.02 * (i + 1), np.float32) for i in range(6)},
            **{f"z{i}": np.array(100 + 5 * i, np.uint8) for i in range(6)},
            "w": np.random.default_rng(0).integers(0, 256, (8, 5), np.uint8),
        }

        def contrib(op, inputs, out, **attributes):
            return helper.make_node(op, inputs, [out], out, domain="com.microsoft", **attributes)

        nodes = [
            node("QuantizeLinear", ["x", "s0", "z0"], ["xq"]),
            contrib("QLinearLeakyRelu", ["xq", "s0", "z0", "s1", "z1"], "leaky", alpha=0.25),
            contrib("QLinearSigmoid", ["xq", "s0", "z0", "s0", "z0"], "sigmoid"),
            contrib("QLinearAdd", ["leaky", "s1", "z1", "xq", "s0", "z0", "s2", "z2"], "sum"),
            contrib("QLinearConcat", ["s3", "z3", "sum", "s2", "z2", "sigmoid", "s0", "z0"], "joined", axis=1),
            node("QLinearMatMul", ["joined", "s3", "z3", "w", "s4", "z4", "s5", "z5"], ["yq"]),
            node("DequantizeLinear", ["yq", "s5", "z5"], ["y"]),
        ]
        case = Case(nodes, {"x": (2, 4)}, {"y": (2, 5)}, arrays)
        proto = make.model(nodes, case.inputs, case.outputs, arrays, opset=17)
        proto.opset_import.append(helper.make_opsetid("com.microsoft", 1))
        # Activations are not rounded where the file quantises them.
        (layer,) = whole(case, tmp_path, tolerance=0.05, proto=proto).layers
        assert (layer.matrix.shape, layer.stored_bits) == ((5, 8), 8 + 40 / 40)

    def test_an_lstm_of_integers(self, tmp_path, quantiser):
        case = recurrent("LSTM", "bidirectional")
        path, there = tmp_path / "float.onnx", tmp_path / "int8.onnx"
        path.write_bytes(make.model(case.nodes, case.inputs, case.outputs, case.weights, opset=17).SerializeToString())
        quantiser.quantize_dynamic(path, there, op_types_to_quantize=["LSTM"])
        proto = onnx.load(there)
        assert "DynamicQuantizeLSTM" in [node.op_type for node in proto.graph.node]
        network = whole(case, tmp_path, tolerance=0.02, proto=proto)
        assert [8 <= layer.stored_bits < 9 for layer in network.layers] == [True, True]

    @pytest.mark.parametrize("ways", [1, 2])
    def test_an_lstm_of_integers_with_a_scale_for_each_column(self, tmp_path, ways):
        """As onnxruntime's schema has them: (directions, gates) beside (directions, inputs, gates)."""
        rng = np.random.default_rng(0)
        arrays = {name: rng.integers(0, 256, (ways, size, 20), np.uint8) for name, size in (("w", 4), ("r", 5))}
        arrays |= {name: rng.random((ways, 20)).astype(np.float32) / 500 for name in ("ws", "rs")}
        arrays |= {"z": np.full((ways, 20), 128, np.uint8), "b": weights(ways, 40)}
        names = ["x", "w", "r", "b", "", "", "", "", "ws", "z", "rs", "z"]
        words = {"hidden_size": 5, "direction": "bidirectional" if ways == 2 else "forward"}
        lstm = helper.make_node("DynamicQuantizeLSTM", names, ["y"], "l", domain="com.microsoft", **words)
        case = Case([lstm], {"x": (6, 3, 4)}, {"y": [None] * 4}, arrays, batch=1, made=2)
        proto = make.model(case.nodes, case.inputs, case.outputs, arrays, opset=17)
        proto.opset_import.append(helper.make_opsetid("com.microsoft", 1))
        network = whole(case, tmp_path, tolerance=0.02, proto=proto)
        # A column of W is four integers, a scale and a zero point.
        assert [layer.stored_bits for layer in network.layers] == [8 + 40 / 4] * ways

    def test_a_product_of_integers_with_both_scales(self, tmp_path):
        rng = np.random.default_rng(0)
        arrays = {"w": rng.integers(-128, 128, (6, 4), np.int8), "ws": np.array(0.02, np.float32), "b": weights(4)}
        nodes = [
            node("DynamicQuantizeLinear", ["x"], ["q", "s", "z"]),
            helper.make_node(
                "MatMulIntegerToFloat", ["q", "w", "s", "ws", "z", "", "b"], ["y"], "fc", domain="com.microsoft"
            ),
        ]
        proto = make.model(nodes, {"x": (2, 6)}, {"y": (2, 4)}, arrays, opset=17)
        proto.opset_import.append(helper.make_opsetid("com.microsoft", 1))
        network = whole(Case(nodes, {"x": (2, 6)}, {"y": (2, 4)}, arrays), tmp_path, tolerance=0.02, proto=proto)
        (layer,) = network.layers
        assert (layer.name, layer.has_bias, layer.stored_bits) == ("fc", True, 8 + 32 / 24)
        assert [each.op for each in network.graph.nodes] == ["layer"]

    @pytest.mark.parametrize("more", [["", "g"], ["", "", "b"], ["", "g", "b"]])
    def test_blocks_in_another_order_and_a_bias_of_their_own(self, tmp_path, more):
        rng = np.random.default_rng(0)
        order = rng.permutation(np.repeat([0, 1], 32)).astype(np.int32)
        arrays = {"q": rng.integers(0, 256, (6, 2, 16), np.uint8), "s": rng.random(12).astype(np.float32) + 0.5}
        arrays |= {name: array for name, array in (("g", order), ("b", weights(6))) if name in more}
        words = {"domain": "com.microsoft", "N": 6, "K": 64, "bits": 4, "block_size": 32}
        nodes = [helper.make_node("MatMulNBits", ["x", "q", "s", *more], ["y"], "fc", **words)]
        proto = make.model(nodes, {"x": (2, 64)}, {"y": (2, 6)}, arrays, opset=17)
        proto.opset_import.append(helper.make_opsetid("com.microsoft", 1))
        (layer,) = whole(Case(nodes, {"x": (2, 64)}, {"y": (2, 6)}, arrays), tmp_path, proto=proto).layers
        assert layer.has_bias == ("b" in more)

    def test_an_order_that_names_no_block_is_refused(self, tmp_path):
        arrays = {"q": np.zeros((6, 2, 16), np.uint8), "s": np.ones(12, np.float32), "g": np.full(64, 2, np.int32)}
        words = {"domain": "com.microsoft", "N": 6, "K": 64, "bits": 4, "block_size": 32}
        nodes = [helper.make_node("MatMulNBits", ["x", "q", "s", "", "g"], ["y"], "fc", **words)]
        proto = make.model(nodes, {"x": (2, 64)}, {"y": (2, 6)}, arrays, opset=17)
        with pytest.raises(ModelError, match=r"g_idx of shape \(64,\) up to 2: must be 64 of 2 blocks"):
            eie.load(stored(proto, tmp_path))


class TestFused:
    """What onnxruntime's optimiser writes, run by onnxruntime."""

    def fused(self, op, inputs, **attributes):
        return helper.make_node(op, inputs, ["y"], "f", domain="com.microsoft", **attributes)

    def check(self, tmp_path, nodes, x, y, arrays):
        case = Case(nodes, {"x": x}, {"y": y}, arrays)
        proto = make.model(nodes, case.inputs, case.outputs, arrays, opset=17)
        proto.opset_import.append(helper.make_opsetid("com.microsoft", 1))
        return whole(case, tmp_path, proto=proto)

    @pytest.mark.parametrize(
        ("activation", "parameters"), [("Relu", []), ("LeakyRelu", [0.25]), ("Clip", [-0.5, 0.5]), ("Tanh", [])]
    )
    def test_convolutions(self, tmp_path, activation, parameters):
        more = {"activation_params": parameters} if parameters else {}
        conv = self.fused("FusedConv", ["x", "k", "b"], activation=activation, pads=[1, 1, 1, 1], **more)
        arrays = {"k": weights(4, 3, 3, 3), "b": weights(4)}
        (layer,) = self.check(tmp_path, [conv], (1, 3, 5, 5), (1, 4, 5, 5), arrays).layers
        assert layer.relu == (activation == "Relu")

    def test_an_activation_of_two_parameters(self, tmp_path):
        conv = self.fused("FusedConv", ["x", "k"], activation="HardSigmoid", activation_params=[0.3, 0.4])
        conv.output[0] = "h"
        # Another layer reads it: behind the last one it would be left out.
        nodes = [conv, node("Conv", ["h", "v"], ["y"])]
        arrays = {"k": weights(4, 3, 1, 1), "v": weights(2, 4, 1, 1)}
        assert len(self.check(tmp_path, nodes, (1, 3, 5, 5), (1, 2, 5, 5), arrays).layers) == 2

    def test_products(self, tmp_path):
        product = self.fused("FusedMatMul", ["x", "w"], transB=1, alpha=0.5)
        (layer,) = self.check(tmp_path, [product], (2, 3, 6), (2, 3, 4), {"w": weights(4, 6)}).layers
        assert np.allclose(layer.weights, weights(4, 6) / 2)
        product = self.fused("FusedMatMul", ["w", "x"], transA=1)
        (layer,) = self.check(tmp_path, [product], (1, 6, 3), (1, 4, 3), {"w": weights(6, 4)}).layers
        assert np.allclose(layer.weights, weights(6, 4).T)
        gemm = self.fused("FusedGemm", ["x", "w", "c"], transB=1, activation="Relu")
        (layer,) = self.check(tmp_path, [gemm], (2, 6), (2, 4), {"w": weights(4, 6), "c": weights(4)}).layers
        assert layer.relu


class TestBehindTheLastLayer:
    def test_what_no_layer_reads_is_left_out_and_named(self, tmp_path):
        nodes = [
            node("Gemm", ["x", "w"], ["h"], "fc"),
            node("LogSoftmax", ["h"], ["l"], "log"),
            node("ArgMax", ["l"], ["y"], "best"),
        ]
        proto = make.model(nodes, {"x": (1, 6)}, {"y": (1, 1)}, {"w": weights(6, 4)})
        network = eie.load(stored(proto, tmp_path))
        assert "left out behind the last layer: log (LogSoftmax), best (ArgMax)" in network.notes
        assert network.unmodelled == ()
        x = weights(1, 6, seed=4)
        flow = dataflow(network)
        (made,) = run_given(flow, {"fc": network.layers[0]}, {flow.inputs[0][0]: x})
        assert np.allclose(made, x @ weights(6, 4), atol=1e-6)

    def test_what_stands_before_a_layer_is_not(self, tmp_path):
        nodes = [
            node("Gemm", ["x", "w"], ["h"], "fc"),
            node("LogSoftmax", ["h"], ["l"], "log"),
            node("Gemm", ["l", "v"], ["y"], "last"),
        ]
        proto = make.model(nodes, {"x": (1, 6)}, {"y": (1, 2)}, {"w": weights(6, 4), "v": weights(4, 2)})
        network = eie.load(stored(proto, tmp_path))
        assert [node.op for node in network.graph.nodes] == ["layer", "host", "layer"]

    def test_a_product_behind_the_last_layer_is_counted_all_the_same(self, tmp_path):
        nodes = [
            node("Gemm", ["x", "w"], ["h"], "fc"),
            node("Softplus", ["h"], ["s"], "soft"),
            node("MatMul", ["s", "h"], ["y"], "both"),
        ]
        proto = make.model(nodes, {"x": (4, 4)}, {"y": (4, 4)}, {"w": weights(4, 4)})
        work = host_work(eie.load(stored(proto, tmp_path)).graph)
        assert (work.operators, work.products) == ({"Softplus": 1, "MatMul": 1}, {"MatMul": 1})
        assert work.multiplications == 4 * 4 * 4


def mixed():
    """A file with a Loop, an If, an Einsum, integers and a GRU."""
    loop = body(
        [node("MatMul", ["state", "w"], ["next"]), node("Identity", ["going"], ["goes"])],
        ["i", "going", "state"],
        ["goes", "next"],
    )
    then, other = (body([node(op, ["l"], [out])], [], [out]) for op, out in (("Relu", "t"), ("Tanh", "e")))
    nodes = [
        node("Loop", ["count", "", "x"], ["l"], "l", body=loop),
        node("If", ["true"], ["i"], then_branch=then, else_branch=other),
        node("Einsum", ["i", "e"], ["s"], equation="tbi,oi->tbo"),
        node("GRU", ["s", "gw", "gr"], ["", "h"], hidden_size=2, linear_before_reset=1),
        node("Squeeze", ["h", "first"], ["f"]),
        node("QuantizeLinear", ["f", "scale", "zero"], ["q"]),
        node("QLinearMatMul", ["q", "scale", "zero", "k", "scale", "zero", "scale", "zero"], ["yq"]),
        node("DequantizeLinear", ["yq", "scale", "zero"], ["y"]),
    ]
    arrays = {
        **{"count": np.array(2), "true": np.array(True), "first": np.array([0])},
        **{"w": weights(3, 3), "e": weights(4, 3), "gw": weights(1, 6, 4), "gr": weights(1, 6, 2)},
        **{"scale": np.array(0.1, np.float32), "zero": np.array(7, np.uint8), "k": np.eye(2, dtype=np.uint8)},
    }
    return make.model(nodes, {"x": (5, 2, 3)}, {"y": (2, 2)}, arrays, opset=17)


def test_a_file_of_all_forms_is_read(tmp_path):
    network = eie.load(stored(mixed(), tmp_path))
    assert [layer.geometry.kind for layer in network.layers] == ["linear"] * 3
    # The loop runs its layer twice.
    assert [node.op for node in network.graph.nodes if node.op != "relu"] == ["layer"] * 3 + ["host", "layer", "clip"]
    # The GRU reads no input of the file, so nothing says that time stands first: the host has it, and a row says so.
    (row,) = network.unmodelled
    assert row.startswith("GRU (gru_): 51 % of the weights")


@given(data=st.data())
@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_flipped_bytes_never_give_a_traceback(tmp_path, data):
    content = bytearray(mixed().SerializeToString())
    for _ in range(data.draw(st.integers(1, 3))):
        content[data.draw(st.integers(0, len(content) - 1))] ^= data.draw(st.integers(1, 255))
    path = tmp_path / "flipped.onnx"
    path.write_bytes(bytes(content))
    for unsupported in ("refuse", "skip"):
        try:
            outcome = eie.load(path, unsupported=unsupported)
        except EieError as error:
            outcome = error
        assert isinstance(outcome, eie.Network) or len(str(outcome)) < 2000
