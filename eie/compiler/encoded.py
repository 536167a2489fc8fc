"""One layer as the accelerator holds it: all passes of it, its codebook, what it was lowered from.

Comes in: a lowered and weight-shared `Layer` and the spec. Goes out: a frozen `EncodedLayer`. Read by `program`, the
simulator and the report.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from eie.compiler.encode import Encoding, encode
from eie.compiler.lower import Block, blocks
from eie.compiler.passes import split
from eie.compression.share import ShareReport
from eie.model.geometry import Geometry, Scatter
from eie.model.layer import Layer
from eie.model.matrix import frozen
from eie.show.face import View
from eie.show.sections import Column, Grid, Section, Value
from eie.spec import AcceleratorSpec


@dataclass(frozen=True, eq=False, kw_only=True, repr=False)
class EncodedLayer(View):
    """One layer as the accelerator holds it.

    Attributes
    ----------
    outputs, inputs
        Shape of the weight matrix.
    weights
        Non-zero weights, bias not counted.
    codebook
        float32 (2**weight_bits,), level 0 is 0.
    passes
        One `Encoding`, unless the layer was split to fit or consists of independent matrices (Winograd).
    shared
        What weight sharing did.
    geometry
        What the matrix is the lowered form of.
    reloads
        Whether it is of a program file of eie 0.1 that was cut into passes which the SRAMs do not hold at once: each is
        loaded whole, anew for every sample, as it was there.
    scatter
        Where its weights lie if each activation of a convolution is broadcast once; None if a product is run for each
        row of inputs.
    coded_bias
        With ``scatter``: what accumulators start from is levels of the codebook, rounded as products with 1.0 are.
    """

    name: str
    outputs: int
    inputs: int
    weights: int
    relu: bool
    synthetic: bool
    codebook: NDArray[np.float32]
    passes: tuple[Encoding, ...]
    shared: ShareReport
    geometry: Geometry
    reloads: bool = False
    scatter: Scatter | None = None
    coded_bias: bool = False

    @property
    def has_bias(self) -> bool:
        """Whether the bias is in the codebook's levels: a stored column, or with ``scatter`` what stands for it."""
        return self.coded_bias or any(encoding.has_bias for encoding in self.passes)

    @property
    def conv(self) -> str:
        """How a convolution is run: ``"im2col"``, ``"scatter"`` or ``"winograd"``; ``""`` for other layers."""
        if self.scatter is not None:
            return "scatter"
        if not self.geometry.takes_maps:
            return ""
        return self.geometry.kind if self.geometry.transforms else "im2col"

    @cached_property
    def gathered(self) -> EncodedLayer:
        """The same weights as they are stored where a product is run for each row of inputs, in one pass.

        Numbers are computed on these, found by walking the images: so they are equal whichever way a layer is run.
        """
        if self.scatter is None:
            return self
        depth, bias = self.scatter.depth, self.accumulator_bias
        codes = self.scatter.gathered([(part.row_start // depth, part.decode()) for part in self.passes])
        if self.coded_bias:
            assert bias is not None
            # The first of equal levels is as good as another.
            codes = codes.append_column((self.codebook[:, None] == bias).argmax(axis=0).astype(np.uint8))
            bias = None
        first = self.passes[0]
        image = encode(codes, first.n_pe, first.index_bits, has_bias=self.coded_bias)
        whole = (replace(image, accumulator_bias=bias),)
        return replace(self, passes=whole, scatter=None, coded_bias=False)

    @cached_property
    def accumulator_bias(self) -> NDArray[np.float32] | None:
        """float32 (outputs,): what the accumulators start from; None where all start from zero."""
        if not self.bias_writes:
            return None
        starts = np.zeros(self.outputs, np.float32)
        # By scatter a pass has several rows an output, and its biases once.
        depth = 1 if self.scatter is None else self.scatter.depth
        for encoding in self.passes:
            if encoding.accumulator_bias is not None:
                first = encoding.row_start // depth
                starts[first : first + len(encoding.accumulator_bias)] = encoding.accumulator_bias
        return frozen(starts, np.float32)

    @property
    def bias_writes(self) -> int:
        """Accumulators that one row of inputs starts from a bias."""
        return sum(encoding.bias_writes for encoding in self.passes)

    @property
    def channels_a_pe(self) -> tuple[int, ...]:
        """Outputs of each pass in the PE that has most; of a convolution, output channels."""
        depth = 1 if self.scatter is None else self.scatter.depth
        return tuple(-(-(part.row_stop - part.row_start) // part.n_pe) // depth for part in self.passes)

    @cached_property
    def weights_before(self) -> tuple[NDArray[np.int64], ...]:
        """By scatter, for each pass (columns + 1, depth): weights in the columns before each, by row of their phase."""
        return tuple(_before(part, 1 if self.scatter is None else self.scatter.depth) for part in self.passes)

    @property
    def weight_density(self) -> float:
        """Non-zero weights over all weights."""
        rows, columns = self.dense_shape
        return self.weights / (rows * columns)

    @property
    def dense_shape(self) -> tuple[int, int]:
        """(outputs, weights of each) before pruning, of one row of inputs; blocks that are zero by design left out."""
        return self.geometry.dense_shape

    @property
    def products_per_row(self) -> int:
        """Matrix-vector products that one row of inputs takes: 16 for a Winograd tile, else 1."""
        return self.geometry.products_per_row

    @property
    def entries(self) -> int:
        """Stored entries, padding included."""
        return sum(len(encoding.codes) for encoding in self.passes)

    @property
    def padding(self) -> int:
        """Stored padding entries."""
        return sum(int(encoding.padding.sum()) for encoding in self.passes)

    @property
    def rounds(self) -> int:
        """Times the layer's inputs are worked through: passes, where the blocks of a Winograd tile count as one."""
        return len(self.passes) if self.reloads else max(1, len(self.passes) // self.products_per_row)

    def image_bits(self, spec: AcceleratorSpec) -> int:
        """Bits of all entries, pointers and accumulators' biases, over all PEs: what a reload has to bring in."""
        return sum(
            len(encoding.codes) * spec.entry_bits
            + len(encoding.pointers) * encoding.n_pe * spec.ptr_bits
            + encoding.bias_writes * spec.data_bits
            for encoding in self.passes
        )

    def decode(self) -> NDArray[np.float32]:
        """Return the stored weights as float32 (outputs, inputs); the bias is left out."""
        if self.scatter is not None:
            return self.gathered.decode()
        dense = np.zeros((self.outputs, self.inputs), np.float32)
        for encoding in self.passes:
            block = self.codebook[encoding.decode().dense()]
            dense[encoding.row_start : encoding.row_stop, encoding.column_start : encoding.column_stop] = block[
                :, : encoding.inputs
            ]
        return dense

    def headline(self) -> str:
        """Say which layer it is and what is stored of it."""
        return f"{self.name}, {self.outputs} x {self.inputs}: {self.entries:,} entries in {len(self.passes)} passes"

    def sections(self) -> tuple[Section, ...]:
        """Return what the PEs store."""
        return (Section(name="layer", grids=(Grid(columns=STORED[:-1], rows=(stored_row(self),)),)),)


def _before(part: Encoding, depth: int) -> NDArray[np.int64]:
    if depth == 1:
        # All that is stored is weights and padding, and both are counted.
        counted = (part.column_entries[0] - part.padding)[:, None]
    else:
        codes = part.decode()
        place = codes.column_of.astype(np.int64) * depth + codes.rows // (codes.shape[0] // depth)
        counted = np.bincount(place, minlength=codes.shape[1] * depth).reshape(-1, depth)
    return frozen(np.concatenate((np.zeros((1, depth), np.int64), np.cumsum(counted, axis=0))), np.int64)


STORED = (
    Column("layer", "layer", "text"),
    Column("shape", "out x in", "word"),
    Column("weights", "weights", "count"),
    Column("entries", "entries", "count"),
    Column("padding", "padding", "count"),
    Column("passes", "passes", "count"),
    Column("a_pe", "entries a PE, min / mean / max", "word"),
    Column("image_kib", "image KiB", "fixed1"),
)


def stored_row(layer: EncodedLayer, spec: AcceleratorSpec | None = None) -> dict[str, Value]:
    """Return what the PEs store of a layer, by the keys of `STORED`; the image's size needs the widths of a spec."""
    a_pe = np.concatenate([encoding.entries_per_pe for encoding in layer.passes])
    return {
        "layer": layer.name,
        "shape": f"{layer.outputs} x {layer.inputs}",
        "weights": layer.weights,
        "entries": layer.entries,
        "padding": layer.padding,
        "passes": layer.rounds,
        "a_pe": f"{a_pe.min():,} / {a_pe.mean():,.1f} / {a_pe.max():,}",
        # 8 bits a byte, 1024 bytes a KiB
        "image_kib": None if spec is None else layer.image_bits(spec) / 8192,
    }


def encode_layer(shared: Layer, report: ShareReport, spec: AcceleratorSpec) -> EncodedLayer:
    """Encode a lowered and weight-shared layer for one machine; what sharing did to it is passed on."""
    passes = tuple(encoding for part in blocks(shared) for encoding in _encode_block(part, spec))
    return with_passes(shared, report, codebook=codebook_of(shared, spec), passes=passes)


def with_passes(
    shared: Layer, report: ShareReport, *, codebook: NDArray[np.float32], passes: tuple[Encoding, ...]
) -> EncodedLayer:
    """Return what is known of a shared layer beside its images."""
    return EncodedLayer(
        name=shared.name,
        outputs=shared.outputs,
        inputs=shared.inputs,
        weights=shared.matrix.nnz,
        relu=shared.relu,
        synthetic=shared.synthetic,
        codebook=codebook,
        passes=passes,
        shared=report,
        geometry=shared.geometry,
    )


def codebook_of(shared: Layer, spec: AcceleratorSpec) -> NDArray[np.float32]:
    """float32 (2**weight_bits,): a shared layer's levels as the machine holds them."""
    assert shared.codebook is not None
    codebook = np.zeros(1 << spec.weight_bits, np.float32)
    levels = min(len(shared.codebook), len(codebook))
    codebook[:levels] = shared.codebook[:levels]
    return frozen(codebook, np.float32)


def _encode_block(block: Block, spec: AcceleratorSpec) -> tuple[Encoding, ...]:
    codes, has_bias = block.codes, block.bias_codes is not None
    if block.bias_codes is not None:
        codes = codes.append_column(block.bias_codes)
    # The paper's machine has accumulators for any layer: nothing is cut where residency is ideal.
    if spec.residency == "auto":
        passes = split(codes, spec, has_bias=has_bias)
    else:
        passes = (encode(codes, spec.n_pe, spec.index_bits, has_bias=has_bias),)
    if block.bias is not None:
        passes = tuple(started(encoding, block.bias) for encoding in passes)
    return tuple(encoding.moved(block.row, block.column) for encoding in passes) if block.row else passes


def started(encoding: Encoding, bias: NDArray[np.float32]) -> Encoding:
    """Let a group of rows start its accumulators from their bias."""
    return replace(encoding, accumulator_bias=frozen(bias[encoding.row_start : encoding.row_stop], np.float32))
