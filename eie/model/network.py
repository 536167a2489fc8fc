"""What is to be run: layers and the networks they form.

Comes in: arrays, from a caller or an importer, also masked or sparse ones. Goes out: frozen `Layer` and `Network`.
Read by weight sharing and the compiler.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any, Literal, Protocol

import numpy as np
from numpy.typing import ArrayLike, NDArray

from eie.errors import ModelError, clean_texts
from eie.model import arrays
from eie.model.drawn import drawn_layers, drawn_notes
from eie.model.geometry import LINEAR, Conv2d, Geometry, Lstm
from eie.model.graph import Graph
from eie.model.matrix import SparseColumns, frozen
from eie.model.trace import Trace
from eie.show.face import View
from eie.show.notes import note_lines
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
        _name(self.name)
        # A linear layer is whatever its matrix is, also after `dataclasses.replace` with another one.
        # The record is frozen, and this still belongs to its making.
        object.__setattr__(self, "geometry", self.geometry.fitted(self.matrix.shape))

    @classmethod
    def from_weights(cls, name: str, weights: ArrayLike, bias: ArrayLike | None = None, *, relu: bool = False) -> Layer:
        """Make a layer from a float array (outputs, inputs) whose zeros are the pruned weights.

        Masked elements are pruned too. A ``scipy.sparse`` matrix stays sparse, and ``ml_dtypes`` are widened.

        Raises
        ------
        ModelError
            For a shape other than 2-D, an empty array, NaN or infinite values, or a bias that does not fit.
        """
        matrix = _compressed(name=name, what="weights", values=weights)
        return cls(
            name=_name(name),
            matrix=matrix,
            bias=None if bias is None else _bias(name, bias, matrix.shape[0]),
            relu=relu,
        )

    @classmethod
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
        table = frozen(_numbers(f"{where}: codebook", codebook), np.float32)
        if table.ndim != 1 or not 1 <= len(table) <= 256:
            raise ModelError(f"{where}: codebook has shape {table.shape}: must be (levels,) with 1 to 256 levels")
        if not np.isfinite(table).all():
            raise ModelError(f"{where}: codebook holds NaN or infinity: must be finite")
        # Padding entries and pruned weights are code 0; any other value there would be added at each of them.
        if table[0] != 0:
            raise ModelError(f"{where}: codebook[0] = {table[0]}: must be 0, since code 0 means the value zero")
        matrix = _compressed(name=name, what="codes", values=codes, levels=len(table))
        bias = None
        if bias_codes is not None:
            bias = _codes(where=where, what="bias_codes", codes=bias_codes, levels=len(table))
            if bias.shape != (matrix.shape[0],):
                raise ModelError(f"{where}: bias_codes has shape {bias.shape}: must be ({matrix.shape[0]},)")
            # Codes into the same codebook: on the machine the bias is one more column of the matrix.
            bias = frozen(bias, np.uint8)
        return cls(
            name=_name(name),
            matrix=matrix,
            codebook=frozen(table, np.float32),
            bias=_accumulator_bias(name=name, bias=accumulator_bias, codes=bias, outputs=matrix.shape[0]),
            bias_codes=bias,
            relu=relu,
        )

    @classmethod
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
        kernel = _as_given(f"layer {name!r}: weights", weights)
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
        stored = _as_given(f"layer {name!r}: weights", weights)
        shape, unrolled = tuple(int(size) for size in stored.shape), (wanted[0], math.prod(wanted[1:]))
        # Where a matrix is wanted, `from_weights` says best what else it got.
        if shape not in (wanted, unrolled if sparse else wanted) and (len(wanted) != 2 or len(shape) == 2):
            raise ModelError(f"layer {name!r}: weights has shape {shape}: {geometry} has {wanted}")
        # Channel, kernel row, kernel column: row-major order is the order of im2col's columns.
        flat = stored if len(wanted) == 2 else stored.reshape(unrolled)
        if codebook is None:
            layer = cls.from_weights(name, flat, bias, relu=relu)
        else:
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
        x, h = (_as_given(f"layer {name!r}: {what}", values) for what, values in parts.items())
        if len(x.shape) != 2 or len(h.shape) != 2 or h.shape[0] != 4 * h.shape[1] or x.shape[0] != h.shape[0]:
            raise ModelError(
                f"layer {name!r}: input_weights {x.shape} and hidden_weights {h.shape}: "
                "must be (4 * hidden, input) and (4 * hidden, hidden)"
            )
        # One matrix for both: a step's row is [x, h], one broadcast after the other, and the sums need no second pass.
        left, right = (_compressed(name=name, what=what, values=part) for what, part in zip(parts, (x, h), strict=True))
        return cls(
            name=_name(name),
            matrix=left.beside(right),
            bias=None if bias is None else _bias(name, bias, left.shape[0]),
            geometry=Lstm(left.shape[1], right.shape[1], reverse),
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
        return (Section(name="layer", grids=(_layers_grid((self,)),)),)


@dataclass(frozen=True, eq=False, kw_only=True, repr=False)
class Network(View):
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
    graph
        How tensors flow between the layers, or None; a graph runs every layer, one that has several uses several times.
    sha256
        Of the file it was read from, or None.
    alternatives
        Whether the layers are no network but alternatives, such as a benchmark's: each has the chip to itself.
    residency
        What the spec's field of that name is to be where the caller does not state it, or None.
    unmodelled
        Layers of the model that are not among ``layers``, each in words: without them a total would be of a part.
    """

    name: str
    layers: tuple[Layer, ...]
    sequential: bool = False
    trace: Trace | None = None
    source: str = "arrays"
    notes: tuple[str, ...] = ()
    graph: Graph | None = None
    sha256: str | None = None
    alternatives: bool = False
    residency: Literal["auto", "ideal"] | None = None
    unmodelled: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        # Of whatever file: the one gate by which words come in, so that what is shown and written is printable.
        clean_texts(self, ("name", "source", "notes", "unmodelled"))
        if self.residency not in (None, "auto", "ideal"):
            raise ModelError(f"network {self.name!r}: residency={self.residency!r}: must be 'auto' or 'ideal'")
        if not self.layers:
            raise ModelError(f"network {self.name!r}: no layers")
        names = [layer.name for layer in self.layers]
        for name, uses in Counter(names).items():
            if uses > 1:
                raise ModelError(f"network {self.name!r}: two layers are called {name!r}: names must differ")
        # Sorted, since the layers' order is that of a file and the graph's that of a run.
        if self.graph is not None and sorted(self.graph.layers) != sorted(names):
            listed = ", ".join(sorted(set(names).symmetric_difference(self.graph.layers)))
            raise ModelError(f"network {self.name!r}: its graph and its layers differ in {listed}")
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
            return cls(name=net_or_layer.name, layers=(net_or_layer,), sequential=True)
        raise ModelError(f"{type(net_or_layer).__name__}: must be an eie.Layer or eie.Network")

    def headline(self) -> str:
        """Say which network it is, and how large."""
        weights = sum(layer.matrix.nnz for layer in self.layers)
        many = "1 layer" if len(self.layers) == 1 else f"{len(self.layers)} layers"
        return f"{self.name}: {many}, {weights:,} weights, from {self.source}"

    def sections(self) -> tuple[Section, ...]:
        """Return a row a layer, and what was assumed while reading."""
        lines = [] if self.trace is None else [f"Activations: {self.trace.headline()}"]
        lines += [f"Not modelled: {text}." for text in self.unmodelled]
        names = (layer.name for layer in self.layers)
        notes = note_lines((*self.notes, *drawn_notes(drawn_layers(self.layers))), names)
        uses = {} if self.graph is None else {name: len(uses) for name, uses in self.graph.uses_by_layer.items()}
        return (Section(name="layers", grids=(_layers_grid(self.layers, uses),), lines=tuple(lines), notes=notes),)


