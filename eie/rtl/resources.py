"""What a layer's design takes of an FPGA: look-up tables, registers, block RAM and multipliers, by unit.

Comes in: a `LayerWork`. Goes out: `RtlResources`, counted by Yosys for Xilinx's series 7. Called by the command
line.

Yosys maps each module once, however often it is used; what a unit takes is its own cells and those of its memories.
"""

from __future__ import annotations

import json
import math
import shutil
import subprocess
import tempfile
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from eie.compiler.choice import Conv
from eie.compiler.program import Program
from eie.compression.bias import BiasPlace
from eie.errors import EieError
from eie.formats.arguments import taken
from eie.importers.entrance import Model
from eie.model.fitting import Layout
from eie.recording.inputs import opened
from eie.rtl.design import parameters
from eie.rtl.work import LayerWork, works
from eie.rtl.write import UNITS, verilog
from eie.show.brief import Brief
from eie.show.face import Answer
from eie.show.sections import Column, Grid, Section
from eie.simulator.inputs import Inputs
from eie.simulator.programs import as_program
from eie.spec import AcceleratorSpec

# In the order of the table; the rest of a PE or of the machine is wires, and logic between units.
PE_UNITS = ("act_queue", "ptr_read", "ptr_ranges", "spmat_read", "arithm", "act_rw", "act_sram")
CONTROL_UNITS = ("lnzd", "pass_control", "map_walk", "central_control")
KINDS = ("lut", "lut_memory", "register", "block_ram", "dsp")
# What each of Yosys's cells takes: UG474 has four look-up tables in a RAM32M and a RAM64M, two in a dual-port RAM of 32
# or 64 words and four in one of 128; UG473 has two RAMB18 in a block RAM of 36 Kib.
CELLS: Mapping[str, Mapping[str, float]] = {
    **{f"LUT{inputs}": {"lut": 1} for inputs in range(1, 7)},
    "INV": {"lut": 1},
    **{name: {"register": 1} for name in ("FDRE", "FDSE", "FDCE", "FDPE")},
    "RAM32M": {"lut": 4, "lut_memory": 4},
    "RAM64M": {"lut": 4, "lut_memory": 4},
    "RAM32X1D": {"lut": 2, "lut_memory": 2},
    "RAM64X1D": {"lut": 2, "lut_memory": 2},
    "RAM128X1D": {"lut": 4, "lut_memory": 4},
    "RAMB18E1": {"block_ram": 0.5},
    "RAMB36E1": {"block_ram": 1},
    "DSP48E1": {"dsp": 1},
    # In the slices' own paths: no look-up table more.
    **{name: {} for name in ("CARRY4", "MUXF7", "MUXF8", "IBUF", "OBUF", "BUFG")},
}
COLUMNS = (
    Column("unit", "unit", "text"),
    Column("instances", "instances", "count"),
    Column("lut", "LUT", "count"),
    Column("lut_memory", "of them memory", "count"),
    Column("register", "FF", "count"),
    Column("block_ram", "block RAM", "fixed1"),
    Column("dsp", "DSP", "count"),
)
# A block RAM of 36 Kib, at its widest with one read and one write port.
BLOCK_WORDS, BLOCK_BITS = 512, 72
TAIL_CHARACTERS = 500


@dataclass(frozen=True, kw_only=True, repr=False)
class UnitResources(Brief):
    """A unit's share of an FPGA, over all its instances; block RAM in pieces of 36 Kib."""

    unit: str
    instances: int
    lut: float
    lut_memory: float
    register: float
    block_ram: float
    dsp: float


@dataclass(frozen=True, kw_only=True, repr=False)
class LayerResources(Brief):
    """What one use of a layer takes.

    Attributes
    ----------
    units
        `UnitResources`, the units of a PE first.
    whole
        Of the whole design.
    spec_block_ram
        Block RAMs of all PEs if the sparse matrix and the pointers had the sizes of the spec.
    """

    layer: str
    units: tuple[UnitResources, ...]
    whole: UnitResources
    spec_block_ram: int

    def sums(self) -> str:
        """Say what the design takes in all."""
        return (
            f"{self.whole.lut:,.0f} LUT, {self.whole.register:,.0f} FF, {self.whole.block_ram:,.1f} block RAM, "
            f"{self.whole.dsp:,.0f} DSP"
        )


