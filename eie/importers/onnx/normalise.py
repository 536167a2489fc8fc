"""A graph brought into the form that the reader knows: in order, without local functions, If, Loop and Scan.

Comes in: a parsed model, and what was found constant in it. Goes out: the same model, rewritten in place, so that
recording runs what was read. Read by `reader`. Which branch an If takes, and how often a loop goes round, may hang on
the shape of the input: the reader reads once, says so, and reads the result anew.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import ArrayLike

from eie.errors import ModelError
from eie.importers.onnx.attention import take_attention_apart
from eie.importers.onnx.blocked import unblock
from eie.importers.onnx.carried import carry_floats
from eie.importers.onnx.contractions import take_products_apart
from eie.importers.onnx.fused import take_apart
from eie.importers.onnx.linear_models import make_products
from eie.importers.onnx.quantised import rewrite_integers
from eie.importers.onnx.rewriting import add_constant, new_node, opset_of, replace_nodes, with_axes

if TYPE_CHECKING:
    import onnx

# Of unrolled nodes: a count comes from the file, and a number of a few bytes could otherwise fill the memory.
LARGEST_UNROLLED = 20_000
BRANCHES = ("then_branch", "else_branch")
BOTH, STEPS, STRETCHED = "both", "steps", "stretched"
# What was done to a file that a reader of the report should know is kept in it: it is read more than once.
_NOTE = "eie.note"


@dataclass(frozen=True, kw_only=True)
class Expansion:
    """What became known of an If, a Loop or a Scan: the branch's attribute, or how often it goes round.

    Of an If that decides by numbers of the input `BOTH` branches, of a recurrent node its `STEPS`,
    of a transposed convolution a plain one over a map that is `STRETCHED`.
    """

    branch: str = "body"
    trips: int = 1
    # What no layer of the kind has.
    why: str = ""


def normalise(path: Path, proto: onnx.ModelProto) -> onnx.ModelProto:
    """Inline local functions, take fused operators apart, make integer ones float, and put the nodes in order.

    Raises
    ------
    ModelError
        If functions call each other in a circle, or are not what their nodes say.
    """
    if proto.functions:
        proto = _inlined(path, proto)
    opset = opset_of(proto)
    unblock(path, proto.graph, opset)
    take_apart(proto.graph, opset)
    make_products(proto)
    take_attention_apart(path, proto.graph, opset)
    rewrite_integers(proto.graph)
    # Behind those that make products.
    take_products_apart(proto.graph, opset)
    sort_nodes(proto.graph)
    carry_floats(proto.graph)
    return proto


def hold_inputs(path: Path, proto: onnx.ModelProto, values: Mapping[str, ArrayLike]) -> None:
    """Make constants of inputs, as a sampling rate by which a file chooses its layers.

    Raises
    ------
    ModelError
        If there is no such input, or its shape is another.
    """
    from onnx import helper

    for name, value in values.items():
        place = next((i for i, entry in enumerate(proto.graph.input) if entry.name == name), None)
        if place is None:
            names = ", ".join(entry.name for entry in proto.graph.input)
            raise ModelError(f"{path}: input value of {name!r}: its inputs are {names}")
        kind = proto.graph.input[place].type.tensor_type
        sizes = [dim.dim_value or None for dim in kind.shape.dim]
        array = np.asarray(value, helper.tensor_dtype_to_np_dtype(kind.elem_type))
        if len(sizes) != array.ndim or any(a not in (None, b) for a, b in zip(sizes, array.shape, strict=True)):
            raise ModelError(f"{path}: input value of {name!r} has shape {array.shape}: must be {tuple(sizes)}")
        del proto.graph.input[place]
        add_constant(proto.graph, name, array)


def _inlined(path: Path, proto: onnx.ModelProto) -> onnx.ModelProto:
    import onnx.inliner

    # Weights stay outside: the inliner writes the whole model out and reads it again.
    weights = list(proto.graph.initializer)
    del proto.graph.initializer[:]
    try:
        proto = onnx.inliner.inline_local_functions(proto)
    except (RuntimeError, ValueError) as error:
        reason = (str(error).splitlines() or ["not what their nodes say"])[0]
        raise ModelError(f"{path}: its local functions cannot be inlined: {reason[:200]}") from None
    proto.graph.initializer.extend(weights)
    return proto


def sort_nodes(graph: onnx.GraphProto) -> None:
    """Put every node behind those that make its inputs; what stands right stays where it is."""
    makers = {name: i for i, node in enumerate(graph.node) for name in node.output if name}
    needs = [{makers[name] for name in read_names(node) if name in makers} - {i} for i, node in enumerate(graph.node)]
    if all(need < i for i, all_of in enumerate(needs) for need in all_of):
        return
    order, done = [], [False] * len(needs)
    # Depth first without recursion: a file's chain may be longer than Python's stack.
    for start in range(len(needs)):
        waiting = [start]
        entered: set[int] = set()
        while waiting:
            i = waiting[-1]
            missing = [] if i in entered else sorted((need for need in needs[i] if not done[need]), reverse=True)
            entered.add(i)
            if missing:
                # In a circle there is no order: a node that is entered already is not waited for again.
                waiting += [need for need in missing if need not in entered]
                continue
            waiting.pop()
            if not done[i]:
                done[i] = True
                order.append(i)
    nodes = [graph.node[i] for i in order]
    replace_nodes(graph, nodes)


def note(proto: onnx.ModelProto, text: str) -> None:
    """Keep what is to be said of a rewritten file."""
    proto.metadata_props.add(key=_NOTE, value=text)


def taken_notes(proto: onnx.ModelProto) -> list[str]:
    """Return what is to be said, and forget it: of a file that was only parsed, what somebody else has put there."""
    texts = [entry.value for entry in proto.metadata_props if entry.key == _NOTE]
    kept = [entry for entry in proto.metadata_props if entry.key != _NOTE]
    del proto.metadata_props[:]
    proto.metadata_props.extend(kept)
    return list(dict.fromkeys(texts))


def expand(
    path: Path,
    proto: onnx.ModelProto,
    *,
    expansions: Mapping[int, Expansion],
    apart: Mapping[int, Sequence[onnx.NodeProto]],
) -> None:
    """Put bodies in the place of the nodes that hold them, by the nodes' indices; ``apart`` holds what is made already.

    Raises
    ------
    ModelError
        If a body does not fit its node, or all of it would be absurdly large.
    """
    graph, opset = proto.graph, opset_of(proto)
    nodes: list[onnx.NodeProto] = []
    for i, node in enumerate(graph.node):
        if i in apart or i not in expansions:
            nodes += apart.get(i, [node])
            continue
        where = f"{path}: node {i} ({node.op_type})"
        if expansions[i].branch == BOTH:
            nodes += _both(graph, node, where, opset=opset)
            continue
        body = next((entry.g for entry in node.attribute if entry.name == expansions[i].branch), None)
        if body is None:
            raise ModelError(f"{where}: has no {expansions[i].branch}")
        if expansions[i].trips * (len(body.node) + 4) + len(nodes) > LARGEST_UNROLLED:
            raise ModelError(f"{where}: {expansions[i].trips:,} rounds: more than {LARGEST_UNROLLED:,} nodes")
        unrolled = _Unrolled(graph=graph, node=node, body=body, where=where, opset=opset)
        nodes += {"If": unrolled.once, "Loop": unrolled.loop, "Scan": unrolled.scan}[node.op_type](expansions[i].trips)
    replace_nodes(graph, nodes)


def goes_on(node: onnx.NodeProto) -> bool:
    """Whether a Loop's body hands its condition on as it is, or as a constant that is true."""
    body = next((entry.g for entry in node.attribute if entry.name == "body"), None)
    if body is None or len(body.input) < 2 or not body.output:
        return False
    name, makers = body.output[0].name, {out: inner for inner in body.node for out in inner.output}
    # One step a node at most, so that a circle ends.
    for _ in range(len(body.node) + 1):
        maker = makers.get(name)
        if maker is None:
            break
        if maker.op_type == "Constant":
            return any(_is_true(entry.t) for entry in maker.attribute)
        if maker.op_type not in ("Identity", "Cast"):
            return False
        name = maker.input[0]
    return name == body.input[1].name or any(_is_true(tensor) for tensor in body.initializer if tensor.name == name)


