"""Pictures of a result: one function a figure, records in, a matplotlib Figure out.

Colours are Okabe and Ito's, which the colour-blind tell apart. Nothing here opens a window or touches pyplot's state.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from functools import partial
from html import escape
from io import BytesIO
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from eie.energy.tables import Cell
from eie.errors import EieError
from eie.results.layer import LayerResult
from eie.results.result import Result
from eie.show.writing import replacing

STYLE: Any = {
    "svg.hashsalt": "eie",
    "font.size": 9,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "legend.frameon": False,
    "figure.constrained_layout.use": True,
}
COLOURS = {
    "issue": "#0072B2",
    "empty_column": "#E69F00",
    "starved": "#CCCCCC",
    "drain": "#999999",
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


def pe_cycles(layer: LayerResult) -> Figure:
    """Show where each PE's cycles go in one layer: issue, empty columns, starved, drain."""
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(6.4, 3.2))
        axes = figure.add_subplot()
        base = np.zeros(layer.spec.n_pe)
        edges = np.arange(layer.spec.n_pe + 1) - 0.5
        for name, cycles in layer.per_pe.items():
            axes.stairs(
                base + cycles,
                edges,
                baseline=base,
                fill=True,
                color=COLOURS[name],
                label=name.replace("_", " "),
            )
            base = base + cycles
        axes.set(
            xlabel="processing element",
            ylabel="cycles",
            xlim=(edges[0], edges[-1]),
            ylim=(0, base.max() * 1.02),
        )
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        axes.set_title(f"{layer.name}: efficiency {layer.efficiency:.0%}, busiest PE {layer.imbalance:.2f} x the mean")
        _legend_below(figure, axes)
    return figure


def pe_occupancy(layer: LayerResult) -> Figure:
    """Show what each PE stores of one layer, weights and padding, and how much it can hold (for each pass)."""
    passes = layer.encoded.passes
    padding = sum(one.padding_per_pe for one in passes)
    held = sum(one.entries_per_pe for one in passes)
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(6.4, 3.2))
        axes = figure.add_subplot()
        edges = np.arange(layer.spec.n_pe + 1) - 0.5
        axes.stairs(held - padding, edges, fill=True, color=COLOURS["issue"], label="weights and bias")
        if np.any(padding):
            axes.stairs(held, edges, baseline=held - padding, fill=True, color=COLOURS["empty_column"], label="padding")
        axes.axhline(float(np.mean(held)), color="black", linewidth=0.8, linestyle="--", label="mean")
        top = float(np.max(held, initial=1)) * 1.05
        if len(passes) == 1 and layer.fit.entry_capacity <= 2 * top:
            axes.axhline(layer.fit.entry_capacity, color=COLOURS["dram"], label="room")
            top = max(top, layer.fit.entry_capacity * 1.05)
        axes.set(xlabel="processing element", ylabel="stored entries", xlim=(edges[0], edges[-1]), ylim=(0, top))
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        room = f"room for {layer.fit.entry_capacity:,} a PE" + (
            "" if len(passes) == 1 else f" in each of {len(passes)} passes"
        )
        axes.set_title(f"{layer.name}: fullest PE {np.max(held):,} entries, {room}")
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
        for i, (name, values) in enumerate(bars.items()):
            drawn = axes.bar(places + (i - 1) * 0.27, values, 0.26, color=COLOURS[name], label=name)
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
            title=f"{result.program.name} on {result.spec.name}, {result.spec.n_pe} PEs",
        )
        _name_layers(axes, result)
        _legend_below(figure, axes)
    return figure


def energy_by_unit(result: Result, cell: Cell = "itrs-lop") -> Figure:
    """Show each layer's energy by unit, stacked, for every method that applies."""
    energies, _ = result.energies(cell)
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(6.4, 3.2))
        panels = figure.subplots(1, max(len(energies), 1), sharey=True, squeeze=False)[0]
        for axes, (method, energy) in zip(panels, energies.items(), strict=False):
            base = np.zeros(len(result.layers))
            for unit in energy.layers[0].unit_nj:
                values = np.array([layer.unit_nj[unit].mean() for layer in energy.layers])
                if values.any():
                    axes.bar(np.arange(len(values)), values, 0.7, bottom=base, color=COLOURS[unit], label=unit)
                base = base + values
            axes.set_title(f"{method}, {energy.table}", fontsize=9)
            _name_layers(axes, result)
        panels[0].set_ylabel("energy (nJ)")
        _legend_below(figure, panels[0])
    return figure


def save_all(result: Result, folder: str | Path, cell: Cell = "itrs-lop") -> list[Path]:
    """Write every figure of a result into ``folder`` as PNG and SVG; return the files."""
    drawings: dict[str, Callable[[], Figure]] = {
        "latency": lambda: latency(result),
        "energy": lambda: energy_by_unit(result, cell),
    }
    for i, layer in enumerate(result.layers, 1):
        drawings[f"pe-cycles-{i}-{_file_name(layer.name)}"] = partial(pe_cycles, layer)
        drawings[f"pe-occupancy-{i}-{_file_name(layer.name)}"] = partial(pe_occupancy, layer)
    return save_figures(drawings, folder)


def save_figures(drawings: Mapping[str, Callable[[], Figure]], folder: str | Path) -> list[Path]:
    """Draw figures, one at a time, and write each into ``folder`` as PNG and SVG; return the files.

    Raises
    ------
    EieError
        If the folder cannot be made.
    """
    folder = Path(folder)
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise EieError(f"{folder}: cannot be made a folder: {error.strerror or error}") from None
    written = []
    for name, draw in drawings.items():
        figure = draw()
        for suffix in ("png", "svg"):
            written.append(folder / f"{name}.{suffix}")
            _save(figure, written[-1])
    return written


def svg_element(figure: Figure, prefix: str, label: str) -> str:
    """Return a figure as an SVG element for a page, its ids made unique; the same figure, the same text."""
    stream = BytesIO()
    with mpl.rc_context(STYLE):
        figure.savefig(stream, format="svg", metadata={"Date": None})
    text = stream.getvalue().decode()
    text = text[text.index("<svg") :].strip()
    for before in (' id="', 'href="#', "url(#"):
        text = text.replace(before, f"{before}{prefix}-")
    named = f'<svg role="img" aria-label="{escape(label)}"'
    return re.sub(r"<metadata>.*?</metadata>", "", text, flags=re.DOTALL).replace("<svg", named, 1)


def _save(figure: Figure, path: Path) -> None:
    """Write a figure whole or not at all; the same figure gives the same bytes."""
    stream = BytesIO()
    with mpl.rc_context(STYLE):
        metadata = {"Date": None} if path.suffix == ".svg" else {"Software": None}
        figure.savefig(stream, format=path.suffix[1:], dpi=150, metadata=metadata)
    with replacing(path) as file:
        file.write(stream.getvalue())


def _file_name(layer: str) -> str:
    return "".join(char if char.isalnum() or char in "-_." else "_" for char in layer)


def _name_layers(axes: Axes, result: Result) -> None:
    names = [layer.name for layer in result.layers]
    crowded = sum(map(len, names)) > 40
    axes.set_xticks(range(len(names)), names, rotation=45 if crowded else 0, ha="right" if crowded else "center")


def _legend_below(figure: Figure, axes: Axes) -> None:
    handles, labels = axes.get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=min(len(labels), 7), fontsize=8)
