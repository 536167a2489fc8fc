"""What holds arrays: folders, shards, checkpoints, matrices, Keras files, adapters; and what only looks like it."""

import json
import zipfile
import zlib

import numpy as np
import packing
import pytest
from safetensors.numpy import save_file

import eie
from eie.formats import hdf5
from eie.importers import _READERS, unread
from eie.importers.state_dict import read_all

RNG = np.random.default_rng(8)
MLP = {
    "0.weight": RNG.standard_normal((6, 8)).astype(np.float32),
    "0.bias": RNG.standard_normal(6).astype(np.float32),
    "2.weight": RNG.standard_normal((3, 6)).astype(np.float32),
}


def same(network, arrays=None):
    """Whether a network's matrices are those of a state dict."""
    arrays = arrays or MLP
    return all(np.array_equal(layer.weights, arrays[f"{layer.name}.weight"]) for layer in network.layers) and {
        f"{layer.name}.weight" for layer in network.layers
    } == {name for name, array in arrays.items() if array.ndim == 2}


def sharded(folder, write=save_file, stem="model", suffix="safetensors"):
    """Write `MLP` as two shards and an index."""
    folder.mkdir(exist_ok=True)
    weight_map = {}
    for i, names in enumerate((["0.weight", "0.bias"], ["2.weight"]), 1):
        shard = f"{stem}-0000{i}-of-00002.{suffix}"
        write({name: MLP[name] for name in names}, folder / shard)
        weight_map |= dict.fromkeys(names, shard)
    index = folder / f"{stem}.{suffix}.index.json"
    index.write_text(json.dumps({"metadata": {}, "weight_map": weight_map}))
    return index


@pytest.fixture
def torch():
    return pytest.importorskip("torch", reason="needs the torch extra")


def tensors(torch, arrays):
    return {name: torch.from_numpy(np.array(array)) for name, array in arrays.items()}


class TestFolders:
    def test_index_and_folder_are_the_whole_model(self, tmp_path):
        index = sharded(tmp_path / "tiny")
        (tmp_path / "tiny" / "config.json").write_text('{"model_type": "mlp"}')
        for path in (index, tmp_path / "tiny"):
            net = eie.load(path)
            assert same(net)
            assert net.name == "tiny"

    def test_a_lone_shard_says_so(self, tmp_path):
        sharded(tmp_path)
        net = eie.load(tmp_path / "model-00002-of-00002.safetensors")
        assert [layer.name for layer in net.layers] == ["2"]
        assert "is shard 2 of 2" in net.notes[0]
        assert not any("is shard" in note for note in eie.load(tmp_path).notes)

    def test_one_file_in_a_folder(self, tmp_path):
        save_file(MLP, tmp_path / "anything.safetensors")
        assert same(eie.load(tmp_path))
        save_file(MLP, tmp_path / "model.safetensors")
        assert eie.load(tmp_path).sha256 == eie.load(tmp_path / "model.safetensors").sha256

    def test_the_hash_is_of_all_files(self, tmp_path):
        sharded(tmp_path)
        before = eie.load(tmp_path).sha256
        last = tmp_path / "model-00002-of-00002.safetensors"
        save_file({"2.weight": MLP["2.weight"] * 2}, last)
        assert eie.load(tmp_path).sha256 != before

    def test_a_missing_shard_is_named(self, tmp_path):
        sharded(tmp_path)
        (tmp_path / "model-00001-of-00002.safetensors").unlink()
        with pytest.raises(eie.EieError, match="1 of its 2 files are missing: model-00001-of-00002.safetensors"):
            eie.load(tmp_path)

    @pytest.mark.parametrize(
        ("text", "message"),
        [
            ("{}", "has no weight_map"),
            ("[]", "must be a JSON object"),
            ("{", "not valid JSON"),
            ('{"weight_map": {"a": "../model.safetensors"}}', r"names the file '../model.safetensors': must be a file"),
            ('{"weight_map": {"a": "/etc/passwd"}}', "names the file '/etc/passwd'"),
            ('{"weight_map": {"a": ".."}}', "names the file '..'"),
            ('{"weight_map": {"a": 3}}', "names the file ''"),
        ],
    )
    def test_indices_that_lie(self, tmp_path, text, message):
        (tmp_path / "model.safetensors.index.json").write_text(text)
        with pytest.raises(eie.EieError, match=message):
            eie.load(tmp_path / "model.safetensors.index.json")

    def test_a_tensor_in_two_shards(self, tmp_path):
        sharded(tmp_path)
        save_file(MLP, tmp_path / "model-00002-of-00002.safetensors")
        with pytest.raises(eie.EieError, match="holds '0.bias', which another shard holds as well"):
            eie.load(tmp_path)

    def test_folders_that_hold_no_one_model(self, tmp_path):
        cases = {
            "two": (
                ["a.safetensors", "b.safetensors"],
                "a folder with 2 .safetensors files and no index: give one of a.s",
            ),
            "pipe": (["model_index.json", "unet/config.json"], "a folder of folders of models: give one of unet"),
            "saved": (["saved_model.pb"], "a TensorFlow SavedModel: not read: export the model to ONNX"),
            "meta": (["consolidated.00.pth", "params.json"], "the parts of a tensor-parallel checkpoint: not read"),
            "lora": (["adapter_config.json"], "a folder with a LoRA adapter alone: give the model and --merge-lora"),
            "cache": (["snapshots/abc/config.json"], "a folder of a cache: give one of snapshots/abc"),
            "tf": (
                ["tf_model.h5", "config.json"],
                "without PyTorch weights: save the model as .safetensors, or give tf_model.h5 itself",
            ),
            "none": (["readme.md"], "a folder without a model: holds none of model.safetensors.index.json"),
        }
        for name, (files, text) in cases.items():
            for file in files:
                (tmp_path / name / file).parent.mkdir(parents=True, exist_ok=True)
                (tmp_path / name / file).write_text("{}")
            with pytest.raises(eie.EieError, match=f"{name}: .*{text}"):
                eie.load(tmp_path / name)

    def test_a_toml_model_may_name_an_index(self, tmp_path):
        sharded(tmp_path / "w")
        (tmp_path / "m.toml").write_text(
            'weights = "w/model.safetensors.index.json"\n[[layer]]\nname = "a"\nweights = "2.weight"\n'
        )
        assert np.array_equal(eie.load(tmp_path / "m.toml").layers[0].weights, MLP["2.weight"])

    def test_on_the_command_line(self, cli, tmp_path):
        sharded(tmp_path / "tiny")
        code, out, _ = cli("run", str(tmp_path / "tiny"), "--set", "n_pe=4")
        assert code == 0
        assert "tiny on EIE_64PE" in out
        assert cli("inspect", str(tmp_path / "tiny"))[0] == 0

    def test_a_layer_in_two_shards(self, tmp_path):
        """Shards are cut by size: a layer's integers may be in one, its scales in the next."""
        arrays = {
            "l.weight": np.arange(32).reshape(4, 8).astype(np.int8),
            "l.weight_scale": np.full(1, 0.5, np.float32),
        }
        for i, (name, array) in enumerate(arrays.items(), 1):
            save_file({name: array}, tmp_path / f"model-{i}.safetensors")
        weight_map = {name: f"model-{i}.safetensors" for i, name in enumerate(arrays, 1)}
        (tmp_path / "model.safetensors.index.json").write_text(json.dumps({"weight_map": weight_map}))
        assert np.array_equal(eie.load(tmp_path).layers[0].weights, arrays["l.weight"] * 0.5)

    @pytest.mark.torch
    def test_shards_of_pickles(self, tmp_path, torch):
        def write(arrays, path):
            torch.save(tensors(torch, arrays), path)

        sharded(tmp_path, write, "pytorch_model", "bin")
        assert same(eie.load(tmp_path))
        # Safer files win where a folder has both.
        save_file({"a.weight": MLP["0.weight"]}, tmp_path / "model.safetensors")
        assert [layer.name for layer in eie.load(tmp_path).layers] == ["a"]


