"""EIE beside other machines: one record a layer and machine, with totals, geometric means and what is unfair.

Comes in: a result (its JSON) and baselines. Goes out: a frozen `Comparison`. Read by the command line and
`compare_figures`.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from statistics import geometric_mean
from typing import Any

from eie.baselines import reports
from eie.baselines.choose import choose
from eie.baselines.match import match
from eie.baselines.records import WHOLE, Baseline, LayerCost, Machine, total
from eie.baselines.workload import Workload, work_of_records
from eie.errors import EieError
from eie.network import Network
from eie.records import records_csv
from eie.report.result import Result
from eie.spec import AcceleratorSpec
from eie.storage import write_text

TOTAL, MEAN = "total", "geometric mean"
SCHEMA_NAME = "eie-comparison"
SCHEMA = 1


@dataclass(frozen=True)
class Column:
    """One machine; ``costs`` by our layers' names, missing where it has no figure; the total None where one misses."""

    machine: Machine
    costs: Mapping[str, LayerCost]
    latency_us: float | None
    energy_nj: float | None


@dataclass(frozen=True)
class Comparison:
    """Machines side by side.

    Attributes
    ----------
    layers
        Our layers, in order.
    columns
        EIE first, then the baselines as they were asked for.
    reference
        Place in ``columns`` of the machine that speedups and efficiencies are over.
    warnings
        Where the comparison is unfair.
    notes
        What a machine assumes, what was matched how, and what was not.
    """

    network: str
    layers: tuple[str, ...]
    columns: tuple[Column, ...]
    reference: int
    warnings: tuple[str, ...]
    notes: tuple[str, ...]

    def speedup(self, column: Column, layer: str) -> float | None:
        """The reference's time over the machine's, of a layer, `TOTAL` or `MEAN`."""
        return self._ratio(column, layer, "latency_us")

    def efficiency(self, column: Column, layer: str) -> float | None:
        """The reference's energy over the machine's, of a layer, `TOTAL` or `MEAN`."""
        return self._ratio(column, layer, "energy_nj")

    def _ratio(self, column: Column, layer: str, quantity: str) -> float | None:
        reference = self.columns[self.reference]
        if layer == MEAN:
            ratios = [self._ratio(column, name, quantity) for name in self.layers]
            known = [ratio for ratio in ratios if ratio]
            return geometric_mean(known) if known else None
        theirs, ours = _value(reference, layer, quantity), _value(column, layer, quantity)
        return theirs / ours if theirs is not None and ours else None

    def records(self) -> list[dict[str, Any]]:
        """One flat record a layer and machine, units in the keys; totals and geometric means last."""
        rows = []
        for layer in (*self.layers, TOTAL, MEAN):
            for column in self.columns:
                cost = column.costs.get(layer)
                machine, latency = column.machine, _value(column, layer, "latency_us")
                rate = 1e6 / latency if latency else None
                rows.append(
                    {
                        "layer": layer,
                        "machine": machine.name,
                        "how": machine.how,
                        "clock_mhz": machine.clock_mhz,
                        "node_nm": machine.node_nm,
                        "batch": machine.batch,
                        "dram": machine.dram,
                        "cycles": None if cost is None else cost.cycles,
                        "latency_us": latency,
                        "speedup": self.speedup(column, layer),
                        "energy_nj": _value(column, layer, "energy_nj"),
                        "energy_efficiency": self.efficiency(column, layer),
                        "frames_per_s_mm2": rate / machine.area_mm2 if rate and machine.area_mm2 else None,
                        "utilisation": None if cost is None else cost.utilisation,
                        "bytes_moved": None if cost is None else cost.bytes_moved,
                    }
                )
        return rows

    def to_csv(self, path: str | None = None) -> str:
        """Return (and write, if ``path`` is given) the records as CSV."""
        return _write(records_csv(self.records()), path)

    def to_json(self, path: str | None = None) -> str:
        """Return (and write, if ``path`` is given) everything as JSON (schema ``eie-comparison`` 1)."""
        value = {
            "schema": SCHEMA_NAME,
            "schema_version": SCHEMA,
            "network": self.network,
            "reference": self.columns[self.reference].machine.name,
            "machines": [vars(column.machine) for column in self.columns],
            "warnings": list(self.warnings),
            "notes": list(self.notes),
            "rows": self.records(),
        }
        return _write(json.dumps(value, indent=1, allow_nan=False) + "\n", path)


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
        A `Result`, or its JSON as `eie.baselines.reports.read_result` reads it.
    baselines
        Names as in `eie.baselines.choose`, or records made elsewhere.
    network
        Whose weights measured baselines and the N:M check use; drawn at the layers' density without it.
    reference
        The machine that speedups are over: ``"eie"``, or one of ``baselines``; the first of them by default.
    column_map
        For a CSV that is neither SCALE-Sim's nor ours.

    Raises
    ------
    EieError
        If a baseline cannot be had, or the reference is none of them.
    """
    ours, workload, spec = as_baseline(result, network)
    found = [one if isinstance(one, Baseline) else choose(one, workload, spec, column_map) for one in baselines]
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
        workload.name, tuple(shapes), tuple(columns), place, _unfair([column.machine for column in columns]),
        tuple(notes),
    )  # fmt: skip


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
        return Column(baseline.machine, {}, whole.latency_us, whole.energy_nj), ()
    matched = match(shapes, baseline)
    costs = [matched.costs.get(name) for name in shapes]
    sums = [
        total(None if cost is None else getattr(cost, key) for cost in costs) for key in ("latency_us", "energy_nj")
    ]
    return Column(baseline.machine, matched.costs, *sums), matched.notes


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


def _value(column: Column, layer: str, quantity: str) -> float | None:
    if layer == MEAN:
        return None
    if layer == TOTAL:
        return column.latency_us if quantity == "latency_us" else column.energy_nj
    cost = column.costs.get(layer)
    return None if cost is None else getattr(cost, quantity)


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


def _write(text: str, path: str | None) -> str:
    if path is not None:
        write_text(path, text)
    return text
