"""compressed-tensors, "sparse-bitmask" and "sparse-24-bitmask": the weights that are kept, and a bit for each place.

Comes in: ``X.compressed``, ``X.bitmask`` (rows, columns / 8) uint8 and ``X.shape``, also as ``X.weight_packed``,
``X.weight_bitmask`` and ``X.weight_shape``. Goes out: the dense weights in the stored type; every other place is zero.

Source: compressed-tensors, compressors/sparse_compressors/sparse_bitmask.py and sparse_24_bitmask.py: kept weights row
by row, the lowest bit of a byte is its first column; 2:4 keeps two of every four columns, be they zero or not.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from eie.errors import ModelError
from eie.formats.files import Arrays
from eie.importers.quantised.group import Decoded, Group, Hints, beside, check_size, with_tail

NAME = "compressed-tensors, bitmask"
# Stored name of each part: as the library writes them, and as some converters do.
_WRITTEN = ({"data": "compressed", "mask": "bitmask", "shape": "shape", "offsets": "row_offsets"},)
_ALSO = {"data": "weight_packed", "mask": "weight_bitmask", "shape": "weight_shape"}


def recognise(arrays: Mapping[str, NDArray[Any]], hints: Hints) -> list[Group]:  # noqa: ARG001 - by names and types
    """Find kept weights with a mask of bits."""
    groups = []
    for tails in (*_WRITTEN, _ALSO):
        for head, name in with_tail(arrays, tails["mask"]).items():
            parts = beside(arrays, head, **tails)
            if {"data", "mask", "shape"} <= set(parts) and arrays[name].dtype == np.uint8:
                groups.append(Group(weight=f"{head}weight", parts=parts))
    return groups


def decode(parts: Arrays, hints: Hints) -> Decoded:  # noqa: ARG001 - nothing else is open
    """Return the dense weights."""
    data, mask = parts["data"].ravel(), parts["mask"]
    shape = tuple(int(size) for size in parts["shape"].ravel())
    check_size(shape)
    columns = shape[-1]
    if mask.shape != (*shape[:-1], -(-columns // 8)):
        raise ModelError(
            f"a mask {mask.shape} for weights of shape {shape}: must have a bit for each, rows in whole bytes"
        )
    keep = np.unpackbits(mask, axis=-1, count=columns, bitorder="little").astype(bool)
    if np.count_nonzero(keep) != len(data):
        raise ModelError(
            f"{len(data):,} kept weights, but the mask has {np.count_nonzero(keep):,} bits set: their places are "
            "not known: save the weights decompressed"
        )
    dense = np.zeros(shape, data.dtype)
    dense[keep] = data
    # 2:4 by the mask: what it keeps may be zero, and the file stores it all the same.
    fours = columns % 4 == 0 and (keep.reshape(-1, 4).sum(axis=1) == 2).all()
    kind = "2 of every 4 kept" if fours else f"{100 * len(data) / keep.size:.4g} % kept"
    return Decoded(weights=dense, how=kind, is_final=False)
