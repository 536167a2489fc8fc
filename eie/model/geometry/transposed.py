"""Two-dimensional transposed convolutions: a convolution over the map with zeros put between its pixels.

Comes in: channels, kernel, stride, pads, dilation, groups. Goes out: a frozen `ConvTranspose2d`. Read as `protocol`
says. The zeros between pixels are inactive inputs, which EIE skips: each weight is multiplied as often as in the layer
itself.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from eie.errors import ModelError
from eie.model.geometry.conv2d import Conv2d
from eie.model.geometry.dense_form import DenseForm, nearly_square, padded_by, windowed_form
from eie.model.geometry.protocol import LARGEST_SIZE, Array, Geometry, is_size
from eie.model.geometry.registry import register
from eie.model.matrix import SparseColumns


@register
@dataclass(frozen=True, kw_only=True)
class ConvTranspose2d(Geometry):
    """A transposed convolution: one product per output pixel with the (out) x (in * kh * kw) matrix.

    Weights are stored as those of the convolution that it is: (out, in / groups, kh, kw), the kernel turned by half.

    Attributes
    ----------
    kernel, stride, dilation
        (rows, columns); the stride is that of the layer, so that outputs are larger than inputs by it.
    pads
        What is cut off the result: (top, left, bottom, right), as ONNX and torch state it.
    output_padding
        Rows and columns more, below and to the right.

    Raises
    ------
    ModelError
        For sizes out of bounds, groups that do not divide the channels, or pads beyond the kernel.
    """

    in_channels: int
    out_channels: int
    kernel: tuple[int, int] = (1, 1)
    stride: tuple[int, int] = (1, 1)
    pads: tuple[int, int, int, int] = (0, 0, 0, 0)
    output_padding: tuple[int, int] = (0, 0)
    dilation: tuple[int, int] = (1, 1)
    groups: int = 1

    def __post_init__(self) -> None:
        for name, size, least in (("stride", 2, 1), ("pads", 4, 0), ("output_padding", 2, 0)):
            values = tuple(getattr(self, name))
            if len(values) != size or not all(is_size(value, least) for value in values):
                raise ModelError(
                    f"transposed conv {name}={values}: must be {size} integers from {least} to {LARGEST_SIZE}"
                )
            object.__setattr__(self, name, tuple(map(int, values)))
        # The rest is checked by the convolution that it is; plain numbers are kept as that one keeps them.
        for name in ("in_channels", "out_channels", "kernel", "dilation", "groups"):
            object.__setattr__(self, name, getattr(self.plain, name))

    @cached_property
    def plain(self) -> Conv2d:
        """The convolution over the stretched map."""
        reach = tuple(gap * (size - 1) for gap, size in zip(self.dilation, self.kernel, strict=True))
        top, left, bottom, right = self.pads
        more = self.output_padding
        pads = (reach[0] - top, reach[1] - left, reach[0] - bottom + more[0], reach[1] - right + more[1])
        if min(pads) < 0:
            raise ModelError(f"transposed conv pads={self.pads}: more than kernel {self.kernel} reaches")
        return Conv2d(
            in_channels=self.in_channels,
            out_channels=self.out_channels,
            kernel=self.kernel,
            pads=pads,
            dilation=self.dilation,
            groups=self.groups,
        )

    @property
    def weight_shape(self) -> tuple[int, ...]:
        """(out, in / groups, kh, kw)."""
        return self.plain.weight_shape

    @property
    def matrix_shape(self) -> tuple[int, int]:
        """(out, in * kh * kw)."""
        return self.plain.matrix_shape

    @property
    def dense_shape(self) -> tuple[int, int]:
        """(out, in / groups * kh * kw): the weights there are before pruning."""
        return self.plain.dense_shape

    @property
    def diagonal_blocks(self) -> int:
        """Its groups."""
        return self.groups

    @property
    def entrance(self) -> tuple[int, ...]:
        """(channels, height, width), both sizes open."""
        return self.plain.entrance

    @property
    def channels(self) -> tuple[int, int]:
        """(out, in)."""
        return self.plain.channels

    @property
    def tied(self) -> str:
        """Channels are not taken out of it."""
        return "a transposed convolution"

    def spread(self, flat: SparseColumns) -> SparseColumns:
        """As the convolution that it is."""
        return self.plain.spread(flat)

    @property
    def spread_blocks(self) -> int:
        """Its groups."""
        return self.groups

    def gathered(self, matrix: SparseColumns) -> SparseColumns:
        """Undo `spread`."""
        return self.plain.gathered(matrix)

    def sizes(self, shape: Sequence[int]) -> tuple[int, ...]:
        """Height and width of (N, C, H, W)."""
        return tuple(shape[2:])

    def output_shape(self, shape: Sequence[int]) -> tuple[int, ...]:
        """(N, out, oh, ow): channels come before the sizes."""
        return (shape[0], self.out_channels, *self.output_size(*self.sizes(shape)))

    def output_size(self, *sizes: int) -> tuple[int, ...]:
        """Rows and columns of the output of a map of (height, width)."""
        return self.plain.output_size(*(step * (size - 1) + 1 for step, size in zip(self.stride, sizes, strict=True)))

    def dense_form(self, weights: Array, products: int, batch: int) -> DenseForm:
        """``ConvTranspose`` over a map as square as its output pixels allow."""
        # ONNX holds (in, out / groups, kh, kw); which number stands where does not matter to its time.
        stored = weights.reshape(self.in_channels, self.out_channels // self.groups, *self.kernel)
        outputs = nearly_square(products, 2)
        pads = padded_by(self)
        size = tuple(
            max(
                1,
                1
                + (outputs[i] + pads[i] - self.output_padding[i] - 1 - self.dilation[i] * (self.kernel[i] - 1))
                // self.stride[i],
            )
            for i in range(2)
        )
        return windowed_form(
            "ConvTranspose",
            self,
            stored,
            input_shape=(batch, self.in_channels, *size),
            output_padding=self.output_padding,
        )

    def windows(self, x: Array) -> Array:
        """(N, C, H, W) into a view (N, oh, ow, C, kh, kw): what each output pixel sees, zeros between pixels."""
        if x.ndim != 4 or x.shape[1] != self.in_channels:
            raise ModelError(
                f"a transposed convolution over {self.in_channels} channels got an array of shape {x.shape}"
            )
        down, across = self.stride
        if self.stride != (1, 1):
            height, width = (step * (size - 1) + 1 for step, size in zip(self.stride, x.shape[2:], strict=True))
            stretched = np.zeros((*x.shape[:2], height, width), x.dtype)
            stretched[:, :, ::down, ::across] = x
            x = stretched
        return self.plain.windows(x)

    def unroll(self, windows: Array, start: int, stop: int) -> Array:
        """Copy rows start..stop-1 out of `windows`."""
        return self.plain.unroll(windows, start, stop)

    def fold(self, rows: Array, n: int, size: tuple[int, ...]) -> Array:
        """(n * oh * ow, out) into (n, out, oh, ow); ``size`` is (oh, ow)."""
        return self.plain.fold(rows, n, size)

    def recorded(self, x: Array, outputs: Array | None) -> Array:
        """Unroll (N, C, H, W), or (N, C, W) as a framework gives it to a 1-D one: a map of height 1."""
        del outputs
        windows = self.windows(x[:, :, None] if x.ndim == 3 and self.kernel[0] == 1 else x)
        return self.unroll(windows, 0, self.rows(windows))
