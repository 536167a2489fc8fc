"""Weight sharing: float weights become codes into a small codebook (Deep Compression, section 3).

Comes in: a `Layer`. Goes out: a `Layer` with codes, and a `ShareReport` of what that cost. Read by the compiler.
Weights that already take few enough values keep them exactly.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any, Literal, get_args

import numpy as np
from numpy.typing import NDArray

from eie.compression.cluster import prefix_sums, start_near_optimum
from eie.errors import ModelError
from eie.model.matrix import frozen
from eie.model.network import Layer
from eie.show.brief import Brief

Initialisation = Literal["exact", "linear", "density", "random"]
LLOYD_ROUNDS = 100


@dataclass(frozen=True, kw_only=True, repr=False)
class ShareReport(Brief):
    """What sharing did to one layer.

    Attributes
    ----------
    levels
        Non-zero codebook entries in use: those that some weight or bias names.
    exact
        True when every weight kept its value.
    rms_error, max_error
        Of the non-zero weights, in the weights' unit.
    relative_error
        Root of the summed squared error over the root of the summed squared weights.
    bias_max_error
        Of the bias, which uses the same codebook; 0.0 without bias.
    tenths
        ``relative_error`` of each tenth of the non-zero weights, from the smallest magnitudes to the largest: what an
        outlier, which outweighs all others in the error over everything, cannot hide. Empty where ``exact``, and in
        programs that version 0.1 wrote.
    """

    levels: int
    exact: bool
    rms_error: float
    max_error: float
    relative_error: float
    bias_max_error: float
    tenths: tuple[float, ...] = ()

    @property
    def note(self) -> str:
        """What a reader must know of it in words; empty where every weight kept its value."""
        if self.exact:
            return ""
        text = f"weights clustered to {self.levels} values, relative error {self.relative_error:.1%}"
        if not self.tenths:
            return text
        worst = int(np.argmax(self.tenths))
        place = {0: "the smallest", len(self.tenths) - 1: "the largest"}.get(worst, f"number {worst + 1} from below")
        # The median too: the smallest of unpruned weights lie far from any level in proportion, however good the rest.
        middle = float(np.median(self.tenths))
        return f"{text} (tenths by magnitude: median {middle:.1%}, worst {self.tenths[worst]:.1%}, {place})"


def share(
    layer: Layer, weight_bits: int = 4, init: Initialisation = "exact", *, seed: int = 0
) -> tuple[Layer, ShareReport]:
    """Cluster a layer's non-zero weights and bias to at most ``2**weight_bits - 1`` values; code 0 stays zero.

    Parameters
    ----------
    layer
        With float weights, or already shared: then only the number of levels is checked.
    weight_bits
        Bits of a code, 1 to 8.
    init
        ``"exact"``: the least squared error, whatever the range (`eie.compression.cluster`), refined by Lloyd's
        algorithm on the weights; ``"linear"``: Lloyd from evenly spaced centroids, Deep Compression's choice, which
        leaves empty clusters on heavy-tailed weights; ``"density"``: Lloyd from equal shares of the weights;
        ``"random"``: Lloyd from weights drawn at random (Forgy).
    seed
        For ``"random"``.

    Raises
    ------
    ModelError
        If the layer is shared already with more levels than ``weight_bits`` can name, or ``init`` is unknown.
    """
    if init not in get_args(Initialisation):
        raise ModelError(f"init={init!r}: must be one of {', '.join(get_args(Initialisation))}")
    # Code 0 is the zero that padding entries carry, so one level fewer than the bits could name.
    levels = (1 << weight_bits) - 1
    if layer.codebook is not None:
        used = int(max(layer.matrix.data.max(initial=0), _largest(layer.bias_codes)))
        if used > levels:
            raise ModelError(
                f"layer {layer.name!r}: uses code {used}: {weight_bits}-bit weights allow at most {levels} "
                f"(raise weight_bits, or give float weights to be clustered)"
            )
        return layer, ShareReport(
            levels=used, exact=True, rms_error=0.0, max_error=0.0, relative_error=0.0, bias_max_error=0.0
        )
    weights: NDArray[np.float32] = layer.matrix.data
    bias = np.zeros(0, np.float32) if layer.bias is None else layer.bias[layer.bias != 0]
    ordered = np.sort(weights)
    centroids = _centroids(weights=ordered, bias=np.sort(bias), levels=levels, init=init, seed=seed)
    codebook = np.concatenate((np.zeros(1, np.float32), centroids))
    # Without level 0: a weight that was kept must not become zero, or the pattern changes. A bias may.
    codes = nearest_codes(weights, codebook[1:], 1)
    bias_codes, bias_error = None, 0.0
    if layer.bias is not None:
        bias_codes = frozen(_nearest_with_zero(layer.bias, codebook), np.uint8)
        bias_error = float(np.abs(codebook[bias_codes] - layer.bias).max())
    shared = replace(
        layer,
        matrix=layer.matrix.with_data(codes),
        codebook=frozen(codebook, np.float32),
        bias=None,
        bias_codes=bias_codes,
    )
    sizes = np.bincount(codes, minlength=len(codebook))
    occurrences = sizes if bias_codes is None else sizes + np.bincount(bias_codes, minlength=len(codebook))
    # The codes ascend with the weights, so of sorted weights the first sizes[1] have code 1, and so on.
    error = np.repeat(codebook, sizes) - ordered
    return shared, _report(
        ordered=ordered, error=error, levels=int(np.count_nonzero(occurrences[1:])), bias_error=bias_error
    )


def _centroids(
    weights: NDArray[np.float32], bias: NDArray[np.float32], levels: int, init: Initialisation, seed: int
) -> NDArray[np.float32]:
    """Choose at most ``levels`` ascending values for sorted weights and bias, which share one codebook.

    Weights that take few enough values keep them all, and the bias gets what levels are left; otherwise both are
    clustered together.
    """
    # Weights first: there are many of them and few biases, which are to take what levels are left rather than push one
    # out.
    distinct = _distinct(weights)
    if distinct > levels:
        # Both are sorted, so they merge in one pass; sorting the whole anew took half as long as all of clustering.
        both = np.insert(weights, np.searchsorted(weights, bias), bias)
        return _cluster(ordered=both, levels=levels, init=init, seed=seed)
    kept = np.unique(weights)
    foreign = np.setdiff1d(bias, kept)
    spare = levels - distinct
    if not spare or not len(foreign):
        return kept
    extra = (
        foreign
        if len(foreign) <= spare
        else _cluster(ordered=bias[~np.isin(bias, kept)], levels=spare, init=init, seed=seed)
    )
    return np.unique(np.concatenate((kept, extra)))


def _distinct(ordered: NDArray[np.float32]) -> int:
    return 1 + int(np.count_nonzero(ordered[1:] != ordered[:-1])) if len(ordered) else 0


def _cluster(ordered: NDArray[np.float32], levels: int, init: Initialisation, seed: int) -> NDArray[np.float32]:
    return _lloyd(ordered, _start(ordered=ordered, levels=levels, init=init, seed=seed))


def tied_gradient(codes: NDArray[Any], gradient: NDArray[Any], levels: int | None = None) -> NDArray[np.float64]:
    """Add up the gradients of all weights that share a level: the gradient of the codebook.

    Deep Compression, section 3.3. The reserved zero's gradient is zero, so that pruned weights stay pruned.

    Parameters
    ----------
    codes
        Integer codes of any shape, 0 for pruned.
    gradient
        Derivative of the loss by each weight, of the same shape.
    levels
        Length of the codebook; up to the largest code otherwise.

    Returns
    -------
    float64 (levels,)

    Examples
    --------
    >>> tied_gradient(np.array([[0, 1], [2, 1]]), np.array([[9.0, 0.5], [2.0, 0.25]])).tolist()
    [0.0, 0.75, 2.0]
    """
    if codes.shape != gradient.shape:
        raise ModelError(f"gradient has shape {gradient.shape}: must be that of the codes, {codes.shape}")
    flat = codes.ravel().astype(np.int64)
    sums: NDArray[Any] = np.bincount(flat, weights=gradient.ravel().astype(np.float64), minlength=levels or 0)
    # The slice works on an empty codebook too.
    sums[:1] = 0
    return sums.astype(np.float64, copy=False)


def with_codebook(layer: Layer, codebook: NDArray[Any]) -> Layer:
    """Return a shared layer with its levels moved to ``codebook`` (levels,); level 0 stays zero.

    Raises
    ------
    ModelError
        If the layer is not shared, or the levels are of another number or not finite.
    """
    if layer.codebook is None:
        raise ModelError(f"layer {layer.name!r}: has no codebook to move: share it first")
    moved = frozen(codebook, np.float32).copy()
    if moved.shape != layer.codebook.shape or not np.isfinite(moved).all():
        raise ModelError(f"layer {layer.name!r}: codebook must be {layer.codebook.shape} finite levels")
    moved[0] = 0
    return replace(layer, codebook=frozen(moved, np.float32))


def nearest_codes(values: NDArray[np.float32], centroids: NDArray[np.float32], first: int) -> NDArray[np.uint8]:
    """Return ``first`` + the index of the nearest of the ascending ``centroids`` for every value."""
    # Midpoints in float64: in float32 the mean of neighbours can round onto one of them.
    borders = (centroids[1:].astype(np.float64) + centroids[:-1]) / 2
    return (np.searchsorted(borders, values, side="left") + first).astype(np.uint8)


def _nearest_with_zero(bias: NDArray[np.float32], codebook: NDArray[np.float32]) -> NDArray[np.uint8]:
    # The codebook is zero first and then ascending, negative values too: sorted it is once more what nearest_codes
    # takes.
    order = np.argsort(codebook, kind="stable")
    return order[nearest_codes(bias, codebook[order], 0)].astype(np.uint8)


def _start(ordered: NDArray[np.float32], levels: int, init: Initialisation, seed: int) -> NDArray[np.float64]:
    """Choose where Lloyd's algorithm begins on sorted values."""
    if init == "linear":
        return np.linspace(float(ordered[0]), float(ordered[-1]), levels)
    if init == "density":
        # The middle of each equal share of the sorted weights.
        shares = (np.arange(levels) + 0.5) / levels
        return ordered[(shares * len(ordered)).astype(np.int64)].astype(np.float64)
    if init == "random":
        # Of distinct values, so that no two clusters begin in one place.
        drawn = np.random.default_rng(seed).choice(np.unique(ordered), levels, replace=False)
        return np.sort(drawn).astype(np.float64)
    return start_near_optimum(ordered, levels)


