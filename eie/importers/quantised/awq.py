"""AWQ: 4-bit integers along the outputs, in an order that suits a GPU kernel; a scale and zero point a group of inputs.

Comes in: ``X.qweight`` (inputs, outputs / 8), ``X.scales`` (groups, outputs), ``X.qzeros`` (groups, outputs / 8). Goes
out: float32 (outputs, inputs) = scale * (integer - zero point).

Sources: Lin et al., "AWQ", MLSys 2024; the layout is that of AutoAWQ's GEMM version, awq/modules/linear/gemm.py and
awq/utils/packing_utils.py: the nibbles of a word, from the lowest, are outputs 0, 2, 4, 6, 1, 3, 5, 7; zero points are
stored as they are. The GEMV version packs along the inputs and is refused.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from eie.errors import ModelError
from eie.formats.files import Arrays
from eie.importers.quantised.group import Decoded, Group, Hints, beside, check_size, unpacked, with_tail

NAME = "AWQ"
_BITS = 4
# Output of each nibble, lowest first.
_ORDER = (0, 2, 4, 6, 1, 3, 5, 7)


def recognise(arrays: Mapping[str, NDArray[Any]], hints: Hints) -> list[Group]:  # noqa: ARG001 - by names and shapes
    """Find triples whose words are packed along the outputs: eight scales for each column of words."""
    groups = []
    for head in with_tail(arrays, "qweight"):
        parts = beside(arrays, head, qweight="qweight", scales="scales", qzeros="qzeros")
        if len(parts) == 3 and _is_gemm(arrays[parts["qweight"]], arrays[parts["scales"]]):
            groups.append(Group(weight=f"{head}weight", parts=parts))
    return groups


def _is_gemm(words: NDArray[Any], scales: NDArray[Any]) -> bool:
    return words.ndim == scales.ndim == 2 and words.shape[1] * 8 == scales.shape[1]


def decode(parts: Arrays, hints: Hints) -> Decoded:  # noqa: ARG001 - nothing else is open
    """Return the weights."""
    words, scales, packed_zeros = parts["qweight"], parts["scales"].astype(np.float32), parts["qzeros"]
    inputs, n_groups, outputs = len(words), len(scales), scales.shape[1]
    check_size((outputs, inputs))
    if not n_groups or inputs % n_groups or packed_zeros.shape != (n_groups, words.shape[1]):
        raise ModelError(
            f"words {words.shape}, scales {scales.shape} and zero points {packed_zeros.shape} do not fit together"
        )
    codes, zeros = _in_order(words, outputs), _in_order(packed_zeros, outputs).astype(np.float32)
    each = inputs // n_groups
    weights = codes.astype(np.float32)
    weights -= np.repeat(zeros, each, axis=0)
    weights *= np.repeat(scales, each, axis=0)
    how = f"{_BITS} bits, {1 << _BITS} levels a group of {each}"
    return Decoded(weights=np.ascontiguousarray(weights.T), how=how, upright=True)


def _in_order(words: NDArray[Any], outputs: int) -> NDArray[np.uint8]:
    nibbles = unpacked(words, _BITS, outputs).reshape(len(words), -1, len(_ORDER))
    ordered = np.empty_like(nibbles)
    ordered[:, :, list(_ORDER)] = nibbles
    return ordered.reshape(len(words), outputs)
