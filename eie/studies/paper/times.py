"""Tables III and IV: densities, and the time of one frame.

Comes in: a `Bench`. Goes out: a `Section` each. Read by `reproduce`.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from eie.show.numbers import percent
from eie.show.sections import Column, Curves, Grid, Section, Value, deviation
from eie.spec import EIE_64PE
from eie.studies.paper.bench import MASKS, REAL_LAYER, Bench, Mask
from eie.studies.paper.published import Published

# Table IV prints tenths of a microsecond, so a printed time stands for half a tenth either way.
PRINTED_DIGIT_US = 0.05


def table3(bench: Bench) -> Section:
    """Densities and the share of the dense work that is left."""
    bench.prepare(MASKS, [EIE_64PE])
    rows = tuple(_density_row(bench, name, mask) for name in bench.published.layers for mask in _masks_of(bench, name))
    columns = (
        Column("layer", "layer", "text"),
        Column("mask", "mask", "text"),
        Column("weights_printed", "weights %"),
        Column("weights", "ours"),
        Column("acts_printed", "acts %"),
        Column("acts", "ours"),
        Column("flop_printed", "FLOP %"),
        Column("flop", "ours"),
        Column("flop_deviation", "dev.", "deviation"),
        Column("within_rounding", "rounds to it", "yes"),
    )
    notes = (
        "FLOP %: multiply-accumulates of the active columns over those of the dense layer. The paper prints "
        "whole percents.",
        "NT-LSTM contradicts itself: 10 % of the weights with all activations cannot leave 11 % of the work; only a "
        "density of 10.5 % rounds to both.",
    )
    return Section(
        name="table3",
        title="Table III: the benchmark",
        grids=(Grid(caption="Densities realised", columns=columns, rows=rows, keys=2),),
        notes=notes,
    )


def _masks_of(bench: Bench, layer: str) -> list[Mask]:
    best = bench.best_mask(layer)
    return [*MASKS, best] if best == "real" else list(MASKS)


def _density_row(bench: Bench, name: str, mask: Mask) -> dict[str, Value]:
    printed, layer = bench.published.layer(name), bench.layer(name, mask)
    activity = bench.activity(name, mask)
    # The bias is a column of its own that is always active; Table III counts the weights alone.
    in_bias = layer.outputs if layer.has_bias else 0
    flop = 100 * (int(activity.counts["macs"][0]) - in_bias) / (layer.inputs * layer.outputs)
    return {
        "layer": name,
        "mask": mask,
        "weights_printed": printed.weight_pct,
        "weights": 100 * layer.weight_density,
        "acts_printed": printed.act_pct,
        "acts": 100 * activity.activation_density,
        "flop_printed": printed.flop_pct,
        "flop": flop,
        "flop_deviation": deviation(flop, printed.flop_pct),
        # whole percents are printed
        "within_rounding": abs(flop - printed.flop_pct) <= 0.5,
    }


def table4(bench: Bench) -> Section:
    """Theoretical and actual times, and the platforms the paper measured."""
    bench.prepare((*MASKS, "low", "high"), [EIE_64PE])
    printed = bench.published
    theoretical = _time_grid(bench, "theoretical")
    actual = _time_grid(bench, "actual")
    ratio = _ratio_grid(bench)
    notes = [agreement(bench, mask) for mask in MASKS]
    if bench.fc8 is not None:
        notes.append(agreement(bench, "real"))
    notes.append(
        "Rounding: the same masks with the weight and activation densities at the ends of what Table III's printed "
        "digits stand for. Densities of a single frame differ from the printed averages by more than that (see alex8)."
    )
    perfect = [
        abs(deviation(bench.theoretical_us(name, "random"), us))
        for name, us in printed.times_us["eie_theoretical"].items()
    ]
    notes.append(
        "Absolute times cannot agree within 6 % with Table III's densities: the theoretical time, of perfect balance, "
        f"is {percent(np.mean(perfect))} % off on average, "
        f"within 10 % on {sum(size <= 0.1 for size in perfect)} of 9 layers. "
        "Columns 'rounding from' and 'to' are the interval that the printed digits allow."
    )
    notes.append(
        "acts % needed: the activation density that would give the printed theoretical time with our masks; shown as a "
        "diagnosis, nothing is fitted to it."
    )
    best = {name: bench.batched_us(name, bench.best_mask(name)) for name in printed.layers}
    series = {
        "printed theoretical": tuple(printed.times_us["eie_theoretical"].values()),
        "printed actual": tuple(printed.times_us["eie_actual"].values()),
        "ours theoretical": tuple(bench.theoretical_us(name, bench.best_mask(name)) for name in printed.layers),
        "ours actual": tuple(best.values()),
    }
    curves = Curves(x_label="layer", x=printed.layers, y_label="time of one frame (us)", series=series)
    grids = (theoretical, actual, ratio, _platform_grid(printed, best))
    return Section(
        name="table4", title="Table IV: time of one frame", grids=grids, curves=(curves,), notes=tuple(notes)
    )


def _time_grid(bench: Bench, which: str) -> Grid:
    ours = bench.theoretical_us if which == "theoretical" else bench.batched_us
    rows: list[dict[str, Value]] = []
    for name in bench.published.layers:
        printed = bench.published.times_us[f"eie_{which}"][name]
        row: dict[str, Value] = {"layer": name, "printed": printed}
        for mask in _masks_of(bench, name):
            row |= {mask: ours(name, mask), f"{mask}_deviation": deviation(ours(name, mask), printed)}
        low, high = ours(name, "low"), ours(name, "high")
        row |= {"low": low, "high": high, "inside": low - PRINTED_DIGIT_US <= printed <= high + PRINTED_DIGIT_US}
        # Theoretical time is entries over PEs, so it grows with the activation density in proportion: the rule of three
        # says which density would give the printed time. A layer that is 100 % active cannot have more.
        if which == "theoretical" and bench.published.layer(name).act_pct < 100:
            row["acts_needed"] = bench.published.layer(name).act_pct * printed / ours(name, "spread")
        rows.append(row)
    columns = [
        Column("layer", "layer", "text"),
        Column("printed", "printed us"),
        Column("random", "random masks"),
        Column("random_deviation", "dev.", "deviation"),
        Column("spread", "measured spread"),
        Column("spread_deviation", "dev.", "deviation"),
        Column("low", "rounding from"),
        Column("high", "to"),
        Column("inside", "printed inside", "yes"),
    ]
    if which == "theoretical":
        columns.append(Column("acts_needed", "acts % needed"))
    if bench.fc8 is not None:
        columns += [Column("real", "real data"), Column("real_deviation", "dev.", "deviation")]
    return Grid(
        caption=f"EIE {which} time, us (64 PEs, 800 MHz, queue depth 8)", columns=tuple(columns), rows=tuple(rows)
    )


def _ratio_grid(bench: Bench) -> Grid:
    times = bench.published.times_us
    rows: list[dict[str, Value]] = []
    for name in bench.published.layers:
        printed = times["eie_actual"][name] / times["eie_theoretical"][name]
        row: dict[str, Value] = {"layer": name, "printed": printed}
        for mask in MASKS:
            ours = bench.batched_us(name, mask) / bench.theoretical_us(name, mask)
            row |= {mask: ours, f"{mask}_deviation": deviation(ours, printed)}
        rows.append(row)
    columns = (
        Column("layer", "layer", "text"),
        Column("printed", "printed"),
        Column("random", "random masks"),
        Column("random_deviation", "dev.", "deviation"),
        Column("spread", "measured spread"),
        Column("spread_deviation", "dev.", "deviation"),
    )
    caption = "Actual over theoretical: what imbalance, empty columns and the pipeline cost, free of the densities"
    return Grid(caption=caption, columns=columns, rows=tuple(rows))


def _platform_grid(printed: Published, best: dict[str, float]) -> Grid:
    rows: list[dict[str, Value]] = [
        {"row": row, **times} for row, times in printed.times_us.items() if not row.startswith("eie")
    ]
    rows.append({"row": "eie_actual (printed)", **printed.times_us["eie_actual"]})
    rows.append({"row": "eie_actual (ours)", **best})
    columns = (Column("row", "us a frame", "text"), *(Column(name, name) for name in printed.layers))
    return Grid(
        caption="Published baselines (Core i7-5930K, Titan X, Tegra K1; dense and sparse, batch 1 and 64)",
        columns=columns,
        rows=tuple(rows),
    )


def agreement(bench: Bench, mask: Mask) -> str:
    """Say how well the times of a mask agree, over the nine layers; ``"real"`` uses real data where there is any."""
    times = bench.published.times_us
    actual, ratio = [], []
    for name in bench.published.layers:
        data = bench.best_mask(name) if mask == "real" else mask
        ours, printed = bench.batched_us(name, data), times["eie_actual"][name]
        actual.append(abs(deviation(ours, printed)))
        printed_ratio = printed / times["eie_theoretical"][name]
        ratio.append(abs(deviation(ours / bench.theoretical_us(name, data), printed_ratio)))
    within = sum(size <= 0.1 for size in actual)
    return (
        f"{_MASK_WORDS[mask]}: actual time within 10 % on {within} of 9 layers, "
        f"mean deviation {percent(np.mean(actual))} %, largest {percent(max(actual))} %; "
        f"actual over theoretical: mean {percent(np.mean(ratio))} %, largest {percent(max(ratio))} %."
    )


_MASK_WORDS: Mapping[Mask, str] = {
    "random": "Random masks",
    "spread": "Measured spread",
    "real": f"Measured spread, and {REAL_LAYER} on its real data",
}
