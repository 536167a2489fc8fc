"""SCALE-Sim topologies (``.csv``, convolutions or GEMMs): layer shapes, with every weight and activation non-zero.

Comes in: a path. Goes out: a `Network` of synthetic layers and a synthetic trace. A convolution's columns are name,
input height and width, filter height and width, channels, filters, strides; a GEMM's are name, M, N, K: M vectors of K
inputs, N outputs. A last column headed Sparsity (``1:4``) gives the share of weights kept.
"""

from __future__ import annotations

import csv
import re
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from eie.errors import ModelError
from eie.importers.synthetic import draw_layer
from eie.model.geometry import Conv2d
from eie.model.matrix import frozen
from eie.model.network import Layer, Network
from eie.model.trace import LayerTrace, Trace

LARGEST_LAYER = 1 << 28
LARGEST_TRACE = 1 << 34
CONV_COLUMNS, GEMM_COLUMNS = 7, 3


@dataclass(frozen=True)
class _Shape:
    name: str
    sizes: tuple[int, ...]
    density: float


def read(path: Path) -> Network:
    """Read a topology.

    A window that hangs over the edge counts, as it does there: the map is padded on the right and at the bottom.

    Raises
    ------
    ModelError
        Naming the line and column of what cannot be used.
    """
    layers: list[Layer] = []
    traces: dict[str, LayerTrace] = {}
    for i, row in enumerate(_rows(path)):
        # A stream for each layer: it does not change when a layer above it does.
        rng = np.random.default_rng([0, i])
        try:
            layer, products = _gemm(row, rng) if len(row.sizes) == GEMM_COLUMNS else _conv(row, rng)
        except ModelError as error:
            raise ModelError(f"{path}: layer {row.name!r}: {error}") from None
        layers.append(layer)
        traces[row.name] = _all_ones(layer.inputs, products)
    source = "a topology gives shapes only: every activation non-zero"
    return Network(
        name=path.stem,
        layers=tuple(layers),
        trace=Trace(layers=traces, source=source, synthetic=True),
        source=path.name,
    )


def _rows(path: Path) -> list[_Shape]:
    try:
        lines = list(csv.reader(path.read_text(encoding="utf-8-sig").splitlines()))
    except OSError as error:
        raise ModelError(f"{path}: cannot be read: {error.strerror or error}") from None
    except (UnicodeDecodeError, csv.Error) as error:
        raise ModelError(f"{path}: not a CSV file: {error}") from None
    cleaned = [(i, [cell.strip() for cell in line]) for i, line in enumerate(lines, 1)]
    # SCALE-Sim's own files end every line with a comma.
    cleaned = [(i, line[:-1] if line[-1] == "" else line) for i, line in cleaned if any(line)]
    if len(cleaned) < 2:
        raise ModelError(f"{path}: holds no layers: a header line and a line a layer are needed")
    header = [name.lower() for name in cleaned[0][1]]
    sparsity = header[-1].startswith("sparsity")
    wanted = GEMM_COLUMNS if header[1:4] == ["m", "n", "k"] else CONV_COLUMNS
    if not header[0].startswith("layer") or len(header) != 1 + wanted + sparsity:
        raise ModelError(
            f"{path}: not a topology: the header must be layer name, ifmap height, ifmap width, filter height, filter "
            f"width, channels, num filter, strides; or layer, M, N, K (it is {', '.join(cleaned[0][1])})"
        )
    shapes = [_shape(where=f"{path}: line {i}", line=line, wanted=wanted, sparsity=sparsity) for i, line in cleaned[1:]]
    for row in shapes:
        if [shape.name for shape in shapes].count(row.name) > 1:
            raise ModelError(f"{path}: two layers are called {row.name!r}: names must differ")
    return shapes


def _shape(where: str, line: list[str], wanted: int, sparsity: bool) -> _Shape:
    if len(line) != 1 + wanted + sparsity:
        raise ModelError(f"{where} has {len(line)} cells, the header {1 + wanted + sparsity}")
    sizes = []
    for cell in line[1 : 1 + wanted]:
        if not re.fullmatch(r"[0-9]{1,9}", cell) or int(cell) < 1:
            raise ModelError(f"{where}: {cell!r}: must be an integer >= 1")
        sizes.append(int(cell))
    density = 1.0
    if sparsity:
        kept = re.fullmatch(r"([0-9]{1,4}):([0-9]{1,4})", line[-1])
        if not kept or not 1 <= int(kept[1]) <= int(kept[2]):
            raise ModelError(f"{where}: sparsity {line[-1]!r}: must be N:M with 1 <= N <= M")
        density = int(kept[1]) / int(kept[2])
    return _Shape(line[0], tuple(sizes), density)


def _gemm(row: _Shape, rng: np.random.Generator) -> tuple[Layer, int]:
    m, n, k = row.sizes
    _check_size(n, k, m)
    return draw_layer(name=row.name, shape=(n, k), density=row.density, rng=rng, bias=False, relu=False), m


def _conv(row: _Shape, rng: np.random.Generator) -> tuple[Layer, int]:
    height, width, kernel_rows, kernel_columns, channels, filters, stride = row.sizes
    if kernel_rows > height or kernel_columns > width:
        raise ModelError(f"its {kernel_rows} x {kernel_columns} filter does not fit a {height} x {width} map")
    # Rounded up, where a convolution rounds down: SCALE-Sim counts a window that hangs over.
    down, across = -(-(height - kernel_rows) // stride) + 1, -(-(width - kernel_columns) // stride) + 1
    # What the last window lacks is padded, so that the usual formula gives its count.
    bottom = (down - 1) * stride + kernel_rows - height
    right = (across - 1) * stride + kernel_columns - width
    conv = Conv2d(
        in_channels=channels,
        out_channels=filters,
        kernel=(kernel_rows, kernel_columns),
        stride=(stride, stride),
        pads=(0, 0, bottom, right),
    )
    _check_size(*conv.dense_shape, down * across)
    layer = draw_layer(
        name=row.name, shape=conv.dense_shape, density=row.density, rng=rng, bias=False, relu=False, geometry=conv
    )
    return layer, conv.products(height, width)


def _check_size(outputs: int, inputs: int, products: int) -> None:
    if outputs * inputs > LARGEST_LAYER:
        raise ModelError(f"{outputs} x {inputs} weights: at most {LARGEST_LAYER} can be drawn")
    if inputs * products > LARGEST_TRACE:
        raise ModelError(f"{products} products of {inputs} inputs: at most {LARGEST_TRACE} can be held")


def _all_ones(width: int, products: int) -> LayerTrace:
    row = np.packbits(np.ones(width, bool))
    return LayerTrace(width=width, bits=frozen(np.tile(row, (products, 1)), np.uint8), products=products)