def _is_true(tensor: onnx.TensorProto) -> bool:
    from onnx import numpy_helper

    return bool(sum(tensor.dims) <= 1 and np.all(numpy_helper.to_array(tensor)))


def _both(graph: onnx.GraphProto, node: onnx.NodeProto, where: str, *, opset: int) -> list[onnx.NodeProto]:
    """Return the nodes of both branches, and an If that only chooses between what they made."""
    from onnx import helper

    nodes, chosen = [], {}
    for branch in BRANCHES:
        body = next((entry.g for entry in node.attribute if entry.name == branch), None)
        if body is None or len(body.output) != len(node.output):
            raise ModelError(f"{where}: has no {branch} for each of its {len(node.output)} outputs")
        unrolled = _Unrolled(graph=graph, node=node, body=body, where=where, opset=opset, label=f"{branch} ")
        more, made = unrolled.copied()
        nodes += more
        names = [f"{out}/{branch} chosen" for out in node.output]
        copies = [new_node("Identity", [name], out) for name, out in zip(made, names, strict=True)]
        # Types and shapes are inferred: both branches give out what the names around them are.
        outputs = [helper.make_empty_tensor_value_info(name) for name in names]
        chosen[branch] = helper.make_graph(copies, branch, inputs=[], outputs=outputs)
    return [*nodes, helper.make_node("If", list(node.input), list(node.output), name=node.name, **chosen)]


