"""ONNX files into networks: what is read, what is refused, and that damage never gives more than one clear line."""

import os
import subprocess
import sys

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

pytest.importorskip("onnx", reason="needs the onnx extra")

import onnx_models as models
from onnx import TensorProto, external_data_helper, helper, numpy_helper

import eie
from eie.errors import ModelError
from eie.model.geometry import Conv2d, Lstm


def linear(weights, **tensors):
    """A one-layer model whose weight comes from the given tensors or nodes."""
    nodes = [models.node("MatMul", ["x", "w"], ["y"], "fc")]
    size = weights.shape
    return models.model(nodes, {"x": ["n", size[0]]}, {"y": ["n", size[1]]}, tensors or {"w": weights})


def matrix(seed=0, shape=(6, 4)):
    return models.drawn(np.random.default_rng(seed), *shape)


def test_mlp_is_read_as_a_sequence(tmp_path):
    net = eie.load(models.saved(models.mlp(), tmp_path / "mlp.onnx"))
    assert [layer.name for layer in net.layers] == ["fc1", "fc2", "last"]
    assert [layer.relu for layer in net.layers] == [True, True, False]
    assert net.sequential
    weights = {one.name: numpy_helper.to_array(one) for one in models.mlp().graph.initializer}
    np.testing.assert_array_equal(net.layers[0].weights, weights["fc1.weight"])
    np.testing.assert_array_equal(net.layers[1].weights, weights["w2"].T)
    np.testing.assert_array_equal(net.layers[2].weights, 2 * weights["w3"].T)
    np.testing.assert_array_equal(net.layers[2].bias, weights["b3"] / 2)


def test_cnn_geometry(tmp_path):
    net = eie.load(models.saved(models.cnn(), tmp_path / "cnn.onnx"))
    shapes = {layer.name: layer.geometry for layer in net.layers}
    assert shapes["c1"] == Conv2d(in_channels=3, out_channels=8, kernel=(3, 3), pads=(1, 1, 1, 1))
    assert shapes["c2"] == Conv2d(in_channels=8, out_channels=8, kernel=(3, 3), stride=(2, 2), pads=(1, 1, 1, 1))
    assert shapes["c4"] == Conv2d(
        in_channels=8, out_channels=8, kernel=(3, 3), pads=(2, 2, 2, 2), dilation=(2, 2), groups=2
    )
    assert shapes["c5"] == Conv2d(in_channels=8, out_channels=6, kernel=(2, 3), stride=(1, 2), pads=(0, 1, 1, 0))
    assert shapes["fc"].takes_vectors
    # Behind c3 comes a batch normalisation, and c4 feeds a sum: only c1 and c2 take their ReLU in.
    assert [layer.name for layer in net.layers if layer.relu] == ["c1", "c2"]
    assert not net.sequential
    assert net.graph.inputs == (("x", (3, 13, 13)),)


@pytest.mark.parametrize("size", [4, 5, 6, 7])
@pytest.mark.parametrize("mode", ["SAME_UPPER", "SAME_LOWER", "VALID"])
def test_automatic_padding_gives_the_sizes_of_the_runtime(mode, size, tmp_path):
    nodes = [models.node("Conv", ["x", "w"], ["y"], auto_pad=mode, strides=[2, 3])]
    proto = models.model(
        nodes, {"x": ["n", 1, size, size]}, {"y": ["n", 1, "h", "w"]}, {"w": matrix(shape=(1, 1, 3, 2))}
    )
    conv = eie.load(models.saved(proto, tmp_path / "conv.onnx")).layers[0].geometry
    x = np.random.default_rng(0).standard_normal((1, 1, size, size)).astype(np.float32)
    y = models.run(proto, x, ["y"])["y"]
    kernel = numpy_helper.to_array(proto.graph.initializer[0]).ravel()
    np.testing.assert_allclose((conv.im2col(x) @ kernel).reshape(y.shape), y, atol=1e-6)


