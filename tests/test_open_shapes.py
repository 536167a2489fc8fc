"""Files with open sizes, several inputs, uses and time first: outputs as onnxruntime's, ids as they are."""

import numpy as np
import pytest

import eie
from eie.errors import EieError, TraceError
from eie.model.dataflow import dataflow
from eie.recording.record import record
from eie.recording.rows import Recorder
from eie.recording.run_own import run_own
from eie.simulator.reference import run_given

onnx = pytest.importorskip("onnx", reason="needs the onnx extra")
ort = pytest.importorskip("onnxruntime", reason="needs the onnx extra")

import onnx_models as make  # noqa: E402

RNG = np.random.default_rng(0)
SAMPLES = 4


def compare(path, shapes, at=0, out=0):
    """Run four samples as read and in onnxruntime, which has their axis ``at`` and, of the output, ``out``."""
    network = eie.load(path, input_shape=shapes)
    rng = np.random.default_rng(1)
    x = {name: rng.standard_normal((SAMPLES, *shape)).astype(np.float32) for name, shape in shapes.items()}
    (read,) = run_given(dataflow(network), {layer.name: layer for layer in network.layers}, x)
    session = ort.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    (there,) = session.run(None, {name: np.moveaxis(values, 0, at) for name, values in x.items()})
    np.testing.assert_allclose(read, np.moveaxis(there, out, 0), atol=1e-5, rtol=1e-5)
    return network


CASES = {
    "cnn_hw_dyn": ({"x": (3, 12, 10)}, 0, 0),
    "seq_mlp_3d": ({"x": (7, 16)}, 0, 0),
    "lstm_tf_dynT": ({"x": (6, 20)}, 1, 0),
    "two_inputs": ({"a": (8,), "b": (4,)}, 0, 0),
    "shared_loop3": ({"x": (8,)}, 0, 0),
    "timefirst": ({"x": (5, 6)}, 0, 1),
}


@pytest.mark.parametrize("name", CASES)
def test_shared_cases(name, shared):
    shapes, at, out = CASES[name]
    network = compare(shared / "cases" / "models" / f"{name}.onnx", shapes, at, out)
    assert not network.unmodelled


def of(folder, nodes, inputs, outputs, **weights):
    drawn = {
        name: make.drawn(RNG, *size, density=1) if isinstance(size, tuple) else size for name, size in weights.items()
    }
    proto = make.model(nodes, inputs, {"y": outputs}, drawn)
    (folder / "m.onnx").write_bytes(proto.SerializeToString())
    return folder / "m.onnx"


def test_an_image_of_open_size(tmp_path):
    nodes = [
        make.node("Conv", ["x", "c"], ["h"]),
        make.node("ReduceMean", ["h", "places"], ["m"], keepdims=0),
        make.node("MatMul", ["m", "fc"], ["y"]),
    ]
    path = of(tmp_path, nodes, {"x": ["b", 2, "h", "w"]}, ["b", 3], c=(4, 2, 3, 3), fc=(4, 3), places=np.array([2, 3]))
    compare(path, {"x": (2, 7, 9)})
    compare(path, {"x": (2, 5, 5)})


def test_time_before_the_batch_with_states_of_a_dynamic_shape(tmp_path):
    """How exporters make the first states: zeros of the shape that the input turns out to have."""
    nodes = [
        make.node("Shape", ["x"], ["s"]),
        make.node("Gather", ["s", "batch_axis"], ["n"]),
        make.node("Concat", ["directions", "n", "hidden"], ["size"], axis=0),
        make.node("ConstantOfShape", ["size"], ["zeros"]),
        make.node("LSTM", ["x", "w", "r", "", "", "zeros", "zeros"], ["", "last"], hidden_size=5),
        make.node("Squeeze", ["last", "first"], ["flat"]),
        make.node("MatMul", ["flat", "fc"], ["y"]),
    ]
    sizes = {"batch_axis": np.array([1]), "directions": np.array([1]), "hidden": np.array([5]), "first": np.array([0])}
    path = of(tmp_path, nodes, {"x": ["t", "b", 6]}, ["b", 3], w=(1, 20, 6), r=(1, 20, 5), fc=(5, 3), **sizes)
    # As many steps as samples: an exchange of the two would show in no shape.
    network = compare(path, {"x": (SAMPLES, 6)}, at=1)
    assert [layer.geometry.kind for layer in network.layers] == ["lstm", "linear"]


