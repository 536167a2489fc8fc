"""compressed-tensors, "pack-quantized": integers of 1 to 8 bits in 32-bit words along the inputs.

Comes in: ``X.weight_packed`` (outputs, words) int32, ``X.weight_scale``, ``X.weight_shape`` (outputs, inputs), perhaps
``X.weight_zero_point`` (packed along the outputs) and ``X.weight_g_idx``. Goes out: float32 = scale * (integer - zero
point); the integers are stored with 2^(bits - 1) added.

Source: compressed-tensors, compressors/pack_quantized, ``pack_to_int32``: the first integer is in the lowest bits;
widths that do not divide 32 run on into the next word in version 0.20, and left the rest of a word empty before.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from eie.errors import ModelError
from eie.formats.files import Arrays
from eie.importers.quantised.group import (
    Decoded,
    Group,
    Hints,
    beside,
    check_size,
    granularity,
    spread,
    unpacked,
    with_tail,
)

NAME = "compressed-tensors, packed"
# Where neither the configuration nor the words' number says: what is used most comes first.
_LIKELY = (4, 8, 2, 1, 3, 6, 5, 7)


def recognise(arrays: Mapping[str, NDArray[Any]], hints: Hints) -> list[Group]:  # noqa: ARG001 - by names and types
    """Find packed 32-bit words with a scale."""
    groups = []
    for head, name in with_tail(arrays, "weight_packed").items():
        parts = beside(
            arrays,
            head,
            packed="weight_packed",
            scale="weight_scale",
            shape="weight_shape",
            zero_point="weight_zero_point",
            g_idx="weight_g_idx",
        )
        if "scale" in parts and arrays[name].dtype == np.int32:
            groups.append(Group(weight=f"{head}weight", parts=parts))
    return groups


def decode(parts: Arrays, hints: Hints) -> Decoded:
    """Return the weights."""
    words, scale = parts["packed"], parts["scale"]
    if "shape" not in parts:
        raise ModelError("packed words without weight_shape: how many weights a row has is not in the file")
    shape = tuple(int(size) for size in parts["shape"].ravel())
    if len(shape) != 2 or words.ndim != 2 or len(words) != shape[0]:
        raise ModelError(f"words {words.shape} for weights of shape {shape}: must be a matrix, a row of words a row")
    check_size(shape)
    bits, per_word = _width(words.shape[1], shape[1], hints)
    codes = _codes(words, bits=bits, per_word=per_word, count=shape[1])
    weights = codes.astype(np.float32)
    weights -= 1 << (bits - 1)
    factors = {"scale": scale}
    if "zero_point" in parts:
        factors["zero_point"] = _zero_point(
            parts["zero_point"], scale.shape, bits=bits, per_word=per_word, outputs=shape[0]
        )
    if _is_ordered(parts):
        full = {what: _by_column(values, parts["g_idx"], shape) for what, values in factors.items()}
    else:
        full = {what: spread(values, shape, _group_size(hints)) for what, values in factors.items()}
    if "zero_point" in full:
        weights -= full["zero_point"]
    weights *= full["scale"]
    return Decoded(weights=weights, how=f"{bits} bits, {granularity(scale, shape)}")


def _width(words: int, inputs: int, hints: Hints) -> tuple[int, int | None]:
    """Bits of an integer, and integers in a word where they do not run on."""
    stated = _stated(hints).get("num_bits")
    likely = (stated,) if stated in _LIKELY else _LIKELY
    for bits in likely:
        if words == -(-inputs * bits // 32):
            return bits, None
    for bits in likely:
        if words == -(-inputs // (32 // bits)):
            return bits, 32 // bits
    raise ModelError(f"{words} words a row for {inputs} weights: fits no width of 1 to 8 bits")


def _codes(words: NDArray[Any], *, bits: int, per_word: int | None, count: int) -> NDArray[np.uint8]:
    if per_word is None:
        return unpacked(words, bits, count)
    if words.shape[1] * per_word < count:
        raise ModelError(f"{words.shape[1]} words of {per_word} integers cannot hold {count}")
    # A word a row, so that what is left of its bits is not taken for the next integer.
    rows = unpacked(words.reshape(-1, 1), bits, per_word)
    return rows.reshape(len(words), -1)[:, :count]


def _zero_point(
    stored: NDArray[Any], wanted: tuple[int, ...], *, bits: int, per_word: int | None, outputs: int
) -> NDArray[Any]:
    """Unpack zero points where they are packed, which they are for groups and rows but not for the whole."""
    # By type: for one row and one group, packed or not has the same shape.
    if stored.dtype != np.int32:
        return stored
    if stored.ndim != 2:
        raise ModelError(f"zero points of shape {stored.shape} for scales of shape {wanted}")
    columns = np.ascontiguousarray(stored.T)
    codes = _codes(columns, bits=bits, per_word=per_word, count=outputs).T
    return codes.astype(np.int16) - (1 << (bits - 1))


def _is_ordered(parts: Arrays) -> bool:
    # -1 stands for no order: the parameter exists and was never set.
    return "g_idx" in parts and bool((parts["g_idx"] >= 0).all())


def _by_column(scale: NDArray[Any], group_of: NDArray[Any], shape: tuple[int, ...]) -> NDArray[np.float32]:
    groups = scale.shape[1] if scale.ndim == 2 else 0
    if group_of.shape != (shape[1],) or group_of.dtype.kind not in "iu" or group_of.max(initial=0) >= groups:
        raise ModelError(f"weight_g_idx {group_of.shape} does not name a group of {groups} for each input")
    return scale.astype(np.float32)[:, group_of]


def _stated(hints: Hints) -> Mapping[str, Any]:
    """The settings of weights in the configuration, if all layers have the same."""
    groups = hints.config.get("config_groups")
    if not isinstance(groups, Mapping):
        return {}
    weights = [group.get("weights") for group in groups.values() if isinstance(group, Mapping)]
    return weights[0] if len(weights) == 1 and isinstance(weights[0], Mapping) else {}


def _group_size(hints: Hints) -> int | None:
    size = _stated(hints).get("group_size")
    return size if isinstance(size, int) and size > 0 else None
