"""What a layer's images ask of a PE's memories, without the images: all that planning needs of them.

Comes in: an `EncodedLayer`. Goes out: a frozen `Demand`, a few numbers a column. Read by `eie.compiler.memory`; a sweep
keeps demands of all layers where it could not keep all images.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from eie.compiler.encode import Encoding
from eie.compiler.encoded import EncodedLayer
from eie.model.geometry import Geometry, Scatter
from eie.show.brief import Brief
from eie.spec import AcceleratorSpec


@dataclass(frozen=True, eq=False, kw_only=True, repr=False)
class PassDemand(Brief):
    """One pass.

    Attributes
    ----------
    inputs
        Activations it takes, bias not counted.
    rows
        Outputs of the PE that has most.
    biases
        Accumulators that start from a bias, over all PEs.
    columns
        int64 (J,): entries of each column, over all PEs.
    longest
        Most entries that a PE holds of one column, and the number of the first such column.
    issue
        Cycles in which the busiest PE issues, or passes an empty column, where every column is active.
    """

    inputs: int
    rows: int
    biases: int
    columns: NDArray[np.int64]
    longest: tuple[int, int]
    issue: int

    @classmethod
    def of(cls, encoding: Encoding) -> PassDemand:
        """Count a pass."""
        columns, most = encoding.column_entries
        at = int(most.argmax())
        return cls(
            inputs=encoding.inputs,
            # Rounded up, since row i lies in PE i mod P.
            rows=-(-(encoding.row_stop - encoding.row_start) // encoding.n_pe),
            biases=encoding.bias_writes,
            columns=columns,
            longest=(int(most[at]), encoding.column_start + at),
            issue=int(np.maximum(encoding.counts, 1).sum(axis=0, dtype=np.int64).max()),
        )


@dataclass(frozen=True, eq=False, kw_only=True, repr=False)
class Demand(Brief):
    """One layer.

    Attributes
    ----------
    entries
        int64 (P,): of all passes.
    pointers
        Of all passes; alike in all PEs.
    rounds, reloads, geometry, scatter
        As `EncodedLayer` has them.
    """

    name: str
    entries: NDArray[np.int64]
    pointers: int
    passes: tuple[PassDemand, ...]
    rounds: int
    reloads: bool
    geometry: Geometry
    scatter: Scatter | None = None

    @classmethod
    def of(cls, layer: EncodedLayer) -> Demand:
        """Count a layer."""
        return cls(
            name=layer.name,
            # The PE that is fullest in one pass need not be so in the next: added up first.
            entries=np.sum([encoding.entries_per_pe for encoding in layer.passes], axis=0),
            pointers=sum(len(encoding.pointers) for encoding in layer.passes),
            passes=tuple(PassDemand.of(encoding) for encoding in layer.passes),
            rounds=layer.rounds,
            reloads=layer.reloads,
            geometry=layer.geometry,
            scatter=layer.scatter,
        )

    @property
    def channels_a_pe(self) -> tuple[int, ...]:
        """As `EncodedLayer` has them."""
        depth = 1 if self.scatter is None else self.scatter.depth
        return tuple(part.rows // depth for part in self.passes)

    @property
    def fullest(self) -> int:
        """Entries of the PE that holds most."""
        return int(self.entries.max())

    def bits(self, spec: AcceleratorSpec) -> int:
        """Bits of entries and pointers in that PE."""
        return self.fullest * spec.entry_bits + self.pointers * spec.ptr_bits

    def bias_words(self, spec: AcceleratorSpec) -> int:
        """Words of the fullest PE's activation SRAM that hold what its accumulators start from."""
        # Row groups begin in PE 0, so what is rounded up in each is one word in all.
        return sum(-(-part.biases // spec.n_pe) for part in self.passes)

    def bias_bits(self, spec: AcceleratorSpec) -> int:
        """Bits that they take on the bus: neighbouring words, a transfer a pass, whole bursts."""
        return sum(spec.in_bursts(part.biases * spec.data_bits) for part in self.passes)
