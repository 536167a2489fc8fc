"""A file on three batches at once, a stretch of its nodes at a time, and which numbers move with which samples.

Comes in: a normalised file and made-up batches. Goes out: names of tensors that hold a number of several samples. Used
by `mixing`. Of each batch only what later stretches read is kept, and of weights only those of the stretch: all results
of a convolutional network side by side are many times its weights.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Container, Iterable, Iterator, Mapping, Sequence, Set
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from eie.errors import ModelError
from eie.formats.heap import give_back
from eie.importers.onnx import kinds
from eie.importers.onnx.normalise import read_names
from eie.importers.onnx.placement import ancestors
from eie.importers.onnx.submodel import SubModel
from eie.model import host

if TYPE_CHECKING:
    import onnx

Array = NDArray[Any]
# What a session makes of the tensors it reads, both by name.
Run = Callable[[Mapping[str, Array]], dict[str, Array]]
# Of a row's largest number: what is less is rounding.
_TOLERANCE = 1e-5
# Numbers that are compared together.
_BLOCK = 1 << 16
# Nodes of the first stretch, bytes that a stretch is to make, and how much longer the next may be where it made less.
_FIRST, _BYTES, _LONGER = 8, 3 << 19, 2
# Where a file has one of these, a number may also move by chance.
_RANDOM = ("Bernoulli", "Dropout", "Multinomial", "Random", "Sampling")
# Which of the runs behind the first is the same once more.
_AGAIN = 2
# What numpy and onnx raise on what is no tensor.
_NO_TENSORS = (ValueError, TypeError, KeyError)


@dataclass(frozen=True, eq=False, kw_only=True)
class Batch:
    """Inputs of the three runs: as they are, with the first sample changed, with all others changed."""

    base: Mapping[str, Array]
    first: Mapping[str, Array]
    others: Mapping[str, Array]


class BatchRuns:
    """A file as it is, but for its large constants: they are fed, so that no session copies them."""

    def __init__(self, path: Path, proto: onnx.ModelProto, batch: Batch) -> None:
        self._path, self._proto, self._batch = path, proto, batch
        self._reads = [sorted(name for name in read_names(node) if name) for node in proto.graph.node]
        self._makers = {name: i for i, node in enumerate(proto.graph.node) for name in node.output if name}
        self._elements = {entry.name: entry.type.tensor_type.elem_type for entry in proto.graph.input}
        self._moving = self._hanging_on(batch.base)

    def runs(self, names: Sequence[str]) -> None:
        """Make these tensors; ModelError if that cannot be done."""
        wanted = [name for name in names if name in self._makers]
        inputs = self._inputs(self._batch.base)
        self._opened(sorted(self._before(wanted)), wanted, inputs)(inputs)

    def mixed(self, names: Collection[str]) -> Iterator[str]:
        """Yield which of these tensors hold a number that hangs on several samples, some perhaps twice.

        Raises
        ------
        ModelError
            If it cannot be run on several.
        """
        wanted = {name for name in names if name in self._moving and name in self._makers}
        order = self._ordered(self._before(wanted))
        try:
            yield from self._in_stretches(order, wanted, _FIRST)
        except (ModelError, *_NO_TENSORS):
            # What is no tensor, as a sequence of some, passes from no session to another.
            yield from self._in_stretches(order, wanted, len(order))

    def _in_stretches(self, order: Sequence[int], wanted: Set[str], many: int) -> Iterator[str]:
        nodes = self._proto.graph.node
        batches = [self._batch.base, self._batch.first, self._batch.others]
        if any(op.startswith(_RANDOM) for op in _operators(nodes[i] for i in order)):
            # Once more as it was: what moves then, moves anyway.
            batches.append(self._batch.base)
        states, begin = [self._inputs(batch) for batch in batches], 0
        last = {name: place for place, i in enumerate(order) for name in self._reads[i]}
        while begin < len(order):
            stretch = order[begin : begin + many]
            begin += len(stretch)
            later = {name for name, place in last.items() if place >= begin}
            made = [name for i in stretch for name in nodes[i].output if name in later or name in wanted]
            run = self._opened(stretch, made, states[0])
            taken, mixed = self._step(run, states, wanted=wanted, later=later)
            yield from mixed
            many = max(_FIRST // 2, min(_LONGER * many, int(many * _BYTES / max(1, taken))))
            del run
            give_back()

    def _step(
        self, run: Run, states: Sequence[dict[str, Array]], *, wanted: Set[str], later: Set[str]
    ) -> tuple[int, list[str]]:
        """Run a stretch on all batches, and move their states on; returns the bytes of a run, and what is mixed."""
        base, mixed = run(states[0]), dict[str, Array]()
        # Copies: what onnxruntime gives out lies in the memory of its session, all of which would stay with it.
        kept = {name: array.copy() for name, array in base.items() if name in later}
        for place, state in enumerate(states[1:]):
            made = run(state)
            for name in made.keys() & wanted:
                moved = _moved(base[name], made[name])
                # The third is as it was: what moves in it says nothing.
                mixed[name] = moved if not place else mixed[name] & (~moved if place == _AGAIN else moved)
            # What hangs on no input is there once.
            _carry(state, {name: made[name].copy() if name in self._moving else kept[name] for name in kept}, later)
            # Before the next run makes as much again.
            del made
        _carry(states[0], kept, later)
        return sum(array.nbytes for array in base.values()), [
            name for name in base if name in mixed and mixed[name].any()
        ]

    def _inputs(self, batch: Mapping[str, Array]) -> dict[str, Array]:
        return {name: array.astype(self._type(name), copy=False) for name, array in batch.items()}

    def _hanging_on(self, inputs: Iterable[str]) -> frozenset[str]:
        """Return what hangs on the inputs: all else, as weights that the file unpacks, moves in no run."""
        moving = set(inputs)
        for node, reads in zip(self._proto.graph.node, self._reads, strict=True):
            if not moving.isdisjoint(reads):
                moving.update(name for name in node.output if name)
        return frozenset(moving)

    def _before(self, names: Iterable[str]) -> frozenset[int]:
        return ancestors(self._proto, self._reads, {self._makers[name] for name in names})

    def _ordered(self, indices: Iterable[int]) -> list[int]:
        """Return nodes in the file's order, but what unpacks weights just before the first node that reads them."""
        order, placed = list[int](), set[int]()
        for i in sorted(indices):
            if self._moving.isdisjoint(self._proto.graph.node[i].output):
                continue
            waiting, fresh = [i], set[int]()
            while waiting:
                makers = {self._makers[name] for name in self._reads[waiting.pop()] if name in self._makers}
                still = {
                    j for j in makers - placed - fresh if self._moving.isdisjoint(self._proto.graph.node[j].output)
                }
                waiting += still
                fresh |= still
            placed |= fresh
            order += [*sorted(fresh), i]
        return order

    def _opened(self, indices: Sequence[int], names: Sequence[str], state: Mapping[str, Array]) -> Run:
        part = SubModel(self._proto, [self._proto.graph.node[i] for i in indices], tuple(names))
        read, constants = {name for i in indices for name in self._reads[i]}, dict[str, Array]()
        for name in sorted(read & state.keys()):
            part.add(name, name, batch=0, sample=state[name])
        for tensor in self._proto.graph.initializer:
            if tensor.name in read and tensor.name not in state:
                array = part.add_initialiser(tensor, f"{self._path}: tensor {tensor.name!r}", self._path.parent)
                constants |= {} if array is None else {tensor.name: array}
        run = host.opened_briefly(part.content(()), "onnxruntime", f"{self._path}: on a batch")
        order = list(part.by_name())
        return lambda state: dict(
            zip(names, run([constants[name] if name in constants else state[name] for name in order]), strict=True)
        )

    def _type(self, name: str) -> np.dtype[Any]:
        element = self._elements[name]
        return kinds.numpy_type(kinds.FLOAT if element in (0, kinds.BFLOAT16) else element)