class TestNames:
    @pytest.mark.parametrize("name", ["a.NPZ", "a.Npz", "a.b.npz"])
    def test_case_of_a_suffix_does_not_matter(self, tmp_path, name):
        with (tmp_path / name).open("wb") as file:
            np.savez(file, **MLP)
        assert same(eie.load(tmp_path / name))

    @pytest.mark.torch
    @pytest.mark.parametrize("name", ["a.PT", "a.pth.tar", "a.PTH.TAR", "a.ckpt", "a.bin"])
    def test_other_names_of_torch_files(self, tmp_path, name, torch):
        torch.save({"epoch": 3, "state_dict": tensors(torch, MLP)}, tmp_path / name)
        net = eie.load(tmp_path / name)
        assert same(net)
        assert net.name == "a"

    @pytest.mark.parametrize("prefix", ["_orig_mod.", "module.", "module._orig_mod.", "_orig_mod.module."])
    def test_wrappers_leave_names_alone(self, tmp_path, prefix):
        np.savez(tmp_path / "a.npz", **{prefix + name: array for name, array in MLP.items()})
        assert same(eie.load(tmp_path / "a.npz"))

    def test_wrapped_parts(self, tmp_path):
        names = {"0._orig_mod.weight": "0.weight", "0._orig_mod.bias": "0.bias", "2.weight": "2.weight"}
        np.savez(tmp_path / "a.npz", **{name: MLP[plain] for name, plain in names.items()})
        assert same(eie.load(tmp_path / "a.npz"))

    def test_a_trace_of_the_bare_model_fits_the_compiled_one(self, tmp_path, cli):
        np.savez(tmp_path / "a.npz", **{f"_orig_mod.{name}": array for name, array in MLP.items()})
        layers = {"0": eie.LayerTrace.from_dense(np.ones((2, 8))), "2": eie.LayerTrace.from_dense(np.ones((2, 6)))}
        eie.Trace(layers=layers, source="test").save(tmp_path / "t.npz")
        code, out, _ = cli("run", "a.npz", "--trace", "t.npz", "--set", "n_pe=4")
        assert (code, "2 samples" in out) == (0, True)

    def test_a_part_that_is_called_module(self, tmp_path):
        np.savez(tmp_path / "a.npz", **{"module.weight": np.ones((2, 2)), "head.weight": np.ones((2, 2))})
        assert {layer.name for layer in eie.load(tmp_path / "a.npz").layers} == {"module", "head"}


