"""What was left out, said in a note a reason.

Comes in: decisions. Goes out: notes. Read by `decide`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from eie.importers.roles.names import listed
from eie.importers.roles.records import IN_DOUBT, REASONS, Arrays, Decision


def left_out(arrays: Arrays, decisions: Mapping[str, Decision]) -> list[str]:
    """Return one note a reason, and one on how to have as a layer what may be one."""
    by_role: dict[str, list[str]] = {}
    for key, decision in decisions.items():
        if decision.role in REASONS:
            by_role.setdefault(decision.role, []).append(key)
    notes = []
    for role in sorted(by_role):
        keys = by_role[role]
        size = sum(arrays[key].size for key in keys)
        items = _modules(arrays, decisions, keys) if role == "norm" else [f"{key} {arrays[key].shape}" for key in keys]
        notes.append(f"left out, {REASONS[role]} ({size:,} numbers): {listed(items)}")
    if any(arrays[key].ndim > 1 for role in IN_DOUBT for key in by_role.get(role, ())):
        notes.append("what was left out and is a layer after all is read with --layers GLOB")
    return notes


def _modules(arrays: Arrays, decisions: Mapping[str, Decision], keys: Iterable[str]) -> list[str]:
    """List normalisations a module, not an array: they are many and small."""
    parts: dict[str, list[str]] = {}
    for key in keys:
        parts.setdefault(decisions[key].layer, []).append(f"{decisions[key].part} {arrays[key].shape}")
    return [f"{name} ({', '.join(sorted(texts, reverse=True))})" for name, texts in parts.items()]
