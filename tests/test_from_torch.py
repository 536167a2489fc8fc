"""Torch modules as models: exported on example inputs, by module names, wherever a model is taken; .pt2 archives."""

import json
import zipfile

import numpy as np
import pytest

import eie
from eie.errors import ModelError
from eie.simulator.reference import run_given

torch = pytest.importorskip("torch", reason="needs PyTorch (make test-torch)")
pytest.importorskip("onnxscript", reason="needs onnxscript, with which torch exports (make test-torch)")
pytestmark = [pytest.mark.torch, pytest.mark.filterwarnings("ignore")]
nn = torch.nn
SPEC = eie.EIE_64PE.replace(n_pe=4)


class Net(nn.Module):
    """Names at two depths, a recurrent layer whose weights the exporters rename."""

    def __init__(self):
        super().__init__()
        self.head = nn.Linear(6, 5)
        self.tail = nn.Sequential(nn.ReLU(), nn.Linear(5, 4))
        self.rnn = nn.GRU(4, 3, batch_first=True)

    def forward(self, x):
        return self.rnn(self.tail(self.head(x)))[0]


@pytest.fixture(scope="module")
def net():
    torch.manual_seed(0)
    return Net(), torch.randn(3, 7, 6)


@pytest.fixture(scope="module")
def network(net):
    return eie.from_torch(*net)


def outputs(network, x):
    (name, _), *_ = network.graph.inputs
    return run_given(network.graph, {layer.name: layer for layer in network.layers}, {name: np.asarray(x)})[0]


def test_a_module_computes_what_it_did_and_keeps_its_names(net, network):
    module, x = net
    assert [layer.name for layer in network.layers] == ["head", "tail.1", "rnn"]
    assert (network.name, network.source) == ("Net", "Net, a torch module")
    with torch.no_grad():
        np.testing.assert_allclose(outputs(network, x), module(x).numpy(), atol=1e-6)
    # The batch is open: other samples than the example's, and another number of them.
    other = torch.randn(5, 7, 6)
    with torch.no_grad():
        np.testing.assert_allclose(outputs(network, other), module(other).numpy(), atol=1e-6)


def test_a_module_is_left_in_the_mode_that_it_was_in():
    module = nn.Sequential(nn.Linear(4, 3), nn.Dropout(0.9), nn.Linear(3, 2))
    module[1].eval()
    module[0].train()
    x = torch.randn(3, 4)
    network = eie.from_torch(module, x)
    assert [part.training for part in module] == [True, False, True]
    module.eval()
    with torch.no_grad():
        np.testing.assert_allclose(outputs(network, x), module(x).numpy(), atol=1e-6)


@pytest.mark.parametrize("form", [lambda x: x.numpy(), lambda x: (x,), lambda x: {"input": x}, lambda x: x[:1]])
def test_examples_in_any_form(form):
    torch.manual_seed(0)
    module, x = nn.Linear(4, 3), torch.randn(3, 4)
    np.testing.assert_allclose(outputs(eie.from_torch(module, form(x)), x), module(x).detach().numpy(), atol=1e-6)


def test_an_rnn_and_time_before_the_batch():
    """torch's newer exporter has no RNN of its own; an LSTM that takes the time first is read batch first."""
    torch.manual_seed(0)
    module, x = nn.RNN(4, 3, batch_first=True), torch.randn(2, 5, 4)
    network = eie.from_torch(module, x)
    layers, name = {layer.name: layer for layer in network.layers}, network.graph.inputs[0][0]
    # A product a step, and what stands behind the last one is not run: four steps of five come out whole.
    steps = np.concatenate(run_given(network.graph, layers, {name: x.numpy()})[:4], axis=1)
    with torch.no_grad():
        np.testing.assert_allclose(steps, module(x)[0].numpy()[:, :4], atol=1e-6)
    module, x = nn.LSTM(4, 3), torch.randn(5, 2, 4)
    with torch.no_grad():
        right = np.moveaxis(module(x)[0].numpy(), 1, 0)
    np.testing.assert_allclose(outputs(eie.from_torch(module, x), np.moveaxis(x.numpy(), 1, 0)), right, atol=1e-6)


