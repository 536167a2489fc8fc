"""The glue between weight layers in numpy: pooling, joining, reshaping, activation functions.

Comes in: a node and its input arrays, batch first. Goes out: its output array. Called by `eie.simulator.network`, once
for each datapath. EIE does not run these; they decide which activations the next layer sees.

`EXACT` operators only move, pick or zero numbers, so they run on raw fixed-point integers as they are; `COMPUTED` ones
take real numbers, and their fixed-point results are rounded again. The table in `eie.model.graph` lists the attributes.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from eie.errors import ModelError

Array = NDArray[Any]
Attributes = Mapping[str, Any]
Operator = Callable[[Sequence[Array], Attributes], Array]


def _relu(x: Sequence[Array], _: Attributes) -> Array:
    return np.maximum(x[0], 0)


def _identity(x: Sequence[Array], _: Attributes) -> Array:
    return x[0]


def _flatten(x: Sequence[Array], at: Attributes) -> Array:
    axis = at.get("axis", 1)
    axis = axis if axis >= 0 else axis + x[0].ndim
    return x[0].reshape(int(np.prod(x[0].shape[:axis], dtype=np.int64)), -1)


def _reshape(x: Sequence[Array], at: Attributes) -> Array:
    sizes = [x[0].shape[i] if size == 0 else size for i, size in enumerate(at["shape"])]
    return x[0].reshape(sizes)


def _transpose(x: Sequence[Array], at: Attributes) -> Array:
    moved: Array = x[0].transpose(at["axes"])
    return moved


def _squeeze(x: Sequence[Array], at: Attributes) -> Array:
    return np.squeeze(x[0], tuple(at["axes"]))


def _unsqueeze(x: Sequence[Array], at: Attributes) -> Array:
    return np.expand_dims(x[0], tuple(at["axes"]))


def _slice(x: Sequence[Array], at: Attributes) -> Array:
    where = [slice(None)] * x[0].ndim
    where[at["axis"]] = slice(at.get("start"), at.get("stop"), at.get("step", 1))
    return x[0][tuple(where)]


def _max_pool(x: Sequence[Array], at: Attributes) -> Array:
    lowest = np.iinfo(x[0].dtype).min if x[0].dtype.kind == "i" else -np.inf
    windows = _pooled(x[0], at, lowest)
    # One place of all windows after the other: several times faster than reducing many short axes.
    top: Array = windows[..., 0, 0].copy()
    for place in np.ndindex(windows.shape[-2:]):
        np.maximum(top, windows[(..., *place)], out=top)
    return top


def _average_pool(x: Sequence[Array], at: Attributes) -> Array:
    total: Array = _pooled(x[0], at, 0).sum(axis=(-2, -1))
    padded = np.pad(np.ones(x[0].shape[2:], x[0].dtype), _pads(at), constant_values=float(at.get("count_pads", False)))
    counts: Array = _windows(padded[None, None], at, 0).sum(axis=(-2, -1))
    mean: Array = total / counts
    return mean


def _pads(at: Attributes) -> list[tuple[int, int]]:
    top, left, bottom, right = at.get("pads", (0, 0, 0, 0))
    return [(top, bottom), (left, right)]


def _pooled(x: Array, at: Attributes, filler: float) -> Array:
    """View (N, C, H, W) as the pooling windows (N, C, oh, ow, kh, kw)."""
    return _windows(np.pad(x, [(0, 0), (0, 0), *_pads(at)], constant_values=filler), at, filler)


def _windows(padded: Array, at: Attributes, filler: float) -> Array:
    kernel = at["kernel"]
    stride, gaps = at.get("stride", kernel), at.get("dilation", (1, 1))
    spans = tuple(gap * (size - 1) + 1 for gap, size in zip(gaps, kernel, strict=True))
    if at.get("ceil", False):
        more = [-(size - span) % step for size, span, step in zip(padded.shape[2:], spans, stride, strict=True)]
        # A last window must begin before the padding behind the map, or it is none.
        behind = [after for _, after in _pads(at)]
        more = [0 if extra + pad >= span else extra for extra, pad, span in zip(more, behind, spans, strict=True)]
        padded = np.pad(padded, [(0, 0), (0, 0), *((0, extra) for extra in more)], constant_values=filler)
    view = np.lib.stride_tricks.sliding_window_view(padded, spans, axis=(2, 3))
    return view[:, :, :: stride[0], :: stride[1], :: gaps[0], :: gaps[1]]


def _mean(x: Sequence[Array], at: Attributes) -> Array:
    mean: Array = x[0].mean(axis=tuple(at["axes"]), keepdims=at.get("keep", False))
    return mean


def _softmax(x: Sequence[Array], at: Attributes) -> Array:
    axis = at.get("axis", -1)
    powers: Array = np.exp(x[0] - x[0].max(axis=axis, keepdims=True))
    powers /= powers.sum(axis=axis, keepdims=True)
    return powers


def _batch_norm(x: Sequence[Array], at: Attributes) -> Array:
    scale, bias, mean, variance = (part.reshape(-1, *[1] * (x[0].ndim - 2)) for part in x[1:])
    normal: Array = (x[0] - mean) * (scale / np.sqrt(variance + at.get("epsilon", 1e-5))) + bias
    return normal


def sigmoid(x: Array) -> Array:
    """1 / (1 + exp(-x)), without overflow."""
    half: Array = 0.5 * (1 + np.tanh(0.5 * x))
    return half


EXACT: Mapping[str, Operator] = {
    "relu": _relu,
    "identity": _identity,
    "dropout": _identity,
    "flatten": _flatten,
    "reshape": _reshape,
    "transpose": _transpose,
    "squeeze": _squeeze,
    "unsqueeze": _unsqueeze,
    "slice": _slice,
    "max_pool": _max_pool,
}

COMPUTED: Mapping[str, Operator] = {
    "sigmoid": lambda x, _: sigmoid(x[0]),
    "tanh": lambda x, _: np.tanh(x[0]),
    "leaky_relu": lambda x, at: np.where(x[0] < 0, x[0] * at.get("slope", 0.01), x[0]),
    "clip": lambda x, at: np.clip(x[0], at.get("low", -np.inf), at.get("high", np.inf)),
    "average_pool": _average_pool,
    "global_average_pool": lambda x, _: x[0].mean(axis=(2, 3), keepdims=True),
    "mean": _mean,
    "concat": lambda x, at: np.concatenate(x, axis=at["axis"]),
    "add": lambda x, _: x[0] + x[1],
    "sub": lambda x, _: x[0] - x[1],
    "mul": lambda x, _: x[0] * x[1],
    "div": lambda x, _: x[0] / x[1],
    "softmax": _softmax,
    "batch_norm": _batch_norm,
    "pad": lambda x, at: np.pad(x[0], at["pads"], constant_values=at.get("value", 0)),
}


INPUTS: Mapping[str, int] = {"add": 2, "sub": 2, "mul": 2, "div": 2, "batch_norm": 5}


def apply(name: str, op: str, inputs: Sequence[Array], attributes: Attributes) -> Array:
    """Run one operator.

    Raises
    ------
    ModelError
        For an operator that is not known, or attributes and shapes it cannot work with; names the node.
    """
    function = EXACT.get(op) or COMPUTED.get(op)
    if function is None:
        raise ModelError(f"node {name!r}: operator {op!r} is not supported: known are layer, {', '.join(known())}")
    if op != "concat" and len(inputs) != INPUTS.get(op, 1):
        raise ModelError(f"node {name!r} ({op}): takes {INPUTS.get(op, 1)} inputs, has {len(inputs)}")
    try:
        with np.errstate(all="ignore"):
            made = function(inputs, attributes)
    except KeyError as error:
        raise ModelError(f"node {name!r} ({op}): attribute {error} is missing") from None
    except (ValueError, TypeError, IndexError, AttributeError, ArithmeticError, MemoryError) as error:
        shapes = ", ".join(str(one.shape) for one in inputs)
        raise ModelError(f"node {name!r} ({op}) on {shapes}: {error}") from None
    if made.size == 0 or (made.dtype.kind == "f" and not np.isfinite(made).all()):
        what = "is empty" if made.size == 0 else "holds NaN or infinity"
        raise ModelError(f"node {name!r} ({op}): its result {what}")
    return made


def known() -> list[str]:
    """Every operator but ``layer``."""
    return sorted([*EXACT, *COMPUTED])
