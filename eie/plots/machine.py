"""Pictures of a machine: its area by unit, what its Verilog counts, and what that takes of an FPGA.

Comes in: an `Area`, an `RtlCheck` or an `RtlResources`. Goes out: matplotlib Figures.
"""

from __future__ import annotations

from functools import partial

import matplotlib as mpl
import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import PercentFormatter

from eie.energy.area import Area
from eie.plots.drawing import STYLE, Drawing, Drawings, name_ticks, short
from eie.rtl.check import RtlCheck
from eie.rtl.resources import KINDS, RtlResources

# By the names that `eie.rtl.resources` has for them.
LABELS = {"lut": "LUT", "lut_memory": "of them memory", "register": "FF", "block_ram": "block RAM", "dsp": "DSP"}
COLOURS = ("#0072B2", "#56B4E9", "#009E73", "#E69F00", "#CC79A7")


def units(area: Area) -> Figure:
    """Show a machine's square millimetres by unit."""
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(6.4, 3.0))
        axes = figure.add_subplot()
        axes.bar(range(len(area.unit_mm2)), list(area.unit_mm2.values()), color=COLOURS[0])
        name_ticks(axes, list(area.unit_mm2), most=50)
        axes.set(ylabel="mm2", title=f"{short(area.spec.name)}: {area.total_mm2:.4g} mm2")
    return figure


def counts(check: RtlCheck) -> Figure:
    """Show every count over all layers, ours and that of the Verilog."""
    sums: dict[str, list[int]] = {}
    for layer in check.layers:
        for name, ours, rtl in layer.counts:
            both = sums.setdefault(name, [0, 0])
            both[0] += ours
            both[1] += rtl
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(7.2, 3.6))
        axes = figure.add_subplot()
        places = np.arange(len(sums))
        for side, label in enumerate(("ours", "RTL")):
            # Half a bar to either side of the place; nothing has no place on a log axis.
            values = [both[side] or np.nan for both in sums.values()]
            axes.bar(places + 0.4 * side - 0.2, values, 0.38, color=COLOURS[3 * side], label=label)
        # Cycles and entries differ by a thousand and more.
        axes.set_yscale("log")
        name_ticks(axes, list(sums), most=50)
        axes.set(ylabel="count", title=short(check.program))
        figure.legend(loc="outside lower center", ncols=2, fontsize=8)
    return figure


def shares(resources: RtlResources) -> Figure:
    """Show which share of each kind of resource a unit takes, over all layers."""
    names = list(dict.fromkeys(unit.unit for layer in resources.layers for unit in layer.units))
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(7.2, 3.6))
        axes = figure.add_subplot()
        for i, kind in enumerate(KINDS):
            # A kind that no unit takes has no shares.
            whole = sum(getattr(layer.whole, kind) for layer in resources.layers) or np.nan
            taken = [
                sum(getattr(unit, kind) for layer in resources.layers for unit in layer.units if unit.unit == name)
                for name in names
            ]
            # The middle one of the kinds stands over the tick.
            places = np.arange(len(names)) + (i - (len(KINDS) - 1) / 2) * 0.16
            axes.bar(places, np.array(taken) / whole, 0.15, color=COLOURS[i], label=LABELS[kind])
        axes.yaxis.set_major_formatter(PercentFormatter(1.0))
        name_ticks(axes, names, most=50)
        axes.set(ylabel="of all units", title=short(resources.program))
        figure.legend(loc="outside lower center", ncols=len(KINDS), fontsize=8)
    return figure


def area_drawings(area: Area) -> Drawings:
    """Return the figure of an area."""
    return {"area": Drawing(partial(units, area), "area")}


def check_drawings(check: RtlCheck) -> Drawings:
    """Return the figure of a check."""
    return {"rtl": Drawing(partial(counts, check), "rtl")}


def resources_drawings(resources: RtlResources) -> Drawings:
    """Return the figure of what designs take."""
    return {"resources": Drawing(partial(shares, resources), "resources")}
