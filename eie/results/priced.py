"""A result priced by one method: nanojoules by layer and unit.

Comes in: an `Estimate` for each layer. Goes out: `Energy`. Made by `Result.energy`, read by tables and figures.
"""

from __future__ import annotations

import math
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
    incomplete
        Why the layers do not add up to the network, in words: then every number of the whole is NaN, None in files.
    """

    SCHEMA: ClassVar[str] = "eie-energy"

    layers: tuple[Estimate, ...]
    table: str
    method: Method
    cell: Cell
    incomplete: tuple[str, ...] = ()

    @property
    def samples_nj(self) -> NDArray[np.float64]:
        """float64 (N,): nanojoules of each sample, all layers; NaN where `incomplete`."""
        if self.incomplete:
            return np.full(len(self.layers[0].nj), np.nan)
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
        if self.incomplete:
            return dict.fromkeys(units, math.nan)
        return {unit: float(sum(layer.unit_nj[unit].mean() for layer in self.layers)) for unit in units}

    def headline(self) -> str:
        """Say what it cost, and by which method."""
        total = "- " if self.incomplete else f"{number(self.total_nj)} "
        return f"{total}nJ a sample by {self.method}, table {self.table}, SRAM cell {self.cell}"

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
        if self.incomplete:
            total |= dict.fromkeys([*units, "total"], "-")
        notes = tuple(f"no total of the network: {reason}" for reason in self.incomplete)
        return (Section(name="energy", grids=(Grid(columns=columns, rows=rows, total=total),), notes=notes),)

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
        head = {
            "method": self.method,
            "table": self.table,
            "cell": self.cell,
            "total_nj": known_or_none(self.total_nj),
            "incomplete": list(self.incomplete),
        }
        units = {unit: known_or_none(nj) for unit, nj in self.unit_nj().items()}
        return {**head, "unit_nj": units, "layers": self.records()}


def known_or_none(value: float) -> float | None:
    """Return a number, or None for NaN, which JSON does not have."""
    return None if math.isnan(value) else value
