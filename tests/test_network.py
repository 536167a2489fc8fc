"""Networks as graphs: operators between the layers, order, files, and what is refused."""

import json

import naive
import numpy as np
import pytest

import eie
from eie.errors import ModelError, TraceError
from eie.model import operators
from eie.model.geometry import Conv2d
from eie.model.graph import Graph, Node
from eie.simulator.inputs import given_inputs
from eie.simulator.network import Settings, run_network
from eie.simulator.reference import run_given

LEVELS = np.concatenate((np.arange(-7, 0), np.arange(1, 9))).astype(np.float32) / 8
SPEC = eie.EIE_64PE.replace(n_pe=4)


def draw(rng, shape, density=0.5):
    return np.where(rng.random(shape) < density, rng.choice(LEVELS, shape), 0).astype(np.float32)


def conv_layer(rng, name, conv, relu=False):
    return eie.Layer.from_conv(
        name=name, weights=draw(rng, conv.weight_shape), bias=draw(rng, conv.out_channels), conv=conv, relu=relu
    )


def dense_conv(layer, x):
    conv = layer.geometry
    return naive.conv2d(x, layer.kernel, layer.bias, conv.stride, conv.pads, conv.dilation, conv.groups)


def branched(rng):
    """A stem, two branches joined by concat, a residual addition, pools and a classifier."""
    layers = (
        conv_layer(rng, "stem", Conv2d(in_channels=1, out_channels=4, kernel=(3, 3), pads=(1, 1, 1, 1)), relu=True),
        conv_layer(rng, "left", Conv2d(in_channels=4, out_channels=3, kernel=(1, 1))),
        conv_layer(rng, "right", Conv2d(in_channels=4, out_channels=3, kernel=(3, 3), pads=(1, 1, 1, 1), groups=1)),
        conv_layer(
            rng, "joined", Conv2d(in_channels=6, out_channels=4, kernel=(3, 3), stride=(1, 1), pads=(1, 1, 1, 1))
        ),
        eie.Layer.from_weights("classes", draw(rng, (5, 4)), draw(rng, 5)),
    )
    nodes = (
        Node(op="layer", inputs=("image",), outputs=("a",), layer="stem"),
        Node(op="max_pool", inputs=("a",), outputs=("b",), layer=None, attributes={"kernel": (2, 2)}),
        Node(op="layer", inputs=("b",), outputs=("l",), layer="left"),
        Node(op="layer", inputs=("b",), outputs=("r",), layer="right"),
        Node(op="concat", inputs=("l", "r"), outputs=("c",), layer=None, attributes={"axis": 1}),
        Node(op="relu", inputs=("c",), outputs=("d",)),
        Node(op="layer", inputs=("d",), outputs=("e",), layer="joined"),
        Node(op="add", inputs=("e", "b"), outputs=("f",)),
        Node(op="mul", inputs=("f", "gain"), outputs=("g",)),
        Node(op="global_average_pool", inputs=("g",), outputs=("h",)),
        Node(op="flatten", inputs=("h",), outputs=("i",)),
        Node(op="layer", inputs=("i",), outputs=("j",), layer="classes"),
    )
    gain = np.array([1, 0.5, 2, 0.25], np.float32).reshape(4, 1, 1)
    graph = Graph(inputs=(("image", (1, 8, 6)),), nodes=nodes, outputs=("j",), constants={"gain": gain})
    return eie.Network(name="branched", layers=layers, graph=graph)


def branched_reference(network, x):
    stem, left, right, joined, classes = network.layers
    b = naive.pool(np.maximum(dense_conv(stem, x), 0), (2, 2), (2, 2), (0, 0, 0, 0), np.max)
    d = np.maximum(np.concatenate((dense_conv(left, b), dense_conv(right, b)), axis=1), 0)
    g = (dense_conv(joined, d) + b) * network.graph.constants["gain"]
    return g.mean(axis=(2, 3)) @ classes.weights.T + classes.bias


@pytest.mark.parametrize("lowering", ["im2col", "winograd"])
def test_a_branched_network(lowering):
    rng = np.random.default_rng(0)
    network = branched(rng)
    x = rng.integers(0, 4, (3, 1, 8, 6)) / 4
    program = eie.compile(network, SPEC.replace(weight_bits=8), lowering=lowering)
    result = eie.simulate(program, x)
    expected = branched_reference(network, x)
    last = result.layers[-1]
    np.testing.assert_allclose(last.computed.float32, expected, atol=1e-3 if lowering == "winograd" else 1e-5)
    np.testing.assert_allclose(last.outputs, expected, atol=2e-2)
    given = run_given(network.graph, {layer.name: layer for layer in network.layers}, {"image": x})[0]
    np.testing.assert_allclose(given, expected, atol=1e-5)
    assert [row.name for row in result.layers] == ["stem", "left", "right", "joined", "classes"]
    tile = 4 if lowering == "winograd" else 1
    assert [row.products for row in result.layers] == [48 * 16 // 4 if tile == 4 else 48, 12] + (
        [16 * 4, 16 * 4, 1] if tile == 4 else [12, 12, 1]
    )


