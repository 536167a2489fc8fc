"""``.safetensors`` state dicts; names as in `tensors`."""

from __future__ import annotations

from pathlib import Path

from eie.errors import ModelError
from eie.importers.tensors import network_from
from eie.network import Network
from eie.storage import read_safetensors


def read(path: Path) -> Network:
    """Read a network from ``path``."""
    arrays, header = read_safetensors(path, ModelError)
    if "eie" in header:
        raise ModelError(f"{path}: a compiled program, not a model: use eie simulate or eie inspect")
    return network_from(arrays, path.stem, path.name)
