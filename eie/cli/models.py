"""``eie models``: what is shipped and can be run by its bare name."""

from __future__ import annotations

import click

from eie.cli.help import examples
from eie.cli.outputs import show


@click.command(epilog=examples("eie models"))
def models() -> None:
    """List the shipped models: name, layers, weights, accuracy and where the files are."""
    from eie.importers.shipped import catalogue, shipped_folder
    from eie.show.face import Part
    from eie.show.sections import Column, Grid, Section

    rows = catalogue()
    columns = (
        Column("name", "model", "text"),
        Column("layers", "layers", "count"),
        Column("weights", "weights", "count"),
        Column("density", "left %", "percent"),
        Column("accuracy", "accuracy %", "percent"),
        Column("samples", "of samples", "count"),
        Column("what", "what", "prose"),
    )
    grid = Grid(
        columns=columns,
        rows=tuple({**vars(model), "density": model.weights / model.places} for model in rows),
    )
    lines = (
        f"Files: {shipped_folder('models')}",
        "Run one by its name, as in eie run lenet-300-100; eie notebooks DIR copies them where they can be changed.",
    )
    section = Section(name="models", title=f"{len(rows)} models are shipped", grids=(grid,), lines=lines)
    show(Part(section, dict))
