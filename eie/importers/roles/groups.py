"""Arrays joined to modules: weight, bias and statistics of one owner.

Comes in: arrays that no name has ruled out. Goes out: a `Group` for each owner, and what belongs to none. Read by
`decide`.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, field

from eie.importers.roles.families import PARAMETERS, place
from eie.importers.roles.names import is_layers, natural, segments
from eie.importers.roles.records import Arrays, Group

# Parts that only a batch normalisation has.
STATISTICS = ("running_mean", "running_var", "num_batches_tracked")
_KERAS_NORM = re.compile(r"gamma|moving_(mean|var)|batch_normalization")
_UNNAMED = re.compile(r"arr_[0-9]+")


@dataclass(frozen=True, eq=False)
class Joined:
    """Groups by owner (empty for an array without one), the owners of normalisations, and arrays of no owner."""

    groups: dict[str, Group] = field(default_factory=dict)
    norms: set[str] = field(default_factory=set)
    loose: list[str] = field(default_factory=list)


def join(arrays: Arrays, names: Iterable[str]) -> Joined:
    """Group arrays by owner, whatever order they come in."""
    joined = Joined()
    parts: dict[str, dict[str, str]] = {}
    families: dict[str, str] = {}
    known = frozenset(arrays)
    for key in sorted(names, key=natural):
        spot = place(key, arrays[key].ndim, known)
        # A second array for the same part, as fc.weight beside fc/kernel, is nobody's.
        if spot is None or spot.part in parts.get(spot.owner, {}):
            joined.loose.append(key)
            continue
        parts.setdefault(spot.owner, {})[spot.part] = key
        if spot.is_norms:
            joined.norms.add(spot.owner)
        if spot.part in ("weight", "codes") and arrays[key].ndim > 1:
            families[spot.owner] = spot.family
        elif spot.is_norms and _KERAS_NORM.search(key):
            # With a small constant of its own.
            families.setdefault(spot.owner, "keras")
    for owner, members in parts.items():
        joined.groups[owner] = Group(name=owner, family=families.get(owner, "torch"), parts=members)
    return joined


def bare_layers(arrays: Arrays, loose: Iterable[str], *, alone: bool) -> list[Group]:
    """Return matrices that are layers without being called weights.

    Parameters
    ----------
    alone
        Whether the file has no layer with a proper name: then every matrix of floats is one, as numpy users write them.
    """
    matrices = [key for key in loose if arrays[key].dtype.kind == "f" and arrays[key].ndim == 2]
    if not alone:
        return [
            Group(name=key, family="parameter" if segments(key)[-1] in PARAMETERS else "bare", parts={"weight": key})
            for key in matrices
            if is_layers(segments(key)[-1])
        ]
    if _are_numbered(loose):
        return _in_turn(arrays, sorted(loose, key=natural))
    return [Group(name=key, family="bare", parts={"weight": key}) for key in matrices]


def _are_numbered(names: Iterable[str]) -> bool:
    return all(_UNNAMED.fullmatch(name) for name in names)


def _in_turn(arrays: Arrays, ordered: list[str]) -> list[Group]:
    """Pair ``arr_0, arr_1, ...``, as ``np.savez(file, *model.get_weights())`` writes: a weight, then its bias."""
    made = []
    for i, key in enumerate(ordered):
        weight = arrays[key]
        if weight.dtype.kind != "f" or weight.ndim not in (2, 4):
            continue
        parts = {"weight": key}
        after = ordered[i + 1] if i + 1 < len(ordered) else None
        if after is not None and arrays[after].ndim == 1 and len(arrays[after]) in (weight.shape[0], weight.shape[-1]):
            parts["bias"] = after
        made.append(Group(name=key, family="bare", parts=parts))
    return made
