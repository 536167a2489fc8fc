"""``eie diff``: two results, or two sweeps, beside each other."""

from __future__ import annotations

from typing import Any

import click

from eie.cli.help import examples
from eie.cli.outputs import check_files, deliver, output_options


@click.command(
    epilog=examples(
        "eie run net.npz --json 64.json",
        "eie run net.npz --set n_pe=16 --json 16.json",
        "eie diff 64.json 16.json --html diff.html",
    )
)
@click.argument("a")
@click.argument("b")
@output_options
def diff(a: str, b: str, **options: Any) -> None:
    """Say what differs between A and B, and where the time went.

    A and B are .json files of eie run (or eie simulate), or two sweeps: their .json files or folders. Layers are
    matched by name, points by their varied values.
    """
    from eie.studies.difference.diff import diff as difference

    # What is read must not be written over.
    check_files(options, a, b)
    deliver(difference(a, b), options)
