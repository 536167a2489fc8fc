"""One layer on one timing engine: passes and products added up to an `Activity`.

Comes in: an `EncodedLayer`, its recorded or computed inputs, the spec, the engine's name. Goes out: an `Activity`.
Read by the run and by sweeps.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Literal, get_args

import numpy as np
from numpy.typing import NDArray

from eie.activity import Activity
from eie.compiler.program import EncodedLayer
from eie.errors import EieError, TraceError
from eie.simulator import fast
from eie.simulator.records import PassTiming, Pattern
from eie.spec import AcceleratorSpec
from eie.trace import LayerTrace

Engine = Literal["fast", "events"]


def time_layer(
    layer: EncodedLayer,
    inputs: LayerTrace,
    spec: AcceleratorSpec,
    engine: Engine = "fast",
    *,
    threads: int | None = None,
    advanced: Callable[[int], None] = lambda _: None,
    log: Callable[[str], None] | None = None,
) -> Activity:
    """Count what happens in a layer.

    Parameters
    ----------
    inputs
        Which activations are non-zero, for every product of every sample.
    engine
        ``"fast"`` or ``"events"``; they agree in every number.
    threads
        For the fast engine.
    advanced
        Called with the number of products done, pass by pass.
    log
        For the event engine: called with a line for each cycle.

    Raises
    ------
    TraceError
        If the inputs do not have the layer's width.
    """
    if engine not in get_args(Engine):
        raise EieError(f"engine {engine!r}: must be 'fast' or 'events'")
    if inputs.width != layer.inputs:
        raise TraceError(f"layer {layer.name!r} takes {layer.inputs} inputs, the activations have {inputs.width}")
    timings: list[PassTiming] = []
    patterns = [Pattern.of(inputs, encoding) for encoding in layer.passes]
    for encoding, pattern in zip(layer.passes, patterns, strict=True):
        if engine == "fast":
            timings.append(fast.time_pass(encoding, pattern, spec, threads, advanced))
        else:
            from eie.simulator import events

            timings.append(events.time_pass(encoding, pattern, spec, advanced, log))
    return add_up(layer, inputs, spec, patterns, timings)


def add_up(
    layer: EncodedLayer,
    inputs: LayerTrace,
    spec: AcceleratorSpec,
    patterns: Sequence[Pattern],
    timings: Sequence[PassTiming],
) -> Activity:
    """Add the passes of a layer, and the products of each sample, up to an `Activity`."""

    def total(name: str) -> NDArray[np.int64]:
        """Sum a count over passes, then over the products of each sample."""
        return _by_sample(sum(getattr(one, name) for one in timings), inputs.products)

    cycles, entries, padding = total("cycles"), total("entries"), total("padding")
    issue, empty, starved = total("issue"), total("empty"), total("starved")
    sent = _by_sample(np.sum([pattern.broadcasts for pattern in patterns], axis=0), inputs.products)
    reload_bits = _reload_bits(layer, spec)
    return Activity(
        layer=layer.name,
        n_pe=spec.n_pe,
        cycles=cycles,
        counts={
            "broadcasts": sent,
            "ptr_reads": sent * spec.n_pe,
            "spmat_reads": total("reads"),
            "entries": entries,
            "padding_entries": padding,
            "stall_cycles": total("stall"),
            "dead_scan_cycles": total("dead"),
            "macs": entries - padding,
        },
        per_pe={
            "issue": issue,
            "empty_column": empty,
            "starved": starved,
            "drain": cycles[:, None] - issue - empty - starved,
        },
        passes=len(layer.passes),
        reload_bits=reload_bits,
        reload_cycles=-(-reload_bits // spec.io_bits),
        active_inputs=_by_sample(np.bitwise_count(inputs.bits).sum(axis=1, dtype=np.int64), inputs.products),
        possible_inputs=inputs.width * inputs.products,
    )


def _by_sample(values: NDArray[np.int64], products: int) -> NDArray[np.int64]:
    total: NDArray[np.int64] = values.reshape(-1, products, *values.shape[1:]).sum(axis=1)
    return total


def _reload_bits(layer: EncodedLayer, spec: AcceleratorSpec) -> int:
    """A layer in one pass stays in its SRAMs; otherwise every pass is brought in again for each sample."""
    if len(layer.passes) == 1:
        return 0
    return sum(entries * spec.entry_bits + pointers * spec.ptr_bits for entries, pointers in layer.image_bits_per_pass)
