"""What things cost on a machine: an action, a cycle of a PE's clock, a microsecond of leakage.

Comes in: a spec. Goes out: `Prices`, by one of two readings of what is static. Read by `estimate`; flat for reports.

Every price is a cell of `split.unit_powers` x time / actions on the calibrating run (AlexNet fc8), scaled by the spec's
memories (CACTI's ratio), by bits of registers and logic, and by the node's factor. docs/energy.md writes them out.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal, get_args

from eie.energy.area import area_mm2
from eie.energy.memories import Memory, Name, reference_sram
from eie.energy.sizes import PE_UNITS, extra_wire_mm, logic_ratio, register_ratio, slot_bits, slot_ratio
from eie.energy.split import UnitPower, unit_powers
from eie.energy.tables import Cell, published_table
from eie.spec import AcceleratorSpec

# What of the memories' power is static: nothing, or what CACTI's low-operating-power cell leaks. Which, is not known.
Reading = Literal["none", "lop"]
READINGS: tuple[Reading, ...] = get_args(Reading)

# Action: the unit whose energy it is, and the counts of an `Activity` that add up to how often it was done.
ACTIONS: Mapping[str, tuple[str, tuple[str, ...]]] = {
    # A pointer read is one activation out of one queue, into which it was written once: both are counted by it.
    "act_queue": ("act_queue", ("ptr_reads",)),
    "ptr_read": ("ptr_read", ("ptr_reads",)),
    "spmat_read": ("spmat_read", ("spmat_reads",)),
    # Choosing an entry out of its row; padding is chosen as well.
    "entry": ("spmat_read", ("entries",)),
    # Padding entries issue but write nothing, so arithmetic and accumulators go by multiply-adds, not by entries.
    "arithm": ("arithm", ("macs",)),
    # A sum is read and written; one that starts from a bias is written, and the bias read.
    "act_rw": ("act_rw", ("macs", "bias_writes")),
    "act_sram_read": ("act_rw", ("act_sram_reads",)),
    "act_sram_write": ("act_rw", ("act_sram_writes",)),
    "lnzd": ("lnzd", ("broadcasts",)),
    # Bits that came for weights, in rows of the SRAM they are written to; counted by `estimate`.
    "spmat_write": ("spmat_read", ()),
}


@dataclass(frozen=True, kw_only=True)
class Prices:
    """Prices on one machine by one reading.

    Attributes
    ----------
    action_pj
        Picojoules of an action, by the keys of `ACTIONS`. With ideal residency rows of the activation SRAM have none:
        nobody counts them, and ``act_rw`` contains what fc8 moves.
    clock_pj
        Picojoules of a cycle of one PE's clock, by unit.
    leakage_mw
        Milliwatts of all PEs, by unit, whatever they do.
    """

    action_pj: Mapping[str, float]
    clock_pj: Mapping[str, float]
    leakage_mw: Mapping[str, float]


def prices(spec: AcceleratorSpec, cell: Cell = "itrs-lop", reading: Reading = "none") -> Prices:
    """Return a machine's prices.

    Parameters
    ----------
    cell
        CACTI memory cell by which reads and writes are scaled to other sizes and widths. Leakage is always lop's.
    reading
        How much of the memories' power in Table II is static: ``"none"``, or what ``"lop"`` leaks.

    Raises
    ------
    EnergyError
        For an SRAM that the CACTI table does not span.
    """
    # No price depends on the clock, and a sweep varies it more than anything else.
    return _prices(spec.model_copy(update={"clock_mhz": published_table()["reference.clock"]}), cell, reading)


# Every layer of every point asks; a sweep's points come machine by machine.
@lru_cache(maxsize=1024)
def _prices(spec: AcceleratorSpec, cell: Cell, reading: Reading) -> Prices:
    table = published_table()
    node = table[f"node.{spec.node_nm}"]
    registers = register_ratio(spec)
    # mW / MHz = nJ, and 1e3 makes pJ of it.
    clock = {
        unit: power.clock_network * 1e3 / table["reference.clock"] * registers[unit] * node
        for unit, power in unit_powers().items()
    }
    leakage = _leakage_mw(spec) if reading == "lop" else dict.fromkeys(PE_UNITS, 0.0)
    return Prices(action_pj=_actions_pj(spec, cell, reading), clock_pj=clock, leakage_mw=leakage)


def prices_pj(spec: AcceleratorSpec, cell: Cell = "itrs-lop") -> dict[str, float]:
    """Return every price in picojoules, the mean of both readings: of an action, and of a cycle of one PE.

    ``clock`` and ``leakage`` are those of all units of a PE, the latter at the spec's clock.

    Raises
    ------
    EnergyError
        For an SRAM that the CACTI table does not span.
    """
    both = [prices(spec, cell, reading) for reading in READINGS]
    actions = {name: sum(each.action_pj[name] for each in both) / len(both) for name in both[0].action_pj}
    leakage_mw = sum(sum(each.leakage_mw.values()) for each in both) / len(both)
    # mW / MHz = nJ.
    return {
        **actions,
        "clock": sum(both[0].clock_pj.values()),
        "leakage": leakage_mw * 1e3 / spec.clock_mhz / spec.n_pe,
    }


def _actions_pj(spec: AcceleratorSpec, cell: Cell, reading: Reading) -> dict[str, float]:
    table = published_table()
    node = table[f"node.{spec.node_nm}"]
    powers, registers, logic = unit_powers(), register_ratio(spec), logic_ratio(spec)
    memories = {name: Memory.of(name, spec, cell) for name in get_args(Name)}

    def memory_mw(unit: str) -> float:
        return powers[unit].memory - (powers[unit].leakage if reading == "lop" else 0.0)

    def per_action(milliwatts: float, actions: str) -> float:
        # mW x us = nJ of one PE; 1e3 makes pJ of them. Counts are of all PEs.
        nj = milliwatts * table["calibration.n_pe"] * table["calibration.time"]
        return nj * 1e3 * node / table[f"calibration.{actions}"]

    def switched(unit: str, actions: str, *, registers_too: bool = True, logic_too: bool = True) -> float:
        """Price what the unit's registers and logic do in an action."""
        power: UnitPower = powers[unit]
        return per_action(
            registers_too * power.register * registers[unit] + logic_too * power.combinational * logic[unit], actions
        )

    row = per_action(memory_mw("spmat_read"), "spmat_reads") * memories["spmat"].read
    priced = {
        "act_queue": switched("act_queue", "ptr_reads"),
        "ptr_read": per_action(memory_mw("ptr_read"), "ptr_reads") * memories["ptr"].read
        + switched("ptr_read", "ptr_reads"),
        # The row register takes a row, the logic behind it an entry.
        "spmat_read": row + switched("spmat_read", "spmat_reads", logic_too=False),
        "entry": switched("spmat_read", "macs", registers_too=False),
        "arithm": switched("arithm", "macs"),
        "act_rw": switched("act_rw", "macs"),
        "lnzd": table["lnzd.power"] * spec.lnzd_units * slot_ratio(spec) * table["calibration.time"] * 1e3 * node
        / table["calibration.broadcasts"] + _wires_pj(spec, cell),
        "spmat_write": row * memories["spmat"].write_over_read,
    }  # fmt: skip
    if spec.residency == "ideal":
        # No rows are counted there, and Table II's power contains them: they go by what is counted.
        priced["act_rw"] += per_action(memory_mw("act_rw"), "macs") * memories["act"].read
        return priced
    reference = reference_sram("act", cell)
    # On fc8 reads and writes together take the unit's memory power; how they share it is CACTI's ratio.
    weighted = table["calibration.act_sram_reads"] + table["calibration.act_sram_writes"] * (
        reference.write_pj / reference.read_pj
    )
    read = memory_mw("act_rw") * table["calibration.n_pe"] * table["calibration.time"] * 1e3 * node / weighted
    read *= memories["act"].read
    return {**priced, "act_sram_read": read, "act_sram_write": read * memories["act"].write_over_read}


