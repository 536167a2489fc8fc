"""Song Han's compressed SqueezeNet on a photo of a cat: read, compiled, run and right; skipped where it is missing."""

import csv

import numpy as np
import pytest

import eie

CATS = {281, 282, 283, 284, 285}
MEANS = (104, 117, 123)


@pytest.fixture(scope="module")
def net_file(shared):
    path = shared / "data" / "compressed_SqueezeNet.net"
    if not path.is_file():
        pytest.skip(f"{path} is not here")
    return path


@pytest.fixture(scope="module")
def photo():
    """float32 (1, 3, 227, 227) as Caffe prepares it: BGR, means subtracted."""
    data = pytest.importorskip("skimage.data", reason="needs scikit-image")
    resize = pytest.importorskip("skimage.transform").resize
    image = resize(data.chelsea(), (227, 227), preserve_range=True, anti_aliasing=True)
    return np.ascontiguousarray((image[:, :, ::-1] - MEANS).transpose(2, 0, 1)[None], np.float32)


def test_loads_as_described(net_file):
    net = eie.load(net_file)
    assert len(net.layers) == 26
    kernels = [layer.kernel for layer in net.layers]
    assert sum(kernel.size for kernel in kernels) == 1_244_448
    assert sum(np.count_nonzero(kernel) for kernel in kernels) == 422_083 - 6_162
    assert "1,244,448 weights, 422,083 stored entries of which 6,162 fillers, density 0.334" in net.notes[0]
    assert all(len(np.unique(kernel)) <= 256 for kernel in kernels)
    assert net.layers[-1].geometry.pads == (1, 1, 1, 1)


@pytest.fixture(scope="module")
def result(net_file, photo):
    """The run on the photo, 8-bit codes, zeros of the float32 datapath."""
    program = eie.compile(eie.load(net_file), eie.EIE_64PE.replace(weight_bits=8))
    assert all(layer.shared.exact for layer in program.layers)
    return eie.simulate(program, photo, datapath="float32")


def test_the_cat_is_a_cat(result):
    last = result.layers[-1].computed
    for scores in (last.float32, last.fixed.value):
        first_three = np.argsort(-scores.mean(axis=(2, 3))[0])[:3]
        assert set(first_three.tolist()) <= CATS


def test_report_of_every_layer(result):
    rows = list(csv.DictReader(result.to_csv().splitlines()))
    layers = [row for row in rows if row["layer"] != "total"]
    assert [len(layers), layers[0]["layer"], layers[-1]["layer"]] == [26, "conv1", "conv10"]
    assert all(int(row["cycles"]) > 0 for row in layers)
