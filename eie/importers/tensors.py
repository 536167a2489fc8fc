"""Named arrays into layers: what state dicts in any container have in common.

Understood names: ``X.weight`` with ``X.bias`` (outputs, inputs); ``X.codes`` with ``X.codebook`` and ``X.bias_codes``;
the same without ``X.`` for a single layer; ``W0, b0, W1, ...``; any other 2-D float array is a layer of that name.
Weights or codes of shape (out, in, k) or (out, in, kh, kw) are a convolution; stride, pads and groups are not in such a
file, so 1, none and 1 are taken, and a note says so (a ``.toml`` model can state them). LSTMs are in `recurrent`. What
`stored` wrote is read by it.
``act``, ``activations``, ``input`` or ``inputs`` are recorded inputs of the first layer, ``labels`` their classes.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any

from numpy.typing import NDArray

from eie.errors import ModelError
from eie.importers import stored
from eie.importers.recurrent import take_lstms
from eie.model.network import Layer, Network
from eie.model.trace import LayerTrace, Trace, class_labels

Arrays = Mapping[str, NDArray[Any]]
_ACTIVATIONS = ("act", "activations", "input", "inputs")
_PARTS = {
    "weight": "weight",
    "weights": "weight",
    "bias": "bias",
    "codes": "codes",
    "codebook": "codebook",
    "bias_codes": "bias_codes",
}


def network_from(arrays: Arrays, name: str, source: str) -> Network:
    """Group arrays into layers, in natural order of their names.

    Raises
    ------
    ModelError
        If no layer is found, or one is incomplete.
    """
    if stored.KEY in arrays:
        return stored.from_arrays(arrays, source)
    lstms, arrays, notes = take_lstms(arrays, name, source)
    # Its notes name recurrent layers of other kinds, which are no batch norm's numbers but work that is missing.
    unmodelled = list(notes)
    sorted_in = _sort_in(arrays, name)
    if sorted_in.ignored:
        notes = [*notes, f"ignored, not a layer's: {', '.join(sorted_in.ignored)}"]
    groups = {key: parts for key, parts in sorted_in.groups.items() if _is_layer(key, parts, notes)}
    unmodelled += [key for key in sorted_in.groups if _is_kernel(sorted_in.groups[key]) and key not in groups]
    if not groups and not lstms:
        raise ModelError(f"{source}: holds no layer: no weights of 2 to 4 dimensions (found {_listed(arrays)})")
    # One answer for the file: frameworks store all matrices the same way round, and a square one does not betray it.
    flip = _stored_transposed(groups)
    if flip:
        notes.append(f"read as (inputs, outputs): {', '.join(sorted(flip, key=_natural))}")
    made = lstms | {key: _layer(key=key, parts=parts, flip=key in flip, source=source) for key, parts in groups.items()}
    layers = [made[key] for key in sorted(made, key=_natural)]
    convolutions = [layer.name for layer in layers if layer.geometry.takes_maps]
    if convolutions:
        notes.append(f"convolutions taken with stride 1, no pads, one group: {', '.join(convolutions)}")
    sequential = all(layer.geometry.takes_vectors for layer in layers)
    sequential = sequential and all(a.outputs == b.inputs for a, b in pairwise(layers))
    if sequential:
        layers = [replace(layer, relu=layer is not layers[-1]) for layer in layers]
        if len(layers) > 1:
            notes.append("taken as a sequence with ReLU between the layers, since their shapes chain")
    return Network(
        name=name,
        layers=tuple(layers),
        sequential=sequential,
        trace=sorted_in.trace(layers[0], source),
        source=source,
        notes=tuple(notes),
        unmodelled=tuple(unmodelled),
    )


@dataclass(frozen=True, kw_only=True)
class _SortedIn:
    """A file's arrays by what they are: layers' parts, recorded inputs, labels, and what is none of these."""

    groups: dict[str, dict[str, NDArray[Any]]]
    activations: NDArray[Any] | None
    labels: NDArray[Any] | None
    ignored: list[str]

    def trace(self, first: Layer, source: str) -> Trace | None:
        """Return the recorded inputs of the first layer, with their labels."""
        if self.activations is None:
            return None
        return Trace(
            layers={first.name: _recorded(first, self.activations, f"{source}: activations")},
            labels=None if self.labels is None else class_labels(self.labels, f"{source}: labels"),
            source=f"activations in {source}",
        )


def _sort_in(arrays: Arrays, stem: str) -> _SortedIn:
    groups: dict[str, dict[str, NDArray[Any]]] = {}
    ignored: list[str] = []
    activations: NDArray[Any] | None = None
    labels: NDArray[Any] | None = None
    for key in sorted(arrays, key=_natural):
        array = arrays[key]
        if key in _ACTIVATIONS:
            activations = array
        elif key == "labels":
            labels = array
        elif (place := _place(key, array, stem)) is not None:
            groups.setdefault(place[0], {})[place[1]] = array
        else:
            ignored.append(f"{key} {array.shape}")
    return _SortedIn(groups=groups, activations=activations, labels=labels, ignored=ignored)


def _recorded(layer: Layer, activations: NDArray[Any], where: str) -> LayerTrace:
    """Pack recorded inputs of the first layer; maps (N, C, H, W) of a convolution are unrolled."""
    if not layer.geometry.takes_maps or activations.ndim != 4:
        return LayerTrace.from_dense(activations, where)
    products = layer.geometry.products(*layer.geometry.sizes(activations.shape))
    return LayerTrace.from_dense(layer.geometry.recorded(activations, None), where, products)


def oriented(weights: NDArray[Any], bias: NDArray[Any] | None) -> bool:
    """Say whether 2-D ``weights`` are stored (inputs, outputs), judged by the length of the bias."""
    # A square matrix says nothing, hence the last condition.
    rows, columns = weights.shape
    return bias is not None and bias.ndim == 1 and len(bias) == columns != rows


def _natural(key: str) -> list[tuple[int, int | str]]:
    # layer2 before layer10. Numbers and texts are kept apart, as Python does not compare them.
    return [(0, int(part)) if part.isdigit() else (1, part) for part in re.split(r"(\d+)", key) if part]


def _place(key: str, array: NDArray[Any], stem: str) -> tuple[str, str] | None:
    """Find which layer an array belongs to, and as what."""
    head, _, tail = key.replace("/", ".").rpartition(".")
    if tail in _PARTS:
        return head or stem, _PARTS[tail]
    numbered = re.fullmatch(r"([WwBb])(\d*)", key)
    if numbered and array.ndim in ((2, 4) if numbered[1] in "Ww" else (1,)):
        return f"layer{numbered[2]}", "bias" if array.ndim == 1 else "weight"
    if array.ndim == 2 and array.dtype.kind == "f":
        return key, "weight"
    return None


def _is_layer(key: str, parts: Mapping[str, NDArray[Any]], notes: list[str]) -> bool:
    main = parts.get("weight", parts.get("codes"))
    if main is not None and 2 <= main.ndim <= 4:
        return True
    listed = ", ".join(f"{part} {array.shape}" for part, array in parts.items())
    notes.append(f"ignored, not a layer: {key} ({listed})")
    return False


def _is_kernel(parts: Mapping[str, NDArray[Any]]) -> bool:
    """Whether arrays are a kernel over three dimensions or more; one dimension is a norm's."""
    main = parts.get("weight", parts.get("codes"))
    return main is not None and main.ndim > 4


