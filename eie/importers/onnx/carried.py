"""Quantised activations that are moved as integers, carried as the floats that they stand for.

Comes in: a parsed model, its integer operators taken apart. Goes out: the same one, rewritten in place. Called by
`normalise`. Between a QuantizeLinear and the DequantizeLinear of the same scale a file may move, cut, join and pick the
largest of integers: the same is done to floats, and the DequantizeLinear stands where the QuantizeLinear does. So no
integer is left that a layer or a host would have to read.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from eie.importers.onnx.rewriting import add_constant, new_node, replace_nodes

if TYPE_CHECKING:
    import onnx

# Where the integers come in; what else they read is constant or says which of them to take.
_MOVING = frozenset(
    (
        *("DepthToSpace", "Expand", "Flatten", "Gather", "GatherElements", "Identity", "MaxPool", "Pad", "ReduceMax"),
        *("ReduceMin", "Reshape", "Resize", "Slice", "SpaceToDepth", "Split", "Squeeze", "Tile", "Transpose"),
        *("Unsqueeze", "Upsample"),
    )
)
_JOINING = frozenset(("Concat", "Max", "Min"))


def carry_floats(graph: onnx.GraphProto) -> None:
    """Rewrite what is moved between QuantizeLinear and DequantizeLinear."""
    users: dict[str, list[onnx.NodeProto]] = {}
    for node in graph.node:
        for name in node.input:
            users.setdefault(name, []).append(node)
    carried: dict[str, onnx.NodeProto] = {}
    for node in graph.node:
        # Read by a DequantizeLinear alone, it is read as a limit already.
        if node.op_type == "QuantizeLinear" and len(node.input) > 1 and len(node.output) == 1:
            carried[node.output[0]] = node
    moved = _Moved(graph, users, carried)
    kept = {name for name in carried if moved.is_moved(name) and moved.is_closed(name)}
    if kept:
        moved.rewrite(kept)


class _Moved:
    def __init__(
        self, graph: onnx.GraphProto, users: dict[str, list[onnx.NodeProto]], carried: dict[str, onnx.NodeProto]
    ) -> None:
        self._graph, self._users, self._carried = graph, users, carried
        self._outputs = {entry.name for entry in graph.output}
        self._tensors = {tensor.name: tensor for tensor in graph.initializer}
        self._scales: dict[str, tuple[str, ...]] = {name: tuple(node.input[1:3]) for name, node in carried.items()}
        # Every tensor that integers reach, with the QuantizeLinear's results that it comes from.
        self._sources: dict[str, set[str]] = {name: {name} for name in carried}
        for node in graph.node:
            places = self._places(node)
            of = set[str]().union(*(self._sources.get(node.input[i], set()) for i in places))
            if of:
                for name in node.output:
                    self._sources.setdefault(name, set()).update(of)

    @staticmethod
    def _places(node: onnx.NodeProto) -> range:
        if node.domain not in ("", "ai.onnx"):
            return range(0)
        if node.op_type == "Where":
            # The first says which to take.
            return range(1, len(node.input))
        return range(len(node.input) if node.op_type in _JOINING else int(node.op_type in _MOVING and bool(node.input)))

    def is_moved(self, name: str) -> bool:
        return any(node.op_type != "DequantizeLinear" for node in self._users.get(name, ()))

    def is_closed(self, name: str) -> bool:
        """Whether all that the integers reach is moved and dequantised by one scale, and nobody reads integers."""
        for reached, sources in self._sources.items():
            if name not in sources:
                continue
            if reached in self._outputs or any(not self._same(self._scales[other], name) for other in sources):
                return False
            for node in self._users.get(reached, ()):
                if node.op_type == "DequantizeLinear" and not node.domain:
                    if not self._same(tuple(node.input[1:3]), name) or node.input[0] != reached:
                        return False
                elif not self._is_carrier(node, reached):
                    return False
        return True

    def _is_carrier(self, node: onnx.NodeProto, reached: str) -> bool:
        places = self._places(node)
        if not places or any(node.input[i] == reached for i in range(len(node.input)) if i not in places):
            return False
        # A Concat of integers from elsewhere as well would have to carry those too.
        return all(node.input[i] in self._sources for i in places)

    def _same(self, scale: tuple[str, ...], name: str) -> bool:
        own = self._scales[name]
        if len(scale) != len(own):
            return False
        return all(a == b or self._equal(a, b) for a, b in zip(scale, own, strict=True))

    def _equal(self, a: str, b: str) -> bool:
        from onnx import numpy_helper

        if a not in self._tensors or b not in self._tensors:
            return False
        first, second = (numpy_helper.to_array(self._tensors[name]) for name in (a, b))
        return first.dtype == second.dtype and np.array_equal(first, second)

    def _kind(self, scale: tuple[str, ...]) -> np.dtype[Any]:
        from onnx import helper

        # Without a zero point ONNX means uint8.
        zero = self._tensors.get(scale[1]) if len(scale) > 1 else None
        return np.dtype(np.uint8 if zero is None else helper.tensor_dtype_to_np_dtype(zero.data_type))

    def rewrite(self, kept: set[str]) -> None:
        # With one that is not closed none that it is joined to is.
        reached = {name for name, sources in self._sources.items() if sources <= kept}
        # Floats under other names than the integers had; the first DequantizeLinear's is the right one.
        names = {name: f"{name}/carried" for name in reached}
        for node in reversed(self._graph.node):
            if _dequantises(node, reached):
                names[node.input[0]] = node.output[0]
        nodes: list[onnx.NodeProto] = []
        for node in self._graph.node:
            if node.op_type == "QuantizeLinear" and node.output and node.output[0] in kept:
                scale = [name for name in node.input[1:3] if name]
                nodes += [node, new_node("DequantizeLinear", [node.output[0], *scale], names[node.output[0]])]
            elif _dequantises(node, reached):
                if node.output[0] != names[node.input[0]]:
                    nodes.append(new_node("Identity", [names[node.input[0]]], node.output[0]))
            elif reached & set(node.output):
                nodes += self._moved(node, names)
            else:
                nodes.append(node)
        replace_nodes(self._graph, nodes)

    def _moved(self, node: onnx.NodeProto, names: Mapping[str, str]) -> list[onnx.NodeProto]:
        copy, before = type(node)(), []
        copy.CopyFrom(node)
        mode = next((entry.s for entry in node.attribute if entry.name == "mode"), b"constant")
        if node.op_type == "Pad" and mode == b"constant" and len(node.input) > 1:
            # What is padded with is an integer of the same scale: 0 if nothing is said, which no float 0 need be.
            scale = self._scales[next(iter(self._sources[node.input[0]]))]
            value = node.input[2] if len(node.input) > 2 else ""
            value = value or add_constant(self._graph, f"{node.output[0]}/zero", np.zeros((), self._kind(scale)))
            padding = f"{node.output[0]}/padding"
            before.append(new_node("DequantizeLinear", [value, *filter(None, scale)], padding))
            more = list(node.input[3:])
            del copy.input[2:]
            copy.input.extend([padding, *more])
        for strings in (copy.input, copy.output):
            for i, name in enumerate(strings):
                strings[i] = names.get(name, name)
        return [*before, copy]


def _dequantises(node: onnx.NodeProto, reached: set[str]) -> bool:
    """Whether a node, a whole one, makes floats of one of these tensors."""
    return bool(node.op_type == "DequantizeLinear" and node.input and node.output and node.input[0] in reached)
