"""What does nothing to a sample: ``identity``, and ``dropout`` once a network is trained.

Takes one tensor of any shape, without attributes; gives the same. ONNX nodes of this kind leave no node behind, only
another name.
"""

from eie.model.operators.channels import kept
from eie.model.operators.from_onnx import Builder, OnnxNode, UnsupportedError, Value
from eie.model.operators.registry import Operator, register


def _same(node: OnnxNode, into: Builder, x: Value) -> None:
    into.set(node.outputs[0], x)


def _cast(node: OnnxNode, into: Builder, x: Value) -> None:
    """Pass through casts between floating-point types: float, float16, double, and bfloat16 by its number."""
    # Converters to half precision add such casts; the numbers here are float32 throughout.
    if node.attributes.get("to") not in (1, 10, 11, 16):
        raise UnsupportedError("to a type that is not floating point")
    into.set(node.outputs[0], x)


register(
    Operator(
        name="identity",
        compute=lambda x, _: x[0],
        exact=True,
        channels=kept,
        torch=lambda x, _: x[0],
        onnx={"Identity": _same, "Cast": _cast, "DequantizeLinear": _same},
    )
)
register(
    Operator(
        name="dropout",
        compute=lambda x, _: x[0],
        exact=True,
        channels=kept,
        torch=lambda x, _: x[0],
        onnx={"Dropout": _same},
    )
)
