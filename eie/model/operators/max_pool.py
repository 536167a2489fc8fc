"""Max pooling: ``kernel``, ``stride`` (= kernel), ``pads`` (top, left, bottom, right), ``dilation``, ``ceil``.

Takes (N, C, H, W); gives (N, C, oh, ow).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from eie.model.operators.channels import kept_on_maps
from eie.model.operators.from_onnx import Builder, OnnxNode, Value
from eie.model.operators.pooling import check_global, padded_batch, pooled, pooled_shape, read_pooling
from eie.model.operators.registry import Array, Attributes, Operator, register

if TYPE_CHECKING:
    from torch import Tensor


def _compute(x: Sequence[Array], at: Attributes) -> Array:
    # Padding must never win. Raw fixed-point integers have no infinity; their lowest number does as well.
    lowest = np.iinfo(x[0].dtype).min if x[0].dtype.kind == "i" else -np.inf
    windows = pooled(x[0], at, lowest)
    # One place of all windows after the other: several times faster than reducing many short axes.
    top: Array = windows[..., 0, 0].copy()
    for place in np.ndindex(windows.shape[-2:]):
        np.maximum(top, windows[(..., *place)], out=top)
    return top


def _torch(x: Sequence[Tensor], at: Attributes) -> Tensor:
    from torch.nn import functional

    kernel = at["kernel"]
    batch = padded_batch(x[0], at.get("pads", (0, 0, 0, 0)), float("-inf"))
    return functional.max_pool2d(
        batch, kernel, at.get("stride", kernel), 0, at.get("dilation", 1), at.get("ceil", False)
    )


def _read(node: OnnxNode, into: Builder, x: Value) -> None:
    into.set(node.outputs[0], into.emit("max_pool", [x], node.outputs[0], **read_pooling(node, x)))


def _read_global(node: OnnxNode, into: Builder, x: Value) -> None:
    check_global(x)
    # A window as large as the map is the whole map: no operator of its own.
    into.set(node.outputs[0], into.emit("max_pool", [x], node.outputs[0], kernel=x.shape[2:]))


register(
    Operator(
        name="max_pool",
        compute=_compute,
        exact=True,
        shape=pooled_shape,
        channels=kept_on_maps,
        torch=_torch,
        onnx={"MaxPool": _read, "GlobalMaxPool": _read_global},
        stays=("MaxPool", "GlobalMaxPool"),
    )
)
