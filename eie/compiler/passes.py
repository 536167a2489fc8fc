"""Does a layer alone fit a PE's memories, and how are its rows cut where the accumulators do not suffice?

Comes in: an `Encoding` and the spec's capacities. Goes out: a `Fit` for the report, and encodings (passes) of as many
rows as there are accumulators. Whether layers fit together is `eie.compiler.memory`'s to say.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from eie.compiler.encode import Encoding, encode
from eie.model.matrix import SparseColumns
from eie.show.brief import Brief
from eie.spec import AcceleratorSpec


@dataclass(frozen=True, kw_only=True, repr=False)
class Fit(Brief):
    """What one layer asks of the fullest PE in its most demanding pass, against what the machine has.

    Counts; ``entries`` against the sparse-matrix SRAM and against what a pointer reaches, ``pointers`` against the
    pointer SRAM, ``outputs`` against the accumulators, ``inputs`` against the activation SRAM, biases of accumulators
    included.
    """

    layer: str
    passes: int
    entries: int
    entry_capacity: int
    pointer_reach: int
    pointers: int
    pointer_capacity: int
    outputs: int
    output_capacity: int
    inputs: int
    input_capacity: int

    @property
    def fits(self) -> bool:
        """Whether every count is within its capacity."""
        return not self.problems

    @property
    def problems(self) -> tuple[str, ...]:
        """What does not fit, in words."""
        return tuple(
            f"{have:,} {what} {room:,}"
            for what, have, room in (
                ("entries a PE, room for", self.entries, self.entry_capacity),
                ("entries a PE, a pointer reaches", self.entries, self.pointer_reach),
                ("column pointers a PE, room for", self.pointers, self.pointer_capacity),
                ("outputs a PE, room for", self.outputs, self.output_capacity),
                ("inputs a PE, room for", self.inputs, self.input_capacity),
            )
            if have > room
        )


def fit(
    layer: str, encodings: tuple[Encoding, ...], spec: AcceleratorSpec, *, reloads: bool = False, rounds: int = 1
) -> Fit:
    """Measure a layer's passes against the capacities of ``spec``; without ``reloads`` the SRAMs hold all at once."""
    # Reloaded passes take turns in the SRAM, so the largest counts; resident ones lie side by side, so they add up.
    together = max if reloads else sum
    entries = np.array([encoding.entries_per_pe for encoding in encodings])
    return Fit(
        layer=layer,
        passes=rounds,
        # Summed before the maximum: the PE that is fullest in one pass need not be so in the next.
        entries=int((entries if reloads else entries.sum(axis=0)).max()),
        entry_capacity=spec.entry_capacity,
        pointer_reach=spec.pointer_reach,
        pointers=together(len(encoding.pointers) for encoding in encodings),
        pointer_capacity=spec.pointer_capacity,
        # Accumulators are emptied between row groups and never hold two: the largest pass counts in either case.
        # Rounded up, since row i lies in PE i mod P.
        outputs=max(-(-(encoding.row_stop - encoding.row_start) // spec.n_pe) for encoding in encodings),
        output_capacity=spec.act_registers,
        # A bias that accumulators start from lies there too, one word an output.
        inputs=together(encoding.scan_rows + encoding.bias_words for encoding in encodings),
        input_capacity=spec.activation_capacity,
    )


def split(codes: SparseColumns, spec: AcceleratorSpec, *, has_bias: bool) -> tuple[Encoding, ...]:
    """Cut a layer into groups of rows, as many as the accumulators hold; columns are never cut."""
    # Whole multiples of the PEs, so every row stays in the PE that it has in the uncut layer.
    rows_a_group = spec.n_pe * spec.act_registers
    return tuple(
        encode(
            codes=codes.row_block(start, min(start + rows_a_group, codes.shape[0])),
            n_pe=spec.n_pe,
            index_bits=spec.index_bits,
            has_bias=has_bias,
            row_start=start,
        )
        for start in range(0, codes.shape[0], rows_a_group)
    )