def _layers_grid(layers: Sequence[Layer], uses: Mapping[str, int] | None = None) -> Grid:
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


class Chained(Protocol):
    """A network, compiled or not: what its dataflow depends on."""

    @property
    def graph(self) -> Graph | None: ...
    @property
    def sequential(self) -> bool: ...
    @property
    def layers(self) -> Sequence[Link]: ...


class Link(Protocol):
    """A layer, compiled or not: what it tells those that feed it."""

    @property
    def name(self) -> str: ...
    @property
    def inputs(self) -> int: ...
    @property
    def geometry(self) -> Geometry: ...


def dataflow(network: Chained) -> Graph | None:
    """Return how tensors flow: the network's graph, else the chain of a sequence, else None (layers on their own).

    A chain's input has the first layer's name.
    """
    if network.graph is not None or not network.sequential:
        return network.graph
    first = network.layers[0]
    return Graph.sequence(first.name, first.geometry.entrance, [("layer", layer.name) for layer in network.layers])


def _name(name: object) -> str:
    # Names go to terminals, files and pages: a control character in one could act there.
    if not isinstance(name, str) or not name.strip() or not name.isprintable():
        raise ModelError(f"layer name {name!r}: must be printable text")
    return name


def _numbers(where: str, values: ArrayLike) -> NDArray[Any]:
    try:
        array = arrays.plain(values)
    except ValueError as error:
        raise ModelError(f"{where}: {error}") from None
    # Complex, text and object arrays have no order of non-zeros to run; bool is 0 and 1.
    if array.dtype.kind not in "fiub":
        raise ModelError(f"{where} has dtype {array.dtype}: must be numbers")
    return array


