"""The network under construction: values known so far, layers and nodes made, and what could not be read.

Comes in: parsed nodes, one after the other. Goes out: the parts of a `Network`. Written by `layers` and by the
operators, which know it as `eie.model.operators.from_onnx.Builder`; read by `reader`.
"""

from __future__ import annotations

import math
from collections.abc import Hashable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from eie.errors import ModelError
from eie.formats.heap import give_back
from eie.importers.onnx.constants import Constants
from eie.importers.onnx.nodes import printable
from eie.importers.tied import Matrices
from eie.model import operators
from eie.model.graph import Node
from eie.model.layer import Layer
from eie.model.operators.from_onnx import LARGEST_TENSOR, OnnxNode, UnsupportedError, Value

# Bytes of layers after which memory that is free goes back.
_TIDIED = 1 << 20
# What exporters append to a module's name.
_TAILS = ("BiasAdd", "Conv", "Conv2D", "Gemm", "LSTM", "MatMul", "convolution")


@dataclass(frozen=True, kw_only=True)
class Tap:
    """Where the inputs of a layer can be recorded in the file.

    Attributes
    ----------
    tensor
        What the layer reads, by its name in the file.
    batch
        Its batch axis; -1 where all of it is of one sample.
    node
        Index of the layer's node in the file.
    direction
        Of an LSTM: which of the directions in its output.
    part
        Axis, the batch in front, and place of the part that the layer reads; None for all of it.
    order
        Of the axes, the batch in front, that puts its inputs last; empty where they are.
    inputs
        How many of the last axes make one row.
    """

    layer: str
    tensor: str
    batch: int
    node: int
    direction: int = 0
    part: tuple[int, int] | None = None
    order: tuple[int, ...] = ()
    inputs: int = 1

    def read(self, tensor: NDArray[Any]) -> NDArray[Any]:
        """Return what the layer reads of a tensor of the file, batch first."""
        x = tensor[None] if self.batch < 0 else np.moveaxis(tensor, self.batch, 0)
        if self.part is not None:
            axis, place = self.part
            x = x.take([place], axis)
        x = x.transpose(self.order) if self.order else x
        return x if self.inputs == 1 else x.reshape(*x.shape[: -self.inputs], -1)


