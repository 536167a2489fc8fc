"""What pooling operators share: windows over (N, C, H, W), their number, and how ONNX and torch state them.

Comes in: a tensor, or its shape, and ``kernel``, ``stride`` (= kernel), ``pads`` (top, left, bottom, right),
``dilation``, ``ceil``. Goes out: windows, shapes, attributes. Read by `max_pool` and `average_pool`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from eie.errors import ModelError
from eie.model.operators.from_onnx import OnnxNode, UnsupportedError, Value, integers, padding
from eie.model.operators.registry import Array, Attributes, Shape

if TYPE_CHECKING:
    from torch import Tensor


def pads_of(at: Attributes) -> list[tuple[int, int]]:
    """Zeros before and behind the rows, and the columns."""
    top, left, bottom, right = at.get("pads", (0, 0, 0, 0))
    return [(top, bottom), (left, right)]


def pooled(x: Array, at: Attributes, filler: float) -> Array:
    """View (N, C, H, W) as the pooling windows (N, C, oh, ow, kh, kw)."""
    # Stated pads first, those of ``ceil`` after: only the former count where zeros are counted.
    return windows(np.pad(x, [(0, 0), (0, 0), *pads_of(at)], constant_values=filler), at, filler)


def windows(padded: Array, at: Attributes, filler: float) -> Array:
    """View a map that is padded already."""
    kernel = at["kernel"]
    stride, gaps = at.get("stride", kernel), at.get("dilation", (1, 1))
    spans = tuple(gap * (size - 1) + 1 for gap, size in zip(gaps, kernel, strict=True))
    if at.get("ceil", False):
        # What the last step is short of; 0 where the windows come out even.
        more = [-(size - span) % step for size, span, step in zip(padded.shape[2:], spans, stride, strict=True)]
        # A last window must begin before the padding behind the map, or it is none.
        behind = [after for _, after in pads_of(at)]
        more = [0 if extra + pad >= span else extra for extra, pad, span in zip(more, behind, spans, strict=True)]
        padded = np.pad(padded, [(0, 0), (0, 0), *((0, extra) for extra in more)], constant_values=filler)
    view = np.lib.stride_tricks.sliding_window_view(padded, spans, axis=(2, 3))
    return view[:, :, :: stride[0], :: stride[1], :: gaps[0], :: gaps[1]]


def pooled_shape(shapes: Sequence[Shape], at: Attributes) -> Shape:
    """Shape rule of pooling: as many windows as `windows` makes where no window lies in the padding alone.

    Raises
    ------
    ModelError
        If the kernel does not fit the padded map.
    """
    kernel = at["kernel"]
    stride, gaps = at.get("stride", kernel), at.get("dilation", (1, 1))
    sizes = []
    for i, (length, (before, behind)) in enumerate(zip(shapes[0][2:], pads_of(at), strict=True)):
        room = length + before + behind - gaps[i] * (kernel[i] - 1) - 1
        if room < 0:
            raise ModelError(f"kernel {kernel} does not fit its input {shapes[0]}")
        if not at.get("ceil", False):
            sizes.append(room // stride[i] + 1)
            continue
        # Rounded up, since a window may hang over the edge.
        size = -(-room // stride[i]) + 1
        # The last window must start on the map or the padding before it.
        sizes.append(size - ((size - 1) * stride[i] >= length + before))
    return (*shapes[0][:2], *sizes)


def read_pooling(node: OnnxNode, x: Value) -> dict[str, Any]:
    """Return the attributes of a 2-D pooling node."""
    if len(x.shape) != 4 or x.batch != 0:
        raise UnsupportedError(f"its input has shape {x.shape}")
    # A second output gives the places of the largest, for unpooling.
    if any(node.outputs[1:]) or node.attributes.get("storage_order", 0):
        raise UnsupportedError("gives indices")
    if "kernel_shape" not in node.attributes:
        raise ModelError("kernel_shape is missing")
    kernel = integers(node, "kernel_shape", (1, 1))
    stride, dilation = integers(node, "strides", (1, 1)), integers(node, "dilations", (1, 1))
    pads = padding(node=node, size=kernel, stride=stride, dilation=dilation, spatial=x.shape[2:])
    ceil = bool(node.attributes.get("ceil_mode", 0))
    return {"kernel": kernel, "stride": stride, "pads": pads, "dilation": dilation, "ceil": ceil}


def check_global(x: Value) -> None:
    """Refuse to pool over the whole of what is no feature map."""
    if len(x.shape) != 4 or x.batch != 0:
        raise UnsupportedError(f"its input has shape {x.shape}")


def padded_batch(batch: Tensor, pads: tuple[int, int, int, int], value: float) -> Tensor:
    """Pad (N, C, H, W) in torch; its own pooling and convolution take no pads that differ from side to side."""
    from torch.nn import functional

    top, left, bottom, right = pads
    # torch names the last axis first.
    return functional.pad(batch, (left, right, top, bottom), value=value) if any(pads) else batch
