"""Sliding windows over feature maps, as views: nothing is copied before a few of them are taken out.

Comes in: (N, C, H, W). Goes out: views and flat rows. Read by `conv2d` and `winograd`.
"""

from __future__ import annotations

import math

import numpy as np

from eie.model.geometry.protocol import Array


def sliding(
    x: Array,
    pads: tuple[int, int, int, int],
    spans: tuple[int, ...],
    stride: tuple[int, int],
    dilation: tuple[int, int],
) -> Array:
    """View (N, C, H, W), padded, as (N, rows, columns, C, span / dilation, ...).

    Parameters
    ----------
    pads
        Zeros at (top, left, bottom, right).
    spans
        Rows and columns from the first to the last element of a window; with dilation, more than it reads.
    """
    top, left, bottom, right = pads
    # np.pad copies even where it adds nothing.
    if any(pads):
        x = np.pad(x, ((0, 0), (0, 0), (top, bottom), (left, right)))
    view = np.lib.stride_tricks.sliding_window_view(x, spans, axis=(2, 3))
    # First two slices: which windows there are. Last two: which of the rows and columns they span are read.
    view = view[:, :, :: stride[0], :: stride[1], :: dilation[0], :: dilation[1]]
    # Windows first, so that they can be counted and taken; within one channel, row, column as in the matrix.
    return view.transpose(0, 2, 3, 1, 4, 5)


def taken(windows: Array, start: int, stop: int | None) -> Array:
    """Copy windows start..stop-1 of (N, rows, columns, C, ...) out as flat rows."""
    n, rows, columns, *window = windows.shape
    stop = n * rows * columns if stop is None else stop
    out = np.empty((stop - start, *window), windows.dtype)
    at = start
    # A range of windows is no slice of the view, since it can begin and end within a row of the map; it is the rest of
    # a row, whole rows, and the beginning of one, for each sample.
    while at < stop:
        line, column = divmod(at, columns)
        sample, row = divmod(line, rows)
        whole = 0 if column else min(rows - row, (stop - at) // columns)
        width = columns if whole else min(columns - column, stop - at)
        part = windows[sample, row : row + max(1, whole), column : column + width]
        after = at + part.shape[0] * width
        into = out[at - start : after - start].reshape(part.shape)
        # Place by place in the window: so the innermost axis that is copied is the channels or the columns of the map,
        # and not the three of a kernel. Half to a fifth of the time of one assignment.
        for place in np.ndindex(*window[1:]):
            into[..., *place] = part[..., *place]
        at = after
    return out.reshape(stop - start, math.prod(window))
