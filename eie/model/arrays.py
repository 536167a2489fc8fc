"""Arrays in whatever form a caller has them, as numpy's own.

Comes in: anything like an array, also masked, ``scipy.sparse`` or of an ``ml_dtypes`` type. Goes out: a plain array, or
columns of non-zeros. Read by matrices, layers, traces, samples. Nothing is imported for it: kinds are told by what
their objects can do, so that scipy and ml_dtypes stay the caller's own.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from eie.formats.sparse_matrix import LARGEST_DENSE

# Elements made dense at a time, where parts will do.
SLICE_ELEMENTS = 1 << 24


def is_sparse(values: object) -> bool:
    """Whether it is a matrix or array of ``scipy.sparse``, in any of its formats."""
    # Plain arrays first: they are asked four times on the way into a small layer.
    return not isinstance(values, np.ndarray) and all(
        hasattr(values, name) for name in ("tocsc", "tocsr", "nnz", "shape")
    )


def plain(values: Any) -> NDArray[Any]:
    """Return an array of numpy's own types: masked values are 0, sparse ones dense, small floats and integers widened.

    Raises
    ------
    ValueError
        If it is sparse and too large to be dense, or numpy makes no array of it.
    """
    if is_sparse(values):
        size = int(np.prod(values.shape, dtype=object))
        if size > LARGEST_DENSE:
            raise ValueError(
                f"sparse, of shape {tuple(values.shape)}: at most {LARGEST_DENSE:,} elements are made dense"
            )
        values = values.toarray()
    # A mask says what was pruned; `asarray` would hand over the numbers beneath it.
    array = np.asarray(values.filled(0) if isinstance(values, np.ma.MaskedArray) else values)
    return widened(array)


def widened(array: NDArray[Any]) -> NDArray[Any]:
    """Return types that numpy does not know itself (bfloat16, float8, int4) as float32 or int8, others as they are."""
    kind = array.dtype
    if kind.isbuiltin == 1 or kind.kind not in "fV" or kind.type is np.void or kind.type.__module__ == "numpy":
        return array
    # By name, as nothing else tells them apart: to numpy an int4 is as void as a bfloat16.
    narrow: NDArray[Any] = array.astype({"i": np.int8, "u": np.uint8}.get(kind.name[0], np.float32))
    return narrow


def columns(matrix: Any) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[Any]]:
    """Return where each column of a sparse matrix (rows, columns) begins, rows in ascending order, and values.

    What is listed twice is added up, as scipy does it. Zeros that are listed stay.
    """
    # A copy: adding up changes a matrix in place, and this one may be the caller's.
    compressed = matrix.tocsc(copy=True)
    compressed.sum_duplicates()
    starts, rows = (np.asarray(part, np.int64) for part in (compressed.indptr, compressed.indices))
    return starts, rows, np.asarray(compressed.data)


def row_slices(matrix: Any) -> list[NDArray[Any]]:
    """Return a sparse matrix (rows, columns) in dense parts of bounded size, one after the other."""
    by_row = matrix.tocsr()
    step = max(1, SLICE_ELEMENTS // max(1, by_row.shape[1]))
    return [by_row[at : at + step].toarray() for at in range(0, by_row.shape[0], step)]
