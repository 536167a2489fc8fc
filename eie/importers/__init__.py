"""From a file to a `Network`: one module a format, chosen by suffix.

`load` also knows the models shipped with the package by their bare names.
"""

from __future__ import annotations

import difflib
import hashlib
from collections.abc import Sequence
from dataclasses import replace
from importlib import import_module
from pathlib import Path

from eie.errors import ModelError
from eie.importers.options import Unsupported
from eie.network import Network

_READERS = {".toml": "toml", ".npz": "npz", ".safetensors": "safetensors", ".onnx": "onnx"}
_PACKAGE = Path(__file__).parent.parent


def load(path: str | Path, *, unsupported: Unsupported = "refuse", input_shape: Sequence[int] | None = None) -> Network:
    """Read a network.

    Parameters
    ----------
    path
        A ``.toml``, ``.npz``, ``.safetensors`` or ``.onnx`` file, or the name of a shipped model
        (``"lenet-300-100"``).
    unsupported
        What to do about operators of an ``.onnx`` file that are not known: ``"refuse"`` the file, or ``"skip"`` them
        and keep the weight layers, which then run on recorded activations. Either way all of them are listed.
    input_shape
        Of one sample, for an ``.onnx`` file that leaves sizes other than the batch's open.

    Raises
    ------
    ModelError
        If the file is missing, damaged or of a kind that is not known.
    """
    path = find(path)
    reader = import_module(f"eie.importers.{_READERS[path.suffix]}")
    options = (unsupported, input_shape) if path.suffix == ".onnx" else ()
    network: Network = reader.read(path, *options)
    return replace(network, sha256=file_sha256(path))


def find(path: str | Path) -> Path:
    """Return the file that `load` would read: ``path``, or that of a shipped model.

    Raises
    ------
    ModelError
        If there is none, or its kind is not known.
    """
    path = Path(path)
    if not path.exists() and len(path.parts) == 1 and path.suffix not in _READERS:
        path = _shipped(path.name)
    if path.is_dir():
        raise ModelError(f"{path}: a folder, not a model file")
    if path.suffix not in _READERS:
        kinds = ", ".join(_READERS)
        raise ModelError(f"{path}: unknown suffix {path.suffix!r}: must be one of {kinds}")
    return path


def file_sha256(path: Path) -> str | None:
    """SHA-256 of a file, None if it cannot be read: what ties a trace to the model it was recorded from."""
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError:
        return None


def shipped_models() -> dict[str, Path]:
    """Name and file of every model that comes with the package."""
    for folder in (_PACKAGE / "shipped" / "models", _PACKAGE.parent / "models"):
        if folder.is_dir():
            return {file.stem: file for file in sorted(folder.glob("*.toml"))}
    return {}


def _shipped(name: str) -> Path:
    models = shipped_models()
    if name in models:
        return models[name]
    near = difflib.get_close_matches(name, models, 1, 0.5)
    hint = f"; did you mean {near[0]}?" if near else f"; shipped models: {', '.join(models) or 'none'}"
    raise ModelError(f"{name}: no such file or shipped model{hint}")
