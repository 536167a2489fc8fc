"""Area and delay of each unit over the spec's knobs, beside what the area model says of them.

Comes in: nothing. Goes out: a table on the terminal and in docs/synthesis.md. ``make synth``; exits with 1 where Yosys
or the library of cells is missing.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cache

from doc_parts import replace_part

import eie
from eie.energy.sizes import logic_ratio, register_ratio, slot_ratio
from eie.energy.split import unit_areas
from eie.rtl.design import address_bits
from eie.spec import AcceleratorSpec
from synthesis.gates import Gates, missing, synthesise

PAPER = eie.EIE_64PE
HEAD = (
    "| unit | knob | area, gates | area, model | model over gates | delay, gates |",
    "|---|---|---:|---:|---:|---:|",
)


@dataclass(frozen=True, kw_only=True)
class Unit:
    """A unit of the Verilog: what it holds, what of a spec its parameters are, and what it should change with."""

    parameters: Callable[[AcceleratorSpec], Mapping[str, int]]
    knobs: tuple[str, ...]
    parts: tuple[str, ...] = ()
    sram: bool = False

    def gates(self, name: str, spec: AcceleratorSpec) -> Gates:
        """Synthesise it."""
        return synthesise(name, self.parameters(spec), self.parts, sram=self.sram)


def _queue(spec: AcceleratorSpec) -> dict[str, int]:
    width = spec.data_bits + _column_bits(spec)
    return {"SLOTS": spec.act_queue_depth, "SLOT_BITS": address_bits(spec.act_queue_depth), "WIDTH": width}


def _pointers(spec: AcceleratorSpec) -> dict[str, int]:
    columns = _column_bits(spec)
    return {"POINTER_BITS": spec.ptr_bits, "COLUMN_BITS": columns, "BANK_BITS": columns}


def _sparse_matrix(spec: AcceleratorSpec) -> dict[str, int]:
    rows = spec.spmat_kib * 8192 // spec.spmat_row_bits
    bits = {"INDEX_BITS": spec.index_bits, "WEIGHT_BITS": spec.weight_bits, "ROW_BITS": spec.spmat_row_bits}
    return {**bits, "POINTER_BITS": spec.ptr_bits, "DEPTH": rows, "ADDRESS_BITS": address_bits(rows)}


def _arithmetic(spec: AcceleratorSpec) -> dict[str, int]:
    bits = {"INDEX_BITS": spec.index_bits, "WEIGHT_BITS": spec.weight_bits, "DATA_BITS": spec.data_bits}
    return {**bits, "SUM_BITS": address_bits(spec.act_registers), "SHIFT_BITS": (2 * spec.data_bits).bit_length()}


def _activations(spec: AcceleratorSpec) -> dict[str, int]:
    depth, bits = spec.act_registers, address_bits(spec.act_registers)
    return {"DATA_BITS": spec.data_bits, "SCAN_DEPTH": depth, "SCAN_BITS": bits, "SUMS": depth, "SUM_BITS": bits}


def _detection(spec: AcceleratorSpec) -> dict[str, int]:
    return {"LANES": spec.n_pe, "LANE_BITS": address_bits(spec.n_pe)}


UNITS = {
    "act_queue": Unit(parameters=_queue, knobs=("act_queue_depth", "data_bits")),
    "ptr_read": Unit(parameters=_pointers, knobs=("ptr_bits",), sram=True),
    "spmat_read": Unit(
        parameters=_sparse_matrix, knobs=("spmat_row_bits", "weight_bits", "index_bits", "ptr_bits"), sram=True
    ),
    "arithm": Unit(parameters=_arithmetic, knobs=("data_bits", "weight_bits", "index_bits")),
    "act_rw": Unit(parameters=_activations, knobs=("act_registers", "data_bits")),
    "lnzd": Unit(parameters=_detection, knobs=("n_pe",)),
}
VALUES = {
    "act_queue_depth": (4, 16, 32, 64),
    "data_bits": (8, 12, 24, 32),
    "weight_bits": (2, 5, 6, 8),
    "index_bits": (2, 5, 8),
    "ptr_bits": (12, 20, 24),
    "spmat_row_bits": (32, 128, 256),
    "act_registers": (32, 128),
    "n_pe": (4, 16, 256),
}


@dataclass(frozen=True, kw_only=True)
class Point:
    """One knob of one unit at another value than the paper's, as ratios to the paper's."""

    unit: str
    knob: str
    value: int
    area: float
    model: float
    delay: float

    def line(self) -> str:
        """Return its row of the table."""
        deviation = 100 * (self.model / self.area - 1)
        knob = f"{self.knob} {getattr(PAPER, self.knob)} -> {self.value}"
        return f"| {self.unit} | {knob} | {self.area:.2f} | {self.model:.2f} | {deviation:+.0f} % | {self.delay:.2f} |"


def model_ratio(unit: str, spec: AcceleratorSpec) -> float:
    """Return what the area model says of a unit's registers, clock and logic, memories left out."""
    if unit == "lnzd":
        return spec.lnzd_units * slot_ratio(spec) / PAPER.lnzd_units
    um2 = unit_areas()[unit]
    registers, rest = um2.clock_network + um2.register, um2.combinational
    return (registers * register_ratio(spec)[unit] + rest * logic_ratio(spec)[unit]) / (registers + rest)


def point(unit: str, knob: str, value: int) -> Point:
    """Synthesise a unit at one value of a knob."""
    spec = PAPER.replace(**{knob: value})
    gates, paper = UNITS[unit].gates(unit, spec), reference(unit)
    return Point(
        unit=unit,
        knob=knob,
        value=value,
        area=gates.area / paper.area,
        model=model_ratio(unit, spec),
        delay=gates.delay_ps / paper.delay_ps,
    )


@cache
def reference(unit: str) -> Gates:
    """Return a unit of the paper's machine."""
    return UNITS[unit].gates(unit, PAPER)


def chosen() -> Iterator[tuple[str, str, int]]:
    """Every unit over each of its knobs, one at a time."""
    for name, unit in UNITS.items():
        for knob in unit.knobs:
            for value in VALUES[knob]:
                yield name, knob, value


def main() -> int:
    """Synthesise, print, and renew the page."""
    if lacking := missing():
        print(f"make synth: {lacking}", file=sys.stderr)
        return 1
    with ThreadPoolExecutor(2) as pool:
        list(pool.map(reference, UNITS))
        lines = [*HEAD, *(made.line() for made in pool.map(lambda what: point(*what), chosen()))]
    version = subprocess.run(["yosys", "-V"], capture_output=True, text=True, check=True).stdout.split(" (")[0]
    text = "\n".join([f"{version}, cells of osu018.", "", *lines])
    print(text)
    replace_part("ratios", text, "synthesis.md")
    return 0


def _column_bits(spec: AcceleratorSpec) -> int:
    # As the model counts them: what tells apart the columns that the pointer SRAM can hold.
    return address_bits(spec.pointer_capacity)


if __name__ == "__main__":
    sys.exit(main())
