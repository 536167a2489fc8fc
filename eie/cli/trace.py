"""``eie trace``: record the activations of a model, and show what a trace holds."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import click

from eie.cli.help import Commands, examples
from eie.cli.options import how_to_read, layout_option, model_options
from eie.cli.outputs import keep_apart
from eie.cli.outputs import show as display

if TYPE_CHECKING:
    from eie.model.fitting import Layout
    from eie.model.network import Network


@click.group(cls=Commands, epilog=examples("eie trace record model.onnx photos -o trace.npz"))
def trace() -> None:
    """Record activations, or show what a recorded trace holds."""


@trace.command(epilog=examples("eie trace record model.onnx photos -o trace.npz --samples 64"))
@click.argument("model")
@click.argument("inputs")
@click.option("-o", "--output", required=True, metavar="FILE.npz", help="Where to write the trace.")
@model_options
@click.option("--labels", metavar="FILE", help="Class of each sample: IDX or .npy.")
@click.option("--samples", type=click.IntRange(1), help="How many samples [default: all].")
@click.option("--seed", type=click.IntRange(0), help="Draw the samples at random instead of taking the first.")
@click.option("--values", is_flag=True, help="Keep the values, not only which inputs are non-zero.")
@click.option(
    "--preprocess",
    "steps",
    multiple=True,
    metavar="KEY=VALUE",
    help="resize=256 or WxH, crop=WxH, scale=1/255, mean=M,.., std=S,.., layout=chw|hwc, colour=rgb|bgr|gray; "
    "repeatable.",
)
@layout_option
@click.option("--batch", type=click.IntRange(1), default=16, show_default=True, help="Samples run at a time.")
def record(
    model: str,
    inputs: str,
    output: str,
    labels: str | None,
    samples: int | None,
    seed: int | None,
    values: bool,
    steps: tuple[str, ...],
    layout: Layout | None,
    batch: int,
    **options: Any,
) -> None:
    """Run MODEL on INPUTS and write what every layer reads.

    An .onnx MODEL runs in onnxruntime, any other in eie itself; either way as given, before weight sharing. INPUTS:
    .npy, .npz (also one array an input, by its name), IDX (raw or .gz), a PNG or JPEG file, or a folder of them.
    """
    from pathlib import Path

    from eie.cli.inputs import stderr
    from eie.cli.progress import Progress
    from eie.errors import TraceError
    from eie.recording.inputs import read_samples
    from eie.recording.preprocess import Preprocess
    from eie.recording.record import record as record_trace

    # Before the run, which can take minutes.
    if Path(output).suffix != ".npz":
        raise TraceError(f"{output}: a trace file ends in .npz")
    # INPUTS can be a trace itself, and is read piece by piece while the new one is made.
    keep_apart([output], (model, inputs, labels))
    with Progress(stderr()) as progress:
        progress.stage(f"reading {inputs}")
        # Chosen first: only these samples are prepared and run.
        chosen = read_samples(inputs, labels, Preprocess.parse(steps)).choose(samples, seed)
        progress.stage(f"running {model}")
        told, input_shape = _as_told(model, options)
        recorded = record_trace(
            told, chosen, values=values, layout=layout, input_shape=input_shape, batch=batch, seed=seed
        )
        progress.stage(f"writing {output}")
        recorded.save(output)
    display(recorded)


def _as_told(model: str, options: Mapping[str, Any]) -> tuple[str | Network, Any]:
    """Return the model's name, or the network where a word says how it is read; and the input shape that is stated."""
    from eie.importers import load, takes

    how = how_to_read(options)
    # Of an .onnx file the framework runs whatever it holds: it is not read here, in whatever way.
    if takes(model, "input_shape"):
        how = {**how, "unsupported": None}
    stated = how["input_shape"] if takes(model, "input_shape") else None
    others = {key: value for key, value in how.items() if key != "input_shape" or stated is None}
    return (load(model, **how) if any(others.values()) else model), stated


@trace.command(epilog=examples("eie trace show trace.npz"))
@click.argument("file")
def show(file: str) -> None:
    """Print where the trace FILE is from, and each layer's density over its samples."""
    from eie.model.trace import Trace

    display(Trace.load(file))
