"""What is to be run: layers in the order in which they run, and how tensors flow between them.

Comes in: layers, from a caller or an importer. Goes out: a frozen `Network`. Read by weight sharing and the compiler.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from itertools import pairwise
from typing import Literal

from eie.errors import ModelError, clean_texts
from eie.formats.arguments import take_fields
from eie.model.drawn import drawn_layers, drawn_notes
from eie.model.graph import Graph
from eie.model.layer import Layer, layers_grid
from eie.model.trace import Trace
from eie.show.face import View
from eie.show.notes import note_lines
from eie.show.sections import Section


@dataclass(frozen=True, eq=False, kw_only=True, repr=False)
class Network(View):
    """Layers in the order in which they run.

    Attributes
    ----------
    sequential
        True if layer i's output is layer i+1's input, so that one input vector is enough to run all of them.
    trace
        Activations that came with the model, or None.
    source
        Where it came from, for reports.
    notes
        Lines a report should show: what was assumed while reading.
    graph
        How tensors flow between the layers, or None; a graph runs every layer, one that has several uses several times.
    sha256
        Of the file it was read from, or None.
    alternatives
        Whether the layers are no network but alternatives, such as a benchmark's: each has the chip to itself.
    residency
        What the spec's field of that name is to be where the caller does not state it, or None.
    unmodelled
        Layers of the model that are not among ``layers``, each in words: without them a total would be of a part.
    """

    name: str
    layers: tuple[Layer, ...]
    sequential: bool = False
    trace: Trace | None = None
    source: str = "arrays"
    notes: tuple[str, ...] = ()
    graph: Graph | None = None
    sha256: str | None = None
    alternatives: bool = False
    residency: Literal["auto", "ideal"] | None = None
    unmodelled: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        take_fields(self)
        # Of whatever file: the one gate by which words come in, so that what is shown and written is printable.
        clean_texts(self, ("name", "source", "notes", "unmodelled"))
        if self.residency not in (None, "auto", "ideal"):
            raise ModelError(f"network {self.name!r}: residency={self.residency!r}: must be 'auto' or 'ideal'")
        if not self.layers:
            raise ModelError(f"network {self.name!r}: no layers")
        names = [layer.name for layer in self.layers]
        for name, uses in Counter(names).items():
            if uses > 1:
                raise ModelError(f"network {self.name!r}: two layers are called {name!r}: names must differ")
        # Sorted, since the layers' order is that of a file and the graph's that of a run.
        if self.graph is not None and sorted(self.graph.layers) != sorted(names):
            listed = ", ".join(sorted(set(names).symmetric_difference(self.graph.layers)))
            raise ModelError(f"network {self.name!r}: its graph and its layers differ in {listed}")
        if self.sequential:
            for here, there in pairwise(self.layers):
                if here.outputs != there.inputs:
                    raise ModelError(
                        f"network {self.name!r}: {here.name} has {here.outputs} outputs but {there.name} takes "
                        f"{there.inputs} inputs: not a sequence"
                    )

    @classmethod
    def of(cls, net_or_layer: Network | Layer) -> Network:
        """Wrap a single layer; pass a network through."""
        if isinstance(net_or_layer, Network):
            return net_or_layer
        if isinstance(net_or_layer, Layer):
            return cls(name=net_or_layer.name, layers=(net_or_layer,), sequential=True)
        raise ModelError(f"{type(net_or_layer).__name__}: must be an eie.Layer or eie.Network")

    def headline(self) -> str:
        """Say which network it is, and how large."""
        weights = sum(layer.matrix.nnz for layer in self.layers)
        many = "1 layer" if len(self.layers) == 1 else f"{len(self.layers)} layers"
        return f"{self.name}: {many}, {weights:,} weights, from {self.source}"

    def sections(self) -> tuple[Section, ...]:
        """Return a row a layer, and what was assumed while reading."""
        lines = [] if self.trace is None else [f"Activations: {self.trace.headline()}"]
        lines += [f"Not modelled: {text}." for text in self.unmodelled]
        names = (layer.name for layer in self.layers)
        notes = note_lines((*self.notes, *drawn_notes(drawn_layers(self.layers))), names)
        uses = {} if self.graph is None else {name: len(uses) for name, uses in self.graph.uses_by_layer.items()}
        return (Section(name="layers", grids=(layers_grid(self.layers, uses),), lines=tuple(lines), notes=notes),)
