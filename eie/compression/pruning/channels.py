"""Which channels go: those of least score, together with all that is tied to them.

Comes in: the scores of the rows of some layers, and how many of them are to stay. Goes out: the network without the
others. Read by `pruner`.

Channels that go the same ways, from tensor to tensor, are ranked with each other, so that every layer and every part of
one keeps its share. A channel that is tied to others, as by a residual addition, counts as much as they do together.
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from eie.compression.pruning.channel_flow import Flow
from eie.compression.pruning.prune import keep_largest, kept_count
from eie.compression.pruning.structure import followed
from eie.errors import RecipeError
from eie.model.network import Network

Scores = Mapping[str, NDArray[np.float64]]


class Shrinking:
    """Layers that lose channels in a step.

    Parameters
    ----------
    groups
        Names of layers, each layer in one group; the channels of several in one group are ranked together.

    Raises
    ------
    RecipeError
        If no channel of a layer can go, or one is tied to a layer that is in no group.
    """

    def __init__(self, network: Network, groups: Sequence[Sequence[str]]) -> None:
        self._group = {name: place for place, names in enumerate(groups) for name in names}
        self._alone = [len(names) == 1 for names in groups]
        flow = followed(network, groups[0][0])
        for name in self._group:
            flow.check(name)
        for together in flow.coupled:
            missing = [name for name in together if name not in self._group]
            if missing and len(missing) < len(together):
                inside = next(name for name in together if name in self._group)
                listed = ", ".join(map(repr, missing))
                raise RecipeError(
                    [f"layer {inside!r}: its channels are tied to those of {listed}: one rule must match all of them"]
                )
        # Counted once, at the start of the step: densities are shares of what there was.
        self._units = {key: len(classes) for key, classes in self._ranked(flow).items()}

    def without(self, network: Network, scored: Sequence[tuple[float, Scores]]) -> Network:
        """Keep the best channels: of every group's layers a density, and scores (rows, 1) by layer."""
        flow = Flow.of(network)
        assert flow is not None
        values: dict[int, float] = {}
        densities: dict[int, float] = {}
        for density, scores in scored:
            for name, rows in scores.items():
                for each, value in zip(flow.classes(name).tolist(), rows[:, 0].tolist(), strict=True):
                    values[each] = values.get(each, 0.0) + value
                    # Tied to a layer that is to keep more, a channel is kept as that layer's are.
                    densities[each] = max(densities.get(each, 0.0), density)
        gone: list[int] = []
        for key, classes in self._ranked(flow).items():
            worth = np.array([values[each] for each in classes])
            ways = _best_of_each_way(flow, classes, worth)
            # No tensor may be left without channels: the best of each way outranks everything.
            worth[ways] = np.inf
            wanted = kept_count(max(densities[each] for each in classes), self._units.get(key, len(classes)))
            kept = keep_largest(worth, max(wanted, len(ways)))
            gone += [each for each, stays in zip(classes, kept.tolist(), strict=True) if not stays]
        return flow.without(gone) if gone else network

    def _ranked(self, flow: Flow) -> dict[Hashable, list[int]]:
        """List the classes that can go by whom they are ranked with, in the order of their layers."""
        ranked: dict[Hashable, list[int]] = {}
        seen: set[int] = set()
        for layer in flow.network.layers:
            group = self._group.get(layer.name)
            if group is None:
                continue
            for each in flow.classes(layer.name).tolist():
                if each in seen or each in flow.reasons:
                    continue
                seen.add(each)
                ranked.setdefault(flow.ways[each] if self._alone[group] else group, []).append(each)
        return ranked


def _best_of_each_way(flow: Flow, classes: Sequence[int], worth: NDArray[np.float64]) -> list[int]:
    best: dict[frozenset[str], int] = {}
    for place, each in enumerate(classes):
        way = flow.ways[each]
        if way not in best or worth[place] > worth[best[way]]:
            best[way] = place
    return list(best.values())
