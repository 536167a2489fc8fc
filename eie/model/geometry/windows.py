"""Sliding windows over feature maps, as views: nothing is copied before a few of them are taken out.

Comes in: (N, C, H, W). Goes out: views and flat rows. Read by `conv2d` and `winograd`.
"""

from __future__ import annotations

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
    """Copy windows start..stop-1 of (N, rows, columns, ...) out as flat rows."""
    count = windows.shape[0] * windows.shape[1] * windows.shape[2]
    stop = count if stop is None else stop
    shape = (stop - start, int(np.prod(windows.shape[3:])))
    if (start, stop) == (0, count):
        # All of them are one reshape: no table of places is needed.
        return windows.reshape(shape)
    # A range of windows is no slice of the view: it can begin and end within a row of the map.
    places = np.unravel_index(np.arange(start, stop), windows.shape[:3])
    return windows[places].reshape(shape)
