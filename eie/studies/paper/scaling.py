"""Figures 8, 9, 11, 12 and 13: what queue depth, SRAM width and the number of PEs do.

Comes in: a `Bench`. Goes out: a `Section` each. The paper only draws these curves, so what is checked is what its text
says of them, as `Statement`s with a bound.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from eie.compiler.encode import Encoding
from eie.energy.prices import prices_pj
from eie.energy.tables import Cell
from eie.show.numbers import percent
from eie.show.sections import Curves, Format, Grid, Section, Statement
from eie.spec import EIE_64PE, AcceleratorSpec
from eie.studies.paper.bench import MASKS, Bench, Mask

DEPTHS = (2, 4, 8, 16, 32, 64, 128, 256)
PE_COUNTS = (1, 2, 4, 8, 16, 32, 64, 128, 256)
WIDTHS_BITS = (32, 64, 128, 256, 512)
CELLS: tuple[Cell, ...] = ("itrs-lop", "itrs-lstp")
ALEXNET = ("Alex-6", "Alex-7", "Alex-8")
WORST = "NT-We"
AT_PES: dict[int, AcceleratorSpec] = {n: EIE_64PE.replace(n_pe=n) for n in PE_COUNTS}


def figure8(bench: Bench) -> Section:
    """Load balance over the depth of the activation queue, 64 PEs."""
    specs = [EIE_64PE.replace(act_queue_depth=depth) for depth in DEPTHS]
    bench.prepare(MASKS, specs, "queue depths")
    curves = {}
    for mask in MASKS:
        series = {}
        for name in bench.published.layers:
            data = bench.best_mask(name) if mask == "spread" else mask
            at_depths = (bench.efficiency(name, data, spec) for spec in specs)
            series[name] = (_lockstep_efficiency(bench, name, data), *at_depths)
        curves[mask] = Curves(
            x_label="FIFO depth (slots)", x=(1, *DEPTHS), y_label="load-balance efficiency", series=series
        )
    grids = tuple(curve.grid(f"Efficiency, {_DATA[mask]}", "percent") for mask, curve in curves.items())
    notes = (
        "Efficiency: entries / (PEs x cycles), the paper's 1 - bubble cycles / total. Depth 1: the one slot is held "
        "until its column is done, so all PEs go in lockstep (sum of each column's largest share). Depth 2 and more: "
        "ring slots, one of which stays free. Read as one usable slot beside the column at work, depth 1 is "
        "our depth 2.",
    )
    return Section(
        name="figure8",
        title="Figure 8: load balance over FIFO depth",
        grids=grids,
        curves=(curves["spread"],),
        statements=_depth_statements(curves["spread"]),
        notes=notes,
    )


_DATA = {"spread": "masks with the measured spread (Alex-8: real data if given)", "random": "random masks"}


def _active_columns(bench: Bench, layer: str, mask: Mask) -> tuple[Encoding, NDArray[np.int64]]:
    """Return a layer's encoding on 64 PEs and the columns that its input activates, the bias included."""
    encoding = bench.encoded(layer, mask).passes[0]
    active = np.flatnonzero(bench.inputs(layer, mask).mask[0])
    return encoding, np.append(active, encoding.inputs) if encoding.has_bias else active


def _lockstep_efficiency(bench: Bench, layer: str, mask: Mask) -> float:
    """A queue of one slot that is held while its column is worked on: each column costs its slowest PE's time."""
    encoding, active = _active_columns(bench, layer, mask)
    # Counts are 8 bits wide where they fit, and a sum of thousands of them does not. An empty column takes a cycle.
    busiest = encoding.counts[active].max(axis=1, initial=1).sum(dtype=np.int64)
    return float(bench.activity(layer, mask).counts["entries"][0] / (EIE_64PE.n_pe * busiest))


def _reads_anew(bench: Bench, layer: str, spec: AcceleratorSpec) -> float:
    """Rows read when nothing is held over from the last column: every column fetches all the rows it touches."""
    encoding, active = _active_columns(bench, layer, bench.best_mask(layer))
    begin, end = encoding.pointers[active], encoding.pointers[active + 1]
    # First to last row that a column touches. An empty column has end == begin, and what the line gives for it means
    # nothing: the last line leaves it out.
    rows = (end - 1) // spec.entries_per_row - begin // spec.entries_per_row + 1
    return float(rows[end > begin].sum())


