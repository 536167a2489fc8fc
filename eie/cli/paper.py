"""``eie paper``: the EIE paper's tables and figures beside ours.

Comes in: words. Goes out: text on stdout, or data; an HTML page and pictures where asked; progress on stderr.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from eie.cli.help import examples
from eie.cli.outputs import check_files, deliver, output_options


@click.command(epilog=examples("eie paper table4 figure11", "eie paper --html paper.html --plot figures"))
@click.argument("names", nargs=-1, metavar="[TABLE|FIGURE]...")
@click.option("--fc8", metavar="FILE", help="Public data of AlexNet fc8 (.npz) [default: alexnet_fc8.npz, if there].")
@output_options
def paper(names: tuple[str, ...], fc8: str | None, **options: Any) -> None:
    """Reproduce the EIE paper: ours beside the printed value, with the deviation.

    \b
    eie paper                     everything
    eie paper table4 figure11     some: table2 to 5, figure6 to 13, contradictions
    """
    from eie.cli.inputs import announce_compilation, stderr
    from eie.cli.progress import Progress
    from eie.studies.paper.bench import find_fc8
    from eie.studies.paper.reproduce import reproduce

    check_files(options, fc8)
    announce_compilation()
    with Progress(stderr()) as progress:
        # Looked for where it usually lies if it is not named: only the rows made of it need the file.
        answer = reproduce(names, Path(fc8) if fc8 else find_fc8(), progress.stage)
    deliver(answer, options)
