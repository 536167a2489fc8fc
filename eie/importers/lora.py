"""LoRA adapters: low-rank changes of weights, merged into a model on demand.

Comes in: a model's named arrays and an adapter, a folder or its file of weights. Goes out: the arrays with
``W + alpha / r * B A`` in the place of each weight that the adapter changes. Read by `state_dict`.

Sources: Hu et al., "LoRA", ICLR 2022, equation 3; PEFT, "checkpoint format" of its documentation: names
``base_model.model.X.lora_A.weight`` (r, inputs) and ``lora_B.weight`` (outputs, r), ``adapter_config.json`` with
``lora_alpha``, ``use_rslora`` (alpha / sqrt(r): Kalajdzievski, 2023), ``fan_in_fan_out`` (weights stored (in, out)),
``alpha_pattern`` by name; and the older ``X.lora_down.weight``, ``X.lora_up.weight``, ``X.alpha`` (a number).
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from eie.errors import ModelError
from eie.formats.files import Arrays, read_bytes, read_json
from eie.importers.containers import read_container
from eie.show.listing import first_few

_FACTOR = re.compile(r"(?P<head>.+)\.lora_(?P<side>A|B|down|up)(?P<adapter>\.(?!weight$)[^.]+)?\.weight", re.DOTALL)
_WEIGHTS = ("adapter_model.safetensors", "adapter_model.bin")
_CONFIG = "adapter_config.json"
_LARGEST_CONFIG = 16 << 20
_LISTED = 4
_FIRST = ("A", "down")


@dataclass(frozen=True, kw_only=True)
class Merged:
    """Arrays with an adapter's changes in them, what was done, and the files it was read from."""

    arrays: Arrays
    notes: tuple[str, ...]
    files: tuple[Path, ...]


def refuse_adapter(arrays: Mapping[str, NDArray[Any]], path: Path) -> None:
    """Refuse a file of nothing but an adapter: its factors are no layers. Beside weights, roles leave them out.

    Raises
    ------
    ModelError
        With the way out.
    """
    factors = [name for name in arrays if _FACTOR.fullmatch(name)]
    if factors and not any(array.ndim >= 2 and name not in factors for name, array in arrays.items()):
        raise ModelError(
            f"{path}: a LoRA adapter alone ({len(factors)} factors), no model: give the model and --merge-lora {path}"
        )


def merge(arrays: Mapping[str, NDArray[Any]], adapter: Path, source: str) -> Merged:
    """Merge an adapter.

    Raises
    ------
    ModelError
        If it is no LoRA adapter, its settings are missing, or it does not fit the model.
    """
    weights = weights_of(adapter)
    contents = read_container(weights)
    config_file = weights.parent / _CONFIG
    config = _config(config_file) if config_file.is_file() else {}
    pairs, others = _pairs(contents.arrays)
    if not pairs:
        raise ModelError(f"{adapter}: holds no LoRA factors (lora_A and lora_B): not an adapter that can be merged")
    if others:
        raise ModelError(
            f"{adapter}: holds {first_few(others, _LISTED)} beside its factors: only A and B of weights are merged: "
            "merge it with model.merge_and_unload() and give the model"
        )
    merged = dict(arrays)
    filled = 0
    for head, pair in pairs.items():
        try:
            name = _target(head, arrays)
            # Damaged numbers may overflow; what is not finite is refused where a layer is made of it.
            with np.errstate(over="ignore", invalid="ignore"):
                changed = _changed(merged[name], _delta(pair, _scale(head, pair, config), config))
        except ModelError as error:
            raise ModelError(f"{adapter}: {head}: {error} (the model is {source})") from None
        filled += int(np.count_nonzero((merged[name] == 0) & (changed != 0)))
        merged[name] = changed
    notes = [f"LoRA adapter {adapter.name} merged into {len(pairs)} weights: {first_few(pairs, _LISTED)}"]
    if filled:
        notes.append(f"the merge filled {filled:,} weights that were zero: prune again to have them back")
    files = (weights, config_file) if config else (weights,)
    return Merged(arrays=merged, notes=tuple(notes), files=files)


def weights_of(adapter: Path) -> Path:
    """Return an adapter's file of weights: itself, or the one in its folder.

    Raises
    ------
    ModelError
        If a folder holds none.
    """
    if not adapter.is_dir():
        return adapter
    for name in _WEIGHTS:
        if (adapter / name).exists():
            return adapter / name
    raise ModelError(f"{adapter}: a folder without {' or '.join(_WEIGHTS)}: must be an adapter's folder")


