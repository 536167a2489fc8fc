"""Pictures of a result: one function a figure, records in, a matplotlib Figure out.

Comes in: a `Result`, one of its layers, or its energy. Goes out: figures. Colours are Okabe and Ito's, which the
colour-blind tell apart.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator, PercentFormatter
from numpy.typing import NDArray

from eie.plots.drawing import STYLE, Drawing, Drawings, file_name, name_ticks, short
from eie.plots.timeline import SHARE_COLOURS, can_be_told, layer_over_time
from eie.results.accounting import SHARES
from eie.results.layer import LayerResult
from eie.results.priced import Energy
from eie.results.result import Result
from eie.show.numbers import of, percent

# One unit, one colour in every figure of the package; waiting is grey.
COLOURS = {
    "issue": "#0072B2",
    "load": "#D55E00",
    "starved": "#CCCCCC",
    **SHARE_COLOURS,
    "act_queue": "#56B4E9",
    "ptr_read": "#E69F00",
    "spmat_read": "#0072B2",
    "arithm": "#009E73",
    "act_rw": "#CC79A7",
    "lnzd": "#F0E442",
    "dram": "#D55E00",
    "actual": "#0072B2",
    "theoretical": "#56B4E9",
    "dense": "#999999",
}

# Layers that are drawn as bars and named; more are a line of steps and numbered: ten thousand bars took minutes, and no
# name could be read.
MOST_BARS = 200


def pe_cycles(layer: LayerResult) -> Figure:
    """Show where each PE's cycles go in one layer, by the names of its shares."""
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(6.4, 3.2))
        axes = figure.add_subplot()
        # Stacked by hand: stairs, unlike bars, stay one shape for a thousand PEs.
        base = np.zeros(layer.spec.n_pe)
        # A step reaches half a PE to either side of its number.
        edges = np.arange(layer.spec.n_pe + 1) - 0.5
        for name, cycles in _cycles_of(layer).items():
            # No entry in the legend for what does not happen: a layer whose weights are in place waits for none.
            if not cycles.any():
                continue
            axes.stairs(
                base + cycles,
                edges,
                baseline=base,
                fill=True,
                color=COLOURS[name],
                label=name,
            )
            base = base + cycles
        axes.set(
            xlabel="processing element",
            ylabel="cycles",
            xlim=(edges[0], edges[-1]),
            ylim=(0, base.max() * 1.02),
        )
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        axes.set_title(
            f"{short(layer.name)}: efficiency {percent(layer.efficiency, 0)} %, busiest PE {layer.imbalance:.2f} "
            "x the mean"
        )
        _legend_below(figure, axes, most=4)
    return figure


def _cycles_of(layer: LayerResult) -> dict[str, NDArray[Any]]:
    """(P,) cycles of a sample by what each PE did; without causes where nothing was kept to find them."""
    if layer.account is None:
        return layer.per_pe
    return {name: cycles / layer.activity.samples for name, cycles in layer.pe_cycles.items()}


def cycle_shares(result: Result) -> Figure:
    """Show where the cycles of all PEs went, a stacked bar a layer."""
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(6.4, 3.2))
        axes = figure.add_subplot()
        base = np.zeros(len(result.layers))
        for name in SHARES:
            values = np.array([layer.shares[name] for layer in result.layers])
            base = _stacked(axes, name, values, base=base)
        axes.set_ylim(0, 1)
        axes.yaxis.set_major_formatter(PercentFormatter(1.0))
        axes.set(ylabel="PE cycles", title=f"Where the cycles went: {short(result.program.name)} on {result.spec.name}")
        _name_layers(axes, [layer.name for layer in result.layers])
        _legend_below(figure, axes, most=4)
    return figure


def pe_occupancy(layer: LayerResult) -> Figure:
    """Show what each PE stores of one layer, weights and padding, and how much it can hold (for each pass)."""
    passes = layer.encoded.passes
    # Of all passes: a layer that does not fit at once is stored part by part.
    padding = sum(encoding.padding_per_pe for encoding in passes)
    stored = sum(encoding.entries_per_pe for encoding in passes)
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(6.4, 3.2))
        axes = figure.add_subplot()
        edges = np.arange(layer.spec.n_pe + 1) - 0.5
        axes.stairs(stored - padding, edges, fill=True, color=COLOURS["issue"], label="weights and bias")
        # Without padding, its entry in the legend would stand for nothing.
        if np.any(padding):
            axes.stairs(
                stored, edges, baseline=stored - padding, fill=True, color=COLOURS["empty_column"], label="padding"
            )
        axes.axhline(float(np.mean(stored)), color="black", linewidth=0.8, linestyle="--", label="mean")
        top = float(np.max(stored, initial=1)) * 1.05
        # The line of the capacity only where it does not flatten the bars; the title has the number in any case.
        # Of one layer: what its SRAM holds, and a pointer reaches.
        most = min(layer.fit.entry_capacity, layer.fit.pointer_reach)
        if len(passes) == 1 and most <= 2 * top:
            axes.axhline(most, color=COLOURS["dram"], label="room")
            top = max(top, most * 1.05)
        axes.set(xlabel="processing element", ylabel="stored entries", xlim=(edges[0], edges[-1]), ylim=(0, top))
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        room = f"room for {most:,} a PE" + ("" if len(passes) == 1 else f" in each of {len(passes)} passes")
        axes.set_title(f"{short(layer.name)}: fullest PE {np.max(stored):,} entries, {room}")
        _legend_below(figure, axes)
    return figure


