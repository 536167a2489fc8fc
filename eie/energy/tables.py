"""Physical numbers, each with unit, source, place and how it was come by; and SRAM figures from CACTI 7.

Comes in: the data files beside this module. Goes out: `Table` and `Sram`. Read by the rest of the room.
"""

from __future__ import annotations

import csv
import math
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from itertools import pairwise
from typing import Literal, get_args

from eie.errors import EnergyError
from eie.formats.sourced import Row

Cell = Literal["itrs-lop", "itrs-lstp"]
TABLE_NAME = "eie-isca2016"
# Columns of the CACTI file that are read, by the names that `Sram` has for them.
_FIGURES = ("read_pj", "write_pj", "leakage_mw", "area_mm2", "cycle_ns")


@dataclass(frozen=True)
class Table:
    """A named set of rows."""

    name: str
    rows: Mapping[str, Row]

    def __getitem__(self, name: str) -> float:
        return self.rows[name].value


@cache
def published_table() -> Table:
    """Return the figures of the EIE paper and what is derived from them."""
    text = (files("eie.energy") / "data" / "eie_isca2016.toml").read_text(encoding="utf-8")
    return Table(TABLE_NAME, {row["name"]: Row(**row) for row in tomllib.loads(text)["row"]})


@dataclass(frozen=True, kw_only=True)
class Sram:
    """One memory from CACTI 7 (one read-write port, 300 K).

    ``interpolated`` says that the size or width lies between rows of the table (log-log interpolation).
    """

    read_pj: float
    write_pj: float
    leakage_mw: float
    area_mm2: float
    cycle_ns: float
    interpolated: bool


@cache
def sram(kib: float, width_bits: int, node_nm: int, cell: Cell) -> Sram:
    """Look up a memory of ``kib`` KiB and ``width_bits``.

    Raises
    ------
    EnergyError
        For a cell or size that the table does not span.
    """
    if cell not in get_args(Cell):
        raise EnergyError(f"sram cell {cell!r}: must be one of {', '.join(get_args(Cell))}")
    # The table has 45 and 32 nm; 28 nm is read at 32. Prices, leakage and area are taken at 45 nm and scaled by the
    # node's factor; only the cycle time is that of the node, and the note on it names the row's.
    rows = _cacti()[(45 if node_nm == 45 else 32, cell)]
    # Energy, area and time of an SRAM are close to powers of its size and width: on logarithms straight lines between
    # rows miss least.
    size = math.log2(kib * 1024)
    by_size: dict[float, list[tuple[float, tuple[float, ...]]]] = {}
    for (row_size, row_width), figures in rows.items():
        by_size.setdefault(row_size, []).append((row_width, figures))
    # First across widths within each size, then across the sizes: not every size has the same widths, so no grid.
    spans = {key: _between(points, math.log2(width_bits)) for key, points in by_size.items()}
    usable = [(key, span[0]) for key, span in spans.items() if span is not None]
    exact_width = all(span[1] for span in spans.values() if span is not None)
    point = _between(usable, size) if usable else None
    if point is None:
        raise EnergyError(
            f"no CACTI row near {kib:g} KiB x {width_bits} bits: the table spans 2 to 512 KiB and widths of 16 "
            "(32 from 128 KiB on) to 512 bits (64 at 2 KiB)"
        )
    named = dict(zip(_FIGURES, (2.0**value for value in point[0]), strict=True))
    return Sram(**named, interpolated=not (point[1] and exact_width))


def _between(points: list[tuple[float, tuple[float, ...]]], at: float) -> tuple[tuple[float, ...], bool] | None:
    """Interpolate linearly in ``points`` (x, ys); None outside them. The flag says that ``at`` was one of them."""
    points = sorted(points)
    for x, ys in points:
        # log2 of a size that is no power of two is not exact; a row that is meant must still be hit.
        if math.isclose(x, at, abs_tol=1e-9):
            return ys, True
    for (x0, low), (x1, high) in pairwise(points):
        if x0 < at < x1:
            share = (at - x0) / (x1 - x0)
            return tuple(a + share * (b - a) for a, b in zip(low, high, strict=True)), False
    return None


@cache
def _cacti() -> Mapping[tuple[int, str], Mapping[tuple[float, float], tuple[float, ...]]]:
    """Rows as log2 `_FIGURES` by log2 (bytes, bits), for each node and cell."""
    text = (files("eie.energy") / "data" / "sram_cacti7.csv").read_text(encoding="utf-8")
    by_node: dict[tuple[int, str], dict[tuple[float, float], tuple[float, ...]]] = {}
    for row in csv.DictReader(text.splitlines()):
        key = (math.log2(float(row["size_bytes"])), math.log2(float(row["width_bits"])))
        figures = tuple(math.log2(float(row[name])) for name in _FIGURES)
        by_node.setdefault((int(float(row["node_nm"])), row["cell"]), {})[key] = figures
    return by_node
