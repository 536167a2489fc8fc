"""``.smtx`` sparsity patterns, the text format of the Deep Learning Matrix Collection: one matrix, no values.

Comes in: a file of three lines: "rows, cols, nnz"; row pointers; column indices (from 0). Goes out: a `Network` of one
layer (outputs = rows, inputs = columns) with the file's pattern and values drawn at random, which a note says.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from eie.errors import ModelError
from eie.formats.budget import afford
from eie.formats.fields import LARGEST_SIDE
from eie.formats.files import LARGEST_TEXT_BYTES, read_bytes
from eie.importers.synthetic import LEVELS, weight_levels
from eie.model.layer import Layer
from eie.model.matrix import SparseColumns
from eie.model.network import Network

SEED = 0
# A pruned layer's columns hold weights: this many for one that does is no matrix, unless they are few.
_MOST_EMPTY, _FEW = 64, 1 << 16
# What a column takes while a matrix is made of entries: its count and its pointer, and copies of them.
_COLUMN_BYTES = 32


def read(path: Path) -> Network:
    """Read a one-layer network from ``path``.

    Raises
    ------
    ModelError
        If the three lines do not describe one matrix.
    """
    lines = read_bytes(path, ModelError, LARGEST_TEXT_BYTES).split(b"\n")
    if len(lines) < 3 or any(line.strip() for line in lines[3:]):
        raise ModelError(f"{path}: must have three lines: 'rows, cols, nnz', row pointers, column indices")
    # The collection puts commas between the three; blanks alone are read as well.
    head = _integers(path, "line 1", lines[0].replace(b",", b" "))
    if len(head) != 3 or not (1 <= head[0] <= LARGEST_SIDE and 1 <= head[1] <= LARGEST_SIDE):
        raise ModelError(f"{path}: line 1: must be 'rows, cols, nnz' with sides of 1 to {LARGEST_SIDE:,}")
    rows, columns, nnz = head.tolist()
    # Rows lie in the file, a pointer each; columns cost what the first line says.
    if columns > max(_MOST_EMPTY * max(nnz, rows), _FEW):
        raise ModelError(f"{path}: line 1: {columns:,} columns for {nnz:,} non-zeros: nearly all would be empty")
    afford(_COLUMN_BYTES * columns + 32 * nnz, path, ModelError)
    pointers, places = _integers(path, "line 2", lines[1]), _integers(path, "line 3", lines[2])
    if len(pointers) != rows + 1 or len(places) != nnz:
        raise ModelError(
            f"{path}: {rows} x {columns} with {nnz} non-zeros needs {rows + 1} row pointers and {nnz} columns: "
            f"it has {len(pointers)} and {len(places)}"
        )
    if pointers[0] != 0 or pointers[-1] != nnz or (np.diff(pointers) < 0).any():
        raise ModelError(f"{path}: row pointers must rise from 0 to {nnz}")
    if nnz and (places.min() < 0 or places.max() >= columns):
        raise ModelError(f"{path}: column indices must be 0 to {columns - 1}")
    row_of = np.repeat(np.arange(rows), np.diff(pointers))
    # row x columns + column in int64: sides are at most 2**26, so it stays below 2**52.
    if len(np.unique(row_of * columns + places)) != nnz:
        raise ModelError(f"{path}: a row names a column twice")
    values = weight_levels(nnz / rows)[np.random.default_rng(SEED).integers(0, LEVELS, nnz, np.uint8)]
    matrix = SparseColumns.from_entries(shape=(rows, columns), rows=row_of, columns=places, data=values)
    note = f"{path.name}: pattern from the file, values drawn at random (seed {SEED})"
    return Network(
        name=path.stem,
        layers=(Layer(name=path.stem, matrix=matrix),),
        sequential=True,
        trace=None,
        source=path.name,
        notes=(note,),
    )


def _integers(path: Path, where: str, text: bytes) -> NDArray[np.int64]:
    try:
        return np.array(text.split(), np.int64)
    except (ValueError, OverflowError):
        raise ModelError(f"{path}: {where}: must be integers") from None
