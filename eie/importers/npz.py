"""``.npz`` state dicts; names as in `tensors`."""

from __future__ import annotations

from pathlib import Path

from eie.errors import ModelError
from eie.importers.tensors import network_from
from eie.network import Network
from eie.storage import read_npz


def read(path: Path) -> Network:
    """Read a network from ``path``; nothing is unpickled."""
    arrays = read_npz(path, ModelError)
    if "header" in arrays and "bits/0" in arrays:
        raise ModelError(f"{path}: a trace of activations, not a model: pass it as --trace")
    return network_from(arrays, path.stem, path.name)
