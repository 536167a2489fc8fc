"""`compare`: EIE beside other machines.

Comes in: a result, its JSON file or a model, and baselines. Goes out: a frozen `Comparison`. Read by the command line
and `eie.plots.comparison`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from eie.compiler.program import Program
from eie.energy.area import area_mm2
from eie.energy.estimate import Estimate, Method
from eie.errors import EieError, EnergyError
from eie.formats.arguments import taken
from eie.importers.entrance import Model, as_network
from eie.machines import measured, noise, reports
from eie.machines.choose import choose, measured_task
from eie.machines.match import match
from eie.machines.records import WHOLE, Baseline, Machine, runs_of, total
from eie.machines.rows import ResultRow, ResultRows
from eie.machines.workload import Workload, work_of_rows
from eie.model.fitting import Layout
from eie.model.network import Network
from eie.recording.inputs import opened
from eie.results.comparison import Column, Comparison
from eie.results.layer import LayerResult
from eie.results.priced import Energy
from eie.results.result import Result
from eie.simulation import simulate
from eie.simulator.inputs import Inputs
from eie.spec import AcceleratorSpec
from eie.spec.apart import labels

# As `eie.machines.rows.ENERGIES`: what every action costs, else what the published power makes of the time.
PREFERRED: tuple[Method, ...] = ("activity", "published-power")


@taken
def compare(
    model: Result | ResultRows | Program | Model,
    baselines: Sequence[str | Baseline],
    *,
    activations: Inputs = None,
    layout: Layout | None = None,
    spec: AcceleratorSpec | None = None,
    network: Model | None = None,
    reference: str | None = None,
    column_map: Mapping[str, str] | None = None,
) -> Comparison:
    """Set a result beside baselines.

    Parameters
    ----------
    model
        A `Result`, or its JSON file; or what `eie.simulate` takes, which is simulated here.
    baselines
        Names as in `eie.machines.choose`, or records made elsewhere.
    activations, layout, spec
        For a model or program that is simulated here, as `eie.simulate` takes them.
    network
        Whose weights measured baselines and the N:M check use, as `eie.compile` takes it; drawn at the layers' density
        without it. A model that is simulated here is its own.
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
    stated = None if network is None else as_network(network)
    rows, own = _rows(model, activations=activations, layout=layout, spec=spec, network=stated)
    ours, workload = as_baseline(rows, own)
    others = _run(baselines, workload, spec=rows.spec, column_map=column_map)
    if not others:
        raise EieError("nothing to compare with: give at least one baseline")
    ours, *others = told_apart([ours, *others])
    # As asked for and not as the machine calls itself: that is what a caller can write after --reference.
    names = [baseline if isinstance(baseline, str) else baseline.machine.name for baseline in baselines]
    place = 1
    # Column 0 is EIE: 1 is the first baseline.
    if reference is not None:
        if reference not in ("eie", *names):
            raise EieError(f"--reference {reference}: must be eie or one of the baselines, {', '.join(names)}")
        place = ["eie", *names].index(reference)
    shapes = {layer.name: layer.shape for layer in workload.layers}
    columns, notes = [], []
    for baseline in (ours, *others):
        column, matched_notes = _column(baseline, shapes)
        if baseline is ours:
            # No sum of the layers' bounds: the smallest of each would be no reading of the whole.
            column = replace(column, energy_bounds_nj=rows.energy_bounds_nj)
        # Of the others too: theirs would be a sum over the same unlike things, or stand beside nothing.
        if rows.incomplete:
            column = replace(column, latency_us=None, energy_nj=None, energy_bounds_nj=None)
        columns.append(column)
        if baseline is not ours:
            notes += [f"{baseline.machine.name}: {note}" for note in (*baseline.notes, *matched_notes)]
    notes += [f"{ours.machine.name}: {note}" for note in ours.notes]
    return Comparison(
        network=workload.name,
        layers=tuple(shapes),
        columns=tuple(columns),
        reference=place,
        warnings=_unfair([column.machine for column in columns]),
        notes=tuple(notes),
        incomplete=rows.incomplete,
    )


