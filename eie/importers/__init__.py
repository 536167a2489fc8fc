"""From a file to a `Network`: one module a format, chosen by suffix.

`load` also knows the models shipped with the package by their bare names.
"""

from __future__ import annotations

import difflib
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import cast

from eie.errors import ModelError
from eie.network import Network

_READERS = {".toml": "toml", ".npz": "npz", ".safetensors": "safetensors", ".csv": "topology"}
_PACKAGE = Path(__file__).parent.parent


def load(path: str | Path) -> Network:
    """Read a network.

    Parameters
    ----------
    path
        A ``.toml``, ``.npz`` or ``.safetensors`` file, a SCALE-Sim topology (``.csv``), or the name of a shipped model
        (``"lenet-300-100"``).

    Raises
    ------
    ModelError
        If the file is missing, damaged or of a kind that is not known.
    """
    path = Path(path)
    if not path.exists() and len(path.parts) == 1 and path.suffix not in _READERS:
        path = _shipped(path.name)
    if path.is_dir():
        raise ModelError(f"{path}: a folder, not a model file")
    if path.suffix not in _READERS:
        kinds = ", ".join(_READERS)
        raise ModelError(f"{path}: unknown suffix {path.suffix!r}: must be one of {kinds}")
    reader = import_module(f"eie.importers.{_READERS[path.suffix]}")
    return cast(Callable[[Path], Network], reader.read)(path)


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