@pytest.mark.torch
class TestCheckpoints:
    def save(self, torch, path, **parts):
        torch.save(parts, path)
        return path

    def test_two_state_dicts_are_listed(self, tmp_path, torch, cli):
        ema = {name: array * 2 for name, array in MLP.items()}
        path = self.save(torch, tmp_path / "a.pt", epoch=3, net=tensors(torch, MLP), ema=tensors(torch, ema),
                         optimizer={"state": {0: tensors(torch, MLP)}})  # fmt: skip
        with pytest.raises(
            eie.EieError, match=r"holds 2 state dicts: net \(3 tensors\), ema \(3 tensors\): choose one"
        ):
            eie.load(path)
        assert same(eie.load(path, key="net"))
        assert same(eie.load(path, key="ema"), ema)
        with pytest.raises(eie.EieError, match=r"key='best': no state dict there: must be one of net"):
            eie.load(path, key="best")
        assert cli("run", str(path), "--key", "net", "--set", "n_pe=4")[0] == 0

    def test_the_usual_one_is_taken_and_the_others_named(self, tmp_path, torch):
        path = self.save(torch, tmp_path / "a.pt", model=tensors(torch, MLP), model_ema=tensors(torch, MLP))
        net = eie.load(path)
        assert same(net)
        assert "other state dicts in the file, not read: model_ema (--key takes one)" in net.notes[1]

    def test_deeper_ones(self, tmp_path, torch):
        path = self.save(torch, tmp_path / "a.pt", run={"net": tensors(torch, MLP), "ema": tensors(torch, MLP)})
        with pytest.raises(eie.EieError, match=r"run.net \(3 tensors\), run.ema"):
            eie.load(path)
        assert same(eie.load(path, key="run.ema"))

    def test_an_optimiser_is_no_model(self, tmp_path, torch):
        moments = {"0": tensors(torch, MLP)}
        path = self.save(torch, tmp_path / "a.pt", net=tensors(torch, MLP), optimizer=moments, optim_state=moments)
        assert same(eie.load(path))

    def test_nested_names(self, tmp_path, torch):
        nested = {"0": {"weight": MLP["0.weight"], "bias": MLP["0.bias"]}, "2": {"weight": MLP["2.weight"]}}
        torch.save({name: tensors(torch, parts) for name, parts in nested.items()}, tmp_path / "a.pt")
        assert same(eie.load(tmp_path / "a.pt"))

    def test_nested_masks(self, tmp_path, torch):
        """As NNI writes them: a dictionary a layer, None where nothing is pruned."""
        save_file(MLP, tmp_path / "a.safetensors")
        masks = {
            name: (np.abs(array) > 0.5).astype(np.float32) for name, array in MLP.items() if name.endswith("weight")
        }
        nested = {
            "0": {"weight": torch.from_numpy(masks["0.weight"]), "bias": torch.ones(6)},
            "2": {"weight": torch.from_numpy(masks["2.weight"]), "bias": None},
        }
        torch.save(nested, tmp_path / "mask.pth")
        net = eie.load(tmp_path / "a.safetensors", mask=tmp_path / "mask.pth")
        assert same(net, {name: MLP[name] * mask for name, mask in masks.items()})

    @pytest.mark.filterwarnings("ignore")
    def test_a_dynamically_quantised_state_dict(self, tmp_path, torch):
        model = torch.nn.Sequential(torch.nn.Linear(8, 6), torch.nn.ReLU(), torch.nn.Linear(6, 3, bias=False))
        quantised = torch.ao.quantization.quantize_dynamic(model, dtype=torch.qint8)
        torch.save(quantised.state_dict(), tmp_path / "a.pt")
        net = eie.load(tmp_path / "a.pt")
        for layer, i in zip(net.layers, (0, 2), strict=True):
            assert np.array_equal(layer.weights, quantised[i].weight().dequantize().numpy())
            assert layer.stored_bits == 8
        assert [layer.has_bias for layer in net.layers] == [True, False]
        assert not any("ignored" in note for note in net.notes)

    @pytest.mark.filterwarnings("ignore")
    def test_quantised_tensors(self, tmp_path, torch):
        weights = torch.randn(4, 3, 3, 3)
        stored = torch.quantize_per_channel(weights, torch.full((4,), 0.1), torch.zeros(4), 0, torch.qint8)
        torch.save(
            {"c.weight": stored, "c.scale": torch.tensor(0.5), "c.zero_point": torch.tensor(3)}, tmp_path / "a.pt"
        )
        layer = eie.load(tmp_path / "a.pt").layers[0]
        assert np.array_equal(layer.kernel, stored.dequantize().numpy())
        assert layer.stored_bits == 8

    def test_half_precision_keeps_its_width(self, tmp_path, torch):
        """Also of recurrent layers, whose matrices have other names; what is wider than a float32 counts as one."""
        module = torch.nn.ModuleDict({"fc": torch.nn.Linear(6, 4), "rnn": torch.nn.LSTM(6, 3, num_layers=2)})
        kinds = {"half": torch.float16, "brain": torch.bfloat16, "single": torch.float32, "double": torch.float64}
        for name, kind in kinds.items():
            torch.save(module.to(kind).state_dict(), tmp_path / f"{name}.pt")
            layers = eie.load(tmp_path / f"{name}.pt").layers
            assert [layer.name for layer in layers] == ["rnn.l0", "rnn.l1", "fc"]
            assert {layer.stored_bits for layer in layers} == {16 if name in ("half", "brain") else None}
        save_file({"fc.weight": np.ones((4, 6), np.float16)}, tmp_path / "a.safetensors")
        _, report = eie.compress(
            tmp_path / "a.safetensors",
            {"name": "none", "step": [{"kind": "prune", "rule": [{"granularity": "fine", "density": 1.0}]}]},
        )
        assert report.sizes.total.dense_bytes == 2 * 4 * 6

    def test_float8_tensors(self, tmp_path, torch):
        stored = torch.randn(4, 6).to(torch.float8_e4m3fn)
        torch.save({"a.weight": stored, "a.weight_scale": torch.tensor(0.5)}, tmp_path / "a.pt")
        layer = eie.load(tmp_path / "a.pt").layers[0]
        assert np.array_equal(layer.weights, stored.float().numpy() * 0.5)

    def test_pickles_stay_unopened_and_say_what_to_do(self, tmp_path, torch):
        torch.save(torch.nn.Linear(2, 2), tmp_path / "a.pt")
        with pytest.raises(
            eie.EieError, match=r"a pickled object that needs torch\.nn\S+Linear, which is never loaded"
        ):
            eie.load(tmp_path / "a.pt")

    @pytest.mark.parametrize(
        "content", [b"", b"\x80\x02.", b"\x80\x02junk", b"hello", b"garbage" * 99, b"PK\x03\x04" + bytes(99)]
    )
    def test_no_advice_of_torch_passes_through(self, tmp_path, torch, content):
        (tmp_path / "a.pt").write_bytes(content)
        with pytest.raises(eie.EieError) as caught:
            eie.load(tmp_path / "a.pt")
        assert not any(word in str(caught.value) for word in ("weights_only", "torch.load", "safe_globals", "trust"))
        assert str(caught.value).endswith(
            "a.pt: not a usable PyTorch file: damaged, cut short or not written by torch.save"
            "(): copy or download it again"
        )

    def test_key_is_for_files_that_have_keys(self, tmp_path):
        np.savez(tmp_path / "a.npz", **MLP)
        with pytest.raises(eie.EieError, match=r"key does not apply to .npz files, only to .pt, .pth, .bin"):
            eie.load(tmp_path / "a.npz", key="net")


