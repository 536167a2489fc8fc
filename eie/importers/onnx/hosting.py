"""Parts of a graph for a host: nodes gathered between two layers, made a sub-model and run once for their shapes.

Comes in: the file, the `Builder`, and node after node that goes to the host. Goes out: nodes ``host`` of our graph and
the values that layers read of them. Called by `reader`. Shapes and element types are taken from a run on one sample of
made-up numbers: rules for them exist for ONNX's own operators only.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from eie.errors import ModelError
from eie.formats.heap import give_back
from eie.importers.onnx import kinds
from eie.importers.onnx.builder import Builder
from eie.importers.onnx.nodes import printable
from eie.importers.onnx.normalise import read_names
from eie.importers.onnx.placement import Placement
from eie.importers.onnx.submodel import SubModel
from eie.model import host
from eie.model.graph import Node
from eie.model.operators.from_onnx import LARGEST_TENSOR, OnnxNode, UnsupportedError, Value

if TYPE_CHECKING:
    import onnx

Array = NDArray[Any]
_SEED = 0


@dataclass(frozen=True, kw_only=True)
class Taken:
    """A tensor of the file that stays on the host: its name in our graph, where its batch is, numbers of a sample."""

    name: str
    batch: int
    sample: Array


class Hosting:
    """Collects nodes until a layer asks for what they make; see the module."""

    def __init__(self, path: Path, proto: onnx.ModelProto, into: Builder, at: Placement) -> None:
        self.place = at
        # Nodes of the file that are, or will be, part of a sub-model.
        self.indices: set[int] = set()
        self.made: set[str] = set()
        # Why a part cannot be run, by its last node.
        self.failures: dict[int, str] = {}
        self.kinds = kinds.kinds_of(proto)
        self._path, self._proto, self._into = path, proto, into
        self._outputs = {entry.name for entry in proto.graph.output}
        self._pending: list[int] = []
        self._plain: dict[str, Taken] = {}
        self._initialisers = {tensor.name: tensor for tensor in proto.graph.initializer}
        self._readers: dict[str, list[int]] = {}
        self._rng = np.random.default_rng(_SEED)
        # What was made up for each tensor so far: two parts that read one shall read the same.
        self._samples: dict[str, Array] = {}
        for i, node in enumerate(proto.graph.node):
            for name in sorted(read_names(node)):
                self._readers.setdefault(name, []).append(i)

    def add_input(self, name: str, shape: tuple[int, ...], batch: int, element: int) -> None:
        """Say that a graph input holds ids or switches: it is read by the host alone."""
        # A 1 is an id that every table has, and a mask that hides nothing.
        self._plain[name] = Taken(name=name, batch=batch, sample=np.ones(shape, kinds.numpy_type(element)))
        self.made.add(name)

    def reads(self, node: OnnxNode) -> bool:
        """Whether a node reads what the host makes."""
        return any(name in self.made for name in read_names(self._proto.graph.node[node.index]))

    def add(self, node: OnnxNode) -> None:
        """Take in a node.

        Raises
        ------
        UnsupportedError
            If something before it could not be read at all.
        """
        proto = self._proto.graph.node[node.index]
        if not any(proto.output) or any(name and not self._is_known(name) for name in proto.input):
            raise UnsupportedError
        for inner in _with_bodies(proto):
            if not host.is_known(inner.domain, inner.op_type):
                named = printable(f"{inner.domain}.{inner.op_type}")
                raise UnsupportedError("" if inner is proto else f"holds {named}")
        self._pending.append(node.index)
        self.indices.add(node.index)
        self.made.update(name for name in node.outputs if name)

    def bring(self, node: OnnxNode) -> None:
        """Make sure that what a layer's node reads of the host is known, by name and shape."""
        names = [name for name in node.inputs if name in self.made]
        if any(name not in self._into.values and name not in self._plain for name in names):
            self.finish()
        for name in names:
            if (taken := self._plain.get(name)) is not None and name not in self._into.values:
                raise UnsupportedError(f"its input {name!r} is {taken.sample.dtype}")

    def finish(self) -> None:
        """Make one part of all nodes that wait."""
        waiting, self._pending = self._pending, []
        while waiting:
            try:
                self._add_part(waiting, "onnxruntime")
                return
            except host.NoKernelError as error:
                # Names are places within the part: it is cut before and behind the node.
                at = int(error.node)
                for part, engine in ((waiting[:at], "onnxruntime"), (waiting[at : at + 1], "reference")):
                    self._try(part, engine)
                waiting = waiting[at + 1 :]
            except ModelError as error:
                self._give_up(waiting, str(error))
                return

    def _give_up(self, indices: list[int], text: str) -> None:
        """Take a part back that nothing runs: whatever hangs on it is not known."""
        nodes = [self._proto.graph.node[i] for i in indices]
        self.made.difference_update(name for node in nodes for name in node.output)
        last = nodes[-1]
        self.failures[indices[-1]] = f"{printable(last.name or last.output[0])} ({printable(last.op_type)}: {text})"

    def _try(self, indices: list[int], engine: str) -> None:
        try:
            if indices:
                self._add_part(indices, engine)
        except ModelError as error:
            self._give_up(indices, str(error))

    def _is_known(self, name: str) -> bool:
        return name in self.made or name in self._into.values or name in self._into.constants

    def _add_part(self, indices: list[int], engine: str) -> None:
        part = self._part(indices)
        node, model = part.node(engine), part.content(())
        where = f"a part for the host, {node.name!r}"
        if len(model) > host.LARGEST_PART:
            raise ModelError(f"{where}: {len(model):,} bytes: at most {host.LARGEST_PART:,}")
        watched = part.watched()
        run = host.opened_briefly(part.content(watched), engine, where)
        results = dict(zip((*node.outputs, *watched), run(part.samples()), strict=True))
        self._into.graph_constants[node.inputs[0]] = np.frombuffer(model, np.uint8)
        attributes = {"engine": engine, "batch": part.places(), "operators": part.operators()}
        attributes |= self._results(node.outputs, results)
        attributes["products"] = part.products({**part.by_name(), **results})
        self._into.nodes.append(Node(op=host.OP, inputs=node.inputs, outputs=node.outputs, attributes=attributes))
        self._forget(max(indices))

    def _forget(self, last: int) -> None:
        """Let go of samples that no node behind the ``last`` one reads, and of what running it took."""
        for name in list(self._samples):
            if max(self._readers.get(name, ()), default=-1) <= last:
                del self._samples[name]
        give_back()

    def _results(self, names: Sequence[str], results: Mapping[str, Array]) -> dict[str, Any]:
        made, plain, shapes = [], [], []
        for name in names:
            result = results[name]
            if result.size > LARGEST_TENSOR:
                raise ModelError(f"{self._path}: tensor {name!r}: shape {result.shape}: too large")
            self.kinds[name] = kinds.element_type(result)
            wanted = name in self._outputs or any(i in self.place.layers for i in self._readers.get(name, ()))
            stays = not wanted or result.dtype.kind != "f" or result.size == 0
            # An axis of one in front is where a batch would be; without any, all of it is a sample.
            front = result.shape[: min(2, result.ndim - 1)]
            batch = self._into.batches.get(name, front.index(1) if 1 in front else host.WHOLE)
            batch = (
                host.WHOLE if stays or batch >= result.ndim - 1 or (batch >= 0 and result.shape[batch] != 1) else batch
            )
            value = Value(name, result.shape, batch)
            if stays:
                self._plain[name] = Taken(name=name, batch=batch, sample=result)
            else:
                self._into.set(name, value)
                self._samples[name] = result
            made.append(batch)
            plain.append(stays)
            shapes.append(value.sample)
        return {"made": tuple(made), "plain": tuple(plain), "shapes": tuple(shapes)}

    def _part(self, indices: list[int]) -> SubModel:
        inside = [self._proto.graph.node[i] for i in indices]
        made = [name for node in inside for name in node.output if name]
        ours = set(made)
        read = dict.fromkeys(name for node in inside for name in sorted(read_names(node)) if name and name not in ours)
        members = set(indices)
        outputs = [
            name
            for name in made
            if name in self._outputs
            or any(i not in members and i in self.place.needed for i in self._readers.get(name, ()))
        ]
        part = SubModel(proto=self._proto, nodes=inside, outputs=tuple(outputs or made[-1:]))
        for name in read:
            if name in self._into.constants:
                self._add_constant(part, name)
            elif (taken := self._plain.get(name)) is not None:
                part.add(name, taken.name, batch=taken.batch, sample=taken.sample)
            elif (value := self._into.known(name)) is not None:
                part.add(name, value.name, batch=value.batch, sample=self._drawn(name, value))
            # Others are names within the bodies of Loop, If and Scan.
        return part

    def _drawn(self, name: str, value: Value) -> Array:
        element = self.kinds.get(name, kinds.FLOAT)
        if element not in kinds.FLOATS:
            raise ModelError(f"{self._path}: tensor {name!r} is quantised and not modelled so: no host can read it")
        if name not in self._samples:
            self._samples[name] = self._rng.standard_normal(value.shape)
        return self._samples[name].astype(kinds.numpy_type(element))

    def _add_constant(self, part: SubModel, name: str) -> None:
        tensor = self._initialisers.get(name)
        if tensor is None:
            array = part.add_tensor(self._tensor(name))
        else:
            array = part.add_initialiser(tensor, f"{self._path}: tensor {name!r}", self._path.parent)
        if array is not None:
            self._into.graph_constants.setdefault(name, array)

    def _tensor(self, name: str) -> onnx.TensorProto:
        """Return what is made of other constants."""
        array = self._into.constants[name]
        if array.dtype.kind == "f":
            # Folded in float32, whatever the file's type.
            array = array.astype(kinds.numpy_type(self.kinds.get(name, kinds.FLOAT)))
        return kinds.tensor_of(name, array)


def _with_bodies(node: onnx.NodeProto) -> Iterator[onnx.NodeProto]:
    yield node
    for entry in node.attribute:
        for body in (entry.g, *entry.graphs):
            for inner in body.node:
                yield from _with_bodies(inner)
