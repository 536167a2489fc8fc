"""``.safetensors`` files as named arrays, for `state_dict`."""

from __future__ import annotations

from pathlib import Path

from eie.errors import ModelError
from eie.storage import Arrays, read_safetensors


def read_arrays(path: Path) -> tuple[Arrays, list[str]]:
    """Read every tensor of ``path``. No notes."""
    arrays, header = read_safetensors(path, ModelError)
    if "eie" in header:
        raise ModelError(f"{path}: a compiled program, not a model: use eie simulate or eie inspect")
    return arrays, []
