"""SCALE-Sim topologies (``.csv``, convolutions or GEMMs): layer shapes, with every activation non-zero.

Comes in: a path. Goes out: a `Network` of synthetic layers and a synthetic trace. A convolution's columns are name,
input height and width, filter height and width, channels, filters, strides; a GEMM's are name, M, N, K: M vectors of K
inputs, N outputs. A column Sparsity (``1:4``) says how many of each M weights are kept, a column Batch how often a
layer runs. How lines are read is `topology_table`'s.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from eie.errors import ModelError
from eie.formats.budget import Room
from eie.importers.synthetic import afford_draw, draw_layer
from eie.importers.topology_table import Row, Table, read_table
from eie.model.geometry import Conv2d
from eie.model.layer import Layer
from eie.model.layer_trace import LayerTrace
from eie.model.matrix import frozen
from eie.model.network import Network
from eie.model.trace import Trace

LARGEST_LAYER = 1 << 28
LARGEST_TRACE = 1 << 34


def read(path: Path, density: float | None = None) -> Network:
    """Read a topology.

    A window that hangs over the edge counts, as it does there: the map is padded on the right and at the bottom.

    Raises
    ------
    ModelError
        Naming the line and column of what cannot be used.
    """
    return network_of(read_table(path), path, density)


def network_of(table: Table, path: Path, density: float | None = None) -> Network:
    """Draw the layers of a table, those without a pattern of their own with ``density`` (all weights by default).

    Raises
    ------
    ModelError
        Naming the layer that cannot be drawn.
    """
    drawn: list[tuple[Layer, int]] = []
    room = Room(path, ModelError, what="asks for drawn layers of")
    for i, row in enumerate(table.rows):
        # A stream for each layer: it does not change when a layer above it does.
        rng = np.random.default_rng([0, i])
        try:
            kept = row.pattern if density is None or row.pattern[0] < row.pattern[1] else density
            drawn.append((_gemm if row.kind == "gemm" else _conv)(row, kept, rng, room=room))
        except ModelError as error:
            raise ModelError(f"{path}: layer {row.name!r}: {error}") from None
    layers = tuple(layer for layer, _ in drawn)
    source = "a topology gives shapes only: every activation non-zero"
    return Network(
        name=path.stem,
        layers=layers,
        trace=Trace(layers=_all_ones(drawn), source=source, synthetic=True),
        source=path.name,
        notes=(*table.notes, *_notes(table.rows), *([] if density is None else [f"density {density:g} was stated"])),
    )


def _notes(rows: tuple[Row, ...]) -> list[str]:
    notes = []
    if any(row.pattern[0] < row.pattern[1] for row in rows):
        notes.append("N:M layers: of each M inputs of an output, N weights at places that are drawn")
    if repeated := [f"{row.name} x {row.batch}" for row in rows if row.batch > 1]:
        notes.append(f"batches run as more products of the same weights: {', '.join(repeated[:5])}")
    return notes


Density = float | tuple[int, int]


def _gemm(row: Row, density: Density, rng: np.random.Generator, *, room: Room) -> tuple[Layer, int]:
    m, n, k = row.sizes
    _check_size(outputs=n, inputs=k, products=m * row.batch, density=density, room=room)
    return draw_layer(name=row.name, shape=(n, k), density=density, rng=rng, bias=False, relu=False), m * row.batch


def _conv(row: Row, density: Density, rng: np.random.Generator, *, room: Room) -> tuple[Layer, int]:
    height, width, kernel_rows, kernel_columns, channels, filters, stride_down, stride_across = row.sizes
    if kernel_rows > height or kernel_columns > width:
        raise ModelError(f"its {kernel_rows} x {kernel_columns} filter does not fit a {height} x {width} map")
    # Rounded up, where a convolution rounds down: SCALE-Sim counts a window that hangs over.
    down, across = -(-(height - kernel_rows) // stride_down) + 1, -(-(width - kernel_columns) // stride_across) + 1
    # What the last window lacks is padded, so that the usual formula gives its count.
    bottom = (down - 1) * stride_down + kernel_rows - height
    right = (across - 1) * stride_across + kernel_columns - width
    conv = Conv2d(
        in_channels=channels,
        out_channels=filters * row.groups,
        kernel=(kernel_rows, kernel_columns),
        stride=(stride_down, stride_across),
        pads=(0, 0, bottom, right),
        groups=row.groups,
    )
    outputs, inputs = conv.dense_shape
    products = conv.products(height, width) * row.batch
    _check_size(outputs=outputs, inputs=inputs, products=products * row.groups, density=density, room=room)
    layer = draw_layer(
        name=row.name, shape=conv.dense_shape, density=density, rng=rng, bias=False, relu=False, geometry=conv
    )
    return layer, products


def _check_size(*, outputs: int, inputs: int, products: int, density: Density, room: Room) -> None:
    if outputs * inputs > LARGEST_LAYER:
        raise ModelError(f"{outputs} x {inputs} weights: at most {LARGEST_LAYER} can be drawn")
    if inputs * products > LARGEST_TRACE:
        raise ModelError(f"{products} products of {inputs} inputs: at most {LARGEST_TRACE} can be held")
    afford_draw(room, outputs * inputs * (density[0] / density[1] if isinstance(density, tuple) else density))
    # Rows of activations take a bit each, and as much again while they are repeated.
    room.take(products * inputs // 8, briefly=products * inputs // 8)


def _all_ones(drawn: Sequence[tuple[Layer, int]]) -> dict[str, LayerTrace]:
    """Return full rows for each layer; layers of one width share them, or a deep network would fill the memory."""
    most: dict[int, int] = {}
    for layer, products in drawn:
        most[layer.inputs] = max(products, most.get(layer.inputs, 0))
    rows: dict[int, NDArray[np.uint8]] = {
        width: frozen(np.tile(np.packbits(np.ones(width, bool)), (products, 1)), np.uint8)
        for width, products in most.items()
    }
    return {
        layer.name: LayerTrace(width=layer.inputs, bits=rows[layer.inputs][:products], products=products)
        for layer, products in drawn
    }
