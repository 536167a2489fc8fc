"""Grouped bars over a log axis, a group a layer and a bar a machine, as the paper's figures 6 and 7.

Comes in: a `Comparison`. Goes out: matplotlib Figures.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

from eie.machines.noise import Interval
from eie.plots.drawing import STYLE, Drawing, Drawings, name_ticks, short
from eie.results.comparison import MEAN, Column, Comparison

# Hues that the colour-blind tell apart; a ninth bar begins again, hatched.
PALETTE = ("#0072B2", "#999999", "#E69F00", "#56B4E9", "#009E73", "#CC79A7", "#D55E00", "#F0E442")


def speedup(comparison: Comparison) -> Figure:
    """Show each machine's speedup over the reference, by layer, with the geometric mean."""
    return _bars(comparison, comparison.speedup, "speedup")


def energy_efficiency(comparison: Comparison) -> Figure:
    """Show each machine's energy efficiency over the reference, by layer, with the geometric mean."""
    return _bars(comparison, comparison.efficiency, "energy efficiency")


def comparison_drawings(comparison: Comparison) -> Drawings:
    """Return the figures that have bars."""
    ratios = {"speedup": (speedup, comparison.speedup), "energy": (energy_efficiency, comparison.efficiency)}
    return {
        f"compare-{name}": Drawing(partial(draw, comparison), "comparison")
        for name, (draw, ratio) in ratios.items()
        # A figure without a single bar is none: published rows may have no energy, a report no time.
        if any(ratio(column, group) for column in comparison.columns for group in _groups(comparison))
    }


def _groups(comparison: Comparison) -> list[str]:
    """Layers, and their mean where they add up to the network."""
    return [*comparison.layers, *([] if comparison.incomplete else [MEAN])]


def _bars(comparison: Comparison, ratio: Callable[[Column, str], float | None], what: str) -> Figure:
    groups = _groups(comparison)
    shown = [column for column in comparison.columns if any(ratio(column, layer) for layer in groups)]
    reference = comparison.columns[comparison.reference].machine.name
    with mpl.rc_context(STYLE):
        # A quarter of an inch a bar and a gap, so that a network of fifty layers still shows its bars.
        figure = Figure(figsize=(max(6.4, 0.25 * len(groups) * (len(shown) + 1)), 3.6))
        axes = figure.add_subplot()
        # Of the distance between groups; what is left parts them.
        width = 0.85 / max(1, len(shown))
        for i, column in enumerate(shown):
            values = [ratio(column, layer) for layer in groups]
            # Centred: the middle of a group's bars is its tick.
            places = np.arange(len(groups)) + (i - (len(shown) - 1) / 2) * width
            drawn = axes.bar(
                places,
                [np.nan if value is None else value for value in values],
                width,
                color=PALETTE[i % len(PALETTE)],
                hatch="//" if i >= len(PALETTE) else None,
                # Who pays for memory, beside the name: a factor over weights that came for nothing is another one.
                label=f"{column.machine.name}; {column.machine.memory or 'memory not known'}",
            )
            if what == "speedup":
                _error_bars(axes, places, [comparison.speedup_interval(column, layer) for layer in groups])
            # Beyond, the numbers would cover each other; the table has them.
            if len(groups) * len(shown) <= 60:
                labels = [_label(value) for value in values]
                axes.bar_label(drawn, labels, fontsize=6, rotation=90, padding=2)
        # Ratios: twice as fast and half as fast are equally far from 1.
        axes.set_yscale("log")
        # Room for the numbers, which stand upright on the bars.
        axes.margins(y=0.3)
        axes.axhline(1, color="black", linewidth=0.6)
        axes.set_ylabel(f"{what} over\n{reference}")
        axes.set_title(short(comparison.network))
        # About six letters of a name fit an inch of axis.
        name_ticks(axes, groups, most=int(6 * figure.get_figwidth()))
        figure.legend(*axes.get_legend_handles_labels(), loc="outside lower center", ncols=3, fontsize=7)
    return figure


def _error_bars(axes: Axes, places: NDArray[np.floating[Any]], intervals: Sequence[Interval | None]) -> None:
    """Draw where each measured speedup may be."""
    for place, value in zip(places, intervals, strict=True):
        if value is not None:
            axes.vlines(place, value.low, value.high, color="black", linewidth=0.8)


def _label(value: float | None) -> str:
    if value is None:
        return ""
    return f"{value:,.0f}x" if value >= 100 else f"{value:.3g}x"
