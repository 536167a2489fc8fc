"""The one rule for activations of another shape than the network's input, from the command line and from Python."""

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import eie
from eie.cli.inputs import read_inputs
from eie.errors import TraceError
from eie.model.fitting import fits, fitted
from eie.model.graph import Graph
from eie.recording.rows import Recorder
from eie.recording.run_own import run_own

SHAPE = (3, 5, 4)
LAYER = eie.Layer.from_conv("conv", np.arange(1.0, 3 * 4 * 2 + 1).reshape(2, 3, 2, 2))
NETWORK = eie.Network(name="n", layers=(LAYER,), graph=Graph.sequence("x", SHAPE, [("layer", "conv")]))
PHOTOS = np.random.default_rng(0).random((2, *SHAPE)).astype(np.float32)
sizes = st.lists(st.integers(1, 4), min_size=1, max_size=3)


@given(sizes, st.integers(1, 3), st.data())
def test_axes_of_one_come_and_go(wanted, count, data):
    values = np.random.default_rng(0).random((count, *wanted))
    given_shape = [size for size in wanted if size != 1]
    for place in data.draw(st.lists(st.integers(0, 3), max_size=3)):
        given_shape.insert(min(place, len(given_shape)), 1)
    np.testing.assert_array_equal(fitted(values.reshape(count, *given_shape), wanted, "x", batched=True), values)


@given(sizes, st.integers(1, 3))
def test_samples_may_be_flat_and_alone(wanted, count):
    values = np.random.default_rng(0).random((count, *wanted))
    np.testing.assert_array_equal(fitted(values.reshape(count, -1), wanted, "x", batched=True), values)
    np.testing.assert_array_equal(fitted(values, (int(np.prod(wanted)),), "x", batched=True), values.reshape(count, -1))
    np.testing.assert_array_equal(fitted(values[0].reshape(-1), (7, *wanted)[1:], "x"), values[:1])


@given(st.lists(st.integers(1, 5), min_size=1, max_size=5), st.lists(st.sampled_from([-1, 1, 2, 3, 4]), max_size=4))
@settings(max_examples=300)
def test_whatever_is_taken_keeps_its_order(shape, wanted):
    values = np.arange(np.prod(shape)).reshape(shape)
    if fits(tuple(shape), wanted):
        taken = fitted(values, wanted, "x")
        np.testing.assert_array_equal(taken.reshape(-1), values.reshape(-1))
        assert all(want in (-1, size) for size, want in zip(taken.shape[1:], wanted, strict=True))
    else:
        with pytest.raises(TraceError, match="the activations have shape"):
            fitted(values, wanted, "x")


@pytest.mark.parametrize("order", [p for p in itertools.permutations(range(3)) if p != (0, 1, 2)])
def test_no_other_order_of_axes_is_taken(order):
    turned = PHOTOS.transpose(0, *(1 + axis for axis in order))
    with pytest.raises(TraceError, match=r"x is 3 x 5 x 4 a sample, the activations have shape \(2, "):
        fitted(turned, SHAPE, "x")
    if order == (1, 2, 0):
        np.testing.assert_array_equal(fitted(turned, SHAPE, "x", layout="nhwc"), PHOTOS)
        np.testing.assert_array_equal(fitted(turned[0], SHAPE, "x", layout="nhwc"), PHOTOS[:1])