def test_every_verb_takes_a_module_with_its_inputs(net, network):
    module, x = net
    ours = eie.simulate(network, x.numpy(), spec=SPEC)
    for given in (x, x.numpy(), eie.Samples.of(x.numpy())):
        assert [layer.cycles for layer in eie.simulate(module, given, spec=SPEC).layers] == [
            layer.cycles for layer in ours.layers
        ]
    compared = eie.compare(module, ["dense"], activations=x.numpy(), spec=SPEC)
    assert compared.columns[0].latency_us == pytest.approx(ours.latency_us)
    swept = eie.sweep((module, x.numpy()), {"act_queue_depth": [SPEC.act_queue_depth]}, spec=SPEC)
    assert [row["cycles"] for row in swept.layers] == [layer.cycles for layer in ours.layers]
    assert list(eie.record(module, eie.Samples.of(x.numpy())).layers) == ["head", "tail.1", "rnn"]


def test_a_module_without_inputs_is_told_the_way(net):
    for verb in (eie.compile, eie.simulate, lambda model: eie.compress(model, {"step": []})):
        with pytest.raises(ModelError, match=r"Net: a torch module says nothing of its inputs: .*from_torch\(module"):
            verb(net[0])
    with pytest.raises(ModelError, match="dict: must be a torch.nn.Module"):
        eie.from_torch({}, net[1])


def test_what_torch_cannot_export_is_said_in_a_line():
    class Decides(nn.Module):
        def __init__(self):
            super().__init__()
            self.fc = nn.Linear(4, 4)

        def forward(self, x):
            return torch.linalg.eigvals(self.fc(x[:, None] * x[..., None])).real

    with pytest.raises(ModelError, match=r"^Decides: [^\n]+$"):
        eie.from_torch(Decides(), torch.randn(3, 4))


