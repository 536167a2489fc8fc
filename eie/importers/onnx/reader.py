"""An ``.onnx`` file into a `Network` and the places where its activations can be recorded.

Comes in: a path. Goes out: `OnnxModel`. Read by `eie.importers` and `eie.recording`. The graph is normalised first;
then, node by node, constants are evaluated, weight layers handed to the modules beside this and what lies between them
to `eie.model.operators`. Whatever neither knows is listed by node name and operator.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np
from numpy.typing import ArrayLike

from eie.errors import ModelError
from eie.importers.onnx import convolutions, packed, products, recurrent
from eie.importers.onnx.builder import Builder, Tap
from eie.importers.onnx.constants import Constants, shape_of
from eie.importers.onnx.drawn import draw_missing, drawn_layers
from eie.importers.onnx.einsum import einsum
from eie.importers.onnx.hosting import Hosting
from eie.importers.onnx.input_shapes import only_open, stated_shapes
from eie.importers.onnx.kinds import FLOATING, PLAIN, numpy_type
from eie.importers.onnx.nodes import plain_nodes, printable
from eie.importers.onnx.normalise import LARGEST_UNROLLED, Expansion, expand, goes_on, hold_inputs, normalise
from eie.importers.onnx.placement import place
from eie.importers.onnx.tensors import read_model
from eie.importers.onnx.unmodelled import feeding, inferred, last_known, unmodelled_rows
from eie.importers.options import AnyShape, Unsupported
from eie.importers.tied import Tied, tie
from eie.model import operators
from eie.model.graph import Graph
from eie.model.network import Network
from eie.model.operators.from_onnx import OnnxNode, UnsupportedError, Value

if TYPE_CHECKING:
    import onnx

_WEIGHTED: dict[str, Callable[[OnnxNode, Builder], None]] = {
    "Conv": convolutions.conv,
    "ConvTranspose": convolutions.conv_transpose,
    "Einsum": einsum,
    "GRU": recurrent.gru,
    "Gemm": products.gemm,
    "LSTM": recurrent.lstm,
    "MatMul": products.matmul,
    "RNN": recurrent.rnn,
    "com.microsoft.MatMulNBits": packed.matmul_nbits,
}
# What reading a damaged node can raise in numpy: each becomes one line with the node's name.
_MISFITS = (ValueError, TypeError, IndexError, KeyError, ArithmeticError, AttributeError, MemoryError)
_NUMBERWISE = frozenset(
    (
        *("Add", "Cast", "Clip", "DequantizeLinear", "Div", "Dropout", "Identity", "LeakyRelu", "Mul"),
        *("QuantizeLinear", "Relu", "Sigmoid", "Sub", "Tanh"),
    )
)
# Without a host; with one, a sample at a time; with one, all of a batch that the file states as one sample.
_Host = Literal["none", "one", "whole"]
# Bodies within bodies; each round unrolls all that are known.
_ROUNDS = 16
# Enough to see what kind of model it is; a whole transformer would list hundreds.
_LISTED = 12


@dataclass(frozen=True, eq=False, kw_only=True)
class OnnxInput:
    """A graph input of the file.

    Attributes
    ----------
    name
        In the file.
    shape
        All of it, None where open.
    batch
        Which axis; -1 where none is.
    kind
        ONNX's number of its type, where that is no floating-point one.
    """

    name: str
    shape: tuple[int | None, ...]
    batch: int
    kind: int | None = None

    @property
    def sizes(self) -> tuple[int, ...] | None:
        """The whole shape, 1 for an open batch; None if another size is open, or nothing says what a sample is."""
        # One sample stands for any number: samples never mix, and `Value.axis` refuses what would mix them.
        sizes = tuple(1 if size is None and i == self.batch else size for i, size in enumerate(self.shape))
        known = tuple(size for size in sizes if size is not None)
        lacking = len(known) < len(sizes) or (not sizes if self.kind is None else self.kind not in PLAIN)
        return None if lacking else known

    @property
    def is_batched(self) -> bool:
        """Whether the file states a batch of several samples."""
        return self.batch >= 0 and (self.shape[self.batch] or 1) > 1

    def of_run(self, *, whole: bool) -> OnnxInput:
        """Return what one run of the file takes as one sample: a batch of one, or all of it."""
        if not self.is_batched:
            return self
        if whole:
            return replace(self, batch=-1)
        return replace(self, shape=(*self.shape[: self.batch], None, *self.shape[self.batch + 1 :]))

    def __str__(self) -> str:
        return " x ".join("?" if size is None else str(size) for size in self.shape) or "unknown"


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
    proto = normalise(path, proto)
    reading = _best_reading(path, proto, input_shape)
    verdict = _judged(proto, reading)
    if unsupported == "skip" and reading.hosting is not None and (verdict.problems or not reading.into.layers):
        # Without a graph nothing has to be connected: layers that a host would have taken over stay layers.
        reading = _expanded(path, proto, input_shape, host="none")
        verdict = _judged(proto, reading)
    into, inputs, problems = reading.into, reading.inputs, verdict.problems
    if problems and unsupported == "refuse":
        raise ModelError(
            f"{path}: not supported: {_listed(problems)} (--unsupported skip keeps the weight layers, which then run "
            f"on recorded activations)"
        )
    if not into.layers:
        reasons = [*reading.problems, *reading.skipped.values(), *reading.hosted]
        why = f" (not supported: {_listed(reasons)})" if reasons else ""
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


def _judged(proto: onnx.ModelProto, reading: _Reading) -> _Verdict:
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


@dataclass(frozen=True, eq=False, kw_only=True)
class _Reading:
    """One pass over a file: what was made of its nodes, which were not read and why, which bodies can be unrolled."""

    nodes: list[OnnxNode]
    into: Builder
    inputs: tuple[OnnxInput, ...]
    # As the file has them, with the batch that it states.
    stated: tuple[OnnxInput, ...]
    problems: list[str]
    skipped: dict[int, str]
    expansions: dict[int, Expansion]
    hosting: Hosting | None = None
    behind: set[int] = field(default_factory=set)
    # Nodes that could have been layers, and why they are on the host.
    hosted: list[str] = field(default_factory=list)

    @property
    def recorded(self) -> tuple[OnnxInput, ...]:
        """Inputs as a session of the file takes them."""
        # Not those of one sample: a session of a file that states a batch of three takes three.
        return tuple(taken if taken.batch < 0 else own for own, taken in zip(self.stated, self.inputs, strict=True))

    @property
    def failed(self) -> bool:
        """Whether something that a layer hangs on can be run in no way."""
        return self.hosting is not None and bool(self.hosting.failures or self.hosted)

    @property
    def weighty(self) -> set[int]:
        """Nodes on the host that multiply by constants: work of layers, which nobody models."""
        return set() if self.hosting is None else self.hosting.indices & self.hosting.place.weighty


def _best_reading(path: Path, proto: onnx.ModelProto, shape: AnyShape | None) -> _Reading:
    """Read without a host where that is enough; with one, of a batch that the file states one sample, else all."""
    reading = _expanded(path, proto, shape, host="none") if not _wants_host(path, proto) else None
    # Ids and switches are read by a host alone, so that nothing behind them was even tried.
    if reading is not None and (reading.problems or not (reading.skipped or _plain_inputs(proto))):
        return reading
    # Before all is read anew: layers of both readings would be in memory.
    del reading
    first: _Reading | ModelError
    try:
        first = _expanded(path, proto, shape, host="one")
    except ModelError as error:
        first = error
    failed = isinstance(first, ModelError) or first.failed
    if failed and any(dim.dim_value > 1 for entry in proto.graph.input for dim in entry.type.tensor_type.shape.dim[:2]):
        # What was traced for so many samples may run with no other number: all of a run is then one sample.
        try:
            whole = _expanded(path, proto, shape, host="whole")
        except ModelError:
            whole = None
        if whole is not None and not whole.failed:
            return whole
    if isinstance(first, ModelError):
        raise first
    return first


def _expanded(path: Path, proto: onnx.ModelProto, shape: AnyShape | None, host: _Host) -> _Reading:
    """Read, again and again until no body is left that can be put in the place of its node."""
    for _ in range(_ROUNDS):
        reading = _read(path, proto, shape, host=host)
        if not reading.expansions:
            break
        # A body may hold another one, and what decides on it may stand in the first.
        expand(path, proto.graph, reading.expansions)
    return reading


def _plain_inputs(proto: onnx.ModelProto) -> set[str]:
    weights = {tensor.name for tensor in proto.graph.initializer}
    types = {entry.name: entry.type.tensor_type.elem_type for entry in proto.graph.input}
    return {name for name, kind in types.items() if name not in weights and kind not in FLOATING}


def _wants_host(path: Path, proto: onnx.ModelProto) -> bool:
    """Whether something in a file is for a host to begin with; of bodies it is known only once they are in place."""
    if any(node.op_type in ("If", "Loop", "Scan") for node in proto.graph.node):
        return False
    constants, nodes = Constants(path, proto), plain_nodes(path, proto)
    at = place(proto, nodes, constants, plain=_plain_inputs(proto), shapes={})
    return not at.host.isdisjoint(at.needed)


def _read(path: Path, proto: onnx.ModelProto, input_shape: AnyShape | None, host: _Host) -> _Reading:
    graph = proto.graph
    constants = Constants(path, proto)
    nodes = plain_nodes(path, proto)
    uses: dict[str, list[OnnxNode]] = {}
    for node in nodes:
        # Built before anything is read: what becomes part of a layer depends on who else reads its result.
        for name in node.inputs:
            uses.setdefault(name, []).append(node)
    stated = _graph_inputs(path=path, graph=graph, uses=uses, constants=constants, input_shape=input_shape)
    reading = _Reading(
        nodes=nodes,
        into=Builder(constants, uses, frozenset(output.name for output in graph.output)),
        inputs=stated if host == "none" else tuple(entry.of_run(whole=host == "whole") for entry in stated),
        stated=stated,
        problems=[],
        skipped={},
        expansions={},
    )
    _set_inputs(reading)
    _fold(path, reading)
    # Only where all sizes are known can a part be run, which is how its results' are found.
    if host != "none" and not reading.problems:
        reading = replace(reading, hosting=_hosting(path, proto, reading))
    # Damaged numbers may overflow on the way; what is not finite in the end is refused where it would be stored.
    with np.errstate(all="ignore"):
        _translate(path, proto, reading)
    if reading.hosting is not None and not reading.expansions:
        reading.hosting.finish()
        reading.skipped.update(reading.hosting.failures)
    return reading


def _set_inputs(reading: _Reading) -> None:
    reading.into.open_batch = any(entry.batch >= 0 and entry.shape[entry.batch] is None for entry in reading.inputs)
    for entry in reading.inputs:
        if (sizes := entry.sizes) is None:
            name = printable(entry.name)
            reading.problems.append(f"{name} (an input of shape {entry}: state its open sizes with --input-shape)")
        elif entry.kind is None:
            reading.into.set(entry.name, Value(entry.name, sizes, entry.batch))


def _fold(path: Path, reading: _Reading) -> None:
    with np.errstate(all="ignore"):
        for node in reading.nodes:
            # All constants first: a layer may stand before the node that unpacks its weights.
            reading.into.constants.fold(node, f"{path}: node {node.name!r} ({node.op})")


def _hosting(path: Path, proto: onnx.ModelProto, reading: _Reading) -> Hosting:
    into, plain = reading.into, {entry.name: entry for entry in reading.inputs if entry.kind is not None}
    at = place(proto, reading.nodes, into.constants, plain=plain, shapes={})
    if at.host:
        # Inferred where it is of use: then shapes behind the host are numbers as well.
        sizes = {entry.name: entry.sizes for entry in reading.inputs if entry.sizes is not None}
        into.shapes |= inferred(proto, into, sizes) | sizes
        at = place(proto, reading.nodes, into.constants, plain=plain, shapes=into.shapes)
    hosting = Hosting(path=path, proto=proto, into=into, at=at)
    for entry in plain.values():
        assert entry.sizes is not None
        assert entry.kind is not None
        hosting.add_input(entry.name, entry.sizes, batch=entry.batch, element=entry.kind)
    return hosting


def _translate(path: Path, proto: onnx.ModelProto, reading: _Reading) -> None:
    nodes, into = reading.nodes, reading.into
    for node in nodes:
        where = f"{path}: node {node.name!r} ({node.op})"
        # Made already, as part of a layer or as a constant in the first pass.
        if node.index in into.absorbed or (node.outputs and all(name in into.constants for name in node.outputs)):
            continue
        try:
            # Once more: what hangs on a Shape node is constant only since that node's input is known.
            if into.constants.fold(node, where):
                continue
            if node.op in ("If", "Loop", "Scan") and (known := _expansion(node, proto, into)) is not None:
                reading.expansions[node.index] = known
            else:
                _read_or_host(node, reading)
        except UnsupportedError as error:
            reading.skipped[node.index] = f"{node.name} ({node.op}{': ' if str(error) else ''}{error})"
        except ModelError as error:
            text = str(error)
            # Some errors name the file and tensor themselves, closer than this could.
            raise (error if text.startswith(str(path)) else ModelError(f"{where}: {text}")) from None
        except _MISFITS as error:
            reason = (str(error).splitlines() or [type(error).__name__])[0]
            raise ModelError(f"{where}: damaged or impossible: {reason[:200]}") from None


def _expansion(node: OnnxNode, proto: onnx.ModelProto, into: Builder) -> Expansion | None:
    """Return what is constant of an If, a Loop or a Scan; None if it hangs on numbers of the input."""
    inputs = [into.constants.get(name) if name else None for name in (*node.inputs, "", "")]
    if node.op == "If":
        known = inputs[0]
        return None if known is None else Expansion(branch="then_branch" if known.any() else "else_branch")
    if node.op == "Scan":
        # Over another axis, or backwards, the slices would be others.
        plain = not any(any(value) for key, value in node.attributes.items() if key.startswith("scan_"))
        x = into.known(node.inputs[-1]) if plain and node.inputs else None
        return None if x is None or x.batch == 0 else Expansion(trips=x.shape[0])
    # A condition that is left out is true.
    trips, starts = inputs[0], not node.inputs[1:2] or not node.inputs[1] or inputs[1] is not None
    if trips is None or not starts or not goes_on(proto.graph.node[node.index]):
        return None
    begins = inputs[1] is None or bool(inputs[1].all())
    # No more than a body of one node could go round; `expand` says so.
    return Expansion(trips=min(max(0, int(trips.ravel()[0])), LARGEST_UNROLLED) if begins else 0)


def _read_or_host(node: OnnxNode, reading: _Reading) -> None:
    """Read a node as ours, else give it to the host if a layer hangs on it."""
    into, hosting = reading.into, reading.hosting
    if hosting is None:
        _read_node(node, into)
        return
    is_layer = node.index in hosting.place.layers
    try:
        if is_layer:
            hosting.bring(node)
        elif node.index in hosting.place.host or (hosting.reads(node) and not _states_shape(node, into)):
            raise UnsupportedError
        with into.undone_if_unsupported():
            _read_node(node, into)
    except UnsupportedError as error:
        if node.index not in hosting.place.needed:
            reading.behind.add(node.index)
            raise
        hosting.add(node)
        if is_layer:
            reading.hosted.append(f"{node.name} ({node.op}{': ' if str(error) else ''}{error})")


def _states_shape(node: OnnxNode, into: Builder) -> bool:
    return node.op == "Shape" and bool(node.inputs and node.outputs) and node.inputs[0] in into.shapes


def _read_node(node: OnnxNode, into: Builder) -> None:
    if node.op in _WEIGHTED and node.inputs and node.outputs:
        _WEIGHTED[node.op](node, into)
        return
    read = _take_shape if node.op == "Shape" else operators.onnx_handler(node.op)
    if read is None or not node.inputs or not node.outputs:
        raise UnsupportedError
    if _states_shape(node, into):
        into.constants.set(node.outputs[0], shape_of(into.shapes[node.inputs[0]], node.attributes))
        return
    known = [value for name in node.inputs if (value := into.known(name)) is not None]
    # Behind a skipped node nothing is said again: the first is the one to mend.
    behind_unknown = any(name and name not in into.constants and into.known(name) is None for name in node.inputs)
    if not known and not behind_unknown:
        raise UnsupportedError("of constants only")
    if behind_unknown:
        return
    # Where all of a tensor is a sample, only what works number by number is sure to be right.
    if any(value.batch < 0 for value in known) and node.op not in _NUMBERWISE:
        raise UnsupportedError
    read(node, into, known[0])


def _take_shape(node: OnnxNode, into: Builder, x: Value) -> None:
    """Take a Shape node's result as a constant; an open batch counts as 1."""
    into.constants.set(node.outputs[0], shape_of(x.shape, node.attributes))


