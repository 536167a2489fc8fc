"""What every report says of weights that nobody trained: one wording, so that it can be looked for.

Comes in: names of layers. Goes out: notes. Read by programs, results, compression and the studies.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Protocol


class Drawable(Protocol):
    """A layer, compiled or not."""

    @property
    def name(self) -> str:
        """Of the layer."""

    @property
    def synthetic(self) -> bool:
        """Whether its weights were drawn."""


def drawn_layers(layers: Iterable[Drawable]) -> tuple[str, ...]:
    """Return the names of layers whose weights were drawn at random."""
    return tuple(layer.name for layer in layers if layer.synthetic)


def drawn_notes(names: Iterable[str]) -> tuple[str, ...]:
    """Return the note of a report on such layers; none where there are none."""
    listed = ", ".join(names)
    return (f"synthetic weights (random masks are more even than real pruned layers): {listed}",) if listed else ()
