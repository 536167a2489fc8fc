"""Checkpoints that went wrong once, each made here: the networks they are, in `eie.load` and on the command line."""

import json

import numpy as np
import pytest
from safetensors.numpy import save_file

import eie
from eie.compression.share import share
from eie.importers.suspicions import near_zero, vanishing

RNG = np.random.default_rng(4)


def normal(*shape):
    return RNG.standard_normal(shape).astype(np.float32)


def saved(tmp_path, arrays, name="net.npz"):
    path = tmp_path / name
    np.savez(path, **arrays) if path.suffix == ".npz" else save_file(arrays, path)
    return path


def shapes(network):
    return {layer.name: layer.matrix.shape for layer in network.layers}


def gpt(**embeddings):
    """A block of GPT-2, stored (inputs, outputs), with its tables."""
    block = {
        "h.0.attn.c_attn.weight": normal(64, 192),
        "h.0.attn.c_attn.bias": normal(192),
        "h.0.attn.c_proj.weight": normal(64, 64),
        "h.0.attn.c_proj.bias": normal(64),
        "h.0.mlp.c_fc.weight": normal(64, 256),
        "h.0.mlp.c_fc.bias": normal(256),
        "h.0.mlp.c_proj.weight": normal(256, 64),
        "h.0.mlp.c_proj.bias": normal(64),
    }
    return block | {"wte.weight": normal(900, 64), "wpe.weight": normal(32, 64)} | embeddings


def test_a_small_language_model_is_its_layers(tmp_path):
    """Tables of 900 and 32 rows took part in every figure once."""
    network = eie.load(saved(tmp_path, gpt(), "net.safetensors"))
    assert shapes(network) == {
        "h.0.attn.c_attn": (192, 64),
        "h.0.attn.c_proj": (64, 64),
        "h.0.mlp.c_fc": (256, 64),
        "h.0.mlp.c_proj": (64, 256),
    }
    notes = " ".join(network.notes)
    assert "wte.weight (900, 64)" in notes
    assert "wpe.weight (32, 64)" in notes


def test_moments_averages_and_gradients_are_left_out(tmp_path):
    weight = normal(40, 30)
    arrays = {"fc1.weight": weight, "fc1.bias": normal(40), "optimizer.fc1.weight.exp_avg": weight * 0.1}
    arrays |= {"ema.fc1.weight": weight, "fc1.weight.grad": weight * 0.01}
    network = eie.load(saved(tmp_path, arrays))
    assert shapes(network) == {"fc1": (40, 30)}
    for name in ("optimizer.fc1.weight.exp_avg", "ema.fc1.weight", "fc1.weight.grad"):
        assert any(note.startswith("left out") and name in note for note in network.notes)


def test_a_keras_layer_has_the_cycles_of_its_ten_outputs(tmp_path):
    """Read the other way round, 784 outputs of 10 inputs took 57 cycles."""
    path = saved(tmp_path, {"dense/kernel:0": normal(784, 10), "dense/bias:0": normal(10)})
    layer = eie.simulate(eie.load(path), np.ones(784, np.float32)).layers[0]
    assert len(layer.outputs) == 10
    # A column a cycle at least.
    assert layer.cycles >= 784


def test_wrapped_masks_and_models_meet(tmp_path):
    weight, mask = normal(6, 4), np.triu(np.ones((6, 4)))
    model = saved(tmp_path, {"_orig_mod.fc.weight": weight}, "net.npz")
    masks = saved(tmp_path, {"module.fc.weight": mask}, "mask.npz")
    layer = eie.load(model, mask=masks).layers[0]
    assert layer.name == "fc"
    np.testing.assert_array_equal(layer.weights, weight * mask.astype(np.float32))


def test_a_toml_model_may_name_arrays_with_their_wrapper(tmp_path):
    saved(tmp_path, {"_orig_mod.0.weight": normal(6, 4)}, "w.npz")
    text = 'weights = "w.npz"\n[[layer]]\nname = "a"\nweights = "{}"\n'
    for name in ("_orig_mod.0.weight", "0.weight"):
        (tmp_path / "m.toml").write_text(text.format(name))
        assert shapes(eie.load(tmp_path / "m.toml")) == {"a": (6, 4)}


