"""What a program file may say: every field typed and bounded, every image checked before a kernel walks it.

Comes in: the JSON header of a program file, and the `Encoding`s made from its tensors. Goes out: a `ProgramHeader`, or
an error that says what is wrong. Read by `eie.compiler.program_file`. The content hash finds damage; this finds files
whose hash is right and whose content is not.
"""

from __future__ import annotations

from typing import Annotated, Any

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field

from eie.compiler.encode import Encoding, lanes_of
from eie.formats.fields import LARGEST_SIDE, Text
from eie.kernels.encode import expand_entries
from eie.model.geometry import Scatter
from eie.spec import AcceleratorSpec

Side = Annotated[int, Field(ge=0, le=LARGEST_SIDE)]
Real = Annotated[float, Field(ge=0, allow_inf_nan=False)]


class _Record(BaseModel):
    # Strict: JSON true would otherwise pass as the integer 1. Nothing extra: a field that is not known may be one that
    # a later version acts on.
    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)


class PassHeader(_Record):
    """The block of a layer that one `Encoding` holds."""

    row_start: Side
    row_stop: Side
    column_start: Side
    column_stop: Side
    has_bias: bool
    index_bits: int
    # Stated only where it is so: a reader of version 0.1 refuses a field that it does not know, and would otherwise
    # compute without the bias.
    accumulator_bias: bool = False


class SharedHeader(_Record):
    """The fields of a `eie.compression.share.ShareReport`."""

    levels: int = Field(ge=0, le=256)
    exact: bool
    rms_error: Real
    max_error: Real
    relative_error: Real
    bias_max_error: Real
    tenths: list[Real] | None = Field(default=None, min_length=10, max_length=10)
    bias_relative_error: Real = 0.0


class LayerHeader(_Record):
    """One layer without its arrays."""

    name: Text = Field(min_length=1)
    outputs: int = Field(ge=1, le=LARGEST_SIDE)
    inputs: int = Field(ge=1, le=LARGEST_SIDE)
    # No more than a matrix of the largest sides has places.
    weights: int = Field(ge=0, le=LARGEST_SIDE**2)
    relu: bool
    synthetic: bool
    reloads: bool
    geometry: dict[str, Any] | None
    shared: SharedHeader
    passes: list[PassHeader] = Field(min_length=1)
    scatter: bool = False
    coded_bias: bool = False


class ProgramHeader(_Record):
    """A program without its arrays."""

    name: Text
    spec: dict[str, Any]
    source: Text
    sequential: bool
    notes: list[Text]
    layers: list[LayerHeader] = Field(min_length=1)
    graph: dict[str, Any] | None
    sha256: Text | None = None
    alternatives: bool = False
    unmodelled: list[Text] = []


def array_of(array: NDArray[Any], dtype: Any, name: str) -> NDArray[Any]:
    """Return ``array`` if it has the type that was stored; ValueError otherwise."""
    if array.dtype != dtype:
        raise ValueError(f"{name} has dtype {array.dtype}: must be {np.dtype(dtype)}")
    return array


def told_apart(pointers: NDArray[np.int32], rows: int) -> NDArray[np.int32]:
    """Return a file's pointers (J + 1, P) as an `Encoding` has them; as they are if PEs without rows hold anything."""
    lanes = lanes_of(rows, pointers.shape[1]) if pointers.ndim == 2 and rows > 0 else 0
    return pointers[:, :lanes] if lanes and not pointers[:, lanes - 1 :].any() else pointers


def check_layer(
    layer: LayerHeader,
    codebook: NDArray[np.float32],
    passes: list[Encoding],
    spec: AcceleratorSpec,
    *,
    scatter: Scatter | None = None,
) -> None:
    """Raise ValueError unless a layer's passes lie in it and use only its codebook."""
    # By scatter rows are kernel rows and channels, and columns are channels and kernel columns.
    shape = (layer.outputs, layer.inputs) if scatter is None else (scatter.rows(spec.n_pe), scatter.columns)
    if codebook.shape != (1 << spec.weight_bits,) or codebook[0] != 0 or not np.isfinite(codebook).all():
        raise ValueError(f"its codebook is not that of {spec.weight_bits}-bit weights")
    for image in passes:
        _check_images(image, spec)
        if not (0 <= image.row_start < image.row_stop <= shape[0] and 0 <= image.column_start <= image.column_stop):
            raise ValueError("a pass lies outside its layer")
        # in 64 bits, as the entries say it: a chain of zero runs can be longer than any row number a record holds
        rows = np.empty(len(image.codes), np.int64)
        expand_entries(bases=image.bases, pointers=image.pointers, codes=image.codes, runs=image.runs, rows_out=rows)
        if rows.max(initial=0) >= image.row_stop - image.row_start:
            raise ValueError("an entry lies outside its layer")
    if scatter is None:
        _check_starts(passes)
    else:
        _check_groups(layer, codebook, passes, scatter=scatter)
    ends = max(image.row_stop for image in passes), max(image.column_stop for image in passes)
    if ends != shape:
        raise ValueError(f"its passes end at {ends}, not at {shape}")