def test_a_weight_used_three_times_of_two_inputs(tmp_path):
    nodes = [
        make.node("MatMul", ["a", "wa"], ["h"]),
        make.node("MatMul", ["b", "wb"], ["g"]),
        make.node("Add", ["h", "g"], ["s0"]),
        *(make.node("MatMul", [f"s{i}", "loop"], [f"s{i + 1}"], f"loop{i}") for i in range(3)),
        make.node("MatMul", ["s3", "out"], ["y"]),
    ]
    path = of(tmp_path, nodes, {"a": ["n", 4], "b": ["n", 3]}, ["n", 2], wa=(4, 6), wb=(3, 6), loop=(6, 6), out=(6, 2))
    network = compare(path, {"a": (4,), "b": (3,)})
    assert len(network.layers) == 4
    assert sorted(len(uses) for uses in network.graph.uses_by_layer.values()) == [1, 1, 1, 3]


# Ids


def table(folder):
    nodes = [make.node("Gather", ["table", "ids"], ["e"]), make.node("MatMul", ["e", "fc"], ["y"], "fc")]
    path = of(folder, nodes, {"ids": ["b", 4]}, ["b", 4, 2], table=(9, 6), fc=(6, 2))
    proto = onnx.load(path)
    proto.graph.input[0].type.tensor_type.elem_type = onnx.TensorProto.INT64
    path.write_bytes(proto.SerializeToString())
    return path


def test_ids_are_looked_up_as_they_are(tmp_path):
    path, ids = table(tmp_path), np.array([[0, 8, 3, 3], [1, 2, 3, 4]])
    rows = onnx.numpy_helper.to_array(onnx.load(path).graph.initializer[0])
    trace = record(path, eie.Samples.of(ids), values=True)
    np.testing.assert_array_equal(trace.layers["fc"].dense(), rows[ids].reshape(-1, 6))
    # Whole floats are ids: files of floats hold them, too.
    assert record(path, eie.Samples.of(ids.astype(np.float32))).layers["fc"].rows == 8


@pytest.mark.parametrize("wrong", [9, -10, 2**40])
def test_ids_out_of_range_are_one_line(wrong, tmp_path):
    path, ids = table(tmp_path), np.array([[0, 8, 3, wrong]])
    with pytest.raises(EieError, match=r"indices element out of data bounds|out of bounds|out of range") as said:
        record(path, eie.Samples.of(ids))
    assert "\n" not in str(said.value)
    with pytest.raises(EieError, match=r"out of data bounds|out of bounds|out of range"):
        eie.simulate(path, ids)


def test_ids_that_are_not_whole_are_refused(tmp_path):
    path, ids = table(tmp_path), np.array([[0, 8, 3, 0.5]])
    with pytest.raises(TraceError, match=r"input 'ids' takes whole numbers \(int64\): the array holds 0\.5"):
        record(path, eie.Samples.of(ids))
    with pytest.raises(EieError, match=r"must be int64 numbers, as the network's input 'ids' takes them"):
        eie.simulate(path, ids)


# Host parts of which each sample is all of the batch


def test_rows_are_their_samples_where_a_host_part_mixes_axes(tmp_path):
    """As many steps as samples, turned by an operator of the host: no shape tells one from the other."""
    nodes = [
        make.node("MatMul", ["x", "a"], ["h"], "a"),
        make.node("Transpose", ["h"], ["t"], perm=[1, 0, 2]),
        make.node("Erf", ["t"], ["e"]),
        make.node("MatMul", ["e", "b"], ["y"], "b"),
    ]
    path = of(tmp_path, nodes, {"x": ["b", SAMPLES, 6]}, [SAMPLES, "b", 3], a=(6, 6), b=(6, 3))
    network = eie.load(path)
    assert [node.op for node in network.graph.nodes] == ["layer", "host", "layer"]
    x = np.zeros((SAMPLES, SAMPLES, 6), np.float32)
    x[2] = 1
    recorder = Recorder(values=False)
    run_own(network, eie.Samples.of(x), SAMPLES, recorder)
    for name in "ab":
        np.testing.assert_array_equal(recorder.layers()[name].sample_density, [0, 0, 1, 0])


def test_an_input_without_a_batch_is_fed_whole(tmp_path):
    """A vector of stated length: all of it is a sample, one run each."""
    path = of(tmp_path, [make.node("MatMul", ["x", "fc"], ["y"], "fc")], {"x": [6]}, [3], fc=(6, 3))
    x = np.array([[0, 0, 1, 2, 0, 3], [0, 0, 0, 0, 0, 1]], np.float32)
    np.testing.assert_array_equal(record(path, eie.Samples.of(x)).layers["fc"].mask, x != 0)
