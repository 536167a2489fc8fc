"""``eie paper``: the EIE paper's tables and figures beside ours.

Comes in: words. Goes out: text on stdout, or JSON; an HTML page and pictures where asked; progress on stderr.
"""

from __future__ import annotations

import sys
from pathlib import Path

import click


@click.command()
@click.argument("names", nargs=-1, metavar="[TABLE|FIGURE]...")
@click.option("--fc8", metavar="FILE", help="Public data of AlexNet fc8 (.npz) [default: alexnet_fc8.npz, if there].")
@click.option("--json", "json_file", metavar="FILE", help="Write everything as JSON; - for stdout.")
@click.option("--html", "html_file", metavar="FILE", help="Write one self-contained page.")
@click.option("--plot", "plot_folder", metavar="DIR", help="Write the figures as PNG and SVG.")
def paper(
    names: tuple[str, ...], fc8: str | None, json_file: str | None, html_file: str | None, plot_folder: str | None
) -> None:
    """Reproduce the EIE paper: ours beside the printed value, with the deviation.

    \b
    eie paper                     everything
    eie paper table4 figure11     some of it: table2 to table5, figure6 to figure13, contradictions
    """
    from rich.console import Console

    from eie.cli.commands import announce_compilation
    from eie.cli.progress import Progress
    from eie.show.writing import write_text
    from eie.studies.paper.bench import find_fc8
    from eie.studies.paper.reproduce import reproduce
    from eie.studies.paper.text import plain, to_json

    err = Console(stderr=True, markup=False)
    announce_compilation()
    with Progress(err) as progress:
        found = reproduce(names, Path(fc8) if fc8 else find_fc8(), progress.stage)
        if html_file:
            from eie.studies.paper.page import html

            progress.stage("drawing")
            write_text(html_file, html(found))
        if plot_folder:
            from eie.plots.paper import save_all

            progress.stage("drawing")
            written = save_all(found, plot_folder)
            err.print(f"wrote {len(written)} figures to {plot_folder}", highlight=False)
    if json_file and json_file != "-":
        write_text(json_file, to_json(found))
    sys.stdout.write(to_json(found) if json_file == "-" else plain(found))
