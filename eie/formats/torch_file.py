"""PyTorch state dicts (``.pt``, ``.pth``, ``.bin``, ``.ckpt``) as named arrays; needs the ``torch`` extra.

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
from eie.formats.budget import afford
from eie.formats.checkpoint import StateDict, find_state_dict, is_packed
from eie.formats.contents import Contents
from eie.formats.files import LARGEST_BYTES, Arrays, first_line, regular_file
from eie.formats.npz import refuse_duplicates

if TYPE_CHECKING:
    import torch

# Before it, a file could run code in spite of weights_only=True (CVE-2025-32434).
OLDEST = "2.6"
# Elements of the dense copy, 1 GiB as float32: a sparse tensor's shape is free to say anything.
LARGEST_SPARSE = 1 << 28
SAVE_INSTEAD = "save its parameters with torch.save(model.state_dict(), path)"
# For whole modules: where their class is at hand, what they compute can be read, too.
EXPORT_INSTEAD = "or, where its class is at hand, give it to eie.from_torch(module, example_inputs)"


def read_contents(path: Path, key: str | None = None) -> Contents:
    """Read every tensor of a state dict, floating point as float32, and notes on what was left out.

    Parameters
    ----------
    key
        Of the state dict to take, where the file holds several.

    Raises
    ------
    ModelError
        If torch is not installed, the file is damaged, is a pickled module or a TorchScript archive, or holds no state
        dict, or several.
    """
    loaded = _loaded(path)
    state = find_state_dict(loaded, key, path)
    if state is None:
        raise ModelError(f"{path}: holds {_kind(loaded)}, not a state dict: {SAVE_INSTEAD}")
    tensors, others = _tensors(state.tensors)
    arrays: Arrays = {}
    bits: dict[str, int] = {}
    # Two names of one parameter stay one array, by which whoever reads them can tell that they are tied.
    read: dict[object, NDArray[Any]] = {}
    for name, tensor in tensors.items():
        try:
            # Before the conversion, which widens.
            stored_bits = 8 * tensor.element_size()
            place = _place(tensor)
            arrays[name] = read[place] if place in read else read.setdefault(place, _array(tensor))
        except (ValueError, RuntimeError, TypeError, NotImplementedError, MemoryError) as error:
            raise ModelError(f"{path}: tensor {name!r} cannot be read: {first_line(error)}") from None
        if stored_bits != 8 * arrays[name].itemsize:
            bits[name] = stored_bits
    return Contents(arrays=arrays, notes=_notes(state, others), bits=bits)


def _loaded(path: Path) -> Any:
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
            return torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # a damaged pickle makes torch raise nearly anything
        raise ModelError(f"{path}: {_reason(error)}") from None


def _tensors(state: Mapping[str, Any]) -> tuple[dict[str, torch.Tensor], list[str]]:
    """Tensors by name, those of torch's quantised modules under the names of float ones; and what else there was."""
    import torch

    packed = {name: item for name, item in state.items() if is_packed(name, item)}
    tensors: dict[str, torch.Tensor] = {}
    others = []
    settings = set()
    for name, (weight, bias) in packed.items():
        # X._packed_params._packed_params is (weight, bias); beside it X.scale and X.zero_point are of X's outputs.
        head = name.split("_packed_params")[0]
        settings |= {f"{head}{last}" for last in ("scale", "zero_point", "_packed_params.dtype")}
        tensors[f"{head}weight"] = weight
        if isinstance(bias, torch.Tensor):
            tensors[f"{head}bias"] = bias
    for name, item in state.items():
        if isinstance(item, torch.Tensor) and name not in settings:
            tensors[name] = item
        elif name not in packed and name not in settings and item is not None:
            others.append(f"{name} ({type(item).__name__})")
    return tensors, others


def _notes(state: StateDict, others: list[str]) -> tuple[str, ...]:
    notes = [f"state dict found under {state.key!r}"] if state.key else []
    if state.others:
        notes.append(f"other state dicts in the file, not read: {', '.join(state.others)} (--key takes one)")
    if others:
        notes.append(f"ignored, no tensors: {', '.join(others)}")
    return tuple(notes)


def _check_declared_size(path: Path) -> None:
    afford(regular_file(path, ModelError), path, ModelError, what="holds")
    try:
        if not zipfile.is_zipfile(path):
            return
        with zipfile.ZipFile(path) as archive:
            declared = sum(member.file_size for member in archive.infolist())
            refuse_duplicates(archive)
    except (zipfile.BadZipFile, OSError, ValueError, NotImplementedError) as error:
        raise ModelError(f"{path}: a damaged PyTorch file: {error}") from None
    if declared > LARGEST_BYTES:
        raise ModelError(f"{path}: unpacks to {declared:,} bytes: must be at most {LARGEST_BYTES:,}")
    afford(declared, path, ModelError)


def _place(tensor: torch.Tensor) -> object:
    """Return what two tensors have in common if and only if they are the same numbers in memory."""
    import torch

    if tensor.layout != torch.strided or tensor.is_quantized or not tensor.numel():
        return object()
    storage = tensor.untyped_storage().data_ptr()
    return storage, tensor.storage_offset(), tuple(tensor.shape), tensor.stride(), tensor.dtype


def _array(tensor: torch.Tensor) -> NDArray[Any]:
    import torch

    # Of whoever imported a library of such classes, as torchao: elsewhere they are not even loaded.
    if type(tensor) not in (torch.Tensor, torch.nn.Parameter):
        raise ValueError(f"of class {type(tensor).__name__}: save tensor.dequantize() in its place")
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
    # As it lies in memory: copies would be the whole file once more. They are made where numbers are not in order.
    return np.ascontiguousarray(tensor.numpy()).reshape(tuple(tensor.shape))


def _reason(error: Exception) -> str:
    """Say in one line why torch would not load a file, and what to do; torch's own advice is not passed on."""
    text = str(error)
    if match := re.search(r"GLOBAL (\S+) was not an allowed global", text):
        return f"a pickled object that needs {match[1]}, which is never loaded: {_way_out(match[1])}"
    if "TorchScript" in text:
        return f"a TorchScript archive: {SAVE_INSTEAD}, {EXPORT_INSTEAD}"
    if isinstance(error, OSError | MemoryError):
        return f"cannot be read: {first_line(error)}"
    # In no words of torch's: they tell of its zip reader or of a key of a pickle, and advise to unpickle whatever the
    # file holds.
    return "not a usable PyTorch file: damaged, cut short or not written by torch.save(): copy or download it again"


def _way_out(name: str) -> str:
    if name.startswith("torchao."):
        return "save the weights dequantised: torch.save({k: v.dequantize() for k, v in ...}, path), or as safetensors"
    return f"{SAVE_INSTEAD}, {EXPORT_INSTEAD}"


def _kind(loaded: Any) -> str:
    if isinstance(loaded, Mapping):
        return f"a dictionary of {', '.join(map(str, list(loaded)[:6])) or 'nothing'}"
    return f"a {type(loaded).__name__}"
