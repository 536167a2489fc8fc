"""Where in a checkpoint the state dict is: dictionaries in dictionaries, searched without knowing torch.

Comes in: what a file held, unpickled without running anything. Goes out: one dictionary of names and tensors, where it
was, and what else could have been meant. Read by `torch_file`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from eie.errors import ModelError
from eie.show.listing import first_few

# Where training scripts put the state dict, most usual first: a checkpoint holds an optimiser's moments too, which
# look like weights.
USUAL_KEYS = ("state_dict", "model_state_dict", "model_state", "model", "module")
# Of dictionaries in dictionaries: deeper ones are settings.
_DEEPEST = 4
# What a layer's own dictionary holds where a file nests names, as NNI's masks do: {"conv1": {"weight": ...}}.
_PARTS = {"weight", "bias", "kernel", "weight_mask", "bias_mask", "mask", "running_mean", "running_var"}
_LISTED = 8


@dataclass(frozen=True, kw_only=True)
class StateDict:
    """A state dict, the key it lay under ("" for the file itself), and the keys of others beside it."""

    tensors: Mapping[str, Any]
    key: str = ""
    others: tuple[str, ...] = ()


def find_state_dict(loaded: Any, key: str | None, path: object) -> StateDict | None:
    """Choose a state dict; None if there is none.

    Parameters
    ----------
    key
        The one to take, dots between keys of nested dictionaries; None for the usual one, or the only one.

    Raises
    ------
    ModelError
        If there are several and none is the usual one, or none lies under ``key``; all are listed.
    """
    if not isinstance(loaded, Mapping):
        return None
    inside = dict(_candidates(loaded, "", _DEEPEST))
    if key is not None:
        tensors = _under(loaded, key)
        if tensors is None:
            listed = _listed(inside) or "none, the file has no keys"
            raise ModelError(f"{path}: key={key!r}: no state dict there: must be one of {listed}")
        return StateDict(tensors=tensors, key=key)
    if holds_weights(loaded):
        return StateDict(tensors=loaded)
    if inside and all(set(map(str, tensors)) <= _PARTS for tensors in inside.values()):
        return StateDict(tensors=_flattened(loaded))
    # A usual key wins from inside another one as well: "checkpoint.model" is as good as "model".
    usual = [name for last in USUAL_KEYS for name in inside if name.rpartition(".")[2] == last]
    if not usual and len(inside) > 1:
        raise ModelError(
            f"{path}: holds {len(inside)} state dicts: {_listed(inside)}: choose one with key, as in --key "
            f"{next(iter(inside))}"
        )
    if not inside:
        return None
    chosen = usual[0] if usual else next(iter(inside))
    return StateDict(tensors=inside[chosen], key=chosen, others=tuple(name for name in inside if name != chosen))


def holds_weights(value: Any) -> bool:
    """Say whether ``value`` maps names to tensors, at least one of them a matrix or more."""
    if not isinstance(value, Mapping) or not all(isinstance(name, str) for name in value):
        return False
    return any(getattr(item, "ndim", 0) >= 2 or is_packed(name, item) for name, item in value.items())


def is_packed(name: str, item: Any) -> bool:
    """Say whether ``item`` is what torch's quantised modules keep under ``_packed_params``: (weights, bias)."""
    if not name.endswith("_packed_params") or not isinstance(item, tuple):
        return False
    return len(item) == 2 and hasattr(item[0], "is_quantized")


def _candidates(loaded: Mapping[Any, Any], prefix: str, depth: int) -> Iterator[tuple[str, Mapping[str, Any]]]:
    for name, value in loaded.items():
        # An optimiser's state is no state dict of a model, though its moments have the weights' shapes.
        if not isinstance(name, str) or not isinstance(value, Mapping) or name.lower().startswith("optim"):
            continue
        if holds_weights(value):
            yield prefix + name, value
        elif depth > 1:
            yield from _candidates(value, f"{prefix}{name}.", depth - 1)


def _under(loaded: Mapping[Any, Any], key: str) -> Mapping[str, Any] | None:
    value: Any = loaded
    # As it stands first: keys may hold dots themselves.
    for name in [key] if key in loaded else key.split("."):
        value = value.get(name) if isinstance(value, Mapping) else None
    if isinstance(value, Mapping):
        if holds_weights(value):
            return value
        if any(True for _ in _candidates(value, "", _DEEPEST)):
            return _flattened(value)
    return None


def _flattened(loaded: Mapping[Any, Any], prefix: str = "", depth: int = _DEEPEST) -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for name, value in loaded.items():
        if isinstance(value, Mapping) and depth > 0:
            flat |= _flattened(value, f"{prefix}{name}.", depth - 1)
        else:
            flat[f"{prefix}{name}"] = value
    return flat


def _listed(inside: Mapping[str, Mapping[str, Any]]) -> str:
    return first_few((f"{name} ({len(tensors)} tensors)" for name, tensors in inside.items()), _LISTED)
