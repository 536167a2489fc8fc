"""How tensors flow through a network, whichever way it states that: by a graph, by its order, or not at all.

Comes in: a network, compiled or not. Goes out: its `Graph`. Read by the compiler, the simulator and whoever follows
tensors.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from eie.model.geometry import Geometry
from eie.model.graph import Graph


class Chained(Protocol):
    """A network, compiled or not: what its dataflow depends on."""

    @property
    def graph(self) -> Graph | None: ...
    @property
    def sequential(self) -> bool: ...
    @property
    def layers(self) -> Sequence[Link]: ...


class Link(Protocol):
    """A layer, compiled or not: what it tells those that feed it."""

    @property
    def name(self) -> str: ...
    @property
    def inputs(self) -> int: ...
    @property
    def geometry(self) -> Geometry: ...


def dataflow(network: Chained) -> Graph | None:
    """Return how tensors flow: the network's graph, else the chain of a sequence, else None (layers on their own).

    A chain's input has the first layer's name.
    """
    if network.graph is not None or not network.sequential:
        return network.graph
    first = network.layers[0]
    return Graph.sequence(first.name, first.geometry.entrance, [("layer", layer.name) for layer in network.layers])
