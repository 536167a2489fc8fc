"""bitsandbytes: int8 rows (LLM.int8()), and 4-bit blocks (NF4, FP4).

Comes in: ``X.weight`` int8 with ``X.SCB``, the largest magnitude of each row; or ``X.weight`` uint8 with
``X.weight.absmax``, ``X.weight.quant_map`` and ``X.weight.quant_state.bitsandbytes__nf4`` (JSON text). Goes out:
float32, integer * SCB / 127, or level * largest magnitude of the block.

Sources: Dettmers et al., "LLM.int8()", NeurIPS 2022, and "QLoRA", NeurIPS 2023; bitsandbytes, functional.py,
``int8_vectorwise_dequant`` and ``QuantState``: of two weights in a byte the first is in the high half; the block's
magnitudes may be 8-bit codes into ``nested_quant_map``, times ``nested_absmax`` of 256, plus ``nested_offset``.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from eie.errors import ModelError
from eie.formats.files import Arrays, read_json
from eie.importers.quantised.group import Decoded, Group, Hints, beside, check_size, with_tail

NAME = "bitsandbytes"
_STATE = ("weight.quant_state.bitsandbytes__nf4", "weight.quant_state.bitsandbytes__fp4")
# Of int8 rows as they are; other numbers are orders for one kind of GPU.
_ROWS = 0


def recognise(arrays: Mapping[str, NDArray[Any]], hints: Hints) -> list[Group]:  # noqa: ARG001 - by names
    """Find int8 rows with their magnitudes, and 4-bit blocks with their state."""
    groups = []
    for head, name in with_tail(arrays, "weight").items():
        parts = beside(arrays, head, weight="weight", scb="SCB", layout="weight_format")
        if "scb" in parts and arrays[name].dtype == np.int8:
            groups.append(Group(weight=name, parts=parts))
        parts = beside(
            arrays,
            head,
            weight="weight",
            absmax="weight.absmax",
            levels="weight.quant_map",
            nested_absmax="weight.nested_absmax",
            nested_levels="weight.nested_quant_map",
        )
        state = [head + tail for tail in _STATE if head + tail in arrays]
        if {"absmax", "levels"} <= set(parts) and state:
            groups.append(Group(weight=name, parts={**parts, "state": state[0]}))
    return groups


def decode(parts: Arrays, hints: Hints) -> Decoded:  # noqa: ARG001 - nothing else is open
    """Return the weights."""
    return _rows(parts) if "scb" in parts else _blocks(parts)


def _rows(parts: Arrays) -> Decoded:
    weights, largest = parts["weight"].astype(np.float32), parts["scb"].astype(np.float32).ravel()
    layout = parts.get("layout")
    if layout is not None and (layout.size != 1 or layout.item() != _ROWS):
        raise ModelError(f"weight_format={layout.tolist()}: ordered for a GPU: must be {_ROWS}, rows as they are")
    if weights.ndim != 2 or len(largest) != len(weights):
        raise ModelError(f"{len(largest)} row scales for int8 weights of shape {weights.shape}")
    weights *= largest[:, None] / 127
    return Decoded(weights=weights, how="int8, a scale a row")


def _blocks(parts: Arrays) -> Decoded:
    state = read_json(parts["state"].tobytes(), "its quant_state", ModelError)
    shape, size = state.get("shape"), state.get("blocksize")
    if not isinstance(shape, list) or not all(isinstance(axis, int) for axis in shape):
        raise ModelError(f"its quant_state states the shape {shape!r}: must be a list of sizes")
    check_size(tuple(shape))
    count = math.prod(shape)
    packed, levels = parts["weight"].ravel(), parts["levels"].astype(np.float32).ravel()
    if packed.dtype != np.uint8 or len(packed) != -(-count // 2) or len(levels) != 16:
        raise ModelError(f"{len(packed)} bytes and {len(levels)} levels for {count:,} 4-bit weights")
    if not isinstance(size, int) or size < 1:
        raise ModelError(f"its quant_state states blocks of {size!r}: must be 1 or more")
    largest = _magnitudes(parts, state)
    if len(largest) != -(-count // size):
        raise ModelError(f"{len(largest)} blocks of {size} for {count:,} weights")
    codes = np.stack((packed >> 4, packed & 15), axis=1).ravel()[:count]
    weights = levels[codes]
    weights *= np.repeat(largest, size)[:count]
    kind = state.get("quant_type")
    return Decoded(weights=weights.reshape(shape), how=f"4 bits ({kind}), 16 levels a block of {size}")


def _magnitudes(parts: Arrays, state: Mapping[str, Any]) -> NDArray[np.float32]:
    stored = parts["absmax"].ravel()
    if "nested_absmax" not in parts:
        return stored.astype(np.float32)
    levels, largest = parts.get("nested_levels"), parts["nested_absmax"].astype(np.float32).ravel()
    size, offset = state.get("nested_blocksize"), state.get("nested_offset", 0.0)
    if levels is None or levels.size != 256 or stored.dtype != np.uint8 or not isinstance(size, int) or size < 1:
        raise ModelError("its magnitudes are nested, but their levels or block size are missing")
    if len(largest) != -(-len(stored) // size) or not isinstance(offset, int | float):
        raise ModelError(f"{len(largest)} nested blocks of {size} for {len(stored)} magnitudes")
    values = levels.astype(np.float32).ravel()[stored] * np.repeat(largest, size)[: len(stored)] + np.float32(offset)
    return values.astype(np.float32)
