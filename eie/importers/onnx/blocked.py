"""Convolutions whose channels lie in blocks, as onnxruntime saves them at its highest level, in the usual order again.

Comes in: a parsed model. Goes out: the same one, rewritten in place. Called by `normalise`. The domain
``com.microsoft.nchwc`` is for one kind of processor: kernels are stored by blocks of 8 or 16 outputs (and inputs,
where the map lies in blocks too) and filled up with zeros. How large a block is the file does not say; where its shapes
do not tell either, it is that of onnxruntime here, which reads the file so as well.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from eie.errors import ModelError
from eie.importers.onnx.fused import activation_nodes
from eie.importers.onnx.rewriting import add_constant, new_node, replace_nodes
from eie.importers.onnx.tensors import dense_array

if TYPE_CHECKING:
    import onnx

_DOMAIN = "com.microsoft.nchwc"
# What a node of the domain may be; all others are somebody else's.
_OPERATORS = frozenset(
    (
        *("AveragePool", "Conv", "GlobalAveragePool", "GlobalMaxPool", "MaxPool", "ReorderInput", "ReorderOutput"),
        "Upsample",
    )
)


def unblock(path: Path, graph: onnx.GraphProto, opset: int) -> None:
    """Replace the operators of the domain.

    Raises
    ------
    ModelError
        If kernels or biases are not of the shapes that their blocks take.
    """
    theirs = [node for node in graph.node if node.domain == _DOMAIN]
    tensors = {tensor.name: tensor for tensor in graph.initializer}
    kernels = {node.input[1] for node in theirs if node.op_type == "Conv" and len(node.input) > 1}
    usual = all(node.op_type in _OPERATORS and node.input and node.output for node in theirs)
    if not theirs or not usual or any(len(tensors[name].dims) != 4 if name in tensors else True for name in kernels):
        return
    try:
        maps = _Maps(path=path, graph=graph, theirs=theirs, tensors=tensors)
        nodes = [made for node in graph.node for made in maps.rewritten(node, opset)]
    # Kernels that fill no blocks, biases of another length: numpy says which.
    except (ValueError, IndexError, ZeroDivisionError) as error:
        raise ModelError(f"{path}: convolutions in blocks ({_DOMAIN}): {error}") from None
    replace_nodes(graph, nodes)
    read = {name for node in graph.node for name in node.input}
    kept = [tensor for tensor in graph.initializer if tensor.name in read or tensor.name not in kernels]
    del graph.initializer[:]
    graph.initializer.extend(kept)


class _Maps:
    """Which tensors lie in blocks, how many channels each really has, and the kernels between them."""

    def __init__(
        self,
        *,
        path: Path,
        graph: onnx.GraphProto,
        theirs: list[onnx.NodeProto],
        tensors: dict[str, onnx.TensorProto],
    ) -> None:
        self._path, self._graph, self._tensors = path, graph, tensors
        self._blocked = _blocked(graph)
        convs = [node for node in theirs if node.op_type == "Conv"]
        self._block = self._size(convs)
        self._kernels = {node.output[0]: self._kernel(node) for node in convs}
        # Tensors of one number of channels point to one of them.
        self._same: dict[str, str] = {}
        self._channels: dict[str, int] = {}
        # Maps in the usual order under other names than in blocks; what comes out of the domain has one already.
        self._names = {name: f"{name}/in order" for name in self._blocked}
        for node in reversed(theirs):
            if node.op_type == "ReorderOutput" and not _turns(node) and node.input[0] in self._names:
                self._names[node.input[0]] = node.output[0]
        for node in graph.node:
            self._join(node)
        for node in graph.node:
            self._count(node)

    def _array(self, name: str) -> NDArray[Any]:
        return dense_array(self._tensors[name], f"{self._path}: tensor {name!r}", self._path.parent)

    def _size(self, convs: Iterable[onnx.NodeProto]) -> int:
        for node in convs:
            outputs, inputs = self._tensors[node.input[1]].dims[:2]
            # Outputs fill whole blocks; only a map of less than a block is taken as it is.
            if outputs % 16 or (node.input[0] in self._blocked and not _deep(node, inputs) and inputs % 16):
                return 8
            if node.input[0] not in self._blocked and inputs >= 8:
                return 16
        return _own_block()

    def _kernel(self, node: onnx.NodeProto) -> NDArray[Any]:
        """Return (outputs, inputs, height, width), as many as are stored."""
        stored, b = self._array(node.input[1]), self._block
        outputs, inputs, height, width = stored.shape
        if node.input[0] in self._blocked and not _deep(node, inputs):
            parts = stored.reshape(outputs // b, inputs // b, height, width, b, b)
            return parts.transpose(0, 5, 1, 4, 2, 3).reshape(stored.shape)
        return stored.reshape(outputs // b, inputs, height, width, b).transpose(0, 4, 1, 2, 3).reshape(stored.shape)

    def _root(self, name: str) -> str:
        while name in self._same:
            name = self._same[name]
        return name

    def _join(self, node: onnx.NodeProto) -> None:
        names = [name for name in (*node.input, *node.output) if name in self._blocked]
        if node.op_type == "Conv" and node.domain == _DOMAIN:
            # What is added has the channels of the result.
            names = [name for name in (*node.input[3:], node.output[0]) if name in self._blocked]
            if _deep(node, self._kernels[node.output[0]].shape[1]):
                names.append(node.input[0])
        elif node.op_type == "Concat":
            names = []
        for other in names[1:]:
            first, second = self._root(names[0]), self._root(other)
            if first != second:
                self._same[second] = first

    def _take(self, name: str, channels: int) -> None:
        root = self._root(name)
        self._channels[root] = max(self._channels.get(root, 0), channels)

    def _count(self, node: onnx.NodeProto) -> None:
        """Take what a node says of channels: what fills up a block is zeros, and stands last."""
        if node.op_type == "ReorderOutput":
            self._take(node.input[0], next((entry.i for entry in node.attribute if entry.name == "channels"), 0))
        elif node.op_type == "Conv" and node.domain == _DOMAIN:
            kernel, bias = self._kernels[node.output[0]], self._bias(node)
            used = kernel.any(axis=(1, 2, 3)) | (False if bias is None else bias != 0)
            groups = _groups(node)
            whole = groups > 1 and not _deep(node, kernel.shape[1])
            self._take(node.output[0], len(kernel) if whole else _last(used))
            if node.input[0] in self._blocked:
                inputs = groups * kernel.shape[1] if whole else _last(kernel.any(axis=(0, 2, 3)))
                self._take(node.input[0], 0 if _deep(node, kernel.shape[1]) else inputs)

    def _bias(self, node: onnx.NodeProto) -> NDArray[Any] | None:
        return self._array(node.input[2]) if len(node.input) > 2 and node.input[2] in self._tensors else None

    def rewritten(self, node: onnx.NodeProto, opset: int) -> list[onnx.NodeProto]:
        """Return what stands for ``node``, itself if it is none of the domain."""
        made = []
        for part in self._usual(node, opset):
            copy = type(part)()
            copy.CopyFrom(part)
            for strings in (copy.input, copy.output):
                for i, name in enumerate(strings):
                    strings[i] = self._names.get(name, name)
            if copy.op_type != "Identity" or copy.input[0] != copy.output[0]:
                made.append(copy)
        return made

    def _usual(self, node: onnx.NodeProto, opset: int) -> list[onnx.NodeProto]:
        from onnx import helper

        if node.domain != _DOMAIN:
            return [node]
        attributes = {entry.name: helper.get_attribute_value(entry) for entry in node.attribute}
        last, out = bool(attributes.pop("channels_last", 0)), node.output[0]
        if node.op_type in ("ReorderInput", "ReorderOutput"):
            order = (0, 3, 1, 2) if node.op_type == "ReorderInput" else (0, 2, 3, 1)
            return [
                new_node("Transpose", node.input, out, perm=order) if last else new_node("Identity", node.input, out)
            ]
        if node.op_type == "Upsample":
            return [self._upsampled(node, attributes)]
        if node.op_type == "Conv":
            return self._conv(node, attributes, opset)
        return [new_node(node.op_type, node.input, out, name=node.name, **attributes)]

    def _upsampled(self, node: onnx.NodeProto, attributes: dict[str, Any]) -> onnx.NodeProto:
        scales = add_constant(
            self._graph, f"{node.output[0]}/scales", np.array(attributes.pop("scales", (1, 1, 1, 1)), np.float32)
        )
        nearest = attributes.get("mode", b"nearest") == b"nearest"
        more = {"nearest_mode": "floor"} if nearest else {}
        return new_node("Resize", [node.input[0], "", scales], node.output[0], name=node.name, **attributes, **more)

    def _conv(self, node: onnx.NodeProto, attributes: dict[str, Any], opset: int) -> list[onnx.NodeProto]:
        out, kernel, bias = node.output[0], self._kernels[node.output[0]], self._bias(node)
        outputs = self._channels[self._root(out)]
        activation = attributes.pop("activation", b"").decode(errors="replace")
        parameters = [float(value) for value in attributes.pop("activation_params", ())]
        if _deep(node, kernel.shape[1]):
            attributes["group"] = outputs
        elif node.input[0] in self._blocked and _groups(node) == 1:
            kernel = kernel[:, : self._channels[self._root(node.input[0])]]
        inputs = [node.input[0], add_constant(self._graph, f"{out}/kernel", kernel[:outputs])]
        inputs += [] if bias is None else [add_constant(self._graph, f"{out}/bias", bias[:outputs])]
        beside = next(iter(node.input[3:4]), "")
        inner, first = (f"{out}/sum" if activation else out), f"{out}/product"
        nodes = [new_node("Conv", inputs, first if beside else inner, name=node.name, **attributes)]
        nodes += [new_node("Add", [first, beside], inner)] if beside else []
        if activation:
            nodes += activation_nodes(self._graph, activation, parameters, inner=inner, out=out, opset=opset)
        return nodes


def _blocked(graph: onnx.GraphProto) -> set[str]:
    """Return the tensors that lie in blocks: what the domain makes, and what others make of them, one by one."""
    blocked: set[str] = set()
    for node in graph.node:
        made = node.domain == _DOMAIN and node.op_type != "ReorderOutput"
        if made or (node.domain != _DOMAIN and blocked & set(node.input)):
            blocked.update(node.output)
    return blocked


def _turns(node: onnx.NodeProto) -> bool:
    return any(entry.name == "channels_last" and entry.i for entry in node.attribute)


def _groups(node: onnx.NodeProto) -> int:
    return next((int(entry.i) for entry in node.attribute if entry.name == "group"), 1)


def _deep(node: onnx.NodeProto, inputs: int) -> bool:
    """Whether each channel has a kernel of its own."""
    return inputs == 1 and _groups(node) > 1


def _last(used: Any) -> int:
    return int(np.flatnonzero(used)[-1]) + 1 if used.any() else 1


def _own_block() -> int:
    """Return the block of onnxruntime here: how far it fills up a convolution of eight channels."""
    import onnx
    from onnx import TensorProto, helper, numpy_helper

    try:
        import onnxruntime as ort
    except ImportError:
        return 16
    ends = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [1, 8, 4, 4]) for name in "xy"]
    weights = [numpy_helper.from_array(np.ones((8, 8, 1, 1), np.float32), "w")]
    graph = helper.make_graph(
        [helper.make_node("Conv", ["x", "w"], ["y"])],
        "block",
        inputs=ends[:1],
        outputs=ends[1:],
        initializer=weights,
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)
    with TemporaryDirectory() as folder:
        options, file = ort.SessionOptions(), Path(folder) / "block.onnx"
        options.optimized_model_filepath, options.log_severity_level = str(file), 4
        ort.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
        made = onnx.load(str(file)).graph
    # Where there is no blocked layout, nobody reads such a file.
    return next((int(tensor.dims[0]) for tensor in made.initializer if tensor.dims[0] > 8), 8)
