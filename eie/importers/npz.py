"""``.npz`` archives as named arrays, for `state_dict`."""

from __future__ import annotations

from pathlib import Path

from eie.errors import ModelError
from eie.storage import Arrays, read_npz


def read_arrays(path: Path) -> tuple[Arrays, list[str]]:
    """Read every array of ``path``; nothing is unpickled. No notes."""
    arrays = read_npz(path, ModelError)
    if "header" in arrays and "bits/0" in arrays:
        raise ModelError(f"{path}: a trace of activations, not a model: pass it as --trace")
    return arrays, []
