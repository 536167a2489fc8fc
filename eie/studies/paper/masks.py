"""What a pruned layer looks like: masks as uneven as those measured on real layers, and plainly random ones.

Comes in: a shape, a density and a `Spread`. Goes out: a `SparseColumns` of code 1. Read by `bench`.

The generator: row i gets a propensity r_i, gamma-distributed with mean 1 and the measured coefficient of variation;
column j gets one alike, or its density from the measured scales of its kind of layer (`scales`). Both are scaled back
to mean 1 so that the density is kept; weight (i, j) survives independently with probability density x r_i x c_j. A
spread of 0 gives the plain random mask. Nothing in it depends on the layer but what kind it is of.
"""

from __future__ import annotations

import tomllib
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Any

import numpy as np
from numpy.typing import NDArray

from eie.model.matrix import SparseColumns
from eie.studies.paper.scales import ColumnScale


@dataclass(frozen=True)
class Spread:
    """How uneven a mask is beyond chance: coefficients of variation of row and column propensities."""

    row_cv: float
    column_cv: float
    source: str


@dataclass(frozen=True, kw_only=True)
class MeasuredLayer:
    """A row of ``data/measured_spread.toml``."""

    name: str
    rows: int
    columns: int
    density: float
    row_cv: float
    column_cv: float
    source: str


SLAB_WEIGHTS = 1 << 21  # drawn at a time, so that memory stays small
EVEN = Spread(0.0, 0.0, "every weight kept independently")


@cache
def measured_layers() -> tuple[MeasuredLayer, ...]:
    """Real pruned layers and their spread."""
    text = (files("eie.studies.paper") / "data" / "measured_spread.toml").read_text(encoding="utf-8")
    return tuple(MeasuredLayer(**row) for row in tomllib.loads(text)["layer"])


def measured_spread() -> Spread:
    """Return the spread of AlexNet fc8, the one layer of the paper's benchmark whose weights are public."""
    fc8 = measured_layers()[0]
    return Spread(fc8.row_cv, fc8.column_cv, fc8.name)


def measure(pattern: SparseColumns) -> tuple[float, float, float]:
    """Return density, row CV and column CV of a pattern, the CVs less the part that chance alone explains."""
    rows, columns = pattern.shape
    density = pattern.nnz / (rows * columns)
    a_row = np.bincount(pattern.rows, minlength=rows)
    a_column = np.diff(pattern.starts)

    def beyond_chance(counts: NDArray[Any], draws: int) -> float:
        # variance of a binomial count: what independent weights of this density would give
        by_chance = draws * density * (1 - density)
        return float(np.sqrt(max(0.0, counts.var() - by_chance)) / counts.mean())

    return density, beyond_chance(a_row, columns), beyond_chance(a_column, rows)


def draw(
    *,
    rows: int,
    columns: int,
    density: float,
    spread: Spread,
    rng: np.random.Generator,
    scale: ColumnScale | None = None,
) -> SparseColumns:
    """Draw a mask (rows, columns) of the given mean density; see the module's text for how.

    Parameters
    ----------
    scale
        The kind of layer, in the place of the spread's column CV.
    """
    survival = np.float32(density) * _propensities(rows, spread.row_cv, rng)
    if scale is None:
        column_factor = _propensities(columns, spread.column_cv, rng)
    else:
        column_factor = np.asarray(scale.densities(columns, density, rng) / density, np.float32)
    counts, row_numbers = [], []
    slab = max(1, SLAB_WEIGHTS // rows)
    for start in range(0, columns, slab):
        factors = column_factor[start : start + slab, None]
        # Drawn columns first, so that flat positions already stand in the order of a column-wise matrix.
        kept = rng.random((len(factors), rows), np.float32) < factors * survival
        counts.append(np.count_nonzero(kept, axis=1))
        row_numbers.append((np.flatnonzero(kept) % rows).astype(np.int32))
    starts = np.concatenate(([0], np.cumsum(np.concatenate(counts))))
    return SparseColumns.of(
        shape=(rows, columns), starts=starts, rows=np.concatenate(row_numbers), data=np.ones(starts[-1], np.uint8)
    )


def _propensities(size: int, cv: float, rng: np.random.Generator) -> NDArray[np.float32]:
    """float32 (size,): gamma-distributed, mean exactly 1."""
    if cv == 0:
        return np.ones(size, np.float32)
    # shape k and scale 1/k give mean 1 and a CV of 1 / sqrt(k); the drawn mean is set to 1, else the density drifts
    drawn = rng.gamma(1 / cv**2, cv**2, size)
    return np.asarray(drawn / drawn.mean(), np.float32)
