"""Figures 6 and 7: speedup and energy efficiency over the published dense CPU row.

Comes in: a `Bench`. Goes out: a `Section` each, with the headline claims of the abstract checked. Times and powers of
CPU, GPU and mobile GPU are the paper's (Tables IV and V); EIE's are ours.
"""

from __future__ import annotations

from collections.abc import Mapping
from statistics import geometric_mean

from eie.energy.estimate import Method, estimate
from eie.show.numbers import percent
from eie.show.sections import Column, Curves, Grid, Section, Statement, Value, deviation
from eie.spec import EIE_64PE
from eie.studies.paper.bench import MASKS, REAL_LAYER, Bench, Mask, as_printed
from eie.studies.paper.published import GEOMEAN

Factors = Mapping[str, float]
PLATFORMS = {"cpu": ("CPU", "Core i7-5930K"), "gpu": ("GPU", "GeForce Titan X"), "mgpu": ("mobile GPU", "Tegra K1")}
# The abstract rounds its factors to two or three digits and averages over layers whose masks are not public.
TOLERANCE = 0.15


def figure6(bench: Bench) -> Section:
    """Speedup over the CPU on the dense model, batch 1."""
    bench.prepare(MASKS, [EIE_64PE])
    cpu = bench.published.times_us["cpu_dense_b1"]
    ours = {_MASK_LABEL[mask]: _over(cpu, {name: bench.actual_us(name, mask) for name in cpu}) for mask in MASKS}
    best = {name: bench.actual_us(name, bench.best_mask(name)) for name in cpu}
    if bench.fc8 is not None:
        ours["real fc8"] = _where_real(_over(cpu, best))
    platforms = {
        row: _over(cpu, bench.published.times_us[_table4_row(row)]) for row in bench.published.speedups if row != "eie"
    }
    statements = []
    for key, claimed in bench.published.headline_speedup.items():
        # the last value is itself the mean of the others
        ours_over = geometric_mean(list(_over(bench.published.times_us[f"{key}_dense_b1"], best).values())[:-1])
        statements.append(_headline(f"{claimed:,}x faster than the {PLATFORMS[key][0]}", claimed, ours_over))
    notes = (
        "As in the paper, EIE's weights and maps are in place and cost no DRAM (residency ideal), CPU and GPUs fetch "
        "theirs.",
        "NT-We and NT-LSTM: the printed labels, 63x and 60x, are not the ratios of the printed times, 605.0 / 8.0 = "
        "75.6x (see ntwe) and 470.5 / 7.5 = 62.7x; the deviations here are from the labels, Table IV's from the times.",
    )
    return _section(
        texts=("figure6", "Figure 6: speedup over the dense CPU, batch 1", "speedup over CPU (x)"),
        printed=bench.published.speedups,
        ours=ours,
        platforms=platforms,
        statements=tuple(statements),
        notes=notes,
    )


def figure7(bench: Bench) -> Section:
    """Energy efficiency over the CPU on the dense model, batch 1."""
    bench.prepare(MASKS, [EIE_64PE])
    times = bench.published.times_us
    watts = {key: bench.published.platform(name).power_w for key, (_, name) in PLATFORMS.items()}
    # W x us = uJ
    cpu = {name: watts["cpu"] * us for name, us in times["cpu_dense_b1"].items()}

    def eie_uj(mask: Mask | None, method: Method) -> Factors:
        return {
            name: _eie_uj(bench=bench, layer=name, mask=mask or bench.best_mask(name), method=method) for name in cpu
        }

    ours = {_MASK_LABEL[mask]: _over(cpu, eie_uj(mask, "published-power")) for mask in MASKS}
    ours["by activity"] = _over(cpu, eie_uj(None, "activity"))
    if bench.fc8 is not None:
        ours["real fc8"] = _where_real(_over(cpu, eie_uj(None, "published-power")))
    platforms = {}
    for row in bench.published.savings:
        if row != "eie":
            key = row.split("_")[0]
            platforms[row] = _over(cpu, {name: watts[key] * us for name, us in times[_table4_row(row)].items()})
    best = eie_uj(None, "published-power")
    statements = []
    for key, claimed in bench.published.headline_saving.items():
        dense = {name: watts[key] * us for name, us in times[f"{key}_dense_b1"].items()}
        ours_over = geometric_mean(list(_over(dense, best).values())[:-1])
        statements.append(
            _headline(f"{claimed:,}x the energy efficiency of the {PLATFORMS[key][0]}", claimed, ours_over)
        )
    notes = (
        f"Energy of a platform: Table IV's time x the power of Table V ({watts['cpu']:g} / {watts['gpu']:g} / "
        f"{watts['mgpu']:g} W for every layer). The printed labels imply 66 to 89 W for the CPU, a different power for "
        "each layer that is not published.",
        "Bars of compressed models imply about half the power on the CPU, which is not published either.",
        "EIE: time x published power (590 mW); by activity: every action priced, see Table II.",
    )
    return _section(
        texts=("figure7", "Figure 7: energy efficiency over the dense CPU, batch 1", "energy efficiency over CPU (x)"),
        printed=bench.published.savings,
        ours=ours,
        platforms=platforms,
        statements=tuple(statements),
        notes=notes,
    )


