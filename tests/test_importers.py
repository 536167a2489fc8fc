"""Model files: what is recognised, what is assumed and said, what is refused."""

import numpy as np
import pytest
from safetensors.numpy import save_file

import eie
from eie.importers import shipped_models


def test_shipped_models_by_name_and_path(root):
    assert set(shipped_models()) >= {"lenet-300-100", "eie-benchmark"}
    by_name, by_path = eie.load("lenet-300-100"), eie.load(root / "models" / "lenet-300-100.toml")
    assert [layer.name for layer in by_name.layers] == [layer.name for layer in by_path.layers] == ["ip1", "ip2", "ip3"]
    assert [layer.relu for layer in by_path.layers] == [True, True, False]
    assert by_path.trace.samples == 256
    assert by_path.sequential


def test_the_shipped_lenet_is_pruned_as_stated():
    densities = [layer.weight_density for layer in eie.load("lenet-300-100").layers]
    assert densities == pytest.approx([0.08, 0.09, 0.26], abs=0.0005)


def test_the_benchmark_has_the_papers_shapes(root):
    network = eie.load("eie-benchmark")
    assert len(network.layers) == 9
    assert all(layer.synthetic for layer in network.layers)
    assert network.trace.synthetic
    first = network.layers[0]
    assert (first.name, first.inputs, first.outputs) == ("Alex-6", 9216, 4096)
    assert first.weight_density == pytest.approx(0.09, rel=0.01)
    assert network.trace.layers["Alex-6"].density == pytest.approx(0.351, rel=0.1)
    again = eie.load("eie-benchmark")
    assert np.array_equal(first.matrix.rows, again.layers[0].matrix.rows)


class TestStateDicts:
    weights = np.arange(1.0, 7).reshape(2, 3).astype(np.float32)

    @pytest.mark.parametrize("suffix", ["npz", "safetensors"])
    def test_dotted_names_in_natural_order(self, tmp_path, suffix):
        path = tmp_path / f"net.{suffix}"
        arrays = {
            "fc10.weight": np.ones((4, 2), np.float32),
            "fc2.weight": self.weights,
            "fc2.bias": np.zeros(2, np.float32),
        }
        np.savez(path, **arrays) if suffix == "npz" else save_file(arrays, path)
        network = eie.load(path)
        assert [(layer.name, layer.outputs, layer.inputs) for layer in network.layers] == [
            ("fc2", 2, 3),
            ("fc10", 4, 2),
        ]
        assert network.sequential
        assert [layer.relu for layer in network.layers] == [True, False]
        assert any("ReLU between" in note for note in network.notes)

    def test_transposed_storage_is_found_by_the_bias(self, tmp_path):
        np.savez(tmp_path / "net.npz", W0=self.weights.T, b0=np.zeros(2), W1=np.ones((2, 4)), b1=np.zeros(4))
        network = eie.load(tmp_path / "net.npz")
        assert [(layer.outputs, layer.inputs) for layer in network.layers] == [(2, 3), (4, 2)]
        assert np.array_equal(network.layers[0].weights, self.weights)
        assert "read as (inputs, outputs): layer0, layer1" in network.notes

    def test_transposed_storage_is_found_by_the_chain(self, tmp_path):
        np.savez(tmp_path / "net.npz", a=np.ones((7, 3)), b=np.ones((3, 2)))
        assert [(layer.outputs, layer.inputs) for layer in eie.load(tmp_path / "net.npz").layers] == [(3, 7), (2, 3)]

    def test_codes_and_recorded_inputs(self, tmp_path):
        codes = np.array([[0, 1, 2], [2, 0, 0]], np.uint8)
        np.savez(tmp_path / "fc8.npz", codes=codes, codebook=np.array([0, 0.5, -1]), act=np.array([1.0, 0, 2]))
        network = eie.load(tmp_path / "fc8.npz")
        assert network.layers[0].name == "fc8"
        result = eie.simulate(eie.compile(network))
        assert result.layers[0].outputs.tolist() == pytest.approx([-2, -1])
        assert result.inputs_source == "activations in fc8.npz"

    def test_the_real_fc8_file_runs_as_it_is(self, shared):
        result = eie.simulate(eie.compile(eie.load(shared / "data" / "alexnet_fc8.npz")))
        assert result.layers[0].cycles == 7926

    def test_what_is_not_a_layer_is_listed(self, tmp_path):
        np.savez(
            tmp_path / "net.npz",
            **{"fc.weight": self.weights, "norm.running_mean": np.ones(3), "norm.weight": np.ones(3)},
        )
        network = eie.load(tmp_path / "net.npz")
        assert [layer.name for layer in network.layers] == ["fc"]
        assert any("norm.running_mean (3,)" in note for note in network.notes)
        assert any("norm (weight (3,))" in note for note in network.notes)

    def test_inputs_are_made_up_only_with_a_label(self, tmp_path):
        np.savez(tmp_path / "net.npz", **{"fc.weight": self.weights})
        result = eie.simulate(eie.compile(eie.load(tmp_path / "net.npz")))
        assert result.synthetic_inputs
        assert any(note.startswith("synthetic inputs") for note in result.notes())


