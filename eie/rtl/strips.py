"""A convolution by scatter as its hardware runs it: passes, tables of the map, and sums in the hardware's order.

Comes in: an `EncodedLayer` with `scatter`, its inputs unrolled by im2col. Goes out: `Passes`; sums. Read by `work`.

Accumulator (x, row, channel) of a strip is number (x * R + row) * C + channel, where C channels a PE and R open rows
make a ring. Output row y has row R - 1 - y mod R of it, downwards, so that the output rows that a pixel reaches, which fall as
kernel rows rise, lie one behind the other as their weights do. y // R is its *epoch*.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import gcd

import numpy as np
from numpy.typing import NDArray

from eie.compiler.encoded import EncodedLayer
from eie.compiler.strips import strip_width
from eie.model.geometry import Scatter, Visit
from eie.rtl.passes import Pass, Passes, address_bits
from eie.spec import AcceleratorSpec


@dataclass(frozen=True, eq=False, kw_only=True)
class Strip:
    """Output columns start..stop-1 of a map for the output channels of a pass from ``first`` on, and what it reads."""

    number: int
    first: int
    channels: int
    start: int
    stop: int
    visit: Visit


def strips_of(layer: EncodedLayer, size: tuple[int, int], spec: AcceleratorSpec) -> list[Strip]:
    """List the strips of all passes in the order in which they are run."""
    scatter = layer.scatter
    assert scatter is not None
    width, listed = scatter.conv.output_size(*size)[1], []
    for number, (part, channels) in enumerate(zip(layer.passes, layer.channels_a_pe, strict=True)):
        most = strip_width(scatter, channels, spec)
        own = [
            Strip(
                number=number,
                first=part.row_start // scatter.depth,
                channels=channels,
                start=start,
                stop=stop,
                visit=visit,
            )
            for (start, stop), visit in zip(scatter.strips(width, most), scatter.visits(size, most), strict=True)
        ]
        # As they are timed: a strip that sees nothing but pads is none, unless all are such.
        listed += [strip for strip in own if len(strip.visit.window)] or own[:1]
    return listed


def lay_out(
    layer: EncodedLayer,
    size: tuple[int, int],
    spec: AcceleratorSpec,
    *,
    inputs: NDArray[np.int64],
    starts: NDArray[np.int64],
    outputs: NDArray[np.int64],
) -> Passes:
    """Lay out a convolution.

    Parameters
    ----------
    inputs
        int64 (products, pixels, channels * taps): unrolled by im2col, raw.
    starts, outputs
        int64 (outputs,) and (products, pixels, outputs), raw.
    """
    scatter = layer.scatter
    assert scatter is not None
    strips, ring, n_pe = strips_of(layer, size, spec), scatter.open_rows, spec.n_pe
    height, width = scatter.conv.output_size(*size)
    sums = max(ring * strip.channels * (strip.stop - strip.start) for strip in strips)
    last_epoch = (height - 1) // ring
    # Epochs lie a power of two apart: no multiplication makes their addresses.
    spread = (last_epoch + 1) << address_bits(sums)
    parts, rows = _tables(scatter, strips, width), -(-scatter.conv.in_channels // n_pe)
    tables = [np.concatenate([getattr(part, name) for part in parts]) for name in ("rows", "columns")]
    firsts = [np.cumsum([0, *(len(getattr(part, name)) for part in parts)]) for name in ("rows", "columns")]
    scanned = np.cumsum([0, *(max(1, len(strip.visit.window) * rows) for strip in strips)])
    results = len(strips) * spread
    laid = np.zeros((len(outputs) + 1, results, n_pe), np.int64)
    sources = np.zeros((len(inputs), scanned[-1], n_pe), np.int64)
    down = gap_of(scatter, 0)
    words = []
    for i, strip in enumerate(strips):
        words.append(
            Pass(
                first_row=int(scanned[i]),
                last_row=int(scanned[i + 1]) - 1,
                origin=strip.number * (scatter.columns + 1),
                first_start=strip.number * sums,
                first_result=i * spread,
                ring=ring * strip.channels,
                pitch=gap_of(scatter, 1) * ring * strip.channels,
                channels=strip.channels,
                skew=(down - 1) * strip.channels,
                first_map_row=int(firsts[0][i]),
                first_map_column=int(firsts[1][i]),
                last_map_column=int(firsts[1][i + 1]) - 1,
                last_part=rows - 1,
            )
        )
        sources[:, scanned[i] : scanned[i + 1]] = _pixels(scatter, strip.visit, inputs, n_pe)
        _place(laid[:-1], outputs, strip, scatter=scatter, width=width, first=i * spread, bits=address_bits(sums))
        ones = np.ones((1, *outputs.shape[1:]), np.int64)
        _place(laid[-1:], ones, strip, scatter=scatter, width=width, first=i * spread, bits=address_bits(sums))
    most = 1 + int(tables[1][:, 1].max(initial=0))
    banks = 1 << most.bit_length()
    return Passes(
        passes=tuple(words),
        sums=sums,
        results=results,
        sources=sources,
        starts=_starts(layer, starts, sums, n_pe),
        outputs=laid[:-1],
        is_output=laid[-1].astype(bool),
        map_rows=tables[0],
        map_columns=tables[1],
        settings={
            "EPOCH_BITS": address_bits(2 + max(last_epoch, int(tables[0][:, 1].max(initial=0)))),
            "MORE_BITS": address_bits(most),
            "BANKS": banks,
            "SELECT_BITS": address_bits(banks),
            "ROW_DEPTH": scatter.depth if down > 1 else 1,
            "LANE_COLUMNS": scatter.columns_a_channel,
            "PART_BITS": address_bits(rows),
            "LAST_EPOCH": last_epoch,
        },
    )


def gap_of(scatter: Scatter, axis: int) -> int:
    """Output rows (axis 0) or columns (1) between those that neighbours of a phase reach."""
    gap, stride = scatter.conv.dilation[axis], scatter.conv.stride[axis]
    return gap // gcd(gap, stride)


def in_order(
    weights: NDArray[np.int64],
    inputs: NDArray[np.int64],
    starts: NDArray[np.int64],
    *,
    taps: int,
    shift: int,
    data_bits: int,
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Add up products as the hardware does: pixel by pixel, so by places of the kernel, then by channels.

    Parameters
    ----------
    weights
        int64 (outputs, channels * taps): raw levels.
    inputs
        int64 (products, pixels, channels * taps).

    Returns
    -------
    sums, saturations
        int64 (products, pixels, outputs), and (products,) how many additions saturated.
    """
    largest, half = (1 << (data_bits - 1)) - 1, (1 << shift) >> 1
    sums = np.broadcast_to(starts, (*inputs.shape[:2], len(starts))).copy()
    saturations = np.zeros(len(inputs), np.int64)
    for column in np.arange(inputs.shape[2]).reshape(-1, taps).T.reshape(-1):
        total = sums + ((inputs[:, :, column, None] * weights[:, column] + half) >> shift)
        sums = np.clip(total, -largest - 1, largest)
        saturations += (total != sums).sum(axis=(1, 2))
    return sums, saturations


