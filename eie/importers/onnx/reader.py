"""An ``.onnx`` file into a `Network` and the places where its activations can be recorded.

Comes in: a path. Goes out: `OnnxModel`. Read by `eie.importers` and `eie.recording`. The graph is normalised first and
then read (`reading`); here it is judged whether a network came of it, and put together.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING

from numpy.typing import ArrayLike

from eie.errors import ModelError
from eie.importers.onnx.builder import Builder, Tap
from eie.importers.onnx.drawn import draw_missing, drawn_layers, left_as_inputs
from eie.importers.onnx.graph_inputs import OnnxInput
from eie.importers.onnx.kinds import numpy_type
from eie.importers.onnx.nodes import printable
from eie.importers.onnx.normalise import hold_inputs, normalise, taken_notes
from eie.importers.onnx.placement import products_inside
from eie.importers.onnx.reading import Reading, best_reading, expanded
from eie.importers.onnx.tensors import read_model
from eie.importers.onnx.unmodelled import feeding, last_known, unmodelled_rows
from eie.importers.onnx.work import kind
from eie.importers.options import AnyShape, Unsupported
from eie.importers.tied import Tied, tie
from eie.model.graph import Graph
from eie.model.network import Network
from eie.model.operators.from_onnx import Value
from eie.show.listing import first_few

if TYPE_CHECKING:
    import onnx

# Enough to see what kind of model it is; a whole transformer would list hundreds.
_LISTED, _FEW = 12, 3


@dataclass(frozen=True, eq=False, kw_only=True)
class OnnxModel:
    """What was read.

    Attributes
    ----------
    network
        Layers, and the graph unless something in it was skipped.
    inputs
        Graph inputs as the file has them, or all of a run as one sample where it runs in no other way.
    taps
        Where to record each layer's inputs.
    proto
        The parsed file.
    """

    network: Network
    inputs: tuple[OnnxInput, ...]
    taps: tuple[Tap, ...]
    proto: onnx.ModelProto


def read_onnx(
    path: Path,
    unsupported: Unsupported = "refuse",
    input_shape: AnyShape | None = None,
    input_values: Mapping[str, ArrayLike] | None = None,
    density: float | None = None,
) -> OnnxModel:
    """Read a model.

    Parameters
    ----------
    unsupported
        ``"refuse"``: an operator that is not known is an error that lists all of them; ``"skip"``: the weight layers
        are kept without the graph, so that they run on recorded activations, and a note lists what was skipped.
    input_shape
        Of one sample, or by input, for a file that leaves sizes other than the batch's open; None if it does not.
    input_values
        Of inputs that are constants of the network read: what a file decides by.
    density
        Of weights that are not there, which are then drawn; None if all have to be.

    Raises
    ------
    ModelError
        If the file is damaged, unsafe, or holds no weight layer.
    """
    proto = read_model(path)
    # Before anything is read: what hangs on them is folded, and an If by them takes its branch.
    hold_inputs(path, proto, input_values or {})
    drawn = frozenset[str]() if density is None else draw_missing(path, proto, density)
    taken_notes(proto)
    proto = normalise(path, proto)
    reading = best_reading(path, proto, input_shape)
    verdict = _judged(proto, reading)
    if unsupported == "skip" and reading.hosting is not None and (verdict.problems or not reading.into.layers):
        # Without a graph nothing has to be connected: layers that a host would have taken over stay layers.
        reading = expanded(path, proto, input_shape, host="none", turned=reading.turned, shared=reading.shared)
        verdict = _judged(proto, reading)
    into, inputs, problems, said = reading.into, reading.inputs, verdict.problems, taken_notes(proto)
    multiplies = bool(into.layers) or products_inside(proto.graph)
    if problems and unsupported == "refuse" and multiplies:
        if reading.problems:
            # Behind an input of unknown size nothing was tried: what is not known there may be in order.
            raise ModelError(f"{path}: {_listed(reading.problems)}, or give inputs, which state them (--trace)")
        raise ModelError(
            f"{path}: not supported: {_listed(problems)} (--unsupported skip keeps the weight layers, which then run "
            f"on recorded activations)"
        )
    if not into.layers:
        reasons = [*reading.problems, *reading.skipped.values(), *reading.hosted, *reading.notes]
        # Those that could have been layers have said why not.
        rows = [] if reading.hosted else sorted(reading.weighty)
        reasons += [f"{reading.nodes[i].name} ({reading.nodes[i].op})" for i in rows]
        why = f" (not supported: {_listed(reasons)})" if reasons else ""
        if trees := sorted({kind(node.op) for node in reading.nodes if kind(node.op).startswith("TreeEnsemble")}):
            why = f": {', '.join(trees)} is decision trees, which compare and do not multiply"
        if bare := left_as_inputs(proto.graph):
            names = first_few([printable(name) for name in bare], _FEW)
            why = f": {names}: weights without numbers, which --density D (density=D) draws"
        raise ModelError(f"{path}: holds no Gemm, MatMul, Conv or LSTM with constant weights{why}")
    if drawn:
        synthetic = drawn_layers(proto, into.taps, drawn)
        into.layers = [replace(layer, synthetic=layer.synthetic or layer.name in synthetic) for layer in into.layers]
    # Without a graph nobody would know that a layer runs twice: each use then stays a layer.
    tied = tie(into.layers, into.nodes, into.graph_constants) if not problems else None
    return OnnxModel(
        network=replace(
            _network(
                path=path,
                into=into,
                inputs=inputs,
                outputs=verdict.outputs,
                problems=problems,
                said=[*reading.notes, *said],
                behind=[reading.skipped[i] for i in sorted(verdict.behind)],
                tied=tied,
            ),
            unmodelled=unmodelled_rows(proto, reading.nodes, into=into, skipped={*verdict.skipped, *reading.weighty}),
        ),
        inputs=reading.recorded,
        taps=tuple(
            replace(tap, layer=tied.names.get(tap.layer, tap.layer) if tied is not None else tap.layer)
            for tap in into.taps
        ),
        proto=proto,
    )


@dataclass(frozen=True, eq=False, kw_only=True)
class _Verdict:
    """What stands in the way of a network that runs, and what it gives out."""

    problems: list[str]
    outputs: list[str]
    # Nodes by their place in the file: behind the last layer, and the others that were not read.
    behind: set[int]
    skipped: dict[int, str]


def _judged(proto: onnx.ModelProto, reading: Reading) -> _Verdict:
    into = reading.into
    # What no layer reads costs nothing on the accelerator: the network then ends before it.
    behind = reading.behind | (reading.skipped.keys() - feeding(proto, reading.nodes, into))
    skipped = {i: said for i, said in reading.skipped.items() if i not in behind}
    # Where something is refused, so is what would have been a layer but for its form.
    problems = [*reading.problems, *(reading.hosted if skipped else ()), *skipped.values()]
    outputs, missing = last_known(proto, into, behind)
    # Only if nothing was skipped: otherwise the skipped node is the reason, and listed already.
    if missing and not problems:
        problems.append(f"{printable(missing[0])} (an output that no path from the input leads to)")
    run = {node.layer for node in into.nodes}
    if not problems and (idle := [layer.name for layer in into.layers if layer.name not in run]):
        problems.append(f"{idle[0]} (a layer that no path from the input leads to)")
    return _Verdict(problems=problems, outputs=outputs, behind=behind, skipped=skipped)


def _network(
    path: Path,
    into: Builder,
    inputs: tuple[OnnxInput, ...],
    outputs: list[str],
    problems: list[str],
    said: Sequence[str],
    behind: list[str],
    tied: Tied | None,
) -> Network:
    notes = [*said, *([f"left out behind the last layer: {_listed(behind)}"] if behind else [])]
    if into.left_out:
        notes.append(
            f"activations are not rounded where the file quantises them, only limited: {_listed(into.left_out)}"
        )
    notes += [] if tied is None else tied.notes
    # Without a graph, and the weights as they come: each layer runs on what was recorded for it.
    if tied is None:
        notes.append(f"skipped, so that layers run on recorded activations only: {_listed(problems)}")
        return Network(name=path.stem, layers=tuple(into.layers), source=path.name, notes=tuple(notes))
    named = tuple((entry.name, _sample(entry)) for entry in inputs)
    graph = Graph(
        inputs=named,
        types={entry.name: str(numpy_type(entry.kind)) for entry in inputs if entry.kind is not None},
        nodes=tied.nodes,
        outputs=tuple(outputs),
        constants=tied.constants,
    )
    # In the order of the run, whatever the order in which they were read.
    order = {name: i for i, name in enumerate(graph.layers)}
    layers = tuple(sorted(tied.layers, key=lambda layer: order[layer.name]))
    return Network(
        name=path.stem, layers=layers, sequential=_is_chain(graph), source=path.name, notes=tuple(notes), graph=graph
    )


def _sample(entry: OnnxInput) -> tuple[int, ...]:
    assert entry.sizes is not None
    return Value(entry.name, entry.sizes, entry.batch).sample


def _is_chain(graph: Graph) -> bool:
    """Whether every node is a layer that reads the one before, so that one vector after the other tells all."""
    # A network like this needs no graph to run from its first layer's inputs.
    chained = all(there.inputs == here.outputs for here, there in pairwise(graph.nodes))
    only_layers = all(node.layer is not None for node in graph.nodes)
    # Of a layer that runs twice it does not: a chain names each once.
    only_layers = only_layers and len(graph.uses) == len(graph.layers)
    vectors = len(graph.inputs) == 1 and len(graph.inputs[0][1]) == 1
    return chained and only_layers and vectors and graph.outputs == graph.nodes[-1].outputs


def _listed(items: list[str]) -> str:
    return first_few(items, _LISTED)
