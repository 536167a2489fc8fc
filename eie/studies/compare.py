"""`compare`: EIE beside other machines.

Comes in: a result (its JSON) and baselines. Goes out: a frozen `Comparison`. Read by the command line and
`compare_figures`.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from eie.errors import EieError
from eie.machines import reports
from eie.machines.choose import choose
from eie.machines.match import match
from eie.machines.records import WHOLE, Baseline, Machine, total
from eie.machines.workload import Workload, work_of_records
from eie.model.network import Network
from eie.results.comparison import Column, Comparison
from eie.results.result import Result
from eie.spec import AcceleratorSpec


def compare(
    result: Result | Mapping[str, Any],
    baselines: Sequence[str | Baseline],
    *,
    network: Network | None = None,
    reference: str | None = None,
    column_map: Mapping[str, str] | None = None,
) -> Comparison:
    """Set a result beside baselines.

    Parameters
    ----------
    result
        A `Result`, or its JSON as `eie.machines.reports.read_result` reads it.
    baselines
        Names as in `eie.machines.choose`, or records made elsewhere.
    network
        Whose weights measured baselines and the N:M check use; drawn at the layers' density without it.
    reference
        The machine that speedups are over: ``"eie"``, or one of ``baselines``; the first of them by default.
    column_map
        For a CSV that is neither SCALE-Sim's nor ours.

    Returns
    -------
    Comparison
        A column a machine, ours first; prints as tables.

    Raises
    ------
    EieError
        If a baseline cannot be had, or the reference is none of them.
    """
    ours, workload, spec = as_baseline(result, network)
    found = [
        one if isinstance(one, Baseline) else choose(name=one, workload=workload, spec=spec, column_map=column_map)
        for one in baselines
    ]
    if not found:
        raise EieError("nothing to compare with: give at least one baseline")
    names = [one if isinstance(one, str) else one.machine.name for one in baselines]
    place = 1
    if reference is not None:
        if reference not in ("eie", *names):
            raise EieError(f"--reference {reference}: must be eie or one of the baselines, {', '.join(names)}")
        place = ["eie", *names].index(reference)
    shapes = {layer.name: layer.shape for layer in workload.layers}
    columns, notes = [], []
    for one in (ours, *found):
        column, matched_notes = _column(one, shapes)
        columns.append(column)
        if one is not ours:
            notes += [f"{one.machine.name}: {note}" for note in (*one.notes, *matched_notes)]
    notes += [f"EIE: {note}" for note in ours.notes]
    columns = _named_apart(columns)
    return Comparison(
        network=workload.name,
        layers=tuple(shapes),
        columns=tuple(columns),
        reference=place,
        warnings=_unfair([column.machine for column in columns]),
        notes=tuple(notes),
    )


def as_baseline(
    result: Result | Mapping[str, Any], network: Network | None = None
) -> tuple[Baseline, Workload, AcceleratorSpec]:
    """Return what a result says of EIE, what other machines are to run, and EIE's spec.

    Parameters
    ----------
    result
        A `Result`, or its JSON.
    network
        Whose weights go into the workload, where its layers have the result's shapes.

    Raises
    ------
    EieError
        If the JSON is damaged.
    """
    value = json.loads(result.to_json()) if isinstance(result, Result) else result
    ours = reports.of_result(value, str(value.get("source", "result")))
    workload = _with_weights(work_of_records(str(value.get("network", "network")), value["layers"]), network)
    return ours, workload, AcceleratorSpec(**value["spec"])


def _column(baseline: Baseline, shapes: Mapping[str, tuple[int, int, int]]) -> tuple[Column, tuple[str, ...]]:
    whole = next((layer for layer in baseline.layers if layer.layer == WHOLE), None)
    if whole is not None:
        return Column(machine=baseline.machine, costs={}, latency_us=whole.latency_us, energy_nj=whole.energy_nj), ()
    matched = match(shapes, baseline)
    costs = [matched.costs.get(name) for name in shapes]
    sums = {
        key: total(None if cost is None else getattr(cost, key) for cost in costs)
        for key in ("latency_us", "energy_nj")
    }
    return Column(machine=baseline.machine, costs=matched.costs, **sums), matched.notes


def _named_apart(columns: Sequence[Column]) -> list[Column]:
    """Number machines of the same name, such as two results on one spec."""
    seen: dict[str, int] = {}
    apart = []
    for column in columns:
        name = column.machine.name
        seen[name] = seen.get(name, 0) + 1
        machine = column.machine if seen[name] == 1 else replace(column.machine, name=f"{name} #{seen[name]}")
        apart.append(replace(column, machine=machine))
    return apart


def _with_weights(workload: Workload, network: Network | None) -> Workload:
    """Add the matrices of layers whose shape is that of the network's."""
    if network is None:
        return workload
    matrices = {layer.name: layer.matrix for layer in network.layers}
    layers = tuple(
        replace(layer, matrix=matrices[layer.name])
        if layer.name in matrices and matrices[layer.name].shape == layer.shape[:2]
        else layer
        for layer in workload.layers
    )
    return Workload(workload.name, layers)


def _unfair(machines: Sequence[Machine]) -> tuple[str, ...]:
    """Say where EIE, the first machine, and another do not do the same work under the same conditions."""
    eie, *others = machines
    warnings = []
    for machine in others:
        if eie.dram is False and machine.dram:
            warnings.append(f"EIE's weights are on the chip, {machine.name} fetches them from DRAM")
        if machine.batch is None:
            warnings.append(f"the batch size of {machine.name} is not known; EIE runs 1 sample at a time")
        elif machine.batch != eie.batch:
            warnings.append(
                f"EIE runs 1 sample at a time, {machine.name} {machine.batch}: its time is per sample of these"
            )
        if machine.node_nm is not None and eie.node_nm is not None and machine.node_nm != eie.node_nm:
            warnings.append(f"EIE is {eie.node_nm} nm, {machine.name} {machine.node_nm} nm; nothing is scaled")
    return tuple(warnings)
