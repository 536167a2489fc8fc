"""The inputs of an ``.onnx`` file's graph: their shapes, which axis is the batch, and what one run takes as a sample.

Comes in: the graph, who reads each input, and what sizes were stated. Goes out: `OnnxInput`. Read by `reading`, by the
reader and by recording.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from eie.errors import ModelError
from eie.importers.onnx.constants import Constants
from eie.importers.onnx.input_shapes import only_open, stated_shapes
from eie.importers.onnx.kinds import FLOATING, PLAIN
from eie.importers.options import AnyShape
from eie.model.operators.from_onnx import OnnxNode

if TYPE_CHECKING:
    import onnx


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


def graph_inputs(
    path: Path,
    graph: onnx.GraphProto,
    uses: dict[str, list[OnnxNode]],
    constants: Constants,
    input_shape: AnyShape | None,
    *,
    turned: bool = False,
    shared: Collection[str] = (),
) -> tuple[OnnxInput, ...]:
    """Return a graph's inputs, with the sizes of one sample where ``input_shape`` states them.

    Parameters
    ----------
    turned
        Whether time stands before the batch where the file leaves both open.
    shared
        Inputs that all samples have together, so that each of theirs is all of it.

    Raises
    ------
    ModelError
        If there is none, or sizes do not fit.
    """
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
        across = across or (turned and len(sizes) > 2 and sizes[:2] == [None, None])
        batch = 1 if across and len(sizes) > 1 else only_open(sizes)
        # A number, or a vector of stated length, is all of it a sample.
        whole = not sizes or (len(sizes) == 1 and sizes[0] is not None) or entry.name in shared
        batch = -1 if whole else batch
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
    elif len(wanted) == len(entry.shape) and entry.shape[entry.batch] is None:
        # All that a run takes, where its first axis may be the time or the nodes of a graph: as if the file stated it.
        entry = replace(
            entry, shape=(*entry.shape[: entry.batch], wanted[entry.batch], *entry.shape[entry.batch + 1 :])
        )
        wanted = wanted[: entry.batch] + wanted[entry.batch + 1 :]
    # Sizes that the file does state have to be confirmed, not changed.
    fits = len(stated) == len(wanted) and all(a in (None, b) for a, b in zip(stated, wanted, strict=True))
    if (entry.shape and not fits) or min(wanted, default=1 if entry.shape else 0) < 1:
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