def _graph_inputs(
    path: Path,
    graph: onnx.GraphProto,
    uses: dict[str, list[OnnxNode]],
    constants: Constants,
    input_shape: AnyShape | None,
) -> tuple[OnnxInput, ...]:
    # Old files list their weights among the inputs, too.
    entries = [entry for entry in graph.input if entry.name not in constants]
    if not entries:
        raise ModelError(f"{path}: its graph has no input")
    inputs = []
    for entry in entries:
        # Exporters write an open size as a name, 0 or -1.
        sizes = [dim.dim_value if dim.dim_value > 0 else None for dim in entry.type.tensor_type.shape.dim]
        # Nothing in the file says which axis is the batch; an LSTM that reads the input does, and so do columns.
        across = _time_first(entry.name, uses) or (len(sizes) == 2 and _in_columns(entry.name, uses, constants))
        batch = 1 if across and len(sizes) > 1 else only_open(sizes)
        # A number, or a vector of stated length, is all of it a sample.
        batch = -1 if not sizes or (len(sizes) == 1 and sizes[0] is not None) else batch
        element = entry.type.tensor_type.elem_type
        kind = None if element in FLOATING else element
        inputs.append(OnnxInput(name=entry.name, shape=tuple(sizes), batch=batch, kind=kind))
    known = stated_shapes(path, {entry.name: (entry.shape, entry.batch) for entry in inputs}, input_shape)
    return tuple(_with_shape(path, entry, known[entry.name]) if entry.name in known else entry for entry in inputs)


