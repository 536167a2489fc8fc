"""Three-dimensional convolutions: one product per output voxel with the (out) x (in * kd * kh * kw) matrix.

Comes in: channels, kernel, stride, pads, dilation, groups. Goes out: a frozen `Conv3d`. Read as `protocol` says.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from eie.errors import ModelError
from eie.model.geometry.conv2d import Conv2d
from eie.model.geometry.dense_form import DenseForm, conv_form
from eie.model.geometry.protocol import LARGEST_SIZE, Array, Geometry, is_size
from eie.model.geometry.registry import register
from eie.model.matrix import SparseColumns


@register
@dataclass(frozen=True, kw_only=True)
class Conv3d(Geometry):
    """A three-dimensional convolution; columns are ordered channel, kernel plane, row, column.

    Attributes
    ----------
    kernel, stride, dilation
        (planes, rows, columns).
    pads
        Zeros before the first plane, row and column, then behind the last.

    Raises
    ------
    ModelError
        For sizes out of bounds or groups that do not divide the channels.
    """

    in_channels: int
    out_channels: int
    kernel: tuple[int, int, int] = (1, 1, 1)
    stride: tuple[int, int, int] = (1, 1, 1)
    pads: tuple[int, int, int, int, int, int] = (0, 0, 0, 0, 0, 0)
    dilation: tuple[int, int, int] = (1, 1, 1)
    groups: int = 1

    def __post_init__(self) -> None:
        for name, size, least in (("kernel", 3, 1), ("stride", 3, 1), ("pads", 6, 0), ("dilation", 3, 1)):
            values = tuple(getattr(self, name))
            if len(values) != size or not all(is_size(value, least) for value in values):
                raise ModelError(f"conv3d {name}={values}: must be {size} integers from {least} to {LARGEST_SIZE}")
            object.__setattr__(self, name, tuple(map(int, values)))
        for name in ("in_channels", "out_channels", "groups"):
            object.__setattr__(self, name, getattr(self.flat, name))

    @cached_property
    def flat(self) -> Conv2d:
        """A convolution with the same matrix: of planes one under the other."""
        planes, rows, columns = self.kernel
        return Conv2d(
            in_channels=self.in_channels,
            out_channels=self.out_channels,
            kernel=(planes * rows, columns),
            groups=self.groups,
        )

    @property
    def weight_shape(self) -> tuple[int, ...]:
        """(out, in / groups, kd, kh, kw): the kernel as frameworks store it."""
        return self.out_channels, self.in_channels // self.groups, *self.kernel

    @property
    def matrix_shape(self) -> tuple[int, int]:
        """(out, in * kd * kh * kw)."""
        return self.flat.matrix_shape

    @property
    def dense_shape(self) -> tuple[int, int]:
        """(out, in / groups * kd * kh * kw): the weights there are before pruning."""
        return self.flat.dense_shape

    @property
    def diagonal_blocks(self) -> int:
        """Its groups."""
        return self.groups

    @property
    def entrance(self) -> tuple[int, ...]:
        """(channels, depth, height, width), the sizes open."""
        return self.in_channels, -1, -1, -1

    @property
    def channels(self) -> tuple[int, int]:
        """(out, in)."""
        return self.out_channels, self.in_channels

    @property
    def tied(self) -> str:
        """Channels are not taken out of it."""
        return "a three-dimensional convolution"

    def spread(self, flat: SparseColumns) -> SparseColumns:
        """As the convolution with the same matrix."""
        return self.flat.spread(flat)

    @property
    def spread_blocks(self) -> int:
        """Its groups."""
        return self.groups

    def gathered(self, matrix: SparseColumns) -> SparseColumns:
        """Undo `spread`."""
        return self.flat.gathered(matrix)

    def sizes(self, shape: Sequence[int]) -> tuple[int, ...]:
        """Depth, height and width of (N, C, D, H, W)."""
        return tuple(shape[2:])

    def output_shape(self, shape: Sequence[int]) -> tuple[int, ...]:
        """(N, out, od, oh, ow): channels come before the sizes."""
        return (shape[0], self.out_channels, *self.output_size(*self.sizes(shape)))

    def output_size(self, *sizes: int) -> tuple[int, ...]:
        """Planes, rows and columns of the output; ModelError if the kernel does not fit the padded input."""
        outputs = []
        for i, size in enumerate(sizes):
            room = size + self.pads[i] + self.pads[i + 3] - self.dilation[i] * (self.kernel[i] - 1) - 1
            if room < 0:
                raise ModelError(f"a volume of {sizes} with pads {self.pads} is too small for kernel {self.kernel}")
            outputs.append(room // self.stride[i] + 1)
        return tuple(outputs)

    def windows(self, x: Array) -> Array:
        """(N, C, D, H, W) into a view (N, od, oh, ow, C, kd, kh, kw): what each output voxel sees."""
        if x.ndim != 5 or x.shape[1] != self.in_channels:
            raise ModelError(f"a 3-D convolution over {self.in_channels} channels got an array of shape {x.shape}")
        self.output_size(*x.shape[2:])
        if any(self.pads):
            x = np.pad(x, ((0, 0), (0, 0), *zip(self.pads[:3], self.pads[3:], strict=True)))
        spans = tuple(gap * (size - 1) + 1 for gap, size in zip(self.dilation, self.kernel, strict=True))
        view = np.lib.stride_tricks.sliding_window_view(x, spans, axis=(2, 3, 4))
        steps = (*(slice(None, None, step) for step in self.stride), *(slice(None, None, gap) for gap in self.dilation))
        return view[(slice(None), slice(None), *steps)].transpose(0, 2, 3, 4, 1, 5, 6, 7)

    def unroll(self, windows: Array, start: int, stop: int) -> Array:
        """Copy rows start..stop-1 out of `windows`."""
        if (start, stop) == (0, self.rows(windows)):
            return windows.reshape(stop, -1)
        # A range of windows is no slice of the view: it can begin and end within a row of the volume.
        places = np.unravel_index(np.arange(start, stop), windows.shape[:4])
        return windows[places].reshape(stop - start, -1)

    def dense_form(self, weights: Array, products: int, batch: int) -> DenseForm:
        """``Conv`` over a volume as cubic as its output voxels allow."""
        return conv_form(self, weights.reshape(self.weight_shape), products=products, batch=batch)

    def fold(self, rows: Array, n: int, size: tuple[int, ...]) -> Array:
        """(n * od * oh * ow, out) into (n, out, od, oh, ow)."""
        # Products give all channels of a voxel together; volumes have channels first.
        return np.moveaxis(rows.reshape(n, *size, self.out_channels), -1, 1)