def test_lstm_directions_and_gate_order(tmp_path):
    proto = models.lstm("bidirectional")
    net = eie.load(models.saved(proto, tmp_path / "lstm.onnx"))
    assert [layer.name for layer in net.layers] == ["rnn_forward", "rnn_reverse", "fc"]
    assert [layer.geometry for layer in net.layers[:2]] == [Lstm(5, 7), Lstm(5, 7, reverse=True)]
    stored = {one.name: numpy_helper.to_array(one) for one in proto.graph.initializer}
    i, o, f, c = stored["w"][1].reshape(4, 7, 5)
    np.testing.assert_array_equal(net.layers[1].weights[:, :5], np.concatenate((i, f, c, o)))
    assert net.graph.inputs == (("x", (6, 5)),)


def test_a_tensor_in_two_nodes_gives_one_layer_with_two_uses(tmp_path):
    nodes = [
        models.node("MatMul", ["x", "fc.weight"], ["h"], "one"),
        models.node("Relu", ["h"], ["a"]),
        models.node("MatMul", ["a", "fc.weight"], ["y"], "two"),
    ]
    proto = models.model(nodes, {"x": ["n", 5]}, {"y": ["n", 5]}, {"fc.weight": matrix(shape=(5, 5))})
    net = eie.load(models.saved(proto, tmp_path / "tied.onnx"))
    assert [(layer.name, layer.relu) for layer in net.layers] == [("fc", False)]
    assert [node.layer or node.op for node in net.graph.nodes] == ["fc", "relu", "fc"]
    assert "fc has the weights of fc_2 too: one layer" in net.notes


def test_exporters_shape_arithmetic_is_evaluated(tmp_path):
    """Flatten as TensorFlow writes it: Shape, Slice, Concat, Cast, Reshape; the batch stays open."""
    weights = {
        "w": matrix(shape=(12, 4)),
        "zero": np.array([0]),
        "one": np.array([1]),
        "rest": np.array([12], np.int32),
    }
    nodes = [
        models.node("Transpose", ["x"], ["t"], perm=[0, 2, 1]),
        models.node("Shape", ["t"], ["s"]),
        models.node("Slice", ["s", "zero", "one", "zero"], ["b"]),
        models.node("Cast", ["b"], ["b32"], to=TensorProto.INT32),
        models.node("Concat", ["b32", "rest"], ["c32"], axis=0),
        models.node("Cast", ["c32"], ["c"], to=TensorProto.INT64),
        models.node("Reshape", ["t", "c"], ["f"]),
        models.node("MatMul", ["f", "w"], ["y"]),
    ]
    proto = models.model(nodes, {"x": ["n", 3, 4]}, {"y": ["n", 4]}, weights)
    net = eie.load(models.saved(proto, tmp_path / "tf.onnx"))
    assert [node.op for node in net.graph.nodes] == ["transpose", "reshape", "layer"]
    assert net.graph.nodes[1].attributes["shape"] == (0, 12)


@pytest.mark.parametrize("linear_indices", [True, False])
def test_sparse_initialisers(linear_indices, tmp_path):
    dense = matrix()
    places = np.argwhere(dense)
    indices = np.flatnonzero(dense) if linear_indices else places
    sparse = helper.make_sparse_tensor(
        numpy_helper.from_array(dense[dense != 0], "w"), numpy_helper.from_array(indices.astype(np.int64)), [6, 4]
    )
    nodes = [models.node("MatMul", ["x", "w"], ["y"], "fc")]
    proto = models.model(nodes, {"x": ["n", 6]}, {"y": ["n", 4]}, {}, [sparse])
    net = eie.load(models.saved(proto, tmp_path / "sparse.onnx"))
    np.testing.assert_array_equal(net.layers[0].weights, dense.T)


@pytest.mark.parametrize(
    ("dims", "indices", "text"),
    [
        ([6, 4], [99], "outside its shape"),
        ([6, 4], [-1], "outside its shape"),
        ([1 << 20, 1 << 20], [3], "at most"),
        ([-6, 4], [3], "impossible shape"),
        ([6, 4], [1, 2], "values with indices"),
    ],
)
def test_hostile_sparse_initialisers(dims, indices, text, tmp_path):
    sparse = helper.make_sparse_tensor(
        numpy_helper.from_array(np.ones(1, np.float32), "w"), numpy_helper.from_array(np.array(indices)), dims
    )
    proto = models.model([models.node("MatMul", ["x", "w"], ["y"])], {"x": ["n", 6]}, {"y": ["n", 4]}, {}, [sparse])
    (tmp_path / "bad.onnx").write_bytes(proto.SerializeToString())
    with pytest.raises(ModelError, match=text):
        eie.load(tmp_path / "bad.onnx")


