"""Average pooling: as `max_pool`, and ``count_pads`` (False): whether zeros around the map count.

Takes (N, C, H, W); gives (N, C, oh, ow).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from eie.errors import ModelError
from eie.model.operators.channels import kept_on_maps
from eie.model.operators.from_onnx import Builder, OnnxNode, Value
from eie.model.operators.pooling import padded_batch, pads_of, pooled, pooled_shape, read_pooling, windows
from eie.model.operators.registry import Array, Attributes, Operator, register

if TYPE_CHECKING:
    from torch import Tensor


def _compute(x: Sequence[Array], at: Attributes) -> Array:
    total: Array = pooled(x[0], at, 0).sum(axis=(-2, -1))
    # A map of ones, pooled alike, counts the numbers behind each sum; a window that hangs over sees fewer.
    ones, border = np.ones(x[0].shape[2:], x[0].dtype), float(at.get("count_pads", False))
    padded = np.pad(ones, pads_of(at), constant_values=border)
    counts: Array = windows(padded[None, None], at, 0).sum(axis=(-2, -1))
    mean: Array = total / counts
    return mean


def _torch(x: Sequence[Tensor], at: Attributes) -> Tensor:
    from torch.nn import functional

    kernel = at["kernel"]
    # torch can leave zeros out of the count only where it pads itself, and its pads are alike on both sides.
    if any(at.get("pads", ())) and not at.get("count_pads", False):
        raise ModelError("average_pool with pads that are not counted cannot be trained through")
    batch = padded_batch(x[0], at.get("pads", (0, 0, 0, 0)), 0.0)
    return functional.avg_pool2d(batch, kernel, at.get("stride", kernel), 0, at.get("ceil", False))


def _read(node: OnnxNode, into: Builder, x: Value) -> None:
    attributes = read_pooling(node, x) | {"count_pads": bool(node.attributes.get("count_include_pad", 0))}
    into.set(node.outputs[0], into.emit("average_pool", [x], node.outputs[0], **attributes))


register(
    Operator(
        name="average_pool",
        compute=_compute,
        shape=pooled_shape,
        channels=kept_on_maps,
        torch=_torch,
        onnx={"AveragePool": _read},
        stays=("AveragePool",),
    )
)