def test_a_network_of_eies_own_is_not_second_guessed(tmp_path):
    """Its names are layers, whatever they sound like, and it says itself what is what."""
    layers = (eie.Layer.from_weights("module.wte", normal(6, 4)), eie.Layer.from_weights("module.pe", normal(6, 6)))
    eie.save(eie.Network(name="n", layers=layers, sequential=True), tmp_path / "n.npz")
    assert shapes(eie.load(tmp_path / "n.npz")) == {"module.wte": (6, 4), "module.pe": (6, 6)}
    with pytest.raises(eie.EieError, match="eie wrote it and says in it what its layers are"):
        eie.load(tmp_path / "n.npz", exclude="module.pe")


def test_spectral_normalisation_is_refused_with_its_own_call(tmp_path):
    arrays = {"fc.weight_orig": normal(4, 6), "fc.weight_u": normal(4), "fc.weight_v": normal(6)}
    with pytest.raises(
        eie.EieError, match=r"spectrally normalised: call torch.nn.utils.remove_spectral_norm\(module\)"
    ):
        eie.load(saved(tmp_path, arrays))


# -- suspicions -------------------------------------------------------------------------------------------------------


def drifted(density=0.08, size=1e-6):
    weights = normal(40, 30)
    small = RNG.random((40, 30)) >= density
    weights[small] = (RNG.standard_normal(small.sum()) * size).astype(np.float32)
    return weights, ~small


def test_drifted_weights_are_noted_and_pruned_on_demand(tmp_path):
    weights, kept = drifted()
    path = saved(tmp_path, {"fc1.weight": weights})
    network = eie.load(path)
    assert network.layers[0].weight_density == 1
    (note,) = (note for note in network.notes if "of zero" in note)
    assert "fc1 (9" in note
    advice = note.partition("--threshold ")[2].split()[0]
    # What the levels make of them in proportion is no number worth its digits.
    assert "median over 1,000 %, worst over 1,000 %, the smallest" in share(network.layers[0])[1].note
    for threshold in (1e-5, float(advice)):
        pruned = eie.load(path, threshold=threshold)
        np.testing.assert_array_equal(pruned.layers[0].weights != 0, kept)
        assert not any("of zero" in note for note in pruned.notes)
    assert any(
        note.startswith("weights below 1e-05 pruned: fc1 100.0 % to 8") for note in eie.load(path, threshold=1e-5).notes
    )


@pytest.mark.parametrize("weights", ["normal", "laplace", "outlier", "pruned", "few levels", "small"])
def test_ordinary_weights_raise_no_suspicion(weights):
    values = {
        "normal": normal(200, 100),
        "laplace": RNG.laplace(size=(200, 100)).astype(np.float32),
        "outlier": np.where(np.arange(20000).reshape(200, 100) == 77, 1e4, normal(200, 100) * 0.1),
        "pruned": normal(200, 100) * (RNG.random((200, 100)) < 0.05),
        "small": np.where(np.arange(36).reshape(6, 6) < 4, 1e-9, 1.0),
        "few levels": RNG.choice([0.001, 1.0], (200, 100)),
    }[weights]
    assert near_zero(eie.Network.of(eie.Layer.from_weights("a", values))) == []


def test_what_no_layer_can_hold_names_the_file(tmp_path):
    path = saved(tmp_path, {"fc.weight": np.full((4, 6), np.nan, np.float32)})
    with pytest.raises(eie.EieError, match=rf"^{path.name}: layer 'fc': weights\[0, 0\] = nan: must be finite"):
        eie.load(path)


@pytest.mark.parametrize("threshold", [0, -1.0, float("nan"), float("inf"), "1"])
def test_a_threshold_is_a_positive_number(tmp_path, threshold):
    with pytest.raises(eie.EieError, match="threshold=.*must be a (positive )?number"):
        eie.load(saved(tmp_path, {"fc.weight": normal(4, 6)}), threshold=threshold)


def test_a_threshold_that_empties_a_layer_is_refused(tmp_path):
    path = saved(tmp_path, {"fc1.weight": normal(6, 4), "fc2.weight": normal(4, 6) * 1e-3})
    with pytest.raises(eie.EieError, match=r"threshold=0\.1: leaves no weight in fc2"):
        eie.load(path, threshold=0.1)


def test_a_threshold_applies_to_other_formats_and_not_to_shared_weights(tmp_path):
    codes = {"codes": np.array([[0, 1, 2]], np.uint8), "codebook": np.array([0, 0.5, 1e-9])}
    with pytest.raises(eie.EieError, match="are weight-shared: share after pruning"):
        eie.load(saved(tmp_path, codes), threshold=1e-3)
    network = eie.load("lenet-300-100", threshold=1e-2)
    assert all(abs(layer.matrix.data).min() >= 1e-2 for layer in network.layers)


