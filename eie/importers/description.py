"""What files of eie's own say of a network in words: everything but its arrays, ready for JSON.

Comes in: a `Network`. Goes out: plain dictionaries. Read by `stored` and `coded`, which write them beside the arrays.
"""

from __future__ import annotations

from typing import Any

from eie.model import geometry
from eie.model.layer import Layer
from eie.model.network import Network


def describe(network: Network) -> dict[str, Any]:
    """Return name, order, origin, graph and layers; the trace and the constants' values are left out."""
    return {
        "name": network.name,
        "sequential": network.sequential,
        "source": network.source,
        "notes": list(network.notes),
        "graph": None if network.graph is None else network.graph.describe(),
        "layers": [_describe_layer(layer) for layer in network.layers],
        # Left out where they say nothing, as in files of before they were known.
        **({"alternatives": True} if network.alternatives else {}),
        **({"residency": network.residency} if network.residency is not None else {}),
        **({"unmodelled": list(network.unmodelled)} if network.unmodelled else {}),
    }


def _describe_layer(layer: Layer) -> dict[str, Any]:
    return {
        "name": layer.name,
        "relu": layer.relu,
        "synthetic": layer.synthetic,
        # None for a linear layer: its matrix says all, and files of before kinds were stored read alike.
        "geometry": geometry.describe(layer.geometry),
        # Only where there is one: files of layers that came as floats stay what they were.
        **({} if layer.stored_bits is None else {"stored_bits": layer.stored_bits}),
    }
