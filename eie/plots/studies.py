"""Pictures of studies: speedups of a granularity by machine, accuracy by compression, densities by layer.

Comes in: a `GranularityStudy` or a `Search`. Goes out: matplotlib Figures.
"""

from __future__ import annotations

from functools import partial

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import NullFormatter, PercentFormatter

from eie.machines.choose import called
from eie.plots.drawing import STYLE, Drawing, Drawings, name_ticks, short
from eie.show.numbers import percent
from eie.studies.granularity.answer import GranularityStudy
from eie.studies.granularity.rows import Row
from eie.studies.machines import EIE
from eie.studies.search.answer import Search
from eie.studies.search.budget import unit

# Print tells them by marker and dash. Fourth and fifth share a hue: by default tensor cores, without and with a batch.
MACHINES = (
    ("#0072B2", "o", "-"),
    ("#56B4E9", "s", "--"),
    ("#E69F00", "^", ":"),
    ("#009E73", "D", "-."),
    ("#009E73", "*", ":"),
    ("#999999", "v", "--"),
    ("#D55E00", "P", "-"),
    ("#CC79A7", "X", "-."),
)
PANELS = {"fine": "fine-grained", "channels": "channels"}


def speedups(study: GranularityStudy) -> Figure:
    """Show what each machine gains from single weights, from 2:4 (at 50 %, hollow), and from channels taken away."""
    # A panel only for what was pruned in the study.
    panels = [family for family in PANELS if any(row.variant.family == family for row in study.found)]
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(3.4 * max(1, len(panels)) + 1.4, 3.6))
        for axes, family in zip(
            figure.subplots(1, max(1, len(panels)), sharey=True, squeeze=False)[0], panels, strict=False
        ):
            for i, machine in enumerate(study.machines):
                _line(axes=axes, study=study, family=family, machine=machine, i=i)
            axes.axhline(1, color="black", linewidth=0.6, zorder=0)
            axes.set_yscale("log", base=2)
            axes.yaxis.set_major_formatter("{x:g}x")
            axes.yaxis.set_minor_formatter(NullFormatter())
            axes.xaxis.set_major_formatter(PercentFormatter(1.0))
            axes.set(xlabel=f"{PANELS[family]} pruned", xlim=(0, 1))
        figure.axes[0].set_ylabel("speedup over the unpruned network")
        if any(row.variant.granularity == "2:4" for row in study.found):
            # Of no points: one grey entry in the legend for the hollow markers of all machines.
            figure.axes[0].plot(
                [], [], color="#666666", marker="o", linestyle="", markersize=9, markerfacecolor="none", label="2:4"
            )
        figure.suptitle(f"{short(study.network)}: who gains from what", fontsize=11)
        figure.legend(*figure.axes[0].get_legend_handles_labels(), loc="outside right center", fontsize=8)
    return figure


def _line(axes: Axes, study: GranularityStudy, family: str, machine: str, i: int) -> None:
    colour, marker, dash = MACHINES[i % len(MACHINES)]

    def points(rows: list[Row]) -> list[tuple[float, float]]:
        known = [(row.variant.sparsity, study.speedup(row, machine)) for row in rows]
        # A machine may not run a variant: its line goes past it.
        return sorted((x, y) for x, y in known if y is not None)

    # The unpruned network is where every line begins.
    line = points([row for row in study.found if row.variant.family in (family, "dense")])
    label = "EIE" if machine == EIE else called(machine)
    axes.plot(*zip(*line, strict=True), color=colour, marker=marker, linestyle=dash, markersize=4, label=label)
    _error_bars(axes=axes, study=study, family=family, machine=machine, colour=colour)
    pattern = points([row for row in study.found if ":" in row.variant.granularity])
    if family == "fine" and pattern:
        axes.plot(
            *zip(*pattern, strict=True), color=colour, marker=marker, linestyle="", markersize=9, markerfacecolor="none"
        )


