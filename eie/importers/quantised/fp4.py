"""4-bit floats (E2M1) in bytes: NVFP4 and MXFP4.

Comes in: ``X.weight_packed`` uint8 (outputs, inputs / 2) with ``X.weight_scale`` and, for NVFP4,
``X.weight_global_scale`` (compressed-tensors); or ``X.weight`` uint8 with ``X.weight_scale`` and ``X.weight_scale_2``
(NVIDIA ModelOpt). Goes out: float32 = value * scale of the group / global scale, or * the second scale.

Sources: OCP "microscaling formats" (2023), section 5.3.3, for E2M1 (0, 0.5, 1, 1.5, 2, 3, 4, 6 and a sign);
compressed-tensors, compressors/nvfp4 and mxfp4: of two weights in a byte the first is in the low half; NVFP4 has a
scale for 16 columns, MXFP4 a power of two, stored as its exponent + 127, for 32.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from eie.errors import ModelError
from eie.formats import float8
from eie.formats.files import Arrays
from eie.importers.quantised.group import Decoded, Group, Hints, beside, check_size, granularity, spread, with_tail

NAME = "4-bit floats"
_MAGNITUDES = np.array([0, 0.5, 1, 1.5, 2, 3, 4, 6], np.float32)
_VALUES = np.concatenate((_MAGNITUDES, -_MAGNITUDES))


def recognise(arrays: Mapping[str, NDArray[Any]], hints: Hints) -> list[Group]:  # noqa: ARG001 - by names and types
    """Find bytes of two weights with a scale."""
    groups = []
    for tail, companion in (("weight_packed", "weight_global_scale"), ("weight", "weight_scale_2")):
        for head, name in with_tail(arrays, tail).items():
            second = "divisor" if tail == "weight_packed" else "factor"
            parts = beside(arrays, head, packed=tail, scale="weight_scale", **{second: companion})
            # MXFP4 has one scale only, and then the packed name alone tells it from int8.
            enough = {"packed", "scale"} if tail == "weight_packed" else {"packed", "scale", second}
            if enough <= set(parts) and arrays[name].dtype == np.uint8:
                groups.append(Group(weight=f"{head}weight", parts=parts))
    return groups


def decode(parts: Arrays, hints: Hints) -> Decoded:  # noqa: ARG001 - nothing else is open
    """Return the weights."""
    packed, scale = parts["packed"], parts["scale"]
    if packed.ndim != 2:
        raise ModelError(f"4-bit weights in bytes of shape {packed.shape}: must be a matrix")
    shape = (packed.shape[0], 2 * packed.shape[1])
    check_size(shape)
    if scale.dtype == np.uint8:
        scale = float8.decode(scale, "F8_E8M0")
    scale = scale.astype(np.float32)
    if "divisor" in parts:
        scale = scale / _one(parts["divisor"])
    if "factor" in parts:
        scale = scale * _one(parts["factor"])
    codes = np.stack((packed & 15, packed >> 4), axis=2).reshape(shape)
    weights = _VALUES[codes]
    weights *= spread(scale, shape)
    return Decoded(weights=weights, how=f"4 bits, {granularity(scale, shape)}")


def _one(scale: NDArray[Any]) -> np.float32:
    if scale.size != 1 or not scale.astype(np.float32).item():
        raise ModelError(f"a second scale of shape {scale.shape}: must be one number, and not 0")
    return np.float32(scale.item())