def test_identical_layers_are_told(tmp_path):
    weight = normal(6, 6)
    network = eie.load(saved(tmp_path, {"a.weight": weight, "b.weight": weight, "c.weight": normal(6, 6)}))
    (note,) = (note for note in network.notes if "equal arrays" in note)
    assert note.endswith(": a and b")
    # Ones are ones, not copies.
    constant = eie.load(saved(tmp_path, {"a.weight": np.ones((6, 6)), "b.weight": np.ones((6, 6))}))
    assert not any("equal arrays" in note for note in constant.notes)


@pytest.mark.torch
def test_a_torch_file_tells_tied_from_copied(tmp_path):
    torch = pytest.importorskip("torch", reason="needs the torch extra")
    weight = torch.from_numpy(normal(6, 6))
    torch.save({"a.weight": weight, "b.weight": weight, "c.weight": weight.clone()}, tmp_path / "m.pt")
    network = eie.load(tmp_path / "m.pt")
    notes = network.notes
    assert "one array under two names (tied): a and b" in notes
    # A sequence tells how often each runs.
    assert "a has the weights of b too: one layer" in notes
    assert [layer.name for layer in network.layers] == ["a", "c"]
    assert list(network.graph.uses) == ["a", "a#2", "c"]
    assert any(note.startswith("equal arrays (copied") and note.endswith(": a and c, b and c") for note in notes)


def test_weights_that_vanish_in_float32(tmp_path):
    weights = RNG.standard_normal((4, 6))
    weights[1, :3] = 1e-50
    network = eie.load(saved(tmp_path, {"fc.weight": weights}))
    assert "weights that are zero in float32: fc (3)" in network.notes
    assert network.layers[0].matrix.nnz == 21
    # The smallest that float32 has is kept; half of it rounds to zero.
    smallest = float(np.finfo(np.float32).smallest_subnormal)
    assert vanishing({"a": np.array([smallest])}) == []
    assert len(vanishing({"a": np.array([smallest / 2])})) == int(np.float32(smallest / 2) == 0)


@pytest.mark.parametrize("with_index", [False, True])
def test_a_lone_shard_says_so(tmp_path, with_index):
    name = "part-a.safetensors" if with_index else "model-00001-of-00002.safetensors"
    path = saved(tmp_path, {"model.layers.0.mlp.up_proj.weight": normal(8, 4)}, name)
    if with_index:
        table = {"weight_map": {"x": "part-a.safetensors", "y": "part-b.safetensors"}}
        (tmp_path / "x.index.json").write_text(json.dumps(table))
    notes = eie.load(path).notes
    wanted = "x.index.json names part-a.safetensors as 1 of 2 files" if with_index else "is shard 1 of 2"
    assert sum(wanted in note for note in notes) == 1


@pytest.mark.parametrize("text", ["", "[]", '{"weight_map": 3}', "[" * 100000])
def test_a_damaged_index_beside_a_file_is_no_reason_to_fail(tmp_path, text):
    (tmp_path / "x.index.json").write_text(text)
    assert shapes(eie.load(saved(tmp_path, {"fc.weight": normal(4, 6)}))) == {"fc": (4, 6)}


# -- the command line -------------------------------------------------------------------------------------------------


def test_options_reach_every_command_that_reads_a_model(cli, tmp_path):
    saved(tmp_path, {"fc.weight": normal(6, 4), "wte.weight": normal(5, 4), "tail.weight": normal(3, 6)}, "m.npz")
    for command in (
        ("run",),
        ("inspect",),
        ("compress",),
        ("compile", "-o", "p.safetensors"),
        ("compare", "--baseline", "dense"),
    ):
        code, out, err = cli(
            command[0], "m.npz", *command[1:], "--layers", "wte*", "--exclude", "tail", "--threshold", "1e-9"
        )
        assert code == 0, (command, err)
        assert "wte" in out + err
    code, _, err = cli("run", "m.npz", "--transpose", "tial")
    assert code == 1
    assert "transpose='tial': matches no array and no layer; near it: tail" in err


def test_a_toml_model_says_it_itself(cli):
    code, _, err = cli("run", "lenet-300-100", "--transpose", "ip1")
    assert code == 1
    assert 'a .toml model names each layer\'s arrays, and order = "in,out" says how they are stored' in err


