"""Weight sharing: float weights become codes into a small codebook (Deep Compression, section 3).

Comes in: a `Layer`. Goes out: a `Layer` with codes, and a `ShareReport` of what that cost. Read by the compiler.
Weights that already take few enough values keep them exactly. A shared layer has its bias as ``bias_codes``, a column
of the matrix, or in float32 as ``bias``: then the accumulators start from it.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any, get_args

import numpy as np
from numpy.typing import NDArray

from eie.compression.bias import BiasColumn, BiasPlace, bias_column, check_place
from eie.compression.cluster import Initialisation, levels_of, nearest_codes, relative_error
from eie.errors import ModelError
from eie.model.layer import Layer
from eie.model.matrix import frozen
from eie.show.brief import Brief
from eie.show.numbers import percent


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
        Of a bias column, which uses the same codebook; 0.0 without one.
    tenths
        ``relative_error`` of each tenth of the non-zero weights, from the smallest magnitudes to the largest: what an
        outlier, which outweighs all others in the error over everything, cannot hide. Empty where ``exact``, and in
        programs that version 0.1 wrote.
    bias_relative_error
        As ``relative_error``, of a bias at its nearest levels: that of the column, or what one would have had where
        ``bias="auto"`` left it to the accumulators. 0.0 where nobody asked.
    """

    levels: int
    exact: bool
    rms_error: float
    max_error: float
    relative_error: float
    bias_max_error: float
    tenths: tuple[float, ...] = ()
    bias_relative_error: float = 0.0

    @property
    def note(self) -> str:
        """What a reader must know of it in words; empty where every weight kept its value."""
        if self.exact:
            return ""
        text = f"weights clustered to {self.levels} values, relative error {percent(self.relative_error)} %"
        if not self.tenths:
            return text
        worst = int(np.argmax(self.tenths))
        place = {0: "the smallest", len(self.tenths) - 1: "the largest"}.get(worst, f"number {worst + 1} from below")
        # The median too: the smallest of unpruned weights lie far from any level in proportion, however good the rest.
        middle = float(np.median(self.tenths))
        return f"{text} (tenths by magnitude: median {_percent(middle)}, worst {_percent(self.tenths[worst])}, {place})"


def _percent(error: float) -> str:
    """Write a relative error; of weights that are nearly zero no digit says anything."""
    return f"{percent(error)} %" if error < 10 else "over 1,000 %"


def share(
    layer: Layer,
    weight_bits: int = 4,
    init: Initialisation = "exact",
    *,
    seed: int = 0,
    bias: BiasPlace = "auto",
) -> tuple[Layer, ShareReport]:
    """Cluster a layer's non-zero weights to at most ``2**weight_bits - 1`` values; code 0 stays zero.

    Parameters
    ----------
    layer
        With float weights, or already shared: then only the number of levels is checked, and a bias stays where it is.
    weight_bits
        Bits of a code, 1 to 8.
    init
        ``"exact"``: the least squared error, whatever the range (`eie.compression.cluster`), refined by Lloyd's
        algorithm on the weights; ``"linear"``: Lloyd from evenly spaced centroids, Deep Compression's choice, which
        leaves empty clusters on heavy-tailed weights; ``"density"``: Lloyd from equal shares of the weights;
        ``"random"``: Lloyd from weights drawn at random (Forgy).
    seed
        For ``"random"``.
    bias
        Where a float bias goes, which never moves a weight's level. ``"column"``: one more column of the matrix, each
        bias at its nearest level; levels that the weights leave free go to those that theirs hold badly.
        ``"accumulator"``: the accumulators start from it, no column is stored. ``"auto"``: the column where its
        relative error is at most that of the weights, else the accumulators, and the report says so.

    Raises
    ------
    ModelError
        If the layer is shared already with more levels than ``weight_bits`` can name, or ``init`` or ``bias`` is
        unknown.
    """
    if init not in get_args(Initialisation):
        raise ModelError(f"init={init!r}: must be one of {', '.join(get_args(Initialisation))}")
    check_place(bias)
    # Code 0 is the zero that padding entries carry, so one level fewer than the bits could name.
    levels = (1 << weight_bits) - 1
    if layer.codebook is not None:
        return layer, _as_it_is(layer, levels)
    weights: NDArray[np.float32] = layer.matrix.data
    ordered = np.sort(weights)
    own = levels_of(ordered, levels, init, seed=seed)
    # Without level 0: a weight that was kept must not become zero, or the pattern changes. A bias may.
    codes = nearest_codes(weights, own, 1)
    sizes = np.bincount(codes, minlength=len(own) + 1)[1:]
    # The codes ascend with the weights, so of sorted weights the first sizes[0] have the first level, and so on.
    error = np.repeat(own, sizes) - ordered
    report = _report(ordered=ordered, error=error, levels=int(np.count_nonzero(sizes)))
    shared = replace(
        layer,
        matrix=layer.matrix.with_data(codes),
        codebook=frozen(np.concatenate((np.zeros(1, np.float32), own)), np.float32),
    )
    if layer.bias is None or bias == "accumulator":
        return shared, report
    # A start that left clusters empty left their levels free as well.
    column = bias_column(layer.bias, own[sizes > 0], levels)
    report = replace(report, bias_relative_error=column.relative_error)
    if bias == "auto" and column.relative_error > report.relative_error:
        return shared, report
    return _with_column(shared, own, column), replace(
        report, levels=_in_use(sizes, own, column), bias_max_error=column.max_error
    )


