"""What each array of a state dict is taken for, by kind of file; every file is made here, of random numbers."""

import string

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import eie
from eie.importers.roles.asked import Asked
from eie.importers.roles.chain import numbering
from eie.importers.roles.decide import decide
from eie.importers.roles.prefixes import stripped
from eie.importers.tensors import network_from

RNG = np.random.default_rng(10)


def normal(*shape):
    return RNG.standard_normal(shape)


def file(**shapes):
    """Arrays of normal numbers; double underscores are dots."""
    return {key.replace("__", "."): RNG.standard_normal(shape).astype(np.float32) for key, shape in shapes.items()}


def norm(name, size):
    """A batch normalisation's arrays, with a variance that is none."""
    parts = {f"{name}.{part}": RNG.random(size).astype(np.float32) + 0.5 for part in ("weight", "bias", "running_mean")}
    variance = RNG.random(size).astype(np.float32) + 0.5
    return parts | {f"{name}.running_var": variance, f"{name}.num_batches_tracked": np.array(7)}


def net(arrays, name="net", **asked):
    return network_from(arrays, name, f"{name}.npz", Asked.of(**asked))


def unwrapped(arrays):
    names = stripped(arrays)
    return {names[key]: array for key, array in arrays.items()}


def shapes(network):
    """Layer to (outputs, inputs), in running order."""
    return {layer.name: layer.matrix.shape for layer in network.layers}


def roles(arrays, stem="net"):
    return {key: decision.role for key, decision in decide(arrays, stem).decisions.items()}


# -- what is no layer -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("key", "shape", "role"),
    [
        ("wte.weight", (500, 16), "embedding"),
        ("model.embed_tokens.weight", (64, 16), "embedding"),
        ("bert.embeddings.word_embeddings.weight", (300, 16), "embedding"),
        ("token_embedding_table.weight", (65, 16), "embedding"),
        ("tok.weight", (65, 16), "embedding"),
        ("shared.weight", (65, 16), "embedding"),
        ("embs.0.weight", (7, 4), "embedding"),
        ("embedding/embeddings:0", (65, 16), "embedding"),
        ("Embed_0/embedding", (65, 16), "embedding"),
        ("wpe.weight", (64, 16), "position"),
        ("bert.embeddings.position_embeddings.weight", (64, 16), "position"),
        ("attention.relative_attention_bias.weight", (32, 4), "position"),
        ("pe", (50, 16), "position"),
        ("pos_embed", (1, 17, 16), "position"),
        ("rotary_emb.inv_freq", (8,), "position"),
        ("attn.relative_position_bias_table", (169, 4), "position"),
        ("causal", (8, 8), "mask"),
        ("heads.0.tril", (8, 8), "mask"),
        ("attn_mask", (4, 9, 9), "mask"),
        ("attn.bias", (1, 1, 8, 8), "mask"),
        ("queue", (16, 64), "queue"),
        ("optimizer.fc.weight.exp_avg", (4, 6), "moment"),
        ("state.0.exp_avg_sq", (4, 6), "moment"),
        ("Adam/m/dense/kernel:0", (6, 4), "moment"),
        ("fc/weights/Adam_1", (6, 4), "moment"),
        ("opt_state/0/mu/Dense_0/kernel", (6, 4), "moment"),
        ("fc.weight.grad", (4, 6), "gradient"),
        ("ema.fc.weight", (4, 6), "ema"),
        ("model_ema.fcweight", (4, 6), "ema"),
        ("bn.running_mean", (6,), "statistic"),
        ("fc.activation_post_process.min_val", (2,), "statistic"),
        ("fc.weight_scale", (4, 1), "scale"),
        ("fc.scales", (2, 16), "scale"),
        ("ls1.gamma", (16,), "scale"),
        ("fc.qweight", (2, 16), "packed"),
        ("fc.lora_A.weight", (2, 6), "adapter"),
        ("cls_token", (1, 1, 16), "token"),
        ("ln_1.weight", (16,), "norm"),
        ("norm.weight", (16, 1, 1), "norm"),
        ("mel_filters", (20, 40), "table"),
        ("video.weight", (4, 3, 2, 2, 2), "volume"),
        ("something", (4, 6), "unnamed"),
        ("something", (6,), "small"),
    ],
)
def test_what_is_no_layer(key, shape, role):
    arrays = {"fc.weight": RNG.standard_normal((4, 6)), key: RNG.standard_normal(shape)}
    assert roles(arrays) == {"fc.weight": "layer", key: role}


