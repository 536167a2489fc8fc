"""One layer in as few bytes as its size report counts: Huffman-coded codes and places, codebook, biases.

Comes in: a `Layer` and the bits of a relative index. Goes out: a `Form` and a few arrays of bytes, and from them the
same layer again, bit for bit. Read by `eie.importers.coded`, which puts the layers of a network into one file, and by
`size`, which counts what is stored here. docs/formats.md lists the arrays.

Weights are taken in the order (out, in, kh, kw); what lies off the diagonal of a grouped convolution is no weight and
takes no place. A layer that leaves N of every M weights is stored as `nm` has it where that is smaller; any other as
`relative` does. Codes, zero runs and positions are Huffman-coded; float weights are kept as they are.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from eie.compression.coding import bits, huffman, nm, relative
from eie.errors import ModelError
from eie.formats.files import Arrays
from eie.model.geometry import Geometry
from eie.model.layer import Layer
from eie.model.matrix import SparseColumns, frozen

# Decoding goes through a dense array: this is what a small damaged file can make it allocate at most.
LARGEST_WEIGHTS = 1 << 31
# M of an N:M layer that is looked for. A position takes at most 5 bits, so that packed positions stay close to what
# zero runs would take, and a file cannot ask for more than 32 times the places that its values fill.
GROUPS = (2, 4, 8, 16, 32)
# A group with fewer than N weights stores zeros: with more than this share of them N:M cannot win.
_FILLED = 0.05


@dataclass(frozen=True, kw_only=True)
class Outline:
    """A layer without its numbers: what a file says of it in words.

    Attributes
    ----------
    shape
        (outputs, inputs) of the matrix.
    """

    name: str
    shape: tuple[int, int]
    relu: bool
    synthetic: bool
    geometry: Geometry


@dataclass(frozen=True)
class Form:
    """How the places of a layer's weights are stored.

    Attributes
    ----------
    index_bits
        Bits of a zero run; not used by an N:M layer.
    pattern
        (N, M), or None for zero runs.
    """

    index_bits: int
    pattern: tuple[int, int] | None = None


def pack(layer: Layer, index_bits: int) -> tuple[Form, Arrays]:
    """Code a layer.

    Parameters
    ----------
    index_bits
        b, bits of a zero run, 1 to 8: a gap of 2**b zeros or more costs padding entries.

    Raises
    ------
    ModelError
        If the layer has more than `LARGEST_WEIGHTS` weights, or is put together as no `Layer` should be.
    """
    outline = outline_of(layer)
    _check(outline, layer)
    form, arrays = pack_weights(layer, index_bits)
    if layer.codebook is not None:
        arrays["codebook"] = layer.codebook
    if layer.bias is not None:
        arrays["bias"] = layer.bias
    if layer.bias_codes is not None:
        arrays["bias_codes"] = _bytes(bits.pack(layer.bias_codes, code_bits(layer.codebook)))
    return form, arrays


def pack_weights(layer: Layer, index_bits: int) -> tuple[Form, Arrays]:
    """Code the weights alone, codebook and bias left out; see `pack`."""
    outline = outline_of(layer)
    places, data = _in_rows(layer, outline)
    # A whole power of two, as `size` counts it: a level that does not occur costs half a byte of the table.
    alphabet = None if layer.codebook is None else 1 << code_bits(layer.codebook)
    entries = relative.encode(places, data, index_bits)
    arrays = _data(entries.codes, alphabet) | {"runs": _bytes(huffman.encode(entries.runs, 1 << index_bits))}
    pattern = _pattern(places, outline)
    if pattern is None:
        return Form(index_bits), arrays
    dense = np.zeros(outline.shape[0] * _width(outline), data.dtype)
    dense[places] = data
    packed = nm.encode(dense.reshape(outline.shape[0], -1), *pattern)
    # Four 2-bit positions are a byte, and of 2:4's only 36 of 256 occur: coded by bytes they take 1.3 bits, not 2.
    positions = huffman.encode(np.frombuffer(packed.indices, np.uint8), 256)
    grouped = _data(packed.values.ravel(), alphabet) | {"positions": _bytes(positions)}
    # Measured, not estimated: what Huffman coding saves on either depends on the weights.
    if _size(grouped) < _size(arrays):
        return Form(index_bits, pattern), grouped
    return Form(index_bits), arrays


def unpack(outline: Outline, form: Form, arrays: Mapping[str, NDArray[Any]]) -> Layer:
    """Undo `pack`.

    Raises
    ------
    ModelError
        If the arrays are damaged, or are not those of this outline and form.
    """
    _check(outline)
    codebook, bias, bias_codes = (arrays.get(part) for part in ("codebook", "bias", "bias_codes"))
    expected = {"runs" if form.pattern is None else "positions", "values" if codebook is None else "codes"}
    # Of shared weights either: as a column's codes, or as numbers for the accumulators.
    expected |= {"bias"} if bias is not None and bias_codes is None else set()
    expected |= {"bias_codes"} if bias_codes is not None and codebook is not None else set()
    expected |= set() if codebook is None else {"codebook"}
    if set(arrays) != expected:
        raise ModelError(f"has {', '.join(sorted(arrays))}: must have {', '.join(sorted(expected))}")
    # Before anything is decoded: a wrong type would fail far inside, where no error can say which part it was.
    for part, array in arrays.items():
        kind = np.float32 if part in ("values", "codebook", "bias") else np.uint8
        if array.dtype != kind or array.ndim != 1:
            raise ModelError(f"{part} is {array.dtype} {array.shape}: must be one row of {np.dtype(kind)}")
    dense = _unpack_weights(outline, form, arrays)
    if codebook is None:
        # Through the same doors as any layer: their checks hold for what comes from a coded file, too.
        layer = Layer.from_weights(outline.name, dense, bias, relu=outline.relu)
    else:
        if bias_codes is not None:
            bias_codes = bits.unpack(bias_codes.tobytes(), code_bits(codebook), outline.shape[0])
        layer = Layer.from_codes(
            name=outline.name,
            codes=dense,
            codebook=codebook,
            bias_codes=bias_codes,
            accumulator_bias=bias,
            relu=outline.relu,
        )
    matrix = _on_diagonal(layer.matrix, outline)
    return replace(layer, matrix=matrix, synthetic=outline.synthetic, geometry=outline.geometry)


def outline_of(layer: Layer) -> Outline:
    """Return what is said of a layer in words."""
    return Outline(
        name=layer.name,
        shape=layer.matrix.shape,
        relu=layer.relu,
        synthetic=layer.synthetic,
        geometry=layer.geometry,
    )


def code_bits(codebook: NDArray[Any] | None) -> int:
    """Bits that tell the levels of a codebook apart, 1 at least."""
    # One level alone, the zero, would take no bits at all, and a stream of no bits cannot be counted.
    return 1 if codebook is None else max(1, (len(codebook) - 1).bit_length())


def pattern_of(layer: Layer) -> tuple[int, int] | None:
    """Return the (N, M) that a layer's weights keep, M one of `GROUPS`, or None: then only zero runs can store it."""
    outline = outline_of(layer)
    # Counts alone rule most layers out, and sorting the places of a large one takes a second.
    if not _possible_patterns(layer.matrix.nnz, outline):
        return None
    return _pattern(_in_rows(layer, outline)[0], outline)


