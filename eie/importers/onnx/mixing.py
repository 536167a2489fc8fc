"""Whether a file keeps the samples of a batch apart: all of it runs on a few, and it is seen which numbers move.

Comes in: a normalised file, and what sizes were stated. Goes out: the node at which samples mix, if any. Called by
`reading`: on the accelerator and on the host a sample runs alone, which a mean over the batch, say, is not.

Where operators alone tell (`separate`), nothing is run. Else there are three runs in onnxruntime, as the file says
(`stretches`): of a batch, with its first sample changed, and with all others changed. A number that moves in both hangs
on several samples, wherever the file has its batch: nothing is asked of layouts.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from eie.errors import ModelError
from eie.importers.onnx import kinds
from eie.importers.onnx.constants import Constants
from eie.importers.onnx.graph_inputs import OnnxInput, graph_inputs
from eie.importers.onnx.input_shapes import run_shapes
from eie.importers.onnx.nodes import plain_nodes, printable
from eie.importers.onnx.placement import products_inside
from eie.importers.onnx.separate import Placed, places
from eie.importers.onnx.stretches import Batch, BatchRuns
from eie.importers.onnx.work import multiplies
from eie.importers.options import AnyShape
from eie.model import operators
from eie.model.operators.from_onnx import OnnxNode

if TYPE_CHECKING:
    import onnx

Array = NDArray[Any]
# Of an open batch: one to be changed, and one to be seen whether it moves.
_SAMPLES = 2
_SEED = 0
# What moves the batch, or takes another axis of one for it, while a sample is read as a batch of one.
_MOVING = frozenset(("Einsum", "Flatten", "GRU", "LSTM", "RNN", "Squeeze", "Transpose", "Unsqueeze"))


@dataclass(frozen=True, kw_only=True)
class Mixing:
    """Where samples mix.

    Attributes
    ----------
    node
        The first node whose result hangs on several samples, in words.
    is_read
        Whether a layer, or another product, reads what is mixed.
    given
        Outputs of the file that are mixed.
    samples
        How many the file states; 0 for any number.
    turned
        Whether they do not if time stands before the batch, where the file leaves both open.
    """

    node: str
    is_read: bool
    given: tuple[str, ...]
    samples: int
    turned: bool
    # How all sizes of an input with an open batch are stated.
    example: str = ""

    def __str__(self) -> str:
        if self.turned:
            return f"time stands before the batch: the other way round, node {self.node} would mix samples"
        if self.samples:
            return (
                f"node {self.node} mixes the samples of a batch: all {self.samples} that the file states are one sample"
            )
        return (
            f"node {self.node} mixes the samples of a batch: each is run alone, as a batch of one; if it is no batch, "
            f"state all sizes, as --input-shape {self.example}"
        )


def keeps_apart(path: Path, proto: onnx.ModelProto) -> bool:
    """Whether reading tells for sure that operators of ours keep samples apart: it follows the batch but by its size.

    A batch of one looks like any other axis of one; only what says by number where the batch goes can confuse them.
    """
    constants = Constants(path, proto)
    for node in plain_nodes(path, proto):
        if node.op in _MOVING and not (node.op == "Flatten" and node.attributes.get("axis", 1) == 1):
            return False
        if node.op == "Reshape":
            wanted = constants.get(node.inputs[1]) if len(node.inputs) > 1 else node.attributes.get("shape")
            if wanted is None or np.ravel(wanted)[:1].tolist() not in ([-1], [0]):
                return False
    return True


def shared_inputs(path: Path, proto: onnx.ModelProto, shape: AnyShape | None) -> frozenset[str]:
    """Return inputs of stated sizes that every sample of an open batch reads all of: a table, and not a row of it each.

    A file that runs with another number of samples than they have rows takes them so; one that does not has a batch
    that it states at one input and leaves open at another.
    """
    constants, uses = Constants(path, proto), _uses(plain_nodes(path, proto))
    inputs = graph_inputs(path=path, graph=proto.graph, uses=uses, constants=constants, input_shape=shape)
    is_open = [entry.batch >= 0 and entry.shape[entry.batch] is None for entry in inputs]
    stated = {entry.name: entry.shape[entry.batch] for entry in inputs if entry.is_batched}
    if not any(is_open) or not stated:
        return frozenset()
    several = next(count for count in range(_SAMPLES, _SAMPLES + len(stated) + 1) if count not in stated.values())
    if _runs_with(path, proto, inputs, samples=several):
        return frozenset(stated)
    # With as many samples as they have rows they are of the batch; with no number but one, of each sample.
    counts = [count for count in stated.values() if count is not None]
    of_batch = any(_runs_with(path, proto, inputs, samples=count) for count in dict.fromkeys(counts))
    return frozenset() if of_batch or not _runs_with(path, proto, inputs, samples=1) else frozenset(stated)


def _runs_with(path: Path, proto: onnx.ModelProto, inputs: Sequence[OnnxInput], *, samples: int) -> bool:
    """Whether a file runs with so many samples where the batch is open."""
    sized = [
        replace(entry, shape=(*entry.shape[: entry.batch], samples, *entry.shape[entry.batch + 1 :]))
        if entry.batch >= 0 and entry.shape[entry.batch] is None
        else entry
        for entry in inputs
    ]
    batch = _batch_of(sized)
    if batch is None:
        return False
    try:
        BatchRuns(path, proto, batch).runs([entry.name for entry in proto.graph.output])
    except (ModelError, MemoryError):
        return False
    return True


def whole_run(path: Path, proto: onnx.ModelProto, shape: AnyShape | None) -> dict[str, tuple[int, ...]] | None:
    """Return the sizes of all that a run takes, where what is fed says so."""
    constants, uses = Constants(path, proto), _uses(plain_nodes(path, proto))
    inputs = graph_inputs(path=path, graph=proto.graph, uses=uses, constants=constants, input_shape=None)
    return run_shapes({entry.name: (entry.shape, entry.batch) for entry in inputs}, shape)


def mixing(
    path: Path, proto: onnx.ModelProto, shape: AnyShape | None, *, shared: Collection[str] = ()
) -> Mixing | None:
    """Return where samples mix; None if they do not, or if that cannot be told.

    What runs on a batch of one only, as it was traced, and what onnxruntime cannot run, has no batch to mix.
    """
    constants, uses = Constants(path, proto), _uses(plain_nodes(path, proto))
    usual, turned = (
        graph_inputs(
            path=path,
            graph=proto.graph,
            uses=uses,
            constants=constants,
            input_shape=shape,
            turned=way,
            shared=shared,
        )
        for way in (False, True)
    )
    read, given = _watched(proto)
    if _is_plain(path, proto, usual, watched=[*read, *given]):
        return None
    names = _mixed(path, proto, usual, watched=[*read, *given])
    if not names:
        return None
    differs = [entry.batch for entry in usual] != [entry.batch for entry in turned]
    open_batch = any(entry.batch >= 0 and entry.shape[entry.batch] is None for entry in usual)
    everything = [name for node in proto.graph.node for name in node.output if name]
    first = _first_mixed(path, proto, usual, watched=everything) or next(iter(names))
    maker = next(node for node in proto.graph.node if first in node.output)
    return Mixing(
        node=f"{printable(maker.name or first)!r} ({printable(maker.op_type)})",
        is_read=not names.keys().isdisjoint(read),
        given=tuple(name for name in given if name in names),
        samples=0 if open_batch else max(entry.shape[entry.batch] or 0 for entry in usual if entry.batch >= 0),
        turned=differs and _mixed(path, proto, turned, watched=[*read, *given]) == {},
        example=next((_stated(entry) for entry in usual if entry.batch >= 0), ""),
    )


def _is_plain(path: Path, proto: onnx.ModelProto, inputs: Sequence[OnnxInput], watched: Sequence[str]) -> bool:
    """Whether operators alone tell that no sample mixes with another: then nothing is run, which may take seconds."""
    placed = {
        entry.name: Placed(
            tuple(None if axis == entry.batch else size for axis, size in enumerate(entry.shape)),
            None if entry.batch < 0 else entry.batch,
        )
        for entry in inputs
    }
    known = places(plain_nodes(path, proto), Constants(path, proto), placed, where=str(path))
    return all(name in known for name in watched)


def _stated(entry: OnnxInput) -> str:
    sizes = ["4" if i == entry.batch else str(size or "?") for i, size in enumerate(entry.shape)]
    return f"{printable(entry.name)}={'x'.join(sizes)}"


def _uses(nodes: Iterable[OnnxNode]) -> dict[str, list[OnnxNode]]:
    uses: dict[str, list[OnnxNode]] = {}
    for node in nodes:
        for name in node.inputs:
            uses.setdefault(name, []).append(node)
    return uses


def _mixed(
    path: Path, proto: onnx.ModelProto, inputs: Sequence[OnnxInput], watched: Sequence[str]
) -> dict[str, None] | None:
    """Return which tensors hold numbers of several samples, in the order of ``watched``; None if it cannot be run."""
    batch = _batch_of(inputs)
    if batch is None or not watched:
        return None
    try:
        return dict.fromkeys(BatchRuns(path, proto, batch).mixed(watched))
    except (ModelError, MemoryError):
        return None


def _first_mixed(path: Path, proto: onnx.ModelProto, inputs: Sequence[OnnxInput], watched: Sequence[str]) -> str | None:
    """Return the first of these tensors that holds numbers of several samples; behind it, nothing is run."""
    batch = _batch_of(inputs)
    try:
        return None if batch is None else next(BatchRuns(path, proto, batch).mixed(watched), None)
    except (ModelError, MemoryError):
        return None


def _watched(proto: onnx.ModelProto) -> tuple[list[str], list[str]]:
    """Return what products read, and what the graph gives out of operators that are ours."""
    made = {name: node.op_type for node in proto.graph.node for name in node.output if name}
    read = [name for node in proto.graph.node if multiplies(node.op_type) for name in node.input]
    # What goes from round to round of a loop is read by the products in it.
    loops = [node for node in proto.graph.node if node.op_type in ("Loop", "Scan")]
    loops = [node for node in loops if any(products_inside(entry.g) for entry in node.attribute)]
    read += [name for node in loops for name in node.output]
    given = [entry.name for entry in proto.graph.output if entry.name in made]
    ours = [name for name in given if multiplies(made[name]) or operators.onnx_handler(made[name]) is not None]
    return list(dict.fromkeys(name for name in read if name in made)), ours


def _batch_of(inputs: Sequence[OnnxInput]) -> Batch | None:
    """Make samples up; None where sizes are missing, or there is one sample only."""
    if any(entry.sizes is None for entry in inputs):
        return None
    rng = np.random.default_rng(_SEED)
    is_open = any(entry.batch >= 0 and entry.shape[entry.batch] is None for entry in inputs)
    runs: tuple[dict[str, Array], dict[str, Array], dict[str, Array]] = ({}, {}, {})
    several = False
    for entry in inputs:
        sizes = list(entry.sizes or ())
        if entry.batch >= 0 and entry.shape[entry.batch] is None:
            sizes[entry.batch] = _SAMPLES
        # Beside an open batch, one of a stated size is of all samples.
        changes = entry.batch >= 0 and sizes[entry.batch] > 1 and (not is_open or entry.shape[entry.batch] is None)
        several = several or changes
        base, other = _drawn(rng, tuple(sizes), entry.kind)
        mine: Array = np.arange(sizes[entry.batch] if changes else 1) == 0
        mine = mine.reshape(-1, *[1] * (len(sizes) - entry.batch - 1)) if changes else mine
        made = (base, np.where(mine, other, base), np.where(mine, base, other)) if changes else (base,) * 3
        for run, array in zip(runs, made, strict=True):
            run[entry.name] = array
    return Batch(base=runs[0], first=runs[1], others=runs[2]) if several else None


def _drawn(rng: np.random.Generator, shape: tuple[int, ...], element: int | None) -> tuple[Array, Array]:
    if element is None:
        base, other = (rng.standard_normal(shape).astype(np.float32) for _ in range(2))
        return base, other
    # Ids that every table has, and switches.
    kind_read = kinds.numpy_type(element)
    return np.ones(shape, kind_read), np.zeros(shape, kind_read)