def _as_given(where: str, values: ArrayLike) -> Any:
    """Return numbers, dense or as sparse as they are."""
    return values if arrays.is_sparse(values) else _numbers(where, values)


def _compressed(name: str, what: str, values: ArrayLike, levels: int | None = None) -> SparseColumns:
    """Return weights, or codes where ``levels`` says how many there are; what is sparse never becomes dense."""
    where, sparse = f"layer {name!r}: {what}", arrays.is_sparse(values)
    array = _as_given(where, values)
    shape = tuple(int(size) for size in array.shape)
    if len(shape) != 2:
        raise ModelError(f"{where} has shape {shape}: must be (outputs, inputs)")
    if 0 in shape:
        raise ModelError(f"{where} has shape {shape}: an empty layer has nothing to run")
    entries = _numbers(where, arrays.columns(array)[2]) if sparse else array
    if levels is not None:
        entries = _codes(where=f"layer {name!r}", what=what, codes=entries, levels=levels)
    if sparse:
        return SparseColumns.from_sparse(array, where, np.float32 if levels is None else np.uint8)
    # What is float32 already is not copied, however it lies in memory.
    converted = levels is None and entries.dtype != np.float32
    return SparseColumns.from_dense(frozen(entries, np.float32) if converted else entries, where)


def _bias(name: str, bias: ArrayLike, outputs: int) -> NDArray[np.float32]:
    array = _numbers(f"layer {name!r}: bias", bias)
    if array.shape != (outputs,):
        raise ModelError(f"layer {name!r}: bias has shape {array.shape}: must be ({outputs},)")
    array = frozen(array, np.float32)
    if not np.isfinite(array).all():
        raise ModelError(f"layer {name!r}: bias holds NaN or infinity: must be finite")
    return array


def _accumulator_bias(
    name: str, bias: ArrayLike | None, codes: NDArray[np.uint8] | None, outputs: int
) -> NDArray[np.float32] | None:
    if bias is None:
        return None
    if codes is not None:
        raise ModelError(f"layer {name!r}: accumulator_bias: has bias_codes too: give one of them")
    return _bias(name, bias, outputs)


def _codes(where: str, what: str, codes: ArrayLike, levels: int) -> NDArray[np.uint8]:
    array = _numbers(f"{where}: {what}", codes)
    if array.dtype.kind == "f":
        raise ModelError(f"{where}: {what} has dtype {array.dtype}: must be integers")
    if array.size and (array.min() < 0 or array.max() >= levels):
        # The one that is out of range, whichever end it left by.
        worst = array.max() if array.max() >= levels else array.min()
        raise ModelError(f"{where}: {what} holds {worst}: must be 0 to {levels - 1}, the codebook has {levels} levels")
    # Safe only now: before the check, 256 would have become 0, a weight that is not there.
    return array.astype(np.uint8, copy=False)
