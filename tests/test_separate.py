"""Where operators alone tell the axis of the batch, a run agrees: a sample moves its place there, and no other."""

import numpy as np
import pytest

pytest.importorskip("onnxruntime")
onnx = pytest.importorskip("onnx")

from onnx import helper, numpy_helper  # noqa: E402
from onnx_models import model  # noqa: E402

import eie  # noqa: E402
from eie.importers.onnx import mixing  # noqa: E402
from eie.importers.onnx.constants import Constants  # noqa: E402
from eie.importers.onnx.nodes import plain_nodes  # noqa: E402
from eie.importers.onnx.separate import RULES, Placed, places  # noqa: E402
from eie.model.host import open_session  # noqa: E402

SAMPLES = 3
RNG = np.random.default_rng(0)
KERNEL, VECTOR = RNG.random((4, 2, 3, 3), np.float32), RNG.random(2, np.float32)


def ints(*values):
    return np.array(values, np.int64)


def case(op, shape, *constants, batch=0, inputs=1, **attributes):
    """An operator on inputs of a shape in which the batch has its axis, and on constants behind them."""
    return op, shape, batch, inputs, constants, attributes


# With the axis of the batch in the result.
KNOWN = [
    (case("Erf", (4, 5)), 0),
    (case("Relu", (4, 5), batch=2), 2),
    (case("Clip", (4, 5), np.float32(0), np.float32(1)), 0),
    (case("Add", (4, 5), inputs=2), 0),
    (case("Mul", (4, 5), RNG.random((2, 1, 4, 1), np.float32), batch=0), 1),
    (case("Max", (4, 5), batch=1, inputs=3), 1),
    (case("PRelu", (4, 5), RNG.random(5, np.float32)), 0),
    (case("Conv", (2, 6, 6), KERNEL, pads=[1, 1, 1, 1]), 0),
    (case("ConvTranspose", (4, 6, 6), KERNEL), 0),
    (case("MaxPool", (2, 6, 6), kernel_shape=[2, 2]), 0),
    (case("AveragePool", (2, 6, 6), kernel_shape=[2, 2], strides=[2, 2]), 0),
    (case("GlobalMaxPool", (2, 6, 6)), 0),
    (case("LRN", (4, 6, 6), size=3), 0),
    (case("BatchNormalization", (2, 6, 6), VECTOR, VECTOR, VECTOR, VECTOR), 0),
    (case("InstanceNormalization", (2, 6, 6), VECTOR, VECTOR), 0),
    (case("Transpose", (4, 5), perm=[1, 2, 0]), 2),
    (case("Transpose", (4, 5), batch=1), 1),
    (case("Unsqueeze", (4, 5), ints(0, -1), batch=1), 2),
    (case("Squeeze", (1, 5), ints(1)), 0),
    (case("Squeeze", (1, 5), ints(0), batch=1), 0),
    (case("ReduceMax", (4, 5), ints(1, -1), keepdims=0), 0),
    (case("ReduceMean", (4, 5), ints(0), batch=2), 2),
    (case("Softmax", (4, 5), axis=-1), 0),
    (case("LogSoftmax", (4, 5), axis=1), 0),
    (case("Concat", (4, 5), inputs=2, axis=1), 0),
    (case("Concat", (4, 5), inputs=2, axis=0, batch=1), 1),
    (case("Slice", (4, 5), ints(1, 0), ints(9, -1), ints(1, 2)), 0),
    (case("Slice", (4, 5), ints(0, 1), ints(2**31 - 1, 3), ints(0, 1)), 0),
    (case("Split", (4, 5), ints(2, 2), axis=1), 0),
    (case("MatMul", (4, 5), RNG.random((5, 7), np.float32), batch=1), 1),
    (case("Gemm", (5,), RNG.random((7, 5), np.float32), transB=1), 0),
    (case("Flatten", (4, 5)), 0),
    (case("Reshape", (4, 5), ints(0, -1)), 0),
    (case("Reshape", (4, 5), ints(-1, 2, 10)), 0),
    (case("Resize", (2, 6, 6), np.float32([]), np.float32([1, 1, 2, 1.5])), 0),
]
# All of these mix samples, or could.
UNKNOWN = [
    case("Softmax", (4, 5), axis=0),
    case("Softmax", (4, 5), axis=-1, batch=2),
    case("ReduceMean", (4, 5), ints(0)),
    case("ReduceMean", (4, 5)),
    case("CumSum", (4, 5), np.int64(0)),
    case("Concat", (4, 5), inputs=2, axis=0),
    case("Slice", (4, 5), ints(1), ints(9), ints(0)),
    case("Slice", (4, 5), ints(-1), ints(-9), ints(0), ints(-1)),
    case("Split", (4, 5), ints(1, 2), axis=0),
    case("MatMul", (4,), RNG.random((3, 7), np.float32), batch=1),
    case("MatMul", (4, 5), inputs=2, batch=2),
    case("Gemm", (3,), RNG.random((3, 5), np.float32), transA=1),
    case("Flatten", (4, 5), axis=2),
    case("Flatten", (4, 5), batch=1),
    case("Reshape", (4, 5), ints(-1, 5)),
    case("Reshape", (4, 5), ints(2, -1)),
    case("Reshape", (4, 5), ints(0, -1), batch=1),
    case("Conv", (4, 6, 6), RNG.random((4, 3, 3, 3), np.float32), batch=1),
    case("Resize", (2, 6, 6), np.float32([]), np.float32([2, 1, 1, 1])),
]


