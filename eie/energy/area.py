"""Square millimetres of a machine, by unit, from Table II and CACTI's ratios.

Comes in: a spec. Goes out: mm2 by unit. Read by the report, sweeps and comparisons.
"""

from __future__ import annotations

from eie.energy.tables import Cell, published_table, sram
from eie.spec import AcceleratorSpec


def area_mm2(spec: AcceleratorSpec, cell: Cell = "itrs-lop") -> dict[str, float]:
    """Area by unit, over the whole machine; other nodes scale with the square of the feature size.

    Raises
    ------
    EnergyError
        For an SRAM that the CACTI table does not span.
    """
    table = published_table()
    shrink = (spec.node_nm / 45) ** 2

    def memory_growth_um2(kib: float, bits: int, reference_kib: float, reference_bits: float) -> float:
        """CACTI's area against the reference memory's, at 45 nm; 0 for the reference itself."""
        if (kib, bits) == (reference_kib, reference_bits):
            return 0.0
        return 1e6 * (sram(kib, bits, 45, cell).area_mm2 - sram(reference_kib, int(reference_bits), 45, cell).area_mm2)

    ptr_bank = memory_growth_um2(
        spec.ptr_kib / 2, spec.ptr_bits, table["reference.ptr"] / 2, table["reference.ptr_width"]
    )
    growth = {
        "spmat_read": memory_growth_um2(
            spec.spmat_kib, spec.spmat_row_bits, table["reference.spmat"], table["reference.spmat_row"]
        ),
        "ptr_read": 2 * ptr_bank,
        "act_rw": memory_growth_um2(spec.act_kib, 16, table["reference.act"], 16),
    }
    units = ("act_queue", "ptr_read", "spmat_read", "arithm", "act_rw")
    per_pe = {unit: table[f"{unit}.area"] + growth.get(unit, 0.0) for unit in units}
    per_pe["filler"] = table["pe.filler_area"]
    areas = {unit: um2 * spec.n_pe * shrink * 1e-6 for unit, um2 in per_pe.items()}
    return {**areas, "lnzd": table["lnzd.area"] * spec.lnzd_units * shrink * 1e-6}
