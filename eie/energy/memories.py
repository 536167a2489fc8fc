"""A PE's three memories in CACTI's table: those of a spec, those of the paper, and their ratios.

Comes in: a spec. Goes out: `Sram` figures and `Memory` ratios, at 45 nm. Read by `split`, `prices` and `area`.

CACTI does not give Table II's power, so no figure of it is a price; it is taken for ratios between sizes and widths.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import Literal

from eie.energy.tables import Cell, Sram, published_table, sram
from eie.spec import AcceleratorSpec

Name = Literal["spmat", "ptr", "act"]


@cache
def reference_sram(name: Name, cell: Cell = "itrs-lop") -> Sram:
    """Return CACTI's figures at 45 nm of a memory of the paper's PE; of pointers, one of both banks."""
    table = published_table()
    width = {"spmat": "reference.spmat_row", "ptr": "reference.ptr_width", "act": "reference.act_row"}[name]
    kib = table[f"reference.{name}"] / (2 if name == "ptr" else 1)
    return sram(kib=kib, width_bits=int(table[width]), node_nm=45, cell=cell)


def sram_of(name: Name, spec: AcceleratorSpec, cell: Cell) -> Sram:
    """Return CACTI's figures at 45 nm of a memory of the spec's PE; of pointers, one of both banks.

    Raises
    ------
    EnergyError
        If the CACTI table does not span it.
    """
    kib, bits = {
        "spmat": (spec.spmat_kib, spec.spmat_row_bits),
        "ptr": (spec.ptr_kib / 2, spec.ptr_bits),
        # The table begins at 2 KiB and 16 bits: what is smaller is taken as that, which is no less.
        "act": (max(spec.act_kib, 2), max(spec.act_row_bits, 16)),
    }[name]
    return sram(kib=kib, width_bits=bits, node_nm=45, cell=cell)


@dataclass(frozen=True, kw_only=True)
class Memory:
    """A memory of a spec against the paper's, at 45 nm: ratios of a read and of leakage, and a write over a read."""

    read: float
    leakage: float
    write_over_read: float

    @classmethod
    def of(cls, name: Name, spec: AcceleratorSpec, cell: Cell) -> Memory:
        """Look a memory up; ``name`` is ``"spmat"``, ``"ptr"`` (one of both banks) or ``"act"``.

        Raises
        ------
        EnergyError
            If the CACTI table does not span it.
        """
        ours, theirs = sram_of(name, spec, cell), reference_sram(name, cell)
        return cls(
            read=ours.read_pj / theirs.read_pj,
            leakage=ours.leakage_mw / theirs.leakage_mw,
            write_over_read=ours.write_pj / ours.read_pj,
        )
