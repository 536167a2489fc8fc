"""Rows of the table: a layer at one point, and a point's totals.

Comes in: the stages of a workload and a spec. Goes out: `LayerOutcome` and flat records. Read by the workers, which
make the outcomes, and the run, which adds them up and keeps the records.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from eie.activity import COUNTS
from eie.compiler.passes import fit
from eie.energy.area import area_mm2
from eie.energy.clock import timing_met, timing_notes
from eie.energy.estimate import METHODS, Estimate, Method, bounds_of, estimate
from eie.energy.tables import Cell
from eie.errors import EnergyError
from eie.machines.dense import beside
from eie.results.distribution import Distribution
from eie.results.layer import LayerResult
from eie.results.layer_record import layer_record
from eie.simulator.stages import Stages
from eie.spec import AcceleratorSpec

# Keys of a layer's record that add up over the layers of a network.
ADDED = (
    "products",
    "cycles",
    "theoretical_us",
    "dense_us",
    "passes",
    "reload_cycles",
    *COUNTS,
)


@dataclass(frozen=True, eq=False, kw_only=True)
class LayerOutcome:
    """One layer at one point.

    Attributes
    ----------
    record
        As in `eie.Result.records`, with nanojoules by unit (of the activity method) added.
    cycles
        int64 (N,): cycles of every sample, reloads included.
    nj
        float64 (N,): nanojoules of every sample, by method.
    bounds_nj
        Nanojoules a sample by each reading of what is static; empty where the activity method has no prices.
    problems
        Why a method could not price it.
    memory_fits
        Whether the whole network fits the machine.
    """

    record: Mapping[str, Any]
    cycles: NDArray[np.int64]
    nj: Mapping[Method, NDArray[np.float64]]
    bounds_nj: tuple[float, ...]
    problems: tuple[str, ...]
    memory_fits: bool


def layer_outcome(stages: Stages, layer: int, spec: AcceleratorSpec, cell: Cell) -> LayerOutcome:
    """Evaluate one layer on one machine."""
    encoded = stages.encoded(layer, spec)
    activity = stages.whole_activity(layer, spec)
    estimates: dict[Method, Estimate] = {}
    problems = []
    for method in METHODS:
        try:
            estimates[method] = estimate(activity=activity, spec=spec, method=method, cell=cell)
        except EnergyError as error:
            problems.append(f"no energy by {method}: {error}")
    # Of this spec, not of the one that was encoded for: memory sizes are no part of an encoding's key.
    layer_fit = fit(encoded.name, encoded.passes, spec, reloads=encoded.reloads, rounds=encoded.rounds)
    plan = stages.plan(spec)
    dense = beside(
        layers=stages.workload.layers,
        products=[stages.products(place, spec) for place in range(len(stages.workload.layers))],
        memory=plan,
        uses=stages.workload.uses,
        spec=spec,
    )
    result = LayerResult(
        encoded=encoded,
        spec=spec,
        activity=activity,
        fit=layer_fit,
        place=plan.by_name[encoded.name],
        computed=None,
        maps=plan.maps.of_uses(encoded.name, stages.workload.uses[encoded.name]),
        dense=dense[layer],
        uses=len(stages.workload.uses[encoded.name]),
    )
    record = layer_record(result, estimates, timing_met=timing_met(spec, cell))
    if any(len(uses) > 1 for uses in stages.workload.uses.values()):
        record["uses"] = result.uses
    if "activity" in estimates:
        units = estimates["activity"].unit_nj
        # By activity only: published power splits by time, the same shares on every row.
        record |= {f"energy_activity_{unit}_nj": float(values.mean()) for unit, values in units.items()}
        record["energy_delay_nj_us"] = record["energy_activity_nj"] * record["latency_us"]
    nj = {method: priced.nj for method, priced in estimates.items()}
    return LayerOutcome(
        record=record,
        cycles=activity.total_cycles,
        nj=nj,
        bounds_nj=bounds_of([estimates["activity"]]) if "activity" in estimates else (),
        problems=tuple(problems),
        memory_fits=plan.fits,
    )


def total_record(
    outcomes: Sequence[LayerOutcome],
    spec: AcceleratorSpec,
    cell: Cell,
    *,
    notes: Sequence[str] = (),
    incomplete: Sequence[str] = (),
) -> dict[str, Any]:
    """Add the layers of a point up: the same keys, None where a total means nothing, and area and notes behind.

    Parameters
    ----------
    notes
        What to note about model and inputs.
    incomplete
        Why the layers do not add up to the network: then nothing is added.
    """
    records = [outcome.record for outcome in outcomes]
    # None unless a total is known below: a density or a shape of a whole network would be an average of unlike things.
    total: dict[str, Any] = dict.fromkeys(records[0])
    total |= {
        "residency": spec.residency,
        "samples": records[0]["samples"],
        "synthetic_weights": any(record["synthetic_weights"] for record in records),
        "fits": outcomes[0].memory_fits,
        "timing_met": records[0]["timing_met"],
    }
    said = (*outcomes[0].problems, *notes)
    if incomplete:
        reasons = [f"no total of the network: {reason}" for reason in incomplete]
        return {**total, **_machine(spec, cell, (*said, *reasons))}
    added = {key: sum(record[key] for record in records) for key in ADDED}
    # Samples are added up before percentiles are taken: those of layers do not add up. cycles / MHz = us.
    latency = Distribution.of(np.sum([outcome.cycles for outcome in outcomes], axis=0) / spec.clock_mhz)
    # Reloading weights is no imbalance; see `eie.results.table`.
    compute_us = spec.us(added["cycles"] - added["reload_cycles"])
    total |= added | {
        "latency_us": latency.mean,
        "latency_p50_us": latency.p50,
        "latency_p99_us": latency.p99,
        "efficiency": added["theoretical_us"] / compute_us,
        # At least 1: without an active column there are no entries at all.
        "padding_share": added["padding_entries"] / max(1, added["entries"]),
        "speedup_over_dense": added["dense_us"] / latency.mean,
    }
    # Whether a method has prices depends on spec and cell, so the first layer speaks for all; so do its problems.
    for method in outcomes[0].nj:
        key = f"energy_{method.replace('-', '_')}"
        spread = Distribution.of(np.sum([outcome.nj[method] for outcome in outcomes], axis=0))
        for name in total:
            # Units add up like the total; the percentiles summed along mean nothing and are set right behind the loop.
            if name.startswith(key):
                total[name] = sum(record[name] for record in records)
        total |= {f"{key}_nj": spread.mean, f"{key}_p50_nj": spread.p50, f"{key}_p99_nj": spread.p99}
    if outcomes[0].bounds_nj:
        # By reading first: the smallest of each layer would be no reading of the whole.
        readings = [sum(reading) for reading in zip(*(outcome.bounds_nj for outcome in outcomes), strict=True)]
        total |= {"energy_activity_low_nj": min(readings), "energy_activity_high_nj": max(readings)}
        total["energy_delay_nj_us"] = total["energy_activity_nj"] * total["latency_us"]
    return {**total, **_machine(spec, cell, said)}


def _machine(spec: AcceleratorSpec, cell: Cell, notes: Sequence[str]) -> dict[str, Any]:
    """The machine's area, and what a reader must know before believing the row."""
    area, problems = None, list(notes)
    try:
        # An SRAM without a CACTI row costs the area only: cycles of the row stand.
        area = float(sum(area_mm2(spec, cell).values()))
    except EnergyError as error:
        problems.append(f"no area: {error}")
    return {"area_mm2": area, "notes": "; ".join((*problems, *timing_notes(spec, cell)))}
