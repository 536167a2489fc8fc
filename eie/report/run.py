"""A program and inputs into a `Result`: the one place where numbers, time and network order meet.

Comes in: a `Program` and activations. Goes out: a `Result`. Called by the command line, notebooks and sweeps.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import get_args

import numpy as np
from numpy.typing import NDArray

from eie.compiler.program import Program
from eie.errors import EieError
from eie.layer_result import LayerResult
from eie.network import Network
from eie.report.result import Accuracy, Result
from eie.simulator.drive import Datapath, Inputs, drive, is_trace_driven, trace_for
from eie.simulator.functional import LayerOutputs
from eie.simulator.layer import Engine, time_layer
from eie.trace import Trace


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
    trace = trace_for(program, activations)
    by_trace = is_trace_driven(program, trace)
    rows: list[LayerResult] = []
    for (layer, inputs, computed), fit in zip(drive(program, trace, datapath), program.fit, strict=True):

        def advanced(count: int, name: str = layer.name, total: int = inputs.rows * len(layer.passes)) -> None:
            if progress is not None:
                progress(name, count, total)

        activity = time_layer(layer, inputs, program.spec, engine, threads=threads, advanced=advanced, log=log)
        rows.append(LayerResult(layer, program.spec, activity, fit, computed))
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


def _accuracy(labels: NDArray[np.int64] | None, last: LayerOutputs | None, program: Program) -> Accuracy | None:
    if labels is None or last is None or not program.sequential:
        return None
    return Accuracy(
        len(labels),
        float((last.fixed.raw.argmax(axis=1) == labels).mean()),
        float((last.float32.argmax(axis=1) == labels).mean()),
    )
