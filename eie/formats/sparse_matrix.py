"""One sparse matrix in a file, as SciPy and the Matrix Market write it, made dense.

Comes in: the arrays of a ``scipy.sparse.save_npz`` archive, or a ``.mtx`` text. Goes out: one NumPy matrix. Read by the
importers of state dicts. No SciPy is needed.

SciPy's archives hold ``format`` (csr, csc, bsr, coo or dia), ``shape`` and the arrays that a constructor of that format
takes (scipy.sparse.save_npz, SciPy's reference). A Matrix Market file has a banner, ``%%MatrixMarket matrix``, the
layout (coordinate or array), the field and the symmetry; comments; sizes; an entry a line, counted from 1, or, in an
array, by columns (Boisvert, Pozo, Remington: "The Matrix Market exchange formats", NISTIR 5935, 1996).
"""

from __future__ import annotations

import re
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from eie.errors import EieError
from eie.formats.budget import afford
from eie.formats.files import LARGEST_TEXT_BYTES, first_line, read_bytes

# Elements of the dense copy, 1 GiB as float32: a sparse matrix's shape is free to say anything.
LARGEST_DENSE = 1 << 28
_PARTS = {
    "csr": ("data", "indices", "indptr"),
    "csc": ("data", "indices", "indptr"),
    "bsr": ("data", "indices", "indptr"),
    "coo": ("data", "row", "col"),
    "dia": ("data", "offsets"),
}
_FIELDS = ("real", "integer", "pattern", "double")
# Possessive: of millions of empty lines nothing is kept to go back to.
_COMMENTS = re.compile(rb"(?:[ \t\r]*+(?:%[^\n]*+)?+\n)*+")
_SYMMETRIES = ("general", "symmetric", "skew-symmetric")


def is_scipy(arrays: Mapping[str, NDArray[Any]]) -> bool:
    """Say whether an archive's arrays are one matrix of ``scipy.sparse.save_npz``."""
    return {"format", "shape", "data"} <= set(arrays) and arrays["format"].shape == ()


def scipy_matrix(arrays: Mapping[str, NDArray[Any]], where: str, kind: type[EieError]) -> NDArray[Any]:
    """Make the matrix of a SciPy archive dense; entries of one place are added up, as SciPy does.

    Raises
    ------
    EieError
        Of ``kind``, if the arrays do not make a matrix of at most `LARGEST_DENSE` elements.
    """
    stored = arrays["format"].item()
    layout = stored.decode("ascii", "replace") if isinstance(stored, bytes) else str(stored)
    if layout not in _PARTS:
        raise kind(f"{where}: format={layout!r}: must be one of {', '.join(_PARTS)}")
    missing = [part for part in _PARTS[layout] if part not in arrays]
    if missing:
        raise kind(f"{where}: a {layout} matrix without {' and '.join(missing)}")
    shape = _shape(arrays["shape"].ravel().tolist(), where, kind)
    parts = [arrays[part] for part in _PARTS[layout]]
    try:
        rows, columns, data = _entries(layout, shape, *parts)
        return _dense(shape, rows=rows, columns=columns, data=data)
    except (ValueError, IndexError, TypeError, MemoryError, OverflowError) as error:
        raise kind(f"{where}: a damaged {layout} matrix: {first_line(error)}") from None


def read_matrix_market(path: str | Path, kind: type[EieError]) -> tuple[NDArray[Any], bool]:
    """Read a ``.mtx`` file; the second value says whether it is a pattern, whose entries are all 1 here.

    Raises
    ------
    EieError
        Of ``kind``, if it is no such file, or its matrix has more than `LARGEST_DENSE` elements.
    """
    banner, _, rest = read_bytes(path, kind, LARGEST_TEXT_BYTES).partition(b"\n")
    words = banner.decode("ascii", "replace").lower().split()
    if words[:2] != ["%%matrixmarket", "matrix"] or len(words) != 5:
        raise kind(f"{path}: must begin with '%%MatrixMarket matrix', a layout, a field and a symmetry")
    layout, field, symmetry = words[2:]
    if layout not in ("coordinate", "array") or field not in _FIELDS or symmetry not in _SYMMETRIES:
        raise kind(
            f"{path}: {layout} {field} {symmetry}: must be coordinate or array, {', '.join(_FIELDS)}, "
            f"{', '.join(_SYMMETRIES)}"
        )
    # Comments stand between banner and sizes; a % further down is a damaged number.
    line, _, numbers = rest[_COMMENTS.match(rest).end() :].partition(b"\n")  # type: ignore[union-attr]
    try:
        sizes = [int(word) for word in line.split()]
        values = _numbers(numbers)
        if len(sizes) != (3 if layout == "coordinate" else 2):
            raise ValueError(f"sizes are {sizes}")
        shape = _shape(sizes[:2], str(path), kind)
        if layout == "array":
            return _from_array(shape, values, symmetry), False
        return _from_entries(shape, values, (sizes[2], field, symmetry)), field == "pattern"
    except (ValueError, IndexError, OverflowError, MemoryError) as error:
        raise kind(f"{path}: a damaged Matrix Market file: {first_line(error)}") from None


def _numbers(text: bytes) -> NDArray[np.float64]:
    # A word as a Python object each would take ten times the text's memory.
    with warnings.catch_warnings():
        # What is no number ends the array with a deprecation only.
        warnings.simplefilter("error", DeprecationWarning)
        try:
            return np.fromstring(text.decode("ascii"), np.float64, sep=" ")
        except (DeprecationWarning, ValueError):
            raise ValueError("holds what is no number") from None


