"""From a file to a `Network`: one module a format, chosen by suffix.

`load` also knows the models shipped with the package by their bare names.
"""

from __future__ import annotations

import difflib
import os
from collections.abc import Sequence
from dataclasses import asdict, fields, replace
from importlib import import_module
from pathlib import Path

from eie.errors import ModelError
from eie.formats.files import file_sha256, regular_file
from eie.importers.options import Unsupported
from eie.importers.roles.asked import Asked
from eie.importers.suspicions import near_zero, prune_below
from eie.model.network import Network

_STATE_DICT = ("mask", *(option.name for option in fields(Asked)))
# Suffix: module with a function ``read``, and which options of `load` it takes.
# Names, not functions: onnx, pydantic and the like are imported only for a file that needs them.
_READERS: dict[str, tuple[str, tuple[str, ...]]] = {
    ".toml": ("toml", ("mask",)),
    ".npz": ("state_dict", _STATE_DICT),
    ".safetensors": ("state_dict", _STATE_DICT),
    ".eie": ("coded", ()),
    ".onnx": ("onnx", ("unsupported", "input_shape")),
    ".pt": ("state_dict", _STATE_DICT),
    ".pth": ("state_dict", _STATE_DICT),
    ".net": ("deep_compression", ("shapes",)),
    ".smtx": ("smtx", ()),
    ".csv": ("topology", ()),
}
# What says the same in a kind of file that does not take an option.
_INSTEAD = {".toml": ': a .toml model names each layer\'s arrays, and order = "in,out" says how they are stored'}
_PACKAGE = Path(__file__).parent.parent


def load(
    path: str | Path,
    *,
    mask: str | Path | None = None,
    shapes: str | Path | None = None,
    unsupported: Unsupported | None = None,
    input_shape: Sequence[int] | None = None,
    layers: str | Sequence[str] | None = None,
    exclude: str | Sequence[str] | None = None,
    transpose: str | Sequence[str] | None = None,
    threshold: float | None = None,
) -> Network:
    """Read a network.

    Parameters
    ----------
    path
        A model file (docs/formats.md lists the kinds), or the name of a shipped model (``"lenet-300-100"``).
    mask
        0/1 arrays named as the weights they prune (``.npz``, ``.safetensors``, ``.pt``), for a state dict or a
        ``.toml`` model.
    shapes
        Layer shapes (``.toml``) of a ``.net`` file that is none of the published ones.
    unsupported
        What to do about operators of an ``.onnx`` file that are not known: ``"refuse"`` the file (default), or
        ``"skip"`` them and keep the weight layers, which then run on recorded activations. Either way all are listed.
    input_shape
        Of one sample, for an ``.onnx`` file that leaves sizes other than the batch's open.
    layers
        Globs of array or layer names in a state dict that are layers, whatever their names say; ``"GLOB=KIND"`` also
        says which kind: linear, conv, depthwise, transposed or bilinear. The others are decided as usual.
    exclude
        Globs of what is no layer, unless ``layers`` names it.
    transpose
        Globs of what is stored (inputs, outputs), or of kernels that are a transposed convolution's.
    threshold
        Smaller weights are pruned, in a file of any kind whose weights are not shared.

    Returns
    -------
    Network
        Its notes say what was assumed or left out.

    Raises
    ------
    ModelError
        If a file is missing, damaged or of a kind that is not known, or an option does not apply to it.
    """
    path = find(path)
    module, takes = _READERS[path.suffix]
    files = {"mask": mask, "shapes": shapes}
    asked: dict[str, object] = {name: Path(file) for name, file in files.items() if file is not None}
    plain = {"unsupported": unsupported, "input_shape": input_shape}
    asked |= {name: value for name, value in plain.items() if value is not None}
    # The command line gives an empty list where an option is not there.
    globs = asdict(Asked.of(layers, exclude, transpose))
    asked |= {name: value for name, value in globs.items() if value}
    # Refused rather than passed over: a mask that is not used would go unnoticed, and every number be another.
    for name in asked:
        if name not in takes:
            kinds = ", ".join(suffix for suffix, (_, taken) in _READERS.items() if name in taken)
            instead = _INSTEAD.get(path.suffix, "") if name in globs else ""
            raise ModelError(f"{path}: {name} does not apply to {path.suffix} files, only to {kinds}{instead}")
    network: Network = import_module(f"eie.importers.{module}").read(path, **asked)
    if threshold is not None:
        network = prune_below(network, threshold)
    else:
        network = replace(network, notes=(*network.notes, *near_zero(network)))
    # Hashed here, once for all readers, unless the reader took the hash of something else.
    return network if network.sha256 else replace(network, sha256=file_sha256(path))


def find(path: str | Path) -> Path:
    """Return the file that `load` would read: ``path``, or that of a shipped model.

    Raises
    ------
    ModelError
        If there is none, or its kind is not known.
    """
    path = Path(path)
    # A file of that name comes first; os.path, since Path's own test raises on names that no system allows.
    if not os.path.exists(path) and len(path.parts) == 1 and path.suffix not in _READERS:
        path = _shipped(path.name)
    # Before the suffix: a folder called net.onnx is told as what it is.
    if os.path.isdir(path):
        raise ModelError(f"{path}: a folder, not a model file")
    if path.suffix not in _READERS:
        kinds = ", ".join(_READERS)
        raise ModelError(f"{path}: unknown suffix {path.suffix!r}: must be one of {kinds}")
    regular_file(path, ModelError)
    return path


def takes(path: str | Path, option: str) -> bool:
    """Say whether `load` takes an option for a file of this kind.

    Raises
    ------
    ModelError
        As `find`.
    """
    return option in _READERS[find(path).suffix][1]


def shipped_models() -> dict[str, Path]:
    """Name and file of every model that comes with the package."""
    # Inside an installed package, beside it in a source tree.
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
