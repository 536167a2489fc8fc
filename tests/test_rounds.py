"""Loops that work their condition out as they go: a counter against a number of steps, as of while loops."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import eie
from eie.importers.onnx.rounds import rounds_of
from eie.simulator.reference import run_given

onnx = pytest.importorskip("onnx", reason="needs the onnx extra")
ort = pytest.importorskip("onnxruntime", reason="needs the onnx extra")
helper, numpy_helper = onnx.helper, onnx.numpy_helper
OPSETS = [helper.make_opsetid("", 13)]


def array(name, value):
    return numpy_helper.from_array(np.asarray(value), name)


def value(name, kind=1, shape=None):
    return helper.make_tensor_value_info(name, kind, shape)


def loop(condition_of="counter", trips="", times=1):
    """(counter, state) to (counter + step, state W); goes on while what is counted is below ``bound``."""
    condition = [helper.make_node("Less", [condition_of, "bound"], ["on"])]
    if condition_of == "counter":
        condition = [
            helper.make_node("Add", ["count", "step"], ["counter"]),
            helper.make_node("Less", ["counter", "bound"], ["on"]),
        ]
    else:
        condition = [
            helper.make_node("Add", ["count", "step"], ["counter"]),
            helper.make_node("ReduceMax", ["state"], ["largest"], keepdims=0),
            helper.make_node("Cast", ["largest"], ["number"], to=7),
            helper.make_node("Less", ["number", "bound"], ["on"]),
        ]
    body = helper.make_graph(
        [*condition, *(helper.make_node("MatMul", ["state", "w"], ["product"]) for _ in range(times))],
        "body",
        [value("number of the round", 7, []), value("before", 9, []), value("count", 7, []), value("state")],
        [value("on", 9, []), value("counter", 7, []), value("product")],
    )
    return helper.make_node("Loop", [trips, "", "zero", "x"], ["last", "y"], "loop", body=body)


CONSTANTS = {"zero": np.array(0), "step": np.array(2)}


class TestCount:
    @settings(max_examples=30, deadline=None)
    @given(st.integers(-3, 60), st.integers(1, 9), st.integers(0, 5), st.none() | st.integers(0, 40))
    def test_law(self, bound, step, start, limit):
        constants = {"zero": np.array(start), "step": np.array(step), "bound": np.array(bound), "w": np.eye(2)}
        # The body runs once before anything is compared.
        rounds, counter = 1, start + step
        while counter < bound:
            rounds, counter = rounds + 1, counter + step
        wanted = rounds if limit is None else min(limit, rounds)
        assert rounds_of(loop(), constants, opsets=OPSETS, limit=limit) == wanted

    def test_not_known_where_activations_decide(self):
        constants = {**CONSTANTS, "bound": np.array(9), "w": np.eye(2)}
        assert rounds_of(loop("state"), constants, opsets=OPSETS, limit=None) is None

    def test_not_known_where_the_bound_is_not_constant(self):
        assert rounds_of(loop(), CONSTANTS, opsets=OPSETS, limit=None) is None

    def test_large_numbers_are_not_reckoned_with(self):
        constants = {**CONSTANTS, "step": np.full(1 << 11, 2), "bound": np.array(9)}
        assert rounds_of(loop(), constants, opsets=OPSETS, limit=None) is None

    def test_one_that_never_ends_stops_at_the_bound(self):
        constants = {**CONSTANTS, "step": np.array(0), "bound": np.array(9)}
        assert rounds_of(loop(), constants, opsets=OPSETS, limit=None) > 1000


def test_a_while_loop_over_weights_is_whole_and_equal(tmp_path):
    rng = np.random.default_rng(0)
    constants = {**CONSTANTS, "bound": np.array(7), "w": (rng.standard_normal((3, 3)) / 2).astype(np.float32)}
    graph = helper.make_graph(
        [loop()], "g", [value("x", 1, [2, 3])], [value("y")], [array(name, part) for name, part in constants.items()]
    )
    path = tmp_path / "m.onnx"
    onnx.save(helper.make_model(graph, opset_imports=OPSETS, ir_version=8), path)
    network = eie.load(path)
    assert not network.unmodelled
    assert [len(network.layers), len(network.graph.uses)] == [1, 4]
    x = rng.standard_normal((2, 3)).astype(np.float32)
    (made,) = run_given(network.graph, {layer.name: layer for layer in network.layers}, {"x": x})
    np.testing.assert_allclose(made, ort.InferenceSession(path).run(["y"], {"x": x})[0], atol=1e-6)
