"""Points as a journal holds them: values without their names, which stand in few entries only.

Comes in: entries with records. Goes out: the same with lists of values, and back. Read by the session.

The names of the columns are written with every `REPEAT`-th entry of one set of columns; the others point to the set by
its hash. Which entry comes first does not matter, nor from which journal of several: a hash is its names.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping

from eie.sweeps.journal import Entry

# A damaged line takes the names of so many points with it at the most; these are then evaluated again.
REPEAT = 256
# Digits of a hash: enough to tell sets of columns apart, of which a journal has a few.
DIGITS = 12

Names = Mapping[str, list[str]]


class Columns:
    """The sets of columns that are known, by hash."""

    def __init__(self) -> None:
        self._known: dict[str, Names] = {}
        self._written: dict[str, int] = {}
        self._hashes: dict[tuple[tuple[str, ...], tuple[str, ...]], str] = {}

    def learn(self, entry: Entry) -> None:
        """Remember the names that an entry states."""
        names = entry.get("names")
        # Its own hash, not the one it states: whoever edits names makes another set of them.
        if names is not None:
            self._known.setdefault(_hash(names), names)

    def packed(self, entry: Entry) -> Entry:
        """Return an entry without the names of its columns, or with them, where they are due."""
        if "total" not in entry:
            return entry
        keys = tuple(entry["total"]), tuple(entry["layers"][0])
        # Hashed once: a sweep has a few sets of columns, and a million points.
        if keys not in self._hashes:
            self._hashes[keys] = _hash({"total": list(keys[0]), "layer": list(keys[1])})
        own, names = self._hashes[keys], {"total": list(keys[0]), "layer": list(keys[1])}
        self._known.setdefault(own, names)
        count = self._written[own] = self._written.get(own, -1) + 1
        return {
            **{key: value for key, value in entry.items() if key not in ("total", "layers")},
            **({"names": names} if count % REPEAT == 0 else {}),
            "columns": own,
            "values": [list(entry["total"].values()), *(list(layer.values()) for layer in entry["layers"])],
        }

    def unpacked(self, entry: Entry) -> Entry | None:
        """Undo `packed`; None if nobody knows the names, or they do not fit."""
        if "values" not in entry:
            return entry
        names = self._known.get(entry["columns"])
        total, *layers = entry["values"]
        if names is None or len(names["total"]) != len(total) or any(len(names["layer"]) != len(row) for row in layers):
            return None
        return {
            **{key: value for key, value in entry.items() if key not in ("columns", "values", "names")},
            "total": dict(zip(names["total"], total, strict=True)),
            "layers": [dict(zip(names["layer"], row, strict=True)) for row in layers],
        }


def _hash(names: Names) -> str:
    return hashlib.sha256(json.dumps(names, sort_keys=True).encode()).hexdigest()[:DIGITS]