@pytest.mark.parametrize(
    ("scale", "zero", "axis"),
    [
        (np.float32(0.5), np.uint8(128), None),
        (np.array([0.5, 1, 2, 4], np.float32), np.array([128, 127, 0, 255], np.uint8), 1),
        (np.array([0.5, 1, 2, 4, 8, 16], np.float32), np.full(6, 128, np.uint8), 0),
    ],
)
def test_quantised_weights_lose_their_zero_point(scale, zero, axis, tmp_path):
    """Stored zeros of an asymmetric tensor are its zero point: they must be zeros of the layer."""
    rng = np.random.default_rng(0)
    spread = (lambda a: a) if axis is None else (lambda a: np.expand_dims(a, 1 - axis))
    stored = np.where(rng.random((6, 4)) < 0.5, rng.integers(0, 256, (6, 4)), spread(np.asarray(zero))).astype(np.uint8)
    attributes = {} if axis is None else {"axis": axis}
    nodes = [
        models.node("DequantizeLinear", ["q", "scale", "zero"], ["w"], **attributes),
        models.node("MatMul", ["x", "w"], ["y"], "fc"),
    ]
    weights = {"q": stored, "scale": np.asarray(scale), "zero": np.asarray(zero)}
    proto = models.model(nodes, {"x": ["n", 6]}, {"y": ["n", 4]}, weights)
    net = eie.load(models.saved(proto, tmp_path / "qdq.onnx"))
    expected = models.run(proto, np.eye(6, dtype=np.float32), ["w"])["w"]
    np.testing.assert_array_equal(net.layers[0].weights, expected.T)
    assert net.layers[0].matrix.nnz == np.count_nonzero(expected) < 24


def test_quantised_activations_keep_their_saturation_and_say_so(tmp_path):
    """QuantizeLinear to uint8 with zero point 0 is a ReLU in disguise."""
    weights = {"w": matrix(), "s": np.float32(0.25), "z": np.uint8(0)}
    nodes = [
        models.node("QuantizeLinear", ["x", "s", "z"], ["q"], "round"),
        models.node("DequantizeLinear", ["q", "s", "z"], ["d"]),
        models.node("MatMul", ["d", "w"], ["y"]),
    ]
    arrays = {name: np.asarray(value) for name, value in weights.items()}
    proto = models.model(nodes, {"x": ["n", 6]}, {"y": ["n", 4]}, arrays)
    net = eie.load(models.saved(proto, tmp_path / "qdq.onnx"))
    assert net.graph.nodes[0].op == "clip"
    assert net.graph.nodes[0].attributes == {"low": 0.0, "high": 63.75}
    assert any("round" in note for note in net.notes)


def external(tmp_path, location, **entries):
    proto = linear(matrix())
    tensor = proto.graph.initializer[0]
    raw = numpy_helper.to_array(tensor).tobytes()
    external_data_helper.set_external_data(tensor, location, **entries)
    tensor.ClearField("raw_data")
    path = tmp_path / "folder" / "model.onnx"
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(proto.SerializeToString())
    return path, raw


def test_external_data(tmp_path):
    path, raw = external(tmp_path, "sub/weights.data", offset=64, length=96)
    (path.parent / "sub").mkdir()
    (path.parent / "sub" / "weights.data").write_bytes(bytes(64) + raw + bytes(8))
    np.testing.assert_array_equal(eie.load(path).layers[0].weights, matrix().T)


def test_missing_external_data_are_named(tmp_path):
    path, _ = external(tmp_path, "weights.data")
    with pytest.raises(ModelError, match=r"tensor 'w'.*folder/weights\.data, which is missing"):
        eie.load(path)


@pytest.mark.parametrize("location", ["../weights.data", "sub/../../weights.data", "{tmp}/weights.data", "C:\\w", ""])
def test_external_data_never_leave_the_folder(location, tmp_path):
    path, raw = external(tmp_path, location.replace("{tmp}", str(tmp_path)))
    (tmp_path / "weights.data").write_bytes(raw)
    with pytest.raises(ModelError, match=r"leaves the model's folder|a file beside the model"):
        eie.load(path)


