"""What commands write: the options for it, the checks before, the files after.

Comes in: an answer and the options of a command. Goes out: files, and the answer on standard output. Nothing is written
twice, nor over what is read.
"""

from __future__ import annotations

import shlex
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from eie.cli.lines import fitted
from eie.errors import WordError, printable

if TYPE_CHECKING:
    from eie.show.face import Answer, View

F = TypeVar("F", bound=Callable[..., Any])

FIGURES = "figures"
# What a bare --plot means; another spelling than a user's own, since a sweep has its figures in its folder then.
BARE = f"./{FIGURES}"
TEXTS = ("json_file", "csv_file", "html_file")
# Options that name a file to write, in whatever command.
_FILES = (*TEXTS, "timeline_file", "recipe_file", "output", "journal")


def output_options(command: F) -> F:
    """Add ``--json``, ``--csv``, ``--html`` and ``--plot``: what every answer can be written as."""
    return text_options(
        click.option(
            "--plot",
            "plot_folder",
            is_flag=False,
            # `eie sweep --plot` was a flag once: it still is one, in every command.
            flag_value=BARE,
            metavar="[DIR]",
            help=f"Write figures as PNG and SVG [default: {FIGURES}; of a sweep, in its folder].",
        )(command)
    )


def text_options(command: F) -> F:
    """Add ``--json``, ``--csv`` and ``--html``."""
    for option in (
        click.option("--html", "html_file", metavar="FILE", help="Write one self-contained page; - for stdout."),
        click.option("--quote-formulas", is_flag=True, help="In CSV, put ' before texts that a spreadsheet would run."),
        click.option("--csv", "csv_file", metavar="FILE", help="Write one flat row a result as CSV; - for stdout."),
        click.option("--json", "json_file", metavar="FILE", help="Write everything as JSON; - for stdout."),
    ):
        command = option(command)
    return command


def keep_apart(outputs: Sequence[str], inputs: Iterable[str | None]) -> None:
    """Refuse to write one file twice, or over a file that is being read."""
    written: set[Path] = set()
    # Resolved: one file has many names, links and ./ among them.
    read = {Path(name).resolve() for name in inputs if name is not None}
    for output in outputs:
        target = Path(output).resolve()
        if target in read:
            raise WordError(f"{output}: is read by this command: write to another file")
        # A device such as /dev/null may be written as often as one likes.
        if target in written and (target.is_file() or not target.exists()):
            raise WordError(f"{output}: is written twice by this command: name two files")
        written.add(target)


def check_files(options: Mapping[str, Any], *inputs: str | None) -> None:
    """Refuse to write one file (or standard output) twice, or over one that is read."""
    # Not every command has every option; "-" is standard output and no file.
    outputs = [options[name] for name in _FILES if options.get(name) not in (None, "", "-")]
    # Two texts one behind the other would be neither JSON nor CSV.
    if [options.get(name) for name in _FILES].count("-") > 1:
        raise click.UsageError("only one of --json, --csv and --html can go to standard output")
    read = [options.get(name) for name in ("trace_file", "mask", "shapes", "merge_lora")]
    keep_apart(outputs, (*inputs, *read))


def deliver(answer: Answer, options: Mapping[str, Any]) -> None:
    """Write the files that were asked for; show the answer unless one of them went to standard output."""
    # Figures first: if a text goes to a pipe that closes, they are there.
    draw(answer, options.get("plot_folder"))
    texts: dict[str, Callable[[], str]] = {
        # Functions, so that only what was asked for is made.
        "json_file": lambda: answer.to_json(command=typed()),
        "csv_file": lambda: answer.to_csv(quote_formulas=options["quote_formulas"]),
        "html_file": lambda: answer.to_html(command=typed()),
    }
    to_stdout = False
    for option, text in texts.items():
        if options.get(option) == "-":
            # Texts end in a line of their own.
            click.echo(text(), nl=False)
            to_stdout = True
        elif options.get(option):
            from eie.show.writing import write_text

            write_text(options[option], text())
    if not to_stdout:
        show(answer)


def draw(answer: Answer, folder: str | Path | None) -> None:
    """Write an answer's figures, and say so on standard error."""
    if folder:
        files = answer.plot(folder)
        note(f"wrote {len(files)} figures to {folder}")


def show(view: View) -> None:
    """Print on standard output: fitted to a terminal, one line a row elsewhere."""
    from rich.console import Console

    # No markup: names from files may hold brackets, which rich would take for its own.
    view.show(Console(file=sys.stdout, markup=False, emoji=False))


def note(text: str) -> None:
    """Say something on standard error, on one line of a log."""
    # Paths and errors of single points come from outside.
    click.echo(fitted(printable(text)), err=True)


def typed() -> str:
    """Return the command as it was typed, for the files it writes."""
    # Quoted, so that it can be pasted into a shell again.
    return shlex.join(["eie", *sys.argv[1:]])