def _run(
    baselines: Sequence[str | Baseline],
    workload: Workload,
    *,
    spec: AcceleratorSpec,
    column_map: Mapping[str, str] | None,
) -> list[Baseline]:
    """Run what was asked for by name; all that is measured in turns, so that its runs are pairs."""
    tasks = {
        place: task
        for place, name in enumerate(baselines)
        if isinstance(name, str) and (task := measured_task(name, workload)) is not None
    }
    others = [
        None
        if place in tasks
        else baseline
        if isinstance(baseline, Baseline)
        else choose(name=baseline, workload=workload, spec=spec, column_map=column_map)
        for place, baseline in enumerate(baselines)
    ]
    timings = dict(zip(tasks, measured.run_together(list(tasks.values())), strict=True)) if tasks else {}
    return [other or timings[place] for place, other in enumerate(others)]


def as_baseline(rows: ResultRows, network: Network | None = None) -> tuple[Baseline, Workload]:
    """Return what a result says of EIE, and what other machines are to run.

    Parameters
    ----------
    network
        Whose weights go into the workload, where its layers have the result's shapes.
    """
    work = work_of_rows(rows.network, rows.layers, alternatives=rows.alternatives, batch=rows.batch)
    return reports.of_result(rows, rows.source), _with_weights(work, network)


def rows_of(result: Result) -> ResultRows:
    """Return a result as the rows that its JSON file would give."""
    # The first method that has prices, in the order of PREFERRED: one for all layers, since two would not add up.
    energies, _ = result.energies()
    method: Method | None = next((name for name in PREFERRED if name in energies), None)
    try:
        area = float(sum(area_mm2(result.spec).values()))
    except EnergyError:
        area = None
    return ResultRows(
        network=result.program.name,
        source=result.program.source,
        spec=result.spec,
        layers=tuple(
            _row(layer, None if method is None else energies[method].layers[place])
            for place, layer in enumerate(result.layers)
        ),
        area_mm2=area,
        # The column of the result's own JSON file, which `reports` names just so.
        priced_by=None if method is None else f"energy_{method.replace('-', '_')}_nj",
        notes=result.notes(),
        incomplete=result.incomplete,
        alternatives=result.memory.alternatives,
        batch=result.memory.batch,
        # A network with a layer missing has no total to bound.
        energy_bounds_nj=None if method is None or result.incomplete else _bounds(energies[method]),
    )


def _bounds(priced: Energy | Estimate) -> tuple[float, float] | None:
    # By published power there is one reading.
    return (priced.low_nj, priced.high_nj) if priced.method == "activity" else None


def _row(layer: LayerResult, priced: Estimate | None) -> ResultRow:
    outputs, inputs = layer.shape
    return ResultRow(
        layer=layer.name,
        outputs=outputs,
        inputs=inputs,
        products=layer.products,
        kind=layer.kind,
        groups=layer.groups,
        fresh_inputs=layer.encoded.geometry.fresh_inputs,
        bias=layer.encoded.has_bias,
        weight_density=layer.encoded.weight_density,
        activation_density=layer.activity.activation_density,
        cycles=layer.cycles,
        latency_us=layer.latency.mean,
        efficiency=layer.efficiency,
        reload_cycles=layer.activity.reload_cycles,
        energy_nj=None if priced is None else float(priced.nj.mean()),
        energy_bounds_nj=None if priced is None else _bounds(priced),
        dram_bits=layer.counts["dram_bits"],
        map_dram_bits=int(layer.activity.counts["map_dram_bits"][0]),
        map_bus_cycles=int(layer.activity.counts["map_bus_cycles"][0]),
        uses=layer.uses,
    )


def _rows(
    model: Result | ResultRows | Program | Model,
    *,
    activations: Inputs,
    layout: Layout | None,
    spec: AcceleratorSpec | None,
    network: Network | None,
) -> tuple[ResultRows, Network | None]:
    """Read, or simulate; the second value is the network whose weights are at hand."""
    if isinstance(model, str | Path) and Path(model).suffix == ".json":
        model = reports.read_result(model)
    if isinstance(model, Result | ResultRows):
        if any(value is not None for value in (spec, activations, layout)):
            # Refused and not ignored: the numbers would be another machine's than the caller believes.
            raise EieError("spec, activations and layout are for a model that is simulated here: a result has its own")
        return (rows_of(model) if isinstance(model, Result) else model), network
    # A program has codes but no float weights: what other machines multiply is `network`'s, where one was given.
    if isinstance(model, Program) or (isinstance(model, str | Path) and Program.is_program(model)):
        return rows_of(simulate(model, activations, layout=layout, spec=spec, keep_outputs=False)), network
    activations = opened(activations)
    read = as_network(
        model, "an eie.Program, an eie.Result or the .json file of one", examples=activations, layout=layout
    )
    return rows_of(simulate(read, activations, layout=layout, spec=spec, keep_outputs=False)), network or read