class TestArchives:
    """.pt2: the same network; whatever could run code is refused before torch sees it."""

    @pytest.fixture(scope="class")
    def archive(self, net, tmp_path_factory):
        module, x = net
        path = tmp_path_factory.mktemp("pt2") / "net.pt2"
        shapes = ({0: torch.export.Dim.DYNAMIC},)
        torch.export.save(torch.export.export(module.eval(), (x,), dynamic_shapes=shapes), path)
        return path

    def changed(self, archive, tmp_path, change):
        """Write the archive anew with ``change(name, content) -> content`` on every member."""
        path = tmp_path / "changed.pt2"
        with zipfile.ZipFile(archive) as old, zipfile.ZipFile(path, "w") as new:
            for name in old.namelist():
                content = change(name.partition("/")[2], old.read(name))
                if content is not None:
                    new.writestr(name, content)
        return path

    def test_an_archive_is_the_module(self, archive, network, net):
        loaded = eie.load(archive)
        assert [layer.name for layer in loaded.layers] == ["head", "tail.1", "rnn"]
        assert (loaded.name, loaded.source) == ("net", "net.pt2")
        np.testing.assert_array_equal(outputs(loaded, net[1]), outputs(network, net[1]))

    def test_an_exported_program_is_taken_as_it_is(self, net, network):
        program = torch.export.export(net[0].eval(), (net[1],))
        assert [layer.name for layer in eie.from_torch(program).layers] == ["head", "tail.1", "rnn"]

    def test_example_inputs_are_never_unpickled(self, archive, tmp_path):
        """torch would unpickle them without a look; here they may be anything."""

        def change(name, content):
            return b"cos\nsystem\n(S'exit 3'\ntR." if name.startswith("data/sample_inputs") else content

        assert len(eie.load(self.changed(archive, tmp_path, change)).layers) == 3

    @pytest.mark.parametrize(
        ("old", "new", "message"),
        [
            (
                '"torch.ops.aten.relu.default"',
                '"torch.os.system"',
                "operator 'torch.os.system' is none of torch.ops.aten",
            ),
            (
                '"torch.ops.aten.relu.default"',
                '"torch.ops.aten.from_file.default"',
                "operator 'torch.ops.aten.from_file",
            ),
            ('"torch.ops.aten.relu.default"', '"_operator.call"', "operator '_operator.call'"),
            ("Symbol('s", "__import__('os').getcwd() or Symbol('s", "must be arithmetic"),
            ("Symbol('s", "Integer(9)**9**9**9 + Symbol('s", "must be arithmetic"),
            ('"name": "x"', '"name": "x\\nimport os"', "damaged: a name"),
            ('"name": "x"', '"name": "x = os"', "damaged: a name"),
            ("builtins.tuple", "os.PathLike", "takes or gives a os.PathLike"),
        ],
    )
    def test_words_that_could_run_code_are_refused(self, archive, tmp_path, old, new, message):
        def change(name, content):
            if name != "models/model.json":
                return content
            assert old in content.decode()
            return content.decode().replace(old, new).encode()

        with pytest.raises(ModelError, match=f"changed.pt2: .*{message}"):
            eie.load(self.changed(archive, tmp_path, change))

    def test_guards_and_metadata_are_left_out(self, archive, tmp_path):
        def change(name, content):
            if name != "models/model.json":
                return content
            program = json.loads(content)
            program["guards_code"] = ["__import__('os').abort()"]
            for node in program["graph_module"]["graph"]["nodes"]:
                node["metadata"]["source_fn_stack"] = "x,torch.os.system"
            return json.dumps(program).encode()

        assert len(eie.load(self.changed(archive, tmp_path, change)).layers) == 3

    @pytest.mark.parametrize(
        "entry", [{"use_pickle": True}, {"path_name": "opaque_obj_0"}, {"path_name": "../weight_0"}]
    )
    def test_pickled_weights_are_refused(self, archive, tmp_path, entry):
        def change(name, content):
            if name != "data/weights/model_weights_config.json":
                return content
            config = json.loads(content)
            config["config"]["head.weight"] |= entry
            return json.dumps(config).encode()

        with pytest.raises(ModelError, match="'head.weight' is pickled, which is never loaded"):
            eie.load(self.changed(archive, tmp_path, change))

    @pytest.mark.parametrize("part", ["models/", "data/weights/weight_0", "data/weights/model_weights_config"])
    def test_damage_is_a_line(self, archive, tmp_path, part):
        for change in (lambda _: None, lambda _: b"{}", lambda content: content[:-3]):
            path = self.changed(
                archive, tmp_path, lambda name, content, c=change: c(content) if name.startswith(part) else content
            )
            with pytest.raises(ModelError, match=r"changed.pt2: [^\n]+$"):
                eie.load(path)

    def test_any_bytes_are_a_line(self, archive, tmp_path):
        whole = archive.read_bytes()
        for content in (b"", b"PK", whole[: len(whole) // 2], b"\x80\x04." * 10):
            path = tmp_path / "some.pt2"
            path.write_bytes(content)
            with pytest.raises(ModelError, match=r"some.pt2: [^\n]+$"):
                eie.load(path)


def test_a_pickled_module_is_told_the_way(tmp_path):
    torch.save(nn.Linear(3, 2), tmp_path / "whole.pt")
    with pytest.raises(
        ModelError, match=r"never loaded: .*state_dict\(\), path\), or, .*eie.from_torch\(module, example_inputs\)"
    ):
        eie.load(tmp_path / "whole.pt")


class TestFormsThatTorchTakesApart:
    def outputs_agree(self, module, *examples):
        network = eie.from_torch(module.eval(), examples)
        assert network.unmodelled == ()
        with torch.no_grad():
            right = module(*examples).numpy()
        taken = {name: example.numpy() for (name, _), example in zip(network.graph.inputs, examples, strict=True)}
        made = run_given(network.graph, {layer.name: layer for layer in network.layers}, taken)[0]
        np.testing.assert_allclose(made.reshape(right.shape), right, atol=1e-5)
        return network

    def test_weights_that_are_computed(self):
        torch.manual_seed(0)
        norms = nn.utils.parametrizations
        module = nn.Sequential(
            norms.weight_norm(nn.Linear(6, 5)), norms.spectral_norm(nn.Linear(5, 5)), norms.orthogonal(nn.Linear(5, 5))
        )
        network = self.outputs_agree(module, torch.randn(3, 6))
        assert [layer.matrix.shape for layer in network.layers] == [(5, 6), (5, 5), (5, 5)]
        # The caller's module stays what it is.
        assert nn.utils.parametrize.is_parametrized(module[2])

    def test_pooling_to_a_size_that_does_not_divide(self):
        torch.manual_seed(0)
        pool = nn.Sequential(nn.Conv2d(2, 3, 3), nn.AdaptiveAvgPool2d((2, 3)), nn.Conv2d(3, 4, 1))
        self.outputs_agree(pool, torch.randn(2, 2, 9, 10))

    def test_a_projected_lstm_which_is_exported_as_another(self):
        class Projected(nn.Module):
            def __init__(self):
                super().__init__()
                self.rnn = nn.LSTM(5, 8, proj_size=4, batch_first=True)
                self.out = nn.Linear(4, 3)

            def forward(self, x):
                return self.out(self.rnn(x)[0])

        torch.manual_seed(0)
        self.outputs_agree(Projected(), torch.randn(1, 6, 5))

    def test_sequences_of_their_own_lengths(self):
        class Packed(nn.Module):
            def __init__(self):
                super().__init__()
                self.rnn = nn.LSTM(5, 4, 2, bidirectional=True, batch_first=True)
                self.out = nn.Linear(8, 3)

            def forward(self, x, lengths):
                packed = nn.utils.rnn.pack_padded_sequence(x, lengths, batch_first=True)
                return self.out(nn.utils.rnn.pad_packed_sequence(self.rnn(packed)[0], batch_first=True)[0])

        torch.manual_seed(0)
        examples = torch.randn(1, 6, 5), torch.tensor([6])
        self.outputs_agree(Packed(), *examples)
        with pytest.raises(eie.EieError, match=r"module 'rnn': reads a packed sequence"):
            eie.record_torch(Packed(), dict(zip(("x", "lengths"), examples, strict=True)))

    def test_what_no_exporter_knows_is_named(self):
        pool = nn.Sequential(nn.Conv2d(2, 3, 3), nn.AdaptiveMaxPool2d((2, 3)))
        with pytest.raises(ModelError, match=r"torch cannot export it: No ONNX function .*adaptive_max_pool2d"):
            eie.from_torch(pool, torch.randn(2, 2, 9, 10))


class Deep(nn.Module):
    """Tied weights, a recurrent module, which keeps a list of its own, normalisation with a counter."""

    def __init__(self):
        super().__init__()
        self.first, self.norm = nn.Conv1d(4, 6, 3, padding=1), nn.BatchNorm1d(6)
        self.rnn = nn.LSTM(6, 5, batch_first=True)
        self.a, self.b = nn.Linear(5, 5), nn.Linear(5, 5, bias=False)
        self.b.weight = self.a.weight

    def forward(self, x):
        walked = self.rnn(torch.relu(self.norm(self.first(x))).transpose(1, 2))[0]
        return self.b(torch.relu(self.a(walked)))


class TestShapesAlone:
    """Modules and programs on the meta device have no numbers: they are drawn, and labelled."""

    @pytest.fixture(scope="class")
    def shapes(self):
        with torch.device("meta"):
            return Deep().eval()

    def test_a_module_on_the_meta_device(self, shapes):
        drawn = eie.from_torch(shapes, torch.randn(3, 4, 8), density=0.2)
        plain = eie.from_torch(Deep(), torch.randn(3, 4, 8))
        assert [(x.name, x.matrix.shape) for x in drawn.layers] == [(x.name, x.matrix.shape) for x in plain.layers]
        assert list(drawn.graph.uses) == list(plain.graph.uses)
        assert all(layer.synthetic for layer in drawn.layers)
        assert 0.05 < sum(x.matrix.nnz for x in drawn.layers) / sum(x.matrix.nnz for x in plain.layers) < 0.4
        assert drawn.notes[-1] == "weights that the module lacks were drawn at random: density 0.2, seed 0"
        # The user's own is what it was.
        assert all(tensor.is_meta for tensor in shapes.state_dict().values())

    def test_an_archive(self, shapes, tmp_path):
        path = tmp_path / "shapes.pt2"
        torch.export.save(torch.export.export(shapes, (torch.randn(3, 4, 8, device="meta"),)), path)
        network = eie.load(path, density=0.2)
        assert [layer.name for layer in network.layers][:2] == ["first", "rnn"]
        assert all(layer.synthetic for layer in network.layers)
        with pytest.raises(
            ModelError, match=r"shapes.pt2: .* no numbers \(device meta\): --density D \(density=D\) draws"
        ):
            eie.load(path)

    def test_those_that_have_numbers_keep_them(self):
        torch.manual_seed(0)
        module = nn.Sequential(nn.Linear(6, 5), nn.ReLU(), nn.Linear(5, 4, device="meta"))
        network = eie.from_torch(module, torch.randn(3, 6), density=0.2)
        assert [layer.synthetic for layer in network.layers] == [False, True]
        np.testing.assert_array_equal(network.layers[0].weights, module[0].weight.detach().numpy())

    def test_what_cannot_be_drawn_is_named(self):
        module = nn.Sequential(nn.Linear(6, 5, device="meta"))
        module.register_buffer("ids", torch.arange(3, device="meta"))
        with pytest.raises(ModelError, match="'ids' of type torch.int64 has no numbers: only floats can be drawn"):
            eie.from_torch(module, torch.randn(3, 6), density=0.2)
        with pytest.raises(ModelError, match="density=0.2: all of its weights are there"):
            eie.from_torch(nn.Linear(6, 5), torch.randn(3, 6), density=0.2)
        with pytest.raises(ModelError, match=r"'0.weight' has a shape and no numbers"):
            eie.from_torch(nn.Sequential(nn.Linear(6, 5, device="meta")), torch.randn(3, 6))