def relative_codes(layer: Layer, index_bits: int) -> relative.RelativeCodes:
    """Store a layer as Deep Compression does; padding of a layer that is not shared is a weight of 0.0."""
    places, data = _in_rows(layer, outline_of(layer))
    return relative.encode(places, data, index_bits)


def _check(outline: Outline, layer: Layer | None = None) -> None:
    where = f"layer {outline.name!r}"
    shape, geometry = outline.shape, outline.geometry
    if geometry.matrix_shape != shape:
        raise ModelError(f"{where}: a {shape[0]} x {shape[1]} matrix cannot be a {geometry}")
    if shape[0] * _width(outline) > LARGEST_WEIGHTS:
        raise ModelError(
            f"{where}: {shape[0]} x {_width(outline)} weights: a coded file holds at most {LARGEST_WEIGHTS:,} a layer"
        )
    # Refused when written: the reader tells codes from floats by the codebook alone and would refuse the file.
    if layer is not None and layer.codebook is None and layer.bias_codes is not None:
        raise ModelError(f"{where}: has bias codes and no codebook: build it with Layer.from_codes")
    if layer is not None and layer.bias_codes is not None and layer.bias is not None:
        raise ModelError(f"{where}: has its bias as codes and as numbers: give one of them (Layer.from_codes)")


def _width(outline: Outline) -> int:
    """Weights that a row can have."""
    return outline.shape[1] // _blocks(outline)