@dataclass(frozen=True, eq=False, kw_only=True, repr=False)
class RtlResources(Answer):
    """What the designs of layers take of an FPGA of Xilinx's series 7.

    Attributes
    ----------
    layers
        `LayerResources`, one for each use of a layer, in order: each is a design of its own.
    tool
        Who counted.
    """

    SCHEMA: ClassVar[str] = "eie-rtlresources"

    program: str
    machine: str
    layers: tuple[LayerResources, ...]
    tool: str

    def headline(self) -> str:
        """Say whose designs they are."""
        return f"{self.program} on {self.machine} as FPGAs of Xilinx's series 7 would hold it, a design a layer"

    def sections(self) -> tuple[Section, ...]:
        """Return a table a layer, a row a unit."""
        grids = tuple(
            Grid(
                caption=f"{layer.layer}: {layer.sums()}",
                columns=COLUMNS,
                rows=tuple(vars(unit) for unit in layer.units),
                total={**vars(layer.whole), "unit": "total"},
                notes=(
                    "Memories are as deep as this layer needs. With the spec's sizes sparse matrix and pointers alone "
                    f"would take {layer.spec_block_ram:,} block RAMs of 36 Kib.",
                ),
            )
            for layer in self.layers
        )
        note = f"Counted by {self.tool} (synth_xilinx), before placement: no clock is known from it."
        return (Section(name="resources", grids=grids, notes=(note,)),)

    def records(self) -> list[dict[str, Any]]:
        """Return one flat record a layer and unit, and one for the whole of each layer."""
        return [{"layer": layer.layer, **vars(unit)} for layer in self.layers for unit in (*layer.units, layer.whole)]

    def content(self) -> dict[str, Any]:
        """Return what was counted by whom, and the rows."""
        return {
            "program": self.program,
            "machine": self.machine,
            "tool": self.tool,
            "spec_block_ram": {layer.layer: layer.spec_block_ram for layer in self.layers},
            "rows": self.records(),
        }


@taken
def rtl_resources(
    model: Program | Model,
    inputs: Inputs = None,
    *,
    layer: str | None = None,
    layout: Layout | None = None,
    spec: AcceleratorSpec | None = None,
    bias: BiasPlace = "auto",
    conv: Conv = "auto",
    progress: Callable[[str], None] = lambda _: None,
) -> RtlResources:
    """Count what the design of each layer takes of an FPGA, by Yosys.

    Parameters
    ----------
    model, inputs
        As `eie.simulate` takes them.
    layer
        The layer that is wanted; all of them by default.
    layout, spec, bias, conv
        As `eie.simulate` takes them.
    progress
        Called with what is done next.

    Returns
    -------
    RtlResources
        `LayerResources` for each use of a layer, in order.

    Raises
    ------
    EieError
        If Yosys is not here, or the hardware cannot do a layer.
    """
    # Before the network is run: nothing could be done with it.
    if shutil.which("yosys") is None:
        raise EieError("no Yosys: install it (yosys), or see benchmarks of the units in docs/synthesis.md")
    inputs = opened(inputs)
    program = as_program(model, spec, bias, conv=conv, examples=inputs, layout=layout)
    counted, tool = [], ""
    for work in works(program, inputs, layout=layout, samples=1, layers=None if layer is None else (layer,)):
        progress(f"synthesising {work.use} (yosys)")
        modules, tool = _synthesised(parameters(work))
        counted.append(_counted(work, modules))
    return RtlResources(program=program.name, machine=program.spec.headline(), layers=tuple(counted), tool=tool)


def _counted(work: LayerWork, modules: Mapping[str, Any]) -> LayerResources:
    top = _module(modules, "top")
    assert top is not None
    uses = _instances(modules, top)
    rows = []
    for unit in (*PE_UNITS, "pe", *CONTROL_UNITS, "top"):
        module = _module(modules, unit)
        # Units that this layer does not use.
        if module is None:
            continue
        cells = _cells(modules, module, inside=unit in (*PE_UNITS, "pass_control", "map_walk"))
        label = {"pe": "pe, the rest", "top": "between PEs"}.get(unit, unit)
        rows.append(_row(label, cells, uses[module]))
    return LayerResources(
        layer=work.use,
        units=tuple(rows),
        whole=_row("total", _cells(modules, top, inside=True), 1),
        spec_block_ram=_spec_block_ram(work.spec),
    )


