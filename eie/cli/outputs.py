"""What commands write: never one file twice, never over one that is read; texts to files or standard output."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import click

from eie.errors import EieError

Texts = Mapping[str, Callable[[], str]]
_FILES = ("json_file", "csv_file", "html_file", "recipe_file", "output")


def keep_apart(outputs: Sequence[str], inputs: Iterable[str | None]) -> None:
    """Refuse to write one file twice, or over a file that is being read."""
    written: set[Path] = set()
    read = {Path(one).resolve() for one in inputs if one is not None}
    for output in outputs:
        target = Path(output).resolve()
        if target in read:
            raise EieError(f"{output}: is read by this command: write to another file")
        if target in written and (target.is_file() or not target.exists()):
            raise EieError(f"{output}: is written twice by this command: name two files")
        written.add(target)


def check_files(model: str, options: Mapping[str, Any], *others: str | None) -> None:
    """Refuse to write one file (or standard output) twice, or over one that is read."""
    outputs = [options[name] for name in _FILES if options.get(name) not in (None, "", "-")]
    if [options.get(name) for name in _FILES].count("-") > 1:
        raise click.UsageError("only one of --json, --csv and --html can go to standard output")
    keep_apart(outputs, (model, options["trace_file"], options["mask"], options["shapes"], *others))


def write_texts(texts: Texts, options: Mapping[str, Any], show: Callable[[], None]) -> None:
    """Write each text to the file (or standard output) its option names; ``show`` unless one went to the latter."""
    from eie.show.writing import write_text

    to_stdout = False
    for option, text in texts.items():
        if options[option] == "-":
            click.echo(text(), nl=False)
            to_stdout = True
        elif options[option]:
            write_text(options[option], text())
    if not to_stdout:
        show()
