"""Which way a convolution runs: a product an output pixel (im2col), or each activation broadcast once (scatter).

Comes in: shared layers and the sizes of their maps. Goes out: encoded layers, and a note that says which way each took.
Read by `program` and by the stages of a sweep.

``auto`` takes the way with fewer cycles. What a run will meet is not known yet, so both are timed, by a kernel of the
fast engine, on drawn activations, half of each pixel's zero. Both ways give the same numbers, so only time and counts
depend on it; Winograd's do not, so it is taken only where it is asked for.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import Any, Literal, get_args

import numpy as np
from numpy.typing import NDArray

from eie.compiler.encode import Encoding
from eie.compiler.encoded import EncodedLayer, encode_layer
from eie.compiler.lifetimes import layer_sizes
from eie.compiler.scatter import applies, encode_scatter, listed_ranges
from eie.compiler.strips import visits_of
from eie.compression.share import ShareReport
from eie.errors import ModelError
from eie.kernels import scatter as kernels
from eie.kernels.timing import FILL_CYCLES, PIPELINE_CYCLES
from eie.model.geometry import Geometry, Scatter, Visit
from eie.model.layer import Layer
from eie.model.matrix import frozen
from eie.model.network import Network
from eie.spec import AcceleratorSpec

Conv = Literal["auto", "im2col", "scatter", "winograd"]
CONVS = get_args(Conv)
# The depth of the paper's machine: a choice that followed the depth would compile a layer anew for every queue.
DRAWN_DEPTH = 8
DRAWN_PRODUCTS = 32
DRAWN_BROADCASTS = 1 << 13
# Of a strip: with a stride, rows take turns in what they meet.
DRAWN_ROWS = 2
DRAWN_STRIPS = 8


def check_conv(conv: str) -> None:
    """Raise `ModelError` unless ``conv`` is one of `CONVS`."""
    if conv not in CONVS:
        raise ModelError(f"conv={conv!r}: must be {', '.join(map(repr, CONVS[:-1]))} or {CONVS[-1]!r}")


def encode_conv(
    shared: Layer, report: ShareReport, spec: AcceleratorSpec, *, conv: Conv, size: tuple[int, ...] = ()
) -> EncodedLayer:
    """Encode a shared layer in the way asked for, where it applies; else, and any other layer, a product a row.

    Parameters
    ----------
    size
        Height and width of the map that it will read; empty if they are not known.
    """
    scatter = applies(shared, spec)

    def encoded(way: Literal["im2col", "scatter"]) -> EncodedLayer:
        if way == "im2col" or scatter is None:
            return encode_layer(shared, report, spec)
        return encode_scatter(shared, report, spec, scatter=scatter)

    return chosen(scatter, spec, conv=conv, size=size, encoded=encoded)


def chosen(
    scatter: Scatter | None,
    spec: AcceleratorSpec,
    *,
    conv: Conv,
    size: tuple[int, ...],
    encoded: Callable[[Literal["im2col", "scatter"]], EncodedLayer],
) -> EncodedLayer:
    """Return what `encode_conv` does, of a layer to which ``scatter`` applies; ``encoded`` gives it each way."""
    if scatter is None or conv not in ("auto", "scatter") or (conv == "auto" and not size):
        return encoded("im2col")
    scattered = encoded("scatter")
    if conv == "scatter":
        return scattered
    unrolled = encoded("im2col")
    # Of equals the one that has been there longer.
    return scattered if scatter_cycles(scattered, size, spec) < im2col_cycles(unrolled, size) else unrolled


def sizes_of(network: Network) -> dict[str, tuple[int, ...]]:
    """Return what a network itself tells of the maps its layers read: by its graph, or by inputs that came with it."""
    # Not by what it is run on, so that a program and a sweep, which compile at different times, choose alike.
    recorded = {} if network.trace is None else network.trace.layers
    return {**{name: rows.size for name, rows in recorded.items()}, **layer_sizes(network, {})}


def note_of(layers: Sequence[EncodedLayer], conv: Conv) -> list[str]:
    """Say which convolutions run which way, where both would do."""
    by_way: dict[str, list[str]] = {}
    for layer in layers:
        if Scatter.of(layer.geometry) is not None:
            by_way.setdefault(layer.conv, []).append(layer.name)
    if conv not in ("auto", "scatter") or not by_way:
        return []
    return [f"conv {conv}: " + "; ".join(f"{way} {', '.join(names)}" for way, names in by_way.items())]


def im2col_cycles(layer: EncodedLayer, size: tuple[int, ...]) -> float:
    """Cycles of a sample as a product an output pixel, on drawn activations."""
    count, starts, columns = _drawn_products(layer.geometry, size)
    cycles = sum(_column_cycles(encoding, starts, columns) for encoding in layer.passes)
    return cycles * count / (len(starts) - 1)


# A study compiles the same shapes for every form of a network; a few hundred kilobytes each.
@lru_cache(maxsize=128)
def _drawn_products(conv: Geometry, size: tuple[int, ...]) -> tuple[int, NDArray[np.int64], NDArray[np.int32]]:
    """Return how many products a convolution has, and for some of them which of their inputs are drawn not zero.

    Product s has ``columns[starts[s] : starts[s + 1]]``.
    """
    height, width = size
    x = _drawn(height * width, conv.channels[1]).T.reshape(1, -1, height, width)
    windows = conv.windows(x)
    count = conv.rows(windows)
    # Spread over the map, so that pads are met as often as they are.
    chosen = np.unique(np.linspace(0, count - 1, min(count, DRAWN_PRODUCTS)).astype(np.int64))
    rows = [np.flatnonzero(conv.unroll(windows, row, row + 1)[0]) for row in chosen.tolist()]
    starts = np.cumsum([0, *map(len, rows)])
    return count, frozen(starts, np.int64), frozen(np.concatenate(rows), np.int32)


def _column_cycles(encoding: Encoding, starts: NDArray[np.int64], columns: NDArray[np.int32]) -> int:
    """Cycles of products, one by one: ranges of one column each."""
    owned = (columns >= encoding.column_start) & (columns < encoding.column_stop)
    starts = np.concatenate(([0], np.cumsum(owned)))[starts]
    own = columns[owned].astype(np.int64) - encoding.column_start
    if encoding.has_bias:
        own = np.insert(own, starts[1:], encoding.bias_position)
        starts = starts + np.arange(len(starts))
    begins = np.minimum(own, encoding.inputs)
    return _timed(encoding, starts, positions=own, begins=begins, ends=begins + 1, scan_rows=encoding.scan_rows)


def scatter_cycles(layer: EncodedLayer, size: tuple[int, ...], spec: AcceleratorSpec) -> float:
    """Cycles of a sample with each activation broadcast once, on drawn activations."""
    scatter = layer.scatter
    assert scatter is not None
    height, width = size
    cycles = 0.0
    for encoding, each in zip(layer.passes, layer.channels_a_pe, strict=True):
        visits = visits_of(scatter, channels_a_pe=each, size=(height, width), spec=spec)
        # Strips at the edges of the map have fewer entries: some of all of them are timed.
        chosen = visits[:: -(-len(visits) // DRAWN_STRIPS)]
        share = sum(len(visit.window) for visit in visits) / max(1, sum(len(visit.window) for visit in chosen))
        cycles += share * sum(_strip_cycles(encoding, visit, scatter) for visit in chosen)
    return cycles


def _strip_cycles(encoding: Encoding, visit: Visit, scatter: Scatter) -> float:
    """Cycles of one strip: entries of a pixel do not depend on its row, so its first rows tell of all."""
    if not visit.across:
        return 0.0
    channels, columns = scatter.conv.in_channels, scatter.columns_a_channel
    pixels = min(len(visit.window), visit.across * max(DRAWN_ROWS, DRAWN_BROADCASTS // (visit.across * channels)))
    pixel, channel = (places.astype(np.int64) for places in _drawn_places(pixels, channels))
    rows = -(-channels // encoding.n_pe)
    timed = _timed(
        encoding,
        np.array([0, len(pixel)]),
        positions=pixel * rows * encoding.n_pe + channel,
        begins=channel * columns + visit.first[pixel],
        ends=channel * columns + visit.stop[pixel],
        scan_rows=pixels * rows,
    )
    # The pipeline is filled and drained once, however many rows there are.
    once = FILL_CYCLES + PIPELINE_CYCLES
    return (timed - once) * len(visit.window) / pixels + once


def _drawn(pixels: int, channels: int) -> NDArray[np.bool_]:
    """Draw which channels of each pixel are not zero: exactly half of them, so that chance decides nothing."""
    order = np.random.default_rng(0).random((pixels, channels), np.float32).argsort(axis=1)
    return order < channels / 2


@lru_cache(maxsize=256)
def _drawn_places(pixels: int, channels: int) -> tuple[NDArray[np.int32], NDArray[np.int32]]:
    """Return pixel and channel of everything that is drawn not zero."""
    pixel, channel = np.nonzero(_drawn(pixels, channels))
    return frozen(pixel, np.int32), frozen(channel, np.int32)


def _timed(
    encoding: Encoding,
    starts: NDArray[np.int64],
    *,
    positions: NDArray[np.int64],
    begins: NDArray[Any],
    ends: NDArray[Any],
    scan_rows: int,
) -> int:
    """Cycles of strips that follow each other; strip s owns ``positions[starts[s] : starts[s + 1]]``."""
    strips = len(starts) - 1
    which, ranges = listed_ranges(frozen(begins, np.int32), frozen(ends, np.int32))
    cycles, stall, dead = np.zeros((3, strips), np.int64)
    kernels.range_queues(
        frozen(starts, np.int64),
        frozen(positions, np.int32),
        which,
        ranges,
        frozen([scan_rows] * strips, np.int64),
        frozen(encoding.for_all(encoding.pointers), np.int32),
        DRAWN_DEPTH,
        cycles,
        stall,
        dead,
        np.zeros((strips, encoding.n_pe), np.int64),
        np.empty(0, np.int64),
    )
    return int(cycles.sum())
