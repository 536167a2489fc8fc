"""A program and inputs into a `Result`: the one place where numbers, time and network order meet.

Comes in: a `Program`, or a model that is compiled here, and activations. Goes out: a `Result`. Called by the command
line, notebooks and studies.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from eie.activity import Activity
from eie.compiler.choice import Conv, check_conv
from eie.compiler.compile import compile as compile_network
from eie.compiler.encoded import EncodedLayer
from eie.compiler.places import MemoryPlan
from eie.compiler.program import Program
from eie.compression.bias import BiasPlace, check_place
from eie.errors import EieError, ProgramError, TraceError
from eie.importers.entrance import Model, as_network
from eie.machines.dense import beside
from eie.model.fitting import Layout
from eie.model.layer_trace import LayerTrace
from eie.model.network import Network
from eie.model.trace import Trace
from eie.results.accuracy import float32_accuracy, right_answers
from eie.results.layer import LayerResult
from eie.results.result import Result
from eie.results.totals import Accuracy
from eie.show.notebook import told
from eie.simulator.agreement import in_agreement
from eie.simulator.functional import SLICE_ELEMENTS, LayerOutputs, Rows, fraction_bits, to_raw
from eie.simulator.inputs import Given, Inputs
from eie.simulator.keeping import Kept
from eie.simulator.layer import Engine
from eie.simulator.network import DATAPATHS, Datapath, Ran, Settings, unrolled
from eie.simulator.parts import joined_activity, joined_outputs, joined_patterns, sample_parts
from eie.simulator.products import Agree, run_products
from eie.simulator.recount import Recount
from eie.simulator.stages import How, Stages
from eie.simulator.workload import Workload, open_sizes
from eie.spec import EIE_64PE, AcceleratorSpec

# By use of a layer: what was counted and computed.
UseRuns = dict[str, tuple[Activity, LayerOutputs | None]]


@told("products")
def simulate(
    model: Program | Model,
    activations: Inputs = None,
    *,
    layout: Layout | None = None,
    spec: AcceleratorSpec | None = None,
    bias: BiasPlace = "auto",
    conv: Conv = "auto",
    batch: int = 1,
    engine: Engine = "fast",
    datapath: Datapath = "fixed",
    threads: int | None = None,
    keep_outputs: bool | None = None,
    keep_patterns: bool = False,
    shares: bool = False,
    progress: Callable[[str, int, int], None] | None = None,
    log: Callable[[str], None] | None = None,
) -> Result:
    """Run a network on a machine.

    Parameters
    ----------
    model
        A `Program` of `eie.compile`, or its file; or a model as `eie.compile` takes it, which is compiled first. A
        torch module is read with the activations as examples: the batch in front, as it is called with them.
    activations
        The network's input, (inputs,) or (batch, inputs), or (batch, *shape) where it takes maps or sequences: the
        network runs execution-driven, outputs feeding inputs along its graph or sequence. Or a `Trace`, or a mapping of
        layer name to (rows, inputs): if it names every layer, each runs on its own recorded inputs. Or `Samples`. None:
        the trace that came with the model, else a synthetic input, labelled as such. Arrays may be masked (0), of
        ``scipy.sparse`` or of an ``ml_dtypes`` type.
    layout
        ``"nhwc"`` where arrays have their channels last and the network takes them first, ``"nchw"`` for the reverse.
        Either way axes of 1 may be added or dropped, and the samples of a batch flattened where no layout is said; any
        other shape is refused.
    spec
        The machine that a model is compiled for, `eie.EIE_64PE` by default; a program has one already.
    bias
        Where float biases of a model go, as of `eie.compile`; a program's have their place already.
    conv
        How a model's convolutions run, as of `eie.compile`; a program's have their way already.
    batch
        Samples that go through a layer before the next layer begins, so that one which does not stay on the chip is
        loaded once for all of them. 1: every sample is an inference of its own.
    engine
        ``"fast"`` or ``"events"``; equal in every number.
    datapath
        Whose zeros time sees where layers feed each other: ``"fixed"`` (as in hardware) or ``"float32"``. ``"none"``:
        count only, compute nothing; for one layer, or with recorded inputs of every layer.
    threads
        For the fast engine and the arithmetic; the machine's cores by default.
    keep_outputs
        Whether the result holds every layer's outputs; without them a large batch needs far less memory. None: where
        they take at most half a GiB, else those of the network's last layers alone, and a note says so.
    keep_patterns
        Whether it holds, without outputs, which inputs of every layer were non-zero, a bit an input: what
        ``layer.shares`` and `Result.timeline` are counted from. With all outputs it always does.
    shares
        Count at once where the cycles of all PEs went. Without, ``layer.shares`` counts when it is asked for, from the
        pattern of the inputs; where outputs are not kept nothing of a layer is there to do so, unless
        ``keep_patterns`` is set.
    progress
        Called as ``progress(layer, done, total)``, in products.
    log
        With the event engine: called with a line of text for every cycle.

    Returns
    -------
    Result
        A `LayerResult` a layer, in order; prints as the table.

    Raises
    ------
    TraceError
        If the activations do not fit the network, or ``datapath="none"`` and they are not there for every layer.
    ModelError
        If the model cannot be read, the network's graph has an operator that is not known, or shapes in it do not fit.
    ProgramError
        For a ``spec``, a ``bias`` or a ``conv`` beside a program.
    """
    program = as_program(model, spec, bias, conv=conv, examples=activations, layout=layout)
    _check(datapath, batch)
    workload = Workload.of(program, activations, layout=layout)
    # Recorded windows that are no whole map take the layer back to im2col.
    assert isinstance(workload.network, Program)
    program = workload.network
    run_inputs = workload.given
    # Before inputs become rows, which tell less of the sizes of maps than the arrays that they are made of.
    plan = program.planned(batch, **workload.sizes)
    # Nothing will be computed, so one layer's input array has to become rows here; recorded rows are used as they are.
    if datapath == "none" and run_inputs.arrays:
        run_inputs = replace(run_inputs, layers=_without_computing(program, run_inputs.loaded()), arrays={})
        workload = replace(workload, given=run_inputs)
    kept = Kept.of(workload, program, asked=keep_outputs, computing=datapath != "none")
    patterned = kept.whole or keep_patterns
    # What each use has made, until all are there: whether the dense equivalent's weights stay is known of all only.
    rows: UseRuns = {}
    read: dict[str, LayerTrace] = {}
    samples = run_inputs.samples_in_all
    # By layer and use: what there is to time.
    due: dict[str, dict[str, int]] = {layer.name: {} for layer in program.layers}
    told = Counter[str]()

    def advanced(layer: str, count: int) -> None:
        if progress is not None:
            # Parts of the samples may be run again: no bar goes beyond its end.
            whole = sum(due[layer].values())
            count = min(count, whole - told[layer])
            told[layer] += count
            progress(layer, count, whole)

    how = How(engine=engine, batch=batch, datapath=datapath, threads=threads, advanced=advanced, log=log)
    # Without a cache: nothing of a layer outlives it but its counts and, where they are kept, its outputs.
    stages = Stages(workload, how=how, plan=plan)

    def ran(use: str, inputs: LayerTrace, computed: LayerOutputs | None) -> None:
        """Time a use of a layer on the inputs it has just had."""
        place = stages.places[use]
        if progress is not None:
            # What it counts up to, before the first of it is timed.
            due[stages.layer_of(place)][use] = samples * stages.products_timed(place, program.spec, inputs)
        # Timed while the inputs are at hand: kept until the run is over, those of all layers would lie in memory
        # together.
        activity = stages.activity(place, program.spec, inputs)
        if shares:
            # Of outputs that are not kept nothing is left to count from later.
            activity = stages.accounted(place, program.spec, inputs, activity=activity, padding=not patterned)
        if patterned:
            read[use] = stages.pattern(place, program.spec, inputs)
        rows[use] = activity, kept.part(stages.layer_of(place), computed)

    settings = Settings(data_bits=program.spec.data_bits, datapath=datapath, threads=threads)
    final: tuple[NDArray[Any], NDArray[Any]] | None = None
    if run_inputs.arrays:
        # Outputs that are kept lie in memory together, so there is nothing to gain by parts.
        parts = [slice(0, samples)] if kept.whole else sample_parts(samples, batch, plan.maps)
        final = _run_in_parts(stages, program.spec, ran, rows=rows, read=read, parts=parts)
    else:
        last = _run_recorded(program, workload, settings, ran=ran)
        # The last layer is the network's end only in a sequence.
        if program.sequential and last is not None:
            final = last.fixed.raw, last.float32
    return Result(
        program=program,
        # The program's order again, whatever the graph's was.
        layers=_results(
            program,
            workload.uses,
            rows,
            plan=plan,
            recounts=Recount.of_layers(
                program,
                workload.uses,
                read,
                counted={use: activity for use, (activity, _) in rows.items()},
                plan=plan,
                threads=threads,
            ),
        ),
        engine=engine,
        # A single layer on recorded inputs is a run from the network's own input: nothing lies between.
        drive="trace" if run_inputs.layers and len(rows) > 1 else "execution",
        inputs_source=run_inputs.source,
        synthetic_inputs=run_inputs.synthetic,
        accuracy=_accuracy(run_inputs, final),
        input_notes=(*_foreign(program, activations), *filter(None, [kept.note])),
        inputs_sha256=run_inputs.sha256,
        incomplete=workload.incomplete,
        unmodelled=workload.unmodelled,
        memory=plan,
    )


def _check(datapath: Datapath, batch: int) -> None:
    if datapath not in DATAPATHS:
        raise EieError(f"datapath {datapath!r}: must be 'fixed', 'float32' or 'none'")
    if batch < 1:
        raise EieError(f"batch {batch}: must be >= 1")


def _run_recorded(
    program: Program,
    workload: Workload,
    settings: Settings,
    ran: Callable[[str, LayerTrace, LayerOutputs | None], None],
) -> LayerOutputs | None:
    """Run every use of every layer on its own recorded inputs; return what the last made, where that is computed."""
    computed: LayerOutputs | None = None
    for layer in program.layers:
        for use in workload.uses[layer.name]:
            recorded = workload.given.layers[use]
            computed = None if settings.datapath == "none" else _on_recorded(layer, recorded, settings)
            ran(use, recorded, computed)
    return computed


def _results(
    program: Program,
    uses: Mapping[str, tuple[str, ...]],
    rows: Mapping[str, tuple[Activity, LayerOutputs | None]],
    *,
    plan: MemoryPlan,
    recounts: Mapping[str, Recount],
) -> tuple[LayerResult, ...]:
    """Put together what the uses of each layer have made."""
    activities = [Activity.together(layer.name, [rows[use][0] for use in uses[layer.name]]) for layer in program.layers]
    dense = beside(
        layers=program.layers,
        # A row of inputs of a Winograd tile is 16 products.
        products=[
            activity.products // layer.products_per_row
            for layer, activity in zip(program.layers, activities, strict=True)
        ],
        memory=plan,
        spec=program.spec,
        uses=uses,
    )
    computed = [[rows[use][1] for use in uses[layer.name]] for layer in program.layers]
    return tuple(
        LayerResult(
            encoded=layer,
            spec=program.spec,
            activity=activity,
            fit=fit,
            place=plan.by_name[layer.name],
            computed=LayerOutputs.last(made),
            maps=plan.maps.of_uses(layer.name, uses[layer.name]),
            dense=cost,
            **_on_demand(recounts.get(layer.name)),
            uses=len(made),
            computed_uses=tuple(outputs for outputs in made if outputs is not None),
        )
        for layer, activity, fit, cost, made in zip(
            program.layers, activities, program.fit, dense, computed, strict=True
        )
    )


def _on_demand(recount: Recount | None) -> dict[str, Any]:
    return {} if recount is None else {"recount": recount, "count_padding": recount.padding}


def _run_in_parts(
    stages: Stages,
    spec: AcceleratorSpec,
    ran: Ran,
    *,
    rows: UseRuns,
    read: dict[str, LayerTrace],
    parts: Sequence[slice],
) -> tuple[NDArray[Any], NDArray[Any]]:
    """Run the network on its own inputs, part by part; return its outputs.

    ``ran`` fills ``rows`` and ``read``, here with all parts.

    Raw fixed-point numbers rank as their values do, since a layer has one scale; accuracy asks for the rank only.
    """
    if len(parts) == 1:
        output = stages.run(spec, ran)[0]
        return output.fixed.raw, output.float32

    patterns: dict[int, dict[str, LayerTrace]] = {}

    def run(part: slice, agree: Agree) -> tuple[UseRuns, NDArray[Any], NDArray[Any]]:
        rows.clear()
        read.clear()
        output = stages.run(spec, ran, part=part, agree=agree)[0]
        # Of a part that runs again the last time stands.
        patterns[part.start] = dict(read)
        return dict(rows), output.fixed.raw, output.float32

    made = in_agreement(parts, run, spec.data_bits)
    sizes = [part.stop - part.start for part in parts]
    # Taken out one by one: counts of all parts and their sums side by side would be twice the memory.
    for name in list(rows):
        of_use = [uses.pop(name) for uses, _, _ in made]
        computed = [outputs for _, outputs in of_use if outputs is not None]
        activity = joined_activity([counted for counted, _ in of_use])
        rows[name] = activity, joined_outputs(computed, sizes) if computed else None
    for name in list(read):
        read[name] = joined_patterns([patterns[part.start].pop(name) for part in parts])
    return np.concatenate([raw for _, raw, _ in made]), np.concatenate([real for _, _, real in made])


def as_program(
    model: Program | Model,
    spec: AcceleratorSpec | None = None,
    bias: BiasPlace = "auto",
    *,
    conv: Conv = "auto",
    examples: Inputs = None,
    layout: Layout | None = None,
) -> Program:
    """Return a program as it is, that of a program file, or a model compiled for ``spec`` (EIE_64PE by default).

    Raises
    ------
    ProgramError
        For a ``spec``, a ``bias`` or a ``conv`` beside a program, which was compiled with its own.
    ModelError
        If the model is none, or cannot be read.
    """
    # By the header in the file: models are .safetensors too, so the name does not tell.
    if isinstance(model, str | Path) and Program.is_program(model):
        model = Program.load(model)
    if not isinstance(model, Program):
        network = as_network(model, "an eie.Program", examples=examples, layout=layout)
        check_conv(conv)
        sizes = open_sizes(network, examples, layout) if conv == "auto" else {}
        return compile_network(network, EIE_64PE if spec is None else spec, bias=bias, conv=conv, sizes=sizes)
    check_place(bias)
    check_conv(conv)
    if conv != "auto":
        raise ProgramError(
            f"conv={conv!r}: program {model.name!r} is compiled already: leave conv out, or compile the model anew"
        )
    if bias != "auto":
        raise ProgramError(
            f"bias={bias!r}: program {model.name!r} is compiled already: leave bias out, or compile the model anew"
        )
    if spec is not None:
        raise ProgramError(
            f"spec: program {model.name!r} was compiled for {model.spec.name} already: leave spec out; "
            "program.on(spec) moves it to a machine that stores it alike, eie.compile(model, spec) to any"
        )
    return model


def with_given_accuracy(result: Result, network: Network, inputs: Inputs) -> Result:
    """Add the accuracy of the network as it was given, before weight sharing, where the result has labels."""
    # Without labels no second run of the whole network in float32.
    share = None if result.accuracy is None else float32_accuracy(network, inputs)
    if result.accuracy is None or share is None:
        return result
    return replace(result, accuracy=replace(result.accuracy, given=share))


def _foreign(program: Program, activations: Inputs) -> tuple[str, ...]:
    """Say so when a trace was recorded from another model file than the one that runs."""
    trace = program.trace if activations is None else activations
    if not isinstance(trace, Trace) or None in (trace.model_sha256, program.sha256):
        return ()
    if trace.model_sha256 == program.sha256:
        return ()
    return (f"the trace was recorded from another model file (SHA-256 {str(trace.model_sha256)[:16]}...)",)


def _without_computing(program: Program, arrays: Mapping[str, NDArray[np.float32]]) -> Mapping[str, LayerTrace]:
    """Return the rows of a single layer that read its input alone; whatever else follows from results is not known."""
    layer = program.layers[0]
    graph = program.dataflow
    # A recurrence reads its own results: the hidden state of step 2 is not known without computing step 1.
    if graph is not None and len(graph.nodes) == 1 and layer.geometry.recurrence is None:
        return {layer.name: unrolled(layer, next(iter(arrays.values())))}
    raise TraceError(
        f"datapath 'none' computes nothing, so the inputs of {len(program.layers)} layers that follow from each other "
        "are not known: give a trace that names every layer (eie trace records one), or choose 'fixed' or 'float32'"
    )


def _on_recorded(layer: EncodedLayer, recorded: LayerTrace, settings: Settings) -> LayerOutputs | None:
    """Compute a layer on its recorded inputs; None where only their pattern was kept."""
    if recorded.values is None:
        return None
    values = recorded.values
    # The bias column has activation 1.0, which must fit the format too. `initial` keeps an empty trace from raising;
    # most bits are taken that fit the largest magnitude of the whole trace (docs/assumptions.md).
    largest = max(float(layer.has_bias), float(values.max(initial=0)), -float(values.min(initial=0)))
    fraction = fraction_bits(largest, settings.data_bits)

    # Both datapaths and the guess of their format ask for the rows: few are unpacked once.
    whole = recorded.dense() if recorded.rows * recorded.width <= SLICE_ELEMENTS else None

    def real(start: int, stop: int) -> NDArray[np.float32]:
        if whole is not None:
            return whole[start:stop]
        part = recorded.dense(start, stop)
        # For mypy: values are there, see above.
        assert part is not None
        return part

    def raw(start: int, stop: int) -> NDArray[np.int64]:
        return to_raw(real(start, stop), fraction, settings.data_bits)

    return run_products(
        layer=layer,
        rows=Rows(count=recorded.rows, fixed=raw, float32=real, fraction_bits=fraction),
        data_bits=settings.data_bits,
        threads=settings.threads,
    )


def _accuracy(run_inputs: Given, final: tuple[NDArray[Any], NDArray[Any]] | None) -> Accuracy | None:
    if run_inputs.labels is None or final is None:
        return None
    # Both against the same labels: what differs is then the datapath alone.
    fixed, float32 = (right_answers(outputs, run_inputs.labels) for outputs in final)
    if fixed is None or float32 is None:
        return None
    return Accuracy(samples=len(run_inputs.labels), fixed=float(fixed.mean()), float32=float(float32.mean()))
