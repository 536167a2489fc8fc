"""Joules: what a layer's actions or its time cost.

Comes in: an `Activity` and the spec. Goes out: an `Estimate`, nanojoules by unit. Read by the report. Joules are
computed here once, from integer counts, and nowhere else.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
from numpy.typing import NDArray

from eie.activity import Activity
from eie.energy.tables import TABLE_NAME, Cell, published_table, sram
from eie.errors import EnergyError
from eie.show.face import View
from eie.show.numbers import number
from eie.show.sections import Column, Grid, Section, Value
from eie.spec import AcceleratorSpec

Method = Literal["published-power", "activity"]
METHODS: tuple[Method, ...] = get_args(Method)
# The first five are a PE's, in the order of Table II; the scanner and what lies outside the chip follow.
UNITS = ("act_queue", "ptr_read", "spmat_read", "arithm", "act_rw", "lnzd", "dram")


@dataclass(frozen=True, eq=False, kw_only=True, repr=False)
class Estimate(View):
    """Energy of one layer over N samples.

    Attributes
    ----------
    unit_nj
        The keys of `UNITS`, float64 (N,) each: nanojoules of every sample.
    table, method, cell
        What it was computed with.
    """

    layer: str
    unit_nj: Mapping[str, NDArray[np.float64]]
    table: str
    method: Method
    cell: Cell

    @property
    def nj(self) -> NDArray[np.float64]:
        """float64 (N,): nanojoules of every sample, all units."""
        total: NDArray[np.float64] = np.sum(list(self.unit_nj.values()), axis=0)
        return total

    def headline(self) -> str:
        """Say what the layer costs, and by which method."""
        return f"{self.layer}: {number(float(self.nj.mean()))} nJ a sample by {self.method}, table {self.table}"

    def sections(self) -> tuple[Section, ...]:
        """Return nanojoules a sample by unit."""
        columns = (Column("unit", "unit", "text"), Column("nj", "nJ a sample"))
        rows: tuple[dict[str, Value], ...] = tuple(
            {"unit": unit, "nj": float(nj.mean())} for unit, nj in self.unit_nj.items()
        )
        total: dict[str, Value] = {"unit": "total", "nj": float(self.nj.mean())}
        return (Section(name="energy", grids=(Grid(columns=columns, rows=rows, total=total),)),)


def estimate(
    activity: Activity, spec: AcceleratorSpec, method: Method = "activity", cell: Cell = "itrs-lop"
) -> Estimate:
    """Price a layer.

    Parameters
    ----------
    method
        ``"published-power"``: time x (PEs x 9.157 mW + LNZD units x 0.023 mW), scaled with the clock and the node;
        SRAM sizes do not enter. ``"activity"``: each action has a price, see `prices_pj`.
    cell
        CACTI memory cell by which SRAM prices are scaled to other sizes and widths.

    Raises
    ------
    EnergyError
        For an unknown method, or an SRAM that the CACTI table does not span.
    """
    # Bits x pJ a bit = pJ; 1e-3 makes nJ of them. Both methods add it: the published power is that of the chip alone.
    bits = activity.reload_bits + activity.counts["dram_bits"]
    dram = bits.astype(np.float64) * spec.dram_pj_per_bit * 1e-3
    if method == "published-power":
        # Cycles / MHz = us, and mW x us = nJ: no factor is needed. Every cycle costs the same here, waiting included.
        time_us: NDArray[np.float64] = activity.total_cycles / spec.clock_mhz
        unit_nj = {unit: np.multiply(mw, time_us) for unit, mw in powers_mw(spec).items()}
    elif method == "activity":
        prices = prices_pj(spec, cell)
        # A pointer read is one activation out of one queue, so both are counted by it. Padding entries issue but write
        # nothing, so arithmetic and accumulators go by multiply-adds, not by entries.
        events = {
            "act_queue": activity.counts["ptr_reads"],
            "ptr_read": activity.counts["ptr_reads"],
            "spmat_read": activity.counts["spmat_reads"],
            "arithm": activity.counts["macs"],
            # A bias is read from the activation SRAM and written to its accumulator; a sum is read and written.
            "act_rw": activity.counts["macs"] + activity.counts["bias_writes"],
            "lnzd": activity.counts["broadcasts"],
        }
        unit_nj = {unit: count * prices[unit] * 1e-3 for unit, count in events.items()}
        # The SRAM is a part of the unit. No price: residency is ideal, and nothing of it was counted.
        rows = activity.counts["act_sram_reads"] + activity.counts["act_sram_writes"]
        unit_nj["act_rw"] = unit_nj["act_rw"] + rows * prices.get("act_sram", 0.0) * 1e-3
    else:
        raise EnergyError(f"energy method {method!r}: must be one of {', '.join(METHODS)}")
    return Estimate(layer=activity.layer, unit_nj={**unit_nj, "dram": dram}, table=TABLE_NAME, method=method, cell=cell)


def powers_mw(spec: AcceleratorSpec) -> dict[str, float]:
    """Milliwatts of the whole machine by unit; the five units of a PE are scaled to its printed total."""
    table = published_table()
    units = UNITS[:5]
    # The five printed powers add up to 9.158 mW, the printed total is 9.157: the total is what the paper multiplies
    # with.
    printed = sum(table[f"{unit}.power"] for unit in units)
    # All of the printed power is taken to go with the clock; how much of it leaks is not known. The node's factor is
    # energy over energy at 45 nm, from the paper's own 28 nm machine.
    scale = table[f"node.{spec.node_nm}"] * spec.clock_mhz / table["reference.clock"]
    pe_scale = scale * spec.n_pe * table["pe.power"] / printed
    powers = {unit: table[f"{unit}.power"] * pe_scale for unit in units}
    # The scanner stands beside the PEs, not in the printed total of one, so it takes the plain scale.
    return {**powers, "lnzd": table["lnzd.power"] * spec.lnzd_units * scale}


def prices_pj(spec: AcceleratorSpec, cell: Cell = "itrs-lop") -> dict[str, float]:
    """Picojoules of one action of each unit.

    A unit's power in Table II x PEs x time / actions, on the calibrating run (AlexNet fc8): 31.1 pJ for a 64-bit row of
    the sparse matrix. SRAM prices are scaled to the spec's sizes and widths by CACTI's ratio; LNZD by its units.

    ``act_sram`` is a row of the activation SRAM, read or written: the sparse matrix's row, scaled so. The printed power
    of ``act_rw`` contains that SRAM, so what the calibrating run reads and writes there is taken out of its price a
    multiply-add. An SRAM below 2 KiB or 16 bits is priced as one of that size. Where residency is ideal nobody counts
    those rows: they have no price, and nothing is taken out.
    """
    table = published_table()
    node = table[f"node.{spec.node_nm}"]
    # mW x us = nJ, and 1e3 makes pJ of them.
    mw_to_pj = table["calibration.time"] * 1e3 * node

    def price(unit: str, machines: str, actions: str) -> float:
        return table[f"{unit}.power"] * table[f"calibration.{machines}"] * mw_to_pj / table[f"calibration.{actions}"]

    # The price of a read moves with the memory; that of logic does not: spec fields that change no memory change no
    # price.
    spmat = _sram_ratio(
        wanted=(spec.spmat_kib, spec.spmat_row_bits),
        reference=(table["reference.spmat"], table["reference.spmat_row"]),
        spec=spec,
        cell=cell,
    )
    ptr = _sram_ratio(
        # Two banks, even and odd columns: one is half of the SRAM, and a read takes one word of each.
        wanted=(spec.ptr_kib / 2, spec.ptr_bits),
        reference=(table["reference.ptr"] / 2, table["reference.ptr_width"]),
        spec=spec,
        cell=cell,
    )
    prices = {
        "act_queue": price("act_queue", "n_pe", "ptr_reads"),
        "ptr_read": price("ptr_read", "n_pe", "ptr_reads") * ptr,
        "spmat_read": price("spmat_read", "n_pe", "spmat_reads") * spmat,
        "arithm": price("arithm", "n_pe", "macs"),
        "act_rw": price("act_rw", "n_pe", "macs"),
        # The price is that of the calibrating machine's 21 units, a quadtree over 64 PEs; another machine's tree has
        # more or fewer.
        "lnzd": price("lnzd", "lnzd", "broadcasts") * spec.lnzd_units / table["calibration.lnzd"],
    }
    if spec.residency == "ideal":
        return prices

    def act_sram(kib: float, width: int) -> float:
        # CACTI's table begins at 2 KiB and 16 bits: what is smaller is priced as that, which is no less.
        kib, width = max(kib, 2), max(width, 16)
        reference = table["reference.spmat"], table["reference.spmat_row"]
        ratio = _sram_ratio(wanted=(kib, width), reference=reference, spec=spec, cell=cell)
        return price("spmat_read", "n_pe", "spmat_reads") * ratio

    printed = act_sram(table["reference.act"], int(table["reference.act_row"]))
    prices["act_rw"] -= printed * table["calibration.act_sram"] / table["calibration.macs"]
    prices["act_sram"] = act_sram(spec.act_kib, spec.act_row_bits)
    return prices


def timing_notes(spec: AcceleratorSpec, cell: Cell = "itrs-lop") -> tuple[str, ...]:
    """Say which SRAM of the spec cannot be read once a cycle at its clock."""
    notes = []
    # 1 / MHz = us, and 1e3 makes ns of them.
    period_ns = 1e3 / spec.clock_mhz
    for name, kib, width in (
        ("sparse-matrix", spec.spmat_kib, spec.spmat_row_bits),
        ("pointer bank", spec.ptr_kib / 2, spec.ptr_bits),
    ):
        try:
            memory = sram(kib=kib, width_bits=width, node_nm=spec.node_nm, cell=cell)
        except EnergyError as error:
            notes.append(f"{name} SRAM: {error}; its clock is not checked")
            continue
        if memory.interpolated:
            notes.append(f"{name} SRAM {kib:g} KiB x {width} bits lies between CACTI's rows: interpolated")
        if memory.cycle_ns > period_ns:
            # Below 45 nm CACTI's 32 nm rows stand in: its table ends there, see `tables.sram`.
            node = 45 if spec.node_nm == 45 else 32
            notes.append(
                f"{name} SRAM {kib:g} KiB x {width} bits ({cell}, {node} nm): CACTI 7 gives a cycle of "
                f"{memory.cycle_ns:.2f} ns, too slow for {period_ns:.2f} ns at {spec.clock_mhz:g} MHz"
            )
    return tuple(notes)


def _sram_ratio(wanted: tuple[float, int], reference: tuple[float, float], spec: AcceleratorSpec, cell: Cell) -> float:
    # The machine of the paper needs no CACTI row and gets the printed figures to the digit.
    if np.array_equal(wanted, reference):
        return 1.0
    ours = sram(*wanted, spec.node_nm, cell)
    return ours.read_pj / sram(kib=reference[0], width_bits=int(reference[1]), node_nm=spec.node_nm, cell=cell).read_pj
