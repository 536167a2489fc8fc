"""From a file or folder to a `Network`: one module a format, chosen by suffix.

`load` also knows the models shipped with the package by their bare names.
"""

from __future__ import annotations

import difflib
import os
from collections.abc import Mapping, Sequence
from dataclasses import asdict, fields, replace
from importlib import import_module
from pathlib import Path

from numpy.typing import ArrayLike

from eie.errors import ModelError
from eie.formats.arguments import taken
from eie.formats.files import file_sha256, regular_file
from eie.formats.heap import give_back
from eie.importers.options import InputShape, Unsupported
from eie.importers.roles.asked import Asked
from eie.importers.shipped import shipped_models
from eie.importers.suspicions import near_zero, prune_below
from eie.model.network import Network

_GLOBS = tuple(option.name for option in fields(Asked))
# Suffix: module with a function ``read``, and which options of `load` it takes.
# Names, not functions: onnx, pydantic and the like are imported only for a file that needs them.
_STATE_DICT = ("state_dict", ("mask", "merge_lora", *_GLOBS))
_CHECKPOINT = ("state_dict", ("mask", "merge_lora", "key", *_GLOBS))
_MATRIX = ("state_dict", ("mask", *_GLOBS))
_FOLDER, _INDEX = "a folder", ".index.json"
_READERS: dict[str, tuple[str, tuple[str, ...]]] = {
    ".toml": ("toml", ("mask", "density")),
    ".npz": _STATE_DICT,
    ".safetensors": _STATE_DICT,
    ".eie": ("coded", ()),
    ".onnx": ("onnx", ("unsupported", "input_shape", "input_values", "density")),
    ".pt2": ("pt2", ("unsupported", "density")),
    ".pt": _CHECKPOINT,
    ".pth": _CHECKPOINT,
    ".bin": _CHECKPOINT,
    ".ckpt": _CHECKPOINT,
    ".pth.tar": _CHECKPOINT,
    ".pt.tar": _CHECKPOINT,
    _INDEX: _CHECKPOINT,
    _FOLDER: _CHECKPOINT,
    ".keras": _MATRIX,
    ".h5": _MATRIX,
    ".hdf5": _MATRIX,
    ".npy": _MATRIX,
    ".mtx": _MATRIX,
    ".net": ("deep_compression", ("shapes",)),
    ".smtx": ("smtx", ()),
    ".csv": ("topology", ("density",)),
    ".yaml": ("workloads", ("density",)),
    ".yml": ("workloads", ("density",)),
}
# What says the same in a kind of file that does not take an option.
_INSTEAD = {".toml": ': a .toml model names each layer\'s arrays, and order = "in,out" says how they are stored'}


