"""Pictures of the reproduction: one function a figure, a `Section` in, a matplotlib Figure out.

Colours are Okabe and Ito's. A network has a colour, a layer of it a marker and a dash, so that the nine curves stay
apart in print and for the colour-blind. Nothing here opens a window or touches pyplot's state.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from matplotlib.ticker import LogLocator, NullFormatter, PercentFormatter

from eie.plots.drawing import STYLE, Drawing, Drawings
from eie.show.sections import Curves, Section
from eie.studies.paper.reproduce import Paper

LINES: Mapping[str, tuple[str, str, Any]] = {
    "Alex-6": ("#0072B2", "o", "-"),
    "Alex-7": ("#0072B2", "s", "--"),
    "Alex-8": ("#0072B2", "^", ":"),
    "VGG-6": ("#D55E00", "o", "-"),
    "VGG-7": ("#D55E00", "s", "--"),
    "VGG-8": ("#D55E00", "^", ":"),
    "NT-We": ("#009E73", "o", "-"),
    "NT-Wd": ("#009E73", "s", "--"),
    "NT-LSTM": ("#009E73", "^", ":"),
}
BARS = ("#BBBBBB", "#56B4E9", "#0072B2", "#E69F00", "#009E73")
PLAIN = (
    ("#0072B2", "o", "-"),
    ("#D55E00", "s", "--"),
    ("#009E73", "^", ":"),
    ("#E69F00", "D", "-."),
    ("#CC79A7", "v", "-"),
    ("#666666", "P", "--"),
)
SIZE = (6.4, 3.6)


def table4(section: Section) -> Figure:
    """Times of one frame: printed and ours, theoretical and actual."""
    # Printed in greys, ours in blues; the paler of two is the theoretical time.
    return _bar_figure(section, ("#DDDDDD", "#999999", "#56B4E9", "#0072B2"))[0]


def figure6(section: Section) -> Figure:
    """Speedup over the dense CPU, printed and ours."""
    figure, axes = _bar_figure(section, BARS)
    _factor_axis(axes)
    return figure


def figure7(section: Section) -> Figure:
    """Energy efficiency over the dense CPU, printed and ours."""
    figure, axes = _bar_figure(section, BARS)
    _factor_axis(axes)
    return figure


def figure8(section: Section) -> Figure:
    """Load balance over FIFO depth."""
    figure, axes = _line_figure(section)
    _percent_axis(axes)
    # 8 is what the paper settled on; at depth 1 each column waits for its slowest PE.
    axes.axvline(8, color="#999999", linewidth=0.8, zorder=0)
    axes.annotate("lockstep", (1, 0.02), (0, 0), textcoords="offset points", fontsize=7.5, color="#666666")
    axes.annotate("the paper's choice", (8, 0.02), (4, 0), textcoords="offset points", fontsize=7.5, color="#666666")
    return figure


def figure9(section: Section) -> Figure:
    """Reads, energy a read and energy of all reads over SRAM width."""
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(6.4, 3.6))
        figure.suptitle(section.title, fontsize=11)
        # Three panels, as in the paper: more reads of narrow rows, dearer reads of wide ones, and their product.
        for axes, curves in zip(figure.subplots(1, 3), section.curves, strict=True):
            for (name, values), style in zip(curves.series.items(), _styles_of_widths(curves), strict=True):
                axes.plot(curves.x, np.array(values, float), **style, markersize=3.5, linewidth=1.3, label=name)
            axes.set_xscale("log", base=2)
            axes.set_xticks(curves.x, [str(x) for x in curves.x], fontsize=8)
            axes.minorticks_off()
            axes.set(xlabel=curves.x_label, ylabel=curves.y_label, ylim=(0, None))
            axes.yaxis.set_major_formatter("{x:,g}")
            # 64 bits, what the paper settles on.
            axes.axvline(64, color="#999999", linewidth=0.8, zorder=0)
            axes.legend(loc="upper center", bbox_to_anchor=(0.45, -0.24), fontsize=7, handlelength=2.6)
    return figure


def _styles_of_widths(curves: Curves) -> list[dict[str, Any]]:
    """Hollow markers for rows fetched anew; colour by layer or by CACTI cell."""
    hues = ("#0072B2", "#D55E00", "#009E73")
    # Held and anew are one key: they share a colour and differ in dash and filling.
    keys = list(dict.fromkeys(_key(name) for name in curves.series))
    return [
        {
            "color": hues[keys.index(_key(name))],
            "marker": ("o", "s", "^")[keys.index(_key(name))],
            "linestyle": "--" if "anew" in name else "-",
            "markerfacecolor": "white" if "anew" in name else hues[keys.index(_key(name))],
        }
        for name in curves.series
    ]


def _key(series: str) -> str:
    return series.replace(", anew", "").replace("anew, ", "").replace("held, ", "")


def figure10(section: Section) -> Figure:
    """Accuracy over the number format."""
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=SIZE)
        axes = figure.add_subplot()
        curves = section.curves[0]
        # Formats are names, not numbers: at equal distances.
        places = np.arange(len(curves.x))
        # There are more styles than series.
        for (name, values), (colour, marker, dash) in zip(curves.series.items(), PLAIN, strict=False):
            heights = np.array(values, float)
            # A format may be printed and not ours, or the other way round: the line goes on over the gap.
            known = np.isfinite(heights)
            axes.plot(places[known], heights[known], color=colour, marker=marker, linestyle=dash, label=name)
        axes.set_xticks(places, [str(x) for x in curves.x])
        axes.set(xlabel=curves.x_label, ylabel=curves.y_label, ylim=(0, 100))
        axes.set_title(section.title)
        axes.legend(loc="lower left", fontsize=8)
    return figure


def figure11(section: Section) -> Figure:
    """Speedup over the number of PEs."""
    figure, axes = _line_figure(section)
    counts = [float(x) for x in section.curves[0].x]
    # Speedup = PEs, to compare with: below the curves, which touch it.
    axes.plot(counts, counts, color="#444444", linewidth=0.8, zorder=0)
    axes.annotate("linear", (90, 90), (-6, 6), textcoords="offset points", ha="right", fontsize=8, color="#444444")
    # As the x axis, so that linear is a straight line.
    axes.set_yscale("log", base=2)
    axes.set_yticks(counts, [f"{count:g}" for count in counts])
    axes.minorticks_off()
    return figure


def figure12(section: Section) -> Figure:
    """Real work over total work, over the number of PEs."""
    figure, axes = _line_figure(section)
    _percent_axis(axes)
    return figure


def figure13(section: Section) -> Figure:
    """Load balance over the number of PEs."""
    figure, axes = _line_figure(section)
    _percent_axis(axes)
    return figure


DRAWN: Mapping[str, Callable[[Section], Figure]] = {
    "table4": table4,
    "figure6": figure6,
    "figure7": figure7,
    "figure8": figure8,
    "figure9": figure9,
    "figure10": figure10,
    "figure11": figure11,
    "figure12": figure12,
    "figure13": figure13,
}


def draw(section: Section) -> Figure | None:
    """Draw a section; None if it has no figure."""
    return DRAWN[section.name](section) if section.name in DRAWN else None


def paper_drawings(paper: Paper) -> Drawings:
    """Return every figure of the sections that were asked for."""
    return {
        section.name: Drawing(partial(DRAWN[section.name], section), section.name)
        for section in paper.parts
        if section.name in DRAWN
    }


def lines(curves: Curves, title: str) -> Figure:
    """Draw any curves over a power-of-two axis; the nine layers keep their styles, other series get plain ones."""
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=SIZE)
        axes = figure.add_subplot()
        for i, (name, values) in enumerate(curves.series.items()):
            colour, marker, dash = LINES.get(name, PLAIN[i % len(PLAIN)])
            style: dict[str, Any] = {"color": colour, "marker": marker, "linestyle": dash}
            axes.plot(curves.x, np.array(values, float), **style, markersize=4, linewidth=1.3, label=name)
        axes.set_xscale("log", base=2)
        # Only what was computed, without matplotlib's powers of two between.
        axes.set_xticks(curves.x, [str(x) for x in curves.x])
        axes.minorticks_off()
        axes.set(xlabel=curves.x_label, ylabel=curves.y_label)
        axes.set_title(title)
        figure.legend(loc="outside right center", fontsize=8, handlelength=3)
    return figure


def _line_figure(section: Section) -> tuple[Figure, Axes]:
    figure = lines(section.curves[0], section.title)
    return figure, figure.axes[0]


def _percent_axis(axes: Axes) -> None:
    # A little above all, or markers at 100 % are cut in half.
    axes.set_ylim(0, 1.03)
    axes.yaxis.set_major_formatter(PercentFormatter(1.0))


def _factor_axis(axes: Axes) -> None:
    """Make the axis logarithmic, ticks at 1, 2 and 5 of each decade, bars standing on a whole decade."""
    axes.set_yscale("log")
    # Empty places have height 0, which a log axis does not know.
    lowest = min(bar.get_height() for bar in axes.patches if isinstance(bar, Rectangle) and bar.get_height() > 0)
    axes.set_ylim(bottom=10 ** np.floor(np.log10(lowest)))
    axes.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axes.yaxis.set_major_formatter("{x:,g}")
    axes.yaxis.set_minor_formatter(NullFormatter())


def _broken(name: str) -> str:
    """Break the one long name under a bar."""
    return name.replace("geomean", "geo-\nmean")


def _bar_figure(section: Section, colours: tuple[str, ...]) -> tuple[Figure, Axes]:
    """Draw a group of bars for every layer, the legend below; None leaves its place empty."""
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=SIZE)
        axes = figure.add_subplot()
        curves = section.curves[0]
        # A fifth of the distance stays free between groups.
        places, width = np.arange(len(curves.x)), 0.8 / len(curves.series)
        for i, (name, values) in enumerate(curves.series.items()):
            offset = (i - (len(curves.series) - 1) / 2) * width
            # The place stays empty: later bars must not move up.
            heights = [value or 0.0 for value in values]
            axes.bar(places + offset, heights, width * 0.92, color=colours[i], label=name)
        axes.set_xticks(places, [_broken(str(x)) for x in curves.x], fontsize=8)
        axes.set(ylabel=curves.y_label)
        axes.set_title(section.title)
        figure.legend(loc="outside lower center", ncols=len(curves.series), fontsize=8)
    return figure, axes
