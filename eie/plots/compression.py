"""Pictures of compression: bytes by layer and stage, accuracy over density.

Comes in: a `CompressionReport`, a `SizeReport` or a `Sensitivity`. Goes out: matplotlib Figures.
"""

from __future__ import annotations

from functools import partial

import matplotlib as mpl
import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import PercentFormatter

from eie.compression.coding.sizes import SizeReport
from eie.compression.pruning.sensitivity import Sensitivity
from eie.compression.report import CompressionReport
from eie.plots.drawing import STYLE, Drawing, Drawings, name_ticks, short
from eie.show.cells import LONGEST, short_names

STAGES = (
    ("dense_bytes", "dense", "#999999"),
    ("pruned_bytes", "pruned, CSR", "#E69F00"),
    ("shared_bytes", "and shared", "#56B4E9"),
    ("huffman_bytes", "and Huffman-coded", "#0072B2"),
)
LINES = (
    ("#0072B2", "o", "-"),
    ("#D55E00", "s", "--"),
    ("#009E73", "^", ":"),
    ("#E69F00", "D", "-."),
    ("#CC79A7", "v", "-"),
    ("#56B4E9", "P", "--"),
)


def sizes(report: SizeReport) -> Figure:
    """Show bytes by layer after each stage of Deep Compression."""
    rows = (*report.layers, report.total)
    with mpl.rc_context(STYLE):
        # Half an inch a layer holds its four bars.
        figure = Figure(figsize=(max(6.4, 0.5 * len(rows)), 3.4))
        axes = figure.add_subplot()
        for i, (stage, label, colour) in enumerate(STAGES):
            # 1.5 is the middle of four stages.
            places = np.arange(len(rows)) + (i - 1.5) * 0.2
            # A layer that was taken out has no bytes, and no place on a log axis.
            values = [getattr(size, stage) or np.nan for size in rows]
            axes.bar(places, values, 0.19, color=colour, label=label)
        # Layers differ by a thousand and more; on a linear axis the small ones vanish.
        axes.set_yscale("log")
        name_ticks(axes, [size.name for size in rows], most=50)
        axes.set(ylabel="bytes", title=short(report.network))
        figure.legend(loc="outside lower center", ncols=len(STAGES), fontsize=8)
    return figure


def sensitivity(scan: Sensitivity) -> Figure:
    """Show accuracy over the density of one layer, the others left alone."""
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(6.4, 3.6))
        axes = figure.add_subplot()
        layers = list(dict.fromkeys(point.layer for point in scan.points))
        for i, (name, label) in enumerate(zip(layers, short_names(layers, LONGEST), strict=True)):
            colour, marker, dash = LINES[i % len(LINES)]
            points = [(point.density, point.value) for point in scan.points if point.layer == name]
            axes.plot(
                *zip(*points, strict=True), color=colour, marker=marker, linestyle=dash, markersize=4, label=label
            )
        # Below the lines: what they fall from, not one of them. Errors rise from nothing.
        axes.axhline(scan.baseline or 0.0, color="black", linewidth=0.6, zorder=0)
        axes.xaxis.set_major_formatter(PercentFormatter(1.0))
        axes.yaxis.set_major_formatter(PercentFormatter(1.0))
        axes.set(
            xlabel=f"density ({scan.granularity}, {scan.criterion})",
            ylabel=f"{scan.measure.replace('_', ' ')}, not fine-tuned",
        )
        axes.set_title(f"{short(scan.network)}: one layer pruned, the others as they came")
        figure.legend(loc="outside right center", fontsize=8)
    return figure


def report_drawings(report: CompressionReport) -> Drawings:
    """Return the sizes of what a recipe left."""
    return size_drawings(report.sizes)


def size_drawings(report: SizeReport) -> Drawings:
    """Return bytes by layer and stage."""
    return {"sizes": Drawing(partial(sizes, report), "sizes")}


def sensitivity_drawings(scan: Sensitivity) -> Drawings:
    """Return accuracy over density."""
    return {"sensitivity": Drawing(partial(sensitivity, scan), "sensitivity")}
