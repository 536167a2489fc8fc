"""``--engine rtl``: a run whose every count and output the hardware has confirmed.

Comes in: a program, its inputs and the `Result` that the fast engine gave. Goes out: the same result, as the RTL's; or
an error that names the first difference. Called by the command line.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from eie.compiler.program import Program
from eie.errors import EieError
from eie.model.fitting import Layout
from eie.results.result import Result
from eie.rtl.check import check_works
from eie.rtl.tools import Simulator
from eie.rtl.work import works
from eie.rtl.write import write_works
from eie.simulator.inputs import Inputs

LARGEST_PE_CYCLES = 20_000_000  # some seconds in Verilator; a quarter of an hour in Icarus


def confirmed(
    result: Result,
    program: Program,
    inputs: Inputs = None,
    *,
    layout: Layout | None = None,
    simulator: Simulator | None = None,
    progress: Callable[[str], None] = lambda _: None,
) -> Result:
    """Run every product of every layer as hardware; return the result as the RTL's, whose numbers are the same.

    Parameters
    ----------
    result
        Of the same program and inputs by another engine.
    inputs, layout
        As `eie.simulate` takes them.

    Raises
    ------
    EieError
        If the hardware counts or computes anything else, the run is too long for it, or no Verilog simulator is here.
    ProgramError
        If the hardware cannot do a layer.
    """
    made = works(program, inputs, layout=layout)
    pe_cycles = sum(int(work.activity.cycles.sum()) for work in made) * program.spec.n_pe
    if pe_cycles > LARGEST_PE_CYCLES:
        raise EieError(
            f"engine 'rtl': {pe_cycles:,} PE-cycles: must be at most {LARGEST_PE_CYCLES:,}: fewer samples, or a layer "
            "and a sample by eie rtl --check"
        )
    with tempfile.TemporaryDirectory(prefix="eie-rtl-") as folder:
        checked = check_works(made, write_works(made, Path(folder)), simulator=simulator, progress=progress)
    for layer, _ in checked:
        if not layer.equal:
            raise EieError(f"engine 'rtl': layer {layer.layer!r} differs from the fast engine: {layer.differences[0]}")
        if layer.reordered:
            raise EieError(
                f"engine 'rtl': layer {layer.layer!r}: {layer.reordered} outputs are others in hardware, which adds pixel "
                "by pixel: sums saturate on the way; conv='im2col' (--conv im2col) has the run's order"
            )
    return replace(result, engine="rtl")