def _lloyd(ordered: NDArray[np.float32], centroids: NDArray[np.float64]) -> NDArray[np.float32]:
    """Refine centroids on sorted data until the borders stand still; a cluster left empty keeps its centroid."""
    first = prefix_sums(ordered)
    borders = np.zeros(0, np.int64)
    for _ in range(LLOYD_ROUNDS):
        exact = (centroids[1:] + centroids[:-1]) / 2
        middles = exact.astype(np.float32)
        # Searching in float64 would copy all values, so the border is rounded, and upwards: a value lies below the
        # border exactly if it lies below the next float32, while one rounded down can join two neighbouring values.
        middles = np.where(middles < exact, np.nextafter(middles, np.float32(np.inf)), middles)
        new = np.concatenate(([0], np.searchsorted(ordered, middles, "left"), [len(ordered)]))
        if np.array_equal(new, borders):
            break
        borders = new
        sizes = np.diff(borders)
        centroids = np.where(sizes > 0, np.diff(first[borders]) / np.maximum(sizes, 1), centroids)
    return np.unique(centroids.astype(np.float32))


def _largest(codes: NDArray[np.uint8] | None) -> int:
    return 0 if codes is None else int(codes.max(initial=0))


def _report(ordered: NDArray[np.float32], error: NDArray[np.float32], levels: int, bias_error: float) -> ShareReport:
    exact = not error.any()
    energy = float(np.square(error, dtype=np.float64).sum())
    return ShareReport(
        levels=levels,
        exact=exact,
        rms_error=float(np.sqrt(energy / max(len(ordered), 1))),
        max_error=float(np.abs(error).max(initial=0.0)),
        relative_error=_relative(error, ordered),
        bias_max_error=bias_error,
        tenths=() if exact else _tenths(ordered, error),
    )


def _relative(error: NDArray[np.float32], weights: NDArray[np.float32]) -> float:
    # Squared in float64: in float32 the square of 1e-30 is 0, that of 1e30 infinite.
    energy, total = (float(np.square(values, dtype=np.float64).sum()) for values in (error, weights))
    return float(np.sqrt(energy / total)) if total else 0.0


def _tenths(ordered: NDArray[np.float32], error: NDArray[np.float32]) -> tuple[float, ...]:
    """Return the relative error of each tenth by magnitude of sorted weights; 0.0 for a tenth that holds none."""
    zero = np.searchsorted(ordered, np.float32(0))
    # Magnitudes ascend on either side of zero, so turning the negative side round leaves two sorted runs, which a
    # stable sort only has to merge.
    magnitude, error = (np.concatenate((side[:zero][::-1], side[zero:])) for side in (np.abs(ordered), error))
    order = np.argsort(magnitude, kind="stable")
    edges = np.arange(11) * len(ordered) // 10
    return tuple(_relative(error[order[low:high]], magnitude[order[low:high]]) for low, high in pairwise(edges))
