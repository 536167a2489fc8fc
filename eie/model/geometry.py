"""How a layer that is not fully connected becomes matrix-vector products, and how their results fold back.

Comes in: shapes. Goes out: frozen `Conv2d`, `Winograd` and `Lstm`, with the index work in numpy. Read by `network`
beside this (building the sparse matrix) and the simulator (making rows of inputs, folding rows of outputs).
docs/lowering.md has the picture. Nothing here multiplies weights with activations.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from eie.errors import ModelError
from eie.model.matrix import SparseColumns

LARGEST_SIZE = 1 << 20
GATES = ("input", "forget", "cell", "output")


@dataclass(frozen=True, kw_only=True)
class Conv2d:
    """A two-dimensional convolution: one product per output pixel with the (out) x (in * kh * kw) matrix.

    Columns are ordered channel, kernel row, kernel column. A grouped convolution is one block-diagonal matrix: zeros
    cost nothing on EIE.

    Attributes
    ----------
    kernel, stride, dilation
        (rows, columns).
    pads
        Rows and columns of zeros: (top, left, bottom, right).

    Raises
    ------
    ModelError
        For sizes below 1, negative pads or groups that do not divide the channels.
    """

    in_channels: int
    out_channels: int
    kernel: tuple[int, int] = (1, 1)
    stride: tuple[int, int] = (1, 1)
    pads: tuple[int, int, int, int] = (0, 0, 0, 0)
    dilation: tuple[int, int] = (1, 1)
    groups: int = 1

    def __post_init__(self) -> None:
        for name, size, least in (("kernel", 2, 1), ("stride", 2, 1), ("pads", 4, 0), ("dilation", 2, 1)):
            values = tuple(getattr(self, name))
            if len(values) != size or not all(_is_size(value, least) for value in values):
                raise ModelError(f"conv {name}={values}: must be {size} integers from {least} to {LARGEST_SIZE}")
            object.__setattr__(self, name, tuple(map(int, values)))
        for name in ("in_channels", "out_channels", "groups"):
            if not _is_size(getattr(self, name), 1):
                raise ModelError(f"conv {name}={getattr(self, name)}: must be an integer from 1 to {LARGEST_SIZE}")
            object.__setattr__(self, name, int(getattr(self, name)))
        if self.in_channels % self.groups or self.out_channels % self.groups:
            channels = f"{self.in_channels} in, {self.out_channels} out"
            raise ModelError(f"conv groups={self.groups}: must divide the channels, {channels}")

    @property
    def weight_shape(self) -> tuple[int, int, int, int]:
        """(out, in / groups, kh, kw): the kernel as frameworks store it."""
        return self.out_channels, self.in_channels // self.groups, *self.kernel

    @property
    def matrix_shape(self) -> tuple[int, int]:
        """(out, in * kh * kw): the lowered matrix."""
        return self.out_channels, self.in_channels * self.kernel[0] * self.kernel[1]

    @property
    def dense_shape(self) -> tuple[int, int]:
        """(out, in / groups * kh * kw): the weights there are before pruning."""
        return self.out_channels, self.matrix_shape[1] // self.groups

    def spread_groups(self, flat: SparseColumns) -> SparseColumns:
        """Move an (out, in / groups * kh * kw) matrix to the diagonal blocks of (out, in * kh * kw)."""
        if self.groups == 1:
            return flat
        group = flat.rows // (self.out_channels // self.groups)
        columns = flat.column_of + group * self.dense_shape[1]
        return SparseColumns.from_entries(shape=self.matrix_shape, rows=flat.rows, columns=columns, data=flat.data)

    def output_size(self, height: int, width: int) -> tuple[int, int]:
        """Rows and columns of the output map.

        Raises
        ------
        ModelError
            If the kernel does not fit the padded input.
        """
        top, left, bottom, right = self.pads
        sizes = []
        for size, pad, kernel, step, gap in zip(
            (height, width), (top + bottom, left + right), self.kernel, self.stride, self.dilation, strict=True
        ):
            room = size + pad - gap * (kernel - 1) - 1
            if room < 0:
                raise ModelError(
                    f"a {height} x {width} map with pads {self.pads} is too small for kernel {self.kernel}"
                )
            sizes.append(room // step + 1)
        return sizes[0], sizes[1]

    def products(self, height: int, width: int) -> int:
        """Matrix-vector products of one sample: its output pixels."""
        rows, columns = self.output_size(height, width)
        return rows * columns

    def windows(self, x: NDArray[Any]) -> NDArray[Any]:
        """(N, C, H, W) into a view (N, oh, ow, C, kh, kw): what each output pixel sees."""
        self.check(x)
        spans = tuple(gap * (size - 1) + 1 for gap, size in zip(self.dilation, self.kernel, strict=True))
        return _windows(x=x, pads=self.pads, spans=spans, stride=self.stride, dilation=self.dilation)

    def unroll(self, windows: NDArray[Any], start: int, stop: int) -> NDArray[Any]:
        """Copy rows start..stop-1 of `im2col` out of `windows`, so that a large layer is never unrolled as a whole."""
        return _take(windows, start, stop)

    def im2col(self, x: NDArray[Any]) -> NDArray[Any]:
        """(N, C, H, W) into (N * oh * ow, C * kh * kw): the inputs of every product, columns as in the matrix."""
        return _take(self.windows(x), 0, None)

    def fold(self, rows: NDArray[Any], n: int, size: tuple[int, int]) -> NDArray[Any]:
        """(n * oh * ow, out) into (n, out, oh, ow); ``size`` is (oh, ow)."""
        return rows.reshape(n, *size, self.out_channels).transpose(0, 3, 1, 2)

    def check(self, x: NDArray[Any]) -> None:
        """Raise `ModelError` unless ``x`` is (N, C, H, W) with these channels and room for the kernel."""
        if x.ndim != 4 or x.shape[1] != self.in_channels:
            raise ModelError(f"a convolution over {self.in_channels} channels got an array of shape {x.shape}")
        self.output_size(x.shape[2], x.shape[3])


@dataclass(frozen=True)
class Winograd:
    """A 3x3, stride-1 convolution by Winograd's minimal filtering F(2x2, 3x3).

    Each 4x4 tile of the input, transformed, gives a 2x2 tile of the output through 16 products, each with an
    (out) x (in) matrix of one transformed kernel element. Here the 16 matrices stand on the diagonal of one
    (16 * out) x (16 * in) matrix, and a row of inputs is a whole tile, ordered element, channel.

    Sources: S. Winograd, Arithmetic Complexity of Computations, SIAM 1980; A. Lavin and S. Gray, Fast Algorithms for
    Convolutional Neural Networks, CVPR 2016, section 4.1.
    """

    conv: Conv2d

    BLOCKS = 16

    def __post_init__(self) -> None:
        if not self.applies(self.conv):
            raise ModelError(
                f"{self.conv}: Winograd F(2x2, 3x3) needs a 3x3 kernel, stride 1, dilation 1 and one group"
            )

    @staticmethod
    def applies(conv: Conv2d) -> bool:
        """Whether ``conv`` can be computed this way."""
        return (conv.kernel, conv.stride, conv.dilation, conv.groups) == ((3, 3), (1, 1), (1, 1), 1)

    @property
    def matrix_shape(self) -> tuple[int, int]:
        """(16 * out, 16 * in)."""
        return self.BLOCKS * self.conv.out_channels, self.BLOCKS * self.conv.in_channels

    @property
    def dense_shape(self) -> tuple[int, int]:
        """(out, 16 * in): the transformed weights there are before pruning."""
        return self.conv.out_channels, self.BLOCKS * self.conv.in_channels

    def output_size(self, height: int, width: int) -> tuple[int, int]:
        """Rows and columns of the output map, as of the direct convolution."""
        return self.conv.output_size(height, width)

    def tiles(self, height: int, width: int) -> tuple[int, int]:
        """2x2 tiles down and across that cover the output."""
        rows, columns = self.output_size(height, width)
        return -(-rows // 2), -(-columns // 2)

    def products(self, height: int, width: int) -> int:
        """Tiles of one sample; each is 16 products."""
        down, across = self.tiles(height, width)
        return down * across

    def windows(self, x: NDArray[Any]) -> NDArray[Any]:
        """(N, C, H, W) into a view (N, tiles down, tiles across, C, 4, 4) of overlapping tiles."""
        self.conv.check(x)
        height, width = x.shape[2:]
        down, across = self.tiles(height, width)
        top, left, _, _ = self.conv.pads
        # A last tile that hangs over the output sees further rows or columns of zeros.
        pads = (top, left, 2 * down + 2 - height - top, 2 * across + 2 - width - left)
        return _windows(x=x, pads=pads, spans=(4, 4), stride=(2, 2), dilation=(1, 1))

    def unroll(self, windows: NDArray[Any], start: int, stop: int) -> NDArray[Any]:
        """Transform tiles start..stop-1 into rows (tiles, 16 * C); additions only, so integers stay exact."""
        tiles = _take(windows, start, stop)
        d = tiles.reshape(len(tiles), self.conv.in_channels, 4, 4)
        return _transform_input(d).transpose(0, 2, 3, 1).reshape(len(tiles), -1)

    def fold(self, rows: NDArray[Any], n: int, size: tuple[int, int]) -> NDArray[Any]:
        """(n * tiles, 16 * out) into (n, out, oh, ow), by the output transform; ``size`` is (oh, ow)."""
        height, width = size
        down, across = -(-height // 2), -(-width // 2)
        m = rows.reshape(n, down, across, 4, 4, self.conv.out_channels)
        first, second = m[:, :, :, 0] + m[:, :, :, 1] + m[:, :, :, 2], m[:, :, :, 1] - m[:, :, :, 2] - m[:, :, :, 3]
        half = np.stack((first, second), axis=3)
        y = np.stack(
            (half[:, :, :, :, 0] + half[:, :, :, :, 1] + half[:, :, :, :, 2],
             half[:, :, :, :, 1] - half[:, :, :, :, 2] - half[:, :, :, :, 3]), axis=4,
        )  # fmt: skip
        y = y.transpose(0, 5, 1, 3, 2, 4).reshape(n, self.conv.out_channels, 2 * down, 2 * across)
        return y[:, :, :height, :width]

    @staticmethod
    def transform_kernel(kernel: NDArray[Any]) -> NDArray[np.float64]:
        """(out, in, 3, 3) into float64 (16, out, in): G g G^T, one matrix an element."""
        g = np.array([[1, 0, 0], [0.5, 0.5, 0.5], [0.5, -0.5, 0.5], [0, 0, 1]])
        transformed: NDArray[np.float64] = np.einsum("ai,ocij,bj->aboc", g, kernel.astype(np.float64), g)
        return transformed.reshape(16, *kernel.shape[:2])


@dataclass(frozen=True)
class Lstm:
    """One direction of an LSTM: per time step one product of the (4 * hidden) x (input + hidden) matrix with [x, h].

    Rows are the gates in the order of `GATES` (input, forget, cell, output), ``hidden_size`` rows each. The gates'
    sigmoid and tanh and the cell state are computed outside the matrix engine. A bidirectional LSTM is two layers.

    Attributes
    ----------
    reverse
        Whether time runs from the last step to the first.
    """

    input_size: int
    hidden_size: int
    reverse: bool = False

    def __post_init__(self) -> None:
        for name in ("input_size", "hidden_size"):
            if not _is_size(getattr(self, name), 1):
                raise ModelError(f"lstm {name}={getattr(self, name)}: must be an integer from 1 to {LARGEST_SIZE}")
            object.__setattr__(self, name, int(getattr(self, name)))

    @property
    def matrix_shape(self) -> tuple[int, int]:
        """(4 * hidden, input + hidden)."""
        return 4 * self.hidden_size, self.input_size + self.hidden_size

    @property
    def dense_shape(self) -> tuple[int, int]:
        """The same: every weight may be there."""
        return self.matrix_shape


Geometry = Conv2d | Winograd | Lstm


def fresh_inputs(geometry: Geometry | None) -> int | None:
    """Of the inputs of one product of one group, those that no earlier window has read; None but for convolutions.

    A window moves on by the stride, so it brings in as many rows and columns, or all of its own if it is smaller.
    """
    if not isinstance(geometry, Conv2d):
        return None
    down, across = (min(size, step) for size, step in zip(geometry.kernel, geometry.stride, strict=True))
    return geometry.in_channels // geometry.groups * down * across


def describe(geometry: Geometry | None) -> dict[str, Any] | None:
    """Return a geometry as plain numbers, ready for JSON; `from_description` reads it."""
    return None if geometry is None else {"kind": type(geometry).__name__, **asdict(geometry)}


def from_description(value: Mapping[str, Any] | None) -> Geometry | None:
    """Undo `describe`; ValueError for another kind."""
    if value is None:
        return None
    kind, numbers = value["kind"], {key: item for key, item in value.items() if key != "kind"}
    if kind == "Lstm":
        return Lstm(**numbers)
    if kind not in ("Conv2d", "Winograd"):
        raise ValueError(f"unknown geometry {kind!r}")
    sizes: Mapping[str, Any] = numbers if kind == "Conv2d" else numbers["conv"]
    given: dict[str, Any] = {key: tuple(item) if isinstance(item, list) else item for key, item in sizes.items()}
    conv = Conv2d(**given)
    return conv if kind == "Conv2d" else Winograd(conv)


def _is_size(value: object, least: int) -> bool:
    return isinstance(value, int | np.integer) and least <= int(value) <= LARGEST_SIZE


def _windows(
    x: NDArray[Any],
    pads: tuple[int, int, int, int],
    spans: tuple[int, ...],
    stride: tuple[int, int],
    dilation: tuple[int, int],
) -> NDArray[Any]:
    """View (N, C, H, W), padded, as (N, rows, columns, C, span / dilation, ...)."""
    top, left, bottom, right = pads
    if any(pads):
        x = np.pad(x, ((0, 0), (0, 0), (top, bottom), (left, right)))
    view = np.lib.stride_tricks.sliding_window_view(x, spans, axis=(2, 3))
    view = view[:, :, :: stride[0], :: stride[1], :: dilation[0], :: dilation[1]]
    return view.transpose(0, 2, 3, 1, 4, 5)


def _take(windows: NDArray[Any], start: int, stop: int | None) -> NDArray[Any]:
    """Copy windows start..stop-1 of (N, rows, columns, ...) out as flat rows."""
    count = windows.shape[0] * windows.shape[1] * windows.shape[2]
    stop = count if stop is None else stop
    shape = (stop - start, int(np.prod(windows.shape[3:])))
    if (start, stop) == (0, count):
        return windows.reshape(shape)
    places = np.unravel_index(np.arange(start, stop), windows.shape[:3])
    return windows[places].reshape(shape)


def _transform_input(d: NDArray[Any]) -> NDArray[Any]:
    """B^T d B over the last two axes (4, 4); additions only, so integers stay exact."""
    for axis in (-2, -1):
        a, b, c, e = (np.take(d, i, axis) for i in range(4))
        d = np.stack((a - c, b + c, c - b, b - e), axis)
    return d
