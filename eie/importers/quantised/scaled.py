"""One byte a weight, and scales: int8 (compressed-tensors "int-quantized") and 8-bit floats.

Comes in: ``X.weight`` as int8 or uint8, or an 8-bit float (widened by the container), with ``X.weight_scale`` or
``X.weight_scale_inv``, perhaps ``X.weight_zero_point``; an 8-bit float may have no scale. Goes out: float32 = scale *
(stored - zero point). Scales of activations (``input_scale`` and the like) belong to no weight and are left out.

Sources: compressed-tensors, compressors/naive_quantized and quantization/lifecycle/forward.py, ``dequantize``;
DeepSeek-V3 technical report (2024), section 3.3, and its published inference code: ``weight_scale_inv`` is multiplied,
a block of 128 x 128 shares one (``weight_block_size`` in the configuration).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from eie.errors import ModelError
from eie.formats.files import Arrays
from eie.importers.quantised.group import Decoded, Group, Hints, beside, granularity, spread, with_tail

NAME = "8-bit weights"


def recognise(arrays: Mapping[str, NDArray[Any]], hints: Hints) -> list[Group]:
    """Find weights of one byte with a scale, and 8-bit floats without."""
    groups = []
    for head, name in with_tail(arrays, "weight").items():
        parts = beside(
            arrays,
            head,
            weight="weight",
            scale="weight_scale",
            scale_inv="weight_scale_inv",
            zero_point="weight_zero_point",
        )
        is_float = hints.bits.get(name) == 8
        has_scale = "scale" in parts or "scale_inv" in parts
        if arrays[name].ndim >= 2 and (is_float or (has_scale and arrays[name].dtype.kind in "iu")):
            groups.append(Group(weight=name, parts=parts))
    return groups


def decode(parts: Arrays, hints: Hints) -> Decoded:
    """Return the weights."""
    stored = parts["weight"]
    integers = stored.dtype.kind in "iu"
    weights = stored.astype(np.float32)
    if integers and stored.itemsize != 1:
        raise ModelError(f"weights are {stored.dtype} with a scale: must be int8, uint8 or an 8-bit float")
    scale = parts.get("scale", parts.get("scale_inv"))
    block = _block(hints)
    if "zero_point" in parts:
        weights -= spread(parts["zero_point"], weights.shape, block)
    elif stored.dtype == np.uint8:
        raise ModelError("weights are uint8 with a scale and no zero point: what the integers mean is not in the file")
    if scale is None:
        # The container made them numbers already: its floats, or integers with torch's own scales.
        return Decoded(weights=weights, how="as they are")
    weights *= spread(scale, weights.shape, block)
    return Decoded(
        weights=weights, how=f"{'int8' if integers else '8-bit floats'}, {granularity(scale, weights.shape)}"
    )


def _block(hints: Hints) -> int | None:
    size = hints.config.get("weight_block_size")
    return size[0] if isinstance(size, list) and size and isinstance(size[0], int) and size[0] > 0 else None
