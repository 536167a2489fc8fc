"""Attention as onnxruntime's optimiser fuses it: one layer for its projection, the rest on the host, no weight lost."""

import numpy as np
import pytest

import eie
from eie.simulator.reference import run_given

onnx = pytest.importorskip("onnx", reason="needs the onnx extra")
ort = pytest.importorskip("onnxruntime", reason="needs the onnx extra")
helper, numpy_helper = onnx.helper, onnx.numpy_helper
MICROSOFT, WIDTH, STEPS, SAMPLES = "com.microsoft", 8, 5, 2


def drawn(*shape, seed=0):
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


def saved(path, nodes, constants, *, mask=False, opset=17, width=WIDTH):
    inputs = [helper.make_tensor_value_info("x", 1, ["n", STEPS, width])]
    inputs += [helper.make_tensor_value_info("mask", 6, ["n", STEPS])] if mask else []
    graph = helper.make_graph(
        nodes,
        "g",
        inputs,
        [helper.make_tensor_value_info("y", 1, None)],
        [numpy_helper.from_array(np.asarray(array), name) for name, array in constants.items()],
    )
    opsets = [helper.make_opsetid("", opset), helper.make_opsetid(MICROSOFT, 1)]
    onnx.save(helper.make_model(graph, opset_imports=opsets, ir_version=8), path)
    return path


def check(path, feed, atol=1e-5):
    network = eie.load(path)
    assert not network.unmodelled
    made = run_given(network.graph, {layer.name: layer for layer in network.layers}, feed)
    np.testing.assert_allclose(made[0], ort.InferenceSession(path).run(None, feed)[0], atol=atol)
    return network


def weights(made=3 * WIDTH):
    return {"w": drawn(WIDTH, made), "b": drawn(made, seed=1), "v": drawn(WIDTH, 3, seed=2)}


LAST = helper.make_node("MatMul", ["h", "v"], ["y"], "last")


@pytest.mark.parametrize("opset", [9, 11, 12, 13, 17, 20])
@pytest.mark.parametrize("masked", [False, True])
@pytest.mark.parametrize("attributes", [{}, {"unidirectional": 1}, {"scale": 0.2}, {"mask_filter_value": -50.0}])
def test_attention(tmp_path, opset, masked, attributes):
    inputs = ["x", "w", "b", *(["mask"] if masked else [])]
    fused = helper.make_node("Attention", inputs, ["h"], "fused", domain=MICROSOFT, num_heads=2, **attributes)
    path = saved(tmp_path / "m.onnx", [fused, LAST], weights(), mask=masked, opset=opset)
    feed = {"x": drawn(SAMPLES, STEPS, WIDTH)}
    feed |= {"mask": np.array([[1] * 5, [1, 1, 1, 0, 0]], np.int32)} if masked else {}
    network = check(path, feed)
    assert [layer.geometry.dense_shape for layer in network.layers] == [(3 * WIDTH, WIDTH), (3, WIDTH)]


def test_values_of_another_width(tmp_path):
    sizes = {"qkv_hidden_sizes": [4, 4, WIDTH]}
    fused = helper.make_node("Attention", ["x", "w", "b"], ["h"], "fused", domain=MICROSOFT, num_heads=2, **sizes)
    check(saved(tmp_path / "m.onnx", [fused, LAST], weights(16)), {"x": drawn(SAMPLES, STEPS, WIDTH)})


def test_quantised_as_it_comes(tmp_path):
    """What quantize_dynamic makes of an optimised transformer."""
    rng = np.random.default_rng(0)
    constants = weights() | {"w": rng.integers(-40, 40, (WIDTH, 3 * WIDTH)).astype(np.int8)}
    constants |= {"ws": np.float32(0.02), "wz": np.int8(3)}
    nodes = [
        helper.make_node("DynamicQuantizeLinear", ["x"], ["q", "s", "z"], "quantise"),
        helper.make_node(
            "QAttention", ["q", "w", "b", "s", "ws", "", "z", "wz"], ["h"], "fused", domain=MICROSOFT, num_heads=2
        ),
        LAST,
    ]
    network = check(saved(tmp_path / "m.onnx", nodes, constants), {"x": drawn(SAMPLES, STEPS, WIDTH)}, atol=0.1)
    assert network.layers[0].stored_bits == pytest.approx(8, abs=1)


