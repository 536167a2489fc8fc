"""Which inputs each layer sees: recorded ones, or what the layer before it computed.

Comes in: a `Program` and activations in any form a caller may give. Goes out: each layer with its inputs and, where
values are known, its outputs. Read by the run and by sweeps.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from eie.compiler.program import EncodedLayer, Program
from eie.errors import TraceError
from eie.network import Network
from eie.simulator.functional import FixedPoint, LayerOutputs, run_layer
from eie.trace import LayerTrace, Trace

Datapath = Literal["fixed", "float32"]
Inputs = Trace | Mapping[str, ArrayLike] | ArrayLike | None
SYNTHETIC_SEED = 0


def is_trace_driven(program: Program | Network, trace: Trace) -> bool:
    """Whether every layer has recorded inputs of its own; otherwise the layers feed each other.

    Raises
    ------
    TraceError
        If the trace does not fit the network either way.
    """
    by_trace = all(layer.name in trace.layers for layer in program.layers)
    _check(program, trace, by_trace)
    return by_trace


def drive(
    program: Program, trace: Trace, datapath: Datapath = "fixed"
) -> Iterator[tuple[EncodedLayer, LayerTrace, LayerOutputs | None]]:
    """Go through the layers in order: each with its inputs, and its outputs where the values are known.

    Parameters
    ----------
    datapath
        Whose zeros the next layer sees where layers feed each other: ``"fixed"`` (as in hardware) or ``"float32"``.

    Raises
    ------
    TraceError
        If the trace does not fit the network.
    """
    by_trace = is_trace_driven(program, trace)
    before: LayerOutputs | None = None
    for layer in program.layers:
        recorded = trace.layers.get(layer.name) if by_trace or before is None else None
        inputs, fixed, float32 = _inputs(layer, recorded, before, program.spec.data_bits, datapath)
        before = None
        if fixed is not None and float32 is not None:
            before = run_layer(layer, fixed, float32, program.spec.data_bits)
        yield layer, inputs, before


def trace_for(program: Program | Network, activations: Inputs) -> Trace:
    """Return activations as a trace; None means the trace that came with the model, else a synthetic input."""
    first = program.layers[0].name
    if activations is None:
        return program.trace or _synthetic(program)
    if isinstance(activations, Trace):
        return activations
    if isinstance(activations, Mapping):
        arrays = {name: LayerTrace.from_dense(array, f"activations of {name}") for name, array in activations.items()}
        return Trace(arrays)
    return Trace({first: LayerTrace.from_dense(activations)})


def _synthetic(program: Program | Network) -> Trace:
    rng = np.random.default_rng(SYNTHETIC_SEED)
    layers = program.layers[:1] if program.sequential else program.layers
    drawn = {
        layer.name: LayerTrace.from_dense(np.abs(rng.standard_normal(layer.inputs)) + 2.0**-10) for layer in layers
    }
    source = f"no activations were given: one random input without zeros, seed {SYNTHETIC_SEED}"
    return Trace(drawn, source=source, synthetic=True)


def _check(program: Program | Network, trace: Trace, by_trace: bool) -> None:
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