@pytest.mark.parametrize(
    "key",
    [
        # Named after an embedding, and multiplied all the same.
        "lm_head.weight",
        "embed_out.weight",
        "patch_embed.proj.weight",
        "time_emb_proj.weight",
        "embedding_projection.weight",
        "pos_proj.weight",
        "encoder.layers.0.linear_pos.weight",
        "position_wise_feed_forward.w_1.weight",
        # Numbered, without a bias.
        "0.weight",
        # Ordinary layers whose names hold one of the words.
        "embark.weight",
        "query.weight",
        "normal.weight",
        "masking.weight",
        "momentary.weight",
    ],
)
def test_what_only_sounds_like_it(key):
    assert roles({key: RNG.standard_normal((4, 6))}) == {key: "layer"}


def test_a_bias_makes_a_layer_of_what_is_named_as_an_embedding():
    arrays = file(time_embed__0__weight=(32, 8), time_embed__0__bias=(32,), label_emb__weight=(10, 32))
    assert roles(arrays) == {
        "time_embed.0.weight": "layer",
        "time_embed.0.bias": "layer",
        "label_emb.weight": "embedding",
    }


def test_a_causal_mask_is_known_by_its_values():
    arrays = file(fc__weight=(4, 6)) | {"look": np.tril(np.ones((5, 5), np.float32))}
    assert roles(arrays)["look"] == "mask"
    # By values alone: one number that is another, and it is no mask.
    arrays["look"][4, 2] = 0.5
    assert roles(arrays)["look"] == "unnamed"


def test_elementwise_weights_are_a_normalisation():
    arrays = file(conv__weight=(8, 3, 3, 3), ln__weight=(8, 6, 6), ln__bias=(8, 6, 6))
    assert roles(arrays) == {"conv.weight": "layer", "ln.weight": "norm", "ln.bias": "norm"}


def test_the_heads_table_under_another_name_is_an_embedding():
    arrays = file(lm_head__weight=(50, 8), fc__weight=(8, 8))
    arrays["entrance.weight"] = arrays["lm_head.weight"].copy()
    network = net(arrays)
    assert list(shapes(network)) == ["fc", "lm_head"]
    assert any("counted once: lm_head has the weights of entrance.weight" in note for note in network.notes)


def test_averages_alone_are_the_model():
    assert list(shapes(net(file(ema__fc__weight=(4, 6))))) == ["ema.fc"]


@pytest.mark.parametrize(
    ("copy", "weights"),
    [
        ("encoder_k", "encoder_q"),
        ("teacher", "student"),
        ("momentum_encoder", "base_encoder"),
        ("target_encoder", "encoder"),
    ],
)
def test_what_follows_another_network_is_its_average(copy, weights):
    """MoCo, DINO and their kin keep both in one file, and train one of them."""
    arrays = {f"{copy}.fc.weight": normal(4, 6), f"{weights}.fc.weight": normal(4, 6), f"{copy}.fc.bias": normal(4)}
    arrays[f"{weights}.fc.bias"] = normal(4)
    assert list(shapes(net(arrays))) == [f"{weights}.fc"]
    # Alone it is the model, and of another size a network of its own.
    assert list(shapes(net({f"{copy}.fc.weight": normal(4, 6)}))) == [f"{copy}.fc"]
    assert len(net({f"{copy}.fc.weight": normal(8, 6), f"{weights}.fc.weight": normal(4, 6)}).layers) == 2


@pytest.mark.parametrize(("joined", "last"), [("qkv", "proj"), ("query_key_value", "dense"), ("Wqkv", "out_proj")])
def test_joined_projections_run_before_what_follows_them(joined, last):
    arrays = file(**{f"blocks__0__attn__{last}__weight": (8, 8), f"blocks__0__attn__{joined}__weight": (24, 8)})
    assert [layer.name.split(".")[-1] for layer in net(arrays).layers] == [joined, last]


def test_each_reason_is_one_note_with_sizes():
    arrays = file(fc__weight=(4, 6), wte__weight=(50, 8), wpe__weight=(9, 8))
    arrays |= {f"blocks.{i}.ln.weight": np.ones(8) for i in range(12)}
    notes = [note for note in net(arrays).notes if note.startswith("left out")]
    assert notes == [
        "left out, embeddings, which are looked up and not multiplied (400 numbers): wte.weight (50, 8)",
        "left out, normalisations (96 numbers): "
        + ", ".join(f"blocks.{i}.ln (weight (8,))" for i in range(8))
        + " and 4 more",
        "left out, position tables (72 numbers): wpe.weight (9, 8)",
    ]


def test_a_file_of_tables_says_what_they_are():
    with pytest.raises(
        eie.EieError, match=r"emb.npz: holds no layer: left out, embeddings.*weight \(1000, 32\).*--layers"
    ):
        net(file(weight=(1000, 32)), "emb")


def test_a_tall_weight_alone_is_asked_for():
    """A Linear without bias and an Embedding write the same file: one array called weight."""
    arrays = file(weight=(1000, 32))
    with pytest.raises(eie.EieError, match=r"'weight' \(1000, 32\) may be an Embedding.*say --layers weight if it is"):
        net(arrays)
    assert shapes(net(arrays, layers="weight")) == {"net": (1000, 32)}
    assert shapes(net(file(weight=(40, 30)))) == {"net": (40, 30)}


