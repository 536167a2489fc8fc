"""Kinds of layers and operators: each answers for itself, nobody asks which it is, another one comes from one place."""

import ast
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product
from pathlib import Path

import numpy as np
import onnx_models as models
import pytest

import eie
from eie.compression.pruning import structure
from eie.errors import ModelError
from eie.model import geometry, operators
from eie.model.geometry import Conv2d, Conv3d, ConvTranspose2d, Geometry, Gru, Linear, Lstm, Rnn, Winograd
from eie.model.geometry import registry as kinds
from eie.model.graph import Graph
from eie.model.layer import Layer
from eie.model.network import Network
from eie.model.operators import registry
from eie.model.operators.channels import Channels, kept, mixed
from eie.model.operators.from_onnx import elementwise
from eie.recording.inputs import Samples
from eie.recording.record import record

PACKAGE = Path(eie.__file__).parent
CONV = Conv2d(in_channels=4, out_channels=6, kernel=(3, 2), stride=(2, 1), pads=(1, 0, 2, 1), dilation=(1, 2), groups=2)
SQUARE = Conv2d(in_channels=3, out_channels=3, kernel=(3, 3), pads=(1, 1, 1, 1))
VOLUME = Conv3d(in_channels=4, out_channels=6, kernel=(3, 2, 1), stride=(1, 2, 1), pads=(1, 0, 0, 1, 1, 0), groups=2)
TRANSPOSED = ConvTranspose2d(
    in_channels=4, out_channels=6, kernel=(3, 2), stride=(2, 3), pads=(1, 0, 1, 1), output_padding=(1, 0), groups=2
)
KINDS = {
    "linear": (Linear(inputs=5, outputs=3), (2, 5)),
    "a sequence of vectors": (Linear(inputs=5, outputs=3), (2, 4, 5)),
    "convolution": (CONV, (2, 4, 7, 6)),
    "winograd": (Winograd(SQUARE), (2, 3, 5, 6)),
    "volumes": (VOLUME, (2, 4, 5, 4, 3)),
    "transposed": (TRANSPOSED, (2, 4, 5, 3)),
}


# -- nobody asks ---------------------------------------------------------------------------------------------------


def asks_for_a_kind(tree: ast.AST, names: set[str]) -> list[int]:
    """Lines of isinstance or issubclass, or of match cases, on one of the classes; and of comparisons with type(x)."""
    lines = []
    for node in ast.walk(tree):
        called = node.func.id if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) else ""
        asked: list[ast.AST] = [node.args[1]] if called in ("isinstance", "issubclass") else []
        if isinstance(node, ast.MatchClass):
            asked.append(node.cls)
        if isinstance(node, ast.Compare):
            asked += [node.left, *node.comparators] if "type(" in ast.unparse(node) else []
        for part in asked:
            used = {n.id for n in ast.walk(part) if isinstance(n, ast.Name)}
            used |= {n.attr for n in ast.walk(part) if isinstance(n, ast.Attribute)}
            if used & names:
                lines.append(node.lineno)
    return lines


def test_no_code_asks_what_kind_a_layer_has():
    """`Layer.geometry` answers; only a geometry may know another one, as Winograd does the convolution it replaces."""
    names = {cls.__name__ for cls in kinds._KINDS.values()} | {"Geometry", "Recurrent", "Alternative"}
    assert {"Linear", "Conv2d", "Winograd", "Lstm"} <= names
    asking = []
    for file in sorted(PACKAGE.rglob("*.py")):
        if file.relative_to(PACKAGE).parts[:2] == ("model", "geometry"):
            continue
        asking += [f"{file}:{line}" for line in asks_for_a_kind(ast.parse(file.read_text()), names)]
    assert asking == []


def test_the_walk_finds_who_asks():
    text = "isinstance(g, Conv2d | Lstm)\nissubclass(k, m.Winograd)\ntype(g) is Linear\nisinstance(x, int)"
    assert asks_for_a_kind(ast.parse(text), {"Conv2d", "Lstm", "Winograd", "Linear"}) == [1, 2, 3]


