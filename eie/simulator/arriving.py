"""A streamed layer's passes on their way, slice by slice: which columns each product still has to be brought.

Comes in: an `EncodedLayer`, the room it has in its turn, slices of its inputs in order. Goes out: for each slice what
the engines take, a `Stream` and its `Arrivals`. Read by `stages`.

A layer that is loaded once, for all products of all samples of a batch, must have room for all that comes; where it has
none, each product is brought its columns anew.
"""

from __future__ import annotations

import numpy as np

from eie.compiler.encoded import EncodedLayer
from eie.compiler.places import LayerPlace
from eie.compiler.stream import Stream
from eie.simulator.layer import Slice
from eie.simulator.records import Arrivals
from eie.spec import AcceleratorSpec


class Arriving:
    """One walk over a layer's slices; ``batch`` samples to a load."""

    def __init__(self, layer: EncodedLayer, spec: AcceleratorSpec, place: LayerPlace, batch: int) -> None:
        held = place.entries <= place.room_entries and place.pointers <= place.room_pointers
        self._batch = batch
        self._streams = [Stream.of(encoding, spec, layer.name, held=held) for encoding in layer.passes]
        # The batch that used each column last, and any of them: carried from slice to slice.
        self._seen = [np.full(len(encoding.pointers), -1, np.int64) for encoding in layer.passes]

    def next(self, part: Slice) -> tuple[Stream, Arrivals | None]:
        """Return how the weights arrive for the next slice of its pass."""
        stream = self._streams[part.turn]
        if not stream.held:
            return stream, None
        groups = part.sample_of // self._batch
        seen = self._seen[part.turn]
        return stream, Arrivals.first_uses(part.pattern, inputs=part.encoding.inputs, groups=groups, seen=seen)
