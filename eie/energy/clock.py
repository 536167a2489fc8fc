"""The fastest clock that a machine can have: its critical path and its SRAMs.

Comes in: a spec. Goes out: MHz, and what to say of a clock that is too fast. Read by results and sweeps.
"""

from __future__ import annotations

from collections.abc import Iterator

from eie.energy.tables import Cell, Sram, published_table, sram
from eie.errors import EnergyError
from eie.spec import AcceleratorSpec


def critical_path_ns(spec: AcceleratorSpec) -> float:
    """Nanoseconds of the longest path through the node's logic."""
    return published_table()[f"critical_path.{spec.node_nm}"]


def fastest_mhz(spec: AcceleratorSpec, cell: Cell = "itrs-lop") -> float:
    """Return the fastest clock that logic and SRAMs allow; an SRAM without a CACTI row is not asked."""
    cycles = [memory.cycle_ns for *_, memory in _memories(spec, cell) if isinstance(memory, Sram)]
    # 1 / ns = GHz.
    return 1e3 / max(critical_path_ns(spec), *cycles, 0.0)


def timing_met(spec: AcceleratorSpec, cell: Cell = "itrs-lop") -> bool:
    """Say whether the machine can run at its clock, as far as that is known."""
    return spec.clock_mhz <= fastest_mhz(spec, cell)


def timing_notes(spec: AcceleratorSpec, cell: Cell = "itrs-lop") -> tuple[str, ...]:
    """Say what of the spec is too slow for its clock, and of which SRAM that is not known."""
    notes = []
    # 1 / MHz = us, and 1e3 makes ns of them.
    period_ns = 1e3 / spec.clock_mhz
    if critical_path_ns(spec) > period_ns:
        notes.append(
            f"the clock is too fast: the critical path at {spec.node_nm} nm is {critical_path_ns(spec):.2f} ns, too "
            f"slow for {period_ns:.2f} ns at {spec.clock_mhz:g} MHz"
        )
    for name, size, memory in _memories(spec, cell):
        if isinstance(memory, EnergyError):
            notes.append(f"{name} SRAM: {memory}; its clock is not checked")
            continue
        if memory.interpolated:
            notes.append(f"{name} SRAM {size} lies between CACTI's rows: interpolated")
        if memory.cycle_ns > period_ns:
            # Below 45 nm CACTI's 32 nm rows stand in: its table ends there, see `tables.sram`.
            node = 45 if spec.node_nm == 45 else 32
            notes.append(
                f"the clock is too fast: {name} SRAM {size} ({cell}, {node} nm): CACTI 7 gives a cycle of "
                f"{memory.cycle_ns:.2f} ns, too slow for {period_ns:.2f} ns at {spec.clock_mhz:g} MHz"
            )
    return tuple(notes)


def _memories(spec: AcceleratorSpec, cell: Cell) -> Iterator[tuple[str, str, Sram | EnergyError]]:
    """Name, size and CACTI figures of each memory at its node, or why there are none."""
    for name, kib, width in (
        ("sparse-matrix", spec.spmat_kib, spec.spmat_row_bits),
        ("pointer bank", spec.ptr_kib / 2, spec.ptr_bits),
        # As it is priced: below 2 KiB and 16 bits there is no row.
        ("activation", max(spec.act_kib, 2), max(spec.act_row_bits, 16)),
    ):
        size = f"{kib:g} KiB x {width} bits"
        try:
            yield name, size, sram(kib=kib, width_bits=width, node_nm=spec.node_nm, cell=cell)
        except EnergyError as error:
            yield name, size, error
