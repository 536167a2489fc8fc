"""State dicts in every container, .net and .smtx files: what they become, and what is refused with what to do."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from netfile import net_file, random_layer

import eie
from eie.formats.safetensors import write_safetensors
from eie.model.geometry import Conv2d, Lstm

RNG = np.random.default_rng(3)
WEIGHTS = RNG.standard_normal((6, 4)).astype(np.float32)
MASK = (RNG.random((6, 4)) < 0.5).astype(np.float32)
BIAS = RNG.standard_normal(6).astype(np.float32)
KERNEL = RNG.standard_normal((5, 3, 3, 2)).astype(np.float32)


def write(folder, suffix, arrays):
    """Write the same state dict in any container."""
    path = folder / f"model{suffix}"
    if suffix == ".npz":
        np.savez(path, **arrays)
    elif suffix == ".safetensors":
        write_safetensors(path, arrays, {})
    else:
        torch = pytest.importorskip("torch", reason="needs the torch extra")
        torch.save({name: torch.from_numpy(array.copy()) for name, array in arrays.items()}, path)
    return path


TORCH = pytest.mark.torch


@pytest.fixture(params=[".npz", ".safetensors", *(pytest.param(one, marks=TORCH) for one in (".pt", ".pth"))])
def suffix(request):
    return request.param


class TestPruningLayouts:
    """The same pruned layer, however a framework left it."""

    LAYOUTS = (
        {"fc.weight": WEIGHTS * MASK, "fc.bias": BIAS},
        {"fc.weight_orig": WEIGHTS, "fc.weight_mask": MASK, "fc.bias": BIAS},
        {"fc.weight": WEIGHTS, "fc.weight_mask": MASK != 0, "fc.bias": BIAS},
        {
            "fc.parametrizations.weight.original": WEIGHTS,
            "fc.parametrizations.weight.0.mask": MASK,
            "fc.bias": BIAS,
        },
    )

    @pytest.mark.parametrize("layout", range(len(LAYOUTS)))
    def test_gives_the_pruned_weights(self, tmp_path, suffix, layout):
        net = eie.load(write(tmp_path, suffix, self.LAYOUTS[layout]))
        assert [layer.name for layer in net.layers] == ["fc"]
        np.testing.assert_array_equal(net.layers[0].weights, WEIGHTS * MASK)
        np.testing.assert_array_equal(net.layers[0].bias, BIAS)
        assert any("pruning finished here" in note for note in net.notes) == (layout > 0)

    @pytest.mark.parametrize(
        ("names", "call"),
        [
            ({"fc.weight_orig": WEIGHTS}, r"prune\.remove"),
            ({"fc.parametrizations.weight.original": WEIGHTS}, r"squash_mask\(\)"),
            (
                {
                    "fc.parametrizations.weight.original0": WEIGHTS[:, :1],
                    "fc.parametrizations.weight.original1": WEIGHTS,
                },
                r"remove_parametrizations\(module, 'weight'\)",
            ),
            ({"fc.weight_g": WEIGHTS[:, :1], "fc.weight_v": WEIGHTS}, r"remove_weight_norm"),
        ],
    )
    def test_unfinished_is_refused_with_the_call_that_finishes_it(self, tmp_path, suffix, names, call):
        with pytest.raises(eie.EieError, match=call):
            eie.load(write(tmp_path, suffix, names))

    def test_mask_without_a_weight(self, tmp_path):
        path = write(tmp_path, ".npz", {"fc.parametrizations.weight.0.mask": MASK, "a.weight": WEIGHTS})
        with pytest.raises(eie.EieError, match=r"a mask for 'fc\.weight', but no such weight"):
            eie.load(path)

    @TORCH
    def test_torch_modules_as_torch_saves_them(self, tmp_path):
        torch = pytest.importorskip("torch", reason="needs the torch extra")
        prune = pytest.importorskip("torch.nn.utils.prune")
        model = torch.nn.Sequential(torch.nn.Linear(4, 6), torch.nn.Conv2d(3, 5, (3, 2)), torch.nn.LSTM(4, 3))
        prune.l1_unstructured(model[0], "weight", 0.5)
        prune.l1_unstructured(model[1], "weight", 0.25)
        prune.random_unstructured(model[2], "weight_hh_l0", 0.5)
        torch.save(model.state_dict(), tmp_path / "a.pt")
        net = eie.load(tmp_path / "a.pt")
        linear, conv, lstm = net.layers
        np.testing.assert_array_equal(linear.weights, model[0].weight.detach())
        np.testing.assert_array_equal(conv.kernel, model[1].weight.detach())
        assert conv.matrix.nnz == round(90 * 0.75)
        both = torch.cat((model[2].weight_ih_l0, model[2].weight_hh_l0), 1).detach()
        np.testing.assert_array_equal(lstm.weights, both)
        np.testing.assert_array_equal(lstm.bias, (model[2].bias_ih_l0 + model[2].bias_hh_l0).detach())


class TestMaskFile:
    def test_prunes_by_name(self, tmp_path, suffix):
        model = write(tmp_path, ".npz", {"fc.weight": WEIGHTS, "fc.bias": BIAS})
        (tmp_path / "m").mkdir()
        mask = write(tmp_path / "m", suffix, {"fc.weight": MASK.astype(np.uint8)})
        net = eie.load(model, mask=mask)
        np.testing.assert_array_equal(net.layers[0].weights, WEIGHTS * MASK)
        assert net.notes == ("masks from a separate file applied: fc.weight",)

    def test_finishes_what_was_left_without_one(self, tmp_path):
        model = write(tmp_path, ".npz", {"fc.parametrizations.weight.original": WEIGHTS})
        mask = write(tmp_path, ".safetensors", {"fc.weight_mask": MASK})
        np.testing.assert_array_equal(eie.load(model, mask=mask).layers[0].weights, WEIGHTS * MASK)

    def test_prunes_the_weight_file_of_a_toml_model(self, tmp_path):
        write(tmp_path, ".npz", {"w": WEIGHTS})
        (tmp_path / "net.toml").write_text('weights = "model.npz"\n[[layer]]\nname = "a"\nweights = "w"\n')
        mask = write(tmp_path, ".safetensors", {"w": MASK})
        np.testing.assert_array_equal(eie.load(tmp_path / "net.toml", mask=mask).layers[0].weights, WEIGHTS * MASK)

    @pytest.mark.parametrize(
        ("masks", "text"),
        [
            ({"fd.weight": MASK}, r"model\.npz: mask 'fd\.weight': the model has no such weight \(it has fc\.weight\)"),
            ({"fc.weight": MASK[:5]}, r"has shape \(5, 4\): must be \(6, 4\)"),
            ({"fc.weight": MASK / 2}, "other than 0 and 1"),
            ({"fc.weight": MASK + np.nan}, "other than 0 and 1"),
            ({"fc.weight": MASK.astype("U3")}, "must be numbers, 0 or 1"),
        ],
    )
    def test_that_does_not_fit(self, tmp_path, masks, text):
        model = write(tmp_path, ".npz", {"fc.weight": WEIGHTS})
        np.savez(tmp_path / "mask.npz", **masks)
        with pytest.raises(eie.EieError, match=text):
            eie.load(model, mask=tmp_path / "mask.npz")

    def test_where_it_does_not_apply(self, tmp_path):
        (tmp_path / "a.smtx").write_text("1, 1, 1\n0 1\n0\n")
        with pytest.raises(eie.EieError, match=r"mask does not apply to \.smtx files, only to \.toml, \.npz"):
            eie.load(tmp_path / "a.smtx", mask="mask.npz")
        with pytest.raises(eie.EieError, match="names no weight file"):
            eie.load("eie-benchmark", mask=tmp_path / "mask.npz")


class TestStateDictLayers:
    def test_convolutions(self, tmp_path, suffix):
        arrays = {"c1.weight": KERNEL, "c2.weight": KERNEL[..., 0], "c1.bias": BIAS[:5]}
        net = eie.load(write(tmp_path, suffix, arrays))
        one, two = net.layers
        assert (one.geometry, two.geometry) == (
            Conv2d(in_channels=3, out_channels=5, kernel=(3, 2)),
            Conv2d(in_channels=3, out_channels=5, kernel=(1, 3)),
        )
        np.testing.assert_array_equal(one.kernel, KERNEL)
        np.testing.assert_array_equal(two.kernel[:, :, 0], KERNEL[..., 0])
        assert any("stride 1, no pads, one group" in note for note in net.notes)
        assert not net.sequential

    def test_coded_convolution(self, tmp_path):
        codes = RNG.integers(0, 4, (5, 3, 3, 2)).astype(np.uint8)
        codebook = np.array([0, 1, -2, 3], np.float32)
        net = eie.load(write(tmp_path, ".npz", {"c.codes": codes, "c.codebook": codebook}))
        np.testing.assert_array_equal(net.layers[0].kernel, codebook[codes])

    def test_lstms(self, tmp_path, suffix):
        arrays = {}
        for level, width in ((0, 4), (1, 6)):
            for way in ("", "_reverse"):
                end = f"l{level}{way}"
                arrays[f"rnn.weight_ih_{end}"] = RNG.standard_normal((12, width)).astype(np.float32)
                arrays[f"rnn.weight_hh_{end}"] = RNG.standard_normal((12, 3)).astype(np.float32)
                arrays[f"rnn.bias_ih_{end}"] = RNG.standard_normal(12).astype(np.float32)
                arrays[f"rnn.bias_hh_{end}"] = RNG.standard_normal(12).astype(np.float32)
        arrays |= {"cell.weight_ih": arrays["rnn.weight_ih_l0"], "cell.weight_hh": arrays["rnn.weight_hh_l0"]}
        net = eie.load(write(tmp_path, suffix, arrays))
        assert [layer.name for layer in net.layers] == ["cell", "rnn.l0", "rnn.l0_reverse", "rnn.l1", "rnn.l1_reverse"]
        last = net.layers[-1]
        assert last.geometry == Lstm(6, 3, reverse=True)
        np.testing.assert_array_equal(
            last.weights, np.hstack((arrays["rnn.weight_ih_l1_reverse"], arrays["rnn.weight_hh_l1_reverse"]))
        )
        np.testing.assert_allclose(last.bias, arrays["rnn.bias_ih_l1_reverse"] + arrays["rnn.bias_hh_l1_reverse"])
        assert net.layers[0].geometry == Lstm(4, 3)
        assert net.layers[0].bias is None

    def test_gru_is_named_not_dropped(self, tmp_path):
        arrays = {"gru.weight_ih_l0": np.ones((9, 2)), "gru.weight_hh_l0": np.ones((9, 3)), "fc.weight": WEIGHTS}
        net = eie.load(write(tmp_path, ".npz", arrays))
        assert net.notes[0] == "ignored, a GRU, not an LSTM: gru.l0"

    @pytest.mark.parametrize(
        ("change", "text"),
        [
            ({"r.weight_hh_l0": None}, r"LSTM 'r\.l0' has no weight_hh"),
            ({"r.weight_hr_l0": np.ones((2, 3))}, "has a projection"),
            ({"r.bias_hh_l0": np.ones(11)}, "its biases have shapes"),
            ({"r.weight_ih_l0": np.ones((11, 4))}, r"must be \(4 \* hidden, input\)"),
        ],
    )
    def test_broken_lstm(self, tmp_path, change, text):
        arrays = {"r.weight_ih_l0": np.ones((12, 4)), "r.weight_hh_l0": np.ones((12, 3)), "r.bias_ih_l0": np.ones(12)}
        arrays = {name: array for name, array in (arrays | change).items() if array is not None}
        with pytest.raises(eie.EieError, match=text):
            eie.load(write(tmp_path, ".npz", arrays))

    @TORCH
    def test_bfloat16(self, tmp_path):
        torch = pytest.importorskip("torch", reason="needs the torch extra")
        save_file = pytest.importorskip("safetensors.torch").save_file
        half = torch.from_numpy(WEIGHTS).to(torch.bfloat16)
        save_file({"fc.weight": half}, tmp_path / "a.safetensors")
        torch.save({"fc.weight": half}, tmp_path / "a.pt")
        for name in ("a.safetensors", "a.pt"):
            np.testing.assert_array_equal(eie.load(tmp_path / name).layers[0].weights, half.float())


@TORCH
class TestTorchFiles:
    @pytest.fixture
    def torch(self):
        return pytest.importorskip("torch", reason="needs the torch extra")

    def test_state_dict_inside_a_checkpoint(self, tmp_path, torch):
        model = torch.nn.Sequential(torch.nn.Linear(4, 6), torch.nn.Linear(6, 2))
        state = {f"module.{name}": tensor for name, tensor in model.state_dict().items()}
        torch.save({"epoch": 3, "model_state": state, "optimizer": {"lr": 0.1}, "ema": state}, tmp_path / "a.pt")
        net = eie.load(tmp_path / "a.pt")
        assert [layer.name for layer in net.layers] == ["0", "1"]
        assert net.notes[0] == "state dict found under 'model_state'"
        np.testing.assert_array_equal(net.layers[1].weights, model[1].weight.detach())

    def test_sparse_and_legacy_tensors(self, tmp_path, torch):
        dense = torch.from_numpy(WEIGHTS * MASK)
        torch.save({"fc.weight": dense.to_sparse()}, tmp_path / "a.pt")
        np.testing.assert_array_equal(eie.load(tmp_path / "a.pt").layers[0].weights, WEIGHTS * MASK)
        torch.save({"fc.weight": dense}, tmp_path / "a.pth", _use_new_zipfile_serialization=False)
        np.testing.assert_array_equal(eie.load(tmp_path / "a.pth").layers[0].weights, WEIGHTS * MASK)

    def test_pickled_module_is_never_loaded(self, tmp_path, torch):
        torch.save(torch.nn.Linear(4, 6), tmp_path / "a.pt")
        with pytest.raises(
            eie.EieError, match=r"needs torch\.nn\S*Linear, which is never loaded.*model\.state_dict\(\)"
        ):
            eie.load(tmp_path / "a.pt")

    def test_what_is_no_state_dict(self, tmp_path, torch):
        torch.save(torch.ones(3, 3), tmp_path / "a.pt")
        with pytest.raises(eie.EieError, match=r"holds a Tensor, not a state dict"):
            eie.load(tmp_path / "a.pt")
        torch.save({"epoch": 1, "lr": 0.1}, tmp_path / "a.pt")
        with pytest.raises(eie.EieError, match=r"a dictionary of epoch, lr, not a state dict"):
            eie.load(tmp_path / "a.pt")

    def test_versions_that_are_not_safe(self, tmp_path, torch, monkeypatch):
        torch.save({"fc.weight": torch.ones(2, 2)}, tmp_path / "a.pt")
        monkeypatch.setattr(torch, "__version__", type(torch.__version__)("2.5.1+cpu"))
        with pytest.raises(eie.EieError, match=r"torch 2\.5\.1\+cpu run code: must be >= 2\.6"):
            eie.load(tmp_path / "a.pt")

    def test_expanded_tensor_is_not_unrolled(self, tmp_path, torch):
        torch.save({"fc.weight": torch.ones(1, 1).expand(1 << 20, 1 << 20)}, tmp_path / "a.pt")
        with pytest.raises(eie.EieError, match=r"'fc\.weight' cannot be read: expanded to \(1048576, 1048576\)"):
            eie.load(tmp_path / "a.pt")


TABLE = """
name = "small"
input = [3, 8, 8]
step = [
  { layer = "conv1", shape = [5, 3, 3, 3], pad = 1, relu = true },
  { name = "pool1", op = "max_pool", kernel = 2, stride = 2 },
  { name = "flat", op = "flatten" },
  { layer = "fc2", shape = [7, 80] },
]
"""


class TestDeepCompression:
    @given(st.integers(0, 2**32 - 1), st.sampled_from([0.0, 0.02, 0.3, 1.0]))
    @settings(max_examples=30, deadline=None)
    def test_decodes_what_was_encoded(self, tmp_path_factory, seed, density):
        folder = tmp_path_factory.mktemp("net")
        rng = np.random.default_rng(seed)
        layers = [random_layer(rng, (5, 3, 3, 3), density), random_layer(rng, (7, 80), density)]
        (folder / "a.net").write_bytes(net_file(layers))
        (folder / "a.toml").write_text(TABLE)
        net = eie.load(folder / "a.net", shapes=folder / "a.toml")
        conv, linear = net.layers
        np.testing.assert_array_equal(conv.kernel, layers[0][0])
        np.testing.assert_array_equal(conv.bias, layers[0][2])
        np.testing.assert_array_equal(linear.weights, layers[1][0])
        assert (conv.relu, linear.relu, conv.geometry.pads) == (True, False, (1, 1, 1, 1))
        assert [node.op for node in net.graph.nodes] == ["layer", "max_pool", "flatten", "layer"]

    def test_eight_bit_codes_stay_exact_with_eight_bit_weights(self, tmp_path):
        (tmp_path / "a.toml").write_text(TABLE)
        layers = [random_layer(RNG, (5, 3, 3, 3), 1.0), random_layer(RNG, (7, 80), 0.3)]
        (tmp_path / "a.net").write_bytes(net_file(layers))
        net = eie.load(tmp_path / "a.net", shapes=tmp_path / "a.toml")
        assert "weight_bits = 8 keeps their weights exactly" in net.notes[1]
        wide = eie.compile(net, eie.EIE_64PE.replace(weight_bits=8))
        assert [layer.shared.exact for layer in wide.layers] == [True, True]
        narrow = eie.compile(net)
        assert [layer.shared.exact for layer in narrow.layers] == [False, True]

    def test_wrong_shapes_are_found_by_size(self, tmp_path):
        (tmp_path / "a.net").write_bytes(net_file([random_layer(RNG, (7, 80), 0.3)]))
        with pytest.raises(
            eie.EieError, match=r"not what the layers of AlexNet, SqueezeNet v1\.0 would fill.*--shapes"
        ):
            eie.load(tmp_path / "a.net")
        (tmp_path / "a.toml").write_text('name = "n"\nstep = [{ layer = "fc", shape = [7, 8] }]')
        with pytest.raises(eie.EieError, match=r"'fc': its last entry is weight \d+ of 56: damaged or wrong shapes"):
            eie.load(tmp_path / "a.net", shapes=tmp_path / "a.toml")

    @pytest.mark.parametrize(
        ("text", "complaint"),
        [
            ("step = 3", "step: must be a list of tables"),
            ("step = []", "name: missing"),
            ('name = "n"\nstep = [{ name = "p", op = "max_pool" }]', "no step names a layer"),
            ('name = "n"\nstep = [{ layer = "a", shape = [1] }]', r"shape=\[1\]: must be \(out, in\)"),
            ('name = "n"\nstep = [{ layer = "a", shap = [1, 2] }]', r"step 1\.shap=.*did you mean shape"),
            ('name = "n"\nstep = [{ layer = "a", shape = [0, 2] }]', r"shape\.0=0: must be >= 1"),
            ('name = "n"\nstep = [{ layer = "a", shape = [67108864, 67108864] }]', "at most 2,147,483,648 weights"),
        ],
    )
    def test_wrong_table(self, tmp_path, text, complaint):
        (tmp_path / "a.toml").write_text(text)
        (tmp_path / "a.net").write_bytes(b"")
        with pytest.raises(eie.EieError, match=complaint):
            eie.load(tmp_path / "a.net", shapes=tmp_path / "a.toml")

    def test_alexnet_is_recognised(self, tmp_path):
        from eie.importers.shapes import shipped_tables

        alexnet = next(table for table in shipped_tables() if table.name == "AlexNet")
        assert sum(layer.weights for layer in alexnet.layers) == 60_954_656
        empty = [
            (np.zeros(layer.shape, np.int8), np.zeros(1 << layer.code_bits), np.zeros(layer.shape[0]))
            for layer in alexnet.layers[:5]
        ]
        empty += [(np.zeros((n, 0), np.int8), np.zeros(16), np.zeros(n)) for n in (4096, 4096, 1000)]
        (tmp_path / "a.net").write_bytes(net_file(empty))
        net = eie.load(tmp_path / "a.net")
        assert (net.name, net.graph, net.layers[1].geometry.groups) == ("AlexNet", None, 2)


class TestSmtx:
    def test_keeps_the_pattern(self, tmp_path):
        (tmp_path / "a.smtx").write_text("3, 4, 5\n0 2 2 5\n3 0 1 2 3\n")
        net = eie.load(tmp_path / "a.smtx")
        expected = np.array([[1, 0, 0, 1], [0, 0, 0, 0], [0, 1, 1, 1]])
        np.testing.assert_array_equal(net.layers[0].weights != 0, expected)
        assert net.notes == ("a.smtx: pattern from the file, values drawn at random (seed 0)",)
        again = eie.load(tmp_path / "a.smtx").layers[0].weights
        np.testing.assert_array_equal(net.layers[0].weights, again)
        assert eie.compile(net).layers[0].shared.exact

    @pytest.mark.parametrize(
        ("text", "complaint"),
        [
            ("", "must have three lines"),
            ("2, 2, 1\n0 1 1\n0\n1\n", "must have three lines"),
            ("2, 2\n0 1 1\n0\n", "line 1: must be 'rows, cols, nnz'"),
            ("0, 2, 0\n0\n\n", "line 1"),
            ("2, 2, 1\n0 1\n0\n", "needs 3 row pointers and 1 columns: it has 2 and 1"),
            ("2, 2, 2\n0 1 1\n0\n", "needs 3 row pointers and 2 columns: it has 3 and 1"),
            ("2, 2, 2\n0 2 1\n0 1\n", "row pointers must rise from 0 to 2"),
            ("2, 2, 2\n0 3 2\n0 1\n", "row pointers must rise from 0 to 2"),
            ("2, 2, 1\n0 1 1\n2\n", "column indices must be 0 to 1"),
            ("2, 2, 1\n0 1 1\n-1\n", "column indices must be 0 to 1"),
            ("2, 2, 2\n0 2 2\n1 1\n", "names a column twice"),
            ("2, 2, x\n0 1 1\n0\n", "line 1: must be integers"),
            ("2, 2, 99999999999999999999\n0 1 1\n0\n", "line 1: must be integers"),
        ],
    )
    def test_refused(self, tmp_path, text, complaint):
        (tmp_path / "a.smtx").write_text(text)
        with pytest.raises(eie.EieError, match=complaint):
            eie.load(tmp_path / "a.smtx")
