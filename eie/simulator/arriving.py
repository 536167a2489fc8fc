"""A streamed layer's passes on their way, slice by slice: which columns each product still has to be brought.

Comes in: an `EncodedLayer`, cut to the room it has in its turn, and slices of its inputs in order. Goes out: for each
slice what the engines take, a `Stream` and its `Arrivals`. Read by `stages`.

A turn of several products, those of all samples of a batch, has room for all that comes: each column comes once. One of
a single product passes its columns through the buffer.
"""

from __future__ import annotations

import numpy as np

from eie.compiler.encoded import EncodedLayer
from eie.compiler.stream import Stream
from eie.simulator.layer import Slice
from eie.simulator.records import Arrivals
from eie.simulator.strips import Ranges, Turns
from eie.spec import AcceleratorSpec


class Arriving:
    """One walk over a layer's slices; ``rows`` rows of inputs to a turn, those of so many ``samples``."""

    def __init__(self, layer: EncodedLayer, spec: AcceleratorSpec, rows: int, samples: int = 1) -> None:
        self._rows, self._samples = rows, samples
        self._streams = [
            Stream.of(encoding, spec, layer.name, held=rows > 1 or layer.scatter is not None)
            for encoding in layer.passes
        ]
        # The turn that used each column last, and any of them: carried from slice to slice.
        self._seen = [np.full(len(encoding.pointers), -1, np.int64) for encoding in layer.passes]

    def next(self, part: Slice) -> tuple[Stream, Arrivals | Turns | None]:
        """Return how the weights arrive for the next slice of its pass."""
        stream = self._streams[part.turn]
        if isinstance(part.pattern, Ranges):
            # Strips are no rows of inputs: their turn is that of their sample.
            return stream, Turns(turns=part.sample_of // self._samples, seen=self._seen[part.turn])
        if not stream.held:
            return stream, None
        turns = np.arange(part.start, part.start + part.pattern.products) // self._rows
        seen = self._seen[part.turn]
        return stream, Arrivals.first_uses(part.pattern, inputs=part.encoding.inputs, groups=turns, seen=seen)