def test_operators_are_named_in_their_own_files_only():
    """A rule about an operator that stands elsewhere would be missed by whoever adds or changes one."""
    common = {"add", "sub", "mul", "div", "mean", "slice", "pad", "identity", "clip", "concat", "relu"}
    wanted = set(operators.known()) - common  # those are words of other uses, too
    elsewhere = set()
    for file in sorted(PACKAGE.rglob("*.py")):
        if file.relative_to(PACKAGE).parts[:2] == ("model", "operators"):
            continue
        for node in ast.walk(ast.parse(file.read_text())):
            if isinstance(node, ast.Constant) and node.value in wanted:
                elsewhere.add(f"{file.relative_to(PACKAGE)}: {node.value}")
    assert elsewhere <= {
        # Readers make nodes of their own: maps of height 1, stacks, directions of an LSTM, maps before a linear layer.
        "importers/onnx/convolutions.py: squeeze",
        "importers/onnx/convolutions.py: transpose",
        "importers/onnx/convolutions.py: unsqueeze",
        "importers/onnx/recurrent.py: squeeze",
        "importers/onnx/recurrent.py: unsqueeze",
        # The axis that is multiplied is brought last, and back.
        "importers/onnx/einsum.py: reshape",
        "importers/onnx/einsum.py: transpose",
        "importers/onnx/products.py: transpose",
        "importers/toml.py: flatten",
        # How ONNX calls an LSTM's own functions.
        "importers/onnx/recurrent.py: sigmoid",
        "importers/onnx/recurrent.py: tanh",
        # Whether outputs are probabilities is a question about this operator and no rule of it.
        "studies/search/judge.py: softmax",
    }


# -- every geometry ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("kind", "shape"), KINDS.values(), ids=KINDS)
def test_rows_fold_into_the_stated_shape(kind, shape):
    x = np.random.default_rng(0).standard_normal(shape)
    windows = kind.windows(x)
    count = kind.rows(windows)
    assert count == shape[0] * kind.products(*kind.sizes(shape))
    whole = kind.unroll(windows, 0, count)
    assert whole.shape == (count, kind.matrix_shape[1])
    parts = [kind.unroll(windows, i, min(i + 3, count)) for i in range(0, count, 3)]
    np.testing.assert_array_equal(np.concatenate(parts), whole)
    np.testing.assert_array_equal(kind.recorded(x, None).reshape(whole.shape), whole)
    matrix = np.random.default_rng(1).standard_normal(kind.matrix_shape)
    folded = kind.fold(whole @ matrix.T, shape[0], kind.output_size(*kind.sizes(shape)))
    assert folded.shape == kind.output_shape(shape)
    np.testing.assert_allclose(kind.apply(x, lambda rows: rows @ matrix.T, 3), folded, atol=1e-12)


@pytest.mark.parametrize(
    "kind", [*(kind for kind, _ in KINDS.values()), Lstm(3, 2, reverse=True), Gru(3, 2), Rnn(3, 2)], ids=str
)
def test_descriptions_and_stored_weights_come_back(kind):
    text = geometry.describe(kind)
    assert geometry.from_description(text, kind.matrix_shape) == kind
    assert kinds.kind_of_record(kind.kind) is type(kind)
    weights = np.random.default_rng(2).standard_normal(kind.weight_shape).astype(np.float32)
    layer = Layer.of_geometry("l", weights, geometry=kind)
    assert (layer.matrix.shape, layer.geometry) == (kind.matrix_shape, kind)
    np.testing.assert_array_equal(layer.stored_weights, weights)
    assert layer.weight_density == pytest.approx(np.count_nonzero(weights) / np.prod(kind.dense_shape))
    with pytest.raises(ModelError, match=r"layer 'l': weights has shape \(7, 7\): .* has"):
        Layer.of_geometry("l", np.ones((7, 7)), geometry=kind)


def test_a_linear_layer_is_as_large_as_its_matrix_and_stored_as_nothing():
    layer = Layer.from_weights("l", np.eye(3))
    assert layer.geometry == Linear(inputs=3, outputs=3)
    assert geometry.describe(layer.geometry) is None
    assert structure.with_rows(layer, np.array([2, 0])).geometry == Linear(inputs=3, outputs=2)


