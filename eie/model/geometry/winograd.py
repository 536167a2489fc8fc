"""Convolutions by Winograd's minimal filtering F(2x2, 3x3): fewer multiplications a pixel, other matrices.

Comes in: a `Conv2d` with a 3x3 kernel and stride 1. Goes out: a frozen `Winograd`. Read as `protocol` says; the
compiler's `lower` puts it in the place of the direct convolution.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from eie.errors import ModelError
from eie.model.geometry.conv2d import Conv2d
from eie.model.geometry.protocol import Alternative, Array, Geometry
from eie.model.geometry.registry import register
from eie.model.geometry.windows import sliding, taken
from eie.model.matrix import SparseColumns, frozen


@register
@dataclass(frozen=True)
class Winograd(Alternative):
    """A 3x3, stride-1 convolution by Winograd's minimal filtering F(2x2, 3x3).

    Each 4x4 tile of the input, transformed, gives a 2x2 tile of the output through 16 products, each with an
    (out) x (in) matrix of one transformed kernel element. Here the 16 matrices stand on the diagonal of one
    (16 * out) x (16 * in) matrix, and a row of inputs is a whole tile, ordered element, channel.

    Sources: S. Winograd, Arithmetic Complexity of Computations, SIAM 1980; A. Lavin and S. Gray, Fast Algorithms for
    Convolutional Neural Networks, CVPR 2016, section 4.1.
    """

    products_per_row = 16
    # Adding b to element (1, 1) of a transformed tile adds b to all four output pixels.
    # Element 1 * 4 + 1 of the 16, counted row by row.
    bias_block = 5
    # A transformed input is a sum of four, an output a sum of nine: fixed point needs bits for that.
    transforms = True
    width_hint = ": a trace of im2col rows does not fit Winograd, run from the network's input instead"
    words = "Winograd F(2x2, 3x3), 16 products a tile"

    conv: Conv2d

    def __post_init__(self) -> None:
        if not self.applies(self.conv):
            raise ModelError(
                f"{self.conv}: Winograd F(2x2, 3x3) needs a 3x3 kernel, stride 1, dilation 1 and one group"
            )

    @staticmethod
    def applies(conv: Conv2d) -> bool:
        """Whether ``conv`` can be computed this way."""
        return (conv.kernel, conv.stride, conv.dilation, conv.groups) == ((3, 3), (1, 1), (1, 1), 1)

    @classmethod
    def instead_of(cls, geometry: Geometry) -> Winograd | None:
        """Return this way to compute a convolution; None where it does not apply."""
        return cls(geometry) if isinstance(geometry, Conv2d) and cls.applies(geometry) else None

    @property
    def matrix_shape(self) -> tuple[int, int]:
        """(16 * out, 16 * in)."""
        return self.products_per_row * self.conv.out_channels, self.products_per_row * self.conv.in_channels

    @property
    def dense_shape(self) -> tuple[int, int]:
        """(out, 16 * in): the transformed weights there are before pruning."""
        return self.conv.out_channels, self.products_per_row * self.conv.in_channels

    @property
    def entrance(self) -> tuple[int, ...]:
        """As of the direct convolution."""
        return self.conv.entrance

    @property
    def channels(self) -> tuple[int, int]:
        """(out, in), as of the direct convolution."""
        return self.conv.channels

    def sizes(self, shape: Sequence[int]) -> tuple[int, ...]:
        """Height and width of (N, C, H, W)."""
        return self.conv.sizes(shape)

    def output_size(self, *sizes: int) -> tuple[int, int]:
        """Rows and columns of the output map, as of the direct convolution."""
        return self.conv.output_size(*sizes)

    def output_shape(self, shape: Sequence[int]) -> tuple[int, ...]:
        """(N, out, oh, ow), as of the direct convolution."""
        return self.conv.output_shape(shape)

    def tiles(self, height: int, width: int) -> tuple[int, int]:
        """2x2 tiles down and across that cover the output."""
        rows, columns = self.output_size(height, width)
        # Rounded up: an odd row or column is half a tile, cut off again by `fold`.
        return -(-rows // 2), -(-columns // 2)

    def products(self, *sizes: int) -> int:
        """Tiles of one sample; each is 16 products."""
        down, across = self.tiles(*sizes)
        return down * across

    def windows(self, x: Array) -> Array:
        """(N, C, H, W) into a view (N, tiles down, tiles across, C, 4, 4) of overlapping tiles."""
        self.conv.check(x)
        height, width = x.shape[2:]
        down, across = self.tiles(height, width)
        top, left, _, _ = self.conv.pads
        # A last tile that hangs over the output sees further rows or columns of zeros.
        pads = (top, left, 2 * down + 2 - height - top, 2 * across + 2 - width - left)
        return sliding(x=x, pads=pads, spans=(4, 4), stride=(2, 2), dilation=(1, 1))

    def unroll(self, windows: Array, start: int, stop: int) -> Array:
        """Transform tiles start..stop-1 into rows (tiles, 16 * C); additions only, so integers stay exact."""
        tiles = taken(windows, start, stop)
        d = tiles.reshape(len(tiles), self.conv.in_channels, 4, 4)
        # Element before channel: the 16 matrices stand on the diagonal one element after the other.
        return _transform_input(d).transpose(0, 2, 3, 1).reshape(len(tiles), -1)

    def fold(self, rows: Array, n: int, size: tuple[int, ...]) -> Array:
        """(n * tiles, 16 * out) into (n, out, oh, ow), by the output transform; ``size`` is (oh, ow)."""
        height, width = size
        down, across = -(-height // 2), -(-width // 2)
        # A^T m A with A^T = [[1, 1, 1, 0], [0, 1, -1, -1]], rows of the tile first; integers stay exact.
        m = rows.reshape(n, down, across, 4, 4, self.conv.out_channels)
        first, second = m[:, :, :, 0] + m[:, :, :, 1] + m[:, :, :, 2], m[:, :, :, 1] - m[:, :, :, 2] - m[:, :, :, 3]
        half = np.stack((first, second), axis=3)
        y = np.stack(
            (half[:, :, :, :, 0] + half[:, :, :, :, 1] + half[:, :, :, :, 2],
             half[:, :, :, :, 1] - half[:, :, :, :, 2] - half[:, :, :, :, 3]), axis=4,
        )  # fmt: skip
        # (n, down, across, 2, 2, out): a pixel's row in its tile belongs beside the tile's own, and columns likewise.
        y = y.transpose(0, 5, 1, 3, 2, 4).reshape(n, self.conv.out_channels, 2 * down, 2 * across)
        # What the last tiles computed beyond an odd edge.
        return y[:, :, :height, :width]

    @staticmethod
    def transform_kernel(kernel: Array) -> NDArray[np.float64]:
        """(out, in, 3, 3) into float64 (16, out, in): G g G^T, one matrix an element."""
        # Halves are exact in binary: only the sums of the transform round.
        g = np.array([[1, 0, 0], [0.5, 0.5, 0.5], [0.5, -0.5, 0.5], [0, 0, 1]])
        transformed: NDArray[np.float64] = np.einsum("ai,ocij,bj->aboc", g, kernel.astype(np.float64), g)
        return transformed.reshape(16, *kernel.shape[:2])

    def transformed(
        self, weights: NDArray[np.float32], bias: NDArray[np.float32] | None
    ) -> tuple[SparseColumns, NDArray[np.float32] | None]:
        """Return the 16 matrices on the diagonal of one, for a kernel (out, in, 3, 3); one of them has the bias."""
        # Rounded once, after the transform: what is stored, pruned and shared are these elements.
        elements = self.transform_kernel(weights).astype(np.float32)
        # Zeros of the kernel need not be zeros here: what counts as a weight from now on is an element.
        block, row, column = np.nonzero(elements)
        outputs, inputs = elements.shape[1:]
        matrix = SparseColumns.from_entries(
            shape=self.matrix_shape,
            rows=block * outputs + row,
            columns=block * inputs + column,
            data=elements[block, row, column],
        )
        if bias is None:
            return matrix, None
        spread = np.zeros((self.products_per_row, outputs), np.float32)
        spread[self.bias_block] = bias
        return matrix, frozen(spread.reshape(-1), np.float32)

    @classmethod
    def from_numbers(cls, numbers: Mapping[str, Any]) -> Winograd:
        """Read the direct convolution that it stands for."""
        return cls(Conv2d.from_numbers(numbers["conv"]))


def _transform_input(d: Array) -> Array:
    """B^T d B over the last two axes (4, 4); additions only, so integers stay exact."""
    for axis in (-2, -1):
        a, b, c, e = (np.take(d, i, axis) for i in range(4))
        # Rows and columns of B^T d B alike, so the same four lines do for either axis.
        d = np.stack((a - c, b + c, c - b, b - e), axis)
    return d
