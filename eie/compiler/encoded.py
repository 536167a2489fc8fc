"""One layer as the accelerator holds it: all passes of it, its codebook, what it was lowered from.

Comes in: a lowered and weight-shared `Layer` and the spec. Goes out: a frozen `EncodedLayer`. Read by `program`, the
simulator and the report.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from eie.compiler.encode import Encoding, encode
from eie.compiler.lower import Block, blocks
from eie.compiler.passes import fit_together, split
from eie.compression.share import ShareReport
from eie.model.geometry import Geometry, Winograd
from eie.model.matrix import frozen
from eie.model.network import Layer
from eie.spec import AcceleratorSpec


@dataclass(frozen=True, eq=False, kw_only=True)
class EncodedLayer:
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
        What the matrix is the lowered form of; None for a fully connected layer.
    reloads
        Whether the SRAMs do not hold all passes at once, so that each is loaded anew for every sample.
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
    geometry: Geometry | None = None
    reloads: bool = False

    @property
    def has_bias(self) -> bool:
        """Whether a bias column is stored."""
        return any(encoding.has_bias for encoding in self.passes)

    @property
    def weight_density(self) -> float:
        """Non-zero weights over all weights."""
        rows, columns = self.dense_shape
        return self.weights / (rows * columns)

    @property
    def dense_shape(self) -> tuple[int, int]:
        """(outputs, weights of each) before pruning, of one row of inputs; blocks that are zero by design left out."""
        return (self.outputs, self.inputs) if self.geometry is None else self.geometry.dense_shape

    @property
    def products_per_row(self) -> int:
        """Matrix-vector products that one row of inputs takes: 16 for a Winograd tile, else 1."""
        return Winograd.BLOCKS if isinstance(self.geometry, Winograd) else 1

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
        """Bits of all entries and pointers, over all PEs: what a reload has to bring in."""
        return sum(
            len(encoding.codes) * spec.entry_bits + encoding.pointers.size * spec.ptr_bits for encoding in self.passes
        )

    def decode(self) -> NDArray[np.float32]:
        """Return the stored weights as float32 (outputs, inputs); the bias is left out."""
        dense = np.zeros((self.outputs, self.inputs), np.float32)
        for encoding in self.passes:
            block = self.codebook[encoding.decode().dense()]
            dense[encoding.row_start : encoding.row_stop, encoding.column_start : encoding.column_stop] = block[
                :, : encoding.inputs
            ]
        return dense


def encode_layer(shared: Layer, report: ShareReport, spec: AcceleratorSpec) -> EncodedLayer:
    """Encode a lowered and weight-shared layer for one machine; what sharing did to it is passed on.

    Raises
    ------
    ProgramError
        If ``spec.enforce_capacity`` and a single column does not fit a PE.
    """
    assert shared.codebook is not None
    codebook = np.zeros(1 << spec.weight_bits, np.float32)
    levels = min(len(shared.codebook), len(codebook))
    codebook[:levels] = shared.codebook[:levels]
    parts = blocks(shared)
    passes = tuple(encoding for part in parts for encoding in _encode_block(shared.name, part, spec))
    return EncodedLayer(
        name=shared.name,
        outputs=shared.outputs,
        inputs=shared.inputs,
        weights=shared.matrix.nnz,
        relu=shared.relu,
        synthetic=shared.synthetic,
        codebook=frozen(codebook, np.float32),
        passes=passes,
        shared=report,
        geometry=shared.geometry,
        reloads=spec.enforce_capacity and not fit_together(passes, spec),
    )


def _encode_block(name: str, block: Block, spec: AcceleratorSpec) -> tuple[Encoding, ...]:
    codes, has_bias = block.codes, block.bias_codes is not None
    if block.bias_codes is not None:
        codes = codes.append_column(block.bias_codes)
    if spec.enforce_capacity:
        passes = split(name, codes, spec, has_bias=has_bias)
    else:
        passes = (encode(codes, spec.n_pe, spec.index_bits, has_bias=has_bias),)
    return tuple(encoding.moved(block.row, block.column) for encoding in passes) if block.row else passes
