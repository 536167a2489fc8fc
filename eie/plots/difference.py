"""Pictures of a difference: the change of each layer's cycles by what PEs do, or of each point's time.

Comes in: a `Difference`. Goes out: figures. What became more stands right of the line, what became less left of it.
"""

from __future__ import annotations

from functools import partial

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from eie.plots.drawing import STYLE, Drawing, Drawings
from eie.results import accounting
from eie.show.cells import LONGEST, short_names
from eie.show.palette import SHARES
from eie.studies.difference.answer import Difference
from eie.studies.difference.changes import Delta
from eie.studies.difference.charts import name_of

# More cannot be named; those are drawn that changed most.
MOST_BARS = 40


def changes(difference: Difference) -> Figure:
    """Show the change of cycles of each layer or point, stacked by what PEs do where that is known."""
    drawn = sorted(difference.points, key=lambda change: -abs(change.cycles))[:MOST_BARS]
    # In their own order again, the first on top.
    drawn = [change for change in difference.points if change in drawn][::-1]
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(6.4, 1.6 + 0.22 * len(drawn)))
        axes = figure.add_subplot()
        _stack(axes, drawn)
        axes.axvline(0, color="black", linewidth=0.8)
        axes.set_yticks(range(len(drawn)), short_names([name_of(change) for change in drawn], 2 * LONGEST), fontsize=7)
        axes.set_xlabel("cycles that B takes more")
        handles, labels = axes.get_legend_handles_labels()
        if handles:
            figure.legend(handles, labels, loc="outside lower center", ncols=4, fontsize=8)
    return figure


def difference_drawings(difference: Difference) -> Drawings:
    """Return the one figure; a page draws the same itself, with its values on hover."""
    return {"difference": Drawing(partial(changes, difference))}


def _stack(axes: Axes, drawn: list[Delta]) -> None:
    places = np.arange(len(drawn))
    if any(change.parts is None for change in drawn):
        axes.barh(places, [change.cycles for change in drawn], 0.7, color=SHARES["useful"].light)
        return
    # Two stacks a bar: what grew goes to the right, what shrank to the left.
    ends = {1: np.zeros(len(drawn)), -1: np.zeros(len(drawn))}
    for name in accounting.SHARES:
        values = np.array([(change.parts or {})[name] for change in drawn])
        label = name.replace("_", " ")
        for sign, base in ends.items():
            part = np.where(np.sign(values) == sign, values, 0.0)
            if part.any():
                axes.barh(places, part, 0.7, left=base, color=SHARES[name].light, label=label)
                # Once in the legend, whichever way it went.
                label = "_nolegend_"
            ends[sign] = base + part
