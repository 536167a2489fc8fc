"""Joules: what a layer's actions, cycles and time cost.

Comes in: an `Activity` and the spec. Goes out: an `Estimate`, nanojoules by unit. Read by the report. Joules are
computed here once, from integer counts, and nowhere else.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal, get_args

import numpy as np
from numpy.typing import NDArray

from eie.activity import Activity
from eie.energy.prices import ACTIONS, READINGS, Prices, prices, prices_pj
from eie.energy.sizes import PE_UNITS
from eie.energy.tables import TABLE_NAME, Cell, published_table
from eie.errors import EnergyError
from eie.show.face import View
from eie.show.numbers import number
from eie.show.sections import Column, Grid, Section, Value
from eie.spec import AcceleratorSpec

Method = Literal["published-power", "activity"]
METHODS: tuple[Method, ...] = get_args(Method)
# The first five are a PE's, in the order of Table II; the scanner and what lies outside the chip follow.
UNITS = (*PE_UNITS, "lnzd", "dram")
# Of an estimate: for each action, for each cycle of a PE's clock, for each microsecond, and outside the chip.
KINDS = ("dynamic", "clock", "leakage", "dram")
PerSample = NDArray[np.float64]


@dataclass(frozen=True, eq=False, kw_only=True, repr=False)
class Estimate(View):
    """Energy of one layer over N samples.

    Attributes
    ----------
    unit_nj
        The keys of `UNITS`, float64 (N,) each: nanojoules of every sample.
    kind_nj
        The same by `KINDS`; empty by published power, which does not tell them apart.
    bounds_nj
        float64 (N,) each: all units by the two readings of what is static; their mean is ``nj``. Empty by published
        power.
    table, method, cell
        What it was computed with.
    """

    layer: str
    unit_nj: Mapping[str, PerSample]
    kind_nj: Mapping[str, PerSample] = field(default_factory=dict)
    bounds_nj: tuple[PerSample, ...] = ()
    table: str
    method: Method
    cell: Cell

    @property
    def nj(self) -> PerSample:
        """float64 (N,): nanojoules of every sample, all units."""
        total: PerSample = np.sum(list(self.unit_nj.values()), axis=0)
        return total

    @property
    def low_nj(self) -> float:
        """Nanojoules a sample by the reading that makes it less."""
        return min(bounds_of([self]))

    @property
    def high_nj(self) -> float:
        """Nanojoules a sample by the reading that makes it more."""
        return max(bounds_of([self]))

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


def bounds_of(estimates: Sequence[Estimate]) -> tuple[float, ...]:
    """Return nanojoules a sample of layers together, by each reading; by published power the one total there is."""
    # Added up by reading before the smaller is taken: the smallest of each layer would be no reading of the whole.
    readings = zip(*(each.bounds_nj or (each.nj,) for each in estimates), strict=True)
    return tuple(float(sum(layer.mean() for layer in reading)) for reading in readings)


def estimate(
    activity: Activity, spec: AcceleratorSpec, method: Method = "activity", cell: Cell = "itrs-lop"
) -> Estimate:
    """Price a layer.

    Parameters
    ----------
    method
        ``"activity"``: every action, every cycle of every PE's clock and all the time has a price, see
        `eie.energy.prices`; the mean of two readings of what is static. ``"published-power"``, the paper's way: time x
        (PEs x 9.157 mW + LNZD units x 0.023 mW), scaled with the clock and the node, whatever happens.
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
        time_us: PerSample = activity.total_cycles / spec.clock_mhz
        unit_nj = {unit: np.multiply(mw, time_us) for unit, mw in powers_mw(spec).items()}
        return Estimate(
            layer=activity.layer, unit_nj={**unit_nj, "dram": dram}, table=TABLE_NAME, method=method, cell=cell
        )
    if method != "activity":
        raise EnergyError(f"energy method {method!r}: must be one of {', '.join(METHODS)}")
    # None of the two readings is known to be right: both are made, and the mean of them is the estimate.
    readings = [_cells(activity, spec, prices(spec, cell, reading)) for reading in READINGS]
    mean = {
        key: sum((cells[key] for cells in readings), np.zeros(activity.samples)) / len(readings) for key in readings[0]
    }
    return Estimate(
        layer=activity.layer,
        unit_nj={unit: _sum(mean, unit, dram) for unit in UNITS},
        kind_nj={kind: _sum(mean, kind, dram) for kind in KINDS},
        bounds_nj=tuple(np.sum([*cells.values(), dram], axis=0) for cells in readings),
        table=TABLE_NAME,
        method=method,
        cell=cell,
    )


