"""Arrays that hold several layers, split: attention's joint projection, Keras' separable convolutions.

Comes in: named arrays. Goes out: the same with a name for each layer, and where each came from. Read by `decide`.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from eie.importers.roles.records import Arrays

_JOINT = "in_proj_weight"
_APART = ("q_proj_weight", "k_proj_weight", "v_proj_weight")
_DEPTHWISE, _POINTWISE = "depthwise_kernel", "pointwise_kernel"


@dataclass(frozen=True, eq=False)
class Split:
    """Arrays after splitting.

    Attributes
    ----------
    origins
        New name to the name in the file.
    groups
        Groups of convolutions that are known, by new name.
    """

    arrays: dict[str, NDArray[Any]]
    origins: dict[str, str] = field(default_factory=dict)
    groups: dict[str, int] = field(default_factory=dict)

    def move(self, old: str, new: str, array: NDArray[Any]) -> None:
        """Put ``array``, which is part of ``old``, under a name of its own."""
        self.arrays[new] = array
        self.origins[new] = old


def split(arrays: Arrays) -> Split:
    """Split what holds several layers; everything else stays."""
    into = Split(dict(arrays))
    for key in sorted(arrays):
        if key.endswith(_JOINT):
            _joint(into, key)
        elif key.endswith(_APART[0]):
            _apart(into, key)
        elif key.removesuffix(":0").endswith(_DEPTHWISE):
            _separable(into, key)
    return into


def _joint(into: Split, key: str) -> None:
    """Split a multi-head attention's (3 E, E) into query, key and value, which read one input side by side."""
    weights, base = into.arrays[key], key.removesuffix(_JOINT)
    if weights.ndim != 2 or len(weights) % 3:
        return
    del into.arrays[key]
    for part, rows in zip("qkv", np.split(weights, 3), strict=True):
        into.move(key, f"{base}in_proj.{part}.weight", rows)
    _bias(into, base, [f"{base}in_proj.{part}.bias" for part in "qkv"])


def _apart(into: Split, key: str) -> None:
    """Name the three weights of an attention whose keys and values have sizes of their own."""
    base = key.removesuffix(_APART[0])
    names = [base + part for part in _APART]
    if not all(name in into.arrays and into.arrays[name].ndim == 2 for name in names):
        return
    for name in names:
        into.move(name, f"{name.removesuffix('_weight')}.weight", into.arrays.pop(name))
    _bias(into, base, [f"{name.removesuffix('_weight')}.bias" for name in names])


def _bias(into: Split, base: str, names: list[str]) -> None:
    key = f"{base}in_proj_bias"
    bias = into.arrays.get(key)
    if bias is None or bias.ndim != 1 or len(bias) % 3:
        return
    del into.arrays[key]
    for name, rows in zip(names, np.split(bias, 3), strict=True):
        into.move(key, name, rows)


def _separable(into: Split, key: str) -> None:
    """Bring Keras' depthwise kernel (kh, kw, in, multiplier) to (in * multiplier, 1, kh, kw), one group a channel."""
    kernel = into.arrays[key]
    if kernel.ndim not in (3, 4):
        return
    base = key.removesuffix(":0").removesuffix(_DEPTHWISE)
    channels = kernel.shape[-2]
    # The multiplier runs fastest among a channel's outputs.
    rows = np.moveaxis(kernel, (-2, -1), (0, 1)).reshape(-1, 1, *kernel.shape[:-2])
    point = next((name for name in (base + _POINTWISE, f"{base}{_POINTWISE}:0") if name in into.arrays), None)
    weight = f"{base}weight" if point is None else f"{base}depthwise/weight"
    if weight in into.arrays:
        return
    del into.arrays[key]
    into.move(key, weight, rows)
    into.groups[weight] = channels
    if point is None:
        return
    # The bias is added behind both, so it is the second's.
    for old, part in ((point, "kernel"), (f"{base}bias", "bias"), (f"{base}bias:0", "bias")):
        if old in into.arrays:
            into.move(old, f"{base}pointwise/{part}", into.arrays.pop(old))