@dataclass(frozen=True, kw_only=True)
class _Unrolled:
    """Copies of a body, with names that nobody else has."""

    graph: onnx.GraphProto
    node: onnx.NodeProto
    body: onnx.GraphProto
    where: str
    opset: int
    # Where a node has several bodies: they may call things alike.
    label: str = ""

    def copied(self) -> tuple[list[onnx.NodeProto], list[str]]:
        """Return a branch's nodes, and the names of its results."""
        self._initialisers()
        return self._copy("", {})

    def once(self, _: int) -> list[onnx.NodeProto]:
        """Return an If's branch."""
        nodes, made = self.copied()
        return nodes + self._named(made)

    def loop(self, trips: int) -> list[onnx.NodeProto]:
        """Return the rounds of a Loop: (round, condition, states...) to (condition, states..., slices...)."""
        states = list(self.node.input[2:])
        self._check(len(self.body.input) == len(states) + 2 and len(self.body.output) == len(self.node.output) + 1)
        self._initialisers()
        first = f"{self._prefix}always"
        add_constant(self.graph, first, np.array(True))
        nodes: list[onnx.NodeProto] = []
        slices: list[list[str]] = [[] for _ in self.node.output[len(states) :]]
        for i in range(trips):
            number = f"{self._prefix}round {i}"
            add_constant(self.graph, number, np.array(i, np.int64))
            inputs = dict(zip((entry.name for entry in self.body.input), (number, first, *states), strict=True))
            more, made = self._copy(f"{i} ", inputs)
            nodes += more
            states = made[1 : len(states) + 1]
            for kept, name in zip(slices, made[len(states) + 1 :], strict=True):
                kept.append(name)
        return nodes + self._gathered(states, slices)

    def scan(self, trips: int) -> list[onnx.NodeProto]:
        """Return the rounds of a Scan: (states..., slices...) to (states..., slices...)."""
        count = next((entry.i for entry in self.node.attribute if entry.name == "num_scan_inputs"), 0)
        states, over = list(self.node.input[: len(self.node.input) - count]), list(self.node.input)[-count:]
        self._check(len(self.body.input) == len(states) + len(over) and len(self.body.output) == len(self.node.output))
        self._initialisers()
        ways = self._ways("input", len(over))
        nodes: list[onnx.NodeProto] = []
        slices: list[list[str]] = [[] for _ in self.node.output[len(states) :]]
        for i in range(trips):
            add_constant(self.graph, f"{self._prefix}round {i}", np.array(i, np.int64))
        for i in range(trips):
            taken = []
            for j, (name, (axis, backwards)) in enumerate(zip(over, ways, strict=True)):
                number = f"{self._prefix}round {trips - 1 - i if backwards else i}"
                taken.append(f"{self._prefix}{i} slice {j}")
                nodes.append(new_node("Gather", [name, number], taken[-1], axis=axis))
            inputs = dict(zip((entry.name for entry in self.body.input), (*states, *taken), strict=True))
            more, made = self._copy(f"{i} ", inputs)
            nodes += more
            states = made[: len(states)]
            for kept, name in zip(slices, made[len(states) :], strict=True):
                kept.append(name)
        return nodes + self._gathered(states, slices, self._ways("output", len(slices)))

    def _ways(self, side: str, count: int) -> list[tuple[int, bool]]:
        """Return over which axis a Scan goes, and whether backwards, for each of its sequences on one side."""
        stated = {entry.name: list(entry.ints) for entry in self.node.attribute}
        axes, turned = (stated.get(f"scan_{side}_{what}") or [0] * count for what in ("axes", "directions"))
        self._check(len(axes) == len(turned) == count)
        return [(axis, bool(way)) for axis, way in zip(axes, turned, strict=True)]

    @property
    def _prefix(self) -> str:
        return f"{next((name for name in self.node.output if name), '')}/{self.label}"

    def _check(self, fits: bool) -> None:
        if not fits:
            raise ModelError(f"{self.where}: its body takes or gives another number of tensors")

    def _initialisers(self) -> None:
        """Take the body's weights into the graph, once for all rounds."""
        for tensor in self.body.initializer:
            copy = self.graph.initializer.add()
            copy.CopyFrom(tensor)
            copy.name = f"{self._prefix}{tensor.name}"

    def _copy(self, label: str, inputs: Mapping[str, str]) -> tuple[list[onnx.NodeProto], list[str]]:
        """Return the body's nodes under fresh names, and the names of its results."""
        own = {name: f"{self._prefix}{label}{name}" for node in self.body.node for name in node.output if name}
        own |= {tensor.name: f"{self._prefix}{tensor.name}" for tensor in self.body.initializer}
        names = {**own, **inputs}
        nodes = []
        for node in self.body.node:
            copy = type(node)()
            copy.CopyFrom(node)
            copy.name = f"{self._prefix}{label}{node.name or node.op_type}"
            _rename(copy, names)
            nodes.append(copy)
        return nodes, [names.get(entry.name, entry.name) for entry in self.body.output]

    def _named(self, made: Iterable[str]) -> list[onnx.NodeProto]:
        """Give results the names that the graph knows; a body may hand out one of its inputs, or one result twice."""
        pairs = zip(made, self.node.output, strict=False)
        return [new_node("Identity", [name], out) for name, out in pairs if out]

    def _gathered(
        self, states: list[str], slices: list[list[str]], ways: Sequence[tuple[int, bool]] = ()
    ) -> list[onnx.NodeProto]:
        nodes: list[onnx.NodeProto] = []
        stacked = []
        # Along the first axis, and in the order of the rounds, unless a Scan says otherwise.
        for j, (kept, (axis, backwards)) in enumerate(zip(slices, ways or [(0, False)] * len(slices), strict=True)):
            label = f"{self._prefix}axis {j}"
            rows = [f"{name} [{j}]" for name in kept]
            for name, row in zip(kept, rows, strict=True):
                nodes.append(self._unsqueezed(name, row, axis=axis, label=label))
            stacked.append(f"{self._prefix}stacked {j}")
            nodes.append(new_node("Concat", rows[::-1] if backwards else rows, stacked[-1], axis=axis))
        return nodes + self._named([*states, *stacked])

    def _unsqueezed(self, name: str, out: str, *, axis: int, label: str) -> onnx.NodeProto:
        return with_axes(self.graph, "Unsqueeze", inside=name, out=out, axes=[axis], opset=self.opset, label=label)


def _rename(node: onnx.NodeProto, names: Mapping[str, str]) -> None:
    for strings in (node.input, node.output):
        for i, name in enumerate(strings):
            strings[i] = names.get(name, name)
    for graph in _graphs(node):
        # ONNX forbids a body to call something as the graph around it does, so that no name is taken twice.
        for inner in graph.node:
            _rename(inner, names)
        for entry in graph.output:
            entry.name = names.get(entry.name, entry.name)


def _graphs(node: onnx.NodeProto) -> list[onnx.GraphProto]:
    return [graph for entry in node.attribute for graph in (entry.g, *entry.graphs) if graph.node or graph.output]


def read_names(node: onnx.NodeProto) -> set[str]:
    """Return the names that a node reads, its bodies' included: they read those of the graph around them."""
    names = set(node.input)
    for graph in _graphs(node):
        names |= {entry.name for entry in graph.output}
        for inner in graph.node:
            names |= read_names(inner)
    return names
