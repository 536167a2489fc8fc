"""The nodes of an ONNX graph as plain records.

Comes in: a parsed model. Goes out: a list of `OnnxNode`. Read by `constants`, `layers`, `reader` and the operators.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from eie.errors import ModelError
from eie.errors import printable as printable_text
from eie.model.operators.from_onnx import OnnxNode

if TYPE_CHECKING:
    import onnx

LONGEST_NAME = 200


def plain_nodes(path: Path, proto: onnx.ModelProto) -> list[OnnxNode]:
    """Return the nodes with plain attributes; ``opset`` among them, since some operators changed their meaning."""
    # Other domains count their own versions; without an entry the file is of the first.
    opset = max((entry.version for entry in proto.opset_import if entry.domain in ("", "ai.onnx")), default=1)
    nodes = [plain_node(path, node, index=i, opset=opset) for i, node in enumerate(proto.graph.node)]
    made = [name for node in nodes for name in node.outputs if name]
    # Each name once: with two makers, the order of nodes would decide which numbers a layer reads.
    if len(set(made)) != len(made):
        raise ModelError(f"{path}: damaged: two nodes make the same tensor")
    return nodes


def plain_node(path: Path, node: onnx.NodeProto, *, index: int = 0, opset: int = 1) -> OnnxNode:
    """Return one node with plain attributes."""
    # With its domain, so that somebody's own Conv is not taken for ONNX's.
    op = node.op_type if node.domain in ("", "ai.onnx") else f"{node.domain}.{node.op_type}"
    op = printable(op) or "no operator"
    name = printable(node.name or next((out for out in node.output if out), "")) or f"node {index}"
    attributes = _attributes(f"{path}: node {name!r} ({op})", node)
    return OnnxNode(
        name=name,
        op=op,
        inputs=tuple(node.input),
        outputs=tuple(node.output),
        attributes={**attributes, "opset": opset},
        index=index,
    )


def printable(text: str) -> str:
    """Return ``text`` with escapes for control characters, and cut where it is absurdly long: it is the file's."""
    return printable_text(text[:LONGEST_NAME])


def _attributes(where: str, node: onnx.NodeProto) -> dict[str, Any]:
    from onnx import helper

    values = {}
    for attribute in node.attribute:
        try:
            value = helper.get_attribute_value(attribute)
        except (ValueError, TypeError) as error:
            raise ModelError(f"{where}: attribute {attribute.name!r}: {error}") from None
        # protobuf keeps texts as bytes; what is not UTF-8 is replaced, and then no operator knows it.
        if isinstance(value, bytes):
            value = value.decode(errors="replace")
        elif isinstance(value, (list, tuple)):
            value = [item.decode(errors="replace") if isinstance(item, bytes) else item for item in value]
        values[attribute.name] = value
    return values
