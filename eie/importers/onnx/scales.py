"""Constants in DequantizeLinear and QuantizeLinear: scales per tensor, per channel and per block.

Comes in: arrays and attributes of a node. Goes out: an array. Called by `constants`. Nothing as large as the result is
made on the way to it: of a file of integers that would be several times the layer.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]
Attributes = Mapping[str, Any]


def dequantise(inputs: list[Any], attributes: Attributes) -> Array:
    """``(x - zero point) * scale`` per tensor, per channel along ``axis``, or per block of ``block_size``."""
    stored, scale = inputs[0], inputs[1]
    zero = inputs[2] if len(inputs) > 2 and inputs[2] is not None else np.zeros_like(scale)
    made: Array = np.empty(stored.shape, np.float32)
    block = int(attributes.get("block_size", 0))
    if not block or scale.size == zero.size == 1:
        _scaled(stored, *(_along(part, stored, attributes) for part in (scale, zero)), out=made)
        return made
    axis = int(attributes.get("axis", 1)) % max(stored.ndim, 1)
    for part in (scale, zero):
        _check_blocks(part, stored, axis=axis, block=block)
    # Block by block: a scale for every number would be as much as the result.
    for i, first in enumerate(range(0, stored.shape[axis], block)):
        where = (*[slice(None)] * axis, slice(first, first + block))
        own = (part.reshape(()) if part.size == 1 else part.take([i], axis) for part in (scale, zero))
        _scaled(stored[where], *own, out=made[where])
    return made


def _scaled(stored: Array, scale: Array, zero: Array, *, out: Array) -> None:
    """Write ``(stored - zero) * scale``; some numbers at a time on the way, as numpy converts them."""
    if stored.dtype.kind in "iu":
        # In integers: uint8 minus its zero point would wrap; and equal numbers give an exact 0, a pruned weight.
        wide = np.int32 if stored.dtype.itemsize < 4 else np.int64
        np.subtract(stored, zero, out=out, dtype=wide, casting="unsafe")
    else:
        out[...] = stored - zero
    np.multiply(out, scale, out=out, dtype=np.float32, casting="unsafe")


def quantise(inputs: list[Any], attributes: Attributes) -> Array:
    """Divide by the scale, round halves to even, add the zero point, saturate."""
    values, scale = inputs[0], inputs[1]
    zero = inputs[2] if len(inputs) > 2 and inputs[2] is not None else np.zeros(scale.shape, np.uint8)
    bounds = np.iinfo(zero.dtype)
    scale, wide = (_along(part, values, attributes) for part in (scale, zero))
    # rint takes halves to even, as ONNX's QuantizeLinear does.
    levels = np.rint(values.astype(np.float32) / scale) + wide
    return np.asarray(np.clip(levels, bounds.min, bounds.max), zero.dtype)


def _along(part: Array, whole: Array, attributes: Attributes) -> Array:
    """Shape scales or zero points so that they broadcast over ``whole``."""
    if part.size == 1:
        return part.reshape(())
    # ONNX's default, the second; a scale of one number has no axis and went above.
    axis = int(attributes.get("axis", 1)) % max(whole.ndim, 1)
    block = int(attributes.get("block_size", 0))
    if block:
        _check_blocks(part, whole, axis=axis, block=block)
        # Block b of the axis has scale b; the last block may be short.
        index = np.arange(whole.shape[axis]) // block
        return part.take(index, axis)
    if part.shape != (whole.shape[axis],):
        raise ValueError(f"scales of shape {part.shape} along axis {axis} of {whole.shape}")
    return part.reshape(tuple(-1 if i == axis else 1 for i in range(whole.ndim)))


def _check_blocks(part: Array, whole: Array, *, axis: int, block: int) -> None:
    if part.size == 1:
        return
    if part.ndim != whole.ndim or part.shape[axis] != -(-whole.shape[axis] // block):
        raise ValueError(f"scales of shape {part.shape} for blocks of {block} in {whole.shape}")