def test_a_program_file_carries_graph_and_geometry(tmp_path):
    rng = np.random.default_rng(1)
    program = eie.compile(branched(rng), SPEC, lowering="winograd")
    program.save(tmp_path / "p.safetensors")
    loaded = eie.Program.load(tmp_path / "p.safetensors")
    assert loaded.content_hash == program.content_hash
    x = rng.random((2, 1, 8, 6))
    assert eie.simulate(loaded, x).records() == eie.simulate(program, x).records()
    assert loaded.graph.describe() == program.graph.describe()
    assert [layer.geometry for layer in loaded.layers] == [layer.geometry for layer in program.layers]


@pytest.mark.parametrize(
    ("change", "text"),
    [
        (lambda header: header["layers"][0]["geometry"].update(kind="Conv9d"), "unknown geometry 'Conv9d'"),
        (lambda header: header["layers"][0]["geometry"].update(out_channels=9), "cannot be a"),
        (lambda header: header["layers"][1].update(geometry=3), "damaged program"),
        (lambda header: header["graph"]["nodes"].pop(), "made by no node"),
        (lambda header: header["graph"]["nodes"][0].update(layer="else"), "names other layers"),
        (lambda header: header["graph"].update(constants=["gone"]), "damaged program"),
        (lambda header: header["layers"][0]["passes"][0].update(row_start=1, row_stop=5), "outside its layer"),
    ],
)
def test_programs_that_do_not_hold_together_are_refused(tmp_path, change, text):
    from eie.compiler.program_file import digest
    from eie.errors import ProgramError
    from eie.formats.safetensors import read_safetensors, write_safetensors

    file = tmp_path / "p.safetensors"
    eie.compile(branched(np.random.default_rng(1)), SPEC).save(file)
    arrays, texts = read_safetensors(file, ProgramError)
    header = json.loads(texts["eie"])
    change(header)
    body = {key: value for key, value in header.items() if key not in ("content_hash", "versions")}
    write_safetensors(file, arrays, {"eie": json.dumps({**header, "content_hash": digest(arrays, body)})})
    with pytest.raises(ProgramError, match=text):
        eie.Program.load(file)


def test_a_graph_runs_from_its_input_or_from_a_trace_of_every_layer():
    rng = np.random.default_rng(2)
    program = eie.compile(branched(rng), SPEC)
    x = (rng.random((2, 1, 8, 6)) * (rng.random((2, 1, 8, 6)) < 0.5)).astype(np.float32)
    result = eie.simulate(program, x)
    same = [
        eie.simulate(program, x.reshape(2, 48)),
        eie.simulate(program, {"image": x}),
        eie.simulate(program, eie.Trace(layers={"image": eie.LayerTrace.from_dense(x.reshape(2, -1))})),
    ]
    assert all(one.records() == result.records() for one in same)
    assert eie.simulate(program, x[0]).samples == 1
    seen = {}
    layers = {layer.name: layer for layer in program.layers}
    run_network(
        graph=program.graph,
        layers=layers,
        inputs={"image": x},
        settings=Settings(data_bits=16, keep_values=True),
        ran=lambda use, inputs, _: seen.update({use: inputs}),
    )
    driven = eie.simulate(program, eie.Trace(layers=seen))
    assert (driven.drive, result.drive) == ("trace", "execution")
    for a, b in zip(driven.layers, result.layers, strict=True):
        assert a.activity.counts["broadcasts"].tolist() == b.activity.counts["broadcasts"].tolist()
        assert a.activity.cycles.tolist() == b.activity.cycles.tolist()
    tiled = eie.compile(branched(np.random.default_rng(2)), SPEC, lowering="winograd")
    with pytest.raises(eie.EieError, match="layer 'stem' takes 16 inputs, .* have 9: a trace of im2col rows does not"):
        eie.simulate(tiled, eie.Trace(layers=seen))
    pattern = eie.Trace(
        layers={
            name: eie.LayerTrace(width=one.width, bits=one.bits, values=None, products=one.products)
            for name, one in seen.items()
        }
    )
    assert eie.simulate(program, pattern).records() == driven.records()


def test_accuracy_of_a_graph():
    rng = np.random.default_rng(3)
    network = branched(rng)
    x = (rng.integers(0, 4, (6, 1, 8, 6)) / 4).astype(np.float32)
    labels = branched_reference(network, x).argmax(axis=1)
    labels[0] = (labels[0] + 1) % 5
    trace = eie.Trace(layers={"image": eie.LayerTrace.from_dense(x.reshape(6, -1))}, labels=labels)
    from eie.simulation import with_given_accuracy

    result = with_given_accuracy(eie.simulate(eie.compile(network, SPEC), trace), network, trace)
    assert (result.accuracy.float32, result.accuracy.given) == (5 / 6, 5 / 6)


def test_outputs_may_be_let_go():
    rng = np.random.default_rng(14)
    network = branched(rng)
    x = rng.random((2, 1, 8, 6)).astype(np.float32)
    labels = np.array([0, 1])
    trace = eie.Trace(layers={"image": eie.LayerTrace.from_dense(x.reshape(2, -1))}, labels=labels)
    program = eie.compile(network, SPEC)
    kept, lean = (eie.simulate(program, trace, keep_outputs=keep) for keep in (True, False))
    assert str(lean) == str(kept)
    assert all(row.outputs is None for row in lean.layers)
    assert kept.layers[0].outputs.shape == (2, 4, 8, 6)


