"""The commands' words and options; the work is in `commands`, loaded when one of them is called."""

from __future__ import annotations

import gc
from collections.abc import Callable
from importlib import import_module
from typing import Any, TypeVar

import click

from eie.cli.compare import compare
from eie.cli.compress import compress
from eie.cli.granularity import granularity
from eie.cli.options import model_options, spec_options
from eie.cli.paper import paper
from eie.cli.search import search
from eie.cli.sweep import sweep
from eie.cli.trace import trace
from eie.version import __version__

F = TypeVar("F", bound=Callable[..., Any])

_winograd_option = click.option(
    "--winograd", is_flag=True, help="Run 3x3 convolutions of stride 1 by Winograd F(2x2, 3x3) instead of im2col."
)


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(__version__, prog_name="eie")
def app() -> None:
    """What does a pruned network cost on an EIE-style sparse accelerator, and why?

    \b
    eie run lenet-300-100              a shipped model: compile, simulate, report
    eie run model.onnx                 your own network; also .pt, .safetensors, .npz, .toml, ...
    eie sweep model.npz --vary n_pe=1:256:x2 -o results/
    eie paper                          every table and figure of the EIE paper, ours beside the printed
    """


def _run_options(command: F) -> F:
    for option in (
        click.option("--trace", "trace_file", metavar="FILE", help="Activations: a trace (.npz) or an array (.npy)."),
        click.option("--samples", type=click.IntRange(1), help="Use the first samples of the trace only."),
        click.option(
            "--engine",
            type=click.Choice(["fast", "events"]),
            default="fast",
            show_default=True,
            help="Timing engine; both give the same numbers.",
        ),
        click.option(
            "--datapath",
            type=click.Choice(["fixed", "float32", "none"]),
            default="fixed",
            show_default=True,
            help="Whose zeros the next layer sees; none: count only, with recorded inputs of every layer.",
        ),
        click.option("--cycles", "log_cycles", is_flag=True, help="Print a line a cycle (events engine) to stderr."),
        click.option(
            "--sram-cell",
            type=click.Choice(["itrs-lop", "itrs-lstp"]),
            default="itrs-lop",
            show_default=True,
            help="CACTI cell that scales SRAM energy to other sizes.",
        ),
        click.option("--threads", type=click.IntRange(1), help="Worker threads [default: all cores]."),
        click.option("--json", "json_file", metavar="FILE", help="Write the result as JSON; - for stdout."),
        click.option("--csv", "csv_file", metavar="FILE", help="Write one row a layer as CSV; - for stdout."),
        click.option("--plot", "plot_folder", metavar="DIR", help="Write figures as PNG and SVG."),
    ):
        command = option(command)
    return command


@app.command()
@click.argument("model")
@model_options
@spec_options
@_run_options
@_winograd_option
def run(**options: Any) -> None:
    """Compile MODEL, simulate it and print one row a layer.

    MODEL is a .toml, .npz, .safetensors, .onnx, .pt, .net or .smtx file, or the name of a shipped model.
    """
    _commands().run(**options)


@app.command("compile")
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
@_winograd_option
def compile_(**options: Any) -> None:
    """Compile MODEL into the memory images of every PE."""
    _commands().compile_model(**options)


@app.command()
@click.argument("program")
@spec_options
@_run_options
def simulate(**options: Any) -> None:
    """Simulate a compiled PROGRAM. --spec and --set may change what its images do not depend on."""
    _commands().simulate_program(**options)


@app.command()
@click.argument("file")
@model_options
@spec_options
def inspect(**options: Any) -> None:
    """Show what a compiled program (or MODEL, compiled here) stores in the PEs and whether it fits."""
    _commands().inspect(**options)


@app.command()
def warmup() -> None:
    """Compile the kernels now, so that the first run need not."""
    _commands().warmup()


def _commands() -> Any:
    # What is imported stays: looking for garbage in it, again and again as it grows, took a fifth of a short run.
    gc.disable()
    try:
        return import_module("eie.cli.commands")
    finally:
        gc.freeze()
        gc.enable()


for command in (compare, compress, trace, sweep, granularity, search, paper):
    app.add_command(command)
