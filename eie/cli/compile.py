"""``eie compile``: a model into the memory images of every PE."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from eie.cli.help import examples
from eie.cli.options import bias_option, how_to_read, model_options, spec_options, winograd_option
from eie.cli.outputs import check_files, show


@click.command("compile", epilog=examples("eie compile lenet-5 -o lenet-5.safetensors"))
@click.argument("model")
@model_options
@spec_options
@click.option("-o", "--output", required=True, metavar="FILE.safetensors", help="Where to write the program.")
@click.option(
    "--init",
    type=click.Choice(["exact", "linear"]),
    default="exact",
    show_default=True,
    help="How weight clustering starts.",
)
@winograd_option
@bias_option
def compile_model(model: str, winograd: bool, **options: Any) -> None:
    """Compile MODEL into the memory images of every PE."""
    from eie.cli.inputs import announce_compilation, lowering, stderr
    from eie.cli.progress import Progress
    from eie.compiler.compile import compile as compile_network
    from eie.errors import WordError
    from eie.importers import load
    from eie.spec import load_spec

    # Before anything is read: minutes later is a bad time to hear of a suffix.
    output = options["output"]
    if Path(output).suffix != ".safetensors":
        raise WordError(f"{output}: a program file ends in .safetensors")
    check_files(options, model)
    spec = load_spec(options["spec_name"] or "EIE_64PE", options["overrides"])
    # Ahead of the bar, which would otherwise stand still for it without a word.
    announce_compilation()
    with Progress(stderr()) as progress:
        progress.stage(f"reading {model}")
        network = load(model, **how_to_read(options))
        progress.stage("compiling")
        how = {"init": options["init"], "conv": lowering(winograd, options["conv"]), "bias": options["bias"]}
        program = compile_network(network, spec, **how)
        progress.stage(f"writing {output}")
        program.save(output)
    show(program)