class TestMatrices:
    @pytest.mark.parametrize("layout", ["csr", "csc", "coo", "bsr", "dia"])
    def test_scipy_archives(self, tmp_path, layout):
        sparse = pytest.importorskip("scipy.sparse", reason="needs the compare extra")
        matrix = sparse.random(6, 8, 0.4, random_state=1, dtype=np.float32)
        sparse.save_npz(tmp_path / "m.npz", matrix.asformat(layout))
        net = eie.load(tmp_path / "m.npz")
        assert np.array_equal(net.layers[0].weights, matrix.toarray())
        assert net.layers[0].name == "m"

    def test_entries_of_one_place_are_added(self, tmp_path):
        parts = {"row": [0, 0, 1], "col": [1, 1, 0], "data": [1.0, 2.0, 5.0], "shape": [2, 2]}
        np.savez(tmp_path / "m.npz", format=b"coo", **{name: np.array(values) for name, values in parts.items()})
        assert eie.load(tmp_path / "m.npz").layers[0].weights.tolist() == [[0, 3], [5, 0]]

    @pytest.mark.parametrize(
        ("change", "text"),
        [
            ({"shape": [1 << 20, 1 << 20]}, "1,048,576 x 1,048,576 elements: must be at most 268,435,456"),
            ({"shape": [2, 0]}, "must be rows and columns, 1 or more"),
            ({"indices": [5, 1, 0]}, "an entry lies outside 2 x 3"),
            ({"indices": [-1, 1, 0]}, "an entry lies outside 2 x 3"),
            ({"indptr": [0, 3, 2]}, "its pointers do not rise from 0 to 3"),
            ({"indptr": [0, 2]}, "its pointers do not rise"),
            ({"indptr": None}, "a csr matrix without indptr"),
            ({"format": b"xyz"}, "format='xyz': must be one of csr"),
        ],
    )
    def test_archives_that_lie(self, tmp_path, change, text):
        parts = {"indices": [0, 1, 2], "indptr": [0, 2, 3], "data": [1.0, 2, 3], "shape": [2, 3], "format": b"csr"}
        np.savez(tmp_path / "m.npz", **{name: np.array(v) for name, v in (parts | change).items() if v is not None})
        with pytest.raises(eie.EieError, match=text):
            eie.load(tmp_path / "m.npz")

    @pytest.mark.parametrize("field", ["real", "integer"])
    @pytest.mark.parametrize("symmetry", ["general", "symmetric", "skew-symmetric"])
    def test_matrix_market(self, tmp_path, field, symmetry):
        io = pytest.importorskip("scipy.io", reason="needs the compare extra")
        sparse = pytest.importorskip("scipy.sparse")
        matrix = sparse.random(7, 7, 0.4, random_state=2).toarray().round(3)
        if symmetry != "general":
            matrix = matrix + matrix.T if symmetry == "symmetric" else matrix - matrix.T
        matrix = (1000 * matrix).round().astype(int) if field == "integer" else matrix
        io.mmwrite(tmp_path / "m.mtx", sparse.coo_matrix(matrix), symmetry=symmetry, comment="a\nb")
        assert np.array_equal(eie.load(tmp_path / "m.mtx").layers[0].weights, matrix.astype(np.float32))

    def test_matrix_market_arrays_and_patterns(self, tmp_path):
        (tmp_path / "a.mtx").write_text("%%MatrixMarket matrix array real general\n% c\n2 3\n1\n2\n3\n4\n5\n6\n")
        assert eie.load(tmp_path / "a.mtx").layers[0].weights.tolist() == [[1, 3, 5], [2, 4, 6]]
        (tmp_path / "p.mtx").write_text("%%MatrixMarket matrix coordinate pattern general\n2 3 2\n1 1\n2 3\n")
        net = eie.load(tmp_path / "p.mtx")
        assert (net.layers[0].weights != 0).tolist() == [[True, False, False], [False, False, True]]
        assert any("values drawn at random" in note for note in net.notes)

    @pytest.mark.parametrize(
        ("text", "message"),
        [
            ("1 1 1\n1 1 1\n", "must begin with '%%MatrixMarket matrix'"),
            (
                "%%MatrixMarket matrix coordinate complex general\n1 1 1\n1 1 1 1\n",
                "coordinate complex general: must be",
            ),
            ("%%MatrixMarket matrix coordinate real general\n2 2 2\n1 1 1\n", "2 entries stated, 3 numbers follow"),
            ("%%MatrixMarket matrix coordinate real general\n2 2 1\n0 1 1\n", "an entry lies outside 2 x 2"),
            ("%%MatrixMarket matrix coordinate real general\n2 2 1\n1.5 1 1\n", "its places are no whole numbers"),
            ("%%MatrixMarket matrix coordinate real general\n99999 99999 1\n1 1 1\n", "elements: must be at most"),
            ("%%MatrixMarket matrix coordinate real general\n2 2 1\n1 x 1\n", "holds what is no number"),
            ("%%MatrixMarket matrix coordinate real general\n", "sizes are"),
        ],
    )
    def test_matrix_market_files_that_lie(self, tmp_path, text, message):
        (tmp_path / "m.mtx").write_text(text)
        with pytest.raises(eie.EieError, match=message):
            eie.load(tmp_path / "m.mtx")

    def test_one_array(self, tmp_path):
        np.save(tmp_path / "m.npy", MLP["0.weight"])
        net = eie.load(tmp_path / "m.npy")
        assert same(net, {"m.weight": MLP["0.weight"]})
        assert "one NumPy matrix, taken as (outputs, inputs)" in net.notes[0]


