"""How frameworks store a pruned weight, brought to one form: one array a weight, its zeros the pruned ones.

Comes in: a state dict as named arrays, perhaps with separate masks. Goes out: the same names with every layout below
resolved, and notes on what was done. Read by the ``.npz``, ``.safetensors`` and ``.pt`` importers.

=============================================================== =====================================================
names                                                           what becomes of them
=============================================================== =====================================================
``X.weight``                                                    taken as it is
``X.weight_orig`` and ``X.weight_mask``                         torch.nn.utils.prune before ``remove``: multiplied
``X.parametrizations.weight.original`` and ``...weight.N.mask`` torch.ao.pruning with its mask: multiplied
either without its mask                                         refused, unless a mask file names ``X.weight``
``...weight.original0`` and ``original1``, ``X.weight_g``/``_v`` weight normalisation: refused
``X.weight_orig`` and ``X.weight_u``                            spectral normalisation: refused
=============================================================== =====================================================
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from eie.errors import ModelError
from eie.show.listing import first_few

Arrays = dict[str, NDArray[Any]]
_LISTED = 8
_PARAMETRISED = re.compile(r"(?P<head>|.*\.)parametrizations\.(?P<name>[^.]+)\.(?P<rest>.+)", re.DOTALL)


def plain_weights(arrays: Mapping[str, NDArray[Any]], source: str, masks: Mapping[str, NDArray[Any]]) -> _Resolved:
    """Resolve every pruning layout.

    Parameters
    ----------
    arrays
        A state dict.
    source
        Its file, for messages.
    masks
        0/1 arrays under the names of the weights they prune (``X.weight``); may be empty.

    Returns
    -------
    tuple
        The plain arrays and the notes a report should show.

    Raises
    ------
    ModelError
        If a layout is unfinished (the text says which call finishes it), or a mask does not fit.
    """
    # Sorted out first and joined then: a weight and its mask may stand in either order.
    plain, stored_masks, unfinished = _sort_out(arrays, source)
    notes = []
    for name, mask in stored_masks.items():
        if name not in plain:
            raise ModelError(f"{source}: a mask for {name!r}, but no such weight")
        plain[name] = _masked(plain[name], mask, f"{source}: the mask of {name!r}")
        unfinished.pop(name, None)
    if stored_masks:
        notes.append(f"pruning finished here, stored masks applied: {first_few(stored_masks, _LISTED)}")
    for name, mask in masks.items():
        if name not in plain:
            raise ModelError(
                f"{source}: mask {name!r}: the model has no such weight (it has {first_few(plain, _LISTED)})"
            )
        plain[name] = _masked(plain[name], mask, f"{source}: mask {name!r}")
        unfinished.pop(name, None)
    if masks:
        notes.append(f"masks from a separate file applied: {first_few(masks, _LISTED)}")
    if unfinished:
        name, call = next(iter(unfinished.items()))
        raise ModelError(
            f"{source}: {name!r} holds unpruned weights and no mask: {call}, or give the mask (--mask FILE)"
        )
    return plain, notes


_Resolved = tuple[Arrays, list[str]]


def _sort_out(arrays: Mapping[str, NDArray[Any]], source: str) -> tuple[Arrays, Arrays, dict[str, str]]:
    """Split a state dict into plain names, stored masks by weight name, and weights that need a mask, with the call."""
    plain: Arrays = {}
    masks: Arrays = {}
    unfinished: dict[str, str] = {}
    for key, array in arrays.items():
        if match := _PARAMETRISED.fullmatch(key):
            name = match["head"] + match["name"]
            if match["rest"] == "original":
                plain[name] = array
                # Before squash_mask() the weights are those before pruning, and nothing in them shows it.
                unfinished[name] = "call sparsifier.squash_mask() before saving"
            elif re.fullmatch(r"\d+\.mask", match["rest"]):
                masks[name] = array
            else:
                raise ModelError(
                    f"{source}: {name!r} is parametrised ({match['rest']}): call "
                    f"torch.nn.utils.parametrize.remove_parametrizations(module, {match['name']!r}) before saving"
                )
        elif key.endswith("_orig") and f"{key.removesuffix('_orig')}_u" in arrays:
            raise ModelError(
                f"{source}: {key.removesuffix('_orig')!r} is spectrally normalised: call "
                "torch.nn.utils.remove_spectral_norm(module) before saving"
            )
        elif key.endswith("_orig"):
            plain[key.removesuffix("_orig")] = array
            unfinished[key.removesuffix("_orig")] = "call torch.nn.utils.prune.remove(module, name) before saving"
        # A buffer of another module may end so too, as an attention mask does: only beside its weight is it one.
        elif key.endswith("_mask") and _is_weight(key.removesuffix("_mask"), arrays):
            masks[key.removesuffix("_mask")] = array
        elif key.endswith("weight_v") and f"{key[:-1]}g" in arrays:
            raise ModelError(
                f"{source}: {key[:-2]!r} is weight-normalised: call "
                "torch.nn.utils.remove_weight_norm(module) before saving"
            )
        else:
            plain[key] = array
    return plain, masks, unfinished


def _is_weight(name: str, arrays: Mapping[str, NDArray[Any]]) -> bool:
    return name in arrays or f"{name}_orig" in arrays


def _masked(weights: NDArray[Any], mask: NDArray[Any], what: str) -> NDArray[Any]:
    if mask.shape != weights.shape:
        raise ModelError(f"{what} has shape {mask.shape}: must be {weights.shape}, as its weight")
    if mask.dtype.kind not in "fiub":
        raise ModelError(f"{what} has dtype {mask.dtype}: must be numbers, 0 or 1")
    # A soft mask (0.3) would scale weights: that is no pruning, and is refused.
    keep = mask != 0
    if not np.array_equal(keep, mask):
        raise ModelError(f"{what} holds values other than 0 and 1: must keep or prune each weight")
    # In the weights' own type; -0.0 does not come about, as it would by multiplying.
    return np.where(keep, weights, weights.dtype.type(0))
