"""Table II's power and area, by unit and kind at once: what each unit spends on memory, clock, registers and logic.

Comes in: the published margins, CACTI's ratios and counts of bits. Goes out: `UnitPower` and `UnitArea`, both derived.
Read by `prices` and `area`.

The paper prints the sums of each unit and those of each kind, not the cells. They are filled here so that both margins
are met: memory by CACTI, the rest by proportional fitting from bits of registers and logic. docs/energy.md has both
tables and says what of them is known.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache

from eie.energy.memories import reference_sram
from eie.energy.sizes import PE_UNITS, logic_bits, register_bits
from eie.energy.tables import published_table
from eie.spec import EIE_64PE

KINDS = ("memory", "clock_network", "register", "combinational")
# Fitting halves its error several times a round; far fewer do.
_ROUNDS = 200


@dataclass(frozen=True, kw_only=True)
class UnitPower:
    """Milliwatts of a unit of one PE on AlexNet fc8, 45 nm, 800 MHz.

    ``leakage`` is the part of ``memory`` that CACTI's low-operating-power cell would leak: the most that is static.
    """

    memory: float
    clock_network: float
    register: float
    combinational: float
    leakage: float


@dataclass(frozen=True, kw_only=True)
class UnitArea:
    """Square micrometres of a unit of one PE at 45 nm."""

    memory: float
    clock_network: float
    register: float
    combinational: float


@cache
def unit_powers() -> Mapping[str, UnitPower]:
    """Return Table II's power by unit and kind; both margins are the printed ones."""
    table = published_table()
    # The printed units add up to 9.158 mW, the printed total and the kinds to 9.157.
    printed = {unit: table[f"{unit}.power"] for unit in PE_UNITS}
    scale = table["pe.power"] / sum(printed.values())
    leakage, switched = _memory_mw()
    # What leaks is taken as CACTI has it; what its reads and writes would take is scaled to what is then left.
    left = (table["memory.power"] - sum(leakage.values())) / sum(switched.values())
    memory = {unit: leakage[unit] + left * switched[unit] for unit in PE_UNITS}
    registers, logic = register_bits(EIE_64PE), logic_bits(EIE_64PE)
    rest = fitted(
        # Every register hangs on the clock, so clock and registers begin alike.
        [[registers[unit], registers[unit], logic[unit]] for unit in PE_UNITS],
        rows=[printed[unit] * scale - memory[unit] for unit in PE_UNITS],
        columns=[table[f"{kind}.power"] for kind in KINDS[1:]],
    )
    return {
        unit: UnitPower(
            memory=memory[unit],
            **dict(zip(KINDS[1:], cells, strict=True)),
            leakage=leakage[unit],
        )
        for unit, cells in zip(PE_UNITS, rest, strict=True)
    }


@cache
def unit_areas() -> Mapping[str, UnitArea]:
    """Return Table II's area by unit and kind, filler cells apart; both margins are the printed ones."""
    table = published_table()
    registers, logic = register_bits(EIE_64PE), logic_bits(EIE_64PE)
    macros = {
        "ptr_read": 2 * reference_sram("ptr").area_mm2,
        "spmat_read": reference_sram("spmat").area_mm2,
        "act_rw": reference_sram("act").area_mm2,
    }
    cells = fitted(
        [[macros.get(unit, 0.0), registers[unit], registers[unit], logic[unit]] for unit in PE_UNITS],
        rows=[table[f"{unit}.area"] for unit in PE_UNITS],
        columns=[table[f"{kind}.area"] for kind in KINDS],
    )
    return {unit: UnitArea(**dict(zip(KINDS, row, strict=True))) for unit, row in zip(PE_UNITS, cells, strict=True)}


def _memory_mw() -> tuple[dict[str, float], dict[str, float]]:
    """Milliwatts by unit on fc8 as CACTI has them: what leaks, and what reads and writes take."""
    table = published_table()
    spmat, ptr, act = (reference_sram(name) for name in ("spmat", "ptr", "act"))
    # Counts are of all PEs: pJ / us = uW, and 1e-3 makes mW of them.
    per_pe = 1e-3 / (table["calibration.n_pe"] * table["calibration.time"])
    act_pj = table["calibration.act_sram_reads"] * act.read_pj + table["calibration.act_sram_writes"] * act.write_pj
    none = dict.fromkeys(PE_UNITS, 0.0)
    leakage = {"ptr_read": 2 * ptr.leakage_mw, "spmat_read": spmat.leakage_mw, "act_rw": act.leakage_mw}
    switched = {
        # Odd and even columns lie in banks of their own, and a read takes a word of each.
        "ptr_read": table["calibration.ptr_reads"] * 2 * ptr.read_pj * per_pe,
        "spmat_read": table["calibration.spmat_reads"] * spmat.read_pj * per_pe,
        "act_rw": act_pj * per_pe,
    }
    return {**none, **leakage}, {**none, **switched}


def fitted(start: Sequence[Sequence[float]], *, rows: Sequence[float], columns: Sequence[float]) -> list[list[float]]:
    """Scale rows and columns of a matrix in turn until it has the sums asked for (iterative proportional fitting).

    Of all matrices with these sums it is the nearest to ``start`` in relative entropy.
    """
    cells = [list(row) for row in start]
    for _ in range(_ROUNDS):
        for row, wanted in zip(cells, rows, strict=True):
            scale = wanted / sum(row)
            row[:] = [cell * scale for cell in row]
        for i, wanted in enumerate(columns):
            scale = wanted / sum(row[i] for row in cells)
            for row in cells:
                row[i] *= scale
    return cells
