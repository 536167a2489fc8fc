"""Eight-bit floating point as float32: what NumPy has no type for.

Comes in: bytes of a file and the name of their type. Goes out: float32 arrays. Read by `safetensors`.

Layouts: sign, exponent, mantissa from the highest bit on. ``F8_E4M3`` (bias 7) and ``F8_E5M2`` (bias 15) as in the
OCP specification "8-bit floating point" (2023), sections 3 to 5: E5M2 has infinities and NaN as IEEE 754 would, E4M3 no
infinity and NaN only where all seven bits are 1. ``F8_E8M0`` is a power of two, 2^(byte - 127), the scale of the OCP
"microscaling formats" (2023), section 5.4.1; 255 is NaN. The FNUZ variants (Noune et al., "8-bit numerical formats",
2022) have a bias larger by 1, no infinity, and their one NaN in place of -0.
"""

from __future__ import annotations

from functools import cache

import numpy as np
from numpy.typing import NDArray

# Type: exponent bits, mantissa bits, bias.
_LAYOUTS = {
    "F8_E4M3": (4, 3, 7),
    "F8_E5M2": (5, 2, 15),
    "F8_E4M3FNUZ": (4, 3, 8),
    "F8_E5M2FNUZ": (5, 2, 16),
}
TYPES = (*_LAYOUTS, "F8_E8M0")


def decode(data: NDArray[np.uint8], kind: str) -> NDArray[np.float32]:
    """Return what bytes of type ``kind``, one of `TYPES`, stand for."""
    values: NDArray[np.float32] = _table(kind)[data]
    return values


@cache
def _table(kind: str) -> NDArray[np.float32]:
    """The values of all 256 bytes."""
    codes = np.arange(256)
    if kind == "F8_E8M0":
        values = np.ldexp(1.0, codes - 127)
        values[255] = np.nan
        return np.asarray(values, np.float32)
    exponent_bits, mantissa_bits, bias = _LAYOUTS[kind]
    exponent = (codes >> mantissa_bits) & ((1 << exponent_bits) - 1)
    mantissa = codes & ((1 << mantissa_bits) - 1)
    # Exponent 0 has no hidden one and the scale of exponent 1.
    significand = mantissa + np.where(exponent > 0, 1 << mantissa_bits, 0)
    magnitude = np.ldexp(significand.astype(float), np.maximum(exponent, 1) - bias - mantissa_bits)
    values = np.where(codes & 0x80, -magnitude, magnitude)
    if kind.endswith("FNUZ"):
        values[0x80] = np.nan
    elif kind == "F8_E4M3":
        values[[0x7F, 0xFF]] = np.nan
    else:
        top = exponent == (1 << exponent_bits) - 1
        values[top] = np.where(mantissa[top] > 0, np.nan, np.sign(values[top]) * np.inf)
    return np.asarray(values, np.float32)