class TestRefused:
    @pytest.mark.parametrize(
        ("name", "text"),
        [
            ("none.npz", "cannot be read: No such file"),
            ("model.xyz", "unknown suffix '.xyz': must be one of .toml, .npz, .safetensors"),
            ("lenet-300", "no such file or shipped model; did you mean lenet-300-100?"),
        ],
    )
    def test_no_such_file(self, tmp_path, monkeypatch, name, text):
        monkeypatch.chdir(tmp_path)
        if name.endswith("xyz"):
            (tmp_path / name).write_bytes(b"x")
        with pytest.raises(eie.EieError, match=text.replace("(", r"\(").replace("?", r"\?")):
            eie.load(name)

    def test_folder(self, tmp_path):
        with pytest.raises(eie.EieError, match="a folder without a model: holds none of model.safetensors.index.json"):
            eie.load(tmp_path)

    @pytest.mark.parametrize(
        ("arrays", "text"),
        [
            ({"x": np.ones(3)}, r"holds no layer: no weights of 2 to 4 dimensions \(found x"),
            ({"a.weight": np.array([[1, np.inf]])}, r"layer 'a': weights\[0, 1\] = inf: must be finite"),
            ({"a.weight": np.array([[1, np.nan]])}, r"layer 'a': weights\[0, 1\] = nan: must be finite"),
            ({"a.weight": np.ones((0, 3))}, "an empty layer has nothing to run"),
            ({"a.weight": np.ones((2, 3)), "a.bias": np.ones(5)}, r"layer 'a': bias has shape \(5,\): must be \(2,\)"),
            ({"a.codes": np.ones((2, 3), np.uint8)}, "layer 'a' has codes but no codebook"),
            ({"a.codes": np.ones((2, 3), np.uint8), "a.codebook": np.ones(2)}, r"codebook\[0\] = 1.0: must be 0"),
            ({"a.codes": np.full((2, 3), 9), "a.codebook": np.zeros(2)}, "codes holds 9: must be 0 to 1"),
            ({"a.codes": -np.ones((2, 3), int), "a.codebook": np.zeros(2)}, "codes holds -1"),
            ({"a.codes": np.ones((2, 3)), "a.codebook": np.zeros(2)}, "codes has dtype float64: must be integers"),
            ({"header": np.ones(3, np.uint8), "bits/0": np.ones(3)}, "a trace of activations, not a model"),
        ],
    )
    def test_contents(self, tmp_path, arrays, text):
        np.savez(tmp_path / "net.npz", **arrays)
        with pytest.raises(eie.EieError, match=text):
            eie.load(tmp_path / "net.npz")

    def test_pickles_are_never_loaded(self, tmp_path):
        np.savez(tmp_path / "net.npz", a=np.array([{"x": 1}], dtype=object))
        with pytest.raises(eie.EieError, match="not a usable NumPy file"):
            eie.load(tmp_path / "net.npz")

    def test_a_program_is_not_a_model(self, tmp_path):
        eie.compile(eie.Layer.from_weights("a", [[1.0]])).save(tmp_path / "p.safetensors")
        with pytest.raises(eie.EieError, match="a compiled program, not a model"):
            eie.load(tmp_path / "p.safetensors")

    @pytest.mark.parametrize(
        ("toml", "text"),
        [
            ("[[layer]", "not valid TOML"),
            ("name = 'x'", "layer: missing"),
            ("[[layer]]\nname = 'a'", "must name weights (or codes), or give inputs, outputs and weight_density"),
            (
                "[[layer]]\nname = 'a'\nweight_densty = 0.5",
                "layer.0.weight_densty=0.5: unknown key; did you mean weight_density?",
            ),
            ("[[layer]]\nname = 'a'\ninputs = 0\noutputs = 2\nweight_density = 2.0", "layer.0.inputs=0: must be >= 1"),
            (
                "[[layer]]\nname = 'a'\ninputs = 0\noutputs = 2\nweight_density = 2.0",
                "layer.0.weight_density=2.0: must be <= 1",
            ),
            ("weights = 'w.npz'\n[[layer]]\nname = 'a'\nweights = 'W'", "w.npz: cannot be read"),
            ("weights = 'w.xyz'\n[[layer]]\nname = 'a'\nweights = 'W'", "must be one of .npz, .safetensors, .pt, .pth"),
            ("[[layer]]\nname = 'a'\nweights = 'W'", "no array 'W' in its weight file"),
            (
                "trace = 'none.npz'\n[[layer]]\nname = 'a'\ninputs = 2\noutputs = 2\nweight_density = 0.5",
                "none.npz: cannot be read",
            ),
        ],
    )
    def test_toml(self, tmp_path, toml, text):
        (tmp_path / "m.toml").write_text(toml)
        with pytest.raises(eie.EieError) as caught:
            eie.load(tmp_path / "m.toml")
        assert text in str(caught.value)

    def test_the_hash_of_a_toml_model_covers_its_weights(self, tmp_path):
        (tmp_path / "m.toml").write_text("weights = 'w.npz'\n[[layer]]\nname = 'a'\nweights = 'W'")
        hashes = set()
        for value in (1.0, 2.0):
            np.savez(tmp_path / "w.npz", W=np.full((2, 3), value))
            hashes.add(eie.load(tmp_path / "m.toml").sha256)
        assert len(hashes) == 2

    def test_toml_shapes_must_agree_with_weights(self, tmp_path):
        np.savez(tmp_path / "w.npz", W=np.ones((2, 3)))
        (tmp_path / "m.toml").write_text("weights = 'w.npz'\n[[layer]]\nname = 'a'\nweights = 'W'\ninputs = 4")
        with pytest.raises(eie.EieError, match="inputs=4, but its weights have 3"):
            eie.load(tmp_path / "m.toml")