def _depth_statements(curves: Curves) -> tuple[Statement, ...]:
    by_depth = dict(zip(curves.x, zip(*curves.series.values(), strict=True), strict=True))
    # a missing point would read as 0 and fail the claims below, which is right: every depth is simulated
    mean = {depth: float(np.mean([value or 0.0 for value in values])) for depth, values in by_depth.items()}
    worst_at = {depth: min(curves.series, key=lambda name: _at(curves, name, depth)) for depth in curves.x}
    to_8, beyond = mean[8] - mean[1], mean[256] - mean[8]
    return (
        Statement(
            place="figure 8",
            claim="about half of the cycles are idle at depth 1 (40 to 60 % idle, mean of the nine layers)",
            holds=0.4 <= 1 - mean[1] <= 0.6,
            found=f"{percent(1 - mean[1], 0)} % idle in lockstep; "
            f"{percent(1 - mean[2], 0)} % with one usable slot beside the column at work",
        ),
        Statement(
            place="figure 8",
            claim="diminishing returns beyond 8 (all further depth gains under a tenth of what 1 to 8 gained)",
            holds=beyond < 0.1 * to_8,
            found=f"1 to 8: +{100 * to_8:.1f} points; 8 to 256: +{100 * beyond:.1f} points",
        ),
        Statement(
            place="figure 8",
            claim=f"{WORST} has the worst load balance at every depth",
            holds=set(worst_at.values()) == {WORST},
            found=f"{WORST} at depth 8: {percent(_at(curves, WORST, 8), 0)} %, mean of all {percent(mean[8], 0)} %",
        ),
    )


def _at(curves: Curves, series: str, x: float | str) -> float:
    value = curves.series[series][curves.x.index(x)]
    assert value is not None
    return value


def figure9(bench: Bench) -> Section:
    """Reads of the sparse matrix and their energy over the width of its SRAM, AlexNet."""
    specs = [EIE_64PE.replace(spmat_row_bits=width) for width in WIDTHS_BITS]
    bench.prepare(["spread"], [EIE_64PE], "SRAM widths")
    held: dict[str, tuple[float, ...]] = {}
    anew: dict[str, tuple[float, ...]] = {}
    for name in ALEXNET:
        counts = (bench.activity(name, bench.best_mask(name), spec).counts for spec in specs)
        held[name] = tuple(float(count["spmat_reads"][0]) for count in counts)
        anew[f"{name}, anew"] = tuple(_reads_anew(bench, name, spec) for spec in specs)
    price = {cell: np.array([prices_pj(spec, cell)["spmat_read"] for spec in specs]) for cell in CELLS}
    energy: dict[str, tuple[float, ...]] = {}
    for reading, reads in (("held", held), ("anew", anew)):
        total = np.sum(list(reads.values()), axis=0)
        for cell in CELLS:
            # pJ a read x reads; 1e-3 makes nJ of it
            energy[f"{reading}, {cell}"] = tuple(map(float, 1e-3 * price[cell] * total))
    width = "SRAM width (bits)"
    thousands = {name: tuple(value / 1000 for value in values) for name, values in (held | anew).items()}
    curves = (
        Curves(x_label=width, x=WIDTHS_BITS, y_label="reads (thousands)", series=thousands),
        Curves(
            x_label=width,
            x=WIDTHS_BITS,
            y_label="energy a read (pJ)",
            series={cell: tuple(map(float, price[cell])) for cell in CELLS},
        ),
        Curves(x_label=width, x=WIDTHS_BITS, y_label="energy of all reads (nJ)", series=energy),
    )
    notes = (
        "Held: a row is read only when it is not the one this PE read last, across columns too (the cycle contract, "
        "and the authors' public simulator). Anew: every column fetches all the rows it touches.",
        "Energy a read: 17.1 pJ at 64 bits (Table II by unit and kind, calibrated on fc8; 8.3 to 25.9 by what of the "
        "memory is static), other widths by the ratio of CACTI 7. itrs-lop is the cell that meets 800 MHz.",
    )
    grids = tuple(curve.grid(curve.y_label[0].upper() + curve.y_label[1:]) for curve in curves)
    return Section(
        name="figure9",
        title="Figure 9: SRAM width",
        grids=grids,
        curves=curves,
        statements=_width_statements(*curves),
        notes=notes,
    )


def _width_statements(reads: Curves, price: Curves, energy: Curves) -> tuple[Statement, ...]:
    fewer = all(_rises(tuple(-(value or 0) for value in values)) for values in reads.series.values())
    dearer = all(_rises(values) for values in price.series.values())
    ends = price.series["itrs-lop"]

    def least(reading: str, words: str) -> Statement:
        lowest = []
        for cell in CELLS:
            values = [value or 0.0 for value in energy.series[f"{reading}, {cell}"]]
            more = values[WIDTHS_BITS.index(64)] / min(values) - 1
            at = WIDTHS_BITS[int(np.argmin(values))]
            lowest.append(
                f"{at} bits with {cell}" + (f" (64 bits costs {percent(more, 0)} % more)" if at != 64 else "")
            )
        return Statement(
            place="figure 9",
            claim=f"total energy is least at 64 bits, {words} (cell itrs-lstp)",
            holds=lowest[CELLS.index("itrs-lstp")].startswith("64 bits"),
            found="least at " + ", ".join(lowest),
        )

    return (
        Statement(
            place="figure 9",
            claim="wider rows need fewer reads, and each costs more energy",
            holds=fewer and dearer,
            found=f"{ends[0]:.0f} to {ends[-1]:.0f} pJ a read with itrs-lop (the paper's axis ends at 180 pJ)",
        ),
        least("anew", "if every column fetches its rows anew"),
        least("held", "if a row is held from one column to the next, as we count"),
    )


