"""A layer of many products on some of them: rows of the output map for a convolution, a stretch of any other.

Comes in: what a layer's uses read. Goes out: a band of it, and of what was counted of the band, what the whole comes
to. Read by `forms` and `bench`, for screening only: what is printed is run on all products.

What depends on products grows with them; weights that come from DRAM come as often as before.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from eie.activity import Activity
from eie.compiler.map_rows import LayerMaps
from eie.compiler.places import MemoryPlan
from eie.errors import ModelError
from eie.kernels.timing import FILL_CYCLES, PIPELINE_CYCLES
from eie.model.geometry import Geometry, Scatter
from eie.model.layer_trace import LayerTrace

# Fewer rows of a map, and what a strip costs at its beginning hides what its rows cost.
LEAST_LINES = 8
# Products with a whole sequence: queues are empty before each.
LEAST_PRODUCTS = 64
# Of weights that come from DRAM, which do not follow the products.
ONCE = ("load_wait_cycles",)


@dataclass(frozen=True, kw_only=True)
class Band:
    """Products ``start`` to ``stop - 1`` of each sample's ``whole``; ``size``: of a map that has just these."""

    start: int
    stop: int
    whole: int
    size: tuple[int, ...]

    @property
    def grown(self) -> float:
        """How many times as many products the whole has."""
        return self.whole / (self.stop - self.start)

    def of(self, read: LayerTrace) -> LayerTrace:
        """Cut what a use reads."""
        bits = read.bits.reshape(read.samples, self.whole, -1)[:, self.start : self.stop]
        return LayerTrace(
            width=read.width, bits=bits.reshape(-1, bits.shape[-1]), products=self.stop - self.start, size=self.size
        )


def band_of(geometry: Geometry, read: LayerTrace, broadcasts: int) -> Band | None:
    """Return a band of about so many non-zero inputs of all products of a sample; None where there are no more.

    As active as all of them are, where one such can be found.
    """
    if geometry.recurrence is not None or geometry.products_per_row != 1:
        return None
    mapped = Scatter.of(geometry) is not None and len(read.size) == 2
    if mapped and math.prod(geometry.output_size(*read.size)) != read.products:
        return None
    # A line of the output map, or a product.
    line, least = (geometry.output_size(*read.size)[1], LEAST_LINES) if mapped else (1, LEAST_PRODUCTS)
    active = np.bitwise_count(read.bits).reshape(-1, read.products // line, line * read.bits.shape[1])
    lines = active.sum(axis=(0, 2), dtype=np.int64)
    count = max(least, math.ceil(broadcasts * len(lines) * read.samples / max(1, lines.sum())))
    if 4 * count > 3 * len(lines):
        return None
    size = _size(geometry, read.size, count) if mapped else ()
    if mapped and not size:
        return None
    before = np.concatenate(([0], np.cumsum(lines)))
    # Of bands that are as active as all, the one nearest to the middle: edges see pads.
    off = np.abs((before[count:] - before[:-count]) * len(lines) - before[-1] * count)
    middle = np.abs(np.arange(len(off)) - len(off) // 2)
    start = int(np.lexsort((middle, off // max(1, before[-1] // 64)))[0])
    return Band(start=start * line, stop=(start + count) * line, whole=read.products, size=size)


def _size(geometry: Geometry, size: tuple[int, ...], lines: int) -> tuple[int, ...]:
    """Return the size of a map that has so many lines of output; nothing where there is none."""
    for height in range(1, size[0]):
        try:
            if geometry.output_size(height, size[1])[0] == lines:
                return height, size[1]
        except ModelError:
            # The kernel does not fit yet.
            continue
    return ()


def plan_for_band(plan: MemoryPlan) -> MemoryPlan:
    """Return a plan by which a band runs: maps are added to what it counts, but for those that parts read again."""
    return replace(plan, maps=replace(plan.maps, layers=()))


def activity_of_all(band: Activity, grown: float, *, maps: LayerMaps, strips: bool) -> Activity:
    """Return what is counted of ``grown`` times as many products.

    Parameters
    ----------
    maps
        What all uses read and write of maps.
    strips
        Whether it ran by scatter: strips of a higher map are longer, and no more of them.
    """

    def more(counts: NDArray[np.int64]) -> NDArray[np.int64]:
        scaled: NDArray[np.int64] = np.rint(counts * grown).astype(np.int64)
        return scaled

    # Weights arrive during the first products, and are there for the others.
    once = np.rint(band.per_pe["load"].mean(axis=1)).astype(np.int64)
    once += band.walks * (FILL_CYCLES + PIPELINE_CYCLES) * strips
    cycles = more(band.cycles - once) + once
    counts = {name: count if name in ONCE else more(count) for name, count in band.counts.items()}
    for total, part in (("dram_bits", "map_dram_bits"), ("bus_cycles", "map_bus_cycles")):
        counts[part] = more(band.counts[part]) + getattr(maps, part.removeprefix("map_"))
        counts[total] = band.counts[total] - band.counts[part] + counts[part]
    for name in ("act_sram_reads", "act_sram_writes"):
        counts[name] = more(band.counts[name]) + getattr(maps, name)
    counts["bus_wait_cycles"] = np.maximum(0, counts["bus_cycles"] - cycles - counts["act_batch_cycles"])
    return replace(
        band,
        cycles=cycles,
        counts=counts,
        per_pe={name: count if name == "load" else more(count) for name, count in band.per_pe.items()},
        active_inputs=more(band.active_inputs),
        possible_inputs=round(band.possible_inputs * grown),
        products=round(band.products * grown),
        walks=band.walks if strips else more(band.walks),
    )
