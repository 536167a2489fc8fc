"""Figures of an `Explanation`: what the time of each layer goes to.

Comes in: an `Explanation`. Goes out: a matplotlib Figure.
"""

from __future__ import annotations

from functools import partial

import matplotlib as mpl
from matplotlib.figure import Figure
from matplotlib.ticker import PercentFormatter

from eie.plots.drawing import STYLE, Drawing, Drawings, short
from eie.results.accounting import BOUND_BY
from eie.show.cells import LONGEST, short_names
from eie.studies.explain.answer import Explanation

COLOURS = ("#0072B2", "#009E73", "#D55E00", "#CC79A7", "#56B4E9", "#E69F00", "#999999")


def causes(explanation: Explanation) -> Figure:
    """Show shares of each layer's time by what binds it, one bar a layer."""
    layers = explanation.layers
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(6.4, 0.3 * len(layers) + 1.6))
        axes = figure.add_subplot()
        left = [0.0] * len(layers)
        for cause, colour in zip(BOUND_BY, COLOURS, strict=True):
            widths = [layer.bound_parts[cause] for layer in layers]
            axes.barh(range(len(layers)), widths, left=left, color=colour, label=cause)
            left = [start + width for start, width in zip(left, widths, strict=True)]
        axes.set_yticks(range(len(layers)), short_names([layer.name for layer in layers], LONGEST))
        # The first layer above, as in the table; no margin, which would grow with the layers.
        axes.set_ylim(len(layers) - 0.4, -0.6)
        axes.xaxis.set_major_formatter(PercentFormatter(1.0))
        axes.set(xlim=(0, 1), xlabel="of the layer's time", title=f"{short(explanation.network)}: what binds it")
        figure.legend(loc="outside lower center", ncols=len(BOUND_BY), fontsize=8)
    return figure


def explanation_drawings(explanation: Explanation) -> Drawings:
    """Return what can be drawn of an explanation."""
    return {"explanation-causes": Drawing(partial(causes, explanation), "binds")}
