"""A result priced by one method: nanojoules by layer and unit.

Comes in: an `Estimate` for each layer. Goes out: `Energy`. Made by `Result.energy`, read by tables and figures.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from eie.energy.estimate import Estimate, Method
from eie.energy.tables import Cell
from eie.show.face import Answer
from eie.show.numbers import number
from eie.show.sections import Column, Grid, Section, Value


@dataclass(frozen=True, eq=False, kw_only=True, repr=False)
class Energy(Answer):
    """A result priced by one method.

    Attributes
    ----------
    layers
        An `Estimate` for each layer, in order.
    table, method, cell
        What it was computed with; shown in every output.
    """

    SCHEMA: ClassVar[str] = "eie-energy"

    layers: tuple[Estimate, ...]
    table: str
    method: Method
    cell: Cell

    @property
    def samples_nj(self) -> NDArray[np.float64]:
        """float64 (N,): nanojoules of each sample, all layers."""
        # nJ add up over layers sample by sample, so that percentiles can be taken of whole samples.
        total: NDArray[np.float64] = np.sum([layer.nj for layer in self.layers], axis=0)
        return total

    @property
    def total_nj(self) -> float:
        """Nanojoules a sample, all layers."""
        return float(self.samples_nj.mean())

    def unit_nj(self) -> dict[str, float]:
        """Nanojoules a sample by unit, all layers."""
        units = self.layers[0].unit_nj
        return {unit: float(sum(layer.unit_nj[unit].mean() for layer in self.layers)) for unit in units}

    def headline(self) -> str:
        """Say what it cost, and by which method."""
        return f"{number(self.total_nj)} nJ a sample by {self.method}, table {self.table}, SRAM cell {self.cell}"

    def sections(self) -> tuple[Section, ...]:
        """Return nanojoules by layer and unit."""
        # One method prices all layers, so the first names the units of all.
        units = list(self.layers[0].unit_nj)
        columns = (
            Column("layer", "layer", "text"),
            *(Column(unit, f"{unit} nJ") for unit in units),
            Column("total", "total nJ"),
        )
        rows: tuple[dict[str, Value], ...] = tuple(
            {
                "layer": layer.layer,
                **{unit: float(layer.unit_nj[unit].mean()) for unit in units},
                "total": float(layer.nj.mean()),
            }
            for layer in self.layers
        )
        total: dict[str, Value] = {"layer": "total", **self.unit_nj(), "total": self.total_nj}
        return (Section(name="energy", grids=(Grid(columns=columns, rows=rows, total=total),)),)

    def records(self) -> list[dict[str, Any]]:
        """Return one flat record a layer, nanojoules by unit."""
        return [
            {
                "layer": layer.layer,
                **{f"{unit}_nj": float(nj.mean()) for unit, nj in layer.unit_nj.items()},
                "total_nj": float(layer.nj.mean()),
            }
            for layer in self.layers
        ]

    def content(self) -> dict[str, Any]:
        """Return method, table and rows."""
        head = {"method": self.method, "table": self.table, "cell": self.cell, "total_nj": self.total_nj}
        return {**head, "unit_nj": self.unit_nj(), "layers": self.records()}