# -- which way round --------------------------------------------------------------------------------------------------


def test_keras_is_inputs_first_and_keeps_its_bias():
    network = net({"dense/kernel:0": RNG.standard_normal((784, 10)), "dense/bias:0": RNG.standard_normal(10)})
    assert shapes(network) == {"dense": (10, 784)}
    assert network.layers[0].has_bias


def test_a_square_matrix_goes_with_its_file():
    arrays = file(
        h__0__attn__c_attn__weight=(32, 96),
        h__0__attn__c_attn__bias=(96,),
        h__0__attn__c_proj__weight=(32, 32),
        h__0__attn__c_proj__bias=(32,),
        h__0__mlp__c_fc__weight=(32, 128),
    )
    network = net(arrays)
    assert shapes(network) == {"h.0.attn.c_attn": (96, 32), "h.0.attn.c_proj": (32, 32), "h.0.mlp.c_fc": (128, 32)}
    assert np.array_equal(network.layers[1].weights, arrays["h.0.attn.c_proj.weight"].T)


def test_gpt2s_names_do_not_decide_alone():
    """The same names over torch's Linear: the wider side of c_attn is the outputs either way."""
    arrays = file(
        h__0__attn__c_attn__weight=(96, 32), h__0__attn__c_proj__weight=(32, 32), h__0__mlp__c_fc__weight=(128, 32)
    )
    network = net(arrays)
    assert np.array_equal(network.layers[1].weights, arrays["h.0.attn.c_proj.weight"])
    turned = net({key: array.T for key, array in arrays.items()})
    assert [layer.weights.tolist() for layer in turned.layers] == [layer.weights.tolist() for layer in network.layers]


def test_a_head_stored_otherwise_keeps_its_own_way():
    """GPT-2's Conv1D beside a Linear: two conventions in one file, told apart by names."""
    arrays = file(h__0__mlp__c_fc__weight=(8, 32), h__0__mlp__c_fc__bias=(32,), lm_head__weight=(50, 8))
    assert shapes(net(arrays)) == {"h.0.mlp.c_fc": (32, 8), "lm_head": (50, 8)}


def test_a_bias_is_believed_before_a_name():
    network = net({"dense/kernel": RNG.standard_normal((10, 784)), "dense/bias": np.ones(10)})
    assert shapes(network) == {"dense": (10, 784)}


def test_what_contradicts_itself_is_said():
    arrays = file(a__weight=(4, 6), a__bias=(4,), b__weight=(4, 6), b__bias=(6,), c__weight=(5, 5))
    network = net(arrays)
    assert shapes(network) == {"a": (4, 6), "b": (6, 4), "c": (5, 5)}
    assert any("contradict each other" in note and note.endswith(": c") for note in network.notes)


def test_unnamed_arrays_are_weights_and_biases_in_turn():
    arrays = {
        f"arr_{i}": RNG.standard_normal(shape)
        for i, shape in enumerate([(20, 12), (12,), (12, 12), (12,), (12, 5), (5,)])
    }
    network = net(arrays)
    assert shapes(network) == {"arr_0": (12, 20), "arr_2": (12, 12), "arr_4": (5, 12)}
    assert all(layer.has_bias for layer in network.layers)


def test_parallel_matrices_are_not_turned_because_they_would_chain():
    """Bare ones are: numpy's users write (inputs, outputs), and nothing else is known of theirs."""
    assert shapes(net(file(left__weight=(5, 3), right__weight=(3, 2)))) == {"left": (5, 3), "right": (3, 2)}
    assert shapes(net(file(left=(5, 3), right=(3, 2)))) == {"left": (3, 5), "right": (2, 3)}


# -- chains -----------------------------------------------------------------------------------------------------------


def test_parallel_projections_are_no_chain():
    names = ("q_proj", "k_proj", "v_proj", "o_proj")
    network = net({f"self_attn.{name}.weight": RNG.standard_normal((16, 16)) for name in sorted(names)})
    assert not network.sequential
    assert [layer.name for layer in network.layers] == [f"self_attn.{name}" for name in names]
    assert not any(layer.relu for layer in network.layers)
    assert any(
        note == "parallel, not a sequence: self_attn.q_proj, self_attn.k_proj, self_attn.v_proj"
        for note in network.notes
    )


