"""Whatever a caller wants to run, as a `Program`.

Comes in: a program, its file, or a model and the machine to compile it for. Goes out: a `Program`. Called by
`eie.simulation` and by studies of programs.
"""

from __future__ import annotations

from pathlib import Path

from eie.compiler.choice import Conv, check_conv
from eie.compiler.compile import compile as compile_network
from eie.compiler.program import Program
from eie.compression.bias import BiasPlace, check_place
from eie.errors import ProgramError
from eie.importers.entrance import Model, as_network
from eie.model.fitting import Layout
from eie.simulator.inputs import Inputs
from eie.simulator.workload import open_sizes
from eie.spec import EIE_64PE, AcceleratorSpec


def as_program(
    model: Program | Model,
    spec: AcceleratorSpec | None = None,
    bias: BiasPlace = "auto",
    *,
    conv: Conv = "auto",
    examples: Inputs = None,
    layout: Layout | None = None,
) -> Program:
    """Return a program as it is, that of a program file, or a model compiled for ``spec`` (EIE_64PE by default).

    Raises
    ------
    ProgramError
        For a ``spec``, a ``bias`` or a ``conv`` beside a program, which was compiled with its own.
    ModelError
        If the model is none, or cannot be read.
    """
    # By the header in the file: models are .safetensors too, so the name does not tell.
    if isinstance(model, str | Path) and Program.is_program(model):
        model = Program.load(model)
    if not isinstance(model, Program):
        network = as_network(model, "an eie.Program", examples=examples, layout=layout)
        check_conv(conv)
        sizes = open_sizes(network, examples, layout) if conv == "auto" else {}
        return compile_network(network, EIE_64PE if spec is None else spec, bias=bias, conv=conv, sizes=sizes)
    check_place(bias)
    check_conv(conv)
    if conv != "auto":
        raise ProgramError(
            f"conv={conv!r}: program {model.name!r} is compiled already: leave conv out, or compile the model anew"
        )
    if bias != "auto":
        raise ProgramError(
            f"bias={bias!r}: program {model.name!r} is compiled already: leave bias out, or compile the model anew"
        )
    if spec is not None:
        raise ProgramError(
            f"spec: program {model.name!r} was compiled for {model.spec.name} already: leave spec out; "
            "program.on(spec) moves it to a machine that stores it alike, eie.compile(model, spec) to any"
        )
    return model