def test_layers_feed_each_other_bit_for_bit():
    """Exact operators neither round nor reformat: fixed-point numbers go through a chain unchanged."""
    rng = np.random.default_rng(4)
    first, second = (eie.Layer.from_weights(name, draw(rng, (8, 8)), draw(rng, 8)) for name in ("a", "b"))
    x = rng.standard_normal((5, 8))
    steps = [("relu", {}), ("reshape", {"shape": (0, 2, 4)}), ("transpose", {"axes": (0, 2, 1)})]
    back = [("transpose", {"axes": (0, 2, 1)}), ("unsqueeze", {"axes": (1,)}), ("squeeze", {"axes": (1,)})]
    graph = Graph.sequence(
        "x", (8,), [("layer", "a"), *steps, *back, ("flatten", {}), ("dropout", {}), ("identity", {}), ("layer", "b")]
    )
    long = eie.simulate(eie.compile(eie.Network(name="n", layers=(first, second), graph=graph), SPEC), x)
    from dataclasses import replace

    short = eie.simulate(
        eie.compile(eie.Network(name="n", layers=(replace(first, relu=True), second), sequential=True), SPEC), x
    )
    np.testing.assert_array_equal(long.layers[1].computed.fixed.raw, short.layers[1].computed.fixed.raw)
    assert long.layers[1].cycles == short.layers[1].cycles


def test_a_linear_layer_over_time_steps():
    rng = np.random.default_rng(5)
    lstm = eie.Layer.from_lstm(
        name="lstm", input_weights=draw(rng, (12, 4)), hidden_weights=draw(rng, (12, 3)), bias=draw(rng, 12)
    )
    head = eie.Layer.from_weights("head", draw(rng, (2, 3)), draw(rng, 2))
    x = rng.standard_normal((2, 6, 4)).astype(np.float32)
    expected = naive.lstm(x, lstm.weights[:, :4], lstm.weights[:, 4:], lstm.bias, False) @ head.weights.T + head.bias
    for axis in (0, 1):
        nodes = (
            Node(
                op="transpose",
                inputs=("x",),
                outputs=("t",),
                layer=None,
                attributes={"axes": (0, 1, 2) if axis == 0 else (1, 0, 2)},
            ),
            Node(op="layer", inputs=("t",), outputs=("y", "h", "c"), layer="lstm", attributes={"batch_axis": axis}),
            Node(op="layer", inputs=("y",), outputs=("z",), layer="head", attributes={"batch_axis": axis}),
        )
        graph = Graph(inputs=(("x", (-1, 4)),), nodes=nodes, outputs=("z", "h"))
        program = eie.compile(eie.Network(name="n", layers=(lstm, head), graph=graph), SPEC)
        runs = []
        layers = {layer.name: layer for layer in program.layers}
        z, h = run_network(
            graph=graph,
            layers=layers,
            inputs={"x": x},
            settings=Settings(data_bits=16),
            ran=lambda *ran, runs=runs: runs.append(ran),
        )
        np.testing.assert_allclose(np.moveaxis(z.float32, axis, 0), expected, atol=1e-5)
        np.testing.assert_allclose(np.moveaxis(z.fixed.value, axis, 0), expected, atol=1e-2)
        np.testing.assert_allclose(h.float32 @ head.weights.T + head.bias, expected[:, -1], atol=1e-5)
        given = run_given(graph, {"lstm": lstm, "head": head}, {"x": x})
        np.testing.assert_allclose(given[0], z.float32, atol=1e-5)
        np.testing.assert_allclose(given[1], h.float32, atol=1e-5)
        assert [inputs.products for _, inputs, _ in runs] == [6, 6]
        # Rows are sorted by sample, whichever axis the batch is on: x of the first sample opens the trace.
        np.testing.assert_array_equal(runs[0][1].mask[:6, :4], x[0] != 0)
    result = eie.simulate(program, x)
    assert [row.products for row in result.layers] == [6, 6]


def test_an_lstm_with_half_a_state_is_refused():
    layer = eie.Layer.from_lstm("l", np.ones((4, 2)), np.ones((4, 1)))
    graph = Graph(
        inputs=(("x", (3, 2)), ("h", (1,))),
        nodes=(Node(op="layer", inputs=("x", "h"), outputs=("y",), layer="l"),),
        outputs=("y",),
    )
    program = eie.compile(eie.Network(name="n", layers=(layer,), graph=graph), SPEC)
    with pytest.raises(eie.EieError, match=r"node 'y', layer 'l': initial states \(2, 1\): must be h and c, \(2, 1\)"):
        eie.simulate(program, {"x": np.ones((2, 3, 2)), "h": np.ones((2, 1))})


