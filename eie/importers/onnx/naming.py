"""Names of an ``.onnx`` file that can be printed, each still another, and the same wherever one thing is named.

Comes in: a parsed model and the names in it. Goes out: the same model, renamed in place. Called by `tensors` as it
parses, so that no name of a file reaches a table, a trace or onnxruntime as it was.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, MutableSequence
from typing import TYPE_CHECKING

from eie.errors import printable_names

if TYPE_CHECKING:
    import onnx


def clean_names(model: onnx.ModelProto, names: Iterable[str]) -> None:
    """Rename what has a name that cannot be printed; ``names`` are all that the model uses."""
    fresh = printable_names(names)
    if not fresh:
        return
    _graph(model.graph, fresh)
    for function in model.functions:
        function.name = fresh.get(function.name, function.name)
        function.domain = fresh.get(function.domain, function.domain)
        for strings in (function.input, function.output, function.attribute):
            _strings(strings, fresh)
        _nodes(function.node, fresh)
        _opsets(function.opset_import, fresh)
    _opsets(model.opset_import, fresh)


def _opsets(entries: Iterable[onnx.OperatorSetIdProto], fresh: Mapping[str, str]) -> None:
    for entry in entries:
        entry.domain = fresh.get(entry.domain, entry.domain)


def _graph(graph: onnx.GraphProto, fresh: Mapping[str, str]) -> None:
    named = (*graph.input, *graph.output, *graph.value_info, *graph.initializer)
    for entry in (*named, *(sparse.values for sparse in graph.sparse_initializer)):
        entry.name = fresh.get(entry.name, entry.name)
    _nodes(graph.node, fresh)


def _nodes(nodes: Iterable[onnx.NodeProto], fresh: Mapping[str, str]) -> None:
    for node in nodes:
        node.name, node.op_type, node.domain = (
            fresh.get(text, text) for text in (node.name, node.op_type, node.domain)
        )
        for strings in (node.input, node.output):
            _strings(strings, fresh)
        for attribute in node.attribute:
            attribute.name = fresh.get(attribute.name, attribute.name)
            attribute.ref_attr_name = fresh.get(attribute.ref_attr_name, attribute.ref_attr_name)
            for inner in (attribute.g, *attribute.graphs):
                # What an attribute does not hold must not be touched: that would put an empty graph there.
                if inner.node or inner.initializer or inner.output:
                    _graph(inner, fresh)


def _strings(strings: MutableSequence[str], fresh: Mapping[str, str]) -> None:
    # A repeated field of protobuf's: set element by element.
    for i, name in enumerate(strings):
        if name in fresh:
            strings[i] = fresh[name]