POINTER = "version https://git-lfs.github.com/spec/v1\noid sha256:{}\nsize 102400\n".format("0" * 63 + "7")
PAGES = ["<!DOCTYPE html>\n<html>", "\n  <HTML lang=en>", "\ufeff<!doctype HTML>"]
SUFFIXES = [kind for kind in _READERS if kind.startswith(".")]


class TestStandIns:
    """What a clone or a browser leaves in a file's place, named as what it is for every suffix."""

    @pytest.mark.parametrize("suffix", SUFFIXES)
    def test_pointers_and_pages(self, tmp_path, suffix):
        path = tmp_path / f"a{suffix}"
        path.write_text(POINTER)
        with pytest.raises(
            eie.EieError, match="a Git-LFS pointer in place of the file, which has 102,400 bytes: fetch it"
        ):
            eie.load(path)
        for page in PAGES:
            path.write_text(page, encoding="utf-8")
            with pytest.raises(eie.EieError, match="an HTML page in place of the file"):
                eie.load(path)

    def test_in_a_shard_a_mask_a_trace_and_a_weight_file(self, tmp_path):
        sharded(tmp_path / "s")
        (tmp_path / "s" / "model-00002-of-00002.safetensors").write_text(POINTER)
        (tmp_path / "p.npz").write_text(POINTER)
        save_file(MLP, tmp_path / "a.safetensors")
        (tmp_path / "m.toml").write_text('weights = "p.npz"\n[[layer]]\nname = "a"\nweights = "W"\n')
        for read in (
            lambda: eie.load(tmp_path / "s"),
            lambda: eie.load(tmp_path / "a.safetensors", mask=tmp_path / "p.npz"),
            lambda: eie.Trace.load(tmp_path / "p.npz"),
            lambda: eie.load(tmp_path / "m.toml"),
        ):
            with pytest.raises(eie.EieError, match="a Git-LFS pointer"):
                read()

    def test_a_text_that_only_mentions_html(self, tmp_path):
        (tmp_path / "m.toml").write_text(
            '# <html>\n[[layer]]\nname = "a"\ninputs = 2\noutputs = 2\nweight_density = 1.0\n'
        )
        assert eie.load(tmp_path / "m.toml").layers


class TestUnread:
    @pytest.mark.parametrize("suffix", [*unread._KNOWN, ".data-00000-of-00001", ".tar.gz"])
    def test_named_with_the_way_out(self, tmp_path, suffix):
        path = tmp_path / f"model{suffix}"
        path.write_bytes(b"x")
        with pytest.raises(eie.EieError) as caught:
            eie.load(path)
        assert str(caught.value).startswith(f"{path}: ")
        assert any(word in str(caught.value) for word in (": not read: give", "export", "save", "unpack"))

    def test_others_list_what_is_read(self, tmp_path):
        (tmp_path / "a.xyz").write_bytes(b"x")
        with pytest.raises(
            eie.EieError, match=r"unknown suffix '.xyz': must be one of .toml, .npz, .safetensors, .eie"
        ):
            eie.load(tmp_path / "a.xyz")

    def test_settings_lead_to_their_folder(self, tmp_path):
        (tmp_path / "config.json").write_text("{}")
        with pytest.raises(eie.EieError, match="settings, no weights: not read: give the folder it stands in"):
            eie.load(tmp_path / "config.json")


