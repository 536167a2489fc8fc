"""Activation vectors longer than the registers: the batches that section IV of the paper runs them in.

Comes in: an `Encoding` and the spec. Goes out: the batches, each an `Encoding` of its columns, and the cycles that fill
and empty the registers around them. Called by `stages`, which times every batch by the cycle contract.

The rule (docs/cycle-model.md, "Activations"). A PE has ``act_registers`` source registers, so a batch is that many scan
rows, P activations each. Before a batch its activations are read out of the activation SRAM, one row of it a cycle in
all PEs at once; behind it the sums are written back alike, as the paper has it: "The SRAM is read only at the beginning
and written at the end of the batch". A batch is drained before the next is read. The bias needs no register, it is 1.
"""

from __future__ import annotations

from eie.compiler.encode import Encoding
from eie.compiler.maps import pe_rows
from eie.spec import AcceleratorSpec


def in_batches(spec: AcceleratorSpec) -> bool:
    """Whether vectors go through the registers batch by batch, and that takes time."""
    # Ideal residency has every activation where it is needed.
    return spec.act_batches == "paper" and spec.residency != "ideal"


def batches(encoding: Encoding, spec: AcceleratorSpec) -> list[Encoding]:
    """Cut a pass into batches of as many inputs as the registers hold; itself, if they hold all."""
    most = spec.act_registers * encoding.n_pe
    if encoding.inputs <= most:
        return [encoding]
    starts = range(0, encoding.inputs, most)
    return [
        # The bias column goes with the last batch, behind the last input, as it does in one piece.
        encoding.columns(start, min(start + most, encoding.inputs), with_bias=start == starts[-1])
        for start in starts
    ]


def register_cycles(encoding: Encoding, spec: AcceleratorSpec) -> int:
    """Cycles that one product of a batch spends on filling the source registers and emptying the sums."""
    # The fullest PE sets the pace: element i is in PE i mod P.
    sources = -(-encoding.inputs // encoding.n_pe)
    sums = -(-(encoding.row_stop - encoding.row_start) // encoding.n_pe)
    return pe_rows(sources, spec) + pe_rows(sums, spec)
