"""Layers and activations drawn at random from shapes and densities; every report labels them as such.

Comes in: a shape, densities and a seeded generator. Goes out: a `Layer`, and a `LayerTrace` with the pattern of its
inputs. Read by the TOML importer; `smtx` draws values only. Every weight and activation is kept independently, which is
more even than real pruning.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from eie.formats.budget import Room
from eie.model.geometry import LINEAR, Geometry
from eie.model.layer import Layer
from eie.model.layer_trace import LayerTrace
from eie.model.matrix import SparseColumns, frozen

# What 4-bit codes can name, so that weight sharing changes nothing of a drawn layer.
LEVELS = 15
# Unrolled inputs at a time, 4 MiB of bool: all of a large map at once would take gigabytes.
SLICE_ELEMENTS = 1 << 22
# Of a weight, measured: a row and a value stay; places, rows and columns in 64 bits are there while it is drawn.
_KEPT_BYTES, _DRAWN_BYTES = 8, 24


def draw_layer(
    name: str,
    shape: tuple[int, int],
    density: float | tuple[int, int],
    rng: np.random.Generator,
    *,
    bias: bool,
    relu: bool,
    geometry: Geometry = LINEAR,
) -> Layer:
    """Draw a layer of 15 levels, so that sharing is exact.

    Parameters
    ----------
    shape
        (outputs, inputs) of the matrix; of a grouped convolution (out, in / groups * kh * kw).
    density
        Every weight is kept with this probability; or (N, M): N of each M inputs of an output are.
    """
    outputs, inputs = shape
    # A pattern of all weights is no choice.
    pattern = density if isinstance(density, tuple) and density[0] < density[1] else None
    density = density[0] / density[1] if isinstance(density, tuple) else density
    # Places by column, as the matrix is stored: nothing has to be sorted.
    places = _bernoulli(inputs * outputs, density, rng) if pattern is None else _n_of_m(shape, pattern, rng)
    rows, columns = places % outputs, places // outputs
    levels = weight_levels(inputs * density)
    data = levels[rng.integers(0, LEVELS, len(places), np.uint8)]
    matrix = SparseColumns.of(shape=shape, starts=np.searchsorted(columns, np.arange(inputs + 1)), rows=rows, data=data)
    drawn_bias = frozen(rng.choice(levels, outputs), np.float32) if bias else None
    return Layer(
        name=name, matrix=geometry.spread(matrix), bias=drawn_bias, relu=relu, synthetic=True, geometry=geometry
    )


def afford_draw(room: Room, weights: float) -> None:
    """Ask for the memory of a layer's weights before they are drawn.

    Raises
    ------
    EieError
        As `Room.take`.
    """
    room.take(int(_KEPT_BYTES * weights), briefly=int(_DRAWN_BYTES * weights))


def weight_levels(non_zeros_per_output: float) -> NDArray[np.float32]:
    """Return 15 non-zero values, scaled to keep the sums of an output near 1."""
    # -7 to 8 without 0.
    levels = np.concatenate((np.arange(-7, 0), np.arange(1, 9))).astype(np.float32)
    # A sum of n such weights times inputs near 1 grows with the root of n.
    levels /= np.float32(8 * np.sqrt(max(1.0, non_zeros_per_output)))
    return levels


def draw_vector(inputs: int, density: float, rng: np.random.Generator) -> LayerTrace:
    """Draw the inputs of a fully connected layer, positive as after a ReLU."""
    return LayerTrace.from_dense(_activations(inputs, density, rng))


def draw_map(geometry: Geometry, height: int, width: int, density: float, rng: np.random.Generator) -> LayerTrace:
    """Draw a feature map and keep which inputs of each output pixel's product are non-zero."""
    channels = geometry.channels[1]
    drawn = _activations(channels * height * width, density, rng) != 0
    windows = geometry.windows(drawn.reshape(1, channels, height, width))
    count, columns = geometry.products(height, width), geometry.matrix_shape[1]
    step = max(1, SLICE_ELEMENTS // columns)
    packed = [
        np.packbits(geometry.unroll(windows, start, min(start + step, count)), axis=1)
        for start in range(0, count, step)
    ]
    return LayerTrace(
        width=columns, bits=frozen(np.concatenate(packed), np.uint8), products=count, size=(height, width)
    )


def draw_sequence(geometry: Geometry, steps: int, density: float, rng: np.random.Generator) -> LayerTrace:
    """Draw which inputs of a recurrent layer's products are non-zero: x with ``density``, the state always."""
    inputs, width = geometry.channels[1], geometry.matrix_shape[1]
    rows = np.ones((steps, width), bool)
    rows[:, :inputs] = rng.random((steps, inputs)) < density
    return LayerTrace(width=width, bits=frozen(np.packbits(rows, axis=1), np.uint8), products=steps)


def _activations(size: int, density: float, rng: np.random.Generator) -> Any:
    values = np.zeros(size, np.float32)
    active = _bernoulli(size, density, rng)
    # Not below 2**-10, so that fixed point does not round an active input to zero.
    values[active] = np.abs(rng.standard_normal(len(active), np.float32)) + np.float32(2**-10)
    return values


def _n_of_m(shape: tuple[int, int], pattern: tuple[int, int], rng: np.random.Generator) -> Any:
    """Ascending places in range(inputs * outputs), column by column: N of each M inputs of an output, at random.

    The last inputs, where they are fewer than M, keep N of what is left, or all.
    """
    (outputs, inputs), (n, m) = shape, pattern
    chunks = []
    step = max(1, SLICE_ELEMENTS // (m * outputs)) * m
    for start in range(0, inputs, step):
        width = min(step, inputs - start)
        keys = np.full((-(-width // m) * m, outputs), np.inf)
        keys[:width] = rng.random((width, outputs))
        blocks = keys.reshape(-1, m, outputs)
        kept = np.zeros(blocks.shape, bool)
        # The smallest N of a block; what fills up the last one is infinite, and cut off again.
        np.put_along_axis(kept, np.argpartition(blocks, n - 1, axis=1)[:, :n], True, axis=1)
        chunks.append(start * outputs + np.flatnonzero(kept.reshape(-1, outputs)[:width]))
    return np.concatenate(chunks)


def _bernoulli(size: int, density: float, rng: np.random.Generator) -> Any:
    """Ascending places in range(size), each taken with probability ``density``, in time proportional to how many."""
    if density == 0 or size == 0:
        return np.zeros(0, np.int64)
    # Gaps between kept places are geometric: drawing them costs as much as is kept, where a number for each place
    # would cost the dense size.
    chunks, reached = [], -1
    while reached < size:
        steps = rng.geometric(density, int((size - reached) * density * 1.01) + 64)
        # Cut at the size: at tiny densities a gap can be near 2**63, and the sum would wrap.
        places = reached + np.cumsum(np.minimum(steps, size))
        chunks.append(places)
        reached = int(places[-1])
    places = np.concatenate(chunks)
    return places[: np.searchsorted(places, size)]