def test_with_steps_before_it_is_a_row(tmp_path):
    fused = helper.make_node(
        "Attention", ["x", "w", "b", "", "past"], ["h", "present"], "fused", domain=MICROSOFT, num_heads=2
    )
    past = {"past": drawn(2, 1, 2, 3, WIDTH // 2)}
    network = eie.load(saved(tmp_path / "m.onnx", [fused, LAST], weights() | past))
    assert any(row.startswith("com.microsoft.Attention (fused)") for row in network.unmodelled)


def test_a_product_with_a_turned_activation(tmp_path):
    fused = helper.make_node("FusedMatMul", ["x", "w"], ["y"], "fused", domain=MICROSOFT, transA=1, alpha=0.5)
    path = saved(tmp_path / "m.onnx", [fused], {"w": drawn(STEPS, 3)})
    network = check(path, {"x": drawn(SAMPLES, STEPS, WIDTH)})
    assert network.layers[0].geometry.dense_shape == (3, STEPS)


@pytest.mark.parametrize("turned", [False, True])
@pytest.mark.parametrize("front", [(), (1,)])
def test_a_product_of_weights_and_a_turned_activation(tmp_path, turned, front):
    """Queries that are learnt."""
    shape = (*front, WIDTH, 3) if turned else (*front, 3, WIDTH)
    options = {"transA": int(turned), "transB": 1, "alpha": 0.5}
    fused = helper.make_node("FusedMatMul", ["w", "x"], ["y"], "fused", domain=MICROSOFT, **options)
    check(saved(tmp_path / "m.onnx", [fused], {"w": drawn(*shape)}), {"x": drawn(SAMPLES, STEPS, WIDTH)})


def test_packed_weights_with_a_bias(tmp_path):
    rng = np.random.default_rng(0)
    constants = {"w": rng.integers(0, 256, (6, 1, 8)).astype(np.uint8), "s": drawn(6), "b": drawn(6, seed=1)}
    packed = helper.make_node(
        "MatMulNBits", ["x", "w", "s", "", "", "b"], ["y"], "p", domain=MICROSOFT, N=6, K=16, bits=4, block_size=16
    )
    network = check(saved(tmp_path / "m.onnx", [packed], constants, width=16), {"x": drawn(2, STEPS, 16)}, atol=1e-4)
    assert network.layers[0].bias is not None


def test_a_product_of_onnxruntimes_that_no_layer_is_is_a_row(tmp_path):
    """Its weights went to the host without a word; before set 12 there is no Einsum to say it with."""
    nodes = [
        helper.make_node("MatMul", ["x", "v"], ["h"], "first"),
        helper.make_node("FusedMatMul", ["h", "w"], ["p"], "fused", domain=MICROSOFT, transA=1),
        helper.make_node("MatMul", ["p", "u"], ["y"], "last"),
    ]
    constants = {"v": drawn(WIDTH, 4), "w": drawn(STEPS, 4), "u": drawn(4, 2)}
    (row,) = eie.load(saved(tmp_path / "m.onnx", nodes, constants, opset=11)).unmodelled
    # 5 x 4 of 32 + 20 + 8 weights; 4 x 4 x 5 of 160 + 80 + 32 products.
    assert row == "com.microsoft.FusedMatMul (fused): 33 % of the weights, 29 % of the multiplications"


@pytest.mark.parametrize("bias", [False, True])
@pytest.mark.parametrize("per_column", [False, True])
def test_an_integer_product_that_gives_floats(tmp_path, bias, per_column):
    """What onnxruntime makes of MatMulInteger, Cast and Mul."""
    scale = np.full(4, 0.02, np.float32) * np.arange(1, 5) if per_column else np.float32(0.02)
    zero = np.arange(4).astype(np.int8) if per_column else np.int8(3)
    constants = {"w": np.random.default_rng(0).integers(-40, 40, (WIDTH, 4)).astype(np.int8), "u": drawn(4, 2)}
    constants |= {"ws": np.asarray(scale, np.float32), "wz": zero, **({"b": drawn(4)} if bias else {})}
    inputs = ["q", "w", "s", "ws", "z", "wz", *(["b"] if bias else [])]
    nodes = [
        helper.make_node("DynamicQuantizeLinear", ["x"], ["q", "s", "z"], "quantise"),
        helper.make_node("MatMulIntegerToFloat", inputs, ["p"], "fused", domain=MICROSOFT),
        helper.make_node("MatMul", ["p", "u"], ["y"], "last"),
    ]
    network = check(saved(tmp_path / "m.onnx", nodes, constants), {"x": drawn(SAMPLES, STEPS, WIDTH)}, atol=0.3)
    assert len(network.layers) == 2


@pytest.mark.parametrize("shape", [(24,), (1, 8, 24), ()])
def test_weights_that_are_no_matrix_are_refused_before_they_run(tmp_path, shape):
    """Such a file ends the process of whoever gives it to onnxruntime."""
    node = helper.make_node("Attention", ["x", "w"], ["y"], "a", domain=MICROSOFT, num_heads=2)
    path = saved(tmp_path / "m.onnx", [node], {"w": drawn(*shape)})
    with pytest.raises(eie.EieError, match=r"m.onnx: node 'a' \(Attention\): weights of shape"):
        eie.load(path)