def test_a_trace_is_recorded_of_the_model_as_it_was_read(cli, tmp_path):
    saved(tmp_path, {"fc.weight": normal(6, 4), "pe": normal(5, 4)}, "m.npz")
    np.save(tmp_path / "x.npy", np.ones((2, 6), np.float32))
    code, _, err = cli("trace", "record", "m.npz", "x.npy", "-o", "t.npz", "--transpose", "fc")
    assert code == 0, err
    assert eie.Trace.load(tmp_path / "t.npz").layers["fc"].bits.shape == (2, 1)


# -- the MIT lab's VGG ------------------------------------------------------------------------------------------------

# Channels of its eight convolutions, pools between.
VGG = (64, 128, "M", 256, 256, "M", 512, 512, "M", 512, 512, "M")


def vgg(scale):
    """Weights of the lab's network by its names: conv0 and bn0 to conv7 and bn7, one classifier."""
    state, channels, count = {}, 3, 0
    for size in VGG:
        if size == "M":
            continue
        out = size // scale
        state[f"backbone.conv{count}.weight"] = normal(out, channels, 3, 3) * (RNG.random((out, channels, 3, 3)) < 0.5)
        bn = {
            "weight": RNG.random(out) + 0.5,
            "bias": RNG.standard_normal(out),
            "running_mean": RNG.standard_normal(out),
        }
        bn["running_var"] = RNG.random(out) + 0.5
        state |= {f"backbone.bn{count}.{part}": values.astype(np.float32) for part, values in bn.items()}
        channels, count = out, count + 1
    return state | {"classifier.weight": normal(10, channels), "classifier.bias": normal(10)}


def vgg_onnx(state):
    """The same as exporters write it, in evaluation: batch normalisation inside the convolutions."""
    onnx_models = pytest.importorskip("onnx_models", reason="needs the onnx extra")
    nodes, weights, at, count = [], {}, "x", 0
    for size in VGG:
        if size == "M":
            nodes.append(onnx_models.node("MaxPool", [at], [f"p{count}"], kernel_shape=[2, 2], strides=[2, 2]))
            at = f"p{count}"
            continue
        conv, bn = f"backbone.conv{count}", f"backbone.bn{count}"
        gain = state[f"{bn}.weight"] / np.sqrt(state[f"{bn}.running_var"] + 1e-5)
        weights[f"{conv}.weight"] = (state[f"{conv}.weight"] * gain[:, None, None, None]).astype(np.float32)
        weights[f"{conv}.bias"] = (state[f"{bn}.bias"] - gain * state[f"{bn}.running_mean"]).astype(np.float32)
        nodes.append(onnx_models.node("Conv", [at, f"{conv}.weight", f"{conv}.bias"], [f"c{count}"], pads=[1, 1, 1, 1]))
        nodes.append(onnx_models.node("Relu", [f"c{count}"], [f"r{count}"]))
        at, count = f"r{count}", count + 1
    nodes.append(onnx_models.node("ReduceMean", [at], ["mean"], axes=[2, 3], keepdims=0))
    nodes.append(onnx_models.node("Gemm", ["mean", "classifier.weight", "classifier.bias"], ["y"], transB=1))
    weights |= {key: state[key] for key in ("classifier.weight", "classifier.bias")}
    return onnx_models.model(nodes, {"x": ["n", 3, 32, 32]}, {"y": ["n", 10]}, weights, opset=13)


def test_the_labs_vgg_is_the_same_as_a_state_dict_and_as_onnx(tmp_path):
    onnx = pytest.importorskip("onnx", reason="needs the onnx extra")
    state = vgg(scale=16)
    onnx.save(vgg_onnx(state), tmp_path / "vgg.onnx")
    named, graph = eie.load(saved(tmp_path, state)), eie.load(tmp_path / "vgg.onnx")
    assert [layer.name for layer in named.layers] == [layer.name for layer in graph.layers]
    assert len(named.layers) == 9
    for ours, theirs in zip(named.layers, graph.layers, strict=True):
        assert ours.geometry.weight_shape == theirs.geometry.weight_shape
        np.testing.assert_allclose(ours.weights, theirs.weights, rtol=1e-5, atol=1e-7)
        np.testing.assert_array_equal(ours.weights != 0, theirs.weights != 0)
        np.testing.assert_allclose(ours.bias, theirs.bias, rtol=1e-4, atol=1e-6)
    assert any(
        note.startswith("batch normalisation folded") and "backbone.bn0 into backbone.conv0" in note
        for note in named.notes
    )
