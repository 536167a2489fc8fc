"""Square millimetres of a machine, by unit, from Table II and CACTI's ratios.

Comes in: a spec. Goes out: mm2 by unit. Read by the report, sweeps and comparisons; ``eie.area`` for users.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from eie.energy.tables import Cell, published_table, sram
from eie.spec import AcceleratorSpec


@dataclass(frozen=True)
class Area:
    """A machine's area.

    Attributes
    ----------
    unit_mm2
        By unit, over all PEs.
    """

    unit_mm2: Mapping[str, float]

    @property
    def total_mm2(self) -> float:
        """Of the whole machine."""
        return float(sum(self.unit_mm2.values()))


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
    return Area(area_mm2(spec, cell))


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

    def memory_growth_um2(*, kib: float, bits: int, reference_kib: float, reference_bits: float) -> float:
        """CACTI's area against the reference memory's, at 45 nm; 0 for the reference itself."""
        # So that the machine of the paper keeps its printed area to the digit, and needs no CACTI row.
        if (kib, bits) == (reference_kib, reference_bits):
            return 0.0
        # mm2 to um2, the unit of Table II. A difference is added, not a ratio taken: a unit's printed area holds logic
        # too, which does not grow with its memory.
        return 1e6 * (
            sram(kib=kib, width_bits=bits, node_nm=45, cell=cell).area_mm2
            - sram(kib=reference_kib, width_bits=int(reference_bits), node_nm=45, cell=cell).area_mm2
        )

    ptr_bank = memory_growth_um2(
        kib=spec.ptr_kib / 2,
        bits=spec.ptr_bits,
        reference_kib=table["reference.ptr"] / 2,
        reference_bits=table["reference.ptr_width"],
    )
    growth = {
        "spmat_read": memory_growth_um2(
            kib=spec.spmat_kib,
            bits=spec.spmat_row_bits,
            reference_kib=table["reference.spmat"],
            reference_bits=table["reference.spmat_row"],
        ),
        "ptr_read": 2 * ptr_bank,
        "act_rw": memory_growth_um2(kib=spec.act_kib, bits=16, reference_kib=table["reference.act"], reference_bits=16),
    }
    units = ("act_queue", "ptr_read", "spmat_read", "arithm", "act_rw")
    per_pe = {unit: table[f"{unit}.area"] + growth.get(unit, 0.0) for unit in units}
    per_pe["filler"] = table["pe.filler_area"]
    # um2 x 1e-6 = mm2, over all PEs.
    areas = {unit: um2 * spec.n_pe * shrink * 1e-6 for unit, um2 in per_pe.items()}
    return {**areas, "lnzd": table["lnzd.area"] * spec.lnzd_units * shrink * 1e-6}
