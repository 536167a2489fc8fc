"""A sub-model under construction: nodes of an ``.onnx`` file, what they read, and what they give out.

Comes in: nodes, initialisers and inputs one after the other. Goes out: bytes that a session opens, and what reports
count of them. Read by `hosting`, which makes parts for the host, and by `mixing`, which runs a file as a whole.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from numpy.typing import NDArray

from eie.importers.onnx import kinds
from eie.importers.onnx.nodes import plain_node
from eie.importers.onnx.tensors import native_array, native_tensor
from eie.importers.onnx.work import kind, multiplications, of_two_activations
from eie.model import host
from eie.model.graph import Node
from eie.model.operators.from_onnx import OnnxNode

if TYPE_CHECKING:
    import onnx

Array = NDArray[Any]
# Constants up to this many bytes lie in the sub-model; larger ones are fed, so that no session copies them and several
# sub-models share them.
_SMALL = 1 << 12


@dataclass(frozen=True, kw_only=True)
class _Input:
    inside: str
    outside: str
    batch: int
    sample: Array


class SubModel:
    """One sub-model under construction."""

    def __init__(self, proto: onnx.ModelProto, nodes: list[onnx.NodeProto], outputs: tuple[str, ...]) -> None:
        self.proto, self.nodes, self.outputs = proto, nodes, outputs
        self.initialisers: list[onnx.TensorProto] = []
        self._inputs: list[_Input] = []

    def add(self, inside: str, outside: str, *, batch: int, sample: Array) -> None:
        self._inputs.append(_Input(inside=inside, outside=outside, batch=batch, sample=sample))

    def add_initialiser(self, tensor: onnx.TensorProto, where: str, folder: Path) -> Array | None:
        """Take a constant of the file; returns what has to be fed of it, None where it lies in the sub-model."""
        array = native_array(tensor, where, folder)
        if array is None or not kinds.can_be_shared(array):
            return self.add_tensor(native_tensor(tensor, where, folder))
        self.add(tensor.name, tensor.name, batch=host.CONSTANT, sample=array)
        return array

    def add_tensor(self, tensor: onnx.TensorProto) -> Array | None:
        """Take a constant that holds its own bytes; returns as `add_initialiser`."""
        array = kinds.shareable(tensor) if tensor.ByteSize() > _SMALL else None
        if array is None:
            self.initialisers.append(tensor)
        else:
            self.add(tensor.name, tensor.name, batch=host.CONSTANT, sample=array)
        return array

    def places(self) -> tuple[int, ...]:
        return tuple(entry.batch for entry in self._inputs)

    def samples(self) -> list[Array]:
        return [entry.sample for entry in self._inputs]

    def by_name(self) -> dict[str, Array]:
        return {entry.inside: entry.sample for entry in self._inputs}

    def node(self, engine: str) -> Node:
        """Return the node without its attributes."""
        constant = f"{self.outputs[0]} [{'onnx' if engine == 'onnxruntime' else engine}]"
        inputs = (constant, *(entry.outside for entry in self._inputs))
        return Node(op=host.OP, inputs=inputs, outputs=self.outputs)

    def content(self, watched: Iterable[str]) -> bytes:
        """Return the sub-model, with further outputs."""
        import onnx
        from onnx import helper

        model = onnx.ModelProto(ir_version=self.proto.ir_version, opset_import=self.proto.opset_import)
        model.graph.name = "host"
        for i, node in enumerate(self.nodes):
            copy = model.graph.node.add()
            copy.CopyFrom(node)
            kinds.widen(copy)
            copy.name = str(i)
            copy.ClearField("doc_string")
            del copy.metadata_props[:]
        model.graph.initializer.extend(self.initialisers)
        # A Scan asks for the rank of what its body makes, which is inferred from that of what it reads.
        scans = any(node.op_type == "Scan" for node in self.nodes)
        for entry in self._inputs:
            element = kinds.element_type(entry.sample)
            sizes = [None] * entry.sample.ndim if scans else None
            model.graph.input.append(helper.make_tensor_value_info(entry.inside, element, sizes))
        for name in (*self.outputs, *watched):
            # Without type and shape: both are inferred, and a wrong one would be refused.
            model.graph.output.append(helper.make_empty_tensor_value_info(name))
        return bytes(model.SerializeToString(deterministic=True))

    def operators(self) -> tuple[tuple[str, int], ...]:
        counted = Counter(kind(node.op_type) for node in self.nodes if node.op_type not in ("Constant", "Identity"))
        return tuple(sorted(counted.items()))

    def _products(self) -> list[OnnxNode]:
        """Return products of two activations: those by a constant are rows of their own."""
        rank = {tensor.name: len(tensor.dims) for tensor in self.initialisers}
        rank |= {entry.inside: entry.sample.ndim for entry in self._inputs if entry.batch == host.CONSTANT}
        nodes = [plain_node(Path("host"), node) for node in self.nodes]
        return [node for node in nodes if of_two_activations(node, rank)]

    def watched(self) -> tuple[str, ...]:
        """Return what multiplications are counted by, where the part makes it and does not give it out."""
        made = {name for node in self.nodes for name in node.output if name} - set(self.outputs)
        names = [name for node in self._products() for name in (*node.inputs, *node.outputs)]
        return tuple(dict.fromkeys(name for name in names if name in made))

    def products(self, arrays: Mapping[str, Array]) -> tuple[tuple[str, int, int], ...]:
        """Return products of two activations: how many of each kind, and their multiplications."""
        shapes = {tensor.name: tuple(tensor.dims) for tensor in self.initialisers}
        shapes |= {name: array.shape for name, array in arrays.items()}
        counts: dict[str, tuple[int, int]] = {}
        for node in self._products():
            many, total = counts.get(kind(node.op), (0, 0))
            counts[kind(node.op)] = many + 1, total + (multiplications(node, shapes) or 0)
        return tuple((name, *counts[name]) for name in sorted(counts))
