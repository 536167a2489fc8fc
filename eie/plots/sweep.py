"""Pictures of a sweep: one function a figure, a `SweepResult` in, a matplotlib Figure out.

A figure shows one varied field along its axis. The other varied fields stand still, at the sweep's base machine where
that is among their values, else at their first value; the title says so. A line is a layer, or a whole network where
there are more than `MOST_LINES` layers.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from functools import partial
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import PercentFormatter

from eie.energy.estimate import UNITS
from eie.errors import SweepError
from eie.plots.drawing import STYLE, Drawing, Drawings, short
from eie.plots.result import COLOURS
from eie.show.cells import LONGEST, short_names
from eie.show.records import Record
from eie.sweeps.pages import axis_label
from eie.sweeps.result import SweepResult, objective_columns

# More cannot be told apart, nor named below the figure.
MOST_LINES = 10
# Okabe and Ito, black and grey last; markers differ as well, for print.
LINE_COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000", "#999999")
MARKERS = "osD^v<>PX*"


def latency_over_pes(result: SweepResult) -> Figure:
    """Show latency, and the speedup over the fewest PEs, over the number of PEs."""
    lines, note = _lines(result, "n_pe")
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(6.4, 3.4))
        left, right = figure.subplots(1, 2)
        for style, name, rows in _styled(lines):
            pes = _values(rows, "n_pe")
            latency = _values(rows, "latency_us")
            left.plot(pes, latency, label=name, **style)
            # Over the fewest PEs that were tried, not over one: one need not be among them.
            right.plot(pes, latency[0] / latency, **style)
        # Points can have failed: lines need not have the same PEs.
        all_pes = np.unique(np.concatenate([_values(rows, "n_pe") for rows in lines.values()]))
        right.plot(all_pes, all_pes / all_pes[0], color="#999999", linestyle=":", linewidth=1)
        end = (all_pes[-1], all_pes[-1] / all_pes[0])
        right.annotate("ideal", end, (-6, -3), textcoords="offset points", ha="right")
        for axes in (left, right):
            _log2(axes, "n_pe", all_pes)
            axes.set_yscale("log")
        left.set_ylabel(axis_label("latency_us"))
        right.set_ylabel(f"speedup over {all_pes[0]:g} PE{'' if all_pes[0] == 1 else 's'}")
        return _finish(figure=figure, result=result, title="Latency and speedup", note=note)


def efficiency_over_depth(result: SweepResult) -> Figure:
    """Show load-balance efficiency over the depth of the activation queues."""
    return _share_figure(
        result=result,
        field="act_queue_depth",
        column="efficiency",
        label="load-balance efficiency",
        title="Queue depth",
    )


def padding_over_pes(result: SweepResult) -> Figure:
    """Show padding entries among all entries over the number of PEs."""
    return _share_figure(
        result=result, field="n_pe", column="padding_share", label="padding share of entries", title="Padding"
    )


def balance_over_pes(result: SweepResult) -> Figure:
    """Show load-balance efficiency over the number of PEs."""
    return _share_figure(
        result=result, field="n_pe", column="efficiency", label="load-balance efficiency", title="Load balance"
    )


def reads_over_row_width(result: SweepResult) -> Figure:
    """Show sparse-matrix SRAM reads, and the energy they take, over the width of a row."""
    lines, note = _lines(result, "spmat_row_bits")
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(6.4, 3.4))
        left, right = figure.subplots(1, 2)
        for style, name, rows in _styled(lines):
            left.plot(_values(rows, "spmat_row_bits"), _values(rows, "spmat_reads"), label=name, **style)
            # Not every machine can be priced by activity; counts are there for all.
            priced = [row for row in rows if row.get("energy_activity_spmat_read_nj") is not None]
            widths = _values(priced, "spmat_row_bits")
            right.plot(widths, _values(priced, "energy_activity_spmat_read_nj"), **style)
        widths = np.unique(np.concatenate([_values(rows, "spmat_row_bits") for rows in lines.values()]))
        for axes in (left, right):
            _log2(axes, "spmat_row_bits", widths)
            axes.set_yscale("log")
        # Fewer widths may be priced than counted; side by side, both panels need the same axis.
        right.set_xlim(left.get_xlim())
        left.set_ylabel("sparse-matrix row reads")
        right.set_ylabel("energy of these reads (nJ)")
        return _finish(figure=figure, result=result, title="Sparse-matrix SRAM", note=note)


def energy_over(result: SweepResult, field: str) -> Figure:
    """Show the energy of whole networks by unit, stacked, over one varied field; a panel a workload."""
    # Whole networks: layers run one after the other, so their energies add up to one bar.
    lines, note = _lines(result, field, totals=True)
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(6.4, 3.4))
        # One axis for all, so that workloads can be compared across panels.
        panels = figure.subplots(1, len(lines), sharey=True, squeeze=False)[0]
        for axes, (name, rows) in zip(panels, lines.items(), strict=True):
            priced = [row for row in rows if row.get("energy_activity_nj") is not None]
            base = np.zeros(len(priced))
            for unit in UNITS:
                values = _values(priced, f"energy_activity_{unit}_nj")
                if values.any():
                    axes.bar(np.arange(len(priced)), values, 0.7, bottom=base, color=COLOURS[unit], label=unit)
                base = base + values
            ticks = [f"{row[field]:g}" if not isinstance(row[field], str) else row[field] for row in priced]
            crowded = len(ticks) * len(panels) > 14
            axes.set_xticks(range(len(ticks)), ticks, rotation=90 if crowded else 0)
            axes.set_xlabel(axis_label(field))
            if len(panels) > 1:
                axes.set_title(short(name), fontsize=9)
        panels[0].set_ylabel(axis_label("energy_activity_nj"))
        return _finish(figure=figure, result=result, title="Energy by unit", note=note)


def pareto(result: SweepResult, across: str = "latency", up: str = "energy") -> Figure:
    """Show all points of each workload in two objectives, the ones that `SweepResult.pareto` marked joined by a line.

    The front may be one in more than two objectives; its points then do not form a staircase, and no line is drawn.
    """
    # Objectives have short names on the command line; rows have columns.
    x, y = objective_columns((across, up), result.totals)
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(6.4, 3.6))
        axes = figure.add_subplot()
        for i, (model, trace) in enumerate(result.workloads):
            rows = [row for row in result.totals if (row["model"], row["trace"]) == (model, trace)]
            rows = [row for row in rows if row[x] is not None and row[y] is not None]
            colour, marker = LINE_COLOURS[i % len(LINE_COLOURS)], MARKERS[i % len(MARKERS)]
            axes.scatter(_values(rows, x), _values(rows, y), 12, "#BBBBBB", marker=marker, linewidths=0)
            # By y downwards where x is equal, so that a staircase never steps back up.
            front = sorted((row for row in rows if row.get("pareto")), key=lambda row: (row[x], -row[y]))
            staircase = bool((np.diff(_values(front, y)) <= 0).all())
            style: Any = {"color": colour, "marker": marker, "linestyle": "-" if staircase else "none", "linewidth": 1}
            label = f"{_workload(result, model, trace)}: front"
            axes.plot(_values(front, x), _values(front, y), markersize=4, label=label, **style)
            _name_points(axes=axes, result=result, front=front, x=x, y=y)
        # Of no points: one entry in the legend for the grey ones of all workloads.
        axes.scatter([], [], 12, "#BBBBBB", label="other points", linewidths=0)
        axes.set(xscale="log", yscale="log", xlabel=axis_label(x), ylabel=axis_label(y))
        axes.margins(0.12)
        return _finish(figure=figure, result=result, title="Pareto front", note=f"labels: {', '.join(result.vary)}")


def sweep_drawings(result: SweepResult) -> Drawings:
    """Return every figure that the varied fields allow, and the front where one is marked."""
    drawings: dict[str, Callable[[], Figure]] = {}
    # A field of one value was set, not varied: nothing can be drawn over it.
    swept = {field for field, values in result.vary.items() if len(values) > 1}
    if "n_pe" in swept:
        drawings["latency-over-pes"] = partial(latency_over_pes, result)
        drawings["padding-over-pes"] = partial(padding_over_pes, result)
        drawings["balance-over-pes"] = partial(balance_over_pes, result)
    if "act_queue_depth" in swept:
        drawings["efficiency-over-depth"] = partial(efficiency_over_depth, result)
    if "spmat_row_bits" in swept:
        drawings["reads-over-row-width"] = partial(reads_over_row_width, result)
    for field in result.vary:
        if field in swept:
            drawings[f"energy-over-{field}"] = partial(energy_over, result, field)
    if len(result.objectives) > 1:
        # Two axes: of a front in more objectives the first two.
        drawings["pareto"] = partial(pareto, result, *result.objectives[:2])
    # The page draws the front itself, with every point named on hover.
    return {name: Drawing(draw, "" if name == "pareto" else "figures") for name, draw in drawings.items()}


def _share_figure(result: SweepResult, field: str, column: str, label: str, title: str) -> Figure:
    """Draw a share of one, a line a layer, over a field on a log scale."""
    lines, note = _lines(result, field)
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(6.4, 3.4))
        axes = figure.add_subplot()
        for style, name, rows in _styled(lines):
            axes.plot(_values(rows, field), _values(rows, column), label=name, **style)
        _log2(axes, field, np.unique(np.concatenate([_values(rows, field) for rows in lines.values()])))
        # Efficiency against the whole; a share of padding is small, and would lie flat on the floor.
        axes.set_ylim(0, 1.02 if column == "efficiency" else max(0.05, axes.get_ylim()[1]))
        axes.yaxis.set_major_formatter(PercentFormatter(1.0))
        axes.set_ylabel(label)
        return _finish(figure=figure, result=result, title=title, note=note)


def _lines(result: SweepResult, field: str, *, totals: bool = False) -> tuple[dict[str, list[Record]], str]:
    """Return the rows along ``field``, a list a line, and what the other varied fields stand at."""
    if field not in result.vary:
        raise SweepError(f"no figure over {field}: it was not varied")
    still = {}
    for other, values in result.vary.items():
        if other != field:
            # At the base machine if the sweep has it: that is what the reader has in mind.
            base = getattr(result.spec, other)
            still[other] = base if base in values else values[0]
    rows = [row for row in result.rows if not row["error"] and all(row[name] == value for name, value in still.items())]
    layers = dict.fromkeys((row["model"], row["trace"], row["layer"]) for row in rows if row["layer"] is not None)
    totals = totals or len(layers) > MOST_LINES
    # Either layers or totals: together, all would be drawn twice.
    kept = [row for row in rows if (row["row"] == "total") == totals]
    if not kept:
        raise SweepError(f"no figure over {field}: no point with {_settings(still)} succeeded")
    lines: dict[str, list[Record]] = {}
    several = len(result.workloads) > 1
    for row in kept:
        load = _workload(result, row["model"], row["trace"])
        # Names as short as they can be told apart by.
        name = load if totals else f"{load} {row['layer']}" if several else row["layer"]
        lines.setdefault(name, []).append(row)
    # Lines need their points in the order of the field, whatever order the rows have.
    return {name: sorted(line, key=lambda row: row[field]) for name, line in lines.items()}, _settings(still)


def _workload(result: SweepResult, model: str, trace: str) -> str:
    """Name a workload: its model, and the inputs where the model runs on several."""
    alone = sum(other == model for other, _ in result.workloads) == 1
    # Cut: a trace may be called by a whole sentence.
    return model if alone else f"{model}, {trace[:24]}"


def _settings(still: dict[str, Any]) -> str:
    return ", ".join(f"{name} = {value}" for name, value in still.items())


def _styled(lines: dict[str, list[Record]]) -> Iterable[tuple[dict[str, Any], str, list[Record]]]:
    for i, (name, rows) in enumerate(lines.items()):
        style: dict[str, Any] = {"color": LINE_COLOURS[i % len(LINE_COLOURS)], "marker": MARKERS[i % len(MARKERS)]}
        style |= {"linestyle": "-" if i < len(LINE_COLOURS) else "--", "linewidth": 1.2}
        # Smaller from line to line, so that one line on another shows both.
        yield {**style, "markersize": 6.5 - 4 * i / len(lines)}, name, rows


def _values(rows: Sequence[Record], column: str) -> Any:
    # float64 for all: counts go on log axes and into ratios.
    return np.array([row[column] for row in rows], np.float64)


def _log2(axes: Axes, field: str, values: Any) -> None:
    """Make the x axis logarithmic, with the values themselves as ticks where there is room."""
    axes.set_xscale("log", base=2)
    # Every n-th of them, ten at most: labels of a fine grid would run into each other.
    ticks = values if len(values) <= 10 else values[:: -(-len(values) // 10)]
    axes.set_xticks(ticks, [f"{tick:g}" for tick in ticks], fontsize=8)
    axes.minorticks_off()
    axes.set_xlabel(axis_label(field))


def _name_points(axes: Axes, result: SweepResult, front: Sequence[Record], x: str, y: str) -> None:
    """Write the varied values beside points of a front that stand well apart, towards the middle of the picture."""
    if not front:
        return
    # As they lie on the log axis: a distance in the picture is one of logarithms.
    places = np.log(_values(front, x))
    span, last = max(np.ptp(places), 1e-9), -np.inf
    for row, place in zip(front, places, strict=True):
        # About the width of a label, so that five names stand side by side at most.
        if place - last < span / 5:
            continue
        last = place
        text = ", ".join(f"{row[field]:g}" if not isinstance(row[field], str) else row[field] for field in result.vary)
        left = place - places[0] < 0.6 * span
        side = "left" if left else "right"
        at = (5, 4) if left else (-5, 4)
        axes.annotate(text, (row[x], row[y]), at, textcoords="offset points", ha=side, fontsize=7)


def _finish(figure: Figure, result: SweepResult, title: str, note: str) -> Figure:
    """Add the title, which says where weights are random, and a legend below."""
    # Random masks are too even: a figure made of them has to say so.
    masks = ", random masks" if any(row["synthetic_weights"] for row in result.totals) else ""
    figure.suptitle(f"{title}{masks} ({note})" if note else f"{title}{masks}", fontsize=10)
    handles, labels = figure.axes[0].get_legend_handles_labels()
    labels = short_names(labels, 2 * LONGEST)
    if handles:
        # Short names in one line, longer ones in two.
        columns = 7 if sum(map(len, labels)) < 60 else 5
        figure.legend(handles, labels, loc="outside lower center", ncols=columns, fontsize=8)
    return figure
