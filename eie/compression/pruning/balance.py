"""Even work for the PEs: pruning that leaves each as many weights, and row orders that spread what is there.

Comes in: weights or a `Network`, and the number of PEs. Goes out: a mask, or a permuted `Network`. Row i of a layer
belongs to PE i mod n_pe. Read by `apply`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from eie.compression.pruning.prune import Mask, keep_largest, kept_count
from eie.compression.pruning.score import PRUNED
from eie.compression.pruning.selection import Order, layer_named, with_rows
from eie.compression.pruning.structure import gives_output, movable, select_outputs
from eie.errors import RecipeError
from eie.model.layer import Layer
from eie.model.network import Network
from eie.model.recorded import recorded_of
from eie.model.trace import Trace

# Broadcasts; what a queue evens out lies closer together.
WINDOW = 64


def balanced_mask(scores: NDArray[np.float64], density: float, n_pe: int) -> Mask:
    """Keep the highest scores of each PE's rows, equally many for each PE (load-balance-aware pruning).

    Han et al., ESE, FPGA 2017, section 3. Where the count does not divide, or a PE has too few rows (or too few weights
    left), the others carry the difference, as evenly as can be.

    Parameters
    ----------
    scores
        (outputs, columns) from `eie.compression.pruning.score.block_scores`; -1 marks what is pruned already.
    density
        Share of all weights that stays, to the exact count.

    Returns
    -------
    bool (outputs, columns)
    """
    pe_of = np.arange(scores.shape[0]) % n_pe
    alive = np.bincount(pe_of, weights=(scores != PRUNED).sum(axis=1), minlength=n_pe).astype(np.int64)
    total = kept_count(density, scores.size)
    room = alive
    # More than is left was asked for: then pruned places count as room too, and come back as zeros.
    if total > alive.sum():
        room = np.bincount(pe_of, minlength=n_pe) * scores.shape[1]
    mask = np.zeros(scores.shape, bool)
    for pe, count in enumerate(even_shares(total, room)[: scores.shape[0]]):
        # Row i belongs to PE i mod n_pe.
        mask[pe::n_pe] = keep_largest(scores[pe::n_pe], int(count))
    return mask


def even_shares(total: int, room: NDArray[np.int64]) -> NDArray[np.int64]:
    """Split ``total`` into shares that differ by at most 1, none above its ``room``; first come first served."""
    low, high = 0, int(room.max(initial=0))
    while low < high:
        # Water filling: the highest level up to which all PEs can be filled without exceeding the total.
        level = (low + high + 1) // 2
        if np.minimum(room, level).sum() <= total:
            low = level
        else:
            high = level - 1
    shares: NDArray[np.int64] = np.minimum(room, low)
    more = np.flatnonzero(room > low)[: total - int(shares.sum())]
    shares[more] += 1
    return shares


@dataclass(frozen=True, eq=False, kw_only=True)
class Permutation:
    """A network in another row order.

    Attributes
    ----------
    network
        Computes the same numbers; those of its last layer in the order ``output_order``.
    orders
        Rows of each layer that was reordered: new row i was row ``orders[name][i]``.
    kept
        Why each of the other layers kept its order.
    output_order
        Of the last layer, or None where it kept its order: ``y_new = y_old[output_order]``.
    """

    network: Network
    orders: Mapping[str, Order]
    kept: Mapping[str, str]
    output_order: Order | None = None


def permute(network: Network, n_pe: int, *, outputs: bool = False) -> Permutation:
    """Reorder the rows of every layer so that the PEs finish together; the next layer's columns follow.

    How often an input is not zero is taken from the network's trace where that has the layer; elsewhere all inputs
    count alike.

    Parameters
    ----------
    n_pe
        Rows i, i + n_pe, ... go to one PE.
    outputs
        Whether the last layer's rows may move too; then ``output_order`` says where they went, and the labels of the
        network's trace are renumbered alike.

    Raises
    ------
    RecipeError
        If no layer's rows can move.
    """
    orders: dict[str, Order] = {}
    kept: dict[str, str] = {}
    output_order: Order | None = None
    for name in [layer.name for layer in network.layers]:
        last = outputs and gives_output(network, name)
        try:
            if not last:
                movable(network, name)
        except RecipeError as error:
            kept[name] = str(error)
            continue
        layer = layer_named(network, name)
        orders[name] = order = even_order(layer, n_pe, _rates(network, layer))
        if last:
            output_order = order
            network = _with_outputs(network, name, order)
        else:
            network = select_outputs(network, name, order)
    if not orders:
        raise RecipeError(list(kept.values()))
    return Permutation(network=network, orders=orders, kept=kept, output_order=output_order)


def even_order(layer: Layer, n_pe: int, rates: NDArray[np.float64]) -> Order:
    """Assign rows to PEs, the longest first, each to the PE where its work falls on the least busy columns.

    A PE spends max(1, entries) cycles on each broadcast column, so a row costs nothing where the PE's column was empty.
    The queues even out only what lies a few broadcasts apart, so work is added up over windows of `WINDOW` expected
    broadcasts, and the sum of squares over PEs and windows is kept small.

    Parameters
    ----------
    rates
        float64 (inputs,): probability that each column is broadcast.

    Returns
    -------
    int64 (outputs,): new row i is old row ``order[i]``.
    """
    rows, columns = layer.outputs, layer.inputs + layer.has_bias
    weights = np.ones(columns)
    weights[: layer.inputs] = rates
    # Windows of equal expected broadcasts, not of equal columns: columns that are never broadcast take no time.
    window_of = (np.cumsum(weights) - weights).astype(np.int64) // WINDOW
    row_columns = _columns_by_row(layer)
    work = np.array([weights[columns_of].sum() for columns_of in row_columns])
    # A PE has as many places as rows fall to it; the last ones may have one fewer.
    free = np.array([len(range(pe, rows, n_pe)) for pe in range(min(n_pe, rows))])
    filled = np.zeros((len(free), columns), bool)
    load = np.zeros((len(free), int(window_of.max()) + 1))
    pe_of = np.empty(rows, np.int64)
    for row in np.argsort(-work, kind="stable"):
        mine = row_columns[row]
        windows, starts = np.unique(window_of[mine], return_index=True)
        growth = np.zeros((len(free), len(windows)))
        if len(mine):
            growth = np.add.reduceat(filled[:, mine] * weights[mine], starts, axis=1)
        # (load + growth)^2 - load^2: what placing the row adds to the sum of squares.
        squares = (growth * (2 * load[:, windows] + growth)).sum(axis=1)
        # Rows that cost nothing anywhere still go where there is most room.
        pe = int(np.lexsort((-free, squares + np.where(free > 0, 0, np.inf)))[0])
        pe_of[row] = pe
        free[pe] -= 1
        filled[pe, mine] = True
        load[pe, windows] += growth[pe]
    order = np.empty(rows, np.int64)
    for pe in range(len(free)):
        # In their old order, so that the result stays easy to compare with what it was.
        order[pe::n_pe] = np.flatnonzero(pe_of == pe)
    return order


def _columns_by_row(layer: Layer) -> list[NDArray[np.int64]]:
    """Columns of each row's non-zeros, the bias being the column behind the last."""
    matrix = layer.matrix
    order = np.argsort(matrix.rows, kind="stable")
    # Entries lie by column; a stable sort by row keeps the columns of each row ascending.
    ends = np.searchsorted(matrix.rows[order], np.arange(1, layer.outputs))
    parts = np.split(matrix.column_of[order].astype(np.int64), ends)
    bias = layer.bias_codes if layer.codebook is not None else layer.bias
    # No column where accumulators start from it; of float weights it may still become one.
    if bias is None:
        return parts
    return [np.append(part, layer.inputs) if bias[row] != 0 else part for row, part in enumerate(parts)]


def _rates(network: Network, layer: Layer) -> NDArray[np.float64]:
    names = {other.name for other in network.layers}
    recorded = None if network.trace is None else recorded_of(network.trace, layer.name, names)
    if recorded is not None and recorded.width == layer.inputs:
        return np.asarray(recorded.mask.mean(axis=0), np.float64)
    return np.ones(layer.inputs)


def _with_outputs(network: Network, name: str, order: Order) -> Network:
    layers = tuple(with_rows(layer, order) if layer.name == name else layer for layer in network.layers)
    trace = network.trace
    if trace is not None and trace.labels is not None:
        trace = Trace(
            layers=trace.layers, labels=np.argsort(order)[trace.labels], source=trace.source, synthetic=trace.synthetic
        )
    note = f"the rows of {name} were put in another order: its outputs are not in the order of the original"
    return replace(network, layers=layers, trace=trace, notes=(*network.notes, note))