class Builder:
    """Collects layers, nodes, constants and notes; see the module."""

    def __init__(self, constants: Constants, uses: Mapping[str, Sequence[OnnxNode]], outputs: frozenset[str]) -> None:
        self.constants = constants
        self.values: dict[str, Value] = {}
        # For one sample, as onnx infers them; filled where a host's results are to have shapes before it runs.
        self.shapes: dict[str, tuple[int, ...]] = {}
        # Which axis is the batch, where two samples make a tensor larger than one does.
        self.batches: dict[str, int] = {}
        self.nodes: list[Node] = []
        self.graph_constants: dict[str, NDArray[Any]] = {}
        # Layers and taps also of nodes whose input is not known: they can still run on recorded activations.
        self.layers: list[Layer] = []
        self.taps: list[Tap] = []
        # Nodes, by index, that became part of a layer and are passed over when their turn comes.
        self.absorbed: set[int] = set()
        self.left_out: list[str] = []
        self._uses = uses
        self._outputs = outputs
        self._names: set[str] = set()
        self._matrices = Matrices()
        self._made = 0
        # Whether an input takes any number of samples, of which one stands for all while the graph is read.
        self.open_batch = False
        # A layer for each constant met as weights: unrolled loops and tied blocks read the same many times.
        self.of_weights: dict[Hashable, Layer] = {}

    def known(self, name: str) -> Value | None:
        """Return the activation called ``name`` in the file, or None if an unsupported node stands before it."""
        return self.values.get(name)

    def set(self, name: str, value: Value) -> None:
        """Say what a tensor of the file is.

        Raises
        ------
        ModelError
            If it would be absurdly large or exists already.
        """
        # A size of 0 would make every later product 0 and slip through all bounds.
        if math.prod(value.shape) > LARGEST_TENSOR or 0 in value.shape:
            raise ModelError(f"tensor {name!r}: shape {value.shape}: must hold 1 to {LARGEST_TENSOR:,} values")
        if name in self.values:
            raise ModelError(f"tensor {name!r} is made twice")
        self.values[name] = value

    def emit(
        self, op: str, inputs: Sequence[Value | str], name: str, *, batch: int | None = None, **attributes: Any
    ) -> Value:
        """Add a node that makes ``name``, and return its value; text among ``inputs`` names a constant that was held.

        ``batch`` is where the file has the batch of the result, by default where it has that of the first input.
        """
        names = tuple(part if isinstance(part, str) else part.name for part in inputs)
        self.nodes.append(Node(op=op, inputs=names, outputs=(name,), layer=None, attributes=attributes))
        values = [part for part in inputs if isinstance(part, Value)]
        shapes = [self.graph_constants[part].shape if isinstance(part, str) else part.batch_first for part in inputs]
        operator = operators.find(op)
        if operator is None:
            raise ModelError(f"a reader makes the operator {op!r}, which is not registered")
        # Rules reckon with the batch in front, as the graph has it; the file's place is put back in below.
        size, *sample = operator.shape(shapes, attributes)
        place = values[0].batch if batch is None else batch
        if place < 0:
            return Value(name, tuple(sample), place)
        return Value(name, (*sample[:place], size, *sample[place:]), place)

    def hold(self, name: str, array: NDArray[Any]) -> str:
        """Keep a constant for the graph and return its name there.

        Raises
        ------
        ModelError
            If it is not finite.
        """
        # As float32 before the check: a large float64 is infinite only then.
        values = np.asarray(array, np.float32)
        if not np.isfinite(values).all():
            raise ModelError(f"constant {name!r} holds NaN or infinity: must be finite")
        self.graph_constants[name] = values
        return name

    def add_layer(self, layer: Layer, stored_bits: float | None) -> None:
        """Take a layer in; of equal matrices only the first stays in memory."""
        self.layers.append(replace(layer, matrix=self._matrices.of(layer.matrix), stored_bits=stored_bits))
        self._made += layer.matrix.data.nbytes
        if self._made > _TIDIED:
            # What was worked out on the way to a layer leaves holes between those that stay.
            give_back()
            self._made = 0

    def layer_name(self, node: OnnxNode, weights: str, bias: str = "") -> str:
        """Name a layer as its module was called, if its weight or bias still tells, else as its node."""
        for name, tail in ((weights, ".weight"), (bias, ".bias")):
            # A parameter called fc1.weight keeps its module's name; a node's has a tail of the exporter's.
            if name.endswith(tail) and len(name) > len(tail):
                return self._unique(name.removesuffix(tail))
        head, _, tail = node.name.rpartition("/")
        return self._unique(head if tail in _TAILS and head else node.name)

    @contextmanager
    def undone_if_unsupported(self) -> Iterator[None]:
        """Take back what was made of a node that turns out to be none of ours."""
        lists: tuple[list[Any], ...] = (self.nodes, self.layers, self.taps, self.left_out)
        sizes, absorbed, names = [len(part) for part in lists], set(self.absorbed), set(self._names)
        values, constants = dict(self.values), dict(self.graph_constants)
        try:
            yield
        except UnsupportedError:
            for part, size in zip(lists, sizes, strict=True):
                del part[size:]
            self.absorbed, self._names, self.values, self.graph_constants = absorbed, names, values, constants
            raise

    def is_used(self, tensor: str) -> bool:
        """Say whether a node reads ``tensor`` or the network gives it out."""
        return tensor in self._uses or tensor in self._outputs

    def uses(self, tensor: str) -> Sequence[OnnxNode]:
        """Return the nodes that read ``tensor``; none if the network gives it out."""
        return () if tensor in self._outputs else self._uses.get(tensor, ())

    def sole_use(self, tensor: str) -> OnnxNode | None:
        """Return the one node that reads ``tensor``; None if there are several or the network gives it out."""
        users = self._uses.get(tensor, ())
        return users[0] if len(users) == 1 and tensor not in self._outputs else None

    def _unique(self, name: str) -> str:
        name = printable(name).strip(" /") or "layer"
        fresh, count = name, 2
        # A file may call two nodes alike once control characters are taken out; layers must differ.
        while fresh in self._names:
            fresh, count = f"{name}_{count}", count + 1
        self._names.add(fresh)
        return fresh