def _column(baseline: Baseline, shapes: Mapping[str, tuple[int, int, int]]) -> tuple[Column, tuple[str, ...]]:
    # A published total has no layers to pair; its own figure is the column's total.
    whole = next((layer for layer in baseline.layers if layer.layer == WHOLE), None)
    if whole is not None:
        own = Column(
            machine=baseline.machine,
            costs={},
            latency_us=whole.latency_us,
            energy_nj=whole.energy_nj,
            samples_us=whole.samples_us,
        )
        return own, ()
    matched = match(shapes, baseline)
    costs = [matched.costs.get(name) for name in shapes]
    # None as soon as one layer misses: a sum over fewer layers would look like a fast machine.
    latency_us, energy_nj = (
        total(None if cost is None else getattr(cost, key) for cost in costs) for key in ("latency_us", "energy_nj")
    )
    runs = runs_of(() if cost is None else cost.samples_us for cost in costs)
    column = Column(
        machine=baseline.machine,
        costs=matched.costs,
        latency_us=noise.middle(runs) if runs else latency_us,
        energy_nj=energy_nj,
        samples_us=runs,
    )
    return column, matched.notes


def told_apart(baselines: Sequence[Baseline]) -> list[Baseline]:
    """Call machines of ours by what differs among them, and number what still has one name."""
    specs = [baseline.machine.spec for baseline in baselines]
    called = iter(labels([spec for spec in specs if spec is not None]))
    seen: dict[str, int] = {}
    apart = []
    for baseline, spec in zip(baselines, specs, strict=True):
        name = baseline.machine.name if spec is None else next(called)
        seen[name] = seen.get(name, 0) + 1
        name = name if seen[name] == 1 else f"{name} #{seen[name]}"
        apart.append(replace(baseline, machine=replace(baseline.machine, name=name)))
    return apart


def _with_weights(workload: Workload, network: Network | None) -> Workload:
    """Add the matrices of layers whose shape is that of the network's."""
    if network is None:
        return workload
    known = {layer.name: layer for layer in network.layers}
    layers = tuple(
        replace(layer, matrix=known[layer.name].matrix, geometry=known[layer.name].geometry)
        # Outputs and inputs, without the products: a matrix of the same name but another shape is another model's.
        if layer.name in known and known[layer.name].matrix.shape == layer.shape[:2]
        else layer
        for layer in workload.layers
    )
    return replace(workload, layers=layers)


def _memory_warnings(eie: Machine, machine: Machine) -> list[str]:
    """Say where one pays for memory and the other does not."""
    if "not paid" in (eie.memory, machine.memory) and eie.memory != machine.memory:
        free, pays = ("EIE", machine.name) if eie.memory == "not paid" else (machine.name, "EIE")
        # `dram is False`: what fits its memories pays nothing either.
        if machine.memory is not None and (eie if pays == "EIE" else machine).dram is not False:
            return [f"weights and maps of {free} are taken to be on the chip, {pays} fetches what does not fit"]
    # `is False`: None says that it is not known, and nothing is claimed of that. Machines on the same DRAM that need
    # it are not wronged: what does not fit their own memories is their own.
    if eie.dram is False and machine.dram and machine.memory != "same DRAM":
        return [f"EIE's weights are on the chip, {machine.name} fetches them from DRAM"]
    return []


def _unfair(machines: Sequence[Machine]) -> tuple[str, ...]:
    """Say where EIE, the first machine, and another do not do the same work under the same conditions."""
    eie, *others = machines
    warnings = []
    for machine in others:
        warnings += _memory_warnings(eie, machine)
        ours = f"EIE runs {eie.batch} sample{'s' if eie.batch != 1 else ''} at a time"
        if machine.batch is None:
            warnings.append(f"the batch size of {machine.name} is not known; {ours}")
        elif machine.batch != eie.batch:
            warnings.append(f"{ours}, {machine.name} {machine.batch}: its time is per sample of these")
        if machine.node_nm is not None and eie.node_nm is not None and machine.node_nm != eie.node_nm:
            # Named and not corrected: a scaling rule would put a guess into every figure.
            warnings.append(f"EIE is {eie.node_nm} nm, {machine.name} {machine.node_nm} nm; nothing is scaled")
    return tuple(warnings)
