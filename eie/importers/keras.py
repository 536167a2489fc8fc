"""Keras models (``.keras``, ``.h5``) as a state dict in PyTorch's order of axes and names.

Comes in: a path. Goes out: `Contents`. Read by `containers`.

A ``.keras`` file is a ZIP archive of ``config.json`` and ``model.weights.h5``; a file of weights holds
``<path of the layer>/vars/<number>``, the layers under their class in snake case, and the layer's own name as an
attribute of ``vars`` (keras.saving.saving_lib, checked with files that Keras 3.15 wrote). The older ``.h5`` holds
``model_weights/<layer>/.../<variable>`` and the configuration as an attribute. Kernels are (in, out), (kh, kw, in, out)
and, depthwise, (kh, kw, in, multiplier); an LSTM's gates are input, forget, cell, output (Keras reference, layers).
"""

from __future__ import annotations

import re
import zipfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from eie.errors import ModelError
from eie.formats.budget import afford
from eie.formats.contents import Contents
from eie.formats.files import LARGEST_BYTES, Arrays, first_line, read_json, regular_file
from eie.formats.hdf5 import Hdf5, read_hdf5
from eie.formats.npz import refuse_duplicates

# Variables of a layer by number, where a file of weights does not name them.
_VARIABLES = {
    "dense": ("kernel", "bias"),
    "conv1d": ("kernel", "bias"),
    "conv2d": ("kernel", "bias"),
    "depthwise_conv2d": ("kernel", "bias"),
    "separable_conv2d": ("depthwise_kernel", "pointwise_kernel", "bias"),
    "batch_normalization": ("gamma", "beta", "moving_mean", "moving_variance"),
    "lstm": ("kernel", "recurrent_kernel", "bias"),
    "embedding": ("embeddings",),
}
_MEMBER = "model.weights.h5"
_CONFIG = "config.json"
_LARGEST_CONFIG = 64 << 20
_TURNED = "Keras kernels turned to (out, in) and (out, in, kh, kw)"


def read_contents(path: Path) -> Contents:
    """Read a Keras model's weights.

    Raises
    ------
    ModelError
        If h5py is not installed, or the file is damaged or holds no weights of layers.
    """
    stored, classes = _archive(path) if path.suffix.lower() == ".keras" else _bare(path)
    layers = _old_layers(stored, classes) if _is_old(stored) else _new_layers(stored, classes)
    arrays: Arrays = {}
    left_out = []
    for name, kind, variables in layers:
        turned = _turned(kind, variables)
        if turned is None:
            left_out.append(f"{name} ({kind})")
        else:
            arrays |= _named(name, turned)
    if not arrays:
        raise ModelError(f"{path}: holds no Keras layer with weights (found {', '.join(left_out) or 'nothing'})")
    notes = [_TURNED]
    if left_out:
        notes.append(f"left out, layers of Keras that are no product with stored weights here: {', '.join(left_out)}")
    return Contents(arrays=arrays, notes=tuple(notes), upright=True)


def _named(name: str, parts: Mapping[str, NDArray[Any]]) -> Arrays:
    head, _, last = name.rpartition(".")
    # Two directions of one layer, which PyTorch tells apart by the ends of the variables' names.
    direction = re.match(r"(for|back)ward_", last)
    if "weight_hh" in parts and head and direction:
        end = "_l0" if direction[1] == "for" else "_l0_reverse"
        return {f"{head}.{part}{end}": array for part, array in parts.items()}
    return {f"{name}.{part}": array for part, array in parts.items()}


def _archive(path: Path) -> tuple[Hdf5, dict[str, str]]:
    regular_file(path, ModelError)
    try:
        with zipfile.ZipFile(path) as archive:
            sizes = {member.filename: member.file_size for member in archive.infolist()}
            if _MEMBER not in sizes:
                raise ModelError(f"{path}: holds no {_MEMBER}: must be what model.save() of Keras 3 writes")
            if sizes[_MEMBER] > LARGEST_BYTES or sizes.get(_CONFIG, 0) > _LARGEST_CONFIG:
                raise ModelError(f"{path}: unpacks to {sizes[_MEMBER]:,} bytes: must be at most {LARGEST_BYTES:,}")
            afford(sizes[_MEMBER], path, ModelError)
            refuse_duplicates(archive)
            data = archive.read(_MEMBER)
            config = archive.read(_CONFIG) if _CONFIG in sizes else b"{}"
    # Cut and flipped archives raise from zipfile, from its decompressors and from what they call.
    except (zipfile.BadZipFile, OSError, ValueError, KeyError, NotImplementedError, RuntimeError, EOFError) as error:
        raise ModelError(f"{path}: a damaged .keras file: {first_line(error)}") from None
    return read_hdf5(data, str(path)), dict(_classes(read_json(config, f"{path}: {_CONFIG}", ModelError)))


def _bare(path: Path) -> tuple[Hdf5, dict[str, str]]:
    stored = read_hdf5(path, str(path))
    text = stored.texts.get("model_config", "{}")
    return stored, dict(_classes(read_json(text, f"{path}: model_config", ModelError)))


def _classes(value: Any, depth: int = 64) -> Iterator[tuple[str, str]]:
    """Find the class of every layer by name, in a configuration of whatever nesting."""
    if depth == 0:
        return
    if isinstance(value, dict):
        config, kind = value.get("config"), value.get("class_name")
        if isinstance(config, dict) and isinstance(kind, str) and isinstance(config.get("name"), str):
            yield config["name"], _snake(kind)
    for inner in value.values() if isinstance(value, dict) else value if isinstance(value, list) else ():
        yield from _classes(inner, depth - 1)


