"""What a whole layer asks for and counts, told from a window of it.

Comes in: a window's `Demand` and `Activity`, and what it was `CutFrom`. Goes out: those of the whole layer, as good as
the window is. Read by `bench`.

What depends on columns grows with them; what comes once a product, a pass or a sample is added once. How many weights a
PE holds of the whole layer is known, so that a plan is made of it and not of chance; padding alone is drawn from the
window.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from eie.activity import Activity
from eie.compiler.demand import Demand, PassDemand
from eie.compiler.map_rows import LayerMaps
from eie.compiler.places import LayerPlace, MemoryPlan
from eie.compression.pruning.balance import even_shares
from eie.compression.pruning.prune import kept_count
from eie.kernels.timing import FILL_CYCLES, PIPELINE_CYCLES
from eie.spec import AcceleratorSpec
from eie.studies.explain.forms import Form, Pruning

# Counts that do not follow the columns.
ONCE = ("bias_writes",)


def demand_of_whole(window: Demand, form: Form, pruning: Pruning | None) -> Demand:
    """Return what the layer asks of the memories of which ``form`` is a window, encoded as ``window``."""
    cut, matrix = form.cut_from, form.layer.matrix
    assert cut is not None
    inputs, n_pe = matrix.shape[1], len(window.entries)
    own = sum(int(part.columns[: part.inputs].sum()) for part in window.passes)
    stored = _stored(by_pe(cut.rows, n_pe), pruning)
    there = np.bincount(matrix.rows % n_pe, minlength=n_pe)
    # The columns that are missing, with as much padding as those that are here.
    missing = np.rint((stored - there) * (own / max(1, matrix.nnz))).astype(np.int64)
    return replace(
        window,
        geometry=window.geometry.fitted((len(cut.rows), cut.columns)),
        entries=np.maximum(0, window.entries + missing),
        pointers=window.pointers + len(window.passes) * (cut.columns - inputs),
        passes=tuple(_pass_of_whole(part, cut.columns) for part in window.passes),
    )


def by_pe(rows: NDArray[np.int64], n_pe: int) -> NDArray[np.int64]:
    """int64 (P,): of counts by row what each PE has."""
    padded = np.zeros(-(-len(rows) // n_pe) * n_pe, np.int64)
    padded[: len(rows)] = rows
    counts: NDArray[np.int64] = padded.reshape(-1, n_pe).sum(axis=0)
    return counts


def _stored(a_pe: NDArray[np.int64], pruning: Pruning | None) -> NDArray[np.int64]:
    """int64 (P,): weights of each PE that pruning leaves; of one that looks at the whole layer, in proportion."""
    if pruning is None:
        return a_pe
    total = kept_count(pruning.share, int(a_pe.sum()))
    return even_shares(total, a_pe) if pruning.even else np.rint(a_pe * (total / max(1, a_pe.sum()))).astype(np.int64)


def _pass_of_whole(part: PassDemand, columns: int) -> PassDemand:
    # Which columns are like which does not matter: the window's were taken evenly.
    like = np.arange(columns) * part.inputs // columns
    return replace(
        part,
        inputs=columns,
        columns=np.concatenate((part.columns[like], part.columns[part.inputs :])),
        issue=part.issue * columns // part.inputs,
    )


def plan_for_window(plan: MemoryPlan, layer: str) -> MemoryPlan:
    """Return a plan by which a window runs: maps, and what accumulators start from, are added to what it counts."""
    places = tuple(replace(place, bias_bits=0) if place.name == layer else place for place in plan.layers)
    return replace(plan, layers=places, maps=replace(plan.maps, layers=(), pixels={}))


def activity_of_whole(
    window: Activity,
    grown: float,
    spec: AcceleratorSpec,
    *,
    maps: LayerMaps,
    place: LayerPlace,
    loads: NDArray[np.int64],
) -> Activity:
    """Return what is counted of a layer of ``grown`` times as many columns.

    Parameters
    ----------
    maps
        What all uses of it read and write of maps.
    loads
        int64 (N,): times that it is loaded in each sample, if its weights are not in place.
    """

    def more(counts: NDArray[np.int64]) -> NDArray[np.int64]:
        scaled: NDArray[np.int64] = np.rint(counts * grown).astype(np.int64)
        return scaled

    # The pipeline is filled and drained once a product, however many columns there are.
    once = window.walks * (FILL_CYCLES + PIPELINE_CYCLES)
    cycles = more(window.cycles - once) + once
    counts = {name: count if name in ONCE else more(count) for name, count in window.counts.items()}
    bias = loads * place.bias_bits
    counts["dram_bits"] = counts["dram_bits"] + bias + maps.dram_bits
    counts["bus_cycles"] = counts["bus_cycles"] + loads * spec.bus_cycles(place.bias_bits) + maps.bus_cycles
    for name in ("act_sram_reads", "act_sram_writes"):
        counts[name] = np.full_like(cycles, getattr(maps, name))
    counts["map_dram_bits"] = np.full_like(cycles, maps.dram_bits)
    counts["map_bus_cycles"] = np.full_like(cycles, maps.bus_cycles)
    counts["bus_wait_cycles"] = np.maximum(0, counts["bus_cycles"] - cycles - counts["act_batch_cycles"])
    return replace(
        window,
        cycles=cycles,
        counts=counts,
        per_pe={name: more(count) for name, count in window.per_pe.items()},
        active_inputs=more(window.active_inputs),
        possible_inputs=round(window.possible_inputs * grown),
    )
