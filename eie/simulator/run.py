"""The layers of a program, one after the other: on recorded inputs, or from the network's own, part by part.

Comes in: a program's `Stages` or its recorded inputs, and whom to call with what each use of a layer has read and
computed. Goes out: the network's outputs. Called by `eie.simulation`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from eie.compiler.encoded import EncodedLayer
from eie.compiler.program import Program
from eie.errors import TraceError
from eie.model.layer_trace import LayerTrace
from eie.simulator.agreement import Agree, in_agreement
from eie.simulator.functional import SLICE_ELEMENTS, LayerOutputs, Rows, fraction_bits, to_raw
from eie.simulator.network import Settings, unrolled
from eie.simulator.parts import joined_activity, joined_outputs, joined_patterns
from eie.simulator.products import run_products
from eie.simulator.timed import Timed, UseRuns
from eie.simulator.workload import Workload


def run_recorded(
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


def run_in_parts(timed: Timed, parts: Sequence[slice]) -> tuple[NDArray[Any], NDArray[Any]]:
    """Run the network on its own inputs, part by part; return its outputs. ``timed`` is filled with all parts.

    Raw fixed-point numbers rank as their values do, since a layer has one scale; accuracy asks for the rank only.
    """
    stages, spec, rows, read = timed.stages, timed.spec, timed.rows, timed.read
    if len(parts) == 1:
        output = stages.run(spec, timed.ran)[0]
        return output.fixed.raw, output.float32

    patterns: dict[int, dict[str, LayerTrace]] = {}

    def run(part: slice, agree: Agree) -> tuple[UseRuns, NDArray[Any], NDArray[Any]]:
        rows.clear()
        read.clear()
        output = stages.run(spec, timed.ran, part=part, agree=agree)[0]
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


def rows_of_input(program: Program, arrays: Mapping[str, NDArray[np.float32]]) -> Mapping[str, LayerTrace]:
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
