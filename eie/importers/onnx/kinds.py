"""Element types of an ONNX graph, as far as parts for the host need them: every tensor at a cut has one.

Comes in: a parsed model. Goes out: ONNX's numbers for types, by tensor name. Read by `hosting`. bfloat16 is float32
here: onnxruntime has hardly a kernel for it, and each of its numbers is one of float32's.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    import onnx

# onnx.TensorProto's numbers, without loading onnx for them.
FLOAT, FLOAT16, DOUBLE, BFLOAT16 = 1, 10, 11, 16
FLOATS = (FLOAT, FLOAT16, DOUBLE)
# Of inputs: 0 where a file does not say. And the whole numbers and switches that a graph keeps as they are.
FLOATING = frozenset((0, *FLOATS, BFLOAT16))
PLAIN = frozenset((2, 3, 4, 5, 6, 7, 9, 12, 13))
# Which input has the type of the result, where it is not the first.
_LIKE = {"DequantizeLinear": 1, "QuantizeLinear": 2, "Where": 1}


def kinds_of(proto: onnx.ModelProto) -> dict[str, int]:
    """Return the type of every input, initialiser and result; of what no rule here knows, that of its first input."""
    kinds = {entry.name: _known(entry.type.tensor_type.elem_type) for entry in proto.graph.input}
    kinds |= {tensor.name: _known(tensor.data_type) for tensor in proto.graph.initializer}
    for node in proto.graph.node:
        by_name = {entry.name: entry for entry in node.attribute}
        stated = [by_name["to"].i] if node.op_type == "Cast" and "to" in by_name else []
        filled = node.op_type in ("Constant", "ConstantOfShape")
        stated += [by_name["value"].t.data_type] if filled and "value" in by_name else []
        # Of float32 zeros where nothing is said; its input is a shape.
        stated += [FLOAT] * (node.op_type == "ConstantOfShape")
        place = _LIKE.get(node.op_type, 0)
        source = node.input[place] if place < len(node.input) else ""
        kind = _known(stated[0]) if stated else kinds.get(source, FLOAT)
        kinds.update((name, kind) for name in node.output if name)
    return kinds


def _known(kind: int) -> int:
    return FLOAT if kind in (0, BFLOAT16) else kind


def numpy_type(kind: int) -> np.dtype[Any]:
    """Return numpy's type for one of ONNX's."""
    from onnx import helper

    return np.dtype(helper.tensor_dtype_to_np_dtype(kind))


def element_type(array: NDArray[Any]) -> int:
    """Return ONNX's type for an array's."""
    from onnx import helper

    return int(helper.np_dtype_to_tensor_dtype(array.dtype))


def tensor_of(name: str, array: NDArray[Any]) -> onnx.TensorProto:
    """Return an array as an initialiser."""
    from onnx import numpy_helper

    return numpy_helper.from_array(np.ascontiguousarray(array).reshape(array.shape), name)


def shareable(tensor: onnx.TensorProto) -> NDArray[Any] | None:
    """Return an initialiser as an array that a graph can hold as a constant; None if it cannot."""
    from onnx import numpy_helper

    try:
        array = numpy_helper.to_array(tensor)
    # A shape that the bytes do not have: said by who reads the weights, with where it is.
    except (ValueError, TypeError):
        return None
    return array if can_be_shared(array) else None


def can_be_shared(array: NDArray[Any]) -> bool:
    """Whether a graph can hold an array as a constant: of a plain type, not empty, and finite in float32."""
    if array.dtype.kind not in "fiub" or array.dtype.isbuiltin != 1 or math.prod(array.shape) == 0:
        return False
    largest = np.finfo(np.float32).max
    # By its ends: magnitudes would be the array once more. A NaN is in both, and neither is within.
    return array.dtype.kind != "f" or bool(-largest <= array.min() and array.max() <= largest)


def widen(node: onnx.NodeProto) -> None:
    """Take float32 for bfloat16 in a node's attributes."""
    from onnx import numpy_helper

    for entry in node.attribute:
        if entry.name in ("to", "dtype") and entry.i == BFLOAT16:
            entry.i = FLOAT
        if entry.t.data_type == BFLOAT16:
            entry.t.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(entry.t).astype(np.float32), entry.t.name))
        for body in (entry.g, *entry.graphs):
            for inner in body.node:
                widen(inner)
