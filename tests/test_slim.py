"""Large initialisers of an ``.onnx`` file stay in it: what is read of them is what protobuf reads."""

from __future__ import annotations

import numpy as np
import pytest

import eie
from eie.errors import ModelError

onnx = pytest.importorskip("onnx")
helper, numpy_helper = onnx.helper, onnx.numpy_helper

from eie.importers.onnx.slim import LARGE, without_weights  # noqa: E402
from eie.importers.onnx.tensors import embed_external, read_model  # noqa: E402

WIDTH = 160


def saved(path):
    """A product by a matrix beyond the bound, behind an Identity of it, and by a small one."""
    rng = np.random.default_rng(0)
    weights = {"w": rng.standard_normal((WIDTH, WIDTH), np.float32), "v": rng.standard_normal((WIDTH, 3), np.float32)}
    assert weights["v"].nbytes < LARGE < weights["w"].nbytes
    nodes = [
        helper.make_node("Identity", ["w"], ["again"]),
        helper.make_node("MatMul", ["x", "again"], ["h"]),
        helper.make_node("MatMul", ["h", "w"], ["g"]),
        helper.make_node("MatMul", ["g", "v"], ["y"]),
    ]
    ends = [helper.make_tensor_value_info(name, 1, ["n", size]) for name, size in (("x", WIDTH), ("y", 3))]
    constants = [numpy_helper.from_array(array, name) for name, array in weights.items()]
    graph = helper.make_graph(nodes, "g", ends[:1], ends[1:], constants)
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), str(path))
    return weights


def test_only_large_weights_are_left_out(tmp_path):
    weights = saved(tmp_path / "m.onnx")
    content = without_weights(tmp_path / "m.onnx")
    assert len(content) < weights["w"].nbytes
    model = read_model(tmp_path / "m.onnx")
    assert [tensor.HasField("raw_data") for tensor in model.graph.initializer] == [False, True]
    embed_external(model, tmp_path / "m.onnx")
    whole = onnx.load(str(tmp_path / "m.onnx"))
    for ours, right in zip(model.graph.initializer, whole.graph.initializer, strict=True):
        np.testing.assert_array_equal(numpy_helper.to_array(ours), numpy_helper.to_array(right))


def test_layers_are_those_of_the_file(tmp_path):
    weights = saved(tmp_path / "m.onnx")
    first, last = eie.load(tmp_path / "m.onnx").layers
    np.testing.assert_array_equal(first.matrix.dense(), weights["w"].T)
    np.testing.assert_array_equal(last.matrix.dense(), weights["v"].T)


def test_a_link_is_read_whole(tmp_path):
    (tmp_path / "there").mkdir()
    weights = saved(tmp_path / "there" / "m.onnx")
    (tmp_path / "m.onnx").symlink_to(tmp_path / "there" / "m.onnx")
    assert without_weights(tmp_path / "m.onnx") is None
    np.testing.assert_array_equal(eie.load(tmp_path / "m.onnx").layers[0].matrix.dense(), weights["w"].T)


@pytest.mark.parametrize("cut", [1, 1000, 70_000])
def test_a_truncated_file_is_refused(cut, tmp_path):
    saved(tmp_path / "m.onnx")
    content = (tmp_path / "m.onnx").read_bytes()
    (tmp_path / "m.onnx").write_bytes(content[:-cut])
    with pytest.raises(ModelError, match="damaged, truncated or not an ONNX file"):
        eie.load(tmp_path / "m.onnx")


def test_fewer_bytes_than_the_shape_says_are_refused(tmp_path):
    saved(tmp_path / "m.onnx")
    model = onnx.load(str(tmp_path / "m.onnx"))
    model.graph.initializer[0].dims[0] += 1
    onnx.save(model, str(tmp_path / "m.onnx"))
    with pytest.raises(ModelError, match="do not fit its shape"):
        eie.load(tmp_path / "m.onnx")


@pytest.mark.parametrize("domain", ["", "ai.onnx"])
def test_what_a_constant_node_holds_stays_in_the_file(domain, tmp_path):
    weights = saved(tmp_path / "m.onnx")
    model = onnx.load(str(tmp_path / "m.onnx"))
    kept = [tensor for tensor in model.graph.initializer if tensor.name != "w"]
    del model.graph.initializer[:]
    model.graph.initializer.extend(kept)
    model.graph.node.insert(0, helper.make_node("Constant", [], ["w"], domain=domain))
    # Under a name of its own, or none: what others read is the node's result.
    model.graph.node[0].attribute.append(helper.make_attribute("value", numpy_helper.from_array(weights["w"], "other")))
    onnx.save(model, str(tmp_path / "m.onnx"))
    assert len(without_weights(tmp_path / "m.onnx")) < weights["w"].nbytes
    assert {tensor.name for tensor in read_model(tmp_path / "m.onnx").graph.initializer} == {"v", "w"}
    network = eie.load(tmp_path / "m.onnx")
    np.testing.assert_array_equal(network.layers[0].matrix.dense(), weights["w"].T)


def test_a_list_of_numbers_stays_in_its_node(tmp_path):
    saved(tmp_path / "m.onnx")
    model = onnx.load(str(tmp_path / "m.onnx"))
    model.graph.node.insert(0, helper.make_node("Constant", [], ["many"], value_floats=[1.0] * LARGE))
    onnx.save(model, str(tmp_path / "m.onnx"))
    assert next(node.op_type for node in read_model(tmp_path / "m.onnx").graph.node) == "Constant"
    assert len(eie.load(tmp_path / "m.onnx").layers) == 2
