"""Rows and columns of one layer, taken out or put in another order.

Comes in: a `Layer` or what was recorded for it, and which rows or columns stay. Goes out: the same, smaller. Read by
`structure` and `channel_flow`, which know which columns belong to which rows.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from eie.model.layer import Layer
from eie.model.layer_trace import LayerTrace
from eie.model.matrix import SparseColumns, frozen
from eie.model.network import Network

Order = NDArray[np.int64]


def layer_named(network: Network, name: str) -> Layer:
    """Return the layer called ``name``."""
    return next(layer for layer in network.layers if layer.name == name)


def with_rows(layer: Layer, order: Order) -> Layer:
    """Return the layer with rows ``order`` only, in that order."""
    place = np.full(layer.outputs, -1, np.int64)
    place[order] = np.arange(len(order))
    matrix = layer.matrix
    rows, keep = place[matrix.rows], place[matrix.rows] >= 0
    picked = SparseColumns.from_entries(
        shape=(len(order), layer.inputs), rows=rows[keep], columns=matrix.column_of[keep], data=matrix.data[keep]
    )
    return replace(
        layer,
        matrix=picked,
        bias=None if layer.bias is None else frozen(layer.bias[order], np.float32),
        bias_codes=None if layer.bias_codes is None else frozen(layer.bias_codes[order], np.uint8),
        geometry=layer.geometry.with_outputs(len(order)),
    )


def with_columns(layer: Layer, columns: Order, channels: int, channels_before: int) -> Layer:
    """Return the layer with these columns only, of so many channels of what it reads."""
    place = np.full(layer.inputs, -1, np.int64)
    place[columns] = np.arange(len(columns))
    matrix = layer.matrix
    moved = place[matrix.column_of]
    keep = moved >= 0
    picked = SparseColumns.from_entries(
        shape=(layer.outputs, len(columns)), rows=matrix.rows[keep], columns=moved[keep], data=matrix.data[keep]
    )
    return replace(layer, matrix=picked, geometry=layer.geometry.with_inputs(channels, channels_before))


def columns_of(width: int, order: Order) -> Order:
    """Columns that read the channels ``order``, each ``width`` of them."""
    # Columns are ordered channel by channel: channel i is read by columns i * width and following.
    columns: Order = (order[:, None] * width + np.arange(width)).ravel()
    return columns


def trace_columns(recorded: LayerTrace, columns: Order) -> LayerTrace:
    """Return what was recorded, in these columns."""
    mask = recorded.mask[:, columns]
    values = recorded.dense()
    bits = frozen(np.packbits(mask, axis=1), np.uint8)
    kept = None if values is None else frozen(values[:, columns][mask], np.float32)
    return LayerTrace(width=len(columns), bits=bits, values=kept, products=recorded.products)