def _check_groups(
    layer: LayerHeader, codebook: NDArray[np.float32], passes: list[Encoding], *, scatter: Scatter
) -> None:
    """By scatter: groups of output channels one behind the other, entries in places that a kernel has, all biases."""
    end = 0
    biases = [image.accumulator_bias for image in passes]
    for image in passes:
        height, rest = divmod(image.row_stop - image.row_start, scatter.depth)
        whole = (image.row_start, image.column_start, image.column_stop) == (end, 0, scatter.columns)
        if image.has_bias or rest or height % image.n_pe or not whole:
            raise ValueError("its passes are no groups of output channels")
        end = image.row_stop
    scatter.gathered([(image.row_start // scatter.depth, image.decode()) for image in passes])
    if any(bias is None for bias in biases) and not all(bias is None for bias in biases):
        raise ValueError("some of its accumulators start from a bias, some do not")
    starts = np.concatenate([bias for bias in biases if bias is not None] or [np.zeros(layer.outputs, np.float32)])
    if starts.shape != (layer.outputs,) or not np.isfinite(starts).all():
        raise ValueError("its accumulators' bias is not one finite number a row")
    if layer.coded_bias and (biases[0] is None or not np.isin(starts, codebook).all()):
        raise ValueError("its accumulators' bias is not of its codebook")


def _check_starts(passes: list[Encoding]) -> None:
    """What accumulators start from: a finite number a row, and no row starts twice or has a bias column as well."""
    started = [image for image in passes if image.accumulator_bias is not None]
    if started and any(image.has_bias for image in passes):
        raise ValueError("it has a bias column, and accumulators that start from a bias")
    end = 0
    for image in sorted(started, key=lambda image: image.row_start):
        bias = image.accumulator_bias
        if bias is None or bias.shape != (image.row_stop - image.row_start,) or not np.isfinite(bias).all():
            raise ValueError("its accumulators' bias is not one finite number a row")
        if image.row_start < end:
            raise ValueError("its accumulators start from a bias twice")
        end = image.row_stop


def _check_images(image: Encoding, spec: AcceleratorSpec) -> None:
    """The kernels index without bounds: pointers must stay in their arrays, codes in the codebook."""
    columns = image.inputs + image.has_bias
    shapes = (image.pointers.shape, image.bases.shape, image.padding.shape, image.codes.shape)
    lanes = lanes_of(image.row_stop - image.row_start, spec.n_pe)
    if shapes != ((columns + 1, lanes), (spec.n_pe + 1,), (columns,), image.runs.shape) or image.codes.ndim != 1:
        raise ValueError("its pointers and entries do not belong together")
    if (
        image.bases[0] != 0
        # Each PE's last pointer is its number of entries, and bases are those numbers added up.
        or not np.array_equal(np.diff(image.bases), image.for_all(image.pointers[-1:])[0])
        # int32 pointers of a hostile file can be so far apart that their difference wraps to a harmless one.
        or (np.diff(image.pointers.astype(np.int64), axis=0) < 0).any()
        or image.pointers[0].any()
        # What stands for all PEs behind the rows says that they hold nothing.
        or (lanes < spec.n_pe and image.pointers[-1, -1] != 0)
        or len(image.codes) != image.bases[-1]
    ):
        raise ValueError("its pointers and entries do not belong together")
    if image.index_bits != spec.index_bits or image.runs.max(initial=0) >> image.index_bits:
        raise ValueError(f"a zero run does not fit {spec.index_bits} index bits")
    if image.codes.max(initial=0) >> spec.weight_bits:
        raise ValueError(f"a code does not fit {spec.weight_bits} weight bits")
    # fillers[i] counts code 0 before entry i, over all PEs; a column's padding in one PE is the difference of two.
    fillers = np.concatenate(([0], np.cumsum(image.codes == 0)))
    if not np.array_equal(
        np.diff(fillers[image.bases[:-1][:lanes] + image.pointers], axis=0).sum(axis=1), image.padding
    ):
        raise ValueError("its padding counts are not those of its entries")
