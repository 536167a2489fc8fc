"""``eie trace``: record the activations of a model, and show what a trace holds."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from eie.model.trace import Trace


@click.group()
def trace() -> None:
    """Record activations, or show what a recorded trace holds."""


@trace.command()
@click.argument("model")
@click.argument("inputs")
@click.option("-o", "--output", required=True, metavar="FILE.npz", help="Where to write the trace.")
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
    batch: int,
) -> None:
    """Run MODEL on INPUTS and write what every layer reads.

    An .onnx MODEL runs in onnxruntime, any other in eie itself; either way as given, before weight sharing. INPUTS:
    .npy, .npz, IDX (raw or .gz), a PNG or JPEG file, or a folder of them.
    """
    from pathlib import Path

    from rich.console import Console

    from eie.cli.outputs import keep_apart
    from eie.cli.progress import Progress
    from eie.errors import TraceError
    from eie.recording.inputs import read_samples
    from eie.recording.preprocess import Preprocess
    from eie.recording.record import record as record_trace

    if Path(output).suffix != ".npz":
        raise TraceError(f"{output}: a trace file ends in .npz")
    keep_apart([output], (model, inputs, labels))
    with Progress(Console(stderr=True, markup=False)) as progress:
        progress.stage(f"reading {inputs}")
        chosen = read_samples(inputs, labels, Preprocess.parse(steps)).choose(samples, seed)
        progress.stage(f"running {model}")
        recorded = record_trace(model, chosen, values=values, batch=batch, seed=seed)
        progress.stage(f"writing {output}")
        recorded.save(output)
    _show(recorded)


@trace.command()
@click.argument("file")
def show(file: str) -> None:
    """Print where the trace FILE is from, and each layer's density over its samples."""
    from eie.model.trace import Trace

    _show(Trace.load(file))


def _show(recorded: Trace) -> None:
    from rich.console import Console
    from rich.table import Table

    out = Console(markup=False)
    wide = Console(width=max(out.width, 160), markup=False)
    table = Table(box=None, padding=(0, 2, 0, 0))
    headings = ("layer", "inputs", "products a sample", "rows", "density %, mean", "min", "max", "values")
    for heading in headings:
        table.add_column(heading, justify="left" if heading == "layer" else "right", no_wrap=True)
    for name, layer in recorded.layers.items():
        density = 100 * layer.sample_density
        table.add_row(
            name,
            f"{layer.width:,}",
            f"{layer.products:,}",
            f"{layer.rows:,}",
            *(f"{one:.1f}" for one in (density.mean(), density.min(), density.max())),
            "no" if layer.values is None else "yes",
        )
    wide.print(table)
    count = "1 sample" if recorded.samples == 1 else f"{recorded.samples} samples"
    lines = [f"{count}{'' if recorded.labels is None else ' with labels'}: {recorded.source}."]
    if recorded.preprocessing:
        lines.append(f"Preprocessing: {recorded.preprocessing}.")
    if recorded.seed is not None:
        lines.append(f"Seed: {recorded.seed}.")
    if recorded.synthetic:
        lines.append("Synthetic: drawn at random, not recorded.")
    if recorded.model_sha256 is not None:
        lines.append(f"Model file, SHA-256: {recorded.model_sha256}.")
    for line in lines:
        wide.print(line, highlight=False, markup=False, soft_wrap=True)