def _sum(cells: Mapping[tuple[str, str], PerSample], of: str, dram: PerSample) -> PerSample:
    """Add the cells of a unit or of a kind; DRAM is both."""
    if of == "dram":
        return dram
    total: PerSample = np.sum([nj for key, nj in cells.items() if of in key], axis=0)
    return total


def _cells(activity: Activity, spec: AcceleratorSpec, priced: Prices) -> dict[tuple[str, str], PerSample]:
    """Nanojoules of every sample on the chip by unit and kind, by one reading."""
    counts = activity.counts
    # What came for weights is written to the SRAM whole, bursts as they are; biases among it are counted alike.
    streamed = counts["dram_bits"] - counts["map_dram_bits"] + activity.reload_bits
    nj: dict[tuple[str, str], PerSample] = {(unit, "dynamic"): np.zeros(activity.samples) for unit in UNITS[:-1]}
    for action, pj in priced.action_pj.items():
        unit, counted = ACTIONS[action]
        times = sum(counts[name] for name in counted) if counted else streamed / spec.spmat_row_bits
        # pJ to nJ.
        nj[unit, "dynamic"] = np.add(nj[unit, "dynamic"], np.multiply(times, pj * 1e-3), dtype=np.float64)
    ticks = clocked(activity, spec)
    # mW x us = nJ. Leakage takes no rest, and does not care for the clock.
    time_us: PerSample = activity.total_cycles / spec.clock_mhz
    for unit in PE_UNITS:
        nj[unit, "clock"] = np.multiply(ticks, priced.clock_pj[unit] * 1e-3, dtype=np.float64)
        nj[unit, "leakage"] = np.multiply(time_us, priced.leakage_mw[unit], dtype=np.float64)
    return nj


def clocked(activity: Activity, spec: AcceleratorSpec) -> NDArray[np.int64]:
    """int64 (N,): cycles of PEs in which their clock ran, over all PEs."""
    if not spec.clock_gated:
        return activity.total_cycles * activity.n_pe
    # A PE that waits for an activation or a column stands still; while registers are filled from the SRAM all work.
    busy = activity.per_pe["issue"] + activity.per_pe["empty_column"]
    ticks: NDArray[np.int64] = busy.sum(axis=1) + activity.counts["act_batch_cycles"] * activity.n_pe
    return ticks


def loading_nj(spec: AcceleratorSpec, bits: int, cycles: int, cell: Cell = "itrs-lop") -> float:
    """Return what it takes to bring bits in from DRAM while all PEs wait, the mean of both readings.

    DRAM, the rows that are written, and for so many cycles clock and leakage: nothing else moves.

    Raises
    ------
    EnergyError
        For an SRAM that the CACTI table does not span.
    """
    priced = prices_pj(spec, cell)
    waiting = (0.0 if spec.clock_gated else priced["clock"]) + priced["leakage"]
    written = bits / spec.spmat_row_bits * priced["spmat_write"]
    # pJ to nJ.
    return (bits * spec.dram_pj_per_bit + written + waiting * cycles * spec.n_pe) * 1e-3


def powers_mw(spec: AcceleratorSpec) -> dict[str, float]:
    """Milliwatts of the whole machine by unit; the five units of a PE are scaled to its printed total."""
    table = published_table()
    # The five printed powers add up to 9.158 mW, the printed total is 9.157: the total is what the paper multiplies
    # with.
    printed = sum(table[f"{unit}.power"] for unit in PE_UNITS)
    # All of the printed power is taken to go with the clock; how much of it leaks is not known. The node's factor is
    # energy over energy at 45 nm, from the paper's own 28 nm machine.
    scale = table[f"node.{spec.node_nm}"] * spec.clock_mhz / table["reference.clock"]
    pe_scale = scale * spec.n_pe * table["pe.power"] / printed
    powers = {unit: table[f"{unit}.power"] * pe_scale for unit in PE_UNITS}
    # The scanner stands beside the PEs, not in the printed total of one, so it takes the plain scale.
    return {**powers, "lnzd": table["lnzd.power"] * spec.lnzd_units * scale}