def test_an_lstm_takes_up_where_another_left():
    rng = np.random.default_rng(6)
    parts = draw(rng, (12, 4)), draw(rng, (12, 3)), draw(rng, 12)
    layers = tuple(eie.Layer.from_lstm(name, *parts) for name in ("first", "second"))
    nodes = (
        Node(op="slice", inputs=("x",), outputs=("x1",), layer=None, attributes={"axis": 1, "stop": 2}),
        Node(op="slice", inputs=("x",), outputs=("x2",), layer=None, attributes={"axis": 1, "start": 2}),
        Node(op="layer", inputs=("x1",), outputs=("y1", "h", "c"), layer="first"),
        Node(op="layer", inputs=("x2", "h", "c"), outputs=("y2",), layer="second"),
    )
    x = rng.standard_normal((2, 5, 4)).astype(np.float32)
    network = eie.Network(name="n", layers=layers, graph=Graph(inputs=(("x", (5, 4)),), nodes=nodes, outputs=("y2",)))
    found = eie.simulate(eie.compile(network, SPEC), x).layers[1].computed
    expected = naive.lstm(x, *parts, False)[:, 2:]
    np.testing.assert_allclose(found.float32, expected, atol=1e-5)
    np.testing.assert_allclose(found.fixed.value, expected, atol=5e-3)


def padded(x, value):
    y = np.full((2, 3, 7, 9), value, float)
    y[:, :, 1:, :7] = x
    return y


def corners(x):
    return np.maximum.reduce([x[:, :, :-2, :-2], x[:, :, 2:, :-2], x[:, :, :-2, 2:], x[:, :, 2:, 2:]])


@pytest.mark.parametrize(
    ("op", "attributes", "reference"),
    [
        ("sigmoid", {}, lambda x: 1 / (1 + np.exp(-x))),
        ("tanh", {}, np.tanh),
        ("relu", {}, lambda x: x * (x > 0)),
        ("leaky_relu", {"slope": 0.25}, lambda x: x * np.where(x > 0, 1, 0.25)),
        ("clip", {"low": 0, "high": 0.5}, lambda x: np.minimum(x * (x > 0), 0.5)),
        ("softmax", {"axis": 1}, lambda x: np.exp(x) / np.exp(x).sum(axis=1, keepdims=True)),
        ("mean", {"axes": (2, 3)}, lambda x: x.sum(axis=(2, 3)) / 42),
        ("pad", {"pads": ((0, 0), (0, 0), (1, 0), (0, 2)), "value": 3}, lambda x: padded(x, 3)),
        ("slice", {"axis": 3, "start": 1, "stop": 6, "step": 2}, lambda x: x[:, :, :, 1:6:2]),
        ("slice", {"axis": -1, "start": -2}, lambda x: x[..., -2:]),
        ("flatten", {"axis": 2}, lambda x: x.reshape(6, 42)),
        ("flatten", {"axis": -1}, lambda x: x.reshape(36, 7)),
        ("reshape", {"shape": (0, -1, 7)}, lambda x: x.reshape(2, 18, 7)),
        (
            "max_pool",
            {"kernel": (2, 3), "stride": (2, 1), "pads": (1, 0, 0, 1)},
            lambda x: naive.pool(x, (2, 3), (2, 1), (1, 0, 0, 1), np.max),
        ),
        ("max_pool", {"kernel": (2, 2), "dilation": (2, 2), "stride": (1, 1)}, corners),
        ("max_pool", {"kernel": (2, 3), "ceil": True}, lambda x: naive.pool(x, (2, 3), (2, 3), (0, 0, 0, 2), np.max)),
        (
            "average_pool",
            {"kernel": (3, 2), "stride": (1, 2), "pads": (1, 0, 1, 1)},
            lambda x: naive.pool(x, (3, 2), (1, 2), (1, 0, 1, 1), np.mean),
        ),
        (
            "average_pool",
            {"kernel": (2, 2), "stride": (1, 1), "pads": (1, 1, 0, 0), "count_pads": True},
            lambda x: naive.pool(x, (2, 2), (1, 1), (1, 1, 0, 0), np.sum) / 4,
        ),
    ],
)
def test_operators(op, attributes, reference):
    x = np.random.default_rng(7).standard_normal((2, 3, 6, 7)).astype(np.float32)
    np.testing.assert_allclose(
        operators.apply(name="n", op=op, inputs=[x], attributes=attributes), reference(x.astype(float)), atol=1e-6
    )
    if operators.find(op).exact:
        raw = np.random.default_rng(7).integers(-99, 99, x.shape)
        np.testing.assert_array_equal(
            operators.apply(name="n", op=op, inputs=[raw], attributes=attributes), reference(raw)
        )


def test_batch_norm_and_arithmetic():
    rng = np.random.default_rng(8)
    x = rng.standard_normal((2, 3, 4, 4))
    scale, bias, mean, variance = rng.random((4, 3)) + 0.5
    y = operators.apply(name="n", op="batch_norm", inputs=[x, scale, bias, mean, variance], attributes={"epsilon": 0.1})
    for c in range(3):
        expected = (x[:, c] - mean[c]) / np.sqrt(variance[c] + 0.1) * scale[c] + bias[c]
        np.testing.assert_allclose(y[:, c], expected)
    for op, expected in (("add", x + 2), ("sub", x - 2), ("mul", x * 2), ("div", x / 2)):
        np.testing.assert_allclose(operators.apply(name="n", op=op, inputs=[x, np.array(2.0)], attributes={}), expected)


