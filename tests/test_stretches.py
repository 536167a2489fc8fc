"""Batches go through a file a stretch of nodes at a time: what is mixed, and where, is as if all ran at once."""

from itertools import pairwise

import numpy as np
import pytest

pytest.importorskip("onnx", reason="needs the onnx extra")
pytest.importorskip("onnxruntime", reason="needs the onnx extra")

import onnx_models as make

from eie.importers.onnx import stretches
from eie.importers.onnx.mixing import mixing
from eie.importers.onnx.tensors import read_model

WEIGHTS = {"w": make.drawn(np.random.default_rng(0), 6, 6), "first": np.array([0])}
# More nodes than the first stretch, and more than two.
LONG = 3 * stretches._FIRST


def chain(source, out):
    """LONG operators one after the other."""
    names = [source, *(f"{source} {i}" for i in range(LONG - 1)), out]
    return [make.node("Elu", [before], [after], after) for before, after in pairwise(names)]


def found(tmp_path, *nodes):
    path = tmp_path / "net.onnx"
    nodes = (make.node("MatMul", ["x", "w"], ["h"]), *nodes, make.node("MatMul", ["s", "w"], ["y"]))
    path.write_bytes(make.model(nodes, {"x": ("n", 6)}, {"y": None}, WEIGHTS).SerializeToString())
    return mixing(path, read_model(path), None)


def mean(source, out):
    return [make.node("ReduceMean", [source, "first"], ["m"], "mean"), make.node("Sub", [source, "m"], [out])]


def test_samples_mix_many_nodes_away_from_what_reads_them(tmp_path):
    mixed = found(tmp_path, *chain("h", "g"), *mean("g", "e"), *chain("e", "s"))
    assert mixed.node == "'mean' (ReduceMean)"
    assert mixed.is_read


def test_a_sum_over_samples_that_only_a_later_stretch_reads(tmp_path):
    assert found(tmp_path, *mean("h", "e"), *chain("h", "g"), make.node("Sub", ["g", "m"], ["s"])).is_read


def test_rows_stay_apart_through_all_stretches(tmp_path):
    assert found(tmp_path, *chain("h", "s")) is None


def test_numbers_drawn_in_another_stretch_are_no_mixing(tmp_path):
    drawn = [make.node("RandomNormalLike", ["h"], ["r"]), make.node("Add", ["h", "r"], ["g"])]
    assert found(tmp_path, *drawn, *chain("g", "s")) is None


def test_a_sequence_passes_from_no_stretch_to_the_next(tmp_path):
    kept = make.node("SequenceConstruct", ["h", "h"], ["both"])
    taken = make.node("ConcatFromSequence", ["both"], ["g"], axis=0)
    mixed = found(tmp_path, kept, *chain("h", "e"), taken, *mean("g", "q"), make.node("Add", ["q", "e"], ["s"]))
    # Concatenated, the samples are twice as many: it does not run, in stretches or at once.
    assert mixed is None
    taken = make.node("SequenceAt", ["both", "one"], ["g"])
    mixed = found(
        tmp_path, kept, make.node("Constant", [], ["one"], value_int=1), *chain("h", "e"), taken, *mean("g", "s")
    )
    assert mixed.node == "'mean' (ReduceMean)"


@pytest.mark.parametrize("rows", [1, 7, 1000])
def test_numbers_are_compared_by_rows_whatever_a_block_holds(rows, monkeypatch):
    rng = np.random.default_rng(rows)
    before = rng.standard_normal((rows, 3, 5)).astype(np.float32)
    after = np.where(rng.random(before.shape) < 0.5, before, before * np.float32(1 + 1e-8) + np.float32(rows))
    at_once = stretches._moved(before, after)
    monkeypatch.setattr(stretches, "_BLOCK", 16)
    np.testing.assert_array_equal(stretches._moved(before, after), at_once)
    np.testing.assert_array_equal(at_once, before != after)


@pytest.mark.parametrize("shape", [(), (0,), (3, 0), (4, 0, 2)])
def test_arrays_of_no_or_one_number(shape):
    assert stretches._moved(np.zeros(shape, np.float32), np.zeros(shape, np.float32)).shape == shape
    assert not stretches._moved(np.zeros(shape, np.float32), np.zeros(shape, np.float32)).any()
