"""Constants that onnx's reference implementation works out: what exporters leave to be folded.

Comes in: a node and its constant inputs. Goes out: arrays. Read by `constants`. Only operators whose results are
bounded by their inputs, since a file of a few bytes could otherwise ask for any amount of memory.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from eie.model.operators.from_onnx import LARGEST_TENSOR, OnnxNode, UnsupportedError

if TYPE_CHECKING:
    import onnx

# Results as large as their inputs broadcast.
_ELEMENTWISE = frozenset(
    (
        *("Abs", "And", "Ceil", "Clip", "Cos", "Equal", "Erf", "Exp", "Floor", "Greater", "GreaterOrEqual", "IsInf"),
        *("IsNaN", "Less", "LessOrEqual", "Log", "Max", "Mean", "Min", "Mod", "Neg", "Not", "Or", "Pow", "Reciprocal"),
        *("Relu", "Round", "Sigmoid", "Sign", "Sin", "Sqrt", "Sum", "Tanh", "Where", "Xor"),
    )
)
# Results no larger than their first input.
_SHRINKING = frozenset(
    (
        *("ArgMax", "ArgMin", "CumSum", "DepthToSpace", "Flatten", "GatherElements", "ReduceL2", "ReduceMax"),
        *("ReduceMean", "ReduceMin", "ReduceProd", "ReduceSum", "ScatterElements", "ScatterND", "Size", "Softmax"),
        *("SpaceToDepth", "Split", "Trilu"),
    )
)
# What is bounded by a rule of its own.
_OTHER = frozenset(("Gemm", "MatMul", "Range", "Tile"))
REFERENCED = _ELEMENTWISE | _SHRINKING | _OTHER


def check_size(op: str, inputs: Sequence[NDArray[Any] | None]) -> None:
    """Raise ValueError if the result of an operator on ``inputs`` would be absurdly large."""
    if result_size(op, inputs) > LARGEST_TENSOR:
        raise ValueError("the result is too large")


def result_size(op: str, inputs: Sequence[NDArray[Any] | None]) -> int:
    """Return at most how many elements an operator makes of ``inputs``."""
    arrays = [array for array in inputs if array is not None]
    # No more than the first: what shrinks it.
    size = arrays[0].size
    if op in _ELEMENTWISE:
        size = math.prod(np.broadcast_shapes(*(array.shape for array in arrays)))
    elif op == "Range":
        start, stop, step = (float(array.ravel()[0]) for array in arrays)
        size = math.ceil(abs((stop - start) / step))
    elif op == "Tile":
        size = arrays[0].size * math.prod(int(times) for times in arrays[1].ravel())
    elif op in ("Gemm", "MatMul"):
        # As many rows as one has times as many columns as the other has, at most.
        size = arrays[0].size * arrays[1].size // max(1, min(array.shape[-1] for array in arrays[:2]))
    return size


def evaluate(proto: onnx.ModelProto, node: OnnxNode, inputs: Sequence[NDArray[Any] | None]) -> list[NDArray[Any]]:
    """Return the outputs of a node.

    Raises
    ------
    UnsupportedError
        If the reference does not know the operator in this version.
    """
    from onnx import helper
    from onnx.reference import ReferenceEvaluator

    fed = {name: array for name, array in zip(node.inputs, inputs, strict=True) if array is not None}
    given = [helper.make_empty_tensor_value_info(name) for name in fed]
    made = [helper.make_empty_tensor_value_info(name) for name in node.outputs if name]
    graph = helper.make_graph([proto.graph.node[node.index]], "constants", inputs=given, outputs=made)
    model = helper.make_model(graph, opset_imports=proto.opset_import)
    try:
        results = list(ReferenceEvaluator(model).run(None, fed))
    except (NotImplementedError, RuntimeError) as error:
        raise UnsupportedError(str(error)[:120]) from None
    arrays = [np.asarray(result) for result in results]
    # As weights are kept: half precision is widened when it is read, and may come back from a Cast.
    return [array.astype(np.float32) if array.dtype == np.float16 else array for array in arrays]
