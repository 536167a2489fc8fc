"""Options that several commands share, and what they mean."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar

import click

F = TypeVar("F", bound=Callable[..., Any])

# Named once: `compare` refuses them for what is no model.
OF_MODELS = (
    *("mask", "shapes", "unsupported", "input_shape", "input_value", "key", "merge_lora"),
    *("layers", "exclude", "transposed", "threshold", "density"),
)


class Share(click.FloatRange):
    """A share, as 0.5 or 50%."""

    name = "share"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """Read it; click's own range says what is wrong with it."""
        from eie.formats.shares import share_of

        if isinstance(value, str):
            try:
                value = share_of(value)
            except ValueError:
                self.fail(f"{value!r} is no share, as 0.5 or 50%", param, ctx)
        return super().convert(value, param, ctx)


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
            "--input-shape",
            multiple=True,
            metavar="[NAME=]SIZExSIZE...",
            help="One sample's, where an .onnx MODEL leaves sizes open and no inputs state them; repeatable.",
        ),
        click.option(
            "--input-value",
            multiple=True,
            metavar="NAME=NUMBER[,NUMBER...]",
            help="Makes a constant of an input by which an .onnx MODEL decides, as sr=16000; repeatable.",
        ),
        click.option("--merge-lora", metavar="FOLDER|FILE", help="A LoRA adapter to merge into a state dict."),
        click.option("--key", metavar="KEY", help="The state dict to take of a PyTorch file that holds several."),
        click.option("--mask", metavar="FILE", help="0/1 arrays named as the weights they prune."),
        click.option("--shapes", metavar="FILE.toml", help="Layer shapes of a .net file that is not a published one."),
        click.option(
            "--threshold", type=click.FloatRange(0, min_open=True), metavar="SIZE", help="Prune smaller weights."
        ),
        click.option(
            "--density",
            type=Share(0, 1, min_open=True),
            metavar="SHARE",
            help="Draw the weights of a MODEL that gives shapes alone, as 0.1 or 10%; every report says so.",
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
        click.option(
            "--trace",
            "trace_file",
            metavar="FILE",
            help="Inputs (.npz, .npy): with labels for accuracy, else for output errors [default: the model's own].",
        ),
    ):
        command = option(command)
    # A study prunes a model and runs it: both sets apply.
    return spec_options(model_options(layout_option(command)))


def journal_option(command: F) -> F:
    """Add ``--journal``, for commands that take long."""
    return click.option(
        "--journal",
        metavar="FILE.jsonl",
        help="Keep what is done here (and training beside it): the same command goes on after any interruption.",
    )(command)


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
    named = {name: options[name] for name in OF_MODELS if name not in ("input_shape", "input_value", "transposed")}
    values = _input_values(options["input_value"])
    return dict(
        named,
        input_shape=_input_shape(options["input_shape"]),
        input_values=values,
        transpose=options["transposed"],
    )


def _input_values(texts: Sequence[str]) -> dict[str, float | list[float]] | None:
    """Read ``sr=16000``, or ``sizes=1,2``."""
    from eie.errors import WordError

    values: dict[str, float | list[float]] = {}
    for text in texts:
        name, equals, numbers = text.rpartition("=")
        try:
            # Whole numbers stay exact: an id of 64 bits is no float.
            listed = [int(number) if number.lstrip("+-").isdigit() else float(number) for number in numbers.split(",")]
        except ValueError:
            listed = []
        if not equals or not name or not listed:
            raise WordError(f"--input-value {text}: must be an input's name and its numbers, as in sr=16000")
        if name in values:
            raise WordError(f"--input-value {text}: stated twice")
        values[name] = listed if len(listed) > 1 or "," in numbers else listed[0]
    return values or None


def _input_shape(texts: Sequence[str]) -> list[int] | dict[str, list[int]] | None:
    """Read ``1x64x160``, or for several inputs ``NAME=1x64x160`` each."""
    from eie.errors import WordError

    shapes: dict[str, list[int]] = {}
    for text in texts:
        # A name may hold an equals sign, sizes hold none.
        name, _, sizes = text.rpartition("=")
        try:
            # Bounds are the importer's, which knows what the file leaves open.
            shape = [int(size) for size in sizes.lower().split("x")]
        except ValueError:
            raise WordError(
                f"--input-shape {text}: must be sizes with x between them, as in 1x64x160 or name=1x64x160"
            ) from None
        if name in shapes or (shapes and "" in (name, *shapes)):
            raise WordError(f"--input-shape {text}: stated twice: several must be NAME=SIZES, each of another input")
        shapes[name] = shape
    return shapes.get("") or shapes or None