def test_an_lstm_has_no_rows_before_it_ran():
    with pytest.raises(ModelError, match="made step by step"):
        Lstm(3, 2).windows(np.ones((1, 4, 3)))
    with pytest.raises(ModelError, match="a Lstm layer: its outputs are tied, 1 of them"):
        Lstm(3, 2).with_outputs(1)
    with pytest.raises(ModelError, match="a Lstm layer: its inputs are tied, 1 of 3"):
        Lstm(3, 2).with_inputs(1, 3)


# -- every operator ------------------------------------------------------------------------------------------------

POOLS = {
    "plain": {"kernel": (2, 3)},
    "strides and pads": {"kernel": (3, 2), "stride": (2, 1), "pads": (1, 0, 1, 1)},
    "ceil": {"kernel": (3, 3), "stride": (2, 2), "ceil": True},
    "ceil over pads": {"kernel": (2, 2), "stride": (3, 3), "pads": (1, 1, 1, 1), "ceil": True},
    "dilation": {"kernel": (2, 2), "stride": (1, 2), "dilation": (2, 3)},
}
MAP = (2, 3, 7, 8)
CASES = [
    *(("max_pool", [MAP], at) for at in POOLS.values()),
    *(("average_pool", [MAP], at) for at in POOLS.values()),
    *((op, [MAP], {}) for op in ("relu", "sigmoid", "tanh", "leaky_relu", "clip", "identity", "dropout")),
    ("global_average_pool", [MAP], {}),
    ("mean", [MAP], {"axes": (2, -1)}),
    ("mean", [MAP], {"axes": (1,), "keep": True}),
    ("flatten", [MAP], {}),
    ("flatten", [MAP], {"axis": -1}),
    ("reshape", [MAP], {"shape": (0, 4, -1)}),
    ("transpose", [MAP], {"axes": (0, 2, 3, 1)}),
    ("squeeze", [(2, 1, 3, 1)], {"axes": (1, -1)}),
    ("unsqueeze", [(2, 3)], {"axes": (1, -1)}),
    ("slice", [MAP], {"axis": 2, "start": 1, "stop": -1, "step": 2}),
    ("slice", [MAP], {"axis": -1, "stop": 100}),
    ("concat", [MAP, (2, 5, 7, 8)], {"axis": 1}),
    *((op, [MAP, (3, 1, 1)], {}) for op in ("add", "sub", "mul", "div")),
    ("softmax", [MAP], {"axis": 1}),
    ("batch_norm", [MAP, (3,), (3,), (3,), (3,)], {}),
    ("pad", [(2, 3)], {"pads": ((0, 0), (1, 2))}),
]


# Where channels are counted, or lie beside each other.
ALONG_CHANNELS = [
    ("slice", [MAP], {"axis": 1, "start": 1}),
    ("slice", [(2, 5)], {"axis": -1, "start": 1, "stop": 4}),
    ("concat", [MAP, MAP], {"axis": 2}),
    ("concat", [(2, 3), (2, 4)], {"axis": -1}),
    *((op, [MAP, MAP], {}) for op in ("add", "mul")),
    ("mean", [MAP], {"axes": (2, 3)}),
    ("mean", [MAP], {"axes": (-1, -2), "keep": True}),
    ("reshape", [MAP], {"shape": (0, -1)}),
    ("reshape", [MAP], {"shape": (0, 3 * 7 * 8)}),
    ("squeeze", [(2, 3, 1, 1)], {"axes": (2, 3)}),
    ("pad", [MAP], {"pads": ((0, 0), (0, 0), (1, 0), (0, 2))}),
    ("batch_norm", [(2, 4), (4,), (4,), (4,), (4,)], {}),
]


@pytest.mark.parametrize(
    ("op", "shapes", "at"), [*CASES, *ALONG_CHANNELS], ids=lambda value: value if isinstance(value, str) else ""
)
def test_the_shape_rule_says_what_numpy_gives(op, shapes, at):
    rng = np.random.default_rng(3)
    inputs = [rng.random(shape) + 0.5 for shape in shapes]
    made = operators.apply(name="n", op=op, inputs=inputs, attributes=at)
    assert tuple(operators.find(op).shape(shapes, at)) == made.shape


