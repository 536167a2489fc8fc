"""Which layers of a deep network are run while changes are screened, and which of them each other layer is like.

Comes in: the diagnosis of every layer and what kind it is. Goes out: by layer the name of the one that stands for it.
Read by `bench`, for screening only: what is printed is run on all layers.

Layers are sorted by kind, so that neighbours are alike, and cut into stretches of about the same time; the one in
the middle of each stands for the others. That is systematic sampling, with a chance in proportion to the time.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from eie.studies.explain.diagnosis import Diagnosis

# More layers than these are sampled, and so many are then run.
MOST_SCREENED = 12


def stand_ins(
    layers: Sequence[Diagnosis], kinds: Mapping[str, tuple[object, ...]], most: int = MOST_SCREENED
) -> dict[str, str]:
    """Return by layer which one stands for it; each for itself where there are no more than ``most``.

    Parameters
    ----------
    kinds
        What layers are sorted by, first things first.
    """
    if len(layers) <= most:
        return {layer.name: layer.name for layer in layers}
    alike = sorted(layers, key=lambda layer: kinds[layer.name])
    cycles = np.array([layer.cycles for layer in alike])
    # In the middle of its own time, so that a long layer falls where most of it lies.
    middle = (np.cumsum(cycles) - cycles / 2) / cycles.sum()
    stretch = (middle * most).astype(int)
    chosen = {int(number): alike[_middle(middle, stretch == number)].name for number in np.unique(stretch)}
    return {layer.name: chosen[int(number)] for layer, number in zip(alike, stretch, strict=True)}


def _middle(middle: NDArray[np.float64], among: NDArray[np.bool_]) -> int:
    """Return which of a stretch lies nearest to the middle of its time."""
    places = np.flatnonzero(among)
    return int(places[np.abs(middle[places] - middle[places].mean()).argmin()])
