"""Square millimetres of a machine, by unit, from Table II, CACTI's differences and bits of registers and logic.

Comes in: a spec. Goes out: mm2 by unit. Read by the report, sweeps and comparisons; ``eie.area`` for users.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from eie.energy.memories import Name, reference_sram, sram_of
from eie.energy.sizes import extra_wire_mm, logic_ratio, register_ratio, slot_bits, slot_ratio
from eie.energy.split import unit_areas
from eie.energy.tables import Cell, published_table
from eie.formats.arguments import taken
from eie.show.face import Answer
from eie.show.numbers import number
from eie.show.sections import Column, Grid, Section, Value
from eie.spec import AcceleratorSpec


@dataclass(frozen=True, kw_only=True, repr=False)
class Area(Answer):
    """A machine's area.

    Attributes
    ----------
    spec
        The machine.
    cell
        CACTI memory cell by which SRAMs were scaled.
    unit_mm2
        By unit, over all PEs; ``lnzd`` with the broadcast wires that more than 64 PEs need.
    """

    SCHEMA: ClassVar[str] = "eie-area"

    spec: AcceleratorSpec
    cell: Cell
    unit_mm2: Mapping[str, float]

    @property
    def total_mm2(self) -> float:
        """Of the whole machine."""
        return float(sum(self.unit_mm2.values()))

    def headline(self) -> str:
        """Say how large which machine is."""
        return f"{self.spec.headline()}: {number(self.total_mm2)} mm2, SRAM cell {self.cell}"

    def sections(self) -> tuple[Section, ...]:
        """Return a row a unit."""
        columns = (Column("unit", "unit", "text"), Column("mm2", "mm2"), Column("share", "share %", "percent"))
        total: dict[str, Value] = {"unit": "total", "mm2": self.total_mm2, "share": 1.0}
        grid = Grid(columns=columns, rows=tuple(self.records()), total=total)
        return (Section(name="area", grids=(grid,)),)

    def records(self) -> list[dict[str, Any]]:
        """Return one flat record a unit."""
        total = self.total_mm2
        return [{"unit": unit, "mm2": mm2, "share": mm2 / total} for unit, mm2 in self.unit_mm2.items()]

    def content(self) -> dict[str, Any]:
        """Return the machine, its area and the rows."""
        return {
            "spec": self.spec.model_dump(),
            "cell": self.cell,
            "total_mm2": self.total_mm2,
            "rows": self.records(),
        }


@taken
def area(spec: AcceleratorSpec, cell: Cell = "itrs-lop") -> Area:
    """Return a machine's area.

    Parameters
    ----------
    cell
        CACTI memory cell by which SRAMs are scaled to other sizes and widths.

    Returns
    -------
    Area
        Square millimetres by unit, and their sum.

    Raises
    ------
    EnergyError
        For an SRAM that the CACTI table does not span.

    Examples
    --------
    The published chip has 40.8 mm2.

    >>> import eie
    >>> round(eie.area(eie.EIE_64PE).total_mm2, 1)
    40.8
    """
    return Area(spec=spec, cell=cell, unit_mm2=area_mm2(spec, cell))


def area_mm2(spec: AcceleratorSpec, cell: Cell = "itrs-lop") -> dict[str, float]:
    """Area by unit, over the whole machine; other nodes scale with the square of the feature size.

    Raises
    ------
    EnergyError
        For an SRAM that the CACTI table does not span.
    """
    table = published_table()
    # Logic and memory alike, though SRAM cells shrink less than the square in practice.
    shrink = (spec.node_nm / 45) ** 2
    registers, logic = register_ratio(spec), logic_ratio(spec)
    grown = _grown_um2(spec, cell)
    per_pe = {
        # The clock's own area is that of its buffers, as many as registers hang on them.
        unit: um2.memory
        + (um2.clock_network + um2.register) * registers[unit]
        + um2.combinational * logic[unit]
        + grown.get(unit, 0.0)
        for unit, um2 in unit_areas().items()
    }
    per_pe["filler"] = table["pe.filler_area"]
    # um2 x 1e-6 = mm2, over all PEs.
    areas = {unit: um2 * spec.n_pe * shrink * 1e-6 for unit, um2 in per_pe.items()}
    pe_mm2 = sum(areas.values()) / spec.n_pe
    # um x mm = 1e-3 mm2. A wire's pitch shrinks with the node, its length with the PEs.
    pitch_um = table["wire.pitch"] * spec.node_nm / 45
    wires = slot_bits(spec) * extra_wire_mm(spec, pe_mm2) * pitch_um * 1e-3
    return {**areas, "lnzd": table["lnzd.area"] * spec.lnzd_units * slot_ratio(spec) * shrink * 1e-6 + wires}


def _grown_um2(spec: AcceleratorSpec, cell: Cell) -> dict[str, float]:
    """CACTI's area of the spec's memories less that of the paper's, at 45 nm, by unit."""
    grown = {}
    memories: tuple[tuple[str, Name, int], ...] = (
        ("spmat_read", "spmat", 1),
        ("ptr_read", "ptr", 2),
        ("act_rw", "act", 1),
    )
    for unit, name, banks in memories:
        # A difference is added, not a ratio taken: CACTI's macros are smaller than the printed units by more than logic
        # (docs/validation.md). 0 for the machine of the paper, which so keeps its printed area.
        ours, theirs = sram_of(name, spec, cell), reference_sram(name, cell)
        # mm2 to um2, the unit of Table II.
        grown[unit] = 1e6 * banks * (ours.area_mm2 - theirs.area_mm2)
    return grown
