"""Networks as files: what is written is read back equal, damage is refused in one line."""

import contextlib
import json
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from small_networks import cnn, images, outputs

import eie
from eie.compression.share import share
from eie.importers import stored
from eie.model.geometry import Conv2d

SUFFIXES = [".safetensors", ".npz"]


def lstm_network():
    rng = np.random.default_rng(0)
    layer = eie.Layer.from_lstm(
        name="lstm",
        input_weights=rng.standard_normal((8, 3)),
        hidden_weights=rng.standard_normal((8, 2)),
        bias=rng.standard_normal(8),
        reverse=True,
    )
    return eie.Network(name="speech", layers=(replace(layer, synthetic=True),), sequential=True)


def shared_cnn():
    net = cnn()
    grouped = eie.Layer.from_conv(
        name="conv2",
        weights=np.ones((6, 2, 3, 3)),
        bias=np.arange(6.0),
        conv=Conv2d(in_channels=4, out_channels=6, kernel=(3, 3), groups=2),
    )
    layers = (net.layers[0], grouped, *net.layers[2:])
    return replace(net, layers=tuple(share(layer, 3)[0] for layer in layers), notes=("a note",), source="somewhere")


def assert_equal(ours, theirs):
    for name in ("name", "sequential", "source", "notes"):
        assert getattr(ours, name) == getattr(theirs, name)
    for one, other in zip(ours.layers, theirs.layers, strict=True):
        for name in ("name", "relu", "synthetic", "geometry"):
            assert getattr(one, name) == getattr(other, name)
        assert np.array_equal(one.matrix.dense(), other.matrix.dense())
        assert one.matrix.data.dtype == other.matrix.data.dtype
        for name in ("codebook", "bias", "bias_codes"):
            assert np.array_equal(getattr(one, name), getattr(other, name)) or getattr(one, name) is None
            assert (getattr(one, name) is None) == (getattr(other, name) is None)


@pytest.mark.parametrize("suffix", SUFFIXES)
@pytest.mark.parametrize("make", [cnn, shared_cnn, lstm_network, lambda: eie.load("lenet-300-100")])
def test_networks_come_back_equal(tmp_path, suffix, make):
    net = make()
    eie.save(net, tmp_path / f"net{suffix}")
    back = eie.load(tmp_path / f"net{suffix}")
    assert_equal(back, net)
    if net.graph is not None:
        assert back.graph.describe() == net.graph.describe()
        assert np.array_equal(outputs(back, images()), outputs(net, images()))
    if net.trace is not None:
        assert np.array_equal(back.trace.layers["ip1"].dense(), net.trace.layers["ip1"].dense())
        assert np.array_equal(back.trace.labels, net.trace.labels)


def test_other_programs_find_a_plain_state_dict(tmp_path):
    from safetensors.numpy import load_file

    net = cnn()
    eie.save(net, tmp_path / "net.safetensors", np.array([2, 0, 1]))
    arrays = load_file(tmp_path / "net.safetensors")
    assert arrays["conv2.weight"].shape == (6, 4, 3, 3)
    assert np.array_equal(arrays["conv2.weight"], net.layers[1].kernel)
    assert np.array_equal(arrays["fc1.bias"], net.layers[2].bias)
    assert arrays["eie.output_order"].tolist() == [2, 0, 1]


def test_another_suffix():
    with pytest.raises(eie.EieError, match=r"net.pt: unknown suffix '.pt': must be one of .npz, .safetensors"):
        eie.save(cnn(), "net.pt")


LSTM = {"kind": "Lstm", "input_size": 1, "hidden_size": 1, "reverse": False}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"schema": 9}, "m: eie.network: schema 9: this version reads 1"),
        ({"schema": True}, "m: eie.network: schema True: this version reads 1"),
        ({"schema": 1.0}, "m: eie.network: schema 1.0: this version reads 1"),
        ({"layers": 3}, "m: damaged model: 'int' object is not iterable"),
        ({"layers": []}, "network 'lenet-300-100': no layers"),
        ({"layers": [{"name": "ip1"}]}, "m: damaged model: 'geometry'"),
        ({"layers": [{"name": "ip1", "relu": True, "geometry": {"kind": "Moebius"}}]}, "m: damaged model"),
        (
            {"layers": [{"name": "ip1", "relu": True, "synthetic": False, "geometry": LSTM}]},
            r"m: damaged model: layer 'ip1' has a matrix of shape \(300, 784\), not \(4, 2\)",
        ),
        ({"graph": {"inputs": []}}, "m: damaged model: 'nodes'"),
    ],
)
def test_a_damaged_description_is_refused(change, message):
    arrays = stored.to_arrays(eie.load("lenet-300-100"))
    header = json.loads(arrays[stored.KEY].tobytes()) | change
    arrays[stored.KEY] = np.frombuffer(json.dumps(header).encode(), np.uint8)
    with pytest.raises(eie.EieError, match=message):
        stored.from_arrays(arrays, "m")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"ip2.weight": None}, "m: damaged model: 'ip2.weight'"),
        ({"ip2.weight": np.zeros((100, 301))}, "not a sequence"),
        ({stored.KEY: np.zeros(3)}, "m: eie.network: has dtype float64: must be JSON text as uint8"),
        ({"eie.trace/header": np.zeros(3, np.uint8)}, "m: eie.trace/: header: not valid JSON"),
    ],
)
def test_damaged_arrays_are_refused(change, message):
    arrays = stored.to_arrays(eie.load("lenet-300-100")) | change
    with pytest.raises(eie.EieError, match=message):
        stored.from_arrays({name: array for name, array in arrays.items() if array is not None}, "m")


@given(st.data())
@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_flipped_bytes_never_give_a_traceback(tmp_path, data):
    path = tmp_path / "net.safetensors"
    eie.save(shared_cnn(), path)
    content = bytearray(path.read_bytes())
    content[data.draw(st.integers(0, len(content) - 1))] ^= data.draw(st.integers(1, 255))
    path.write_bytes(content)
    with contextlib.suppress(eie.EieError):
        assert eie.load(path).layers