@pytest.mark.parametrize("pads", [(0, 0), (1, 1)])
@pytest.mark.parametrize(("kernel", "stride"), [((3, 3), (2, 2)), ((2, 2), (3, 3)), ((2, 3), (2, 1))])
def test_ceil_mode_against_torch(kernel, stride, pads):
    torch = pytest.importorskip("torch")
    x = np.random.default_rng(9).standard_normal((1, 2, 8, 7)).astype(np.float32)
    at = {"kernel": kernel, "stride": stride, "pads": (*pads, *pads), "ceil": True}
    expected = torch.nn.functional.max_pool2d(torch.tensor(x), kernel, stride, pads, ceil_mode=True)
    np.testing.assert_array_equal(operators.apply(name="n", op="max_pool", inputs=[x], attributes=at), expected.numpy())
    for count in (False, True):
        expected = torch.nn.functional.avg_pool2d(
            torch.tensor(x), kernel, stride, pads, ceil_mode=True, count_include_pad=count
        )
        found = operators.apply(name="n", op="average_pool", inputs=[x], attributes={**at, "count_pads": count})
        np.testing.assert_allclose(found, expected.numpy(), atol=1e-6)


def chain(*nodes, outputs=("y",)):
    layer = eie.Layer.from_weights("fc", np.eye(4, dtype=np.float32))
    return eie.Network(
        name="n",
        layers=(layer,),
        graph=Graph(inputs=(("x", (4,)),), nodes=nodes, outputs=outputs, constants={"nought": np.zeros(1)}),
    )


FC = Node(op="layer", inputs=("x",), outputs=("y",), layer="fc")


@pytest.mark.parametrize(
    ("build", "text"),
    [
        (
            lambda: chain(Node(op="layer", inputs=("z",), outputs=("y",), layer="fc")),
            "node 'y' .layer.: its input 'z' is not made",
        ),
        (lambda: chain(FC, Node(op="relu", inputs=("x",), outputs=("y",))), "node 'y' .relu.: 'y' exists already"),
        (lambda: chain(FC, outputs=("q",)), "its output 'q' is made by no node"),
        (
            lambda: chain(
                FC,
                Node(op="layer", inputs=("x",), outputs=("z",), layer="fc"),
                Node(op="layer", inputs=("x",), outputs=("w",), layer="fc#2"),
            ),
            "layer 'fc#2' is called like a further use of another: name it otherwise",
        ),
        (
            lambda: chain(Node(op="layer", inputs=("x",), outputs=("y",), layer="other")),
            "graph and its layers differ in fc, other",
        ),
        (
            lambda: chain(Node(op="relu", inputs=("x",), outputs=("y",), layer="fc")),
            "op 'layer' and only it names a layer, this one names",
        ),
        (lambda: chain(Node(op="relu", inputs=("x",), outputs=())), "a node 'relu' has no output"),
        (lambda: chain(Node(op="relu", inputs=(), outputs=("y",))), "node 'y' .relu.: has no input"),
        (
            lambda: Graph(inputs=(("x", (0,)),), nodes=(), outputs=("x",)),
            r"input 'x' has shape \(0,\): sizes must be 1 to 67108864, or -1",
        ),
        (lambda: Graph(inputs=(), nodes=(), outputs=("x",)), "needs at least one input and one output"),
    ],
)
def test_graphs_that_make_no_sense_are_refused(build, text):
    with pytest.raises(eie.EieError, match=text):
        build()


@pytest.mark.parametrize(
    ("node", "text"),
    [
        (
            Node(op="gelu", inputs=("y",), outputs=("z",)),
            "node 'z': operator 'gelu' is not supported: known are layer, add, ",
        ),
        (
            Node(op="reshape", inputs=("y",), outputs=("z",), layer=None, attributes={"shape": (0, 3)}),
            r"node 'z' \(reshape\) on \(1, 4\): cannot reshape",
        ),
        (
            Node(op="slice", inputs=("y",), outputs=("z",), layer=None, attributes={"axis": 1, "start": 4}),
            r"node 'z' \(slice\): its result is empty",
        ),
        (Node(op="div", inputs=("y", "nought"), outputs=("z",)), r"node 'z' \(div\): its result holds NaN or infinity"),
        (Node(op="relu", inputs=("y",), outputs=("z", "zz")), r"node 'z' \(relu\): makes 1 outputs, not 2"),
        (Node(op="add", inputs=("y",), outputs=("z",)), r"node 'z' \(add\): takes 2 inputs, has 1"),
        (
            Node(op="max_pool", inputs=("y",), outputs=("z",), layer=None, attributes={"kernel": (2, 0)}),
            r"node 'z' \(max_pool\) on \(1, 4\)",
        ),
        (Node(op="transpose", inputs=("y",), outputs=("z",)), r"node 'z' \(transpose\): attribute 'axes' is missing"),
    ],
)
def test_operators_that_cannot_run_name_their_node(node, text):
    program = eie.compile(chain(FC, node, outputs=("z",)), SPEC)
    with pytest.raises(eie.EieError, match=text):
        eie.simulate(program, np.ones(4))


