"""Nodes that others are put in the place of: bodies of If, Loop and Scan, and what is taken apart.

Comes in: nodes and the `Builder`. Goes out: an `Expansion` for each, and the nodes that take a node's place. Called by
`reading`, which reads a file until nothing is left to expand.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from eie.errors import ModelError
from eie.importers.onnx.builder import Builder
from eie.importers.onnx.normalise import (
    BOTH,
    BRANCHES,
    LARGEST_UNROLLED,
    STEPS,
    STRETCHED,
    Expansion,
    goes_on,
    note,
)
from eie.importers.onnx.placement import products_inside
from eie.importers.onnx.rounds import rounds_of
from eie.importers.onnx.steps import taken_apart
from eie.importers.onnx.stretched import stretched
from eie.model.operators.from_onnx import OnnxNode

if TYPE_CHECKING:
    import onnx

# What reading a damaged node can raise in numpy: each becomes one line with the node's name.
MISFITS = (ValueError, TypeError, IndexError, KeyError, ArithmeticError, AttributeError, MemoryError)


def expansion_of(
    node: OnnxNode, proto: onnx.NodeProto, into: Builder, *, opsets: Any, decided: bool
) -> Expansion | None:
    """Return what is known of an If, a Loop or a Scan; None if it hangs on numbers of the input.

    ``decided`` says that an If whose condition is not known now never will be.
    """
    inputs = [into.constants.get(name) if name else None for name in (*node.inputs, "", "")]
    if node.op == "If":
        known = inputs[0]
        if known is None:
            chosen = decided and bool(node.inputs) and _can_be_chosen(proto)
            return Expansion(branch=BOTH) if chosen else None
        return Expansion(branch="then_branch" if known.any() else "else_branch")
    if node.op == "Scan":
        rounds = _slices(node, into)
        return None if rounds is None else Expansion(trips=rounds)
    # A condition that is left out is true.
    trips, starts = inputs[0], not node.inputs[1:2] or not node.inputs[1] or inputs[1] is not None
    if not starts or (trips is None and bool(node.inputs[0])):
        return None
    begins = inputs[1] is None or bool(inputs[1].all())
    if trips is None or (begins and not goes_on(proto)):
        limit = None if trips is None else max(0, int(trips.ravel()[0]))
        rounds = rounds_of(proto, into.constants, opsets=opsets, limit=limit) if begins else 0
        return None if rounds is None else Expansion(trips=rounds)
    # No more than a body of one node could go round; `expand` says so.
    return Expansion(trips=min(max(0, int(trips.ravel()[0])), LARGEST_UNROLLED) if begins else 0)


def _slices(node: OnnxNode, into: Builder) -> int | None:
    """Return how many slices a Scan goes over; None where that is not known, or they are the samples."""
    x = into.known(node.inputs[-1]) if node.inputs else None
    # Its sequences are as long as each other: the last one tells. Until opset 9 a batch stands in front of them.
    axis = next(iter(node.attributes.get("scan_input_axes", [])[-1:]), 0)
    if x is None or node.attributes["opset"] < 9 or not -len(x.shape) <= axis < len(x.shape):
        return None
    return None if axis % len(x.shape) == x.batch else x.shape[axis]


def _can_be_chosen(node: onnx.NodeProto) -> bool:
    """Whether an If multiplies by weights in a branch, and either of its branches gives what the other does."""
    bodies = {entry.name: entry.g for entry in node.attribute if entry.name in BRANCHES}
    if len(bodies) < len(BRANCHES) or not any(map(products_inside, bodies.values())):
        return False
    stated = [[_stated(entry) for entry in body.output] for body in bodies.values()]
    pairs = list(zip(*stated, strict=False))
    # One choice for all samples: what is made must look alike, whichever it was.
    return bool(pairs) and all(first == second or None in (first, second) for first, second in pairs)


def _stated(entry: onnx.ValueInfoProto) -> tuple[int, ...] | None:
    kind = entry.type.tensor_type
    sizes = [dim.dim_value for dim in kind.shape.dim]
    return tuple(sizes) if kind.HasField("shape") and all(sizes) else None


def parts_of(
    path: Path,
    proto: onnx.ModelProto,
    *,
    nodes: Sequence[OnnxNode],
    into: Builder,
    expansions: Mapping[int, Expansion],
) -> dict[int, list[onnx.NodeProto]]:
    """Return the nodes that those become which are taken apart; their constants go into the file."""
    made = {}
    for i, known in expansions.items():
        try:
            if known.branch == STRETCHED:
                made[i] = stretched(proto.graph, nodes[i], into)
            elif known.branch == STEPS:
                made[i] = taken_apart(proto.graph, nodes[i], constants=into.constants, trips=known.trips)
        except MISFITS as error:
            reason = (str(error).splitlines() or [type(error).__name__])[0]
            raise ModelError(f"{path}: node {nodes[i].name!r}: damaged or impossible: {reason[:200]}") from None
    return made


def note_expansions(proto: onnx.ModelProto, nodes: Sequence[OnnxNode], expansions: Mapping[int, Expansion]) -> None:
    """Keep in the file what is to be said of them."""
    for i, known in expansions.items():
        if known.branch == BOTH:
            note(proto, f"{nodes[i].name} (If) decides by what is computed: both branches run and are counted")
        elif known.branch == STEPS:
            note(proto, f"{nodes[i].name} ({nodes[i].op}) runs step by step, {known.trips} times: {known.why}")
