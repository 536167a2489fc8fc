"""A model run once: what its layers read, what was counted, and the bench on which it can be run again.

Comes in: a `Network`, its inputs, a machine. Goes out: `BaseRun`. Read by `explain`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

from eie.activity import Activity
from eie.compiler.choice import Conv, sizes_of
from eie.compiler.compile import compile as compile_network
from eie.compiler.encoded import EncodedLayer
from eie.compiler.lower import Lowering, lower
from eie.compiler.memory import stated_by
from eie.compiler.places import MemoryPlan
from eie.compiler.program import Program
from eie.compression.bias import BiasPlace
from eie.compression.share import ShareReport, share
from eie.energy.tables import Cell
from eie.model.dataflow import dataflow
from eie.model.fitting import Layout
from eie.model.layer import Layer
from eie.model.layer_trace import LayerTrace
from eie.model.network import Network
from eie.simulator.cache import Cache
from eie.simulator.counting import How
from eie.simulator.inputs import Inputs
from eie.simulator.stages import Stages
from eie.simulator.workload import Workload
from eie.spec import AcceleratorSpec
from eie.studies.explain.bench import Bench, Setting, Whole
from eie.studies.explain.diagnosis import Diagnosis
from eie.studies.explain.forms import Forms, Uses

Shared = Mapping[str, tuple[Layer, ShareReport]]


@dataclass(frozen=True, eq=False, kw_only=True)
class Asked:
    """How a model is run; fields as the parameters of `eie.simulate`."""

    spec: AcceleratorSpec
    activations: Inputs
    layout: Layout | None
    bias: BiasPlace
    conv: Conv
    batch: int
    cell: Cell
    threads: int | None
    progress: Callable[[str], None]


@dataclass(frozen=True, eq=False, kw_only=True)
class BaseRun:
    """A model that was run.

    Attributes
    ----------
    workload
        The compiled network with its inputs.
    setting
        The machine, and how convolutions ran.
    layers
        What binds each layer.
    kinds
        By layer what it is like: layers of the same kind take to changes alike.
    bench
        Runs it again, changed.
    """

    workload: Workload
    setting: Setting
    plan: MemoryPlan
    layers: tuple[Diagnosis, ...]
    kinds: Mapping[str, tuple[object, ...]]
    bench: Bench


def base_run(network: Network, asked: Asked) -> BaseRun:
    """Run a network once, as `eie.simulate` would, and keep the patterns of what its layers read."""
    spec = stated_by(network, asked.spec)
    asked.progress("compiling")
    shared = _shared(network, spec, asked)
    # Of what is shared nothing is clustered again; Winograd's matrix is made anew, of the weights as they were given.
    own = network if asked.conv == "winograd" else _with_layers(network, shared)
    program = compile_network(own, spec, conv=asked.conv, bias=asked.bias if own is network else "auto")
    workload = Workload.of(program, asked.activations, layout=asked.layout)
    assert isinstance(workload.network, Program)
    program = workload.network
    plan = program.planned(asked.batch, **workload.sizes)
    how = How(batch=asked.batch, threads=asked.threads)
    stages = Stages(workload, Cache(), how, plan=plan)
    asked.progress("running the model")
    activities, uses = [], {}
    for layer, of in enumerate(program.layers):
        read, counted = _uses(stages, layer, spec)
        uses[of.name] = read
        activities.append(Activity.together(of.name, counted))
    sizes = workload.map_sizes
    whole = Whole(
        graph=dataflow(program),
        alternatives=program.alternatives,
        map_sizes=sizes,
        stated_sizes=sizes_of(network),
        plan_sizes=workload.sizes,
    )
    sized = {name: {use: _sized(rows, sizes.get(use, ())) for use, rows in read.items()} for name, read in uses.items()}
    setting = Setting(spec=spec, conv=asked.conv)
    bench = Bench(Forms(own, shared, sized), whole, batch=asked.batch, cell=asked.cell)
    bench.ran(setting, program.layers, activities, plan=plan)
    return BaseRun(
        workload=workload,
        setting=setting,
        plan=plan,
        layers=tuple(Diagnosis.of_activity(activity, spec.clock_mhz) for activity in activities),
        kinds={layer.name: _kind(layer, plan) for layer in program.layers},
        bench=bench,
    )


def _kind(layer: EncodedLayer, plan: MemoryPlan) -> tuple[object, ...]:
    """Return what tells layers apart, what matters most first."""
    outputs, inputs = layer.geometry.channels
    places = layer.geometry.dense_shape[1] // max(1, inputs // layer.geometry.diagonal_blocks)
    return layer.geometry.kind, layer.conv, plan.by_name[layer.name].place, places, outputs, inputs


def _shared(network: Network, spec: AcceleratorSpec, asked: Asked) -> Shared:
    way: Lowering = "winograd" if asked.conv == "winograd" else "im2col"
    lowered = [lower(layer, way)[0] for layer in network.layers]
    return {layer.name: share(layer, spec.weight_bits, bias=asked.bias) for layer in lowered}


def _with_layers(network: Network, shared: Shared) -> Network:
    return replace(network, layers=tuple(shared[layer.name][0] for layer in network.layers))


def _uses(stages: Stages, layer: int, spec: AcceleratorSpec) -> tuple[Uses, list[Activity]]:
    """Return what each use of a layer reads, and what was counted of it, with the account."""
    read: dict[str, LayerTrace] = {}
    counted = []
    names = {place: use for use, place in stages.places.items()}
    for place in stages.places_of(layer):
        inputs = stages.inputs(place, spec)
        activity = stages.activity(place, spec, inputs)
        counted.append(stages.accounted(place, spec, inputs, activity=activity, padding=False))
        read[names[place]] = stages.pattern(place, spec, inputs).without_values()
    return read, counted


def _sized(rows: LayerTrace, size: tuple[int, ...]) -> LayerTrace:
    """Add the size of the map, so that each way of a convolution can be run."""
    return replace(rows, size=rows.size or size)