def _snake(name: str) -> str:
    """Conv2DTranspose is conv2d_transpose in a file of weights."""
    name = re.sub(r"(.)([A-Z][a-z]+)", r"\1_\2", name)
    return re.sub(r"([a-z])([A-Z])", r"\1_\2", name).lower()


_Layer = tuple[str, str, dict[str, NDArray[Any]]]


def _is_old(stored: Hdf5) -> bool:
    return not any("/vars/" in f"/{path}" for path in stored.arrays)


def _new_layers(stored: Hdf5, classes: Mapping[str, str]) -> Iterator[_Layer]:
    """Layers of a Keras 3 file: name, class, variables."""
    numbered: dict[str, dict[int, NDArray[Any]]] = {}
    for path, array in stored.arrays.items():
        head, _, last = path.rpartition("/")
        if head.split("/")[-1] == "vars" and last.isdigit() and not path.startswith("optimizer"):
            numbered.setdefault(head, {})[int(last)] = array
    for head, variables in numbered.items():
        steps = [step for step in head.split("/")[:-1] if step not in ("layers", "cell")]
        # A recurrent layer's weights are its cell's.
        layer = head.removesuffix("/cell/vars").removesuffix("/vars")
        stated = stored.texts.get(f"{layer}/vars/name", "")
        last = steps[-1] if steps else "model"
        kind = classes.get(stated) or _plain(stated, last)
        # By path and not by stated name alone: two inner models may use one name twice.
        name = ".".join([*steps[:-1], stated or last])
        named = _VARIABLES.get(kind, ())
        yield name, kind, {named[i] if i < len(named) else str(i): array for i, array in sorted(variables.items())}


def _plain(*names: str) -> str:
    """The class that a name was made from, as in dense_2."""
    plain = [re.sub(r"_\d+$", "", name) for name in names]
    for name in plain:
        for kind in (name, name.removeprefix("forward_"), name.removeprefix("backward_")):
            if kind in _VARIABLES or kind in ("gru", "simple_rnn", "conv2d_transpose"):
                return kind
    return plain[-1]


def _old_layers(stored: Hdf5, classes: Mapping[str, str]) -> Iterator[_Layer]:
    """Layers of a whole-model ``.h5``: the variables stand under their own names."""
    grouped: dict[tuple[str, str], dict[str, NDArray[Any]]] = {}
    for path, array in stored.arrays.items():
        steps = path.removeprefix("model_weights/").split("/")
        if steps[0] == "optimizer_weights" or len(steps) < 2:
            continue
        # fc1/fc1/kernel:0; the outer name is the layer's in the model, the one before the variable its own.
        inner = steps[-2] if len(steps) > 2 and steps[-2] != "lstm_cell" else steps[max(0, len(steps) - 3)]
        outer = steps[0]
        name = outer if inner == outer or len(steps) == 2 else f"{outer}.{inner}"
        grouped.setdefault((name, inner), {})[steps[-1].partition(":")[0]] = array
    for (name, inner), variables in grouped.items():
        kind = classes.get(inner) or _plain(inner, name)
        # LSTMs by their variables: a cell in a Bidirectional has no entry of its own in the configuration.
        yield name, "lstm" if "recurrent_kernel" in variables and kind != "gru" else kind, variables


def _turned(kind: str, variables: Mapping[str, NDArray[Any]]) -> dict[str, NDArray[Any]] | None:
    """Return a layer's variables under PyTorch's names and in its order of axes; None where there is no such layer."""
    kernel = variables.get("kernel")
    if kind in ("lstm", "gru", "simple_rnn"):
        return _recurrent(variables)
    if kind == "batch_normalization" and len(variables) == 4:
        # Under their own names, by which they are told from PyTorch's, whose default epsilon is another.
        return dict(variables)
    if kind == "separable_conv2d":
        return _separable(variables)
    if kind == "depthwise_conv2d":
        weight = _depthwise(variables.get("kernel", variables.get("depthwise_kernel")))
    elif kernel is not None and kernel.ndim in (2, 3, 4) and kind in ("dense", "conv1d", "conv2d"):
        # Kernel axes stay in their order; in and out, the last two, become out and in, the first two.
        axes = (kernel.ndim - 1, kernel.ndim - 2, *range(kernel.ndim - 2))
        weight = kernel.transpose(axes)
    else:
        return None
    if weight is None:
        return None
    bias = variables.get("bias")
    return {"weight": weight} | ({} if bias is None else {"bias": bias})


def _recurrent(variables: Mapping[str, NDArray[Any]]) -> dict[str, NDArray[Any]] | None:
    kernel, recurrent, bias = (variables.get(part) for part in ("kernel", "recurrent_kernel", "bias"))
    if kernel is None or recurrent is None or kernel.ndim != 2 or recurrent.ndim != 2:
        return None
    parts = {"weight_ih": kernel.T, "weight_hh": recurrent.T}
    return parts | ({} if bias is None else {"bias_ih": bias})


def _depthwise(kernel: NDArray[Any] | None) -> NDArray[Any] | None:
    """(kh, kw, in, multiplier) as a grouped convolution's (in * multiplier, 1, kh, kw)."""
    if kernel is None or kernel.ndim != 4:
        return None
    return kernel.transpose(2, 3, 0, 1).reshape(-1, 1, *kernel.shape[:2])


def _separable(variables: Mapping[str, NDArray[Any]]) -> dict[str, NDArray[Any]] | None:
    """A depthwise convolution and a 1x1 one behind it: two layers."""
    first, second = _depthwise(variables.get("depthwise_kernel")), variables.get("pointwise_kernel")
    if first is None or second is None or second.ndim != 4:
        return None
    parts = {"depthwise.weight": first, "pointwise.weight": np.transpose(second, (3, 2, 0, 1))}
    return parts | ({"pointwise.bias": variables["bias"]} if "bias" in variables else {})