def test_layouts_of_both_sides():
    last = np.moveaxis(PHOTOS, 1, -1)
    np.testing.assert_array_equal(fitted(PHOTOS, (5, 4, 3), "x", layout="nchw"), last)
    # Each side may be what the other is said to be.
    np.testing.assert_array_equal(fitted(last, (5, 4, 3), "x", layout="nhwc"), last)
    np.testing.assert_array_equal(fitted(PHOTOS, SHAPE, "x", layout="nchw"), PHOTOS)
    # A grey picture without its channel, and one with it.
    np.testing.assert_array_equal(fitted(PHOTOS[:, 0], (1, 5, 4), "x", layout="nhwc"), PHOTOS[:, :1])
    with pytest.raises(TraceError, match="neither as nhwc nor as they are"):
        fitted(PHOTOS.reshape(2, -1), SHAPE, "x", layout="nhwc")  # which of the two was flattened?
    with pytest.raises(TraceError, match="neither as nhwc nor as they are"):
        fitted(PHOTOS, (60,), "x", layout="nhwc")
    with pytest.raises(TraceError, match="'nhwc'"):
        eie.simulate(NETWORK, PHOTOS, layout="NHWC")


@pytest.mark.parametrize(
    ("shape", "wanted", "whole"),
    [
        ((5, 28, 28), (1, 28, 28), (5, 1, 28, 28)),
        ((28, 28), (1, 28, 28), (1, 1, 28, 28)),
        ((16, 5), (-1, 5), (1, 16, 5)),
        ((3, 16, 5), (-1, 5), (3, 16, 5)),
        ((2, 80), (-1, 5), (2, 16, 5)),
        ((7,), (7,), (1, 7)),
        ((7, 1), (7,), (1, 7)),
        ((7,), (1,), (7, 1)),
        ((8, 98), (784,), None),  # a batch of the wrong width, not one sample
        ((2, 6), (1, -1, -1), (1, 1, 2, 6)),
        ((6,), (-1, -1), None),  # 2 x 3 or 3 x 2
        ((4, 6), (3, -1, -1), None),
        ((3, 6), (3, -1, -1), None),  # nothing says which of the two sides is 1
        ((2, 1, 5, 1), (-1, -1), None),  # nor here
        ((), (2,), None),
        ((1,) * 32, (1, 1, 1), (1, 1, 1, 1)),
    ],
)
def test_which_reading_is_taken(shape, wanted, whole):
    values = np.zeros(shape)
    if whole is None:
        assert not fits(shape, wanted)
    else:
        assert fitted(values, wanted, "x").shape == whole


SHAPES = [
    (2, 3, 5, 4), (3, 5, 4), (2, 60), (60,), (2, 3, 5, 4, 1), (2, 1, 3, 5, 4),  # taken
    (2, 5, 4, 3), (2, 3, 4, 5), (5, 4, 3), (2, 15, 4), (2, 59),  # not
]  # fmt: skip


@pytest.mark.parametrize("shape", SHAPES)
def test_command_line_python_and_recording_agree(tmp_path, shape):
    array = np.random.default_rng(1).random(shape).astype(np.float32)
    np.save(tmp_path / "a.npy", array)

    def from_file():
        return eie.simulate(NETWORK, read_inputs(str(tmp_path / "a.npy"), None, NETWORK, None), conv="im2col")

    def recorded():
        recorder = Recorder(values=True)
        run_own(NETWORK, eie.Samples.of(array), 16, recorder)
        # A layer on its own is told no size of a map, and runs by im2col.
        return eie.simulate(LAYER, eie.Trace(layers=recorder.layers()))

    outcomes = []
    for call in (lambda: eie.simulate(NETWORK, array, conv="im2col"), from_file, recorded):
        try:
            result = call()
            outcomes.append((result.samples, int(result.layers[0].activity.cycles.sum())))
        except TraceError as error:
            outcomes.append(str(error)[str(error).index("is 3 x 5 x 4 a sample, the activations have shape") :])
    assert len(set(outcomes)) == 1, outcomes
    assert (outcomes[0][0] != "i") == (shape in SHAPES[:6])


