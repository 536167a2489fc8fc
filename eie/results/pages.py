"""What a page shows of a result beyond its tables: where the cycles of all PEs went, by layer and by PE.

Comes in: layers that were accounted, the machine. Goes out: `Section` records. Read by `Result.page_sections`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from eie.results import accounting
from eie.results.layer import LayerResult
from eie.results.table import shares_grid
from eie.show.charts import Bars, Strips
from eie.show.numbers import count, percent
from eie.show.sections import Section
from eie.spec import AcceleratorSpec

# Layers that are drawn; the table has them all.
MOST_BARS = 200
# Columns of all strips together: eight layers of 64 PEs. More make a page that is slow to open.
MOST_COLUMNS = 512
ALL = "all layers"


def cycles_sections(layers: Sequence[LayerResult], *, whole: bool) -> tuple[Section, ...]:
    """Return where the cycles went, by layer and by PE; with ``whole`` those of all layers too."""
    return shares_section(layers, whole=whole), pes_section(layers)


def shares_section(layers: Sequence[LayerResult], *, whole: bool) -> Section:
    """Return where the cycles of all PEs went, a bar and a row a layer; with ``whole`` one of all of them too."""
    cycles = {layer.name: layer.share_cycles for layer in layers}
    time = {layer.name: layer.activity.total_cycles.sum() for layer in layers}
    spent = sum(time.values())
    drawn = sorted(cycles, key=lambda name: -time[name])[:MOST_BARS]
    rows = {name: parts for name, parts in cycles.items() if name in drawn}
    beside = {name: f"{percent(time[name] / spent)} % of the time" for name in rows} if whole else {}
    if whole and len(layers) > 1:
        rows = {ALL: accounting.added(cycles.values()), **rows}
    bars = Bars(
        caption="Cycles of all PEs by what they did",
        rows=rows,
        unit="PE cycles" if layers[0].activity.samples == 1 else f"PE cycles in {layers[0].activity.samples} samples",
        whole=True,
        beside=beside,
    )
    left = len(layers) - len(drawn)
    notes = (f"drawn are the {count(MOST_BARS)} layers that take most time; the table has them all",) if left else ()
    grid = shares_grid(layers, whole=whole)
    return Section(name="shares", title="Where the cycles went", charts=(bars,), grids=(grid,), notes=notes)


def pes_section(layers: Sequence[LayerResult]) -> Section:
    """Return what each PE did, a strip a layer, of those layers that take most time."""
    n_pe = layers[0].spec.n_pe
    edges = np.linspace(0, n_pe, min(n_pe, MOST_COLUMNS) + 1).astype(np.int64)
    width = len(edges) - 1
    most = max(1, MOST_COLUMNS // width)
    slowest = sorted(layers, key=lambda layer: -layer.total_cycles)[:most]
    shown = [layer for layer in layers if layer in slowest]
    strips = Strips(
        caption="Cycles a sample of each PE by what it did",
        column="PE",
        names=[_named(int(low), int(high)) for low, high in pairwise(edges)],
        rows={layer.name: _parts(layer, edges) for layer in shown},
        unit="cycles",
    )
    notes = []
    if width < n_pe:
        notes.append(f"a column is the mean of {count(n_pe / width)} PEs or so; JSON has each of them")
    if len(shown) < len(layers):
        notes.append(f"shown {'is' if len(shown) == 1 else 'are'} {len(shown)} of {len(layers)} layers: the slowest")
    return Section(name="pes", title="PE by PE", charts=(strips,), notes=tuple(notes))


def _named(low: int, high: int) -> str:
    return f"PE {low}" if high - low == 1 else f"PEs {low} to {high - 1}"


def _parts(layer: LayerResult, edges: NDArray[np.int64]) -> Mapping[str, Sequence[float]]:
    sizes = np.diff(edges) * layer.activity.samples
    return {name: (np.add.reduceat(cycles, edges[:-1]) / sizes).tolist() for name, cycles in layer.pe_cycles.items()}


def machine_section(spec: AcceleratorSpec) -> Section:
    """Return every field of the machine."""
    (section,) = spec.sections()
    return Section(name="machine", title="The machine", grids=section.grids)