def test_external_data_behind_a_link_out_of_the_folder(tmp_path):
    path, raw = external(tmp_path, "weights.data")
    (tmp_path / "outside.data").write_bytes(raw)
    (path.parent / "weights.data").symlink_to(tmp_path / "outside.data")
    with pytest.raises(ModelError, match="link out of the model's folder"):
        eie.load(path)


@pytest.mark.parametrize("entries", [{"offset": 8}, {"length": 5000}, {"offset": 1 << 40}, {"length": 8}])
def test_external_data_of_another_size(entries, tmp_path):
    path, raw = external(tmp_path, "weights.data", **entries)
    (path.parent / "weights.data").write_bytes(raw)
    with pytest.raises(ModelError, match="tensor 'w'"):
        eie.load(path)


def test_unsupported_operators_are_all_listed(tmp_path):
    nodes = [
        models.node("Strange", ["x"], ["e"], "first", domain="some.where"),
        models.node("MatMul", ["e", "w"], ["h"], "fc"),
        models.node("Odd", ["x"], ["k"], "second", domain="some.where"),
        models.node("MatMul", ["k", "v"], ["y"], "last"),
    ]
    proto = models.model(nodes, {"x": ["n", 6]}, {"y": ["n", 6]}, {"w": matrix(), "v": matrix().T.copy()})
    path = tmp_path / "odd.onnx"
    path.write_bytes(proto.SerializeToString())
    both = r"first \(some.where.Strange\), second \(some.where.Odd\)"
    with pytest.raises(ModelError, match=rf"{both}.*--unsupported skip"):
        eie.load(path)
    net = eie.load(path, unsupported="skip")
    assert [layer.name for layer in net.layers] == ["fc", "last"]
    assert net.graph is None
    assert not net.sequential
    assert any("first (some.where.Strange), second (some.where.Odd)" in note for note in net.notes)


@pytest.mark.parametrize(
    ("build", "text"),
    [
        (
            lambda: [models.node("Relu", ["x"], ["r"]), models.node("Gemm", ["r", "w"], ["y"], "g", transA=1)],
            r"g \(Gemm: A has shape \(1, 6\), its batch in axis 0\)",
        ),
        (
            lambda: [models.node("LeakyRelu", ["w"], ["y"], "s")],
            r"holds no Gemm, MatMul, Conv or LSTM .* \(not supported: s \(LeakyRelu: of constants only",
        ),
        (
            lambda: [models.node("MatMul", ["x", "w"], ["h"], "m"), models.node("Relu", ["u"], ["y"])],
            r"y \(an output that no path from the input leads to",
        ),
        (lambda: [models.node("MatMul", ["x", "x"], ["y"], "m")], r"m \(MatMul: a part for the host, 'y': onnxruntime"),
        (
            lambda: [
                models.node("Constant", [], ["to"], value_ints=[24]),
                models.node("Reshape", ["x", "to"], ["r"], "mix"),
                models.node("MatMul", ["r", "w"], ["y"]),
            ],
            r"node 'mix' \(Reshape\)",
        ),
    ],
)
def test_what_cannot_be_expressed_is_named(build, text, tmp_path):
    proto = models.model(build(), {"x": [6 if "Gemm" in text else 4, 6]}, {"y": ["n", 4]}, {"w": matrix()})
    (tmp_path / "odd.onnx").write_bytes(proto.SerializeToString())
    with pytest.raises(ModelError, match=text):
        eie.load(tmp_path / "odd.onnx")


def test_open_sizes_are_stated_by_the_user(tmp_path):
    nodes = [models.node("Conv", ["x", "w"], ["c"], "conv"), models.node("GlobalMaxPool", ["c"], ["y"])]
    weights = {"w": matrix(shape=(4, 2, 3, 3))}
    path = models.saved(
        models.model(nodes, {"x": ["n", 2, "h", 8]}, {"y": ["n", 4, 1, 1]}, weights), tmp_path / "m.onnx"
    )
    with pytest.raises(ModelError, match=r"input of shape \? x 2 x \? x 8: state its open sizes with --input-shape"):
        eie.load(path)
    # What stands behind is not known either, and may well be supported.
    with pytest.raises(ModelError, match=r"--input-shape\), or give inputs, which state them \(--trace\)$"):
        eie.load(path)
    assert eie.load(path, input_shape=(2, 5, 8)).graph.inputs == (("x", (2, 5, 8)),)
    for wrong in ((2, 5, 7), (2, 5), (2, 0, 8)):
        with pytest.raises(ModelError, match="a sample does not fit"):
            eie.load(path, input_shape=wrong)
    assert [layer.name for layer in eie.load(path, unsupported="skip").layers] == ["conv"]


