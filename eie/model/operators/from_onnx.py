"""What an operator needs to read its nodes from an ONNX file: the node, the values before it, and whom to tell.

Comes in: plain records of nodes. Goes out: through `Builder`, nodes of our graph. Read by the operators beside this;
`eie.importers.onnx` makes the records and is the builder. Nothing here needs the onnx package.

ONNX has the batch anywhere (an LSTM's is the second axis); our graphs have it first. So a `Value` remembers where the
file has it, and axes are translated on the way.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from numpy.typing import NDArray

from eie.errors import ModelError

# A gigabyte of float32: a small file could otherwise declare, or compute, more than the machine has.
LARGEST_TENSOR = 1 << 28


class UnsupportedError(Exception):
    """This node cannot be expressed; the text says why."""


@dataclass(frozen=True, kw_only=True)
class OnnxNode:
    """One node of the file, its attributes as plain values; ``name`` and ``op`` are printable and not empty."""

    name: str
    op: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    attributes: Mapping[str, Any]
    index: int


@dataclass(frozen=True)
class Value:
    """A tensor that depends on the input.

    Attributes
    ----------
    name
        Of the tensor in our graph, where the batch is the first axis.
    shape
        As in the file, batch included (1 where the file leaves it open).
    batch
        Which axis of ``shape`` is the batch; -1 where none is, so that all of it is one sample.
    """

    name: str
    shape: tuple[int, ...]
    batch: int

    @property
    def sample(self) -> tuple[int, ...]:
        """Shape of one sample."""
        if self.batch < 0:
            return self.shape
        return self.shape[: self.batch] + self.shape[self.batch + 1 :]

    @property
    def batch_first(self) -> tuple[int, ...]:
        """Shape in our graph."""
        if self.batch < 0:
            return 1, *self.shape
        return self.shape[self.batch], *self.sample

    def with_batch(self, place: int) -> Value:
        """Return the same tensor with its batch at ``place``, if a batch of one can as well be taken to be there."""
        other = Value(self.name, self.shape, place)
        # Axes of one may change their roles as long as a sample stays the same array.
        same = place < len(self.shape) and self.shape[place] == 1 and other.sample == self.sample
        return other if same else self

    def axis(self, axis: int) -> int:
        """Translate an axis of the file to one of our graph.

        Raises
        ------
        UnsupportedError
            If it is the batch: samples never mix on the accelerator.
        """
        rank = len(self.shape)
        if not -rank <= axis < rank:
            raise ModelError(f"axis {axis} of a tensor of shape {self.shape}")
        axis %= rank
        if self.batch < 0:
            return axis + 1
        if axis == self.batch:
            raise UnsupportedError("works across the batch")
        # The batch moves to the front: what stood before it moves back by one, what stood behind stays.
        return axis + 1 if axis < self.batch else axis


class Known(Protocol):
    """Arrays of the file that do not depend on its input."""

    def __contains__(self, name: str) -> bool: ...
    def __getitem__(self, name: str) -> NDArray[Any]: ...
    def get(self, name: str) -> NDArray[Any] | None: ...


class Builder(Protocol):
    """The network under construction, as far as operators see it."""

    left_out: list[str]

    @property
    def constants(self) -> Known: ...

    def known(self, name: str) -> Value | None:
        """Return the activation called ``name`` in the file, or None if an unsupported node stands before it."""

    def set(self, name: str, value: Value) -> None:
        """Say what a tensor of the file is."""

    def emit(
        self, op: str, inputs: Sequence[Value | str], name: str, *, batch: int | None = None, **attributes: Any
    ) -> Value:
        """Add a node that makes ``name``; text among ``inputs`` names a constant that was held."""

    def hold(self, name: str, array: NDArray[Any]) -> str:
        """Keep a constant for the graph and return its name there."""


Handler = Callable[[OnnxNode, Builder, Value], None]


def elementwise(op: str) -> Handler:
    """Return a handler for an operator without parameters."""

    def handle(node: OnnxNode, into: Builder, x: Value) -> None:
        into.set(node.outputs[0], into.emit(op, [x], node.outputs[0]))

    return handle


def constant(node: OnnxNode, into: Builder, place: int) -> NDArray[Any]:
    """Return an input that must be constant."""
    if len(node.inputs) <= place or not node.inputs[place]:
        raise ModelError(f"input {place} is missing")
    if node.inputs[place] not in into.constants:
        raise UnsupportedError(f"its input {node.inputs[place]!r} is not constant")
    return into.constants[node.inputs[place]]


def constant_inputs(node: OnnxNode, into: Builder) -> list[NDArray[Any] | None]:
    """Return the inputs that are constant, None for the others."""
    return [into.constants.get(name) for name in node.inputs]


def axes_of(inputs: Sequence[Any], attributes: Mapping[str, Any], place: int = 1) -> list[int] | None:
    """Return the axes an operator names: an input in newer operator sets, an attribute in older ones."""
    # From operator set 13 on, 18 for means: axes are an input there.
    if len(inputs) > place and inputs[place] is not None:
        return [int(axis) for axis in inputs[place].ravel()]
    return [int(axis) for axis in attributes["axes"]] if "axes" in attributes else None


def integers(node: OnnxNode, key: str, default: tuple[int, ...]) -> tuple[int, ...]:
    """Read an attribute of as many positive integers as ``default`` has."""
    values = tuple(int(value) for value in node.attributes.get(key, default))
    # Bounded since they come from files: damage should not first show where sizes are multiplied.
    if len(values) != len(default) or not all(1 <= value < 1 << 31 for value in values):
        raise ModelError(f"{key}={values}: must be {len(default)} integers >= 1")
    return values


def padding(
    node: OnnxNode,
    size: tuple[int, ...],
    stride: tuple[int, ...],
    dilation: tuple[int, ...],
    spatial: tuple[int, ...] | None,
) -> tuple[int, ...]:
    """Resolve ``pads`` and ``auto_pad`` to zeros before and behind, all the befores first."""
    mode = str(node.attributes.get("auto_pad", "NOTSET"))
    rank = len(size)
    # VALID is no padding at all, whatever ``pads`` says; NOTSET is what ``pads`` says.
    if mode in ("NOTSET", "", "VALID"):
        pads = tuple(int(pad) for pad in node.attributes.get("pads", (0,) * 2 * rank)) if mode != "VALID" else ()
        pads = pads or (0,) * 2 * rank
        if len(pads) != 2 * rank or not all(0 <= pad < 1 << 16 for pad in pads):
            raise ModelError(f"pads={pads}: must be {2 * rank} integers, 0 to {(1 << 16) - 1}")
        return pads
    if mode not in ("SAME_UPPER", "SAME_LOWER"):
        raise ModelError(f"auto_pad={mode!r}: must be NOTSET, VALID, SAME_UPPER or SAME_LOWER")
    if spatial is None:
        raise UnsupportedError(f"auto_pad={mode} on a map of unknown size")
    # SAME means ceil(length / stride) windows: what the last of them spans beyond the map is padded.
    totals = [
        max((-(-length // step) - 1) * step + gap * (kernel - 1) + 1 - length, 0)
        for length, kernel, step, gap in zip(spatial, size, stride, dilation, strict=True)
    ]
    # An odd zero goes behind with SAME_UPPER, before with SAME_LOWER.
    less, more = [total // 2 for total in totals], [-(-total // 2) for total in totals]
    return (*less, *more) if mode == "SAME_UPPER" else (*more, *less)


def reshaped(into: Builder, x: Value, out: str, sizes: tuple[int, ...], batch: int | None = None) -> None:
    """Give ``out`` the shape ``sizes``, if the batch stays an axis of its own: as long, as many values before it.

    ``batch`` is where it goes, if the operator says so.
    """
    # With as many numbers before the batch as before, each sample's numbers are the same ones in the same order.
    before, total = math.prod(x.shape[: x.batch]), math.prod(x.shape)
    places = [
        i
        for i, size in enumerate(sizes)
        if size == x.shape[x.batch] and math.prod(sizes[:i]) == before and math.prod(sizes) == total
    ]
    if not places:
        raise UnsupportedError(f"turns {x.shape} to {sizes}, which mixes the batch with other axes")
    # A batch of 1 can be at several places that all fit; where it was is the likeliest.
    likely = x.batch if batch is None else batch
    batch = likely if likely in places else places[0]
    made = Value(x.name, sizes, batch)
    # Where only the batch moved, or nothing, a sample is what it was: no node is needed.
    if made.sample != x.sample:
        made = into.emit("reshape", [x], out, batch=batch, shape=(0, *made.sample))
    into.set(out, made)
