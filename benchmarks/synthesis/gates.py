"""One unit of the Verilog made into gates: its area and its longest path, by Yosys and a liberty file.

Comes in: a unit and values of its parameters. Goes out: `Gates`. Read by `run`.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from eie.rtl.write import verilog

# Debian's qflow-tech-osu018: a free library of cells at 180 nm. Ratios between its cells are what is used of it.
LIBERTY = Path(os.environ.get("EIE_LIBERTY", "/usr/share/qflow/tech/osu018/osu018_stdcells.lib"))
# As fast as the cells go: sizes are chosen for a period of a picosecond, which none meets.
FASTEST = (
    "strash;ifraig;scorr;dc2;dch,-f;map,-B,0.9,-D,1;topo;buffer,-c;upsize,-D,1;dnsize,-D,1;stime,-p"  # ABC's commands
)
SECONDS = 600

# An SRAM's cells are a black box; its output register is a register of the unit, as the paper's row buffer is.
SRAM = """
(* blackbox *)
module sram_cells #(parameter WIDTH = 16, parameter ADDRESS_BITS = 6) (
    input wire clk, input wire [ADDRESS_BITS-1:0] at, output wire [WIDTH-1:0] cells,
    input wire write, input wire [ADDRESS_BITS-1:0] write_at, input wire [WIDTH-1:0] written
);
endmodule

module ram #(parameter WIDTH = 16, parameter DEPTH = 64, parameter ADDRESS_BITS = 6) (
    input  wire                    clk,
    input  wire                    read,
    input  wire [ADDRESS_BITS-1:0] read_at,
    output reg  [WIDTH-1:0]        word,
    input  wire                    write,
    input  wire [ADDRESS_BITS-1:0] write_at,
    input  wire [WIDTH-1:0]        written
);
    wire [WIDTH-1:0] cells;
    sram_cells #(.WIDTH(WIDTH), .ADDRESS_BITS(ADDRESS_BITS)) sram_cells (
        .clk(clk), .at(read_at), .cells(cells), .write(write), .write_at(write_at), .written(written)
    );
    always @(posedge clk) if (read) word <= cells;
endmodule
"""


@dataclass(frozen=True)
class Gates:
    """A unit as gates.

    Attributes
    ----------
    area
        Of its cells, in the library's unit; memories that are black boxes count nothing.
    delay_ps
        Of the longest path between registers or ports, through logic alone.
    """

    area: float
    delay_ps: float


def missing() -> str | None:
    """Return what is not here, in words, or None."""
    if not shutil.which("yosys"):
        return "yosys is not installed"
    return (
        None if LIBERTY.is_file() else f"{LIBERTY}: not here (Debian's qflow-tech-osu018, or EIE_LIBERTY names another)"
    )


def synthesise(unit: str, parameters: Mapping[str, int], parts: Sequence[str] = (), *, sram: bool = False) -> Gates:
    """Make gates of a unit.

    Parameters
    ----------
    parts
        Units that it holds.
    sram
        Whether its memories are SRAM, whose cells are left out; else they are made of registers.
    """
    texts = {name: verilog(name) for name in (unit, *parts)}
    texts["ram"] = SRAM if sram else verilog("ram")
    with tempfile.TemporaryDirectory(prefix="eie-synth-") as folder:
        for name, text in texts.items():
            (Path(folder) / f"{name}.v").write_text(text)
        script = Path(folder) / "synth.ys"
        script.write_text(_script(unit, parameters, sorted(texts)))
        done = subprocess.run(
            ["yosys", script.name], cwd=folder, capture_output=True, text=True, check=False, timeout=SECONDS
        )
    if done.returncode:
        raise RuntimeError(f"{unit} {dict(parameters)}: {(done.stderr or done.stdout)[-500:]}")
    return read(done.stdout)


def read(log: str) -> Gates:
    """Read what Yosys and ABC printed; the last figures are those of the finished unit."""
    areas = re.findall(r"Chip area for (?:top )?module '[^']*': ([0-9.]+)", log)
    delays = re.findall(r"ABC: WireLoad.*Delay = *([0-9.]+) ps", log)
    if not areas or not delays:
        raise ValueError("the log holds no area or no delay")
    return Gates(area=float(areas[-1]), delay_ps=float(delays[-1]))


def _script(unit: str, parameters: Mapping[str, int], files: Sequence[str]) -> str:
    values = " ".join(f"-set {name} {value}" for name, value in parameters.items())
    return "\n".join(
        [
            *(f"read_verilog {name}.v" for name in files),
            f"chparam {values} {unit}",
            f"synth -flatten -top {unit}",
            f"dfflibmap -liberty {LIBERTY}",
            f"abc -liberty {LIBERTY} -script +{FASTEST}",
            "opt_clean",
            f"stat -liberty {LIBERTY}",
        ]
    )
