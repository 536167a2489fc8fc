"""Named arrays into a network: what state dicts in any container have in common.

Comes in: plain named arrays. Goes out: a `Network`, with notes on all that was assumed or left out. Read by
`state_dict`.

What each array is, is decided in `eie.importers.roles`, LSTMs are found in `recurrent`, and what `stored` wrote is read
by it. Stride and pads of a convolution are not in such a file, so 1 and none are taken, and a note says so (a ``.toml``
model can state them). ``act``, ``activations``, ``input`` or ``inputs`` are recorded inputs of the first layer,
``labels`` their classes.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from eie.errors import ModelError
from eie.importers import stored
from eie.importers.recurrent import take_lstms
from eie.importers.roles.asked import Asked
from eie.importers.roles.chain import is_parallel, numbering
from eie.importers.roles.decide import NOTHING_ASKED, decide
from eie.importers.roles.families import owner_of
from eie.importers.roles.names import RECORDED, listed, running, segments
from eie.importers.roles.neither import foreign
from eie.importers.roles.norms import scale_and_shift
from eie.importers.roles.records import MISSING, REASONS, Arrays, Decision, Plan, Reading
from eie.importers.suspicions import identical, vanishing
from eie.model.geometry import Conv2d
from eie.model.layer import Layer
from eie.model.layer_trace import LayerTrace
from eie.model.network import Network
from eie.model.trace import Trace
from eie.model.trace_file import class_labels

_LABELS = "labels"
# Numbers that are worked on at a time in double precision.
_BLOCK = 1 << 18


def network_from(
    arrays: Arrays, name: str, source: str, asked: Asked = NOTHING_ASKED, *, upright: bool = False
) -> Network:
    """Decide what each array is, and build the layers, in the order in which their names say that they run.

    Parameters
    ----------
    name
        The network's, and that of a layer whose arrays have no name of their own.
    asked
        What the user said of some arrays.
    upright
        Whether matrices are known to be (outputs, inputs).

    Raises
    ------
    ModelError
        If there is no layer, one is incomplete, nothing says what one is, or a glob of ``asked`` matches nothing.
    """
    if stored.KEY in arrays:
        return _as_stored(arrays, source, asked)
    # A layer may be called "input": recorded inputs are a bare array of that name.
    recorded = {key: arrays[key] for key in arrays if key in (*RECORDED, _LABELS)}
    weights = {key: array for key, array in arrays.items() if key not in recorded}
    samples = next((recorded[key] for key in RECORDED if key in recorded), None)
    try:
        lstms, rest, notes = _recurrent(weights, name, source, asked=asked)
        # Its notes name recurrent layers of other kinds: work that is missing.
        unmodelled = list(notes)
        reading = decide(rest, name, asked=asked, samples=samples, others=len(lstms), upright=upright)
        asked.check(_names(weights, reading, lstms, name=name))
    except ModelError as error:
        raise ModelError(f"{source}: {str(error).removeprefix(f'{source}: ')}") from None
    lstms, dropped = _without(lstms, asked)
    notes += [*reading.notes, *dropped]
    if not reading.plans and not lstms:
        raise ModelError(f"{source}: holds no layer: {_why_none(notes, arrays)}")
    made = [*lstms.values(), *(_layer(plan, reading.arrays, source) for plan in reading.plans)]
    layers, sequential, more = _chained(sorted(made, key=lambda layer: running(layer.name)))
    return Network(
        name=name,
        layers=tuple(layers),
        sequential=sequential,
        trace=_trace(layers[0], recorded, samples=samples, source=source),
        source=source,
        notes=(*notes, *_taken(reading), *more, *_suspicions(reading)),
        unmodelled=(*unmodelled, *_missing(reading.decisions)),
    )


def _recurrent(
    weights: Arrays, name: str, source: str, *, asked: Asked
) -> tuple[dict[str, Layer], dict[str, NDArray[Any]], list[str]]:
    """Take LSTMs out; what the user excludes or an optimiser keeps under the names of one is none."""
    aside = foreign(weights) | {key for key in weights if asked.is_excluded(key, _owner(key))}
    lstms, rest, notes = take_lstms({key: weights[key] for key in weights if key not in aside}, name, source)
    # It comes back, to be listed.
    return lstms, rest | {key: weights[key] for key in aside}, notes


def _without(lstms: Mapping[str, Layer], asked: Asked) -> tuple[dict[str, Layer], list[str]]:
    """Leave out the LSTMs that are excluded by the names that only the layers have."""
    kept = {name: layer for name, layer in lstms.items() if not asked.is_excluded(name)}
    dropped = lstms.keys() - kept.keys()
    return kept, [f"left out, as --exclude says: {listed(dropped)}"] if dropped else []


def _names(weights: Arrays, reading: Reading, lstms: Iterable[str], *, name: str) -> Iterator[str]:
    """Return arrays and layers, those that were left out too, by every name that a user may know them by."""
    known = frozenset(reading.arrays)
    yield from weights
    yield from reading.arrays
    yield from lstms
    yield from filter(None, map(_owner, weights))
    yield from (owner_of(key, array.ndim, known) or name for key, array in reading.arrays.items())


def _taken(reading: Reading) -> list[str]:
    convolutions = [plan.name for plan in reading.plans if plan.kind == "conv" and plan.groups == 1]
    return [f"convolutions taken with stride 1, no pads, one group: {listed(convolutions)}"] if convolutions else []


def _suspicions(reading: Reading) -> list[str]:
    weights = {plan.name: reading.arrays[plan.parts["weight"]] for plan in reading.plans if "weight" in plan.parts}
    tables = {
        key: reading.arrays[key]
        for key, decision in reading.decisions.items()
        if decision.role == "embedding" and key in reading.arrays
    }
    return [*identical(weights, tables), *vanishing(weights)]


def _why_none(notes: Sequence[str], arrays: Arrays) -> str:
    if any(array.ndim > 1 for array in arrays.values()):
        return "; ".join(notes)
    return f"no weights of 2 to 4 dimensions (found {_listed(arrays)})"


def _missing(decisions: Mapping[str, Decision]) -> list[str]:
    """Name the arrays that are work and that no layer does, by what they are."""
    by_role: dict[str, list[str]] = {}
    for key, decision in decisions.items():
        if decision.role in MISSING:
            by_role.setdefault(decision.role, []).append(key)
    return [f"{REASONS[role]}: {listed(sorted(keys))}" for role, keys in by_role.items()]


def _as_stored(arrays: Arrays, source: str, asked: Asked) -> Network:
    if asked != NOTHING_ASKED:
        raise ModelError(f"{source}: eie wrote it and says in it what its layers are: no layers, exclude or transpose")
    return stored.from_arrays(arrays, source)


def _owner(key: str) -> str:
    return ".".join(segments(key)[:-1])


def _layer(plan: Plan, arrays: Arrays, source: str) -> Layer:
    if "codes" in plan.parts and "codebook" not in plan.parts:
        raise ModelError(f"{source}: layer {plan.name!r} has codes but no codebook")
    coded = "codes" in plan.parts
    parts = {part: arrays[key] for part, key in plan.parts.items()}
    codebook, bias = (parts["codebook"], parts.get("bias_codes")) if coded else (None, parts.get("bias"))
    # A float bias beside codes: the accumulators start from it.
    numbers = parts.get("bias") if coded else None
    weights = parts["codes" if coded else "weight"].transpose(plan.axes)
    if plan.norm is not None:
        weights, bias = _folded(plan, arrays, weights=weights, bias=bias)
    if plan.kind == "bilinear":
        # Each output sums over all pairs of its two inputs: a matrix over their outer product.
        weights = weights.reshape(len(weights), -1)
    if plan.kind in ("linear", "bilinear"):
        if codebook is not None:
            return Layer.from_codes(
                name=plan.name, codes=weights, codebook=codebook, bias_codes=bias, accumulator_bias=numbers
            )
        return Layer.from_weights(plan.name, weights, bias)
    if weights.ndim == 3:
        # A convolution over one dimension is one over two with a kernel of one row.
        weights = weights[:, :, None, :]
    weights, conv = _turned(weights, plan.groups) if plan.kind == "transposed" else _plain(weights, plan.groups)
    return Layer.from_conv(
        name=plan.name, weights=weights, bias=bias, conv=conv, codebook=codebook, accumulator_bias=numbers
    )


def _plain(weights: NDArray[Any], groups: int) -> tuple[NDArray[Any], Conv2d | None]:
    out, into, *window = weights.shape
    # Left to the layer, which says best what is wrong with an empty kernel.
    if not weights.size:
        return weights, None
    conv = Conv2d(in_channels=into * groups, out_channels=out, kernel=(window[0], window[1]), groups=groups)
    return weights, conv


def _turned(weights: NDArray[Any], groups: int) -> tuple[NDArray[Any], Conv2d | None]:
    """Make a transposed convolution's (in, out / groups, kh, kw) the kernel of the convolution that it equals."""
    into, per_group, rows, columns = weights.shape
    if not weights.size:
        return weights, None
    split = weights.reshape(groups, into // groups, per_group, rows, columns).swapaxes(1, 2)
    kernel = split.reshape(groups * per_group, into // groups, rows, columns)[:, :, ::-1, ::-1]
    # Each input reaches a window of outputs: backwards, an output reads a window that begins before the map does.
    pads = (rows - 1, columns - 1, rows - 1, columns - 1)
    conv = Conv2d(in_channels=into, out_channels=groups * per_group, kernel=(rows, columns), pads=pads, groups=groups)
    return kernel, conv


def _folded(
    plan: Plan, arrays: Arrays, *, weights: NDArray[Any], bias: NDArray[Any] | None
) -> tuple[NDArray[Any], NDArray[Any]]:
    assert plan.norm is not None
    scale, shift = scale_and_shift(plan.norm, arrays)
    along = scale.reshape(-1, *(1,) * (weights.ndim - 1))
    if plan.kind == "transposed":
        # (in, out / groups, ...): a group of inputs has outputs of its own.
        along = np.repeat(scale.reshape(plan.groups, -1), len(weights) // plan.groups, axis=0)
        along = along.reshape(*along.shape, *(1,) * (weights.ndim - 2))
    # Once in double precision, then rounded as the layer is stored: a pruned weight stays 0.0 times anything finite.
    return _times(weights, along), (scale * (0 if bias is None else bias) + shift).astype(np.float32)


def _times(weights: NDArray[Any], along: NDArray[np.float64]) -> NDArray[np.float32]:
    """Multiply each output's weights, some outputs at a time: in double precision all of them are twice the layer."""
    product = np.empty(weights.shape, np.float32)
    step = max(1, _BLOCK * len(weights) // max(1, weights.size))
    for first in range(0, len(weights), step):
        part = slice(first, first + step)
        product[part] = weights[part] * along[part]
    return product


def _chained(layers: Sequence[Layer]) -> tuple[list[Layer], bool, list[str]]:
    """String fully connected layers up where their names say that one feeds the next."""
    vectors = all(layer.geometry.takes_vectors for layer in layers)
    fits = vectors and all(a.outputs == b.inputs for a, b in pairwise(layers))
    parallel = [layer.name for layer in layers if is_parallel(layer.name)]
    # One alone is parallel to nothing.
    parallel = parallel if len(parallel) > 1 else []
    if len(layers) == 1:
        return list(layers), fits, []
    rule = numbering([layer.name for layer in layers]) if fits else None
    if rule is not None:
        chained = [replace(layer, relu=layer is not layers[-1]) for layer in layers]
        return chained, True, [f"taken as a sequence with ReLU between the layers: numbered {rule}, and shapes chain"]
    if parallel:
        return list(layers), False, [f"parallel, not a sequence: {listed(parallel)}"]
    if fits:
        why = "shapes chain, but no names say that one layer feeds the next: each runs on its own"
        return list(layers), False, [f"{why} (a .toml model or ONNX says it)"]
    return list(layers), False, []


def _trace(
    first: Layer, recorded: Mapping[str, NDArray[Any]], *, samples: NDArray[Any] | None, source: str
) -> Trace | None:
    """Return the recorded inputs of the first layer, with their labels."""
    if samples is None:
        return None
    labels = recorded.get(_LABELS)
    return Trace(
        layers={first.name: _packed(first, samples, f"{source}: activations")},
        labels=None if labels is None else class_labels(labels, f"{source}: labels"),
        source=f"activations in {source}",
    )


def _packed(layer: Layer, activations: NDArray[Any], where: str) -> LayerTrace:
    """Pack recorded inputs of the first layer; maps (N, C, H, W) of a convolution are unrolled."""
    if not layer.geometry.takes_maps or activations.ndim != 4:
        return LayerTrace.from_dense(activations, where)
    products = layer.geometry.products(*layer.geometry.sizes(activations.shape))
    return LayerTrace.from_dense(layer.geometry.recorded(activations, None), where, products)


def _listed(arrays: Arrays) -> str:
    return ", ".join(f"{key} {array.shape}" for key, array in arrays.items()) or "nothing"
