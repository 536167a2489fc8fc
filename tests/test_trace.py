"""Traces: masks and values survive; what does not fit or is damaged is refused in one line."""

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import eie
from eie.errors import TraceError
from eie.formats.hashed import hashed


@given(st.integers(1, 40), st.integers(1, 6), st.integers(0, 2**32 - 1), st.booleans())
@settings(max_examples=25)
def test_file_round_trip(tmp_path_factory, width, samples, seed, pixels):
    rng = np.random.default_rng(seed)
    dense = (
        rng.integers(0, 256, (samples, width)) / np.float32(255) if pixels else rng.standard_normal((samples, width))
    )
    dense = (dense * (rng.random((samples, width)) < 0.5)).astype(np.float32)
    trace = eie.Trace(
        layers={"a": eie.LayerTrace.from_dense(dense)}, labels=rng.integers(0, 9, samples), source="somewhere"
    )
    path = tmp_path_factory.mktemp("trace") / "t.npz"
    trace.save(path)
    again = eie.Trace.load(path)
    assert np.array_equal(again.layers["a"].dense(), dense)
    assert again.labels.tolist() == trace.labels.tolist()
    assert (again.source, again.synthetic, again.samples) == ("somewhere", False, samples)
    assert again.layers["a"].density == pytest.approx(np.count_nonzero(dense) / dense.size)


NUMBERS = st.sampled_from([0.0, -0.0, 1.5, -2.0, 1e-45, -1e-45, 3.4e38, -3.4e38]) | st.floats(-9, 9, width=32)


@given(st.integers(1, 5), st.integers(1, 19), st.data())
@settings(max_examples=60)
def test_what_is_kept_is_what_numpy_calls_non_zero(rows, width, data):
    dense = np.array(data.draw(st.lists(NUMBERS, min_size=rows * width, max_size=rows * width)), np.float32)
    dense = dense.reshape(rows, width)
    kept = eie.LayerTrace.from_dense(dense)
    assert np.array_equal(kept.bits, np.packbits(dense != 0, axis=1))
    assert kept.values.tobytes() == dense[dense != 0].tobytes()
    assert not kept.values.flags.writeable
    # A zero has no sign once it is kept as a bit.
    assert kept.dense().tobytes() == (dense + 0).tobytes()
    start, stop = sorted(data.draw(st.tuples(st.integers(0, rows), st.integers(0, rows))))
    assert np.array_equal(kept.dense(start, stop), dense[start:stop])


@pytest.mark.parametrize("bad", [np.nan, -np.nan, np.inf, -np.inf])
def test_no_place_hides_what_is_not_finite(bad):
    for place in range(9):
        dense = np.ones(9, np.float32)
        dense[place] = bad
        with pytest.raises(TraceError, match="NaN or infinity"):
            eie.LayerTrace.from_dense(dense)


def test_pattern_only(tmp_path):
    layer = eie.LayerTrace.from_dense(np.eye(9)).without_values()
    eie.Trace(layers={"a": layer}).save(tmp_path / "t.npz")
    again = eie.Trace.load(tmp_path / "t.npz")
    assert again.layers["a"].values is None
    assert again.layers["a"].dense() is None
    assert np.array_equal(again.layers["a"].mask, np.eye(9, dtype=bool))
    program = eie.compile(eie.Layer.from_weights("a", np.ones((3, 9))))
    result = eie.simulate(program, again.head(2))
    assert result.layers[0].outputs is None
    assert result.samples == 2


@pytest.mark.parametrize(
    ("activations", "text"),
    [
        (np.ones((2, 2, 2)), r"input 'a' is 3 a sample, the activations have shape \(2, 2, 2\)"),
        (np.ones((0, 3)), "must be"),
        ([1.0, np.nan, 0], "activations holds NaN or infinity"),
        (["a"], "must be numbers"),
        (np.ones(4), "layer 'a' takes 3 inputs, the activations have 4"),
        ({"b": np.ones(3)}, "trace names b: the network has a"),
    ],
)
def test_activations_that_cannot_be_used(activations, text):
    program = eie.compile(eie.Layer.from_weights("a", np.ones((2, 3))))
    with pytest.raises(eie.EieError, match=text):
        eie.simulate(program, activations)


def test_networks_that_miss_activations():
    layers = (eie.Layer.from_weights("a", np.ones((2, 3))), eie.Layer.from_weights("b", np.ones((2, 2))))
    apart, chain = (
        eie.compile(eie.Network(name="net", layers=layers, sequential=sequential)) for sequential in (False, True)
    )
    with pytest.raises(eie.EieError, match="do not feed each other, so each needs activations: none for b"):
        eie.simulate(apart, np.ones(3))
    with pytest.raises(eie.EieError, match="no activations for the first layer, 'a'"):
        eie.simulate(chain, {"b": np.ones(2)})
    pattern = eie.Trace(layers={"a": eie.LayerTrace.from_dense(np.ones(3)).without_values()})
    with pytest.raises(eie.EieError, match="needs their values"):
        eie.simulate(chain, pattern)


def test_inconsistent_traces():
    one, two = eie.LayerTrace.from_dense(np.ones((1, 3))), eie.LayerTrace.from_dense(np.ones((2, 3)))
    with pytest.raises(eie.EieError, match="different numbers of samples: a 1, b 2"):
        eie.Trace(layers={"a": one, "b": two})
    with pytest.raises(eie.EieError, match="labels has shape"):
        eie.Trace(layers={"a": one}, labels=np.array([1, 2]))
    with pytest.raises(eie.EieError, match="no layers"):
        eie.Trace(layers={})


@pytest.mark.parametrize("damage", ["truncated", "foreign", "schema", "bits", "values", "scale", "spill", "text"])
def test_damaged_files(tmp_path, damage):
    path = tmp_path / "t.npz"
    eie.Trace(layers={"a": eie.LayerTrace.from_dense([1.0, 0, 2.5])}).save(path)
    arrays = dict(np.load(path))
    header = json.loads(arrays["header"].tobytes())
    reason = "damaged trace"
    if damage == "truncated":
        path.write_bytes(path.read_bytes()[:100])
        reason = "not a usable NumPy file"
    elif damage == "foreign":
        np.savez(path, x=np.ones(3))
        reason = "not a trace: it has no header"
    elif damage == "text":
        path.write_text("hello")
        reason = "not a usable NumPy file"
    else:
        if damage == "schema":
            header["schema"] = 7
            reason = "trace schema 7: this version reads 1"
        elif damage == "bits":
            arrays["bits/0"] = np.zeros((1, 9), np.uint8)
        elif damage == "values":
            arrays["values/0"] = np.ones(9, np.float32)
        elif damage == "scale":
            header["layers"][0]["scale"] = 0
        else:
            arrays["bits/0"] = arrays["bits/0"] | 1
        arrays["header"] = np.frombuffer(json.dumps(header).encode(), np.uint8)
        # With a right hash: what it cannot find is looked for as well.
        np.savez(path, **hashed(arrays, "header", header["schema"]))
    with pytest.raises(eie.EieError, match=reason) as caught:
        eie.Trace.load(path)
    assert "\n" not in str(caught.value)
