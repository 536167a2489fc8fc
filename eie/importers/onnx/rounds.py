"""How often a Loop goes round whose condition is worked out in its body, by numbers that do not hang on activations.

Comes in: a Loop and the constants around it. Goes out: a number of rounds. Called by `expansions`. Converters write
while loops so: a counter among the states, and ``counter < steps`` in the body. Only the nodes that the condition hangs
on are run, round after round, by onnx's reference implementation.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from eie.importers.onnx.normalise import LARGEST_UNROLLED
from eie.model.operators.from_onnx import Known

if TYPE_CHECKING:
    import onnx

# What a condition is worked out by: on numbers, not on tensors as large as activations.
_LARGEST = 1 << 10
_OPERATORS = frozenset(
    (
        *("Add", "And", "Cast", "Concat", "Constant", "Div", "Equal", "Gather", "Greater", "GreaterOrEqual"),
        *("Identity", "Less", "LessOrEqual", "Max", "Min", "Mod", "Mul", "Neg", "Not", "Or", "Reshape", "Slice"),
        *("Squeeze", "Sub", "Unsqueeze", "Where", "Xor"),
    )
)


def rounds_of(node: onnx.NodeProto, outer: Known, *, opsets: Any, limit: int | None) -> int | None:
    """Return how many rounds a Loop goes, ``limit`` at most; None if its condition hangs on what is not constant."""
    body = next((entry.g for entry in node.attribute if entry.name == "body"), None)
    if body is None or len(body.input) != len(node.input) or len(body.output) <= len(body.input) - 2:
        return None
    states = [entry.name for entry in body.input[2:]]
    made = [entry.name for entry in body.output[1 : len(states) + 1]]
    needed = _needed(body, dict(zip(states, made, strict=True)))
    if needed is None:
        return None
    nodes, wanted = needed
    known = {tensor.name: _array(tensor) for tensor in body.initializer}
    values: dict[str, NDArray[Any]] = {}
    for name, source in zip(states, node.input[2:], strict=True):
        if name in wanted:
            if source not in outer:
                return None
            values[name] = np.asarray(outer[source])
    inside = {out for part in nodes for out in part.output}
    for name in {name for part in nodes for name in part.input if name} | wanted:
        if name in inside or name in known or name in states or name in (body.input[0].name, body.input[1].name):
            continue
        if name not in outer:
            return None
        values[name] = np.asarray(outer[name])
    if any(array.size > _LARGEST for array in (*known.values(), *values.values())):
        return None
    most = LARGEST_UNROLLED // max(1, len(body.node))
    return _counted(
        body, nodes, values | known, opsets=opsets, states=states, most=most if limit is None else min(limit, most)
    )


def _needed(body: onnx.GraphProto, states: Mapping[str, str]) -> tuple[list[onnx.NodeProto], set[str]] | None:
    """Return the nodes that the condition hangs on, and all names; None if one of them does more than reckon."""
    makers = {name: part for part in body.node for name in part.output if name}
    waiting, wanted, used = [body.output[0].name], set[str](), set[str]()
    while waiting:
        name = waiting.pop()
        if not name or name in wanted:
            continue
        wanted.add(name)
        if name in states:
            waiting.append(states[name])
        elif (maker := makers.get(name)) is not None:
            if maker.op_type not in _OPERATORS or maker.domain not in ("", "ai.onnx"):
                return None
            used.add(name)
            waiting += maker.input
    return [part for part in body.node if used & set(part.output)], wanted


def _counted(
    body: onnx.GraphProto,
    nodes: list[onnx.NodeProto],
    values: Mapping[str, NDArray[Any]],
    *,
    opsets: Any,
    states: list[str],
    most: int,
) -> int | None:
    from onnx import helper
    from onnx.reference import ReferenceEvaluator

    number, condition = body.input[0].name, body.input[1].name
    carried = {name: body.output[i + 1].name for i, name in enumerate(states) if name in values}
    fed = dict(values) | {number: np.array(0, np.int64), condition: np.array(True)}
    inside = {out for part in nodes for out in part.output}
    names = [name for name in dict.fromkeys([body.output[0].name, *carried.values()]) if name in inside]
    ends = [helper.make_empty_tensor_value_info(name) for name in names]
    graph = helper.make_graph(
        nodes, "rounds", inputs=[helper.make_empty_tensor_value_info(name) for name in fed], outputs=ends
    )
    try:
        run = ReferenceEvaluator(helper.make_model(graph, opset_imports=opsets))
        for done in range(most):
            if not _is_small(nodes, fed):
                return None
            # What is handed on as it came in is no result of a node.
            results = fed | dict(zip(names, map(np.asarray, run.run(names, fed)), strict=True))
            goes_on = results[body.output[0].name]
            if not goes_on.all():
                return done + 1
            fed |= {name: results[source] for name, source in carried.items()}
            fed |= {number: np.array(done + 1, np.int64), condition: goes_on}
    except (NotImplementedError, RuntimeError, ValueError, TypeError, IndexError, KeyError, AttributeError):
        return None
    return most


def _is_small(nodes: list[onnx.NodeProto], fed: Mapping[str, NDArray[Any]]) -> bool:
    """Whether nothing that a round works out can be large: a file of a few bytes could ask for any amount."""
    sizes = {name: max(1, array.size) for name, array in fed.items()}
    for node in nodes:
        before = [sizes.get(name, 1) for name in node.input if name]
        before += [math.prod(entry.t.dims) for entry in node.attribute if entry.HasField("t")]
        size = sum(before) if node.op_type == "Concat" else math.prod(before)
        if size > _LARGEST:
            return False
        sizes.update((name, max(1, size)) for name in node.output)
    return True


def _array(tensor: onnx.TensorProto) -> NDArray[Any]:
    from onnx import numpy_helper

    return np.asarray(numpy_helper.to_array(tensor))