def made(what):
    op, shape, batch, inputs, constants, attributes = what
    whole = (*shape[:batch], SAMPLES, *shape[batch:])
    names = [f"x{i}" for i in range(inputs)]
    weights = {f"w{i}": np.asarray(array) for i, array in enumerate(constants)}
    outputs = ["y", "z"] if op == "Split" else ["y"]
    node = helper.make_node(op, [*names, *weights], outputs, "node", **attributes)
    proto = model([node], dict.fromkeys(names, whole), {"y": None}, weights)
    sizes = tuple(None if axis == batch else size for axis, size in enumerate(whole))
    return proto, names, whole, {name: Placed(sizes, batch) for name in names}


def followed(proto, inputs, tmp_path):
    path = tmp_path / "m.onnx"
    known = places(plain_nodes(path, proto), Constants(path, proto), inputs, "m")
    return known.get("y")


@pytest.mark.parametrize(("what", "axis"), KNOWN, ids=lambda value: value[0] if isinstance(value, tuple) else None)
def test_a_run_moves_what_the_rule_says(what, axis, tmp_path):
    proto, names, whole, inputs = made(what)
    placed = followed(proto, inputs, tmp_path)
    assert placed is not None
    assert placed.batch == axis
    del proto.graph.output[:]
    proto.graph.output.append(helper.make_empty_tensor_value_info("y"))
    session = open_session(proto.SerializeToString(), threads=1)
    feeds = {name: RNG.random(whole, np.float32) for name in names}
    before = session.run(None, feeds)[0]
    assert placed.rank == before.ndim
    assert all(size in (None, real) for size, real in zip(placed.sizes, before.shape, strict=True))
    for sample in range(SAMPLES):
        where = (*[slice(None)] * what[2], sample)
        other = {name: array.copy() for name, array in feeds.items()}
        for array in other.values():
            array[where] = RNG.random(array[where].shape, np.float32) - 2
        moved = np.moveaxis(session.run(None, other)[0] != before, axis, 0)
        assert moved[sample].any()
        assert not np.delete(moved, sample, 0).any()


@pytest.mark.parametrize("what", UNKNOWN, ids=lambda value: value[0])
def test_what_may_mix_is_not_known(what, tmp_path):
    proto, _, _, inputs = made(what)
    assert followed(proto, inputs, tmp_path) is None


def test_every_rule_was_tried():
    alike = {"Reduce", "Global"}
    tried = {what[0] for what, _ in KNOWN}
    left = {op for op in RULES if op not in tried and not any(op.startswith(head) for head in alike)}
    # Number by number, or of sizes alone.
    rest = {op for op in left if RULES[op] not in (RULES["Erf"], RULES["Add"])}
    assert rest == {"Shape"}


def test_places_in_a_map_hold_all_samples(tmp_path):
    """The second output of MaxPool counts through the batch."""
    node = helper.make_node("MaxPool", ["x"], ["y", "places"], kernel_shape=[2, 2])
    proto = model([node], {"x": ["n", 2, 6, 6]}, {"y": None}, {})
    assert followed(proto, {"x": Placed((None, 2, 6, 6), 0)}, tmp_path) is None


def test_a_file_that_is_plain_is_not_run(tmp_path, monkeypatch):
    """A convolution over turned maps, for which reading alone does not tell."""
    nodes = [
        helper.make_node("Transpose", ["x"], ["t"], perm=[0, 3, 1, 2]),
        helper.make_node("Conv", ["t", "w"], ["c"]),
        helper.make_node("Erf", ["c"], ["y"]),
        helper.make_node("Flatten", ["y"], ["f"]),
        helper.make_node("Gemm", ["f", "v"], ["z"]),
    ]
    weights = {"w": KERNEL, "v": RNG.random((64, 5), np.float32)}
    path = tmp_path / "plain.onnx"
    onnx.save(model(nodes, {"x": ["n", 6, 6, 2]}, {"z": ["n", 5]}, weights), str(path))
    monkeypatch.setattr(mixing, "BatchRuns", None)
    assert [layer.name for layer in eie.load(path).layers] == ["c", "z"]


def test_a_file_that_mixes_is_still_found(tmp_path):
    nodes = [
        helper.make_node("Transpose", ["x"], ["t"], perm=[1, 0]),
        helper.make_node("Softmax", ["t"], ["s"], "mixes", axis=1),
        helper.make_node("Transpose", ["s"], ["b"], perm=[1, 0]),
        helper.make_node("MatMul", ["b", "w"], ["y"]),
    ]
    weights = {"w": numpy_helper.from_array(RNG.random((6, 5), np.float32), "w")}
    path = tmp_path / "mixes.onnx"
    onnx.save(model(nodes, {"x": ["n", 6]}, {"y": ["n", 5]}, weights), str(path))
    assert "'mixes' (Softmax) mixes the samples" in "".join(eie.load(path).notes)
