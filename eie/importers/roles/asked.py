"""What a user says about arrays: these are layers, these are not, these are stored the other way round.

Comes in: globs of array or layer names, from the command line or `eie.load`. Goes out: answers by name. Read by
`decide`.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, fields
from fnmatch import fnmatchcase

from eie.errors import ModelError
from eie.importers.roles.names import listed
from eie.importers.roles.prefixes import without_wrappers

KINDS = ("linear", "conv", "depthwise", "transposed", "bilinear")


@dataclass(frozen=True)
class Asked:
    """Globs, as given; ``layers`` may end in ``=KIND``, one of `KINDS`."""

    layers: tuple[str, ...] = ()
    exclude: tuple[str, ...] = ()
    transpose: tuple[str, ...] = ()

    @classmethod
    def of(
        cls,
        layers: str | Sequence[str] | None = None,
        exclude: str | Sequence[str] | None = None,
        transpose: str | Sequence[str] | None = None,
    ) -> Asked:
        """Take one glob or several of each.

        Raises
        ------
        ModelError
            For a kind of layer that is not known.
        """
        asked = cls(_tuple(layers), _tuple(exclude), _tuple(transpose))
        for glob in asked.layers:
            _, sign, kind = glob.rpartition("=")
            if sign and kind not in KINDS:
                raise ModelError(f"layers={glob!r}: {kind!r} is no kind of layer: must be {', '.join(KINDS)}")
        return asked

    def check(self, names: Iterable[str]) -> None:
        """Refuse globs that match no array and no layer.

        Raises
        ------
        ModelError
            With the names that come nearest.
        """
        known = sorted(set(names))
        for option in fields(self):
            for glob in getattr(self, option.name):
                pattern = _pattern(glob)
                if any(_matches(pattern, (name,)) for name in known):
                    continue
                near = difflib.get_close_matches(pattern, known, 5, 0.4)
                hint = f"near it: {', '.join(near)}" if near else f"the file has {listed(known)}"
                raise ModelError(f"{option.name}={glob!r}: matches no array and no layer; {hint}")

    def is_layer(self, *names: str) -> bool:
        """Say whether an array, known by several names, is to be a layer."""
        return any(_matches(_pattern(glob), names) for glob in self.layers)

    def is_excluded(self, *names: str) -> bool:
        """Say whether it is to be left out; what ``layers`` names is not."""
        return not self.is_layer(*names) and any(_matches(glob, names) for glob in self.exclude)

    def is_transposed(self, *names: str) -> bool:
        """Say whether it is stored (inputs, outputs), or as a transposed convolution's kernel."""
        return any(_matches(glob, names) for glob in self.transpose)

    def kind(self, *names: str) -> str | None:
        """Return the kind that was stated for it."""
        for glob in self.layers:
            pattern = _pattern(glob)
            if pattern != glob and _matches(pattern, names):
                return glob.rpartition("=")[2]
        return None


def _tuple(globs: str | Sequence[str] | None) -> tuple[str, ...]:
    # A bare text is one glob, not one for each of its letters.
    return (globs,) if isinstance(globs, str) else tuple(globs or ())


def _pattern(glob: str) -> str:
    head, sign, kind = glob.rpartition("=")
    return head if sign and kind in KINDS else glob


def _matches(glob: str, names: Iterable[str]) -> bool:
    # Also as the file has it, wrapper and all. An equal name always matches: names may hold brackets.
    return any(name == form or fnmatchcase(name, form) for form in without_wrappers(glob) for name in names)
