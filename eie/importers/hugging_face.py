"""Models of several files: a Hugging Face folder, an index of shards.

Comes in: a folder, or ``model.safetensors.index.json`` (``pytorch_model.bin.index.json``). Goes out: the files of its
weights in order, and its quantisation settings. Read by `state_dict` and `eie.importers`.

A folder as ``save_pretrained`` writes it holds ``config.json`` and one file of weights, or shards called
``model-00001-of-00002.safetensors`` and an index: JSON whose ``weight_map`` gives each tensor's shard (transformers,
utils/hub.py; huggingface_hub, serialization).
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from eie.errors import EieError, ModelError
from eie.formats.files import LARGEST_TEXT_BYTES, read_bytes, read_json
from eie.show.listing import first_few

INDEX = ".index.json"
_LARGEST_CONFIG = 16 << 20
_MOST_SHARDS = 10_000
# What a folder's weights are called, the safest first.
_WEIGHTS = (
    "model.safetensors.index.json",
    "model.safetensors",
    "diffusion_pytorch_model.safetensors.index.json",
    "diffusion_pytorch_model.safetensors",
    "pytorch_model.bin.index.json",
    "pytorch_model.bin",
    "diffusion_pytorch_model.bin",
)
_SHARD = re.compile(r"-(\d{5})-of-(\d{5})\.[a-z]+$")
# What other frameworks leave in a folder, by a name in it.
_KEEP = "without PyTorch weights: save the model as .safetensors"
_OTHERS = {
    r"saved_model\.pb": "with a TensorFlow SavedModel: not read: export the model to ONNX, or save it as .keras",
    r"consolidated\.\d+\.pth": "with the parts of a tensor-parallel checkpoint: not read: convert it to .safetensors",
    r"tf_model\.h5": f"{_KEEP}, or give tf_model.h5 itself",
    r"model\.onnx": f"{_KEEP}, or give model.onnx itself",
    r"flax_model\.msgpack": _KEEP,
}
_LISTED = 4
# Beside the weights or in config.json: libraries moved it there.
_SETTINGS = (("config.json", "quantization_config"), ("config.json", "compression_config"))
_OLD_SETTINGS = ("quantize_config.json", "quant_config.json")


def weight_files(path: Path) -> tuple[Path, ...]:
    """Return the files that hold a model's weights: those of a folder, of an index, or the file itself.

    Raises
    ------
    ModelError
        If a folder holds none, or several models; if an index is damaged or some of its shards are missing.
    """
    if path.is_dir():
        path = _in_folder(path)
    return (path, *_shards(path)) if path.name.lower().endswith(INDEX) else (path,)


def model_name(path: Path) -> str:
    """Return what to call a model: its folder, or its file without the suffix."""
    if path.is_dir() or path.name.lower().endswith(INDEX):
        folder = path if path.is_dir() else path.parent
        # Resolved: "." has no name.
        return folder.resolve().name or "model"
    return Path(path.stem).stem if path.suffix.lower() == ".tar" else path.stem


def lone_shard(path: Path) -> str | None:
    """Return a note if the file is one shard of several, and so a part of a model."""
    match = _SHARD.search(path.name)
    if match is None or int(match[2]) < 2:
        return None
    return (
        f"{path.name} is shard {int(match[1])} of {int(match[2])}: these are a part of the model's layers; give its "
        "folder or its index (.index.json) for the whole"
    )


def quantisation(folder: Path) -> Mapping[str, Any]:
    """Return the settings of quantised weights that stand in a folder, or nothing: arrays say most of it."""
    for name, key in _SETTINGS:
        settings = _json(folder / name).get(key)
        if isinstance(settings, dict):
            return settings
    for name in _OLD_SETTINGS:
        if settings := _json(folder / name):
            return settings
    return {}


def _json(path: Path) -> dict[str, Any]:
    try:
        return read_json(read_bytes(path, ModelError, _LARGEST_CONFIG), str(path), ModelError)
    except EieError:
        return {}


def _in_folder(folder: Path) -> Path:
    """Choose the file that a folder's weights begin with."""
    try:
        names = sorted(entry.name for entry in folder.iterdir())
    except OSError as error:
        raise ModelError(f"{folder}: cannot be read: {error.strerror or error}") from None
    for name in _WEIGHTS:
        if name in names:
            return folder / name
    if "adapter_config.json" in names:
        raise ModelError(f"{folder}: a folder with a LoRA adapter alone: give the model and --merge-lora {folder}")
    tensors = [name for name in names if name.lower().endswith(".safetensors")]
    # A single file under another name is meant; of several nobody can say.
    if len(tensors) == 1:
        return folder / tensors[0]
    raise ModelError(f"{folder}: a folder {_instead(folder, names, tensors)}")


def _instead(folder: Path, names: list[str], tensors: list[str]) -> str:
    """Say what a folder is that holds no one model."""
    models = [name for name in names if (folder / name / "config.json").is_file()]
    snapshots = folder / "snapshots"
    cached = sorted(f"snapshots/{entry.name}" for entry in snapshots.iterdir()) if snapshots.is_dir() else []
    for several, what in (
        (tensors, f"with {len(tensors)} .safetensors files and no index"),
        (cached, "of a cache"),
        (models, "of folders of models"),
    ):
        if several:
            return f"{what}: give one of {first_few(several, _LISTED)}"
    for name, what in _OTHERS.items():
        if any(re.fullmatch(name, other) for other in names):
            return what
    return f"without a model: holds none of {', '.join(_WEIGHTS[:2])}, {_WEIGHTS[4]}, {_WEIGHTS[5]}"


def _shards(index: Path) -> tuple[Path, ...]:
    where = str(index)
    weight_map = read_json(read_bytes(index, ModelError, LARGEST_TEXT_BYTES), where, ModelError).get("weight_map")
    if not isinstance(weight_map, dict) or not weight_map:
        raise ModelError(f"{where}: has no weight_map: must give a file for each tensor")
    # In order of their names, each once.
    names = sorted({name if isinstance(name, str) else "" for name in weight_map.values()})
    for name in names:
        # A name, not a path: an index must not reach out of its folder.
        if not name or Path(name).name != name or name in (".", ".."):
            raise ModelError(f"{where}: weight_map names the file {name!r}: must be a file beside the index")
    if len(names) > _MOST_SHARDS:
        raise ModelError(f"{where}: names {len(names):,} files: must be at most {_MOST_SHARDS:,}")
    missing = [name for name in names if not (index.parent / name).exists()]
    if missing:
        count = f"{len(missing)} of its {len(names)} files"
        raise ModelError(f"{where}: {count} are missing: {first_few(missing, _LISTED)}: fetch them")
    return tuple(index.parent / name for name in names)
