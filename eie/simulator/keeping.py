"""Whose outputs a result holds: all of them, or of a run too large for that the network's own.

Comes in: a `Workload` over a `Program`. Goes out: names of layers, and a sentence where some are let go. Called by
`eie.simulation`.
"""

from __future__ import annotations

from dataclasses import dataclass

from eie.compiler.encoded import EncodedLayer
from eie.compiler.program import Program
from eie.model.graph import Graph
from eie.simulator.functional import LayerOutputs
from eie.simulator.workload import Workload

# Half of the GiB that 20,000 samples of LeNet-5 may take; what is in hand takes most of the rest.
MOST_BYTES = 1 << 29
# An int64 and a float32 an output.
BYTES_AN_OUTPUT = 12


@dataclass(frozen=True)
class Kept:
    """Layers whose outputs stay; ``whole`` where those of every layer do, and ``note`` where it was not asked."""

    layers: frozenset[str]
    whole: bool
    note: str = ""

    @classmethod
    def of(cls, workload: Workload, program: Program, *, asked: bool | None, computing: bool) -> Kept:
        """Decide; ``asked`` None leaves it to the size of the run."""
        names = frozenset(layer.name for layer in program.layers)
        if asked is not None:
            return cls(names if asked else frozenset(), whole=asked)
        samples = workload.given.samples_in_all
        # A sample alone is kept without looking: it cannot be run in parts, and lies in memory anyway.
        # Where nothing is computed only patterns are kept, a bit an input.
        size = 0 if samples == 1 or not computing else samples * _a_sample(workload, program)
        if size <= MOST_BYTES:
            return cls(names, whole=True)
        graph = program.dataflow
        last = last_layers(graph) if graph is not None and workload.given.arrays else {program.layers[-1].name}
        note = (
            f"outputs of {samples:,} samples take {size / 1e9:,.1f} GB: those of {', '.join(sorted(last))} are kept, "
            "and nothing to count shares from (keep_outputs=True keeps all)"
        )
        return cls(frozenset(last), whole=False, note=note)

    def part(self, layer: str, computed: LayerOutputs | None) -> LayerOutputs | None:
        """Return of what a layer computed that which stays."""
        return computed if computed is None or layer in self.layers else computed.summary()


def _a_sample(workload: Workload, program: Program) -> int:
    """Bytes of the outputs of all uses of all layers, of one sample; of maps of unknown size, of one pixel."""
    recorded, sizes = workload.given.layers, workload.map_sizes

    def rows(layer: EncodedLayer, use: str) -> int:
        if recorded:
            # Of a pattern alone nothing is computed.
            return 0 if recorded[use].values is None else recorded[use].products
        return layer.geometry.products(*sizes[use]) if use in sizes else 1

    outputs = sum(layer.outputs * rows(layer, use) for layer in program.layers for use in workload.uses[layer.name])
    return BYTES_AN_OUTPUT * outputs


def last_layers(graph: Graph) -> set[str]:
    """Return the layers that the graph's outputs are made of, whatever operators lie behind them."""
    makers = {name: node for node in graph.nodes for name in node.outputs}
    last: set[str] = set()
    seen: set[str] = set()
    due: list[str] = list(graph.outputs)
    while due:
        name = due.pop()
        if name in seen or name not in makers:
            continue
        seen.add(name)
        node = makers[name]
        if node.layer is None:
            due.extend(node.inputs)
        else:
            last.add(node.layer)
    return last
