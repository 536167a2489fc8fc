"""Recurrent layers in a state dict, found by the names of PyTorch and Keras.

Comes in: named arrays. Goes out: LSTM layers by name, and what remains. Read by `tensors`.

``X.weight_ih_l0``, ``X.weight_hh_l0`` and perhaps ``X.bias_ih_l0``, ``X.bias_hh_l0`` (added up) make layer ``X.l0``;
with ``_reverse`` behind them ``X.l0_reverse``; the names of an LSTM cell, without ``_l0``, make layer ``X``. So do
Keras' ``X/lstm_cell/kernel``, ``recurrent_kernel`` and ``bias``, stored (inputs, gates); its gates have our order.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from eie.errors import ModelError
from eie.importers.roles.names import segments
from eie.model.layer import Layer

_NAME = re.compile(
    r"(?:(?P<head>.*)\.)?(?P<part>weight|bias)_(?P<of>ih|hh|hr)(?P<level>_l\d+)?(?P<way>_reverse)?", re.DOTALL
)
_RECURRENT = "recurrent_kernel"
# By gates; an LSTM has four.
_KINDS = {1: "a plain RNN", 3: "a GRU"}


def take_lstms(
    arrays: Mapping[str, NDArray[Any]], stem: str, source: str
) -> tuple[dict[str, Layer], dict[str, NDArray[Any]], list[str]]:
    """Split off the LSTMs.

    Parameters
    ----------
    stem
        Name of a layer whose arrays have no prefix.

    Returns
    -------
    tuple
        Layers by name, the other arrays, and notes on recurrent layers that are no LSTM.

    Raises
    ------
    ModelError
        If an LSTM lacks one of its weights or has a projection.
    """
    groups: dict[str, dict[str, NDArray[Any]]] = {}
    rest = {}
    for key, array in arrays.items():
        match = _NAME.fullmatch(key)
        if match is None:
            rest[key] = array
            continue
        level = f"{match['level'] or ''}{match['way'] or ''}".removeprefix("_")
        name = ".".join(part for part in (match["head"], level) if part) or stem
        groups.setdefault(name, {})[f"{match['part']}_{match['of']}"] = array
    layers, rest, notes = _take_keras(rest, source)
    for name, parts in groups.items():
        kind = _other_kind(parts)
        if kind is not None:
            notes.append(f"ignored, {kind}, not an LSTM: {name}")
        else:
            layers[name] = _lstm(name, parts, source)
    return layers, rest, notes


def _take_keras(
    arrays: Mapping[str, NDArray[Any]], source: str
) -> tuple[dict[str, Layer], dict[str, NDArray[Any]], list[str]]:
    layers: dict[str, Layer] = {}
    rest, notes = dict(arrays), []
    for key in sorted(arrays):
        path = segments(key)
        kernel, bias = key.replace(_RECURRENT, "kernel"), key.replace(_RECURRENT, "bias")
        if path[-1] != _RECURRENT or kernel not in arrays or arrays[key].ndim != 2:
            continue
        parts = {"weight_ih": arrays[kernel].T, "weight_hh": arrays[key].T}
        # The cell is named as its layer is, once more.
        name = ".".join(path[:-2] if len(path) > 2 and re.search(r"_cell(_\d+)?$", path[-2]) else path[:-1])
        kind = _other_kind(parts)
        if kind is not None:
            notes.append(f"ignored, {kind}, not an LSTM: {name}")
        else:
            if bias in arrays:
                parts["bias_ih"] = arrays[bias]
            backwards = any(segment.startswith("backward") for segment in path)
            layers[name] = _lstm(name, parts, source, reverse=backwards)
        rest = {other: array for other, array in rest.items() if other not in (key, kernel, bias)}
    return layers, rest, notes


def _other_kind(parts: Mapping[str, NDArray[Any]]) -> str | None:
    hidden = parts.get("weight_hh")
    if hidden is None or hidden.ndim != 2 or not hidden.shape[1]:
        return None
    # weight_hh is (gates x hidden, hidden): the number of gates says which cell it is.
    gates, odd = divmod(hidden.shape[0], hidden.shape[1])
    return None if odd else _KINDS.get(gates)


def _lstm(name: str, parts: Mapping[str, NDArray[Any]], source: str, *, reverse: bool = False) -> Layer:
    missing = [part for part in ("weight_ih", "weight_hh") if part not in parts]
    if missing:
        raise ModelError(f"{source}: LSTM {name!r} has no {' and no '.join(missing)}")
    if "weight_hr" in parts:
        raise ModelError(f"{source}: LSTM {name!r} has a projection (weight_hr): not modelled, use proj_size = 0")
    biases = [parts[part] for part in ("bias_ih", "bias_hh") if part in parts]
    for bias in biases:
        if bias.shape != biases[0].shape or bias.dtype.kind not in "fiu":
            raise ModelError(f"{source}: LSTM {name!r}: its biases have shapes {[array.shape for array in biases]}")
    # PyTorch keeps two biases for cuDNN's sake; both are added to the same sum.
    total: NDArray[Any] | None = np.add.reduce(biases) if biases else None
    return Layer.from_lstm(
        name=name,
        input_weights=parts["weight_ih"],
        hidden_weights=parts["weight_hh"],
        bias=total,
        reverse=reverse or name.endswith("_reverse"),
    )
