"""Tables II and V: power, area, and what they buy.

Comes in: a `Bench`. Goes out: a `Section` each. Read by `reproduce`.
"""

from __future__ import annotations

import numpy as np

from eie.energy.area import area_mm2
from eie.energy.estimate import estimate, powers_mw
from eie.energy.tables import sram
from eie.show.sections import Column, Grid, Section, Value, deviation
from eie.spec import EIE_64PE, EIE_256PE, AcceleratorSpec
from eie.studies.paper.bench import MASKS, REAL_LAYER, Bench, Mask, as_printed
from eie.studies.paper.published import Published

UNITS = {
    "act_queue": "act_queue",
    "ptr_read": "ptr_read",
    "spmat_read": "spmat_read",
    "arithm_unit": "arithm",
    "act_rw": "act_rw",
}
FC7 = "Alex-7"
COMPARED = (
    Column("what", "", "prose"),
    Column("printed", "printed"),
    Column("ours", "ours"),
    Column("deviation", "dev.", "deviation"),
)


def table2(bench: Bench) -> Section:
    """Power and area of one PE by unit, and of the chip."""
    bench.prepare(["spread"], [EIE_64PE])
    printed, spec = bench.published, EIE_64PE
    areas = area_mm2(spec)
    power = {name: _unit_mw(bench, name, bench.best_mask(name)) for name in printed.layers}
    rows: list[dict[str, Value]] = []
    for row, unit in {**UNITS, "lnzd_unit": "lnzd"}.items():
        # Table II prints one unit of each kind; an LNZD unit serves several PEs, so there are fewer of them than PEs.
        machines = spec.n_pe if unit != "lnzd" else spec.lnzd_units
        mean = float(np.mean([by_unit[unit] for by_unit in power.values()])) / machines
        fc8 = power[REAL_LAYER][unit] / machines
        rows.append(_unit_row(name=row, printed=printed, fc8_mw=fc8, mean_mw=mean, um2=1e6 * areas[unit] / machines))
    # mm2 to um2. The printed total of a PE leaves the LNZD tree out, so ours does too, here and in the power below.
    pe_area = 1e6 * (sum(areas.values()) - areas["lnzd"]) / spec.n_pe
    fc8_total, mean_total = (sum(float(row[key] or 0) for row in rows[:-1]) for key in ("fc8_mw", "mean_mw"))
    rows.append(_unit_row(name="total", printed=printed, fc8_mw=fc8_total, mean_mw=mean_total, um2=pe_area))
    columns = (
        Column("unit", "unit of one PE", "text"),
        Column("printed_mw", "printed mW"),
        Column("fc8_mw", f"ours on {REAL_LAYER}"),
        Column("fc8_deviation", "dev.", "deviation"),
        Column("mean_mw", "mean of 9 layers"),
        Column("mean_deviation", "dev.", "deviation"),
        Column("printed_um2", "printed um2"),
        Column("ours_um2", "ours um2"),
        Column("area_deviation", "dev.", "deviation"),
    )
    notes = (
        "Power: actions of each layer priced by activity, over its time. The prices were calibrated on the public data "
        f"of {REAL_LAYER}, so on that data (--fc8) the units agree by construction; the other layers are the test.",
        "Area by unit is the printed figure itself; what can be checked is the memory, by CACTI 7.",
    )
    grids = (
        Grid(caption="One PE, 45 nm, 800 MHz", columns=columns, rows=tuple(rows)),
        _chip_grid(bench),
        _cacti_grid(printed),
    )
    return Section(name="table2", title="Table II: power and area by unit", grids=grids, notes=notes)


def _unit_mw(bench: Bench, layer: str, mask: Mask) -> dict[str, float]:
    """Milliwatts of the whole machine by unit while it runs a layer, by activity."""
    activity = bench.activity(layer, mask)
    time_us = bench.actual_us(layer, mask)
    # nJ / us = mW
    return {unit: float(nj[0]) / time_us for unit, nj in estimate(activity, as_printed(EIE_64PE)).unit_nj.items()}


def _unit_row(name: str, printed: Published, fc8_mw: float, mean_mw: float, um2: float) -> dict[str, Value]:
    mw, area = printed.units_mw[name], printed.units_um2[name]
    return {
        "unit": name,
        "printed_mw": mw,
        "fc8_mw": fc8_mw,
        "fc8_deviation": deviation(fc8_mw, mw),
        "mean_mw": mean_mw,
        "mean_deviation": deviation(mean_mw, mw),
        "printed_um2": area,
        "ours_um2": um2,
        "area_deviation": deviation(um2, area),
    }


def _compared(what: str, printed: float, ours: float) -> dict[str, Value]:
    return {"what": what, "printed": printed, "ours": ours, "deviation": deviation(ours, printed)}


def _chip_grid(bench: Bench) -> Grid:
    spec, chip = EIE_64PE, bench.published.chip
    # a multiply and an add a PE and cycle; MHz x 1e-3 = GHz
    operations = 2 * spec.n_pe * spec.clock_mhz * 1e-3
    rows = (
        _compared("area, mm2", chip["mm2"], sum(area_mm2(spec).values())),
        _compared("power, mW (published-power)", chip["mw"], sum(powers_mw(spec).values())),
        _compared("peak, GOP/s (2 a MAC)", chip["gops"], operations),
    )
    return Grid(caption="The chip of 64 PEs", columns=COMPARED, rows=rows)