@pytest.mark.parametrize("ceil", [False, True])
def test_the_shape_rule_of_pooling_at_every_edge(ceil):
    """A last window counts if it begins on the map or the padding before it: off by one at the border shows here."""
    dropped = 0
    sizes = product(range(1, 8), range(1, 4), range(1, 5), range(3), range(3), (1, 2))
    for length, kernel, stride, before, behind, gap in sizes:
        span = gap * (kernel - 1) + 1
        if length + before + behind < span or max(before, behind) >= span:
            continue
        at = {"kernel": (kernel, 1), "stride": (stride, 1), "pads": (before, 0, behind, 0), "dilation": (gap, 1)}
        x = np.ones((1, 1, length, 2))
        made = operators.find("max_pool").compute([x], at | {"ceil": ceil}).shape
        assert operators.find("max_pool").shape([x.shape], at | {"ceil": ceil}) == made, (length, at)
        rounded_up = -(-(length + before + behind - span) // stride) + 1
        dropped += ceil and made[2] < rounded_up
    assert bool(dropped) == ceil


def test_what_stays_behind_layers_is_read():
    listed = [operators.find(op) for op in operators.known()]
    assert all(set(operator.stays) <= set(operator.onnx) for operator in listed)
    assert [operators.stays(name) for name in ("Relu", "GlobalMaxPool", "Add", "Mul", "Softmax")] == [1, 1, 1, 0, 0]


def test_every_operator_has_a_case_above():
    assert {op for op, _, _ in CASES} == set(operators.known())


@pytest.mark.parametrize("op", [op for op in operators.known() if operators.find(op).exact])
def test_exact_operators_keep_integers(op):
    _, shapes, at = next(case for case in CASES if case[0] == op)
    raw = np.random.default_rng(4).integers(-(1 << 40), 1 << 40, shapes[0])
    made = operators.apply(name="n", op=op, inputs=[raw], attributes=at)
    assert made.dtype == raw.dtype
    assert np.isin(made, [*raw.ravel(), 0]).all()


@pytest.mark.parametrize("op", operators.known())
def test_a_channel_survives_where_the_rule_says_so(op):
    """Taking channels out before the operator is the same as taking them out behind it."""
    rng, operator, left = np.random.default_rng(5), operators.find(op), np.array([0, 2])
    for _, shapes, at in (case for case in (*CASES, *ALONG_CHANNELS) if case[0] == op):
        arrays = [rng.random(shape) + 0.5 for shape in shapes]
        # One batch axis more than in a constant tells a tensor from one.
        tensors = [len(shape) == len(shapes[0]) for shape in shapes]
        labels = [10 * place + np.arange(shape[1]) if tensor else None for place, (shape, tensor) in
                  enumerate(zip(shapes, tensors, strict=True))]  # fmt: skip
        operands = [
            array if label is None else Channels(labels=label, axis=1 - array.ndim, rank=array.ndim)
            for array, label in zip(arrays, labels, strict=True)
        ]
        made = operator.channels(operands, at)
        if made is None:
            continue
        taken, after = operator.take(operands, [None if label is None else left for label in labels], at)
        fewer = [taken.get(i, array) if label is None else array[:, left] for i, (array, label) in
                 enumerate(zip(arrays, labels, strict=True))]  # fmt: skip
        whole, part = (
            operators.apply(name="n", op=op, inputs=inputs, attributes=how)
            for inputs, how in ((arrays, at), (fewer, after))
        )
        stay = np.isin(made.labels % 10, left)
        # Behind what flattens, a channel is a block of numbers.
        blocks = whole.reshape(len(whole), len(made.labels), -1) if made.flat else whole
        np.testing.assert_array_equal(part, blocks[:, stay].reshape(part.shape))


def test_operators_that_say_that_channels_survive_them():
    """Those of the test above that are asked at all: a rule that always says no would pass it."""
    survive = {op for op in operators.known() if operators.find(op).channels is not mixed}
    assert survive == set(operators.known()) - {"softmax", "transpose", "unsqueeze"}


# -- one more of each, from one place ------------------------------------------------------------------------------


@pytest.fixture
def toys(monkeypatch):
    """Register a 1-D convolution and a softsign as a module of a user's would, and forget them afterwards."""
    for module, table in ((kinds, "_KINDS"), (kinds, "_LOWERINGS"), (registry, "_OPERATORS"), (registry, "_HANDLERS")):
        monkeypatch.setattr(module, table, dict(getattr(module, table)))

    @geometry.register
    @dataclass(frozen=True, kw_only=True)
    class Taps(Geometry):
        """Sequences (N, C, T) with a filter of ``size`` taps; weights are stored (out, in, size)."""

        inputs: int
        outputs: int
        size: int

        @property
        def matrix_shape(self) -> tuple[int, int]:
            return self.outputs, self.inputs * self.size

        @property
        def weight_shape(self) -> tuple[int, ...]:
            return self.outputs, self.inputs, self.size

        @property
        def entrance(self) -> tuple[int, ...]:
            return self.inputs, -1

        def sizes(self, shape: Sequence[int]) -> tuple[int, ...]:
            return tuple(shape[2:])

        def output_size(self, *sizes: int) -> tuple[int, ...]:
            return (sizes[0] - self.size + 1,)

        def output_shape(self, shape: Sequence[int]) -> tuple[int, ...]:
            return (shape[0], self.outputs, *self.output_size(*self.sizes(shape)))

        def windows(self, x: np.ndarray) -> np.ndarray:
            if x.ndim != 3 or x.shape[1] != self.inputs:
                raise ModelError(f"taps over {self.inputs} channels got {x.shape}")
            return np.lib.stride_tricks.sliding_window_view(x, self.size, axis=2).transpose(0, 2, 1, 3)

        def fold(self, rows: np.ndarray, n: int, size: tuple[int, ...]) -> np.ndarray:
            return rows.reshape(n, *size, self.outputs).transpose(0, 2, 1)

    operators.register(
        operators.Operator(
            name="softsign",
            compute=lambda x, _: x[0] / (1 + np.abs(x[0])),
            channels=kept,
            torch=lambda x, _: x[0] / (1 + x[0].abs()),
            onnx={"Softsign": elementwise("softsign")},
        )
    )
    return Taps


def toy_network(taps: type, rng: np.random.Generator) -> tuple[Network, np.ndarray]:
    weights = rng.standard_normal((3, 2, 4)).astype(np.float32) * (rng.random((3, 2, 4)) < 0.6)
    steps = [("layer", "taps"), ("softsign", {}), ("flatten", {}), ("layer", "fc")]
    layers = (
        Layer.of_geometry("taps", weights, np.ones(3), geometry=taps(inputs=2, outputs=3, size=4), relu=True),
        Layer.from_weights("fc", rng.standard_normal((5, 3 * 6)).astype(np.float32)),
    )
    network = Network(name="toy", layers=layers, graph=Graph.sequence("x", (2, 9), steps))
    return network, rng.standard_normal((4, 2, 9)).astype(np.float32)


def by_hand(network: Network, x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """What the taps read, and what the network gives, in loops."""
    taps, fc = network.layers
    weights = taps.stored_weights.astype(float)
    read = np.array([[sample[:, t : t + 4].ravel() for t in range(6)] for sample in x])
    made = np.einsum("ntk,ok->not", read, weights.reshape(3, -1)) + 1
    made = np.maximum(made, 0)
    return read, (made / (1 + np.abs(made))).reshape(len(x), -1) @ fc.weights.T.astype(float)


def test_a_network_with_both_runs_loads_and_is_recorded(toys, tmp_path):
    network, x = toy_network(toys, np.random.default_rng(6))
    read, wanted = by_hand(network, x)
    for suffix in (".npz", ".safetensors"):
        eie.save(network, tmp_path / f"toy{suffix}")
        loaded = eie.load(tmp_path / f"toy{suffix}")
        assert loaded.layers[0].geometry == network.layers[0].geometry
        np.testing.assert_array_equal(loaded.layers[0].stored_weights, network.layers[0].stored_weights)
    trace = record(loaded, Samples.of(x), values=True, batch=3)
    assert trace.layers["taps"].products == 6
    np.testing.assert_allclose(trace.layers["taps"].dense(), read.reshape(-1, 8))
    eie.compile(network, eie.EIE_64PE.replace(n_pe=4)).save(tmp_path / "program.safetensors")
    program = eie.Program.load(tmp_path / "program.safetensors")
    result = eie.simulate(program, x)
    assert [(layer.kind, layer.products) for layer in result.layers] == [("taps", 6), ("linear", 1)]
    assert result.layers[0].outputs.shape == (4, 3, 6)
    # What 4-bit weights change is not the point here, so the reference takes the shared ones.
    taps, fc = (layer.decode() for layer in program.layers)
    shared_layers = (
        Layer.of_geometry("taps", taps.reshape(3, 2, 4), np.ones(3), geometry=network.layers[0].geometry, relu=True),
        Layer.from_weights("fc", fc),
    )
    shared = Network(name="s", layers=shared_layers, graph=network.graph)
    np.testing.assert_allclose(result.layers[1].outputs, by_hand(shared, x)[1], atol=0.05)
    np.testing.assert_allclose(result.layers[0].computed.float32, result.layers[0].outputs, atol=0.01)
    np.testing.assert_allclose(result.layers[1].outputs, wanted, atol=1)


def test_a_row_costs_what_it_costs_in_a_linear_layer(toys):
    """Timing knows no kinds: the taps' products are those of a linear layer with the same rows."""
    network, x = toy_network(toys, np.random.default_rng(7))
    spec = eie.EIE_64PE.replace(n_pe=2)
    taps = eie.simulate(eie.compile(network, spec), x[:1]).layers[0]
    read, _ = by_hand(network, x[:1])
    linear = Layer.from_weights("taps", network.layers[0].weights, np.ones(3))
    rows = eie.simulate(eie.compile(linear, spec), read[0].astype(np.float32))
    assert taps.cycles == 6 * rows.layers[0].cycles


def test_an_operator_from_outside_is_read_followed_and_known(toys, tmp_path):
    weights = np.random.default_rng(8).standard_normal((4, 3)).astype(np.float32)
    nodes = [
        models.node("Gemm", ["x", "a.weight"], ["h"], transB=1),
        models.node("Softsign", ["h"], ["s"]),
        models.node("Gemm", ["s", "b.weight"], ["y"], transB=1),
    ]
    tensors = {"a.weight": weights, "b.weight": weights.T}
    proto = models.model(nodes, {"x": ["N", 3]}, {"y": ["N", 3]}, tensors)
    network = eie.load(models.saved(proto, tmp_path / "softsign.onnx"))
    assert [node.op for node in network.graph.nodes] == ["layer", "softsign", "layer"]
    fewer = structure.select_outputs(network, "a", np.array([3, 1]))
    assert [layer.matrix.shape for layer in fewer.layers] == [(2, 3), (3, 2)]
    assert "softsign" in operators.known()


def test_names_are_taken_once(toys):
    with pytest.raises(ModelError, match="operator 'relu': is registered already"):
        operators.register(operators.Operator(name="relu", compute=lambda x, _: x[0]))
    with pytest.raises(ModelError, match="operator 'mine': another one reads ONNX's 'Relu' already"):
        operators.register(operators.Operator(name="mine", compute=lambda x, _: x[0], onnx={"Relu": elementwise("m")}))
    with pytest.raises(ModelError, match="geometry 'Taps': is registered already"):
        geometry.register(toys)


def test_a_toy_of_unknown_kind_is_refused_by_name(tmp_path, toys, monkeypatch):
    network, _ = toy_network(toys, np.random.default_rng(9))
    eie.save(network, tmp_path / "toy.npz")
    kinds._KINDS.pop("Taps")
    with pytest.raises(eie.EieError, match="damaged model: unknown geometry 'Taps'"):
        eie.load(tmp_path / "toy.npz")
