"""What is to be run: layers and the networks they form.

Comes in: arrays, from a caller or an importer. Goes out: frozen `Layer` and `Network`. Read by weight sharing and
the compiler.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from eie.errors import ModelError
from eie.matrix import SparseColumns, frozen
from eie.trace import Trace


@dataclass(frozen=True, eq=False)
class Layer:
    """One matrix-vector product, pruned and perhaps weight-shared: ``outputs = relu?(W a + b)``.

    Build it with `from_weights` or `from_codes`.

    Attributes
    ----------
    name
        Unique within a network.
    matrix
        (outputs, inputs); data are float32 weights, or uint8 codes when ``codebook`` is set.
    codebook
        float32 (levels,), level 0 is 0.0; None while the weights are not shared.
    bias, bias_codes
        float32 (outputs,) or uint8 (outputs,), at most one of them.
    relu
        Whether outputs pass through ReLU before they are stored.
    synthetic
        Whether the weights were drawn at random; every report says so.
    """

    name: str
    matrix: SparseColumns
    codebook: NDArray[np.float32] | None = None
    bias: NDArray[np.float32] | None = None
    bias_codes: NDArray[np.uint8] | None = None
    relu: bool = False
    synthetic: bool = False

    @classmethod
    def from_weights(cls, name: str, weights: ArrayLike, bias: ArrayLike | None = None, *, relu: bool = False) -> Layer:
        """Make a layer from a float array (outputs, inputs) whose zeros are the pruned weights.

        Raises
        ------
        ModelError
            For a shape other than 2-D, an empty array, NaN or infinite values, or a bias that does not fit.
        """
        dense = _numbers(f"layer {name!r}: weights", weights)
        _check_matrix(name, "weights", dense)
        matrix = SparseColumns.from_dense(dense.astype(np.float32, copy=False), f"layer {name!r}: weights")
        return cls(_name(name), matrix, bias=None if bias is None else _bias(name, bias, matrix.shape[0]), relu=relu)

    @classmethod
    def from_codes(
        cls,
        name: str,
        codes: ArrayLike,
        codebook: ArrayLike,
        bias_codes: ArrayLike | None = None,
        *,
        relu: bool = False,
    ) -> Layer:
        """Make a layer from shared weights: uint8 ``codes`` (outputs, inputs) into ``codebook`` (levels,).

        Raises
        ------
        ModelError
            If code 0 does not stand for zero, a code has no level, or a shape does not fit.
        """
        where = f"layer {name!r}"
        table = _numbers(f"{where}: codebook", codebook).astype(np.float32, copy=False)
        if table.ndim != 1 or not 1 <= len(table) <= 256:
            raise ModelError(f"{where}: codebook has shape {table.shape}: must be (levels,) with 1 to 256 levels")
        if not np.isfinite(table).all():
            raise ModelError(f"{where}: codebook holds NaN or infinity: must be finite")
        if table[0] != 0:
            raise ModelError(f"{where}: codebook[0] = {table[0]}: must be 0, since code 0 means the value zero")
        dense = _codes(where, "codes", codes, len(table))
        _check_matrix(name, "codes", dense)
        matrix = SparseColumns.from_dense(dense, f"{where}: codes")
        bias = None
        if bias_codes is not None:
            bias = _codes(where, "bias_codes", bias_codes, len(table))
            if bias.shape != (matrix.shape[0],):
                raise ModelError(f"{where}: bias_codes has shape {bias.shape}: must be ({matrix.shape[0]},)")
            bias = frozen(bias, np.uint8)
        return cls(_name(name), matrix, frozen(table, np.float32), bias_codes=bias, relu=relu)

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
        """Non-zeros over all weights, bias not counted."""
        return self.matrix.nnz / (self.outputs * self.inputs)

    @property
    def weights(self) -> NDArray[np.float32]:
        """float32 (outputs, inputs): the dense weights."""
        dense = self.matrix.dense()
        return dense if self.codebook is None else self.codebook[dense]

    def rename(self, name: str) -> Layer:
        """Return the same layer under another name."""
        return replace(self, name=name)


@dataclass(frozen=True, eq=False)
class Network:
    """Layers in the order in which they run.

    Attributes
    ----------
    sequential
        True if layer i's output is layer i+1's input, so that one input vector is enough to run all of them.
    trace
        Activations that came with the model, or None.
    source
        Where it came from, for reports.
    notes
        Lines a report should show: what was assumed while reading.
    """

    name: str
    layers: tuple[Layer, ...]
    sequential: bool = False
    trace: Trace | None = None
    source: str = "arrays"
    notes: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if not self.layers:
            raise ModelError(f"network {self.name!r}: no layers")
        names = [layer.name for layer in self.layers]
        for name in names:
            if names.count(name) > 1:
                raise ModelError(f"network {self.name!r}: two layers are called {name!r}: names must differ")
        if self.sequential:
            for here, there in pairwise(self.layers):
                if here.outputs != there.inputs:
                    raise ModelError(
                        f"network {self.name!r}: {here.name} has {here.outputs} outputs but {there.name} takes "
                        f"{there.inputs} inputs: not a sequence"
                    )

    @classmethod
    def of(cls, net_or_layer: Network | Layer) -> Network:
        """Wrap a single layer; pass a network through."""
        if isinstance(net_or_layer, Network):
            return net_or_layer
        if isinstance(net_or_layer, Layer):
            return cls(net_or_layer.name, (net_or_layer,), sequential=True)
        raise ModelError(f"{type(net_or_layer).__name__}: must be an eie.Layer or eie.Network")


def _name(name: object) -> str:
    if not isinstance(name, str) or not name.strip() or not name.isprintable():
        raise ModelError(f"layer name {name!r}: must be printable text")
    return name


def _numbers(where: str, values: ArrayLike) -> NDArray[Any]:
    array = np.asarray(values)
    if array.dtype.kind not in "fiub":
        raise ModelError(f"{where} has dtype {array.dtype}: must be numbers")
    return array


def _check_matrix(name: str, what: str, array: NDArray[Any]) -> None:
    if array.ndim != 2:
        raise ModelError(f"layer {name!r}: {what} has shape {array.shape}: must be (outputs, inputs)")
    if array.size == 0:
        raise ModelError(f"layer {name!r}: {what} has shape {array.shape}: an empty layer has nothing to run")


def _bias(name: str, bias: ArrayLike, outputs: int) -> NDArray[np.float32]:
    array = _numbers(f"layer {name!r}: bias", bias)
    if array.shape != (outputs,):
        raise ModelError(f"layer {name!r}: bias has shape {array.shape}: must be ({outputs},)")
    array = frozen(array, np.float32)
    if not np.isfinite(array).all():
        raise ModelError(f"layer {name!r}: bias holds NaN or infinity: must be finite")
    return array


def _codes(where: str, what: str, codes: ArrayLike, levels: int) -> NDArray[np.uint8]:
    array = _numbers(f"{where}: {what}", codes)
    if array.dtype.kind == "f":
        raise ModelError(f"{where}: {what} has dtype {array.dtype}: must be integers")
    if array.size and (array.min() < 0 or array.max() >= levels):
        worst = array.max() if array.max() >= levels else array.min()
        raise ModelError(f"{where}: {what} holds {worst}: must be 0 to {levels - 1}, the codebook has {levels} levels")
    return array.astype(np.uint8, copy=False)