@dataclass(frozen=True, eq=False)
class _Table:
    """What a strip needs of the map, int64: rows (n, 5) as offset, epoch, high, low, turn; columns (n, 3) as base, more, first."""

    rows: NDArray[np.int64]
    columns: NDArray[np.int64]


def _tables(scatter: Scatter, strips: list[Strip], width: int) -> list[_Table]:
    """Make the words of every strip; a strip of nothing but pads has a word of zeros."""
    ring, taps = scatter.open_rows, scatter.conv.kernel[1]
    made = []
    for strip in strips:
        visit, each = strip.visit, strip.channels
        if not len(visit.window):
            made.append(_Table(np.zeros((1, 5), np.int64), np.zeros((1, 3), np.int64)))
            continue
        across = visit.across
        first, low, high = visit.first[::across], visit.low[::across], visit.high[::across]
        # The output row of the phase's first kernel row, which may lie below the map.
        top = visit.window[::across] // width + low * gap_of(scatter, 0)
        turn = (ring - 1 - top % ring) * each
        rows = np.stack((first // taps * taps, top // ring, high * each, low * each, turn), axis=1)
        base = (visit.window[:across] % width - strip.start) * ring * each
        begin = visit.first[:across]
        columns = np.stack((base, visit.stop[:across] - begin - 1, begin % taps), axis=1)
        made.append(_Table(rows, columns))
    return made


def _pixels(scatter: Scatter, visit: Visit, inputs: NDArray[np.int64], n_pe: int) -> NDArray[np.int64]:
    """Return (products, scan rows, P): each pixel's channels, filled up to whole rows; one row where there is no pixel."""
    channels, taps = scatter.conv.in_channels, scatter.conv.kernel[0] * scatter.conv.kernel[1]
    rows = -(-channels // n_pe)
    if not len(visit.window):
        return np.zeros((len(inputs), 1, n_pe), np.int64)
    seen = inputs.reshape(*inputs.shape[:2], channels, taps)[:, visit.window, :, visit.tap]
    # Both are indices beside a slice, so numpy puts the pixels in front.
    scanned = np.zeros((len(inputs), len(visit.window), rows * n_pe), np.int64)
    scanned[:, :, :channels] = seen.transpose(1, 0, 2)
    return scanned.reshape(len(inputs), -1, n_pe)


def _place(
    laid: NDArray[np.int64],
    outputs: NDArray[np.int64],
    strip: Strip,
    *,
    scatter: Scatter,
    width: int,
    first: int,
    bits: int,
) -> None:
    """Put a strip's outputs (products, pixels, outputs) where the hardware stores them, (products, results, P)."""
    ring, n_pe = scatter.open_rows, laid.shape[2]
    owned = np.arange(strip.first, min(strip.first + strip.channels * n_pe, outputs.shape[2]))
    y, x, output = np.meshgrid(
        np.arange(outputs.shape[1] // width), np.arange(strip.start, strip.stop), owned, indexing="ij"
    )
    channel, pe = np.divmod(output - strip.first, n_pe)
    at = ((x - strip.start) * ring + ring - 1 - y % ring) * strip.channels + channel
    laid[:, first + (y // ring << bits) + at, pe] = outputs[:, y * width + x, output]


def _starts(layer: EncodedLayer, starts: NDArray[np.int64], sums: int, n_pe: int) -> NDArray[np.int64]:
    """Return (passes * accumulators, P): every accumulator of a pass starts as its channel does."""
    assert layer.scatter is not None
    filled = np.zeros(layer.scatter.filled(n_pe), np.int64)
    filled[: len(starts)] = starts
    made = []
    for part, each in zip(layer.passes, layer.channels_a_pe, strict=True):
        first = part.row_start // layer.scatter.depth
        own = filled[first : first + each * n_pe].reshape(each, n_pe)
        made.append(own[np.arange(sums) % each])
    return np.concatenate(made)
