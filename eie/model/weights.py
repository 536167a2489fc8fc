"""What a caller gives a layer, checked: names, weights, codes and biases, dense or sparse.

Comes in: arrays of any kind. Goes out: frozen matrices and vectors of the types a `Layer` holds, or one clear error.
Read by the ways to make a `Layer`.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from eie.errors import ModelError
from eie.model import arrays
from eie.model.matrix import SparseColumns, frozen


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


def compressed(name: str, what: str, values: ArrayLike, levels: int | None = None) -> SparseColumns:
    """Return weights, or codes where ``levels`` says how many there are; what is sparse never becomes dense."""
    where, sparse = f"layer {name!r}: {what}", arrays.is_sparse(values)
    array = as_given(where, values)
    shape = tuple(int(size) for size in array.shape)
    if len(shape) != 2:
        raise ModelError(f"{where} has shape {shape}: must be (outputs, inputs)")
    if 0 in shape:
        raise ModelError(f"{where} has shape {shape}: an empty layer has nothing to run")
    entries = checked_numbers(where, arrays.columns(array)[2]) if sparse else array
    if levels is not None:
        entries = checked_codes(where=f"layer {name!r}", what=what, codes=entries, levels=levels)
    if sparse:
        return SparseColumns.from_sparse(array, where, np.float32 if levels is None else np.uint8)
    # What is float32 already is not copied, however it lies in memory.
    converted = levels is None and entries.dtype != np.float32
    return SparseColumns.from_dense(frozen(entries, np.float32) if converted else entries, where)


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
