"""Where the paper contradicts itself: both readings, in numbers.

Comes in: a `Bench`. Goes out: a `Section`. A simulator has to take a side; the side taken is marked.
"""

from __future__ import annotations

from collections.abc import Callable
from statistics import geometric_mean

from eie.show.numbers import percent
from eie.show.sections import Column, Grid, Section, Value
from eie.spec import EIE_64PE, EIE_256PE
from eie.studies.paper.bench import REAL_LAYER, Bench, Mask
from eie.studies.paper.power import FC7

MASK: Mask = "spread"
Reading = tuple[str, str, bool]


def contradictions(bench: Bench) -> Section:
    """Print both readings of everything listed under ``contradictions`` in the published data."""
    bench.prepare([MASK], [EIE_64PE, EIE_256PE])
    rows: list[dict[str, Value]] = []
    for key in bench.published.contradictions:
        for reading, follows, taken in _READINGS[key](bench):
            rows.append({"name": key, "reading": reading, "found": follows, "taken": taken or None})
    columns = (
        Column("name", "", "text"),
        Column("reading", "reading", "prose"),
        Column("found", "what follows", "prose"),
        Column("taken", "ours", "yes"),
    )
    notes = tuple(f"{key}: {text}." for key, text in bench.published.contradictions.items())
    grid = Grid(caption="Both readings; 'yes' marks the one this simulator takes", columns=columns, rows=tuple(rows))
    return Section(name="contradictions", title="Where the paper contradicts itself", grids=(grid,), notes=notes)


def _pointers(bench: Bench) -> list[Reading]:
    fullest = {name: int(bench.encoded(name, MASK).passes[0].entries_per_pe.max()) for name in bench.published.layers}

    def fitting(capacity: int) -> str:
        over = [f"{name} ({entries:,})" for name, entries in fullest.items() if entries > capacity]
        return "all nine layers fit" if not over else f"too many entries in the fullest PE: {', '.join(over)}"

    return [
        ("16-bit pointers: 65,535 entries a PE", fitting(EIE_64PE.pointer_reach), True),
        ("128 KB of 8-bit entries: 131,072 a PE", fitting(EIE_64PE.spmat_kib * 1024), False),
    ]


def _passes(layer: str) -> Callable[[Bench], list[Reading]]:
    """One pass, capacity ignored, against what fits the memories."""

    def readings(bench: Bench) -> list[Reading]:
        printed = bench.published.times_us["eie_actual"][layer]
        placed = bench.activity(layer, MASK, EIE_64PE.replace(residency="auto"))
        passes = "1 pass" if placed.passes == 1 else f"{placed.passes} passes"
        kib = int(placed.counts["dram_bits"][0]) / 8192
        return [
            ("one pass, capacity ignored", f"{bench.actual_us(layer, MASK):.2f} us (printed {printed})", True),
            (
                f"what fits (residency auto), alone on the chip: {passes}",
                f"{EIE_64PE.us(float(placed.total_cycles[0])):,.2f} us, {kib:,.0f} KiB from DRAM",
                False,
            ),
        ]

    return readings


def _ntwe(bench: Bench) -> list[Reading]:
    cpu, printed = (bench.published.times_us[row]["NT-We"] for row in ("cpu_dense_b1", "eie_actual"))
    label, ours = bench.published.speedups["eie"]["NT-We"], bench.actual_us("NT-We", MASK)
    return [
        (f"Figure 6's label: {label}x, so {cpu / label:.1f} us", f"ours is {ours:.2f} us, {cpu / ours:.1f}x", False),
        (
            f"Table IV: {cpu} / {printed} us = {cpu / printed:.1f}x",
            f"{percent(ours / printed - 1, 1, '+')} % from the time",
            True,
        ),
    ]


def _pe256(bench: Bench) -> list[Reading]:
    cycles = {
        name: [bench.activity(name, MASK, spec).cycles[0] for spec in (EIE_64PE, EIE_256PE)]
        for name in bench.published.layers
    }
    ratios = {name: float(few / many) for name, (few, many) in cycles.items()}
    clocks = EIE_256PE.clock_mhz / EIE_64PE.clock_mhz
    few_pes, many_pes = (bench.published.platform(f"EIE {spec.n_pe}PE") for spec in (EIE_64PE, EIE_256PE))
    printed = many_pes.frames_per_s / few_pes.frames_per_s
    return [
        (
            "text: 3.25x the throughput, at one clock",
            f"geometric mean of the nine layers {geometric_mean(ratios.values()):.2f}x "
            f"({min(ratios.values()):.2f}x to {max(ratios.values()):.2f}x)",
            False,
        ),
        (
            f"Table V: {printed:.2f}x at {clocks:g}x the clock, so {printed / clocks:.2f}x at one clock",
            f"{FC7}: {ratios[FC7]:.2f}x at one clock, {ratios[FC7] * clocks:.2f}x in all",
            False,
        ),
    ]


def _run(bench: Bench) -> list[Reading]:
    row = bench.published.layer(FC7)
    local_rows = row.outputs / EIE_64PE.n_pe

    def padding(jump: int) -> float:
        """Expected padding a real entry, when one padding entry stands for ``jump`` rows."""
        # A run of zeros of length `step` begins at a given local row with probability zero**step, and has room to do so
        # in (local_rows - step) of local_rows places; each multiple of `jump` that it reaches costs one more entry.
        zero = 1 - row.weight_pct / 100
        steps = range(jump, int(local_rows), jump)
        return sum(zero**step * (local_rows - step) / local_rows for step in steps)

    return [
        ("pad from 16 zeros on (section III; jump = gap + 1)", f"{FC7}: {padding(16):.3f} padding a real entry", True),
        ("pad from 17 zeros on (jump = gap)", f"{FC7}: {padding(17):.3f} padding a real entry", False),
    ]


def _alex8(bench: Bench) -> list[Reading]:
    printed = [bench.published.times_us[f"eie_{which}"][REAL_LAYER] for which in ("theoretical", "actual")]

    def times(mask: Mask) -> str:
        theoretical, actual = bench.theoretical_us(REAL_LAYER, mask), bench.actual_us(REAL_LAYER, mask)
        return f"{theoretical:.2f} / {actual:.2f} us theoretical / actual (printed {printed[0]} / {printed[1]})"

    real = bench.best_mask(REAL_LAYER) == "real"
    return [
        ("Table III: 25 % of weights, 37.5 % of activations", times(MASK), not real),
        (
            "public data: 25.7 % and 42.9 %",
            times("real") if real else "no file of it: see --fc8",
            real,
        ),
    ]


_READINGS: dict[str, Callable[[Bench], list[Reading]]] = {
    "pointers": _pointers,
    "vgg6": _passes("VGG-6"),
    "ntwd": _passes("NT-Wd"),
    "ntwe": _ntwe,
    "pe256": _pe256,
    "run": _run,
    "alex8": _alex8,
}
