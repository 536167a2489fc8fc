"""What a caller gives a layer, checked: names, weights, codes and biases, dense or sparse.

Comes in: arrays of any kind. Goes out: frozen matrices and vectors of the types a `Layer` holds, or one clear error.
Read by the ways to make a `Layer`.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import reduce
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from eie.errors import ModelError
from eie.model import arrays
from eie.model.geometry import LINEAR, Geometry
from eie.model.matrix import SparseColumns, Tile, frozen, tiled

# Numbers of a block on the diagonal, from which on it is brought into columns by itself.
_TILE = 1 << 12


def checked_name(name: object) -> str:
    # Names go to terminals, files and pages: a control character in one could act there.
    if not isinstance(name, str) or not name.strip() or not name.isprintable():
        raise ModelError(f"layer name {name!r}: must be printable text")
    return name


def checked_numbers(where: str, values: ArrayLike) -> NDArray[Any]:
    try:
        array = arrays.plain(values)
    except ValueError as error:
        raise ModelError(f"{where}: {error}") from None
    # Complex, text and object arrays have no order of non-zeros to run; bool is 0 and 1.
    if array.dtype.kind not in "fiub":
        raise ModelError(f"{where} has dtype {array.dtype}: must be numbers")
    return array


def as_given(where: str, values: ArrayLike) -> Any:
    """Return numbers, dense or as sparse as they are."""
    return values if arrays.is_sparse(values) else checked_numbers(where, values)


def compressed(
    *, name: str, what: str, values: ArrayLike, levels: int | None = None, geometry: Geometry = LINEAR
) -> SparseColumns:
    """Return the lowered matrix of weights, or of codes where ``levels`` says how many there are.

    What is sparse never becomes dense, and a large dense one is spread before it is sparse: as entries that are moved
    about it would be several times the layer.
    """
    where, sparse = f"layer {name!r}: {what}", arrays.is_sparse(values)
    array = as_given(where, values)
    _check_shape(where, array)
    entries = checked_numbers(where, arrays.columns(array)[2]) if sparse else array
    if levels is not None:
        entries = checked_codes(where=f"layer {name!r}", what=what, codes=entries, levels=levels)
    if sparse:
        return geometry.spread(SparseColumns.from_sparse(array, where, np.float32 if levels is None else np.uint8))
    dense = _float32(entries) if levels is None else entries
    blocks = geometry.spread_blocks
    # Blocks of a few numbers are quicker moved than walked one by one.
    if blocks == 1 or dense.size < _TILE * blocks:
        return geometry.spread(SparseColumns.from_dense(dense, where))
    height, width = len(dense) // blocks, dense.shape[1]
    tiles = [
        Tile(
            row=i * height,
            column=i * width,
            dense=dense[i * height : (i + 1) * height],
            where=where,
            # Before they are spread, all blocks begin in column 0.
            origin=i * width,
        )
        for i in range(blocks)
    ]
    return tiled(geometry.matrix_shape, tiles)


def side_by_side(name: str, parts: Mapping[str, Any]) -> SparseColumns:
    """Return one matrix of weights of as many outputs, by what they are called."""
    for what, part in parts.items():
        _check_shape(f"layer {name!r}: {what}", part)
    if any(arrays.is_sparse(part) for part in parts.values()):
        matrices = [compressed(name=name, what=what, values=part) for what, part in parts.items()]
        return reduce(SparseColumns.beside, matrices)
    tiles, column = [], 0
    for what, part in parts.items():
        where = f"layer {name!r}: {what}"
        tiles.append(Tile(row=0, column=column, dense=_float32(part), where=where, origin=column))
        column += part.shape[1]
    return tiled((len(tiles[0].dense), column), tiles)


def _check_shape(where: str, array: Any) -> None:
    shape = tuple(int(size) for size in array.shape)
    if len(shape) != 2:
        raise ModelError(f"{where} has shape {shape}: must be (outputs, inputs)")
    if 0 in shape:
        raise ModelError(f"{where} has shape {shape}: an empty layer has nothing to run")


def _float32(array: NDArray[Any]) -> NDArray[np.float32]:
    """Return what is float32 already uncopied, however it lies in memory."""
    return array if array.dtype == np.float32 else frozen(array, np.float32)


def checked_bias(name: str, bias: ArrayLike, outputs: int) -> NDArray[np.float32]:
    array = checked_numbers(f"layer {name!r}: bias", bias)
    if array.shape != (outputs,):
        raise ModelError(f"layer {name!r}: bias has shape {array.shape}: must be ({outputs},)")
    array = frozen(array, np.float32)
    if not np.isfinite(array).all():
        raise ModelError(f"layer {name!r}: bias holds NaN or infinity: must be finite")
    return array


def checked_accumulator_bias(
    name: str, bias: ArrayLike | None, codes: NDArray[np.uint8] | None, outputs: int
) -> NDArray[np.float32] | None:
    if bias is None:
        return None
    if codes is not None:
        raise ModelError(f"layer {name!r}: accumulator_bias: has bias_codes too: give one of them")
    return checked_bias(name, bias, outputs)


def checked_codes(where: str, what: str, codes: ArrayLike, levels: int) -> NDArray[np.uint8]:
    array = checked_numbers(f"{where}: {what}", codes)
    if array.dtype.kind == "f":
        raise ModelError(f"{where}: {what} has dtype {array.dtype}: must be integers")
    if array.size and (array.min() < 0 or array.max() >= levels):
        # The one that is out of range, whichever end it left by.
        worst = array.max() if array.max() >= levels else array.min()
        raise ModelError(f"{where}: {what} holds {worst}: must be 0 to {levels - 1}, the codebook has {levels} levels")
    # Safe only now: before the check, 256 would have become 0, a weight that is not there.
    return array.astype(np.uint8, copy=False)