def _stored_transposed(groups: Mapping[str, Mapping[str, NDArray[Any]]]) -> set[str]:
    """Names of the layers whose weights are stored (inputs, outputs): by their biases, else because then they chain."""
    floats = {key: parts for key, parts in groups.items() if "weight" in parts and parts["weight"].ndim == 2}
    flipped = {key for key, parts in floats.items() if oriented(parts["weight"], parts.get("bias"))}
    if flipped:
        # One layer that shows it decides for those without a bias too, whose shapes alone cannot.
        return flipped | {key for key, parts in floats.items() if "bias" not in parts}
    shapes = [parts["weight"].shape for parts in floats.values()]
    # Two readings, and the usual one wins where both chain.
    chains = all(a[0] == b[1] for a, b in pairwise(shapes))
    chains_flipped = all(a[1] == b[0] for a, b in pairwise(shapes))
    no_bias = all("bias" not in parts for parts in floats.values())
    return set(floats) if len(shapes) > 1 and no_bias and chains_flipped and not chains else set()


def _layer(key: str, parts: Mapping[str, NDArray[Any]], flip: bool, source: str) -> Layer:
    if "codes" in parts and "codebook" not in parts:
        raise ModelError(f"{source}: layer {key!r} has codes but no codebook")
    coded = "codes" in parts
    codebook, bias = (parts["codebook"], parts.get("bias_codes")) if coded else (None, parts.get("bias"))
    weights = parts["codes" if coded else "weight"]
    if weights.ndim == 3:
        # A convolution over one dimension is one over two with a kernel of one row.
        weights = weights[:, :, None, :]
    if weights.ndim == 4:
        return Layer.from_conv(key, weights, bias, codebook=codebook)
    if codebook is not None:
        return Layer.from_codes(name=key, codes=weights, codebook=codebook, bias_codes=bias)
    return Layer.from_weights(key, weights.T if flip else weights, bias)


def _listed(arrays: Arrays) -> str:
    return ", ".join(f"{key} {array.shape}" for key, array in arrays.items()) or "nothing"
