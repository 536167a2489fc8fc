"""Shapes without weights: drawn with the density that is asked for, labelled, and nothing else is touched."""

import numpy as np
import pytest

import eie
from eie.errors import ModelError

onnx = pytest.importorskip("onnx")
models = __import__("onnx_models")


def lost(proto, folder):
    """Save with the weights beside the model, and lose them."""
    onnx.save(proto, folder / "m.onnx", save_as_external_data=True, location="w.data", size_threshold=64)
    (folder / "w.data").unlink()
    return folder / "m.onnx"


def as_inputs(proto, folder):
    """Save as exporters do without parameters: the weights are inputs."""
    weights = [one for one in proto.graph.initializer if one.data_type == 1 and not one.name.startswith("h0")]
    for one in weights:
        proto.graph.input.append(onnx.helper.make_tensor_value_info(one.name, 1, list(one.dims)))
        proto.graph.initializer.remove(one)
    (folder / "m.onnx").write_bytes(proto.SerializeToString())
    return folder / "m.onnx"


@pytest.mark.parametrize("build", [models.mlp, models.cnn, models.lstm])
@pytest.mark.parametrize("without", [lost, as_inputs])
def test_the_network_is_the_same_but_for_its_weights(build, without, tmp_path):
    whole = eie.load(models.saved(build(), tmp_path / "whole.onnx"))
    drawn = eie.load(without(build(), tmp_path), density=0.25)
    assert [(layer.name, layer.matrix.shape) for layer in drawn.layers] == [
        (layer.name, layer.matrix.shape) for layer in whole.layers
    ]
    kept = sum(layer.matrix.nnz for layer in drawn.layers) / sum(np.prod(n.geometry.dense_shape) for n in drawn.layers)
    assert kept == pytest.approx(0.25, abs=0.06)
    result = eie.simulate(drawn)
    assert any(f"{drawn.layers[0].name}" in note for note in result.notes() if "synthetic weights" in note)
    assert any("drawn at random: density 0.25" in note for note in result.notes())


def test_only_what_is_missing_is_drawn(tmp_path):
    proto = models.mlp()
    onnx.save(proto, tmp_path / "m.onnx", save_as_external_data=True, location="w.data", size_threshold=2000)
    (tmp_path / "w.data").unlink()
    net = eie.load(tmp_path / "m.onnx", density=0.5)
    assert [layer.synthetic for layer in net.layers] == [True, True, False]
    np.testing.assert_array_equal(net.layers[2].weights, eie.load(_whole(tmp_path)).layers[2].weights)


def _whole(folder):
    return models.saved(models.mlp(), folder / "whole.onnx")


def test_weights_that_were_left_as_inputs_are_named(tmp_path):
    gemm = models.node("Gemm", ["x", "w", "b"], ["y"])
    proto = models.model([gemm], {"x": ["n", 6], "w": [6, 4], "b": [4]}, {"y": ["n", 4]}, {})
    (tmp_path / "bare.onnx").write_bytes(proto.SerializeToString())
    with pytest.raises(ModelError, match=r"constant weights: w, b: weights without numbers, which --density D"):
        eie.load(tmp_path / "bare.onnx")


def test_what_is_refused(tmp_path):
    with pytest.raises(ModelError, match="all of its weights are there"):
        eie.load(_whole(tmp_path), density=0.5)
    for density in (0, 1.5):
        with pytest.raises(ModelError, match="must be above 0, and at most 1"):
            eie.load(_whole(tmp_path), density=density)
    with pytest.raises(ModelError, match=r"w\.data, which is missing: --density D"):
        eie.load(lost(models.mlp(), tmp_path))


def test_shapes_of_other_formats(tmp_path):
    (tmp_path / "m.toml").write_text(
        '[[layer]]\nname = "a"\ninputs = 200\noutputs = 100\n'
        '[[layer]]\nname = "b"\ninputs = 200\noutputs = 100\nweight_density = 0.5\n'
    )
    a, b = eie.load(tmp_path / "m.toml", density=0.1).layers
    assert a.weight_density == pytest.approx(0.1, abs=0.01)
    assert b.weight_density == pytest.approx(0.5, abs=0.01)
    with pytest.raises(ModelError, match=r"weight_density \(or --density\)"):
        eie.load(tmp_path / "m.toml")
    # Asked for and not done would be taken for done.
    with pytest.raises(ModelError, match=r"resnet-50\.toml: density=0\.2: no layer takes it, each has weights"):
        eie.load("resnet-50", density=0.2)
    (tmp_path / "t.csv").write_text("Layer, M, N, K,\na, 3, 100, 200,\n")
    (layer,) = eie.load(tmp_path / "t.csv", density=0.1).layers
    assert layer.synthetic
    assert layer.weight_density == pytest.approx(0.1, abs=0.01)
    assert eie.load(tmp_path / "t.csv").layers[0].weight_density == 1