def _synthesised(values: Mapping[str, int]) -> tuple[Mapping[str, Any], str]:
    """Return cells by kind of each module, and who counted them."""
    texts = {unit: verilog(unit) for unit in UNITS}
    # The bench's numbers are among them; the design has those that its text names.
    named = {name: value for name, value in values.items() if f"parameter {name} =" in texts["top"]}
    settings = " ".join(f"-set {name} {value}" for name, value in named.items())
    with tempfile.TemporaryDirectory(prefix="eie-rtl-") as folder:
        for unit, text in texts.items():
            (Path(folder) / f"{unit}.v").write_text(text, encoding="utf-8")
        files = " ".join(f"{unit}.v" for unit in UNITS)
        script = f"read_verilog {files}; chparam {settings} top; synth_xilinx -family xc7 -noiopad -top top"
        command = ["yosys", "-q", "-p", f"{script}; tee -q -o stat.json stat -json"]
        done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
        if done.returncode:
            raise EieError(f"yosys: the design cannot be synthesised: {done.stderr[-TAIL_CHARACTERS:]}")
        return _read((Path(folder) / "stat.json").read_text(encoding="utf-8"))


def _read(text: str) -> tuple[Mapping[str, Any], str]:
    """Read what ``stat -json`` wrote: the object of modules, and the program's own name.

    Yosys 0.23 puts the tree of modules behind it as plain text, so the whole is no JSON.
    """
    modules, _ = json.JSONDecoder().raw_decode(text, text.index("{", text.index('"modules"')))
    creator = json.JSONDecoder().raw_decode(text, text.index('"', text.index(":", text.index('"creator"'))))[0]
    return modules, str(creator).split(" (")[0]


def _module(modules: Mapping[str, Any], unit: str) -> str | None:
    """Return the name of a unit's module: its own, or one made of it and its parameters; None if it is not used."""
    own = (name for name in modules if name.split("\\")[-1] == unit or name.startswith(f"$paramod\\{unit}\\"))
    return next(own, None)


def _instances(modules: Mapping[str, Any], top: str) -> Counter[str]:
    """Count how often each module is used in all."""
    uses = Counter({top: 1})
    for inner, times in modules[top]["num_cells_by_type"].items():
        if inner in modules:
            for name, many in _instances(modules, inner).items():
                uses[name] += times * many
    return uses


def _cells(modules: Mapping[str, Any], name: str, *, inside: bool) -> Counter[str]:
    """Count a module's cells, with those of the modules inside if asked for."""
    cells: Counter[str] = Counter()
    for cell, times in modules[name]["num_cells_by_type"].items():
        if cell not in modules:
            cells[cell] += times
        elif inside:
            for kind, many in _cells(modules, cell, inside=True).items():
                cells[kind] += times * many
    return cells


def _row(unit: str, cells: Mapping[str, int], instances: int) -> UnitResources:
    # A cell that is not known would be missing in the sums.
    if unknown := sorted(set(cells) - set(CELLS)):
        raise EieError(f"{unit}: Yosys made cells that are not in the table: {', '.join(unknown)}")
    sums = {kind: sum(CELLS[cell].get(kind, 0) * many for cell, many in cells.items()) for kind in KINDS}
    return UnitResources(unit=unit, instances=instances, **{kind: instances * many for kind, many in sums.items()})


def _spec_block_ram(spec: AcceleratorSpec) -> int:
    """Count block RAMs of the spec's sparse matrix and pointer banks, over all PEs."""
    spmat = _blocks(spec.spmat_kib * 8192 // spec.spmat_row_bits, spec.spmat_row_bits)
    bank = _blocks(-(-spec.pointer_capacity // 2), spec.ptr_bits)
    return spec.n_pe * (spmat + 2 * bank)


def _blocks(depth: int, width: int) -> int:
    """Count block RAMs of one memory in the best of their shapes: 512 x 72, 1,024 x 36, ... 32,768 x 1."""
    shapes = [(BLOCK_WORDS << i, max(1, BLOCK_BITS >> i)) for i in range(7)]
    return min(math.ceil(depth / words) * math.ceil(width / bits) for words, bits in shapes)
