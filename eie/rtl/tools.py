"""Verilog simulators: which are here, and a design run by one of them.

Comes in: a folder that `write` has written. Goes out: what the bench printed, read: `Run`. Read by `check`.
"""

from __future__ import annotations

import shutil
import subprocess
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, get_args

from eie.errors import EieError

Simulator = Literal["icarus", "verilator"]
SIMULATORS: tuple[Simulator, ...] = get_args(Simulator)
COMMANDS = {"icarus": ("iverilog", "vvp"), "verilator": ("verilator", "make", "g++")}
# Icarus begins at once and goes through 19,000 of these a second; Verilator builds first, for about as long as that.
LARGEST_FOR_ICARUS = 400_000  # PE-cycles
TAIL_LINES = 8


@dataclass(frozen=True, eq=False, kw_only=True)
class Run:
    """What a bench has printed.

    Attributes
    ----------
    counts
        (product, count, expected, counted by the RTL), in order.
    equal
        Whether nothing differs.
    differences
        The first differences, in words.
    simulator
        Which one ran it.
    """

    counts: tuple[tuple[int, str, int, int], ...]
    equal: bool
    differences: tuple[str, ...]
    simulator: Simulator


def available() -> tuple[Simulator, ...]:
    """Return the simulators that are here."""
    return tuple(name for name in SIMULATORS if all(shutil.which(word) for word in COMMANDS[name]))


def chosen(simulator: Simulator | None, pe_cycles: int) -> Simulator:
    """Return the simulator asked for, or the better one of those that are here for a run of so many PE-cycles.

    Raises
    ------
    EieError
        If it is not here, or none is.
    """
    here = available()
    if not here:
        raise EieError("no Verilog simulator: install Icarus Verilog (iverilog) or Verilator (verilator)")
    if simulator is None:
        better: Simulator = "icarus" if pe_cycles <= LARGEST_FOR_ICARUS else "verilator"
        return better if better in here else here[0]
    if simulator not in here:
        raise EieError(f"simulator {simulator!r}: not here: must be {' or '.join(here)}, or install it")
    return simulator


def run(folder: Path, simulator: Simulator) -> Run:
    """Build a design and run its bench.

    Raises
    ------
    EieError
        If it cannot be built, or the bench ends without a verdict.
    """
    sources = sorted(str(path.resolve()) for path in folder.glob("*.v"))
    # Built elsewhere: what was written stays as it was written.
    with tempfile.TemporaryDirectory(prefix="eie-rtl-") as build:
        if simulator == "icarus":
            program = str(Path(build) / "bench.vvp")
            _called(["iverilog", "-g2005", "-s", "bench", "-I", ".", "-o", program, *sources], folder, "built")
            text = _printed(["vvp", "-N", program], folder)
        else:
            # Verilator's own library and what runs once are not worth optimising: that halves the time of a build.
            flags = ["-MAKEFLAGS", "OPT_GLOBAL=-O0 OPT_SLOW=-O0"]
            words = ["--binary", "--timing", "-Wno-fatal", "-Wno-WIDTH", "--top-module", "bench", "-I.", "-j", "2"]
            _called(["verilator", *words, *flags, "--Mdir", build, *sources], folder, "built")
            text = _printed([str(Path(build) / "Vbench")], folder)
    return read(text, simulator, folder)


def read(text: str, simulator: Simulator, folder: Path) -> Run:
    """Read what a bench has printed.

    Raises
    ------
    EieError
        If it holds no verdict.
    """
    lines = text.splitlines()
    counts = []
    for line in lines:
        match line.split():
            case ["count", product, name, expected, counted]:
                # What is not known (x) is no number, and equals none.
                counts.append((int(product), name, int(expected), int(counted) if counted.isdigit() else -1))
    different = tuple(line.removeprefix("DIFFERENT ") for line in lines if line.startswith("DIFFERENT "))
    equal = any(line.startswith("EQUAL:") for line in lines)
    if not (equal or different):
        raise EieError(f"{folder}: the bench ended without a verdict: {' / '.join(lines[-TAIL_LINES:]) or 'no output'}")
    return Run(counts=tuple(counts), equal=equal and not different, differences=different, simulator=simulator)


def _printed(command: Sequence[str], folder: Path) -> str:
    """Run a bench; a difference is no failure of the run, so the code is left to the words."""
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False).stdout


def _called(command: Sequence[str], folder: Path, what: str) -> None:
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    if done.returncode:
        tail = " / ".join((done.stderr or done.stdout).splitlines()[-TAIL_LINES:])
        raise EieError(f"{folder}: cannot be {what} by {command[0]}: {tail}")
