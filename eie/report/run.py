"""A program and inputs into a `Result`: the one place where numbers, time and network order meet.

Comes in: a `Program` and activations. Goes out: a `Result`. Called by the command line, notebooks and sweeps.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Literal, get_args

import numpy as np
from numpy.typing import ArrayLike, NDArray

from eie.compiler.program import EncodedLayer, Program
from eie.errors import EieError, TraceError
from eie.network import Network
from eie.report.result import Accuracy, LayerResult, Result
from eie.simulator.functional import FixedPoint, LayerOutputs, run_layer
from eie.simulator.layer import Engine, time_layer
from eie.trace import LayerTrace, Trace

Datapath = Literal["fixed", "float32"]
Inputs = Trace | Mapping[str, ArrayLike] | ArrayLike | None
SYNTHETIC_SEED = 0


def simulate(
    program: Program,
    activations: Inputs = None,
    *,
    engine: Engine = "fast",
    datapath: Datapath = "fixed",
    threads: int | None = None,
    progress: Callable[[str, int, int], None] | None = None,
    log: Callable[[str], None] | None = None,
) -> Result:
    """Run a compiled network.

    Parameters
    ----------
    program
        From `eie.compile`.
    activations
        (inputs,) or (batch, inputs) for the first layer: the network runs execution-driven, each layer's outputs
        feeding the next. Or a `Trace`, or a mapping of layer name to such arrays: if it names every layer, each runs on
        its own recorded inputs. None: the trace that came with the model, else a synthetic input, labelled as such.
    engine
        ``"fast"`` or ``"events"``; equal in every number.
    datapath
        Whose zeros time sees where layers feed each other: ``"fixed"`` (as in hardware) or ``"float32"``.
    threads
        For the fast engine; the machine's cores by default.
    progress
        Called as ``progress(layer, done, total)``, in products.
    log
        With the event engine: called with a line of text for every cycle.

    Raises
    ------
    TraceError
        If the activations do not fit the network.
    """
    if datapath not in get_args(Datapath):
        raise EieError(f"datapath {datapath!r}: must be 'fixed' or 'float32'")
    trace = _trace_for(program, activations)
    by_trace = all(layer.name in trace.layers for layer in program.layers)
    _check(program, trace, by_trace)
    rows: list[LayerResult] = []
    before: LayerOutputs | None = None
    for layer, fit in zip(program.layers, program.fit, strict=True):
        recorded = trace.layers.get(layer.name) if by_trace or before is None else None
        inputs, fixed, float32 = _inputs(layer, recorded, before, program.spec.data_bits, datapath)

        def advanced(count: int, name: str = layer.name, total: int = inputs.rows * len(layer.passes)) -> None:
            if progress is not None:
                progress(name, count, total)

        activity = time_layer(layer, inputs, program.spec, engine, threads=threads, advanced=advanced, log=log)
        before = None
        if fixed is not None and float32 is not None:
            before = run_layer(layer, fixed, float32, program.spec.data_bits)
        rows.append(LayerResult(layer, program.spec, activity, fit, before))
    return Result(
        program,
        tuple(rows),
        engine,
        "trace" if by_trace and len(rows) > 1 else "execution",
        trace.source,
        trace.synthetic,
        _accuracy(trace.labels, rows[-1].computed, program),
    )


def with_given_accuracy(result: Result, network: Network, inputs: Trace | None) -> Result:
    """Add the accuracy of the network as it was given, before weight sharing, where the result has labels."""
    trace = inputs or network.trace
    if result.accuracy is None or trace is None or trace.labels is None:
        return result
    values = trace.layers[network.layers[0].name].dense()
    if values is None:
        return result
    for layer in network.layers:
        values = values @ layer.weights.T
        if layer.bias is not None:
            values = values + layer.bias
        elif layer.bias_codes is not None and layer.codebook is not None:
            values = values + layer.codebook[layer.bias_codes]
        if layer.relu:
            values = np.maximum(values, 0)
    given = float((values.argmax(axis=1) == trace.labels).mean())
    return replace(result, accuracy=replace(result.accuracy, given=given))


def _trace_for(program: Program, activations: Inputs) -> Trace:
    first = program.layers[0].name
    if activations is None:
        return program.trace or _synthetic(program)
    if isinstance(activations, Trace):
        return activations
    if isinstance(activations, Mapping):
        arrays = {name: LayerTrace.from_dense(array, f"activations of {name}") for name, array in activations.items()}
        return Trace(arrays)
    return Trace({first: LayerTrace.from_dense(activations)})


def _synthetic(program: Program) -> Trace:
    rng = np.random.default_rng(SYNTHETIC_SEED)
    layers = program.layers[:1] if program.sequential else program.layers
    drawn = {
        layer.name: LayerTrace.from_dense(np.abs(rng.standard_normal(layer.inputs)) + 2.0**-10) for layer in layers
    }
    source = f"no activations were given: one random input without zeros, seed {SYNTHETIC_SEED}"
    return Trace(drawn, source=source, synthetic=True)


def _check(program: Program, trace: Trace, by_trace: bool) -> None:
    names = [layer.name for layer in program.layers]
    unknown = [name for name in trace.layers if name not in names]
    if unknown:
        raise TraceError(f"trace names {', '.join(unknown)}: the network has {', '.join(names)}")
    for layer in program.layers:
        recorded = trace.layers.get(layer.name)
        if recorded is not None and recorded.width != layer.inputs:
            raise TraceError(f"layer {layer.name!r} takes {layer.inputs} inputs, the activations have {recorded.width}")
    if by_trace:
        return
    if not program.sequential:
        missing = ", ".join(name for name in names if name not in trace.layers)
        raise TraceError(f"the layers do not feed each other, so each needs activations: none for {missing}")
    if names[0] not in trace.layers:
        raise TraceError(f"no activations for the first layer, {names[0]!r}")
    if trace.layers[names[0]].values is None:
        raise TraceError("the trace holds only which inputs are non-zero: a network run in sequence needs their values")


def _inputs(
    layer: EncodedLayer,
    recorded: LayerTrace | None,
    before: LayerOutputs | None,
    data_bits: int,
    datapath: Datapath,
) -> tuple[LayerTrace, FixedPoint | None, NDArray[np.float32] | None]:
    """Return what the layer's scanner sees, and its inputs in both number formats (None without values)."""
    if recorded is not None:
        float32 = recorded.dense()
        if float32 is None:
            return recorded, None, None
        return recorded, FixedPoint.quantise(float32, data_bits, largest=float(layer.has_bias)), float32
    assert before is not None
    fixed = before.fixed.with_room_for_one(layer.has_bias, data_bits)
    seen = fixed.value if datapath == "fixed" else before.float32
    return LayerTrace.from_dense(seen), fixed, before.float32


def _accuracy(labels: NDArray[np.int64] | None, last: LayerOutputs | None, program: Program) -> Accuracy | None:
    if labels is None or last is None or not program.sequential:
        return None
    return Accuracy(
        len(labels),
        float((last.fixed.raw.argmax(axis=1) == labels).mean()),
        float((last.float32.argmax(axis=1) == labels).mean()),
    )
