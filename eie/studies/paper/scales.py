"""How uneven a layer's columns are by what it reads, a feature map or a vector: the measured scales of its weights.

Comes in: ``data/column_scale.csv`` and ``data/column_kinds.toml``. Goes out: a `ColumnScale` by the layer's name, and
from it each column's share of what pruning keeps. Read by `masks`.

Magnitude pruning cuts a whole layer at one threshold t. Of a column whose Gaussian weights have the scale s it keeps
erfc(t / (s sqrt 2)): small differences in scale become large ones in density, the more so the more is pruned.
"""

from __future__ import annotations

import csv
import math
import tomllib
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Any

import numpy as np
from numpy.typing import NDArray

# Newton's steps on a convex, falling function from its left end: each is closer, and so many reach the last digit.
STEPS = 40
CLOSE = 1e-9


@dataclass(frozen=True, eq=False, kw_only=True)
class ColumnScale:
    """A kind of layer.

    Attributes
    ----------
    name
        What it reads, ``"map"`` or ``"vector"``.
    quantiles
        float64, ascending: scales at equal steps from the least to the largest.
    neighbours
        Correlation of the scales of neighbouring columns.
    """

    name: str
    quantiles: NDArray[np.float64]
    neighbours: float

    def draw(self, columns: int, rng: np.random.Generator) -> NDArray[np.float64]:
        """Return float64 (columns,): the measured scales, as often as measured, neighbours as alike as measured."""
        steps = rng.standard_normal(columns)
        order = np.empty(columns)
        fresh = math.sqrt(1 - self.neighbours**2)
        for j in range(columns):
            order[j] = steps[j] if j == 0 else self.neighbours * order[j - 1] + fresh * steps[j]
        # By rank: a drawn quantile would make the mean of a small layer drift.
        rank = np.empty(columns)
        rank[np.argsort(order, kind="stable")] = (np.arange(columns) + 0.5) / columns
        return np.interp(rank, np.linspace(0, 1, len(self.quantiles)), self.quantiles)

    def densities(self, columns: int, density: float, rng: np.random.Generator) -> NDArray[np.float64]:
        """Return float64 (columns,): what one threshold keeps of each column, ``density`` on average."""
        return kept(self.draw(columns, rng), density)


def kept(scales: NDArray[np.float64], density: float) -> NDArray[np.float64]:
    """Return the share of its weights that each column keeps under the threshold that keeps ``density`` of them all."""
    if not 0 < density < 1:
        return np.full(len(scales), float(density))
    threshold = 0.0
    for _ in range(STEPS):
        shares = _erfc(threshold / (scales * math.sqrt(2)))
        slope = np.mean(np.exp(-(threshold**2) / (2 * scales**2)) / scales) * math.sqrt(2 / math.pi)
        step = (shares.mean() - density) / slope
        threshold += float(step)
        if abs(step) < CLOSE:
            break
    return np.asarray(shares, np.float64)


_erfc = np.vectorize(math.erfc, otypes=[np.float64])


@cache
def kind_of(layer: str) -> ColumnScale:
    """Return the kind of a layer of the benchmark."""
    kinds: list[dict[str, Any]] = tomllib.loads(_text("column_kinds.toml"))["kind"]
    kind = next((kind for kind in kinds if layer in kind["layers"]), kinds[-1])
    measured = measured_scales()
    return ColumnScale(
        name=kind["name"],
        quantiles=np.mean([measured[name] for name in kind["measured"]], axis=0),
        neighbours=float(np.mean(kind["neighbours"])),
    )


@cache
def measured_scales() -> dict[str, NDArray[np.float64]]:
    """Return the measured quantiles by layer, at steps of a hundredth."""
    lines = (line for line in _text("column_scale.csv").splitlines() if not line.startswith("#"))
    scales: dict[str, list[float]] = {}
    for row in csv.DictReader(lines):
        scales.setdefault(row["layer"], []).append(float(row["scale"]))
    return {name: np.array(values) for name, values in scales.items()}


def _text(name: str) -> str:
    return (files("eie.studies.paper") / "data" / name).read_text(encoding="utf-8")
