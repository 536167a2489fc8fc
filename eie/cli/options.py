"""Options that several commands share, and what they mean."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, TypeVar

import click

F = TypeVar("F", bound=Callable[..., Any])

# Named once: `compare` refuses them for what is no model.
OF_MODELS = (
    *("mask", "shapes", "unsupported", "input_shape", "key", "merge_lora"),
    *("layers", "exclude", "transposed", "threshold"),
)


def spec_options(command: F) -> F:
    """Add ``--spec`` and ``--set``."""
    command = click.option(
        "--set",
        "overrides",
        multiple=True,
        metavar="KEY=VALUE",
        help="Change one field of the spec; repeatable.",
    )(command)
    return click.option(
        "--spec",
        "spec_name",
        default=None,
        metavar="NAME|FILE.toml",
        help="EIE_64PE (default), EIE_256PE or a TOML overlay.",
    )(command)


def model_options(command: F) -> F:
    """Add what `eie.load` may be told about a file; `how_to_read` understands it."""
    for option in (
        click.option(
            "--unsupported",
            type=click.Choice(["refuse", "skip"]),
            help="Operators of an .onnx MODEL that are not known: refuse it (default), or keep its weight layers "
            "for a --trace.",
        ),
        click.option(
            "--input-shape", metavar="SIZExSIZE...", help="One sample's, where an .onnx MODEL leaves sizes open."
        ),
        click.option("--merge-lora", metavar="FOLDER|FILE", help="A LoRA adapter to merge into a state dict."),
        click.option("--key", metavar="KEY", help="The state dict to take of a PyTorch file that holds several."),
        click.option("--mask", metavar="FILE", help="0/1 arrays named as the weights they prune."),
        click.option("--shapes", metavar="FILE.toml", help="Layer shapes of a .net file that is not a published one."),
        click.option(
            "--threshold", type=click.FloatRange(0, min_open=True), metavar="SIZE", help="Prune smaller weights."
        ),
        click.option(
            "--transpose",
            "transposed",
            multiple=True,
            metavar="GLOB",
            help="Arrays of a state dict that are stored (inputs, outputs); repeatable.",
        ),
        click.option(
            "--exclude", multiple=True, metavar="GLOB", help="Arrays of a state dict that are no layers; repeatable."
        ),
        click.option(
            "--layers",
            multiple=True,
            metavar="GLOB[=KIND]",
            help="Arrays of a state dict that are layers, whatever their names say; repeatable.",
        ),
    ):
        # Decorators add from the inside out: the last of these is the first in the help.
        command = option(command)
    return command


def study_options(command: F) -> F:
    """Add what commands take that prune a labelled network and fine-tune it."""
    for option in (
        click.option("--epochs", type=click.IntRange(0), help="Of fine-tuning, with --data [default: 4]."),
        click.option("--data", metavar="FOLDER", help="IDX data set to fine-tune and to report on; needs PyTorch."),
        click.option("--trace", "trace_file", metavar="FILE.npz", help="Labelled inputs [default: the model's own]."),
    ):
        command = option(command)
    # A study prunes a model and runs it: both sets apply.
    return spec_options(model_options(command))


def layout_option(command: F) -> F:
    """Add ``--layout``, for commands that take arrays of activations."""
    return click.option(
        "--layout",
        type=click.Choice(["nchw", "nhwc"]),
        help="Of an array of maps: where its channels are, if not where the network has them.",
    )(command)


def conv_option(command: F) -> F:
    """Add ``--conv``."""
    return click.option(
        "--conv",
        type=click.Choice(["auto", "im2col", "scatter", "winograd"]),
        default="auto",
        show_default=True,
        help="How convolutions run: a product an output pixel, each activation broadcast once, whichever of the two "
        "takes fewer cycles, or 3x3 kernels of stride 1 by Winograd F(2x2, 3x3).",
    )(command)


def winograd_option(command: F) -> F:
    """Add ``--conv``, and ``--winograd`` as 0.1 spelt one of its values."""
    return conv_option(click.option("--winograd", is_flag=True, help="The same as --conv winograd.")(command))


def bias_option(command: F) -> F:
    """Add ``--bias``."""
    return click.option(
        "--bias",
        type=click.Choice(["auto", "column", "accumulator"]),
        default="auto",
        show_default=True,
        help="Where float biases go: a column in the weights' levels, the accumulators, or the column where it holds "
        "them as well as the weights.",
    )(command)


def how_to_read(options: Mapping[str, Any]) -> dict[str, Any]:
    """Return what `eie.load` is told about a model, from the command's options."""
    from eie.errors import EieError

    shape = options["input_shape"]
    try:
        # Bounds are the importer's, which knows what the file leaves open.
        sizes = None if shape is None else [int(size) for size in shape.lower().split("x")]
    except ValueError:
        raise EieError(f"--input-shape {shape}: must be sizes with x between them, as in 1x64x160") from None
    named = {name: options[name] for name in OF_MODELS if name not in ("input_shape", "transposed")}
    return dict(named, input_shape=sizes, transpose=options["transposed"])