def _blocks(outline: Outline) -> int:
    """Blocks on the diagonal: how many times more places the matrix has than there can be weights."""
    rows, columns = outline.geometry.dense_shape
    # Works for groups and for the 16 matrices of Winograd alike: both say how many weights there can be.
    return outline.shape[0] * outline.shape[1] // (rows * columns)


def _first_column(outline: Outline, rows: NDArray[Any]) -> NDArray[np.int64]:
    """Where the block of each of ``rows`` begins."""
    blocks = _blocks(outline)
    first: NDArray[np.int64] = rows // np.int64(outline.shape[0] // blocks) * _width(outline)
    return first


def _in_rows(layer: Layer, outline: Outline) -> tuple[NDArray[np.int64], NDArray[Any]]:
    """Return the non-zeros' ascending places among the weights that the layer can have, and their data."""
    rows = layer.matrix.rows.astype(np.int64)
    places = rows * _width(outline) + layer.matrix.column_of - _first_column(outline, rows)
    # The matrix lists columns, Deep Compression goes row by row; runs depend on that order.
    order = np.argsort(places, kind="stable")
    return places[order], layer.matrix.data[order]


def _on_diagonal(matrix: SparseColumns, outline: Outline) -> SparseColumns:
    """Undo the shift that `_in_rows` makes: (outputs, width) to the matrix with its blocks on the diagonal."""
    if _blocks(outline) == 1:
        return matrix
    columns = matrix.column_of + _first_column(outline, matrix.rows)
    return SparseColumns.from_entries(shape=outline.shape, rows=matrix.rows, columns=columns, data=matrix.data)


def _unpack_weights(outline: Outline, form: Form, arrays: Mapping[str, NDArray[Any]]) -> NDArray[Any]:
    """Return codes or weights, (outputs, width).

    Dense on the way: a scatter and two passes over bytes take less time than sorting the entries into columns, and at
    the densities of language models less memory too. `LARGEST_WEIGHTS` bounds it.
    """
    rows, width = outline.shape[0], _width(outline)
    data = arrays["values"] if "values" in arrays else huffman.decode(arrays["codes"].tobytes())
    if form.pattern is None:
        runs = huffman.decode(arrays["runs"].tobytes())
        return relative.decode(relative.RelativeCodes(data, runs), rows * width).reshape(rows, width)
    n, m = form.pattern
    if m not in GROUPS or not 1 <= n < m:
        raise ModelError(f"{n}:{m}: must be N:M with N below M, M one of {', '.join(map(str, GROUPS))}")
    shape = (rows, -(-width // m), n)
    if data.size != shape[0] * shape[1] * n:
        raise ModelError(f"{n}:{m} values: {data.size}: {rows} x {width} weights need {shape[0] * shape[1] * n}")
    positions = huffman.decode(arrays["positions"].tobytes()).tobytes()
    return nm.decode(nm.NmMatrix(n=n, m=m, shape=(rows, width), values=data.reshape(shape), indices=positions))


def _pattern(places: NDArray[np.int64], outline: Outline) -> tuple[int, int] | None:
    """Return (N, M) of the smallest M of which no group holds more than N weights and few hold fewer; None without."""
    width = _width(outline)
    rows, columns = places // width, places % width
    for n, m in _possible_patterns(len(places), outline):
        group = rows * -(-width // m) + columns // m
        # Places ascend, so a group is crowded exactly if the n-th weight after one lies in the same group.
        # An empty slice where there are n weights or fewer: then nothing can be crowded.
        if not (group[n:] == group[:-n]).any():
            return n, m
    return None


def _possible_patterns(weights: int, outline: Outline) -> list[tuple[int, int]]:
    """Return each M with the least N whose groups have room for so many weights, and hardly any to spare."""
    patterns = []
    for m in GROUPS:
        groups = outline.shape[0] * -(-_width(outline) // m)
        # The least N with room for all: any smaller one is crowded somewhere.
        n = -(-weights // groups)
        if 0 < n < m and n * groups <= (1 + _FILLED) * weights:
            patterns.append((n, m))
    return patterns


def _data(values: NDArray[Any], alphabet: int | None) -> Arrays:
    if alphabet is None:
        return {"values": frozen(values, np.float32)}
    return {"codes": _bytes(huffman.encode(values, alphabet))}


def _bytes(data: bytes) -> NDArray[np.uint8]:
    return np.frombuffer(data, np.uint8)


def _size(arrays: Arrays) -> int:
    return sum(array.nbytes for array in arrays.values())
