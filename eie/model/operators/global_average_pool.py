"""The mean of each whole feature map.

Takes (N, C, H, W), without attributes; gives (N, C, 1, 1).
"""

from eie.model.operators.channels import kept_on_maps
from eie.model.operators.from_onnx import Builder, OnnxNode, Value
from eie.model.operators.pooling import check_global
from eie.model.operators.registry import Operator, register


def _read(node: OnnxNode, into: Builder, x: Value) -> None:
    check_global(x)
    into.set(node.outputs[0], into.emit("global_average_pool", [x], node.outputs[0]))


register(
    Operator(
        name="global_average_pool",
        compute=lambda x, _: x[0].mean(axis=(2, 3), keepdims=True),
        shape=lambda shapes, _: (*shapes[0][:2], 1, 1),
        channels=kept_on_maps,
        torch=lambda x, _: x[0].mean((2, 3), keepdim=True),
        onnx={"GlobalAveragePool": _read},
        stays=("GlobalAveragePool",),
    )
)
