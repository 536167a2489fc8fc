"""Batch normalisation that stands behind a layer, found by names and folded into it.

Comes in: layers and normalisations by name. Goes out: which follows which; scale and shift of each output. Read by
`decide` and `eie.importers.tensors`.

A state dict has no order of calls. Names that say it: ``conv1`` and ``bn1``, ``3`` and ``4`` of a Sequential,
``conv2d_1`` and ``batch_normalization_1``, ``x_conv`` and ``x_bn``, timm's blocks. A row of names in which one
normalisation has the size of its layer's *inputs* stands in front of its layers (DenseNet), and none of the row is
folded.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from eie.importers.roles.records import Arrays, Group

# What frameworks take where nobody says otherwise; a state dict does not hold it.
EPS = {"torch": 1e-5, "keras": 1e-3}
# timm's blocks number their normalisations by the order of the convolutions, whose names have none.
_TIMM = (
    ("conv_pw", "conv_dw", "conv_pwl"),
    ("conv_exp", "conv_pwl"),
    ("conv_dw", "conv_pw"),
)
_LISTS = (("convs", "bns"), ("convs", "norms"), ("convs", "batch_norms"), ("lins", "bns"), ("layers", "bns"))
# What a layer is called, and what the normalisation behind it is called in that place.
_SWAPS = tuple(
    tuple(pair.split())
    for pair in (
        "conv2d batch_normalization",
        "conv1d batch_normalization",
        "dense batch_normalization",
        "Conv BatchNorm",
        "Dense BatchNorm",
        "conv bn",
        "conv norm",
        "conv batch_norm",
        "conv batchnorm",
        "fc bn",
        "linear bn",
        "lin bn",
        "lin norm",
        "res bn",
    )
)


def followers(layers: Mapping[str, tuple[int, ...]], norms: Mapping[str, int]) -> tuple[dict[str, str], list[str]]:
    """Pair layers with the normalisation behind each.

    Parameters
    ----------
    layers
        Name to sizes that may be outputs or inputs: a matrix's two, a kernel's two of channels.
    norms
        Name to number of values.

    Returns
    -------
    tuple
        Layer to normalisation, and the normalisations that stand in front of layers.
    """
    rows: dict[tuple[str, str], list[tuple[str, str]]] = {}
    for layer in sorted(layers):
        for rule, norm in _candidates(layer, layers):
            if norm in norms:
                # Blocks of one kind are numbered; the network's own entrance stands for itself.
                rows.setdefault((rule, re.sub(r"[0-9]+", "#", layer.rpartition(".")[0])), []).append((layer, norm))
                break
    pairs: dict[str, str] = {}
    before: list[str] = []
    for row in rows.values():
        # One that fits nothing but the other side decides for the row; those that fit both do not say.
        fits = [(layer, norm, norms[norm] == layers[layer][0]) for layer, norm in row]
        if any(not fit and norms[norm] in layers[layer][1:] for layer, norm, fit in fits) and _may_lead(row):
            before += [norm for _, norm in row]
            continue
        taken = set(pairs.values())
        pairs |= {layer: norm for layer, norm, _ in fits if norms[norm] in layers[layer] and norm not in taken}
    return pairs, before


def _may_lead(row: list[tuple[str, str]]) -> bool:
    # Inside a Sequential N + 1 stands behind N, whatever the sizes; elsewhere a name is a name.
    return not all(layer.rpartition(".")[2].isdecimal() for layer, _ in row)


def _candidates(layer: str, layers: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Names that a normalisation behind ``layer`` would have, with the rule that says so."""
    head, dot, last = layer.rpartition(".")
    around = head + dot
    if re.fullmatch(r"[0-9]+", last):
        yield "sequential", f"{around}{int(last) + 1}"
        # convs.0 and bns.0: lists side by side.
        upper, upper_dot, middle = head.rpartition(".")
        for word, norm in _LISTS:
            if middle == word:
                yield "lists", f"{upper}{upper_dot}{norm}.{last}"
    for order in _TIMM:
        present = [name for name in order if around + name in layers]
        if last in order and present == list(order):
            yield "timm", f"{around}bn{order.index(last) + 1}"
            return
    if last in ("conv_stem", "conv_head"):
        yield "timm", f"{around}bn{1 if last == 'conv_stem' else 2}"
        return
    for word, norm in _SWAPS:
        if word in last:
            yield f"{word}/{norm}", around + last.replace(word, norm)
    for name in (f"{last}_bn", f"{last}_BN", f"bn_{last}", f"{last}.bn", f"{last}_norm", f"{last}_batchnorm"):
        yield "around", around + name


def foldable(norms: Mapping[str, Group], arrays: Arrays) -> dict[str, int]:
    """Return the normalisations that hold all it takes, with their number of values."""
    sizes = {}
    for name, group in norms.items():
        parts = [arrays[key] for part, key in group.parts.items() if part != "num_batches_tracked"]
        whole = {"running_mean", "running_var"} <= set(group.parts) and {array.ndim for array in parts} == {1}
        if whole and len({len(array) for array in parts}) == 1 and all(array.dtype.kind in "fiu" for array in parts):
            sizes[name] = len(parts[0])
    return sizes


def scale_and_shift(norm: Group, arrays: Arrays) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return what inference makes of a normalisation: outputs become ``scale * outputs + shift``."""
    values = {part: arrays[name].astype(np.float64) for part, name in norm.parts.items() if arrays[name].ndim == 1}
    mean, variance = values["running_mean"], values["running_var"]
    # A variance below zero gives NaN, which the layer refuses with its name.
    with np.errstate(invalid="ignore", divide="ignore", over="ignore"):
        scale = values.get("weight", np.ones_like(mean)) / np.sqrt(variance + EPS[norm.family])
    return scale, values.get("bias", np.zeros_like(mean)) - mean * scale
