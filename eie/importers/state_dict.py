"""State dicts in any container: ``.npz``, ``.safetensors``, ``.pt`` and ``.pth``.

Comes in: a file, perhaps with a file of masks. Goes out: plain named arrays (every pruning layout resolved) or the
`Network` they make. Read by `load` and by ``.toml`` models, which name arrays in such a file.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from importlib import import_module
from pathlib import Path
from typing import cast

from eie.errors import ModelError
from eie.importers.layouts import plain_weights
from eie.importers.tensors import network_from
from eie.network import Network
from eie.storage import Arrays

CONTAINERS = {".npz": "npz", ".safetensors": "safetensors", ".pt": "torch", ".pth": "torch"}


def read(path: Path, mask: Path | None = None) -> Network:
    """Read a network from ``path``; `tensors` says which names are understood."""
    arrays, notes = read_weights(path, mask)
    network = network_from(arrays, path.stem, path.name)
    return replace(network, notes=(*notes, *network.notes))


def read_weights(path: Path, mask: Path | None = None) -> tuple[Arrays, list[str]]:
    """Read named arrays, their pruned weights plain zeros, and notes on how they came about.

    Parameters
    ----------
    mask
        A file of 0/1 arrays named as the weights they prune, in any of the containers.

    Raises
    ------
    ModelError
        If a file is damaged or not a state dict, a pruning layout is unfinished, or a mask does not fit.
    """
    arrays, notes = _read(path)
    masks = {}
    if mask is not None:
        masks = {name.removesuffix("_mask"): array for name, array in _read(mask)[0].items()}
    plain, more = plain_weights(arrays, path.name, masks)
    return plain, notes + more


def _read(path: Path) -> tuple[Arrays, list[str]]:
    if path.suffix not in CONTAINERS:
        raise ModelError(f"{path}: must be one of {', '.join(CONTAINERS)}")
    reader = import_module(f"eie.importers.{CONTAINERS[path.suffix]}")
    return cast(Callable[[Path], tuple[Arrays, list[str]]], reader.read_arrays)(path)