def _carry(state: dict[str, Array], made: Mapping[str, Array], later: Container[str]) -> None:
    """Take over what is read later, and let go of the rest."""
    for name in [name for name in state if name not in later]:
        del state[name]
    state.update(made)


def _operators(nodes: Iterable[onnx.NodeProto]) -> Iterator[str]:
    """Yield the operators of nodes, those of bodies among them."""
    for node in nodes:
        yield node.op_type
        for entry in node.attribute:
            for body in (entry.g, *entry.graphs):
                yield from _operators(body.node)


def _moved(before: Array, after: Array) -> NDArray[np.bool_]:
    """bool, of the same shape: which numbers differ by more than rounding; none where the shapes differ."""
    if before.shape != after.shape:
        # A size that hangs on the numbers says nothing of whose they are.
        return np.zeros((), np.bool_)
    if before.dtype.kind != "f" or not before.size:
        return np.asarray(before != after)
    moved = np.empty(before.shape, np.bool_)
    # Some rows at a time: what is worked out on the way is several times the numbers.
    width = before.shape[-1] if before.ndim else 1
    rows = max(1, _BLOCK // width)
    flat = [array.reshape(-1, width) for array in (before, after, moved)]
    for first in range(0, len(flat[0]), rows):
        left, right, out = (array[first : first + rows] for array in flat)
        out[...] = _rows_moved(left, right)
    return moved


def _rows_moved(before: Array, after: Array) -> NDArray[np.bool_]:
    with np.errstate(all="ignore"):
        finite = np.nan_to_num(np.maximum(np.abs(before), np.abs(after)), nan=0, posinf=0)
        bound = _TOLERANCE * finite.max(axis=-1, initial=0, keepdims=True)
        same = (before == after) | (np.abs(before - after) <= bound) | (np.isnan(before) & np.isnan(after))
    return np.asarray(~same)
