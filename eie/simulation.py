"""A program and inputs into a `Result`: the one place where numbers, time and network order meet.

Comes in: a `Program`, or a model that is compiled here, and activations. Goes out: a `Result`. Called by the command
line, notebooks and studies.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

from numpy.typing import NDArray

from eie.activity import Activity
from eie.compiler.choice import Conv
from eie.compiler.places import MemoryPlan
from eie.compiler.program import Program
from eie.compression.bias import BiasPlace
from eie.errors import EieError
from eie.formats.arguments import taken
from eie.importers.entrance import Model
from eie.machines.dense import beside
from eie.model.fitting import Layout
from eie.model.network import Network
from eie.model.trace import Trace
from eie.recording.inputs import opened
from eie.results.accuracy import float32_accuracy, right_answers
from eie.results.layer import LayerResult
from eie.results.result import Result
from eie.results.totals import Accuracy
from eie.show.notebook import told
from eie.simulator.counting import How
from eie.simulator.functional import LayerOutputs
from eie.simulator.inputs import Given, Inputs
from eie.simulator.keeping import Kept
from eie.simulator.layer import Engine
from eie.simulator.network import DATAPATHS, Datapath, Settings
from eie.simulator.parts import sample_parts
from eie.simulator.programs import as_program
from eie.simulator.recount import Recount
from eie.simulator.run import rows_of_input, run_in_parts, run_recorded
from eie.simulator.stages import Stages
from eie.simulator.timed import Progress, Timed
from eie.simulator.workload import Workload
from eie.spec import AcceleratorSpec


@taken
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
        layer name to (rows, inputs): if it names every layer, each runs on its own recorded inputs. Or `Samples`, or a
        file: a trace, or what `eie.read_samples` takes. None: the trace that came with the model, else a synthetic
        input, labelled as such. Arrays may be masked (0), of ``scipy.sparse`` or of an ``ml_dtypes`` type.
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
    activations = opened(activations)
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
        run_inputs = replace(run_inputs, layers=rows_of_input(program, run_inputs.loaded()), arrays={})
        workload = replace(workload, given=run_inputs)
    kept = Kept.of(workload, program, asked=keep_outputs, computing=datapath != "none")
    bar = Progress((layer.name for layer in program.layers), progress)
    how = How(engine=engine, batch=batch, datapath=datapath, threads=threads, advanced=bar.advanced, log=log)
    samples = run_inputs.samples_in_all
    timed = Timed(
        # Without a cache: nothing of a layer outlives it but its counts and, where they are kept, its outputs.
        stages=Stages(workload, how=how, plan=plan),
        spec=program.spec,
        kept=kept,
        progress=bar,
        samples=samples,
        shares=shares,
        patterned=kept.whole or keep_patterns,
    )
    settings = Settings(data_bits=program.spec.data_bits, datapath=datapath, threads=threads)
    final: tuple[NDArray[Any], NDArray[Any]] | None = None
    if run_inputs.arrays:
        # Outputs that are kept lie in memory together, so there is nothing to gain by parts.
        parts = [slice(0, samples)] if kept.whole else sample_parts(samples, batch, plan.maps)
        final = run_in_parts(timed, parts)
    else:
        last = run_recorded(program, workload, settings, ran=timed.ran)
        # The last layer is the network's end only in a sequence.
        if program.sequential and last is not None:
            final = last.fixed.raw, last.float32
    return Result(
        program=program,
        # The program's order again, whatever the graph's was.
        layers=_results(program, workload.uses, timed, plan=plan, threads=threads),
        engine=engine,
        # A single layer on recorded inputs is a run from the network's own input: nothing lies between.
        drive="trace" if run_inputs.layers and len(timed.rows) > 1 else "execution",
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


def _results(
    program: Program,
    uses: Mapping[str, tuple[str, ...]],
    timed: Timed,
    *,
    plan: MemoryPlan,
    threads: int | None,
) -> tuple[LayerResult, ...]:
    """Put together what the uses of each layer have made, once all are there."""
    # Now and not use by use: whether the dense equivalent's weights stay is known of all layers only.
    rows = timed.rows
    counted = {use: activity for use, (activity, _) in rows.items()}
    recounts = Recount.of_layers(program, uses, timed.read, counted=counted, plan=plan, threads=threads)
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


def _accuracy(run_inputs: Given, final: tuple[NDArray[Any], NDArray[Any]] | None) -> Accuracy | None:
    if run_inputs.labels is None or final is None:
        return None
    # Both against the same labels: what differs is then the datapath alone.
    fixed, float32 = (right_answers(outputs, run_inputs.labels) for outputs in final)
    if fixed is None or float32 is None:
        return None
    return Accuracy(samples=len(run_inputs.labels), fixed=float(fixed.mean()), float32=float(float32.mean()))
