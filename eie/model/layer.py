"""What is to be run: a layer, and the ways to make one.

Comes in: arrays, from a caller or an importer, also masked or sparse ones. Goes out: a frozen `Layer`. Read by
`Network`, weight sharing and the compiler.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from eie.errors import ModelError
from eie.formats.arguments import taken
from eie.model import arrays
from eie.model.geometry import LINEAR, Conv2d, Geometry, Lstm
from eie.model.matrix import SparseColumns, frozen
from eie.model.weights import (
    as_given,
    checked_accumulator_bias,
    checked_bias,
    checked_codes,
    checked_name,
    checked_numbers,
    compressed,
    side_by_side,
)
from eie.show.face import View
from eie.show.sections import Column, Grid, Section


@dataclass(frozen=True, eq=False, kw_only=True, repr=False)
class Layer(View):
    """One matrix-vector product, pruned and perhaps weight-shared: ``outputs = relu?(W a + b)``.

    Build it with `from_weights`, `from_codes`, `from_conv`, `from_lstm`, or `of_geometry` for any other kind.

    Attributes
    ----------
    name
        Unique within a network.
    matrix
        (outputs, inputs); data are float32 weights, or uint8 codes when ``codebook`` is set.
    codebook
        float32 (levels,), level 0 is 0.0; None while the weights are not shared.
    bias, bias_codes
        float32 (outputs,) or uint8 (outputs,), at most one of them. Beside a codebook, codes are one more column of the
        matrix; from a float32 bias the accumulators start.
    relu
        Whether outputs pass through ReLU before they are stored.
    synthetic
        Whether the weights were drawn at random; every report says so.
    geometry
        What the matrix is the lowered form of; `Linear`, as large as the matrix, for a fully connected layer.
    stored_bits
        Bits a weight took in the file it was read from as integers, scales included, or in half precision; None for
        weights that came as float32 or wider. Sizes count it in the place of 32.
    """

    name: str
    matrix: SparseColumns
    codebook: NDArray[np.float32] | None = None
    bias: NDArray[np.float32] | None = None
    bias_codes: NDArray[np.uint8] | None = None
    relu: bool = False
    synthetic: bool = False
    geometry: Geometry = LINEAR
    stored_bits: float | None = None

    def __post_init__(self) -> None:
        checked_name(self.name)
        # A linear layer is whatever its matrix is, also after `dataclasses.replace` with another one.
        # The record is frozen, and this still belongs to its making.
        object.__setattr__(self, "geometry", self.geometry.fitted(self.matrix.shape))

    @classmethod
    @taken
    def from_weights(cls, name: str, weights: ArrayLike, bias: ArrayLike | None = None, *, relu: bool = False) -> Layer:
        """Make a layer from a float array (outputs, inputs) whose zeros are the pruned weights.

        Masked elements are pruned too. A ``scipy.sparse`` matrix stays sparse, and ``ml_dtypes`` are widened.

        Raises
        ------
        ModelError
            For a shape other than 2-D, an empty array, NaN or infinite values, or a bias that does not fit.
        """
        return cls._of_weights(name=name, weights=weights, bias=bias, relu=relu, geometry=LINEAR)

    @classmethod
    def _of_weights(
        cls, *, name: str, weights: ArrayLike, bias: ArrayLike | None, relu: bool, geometry: Geometry
    ) -> Layer:
        matrix = compressed(name=name, what="weights", values=weights, geometry=geometry)
        return cls(
            name=checked_name(name),
            matrix=matrix,
            bias=None if bias is None else checked_bias(name, bias, matrix.shape[0]),
            relu=relu,
            geometry=geometry,
        )

    @classmethod
    @taken
    def from_codes(
        cls,
        name: str,
        codes: ArrayLike,
        codebook: ArrayLike,
        bias_codes: ArrayLike | None = None,
        *,
        accumulator_bias: ArrayLike | None = None,
        relu: bool = False,
    ) -> Layer:
        """Make a layer from shared weights: uint8 ``codes`` (outputs, inputs) into ``codebook`` (levels,).

        Parameters
        ----------
        bias_codes
            uint8 (outputs,): a bias as one more column of the matrix.
        accumulator_bias
            float32 (outputs,), in its place: what the accumulators start from.

        Raises
        ------
        ModelError
            If code 0 does not stand for zero, a code has no level, a shape does not fit, or there are two biases.
        """
        where = f"layer {name!r}"
        # Checked as float32, in which it is used: a level may become zero or infinite on the way there.
        table = frozen(checked_numbers(f"{where}: codebook", codebook), np.float32)
        if table.ndim != 1 or not 1 <= len(table) <= 256:
            raise ModelError(f"{where}: codebook has shape {table.shape}: must be (levels,) with 1 to 256 levels")
        if not np.isfinite(table).all():
            raise ModelError(f"{where}: codebook holds NaN or infinity: must be finite")
        # Padding entries and pruned weights are code 0; any other value there would be added at each of them.
        if table[0] != 0:
            raise ModelError(f"{where}: codebook[0] = {table[0]}: must be 0, since code 0 means the value zero")
        matrix = compressed(name=name, what="codes", values=codes, levels=len(table))
        bias = None
        if bias_codes is not None:
            bias = checked_codes(where=where, what="bias_codes", codes=bias_codes, levels=len(table))
            if bias.shape != (matrix.shape[0],):
                raise ModelError(f"{where}: bias_codes has shape {bias.shape}: must be ({matrix.shape[0]},)")
            # Codes into the same codebook: on the machine the bias is one more column of the matrix.
            bias = frozen(bias, np.uint8)
        return cls(
            name=checked_name(name),
            matrix=matrix,
            codebook=frozen(table, np.float32),
            bias=checked_accumulator_bias(name=name, bias=accumulator_bias, codes=bias, outputs=matrix.shape[0]),
            bias_codes=bias,
            relu=relu,
        )

    @classmethod
    @taken
    def from_conv(
        cls,
        name: str,
        weights: ArrayLike,
        bias: ArrayLike | None = None,
        conv: Conv2d | None = None,
        *,
        codebook: ArrayLike | None = None,
        accumulator_bias: ArrayLike | None = None,
        relu: bool = False,
    ) -> Layer:
        """Lower a convolution to its (out) x (in * kh * kw) matrix; zeros in the kernel are the pruned weights.

        Parameters
        ----------
        weights
            (out, in / groups, kh, kw), or, beside ``conv``, a sparse matrix (out, in / groups * kh * kw).
        conv
            Stride, pads, dilation, groups; None for stride 1 without pads, in one group.
        codebook
            If given, ``weights`` and ``bias`` are uint8 codes into it.
        accumulator_bias
            With a codebook, float32 in place of ``bias``: what the accumulators start from.

        Raises
        ------
        ModelError
            If the kernel does not have the shape that ``conv`` states, and as for `from_weights` and `from_codes`.
        """
        # Unrolled already: only a geometry can say what its columns are.
        unrolled = conv is not None and arrays.is_sparse(weights) and len(np.shape(weights)) == 2
        kernel = as_given(f"layer {name!r}: weights", weights)
        shape = tuple(int(size) for size in kernel.shape)
        if not unrolled and (len(shape) != 4 or 0 in shape):
            raise ModelError(f"layer {name!r}: weights has shape {shape}: must be (out, in / groups, kh, kw)")
        if conv is None:
            conv = Conv2d(in_channels=shape[1], out_channels=shape[0], kernel=(shape[2], shape[3]))
        return cls.of_geometry(
            name=name,
            weights=kernel,
            bias=bias,
            geometry=conv,
            codebook=codebook,
            accumulator_bias=accumulator_bias,
            relu=relu,
        )

    @classmethod
    @taken
    def of_geometry(
        cls,
        name: str,
        weights: ArrayLike,
        bias: ArrayLike | None = None,
        *,
        geometry: Geometry,
        codebook: ArrayLike | None = None,
        accumulator_bias: ArrayLike | None = None,
        relu: bool = False,
    ) -> Layer:
        """Lower weights of any kind of layer, shaped as its ``geometry.weight_shape``, as model files hold them.

        Parameters
        ----------
        codebook
            If given, ``weights`` and ``bias`` are uint8 codes into it.
        accumulator_bias
            With a codebook, float32 in place of ``bias``: what the accumulators start from.

        Raises
        ------
        ModelError
            If the weights have another shape, and as for `from_weights` and `from_codes`.
        """
        sparse, wanted = arrays.is_sparse(weights), geometry.weight_shape
        stored = as_given(f"layer {name!r}: weights", weights)
        shape, unrolled = tuple(int(size) for size in stored.shape), (wanted[0], math.prod(wanted[1:]))
        # Where a matrix is wanted, `from_weights` says best what else it got.
        if shape not in (wanted, unrolled if sparse else wanted) and (len(wanted) != 2 or len(shape) == 2):
            raise ModelError(f"layer {name!r}: weights has shape {shape}: {geometry} has {wanted}")
        # Channel, kernel row, kernel column: row-major order is the order of im2col's columns.
        flat = stored if len(wanted) == 2 else stored.reshape(unrolled)
        if codebook is None:
            return cls._of_weights(name=name, weights=flat, bias=bias, relu=relu, geometry=geometry)
        layer = cls.from_codes(
            name=name,
            codes=flat,
            codebook=codebook,
            bias_codes=bias,
            accumulator_bias=accumulator_bias,
            relu=relu,
        )
        # Spread after it is sparse: dense, a grouped convolution's zeros would be most of the memory.
        return replace(layer, matrix=geometry.spread(layer.matrix), geometry=geometry)

    @classmethod
    @taken
    def from_lstm(
        cls,
        name: str,
        input_weights: ArrayLike,
        hidden_weights: ArrayLike,
        bias: ArrayLike | None = None,
        *,
        reverse: bool = False,
    ) -> Layer:
        """Lower one direction of an LSTM to the (4 * hidden) x (input + hidden) matrix of its four gates.

        Parameters
        ----------
        input_weights, hidden_weights
            (4 * hidden, input) and (4 * hidden, hidden); gates in the order input, forget, cell, output.
        bias
            (4 * hidden,): where a framework keeps two, their sum.
        reverse
            Whether time runs backwards.

        Raises
        ------
        ModelError
            If the shapes do not belong together, and as for `from_weights`.
        """
        parts = {"input_weights": input_weights, "hidden_weights": hidden_weights}
        x, h = (as_given(f"layer {name!r}: {what}", values) for what, values in parts.items())
        if len(x.shape) != 2 or len(h.shape) != 2 or h.shape[0] != 4 * h.shape[1] or x.shape[0] != h.shape[0]:
            raise ModelError(
                f"layer {name!r}: input_weights {x.shape} and hidden_weights {h.shape}: "
                "must be (4 * hidden, input) and (4 * hidden, hidden)"
            )
        # One matrix for both: a step's row is [x, h], one broadcast after the other, and the sums need no second pass.
        matrix = side_by_side(name, dict(zip(parts, (x, h), strict=True)))
        return cls(
            name=checked_name(name),
            matrix=matrix,
            bias=None if bias is None else checked_bias(name, bias, matrix.shape[0]),
            geometry=Lstm(int(x.shape[1]), int(h.shape[1]), reverse),
        )

    @property
    def outputs(self) -> int:
        """Rows of the matrix."""
        return self.matrix.shape[0]

    @property
    def inputs(self) -> int:
        """Columns of the matrix."""
        return self.matrix.shape[1]

    @property
    def has_bias(self) -> bool:
        """Whether a bias is added."""
        return self.bias is not None or self.bias_codes is not None

    @property
    def weight_density(self) -> float:
        """Non-zeros over all weights, bias not counted; what a grouped convolution cannot have is no weight."""
        # Not the matrix's own shape: off its diagonal a grouped convolution could not have a weight.
        rows, columns = self.geometry.dense_shape
        return self.matrix.nnz / (rows * columns)

    @property
    def weights(self) -> NDArray[np.float32]:
        """float32 (outputs, inputs): the dense weights."""
        dense = self.matrix.dense()
        # Codes index the codebook; a pruned weight is code 0 and so 0.0.
        return dense if self.codebook is None else self.codebook[dense]

    @property
    def kernel(self) -> NDArray[np.float32]:
        """float32 (out, in / groups, kh, kw) of a `Conv2d` layer.

        Raises
        ------
        ModelError
            If the layer is no convolution.
        """
        if len(self.geometry.weight_shape) != 4:
            raise ModelError(f"layer {self.name!r} is no convolution: it has no kernel")
        weights = self.stored_weights
        return weights if self.codebook is None else self.codebook[weights]

    @property
    def stored_weights(self) -> NDArray[Any]:
        """Weights or codes in the shape in which model files hold them: what `of_geometry` takes."""
        return self.geometry.gathered(self.matrix).dense().reshape(self.geometry.weight_shape)

    def headline(self) -> str:
        """Say which layer it is and how much of it is left."""
        rows, columns = self.matrix.shape
        return f"{self.name}, {rows} x {columns} ({self.geometry.kind}), {self.matrix.nnz:,} weights"

    def sections(self) -> tuple[Section, ...]:
        """Return shape, weights, and how they are stored."""
        return (Section(name="layer", grids=(layers_grid((self,)),)),)


def layers_grid(layers: Sequence[Layer], uses: Mapping[str, int] | None = None) -> Grid:
    """Return a row a layer; ``uses`` where some layer has more than one."""
    uses = uses or {}
    columns = (
        Column("layer", "layer", "text"),
        *([Column("uses", "uses", "count")] if any(many > 1 for many in uses.values()) else []),
        Column("kind", "kind", "text"),
        Column("shape", "out x in", "word"),
        Column("weights", "weights", "count"),
        Column("density", "weights %", "percent"),
        Column("levels", "shared values", "count"),
        Column("bias", "bias", "yes"),
        Column("relu", "ReLU", "yes"),
        Column("synthetic", "drawn", "yes"),
    )
    rows = tuple(
        {
            "layer": layer.name,
            "uses": uses.get(layer.name, 1),
            "kind": layer.geometry.kind,
            "shape": "{} x {}".format(*layer.matrix.shape),
            "weights": layer.matrix.nnz,
            # Of the matrix as it is stored and walked, unlike `weight_density`.
            "density": layer.matrix.nnz / (layer.matrix.shape[0] * layer.matrix.shape[1]),
            "levels": None if layer.codebook is None else len(layer.codebook),
            "bias": layer.has_bias,
            "relu": layer.relu,
            "synthetic": layer.synthetic,
        }
        for layer in layers
    )
    return Grid(columns=columns, rows=rows)
