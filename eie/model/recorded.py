"""What a trace holds of a layer, all uses of it together.

Comes in: a `Trace` and the names of a network's layers. Goes out: `LayerTrace`. Read by machines, pruning and studies,
which ask of a layer and not of when it runs.
"""

from __future__ import annotations

from collections.abc import Collection

import numpy as np

from eie.model.layer_trace import LayerTrace
from eie.model.matrix import frozen
from eie.model.trace import Trace
from eie.model.uses import layer_of


def recorded_uses(trace: Trace, layer: str, layers: Collection[str]) -> dict[str, LayerTrace]:
    """Return what each use of a layer read, by its name."""
    return {use: rows for use, rows in trace.layers.items() if layer_of(use, layers) == layer}


def recorded_of(trace: Trace, layer: str, layers: Collection[str]) -> LayerTrace | None:
    """Return what all uses of a layer read, sample by sample; None if it was not recorded.

    Of several uses without values, whose order nobody asks for.
    """
    uses = list(recorded_uses(trace, layer, layers).values())
    if len(uses) < 2:
        return uses[0] if uses else None
    width = uses[0].width
    # A sample's rows lie together, those of the first use in front.
    rows = [use.bits.reshape(use.samples, use.products, -1) for use in uses]
    products = sum(use.products for use in uses)
    bits = np.concatenate(rows, axis=1).reshape(uses[0].samples * products, -1)
    return LayerTrace(width=width, bits=frozen(bits, np.uint8), products=products)