@pytest.mark.parametrize(
    ("names", "is_row"),
    [
        (["0", "2", "4"], True),
        (["fc1", "fc2", "fc3"], True),
        (["layer0", "layer1"], True),
        (["dense", "dense_1", "dense_2"], True),
        (["layers.0.linear", "layers.1.linear"], True),
        (["fc1", "fc2", "out"], True),
        (["net.0", "net.2", "head"], True),
        (["a", "b", "c"], True),
        (["a", "c"], False),
        (["b", "c"], False),
        (["encoder", "decoder"], False),
        (["encoder.0", "decoder.0"], False),
        (["blocks.0.fc1", "blocks.0.fc2", "blocks.1.fc1"], False),
        (["feed_forward.w1", "feed_forward.w2", "feed_forward.w3"], False),
        (["layers.0.gate_proj", "layers.1.gate_proj"], False),
        (["fc1", "fc01"], False),
        (["fc1"], False),
    ],
)
def test_numbered_rows(names, is_row):
    assert (numbering(names) is not None) == is_row


def test_shapes_that_chain_are_not_enough():
    network = net(file(first__weight=(5, 7), second__weight=(3, 5)))
    assert not network.sequential
    assert any("no names say" in note for note in network.notes)
    chained = net(file(fc1__weight=(5, 7), fc2__weight=(3, 5)))
    assert chained.sequential
    assert [layer.relu for layer in chained.layers] == [True, False]
    assert any("ReLU between the layers: numbered fc1, fc2" in note for note in chained.notes)


# -- convolutions -----------------------------------------------------------------------------------------------------


