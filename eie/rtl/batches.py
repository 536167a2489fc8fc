"""Vectors longer than the source registers as hardware: the batches that the bench fills and runs one after the other.

Comes in: a layer and the spec. Goes out: frozen `Batches`, and what the fast engine counts of them. Read by `work` and
`design`.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import reduce

import numpy as np

from eie.activity import Activity
from eie.compiler.encoded import EncodedLayer
from eie.compiler.stream import Stream
from eie.errors import ProgramError
from eie.model.layer_trace import LayerTrace
from eie.rtl.streams import Streaming
from eie.simulator import fast
from eie.simulator.batches import batches, in_batches, register_cycles
from eie.simulator.layer import activity_of
from eie.simulator.records import PassTiming, Pattern
from eie.simulator.stages import time_layer
from eie.spec import AcceleratorSpec


@dataclass(frozen=True, kw_only=True)
class Batches:
    """The batches of a product.

    Attributes
    ----------
    count
        How many.
    rows
        Scan rows of each but the last.
    largest
        Of the longest, a bias in a row of its own included.
    register_cycles
        In which the registers of a product are filled and emptied, beside the cycles of its batches.
    """

    count: int
    rows: int
    largest: int
    register_cycles: int

    @classmethod
    def of(cls, layer: EncodedLayer, spec: AcceleratorSpec) -> Batches:
        """Cut a layer's vector as the registers hold it.

        Raises
        ------
        ProgramError
            If a layer of several passes, or by scatter, would come in batches.
        """
        cut = batches(layer.passes[0], spec) if in_batches(spec) else [layer.passes[0]]
        if (len(cut) > 1 and len(layer.passes) > 1) or (in_batches(spec) and layer.scatter is not None):
            raise ProgramError(
                f"layer {layer.name!r}: act_batches='paper' in {len(layer.passes)} passes or by scatter, the hardware "
                "runs batches of one pass: more act_registers, or act_batches=free"
            )
        return cls(
            count=len(cut),
            rows=cut[0].scan_rows if len(cut) == 1 else spec.act_registers,
            largest=max(part.scan_rows for part in cut),
            register_cycles=sum(register_cycles(part, spec) for part in cut),
        )


def counted(layer: EncodedLayer, inputs: LayerTrace, spec: AcceleratorSpec, streaming: Streaming | None) -> Activity:
    """Count by the fast engine, a product a sample, what all batches of each take together.

    A row of the sparse matrix that a PE holds survives from batch to batch: reads are those of the layer in one piece.
    """
    if len(layer.passes) > 1:
        # Ideal residency: that the weights are in place is checked by then, for the network as a whole.
        return time_layer(layer=layer, inputs=inputs, spec=spec.replace(residency="ideal"), threads=1)
    whole = layer.passes[0]
    pattern = Pattern.of(inputs, whole)
    timings = []
    for part in batches(whole, spec) if in_batches(spec) else [whole]:
        own = pattern if part is whole else Pattern.of(inputs, part)
        stream = arrivals = None
        if streaming is not None:
            stream = Stream.of(part, spec, layer.name, held=streaming.stream.held)
            arrivals = streaming.arrivals(part, own)
        timings.append(
            fast.time_pass(encoding=part, pattern=own, spec=spec, threads=1, stream=stream, arrivals=arrivals)
        )
    total = reduce(_together, timings)
    if len(timings) > 1:
        reads = fast.time_pass(encoding=whole, pattern=pattern, spec=spec, threads=1).reads
        total = replace(total, reads=reads)
    sent = pattern.broadcasts
    walks, streamed = np.minimum(sent, 1), streaming is not None
    return activity_of(layer, inputs, spec, sent=sent, walks=walks, total=total, streamed=streamed)


def _together(total: PassTiming, part: PassTiming) -> PassTiming:
    return PassTiming(**{name: values + getattr(part, name) for name, values in vars(total).items()})