def figure11(bench: Bench) -> Section:
    """Speedup over the number of PEs."""

    def speedup(name: str, mask: Mask, spec: AcceleratorSpec) -> float:
        return bench.actual_us(name, mask, AT_PES[1]) / bench.actual_us(name, mask, spec)

    curves = _over_pes(bench, "speedup over 1 PE (x)", speedup)
    share = {name: _at(curves["spread"], name, 64) / 64 for name in curves["spread"].series}
    lowest = min((name for name in share if name != WORST), key=share.__getitem__)
    linear = all((value >= 0.85) == (name != WORST) for name, value in share.items())
    statement = Statement(
        place="figure 11",
        claim=f"close to linear speedup on all layers but {WORST} (at least 85 % of linear at 64 PEs)",
        holds=linear,
        found=f"lowest of the eight: {lowest} {percent(share[lowest], 0)} %; "
        f"{WORST} {percent(share[WORST], 0)} %; above 100 % where padding falls",
    )
    return Section(
        name="figure11",
        title="Figure 11: scaling with PEs",
        grids=_both(curves),
        curves=(curves["spread"],),
        statements=(statement,),
    )


def figure12(bench: Bench) -> Section:
    """Real work over total work: entries that are no padding."""

    def real_work(name: str, mask: Mask, spec: AcceleratorSpec) -> float:
        counts = bench.activity(name, mask, spec).counts
        return float(counts["macs"][0] / counts["entries"][0])

    curves = _over_pes(bench, "real work / total work", real_work)
    least, most = (np.mean([_at(curves["spread"], name, n) for name in curves["spread"].series]) for n in (1, 256))
    statement = Statement(
        place="figure 12",
        claim="the share of real work rises with the number of PEs, on every layer "
        "(0.1 point down at most at any step)",
        holds=all(_rises(values, 0.001) for values in curves["spread"].series.values()),
        found=f"mean {percent(least)} % at 1 PE, {percent(most)} % at 256",
    )
    return Section(
        name="figure12",
        title="Figure 12: real work",
        grids=_both(curves, "percent"),
        curves=(curves["spread"],),
        statements=(statement,),
    )


def figure13(bench: Bench) -> Section:
    """Load balance over the number of PEs, queue depth 8."""
    curves = _over_pes(bench, "load-balance efficiency", bench.efficiency)
    spread = curves["spread"]
    small = {n: _at(spread, WORST, n) for n in (32, 64)}
    statements = (
        Statement(
            place="figure 13",
            claim="load balance falls with the number of PEs, on every layer (less than 1 point up at any step)",
            holds=all(_rises(tuple(-(value or 0) for value in values), 0.01) for values in spread.series.values()),
            found=f"mean {percent(np.mean([_at(spread, name, 2) for name in spread.series]))} % at 2 PEs, "
            f"{percent(np.mean([_at(spread, name, 256) for name in spread.series]))} % at 256",
        ),
        Statement(
            place="figure 13",
            claim=f"a small matrix is best on 32 or fewer PEs ({WORST}: above 75 % at 32, below at 64)",
            holds=small[32] >= 0.75 > small[64],
            found=f"{percent(small[32], 0)} % at 32, {percent(small[64], 0)} % at 64",
        ),
    )
    return Section(
        name="figure13",
        title="Figure 13: load balance over PEs",
        grids=_both(curves, "percent"),
        curves=(spread,),
        statements=statements,
    )


def _over_pes(bench: Bench, label: str, value: Callable[[str, Mask, AcceleratorSpec], float]) -> dict[Mask, Curves]:
    """Evaluate something for every layer and number of PEs, with both kinds of mask."""
    bench.prepare(MASKS, AT_PES.values(), "numbers of PEs")
    by_mask: dict[Mask, Curves] = {}
    for mask in MASKS:
        series = {}
        for name in bench.published.layers:
            # real data, where there is any, stands in for the realistic mask, never for the random one
            data = bench.best_mask(name) if mask == "spread" else mask
            series[name] = tuple(value(name, data, spec) for spec in AT_PES.values())
        by_mask[mask] = Curves(x_label="processing elements", x=PE_COUNTS, y_label=label, series=series)
    return by_mask


def _both(curves: dict[Mask, Curves], format: Format = "number") -> tuple[Grid, ...]:
    return tuple(
        curve.grid(f"{curve.y_label[0].upper()}{curve.y_label[1:]}, {_DATA[mask]}", format)
        for mask, curve in curves.items()
    )


def _rises(values: tuple[float | None, ...], slack: float = 0.0) -> bool:
    known = [value for value in values if value is not None]
    return all(after >= before - slack for before, after in pairwise(known))
