"""Documented machines as data: ``data/machines.toml``, each number with its source.

Comes in: the data file. Goes out: frozen `Preset`. Read by `roofline` and `tensor_core`.
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib.resources import files

from eie.errors import EieError
from eie.formats.sourced import Row


@dataclass(frozen=True, kw_only=True)
class Preset:
    """One machine.

    Attributes
    ----------
    kind
        ``"roofline"`` or ``"tensor-core"``.
    published
        Prefix of its columns in Table IV, or None.
    """

    key: str
    name: str
    kind: str
    rows: Mapping[str, Row]
    published: str | None = None

    def __getitem__(self, name: str) -> float:
        return self.rows[name].value

    @property
    def source(self) -> str:
        """The documents its numbers come from."""
        return "; ".join(dict.fromkeys(row.source for row in self.rows.values()))


@cache
def presets() -> Mapping[str, Preset]:
    """Every preset by key."""
    text = (files("eie.machines") / "data" / "machines.toml").read_text(encoding="utf-8")
    return {
        entry["key"]: Preset(
            key=entry["key"],
            name=entry["name"],
            kind=entry["kind"],
            rows={row["name"]: Row(**row) for row in entry["row"]},
            published=entry.get("published"),
        )
        for entry in tomllib.loads(text)["machine"]
    }


def preset(key: str, kind: str) -> Preset:
    """Look a machine up.

    Raises
    ------
    EieError
        If there is none of this name and kind.
    """
    machine = presets().get(key.lower())
    if machine is None or machine.kind != kind:
        known = ", ".join(name for name, candidate in presets().items() if candidate.kind == kind)
        raise EieError(f"{kind} machine {key!r}: must be one of {known}")
    return machine