def test_a_file_without_any_known_layer_says_what_it_has(tmp_path):
    proto = models.model([models.node("Erf", ["x"], ["y"], "e")], {"x": ["n", 6]}, {"y": ["n", 6]}, {})
    path = models.saved(proto, tmp_path / "m.onnx")
    with pytest.raises(ModelError, match=r"holds no Gemm.*\(not supported: e \(Erf\)\)"):
        eie.load(path, unsupported="skip")


def test_options_on_the_command_line(tmp_path, root):
    def cli(*words):
        env = {**os.environ, "PYTHONPATH": str(root), "COLUMNS": "200"}
        done = subprocess.run(
            [sys.executable, "-m", "eie", *words], cwd=tmp_path, env=env, capture_output=True, text=True, check=False
        )
        return done.returncode, done.stdout, done.stderr

    nodes = [
        models.node("Conv", ["x", "c.weight"], ["c"]),
        models.node("Odd", ["c"], ["e"], "odd", domain="some.where"),
        models.node("Conv", ["e", "d.weight"], ["y"]),
    ]
    kernels = {"c.weight": matrix(shape=(4, 2, 3, 3)), "d.weight": matrix(shape=(2, 4, 1, 1))}
    proto = models.model(nodes, {"x": ["n", 2, "h", 8]}, {"y": None}, kernels)
    (tmp_path / "m.onnx").write_bytes(proto.SerializeToString())
    code, out, err = cli("inspect", "m.onnx", "--input-shape", "2x5x8")
    assert (code, out) == (1, "")
    assert err.startswith("eie: m.onnx: not supported: odd (some.where.Odd) (--unsupported skip")
    assert err.count("\n") == 1
    code, out, err = cli("inspect", "m.onnx", "--unsupported", "skip", "--input-shape", "2x5x8")
    assert code == 0
    assert "c 4 x 18" in " ".join(out.split())
    assert "Note: skipped, so that layers run on recorded activations only: odd (some.where.Odd)." in out
    assert "must be sizes with x between them" in cli("inspect", "m.onnx", "--input-shape", "2,5")[2]
    code, out, err = cli("run", "lenet-300-100", "--unsupported", "skip")
    assert (code, out) == (1, "")
    assert "unsupported does not apply to .toml files, only to .onnx" in err


def huge_dims(proto):
    proto.graph.initializer[0].dims[:] = [1 << 40, 1 << 22]


def wrong_size(proto):
    proto.graph.initializer[0].dims[0] += 1


def strings(proto):
    proto.graph.initializer[0].data_type = TensorProto.STRING


def no_nodes(proto):
    del proto.graph.node[:]


def a_kernel_too_large(proto):
    proto.graph.input[0].type.tensor_type.shape.dim[1].dim_value = 7


def twice(proto):
    proto.graph.node.append(proto.graph.node[0])


def not_a_number(proto):
    array = numpy_helper.to_array(proto.graph.initializer[0]).copy()
    array[0, 0] = np.nan
    proto.graph.initializer[0].raw_data = array.tobytes()


@pytest.mark.parametrize(
    ("damage", "text"),
    [
        (huge_dims, "at most"),
        (wrong_size, "damaged tensor"),
        (strings, "is not a number"),
        (no_nodes, "no nodes"),
        (a_kernel_too_large, "takes 6 inputs, but its input has 7"),
        (twice, "make the same tensor"),
        (not_a_number, "must be finite"),
    ],
)
def test_damage_is_one_clear_line(damage, text, tmp_path):
    proto = linear(matrix())
    damage(proto)
    path = tmp_path / "bad.onnx"
    path.write_bytes(proto.SerializeToString())
    with pytest.raises(ModelError, match=text) as caught:
        eie.load(path)
    assert "\n" not in str(caught.value)


