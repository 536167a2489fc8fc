"""Which way round matrices are stored: decided once a file, with all evidence.

Comes in: the file's matrices, the sizes of their outputs where biases or normalisations show them. Goes out: the names
of those stored (inputs, outputs). Read by `decide`.

A framework stores all its matrices alike, and a square one does not betray it: one layer that shows it decides for the
others of its family. A bias is believed before a name, a name before the chain of shapes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

from eie.importers.roles.chain import numbering
from eie.importers.roles.families import FAMILIES
from eie.importers.roles.names import listed, running, segments

# GPT-2's layers with more outputs than inputs, in whichever way they are written.
_WIDENING = ("c_attn", "c_fc")


@dataclass(frozen=True, kw_only=True)
class Matrix:
    """A two-dimensional weight; ``outputs`` is 0 where nothing shows how many there are."""

    name: str
    family: str
    shape: tuple[int, int]
    outputs: int

    @property
    def vote(self) -> bool | None:
        """Whether it is stored (inputs, outputs); None where its own shape does not say."""
        rows, columns = self.shape
        if rows == columns or self.outputs not in self.shape:
            return None
        return self.outputs == columns


def stored_inputs_first(matrices: Sequence[Matrix]) -> tuple[set[str], list[str]]:
    """Return the names of the matrices stored (inputs, outputs), and notes on what contradicts itself."""
    flipped: set[str] = set()
    notes: list[str] = []
    families: dict[str, list[Matrix]] = {}
    for matrix in matrices:
        # What torch writes and what has no convention may stand in one file, written by one hand.
        families.setdefault("torch" if matrix.family == "bare" else matrix.family, []).append(matrix)
    for family, members in sorted(families.items()):
        votes = {matrix.name: matrix.vote for matrix in members if matrix.vote is not None}
        default = set(votes.values()) == {True} if votes else _unsaid(family, members)
        silent = [matrix.name for matrix in members if matrix.name not in votes]
        if set(votes.values()) == {True, False}:
            default = FAMILIES[family].inputs_first
            if silent:
                notes.append(f"biases contradict each other on how matrices are stored (--transpose): {listed(silent)}")
        flipped |= {matrix.name for matrix in members if votes.get(matrix.name, default)}
    return flipped, notes


def _unsaid(family: str, members: Sequence[Matrix]) -> bool:
    """Decide for a family none of whose biases shows it."""
    if family == "gpt2":
        shapes = [matrix.shape for matrix in members if segments(matrix.name)[-1] in _WIDENING]
        return bool(shapes) and all(rows < columns for rows, columns in shapes)
    if FAMILIES[family].inputs_first:
        return True
    # Shapes say something only where names say that one feeds the next: parallel matrices chain by accident.
    if any(matrix.family != "bare" for matrix in members) and numbering([matrix.name for matrix in members]) is None:
        return False
    return _chains_only_flipped({matrix.name: matrix.shape for matrix in members})


def _chains_only_flipped(shapes: Mapping[str, tuple[int, int]]) -> bool:
    ordered = [shapes[name] for name in sorted(shapes, key=running)]
    # Two readings, and the usual one wins where both chain.
    chains = all(a[0] == b[1] for a, b in pairwise(ordered))
    return len(ordered) > 1 and not chains and all(a[1] == b[0] for a, b in pairwise(ordered))
