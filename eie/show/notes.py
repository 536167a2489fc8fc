"""Notes grouped by kind: what holds for many layers is one sentence, and no sentence stands twice.

Comes in: notes, those about a layer as ``name: sentence``, and the layers' names. Goes out: `NoteGroup` records and the
lines that tables and pages show. Files keep every note as it was said. Read by every answer that has notes of layers.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise

from eie.show.brief import Brief

# Of a longer list the first two and the last are told: layers are named in order, so its ends say where it lies.
MOST_NAMES = 4
_NUMBER = re.compile(r"\d[\d,]*(?:\.\d+)?(?:e[+-]?\d+)?(?!\w)|\d+")
# Words with commas between them; a name that holds a blank is no such word, and its list stays whole.
_LIST = re.compile(r"[^\s,;]+(?:, [^\s,;]+)+")


@dataclass(frozen=True, kw_only=True, repr=False)
class NoteGroup(Brief):
    """One kind of note.

    Attributes
    ----------
    sentence
        What is said; numbers that differ from layer to layer as ``least to largest``.
    names
        The layers (or machines) that it holds for, in order; empty for a note on the whole.
    what
        What the names are of, in the plural.
    """

    sentence: str
    names: tuple[str, ...] = ()
    what: str = "layers"

    @property
    def line(self) -> str:
        """The group in one line: how many layers, which, and what."""
        if not self.names:
            return self.sentence
        many = f"{len(self.names)} {self.what} ({listed(self.names)})" if len(self.names) > 1 else self.names[0]
        return f"{many}: {self.sentence}"


def listed(names: Sequence[str]) -> str:
    """Return names with commas between them; of many the ends only."""
    if len(names) <= MOST_NAMES:
        return ", ".join(names)
    return f"{names[0]}, {names[1]}, ... {names[-1]}"


def grouped(notes: Iterable[str], names: Iterable[str] = (), *, what: str = "layers") -> tuple[NoteGroup, ...]:
    """Group notes that say the same of several layers, each group where its first note stood.

    Parameters
    ----------
    notes
        In any order; a note about a layer begins with ``name: ``.
    names
        The layers', or of whatever else ``what`` says.
    """
    known = frozenset(names)
    kinds: dict[str, dict[str, list[str]]] = {}
    for note in notes:
        name, sentence = _split(note, known)
        # Alike but for numbers is one kind; a note on the whole is alike only where its numbers are, too.
        key = _NUMBER.sub("#", sentence) if name else f"\0{sentence}"
        said = kinds.setdefault(key, {}).setdefault(name, [])
        if sentence not in said:
            said.append(sentence)
    groups = []
    for said_of in kinds.values():
        sentences = [sentence for said in said_of.values() for sentence in said]
        about = tuple(filter(None, said_of))
        # Lists of layers within a note are cut too: a sentence that names fifty is not read.
        groups.append(NoteGroup(sentence=_shortened(_ranged(sentences), known), names=about, what=what))
    return tuple(groups)


def note_lines(notes: Iterable[str], names: Iterable[str] = (), *, what: str = "layers") -> tuple[str, ...]:
    """Return grouped notes as sentences, each with its full stop: what a section shows as its notes."""
    lines = (group.line for group in grouped(notes, names, what=what))
    return tuple(line if line.endswith(".") else f"{line}." for line in lines)


def _split(note: str, names: frozenset[str]) -> tuple[str, str]:
    """Part a note from the layer it begins with; names may hold colons, so the longest that fits is taken."""
    at = note.rfind(": ")
    while at > 0:
        if note[:at] in names:
            return note[:at], note[at + 2 :]
        at = note.rfind(": ", 0, at)
    return "", note


def _ranged(sentences: Sequence[str]) -> str:
    """Write sentences that differ in numbers as one, numbers that differ as ranges."""
    first = sentences[0]
    if len(set(sentences)) == 1:
        return first
    numbers = [_NUMBER.findall(sentence) for sentence in sentences]
    columns = [sorted(set(column), key=_value) for column in zip(*numbers, strict=True)]
    ends = [f"{column[0]} to {column[-1]}" if len(column) > 1 else column[0] for column in columns]
    places = list(_NUMBER.finditer(first))
    for place, (low, high) in enumerate(pairwise(places)):
        # A range already: of several the least and the largest end, and not a range of ranges.
        if first[low.end() : high.start()] == " to ":
            ends[place], ends[place + 1] = columns[place][0], columns[place + 1][-1]
    written = iter(ends)
    return _NUMBER.sub(lambda _: next(written), first)


def _value(text: str) -> float:
    return float(text.replace(",", ""))


def _shortened(note: str, names: frozenset[str]) -> str:
    """Cut lists of layers' names within a note: their ends, and how many they are."""

    def cut(match: re.Match[str]) -> str:
        told = match[0].split(", ")
        if len(told) <= MOST_NAMES or not names.issuperset(told):
            return match[0]
        return f"{listed(told)} ({len(told)} layers)"

    return _LIST.sub(cut, note)
