"""One pass over an ``.onnx`` file: each node read as a layer, as an operator of ours, as a part for the host, or not.

Comes in: a normalised file. Goes out: a `Reading`. Read by the reader. Node by node, constants are evaluated, weight
layers handed to the modules beside this and what lies between them to `eie.model.operators`; what neither knows goes
to the host if a layer hangs on it. Whatever is left is listed by node name and operator.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np

from eie.errors import ModelError
from eie.formats.heap import give_back
from eie.importers.onnx import convolutions, packed, products, recurrent
from eie.importers.onnx.builder import Builder
from eie.importers.onnx.constants import Constants, shape_of
from eie.importers.onnx.einsum import einsum
from eie.importers.onnx.expansions import MISFITS, expansion_of, note_expansions, parts_of
from eie.importers.onnx.graph_inputs import OnnxInput, graph_inputs
from eie.importers.onnx.hosting import Hosting
from eie.importers.onnx.kinds import FLOATING
from eie.importers.onnx.mixing import keeps_apart, mixing, shared_inputs, whole_run
from eie.importers.onnx.nodes import plain_nodes, printable
from eie.importers.onnx.normalise import STEPS, STRETCHED, Expansion, expand
from eie.importers.onnx.placement import place
from eie.importers.onnx.steps import steps_of
from eie.importers.onnx.stretched import can_be_stretched
from eie.importers.onnx.unmodelled import batch_axes, inferred
from eie.importers.options import AnyShape
from eie.model import operators
from eie.model.host import check_extra
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
_NUMBERWISE = frozenset(
    (
        *("Add", "Cast", "Clip", "DequantizeLinear", "Div", "Dropout", "Identity", "LeakyRelu", "Mul"),
        *("QuantizeLinear", "Relu", "Sigmoid", "Sub", "Tanh"),
    )
)
# Without a host; with one, a sample at a time; with one, all of a batch that the file states as one sample.
Host = Literal["none", "one", "whole"]
# Bodies within bodies; each round unrolls all that are known.
_ROUNDS = 16


@dataclass(frozen=True, eq=False, kw_only=True)
class Reading:
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
    # Whether time was taken to stand before the batch, and what else is to be said of samples.
    turned: bool = False
    shared: frozenset[str] = frozenset()
    notes: tuple[str, ...] = ()
    # Whether all of a run is one sample, since the file is whole in no other way.
    is_run: bool = False

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


def best_reading(path: Path, proto: onnx.ModelProto, shape: AnyShape | None) -> Reading:
    """Read without a host where that is enough; with one, of a batch that the file states one sample, else all."""
    wants_host = _wants_host(path, proto)
    shared = shared_inputs(path, proto, shape)
    tracked = not wants_host and keeps_apart(path, proto)
    if tracked:
        reading = expanded(path, proto, shape, host="none", shared=shared)
        if _is_enough(reading, proto):
            return reading
        # Before all is read anew: layers of two readings, or all that a run takes, would be in memory beside them.
        del reading
    mixed, without = mixing(path, proto, shape, shared=shared), not tracked and not wants_host
    # What the runs took: all that is read from here on would come on top of it.
    give_back()
    whole = mixed is not None and not mixed.turned and mixed.samples > 1
    if mixed is None or not (whole and mixed.is_read):
        turned = mixed is not None and mixed.turned
        reading = _usual(path, proto, shape, without=without, turned=turned, shared=shared)
        # What only the end of a file mixes is left out, unless operators of ours give it out.
        if (
            mixed is None
            or reading.is_run
            or not (mixed.is_read or any(name in reading.into.values for name in mixed.given))
        ):
            return reading
        if not whole:
            return replace(reading, notes=(str(mixed),))
        del reading
    return replace(expanded(path, proto, shape, host="whole"), notes=(str(mixed),))


def _usual(
    path: Path,
    proto: onnx.ModelProto,
    shape: AnyShape | None,
    *,
    without: bool,
    turned: bool,
    shared: frozenset[str],
) -> Reading:
    """Read a sample at a time, all of a stated batch if that fails; first without a host if that may be enough."""
    if without:
        reading = expanded(path, proto, shape, host="none", turned=turned, shared=shared)
        if _is_enough(reading, proto):
            return reading
        del reading
    return _with_host(path, proto, shape, turned=turned, shared=shared)


def _is_enough(reading: Reading, proto: onnx.ModelProto) -> bool:
    # Ids and switches are read by a host alone, so that nothing behind them was even tried.
    return bool(reading.problems) or not (reading.skipped or _plain_inputs(proto))


def _with_host(
    path: Path, proto: onnx.ModelProto, shape: AnyShape | None, *, turned: bool, shared: frozenset[str]
) -> Reading:
    first: Reading | ModelError
    try:
        first = expanded(path, proto, shape, host="one", turned=turned, shared=shared)
    except ModelError as error:
        first = error
    # A body that goes over the axis of samples holds layers only where all of a run is one.
    failed = isinstance(first, ModelError) or first.failed or not first.into.layers
    run = whole_run(path, proto, shape)
    stated = any(dim.dim_value > 1 for entry in proto.graph.input for dim in entry.type.tensor_type.shape.dim[:2])
    if failed and (stated or run is not None or isinstance(shape, Mapping)):
        # What was traced for so many samples may run with no other number: all of a run is then one sample.
        try:
            whole = expanded(path, proto, shape if run is None else run, host="whole")
        except ModelError:
            whole = None
        if whole is not None and not whole.failed and whole.into.layers:
            said = "all that a run takes is one sample: a batch of one is not whole"
            return replace(whole, is_run=True, notes=(said,))
    if isinstance(first, ModelError):
        raise first
    return first


def expanded(
    path: Path,
    proto: onnx.ModelProto,
    shape: AnyShape | None,
    *,
    host: Host,
    turned: bool = False,
    shared: frozenset[str] = frozenset(),
) -> Reading:
    """Read, again and again until no body is left that can be put in the place of its node."""
    for _ in range(_ROUNDS):
        reading = _read(path, proto, shape, host=host, turned=turned, shared=shared)
        if not reading.expansions:
            break
        note_expansions(proto, reading.nodes, reading.expansions)
        apart = parts_of(path, proto, nodes=reading.nodes, into=reading.into, expansions=reading.expansions)
        # A body may hold another one, and what decides on it may stand in the first.
        expand(path, proto, expansions=reading.expansions, apart=apart)
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


def _read(
    path: Path,
    proto: onnx.ModelProto,
    input_shape: AnyShape | None,
    *,
    host: Host,
    turned: bool,
    shared: frozenset[str],
) -> Reading:
    graph = proto.graph
    constants = Constants(path, proto)
    nodes = plain_nodes(path, proto)
    uses: dict[str, list[OnnxNode]] = {}
    for node in nodes:
        # Built before anything is read: what becomes part of a layer depends on who else reads its result.
        for name in node.inputs:
            uses.setdefault(name, []).append(node)
    stated = graph_inputs(
        path=path,
        graph=graph,
        uses=uses,
        constants=constants,
        input_shape=input_shape,
        turned=turned,
        shared=shared,
    )
    reading = Reading(
        nodes=nodes,
        into=Builder(constants, uses, frozenset(output.name for output in graph.output)),
        inputs=stated if host == "none" else tuple(entry.of_run(whole=host == "whole") for entry in stated),
        stated=stated,
        problems=[],
        skipped={},
        expansions={},
        turned=turned,
        shared=shared,
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


def _set_inputs(reading: Reading) -> None:
    reading.into.open_batch = any(entry.batch >= 0 and entry.shape[entry.batch] is None for entry in reading.inputs)
    for entry in reading.inputs:
        if (sizes := entry.sizes) is None:
            name = printable(entry.name)
            reading.problems.append(f"{name} (an input of shape {entry}: state its open sizes with --input-shape)")
        elif entry.kind is None:
            reading.into.set(entry.name, Value(entry.name, sizes, entry.batch))


def _fold(path: Path, reading: Reading) -> None:
    with np.errstate(all="ignore"):
        for node in reading.nodes:
            # All constants first: a layer may stand before the node that unpacks its weights.
            reading.into.constants.fold(node, f"{path}: node {node.name!r} ({node.op})")


def _hosting(path: Path, proto: onnx.ModelProto, reading: Reading) -> Hosting:
    into, plain = reading.into, {entry.name: entry for entry in reading.inputs if entry.kind is not None}
    at = place(proto, reading.nodes, into.constants, plain=plain, shapes={})
    if at.host:
        # Each part would fail for want of it, and look like something that is not supported.
        check_extra(str(path))
        # Inferred where it is of use: then shapes behind the host are numbers as well.
        sizes = {entry.name: entry.sizes for entry in reading.inputs if entry.sizes is not None}
        into.shapes |= inferred(proto, into, sizes) | sizes
        if into.open_batch:
            opened = {entry.name: (entry.sizes, entry.batch) for entry in reading.inputs if entry.sizes is not None}
            into.batches |= batch_axes(proto, into, opened)
        at = place(proto, reading.nodes, into.constants, plain=plain, shapes=into.shapes)
    hosting = Hosting(path=path, proto=proto, into=into, at=at)
    for entry in plain.values():
        assert entry.sizes is not None
        assert entry.kind is not None
        hosting.add_input(entry.name, entry.sizes, batch=entry.batch, element=entry.kind)
    return hosting


def _translate(path: Path, proto: onnx.ModelProto, reading: Reading) -> None:
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
            if node.op in ("If", "Loop", "Scan") and (known := _known_body(node, proto, reading)) is not None:
                reading.expansions[node.index] = known
            else:
                _read_or_host(node, reading)
        except UnsupportedError as error:
            reading.skipped[node.index] = f"{node.name} ({node.op}{': ' if str(error) else ''}{error})"
        except ModelError as error:
            text = str(error)
            # Some errors name the file and tensor themselves, closer than this could.
            raise (error if text.startswith(str(path)) else ModelError(f"{where}: {text}")) from None
        except MISFITS as error:
            reason = (str(error).splitlines() or [type(error).__name__])[0]
            raise ModelError(f"{where}: damaged or impossible: {reason[:200]}") from None


def _known_body(node: OnnxNode, proto: onnx.ModelProto, reading: Reading) -> Expansion | None:
    # With a host all shapes are known, and behind bodies that are not in place yet nothing is.
    decided = reading.hosting is not None and not reading.expansions
    inner = proto.graph.node[node.index]
    return expansion_of(node, inner, into=reading.into, opsets=proto.opset_import, decided=decided)


def _read_or_host(node: OnnxNode, reading: Reading) -> None:
    """Read a node as ours, else give it to the host if a layer hangs on it."""
    into, hosting = reading.into, reading.hosting
    if hosting is None:
        _read_or_take_apart(node, reading)
        return
    is_layer = node.index in hosting.place.layers
    try:
        theirs = node.index in hosting.place.host or (hosting.reads(node) and not _states_shape(node, into))
        if theirs and not is_layer:
            raise UnsupportedError
        _read_or_take_apart(node, reading)
    except UnsupportedError as error:
        if node.index not in hosting.place.needed:
            reading.behind.add(node.index)
            raise
        hosting.add(node)
        if is_layer:
            reading.hosted.append(f"{node.name} ({node.op}{': ' if str(error) else ''}{error})")


def _read_or_take_apart(node: OnnxNode, reading: Reading) -> None:
    """Read a node as ours; what is none of ours but can be taken apart is read in parts the next time."""
    hosting = reading.hosting
    try:
        if hosting is not None and node.index in hosting.place.layers:
            hosting.bring(node)
        with reading.into.undone_if_unsupported():
            _read_node(node, reading.into)
    except UnsupportedError as error:
        if can_be_stretched(node, reading.into):
            reading.expansions[node.index] = Expansion(branch=STRETCHED)
            return
        trips = steps_of(node, reading.into)
        if trips is None:
            raise
        reading.expansions[node.index] = Expansion(branch=STEPS, trips=trips, why=str(error))


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
    if node.op == "QuantizeLinear":
        _read_quantise(node, into, known[0], read=read)
        return
    read(node, into, known[0])


def _read_quantise(
    node: OnnxNode, into: Builder, x: Value, *, read: Callable[[OnnxNode, Builder, Value], None]
) -> None:
    """Read with the DequantizeLinear behind it, whose name the result has: in the file its own name holds integers."""
    users = into.uses(node.outputs[0])
    if not users or any(user.op != "DequantizeLinear" or not user.outputs for user in users):
        read(node, into, x)
        return
    names = [user.outputs[0] for user in users]
    read(replace(node, outputs=(names[0],)), into, x)
    made = into.known(names[0])
    assert made is not None
    for name in names[1:]:
        into.set(name, made)
    into.absorbed.update(user.index for user in users)


def _take_shape(node: OnnxNode, into: Builder, x: Value) -> None:
    """Take a Shape node's result as a constant; an open batch counts as 1."""
    into.constants.set(node.outputs[0], shape_of(x.shape, node.attributes))
