"""A streamed layer's turn: the products for which it is loaded once, those of all samples of a batch.

Comes in: a layer that does not stay, and the room its plan leaves it. Goes out: the parts in which it takes that room.
Called by `stages`.

The rule (docs/cycle-model.md, "Batches"). In its turn a layer has all the room that no other layer keeps: a column
comes for the first product that needs it, and those behind find it in place. A layer that is larger than the room takes
it part by part, columns in order, and all products go through a part before the next one comes. A turn of a single
product needs no such room: its columns pass through the stream buffer.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from eie.compiler.encode import Encoding
from eie.compiler.encoded import EncodedLayer
from eie.compiler.places import LayerPlace
from eie.compiler.scatter import narrower
from eie.errors import ProgramError
from eie.spec import AcceleratorSpec


def in_parts(layer: EncodedLayer, place: LayerPlace, spec: AcceleratorSpec) -> EncodedLayer:
    """Cut every pass into parts that the layer's room holds.

    Raises
    ------
    ProgramError
        If it does not even hold one column.
    """
    # In a part pointers count from its own beginning, and reach as far as in any layer.
    entries = min(place.room_entries, spec.pointer_reach)
    if layer.scatter is not None:
        return narrower(layer, layer.scatter, entries=entries, pointers=place.room_pointers)
    parts = tuple(part for whole in layer.passes for part in _parts(layer.name, whole, (entries, place.room_pointers)))
    return layer if len(parts) == len(layer.passes) else replace(layer, passes=parts)


def _parts(layer: str, whole: Encoding, room: tuple[int, int]) -> list[Encoding]:
    entries, pointers = room
    parts: list[Encoding] = []
    columns, start = whole.inputs + whole.has_bias, 0
    while start < columns:
        # used[i]: entries of the fullest PE if the part ends behind column start + i. It never falls with i, so a
        # binary search finds the last column that fits. C columns have C + 1 pointers.
        used = (whole.pointers[start + 1 :] - whole.pointers[start]).max(axis=1)
        stop = min(start + min(int(np.searchsorted(used, entries, "right")), pointers - 1), columns)
        if stop <= start:
            raise ProgramError(
                f"layer {layer!r}: its turn leaves room for {entries:,} entries and {pointers:,} pointers a PE, not "
                "even a column: use a larger stream_kib or more PEs"
            )
        if (start, stop) == (0, columns):
            return [whole]
        parts.append(whole.columns(start, min(stop, whole.inputs), with_bias=stop == columns))
        start = stop
    return parts