def test_a_layer_without_a_state_has_one_input():
    layer = eie.Layer.from_weights("fc", np.ones((2, 3)))
    node = Node(op="layer", inputs=("x", "y"), outputs=("z",), layer="fc")
    graph = Graph(inputs=(("x", (3,)), ("y", (3,))), nodes=(node,), outputs=("z",))
    program = eie.compile(eie.Network(name="n", layers=(layer,), graph=graph), SPEC)
    with pytest.raises(eie.EieError, match="layer 'fc': takes one input, the graph gives it 2"):
        eie.simulate(program, {"x": np.ones((1, 3)), "y": np.ones((1, 3))})


def test_layers_that_cannot_run_name_their_node():
    layers = (eie.Layer.from_conv("conv", np.ones((2, 3, 3, 3))), eie.Layer.from_weights("fc", np.ones((2, 2))))
    network = eie.Network(
        name="n", layers=layers, graph=Graph.sequence("x", (3, 5, 5), [("layer", "conv"), ("layer", "fc")])
    )
    program = eie.compile(network, SPEC)
    with pytest.raises(eie.EieError, match=r"node 'fc:out', layer 'fc': takes 2 inputs, its input has shape"):
        eie.simulate(program, np.ones((1, 3, 5, 5)))
    for shape in ((1, 2, 5, 5), (7,)):
        with pytest.raises(eie.EieError, match="the network's input 'x' is 3 x 5 x 5 a sample, the activations have"):
            eie.simulate(program, np.ones(shape))
    with pytest.raises(eie.EieError, match="no activations for the network's input, 'x'"):
        eie.simulate(program, {"fc": np.ones(2)})
    with pytest.raises(eie.EieError, match="input 'conv' is 3 x any x any a sample, the activations have shape"):
        eie.simulate(eie.compile(layers[0], SPEC), np.ones((1, 2, 5, 5)))
    graph = Graph.sequence("x", (2, 5, 5), [("layer", "conv")])
    with pytest.raises(eie.EieError, match=r"layer 'conv': a convolution over 3 channels got an array of shape"):
        eie.simulate(eie.compile(eie.Network(name="n", layers=layers[:1], graph=graph), SPEC), np.ones((1, 2, 5, 5)))


def test_a_single_convolution_without_activations_needs_some():
    program = eie.compile(eie.Layer.from_conv("conv", np.ones((2, 3, 3, 3))), SPEC)
    with pytest.raises(eie.EieError, match="no activations were given, and the size of input 'conv' is open"):
        eie.simulate(program)


LENET = """
weights = "w.npz"
input = [1, 12, 12]
[[layer]]
name = "conv1"
kind = "conv"
weights = "k1"
bias = "b1"
relu = true
pool = "max2"
[[layer]]
name = "conv2"
kind = "conv"
weights = "k2"
pads = 1
groups = 2
relu = true
pool = "average3s2"
[[layer]]
name = "ip1"
weights = "w3"
order = "in,out"
"""


def test_a_convolutional_network_in_toml(tmp_path):
    rng = np.random.default_rng(10)
    k1, b1, k2, w3 = draw(rng, (4, 1, 3, 3)), draw(rng, 4), draw(rng, (6, 2, 3, 3)), draw(rng, (24, 3))
    np.savez(tmp_path / "w.npz", k1=k1, b1=b1, k2=k2, w3=w3)
    (tmp_path / "m.toml").write_text(LENET)
    network = eie.load(tmp_path / "m.toml")
    x = rng.integers(0, 4, (2, 1, 12, 12)) / 4
    a = np.maximum(naive.conv2d(x, k1, b1, (1, 1), (0, 0, 0, 0), (1, 1), 1), 0)
    a = naive.pool(a, (2, 2), (2, 2), (0, 0, 0, 0), np.max)
    a = np.maximum(naive.conv2d(a, k2, None, (1, 1), (1, 1, 1, 1), (1, 1), 2), 0)
    a = naive.pool(a, (3, 3), (2, 2), (0, 0, 0, 0), np.mean)
    result = eie.simulate(eie.compile(network, SPEC), x)
    np.testing.assert_allclose(result.layers[-1].computed.float32, a.reshape(2, -1) @ w3, atol=1e-5)
    assert [row.products for row in result.layers] == [100, 25, 1]
    table = str(result)
    assert "products" in table.splitlines()[2]
    assert [record["products"] for record in result.records()] == [100, 25, 1]
    # Without activations the input's size is known, so a synthetic one can be drawn.
    assert eie.simulate(eie.compile(network, SPEC)).synthetic_inputs


def test_an_lstm_in_toml(tmp_path):
    rng = np.random.default_rng(11)
    np.savez(tmp_path / "w.npz", x=draw(rng, (12, 4)), h=draw(rng, (12, 3)), b=draw(rng, 12), o=draw(rng, (2, 3)))
    (tmp_path / "m.toml").write_text(
        'weights = "w.npz"\ninput = [-1, 4]\n'
        '[[layer]]\nname = "l"\nkind = "lstm"\nweights = "x"\nhidden_weights = "h"\nbias = "b"\nreverse = true\n'
        '[[layer]]\nname = "o"\nweights = "o"\n'
    )
    network = eie.load(tmp_path / "m.toml")
    assert network.layers[0].geometry.reverse
    result = eie.simulate(eie.compile(network, SPEC), np.ones((1, 5, 4)))
    assert [(row.shape, row.products) for row in result.layers] == [((12, 7), 5), ((2, 3), 5)]