_MASK_LABEL: Mapping[Mask, str] = {"random": "random masks", "spread": "measured spread"}


def _eie_uj(bench: Bench, layer: str, mask: Mask, method: Method) -> float:
    # one sample; nJ to uJ
    return 1e-3 * float(estimate(bench.activity(layer, mask), as_printed(EIE_64PE), method).nj[0])


def _table4_row(label: str) -> str:
    """Name the row of Table IV a bar was made from: ``cpu_compressed`` is ``cpu_sparse_b1``."""
    return label.replace("compressed", "sparse") + "_b1"


def _over(reference: Factors, values: Factors) -> Factors:
    """Return reference / value by layer, and their geometric mean."""
    factors = {name: reference[name] / values[name] for name in reference}
    return {**factors, GEOMEAN: geometric_mean(list(factors.values()))}


def _where_real(factors: Factors) -> Factors:
    """Keep what the real data changes: its layer, and the mean."""
    return {name: factors[name] for name in (REAL_LAYER, GEOMEAN)}


def _headline(claim: str, claimed: float, ours: float) -> Statement:
    return Statement(
        place="abstract",
        claim=f"EIE is {claim}, both without compression (within {percent(TOLERANCE, 0)} %)",
        holds=abs(deviation(ours, claimed)) <= TOLERANCE,
        found=f"{ours:,.{1 if ours < 100 else 0}f}x, {percent(deviation(ours, claimed), 1, '+')} %",
    )


def _section(
    texts: tuple[str, str, str],
    printed: Mapping[str, Factors],
    ours: Mapping[str, Factors],
    platforms: Mapping[str, Factors],
    statements: tuple[Statement, ...],
    notes: tuple[str, ...],
) -> Section:
    name, title, y_label = texts
    layers = tuple(printed["eie"])
    columns = [Column("layer", "layer", "text"), Column("printed", "printed")]
    rows: list[dict[str, Value]] = [{"layer": layer, "printed": printed["eie"][layer]} for layer in layers]
    for label, factors in ours.items():
        columns += [Column(label, label), Column(f"{label} deviation", "dev.", "deviation")]
        for row, layer in zip(rows, layers, strict=True):
            if layer in factors:
                row |= {label: factors[layer], f"{label} deviation": deviation(factors[layer], printed["eie"][layer])}
    eie = Grid(caption="EIE", columns=tuple(columns), rows=tuple(rows))
    label_rows: tuple[Mapping[str, Value], ...] = tuple(
        {"row": f"{row} ({kind})", **factors[row]}
        for row in platforms
        for kind, factors in (("printed label", printed), ("from printed times", platforms))
    )
    label_columns = (Column("row", "", "text"), *(Column(layer, layer) for layer in layers))
    labels = Grid(
        caption="The other platforms, published: labels of the figure, and the same from Table IV",
        columns=label_columns,
        rows=label_rows,
    )
    shown = {"printed": printed["eie"], **ours}
    curves = Curves(
        x_label="layer",
        x=layers,
        y_label=y_label,
        series={key: tuple(row.get(layer) for layer in layers) for key, row in shown.items()},
    )
    return Section(name=name, title=title, grids=(eie, labels), curves=(curves,), statements=statements, notes=notes)
