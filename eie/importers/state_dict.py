"""State dicts in any container: ``.npz``, ``.safetensors``, ``.pt`` and ``.pth``.

Comes in: a file, perhaps with a file of masks. Goes out: plain named arrays (every pruning layout resolved) or the
`Network` they make. Read by `load` and by ``.toml`` models, which name arrays in such a file.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from eie.errors import ModelError
from eie.formats import torch_file
from eie.formats.files import Arrays
from eie.formats.npz import read_npz
from eie.formats.safetensors import read_safetensors
from eie.importers import coded
from eie.importers.layouts import plain_weights
from eie.importers.tensors import network_from
from eie.model.network import Network


def _npz_arrays(path: Path) -> tuple[Arrays, list[str]]:
    arrays = read_npz(path, ModelError)
    if "header" in arrays and "bits/0" in arrays:
        raise ModelError(f"{path}: a trace of activations, not a model: pass it as --trace")
    return arrays, []


def _safetensors_arrays(path: Path) -> tuple[Arrays, list[str]]:
    arrays, header = read_safetensors(path, ModelError)
    if "eie" in header:
        raise ModelError(f"{path}: a compiled program, not a model: use eie simulate or eie inspect")
    if coded.KEY in header:
        raise ModelError(f"{path}: a coded network: its name must end in .eie")
    return arrays, []


CONTAINERS: dict[str, Callable[[Path], tuple[Arrays, list[str]]]] = {
    ".npz": _npz_arrays,
    ".safetensors": _safetensors_arrays,
    ".pt": torch_file.read_arrays,
    ".pth": torch_file.read_arrays,
}


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
    return CONTAINERS[path.suffix](path)
