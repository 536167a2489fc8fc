"""Parts of an ONNX file on a host: cut, run, kept in files, counted, refused."""

import json
import signal
import threading
import time

import numpy as np
import pytest

import eie
from eie.errors import ModelError
from eie.model import host
from eie.model.dataflow import dataflow
from eie.model.graph import Graph, Node
from eie.simulator.reference import run_given

onnx = pytest.importorskip("onnx", reason="needs the onnx extra")
ort = pytest.importorskip("onnxruntime", reason="needs the onnx extra")

import onnx_models as make  # noqa: E402
from onnx import TensorProto, helper, numpy_helper  # noqa: E402

SPEC = eie.EIE_64PE.replace(n_pe=4)
EMBEDDED, TOKENS, HEADS = 8, 5, 2


def drawn(*shape, seed=0):
    return np.random.default_rng(seed + sum(shape)).standard_normal(shape).astype(np.float32)


def value(name, kind, shape):
    return helper.make_tensor_value_info(name, kind, shape)


def saved(tmp_path, nodes, weights, *, inputs, outputs=("y",), opset=17):
    tensors = [numpy_helper.from_array(array, name) for name, array in weights.items()]
    made = [helper.make_empty_tensor_value_info(name) for name in outputs]
    graph = helper.make_graph(nodes, "net", inputs, made, tensors)
    imports = [helper.make_opsetid("", opset), helper.make_opsetid("com.microsoft", 1)]
    path = tmp_path / "net.onnx"
    path.write_bytes(helper.make_model(graph, opset_imports=imports, ir_version=8).SerializeToString())
    return path