def test_the_refusal_names_the_option_and_the_option_works(cli, tmp_path):
    last = np.moveaxis(PHOTOS, 1, -1)
    np.save("last.npy", last)
    np.save("first.npy", PHOTOS)
    eie.save(NETWORK, "n.eie")
    program = eie.compile(NETWORK)
    program.save("n.safetensors")
    with pytest.raises(TraceError, match=r'--layout nhwc \(layout="nhwc" in Python\) moves them'):
        eie.simulate(NETWORK, last)
    cycles = eie.simulate(NETWORK, PHOTOS).to_csv()
    assert eie.simulate(NETWORK, last, layout="nhwc").to_csv() == cycles
    commands = [
        ("run", "n.eie", "--trace"),
        ("simulate", "n.safetensors", "--trace"),
        ("compare", "n.eie", "--baseline", "dense", "--trace"),
        ("sweep", "n.eie", "--vary", "n_pe=2,4", "-o", "out", "--trace"),
    ]
    for words in commands:
        code, _, err = cli(*words, "last.npy")
        assert (code, "--layout nhwc" in err) == (1, True), words
        assert cli(*words, "last.npy", "--layout", "nhwc")[0] == 0, words
        code, _, err = cli(*words[:-1], "--layout", "nhwc")
        assert (code, "is for activations given as an array" in err) == (1, True), words
    assert "--layout nhwc" in cli("trace", "record", "n.eie", "last.npy", "-o", "t.npz")[2]
    for file, words in (("last.npy", ["--layout", "nhwc"]), ("first.npy", [])):
        assert cli("trace", "record", "n.eie", file, "-o", f"{file}.npz", *words)[0] == 0
    bits = [eie.Trace.load(f"{file}.npz").layers["conv"].bits for file in ("last.npy", "first.npy")]
    np.testing.assert_array_equal(*bits)
    swept = eie.sweep((NETWORK, last), {"n_pe": [2]}, layout="nhwc")
    assert swept.layers[0]["cycles"] == eie.sweep((NETWORK, PHOTOS), {"n_pe": [2]}).layers[0]["cycles"]
    compared = eie.compare(NETWORK, ["dense"], activations=last, layout="nhwc")
    assert compared.columns[0].latency_us == eie.compare(NETWORK, ["dense"], activations=PHOTOS).columns[0].latency_us


def test_one_photo_is_not_cut_into_its_planes(tmp_path):
    np.save(tmp_path / "one.npy", PHOTOS[0])
    inputs = read_inputs(str(tmp_path / "one.npy"), 1, NETWORK, None)
    assert eie.simulate(NETWORK, inputs).samples == 1


def test_traces_and_rows_have_no_layout():
    rows = eie.Trace(layers={"conv": eie.LayerTrace.from_dense(np.ones((12, 12)), products=12)})
    with pytest.raises(TraceError, match="a trace holds every layer's inputs in the layer's own order"):
        eie.simulate(LAYER, rows, layout="nhwc")
    with pytest.raises(TraceError, match="which are rows of a layer, not maps"):
        eie.simulate(LAYER, np.ones((12, 12)), layout="nhwc")


def test_samples_run_as_they_are_recorded():
    samples = eie.Samples.of(PHOTOS, "photos")
    result = eie.simulate(NETWORK, samples)
    assert result.to_csv() == eie.simulate(NETWORK, PHOTOS).to_csv()
    assert (result.inputs_source, result.samples) == ("photos", 2)
    assert eie.simulate(NETWORK, eie.Samples.of(PHOTOS[0])).samples == 1
    # What has a label each is a batch: three classes are not those of three planes.
    with pytest.raises(TraceError, match="a sample, the activations have shape"):
        eie.simulate(NETWORK, eie.Samples.of(PHOTOS[0], labels=np.arange(3)))


def test_the_shared_photos(shared):
    models = shared / "cases" / "models"
    first, last = (np.load(models / f"{name}.npy") for name in ("chw", "hwc"))
    with pytest.raises(TraceError, match="--layout nhwc"):
        eie.simulate(models / "rgb.onnx", last)
    assert eie.simulate(models / "rgb.onnx", last, layout="nhwc").to_csv() == (
        eie.simulate(models / "rgb.onnx", first).to_csv()
    )