@taken
def load(
    path: str | Path,
    *,
    mask: str | Path | None = None,
    shapes: str | Path | None = None,
    unsupported: Unsupported | None = None,
    input_shape: InputShape | None = None,
    input_values: Mapping[str, ArrayLike] | None = None,
    key: str | None = None,
    merge_lora: str | Path | None = None,
    layers: str | Sequence[str] | None = None,
    exclude: str | Sequence[str] | None = None,
    transpose: str | Sequence[str] | None = None,
    threshold: float | None = None,
    density: float | None = None,
) -> Network:
    """Read a network.

    Parameters
    ----------
    path
        A model file or a folder of one (docs/formats.md lists the kinds), or the name of a shipped model
        (``"lenet-300-100"``).
    mask
        0/1 arrays named as the weights they prune (``.npz``, ``.safetensors``, ``.pt``), for a state dict or a
        ``.toml`` model.
    shapes
        Layer shapes (``.toml``) of a ``.net`` file that is none of the published ones.
    unsupported
        What to do about operators of an ``.onnx`` file that are not known: ``"refuse"`` the file (default), or
        ``"skip"`` them and keep the weight layers, which then run on recorded activations. Either way all are listed.
    input_shape
        Of one sample, for an ``.onnx`` file that leaves sizes other than the batch's open; by the input's name where it
        has several.
    input_values
        Numbers by the names of inputs of an ``.onnx`` file that decide what it computes (a sampling rate): they become
        constants, and the network has one input less.
    key
        Which state dict to take of a PyTorch file that holds several, as ``"net"`` or ``"ema"``.
    merge_lora
        A LoRA adapter, its folder or file of weights, to be merged into a state dict.
    layers
        Globs of array or layer names in a state dict that are layers, whatever their names say; ``"GLOB=KIND"`` also
        says which kind: linear, conv, depthwise, transposed or bilinear. The others are decided as usual.
    exclude
        Globs of what is no layer, unless ``layers`` names it.
    transpose
        Globs of what is stored (inputs, outputs), or of kernels that are a transposed convolution's.
    threshold
        Smaller weights are pruned, in a file of any kind whose weights are not shared.
    density
        Share of the weights that are drawn where a file gives shapes alone: an ``.onnx`` file whose weights are
        missing, a ``.pt2`` exported on the meta device, layers of ``.toml``, ``.csv`` and ``.yaml`` files that state no
        density. Every report says so.

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
    if density is not None and not 0 < density <= 1:
        raise ModelError(f"density={density}: must be above 0, and at most 1")
    kind = _kind(path)
    module, takes = _READERS[kind]
    files = {"mask": mask, "shapes": shapes, "merge_lora": merge_lora}
    asked: dict[str, object] = {name: Path(file) for name, file in files.items() if file is not None}
    plain: dict[str, object] = {"unsupported": unsupported, "input_shape": input_shape, "input_values": input_values}
    plain |= {"key": key, "density": density}
    asked |= {name: value for name, value in plain.items() if value is not None}
    # The command line gives an empty list where an option is not there.
    globs = asdict(Asked.of(layers, exclude, transpose))
    asked |= {name: value for name, value in globs.items() if value}
    # Refused rather than passed over: a mask that is not used would go unnoticed, and every number be another.
    for name in asked:
        if name not in takes:
            kinds = ", ".join(suffix for suffix, (_, taken) in _READERS.items() if name in taken)
            what = kind if kind == _FOLDER else f"{kind} files"
            instead = _INSTEAD.get(kind, "") if name in globs else ""
            raise ModelError(f"{path}: {name} does not apply to {what}, only to {kinds}{instead}")
    network: Network = import_module(f"eie.importers.{module}").read(path, **asked)
    # Whatever reading took: before weights are looked at, which takes some of its own.
    give_back()
    if threshold is not None:
        network = prune_below(network, threshold)
    # A network that eie wrote keeps the source it had, and its notes as they were written.
    elif network.source == path.name:
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
    if not os.path.exists(path) and len(path.parts) == 1 and _kind(path) not in _READERS:
        path = _shipped(path.name)
    kind = _kind(path)
    if kind == _FOLDER:
        # Here, so that a folder without a model is told as what it is, whatever it is called.
        import_module("eie.importers.hugging_face").weight_files(path)
        return path
    if kind not in _READERS:
        raise ModelError(import_module("eie.importers.unread").refusal(path, ", ".join(_suffixes())))
    regular_file(path, ModelError)
    return path


def takes(path: str | Path, option: str) -> bool:
    """Say whether `load` takes an option for a file of this kind.

    Raises
    ------
    ModelError
        As `find`.
    """
    return option in _READERS[_kind(find(path))][1]


def _kind(path: Path) -> str:
    """Return the key of `_READERS` for a path: its suffix in lower case, two of them where both say what it is."""
    if os.path.isdir(path):
        return _FOLDER
    name = path.name.lower()
    for double in (_INDEX, ".pth.tar", ".pt.tar"):
        if name.endswith(double):
            return double
    return path.suffix.lower()


def _suffixes() -> list[str]:
    return [kind for kind in _READERS if kind != _FOLDER]


def _shipped(name: str) -> Path:
    models = shipped_models()
    if name in models:
        return models[name]
    near = difflib.get_close_matches(name, models, 1, 0.5)
    hint = f"; did you mean {near[0]}?" if near else f"; shipped models: {', '.join(models) or 'none'}"
    raise ModelError(f"{name}: no such file or shipped model{hint}")