def test_truncated_and_foreign_files(tmp_path):
    content = models.mlp().SerializeToString()
    path = tmp_path / "bad.onnx"
    for part in (content[: len(content) // 2], b"", b"PK\3\4 not a model", bytes(100)):
        path.write_bytes(part)
        with pytest.raises(ModelError, match=r"bad\.onnx: (damaged, truncated or not|not an ONNX model)"):
            eie.load(path)
    with pytest.raises(ModelError, match="cannot be read"):
        eie.load(tmp_path / "missing.onnx")


@pytest.mark.parametrize("build", [models.mlp, models.cnn, models.lstm])
@given(data=st.data())
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_flipped_bytes_never_give_a_traceback(build, tmp_path, data):
    content = bytearray(build().SerializeToString())
    for _ in range(data.draw(st.integers(1, 3))):
        content[data.draw(st.integers(0, len(content) - 1))] ^= data.draw(st.integers(1, 255))
    path = tmp_path / "flipped.onnx"
    path.write_bytes(bytes(content))
    for unsupported in ("refuse", "skip"):
        outcome = read_or_error(path, unsupported)
        assert isinstance(outcome, eie.Network) or len(str(outcome)) < 2000


def read_or_error(path, unsupported):
    try:
        return eie.load(path, unsupported=unsupported)
    except eie.EieError as error:
        return error


def test_names_from_the_file_cannot_write_to_the_terminal(tmp_path):
    proto = models.model(
        [models.node("Erf\x1b[2J\n", ["x"], ["y"], "a\nb" + 9999 * "c")], {"x": ["n", 6]}, {"y": []}, {}
    )
    path = tmp_path / "m.onnx"
    path.write_bytes(proto.SerializeToString())
    with pytest.raises(ModelError, match=r"a\\nbccc.* \(Erf\\x1b\[2J\\n\)") as caught:
        eie.load(path)
    assert str(caught.value).isprintable()
    assert len(str(caught.value)) < 1000


def test_nodes_may_share_a_name_and_tensors_may_have_colons(tmp_path):
    rng = np.random.default_rng(0)
    weights = {"w": models.drawn(rng, 1, 12, 3), "r": models.drawn(rng, 1, 12, 3), "axis": np.array([1])}
    nodes = [
        models.node("LSTM", ["x", "w", "r"], ["a"], "same", hidden_size=3),
        models.node("Squeeze", ["a", "axis"], ["a:0"], "same"),
        models.node("LSTM", ["a:0", "w", "r"], ["b", "c"], "same", hidden_size=3),
    ]
    proto = models.model(nodes, {"x": [5, "n", 3]}, {"b": [5, 1, "n", 3], "c": [1, "n", 3]}, weights)
    net = eie.load(models.saved(proto, tmp_path / "m.onnx"))
    assert list(net.graph.uses) == ["same", "same#2"]
    assert net.graph.outputs == ("b", "c")


DOMAINS = {
    "": "Conv DequantizeLinear Einsum Gemm GRU LSTM MatMul Pad QLinearConv QuantizeLinear Reshape Resize Scan",
    "com.microsoft": "Attention DynamicQuantizeLSTM FusedMatMul MatMulIntegerToFloat MatMulNBits QAttention QGemm",
    "ai.onnx.ml": "LinearClassifier LinearRegressor",
}


@pytest.mark.parametrize(("domain", "op"), [(domain, op) for domain, ops in DOMAINS.items() for op in ops.split()])
@pytest.mark.parametrize(("inputs", "outputs"), [(0, 1), (1, 1), (2, 1), (3, 0)])
def test_nodes_with_too_few_inputs_or_outputs_are_damage(tmp_path, domain, op, inputs, outputs):
    """Beside a product that is in order, so that everything is looked at."""
    proto = models.mlp()
    more = {"equation": "bi,io,o->bo", "coefficients": [1.0] * 4, "classlabels_ints": [0], "num_heads": 2}
    proto.graph.node.append(
        helper.make_node(op, ["a1", "w2", "b3"][:inputs], ["odd"][:outputs], "odd", domain=domain, **more)
    )
    (tmp_path / "odd.onnx").write_bytes(proto.SerializeToString())
    # Left out behind the last layer, or refused in a line; nothing else.
    outcome = read_or_error(tmp_path / "odd.onnx", "refuse")
    assert isinstance(outcome, eie.Network) or "\n" not in str(outcome)