def latency(result: Result) -> Figure:
    """Show each layer's latency beside its theoretical time and the dense equivalent."""
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(6.4, 3.2))
        axes = figure.add_subplot()
        bars = {
            "theoretical": [layer.theoretical_us for layer in result.layers],
            "actual": [layer.latency_us for layer in result.layers],
            "dense": [layer.dense_us for layer in result.layers],
        }
        places = np.arange(len(result.layers))
        # In the order of the layers, each once: on chip, streamed or not paid.
        from_where = dict.fromkeys(layer.dense.weights for layer in result.layers)
        # Three bars a layer, the actual one in the middle.
        for i, (name, values) in enumerate(bars.items()):
            label = f"dense, weights {' or '.join(from_where)}" if name == "dense" else name
            if len(places) > MOST_BARS:
                axes.stairs(values, _edges(len(places)), baseline=None, color=COLOURS[name], label=label, linewidth=0.8)
                continue
            drawn = axes.bar(places + (i - 1) * 0.27, values, 0.26, color=COLOURS[name], label=label)
            # More would stand into each other; the table has them.
            if len(places) <= 10:
                axes.bar_label(
                    drawn,
                    [f"{value:.3g}" if value < 1000 else f"{value:.0f}" for value in values],
                    fontsize=7,
                    rotation=90,
                    padding=3,
                )
        axes.set_yscale("log")
        axes.margins(y=0.2)
        axes.set(
            ylabel="latency (us)",
            title=f"{short(result.program.name)} on {result.spec.name}, {of(result.spec.n_pe, 'PE')}",
        )
        _name_layers(axes, [layer.name for layer in result.layers])
        _legend_below(figure, axes)
    return figure


def energy_by_unit(result: Result) -> Figure:
    """Show each layer's energy by unit, stacked, for every method that applies."""
    energies, _ = result.energies()
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(6.4, 3.2))
        # One shared axis: the methods are there to be compared.
        panels = figure.subplots(1, max(len(energies), 1), sharey=True, squeeze=False)[0]
        for axes, (method, energy) in zip(panels, energies.items(), strict=False):
            _stack_units(axes, energy)
            axes.set_title(f"{method}, {energy.table}", fontsize=9)
            _name_layers(axes, [layer.name for layer in result.layers])
        panels[0].set_ylabel("energy (nJ)")
        _legend_below(figure, panels[0])
    return figure


def energy_bars(energy: Energy) -> Figure:
    """Show each layer's energy by unit, stacked, by one method."""
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(6.4, 3.2))
        axes = figure.add_subplot()
        _stack_units(axes, energy)
        _name_layers(axes, [layer.layer for layer in energy.layers])
        axes.set_ylabel("energy (nJ)")
        _legend_below(figure, axes)
    return figure


def result_drawings(result: Result) -> Drawings:
    """Return latency and energy, which are on the page too, shares, which it draws itself, and each layer's figures."""
    drawings = {
        "latency": Drawing(partial(latency, result), "figures"),
        "energy": Drawing(partial(energy_by_unit, result), "figures"),
    }
    if all(layer.account is not None for layer in result.layers):
        drawings["shares"] = Drawing(partial(cycle_shares, result), "")
    # Numbered: two names can become the same file name, and the folder keeps the order of the run.
    for i, layer in enumerate(result.layers, 1):
        for name, drawing in layer_drawings(layer).items():
            # Not on the page: a network of a hundred layers would bury its table.
            drawings[f"{name}-{i}-{file_name(layer.name)}"] = replace(drawing, section="")
    return drawings


def layer_drawings(layer: LayerResult) -> Drawings:
    """Return where a layer's cycles go, what its PEs hold, and, where it can be told again, what they do when."""
    drawings = {
        "pe-cycles": Drawing(partial(pe_cycles, layer), "layer"),
        "pe-occupancy": Drawing(partial(pe_occupancy, layer), "layer"),
    }
    if can_be_told(layer):
        drawings["pe-time"] = Drawing(partial(layer_over_time, layer), "layer")
    return drawings


def energy_drawings(energy: Energy) -> Drawings:
    """Return energy by layer and unit."""
    return {"energy": Drawing(partial(energy_bars, energy), "energy")}


def _stack_units(axes: Axes, energy: Energy) -> None:
    base = np.zeros(len(energy.layers))
    for unit in energy.layers[0].unit_nj:
        # Of a sample: energies are kept sample by sample.
        values = np.array([layer.unit_nj[unit].mean() for layer in energy.layers])
        base = _stacked(axes, unit, values, base=base)


def _stacked(axes: Axes, name: str, values: NDArray[np.float64], *, base: NDArray[np.float64]) -> NDArray[np.float64]:
    """Draw a part of each layer's bar on what is below it; return where the next part begins."""
    # What is nothing anywhere needs no place in the legend.
    if values.any() and len(values) > MOST_BARS:
        edges = _edges(len(values))
        axes.stairs(base + values, edges, baseline=base, fill=True, color=COLOURS[name], label=name)
    elif values.any():
        axes.bar(np.arange(len(values)), values, 0.7, bottom=base, color=COLOURS[name], label=name)
    return base + values


def _edges(layers: int) -> NDArray[np.float64]:
    """Half a layer to either side of the numbers 1, 2, ..."""
    return np.arange(0.5, layers + 1, dtype=np.float64)


def _name_layers(axes: Axes, names: Sequence[str]) -> None:
    if len(names) > MOST_BARS:
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        axes.set_xlabel("layer, in order")
        return
    # What fits under an axis of 6.4 inches side by side.
    name_ticks(axes, names, most=40)


def _legend_below(figure: Figure, axes: Axes, most: int = 7) -> None:
    handles, labels = axes.get_legend_handles_labels()
    names = [label.replace("_", " ") for label in labels]
    figure.legend(handles, names, loc="outside lower center", ncols=min(len(labels), most), fontsize=8)
