"""How large a machine's units are, in bits of registers and of logic, against the machine of the paper.

Comes in: a spec. Goes out: bits by unit, ratios, and millimetres of broadcast wire. Read by `split`, `prices`, `area`.

The paper gives no gate counts. What is counted here follows from its section IV; that area and energy of registers and
logic go with these bits is assumed (docs/energy.md); docs/synthesis.md lays them beside gates of the Verilog's units.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

from eie.spec import EIE_64PE, AcceleratorSpec

PE_UNITS = ("act_queue", "ptr_read", "spmat_read", "arithm", "act_rw")


def slot_bits(spec: AcceleratorSpec) -> int:
    """Bits of a queue slot, which are those of a broadcast: an activation and the index of its column."""
    # As many bits as tell apart the columns that the pointer SRAM can hold.
    return spec.data_bits + (spec.pointer_capacity - 1).bit_length()


def register_bits(spec: AcceleratorSpec) -> dict[str, int]:
    """Bits that a PE keeps in registers, by unit."""
    codebook = 2**spec.weight_bits * spec.data_bits
    # Activation, weight, both halves of the product, sum; the entry, and which accumulator it is for.
    pipeline = 5 * spec.data_bits + spec.entry_bits + (spec.act_registers - 1).bit_length()
    return {
        "act_queue": spec.act_queue_depth * slot_bits(spec),
        # Where a column begins, where it ends, where the unit is.
        "ptr_read": 3 * spec.ptr_bits,
        # The row that was read last, and its address.
        "spmat_read": spec.spmat_row_bits + spec.ptr_bits,
        "arithm": codebook + pipeline,
        # Source and destination registers, which swap roles between layers.
        "act_rw": 2 * spec.act_registers * spec.data_bits,
    }


def logic_bits(spec: AcceleratorSpec) -> dict[str, int]:
    """Bits that a PE's logic works on, by unit."""
    # A multiplier has a cell for each pair of bits, the codebook a multiplexer for each of its bits. Elsewhere logic
    # chooses among registers, or adds to them.
    arithm = spec.data_bits**2 + 2**spec.weight_bits * spec.data_bits
    return {**register_bits(spec), "arithm": arithm}


def register_ratio(spec: AcceleratorSpec) -> dict[str, float]:
    """Register bits by unit, over those of EIE_64PE."""
    return _over(register_bits(spec), register_bits(EIE_64PE))


def logic_ratio(spec: AcceleratorSpec) -> dict[str, float]:
    """Logic bits by unit, over those of EIE_64PE."""
    return _over(logic_bits(spec), logic_bits(EIE_64PE))


def slot_ratio(spec: AcceleratorSpec) -> float:
    """Bits of a broadcast, over those of EIE_64PE."""
    return slot_bits(spec) / slot_bits(EIE_64PE)


def extra_wire_mm(spec: AcceleratorSpec, pe_mm2: float) -> float:
    """Millimetres of each broadcast wire beyond those that 64 PEs have among them.

    Blocks of 64 PEs are joined by a tree: one edge, as long as the side of a block, for each block but the first. What
    a block has inside is in Table II's figures.
    """
    blocks = spec.n_pe / EIE_64PE.n_pe
    side_mm = math.sqrt(EIE_64PE.n_pe * pe_mm2)
    return max(0.0, blocks - 1) * side_mm


def _over(bits: Mapping[str, int], reference: Mapping[str, int]) -> dict[str, float]:
    return {unit: count / reference[unit] for unit, count in bits.items()}
