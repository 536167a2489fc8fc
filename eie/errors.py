"""The one family of errors a caller of ``eie`` has to know.

Comes in: nothing. Goes out: exception classes. Read by every other module; the command line turns any of
them into one line on stderr and an exit code.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence


def printable(text: str) -> str:
    """Show what cannot be printed (escapes, line ends, marks that turn the writing round) as escapes.

    Names come from files, and a file must not control a terminal.
    """
    if text.isprintable():
        return text
    # Letters of any script stay as they are: only what a terminal obeys instead of showing is replaced.
    return "".join(char if char.isprintable() else char.encode("unicode_escape").decode() for char in text)


def folder_gone() -> str:
    """Say that the working folder is no more, where it is so: then no relative name and no compiler works."""
    try:
        os.getcwd()
    except OSError:
        return "the folder that this runs in is gone (deleted or moved): change to one that exists"
    return ""


def printable_names(names: Iterable[str]) -> dict[str, str]:
    """Return fresh names for those that cannot be printed, each unlike all others.

    What is called by a name keeps being called so: two names that would look alike stay two.
    """
    taken = set(names)
    fresh: dict[str, str] = {}
    # Counted by what they look like: a file may hold any number of names that all become one.
    counts: dict[str, int] = {}
    for name in sorted(name for name in taken if not name.isprintable()):
        shown = text = printable(name)
        while text in taken:
            counts[shown] = counts.get(shown, 1) + 1
            text = f"{shown}_{counts[shown]}"
        taken.add(text)
        fresh[name] = text
    return fresh


def clean_texts(record: object, fields: Sequence[str]) -> None:
    """Make the named fields of a new frozen record printable: texts, or tuples of texts.

    Records call it as they are made, whichever reader or caller the words are from.
    """
    for field in fields:
        value = getattr(record, field)
        clean = printable(value) if isinstance(value, str) else value and tuple(map(printable, value))
        # The way by which a frozen dataclass sets its own fields.
        object.__setattr__(record, field, clean)


class EieError(Exception):
    """Something the user gave cannot be used; the text says what, where, which bound and what to do.

    What it quotes from a file cannot control a terminal: unprintable characters are shown as escapes.
    """

    def __str__(self) -> str:
        # Line by line: the breaks between several problems are ours and stay.
        return "\n".join(map(printable, super().__str__().split("\n")))


class WordError(EieError):
    """A word of a call or command is wrong whatever it is used on: an option, the name of a machine, a budget."""


class SpecError(EieError):
    """An accelerator specification is wrong. ``problems`` holds every complaint, one line each."""

    def __init__(self, problems: Sequence[str]) -> None:
        self.problems = tuple(problems)
        super().__init__("\n".join(self.problems))


class RecipeError(EieError):
    """A compression recipe is wrong or cannot be followed. ``problems`` holds every complaint, one line each."""

    def __init__(self, problems: Sequence[str]) -> None:
        self.problems = tuple(problems)
        super().__init__("\n".join(self.problems))


class ModelError(EieError):
    """A layer, network or model file cannot be used."""


class TraceError(EieError):
    """Activations do not fit the network, or a trace file cannot be used."""


class ProgramError(EieError):
    """A compiled program or its file cannot be used."""


class SweepError(EieError):
    """A sweep's ranges, objectives or journal cannot be used."""


class EnergyError(EieError):
    """No energy or area figure exists for what was asked."""