def _shape(sizes: list[Any], where: str, kind: type[EieError]) -> tuple[int, int]:
    if len(sizes) != 2 or not all(isinstance(size, int) and size >= 1 for size in sizes):
        raise kind(f"{where}: shape={sizes}: must be rows and columns, 1 or more")
    rows, columns = sizes
    if rows * columns > LARGEST_DENSE:
        raise kind(f"{where}: {rows:,} x {columns:,} elements: must be at most {LARGEST_DENSE:,} in all")
    # Eight bytes an element, and the reader's own copy beside it.
    afford(16 * rows * columns, where, kind)
    return rows, columns


_Entries = tuple[NDArray[Any], NDArray[Any], NDArray[Any]]


def _entries(layout: str, shape: tuple[int, int], data: NDArray[Any], *places: NDArray[Any]) -> _Entries:
    """Rows, columns and values of every stored entry."""
    if data.dtype.kind not in "fiub":
        raise ValueError(f"its values are {data.dtype}, not numbers")
    for place in places:
        if place.dtype.kind not in "iu" or place.ndim != 1:
            raise ValueError(f"its indices are {place.dtype} {place.shape}")
    if layout == "coo":
        return (*places, data)  # type: ignore[return-value]
    if layout == "dia":
        return _diagonals(shape, data, places[0])
    indices, pointers = (place.astype(np.int64) for place in places)
    counts = np.diff(pointers)
    # Pointers that fall would repeat entries, or take them from before the first.
    if not len(pointers) or pointers[0] != 0 or (counts < 0).any() or pointers[-1] != len(indices):
        raise ValueError(f"its pointers do not rise from 0 to {len(indices)}")
    majors = np.repeat(np.arange(len(counts)), counts)
    if layout == "bsr":
        return _blocks(majors, indices, data)
    return (majors, indices, data) if layout == "csr" else (indices, majors, data)


def _diagonals(shape: tuple[int, int], data: NDArray[Any], offsets: NDArray[Any]) -> _Entries:
    if data.ndim != 2 or len(data) != len(offsets):
        raise ValueError(f"{len(offsets)} diagonals and data of shape {data.shape}")
    columns = np.tile(np.arange(data.shape[1]), len(offsets))
    rows = columns - np.repeat(offsets.astype(np.int64), data.shape[1])
    # A diagonal is stored over its whole length, beyond the matrix's edges too.
    inside = (rows >= 0) & (rows < shape[0]) & (columns < shape[1])
    return rows[inside], columns[inside], data.ravel()[inside]


def _blocks(majors: NDArray[Any], indices: NDArray[Any], data: NDArray[Any]) -> _Entries:
    if data.ndim != 3 or len(data) != len(indices):
        raise ValueError(f"{len(indices)} blocks and data of shape {data.shape}")
    _, height, width = data.shape
    rows = majors[:, None, None] * height + np.arange(height)[:, None] + np.zeros(width, np.int64)
    columns = indices[:, None, None] * width + np.zeros(height, np.int64)[:, None] + np.arange(width)
    return rows.ravel(), columns.ravel(), data.ravel()


def _dense(shape: tuple[int, int], *, rows: NDArray[Any], columns: NDArray[Any], data: NDArray[Any]) -> NDArray[Any]:
    if not rows.shape == columns.shape == data.shape:
        raise ValueError(f"{rows.size} rows, {columns.size} columns and {data.size} values")
    for places, size in ((rows, shape[0]), (columns, shape[1])):
        if places.size and (places.min() < 0 or places.max() >= size):
            raise ValueError(f"an entry lies outside {shape[0]} x {shape[1]}")
    wide = np.float32 if data.dtype.kind == "b" or data.dtype.itemsize < 4 else data.dtype
    dense = np.zeros(shape, wide)
    np.add.at(dense, (rows, columns), data)
    return dense


def _from_entries(shape: tuple[int, int], values: NDArray[Any], stated: tuple[int, str, str]) -> NDArray[Any]:
    count, field, symmetry = stated
    width = 2 if field == "pattern" else 3
    if count < 0 or values.size != count * width:
        raise ValueError(f"{count:,} entries stated, {values.size:,} numbers follow")
    table = values.reshape(count, width)
    # Beyond 64 bits a cast gives any number, which the comparison finds; NaN is equal to none.
    with np.errstate(invalid="ignore"):
        places = table[:, :2].astype(np.int64) - 1
    if not np.array_equal(places + 1, table[:, :2]):
        raise ValueError("its places are no whole numbers")
    rows, columns = places.T
    data = np.ones(count) if field == "pattern" else table[:, 2]
    if symmetry != "general":
        # One triangle is stored; the diagonal is not to be doubled.
        off = rows != columns
        mirrored = -data[off] if symmetry == "skew-symmetric" else data[off]
        rows, columns = np.concatenate((rows, columns[off])), np.concatenate((columns, rows[off]))
        data = np.concatenate((data, mirrored))
    return _dense(shape, rows=rows, columns=columns, data=data)


def _from_array(shape: tuple[int, int], values: NDArray[Any], symmetry: str) -> NDArray[Any]:
    rows, columns = shape
    if symmetry != "general":
        raise ValueError(f"an array of symmetry {symmetry}: must be general")
    if values.size != rows * columns:
        raise ValueError(f"{rows} x {columns} stated, {values.size:,} numbers follow")
    return values.reshape(columns, rows).T
