"""Two-dimensional convolutions by im2col: one product per output pixel with the (out) x (in * kh * kw) matrix.

Comes in: channels, kernel, stride, pads, dilation, groups. Goes out: a frozen `Conv2d`. Read as `protocol` says; a
one-dimensional convolution is one over maps of height 1.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from eie.errors import ModelError
from eie.model.geometry.dense_form import DenseForm, conv_form
from eie.model.geometry.protocol import LARGEST_SIZE, Array, Geometry, is_size
from eie.model.geometry.registry import register
from eie.model.geometry.windows import sliding, taken
from eie.model.matrix import SparseColumns
from eie.model.operators.pooling import padded_batch

if TYPE_CHECKING:
    from torch import Tensor


@register
@dataclass(frozen=True, kw_only=True)
class Conv2d(Geometry):
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
            # Lists and numpy's integers are taken too; what is kept hashes and compares: tuples of plain ints.
            values = tuple(getattr(self, name))
            if len(values) != size or not all(is_size(value, least) for value in values):
                raise ModelError(f"conv {name}={values}: must be {size} integers from {least} to {LARGEST_SIZE}")
            object.__setattr__(self, name, tuple(map(int, values)))
        for name in ("in_channels", "out_channels", "groups"):
            if not is_size(getattr(self, name), 1):
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

    @property
    def diagonal_blocks(self) -> int:
        """Its groups."""
        return self.groups

    @property
    def entrance(self) -> tuple[int, ...]:
        """(channels, height, width), both sizes open."""
        return self.in_channels, -1, -1

    @property
    def channels(self) -> tuple[int, int]:
        """(out, in)."""
        return self.out_channels, self.in_channels

    @property
    def fresh_inputs(self) -> int:
        """Inputs that a window brings in: it moves on by the stride, or by its own size if that is smaller."""
        # A stride beyond the kernel skips rows: what a window brings in is then all of itself.
        down, across = (min(size, step) for size, step in zip(self.kernel, self.stride, strict=True))
        return self.in_channels // self.groups * down * across

    @property
    def tied(self) -> str | None:
        """Groups tie channels: taking one out would leave a group with fewer than the others."""
        return None if self.groups == 1 else "a grouped convolution"

    @property
    def keeps_shape(self) -> bool:
        """Whether a map comes out as large, with as many channels, as it went in."""
        # Pads and stride act on any map alike, so one with room for the kernel tells for all.
        room = max(64, *(2 * size * gap for size, gap in zip(self.kernel, self.dilation, strict=True)))
        return self.in_channels == self.out_channels and self.output_size(room, room) == (room, room)

    def spread(self, flat: SparseColumns) -> SparseColumns:
        """Move an (out, in / groups * kh * kw) matrix to the diagonal blocks of (out, in * kh * kw)."""
        return flat if self.groups == 1 else self._moved(flat, self.matrix_shape, +1)

    @property
    def spread_blocks(self) -> int:
        """Its groups."""
        return self.groups

    def gathered(self, matrix: SparseColumns) -> SparseColumns:
        """Undo `spread`."""
        return matrix if self.groups == 1 else self._moved(matrix, self.dense_shape, -1)

    def _moved(self, matrix: SparseColumns, shape: tuple[int, int], way: int) -> SparseColumns:
        """Move each group's columns by as many blocks as there are groups before it."""
        # Outputs of a group are neighbours, so a row's group is a division.
        group = matrix.rows // (self.out_channels // self.groups)
        # A group's block is as wide as the weights of one output; flat, every group begins in column 0.
        columns = matrix.column_of + way * group * self.dense_shape[1]
        return SparseColumns.from_entries(shape=shape, rows=matrix.rows, columns=columns, data=matrix.data)

    def sizes(self, shape: Sequence[int]) -> tuple[int, ...]:
        """Height and width of (N, C, H, W)."""
        return tuple(shape[2:])

    def output_shape(self, shape: Sequence[int]) -> tuple[int, ...]:
        """(N, out, oh, ow): channels come before the sizes."""
        return (shape[0], self.out_channels, *self.output_size(*self.sizes(shape)))

    def output_size(self, *sizes: int) -> tuple[int, int]:
        """Rows and columns of the output of a map of (height, width).

        Raises
        ------
        ModelError
            If the kernel does not fit the padded input.
        """
        height, width = sizes
        top, left, bottom, right = self.pads
        outputs = []
        for size, pad, kernel, step, gap in zip(
            (height, width), (top + bottom, left + right), self.kernel, self.stride, self.dilation, strict=True
        ):
            # Steps that the kernel can go on from its first place; with dilation it spans gap * (kernel - 1) + 1.
            room = size + pad - gap * (kernel - 1) - 1
            if room < 0:
                raise ModelError(
                    f"a {height} x {width} map with pads {self.pads} is too small for kernel {self.kernel}"
                )
            outputs.append(room // step + 1)
        return outputs[0], outputs[1]

    def windows(self, x: Array) -> Array:
        """(N, C, H, W) into a view (N, oh, ow, C, kh, kw): what each output pixel sees."""
        self.check(x)
        spans = tuple(gap * (size - 1) + 1 for gap, size in zip(self.dilation, self.kernel, strict=True))
        return sliding(x=x, pads=self.pads, spans=spans, stride=self.stride, dilation=self.dilation)

    def unroll(self, windows: Array, start: int, stop: int) -> Array:
        """Copy rows start..stop-1 of `im2col` out of `windows`, so that a large layer is never unrolled as a whole."""
        return taken(windows, start, stop)

    def im2col(self, x: Array) -> Array:
        """(N, C, H, W) into (N * oh * ow, C * kh * kw): the inputs of every product, columns as in the matrix."""
        return taken(self.windows(x), 0, None)

    def fold(self, rows: Array, n: int, size: tuple[int, ...]) -> Array:
        """(n * oh * ow, out) into (n, out, oh, ow); ``size`` is (oh, ow)."""
        # Products give all channels of a pixel together; maps have channels first.
        return rows.reshape(n, *size, self.out_channels).transpose(0, 3, 1, 2)

    def recorded(self, x: Array, outputs: Array | None) -> Array:
        """Unroll (N, C, H, W), or (N, C, W) as a framework gives it to a 1-D convolution: a map of height 1."""
        del outputs
        # Height 1 is told by the kernel: a 3-D array for any other is an error, which `check` will name.
        flat = x.ndim == 3 and self.kernel[0] == 1
        return self.im2col(x[:, :, None] if flat else x)

    def torch_forward(self, batch: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        """As ``torch.nn.Conv2d``."""
        from torch.nn import functional

        # The lowered matrix is block-diagonal if there are groups, so one group is right in every case.
        kernel = weight.reshape(self.out_channels, self.in_channels, *self.kernel)
        return functional.conv2d(padded_batch(batch, self.pads, 0.0), kernel, bias, self.stride, 0, self.dilation)

    def dense_form(self, weights: Array, products: int, batch: int) -> DenseForm:
        """``Conv`` over a map as square as its output pixels allow."""
        return conv_form(self, weights.reshape(self.weight_shape), products=products, batch=batch)

    def columns_per_channel(self, channels: int) -> int:
        """Columns of a kernel, however many channels there are."""
        del channels
        return self.kernel[0] * self.kernel[1]

    def with_outputs(self, count: int) -> Conv2d:
        """Return one with ``count`` filters."""
        return replace(self, out_channels=count)

    def with_inputs(self, channels: int, before: int) -> Conv2d:
        """Return one for fewer channels; of maps joined on the way, the layer before gave only some of them."""
        # Multiplied first: the share alone is a fraction.
        return replace(self, in_channels=self.in_channels * channels // before)

    def check(self, x: Array) -> None:
        """Raise `ModelError` unless ``x`` is (N, C, H, W) with these channels and room for the kernel."""
        if x.ndim != 4 or x.shape[1] != self.in_channels:
            raise ModelError(f"a convolution over {self.in_channels} channels got an array of shape {x.shape}")
        self.output_size(x.shape[2], x.shape[3])