def _as_it_is(layer: Layer, levels: int) -> ShareReport:
    """Report on a layer that is shared already, if its codes fit."""
    used = int(max(layer.matrix.data.max(initial=0), _largest(layer.bias_codes)))
    if used > levels:
        raise ModelError(
            f"layer {layer.name!r}: uses code {used}: "
            f"{(levels + 1).bit_length() - 1}-bit weights allow at most {levels} "
            f"(raise weight_bits, or give float weights to be clustered)"
        )
    return ShareReport(levels=used, exact=True, rms_error=0.0, max_error=0.0, relative_error=0.0, bias_max_error=0.0)


def _with_column(shared: Layer, own: NDArray[np.float32], column: BiasColumn) -> Layer:
    """Give a layer shared by the levels ``own`` the codebook of its bias too, and the bias as codes."""
    # By value, not by nearness: a level that a bias brought may lie nearer to a weight than the weight's own.
    renumbered = np.zeros(len(own) + 1, np.uint8)
    renumbered[1:] = np.searchsorted(column.codebook[1:], own) + 1
    return replace(
        shared,
        matrix=shared.matrix.with_data(renumbered[shared.matrix.data]),
        codebook=frozen(column.codebook, np.float32),
        bias=None,
        bias_codes=frozen(column.codes, np.uint8),
    )


def _in_use(sizes: NDArray[np.int64], own: NDArray[np.float32], column: BiasColumn) -> int:
    """Count the non-zero codes that some weight or bias has."""
    weights = np.searchsorted(column.codebook[1:], own[sizes > 0]) + 1
    return len(np.setdiff1d(np.union1d(weights, column.codes), [0]))


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


def _largest(codes: NDArray[np.uint8] | None) -> int:
    return 0 if codes is None else int(codes.max(initial=0))


def _report(ordered: NDArray[np.float32], error: NDArray[np.float32], levels: int) -> ShareReport:
    exact = not error.any()
    energy = float(np.square(error, dtype=np.float64).sum())
    return ShareReport(
        levels=levels,
        exact=exact,
        rms_error=float(np.sqrt(energy / max(len(ordered), 1))),
        max_error=float(np.abs(error).max(initial=0.0)),
        relative_error=relative_error(error, ordered),
        bias_max_error=0.0,
        tenths=() if exact else _tenths(ordered, error),
    )


def _tenths(ordered: NDArray[np.float32], error: NDArray[np.float32]) -> tuple[float, ...]:
    """Return the relative error of each tenth by magnitude of sorted weights; 0.0 for a tenth that holds none."""
    zero = np.searchsorted(ordered, np.float32(0))
    # Magnitudes ascend on either side of zero, so turning the negative side round leaves two sorted runs, which a
    # stable sort only has to merge.
    magnitude, error = (np.concatenate((side[:zero][::-1], side[zero:])) for side in (np.abs(ordered), error))
    order = np.argsort(magnitude, kind="stable")
    edges = np.arange(11) * len(ordered) // 10
    return tuple(relative_error(error[order[low:high]], magnitude[order[low:high]]) for low, high in pairwise(edges))
