"""``eie inspect``: what a compiled program stores in the PEs, and whether it fits."""

from __future__ import annotations

from typing import Any

import click

from eie.cli.help import examples
from eie.cli.options import how_to_read, model_options, spec_options
from eie.cli.outputs import show


@click.command(epilog=examples("eie inspect lenet-300-100", "eie inspect lenet-5.safetensors"))
@click.argument("file")
@model_options
@spec_options
def inspect(file: str, **options: Any) -> None:
    """Show what a compiled program (or MODEL, compiled here) stores in the PEs and whether it fits."""
    from eie.compiler.compile import compile as compile_network
    from eie.compiler.program import Program
    from eie.errors import ProgramError
    from eie.importers import load
    from eie.spec import load_spec

    # By content: a model can be a .safetensors file as well.
    if not Program.is_program(file):
        spec = load_spec(options["spec_name"] or "EIE_64PE", options["overrides"])
        program = compile_network(load(file, **how_to_read(options)), spec)
    # A program's images depend on what they were compiled for; options would seem to have changed them.
    elif any(options.values()):
        raise ProgramError(f"{file}: is compiled already; --spec, --set, --mask and the like apply to models")
    else:
        program = Program.load(file)
    show(program)
