"""A program and inputs into a `Result`: the one place where numbers, time and network order meet.

Comes in: a `Program` and activations. Goes out: a `Result`. Called by the command line, notebooks and sweeps.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any, get_args

import numpy as np
from numpy.typing import NDArray

from eie.compiler.encoded import EncodedLayer
from eie.compiler.program import Program
from eie.errors import EieError
from eie.model.network import Network
from eie.model.trace import LayerTrace, Trace
from eie.results.accuracy import float32_accuracy, right_answers
from eie.results.layer import LayerResult
from eie.results.result import Accuracy, Result
from eie.simulator.functional import LayerOutputs, Rows, fraction_bits, run_products, to_raw
from eie.simulator.inputs import Given, Inputs, given_inputs
from eie.simulator.layer import Engine, time_layer
from eie.simulator.network import Datapath, Settings, run_network


def simulate(
    program: Program,
    activations: Inputs = None,
    *,
    engine: Engine = "fast",
    datapath: Datapath = "fixed",
    threads: int | None = None,
    keep_outputs: bool = True,
    progress: Callable[[str, int, int], None] | None = None,
    log: Callable[[str], None] | None = None,
) -> Result:
    """Run a compiled network.

    Parameters
    ----------
    program
        From `eie.compile`.
    activations
        The network's input, (inputs,) or (batch, inputs), or (batch, *shape) where it takes maps or sequences: the
        network runs execution-driven, outputs feeding inputs along its graph or sequence. Or a `Trace`, or a mapping of
        layer name to (rows, inputs): if it names every layer, each runs on its own recorded inputs. None: the trace
        that came with the model, else a synthetic input, labelled as such.
    engine
        ``"fast"`` or ``"events"``; equal in every number.
    datapath
        Whose zeros time sees where layers feed each other: ``"fixed"`` (as in hardware) or ``"float32"``.
    threads
        For the fast engine and the arithmetic; the machine's cores by default.
    keep_outputs
        Whether the result holds every layer's outputs; without them a large batch needs far less memory.
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
        If the activations do not fit the network.
    ModelError
        If the network's graph has an operator that is not known, or shapes in it do not fit.
    """
    if not isinstance(program, Program):
        raise EieError(f"{type(program).__name__}: must be an eie.Program: compile it first, eie.compile(...)")
    if datapath not in get_args(Datapath):
        raise EieError(f"datapath {datapath!r}: must be 'fixed' or 'float32'")
    given = given_inputs(layers=program.layers, dataflow=program.dataflow, activations=activations, own=program.trace)
    fits = {fit.layer: fit for fit in program.fit}
    rows: dict[str, LayerResult] = {}

    def ran(layer: EncodedLayer, inputs: LayerTrace, computed: LayerOutputs | None) -> None:
        """Time a layer on the inputs it has just had."""

        def advanced(count: int) -> None:
            if progress is not None:
                progress(layer.name, count, inputs.rows * len(layer.passes))

        activity = time_layer(
            layer=layer, inputs=inputs, spec=program.spec, engine=engine, threads=threads, advanced=advanced, log=log
        )
        kept = computed if keep_outputs or computed is None else computed.summary()
        rows[layer.name] = LayerResult(
            encoded=layer, spec=program.spec, activity=activity, fit=fits[layer.name], computed=kept
        )

    settings = Settings(data_bits=program.spec.data_bits, datapath=datapath, threads=threads)
    final: tuple[NDArray[Any], NDArray[Any]] | None = None
    if given.arrays:
        assert program.dataflow is not None
        layers = {layer.name: layer for layer in program.layers}
        output = run_network(graph=program.dataflow, layers=layers, inputs=given.arrays, settings=settings, ran=ran)[0]
        final = output.fixed.raw, output.float32
    else:
        for layer in program.layers:
            computed = _on_recorded(layer, given.layers[layer.name], settings)
            ran(layer, given.layers[layer.name], computed)
        if program.sequential and computed is not None:
            final = computed.fixed.raw, computed.float32
    return Result(
        program=program,
        layers=tuple(rows[layer.name] for layer in program.layers),
        engine=engine,
        drive="trace" if given.layers and len(rows) > 1 else "execution",
        inputs_source=given.source,
        synthetic_inputs=given.synthetic,
        accuracy=_accuracy(given, final),
        input_notes=_foreign(program, activations),
        inputs_sha256=given.sha256,
    )


def with_given_accuracy(result: Result, network: Network, inputs: Inputs) -> Result:
    """Add the accuracy of the network as it was given, before weight sharing, where the result has labels."""
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


def _on_recorded(layer: EncodedLayer, recorded: LayerTrace, settings: Settings) -> LayerOutputs | None:
    """Compute a layer on its recorded inputs; None where only their pattern was kept."""
    if recorded.values is None:
        return None
    largest = float(np.abs(recorded.values).max(initial=float(layer.has_bias)))
    fraction = fraction_bits(largest, settings.data_bits)

    def real(start: int, stop: int) -> NDArray[np.float32]:
        values = recorded.dense(start, stop)
        assert values is not None
        return values

    def raw(start: int, stop: int) -> NDArray[np.int64]:
        return to_raw(real(start, stop), fraction, settings.data_bits)

    outputs = run_products(
        layer=layer,
        rows=Rows(count=recorded.rows, fixed=raw, float32=real, fraction_bits=fraction),
        data_bits=settings.data_bits,
        threads=settings.threads,
    )
    return outputs.relu() if layer.relu else outputs


def _accuracy(given: Given, final: tuple[NDArray[Any], NDArray[Any]] | None) -> Accuracy | None:
    if given.labels is None or final is None:
        return None
    fixed, float32 = (right_answers(one, given.labels) for one in final)
    if fixed is None or float32 is None:
        return None
    return Accuracy(samples=len(given.labels), fixed=float(fixed.mean()), float32=float(float32.mean()))
