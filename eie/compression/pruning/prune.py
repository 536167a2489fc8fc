"""Pruning masks: which weights stay, at every granularity, to the exact count.

Comes in: a float array (outputs, inputs) and how much of it is to stay. Goes out: a bool mask of the same shape, True
where a weight stays. Read by `apply`, which follows a recipe, and by fine-tuning. A convolution's weights are
(output channels, input channels x kernel height x kernel width), so a row is a filter.

The granularities, from fine to coarse, count these units: ``fine`` single weights; ``N:M`` N of every M weights along
the inputs; ``block`` blocks of rows x columns; ``row`` (a neuron or filter, zeroed in place); ``column``; ``channel``
(a row that `structure` then really takes out); ``layer``.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from eie.compression.pruning.score import Block, Criterion, Evidence, block_scores, expand
from eie.errors import RecipeError
from eie.model.layer import Layer

Mask = NDArray[np.bool_]
UNITS = ("fine", "block", "row", "neuron", "column", "channel", "filter", "layer")
_NM = re.compile(r"([1-9]\d*):([1-9]\d*)")


def unit_block(granularity: str, shape: tuple[int, int], block: Block = (1, 1)) -> Block:
    """Rows and columns of one unit of ``granularity`` in a matrix of ``shape``.

    Raises
    ------
    RecipeError
        If the granularity is not one of `UNITS`.
    """
    blocks = {
        "fine": (1, 1),
        "block": block,
        "row": (1, shape[1]),
        "neuron": (1, shape[1]),
        "channel": (1, shape[1]),
        "filter": (1, shape[1]),
        "column": (shape[0], 1),
        "layer": shape,
    }
    if granularity not in blocks:
        raise RecipeError([f"granularity={granularity!r}: must be N:M or one of {', '.join(UNITS)}"])
    return blocks[granularity]


def n_of_m(granularity: str) -> tuple[int, int] | None:
    """Read ``"2:4"`` as (2, 4): 2 weights of every 4 are kept; None if it is another granularity."""
    match = _NM.fullmatch(granularity)
    if match is None:
        return None
    kept, group = int(match[1]), int(match[2])
    if kept > group:
        raise RecipeError([f"granularity={granularity!r}: keeps {kept} of {group}: must be at most {group}"])
    return kept, group


def kept_count(density: float, units: int) -> int:
    """Units that stay: ``density * units``, halves up."""
    return int(np.floor(density * units + 0.5))


def prune_mask(
    weights: NDArray[Any],
    granularity: str = "fine",
    density: float = 1.0,
    criterion: Criterion = "magnitude",
    *,
    block: Block = (1, 1),
    evidence: Evidence | None = None,
) -> Mask:
    """Say which weights of one layer stay.

    Parameters
    ----------
    weights
        (outputs, inputs), zeros pruned already; they are the first to go.
    granularity
        See the module; for ``N:M`` the density is N / M whatever ``density`` says.
    density
        Share of the units that stays, 0 to 1.
    criterion, evidence
        See `eie.compression.pruning.score.block_scores`.
    block
        Rows and columns of a ``block``.

    Returns
    -------
    bool (outputs, inputs) with exactly ``floor(density * units + 0.5)`` units True.

    Raises
    ------
    RecipeError
        If the granularity or criterion is unknown, or gradients are missing.

    Examples
    --------
    >>> import numpy as np
    >>> weights = np.array([[0.8, 0.3, 0.9, 0.1, 0.5, 0.7, 0.2, 0.6]])
    >>> np.where(prune_mask(weights, "2:4"), weights, 0)
    array([[0.8, 0. , 0.9, 0. , 0. , 0.7, 0. , 0.6]])
    """
    pattern = n_of_m(granularity)
    if pattern is not None:
        return nm_mask(block_scores(weights=weights, block=(1, 1), criterion=criterion, evidence=evidence), *pattern)
    shape = (weights.shape[0], weights.shape[1])
    unit = unit_block(granularity, shape, block)
    scores = block_scores(weights=weights, block=unit, criterion=criterion, evidence=evidence)
    return expand(keep_largest(scores, kept_count(density, scores.size)), unit, shape)


def global_masks(scores: Sequence[NDArray[np.float64]], density: float) -> list[Mask]:
    """Rank the units of several layers together: exactly ``density`` of all of them stay, wherever they are.

    Parameters
    ----------
    scores
        From `block_scores`, one array a layer.

    Returns
    -------
    A bool array of each layer's scores' shape; `eie.compression.pruning.score.expand` spreads it over the weights.
    """
    together = np.concatenate([layer_scores.ravel() for layer_scores in scores])
    kept = keep_largest(together, kept_count(density, together.size))
    parts = np.split(kept, np.cumsum([layer_scores.size for layer_scores in scores])[:-1])
    return [part.reshape(layer_scores.shape) for part, layer_scores in zip(parts, scores, strict=True)]


def keep_largest(scores: NDArray[np.float64], count: int) -> Mask:
    """Mark exactly ``count`` of the largest scores; of equal ones the first in index order."""
    flat = scores.ravel()
    if count <= 0 or count >= flat.size:
        return np.full(scores.shape, count > 0)
    # The count-th largest score by selection, linear in the weights where sorting is not; what equals it fills up in
    # index order, so that the count is exact and the same on every machine.
    border = np.partition(flat, flat.size - count)[flat.size - count]
    kept: Mask = flat > border
    ties = np.flatnonzero(flat == border)
    kept[ties[: count - np.count_nonzero(kept)]] = True
    return kept.reshape(scores.shape)


def nm_mask(scores: NDArray[np.float64], kept: int, group: int) -> Mask:
    """Keep the ``kept`` largest of every ``group`` scores along the inputs.

    A shorter group at the end of a row keeps ``kept`` too, or all it has.
    """
    rows, columns = scores.shape
    groups = -(-columns // group)
    # Places behind the row's end lose against every real score, pruned ones (-1) included.
    padded = np.full((rows, groups * group), -np.inf)
    padded[:, :columns] = scores
    # Stable on the negated scores: of equal ones the first stays, as in keep_largest.
    order = np.argsort(-padded.reshape(rows, groups, group), axis=2, kind="stable")
    mask = np.zeros((rows, groups, group), bool)
    np.put_along_axis(mask, order[:, :, :kept], True, axis=2)
    return mask.reshape(rows, -1)[:, :columns]


def diagonal_blocks(layer: Layer) -> int:
    """Blocks on the diagonal that hold all of a layer's weights; 1 if the whole matrix may."""
    return layer.geometry.diagonal_blocks