def _error_bars(*, axes: Axes, study: GranularityStudy, family: str, machine: str, colour: str) -> None:
    """Draw where each measured speedup may be."""
    for row in study.found:
        value = study.speedup_interval(row, machine)
        if row.variant.family in (family, "dense") and study.runs_us(row, machine) and value is not None:
            axes.vlines(row.variant.sparsity, value.low, value.high, color=colour, linewidth=1.0)
            axes.plot([row.variant.sparsity] * 2, [value.low, value.high], color=colour, marker="_", linestyle="")


def accuracies(study: GranularityStudy) -> Figure:
    """Show accuracy over how many times fewer weights are left, a line a granularity."""
    # The first row is the unpruned network, which has no family of its own to draw.
    families = list(dict.fromkeys(row.variant.family for row in study.found[1:]))
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(6.0, 3.4))
        axes = figure.add_subplot()
        for i, family in enumerate(families):
            # Five that differ in hue: neighbours in the table of machines do not.
            colour, marker, dash = MACHINES[(0, 2, 3, 6, 7)[i % 5]]
            rows = [study.unpruned, *(row for row in study.found if row.variant.family == family)]
            points = ((study.compression(row), row.accuracy) for row in rows)
            known = sorted((x, y) for x, y in points if x is not None and y is not None)
            axes.plot(
                *zip(*known, strict=True), color=colour, marker=marker, linestyle=dash, markersize=4, label=family
            )
        # Twice as small is one step, wherever it starts.
        axes.set_xscale("log", base=2)
        axes.xaxis.set_major_formatter("{x:g}x")
        axes.yaxis.set_major_formatter(PercentFormatter(1.0))
        tuned = f"fine-tuned, {study.epochs} epochs" if study.epochs else "not fine-tuned"
        axes.set(
            xlabel="fewer weights",
            ylabel=f"accuracy, {tuned}",
            title=f"{short(study.network)}: what each granularity loses",
        )
        axes.set_ylim(0, 1)
        axes.legend(fontsize=8)
    return figure


def densities(search: Search) -> Figure:
    """Show the density of each layer, uniform and not, and what the two networks get right."""
    layers = list(search.found.densities)
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(max(4.8, 0.45 * len(layers) + 2), 3.4))
        axes = figure.add_subplot()
        for i, (plan, colour) in enumerate(((search.uniform, "#999999"), (search.found, "#0072B2"))):
            score = plan.final
            told = f"error {percent(score.loss)} %" if score.accuracy is None else f"{percent(score.accuracy)} % right"
            label = f"{plan.name}: {told} at {plan.verified:.4g} {unit(search.quantity)}"
            # Two bars, left and right of the tick.
            places = np.arange(len(layers)) + (i - 0.5) * 0.38
            axes.bar(places, [plan.densities[name] for name in layers], 0.36, color=colour, label=label)
        axes.yaxis.set_major_formatter(PercentFormatter(1.0))
        name_ticks(axes, layers, most=50)
        axes.set(ylabel=f"density ({search.granularity})", ylim=(0, 1.02))
        axes.set_title(f"{short(search.network)} in {search.limit:.4g} {unit(search.quantity)} on {search.machine}")
        figure.legend(loc="outside lower center", fontsize=8)
    return figure


def granularity_drawings(study: GranularityStudy) -> Drawings:
    """Return what can be drawn of a study."""
    drawings = {"granularity-speedup": Drawing(partial(speedups, study), "costs")}
    # Without labelled inputs there is no accuracy, and the unpruned network alone makes no line.
    if study.accuracy_source and len(study.found) > 1:
        drawings["granularity-accuracy"] = Drawing(partial(accuracies, study), "left")
    return drawings if study.search is None else {**drawings, **search_drawings(study.search)}


def search_drawings(search: Search) -> Drawings:
    """Return the densities that were found."""
    return {"search-densities": Drawing(partial(densities, search), "search")}