def test_synthetic_convolutions_and_lstms(tmp_path):
    (tmp_path / "m.toml").write_text(
        '[[layer]]\nname = "c"\nkind = "conv"\ninputs = 8\noutputs = 16\nkernel = 3\npads = 1\nstride = 2\ngroups = 2\n'
        "weight_density = 0.3\nactivation_density = 0.4\nheight = 9\nwidth = 11\n"
        '[[layer]]\nname = "l"\nkind = "lstm"\ninputs = 50\noutputs = 20\nsteps = 7\n'
        "weight_density = 0.1\nactivation_density = 0.5\n"
    )
    result = eie.simulate(eie.compile(eie.load(tmp_path / "m.toml"), SPEC))
    conv, lstm = result.layers
    assert (conv.shape, conv.products, lstm.shape, lstm.products) == ((16, 72), 30, (80, 70), 7)
    assert conv.encoded.weight_density == pytest.approx(0.3, abs=0.05)
    assert conv.activity.activation_density == pytest.approx(0.4 * 0.85, abs=0.07)  # pads are zeros
    assert lstm.activity.activation_density == pytest.approx((50 * 0.5 + 20) / 70, abs=0.05)
    # A dense machine skips what a grouped convolution does not have.
    assert conv.dense_us == pytest.approx(30 * 4 * 36 / 800)
    assert "synthetic weights" in " ".join(result.notes())


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        (
            'kind = "conv"\ninputs = 2\noutputs = 2\nweight_density = 1',
            "layer 'c': a convolution without weights",
        ),
        (
            'kind = "conv"\ninputs = 2\noutputs = 2\nkernel = [3]\nweight_density = 1',
            "kernel=.3.: must be a number",
        ),
        (
            'kind = "conv"\ninputs = 2\noutputs = 2\nkernel = 3\nweight_density = 1\nactivation_density = 1',
            "layer 'c': activation_density of a convolution needs height and width",
        ),
        (
            'kind = "lstm"\ninputs = 2\noutputs = 2\nweight_density = 1\nactivation_density = 1',
            "layer 'c': activation_density of an LSTM needs steps",
        ),
        ('kind = "conv3d"\ninputs = 2', "kind"),
        ('weights = "w2"\nkernel = 3\npads = 1', "layer 'c': kernel, pads: only a layer of kind = 'conv' has that"),
        ('kind = "conv"\nweights = "w4"\nsteps = 3', "layer 'c': steps: only a layer of kind = 'lstm' has that"),
        ('kind = "lstm"\nweights = "w2"\nrelu = true', "layer 'c': an LSTM has no relu and no codes"),
        ('weights = "w2"\npool = "max2" # alone', "layer 'c': pool needs the shape of the network's input"),
        ('kind = "conv"\nweights = "w2"', "layer 'c': a convolution's weights have shape"),
        ('kind = "conv"\nweights = "w4"\nkernel = 5', r"layer 'c': kernel=5, but its weights have \(3, 3\)"),
        (
            'kind = "conv"\nweights = "w4"\ngroups = 2',
            "layer 'c': conv groups=2: must divide the channels",
        ),
        ('kind = "conv"\nweights = "w4"\ninputs = 3', "layer 'c': inputs=3, but its weights have 2"),
        ('kind = "lstm"\nweights = "w2"', "layer 'c': an LSTM needs weights and hidden_weights"),
        ('weights = "w2"\npool = "min2"', "layer 'c': pool='min2': must be max or average, a window and perhaps"),
    ],
)
def test_toml_that_makes_no_sense_is_refused(tmp_path, text, complaint):
    np.savez(tmp_path / "w.npz", w2=np.ones((3, 2)), w4=np.ones((3, 2, 3, 3)))
    top = 'weights = "w.npz"\n' + ("input = [2]\n" if "min2" in text else "")
    (tmp_path / "m.toml").write_text(f'{top}[[layer]]\nname = "c"\n{text}\n')
    with pytest.raises(eie.EieError, match=complaint):
        eie.load(tmp_path / "m.toml")