def weight_shape(layer: Layer) -> tuple[int, int]:
    """Return (outputs, columns) of the weights that a layer can have, the shape of `compact`'s arrays."""
    return layer.outputs, layer.inputs // diagonal_blocks(layer)


def stored_columns(layer: Layer) -> NDArray[np.int64] | None:
    """Columns of the weights that a layer can have, (outputs, columns); None if it can have them all.

    A grouped convolution is a block-diagonal matrix: what lies off the diagonal is no weight, and not pruned either.
    """
    blocks = diagonal_blocks(layer)
    if blocks == 1:
        return None
    width = weight_shape(layer)[1]
    # Rows of a group are neighbours, and group b reads columns b * width and on.
    block = np.arange(layer.outputs) // (layer.outputs // blocks)
    columns: NDArray[np.int64] = block[:, None] * width + np.arange(width)
    return columns


def compact(layer: Layer, array: NDArray[Any]) -> NDArray[Any]:
    """Return only what belongs to weights of ``array``, shaped as the layer's matrix."""
    columns = stored_columns(layer)
    return array if columns is None else np.take_along_axis(array, columns, axis=1)


def with_mask(layer: Layer, mask: Mask) -> Layer:
    """Return the layer without the weights that ``mask`` drops; the bias stays.

    Parameters
    ----------
    mask
        bool, shaped as the layer's matrix, or as `compact` leaves it.

    Raises
    ------
    RecipeError
        If the mask has another shape.
    """
    columns = stored_columns(layer)
    if columns is not None and mask.shape == columns.shape:
        spread = np.zeros(layer.matrix.shape, bool)
        np.put_along_axis(spread, columns, mask, axis=1)
        mask = spread
    if mask.shape != layer.matrix.shape:
        raise RecipeError([f"layer {layer.name!r}: mask of shape {mask.shape}: must be {layer.matrix.shape}"])
    return replace(layer, matrix=layer.matrix.where(mask))
