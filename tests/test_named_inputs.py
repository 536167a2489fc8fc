"""Models of several inputs and of open sizes: arrays by name and recorded traces are all that a run needs."""

import json

import numpy as np
import pytest

import eie
from eie.errors import ModelError, TraceError

pytest.importorskip("onnx")
models = __import__("onnx_models")
RNG = np.random.default_rng(5)


def two_inputs(folder):
    weights = {"a.weight": models.drawn(RNG, 8, 6), "b.weight": models.drawn(RNG, 4, 6)}
    nodes = [
        models.node("MatMul", ["x", "a.weight"], ["p"]),
        models.node("MatMul", ["z", "b.weight"], ["q"]),
        models.node("Add", ["p", "q"], ["y"]),
    ]
    return models.saved(
        models.model(nodes, {"x": ["n", 8], "z": ["n", 4]}, {"y": ["n", 6]}, weights), folder / "m.onnx"
    )


def open_sizes(folder):
    nodes = [models.node("Conv", ["x", "c.weight"], ["y"])]
    weights = {"c.weight": models.drawn(RNG, 4, 3, 3, 3)}
    proto = models.model(nodes, {"x": ["n", 3, "h", "w"]}, {"y": ["n", 4, "i", "j"]}, weights)
    return models.saved(proto, folder / "m.onnx")


def test_arrays_by_name_are_recorded_and_run(tmp_path):
    path = two_inputs(tmp_path)
    x, z = np.eye(4, 8, dtype=np.float32), np.ones((4, 4), np.float32)
    np.savez(tmp_path / "i.npz", z=z, x=x)
    trace = eie.record(path, eie.read_samples(tmp_path / "i.npz"))
    np.testing.assert_array_equal(trace.layers["a"].mask, x != 0)
    np.testing.assert_array_equal(trace.layers["b"].mask, z != 0)
    computed, recorded = eie.simulate(path, {"x": x, "z": z}), eie.simulate(path, trace)
    assert [r.activity.cycles.tolist() for r in recorded.layers] == [
        c.activity.cycles.tolist() for c in computed.layers
    ]
    with pytest.raises(TraceError, match="takes x, z; arrays holds x: none for z"):
        eie.record(path, eie.Samples.of({"x": x}))


def test_arrays_by_name_on_the_command_line(tmp_path, cli):
    path = two_inputs(tmp_path)
    np.savez(tmp_path / "i.npz", z=np.ones((4, 4), np.float32), x=np.eye(4, 8, dtype=np.float32))
    assert cli("trace", "record", path.name, "i.npz", "-o", "t.npz")[0] == 0
    results = []
    for trace in ("i.npz", "t.npz"):
        code, out, err = cli("run", path.name, "--trace", trace, "--json", "-")
        assert code == 0, err
        results.append([layer["cycles"] for layer in json.loads(out)["layers"]])
    assert results[0] == results[1]


def test_open_sizes_are_those_of_what_runs(tmp_path):
    path = open_sizes(tmp_path)
    x = RNG.standard_normal((2, 3, 6, 7)).astype(np.float32)
    eie.record(path, eie.Samples.of(x)).save(tmp_path / "t.npz")
    trace = eie.Trace.load(tmp_path / "t.npz")
    assert trace.input_shapes == {"x": (3, 6, 7)}
    assert eie.simulate(path, trace).layers[0].activity.products == eie.simulate(path, x).layers[0].activity.products
    assert eie.simulate(path, np.moveaxis(x, 1, -1), layout="nhwc").samples == 2
    for shape in ((3, 6, 7), {"x": (3, 6, 7)}, {"x": (1, 3, 6, 7)}):
        assert eie.load(path, input_shape=shape).graph.inputs == (("x", (3, 6, 7)),)
    with pytest.raises(ModelError, match="input shape of w: its inputs are x"):
        eie.load(path, input_shape={"w": (3, 6, 7)})
