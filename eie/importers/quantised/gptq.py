"""GPTQ: integers of 2, 3, 4 or 8 bits along the inputs, a scale and a zero point for a group of inputs.

Comes in: ``X.qweight`` (inputs * bits / 32, outputs), ``X.scales`` (groups, outputs), ``X.qzeros`` (groups, outputs *
bits / 32), perhaps ``X.g_idx`` (inputs,), each input's group (in the order of activation sizes, not of the inputs).
Goes out: float32 (outputs, inputs) = scale * (integer - zero point).

Sources: Frantar et al., "GPTQ", ICLR 2023; the layout is that of AutoGPTQ, nn_modules/qlinear/qlinear_cuda.py, ``pack``
and ``forward``: the lowest bits of a word are its first input, 3-bit integers run on into the next word, and the stored
zero point is one less than the true one, modulo 2^bits. GPTQModel's "gptq_v2" stores it as it is (``checkpoint_format``
in the configuration).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from eie.errors import ModelError
from eie.formats.files import Arrays
from eie.importers.quantised.group import Decoded, Group, Hints, beside, check_size, unpacked, with_tail

NAME = "GPTQ"
WIDTHS = (2, 3, 4, 8)


def recognise(arrays: Mapping[str, NDArray[Any]], hints: Hints) -> list[Group]:  # noqa: ARG001 - by names and shapes
    """Find triples whose words are packed along the inputs: as many columns as scales."""
    groups = []
    for head in with_tail(arrays, "qweight"):
        parts = beside(arrays, head, qweight="qweight", scales="scales", qzeros="qzeros", g_idx="g_idx")
        if {"qweight", "scales", "qzeros"} <= set(parts) and _columns(arrays, parts) == 1:
            groups.append(Group(weight=f"{head}weight", parts=parts))
    return groups


def _columns(arrays: Mapping[str, NDArray[Any]], parts: Mapping[str, str]) -> float:
    """Outputs for each column of words."""
    words, scales = arrays[parts["qweight"]], arrays[parts["scales"]]
    return scales.shape[1] / words.shape[1] if words.ndim == scales.ndim == 2 and words.shape[1] else 0


def decode(parts: Arrays, hints: Hints) -> Decoded:
    """Return the weights, and whether the inputs' groups are in another order."""
    words, scales, packed_zeros = parts["qweight"], parts["scales"].astype(np.float32), parts["qzeros"]
    outputs, n_groups = words.shape[1], len(scales)
    bits = _bits(packed_zeros, outputs, hints)
    inputs = len(parts["g_idx"]) if "g_idx" in parts else len(words) * 32 // bits
    check_size((outputs, inputs))
    if len(words) != -(-inputs * bits // 32) or len(packed_zeros) != n_groups or not n_groups:
        raise ModelError(
            f"{bits}-bit words {words.shape}, zero points {packed_zeros.shape} and {n_groups} groups of scales do not "
            f"make {inputs} inputs"
        )
    codes = unpacked(np.ascontiguousarray(words.T), bits, inputs)
    stored_zeros = unpacked(packed_zeros, bits, outputs)
    shift, remarks = _shift(stored_zeros, bits, hints)
    zeros = ((stored_zeros.astype(np.int16) + shift) & ((1 << bits) - 1)).astype(np.float32)
    group_of, order = _groups(parts.get("g_idx"), inputs, n_groups)
    # (outputs, inputs) at once, to be multiplied in place: this is the large one.
    weights = codes.astype(np.float32)
    # Rows first: gathered out of a transposed view it takes five times as long.
    weights -= np.ascontiguousarray(zeros.T).take(group_of, axis=1)
    weights *= np.ascontiguousarray(scales.T).take(group_of, axis=1)
    size = "a row" if n_groups == 1 else f"a group of {-(-inputs // n_groups)}"
    return Decoded(weights=weights, how=f"{bits} bits, {1 << bits} levels {size}{order}", remarks=remarks, upright=True)


def _bits(packed_zeros: NDArray[Any], outputs: int, hints: Hints) -> int:
    columns = packed_zeros.shape[1] if packed_zeros.ndim == 2 else 0
    fitting = [bits for bits in WIDTHS if columns == -(-outputs * bits // 32)]
    # Few outputs fit several widths; the configuration, if there is one, then says which.
    stated = hints.config.get("bits")
    if stated in fitting:
        return int(stated)
    if not fitting:
        raise ModelError(f"zero points {packed_zeros.shape} for {outputs} outputs fit none of {WIDTHS} bits")
    return 4 if 4 in fitting else fitting[0]


def _shift(stored: NDArray[np.uint8], bits: int, hints: Hints) -> tuple[int, tuple[str, ...]]:
    """What is to be added to stored zero points, and a remark where the file does not say it."""
    stated = hints.config.get("checkpoint_format", hints.config.get("format"))
    if stated in ("gptq", "gptq_v2"):
        return int(stated == "gptq"), ()
    # Symmetric weights have their zero in the middle, 8 of 16: a file that stores the 8 itself is of the second kind.
    if stored.size and (stored == 1 << (bits - 1)).all():
        return 0, ("zero points taken as stored (gptq_v2), since all are the middle of the range",)
    return 1, ()


def _groups(stated: NDArray[Any] | None, inputs: int, n_groups: int) -> tuple[NDArray[np.int64], str]:
    in_order = np.arange(inputs) // -(-inputs // n_groups)
    if stated is None:
        return in_order, ""
    if stated.dtype.kind not in "iu" or stated.ndim != 1:
        raise ModelError(f"g_idx is {stated.dtype} {stated.shape}: must be one group a input")
    if stated.min(initial=0) < 0 or stated.max(initial=0) >= n_groups:
        raise ModelError(f"g_idx names group {stated.max()} of {n_groups}")
    group_of = stated.astype(np.int64)
    return group_of, "" if np.array_equal(group_of, in_order) else ", groups in order of activations"