class TestLora:
    def adapter(self, folder, head="base_model.model.0", **config):
        """Rank 2 for layer 0 of `MLP`; return its factors."""
        rng = np.random.default_rng(1)
        first, second = rng.standard_normal((2, 8)).astype(np.float32), rng.standard_normal((6, 2)).astype(np.float32)
        folder.mkdir(exist_ok=True)
        if config.get("fan_in_fan_out"):
            first, second = (rng.standard_normal(shape).astype(np.float32) for shape in ((2, 6), (8, 2)))
        save_file(
            {f"{head}.lora_A.weight": first, f"{head}.lora_B.weight": second}, folder / "adapter_model.safetensors"
        )
        config = {"peft_type": "LORA", "r": 2, "lora_alpha": 6} | config
        (folder / "adapter_config.json").write_text(json.dumps(config))
        return first, second

    @pytest.fixture
    def model(self, tmp_path):
        save_file(MLP, tmp_path / "m.safetensors")
        return tmp_path / "m.safetensors"

    @pytest.mark.parametrize(
        ("config", "scale"),
        [
            ({}, 3),
            ({"use_rslora": True}, 6 / np.sqrt(2)),
            ({"alpha_pattern": {"0": 4}}, 2),
            ({"fan_in_fan_out": True}, 3),
        ],
    )
    def test_merged_on_demand(self, tmp_path, model, config, scale):
        first, second = self.adapter(tmp_path / "lora", **config)
        delta = second @ first * scale
        wanted = MLP["0.weight"] + (delta.T if config.get("fan_in_fan_out") else delta)
        for adapter in (tmp_path / "lora", tmp_path / "lora" / "adapter_model.safetensors"):
            net = eie.load(model, merge_lora=adapter)
            assert np.allclose(net.layers[0].weights, wanted, atol=1e-6)
            assert np.array_equal(net.layers[1].weights, MLP["2.weight"])
            assert "merged into 1 weights" in " ".join(net.notes)
            assert net.sha256 != eie.load(model).sha256

    def test_older_names(self, tmp_path, model):
        first, second = np.ones((2, 8), np.float32), np.ones((6, 2), np.float32)
        arrays = {"0.lora_down.weight": first, "0.lora_up.weight": second, "0.alpha": np.float32([1])}
        save_file(arrays, tmp_path / "lora.safetensors")
        net = eie.load(model, merge_lora=tmp_path / "lora.safetensors")
        assert np.allclose(net.layers[0].weights, MLP["0.weight"] + 1)

    def test_zeros_that_are_filled_are_counted(self, tmp_path):
        save_file({"0.weight": np.zeros((6, 8), np.float32)}, tmp_path / "m.safetensors")
        self.adapter(tmp_path / "lora")
        net = eie.load(tmp_path / "m.safetensors", merge_lora=tmp_path / "lora")
        assert any("the merge filled 48 weights that were zero" in note for note in net.notes)

    def test_an_adapter_alone_is_named(self, tmp_path, cli, model):
        self.adapter(tmp_path / "lora")
        file = tmp_path / "lora" / "adapter_model.safetensors"
        code, _, err = cli("run", str(file))
        assert code == 1
        assert f"a LoRA adapter alone (2 factors), no model: give the model and --merge-lora {file}" in err
        assert cli("run", str(model), "--merge-lora", str(tmp_path / "lora"), "--set", "n_pe=4")[0] == 0

    def test_factors_beside_their_weights_are_left_out(self, tmp_path):
        factors = {"0.lora_A.default.weight": np.ones((2, 8)), "0.lora_B.default.weight": np.ones((6, 2))}
        np.savez(tmp_path / "m.npz", **MLP, **factors)
        net = eie.load(tmp_path / "m.npz")
        assert same(net)
        assert any("low-rank factors that are not merged" in note for note in net.notes)

    def test_factors_whose_product_overflows_are_refused_without_a_warning(self, tmp_path, model):
        self.adapter(tmp_path / "lora")
        huge = {
            "0.lora_A.weight": np.full((2, 8), 3e38, np.float32),
            "0.lora_B.weight": np.full((6, 2), 3e38, np.float32),
        }
        save_file(huge, tmp_path / "lora" / "adapter_model.safetensors")
        with pytest.raises(eie.EieError, match="inf: must be finite"):
            eie.load(model, merge_lora=tmp_path / "lora")

    def test_a_model_that_was_wrapped(self, tmp_path):
        wrapped = {"0.base_layer.weight": MLP["0.weight"], "2.weight": MLP["2.weight"]}
        save_file(wrapped, tmp_path / "m.safetensors")
        first, second = self.adapter(tmp_path / "lora")
        weights = read_all(tmp_path / "m.safetensors", merge_lora=tmp_path / "lora").arrays["0.base_layer.weight"]
        assert np.allclose(weights, MLP["0.weight"] + 3 * second @ first, atol=1e-6)

    @pytest.mark.parametrize(
        ("head", "config", "text"),
        [
            ("base_model.model.7", {}, "changes '7.weight', and 0 weights are called so"),
            ("base_model.model.2", {}, r"a change of shape \(6, 8\) for a weight of float32 \(3, 6\)"),
            ("0", {"lora_alpha": None}, "lora_alpha=None: must be a number in adapter_config.json"),
            ("0", {"use_dora": True}, "an adapter of type DoRA: only plain LoRA is merged"),
            ("0", {"peft_type": "IA3"}, "an adapter of type IA3"),
        ],
    )
    def test_adapters_that_do_not_fit(self, tmp_path, model, head, config, text):
        self.adapter(tmp_path / "lora", head, **config)
        with pytest.raises(eie.EieError, match=text):
            eie.load(model, merge_lora=tmp_path / "lora")

    def test_what_is_no_adapter(self, tmp_path, model):
        with pytest.raises(eie.EieError, match="holds no LoRA factors"):
            eie.load(model, merge_lora=model)
        with pytest.raises(eie.EieError, match="a folder without adapter_model.safetensors"):
            eie.load(model, merge_lora=tmp_path)
        with pytest.raises(eie.EieError, match="merge_lora does not apply to .toml files"):
            eie.load("lenet-300-100", merge_lora=model)

    def test_quantised_weights_are_merged_into(self, tmp_path):
        codes = RNG.integers(-9, 9, (6, 8)).astype(np.int8)
        arrays = {"0.weight": codes, "0.weight_scale": np.full((6, 1), 0.5, np.float32)}
        packing.save_safetensors(tmp_path / "m.safetensors", arrays)
        first, second = self.adapter(tmp_path / "lora")
        net = eie.load(tmp_path / "m.safetensors", merge_lora=tmp_path / "lora")
        assert np.allclose(net.layers[0].weights, codes * 0.5 + 3 * second @ first, atol=1e-5)


