"""Whether a file keeps the samples of a batch apart: all of it runs on a few, and it is seen which numbers move.

Comes in: a normalised file, and what sizes were stated. Goes out: the node at which samples mix, if any. Called by
`reading`: on the accelerator and on the host a sample runs alone, which a mean over the batch, say, is not.

Three runs in onnxruntime, as the file says: of a batch, with its first sample changed, and with all others changed.
A number that moves in both hangs on several samples, wherever the file has its batch: nothing is asked of layouts.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
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
from eie.importers.onnx.normalise import read_names
from eie.importers.onnx.placement import ancestors
from eie.importers.onnx.submodel import SubModel
from eie.importers.onnx.unmodelled import PRODUCTS, kind
from eie.importers.options import AnyShape
from eie.model import host, operators
from eie.model.operators.from_onnx import OnnxNode

if TYPE_CHECKING:
    import onnx

Array = NDArray[Any]
# Of an open batch: one to be changed, and one to be seen whether it moves.
_SAMPLES = 2
_SEED = 0
# Of a row's largest number: what is less is rounding.
_TOLERANCE = 1e-5
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
        _Whole(path=path, proto=proto, batch=batch).runs([entry.name for entry in proto.graph.output])
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
    names = _mixed(path, proto, usual, watched=[*read, *given])
    if not names:
        return None
    differs = [entry.batch for entry in usual] != [entry.batch for entry in turned]
    open_batch = any(entry.batch >= 0 and entry.shape[entry.batch] is None for entry in usual)
    everything = [name for node in proto.graph.node for name in node.output if name]
    first = next(iter(_mixed(path, proto, usual, watched=everything) or names))
    maker = next(node for node in proto.graph.node if first in node.output)
    return Mixing(
        node=f"{printable(maker.name or first)!r} ({printable(maker.op_type)})",
        is_read=not names.keys().isdisjoint(read),
        given=tuple(name for name in given if name in names),
        samples=0 if open_batch else max(entry.shape[entry.batch] or 0 for entry in usual if entry.batch >= 0),
        turned=differs and _mixed(path, proto, turned, watched=[*read, *given]) == {},
        example=next((_stated(entry) for entry in usual if entry.batch >= 0), ""),
    )


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
        return dict.fromkeys(_Whole(path=path, proto=proto, batch=batch).mixed(watched))
    except (ModelError, MemoryError):
        return None


def _watched(proto: onnx.ModelProto) -> tuple[list[str], list[str]]:
    """Return what products read, and what the graph gives out of operators that are ours."""
    made = {name: node.op_type for node in proto.graph.node for name in node.output if name}
    read = [name for node in proto.graph.node if kind(node.op_type) in PRODUCTS for name in node.input]
    given = [entry.name for entry in proto.graph.output if entry.name in made]
    ours = [name for name in given if kind(made[name]) in PRODUCTS or operators.onnx_handler(made[name]) is not None]
    return list(dict.fromkeys(name for name in read if name in made)), ours


@dataclass(frozen=True, eq=False, kw_only=True)
class _Batch:
    """Inputs of the three runs: as they are, with the first sample changed, with all others changed."""

    base: Mapping[str, Array]
    first: Mapping[str, Array]
    others: Mapping[str, Array]


def _batch_of(inputs: Sequence[OnnxInput]) -> _Batch | None:
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
    return _Batch(base=runs[0], first=runs[1], others=runs[2]) if several else None


def _drawn(rng: np.random.Generator, shape: tuple[int, ...], element: int | None) -> tuple[Array, Array]:
    if element is None:
        base, other = (rng.standard_normal(shape).astype(np.float32) for _ in range(2))
        return base, other
    # Ids that every table has, and switches.
    kind_read = kinds.numpy_type(element)
    return np.ones(shape, kind_read), np.zeros(shape, kind_read)


class _Whole:
    """A file as it is, ready to run, but for its large constants: they are fed, so that they are there once."""

    def __init__(self, path: Path, proto: onnx.ModelProto, batch: _Batch) -> None:
        self._path, self._proto, self._batch = path, proto, batch
        self._reads = [sorted(name for name in read_names(node) if name) for node in proto.graph.node]
        self._makers = {name: i for i, node in enumerate(proto.graph.node) for name in node.output if name}
        self._elements = {entry.name: entry.type.tensor_type.elem_type for entry in proto.graph.input}
        self._fed: dict[str, Array] = {}

    def runs(self, names: Sequence[str]) -> None:
        """Make these tensors; ModelError if that cannot be done."""
        self._opened([name for name in names if name in self._makers])(self._batch.base)

    def mixed(self, names: Sequence[str]) -> list[str]:
        """Return which of these tensors hold a number that hangs on several samples.

        Raises
        ------
        ModelError
            If it cannot be run on several.
        """
        run = self._opened(names)
        base = run(self._batch.base)

        def moved(batch: Mapping[str, Array]) -> list[Array | None]:
            # Of each run only that: numbers of all three side by side would be most of what reading takes. A size that
            # hangs on the numbers says nothing of whose they are.
            made = zip(base, run(batch), strict=True)
            return [_moved(before, after) if before.shape == after.shape else None for before, after in made]

        first, others = moved(self._batch.first), moved(self._batch.others)
        mixed = {
            name: mine & theirs
            for name, mine, theirs in zip(names, first, others, strict=True)
            if mine is not None and theirs is not None
        }
        if not any(both.any() for both in mixed.values()):
            return []
        # Random numbers differ anyway.
        again = dict(zip(names, run(self._batch.base), strict=True))
        return [
            name
            for i, name in enumerate(names)
            if name in mixed and (mixed[name] & ~_moved(base[i], again[name])).any()
        ]

    def _opened(self, names: Sequence[str]) -> Callable[[Mapping[str, Array]], list[Array]]:
        indices = sorted(ancestors(self._proto, self._reads, {self._makers[name] for name in names}))
        part = SubModel(self._proto, [self._proto.graph.node[i] for i in indices], tuple(names))
        read = {name for i in indices for name in self._reads[i]}
        for name in self._batch.base:
            if name in read:
                part.add(name, name, batch=0, sample=self._batch.base[name].astype(self._type(name), copy=False))
        for tensor in self._proto.graph.initializer:
            if tensor.name in read:
                self._add(part, tensor)
        opened = host.opened.__wrapped__(part.content(()), "onnxruntime", f"{self._path}: on a batch")
        order = list(part.by_name())

        def run(batch: Mapping[str, Array]) -> list[Array]:
            results: list[Array] = opened([batch[name] if name in batch else self._fed[name] for name in order])
            return results

        return run

    def _type(self, name: str) -> np.dtype[Any]:
        element = self._elements[name]
        return kinds.numpy_type(kinds.FLOAT if element in (0, kinds.BFLOAT16) else element)

    def _add(self, part: SubModel, tensor: onnx.TensorProto) -> None:
        array = part.add_initialiser(tensor, f"{self._path}: tensor {tensor.name!r}", self._path.parent)
        if array is not None:
            self._fed[tensor.name] = array


def _moved(before: Array, after: Array) -> NDArray[np.bool_]:
    """bool, of the same shape: which numbers differ by more than rounding."""
    if before.dtype.kind != "f":
        return np.asarray(before != after)
    before, after = np.atleast_1d(before), np.atleast_1d(after)
    with np.errstate(all="ignore"):
        finite = np.nan_to_num(np.maximum(np.abs(before), np.abs(after)), nan=0, posinf=0)
        bound = _TOLERANCE * finite.max(axis=-1, initial=0, keepdims=True)
        same = (before == after) | (np.abs(before - after) <= bound) | (np.isnan(before) & np.isnan(after))
    return np.asarray(~same)
