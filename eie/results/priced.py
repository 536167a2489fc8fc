"""A result priced by one method: nanojoules by layer and unit.

Comes in: an `Estimate` for each layer. Goes out: `Energy`. Made by `Result.energy`, read by tables and figures.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from eie.energy.estimate import KINDS, Estimate, Method, bounds_of
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

    @property
    def low_nj(self) -> float:
        """The total by the reading that makes it less: see `eie.Estimate`; by published power there is one."""
        return math.nan if self.incomplete else min(bounds_of(self.layers))

    @property
    def high_nj(self) -> float:
        """The total by the reading that makes it more."""
        return math.nan if self.incomplete else max(bounds_of(self.layers))

    def unit_nj(self) -> dict[str, float]:
        """Nanojoules a sample by unit, all layers."""
        units = self.layers[0].unit_nj
        if self.incomplete:
            return dict.fromkeys(units, math.nan)
        return {unit: float(sum(layer.unit_nj[unit].mean() for layer in self.layers)) for unit in units}

    def kind_nj(self) -> dict[str, float]:
        """Nanojoules a sample by kind, all layers; empty by published power."""
        kinds = self.layers[0].kind_nj
        if self.incomplete:
            return dict.fromkeys(kinds, math.nan)
        return {kind: float(sum(layer.kind_nj[kind].mean() for layer in self.layers)) for kind in kinds}

    def headline(self) -> str:
        """Say what it cost, and by which method."""
        total = "- " if self.incomplete else f"{number(self.total_nj)} "
        bounds = "" if self.incomplete or not self.kind_nj() else f" ({self.bounds_in_words()})"
        return f"{total}nJ a sample by {self.method}{bounds}, table {self.table}, SRAM cell {self.cell}"

    def bounds_in_words(self) -> str:
        """Say between which totals the two readings of what is static put it."""
        return f"{number(self.low_nj)} to {number(self.high_nj)}"

    def sections(self) -> tuple[Section, ...]:
        """Return nanojoules by layer and unit, and by kind with the bounds."""
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
        notes = (trust(self.method), *(f"no total of the network: {reason}" for reason in self.incomplete))
        grids = [Grid(columns=columns, rows=rows, total=total)]
        if self.kind_nj():
            grids.append(self._kinds_grid())
        return (Section(name="energy", grids=tuple(grids), notes=notes),)

    def _kinds_grid(self) -> Grid:
        columns = (
            Column("layer", "layer", "text"),
            *(Column(kind, f"{kind} nJ") for kind in KINDS),
            Column("low", "low nJ"),
            Column("total", "total nJ"),
            Column("high", "high nJ"),
        )
        rows: tuple[dict[str, Value], ...] = tuple(
            {
                "layer": layer.layer,
                **{kind: float(layer.kind_nj[kind].mean()) for kind in KINDS},
                "low": layer.low_nj,
                "total": float(layer.nj.mean()),
                "high": layer.high_nj,
            }
            for layer in self.layers
        )
        total: dict[str, Value] = {
            "layer": "total", **self.kind_nj(), "low": self.low_nj, "total": self.total_nj, "high": self.high_nj
        }  # fmt: skip
        if self.incomplete:
            total |= dict.fromkeys([*KINDS, "low", "total", "high"], "-")
        return Grid(caption="By kind, and between which bounds", columns=columns, rows=rows, total=total)

    def records(self) -> list[dict[str, Any]]:
        """Return one flat record a layer, nanojoules by unit and kind."""
        return [
            {
                "layer": layer.layer,
                **{f"{unit}_nj": float(nj.mean()) for unit, nj in layer.unit_nj.items()},
                **{f"{kind}_nj": float(nj.mean()) for kind, nj in layer.kind_nj.items()},
                "low_nj": layer.low_nj,
                "total_nj": float(layer.nj.mean()),
                "high_nj": layer.high_nj,
            }
            for layer in self.layers
        ]

    def content(self) -> dict[str, Any]:
        """Return method, table and rows."""
        head = {
            "method": self.method,
            "table": self.table,
            "cell": self.cell,
            **self.totals(),
            "incomplete": list(self.incomplete),
        }
        return {**head, "layers": self.records()}

    def totals(self) -> dict[str, Any]:
        """Return what the network took, by unit and kind too, as files hold it: None where it is not known."""
        written: dict[str, Any] = {
            "total_nj": known_or_none(self.total_nj),
            "unit_nj": {unit: known_or_none(nj) for unit, nj in self.unit_nj().items()},
        }
        # By published power there are neither kinds nor bounds.
        if self.kind_nj():
            written["kind_nj"] = {kind: known_or_none(nj) for kind, nj in self.kind_nj().items()}
            written |= {"low_nj": known_or_none(self.low_nj), "high_nj": known_or_none(self.high_nj)}
        return written


def trust(method: Method) -> str:
    """Say what a total by this method is good for: two stand side by side, and only one is an estimate of this run."""
    if method == "activity":
        return "the total to trust: actions, clock and leakage; its bounds differ in how much of the memories is static"
    return "the paper's method, for reference: time x Table II's power of the paper's machine"


def known_or_none(value: float) -> float | None:
    """Return a number, or None for NaN, which JSON does not have."""
    return None if math.isnan(value) else value
