"""Does a layer fit a PE's memories, and how is it cut when it must?

Comes in: an `Encoding` and the spec's capacities. Goes out: a `Fit` for the report and, on request, smaller
encodings (passes) that each fit.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from eie.compiler.encode import Encoding, encode
from eie.errors import ProgramError
from eie.model.matrix import SparseColumns
from eie.spec import AcceleratorSpec


@dataclass(frozen=True, kw_only=True)
class Fit:
    """What one layer asks of the fullest PE in its most demanding pass, against what the machine has.

    Counts; ``entries`` against the sparse-matrix SRAM and the pointer width, ``pointers`` against the pointer SRAM,
    ``outputs`` against the accumulators, ``inputs`` against the activation SRAM, biases of accumulators included.
    """

    layer: str
    passes: int
    entries: int
    entry_capacity: int
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
            f"{have:,} {what} a PE, room for {room:,}"
            for what, have, room in (
                ("entries", self.entries, self.entry_capacity),
                ("column pointers", self.pointers, self.pointer_capacity),
                ("outputs", self.outputs, self.output_capacity),
                ("inputs", self.inputs, self.input_capacity),
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


def fit_together(encodings: tuple[Encoding, ...], spec: AcceleratorSpec) -> bool:
    """Whether the SRAMs hold the weights of all passes at once."""
    whole = fit("", encodings, spec)
    return whole.entries <= whole.entry_capacity and whole.pointers <= whole.pointer_capacity


def split(
    layer: str, codes: SparseColumns, spec: AcceleratorSpec, *, has_bias: bool, accumulator_bias: bool = False
) -> tuple[Encoding, ...]:
    """Cut a layer into passes that each fit: groups of rows first, then columns as many as fit.

    Row groups are whole multiples of the PEs, as large as the accumulators allow. Within a group the columns go in
    order, so sums are built exactly as in one pass. With ``accumulator_bias`` the activation SRAM also has room for a
    word an output.

    Raises
    ------
    ProgramError
        If even a single column does not fit.
    """
    # Groups begin at a multiple of the PEs, so every row stays in the PE that it has in the uncut layer.
    rows_a_group = spec.n_pe * spec.act_registers
    passes: list[Encoding] = []
    for start in range(0, codes.shape[0], rows_a_group):
        block = codes.row_block(start, min(start + rows_a_group, codes.shape[0]))
        # Encoded once and then cut: the zero runs start anew in every column, so a cut between columns moves entries
        # and changes none.
        whole = encode(block, spec.n_pe, spec.index_bits, has_bias=has_bias, row_start=start)
        bias_words = -(-block.shape[0] // spec.n_pe) if accumulator_bias else 0
        passes.extend(_split_columns(layer, whole, spec, bias_words=bias_words))
    return tuple(passes)


def _split_columns(layer: str, whole: Encoding, spec: AcceleratorSpec, *, bias_words: int) -> list[Encoding]:
    passes: list[Encoding] = []
    columns = whole.inputs + whole.has_bias
    # C columns need C + 1 pointers; a PE keeps one of P neighbouring inputs, so its SRAM bounds the inputs by P times
    # itself.
    room = spec.activation_capacity - bias_words
    if room < 1:
        raise ProgramError(
            f"layer {layer!r}: the biases of {bias_words:,} accumulators a PE fill its activation SRAM of "
            f"{spec.activation_capacity:,} words: use bias 'column', more PEs or a larger act_kib"
        )
    most_columns = min(spec.pointer_capacity - 1, room * spec.n_pe)
    start = 0
    while start < columns:
        # used[i]: entries of the fullest PE if the pass ends behind column start + i. It never falls with i, so a
        # binary search finds the last column that fits.
        used = (whole.pointers[start + 1 :] - whole.pointers[start]).max(axis=1)
        stop = start + min(int(np.searchsorted(used, spec.entry_capacity, "right")), most_columns)
        stop = min(stop, columns)
        # A bias column needs a scan row of its own: leave it to the next pass where the activation SRAM is full.
        if stop == columns and whole.has_bias and -(-(columns - 1 - start) // spec.n_pe) + 1 > spec.activation_capacity:
            stop = columns - 1
        if stop <= start:
            raise ProgramError(
                f"layer {layer!r}: column {start} alone has {used[0]:,} entries in one PE, room for "
                f"{spec.entry_capacity:,} and {spec.pointer_capacity:,} pointers: use more PEs or larger SRAMs"
            )
        passes.append(whole.columns(start, min(stop, whole.inputs), with_bias=stop == columns))
        start = stop
    return passes
