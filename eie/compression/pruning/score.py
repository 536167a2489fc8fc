"""How much a weight, or a block of weights, matters: the criteria of pruning.

Comes in: a float array (outputs, inputs), and gradients or curvature where a criterion needs them. Goes out: one score
a block; the least are pruned first. Read by `prune` and `balance`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal, get_args

import numpy as np
from numpy.typing import NDArray

from eie.errors import RecipeError

Criterion = Literal["magnitude", "l2", "taylor", "obd", "random"]
Block = tuple[int, int]
# Below any score: all criteria give numbers of at least 0.
PRUNED = -1.0


@dataclass(frozen=True, eq=False)
class Evidence:
    """What a criterion looks at besides the weights.

    Attributes
    ----------
    gradient
        (outputs, inputs): derivative of the loss by each weight, for ``"taylor"``.
    curvature
        (outputs, inputs): diagonal of the loss's Hessian, for ``"obd"``.
    seed
        For ``"random"``.
    """

    gradient: NDArray[Any] | None = None
    curvature: NDArray[Any] | None = None
    seed: int | tuple[int, ...] = 0


def block_scores(
    weights: NDArray[Any], block: Block = (1, 1), criterion: Criterion = "magnitude", evidence: Evidence | None = None
) -> NDArray[np.float64]:
    """Score every block of a weight matrix, per weight, so that the smaller blocks at an edge compare fairly.

    Parameters
    ----------
    weights
        (outputs, inputs), zeros pruned already.
    block
        Rows and columns of a block; those at the lower and right edge may be smaller.
    criterion
        ``"magnitude"``: mean of abs(w); ``"l2"``: root mean square; ``"taylor"``: abs(mean of w g), the first-order
        change of the loss when the block goes (Molchanov et al., ICLR 2017); ``"obd"``: mean of h w^2 / 2 (LeCun et
        al., NIPS 1989); ``"random"``: a uniform number, the control.
    evidence
        Gradients, curvature, seed.

    Returns
    -------
    float64 (ceil(outputs / rows), ceil(inputs / columns)); -1 where every weight of the block is zero already, so that
    what was pruned once goes first.

    Raises
    ------
    RecipeError
        If the criterion is unknown or its gradients are missing or of another shape.
    """
    evidence = evidence or Evidence()
    if criterion not in get_args(Criterion):
        raise RecipeError([f"criterion={criterion!r}: must be one of {', '.join(get_args(Criterion))}"])
    if criterion == "random":
        shape = (-(-weights.shape[0] // block[0]), -(-weights.shape[1] // block[1]))
        scores = np.random.default_rng(evidence.seed).random(shape)
    else:
        scores = _block_means(_terms(weights, criterion, evidence), block)
        if criterion == "l2":
            scores = np.sqrt(scores)
        elif criterion == "taylor":
            # Behind the mean, not before: contributions of opposite sign cancel when the block goes as a whole.
            scores = np.abs(scores)
    alive = weights != 0 if block == (1, 1) else _block_means(weights != 0, block) > 0
    return np.where(alive, scores, PRUNED)


def expand(mask: NDArray[np.bool_], block: Block, shape: tuple[int, int]) -> NDArray[np.bool_]:
    """Spread one value a block over its weights: bool (outputs, inputs)."""
    if block == (1, 1):
        return mask
    # Repeated past the edge and cut: blocks at the lower and right edge are smaller.
    return mask.repeat(block[0], axis=0)[: shape[0]].repeat(block[1], axis=1)[:, : shape[1]]


def _terms(weights: NDArray[Any], criterion: Criterion, evidence: Evidence) -> NDArray[Any]:
    if criterion == "magnitude":
        sizes: NDArray[Any] = np.abs(weights)
        return sizes
    # Squares of small float32 weights lose their last digits, and with them the order.
    exact = weights.astype(np.float64)
    if criterion == "l2":
        return np.square(exact)
    what, array = ("gradient", evidence.gradient) if criterion == "taylor" else ("curvature", evidence.curvature)
    if array is None or array.shape != weights.shape:
        present = "none given" if array is None else f"shape {array.shape}"
        raise RecipeError([f"criterion={criterion!r}: needs a {what} of shape {weights.shape}: {present}"])
    terms: NDArray[Any] = exact * array if criterion == "taylor" else np.square(exact) * array / 2
    return terms


def _block_means(values: NDArray[Any], block: Block) -> NDArray[np.float64]:
    if block == (1, 1):
        return values.astype(np.float64)
    rows, columns = (np.arange(0, extent, step) for extent, step in zip(values.shape, block, strict=True))
    # reduceat sums from each start to the next, the smaller last block included; no reshape could.
    sums = np.add.reduceat(np.add.reduceat(values, rows, axis=0, dtype=np.float64), columns, axis=1)
    heights = np.diff(rows, append=values.shape[0])
    widths = np.diff(columns, append=values.shape[1])
    means: NDArray[np.float64] = sums / np.outer(heights, widths)
    return means