def test_a_state_dict_with_convolutions(tmp_path):
    rng = np.random.default_rng(12)
    arrays = {
        "features.0.weight": draw(rng, (4, 3, 3, 3)),
        "features.0.bias": draw(rng, 4),
        "features.1.running_mean": draw(rng, 4),
        "classifier.weight": draw(rng, (5, 4)),
    }
    maps = rng.random((2, 3, 6, 6)).astype(np.float32)
    np.savez(tmp_path / "m.npz", **arrays)
    network = eie.load(tmp_path / "m.npz")
    by_name = {layer.name: layer for layer in network.layers}
    assert by_name["features.0"].geometry == Conv2d(in_channels=3, out_channels=4, kernel=(3, 3))
    assert by_name["classifier"].geometry.takes_vectors
    assert not network.sequential
    notes = " ".join(network.notes)
    assert "convolutions taken with stride 1, no pads, one group: features.0" in notes
    assert "left out, statistics (4 numbers): features.1.running_mean (4,)" in notes
    alone = {key: value for key, value in arrays.items() if key.startswith("features.0")}
    np.savez(tmp_path / "c.npz", **alone, inputs=maps)
    result = eie.simulate(eie.compile(eie.load(tmp_path / "c.npz"), SPEC))
    assert (result.samples, result.layers[0].products) == (2, 16)
    expected = naive.conv2d(maps, *alone.values(), (1, 1), (0, 0, 0, 0), (1, 1), 1)
    found = result.layers[0].computed.float32.reshape(2, 4, 4, 4).transpose(0, 3, 1, 2)
    np.testing.assert_allclose(found, expected, atol=1e-5)


def test_a_convolutional_program_on_the_command_line(tmp_path, monkeypatch, capsys):
    from eie.cli import main

    rng = np.random.default_rng(13)
    monkeypatch.chdir(tmp_path)
    np.savez("w.npz", k1=draw(rng, (4, 1, 3, 3)), b1=draw(rng, 4), k2=draw(rng, (6, 2, 3, 3)), w3=draw(rng, (24, 3)))
    (tmp_path / "m.toml").write_text(LENET)
    np.save("x.npy", rng.random((3, 1, 12, 12)))

    def run(*words):
        monkeypatch.setattr("sys.argv", ["eie", *words])
        with pytest.raises(SystemExit) as end:
            main()
        assert end.value.code == 0
        return capsys.readouterr().out

    direct = run("run", "m.toml", "--trace", "x.npy", "--samples", "2", "--csv", "-")
    run("compile", "m.toml", "-o", "p.safetensors")
    assert run("simulate", "p.safetensors", "--trace", "x.npy", "--samples", "2", "--csv", "-") == direct
    winograd = run("run", "m.toml", "--trace", "x.npy", "--winograd")
    assert "conv1 by Winograd" in winograd
    assert "conv2 by Winograd" not in winograd  # grouped


def with_ids(rng):
    """A layer on one input, beside a second one of ids that is handed out as it is."""
    nodes = (Node(op="layer", inputs=("x",), outputs=("y",), layer="fc"),)
    graph = Graph(inputs=(("x", (4,)), ("ids", (2,))), nodes=nodes, outputs=("y", "ids"), types={"ids": "int64"})
    layer = eie.Layer.from_weights("fc", draw(rng, (3, 4), 1.0))
    return eie.Network(name="ids", layers=(layer,), graph=graph)


def test_ids_stay_plain_integers_in_a_run_without_sharing():
    network = with_ids(np.random.default_rng(0))
    ids = np.array([[(1 << 53) + 1, 7]])
    _, handed = run_given(network.graph, {"fc": network.layers[0]}, {"x": np.ones((1, 4)), "ids": ids})
    assert handed.dtype == np.int64
    np.testing.assert_array_equal(handed, ids)


@pytest.mark.parametrize("suffix", [".npz", ".safetensors", ".eie"])
def test_types_of_inputs_are_kept_in_model_files(tmp_path, suffix):
    path = tmp_path / f"ids{suffix}"
    network = with_ids(np.random.default_rng(0))
    eie.save(network, path)
    assert eie.load(path).graph.types == {"ids": "int64"}


def test_types_of_inputs_are_kept_in_programs(tmp_path):
    path = tmp_path / "ids.npz"
    eie.compile(with_ids(np.random.default_rng(0)), SPEC).save(path)
    assert eie.Program.load(path).graph.types == {"ids": "int64"}


def test_ids_that_are_no_integers_are_refused():
    network = with_ids(np.random.default_rng(0))
    with pytest.raises(TraceError, match=r"activations of ids: must be int64 numbers"):
        eie.simulate(network, {"x": np.ones((1, 4)), "ids": np.full((1, 2), 0.5)}, spec=SPEC)


def test_without_activations_ids_are_ones():
    result = eie.simulate(with_ids(np.random.default_rng(0)), spec=SPEC)
    assert "ones for ids" in result.inputs_source


def test_ids_one_apart_have_different_hashes():
    network = with_ids(np.random.default_rng(0))
    x = np.ones((1, 4), np.float32)
    hashes = [
        given_inputs(network.layers, network.graph, {"x": x, "ids": np.array([[i, 0]])}).sha256
        for i in ((1 << 53) + 1, 1 << 53)
    ]
    assert hashes[0] != hashes[1]


@pytest.mark.parametrize(("name", "kind"), [("ids", "float16"), ("ids", "object"), ("other", "int64")])
def test_types_that_no_input_can_have_are_refused(name, kind):
    node = Node(op="layer", inputs=("ids",), outputs=("y",), layer="fc")
    with pytest.raises(ModelError, match=rf"types\['{name}'\]='{kind}': must be one of bool"):
        Graph(inputs=(("ids", (2,)),), nodes=(node,), outputs=("y",), types={name: kind})
