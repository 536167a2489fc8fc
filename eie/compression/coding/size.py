"""How many bytes a network takes, stage by stage of Deep Compression, beside the published figures.

Comes in: a `Network` and the bits of a relative index. Goes out: a frozen `SizeReport`. Read by the command line and
by `CompressionReport`. The last stage is what a coded file (`eie.importers.coded`) of the network holds, names, shapes
and graph aside.

What is counted, everything included (biases, codebooks, tables):

- dense: 4 bytes a weight, or the bits that it took in the file it was dequantised from, scales included;
- pruned: compressed sparse rows, a value of that width, 4 bytes a column index and a row pointer;
- pruned + shared (P+Q): a code and a relative index of fixed width for each entry, padding entries too, and the
  codebook. Weights that are not shared count the width they came in, 32 bits where they came as floats; biases that
  accumulators start from count 32;
- + Huffman (P+Q+H): codes and relative indices as `eie.compression.coding.huffman` stores them, with their tables. A
  layer that keeps N of every M weights counts as a coded file stores it, if that is less: positions instead of indices.
"""

from __future__ import annotations

import csv
import math
from collections.abc import Mapping
from fnmatch import fnmatchcase
from functools import cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from eie.compression.coding import huffman
from eie.compression.coding.coded_file import code_bits, pack_weights, pattern_of, relative_codes
from eie.compression.coding.sizes import Published, Size, SizeReport
from eie.compression.pruning.prune import weight_shape
from eie.model.layer import Layer
from eie.model.network import Network

# As the accelerator's own spmat entries have it: the paper's 4-bit code beside a 4-bit run.
INDEX_BITS = 4
FLOAT_BITS = 32
_PUBLISHED = Path(__file__).parent / "data" / "deep_compression.csv"


def size_report(
    network: Network, index_bits: int | Mapping[str, int] = INDEX_BITS, original: Network | None = None
) -> SizeReport:
    """Measure a network.

    Parameters
    ----------
    index_bits
        Bits of a relative index, 1 to 8, for all layers or by pattern of their names; the first that matches counts, 4
        otherwise.
    original
        The network before compression, where channels or layers were taken out: what "dense" means.
    """
    before = {layer.name: layer for layer in (original or network).layers}
    left = {layer.name: layer for layer in network.layers}
    name = (original or network).name
    # By the network as it came: compression may have taken layers out, by which the paper's one is known.
    published_as = _published_network(name, before)
    rows = _published_rows().get(published_as or "", {})
    sizes = tuple(
        _layer_size(layer=left.get(name), before=layer, index_bits=bits_for(name, index_bits), published=rows.get(name))
        for name, layer in before.items()
    )
    return SizeReport(
        network=network.name, layers=sizes, total=_total(sizes, rows.get("total")), published_as=published_as
    )


def weight_count(layer: Layer) -> int:
    """Weights a layer can have, zeros included."""
    rows, columns = weight_shape(layer)
    return rows * columns


def value_bits(layer: Layer) -> float:
    """Bits of a weight that is not shared: 32, or what it took in the file it was dequantised from."""
    # Until scales of rows and groups have a format here: as float32 a 4-bit layer would count eight times its file.
    return FLOAT_BITS if layer.stored_bits is None else layer.stored_bits


def dense_bytes(layer: Layer) -> int:
    """Bytes of the dense layer: `value_bits` a weight, 4 bytes a bias."""
    return _whole_bytes(weight_count(layer) * value_bits(layer)) + 4 * layer.outputs * layer.has_bias


def csr_bytes(layer: Layer) -> int:
    """Bytes in compressed sparse rows: `value_bits` a value, 4 bytes a column index, a row pointer and a bias."""
    indices = layer.matrix.nnz + layer.outputs + 1 + layer.outputs * layer.has_bias
    return _whole_bytes(layer.matrix.nnz * value_bits(layer)) + 4 * indices


def _layer_size(layer: Layer | None, before: Layer, index_bits: int, published: Published | None) -> Size:
    # A layer that was taken out keeps its dense bytes, so that ratios are over the whole network as it came.
    if layer is None:
        return _gone(before, published)
    kept, biases = layer.matrix.nnz, layer.outputs * layer.has_bias
    coded = relative_codes(layer, index_bits)
    entries = len(coded.codes)
    weight_bits, codebook_bytes = value_bits(layer), 0
    run_bits, run_table = _huffman_bits(coded.runs, 1 << index_bits)
    # Weights that are not shared are not Huffman-coded: floats hardly repeat.
    word_bits, code_table = entries * FLOAT_BITS, 0
    if layer.codebook is not None:
        weight_bits, codebook_bytes = code_bits(layer.codebook), 4 * len(layer.codebook)
        word_bits, code_table = _huffman_bits(coded.codes, 1 << weight_bits)
    # As a coded file stores it: in float32 where accumulators start from it, however narrow they are.
    bias_bits = weight_bits if layer.bias is None else FLOAT_BITS
    fixed_bytes = codebook_bytes + _whole_bytes(biases * bias_bits)
    huffman_bytes = _whole_bytes(word_bits) + code_table + _whole_bytes(run_bits) + run_table
    # Rarely needed and slow: all is packed only where an N:M layer might be stored smaller.
    if pattern_of(layer) is not None:
        _, arrays = pack_weights(layer, index_bits)
        huffman_bytes = sum(array.nbytes for array in arrays.values())
    return Size(
        name=before.name,
        weights=weight_count(before),
        dense_bits=float(value_bits(before)),
        kept=kept,
        entries=entries,
        weight_bits_pq=float(weight_bits),
        # A layer pruned to nothing has no entries; its means are 0, not a division by it.
        weight_bits_huffman=word_bits / max(1, entries),
        index_bits_pq=float(index_bits),
        index_bits_huffman=run_bits / max(1, entries),
        dense_bytes=dense_bytes(before),
        pruned_bytes=csr_bytes(layer),
        shared_bytes=_whole_bytes(entries * (weight_bits + index_bits)) + fixed_bytes,
        huffman_bytes=huffman_bytes + fixed_bytes,
        published=published,
    )