class TestRecords:
    @pytest.mark.parametrize(
        ("weights", "text"),
        [
            (np.ones(3), r"weights has shape \(3,\): must be \(outputs, inputs\)"),
            (np.ones((2, 2, 2)), "must be"),
            ([["a"]], "must be numbers"),
        ],
    )
    def test_wrong_shapes(self, weights, text):
        with pytest.raises(eie.EieError, match=text):
            eie.Layer.from_weights("a", weights)

    def test_names(self):
        one = eie.Layer.from_weights("a", [[1.0]])
        with pytest.raises(eie.EieError, match="layer name ''"):
            eie.Layer.from_weights("", [[1.0]])
        with pytest.raises(eie.EieError, match="two layers are called 'a'"):
            eie.Network(name="net", layers=(one, one))
        with pytest.raises(eie.EieError, match="no layers"):
            eie.Network(name="net", layers=())
        with pytest.raises(eie.EieError, match="must be a path, .* an eie.Layer or an eie.Network"):
            eie.compile([[1.0]])

    def test_a_sequence_must_chain(self):
        layers = (eie.Layer.from_weights("a", np.ones((2, 3))), eie.Layer.from_weights("b", np.ones((2, 3))))
        with pytest.raises(eie.EieError, match="a has 2 outputs but b takes 3 inputs"):
            eie.Network(name="net", layers=layers, sequential=True)

    def test_records_do_not_change_with_their_source(self):
        weights = np.ones((2, 2), np.float32)
        layer = eie.Layer.from_weights("a", weights)
        weights[:] = 5
        assert (layer.weights == 1).all()
        with pytest.raises(ValueError, match="read-only"):
            layer.matrix.data[0] = 3
