"""State dicts in any container: ``.npz``, ``.safetensors``, ``.pt`` and ``.pth``.

Comes in: a file, perhaps with a file of masks. Goes out: plain named arrays (every pruning layout resolved) or the
`Network` they make. Read by `load` and by ``.toml`` models, which name arrays in such a file.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

from eie.errors import ModelError
from eie.formats import torch_file
from eie.formats.files import Arrays
from eie.formats.npz import read_npz
from eie.formats.safetensors import read_safetensors
from eie.importers import coded
from eie.importers.layouts import plain_weights
from eie.importers.roles.asked import Asked
from eie.importers.roles.prefixes import strip
from eie.importers.suspicions import lone_shard
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


def read(
    path: Path,
    mask: Path | None = None,
    *,
    layers: Sequence[str] = (),
    exclude: Sequence[str] = (),
    transpose: Sequence[str] = (),
) -> Network:
    """Read a network from ``path``; `eie.importers.roles` decides what each array is, the globs go before it."""
    asked = Asked.of(layers, exclude, transpose)
    arrays, notes = read_weights(path, mask)
    network = network_from(arrays, path.stem, path.name, asked)
    return replace(network, notes=(*notes, *lone_shard(path), *network.notes))


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
        masks = {name.removesuffix("_mask"): array for name, array in strip(_read(mask)[0])[0].items()}
    # Before masks are matched: one of the two files may come from a compiled or wrapped model, the other not.
    arrays, wrapped = strip(arrays)
    plain, more = plain_weights(arrays, path.name, masks)
    return plain, notes + wrapped + more


def _read(path: Path) -> tuple[Arrays, list[str]]:
    if path.suffix not in CONTAINERS:
        raise ModelError(f"{path}: must be one of {', '.join(CONTAINERS)}")
    return CONTAINERS[path.suffix](path)
