"""``--timeline``: the option, the window it tells of, and the file it writes.

Comes in: options of ``eie run`` and ``eie simulate``. Goes out: a file, and a note of what is in it. ``--cycles`` on
its own has another meaning, a line a cycle, and had it first.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from itertools import pairwise
from typing import TYPE_CHECKING, Any, TypeVar

import click

from eie.cli.outputs import note

if TYPE_CHECKING:
    from eie.results.result import Result
    from eie.spec import AcceleratorSpec

F = TypeVar("F", bound=Callable[..., Any])
# What ``--cycles`` without a window is taken for.
EVERY = "every"
WINDOW = re.compile(r"(\d*):(\d*)")


class WithCycles(click.Command):
    """A command whose ``--cycles`` may stand alone: the next word is its window only if it looks like one."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Give ``--cycles`` a value where it has none."""
        told, behind = [], []
        for word, after in pairwise([*args, ""]):
            alone = word == "--cycles" and not WINDOW.fullmatch(after)
            told.append(f"{word}={EVERY}" if alone else word)
            behind += [after] if alone else []
        try:
            return super().parse_args(ctx, told)
        except click.UsageError as error:
            # Click names the words that were left over. One behind a --cycles was meant as its window.
            for word in behind:
                if word and f"extra argument ({word})" in error.message:
                    raise click.UsageError(
                        f"--cycles {word}: must be FIRST:STOP, as 1000:3000, or alone", ctx
                    ) from None
            raise


def timeline_options(command: F) -> F:
    """Add ``--timeline`` and its window."""
    for option in (
        click.option("--pes", metavar="FIRST:STOP", help="Only these PEs in the timeline, as 0:8 for the first eight."),
        click.option(
            "--cycles",
            metavar="[FIRST:STOP]",
            help="Only these cycles in the timeline, as 1000:3000. Alone: print a line a cycle (events engine) to "
            "stderr.",
        ),
        click.option(
            "--timeline",
            "timeline_file",
            metavar="FILE",
            help="Write what every PE does in every cycle: .json or .json.gz for Perfetto, .vcd for waveform viewers.",
        ),
    ):
        command = option(command)
    return command


def check_timeline(options: Mapping[str, Any]) -> bool:
    """Refuse what no machine could be told by; return whether a line a cycle is asked for.

    Raises
    ------
    WordError
        For an ending that is not known, a window that is none, or one without a timeline.
    """
    from eie.errors import WordError
    from eie.results.retelling import ENDLESS
    from eie.results.timeline_files import check_ending

    file, cycles = options["timeline_file"], options["cycles"]
    logs = bool(cycles == EVERY)
    if file is None:
        for name in ("cycles", "pes"):
            if options[name] is not None and not (name == "cycles" and logs):
                raise WordError(f"--{name} {options[name]}: is a window of a timeline: needs --timeline FILE")
    else:
        check_ending(file)
    for name in ("cycles", "pes"):
        if options[name] not in (None, EVERY):
            _window(name, options[name], range(0, ENDLESS))
    return logs


def check_pes(options: Mapping[str, Any], spec: AcceleratorSpec) -> None:
    """Refuse PEs that the machine does not have, before it runs.

    Raises
    ------
    WordError
        If there are such.
    """
    from eie.errors import WordError

    if options["pes"] is not None and _window("pes", options["pes"], range(spec.n_pe)).stop > spec.n_pe:
        raise WordError(f"--pes {options['pes']}: the machine has {spec.n_pe} PEs: must lie within 0:{spec.n_pe}")


def write_timeline(result: Result, options: Mapping[str, Any]) -> None:
    """Write the timeline, if one is asked for, and say what it holds."""
    from eie.results.retelling import ENDLESS

    file = options["timeline_file"]
    if file is None:
        return
    windows: dict[str, Any] = {
        name: _window(name, options[name], whole)
        for name, whole in (("cycles", range(1, ENDLESS)), ("pes", range(result.spec.n_pe)))
        if options[name] not in (None, EVERY)
    }
    timeline = result.timeline(**windows)
    timeline.save(file)
    note(f"wrote {file}: {timeline.headline()}")
    if timeline.cut:
        note(f"note: {timeline.cut} (--cycles, --pes)")


def _window(name: str, text: str, whole: range) -> range:
    """Read ``1000:3000``; an end that is left out is that of the whole."""
    from eie.errors import WordError

    matched = WINDOW.fullmatch(text)
    first = int(matched[1] or whole.start) if matched else 0
    stop = int(matched[2] or whole.stop) if matched else 0
    if first >= stop:
        raise WordError(f"--{name} {text}: must be FIRST:STOP, the first and the one behind the last, as in 0:8")
    return range(first, stop)