def _with_shape(path: Path, entry: OnnxInput, wanted: tuple[int, ...]) -> OnnxInput:
    """Fill in the sizes of one sample."""
    if entry.batch < 0:
        entry = replace(entry, batch=0, shape=(None, *entry.shape)) if entry.shape else replace(entry, batch=0)
    stated = entry.shape[: entry.batch] + entry.shape[entry.batch + 1 :]
    # With the batch included, as the file itself counts: one sample more than none.
    if len(wanted) == len(entry.shape) and wanted[entry.batch] in (1, entry.shape[entry.batch]):
        wanted = wanted[: entry.batch] + wanted[entry.batch + 1 :]
    # Sizes that the file does state have to be confirmed, not changed.
    fits = len(stated) == len(wanted) and all(a in (None, b) for a, b in zip(stated, wanted, strict=True))
    if (entry.shape and not fits) or min(wanted, default=0) < 1:
        said = " x ".join(map(str, wanted))
        raise ModelError(
            f"{path}: input {entry.name!r} has shape {entry}, batch included: {said} a sample does not fit"
        )
    batch = entry.shape[entry.batch] if entry.shape else None
    return replace(entry, shape=(*wanted[: entry.batch], batch, *wanted[entry.batch :]))


def _time_first(name: str, uses: dict[str, list[OnnxNode]]) -> bool:
    """Whether a recurrent layer that has the batch in its second axis reads the input, or begins from it."""
    return any(
        node.op in ("GRU", "LSTM", "RNN")
        and name in (node.inputs[0], *node.inputs[5:7])
        and not node.attributes.get("layout")
        for node in uses.get(name, ())
    )


def _in_columns(name: str, uses: dict[str, list[OnnxNode]], constants: Constants) -> bool:
    """Whether the columns of a matrix are the samples: it is multiplied from the left, or transposed."""
    return any(
        (node.op == "Gemm" and node.inputs[0] == name and bool(node.attributes.get("transA")))
        or (
            node.op in ("Gemm", "MatMul")
            and node.inputs[1:2] == (name,)
            and node.inputs[0] in constants
            and not node.attributes.get("transB")
        )
        for node in uses.get(name, ())
    )


def _network(
    path: Path,
    into: Builder,
    inputs: tuple[OnnxInput, ...],
    outputs: list[str],
    problems: list[str],
    behind: list[str],
    tied: Tied | None,
) -> Network:
    notes = [f"left out behind the last layer: {_listed(behind)}"] if behind else []
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
    more = f" and {len(items) - _LISTED} more" if len(items) > _LISTED else ""
    return ", ".join(items[:_LISTED]) + more
