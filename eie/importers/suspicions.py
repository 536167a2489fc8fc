"""What may be wrong with weights though nothing is damaged: said in notes, changed only on demand.

Comes in: layers, arrays, a file's name. Goes out: notes, or a network with small weights pruned. Read by `load` and
`tensors`.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping
from dataclasses import replace
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from eie.errors import ModelError
from eie.formats.files import read_bytes
from eie.importers.roles.names import listed
from eie.model.layer import Layer
from eie.model.matrix import SparseColumns
from eie.model.network import Network
from eie.show.numbers import percent

# Of the typical size: a trained layer has about one weight in a thousand this near to zero by chance.
_NEAR = 1e-3
# Share of the stored weights that is worth a note; a normal distribution has 0.0008 of them, a Laplacian 0.002.
_MANY = 0.02
# In a layer of a few dozen weights, one is 2 % of them.
_FEWEST = 5
# Left out of the typical size: an outlier of 1e4 would make all other weights small.
_OUTLIERS = 1e-3
_LOOKED_AT = 1 << 20
# Of those, how many are numbers of 64 bits at a time.
_BLOCK = 1 << 14
_SHARD = re.compile(r"[0-9]-of-[0-9]")
_LARGEST_INDEX = 64 << 20


def near_zero(network: Network) -> list[str]:
    """Return a note on layers many of whose weights are nearly zero: pruned once, then moved by an optimiser."""
    layers: list[str] = []
    largest, next_size = 0.0, math.inf
    looked_at = [layer for layer in network.layers if layer.codebook is None and not layer.synthetic]
    # One room for all layers: pieces of every size would leave holes in the heap, together as much as the network.
    most = max((min(layer.matrix.nnz, _LOOKED_AT) for layer in looked_at), default=0)
    room, mask = np.empty(most, np.float32), np.empty(most, np.bool_)
    for layer in looked_at:
        if not layer.matrix.nnz:
            continue
        # A million of them, evenly taken, say it as well as a thousand million.
        taken = layer.matrix.data[:: -(-layer.matrix.nnz // _LOOKED_AT)]
        # In the type of the weights, and what is made of them in place: each copy is as much as a layer.
        sizes = np.abs(taken, out=room[: len(taken)])
        small = np.less(sizes, np.float64(_NEAR * _typical(sizes)), out=mask[: len(taken)])
        count = int(np.count_nonzero(small))
        if count >= max(_MANY * len(sizes), _FEWEST):
            layers.append(f"{layer.name} ({percent(count / len(sizes), 0)} %)")
            largest = max(largest, float(sizes.max(where=small, initial=0)))
            # The others, marked in place as well.
            np.logical_not(small, out=small)
            next_size = min(next_size, float(sizes.min(where=small, initial=np.inf)))
    if not layers:
        return []
    return [
        f"many weights within {_NEAR:g} of their layer's typical size of zero, perhaps pruned and drifted (--threshold "
        f"{_between(largest, next_size)} prunes them): {listed(layers)}"
    ]


def _between(largest: float, next_size: float) -> str:
    """Return a power of ten in the middle of the gap, or the first above ``largest`` where layers leave none."""
    exponent = round((math.log10(largest) + math.log10(max(next_size, largest))) / 2)
    return f"1e{max(exponent, math.floor(math.log10(largest)) + 1)}"


def _typical(sizes: NDArray[Any]) -> float:
    """Return a size that neither a crowd of tiny weights nor a few huge ones moves much; puts them in another order."""
    kept = len(sizes) - math.ceil(_OUTLIERS * len(sizes))
    if kept < 1:
        return float(sizes.max())
    sizes.partition(kept - 1)
    # Each weight counted by its size: a median would lie among the drifted ones, which are the most.
    squares = total = 0.0
    for first in range(0, kept, _BLOCK):
        usual = sizes[first : min(first + _BLOCK, kept)].astype(np.float64)
        squares, total = squares + float(usual @ usual), total + float(usual.sum())
    return squares / total


def prune_below(network: Network, threshold: float) -> Network:
    """Make weights smaller than ``threshold`` zeros; shared ones are codes and stay.

    Raises
    ------
    ModelError
        If the threshold is no positive number, would leave a layer without weights, or all layers are shared.
    """
    if not (isinstance(threshold, int | float) and 0 < threshold < math.inf):
        raise ModelError(f"threshold={threshold!r}: must be a positive number")
    if all(layer.codebook is not None for layer in network.layers):
        raise ModelError(
            f"threshold={threshold:g}: all layers of {network.source} are weight-shared: share after pruning"
        )
    layers = [_without_small(layer, threshold) for layer in network.layers]
    counts = [
        f"{new.name} {percent(old.weight_density)} % to {percent(new.weight_density)} %"
        for old, new in zip(network.layers, layers, strict=True)
        if new.matrix.nnz != old.matrix.nnz
    ]
    empty = [layer.name for layer in layers if not layer.matrix.nnz]
    if empty:
        raise ModelError(
            f"{network.source or network.name}: threshold={threshold:g}: leaves no weight in {listed(empty)}: must be "
            "smaller"
        )
    note = f"weights below {threshold:g} pruned: {', '.join(counts) or 'there were none'}"
    return replace(network, layers=tuple(layers), notes=(*network.notes, note))


def _without_small(layer: Layer, threshold: float) -> Layer:
    matrix = layer.matrix
    if layer.codebook is not None:
        return layer
    keep = np.abs(matrix.data) >= threshold
    # Columns begin where as many kept entries stand before them; the dense matrix is never made.
    before = np.concatenate(([0], np.cumsum(keep)))
    pruned = SparseColumns.of(
        matrix.shape, starts=before[matrix.starts], rows=matrix.rows[keep], data=matrix.data[keep]
    )
    return replace(layer, matrix=pruned)


def identical(weights: Mapping[str, NDArray[Any]], tables: Mapping[str, NDArray[Any]]) -> list[str]:
    """Return notes on layers with the same weights: one array in the file, copies of it, or a table left out."""
    tied: list[str] = []
    copied: list[str] = []
    for (a, first), (b, second) in combinations(sorted(weights.items()), 2):
        # Shapes and corners before whole matrices; constants are alike without being copies.
        if first.shape != second.shape or first.size < 4 or first.flat[0] != second.flat[0]:
            continue
        if np.array_equal(first, second) and (first != first.flat[0]).any():
            (tied if np.may_share_memory(first, second) else copied).append(f"{a} and {b}")
    heads = [
        f"{name} has the weights of {table}"
        for name, array in sorted(weights.items())
        for table, other in sorted(tables.items())
        if array.shape == other.shape and array.size and array.flat[0] == other.flat[0] and np.array_equal(array, other)
    ]
    notes = [f"tied to a table that is left out, counted once: {listed(heads)}"] if heads else []
    if tied:
        notes.append(f"one array under two names (tied): {listed(tied)}")
    if copied:
        notes.append(
            f"equal arrays (copied, or tied before they were saved), each counted as a layer: {listed(copied)}"
        )
    return notes


def vanishing(weights: Mapping[str, NDArray[Any]]) -> list[str]:
    """Return a note on weights that are too small for float32, in which layers are kept."""
    # Half of it rounds to zero. As a Python float: in float32 the half would be zero itself.
    smallest = float(np.finfo(np.float32).smallest_subnormal) / 2
    counts = []
    for name, array in weights.items():
        if array.dtype == np.float64 and (count := int(((array != 0) & (np.abs(array) <= smallest)).sum())):
            counts.append(f"{name} ({count:,})")
    return [f"weights that are zero in float32: {listed(counts)}"] if counts else []


def indexed_elsewhere(path: Path) -> list[str]:
    """Return a note if an index beside ``path`` names it among others; names like 1-of-2 say it themselves."""
    for index in () if _SHARD.search(path.stem) else sorted(path.parent.glob("*.index.json")):
        files = _indexed(index)
        if path.name in files and len(files) > 1:
            return [f"{index.name} names {path.name} as 1 of {len(files)} files: give it for the whole model"]
    return []


def _indexed(index: Path) -> set[str]:
    """Return the files that an index names; nothing if it cannot be read, since only a note depends on it."""
    try:
        names = json.loads(read_bytes(index, ModelError, _LARGEST_INDEX))["weight_map"].values()
        return {str(name) for name in names}
    except (ModelError, ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return set()
