"""State dicts by the suffix of their container.

Comes in: a path. Goes out: `Contents`, named arrays as the file holds them. Read by `state_dict` and `hugging_face`.
"""

from __future__ import annotations

import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np

from eie.errors import ModelError
from eie.formats import torch_file
from eie.formats.contents import Contents
from eie.formats.files import regular_file
from eie.formats.npz import read_npy, read_npz
from eie.formats.safetensors import safetensors_contents
from eie.formats.sparse_matrix import is_scipy, read_matrix_market, scipy_matrix
from eie.importers import coded, keras
from eie.importers.synthetic import LEVELS, weight_levels

# Of the values that a pattern without values is given.
SEED = 0


def read_container(path: Path, key: str | None = None) -> Contents:
    """Read one file of named arrays.

    Parameters
    ----------
    key
        Of the state dict to take, where a PyTorch file holds several.

    Raises
    ------
    ModelError
        If its suffix is none of `CONTAINERS`, or it is damaged.
    """
    suffix = path.suffix.lower()
    # checkpoint.pth.tar, as many training scripts call what torch.save() wrote.
    if suffix == ".tar" and len(path.suffixes) > 1 and path.suffixes[-2].lower() in _TORCH:
        suffix = ".pth"
    if suffix not in CONTAINERS:
        raise ModelError(f"{path}: must be one of {', '.join(CONTAINERS)}")
    if key is None:
        return CONTAINERS[suffix](path)
    if suffix not in _TORCH:
        raise ModelError(f"{path}: key does not apply to {suffix} files, only to {', '.join(_TORCH)}")
    return torch_file.read_contents(path, key)


def unpacked_bytes(path: Path) -> int:
    """Return how many bytes a file says it unpacks to, before any of it is read; its own size where it does not say.

    Raises
    ------
    ModelError
        If it is missing or no plain file.
    """
    size = regular_file(path, ModelError)
    try:
        if zipfile.is_zipfile(path):
            with zipfile.ZipFile(path) as archive:
                return sum(member.file_size for member in archive.infolist())
    except (zipfile.BadZipFile, OSError, ValueError, NotImplementedError):
        # Its own reader says what is wrong with it.
        pass
    return size


def _npz(path: Path) -> Contents:
    arrays = read_npz(path, ModelError)
    if "header" in arrays and "bits/0" in arrays:
        raise ModelError(f"{path}: a trace of activations, not a model: pass it as --trace")
    if is_scipy(arrays):
        return Contents(
            arrays={"weight": scipy_matrix(arrays, str(path), ModelError)}, notes=(_taken(path, "SciPy"),), upright=True
        )
    return Contents(arrays=arrays)


def _npy(path: Path) -> Contents:
    return Contents(arrays={"weight": read_npy(path, ModelError)}, notes=(_taken(path, "NumPy"),), upright=True)


def _mtx(path: Path) -> Contents:
    matrix, is_pattern = read_matrix_market(path, ModelError)
    if not is_pattern:
        return Contents(arrays={"weight": matrix}, notes=(_taken(path, "Matrix Market"),), upright=True)
    # As for .smtx: the time depends on the pattern alone, the numbers on values that the file does not have.
    places = matrix != 0
    levels = weight_levels(np.count_nonzero(places) / len(places))
    weights = np.zeros(matrix.shape, np.float32)
    weights[places] = levels[np.random.default_rng(SEED).integers(0, LEVELS, np.count_nonzero(places), np.uint8)]
    note = f"{path.name}: pattern from the file, values drawn at random (seed {SEED})"
    return Contents(arrays={"weight": weights}, notes=(_taken(path, "Matrix Market"), note), upright=True)


def _taken(path: Path, kind: str) -> str:
    return f"{path.name}: one {kind} matrix, taken as (outputs, inputs)"


def _safetensors(path: Path) -> Contents:
    contents = safetensors_contents(path, ModelError)
    if "eie" in contents.texts:
        raise ModelError(f"{path}: a compiled program, not a model: use eie simulate or eie inspect")
    if coded.KEY in contents.texts:
        raise ModelError(f"{path}: a coded network: its name must end in .eie")
    return contents


_TORCH = (".pt", ".pth", ".bin", ".ckpt")
CONTAINERS: dict[str, Callable[[Path], Contents]] = {
    ".npz": _npz,
    ".safetensors": _safetensors,
    **dict.fromkeys(_TORCH, torch_file.read_contents),
    ".npy": _npy,
    ".mtx": _mtx,
    ".h5": keras.read_contents,
    ".hdf5": keras.read_contents,
    ".keras": keras.read_contents,
}