def _config(path: Path) -> dict[str, Any]:
    config = read_json(read_bytes(path, ModelError, _LARGEST_CONFIG), str(path), ModelError)
    kind = config.get("peft_type", "LORA")
    if config.get("use_dora"):
        kind = "DoRA"
    if kind != "LORA":
        raise ModelError(
            f"{path}: an adapter of type {kind}: only plain LoRA is merged: merge it with model.merge_and_unload() and "
            "give the model"
        )
    return config


_Pair = dict[str, NDArray[Any]]


def _pairs(arrays: Mapping[str, NDArray[Any]]) -> tuple[dict[str, _Pair], list[str]]:
    """Factors by the layer they belong to, and what else there is."""
    pairs: dict[str, _Pair] = {}
    rest = []
    for name, array in arrays.items():
        match = _FACTOR.fullmatch(name)
        if match is not None:
            side = "A" if match["side"] in _FIRST else "B"
            pairs.setdefault(match["head"], {})[side] = array
        elif not name.endswith(".alpha"):
            rest.append(name)
    for name, array in arrays.items():
        if name.endswith(".alpha") and name.removesuffix(".alpha") in pairs:
            pairs[name.removesuffix(".alpha")]["alpha"] = array
    return pairs, rest


def _target(head: str, arrays: Mapping[str, NDArray[Any]]) -> str:
    """Find the weight that a pair changes; model and adapter may have been wrapped differently."""
    layer = head.removeprefix("base_model.model.")
    name = f"{layer}.weight"
    # PEFT calls the weight so where it has put its own module around the layer.
    for exact in (name, f"{layer}.base_layer.weight"):
        if exact in arrays:
            return exact
    fitting = [other for other in arrays if other.endswith(f".{name}") or name.endswith(f".{other}")]
    if len(fitting) != 1:
        raise ModelError(f"changes {name!r}, and {len(fitting)} weights are called so: is it the model that it adapts?")
    return fitting[0]


def _delta(pair: _Pair, scale: float, config: Mapping[str, Any]) -> NDArray[np.float32]:
    first, second = pair["A"].astype(np.float32), pair["B"].astype(np.float32)
    # A convolution's second factor is 1x1; its first has the kernel.
    flat_first, flat_second = first.reshape(len(first), -1), second.reshape(len(second), -1)
    if flat_second.shape[1] != len(first):
        raise ModelError(f"factors {second.shape} and {first.shape} have no product")
    product = flat_second @ flat_first
    delta = product.reshape(len(second), *first.shape[1:]) * np.float32(scale)
    return delta.T if config.get("fan_in_fan_out") and delta.ndim == 2 else delta


def _scale(head: str, pair: _Pair, config: Mapping[str, Any]) -> float:
    """Return alpha / r, or alpha / sqrt(r)."""
    if "A" not in pair or "B" not in pair:
        raise ModelError("has one of its factors A and B only")
    for factor in (pair["A"], pair["B"]):
        if factor.ndim < 2 or not factor.size or factor.dtype.kind != "f":
            raise ModelError(f"a factor is {factor.dtype} {factor.shape}: must be a matrix")
    rank = len(pair["A"])
    alpha: Any = config.get("lora_alpha")
    patterns = config.get("alpha_pattern")
    for pattern, value in patterns.items() if isinstance(patterns, dict) else ():
        # PEFT takes a pattern as the end of a name, dot before it.
        if head == pattern or head.endswith(f".{pattern}"):
            alpha = value
    if "alpha" in pair and pair["alpha"].size == 1:
        alpha = pair["alpha"].item()
    if not isinstance(alpha, int | float) or not math.isfinite(alpha):
        raise ModelError(f"lora_alpha={alpha!r}: must be a number in {_CONFIG} beside it: it gives the scale")
    return alpha / (math.sqrt(rank) if config.get("use_rslora") else rank)


def _changed(weight: NDArray[Any], delta: NDArray[np.float32]) -> NDArray[np.float32]:
    if weight.shape != delta.shape or weight.dtype.kind != "f":
        raise ModelError(f"a change of shape {delta.shape} for a weight of {weight.dtype} {weight.shape}")
    return weight.astype(np.float32) + delta
