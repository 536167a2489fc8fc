"""What the activation SRAM holds while a network runs: the maps that layers read and write.

Comes in: encoded layers, the graph between them, the spec. Goes out: a `MemoryRow`. Read by `eie.compiler.memory`.
"""

from __future__ import annotations

from collections.abc import Sequence

from eie.compiler.encoded import EncodedLayer
from eie.compiler.places import BITS_PER_KIB, MemoryRow
from eie.model.graph import Graph
from eie.spec import AcceleratorSpec


def map_row(layers: Sequence[EncodedLayer], spec: AcceleratorSpec, batch: int, graph: Graph | None) -> MemoryRow:
    """Return the activation SRAM's row of the plan: the inputs of one product of the layer that has most of them."""
    del batch, graph
    # Registers of P activations: a PE keeps one of P neighbouring inputs.
    rows = max((sum(encoding.scan_rows for encoding in layer.passes) for layer in layers), default=0)
    kib = rows * spec.data_bits / BITS_PER_KIB
    return MemoryRow(
        memory="activations",
        capacity_kib=spec.act_kib,
        stays_kib=0.0,
        comes_kib=kib,
        wanted_kib=kib,
        fits=rows <= spec.activation_capacity,
        comes="each layer's inputs, in its turn",
    )