def new_keras(h5py, target, layers):
    """Write a Keras 3 file of weights: layers by their class in snake case, variables by number."""
    with h5py.File(target, "w") as file:
        for (path, name), variables in layers.items():
            group = file.create_group(f"{path}/vars")
            group.attrs["name"] = name
            for i, array in enumerate(variables):
                group.create_dataset(str(i), data=array)


KERNELS = {
    ("layers/conv2d", "first"): [RNG.standard_normal((3, 3, 2, 4)), np.arange(4.0)],
    ("layers/dense", "head"): [RNG.standard_normal((8, 5)), np.arange(5.0)],
    ("layers/dense_1", "square"): [RNG.standard_normal((5, 5))],
    ("layers/depthwise_conv2d", "dw"): [RNG.standard_normal((3, 3, 4, 1))],
    ("layers/lstm/cell", "lstm_cell"): [RNG.standard_normal((3, 8)), RNG.standard_normal((2, 8)), np.arange(8.0)],
    ("layers/embedding", "embedding"): [RNG.standard_normal((50, 6))],
    ("layers/flatten", "flatten"): [],
    ("optimizer", "adam"): [RNG.standard_normal((8, 5))],
}


class TestKeras:
    @pytest.fixture
    def h5py(self):
        return pytest.importorskip("h5py", reason="needs the keras extra")

    def check(self, net):
        layers = {layer.name: layer for layer in net.layers}
        conv, head = KERNELS[("layers/conv2d", "first")][0], KERNELS[("layers/dense", "head")][0]
        assert np.array_equal(layers["first"].kernel, np.einsum("hwio->oihw", conv).astype(np.float32))
        assert np.array_equal(layers["head"].weights, head.T.astype(np.float32))
        assert layers["head"].has_bias
        # Square: nothing in the array says which way round it is; the format does.
        square = KERNELS[("layers/dense_1", "square")][0]
        assert np.array_equal(layers["square"].weights, square.T.astype(np.float32))
        assert set(layers) <= {"first", "head", "square", "dw", "lstm_cell", "lstm"}
        assert not any("embedding" in name for name in layers)
        assert any("left out" in note and "embedding" in note for note in net.notes)
        assert not any("adam" in note or "optimizer" in note for note in net.notes)

    def test_archives_and_files_of_weights(self, tmp_path, h5py):
        new_keras(h5py, tmp_path / "a.weights.h5", KERNELS)
        self.check(eie.load(tmp_path / "a.weights.h5"))
        with zipfile.ZipFile(tmp_path / "a.keras", "w") as archive:
            archive.write(tmp_path / "a.weights.h5", "model.weights.h5")
            archive.writestr("config.json", "{}")
        self.check(eie.load(tmp_path / "a.keras"))

    def test_layers_of_other_kinds(self, tmp_path, h5py):
        new_keras(h5py, tmp_path / "a.h5", KERNELS)
        arrays = read_all(tmp_path / "a.h5").arrays
        depthwise = KERNELS[("layers/depthwise_conv2d", "dw")][0]
        assert np.array_equal(arrays["dw.weight"], depthwise.transpose(2, 3, 0, 1))
        kernel, recurrent, bias = KERNELS[("layers/lstm/cell", "lstm_cell")]
        (lstm,) = (layer for layer in eie.load(tmp_path / "a.h5").layers if layer.geometry.kind == "lstm")
        assert np.array_equal(lstm.weights, np.hstack((kernel.T, recurrent.T)).astype(np.float32))
        assert np.array_equal(lstm.bias, bias.astype(np.float32))

    def test_older_files(self, tmp_path, h5py):
        """Variables under their names; classes in the configuration, since layers have names of their own."""
        config = {"config": {"layers": [{"class_name": "Dense", "config": {"name": "square"}},
                                        {"class_name": "Conv2DTranspose", "config": {"name": "up"}}]}}  # fmt: skip
        square = KERNELS[("layers/dense_1", "square")][0]
        with h5py.File(tmp_path / "a.h5", "w") as file:
            file.attrs["model_config"] = json.dumps(config)
            file["model_weights/square/square/kernel:0"] = square
            file["model_weights/square/square/bias:0"] = np.arange(5.0)
            file["model_weights/up/up/kernel:0"] = np.ones((2, 2, 3, 4))
            file["optimizer_weights/adam/m/kernel:0"] = square
        net = eie.load(tmp_path / "a.h5")
        assert np.array_equal(net.layers[0].weights, square.T.astype(np.float32))
        assert any("left out" in note and "up (conv2d_transpose)" in note for note in net.notes)

    def test_links_out_of_the_file_are_not_followed(self, tmp_path, h5py):
        new_keras(h5py, tmp_path / "a.h5", KERNELS)
        for link in (h5py.ExternalLink("a.h5", "/layers"), h5py.SoftLink("/layers")):
            with h5py.File(tmp_path / "b.h5", "w") as file:
                file["layers"] = link
            with pytest.raises(eie.EieError, match="layers is a link, not data of this file"):
                eie.load(tmp_path / "b.h5")
        with h5py.File(tmp_path / "b.h5", "w") as file:
            file.create_dataset("layers/dense/vars/0", (4, 4), "f4", external=[("raw.bin", 0, 64)])
        with pytest.raises(eie.EieError, match="keeps its data in another file"):
            eie.load(tmp_path / "b.h5")

    def test_groups_that_hold_themselves(self, tmp_path, h5py):
        with h5py.File(tmp_path / "b.h5", "w") as file:
            group = file.create_group("layers")
            group["again"] = group
        with pytest.raises(eie.EieError, match="groups nested deeper than 32"):
            eie.load(tmp_path / "b.h5")

    def damaged_heap(self, h5py, path):
        """A heap of texts whose first entry is free space of no size: HDF5 looks behind it for ever."""
        with h5py.File(path, "w") as file:
            file.attrs["model_config"] = "{}" * 200
        content = bytearray(path.read_bytes())
        at = content.find(b"GCOL")
        content[at + 16 : at + 32] = bytes(16)
        path.write_bytes(content)

    def test_a_file_that_the_library_reads_for_ever(self, tmp_path, h5py, monkeypatch):
        self.damaged_heap(h5py, tmp_path / "a.h5")
        monkeypatch.setattr(hdf5, "CPU_S", 0.5)
        with pytest.raises(eie.EieError, match=r"a\.h5: not a usable HDF5 file: damaged: reading it does not end"):
            eie.load(tmp_path / "a.h5")
        with zipfile.ZipFile(tmp_path / "a.keras", "w") as archive:
            archive.write(tmp_path / "a.h5", "model.weights.h5")
        with pytest.raises(eie.EieError, match=r"a\.keras: not a usable HDF5 file: damaged: reading it does not end"):
            eie.load(tmp_path / "a.keras")

    def test_a_file_that_crashes_the_library(self, tmp_path, h5py, monkeypatch):
        new_keras(h5py, tmp_path / "a.h5", KERNELS)
        monkeypatch.setattr(hdf5, "_PROBE", "import os; os.abort()")
        with pytest.raises(eie.EieError, match="damaged: reading it crashes"):
            eie.load(tmp_path / "a.h5")

    def test_a_text_that_states_four_gibibytes(self, tmp_path, h5py):
        """HDF5 takes the memory that a length asks for before it looks at the text."""
        path = tmp_path / "a.h5"
        new_keras(h5py, path, {("layers/dense", "head"): [np.ones((8, 6))]})
        content = bytearray(path.read_bytes())
        # Where the text is said to be: its length, the address of its heap, its number there.
        where = content.find(b"GCOL").to_bytes(8, "little") + (1).to_bytes(4, "little")
        at = content.find((4).to_bytes(4, "little") + where)
        content[at : at + 4] = b"\xff\xff\xff\xfb"
        path.write_bytes(content)
        with pytest.raises(eie.EieError, match=r"a\.h5: .*layers/dense/vars/name: damaged: states a length beyond"):
            eie.load(path)

    def test_a_piece_that_unpacks_to_more_than_its_array(self, tmp_path, h5py, monkeypatch):
        with h5py.File(tmp_path / "a.h5", "w") as file:
            array = file.create_dataset("layers/dense/vars/0", (8, 6), "f4", chunks=(8, 6), compression="gzip")
            array.id.write_direct_chunk((0, 0), zlib.compress(bytes(1 << 28)))
        monkeypatch.setenv("EIE_MEMORY", "32MiB")
        with pytest.raises(eie.EieError, match=r"a\.h5: .* is damaged, or unpacks to more than 33,554,432 bytes"):
            eie.load(tmp_path / "a.h5")

    def test_arrays_as_large_as_the_budget_are_read(self, tmp_path, h5py, monkeypatch):
        array = np.zeros((1024, 8192), np.float32)
        array[0, 0] = 1
        with h5py.File(tmp_path / "a.h5", "w") as file:
            file.create_dataset("layers/dense/vars/0", data=array, chunks=(64, 8192), compression="gzip")
        monkeypatch.setenv("EIE_MEMORY", str(array.nbytes))
        assert hdf5.read_hdf5(tmp_path / "a.h5", "a.h5").arrays["layers/dense/vars/0"].shape == array.shape

    def test_declared_sizes(self, tmp_path, h5py):
        with h5py.File(tmp_path / "b.h5", "w") as file:
            file.create_dataset("layers/dense/vars/0", (1 << 20, 1 << 20), "f4", chunks=(1024, 1024))
        with pytest.raises(eie.EieError, match="unpacks to more than 17,179,869,184 bytes"):
            eie.load(tmp_path / "b.h5")


def test_reading_keras_files_names_the_extra(tmp_path, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "h5py", None)
    (tmp_path / "a.h5").write_bytes(b"\x89HDF\r\n\x1a\n")
    with pytest.raises(eie.EieError, match=r"reading HDF5 files needs h5py: pip install 'eie\[keras\]'"):
        eie.load(tmp_path / "a.h5")


def test_import_stays_light():
    """Formats are imported for the file that needs them."""
    import subprocess
    import sys

    text = "import eie, sys; print([m for m in ('h5py', 'torch', 'onnx') if m in sys.modules])"
    assert subprocess.run([sys.executable, "-c", text], capture_output=True, text=True, check=True).stdout == "[]\n"


def test_the_files_that_were_read_are_stated(tmp_path):
    sharded(tmp_path)
    names = [path.name for path in read_all(tmp_path).files]
    assert names == [
        "model.safetensors.index.json",
        "model-00001-of-00002.safetensors",
        "model-00002-of-00002.safetensors",
    ]
