"""Figures that texts on pruning give, as data: ``data/pruning_notes.toml``.

Comes in: the data file. Goes out: frozen records. Read by `claims` and `example`.
"""

from __future__ import annotations

import tomllib
from dataclasses import dataclass
from functools import cache
from importlib.resources import files


@dataclass(frozen=True)
class Reported:
    """A speedup of 2:4 that somebody reports."""

    what: str
    speedup: float
    source: str


@dataclass(frozen=True)
class Removal:
    """Software that took 2:4 out again."""

    what: str
    source: str


@dataclass(frozen=True, kw_only=True)
class Figures:
    """What the granularities text says of one variant of ResNet-50; None where it says nothing."""

    variant: str
    parameters: float
    flops: float
    top1: float
    gpu_speedup: float | None = None


@dataclass(frozen=True, kw_only=True)
class PruningNotes:
    """The texts' titles and figures."""

    granularities: str
    lecture: str
    two_of_four: tuple[Reported, ...]
    removals: tuple[Removal, ...]
    example: tuple[Figures, ...]


@cache
def pruning_notes() -> PruningNotes:
    """Read the data file."""
    # Through importlib: an installed package may be no folder. Unknown keys fail in the records below.
    value = tomllib.loads(
        (files("eie.studies.granularity") / "data" / "pruning_notes.toml").read_text(encoding="utf-8")
    )
    return PruningNotes(
        granularities=value["granularities"],
        lecture=value["lecture"],
        two_of_four=tuple(Reported(**entry) for entry in value["two_of_four"]),
        removals=tuple(Removal(**entry) for entry in value["removal"]),
        example=tuple(Figures(**entry) for entry in value["example"]),
    )
