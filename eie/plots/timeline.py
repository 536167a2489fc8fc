"""PEs over time: what each does, how full its queue is, and what all of them do together.

Comes in: a layer's result, or a `Timeline`. Goes out: figures. Colours are those of `eie.show.palette`, and those of
fullness cividis, which the colour-blind read.
"""

from __future__ import annotations

from functools import partial
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import BoundaryNorm, ListedColormap
from matplotlib.figure import Figure
from matplotlib.patches import Patch
from matplotlib.ticker import MaxNLocator, PercentFormatter
from numpy.typing import NDArray

from eie.plots.drawing import STYLE, Drawing, Drawings
from eie.results.accounting import SHARES
from eie.results.layer import LayerResult
from eie.results.raster import Raster
from eie.results.timeline import Timeline
from eie.show import palette
from eie.simulator.recount import Recount

# A figure has a light ground, also on a dark page.
SHARE_COLOURS = {name: colour.light for name, colour in palette.SHARES.items()}
# Rows of a picture; of more PEs several share one.
MOST_ROWS = 256


def pe_time(raster: Raster, depth: int) -> Figure:
    """Draw shares over time, PE by PE what it does most, and how full the queues of ``depth`` slots are."""
    # Laid out by hand: a colour bar, which belongs to one of three panels alone, would shift them against each other.
    with mpl.rc_context({**STYLE, "figure.constrained_layout.use": False}):
        figure = Figure(figsize=(7.2, 6.4))
        over, does, queued = figure.subplots(3, 1, sharex=True, height_ratios=(2, 3, 3))
        figure.subplots_adjust(left=0.1, right=0.92, top=0.91, bottom=0.16, hspace=0.22)
        _shares(over, raster)
        cells = _rows(raster.did)
        colours = ListedColormap([SHARE_COLOURS[name] for name in SHARES])
        places = np.arange(len(SHARES) + 1) - 0.5
        norm = BoundaryNorm(places, len(SHARES))
        most = cells.argmax(axis=2)
        _image(does, raster, most, cmap=colours, norm=norm)
        does.set_title("what each PE does most of the time", fontsize=9)
        # One slot always stays free.
        image = _image(
            queued, raster, _rows(raster.queued[:, :, None])[:, :, 0], cmap="cividis", vmin=0, vmax=depth - 1
        )
        queued.set_title("activations in its queue", fontsize=9)
        queued.set_xlabel("cycle")
        place = queued.get_position()
        figure.colorbar(image, cax=figure.add_axes((0.935, place.y0, 0.015, place.height)))
        figure.suptitle(raster.title, fontsize=10)
        did = raster.did.sum(axis=(0, 1))
        # No entry in the legend for what nobody did.
        patches = [
            Patch(color=SHARE_COLOURS[name], label=name.replace("_", " "))
            for name, some in zip(SHARES, did, strict=True)
            if some
        ]
        figure.legend(handles=patches, loc="lower center", ncols=4, fontsize=8)
    return figure


def can_be_told(layer: LayerResult) -> bool:
    """Whether the layer kept what its PEs' time can be told from."""
    return isinstance(layer.recount, Recount)


def layer_over_time(layer: LayerResult) -> Figure:
    """Draw the first sample of a layer."""
    return pe_time(Raster.of_layer(layer), layer.spec.act_queue_depth)


def timeline_drawings(timeline: Timeline) -> Drawings:
    """Return what a timeline tells as a picture."""
    draw = partial(pe_time, Raster.of_timeline(timeline), timeline.spec.act_queue_depth)
    return {"timeline": Drawing(draw, "timeline")}


def _shares(axes: Axes, raster: Raster) -> None:
    edges = _edges(raster)
    base = np.zeros(len(edges) - 1)
    for name, share in zip(SHARES, raster.shares.T, strict=True):
        if share.any():
            axes.stairs(base + share, edges, baseline=base, fill=True, color=SHARE_COLOURS[name])
        base = base + share
    axes.set_ylim(0, 1)
    axes.set_xlim(edges[0], edges[-1])
    axes.yaxis.set_major_formatter(PercentFormatter(1.0))
    axes.set_ylabel("PE cycles")
    bins = "a cycle" if raster.cycles_a_bin == 1 else f"{raster.cycles_a_bin:,} cycles"
    axes.set_title(f"what all PEs do, {bins} a step", fontsize=9)


def _image(axes: Axes, raster: Raster, cells: NDArray[Any], **style: Any) -> Any:
    edges = _edges(raster)
    extent = (edges[0], edges[-1], raster.pes.stop - 0.5, raster.pes.start - 0.5)
    # Not clipped, since it fills the axes: the clip of an image came out a hair apart from run to run.
    image = axes.imshow(cells, aspect="auto", interpolation="nearest", extent=extent, clip_on=False, **style)
    axes.set_ylabel("PE")
    axes.yaxis.set_major_locator(MaxNLocator(integer=True))
    return image


def _edges(raster: Raster) -> NDArray[np.float64]:
    """Where bins begin, and the last ends."""
    bins = raster.did.shape[1]
    return raster.cycles.start + raster.cycles_a_bin * np.arange(bins + 1, dtype=np.float64)


def _rows(cells: NDArray[np.float64]) -> NDArray[np.float64]:
    """Average neighbouring PEs where there are more than rows."""
    each = -(-len(cells) // MOST_ROWS)
    starts = np.arange(0, len(cells), each)
    counts = np.diff(np.append(starts, len(cells)))
    averaged: NDArray[np.float64] = np.add.reduceat(cells, starts, axis=0) / counts[:, None, None]
    return averaged
