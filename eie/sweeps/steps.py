"""What the steps of one long command gave, kept in a journal, so that the command goes on where it was stopped.

Comes in: the command in words, and steps to take. Goes out: what each of them gave, from the journal where it is there.
Read by searches, studies of granularities and compression; a sweep keeps its points in the same kind of file.

A step is asked for by name. Commands take the same steps in the same order each time they run, so a command that is
started again finds its own steps; all in between, which takes little, is done anew.
"""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Any, TypeVar, cast

from eie.compression.training.checkpoint import Checkpoints
from eie.compression.training.finetune import Trainer as DataTrainer
from eie.compression.training.trainer import Trainer
from eie.sweeps.journal import Journal
from eie.sweeps.plan import digest_of

T = TypeVar("T")
# Of the modules that a study's numbers do not depend on, since they only show them.
SHOWN = ("__main__.py", "cli", "plots", "show", "shipped")
# Beside the journal: states of training are too large for lines of it.
TRAINING = ".training"


class CommandInterrupted(KeyboardInterrupt):
    """Ctrl-C during a command; the text says what is kept and how to go on."""


class Steps:
    """The steps of one command.

    Parameters
    ----------
    journal
        None to keep nothing.
    command
        SHA-256 of all that the steps depend on.
    """

    def __init__(self, journal: Journal | None = None, command: str = "") -> None:
        self._journal, self._command = journal, command
        self._asked: Counter[str] = Counter()

    def take(self, name: str, make: Callable[[], T]) -> T:
        """Return what the step ``name`` gave, or take it; its value is plain JSON, whose floats come back exactly."""
        if self._journal is None:
            return make()
        key = hashlib.sha256(f"{self._command} {name}".encode()).hexdigest()
        entry = self._journal.entries.get(key)
        if entry is None:
            entry = {"key": key, "engine": self._command[:16], "step": name, "value": make()}
            self._journal.append(entry)
        return cast("T", entry["value"])

    def each(self, name: str, function: Callable[..., T]) -> Callable[..., T]:
        """Return ``function`` with each of its calls a step, by their order."""

        def called(*args: Any) -> T:
            self._asked[name] += 1
            return self.take(f"{name} {self._asked[name]}", lambda: function(*args))

        return called

    def under(self, name: str) -> Steps:
        """Return the steps of a part of the command."""
        return Steps(self._journal, hashlib.sha256(f"{self._command} {name}".encode()).hexdigest())

    def trained(self, trainer: Trainer | None) -> Any:
        """Return the trainer with its epochs kept beside the journal; one of the caller's own keeps itself."""
        if self._journal is None or not isinstance(trainer, DataTrainer):
            return trainer
        return replace(trainer, checkpoints=Checkpoints(training_folder(self._journal.path)))


def trainer_id(trainer: Trainer | None) -> str:
    """Return what stands for a trainer in a command: its content's hash, of one of the caller's own its kind."""
    return str(getattr(trainer, "content_hash", str(type(trainer))))


def training_folder(journal: Path) -> Path:
    """Return where states of training lie: beside the journal."""
    return journal.with_name(journal.name + TRAINING)


@cache
def study_digest() -> str:
    """SHA-256 over the version and every module that a study's numbers may depend on."""
    return digest_of(files("eie"), SHOWN)


@contextmanager
def keeping(journal: str | Path | None, command: Mapping[str, Any] | None = None) -> Iterator[Steps]:
    """Open a journal for the steps of a command.

    Parameters
    ----------
    journal
        A file, or None to keep nothing.
    command
        All that the steps depend on, in plain words and numbers; the sources of ``eie`` are added.

    Raises
    ------
    SweepError
        If it is locked or not one.
    CommandInterrupted
        On Ctrl-C, with how to go on.
    """
    if journal is None:
        yield Steps()
        return
    words = json.dumps({**(command or {}), "sources": study_digest()}, sort_keys=True, default=str)
    with Journal(journal) as book:
        try:
            yield Steps(book, hashlib.sha256(words.encode()).hexdigest())
        except CommandInterrupted:
            raise
        except KeyboardInterrupt:
            raise CommandInterrupted(
                f"interrupted; {book.kept()} steps are kept in {book.path}: the same command goes on from there"
            ) from None
