"""Workload files of other simulators that are not read: named as what they are, with the way round.

Comes in: a path. Goes out: what to tell its owner. Called by `load`, before it complains of a suffix.
"""

from __future__ import annotations

import re
from pathlib import Path

SUFFIXES = (".yaml", ".yml")
# A word of each format's own, at the beginning of a line or of a list's entry.
_KINDS = {
    "a ZigZag workload": re.compile(r"^[\s-]*(operator_type|loop_dims|loop_sizes)\s*:", re.MULTILINE),
    "a Timeloop problem": re.compile(r"^\s*problem\s*:", re.MULTILINE),
}
# Both formats show themselves in their first lines.
_LOOKED_AT = 1 << 16


def refusal(path: Path) -> str:
    """Say what a YAML file is, and how its layers can be given instead."""
    try:
        with path.open("rb") as file:
            text = file.read(_LOOKED_AT).decode("utf-8", errors="replace")
    except OSError as error:
        return f"{path}: cannot be read: {error.strerror or error}"
    what = next((kind for kind, pattern in _KINDS.items() if pattern.search(text)), "a YAML file")
    return (
        f"{path}: {what}, which is not read: write its layers as lines of a topology (.csv) or as [[layer]] of a .toml "
        "model (docs/formats.md says which loop is which column)"
    )