def convolve(maps, kernel, groups):
    """A convolution of stride 1 without pads, by its definition."""
    out, _, rows, columns = kernel.shape
    height, width = maps.shape[2] - rows + 1, maps.shape[3] - columns + 1
    result = np.zeros((len(maps), out, height, width))
    per_group, per_out = maps.shape[1] // groups, out // groups
    for o in range(out):
        part = maps[:, o // per_out * per_group :][:, :per_group]
        for y in range(height):
            for x in range(width):
                result[:, o, y, x] = (part[:, :, y : y + rows, x : x + columns] * kernel[o]).sum(axis=(1, 2, 3))
    return result


def transposed(maps, kernel, groups):
    """A transposed convolution of stride 1, by its definition: every input adds a window to the outputs."""
    into, per_group, rows, columns = kernel.shape
    result = np.zeros((len(maps), per_group * groups, maps.shape[2] + rows - 1, maps.shape[3] + columns - 1))
    for i in range(into):
        first = i // (into // groups) * per_group
        for y in range(maps.shape[2]):
            for x in range(maps.shape[3]):
                window = maps[:, i, y, x][:, None, None, None] * kernel[i]
                result[:, first : first + per_group, y : y + rows, x : x + columns] += window
    return result


def test_keras_kernels_have_their_channels_last():
    arrays = {"conv2d/kernel:0": RNG.standard_normal((3, 3, 1, 16)), "conv2d/bias:0": RNG.standard_normal(16)}
    layer = net(arrays).layers[0]
    assert (layer.geometry.out_channels, layer.geometry.in_channels, layer.geometry.kernel) == (16, 1, (3, 3))
    np.testing.assert_allclose(layer.kernel[:, 0], np.moveaxis(arrays["conv2d/kernel:0"][:, :, 0], -1, 0), rtol=1e-6)


def test_a_bias_shows_channels_last_without_keras_names():
    assert net({"W0": RNG.standard_normal((5, 5, 3, 8)), "b0": np.ones(8)}).layers[0].geometry.weight_shape == (
        8,
        3,
        5,
        5,
    )


def test_keras_separable_convolutions_are_two():
    arrays = {
        "sep/depthwise_kernel:0": RNG.standard_normal((3, 3, 4, 2)),
        "sep/pointwise_kernel:0": RNG.standard_normal((1, 1, 8, 6)),
        "sep/bias:0": np.ones(6),
    }
    depthwise, pointwise = net(arrays).layers
    assert (depthwise.name, depthwise.geometry.groups, depthwise.geometry.weight_shape) == (
        "sep.depthwise",
        4,
        (8, 1, 3, 3),
    )
    assert (pointwise.name, pointwise.geometry.weight_shape, pointwise.has_bias) == (
        "sep.pointwise",
        (6, 8, 1, 1),
        True,
    )
    # Channel 2's second output, by Keras' axes.
    np.testing.assert_allclose(depthwise.kernel[2 * 2 + 1, 0], arrays["sep/depthwise_kernel:0"][:, :, 2, 1], rtol=1e-6)


def test_one_input_a_group_is_depthwise():
    arrays = {
        "0.weight": RNG.standard_normal((8, 1, 3, 3)),
        "0.bias": np.ones(8),
        "2.weight": RNG.standard_normal((16, 8, 1, 1)),
    }
    first, second = net(arrays).layers
    assert (first.geometry.groups, first.geometry.in_channels, second.geometry.groups) == (8, 8, 1)


@pytest.mark.parametrize(
    ("arrays", "groups"),
    [
        ({"conv1.weight": (8, 1, 3, 3), "conv2.weight": (16, 8, 3, 3)}, 1),
        ({"conv1.weight": (8, 1, 3, 3), "fc.weight": (10, 200)}, 1),
        ({"conv_dw.weight": (8, 1, 3, 3), "fc.weight": (10, 200)}, 8),
        ({"block.0.weight": (8, 1, 3, 3)}, 8),
        ({"a.conv.weight": (8, 3, 3, 3), "b.conv.weight": (8, 1, 3, 3)}, 8),
        # By the alphabet in the middle of a U-Net, and the only one of its kind.
        ({"down.conv.weight": (16, 8, 3, 3), "enter.conv.weight": (8, 1, 3, 3), "up.conv.weight": (8, 16, 3, 3)}, 1),
        # Two alike are no entrance.
        ({"a.conv.weight": (8, 1, 3, 3), "b.conv.weight": (8, 1, 3, 3)}, 8),
        # Windows over the words of a text, side by side.
        ({"convs.0.weight": (8, 1, 3, 30), "convs.1.weight": (8, 1, 4, 30)}, 1),
    ],
)
def test_a_convolution_may_read_one_channel(arrays, groups):
    network = net({key: RNG.standard_normal(shape) for key, shape in arrays.items()})
    narrow = [layer for layer in network.layers if layer.geometry.takes_maps and layer.geometry.weight_shape[1] == 1]
    assert narrow
    assert {layer.geometry.groups for layer in narrow} == {groups}


@pytest.mark.parametrize(("name", "groups"), [("conv2d_3", 1), ("depthwise_conv2d", 8)])
def test_keras_names_say_which_is_depthwise(name, groups):
    """Also where its own format was turned to (out, in, kh, kw), as from a .keras file."""
    arrays = {f"{name}.weight": normal(8, 1, 3, 3)}
    assert network_from(arrays, "net", "net.keras", upright=True).layers[0].geometry.groups == groups


def test_recorded_pictures_of_one_channel_decide():
    arrays = {"conv.weight": RNG.standard_normal((8, 1, 3, 3)), "act": RNG.random((2, 1, 6, 6))}
    assert net(arrays).layers[0].geometry.groups == 1


@pytest.mark.parametrize("groups", [1, 2])
def test_a_transposed_convolution_computes_what_it_should(groups):
    kernel = RNG.standard_normal((4, 6 // groups, 2, 3)).round(1)
    arrays = {"deconv.weight": kernel, "deconv.bias": np.zeros(6)}
    layer = net(arrays).layers[0]
    maps = RNG.random((1, 4, 3, 4)).round(2)
    assert (layer.geometry.in_channels, layer.geometry.groups) == (4, groups)
    top, left, bottom, right = layer.geometry.pads
    padded = np.pad(maps, ((0, 0), (0, 0), (top, bottom), (left, right)))
    np.testing.assert_allclose(convolve(padded, layer.kernel, groups), transposed(maps, kernel, groups), atol=1e-5)


def test_a_transposed_convolution_is_known_by_its_bias():
    network = net({"0.weight": RNG.standard_normal((16, 8, 2, 2)), "0.bias": np.ones(8)})
    assert network.layers[0].geometry.weight_shape == (8, 16, 2, 2)
    assert any(note.startswith("transposed convolutions") for note in network.notes)


def test_a_row_of_transposed_convolutions_is_known_by_its_neighbours():
    """The second takes what the first gives only if it is transposed; the third is square, and like the second."""
    arrays = {
        "0.weight": RNG.standard_normal((16, 8, 1, 1)),
        "0.bias": np.ones(16),
        "2.weight": RNG.standard_normal((16, 8, 2, 2)),
        "4.weight": RNG.standard_normal((8, 8, 2, 2)),
        "4.bias": np.ones(8),
    }
    kinds = {plan.name: plan.kind for plan in decide(arrays, "net").plans}
    assert kinds == {"0": "conv", "2": "transposed", "4": "transposed"}


def test_a_square_kernel_without_a_name_is_asked_for():
    arrays = {"weight": RNG.standard_normal((16, 16, 3, 3)), "bias": np.ones(16)}
    with pytest.raises(eie.EieError, match=r"Conv2d or a ConvTranspose2d.*--layers weight=conv or weight=transposed"):
        net(arrays)
    assert net(arrays, layers="weight=conv").layers[0].geometry.pads == (0, 0, 0, 0)
    assert net(arrays, layers="weight=transposed").layers[0].geometry.pads == (2, 2, 2, 2)
    assert net(arrays, transpose="weight").layers[0].geometry.pads == (2, 2, 2, 2)
    # Called a convolution, it is one.
    assert net(arrays, "conv").layers[0].geometry.pads == (0, 0, 0, 0)


def test_a_bilinear_is_asked_for_or_named():
    weights = RNG.standard_normal((10, 8, 9))
    with pytest.raises(eie.EieError, match="or a Bilinear"):
        net({"weight": weights, "bias": np.ones(10)})
    for network in (net({"bilinear.weight": weights}), net({"weight": weights}, layers="weight=bilinear")):
        assert network.layers[0].matrix.shape == (10, 72)
        a, b = RNG.standard_normal(8), RNG.standard_normal(9)
        expected = np.einsum("i,oij,j->o", a, weights, b)
        np.testing.assert_allclose(network.layers[0].weights @ np.outer(a, b).ravel(), expected, rtol=1e-4)
    assert net({"conv1.weight": weights}).layers[0].geometry.kernel == (1, 9)


# -- attention, normalisation -----------------------------------------------------------------------------------------


def test_multi_head_attention_is_split():
    arrays = file(in_proj_weight=(96, 32), in_proj_bias=(96,), out_proj__weight=(32, 32), out_proj__bias=(32,))
    network = net(arrays)
    assert list(shapes(network)) == ["in_proj.q", "in_proj.k", "in_proj.v", "out_proj"]
    assert not network.sequential
    assert np.array_equal(network.layers[1].weights, arrays["in_proj_weight"][32:64])
    assert np.array_equal(network.layers[2].bias, arrays["in_proj_bias"][64:])


def test_attention_with_sizes_of_its_own():
    arrays = file(a__q_proj_weight=(8, 8), a__k_proj_weight=(8, 5), a__v_proj_weight=(8, 6), a__in_proj_bias=(24,))
    network = net(arrays)
    assert shapes(network) == {"a.q_proj": (8, 8), "a.k_proj": (8, 5), "a.v_proj": (8, 6)}
    assert all(layer.has_bias for layer in network.layers)


@pytest.mark.parametrize(
    ("layer", "follower"),
    [
        ("conv1", "bn1"),
        ("features.3", "features.4"),
        ("downsample.0", "downsample.1"),
        ("block.conv", "block.bn"),
        ("conv_stem", "bn1"),
        ("stem_conv", "stem_bn"),
        ("convs.2", "bns.2"),
    ],
)
def test_a_normalisation_behind_a_convolution_is_folded(layer, follower):
    arrays = {f"{layer}.weight": RNG.standard_normal((6, 3, 2, 2)).astype(np.float32)} | norm(follower, 6)
    arrays[f"{layer}.weight"][2, 1] = 0
    folded = net(arrays).layers[0]
    maps = RNG.random((2, 3, 4, 5))
    plain = convolve(maps, arrays[f"{layer}.weight"], 1)
    gain = arrays[f"{follower}.weight"] / np.sqrt(arrays[f"{follower}.running_var"] + 1e-5)
    wanted = (plain - arrays[f"{follower}.running_mean"][:, None, None]) * gain[:, None, None]
    wanted += arrays[f"{follower}.bias"][:, None, None]
    got = convolve(maps, folded.kernel, 1) + folded.bias[:, None, None]
    np.testing.assert_allclose(got, wanted, rtol=1e-4, atol=1e-5)
    # Pruned stays pruned.
    assert (folded.kernel[2, 1] == 0).all()
    assert roles(arrays)[f"{follower}.running_var"] == "folded"


def test_timms_blocks_number_theirs_as_they_run():
    arrays = {
        "b.conv_pw.weight": RNG.standard_normal((8, 4, 1, 1)),
        "b.conv_dw.weight": RNG.standard_normal((8, 1, 3, 3)),
        "b.conv_pwl.weight": RNG.standard_normal((4, 8, 1, 1)),
        **norm("b.bn1", 8),
        **norm("b.bn2", 8),
        **norm("b.bn3", 4),
    }
    pairs = {plan.name: plan.norm.name for plan in decide(arrays, "net").plans}
    assert pairs == {"b.conv_pw": "b.bn1", "b.conv_dw": "b.bn2", "b.conv_pwl": "b.bn3"}


def test_a_normalisation_in_front_is_not_folded():
    """DenseNet: one block is square and says nothing, the other shows that norm1 stands before conv1."""
    arrays = {
        "denselayer1.conv1.weight": RNG.standard_normal((8, 4, 1, 1)),
        "denselayer2.conv1.weight": RNG.standard_normal((8, 8, 1, 1)),
        **norm("denselayer1.norm1", 4),
        **norm("denselayer2.norm1", 8),
    }
    assert all(plan.norm is None for plan in decide(arrays, "net").plans)
    assert any("in front of its layers, not folded" in note for note in net(arrays).notes)


def test_a_transposed_convolution_has_its_normalisation_folded():
    arrays = {"main.0.weight": RNG.standard_normal((5, 6, 2, 2))} | norm("main.1", 6)
    folded = net(arrays).layers[0]
    maps = RNG.random((1, 5, 3, 3))
    gain = arrays["main.1.weight"] / np.sqrt(arrays["main.1.running_var"] + 1e-5)
    wanted = (transposed(maps, arrays["main.0.weight"], 1) - arrays["main.1.running_mean"][:, None, None]) * gain[
        :, None, None
    ]
    padded = np.pad(maps, ((0, 0), (0, 0), (1, 1), (1, 1)))
    got = convolve(padded, folded.kernel, 1) + folded.bias[:, None, None]
    np.testing.assert_allclose(got, wanted + arrays["main.1.bias"][:, None, None], rtol=1e-4, atol=1e-5)


def test_keras_lstms_have_our_gates():
    h, i = 3, 5
    arrays = {
        "lstm/lstm_cell/kernel:0": RNG.standard_normal((i, 4 * h)),
        "lstm/lstm_cell/recurrent_kernel:0": RNG.standard_normal((h, 4 * h)),
        "lstm/lstm_cell/bias:0": np.ones(4 * h),
        "gru/kernel:0": np.ones((i, 3 * h)),
        "gru/recurrent_kernel:0": np.ones((h, 3 * h)),
    }
    network = net(arrays)
    assert shapes(network) == {"lstm": (4 * h, i + h)}
    np.testing.assert_allclose(network.layers[0].weights[:, :i], arrays["lstm/lstm_cell/kernel:0"].T, rtol=1e-6)
    hidden = arrays["lstm/lstm_cell/recurrent_kernel:0"].T
    np.testing.assert_allclose(network.layers[0].weights[:, i:], hidden, rtol=1e-6)
    assert network.notes[0] == "ignored, a GRU, not an LSTM: gru"


def test_an_optimisers_copy_of_an_lstm_is_none():
    arrays = file(
        lstm__weight_ih_l0=(12, 4),
        lstm__weight_hh_l0=(12, 3),
        ema__lstm__weight_ih_l0=(12, 4),
        ema__lstm__weight_hh_l0=(12, 3),
    )
    assert list(shapes(net(arrays))) == ["lstm.l0"]


# -- wrappers, what the user says -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("names", "bare"),
    [
        (["_orig_mod.0.weight", "_orig_mod.0.bias"], ["0.weight", "0.bias"]),
        (["module.fc.weight"], ["fc.weight"]),
        (["module._orig_mod.fc.weight"], ["fc.weight"]),
        (["encoder._orig_mod.fc.weight", "head.weight"], ["encoder.fc.weight", "head.weight"]),
        (["model.fc1.weight", "model.fc2.weight"], ["fc1.weight", "fc2.weight"]),
        (["params/Dense_0/kernel", "batch_stats/BatchNorm_0/mean"], ["Dense_0/kernel", "BatchNorm_0/mean"]),
        # Not wrappers: of one array only, the author's own, or all there is of a name.
        (["module.fc.weight", "head.weight"], ["module.fc.weight", "head.weight"]),
        (
            ["model.layers.0.fc.weight", "model.embed_tokens.weight"],
            ["model.layers.0.fc.weight", "model.embed_tokens.weight"],
        ),
        (["model.weight", "model.bias"], ["model.weight", "model.bias"]),
        (["_orig_mod.a", "a"], ["_orig_mod.a", "a"]),
    ],
)
def test_wrappers(names, bare):
    assert list(stripped(names).values()) == bare


def test_what_the_user_says_goes_first():
    arrays = file(fc__weight=(4, 6), wte__weight=(50, 8), extra=(5, 3), head__weight=(7, 7))
    assert list(shapes(net(arrays))) == ["fc", "head"]
    assert list(shapes(net(arrays, layers=["wte.*", "extra"]))) == ["extra", "wte", "fc", "head"]
    assert list(shapes(net(arrays, exclude="head"))) == ["fc"]
    assert list(shapes(net(arrays, exclude="*", layers="fc*"))) == ["fc"]
    turned = net(arrays, transpose="head.weight")
    assert np.array_equal(turned.layers[1].weights, arrays["head.weight"].T)
    assert any("as --exclude says" in note for note in net(arrays, exclude="head").notes)


def test_globs_meet_layers_by_the_names_that_reports_show():
    arrays = {"W0": normal(3, 3), "W1": normal(3, 3), "a.in_proj_weight": normal(12, 4)}
    arrays |= {"r.weight_ih_l0": normal(8, 3), "r.weight_hh_l0": normal(8, 2)}
    everything = ["a.in_proj.q", "a.in_proj.k", "a.in_proj.v", "layer0", "layer1", "r.l0"]
    assert list(shapes(net(arrays))) == everything
    for name in everything:
        assert list(shapes(net(arrays, exclude=name))) == [other for other in everything if other != name]
    assert np.array_equal(net(arrays, transpose="layer1").layers[4].weights, arrays["W1"].T.astype(np.float32))
    with pytest.raises(eie.EieError, match="holds no layer"):
        net(arrays, exclude="*")


@pytest.mark.parametrize(
    ("shape", "kind", "axes"), [((4, 6), "conv", "3 or 4"), ((4, 6, 2), "linear", "2"), ((4, 6, 2, 2), "bilinear", "3")]
)
def test_a_kind_that_cannot_be_is_refused(shape, kind, axes):
    with pytest.raises(eie.EieError, match=rf"layers=x.weight={kind}: it has {len(shape)} axes: must be {axes} for"):
        net({"x.weight": normal(*shape)}, layers=f"x.weight={kind}")


def test_a_name_taken_twice_is_refused():
    with pytest.raises(eie.EieError, match="two layers would be called 'net'"):
        net({"weight": normal(3, 4), "net.weight": normal(4, 3)})


@pytest.mark.parametrize("option", ["layers", "exclude", "transpose"])
def test_a_glob_that_matches_nothing_lists_what_is_near(option):
    with pytest.raises(eie.EieError, match=rf"{option}='fc3\*': matches no array and no layer; near it: .*fc1"):
        net(file(fc1__weight=(4, 6), fc2__weight=(4, 6)), **{option: "fc3*"})


def test_an_unknown_kind_is_refused():
    with pytest.raises(eie.EieError, match="'cnov' is no kind of layer: must be linear, conv"):
        Asked.of(layers="weight=cnov")


# -- laws -------------------------------------------------------------------------------------------------------------

# Every role by names that say it whatever else is in the file, with shapes that a layer could have.
PARTS = {
    "fc1.weight": ((12, 20), "layer"),
    "fc1.bias": ((12,), None),
    "conv1.weight": ((8, 3, 3, 3), "layer"),
    "bn1.weight": ((8,), None),
    "bn1.running_mean": ((8,), None),
    "bn1.running_var": ((8,), None),
    "attn.in_proj_weight": ((24, 8), "layer"),
    "attn.in_proj_bias": ((24,), None),
    "wte.weight": ((30, 8), "embedding"),
    "embed_tokens.weight": ((30, 8), "embedding"),
    "pos_embed": ((9, 8), "position"),
    "optimizer.fc1.weight.exp_avg": ((12, 20), "moment"),
    "optimizer.fc1.weight.exp_avg_sq": ((12, 20), "moment"),
    "fc1.weight.grad": ((12, 20), "gradient"),
    "fc1.weight_scale": ((12, 1), "scale"),
    "fc2.scales": ((4, 12), "scale"),
    "fc2.qzeros": ((4, 2), "scale"),
    "fc2.weight": ((5, 12), "layer"),
    "lstm.weight_ih_l0": ((12, 4), None),
    "lstm.weight_hh_l0": ((12, 3), None),
    "queue": ((8, 16), "queue"),
    "causal_mask": ((8, 8), "mask"),
}
NEVER = ("embedding", "position", "moment", "gradient", "scale", "queue", "mask")


@settings(max_examples=150, deadline=None)
@given(
    names=st.permutations(sorted(PARTS)),
    kept=st.integers(1, len(PARTS)),
    prefix=st.sampled_from(["", "module.", "_orig_mod.", "backbone.", "a.b.", "model/"])
    | st.text(string.ascii_lowercase, min_size=1, max_size=6).map(lambda word: f"x{word}."),
)
def test_companions_may_be_missing_in_any_order_under_any_prefix(names, kept, prefix):
    rng = np.random.default_rng(0)
    drawn = {key: rng.standard_normal(shape) for key, (shape, _) in sorted(PARTS.items())}
    arrays = {prefix + key: drawn[key] for key in names[:kept]}
    reading = decide(arrays, "net")
    for key in names[:kept]:
        role, decided = PARTS[key][1], reading.decisions[prefix + key].role
        if role in NEVER:
            assert decided == role, key
        elif role == "layer":
            assert decided == "layer", key
    # Whatever order the file has them in.
    assert decide(dict(sorted(arrays.items())), "net").decisions == reading.decisions
    assert decide(dict(sorted(arrays.items())), "net").notes == reading.notes


@settings(max_examples=150, deadline=None)
@given(
    st.dictionaries(
        st.lists(
            st.sampled_from(
                ["0", "1", "fc", "conv", "bn", "weight", "bias", "kernel", "scale", "embedding", "codes", "ema", ""]
            )
            | st.text(max_size=4),
            min_size=1,
            max_size=4,
        ).map(".".join),
        st.lists(st.integers(0, 4), max_size=5).map(lambda shape: np.ones(shape, np.float32)),
        max_size=8,
    )
)
def test_no_file_makes_it_fail_otherwise_than_by_saying_why(arrays):
    try:
        network = net(unwrapped(arrays))
    except eie.EieError:
        return
    assert network.layers
