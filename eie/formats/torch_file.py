"""PyTorch state dicts (``.pt``, ``.pth``) as named arrays; needs the ``torch`` extra.

Comes in: a file saved with ``torch.save(model.state_dict(), path)``, or a checkpoint dictionary around one. Goes out:
named NumPy arrays, read by `state_dict`. Files are loaded with ``weights_only=True`` and in no other way: what needs
more than that is refused.
"""

from __future__ import annotations

import re
import warnings
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from eie.errors import ModelError
from eie.formats.files import LARGEST_BYTES, Arrays, first_line, regular_file

if TYPE_CHECKING:
    import torch

# Before it, a file could run code in spite of weights_only=True (CVE-2025-32434).
OLDEST = "2.6"
# Elements of the dense copy, 1 GiB as float32: a sparse tensor's shape is free to say anything.
LARGEST_SPARSE = 1 << 28
# Where training scripts put the state dict, most usual first: a checkpoint holds an optimiser's moments too, which
# look like weights.
USUAL_KEYS = ("state_dict", "model_state_dict", "model_state", "model")
SAVE_INSTEAD = "save its parameters with torch.save(model.state_dict(), path)"


def read_arrays(path: Path) -> tuple[Arrays, list[str]]:
    """Read every tensor of a state dict, floating point as float32, and notes on what was left out.

    Raises
    ------
    ModelError
        If torch is not installed, the file is damaged, is a pickled module or a TorchScript archive, or holds no state
        dict.
    """
    try:
        import torch
    except ImportError:
        raise ModelError(f"{path}: reading PyTorch files needs torch: pip install 'eie[torch]'") from None
    if torch.__version__ < OLDEST:
        raise ModelError(f"{path}: a file could make torch {torch.__version__} run code: must be >= {OLDEST}")
    _check_declared_size(path)
    try:
        with warnings.catch_warnings():
            # Of torch's own deprecations, which a user of this package can do nothing about.
            warnings.simplefilter("ignore")
            loaded = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # a damaged pickle makes torch raise nearly anything
        raise ModelError(f"{path}: {_reason(error)}") from None
    state, where = _state_dict(loaded)
    if state is None:
        raise ModelError(f"{path}: holds {_kind(loaded)}, not a state dict: {SAVE_INSTEAD}")
    arrays: Arrays = {}
    skipped = []
    wrapper = _wrapper(state)
    for name, tensor in state.items():
        if not isinstance(tensor, torch.Tensor):
            skipped.append(f"{name} ({type(tensor).__name__})")
            continue
        try:
            arrays[name.removeprefix(wrapper)] = _array(tensor)
        except (ValueError, RuntimeError, TypeError, NotImplementedError, MemoryError) as error:
            raise ModelError(f"{path}: tensor {name!r} cannot be read: {first_line(error)}") from None
    notes = [f"state dict found under {where!r}"] if where else []
    if skipped:
        notes.append(f"ignored, no tensors: {', '.join(skipped)}")
    return arrays, notes


def _check_declared_size(path: Path) -> None:
    regular_file(path, ModelError)
    try:
        if not zipfile.is_zipfile(path):
            return
        with zipfile.ZipFile(path) as archive:
            declared = sum(member.file_size for member in archive.infolist())
    except (zipfile.BadZipFile, OSError, ValueError, NotImplementedError) as error:
        raise ModelError(f"{path}: a damaged PyTorch file: {error}") from None
    if declared > LARGEST_BYTES:
        raise ModelError(f"{path}: unpacks to {declared:,} bytes: must be at most {LARGEST_BYTES:,}")


def _state_dict(loaded: Any) -> tuple[Mapping[str, Any] | None, str]:
    """Find the state dict: the loaded dictionary itself, or the dictionary of tensors inside it, and its key."""
    if not isinstance(loaded, Mapping):
        return None, ""
    if _holds_weights(loaded):
        return loaded, ""
    inside = {str(key): value for key, value in loaded.items() if _holds_weights(value)}
    chosen = [key for key in USUAL_KEYS if key in inside] or (list(inside) if len(inside) == 1 else [])
    return (inside[chosen[0]], chosen[0]) if chosen else (None, "")


def _holds_weights(value: Any) -> bool:
    """Say whether ``value`` maps names to tensors, at least one of them a matrix or more."""
    if not isinstance(value, Mapping) or not all(isinstance(key, str) for key in value):
        return False
    return any(getattr(item, "ndim", 0) >= 2 for item in value.values())


def _wrapper(names: Mapping[str, Any]) -> str:
    """The prefix that DataParallel puts before every name, or nothing."""
    return "module." if all(name.startswith("module.") for name in names) else ""


def _array(tensor: torch.Tensor) -> NDArray[Any]:
    import torch

    tensor = tensor.detach()
    if tensor.layout != torch.strided:
        if tensor.numel() > LARGEST_SPARSE:
            raise ValueError(f"sparse, of {tensor.numel():,} elements: at most {LARGEST_SPARSE:,}")
        tensor = tensor.to_dense()
    # Quantised tensors have no NumPy type; their zero point is subtracted here, so that a stored zero is zero.
    if tensor.is_quantized:
        tensor = tensor.dequantize()
    # An expanded tensor repeats few stored numbers by strides of 0: a kilobyte on disk may ask for any amount of
    # memory.
    if tensor.numel() * tensor.element_size() > tensor.untyped_storage().nbytes():
        raise ValueError(f"expanded to {tuple(tensor.shape)} from fewer stored elements: save a contiguous copy")
    if tensor.is_floating_point():
        # float16 and bfloat16 too; NumPy has no type for the latter.
        tensor = tensor.to(torch.float32)
    return np.array(tensor.numpy())


def _reason(error: Exception) -> str:
    """Say in one line why torch would not load a file, and what to do."""
    text = str(error)
    if match := re.search(r"GLOBAL (\S+) was not an allowed global", text):
        return f"a pickled object that needs {match[1]}, which is never loaded (weights_only=True): {SAVE_INSTEAD}"
    if "TorchScript" in text:
        return f"a TorchScript archive: {SAVE_INSTEAD}"
    return f"not a usable PyTorch file: {first_line(error)}"


def _kind(loaded: Any) -> str:
    if isinstance(loaded, Mapping):
        return f"a dictionary of {', '.join(map(str, list(loaded)[:6])) or 'nothing'}"
    return f"a {type(loaded).__name__}"