def _gone(before: Layer, published: Published | None) -> Size:
    """Return the row of a layer that was taken out."""
    return Size(
        name=before.name,
        weights=weight_count(before),
        dense_bits=float(value_bits(before)),
        kept=0,
        entries=0,
        weight_bits_pq=0.0,
        weight_bits_huffman=0.0,
        index_bits_pq=0.0,
        index_bits_huffman=0.0,
        dense_bytes=dense_bytes(before),
        pruned_bytes=0,
        shared_bytes=0,
        huffman_bytes=0,
        published=published,
    )


def _total(sizes: tuple[Size, ...], published: Published | None) -> Size:
    def mean(name: str) -> float:
        # A layer's mean counts by its entries, so the total is the mean over all entries.
        return float(sum(getattr(size, name) * size.entries for size in sizes)) / max(1, added("entries"))

    def added(name: str) -> int:
        return sum(getattr(size, name) for size in sizes)

    dense_bits = sum(size.dense_bits * size.weights for size in sizes) / max(1, added("weights"))

    return Size(
        name="total",
        weights=added("weights"),
        dense_bits=dense_bits,
        kept=added("kept"),
        entries=added("entries"),
        weight_bits_pq=mean("weight_bits_pq"),
        weight_bits_huffman=mean("weight_bits_huffman"),
        index_bits_pq=mean("index_bits_pq"),
        index_bits_huffman=mean("index_bits_huffman"),
        dense_bytes=added("dense_bytes"),
        pruned_bytes=added("pruned_bytes"),
        shared_bytes=added("shared_bytes"),
        huffman_bytes=added("huffman_bytes"),
        published=published,
    )


def _huffman_bits(symbols: NDArray[np.uint8], alphabet: int) -> tuple[int, int]:
    """Bits of the code words, bytes of the table."""
    return huffman.coded_bits(np.bincount(symbols, minlength=alphabet)), huffman.table_bytes(alphabet)


def _whole_bytes(bits: float) -> int:
    return math.ceil(bits / 8)


def bits_for(name: str, index_bits: int | Mapping[str, int]) -> int:
    """Bits of a relative index of the layer ``name``: those of the first pattern that matches, else `INDEX_BITS`."""
    if isinstance(index_bits, int):
        return index_bits
    # fnmatchcase: fnmatch would ignore case on some systems, and a recipe mean another thing there.
    return next((bits for pattern, bits in index_bits.items() if fnmatchcase(name, pattern)), INDEX_BITS)


@cache
def _published_rows() -> dict[str, dict[str, Published]]:
    """Network to layer to row."""
    # Comments say where the rows are from; csv knows none.
    lines = [line for line in _PUBLISHED.read_text(encoding="utf-8").splitlines() if not line.startswith("#")]
    by_network: dict[str, dict[str, Published]] = {}
    for row in csv.DictReader(lines):
        network, layer, weights = row.pop("network"), row.pop("layer"), row.pop("weights")
        numbers = {key: float(value) for key, value in row.items()}
        by_network.setdefault(network, {})[layer] = Published(weights=weights, **numbers)
    return by_network


def _published_network(name: str, layers: Mapping[str, Layer]) -> str | None:
    """The paper's network of that name, or the one that has all of these layers at these sizes."""
    for network, rows in _published_rows().items():
        # A name alone is not enough: with no layer called as in the paper, no row would have a partner.
        if _plain(network) in _plain(name) and any(layer in rows for layer in layers):
            return network
        if set(layers) == set(rows) - {"total"} and _agrees(
            rows["total"].weights, sum(map(weight_count, layers.values()))
        ):
            return network
    return None


def _plain(name: str) -> str:
    return "".join(letter for letter in name.lower() if letter.isalnum())


def _agrees(printed: str, weights: int) -> bool:
    number = float(printed[:-1]) * {"K": 1e3, "M": 1e6}[printed[-1]]
    # Printed as "0.5K" or "61M": as near as such rounding allows.
    return abs(weights - number) < 0.05 * number