def _cacti_grid(printed: Published) -> Grid:
    """SRAM macros by CACTI 7 against the printed units that hold them."""
    spmat, ptr, act = (
        sram(kib=128, width_bits=64, node_nm=45, cell="itrs-lop"),
        sram(kib=16, width_bits=16, node_nm=45, cell="itrs-lop"),
        sram(kib=2, width_bits=16, node_nm=45, cell="itrs-lop"),
    )
    area = printed.units_um2
    rows = (
        _compared("spmat_read, um2: 128 KiB x 64 bits", area["spmat_read"], 1e6 * spmat.area_mm2),
        # odd and even columns sit in banks of their own: 32 KiB are two macros, hence 2e6 and not 1e6
        _compared("ptr_read, um2: two banks of 16 KiB x 16 bits", area["ptr_read"], 2e6 * ptr.area_mm2),
        _compared("memory, um2: all four", area["memory"], 1e6 * (spmat.area_mm2 + 2 * ptr.area_mm2 + act.area_mm2)),
    )
    return Grid(caption="SRAM area by CACTI 7 (itrs-lop, 45 nm), independent of the paper", columns=COMPARED, rows=rows)


def table5(bench: Bench) -> Section:
    """Frames a second, per square millimetre and per joule on AlexNet FC7, for 64 and 256 PEs."""
    bench.prepare(MASKS, [EIE_64PE, EIE_256PE])
    rows = [row for spec in (EIE_64PE, EIE_256PE) for row in _machine_rows(bench, spec)]
    columns = (
        Column("machine", "machine", "text"),
        Column("what", "", "prose"),
        Column("printed", "printed"),
        Column("random", "random masks"),
        Column("random_deviation", "dev.", "deviation"),
        Column("spread", "measured spread"),
        Column("spread_deviation", "dev.", "deviation"),
    )
    notes = ("Power of 256 PEs at 28 nm is calibrated to the printed 2.36 W; frames/J by activity is not.",)
    grids = (Grid(caption="AlexNet FC7", columns=columns, rows=tuple(rows), keys=2), _machines_grid(bench))
    return Section(name="table5", title="Table V: throughput, area and energy efficiency", grids=grids, notes=notes)


def _machine_rows(bench: Bench, spec: AcceleratorSpec) -> list[dict[str, Value]]:
    machine = bench.published.platform(f"EIE {spec.n_pe}PE")
    area, power_w = sum(area_mm2(spec).values()), sum(powers_mw(spec).values()) * 1e-3
    # Table V has no area for some machines; with ours in its place the density row still compares like with like
    printed_area = machine.area_mm2 or area
    # one frame a batch-1 pass: 1e6 us in a second; 1e-9 turns nJ into J
    frames = {mask: 1e6 / bench.actual_us(FC7, mask, spec) for mask in MASKS}
    joules = {mask: 1e-9 * float(estimate(bench.activity(FC7, mask, spec), as_printed(spec)).nj[0]) for mask in MASKS}
    listed: list[tuple[str, float, dict[Mask, float]]] = [
        ("frames/s", machine.frames_per_s, frames),
        ("area, mm2", printed_area, dict.fromkeys(MASKS, area)),
        ("power, W", machine.power_w, dict.fromkeys(MASKS, power_w)),
        (
            "frames/s/mm2",
            machine.frames_per_s / printed_area,
            {mask: rate / area for mask, rate in frames.items()},
        ),
        (
            "frames/J, by published-power",
            machine.frames_per_joule,
            {mask: rate / power_w for mask, rate in frames.items()},
        ),
        ("frames/J, by activity", machine.frames_per_joule, {mask: 1 / used for mask, used in joules.items()}),
    ]
    rows = []
    for what, printed, ours in listed:
        row: dict[str, Value] = {"machine": f"EIE {spec.n_pe} PEs, {spec.node_nm} nm", "what": what, "printed": printed}
        for mask, value in ours.items():
            row |= {mask: value, f"{mask}_deviation": deviation(value, printed)}
        rows.append(row)
    return rows


def _machines_grid(bench: Bench) -> Grid:
    """Every machine of Table V as printed, and ours."""
    rows: list[dict[str, Value]] = [
        {
            "machine": row.name,
            "node_nm": row.node_nm,
            "area_mm2": row.area_mm2,
            "power_w": row.power_w,
            "frames_per_s": row.frames_per_s,
            "frames_per_s_mm2": row.frames_per_s_mm2,
            "frames_per_joule": row.frames_per_joule,
        }
        for row in bench.published.platforms
    ]
    for spec in (EIE_64PE, EIE_256PE):
        area, power_w = sum(area_mm2(spec).values()), sum(powers_mw(spec).values()) * 1e-3
        rate = 1e6 / bench.actual_us(FC7, "spread", spec)
        rows.append(
            {
                "machine": f"ours, {spec.n_pe} PEs (measured spread)",
                "node_nm": spec.node_nm,
                "area_mm2": area,
                "power_w": power_w,
                "frames_per_s": rate,
                "frames_per_s_mm2": rate / area,
                "frames_per_joule": rate / power_w,
            }
        )
    columns = (
        Column("machine", "machine", "text"),
        Column("node_nm", "nm"),
        Column("area_mm2", "mm2"),
        Column("power_w", "W"),
        Column("frames_per_s", "frames/s"),
        Column("frames_per_s_mm2", "frames/s/mm2"),
        Column("frames_per_joule", "frames/J"),
    )
    return Grid(
        caption="All machines as printed (TrueNorth runs a TIMIT LSTM), and ours", columns=columns, rows=tuple(rows)
    )