def block(tmp_path, batch="n"):
    """Ids to an embedding, LayerNormalization, attention of two heads, a residual, a layer with Gelu, classes."""
    node = make.node
    heads = [batch if isinstance(batch, int) else -1, TOKENS, HEADS, EMBEDDED // HEADS]
    nodes = [
        node("Gather", ["table", "ids"], ["e"]),
        node("LayerNormalization", ["e", "scale", "shift"], ["n"]),
        *(node("MatMul", ["n", f"{part}.weight"], [part], name=part) for part in "qkv"),
        *(node("Reshape", [part, "heads"], [f"{part}4"]) for part in "qkv"),
        node("Transpose", ["q4"], ["qh"], perm=[0, 2, 1, 3]),
        node("Transpose", ["k4"], ["kh"], perm=[0, 2, 3, 1]),
        node("Transpose", ["v4"], ["vh"], perm=[0, 2, 1, 3]),
        node("MatMul", ["qh", "kh"], ["scores"]),
        node("Where", ["mask", "scores", "low"], ["masked"]),
        node("Softmax", ["masked"], ["shares"], axis=-1),
        node("MatMul", ["shares", "vh"], ["mixed"]),
        node("Transpose", ["mixed"], ["back"], perm=[0, 2, 1, 3]),
        node("Reshape", ["back", "flat"], ["joined"]),
        node("MatMul", ["joined", "o.weight"], ["o"], name="o"),
        node("Add", ["e", "o"], ["residual"]),
        node("LayerNormalization", ["residual", "scale", "shift"], ["n2"]),
        node("MatMul", ["n2", "classes.weight"], ["y"], name="classes"),
    ]
    square = {f"{part}.weight": drawn(EMBEDDED, EMBEDDED, seed=i) for i, part in enumerate("qkvo")}
    weights = {
        **square,
        "classes.weight": drawn(EMBEDDED, 6),
        "table": drawn(40, EMBEDDED),
        "scale": drawn(EMBEDDED),
        "shift": drawn(EMBEDDED, seed=3),
        "mask": np.tril(np.ones((TOKENS, TOKENS), bool)),
        "low": np.array(-np.inf, np.float32),
        "heads": np.array(heads),
        "flat": np.array([heads[0], TOKENS, EMBEDDED]),
    }
    return saved(tmp_path, nodes, weights, inputs=[value("ids", TensorProto.INT64, [batch, TOKENS])])


def ids(samples=3):
    return np.random.default_rng(1).integers(0, 40, (samples, TOKENS))


def in_onnxruntime(path, feeds):
    return ort.InferenceSession(path.read_bytes(), providers=["CPUExecutionProvider"]).run(None, feeds)[0]


def as_read(network, inputs):
    return run_given(dataflow(network), {layer.name: layer for layer in network.layers}, inputs)[0]


def chain(tmp_path, *between, extra=None, shape=("n", 6)):
    """A layer, the nodes between ``h`` and ``s``, another layer."""
    nodes = [make.node("MatMul", ["x", "a.weight"], ["h"]), *between, make.node("MatMul", ["s", "b.weight"], ["y"])]
    weights = {"a.weight": drawn(6, 8), "b.weight": drawn(8, 4), **(extra or {})}
    return saved(tmp_path, nodes, weights, inputs=[value("x", TensorProto.FLOAT, shape)], opset=20)


class TestTransformers:
    def test_the_network_as_read_is_what_onnxruntime_computes(self, tmp_path):
        path = block(tmp_path)
        network = eie.load(path)
        assert [layer.name for layer in network.layers] == ["q", "k", "v", "o", "classes"]
        assert network.unmodelled == ()
        np.testing.assert_allclose(as_read(network, {"ids": ids()}), in_onnxruntime(path, {"ids": ids()}), atol=1e-5)

    def test_a_part_lies_between_two_layers_and_no_more_of_them(self, tmp_path):
        graph = eie.load(block(tmp_path)).graph
        # Embedding, attention, what lies behind the residual.
        assert [node.op for node in graph.nodes] == [
            "host",
            "layer",
            "layer",
            "layer",
            "host",
            "layer",
            "host",
            "layer",
        ]

    def test_a_batch_that_the_file_states_is_one_sample(self, tmp_path):
        path = block(tmp_path, batch=2)
        network = eie.load(path)
        assert network.graph.inputs == (("ids", (2, TOKENS)),)
        made = as_read(network, {"ids": ids(2)[None]})
        np.testing.assert_allclose(made[0], in_onnxruntime(path, {"ids": ids(2)}), atol=1e-5)

    def test_what_stays_on_the_host_has_no_number_format(self, tmp_path):
        graph = eie.load(block(tmp_path)).graph
        first = graph.nodes[0]
        # The embedding is read by a later part only, its normalised form by layers.
        assert dict(zip(first.outputs, first.attributes["plain"], strict=True)) == {"e": True, "n": False}

    def test_large_tables_are_constants_of_the_graph_and_in_no_part(self, tmp_path):
        nodes = [
            make.node("Gather", ["table", "ids"], ["e"]),
            make.node("MatMul", ["e", "w"], ["h"]),
            make.node("Add", ["e", "h"], ["s"]),
            make.node("Gather", ["table", "ids"], ["again"]),
            make.node("Mul", ["s", "again"], ["t"]),
            make.node("MatMul", ["t", "w2"], ["y"]),
        ]
        weights = {"table": drawn(3000, 8), "w": drawn(8, 8), "w2": drawn(8, 4)}
        path = saved(tmp_path, nodes, weights, inputs=[value("ids", TensorProto.INT64, ["n", 2])])
        constants = eie.load(path).graph.constants
        assert sum(array.nbytes for array in constants.values()) < 3000 * 8 * 4 + 4000


class TestReports:
    def test_a_result_has_a_row_for_the_host_and_one_for_products(self, tmp_path):
        result = eie.simulate(eie.load(block(tmp_path)), {"ids": ids()}, spec=SPEC)
        assert result.host.products == {"MatMul": 2}
        # Each of 5 tokens with each, twice, in 2 heads of 4.
        assert result.host.multiplications == 2 * 5 * 5 * 8
        assert result.host.operators["LayerNormalization"] == 2
        table = result.sections()[0].grids[1]
        assert [row["what"] for row in table.rows] == ["host", "products of two activations"]
        assert [row["layer"] for row in result.records()][-1] == (
            "products of two activations, not on the accelerator: 2 MatMul, 400 multiplications a sample"
        )
        assert result.content()["host"]["multiplications"] == 400
        assert result.latency_us > 0

    def test_without_a_host_there_is_no_such_row(self, tmp_path):
        result = eie.simulate(eie.load(chain(tmp_path, make.node("Relu", ["h"], ["s"]))), spec=SPEC)
        assert result.host is None
        assert len(result.sections()[0].grids) == 1

    def test_a_product_with_weights_on_the_host_is_a_row_and_keeps_the_total_away(self, tmp_path):
        nodes = [
            make.node("MatMul", ["x", "a"], ["h"], name="a"),
            make.node("Einsum", ["h", "w"], ["s"], name="odd", equation="bi,ii->bi"),
            make.node("MatMul", ["s", "b"], ["y"], name="b"),
        ]
        weights = {"a": drawn(6, 8), "w": drawn(8, 8), "b": drawn(8, 4)}
        path = saved(tmp_path, nodes, weights, inputs=[value("x", TensorProto.FLOAT, ["n", 6])])
        network = eie.load(path)
        assert network.graph is not None
        assert network.unmodelled[0].startswith("Einsum (odd): 44 % of the weights")
        assert eie.simulate(network, spec=SPEC).incomplete


class TestOperators:
    @pytest.mark.parametrize(
        "between",
        [
            [make.node("Gelu", ["h"], ["s"])],
            [make.node("Softplus", ["h"], ["s"])],
            [make.node("Elu", ["h"], ["s"])],
            [make.node("HardSwish", ["h"], ["s"])],
            [make.node("PRelu", ["h", "slope"], ["s"])],
            [make.node("Sum", ["h", "h"], ["s"])],
            [make.node("Mish", ["h"], ["s"])],
            [make.node("TopK", ["h", "eight"], ["s", "places"], axis=-1)],
            [
                make.node("Cast", ["h"], ["half"], to=10),
                make.node("Elu", ["half"], ["e"]),
                make.node("Cast", ["e"], ["s"], to=1),
            ],
        ],
        ids=lambda nodes: nodes[0].op_type,
    )
    def test_one_operator_costs_no_graph(self, between, tmp_path):
        path = chain(tmp_path, *between, extra={"slope": drawn(8), "eight": np.array([8])})
        x = drawn(3, 6)
        np.testing.assert_allclose(as_read(eie.load(path), {"x": x}), in_onnxruntime(path, {"x": x}), atol=2e-3)

    def test_own_operators_stay_where_they_are_exact(self, tmp_path):
        between = [make.node("Relu", ["h"], ["r"]), make.node("Add", ["r", "r"], ["t"]), make.node("Elu", ["t"], ["s"])]
        graph = eie.load(chain(tmp_path, *between)).graph
        assert [node.op for node in graph.nodes] == ["layer", "add", "host", "layer"]

    def test_arithmetic_around_the_host_goes_with_it(self, tmp_path):
        between = [
            make.node("Mul", ["h", "half"], ["m"]),
            make.node("Erf", ["m"], ["e"]),
            make.node("Mul", ["h", "e"], ["s"]),
        ]
        graph = eie.load(chain(tmp_path, *between, extra={"half": np.array(0.5, np.float32)})).graph
        assert [node.op for node in graph.nodes] == ["layer", "host", "layer"]
        assert dict(graph.nodes[1].attributes["operators"]) == {"Mul": 2, "Erf": 1}

    def test_bodies_read_names_of_the_graph_around_them(self, tmp_path):
        def branch(op, name):
            made = helper.make_empty_tensor_value_info(name)
            return helper.make_graph([make.node(op, ["h"], [name])], name, [], [made])

        between = [
            make.node("ReduceMax", ["h"], ["top"], keepdims=0),
            make.node("Greater", ["top", "zero"], ["positive"]),
            make.node("If", ["positive"], ["s"], then_branch=branch("Relu", "t"), else_branch=branch("Neg", "e")),
        ]
        path = chain(tmp_path, *between, extra={"zero": np.array(0, np.float32)})
        x = drawn(1, 6)
        for sign in (1, -1):
            made = as_read(eie.load(path), {"x": sign * x})
            np.testing.assert_allclose(made, in_onnxruntime(path, {"x": sign * x}), atol=1e-5)

    def test_contrib_operators_at_a_cut(self, tmp_path):
        path = chain(tmp_path, make.node("QuickGelu", ["h"], ["s"], domain="com.microsoft", alpha=1.0))
        x = drawn(3, 6)
        np.testing.assert_allclose(as_read(eie.load(path), {"x": x}), in_onnxruntime(path, {"x": x}), atol=1e-5)

    def test_what_onnxruntime_has_no_kernel_for_runs_in_the_reference(self, tmp_path):
        # Of ThresholdedRelu in double precision onnxruntime has none; of Cast it has.
        between = [
            make.node("Cast", ["h"], ["wide"], to=11),
            make.node("ThresholdedRelu", ["wide"], ["cut"], alpha=0.5),
            make.node("Cast", ["cut"], ["s"], to=1),
        ]
        network = eie.load(chain(tmp_path, *between))
        parts = [node.attributes for node in network.graph.nodes if node.op == "host"]
        assert [dict(part["operators"]) for part in parts if part["engine"] == "reference"] == [{"ThresholdedRelu": 1}]
        assert len(parts) == 3
        h = drawn(3, 6) @ drawn(6, 8)
        np.testing.assert_allclose(
            as_read(network, {"x": drawn(3, 6)}), np.where(h > 0.5, h, 0) @ drawn(8, 4), atol=1e-5
        )


class TestFiles:
    @pytest.mark.parametrize("suffix", [".npz", ".safetensors", ".eie"])
    def test_networks_keep_their_parts(self, tmp_path, suffix):
        network = eie.load(block(tmp_path))
        eie.save(network, tmp_path / f"kept{suffix}")
        again = eie.load(tmp_path / f"kept{suffix}")
        # A coded file has codes; the parts are what is compared.
        if suffix != ".eie":
            assert np.array_equal(as_read(again, {"ids": ids()}), as_read(network, {"ids": ids()}))
        assert again.graph.describe() == network.graph.describe()

    def test_programs_keep_their_parts(self, tmp_path):
        program = eie.compile(eie.load(block(tmp_path)), SPEC)
        program.save(tmp_path / "p.npz")
        again = eie.Program.load(tmp_path / "p.npz")
        assert again.content_hash == program.content_hash
        assert eie.simulate(again, {"ids": ids()}).latency_us == eie.simulate(program, {"ids": ids()}).latency_us

    def test_another_part_is_another_program(self, tmp_path):
        hashes = [
            eie.compile(eie.load(chain(tmp_path, make.node(op, ["h"], ["s"]))), SPEC).content_hash
            for op in ("Elu", "Softplus")
        ]
        assert hashes[0] != hashes[1]


def part(model, outputs=("s",), **changes):
    """A graph of one part that reads ``x`` (4,)."""
    attributes = {
        "engine": "onnxruntime",
        "batch": (0,),
        "made": (0,),
        "plain": (False,),
        "shapes": ((4,),),
        "operators": (),
        "products": (),
        **changes,
    }
    content = np.frombuffer(model if isinstance(model, bytes) else model.SerializeToString(), np.uint8)
    nodes = (
        Node(op="host", inputs=("bytes", "x"), outputs=outputs, attributes=attributes),
        Node(op="layer", inputs=("s",), outputs=("y",), layer="fc"),
    )
    graph = Graph(inputs=(("x", (4,)),), nodes=nodes, outputs=("y",), constants={"bytes": content})
    return eie.Network(name="part", layers=(eie.Layer.from_weights("fc", drawn(3, 4)),), graph=graph)


def sub_model(*nodes, initialisers=()):
    graph = helper.make_graph(
        list(nodes) or [make.node("Elu", ["x"], ["s"])],
        "host",
        [value("x", TensorProto.FLOAT, None)],
        [helper.make_empty_tensor_value_info("s")],
        list(initialisers),
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


def outside():
    tensor = numpy_helper.from_array(np.zeros(4, np.float32), "w")
    tensor.ClearField("raw_data")
    tensor.data_location = TensorProto.EXTERNAL
    tensor.external_data.add(key="location", value="/etc/hostname")
    return tensor


def outside_in_a_body():
    body = helper.make_graph([make.node("Constant", [], ["t"], value=outside())], "b", [], [value("t", 1, None)])
    return make.node("If", ["x"], ["s"], then_branch=body, else_branch=body)


class TestHostileParts:
    def test_a_part_as_eie_writes_it_runs(self):
        assert as_read(part(sub_model()), {"x": drawn(2, 4)}).shape == (2, 3)

    @pytest.mark.parametrize(
        ("network", "text"),
        [
            (lambda: part(b"no model"), "damaged sub-model|no nodes"),
            (
                lambda: part(sub_model(make.node("Add", ["x", "w"], ["s"]), initialisers=[outside()])),
                "outside of its file",
            ),
            (lambda: part(sub_model(outside_in_a_body())), "outside of its file"),
            (lambda: part(sub_model(make.node("Odd", ["x"], ["s"], domain="some.where"))), "'some.where.Odd': only"),
            (lambda: part(sub_model(make.node("EPContext", ["x"], ["s"], domain="com.microsoft"))), "EPContext': only"),
            (lambda: part(sub_model(make.node("Elu", ["nothing"], ["s"]))), "onnxruntime cannot load it"),
            (lambda: part(sub_model(), engine="shell"), "engine 'shell': must be onnxruntime or reference"),
            (lambda: part(sub_model(), shapes=((5,),)), r"has shape \(4,\): must be \(5,\)"),
            (lambda: part(sub_model(), batch=()), "zip"),
            (lambda: part(sub_model(), made=(1,)), "no axis of one sample"),
            (lambda: part(sub_model(make.node("Log", ["x"], ["s"])), shapes=((4,),)), "NaN or infinity"),
        ],
    )
    def test_others_are_refused_in_one_line(self, network, text):
        with pytest.raises(ModelError, match=text) as caught:
            eie.simulate(network(), {"x": -np.ones((1, 4))}, spec=SPEC)
        assert "\n" not in str(caught.value)

    def test_functions_and_metadata_are_refused(self):
        model = sub_model()
        model.metadata_props.add(key="ort_config", value=json.dumps({}))
        with pytest.raises(ModelError, match="not a part that eie writes"):
            as_read(part(model), {"x": drawn(1, 4)})

    def test_too_many_bytes_are_not_even_parsed(self, monkeypatch):
        monkeypatch.setattr(host, "LARGEST_PART", 10)
        with pytest.raises(ModelError, match="at most 10"):
            as_read(part(sub_model(make.node("Softplus", ["x"], ["s"]))), {"x": drawn(1, 4)})

    def test_without_the_onnx_extra_one_line_says_so(self, monkeypatch):
        import sys

        network = part(sub_model(make.node("Softsign", ["x"], ["s"])))
        monkeypatch.setitem(sys.modules, "onnxruntime", None)
        with pytest.raises(ModelError, match=r"needs the onnx extra: pip install 'eie\[onnx\]'"):
            as_read(network, {"x": drawn(1, 4)})

    def test_ctrl_c_ends_a_loop(self):
        """A session that goes round until it is told to stop: the signal comes to it, and it is told."""
        told, ended = [], threading.Event()

        class Endless:
            def run(self, names, feeds, run_options):
                signal.pthread_kill(threading.main_thread().ident, signal.SIGINT)
                for _ in range(1000):
                    if run_options.terminate:
                        break
                    time.sleep(0.01)
                told.append(run_options.terminate)
                ended.set()

        # Whoever runs the suite in the background may have it ignore the signal.
        before = signal.signal(signal.SIGINT, signal.default_int_handler)
        try:
            with pytest.raises(KeyboardInterrupt):
                host.run_stoppably(Endless(), None, {})
        finally:
            signal.signal(signal.SIGINT, before)
        # The signal may come before the thread is known to whoever waits for threads.
        assert ended.wait(20)
        assert told == [True]

    def test_reading_without_it_lists_no_operators(self, tmp_path, monkeypatch):
        import sys

        nodes = [make.node("Softsign", ["x"], ["s"]), make.node("MatMul", ["s", "w"], ["y"])]
        path = saved(tmp_path, nodes, {"w": drawn(4, 3)}, inputs=[value("x", TensorProto.FLOAT, ["n", 4])])
        monkeypatch.setitem(sys.modules, "onnxruntime", None)
        with pytest.raises(ModelError) as error:
            eie.load(path)
        assert str(error.value) == f"{path}: what lies between the layers needs the onnx extra: pip install 'eie[onnx]'"


@pytest.mark.parametrize(
    ("nodes", "text"),
    [
        ([make.node("Gather", ["table", "ids"], ["y"])], "holds no Gemm, MatMul, Conv or LSTM with constant weights"),
        (
            [helper.make_node("TreeEnsembleRegressor", ["x"], ["y"], domain="ai.onnx.ml")],
            "TreeEnsembleRegressor is decision trees, which compare and do not multiply",
        ),
    ],
)
def test_a_file_without_products_is_said_to_have_none(tmp_path, nodes, text):
    inputs = [value("ids", TensorProto.INT64, ["n", 3]), value("x", TensorProto.FLOAT, ["n", 4])]
    with pytest.raises(ModelError, match=text):
        eie.load(saved(tmp_path, nodes, {"table": drawn(5, 4)}, inputs=inputs))
