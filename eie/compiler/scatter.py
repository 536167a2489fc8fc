"""A convolution stored so that each activation is broadcast once.

Comes in: a weight-shared `Layer` and the spec. Goes out: an `EncodedLayer` whose passes are groups of output channels.
Read by `program` and `choice`.

The rule (docs/cycle-model.md, "Scatter"). A PE keeps the sums of a strip of the output map for its channels, as many
rows of it as an input row reaches. All channels are one group unless a narrower group, whose strips are wider,
broadcasts less in all.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from eie.compiler.encode import Encoding, encode
from eie.compiler.encoded import EncodedLayer, codebook_of, started, with_passes
from eie.compiler.passes import split
from eie.compiler.strips import strip_width
from eie.compression.share import ShareReport
from eie.errors import ProgramError
from eie.kernels import scatter as kernels
from eie.model.geometry import Scatter
from eie.model.layer import Layer
from eie.model.matrix import SparseColumns, frozen
from eie.spec import AcceleratorSpec


def applies(layer: Layer, spec: AcceleratorSpec) -> Scatter | None:
    """Return how a layer runs by scatter; None if it is no convolution, or no PE holds a pixel's open rows."""
    scatter = Scatter.of(layer.geometry)
    return None if scatter is None or not strip_width(scatter, 1, spec) else scatter


def encode_scatter(shared: Layer, report: ShareReport, spec: AcceleratorSpec, *, scatter: Scatter) -> EncodedLayer:
    """Encode a convolution that is shared as by im2col, with the same codes."""
    codebook = codebook_of(shared, spec)
    bias = shared.bias if shared.bias_codes is None else codebook[shared.bias_codes]
    most = channels_a_group(scatter, spec) * spec.n_pe
    passes = tuple(
        _encoded(shared, (start, min(start + most, shared.outputs)), spec, scatter=scatter, bias=bias)
        for start in range(0, shared.outputs, most)
    )
    encoded = with_passes(shared, report, codebook=codebook, passes=passes)
    return replace(encoded, scatter=scatter, coded_bias=shared.bias_codes is not None)


def _encoded(
    shared: Layer,
    channels: tuple[int, int],
    spec: AcceleratorSpec,
    *,
    scatter: Scatter,
    bias: NDArray[np.float32] | None,
) -> Encoding:
    start, stop = channels
    codes = scatter.scattered(shared.matrix, start=start, stop=stop, n_pe=spec.n_pe)
    image = encode(codes, spec.n_pe, spec.index_bits, row_start=scatter.depth * start)
    return image if bias is None else replace(image, accumulator_bias=frozen(bias[start:stop], np.float32))


def channels_a_group(scatter: Scatter, spec: AcceleratorSpec) -> int:
    """Output channels a PE that share a strip: those with the fewest broadcasts for an endless row of pixels."""
    channels = -(-scatter.conv.out_channels // spec.n_pe)
    # A strip of w outputs reads what lies under their kernels, `beyond` pixels more than the w strides.
    stride, beyond = scatter.conv.stride[1], scatter.conv.dilation[1] * (scatter.conv.kernel[1] - 1) + 1
    beyond = max(0, beyond - scatter.conv.stride[1])
    best, least = 1, float("inf")
    for groups in range(1, channels + 1):
        each = -(-channels // groups)
        width = strip_width(scatter, each, spec)
        if width and groups * (stride + beyond / width) < least:
            best, least = each, groups * (stride + beyond / width)
    return best


def unrolled(layer: EncodedLayer, spec: AcceleratorSpec) -> EncodedLayer:
    """Return a layer as im2col has it, for rows of inputs that are not those of a whole map; itself if it is so."""
    if layer.scatter is None:
        return layer
    whole = layer.gathered
    (image,) = whole.passes
    if spec.residency == "ideal":
        return whole
    bias = image.accumulator_bias
    passes = split(image.decode(), spec, has_bias=image.has_bias)
    if bias is not None:
        passes = tuple(started(part, bias) for part in passes)
    return replace(whole, passes=passes)


def narrower(layer: EncodedLayer, scatter: Scatter, *, entries: int, pointers: int) -> EncodedLayer:
    """Cut every pass into groups of output channels, so that so many entries and pointers of a PE hold each.

    Raises
    ------
    ProgramError
        If they do not hold one channel a PE.
    """
    parts = tuple(part for whole in layer.passes for part in _parts(whole, scatter, entries=entries))
    if max(part.entries_per_pe.max() for part in parts) > entries or scatter.columns + 1 > pointers:
        raise ProgramError(
            f"layer {layer.name!r}: its turn leaves room for {entries:,} entries and {pointers:,} pointers a PE, by "
            "scatter a channel a PE needs more: compile with conv='im2col' (--conv im2col) or use more PEs"
        )
    return layer if len(parts) == len(layer.passes) else replace(layer, passes=parts)


def _parts(whole: Encoding, scatter: Scatter, *, entries: int, codes: SparseColumns | None = None) -> list[Encoding]:
    """Halve a group of output channels until what a PE holds of each half suffices; ``codes``: what it stores."""
    n_pe = whole.n_pe
    height = (whole.row_stop - whole.row_start) // scatter.depth
    if whole.entries_per_pe.max() <= entries or height == n_pe:
        return [whole]
    # Found back once and handed on, for the images of every half are searched for it otherwise.
    codes, first = whole.decode() if codes is None else codes, whole.row_start // scatter.depth
    up, output = np.divmod(codes.rows, height)
    cut = height // n_pe // 2 * n_pe
    parts = []
    for start, stop in ((0, cut), (cut, height)):
        owned = (output >= start) & (output < stop)
        before = np.concatenate(([0], np.cumsum(owned)))
        # Kernel rows and channels keep their order, so rows still ascend in every column.
        part = SparseColumns.of(
            shape=(scatter.depth * (stop - start), codes.shape[1]),
            starts=before[codes.starts],
            rows=up[owned] * (stop - start) + output[owned] - start,
            data=codes.data[owned],
        )
        image = encode(part, n_pe, whole.index_bits, row_start=scatter.depth * (first + start))
        bias = whole.accumulator_bias
        kept = None if bias is None else frozen(bias[start:stop], np.float32)
        parts += _parts(replace(image, accumulator_bias=kept), scatter, entries=entries, codes=part)
    return parts


def listed_ranges(begins: NDArray[np.int32], ends: NDArray[np.int32]) -> tuple[NDArray[np.int32], NDArray[np.int64]]:
    """List the ranges of columns that broadcasts take, as kernels read them: `eie.kernels.scatter.list_ranges`."""
    which = np.empty(len(begins), np.int32)
    ranges = kernels.list_ranges(begins, ends, int(ends.max(initial=0)), which)
    return frozen(which, np.int32), frozen(ranges, np.int64)