def _wires_pj(spec: AcceleratorSpec, cell: Cell) -> float:
    """Of a broadcast, beyond what 64 PEs have among them."""
    # No area is asked for where there is no such wire: it may not exist.
    if spec.n_pe <= published_table()["calibration.n_pe"]:
        return 0.0
    table = published_table()
    # At the node itself wires are shorter, and that is in the area; a millimetre takes less by the lower voltage.
    areas = area_mm2(spec, cell)
    pe_mm2 = (sum(areas.values()) - areas["lnzd"]) / spec.n_pe
    node = table[f"node.{spec.node_nm}"]
    return slot_bits(spec) * extra_wire_mm(spec, pe_mm2) * table["wire.energy"] * node


def _leakage_mw(spec: AcceleratorSpec) -> dict[str, float]:
    """Leakage of all PEs by unit, if their memories are CACTI's low-operating-power cell at 45 nm."""
    node = published_table()[f"node.{spec.node_nm}"]
    units: Mapping[str, Name] = {"ptr_read": "ptr", "spmat_read": "spmat", "act_rw": "act"}
    # By the node's factor, never by CACTI's row of another node: its leakage at 32 nm alone exceeds what the paper's
    # own machine at 28 nm takes.
    return {
        unit: unit_powers()[unit].leakage * Memory.of(units[unit], spec, "itrs-lop").leakage * node * spec.n_pe
        if unit in units
        else 0.0
        for unit in PE_UNITS
    }
