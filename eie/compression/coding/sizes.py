"""Bytes by layer and stage, as an answer: the columns of Deep Compression's tables, the published rows under ours.

Comes in: counts, from `eie.compression.coding.size`. Goes out: a frozen `SizeReport`. Read by the command line, by
`CompressionReport` and by figures.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, ClassVar

import numpy as np

from eie.show.brief import Brief
from eie.show.face import Answer
from eie.show.listing import first_few
from eie.show.numbers import factor
from eie.show.sections import Column, Grid, Section, Value


@dataclass(frozen=True, kw_only=True)
class Published:
    """One row of Deep Compression's tables; all but ``weights`` (as printed) in the columns' own units."""

    weights: str
    kept_pct: float
    weight_bits_pq: float
    weight_bits_huffman: float
    index_bits_pq: float
    index_bits_huffman: float
    rate_pq_pct: float
    rate_pqh_pct: float


@dataclass(frozen=True, kw_only=True, repr=False)
class Size(Brief):
    """A layer, or the total of all.

    Attributes
    ----------
    name
        The layer's, or ``"total"``.
    weights
        Weights of the network before compression, biases not counted.
    dense_bits
        Bits a weight of the dense layer: 32, or what it took in the file it was dequantised from, scales included.
    kept
        Weights left.
    entries
        Stored entries: ``kept`` and the padding that long gaps cost.
    weight_bits_pq, index_bits_pq
        Mean bits an entry, fixed width.
    weight_bits_huffman, index_bits_huffman
        Mean bits an entry, Huffman-coded; tables not counted.
    dense_bytes, pruned_bytes, shared_bytes, huffman_bytes
        The four stages, everything counted. The bits above are those of relative indices, whatever the last one counts.
    published
        The paper's row for this layer, if there is one.
    """

    name: str
    weights: int
    dense_bits: float
    kept: int
    entries: int
    weight_bits_pq: float
    weight_bits_huffman: float
    index_bits_pq: float
    index_bits_huffman: float
    dense_bytes: int
    pruned_bytes: int
    shared_bytes: int
    huffman_bytes: int
    published: Published | None = None

    @property
    def kept_pct(self) -> float:
        """Weights left, in percent."""
        return 100 * self.kept / self.weights

    @property
    def rate_pruned_pct(self) -> float:
        """Pruned size in percent of dense."""
        return 100 * self.pruned_bytes / self.dense_bytes

    @property
    def rate_pq_pct(self) -> float:
        """Pruned and shared size in percent of dense."""
        return 100 * self.shared_bytes / self.dense_bytes

    @property
    def rate_pqh_pct(self) -> float:
        """Pruned, shared and Huffman-coded size in percent of dense."""
        return 100 * self.huffman_bytes / self.dense_bytes

    @property
    def ratio(self) -> float:
        """Dense bytes over the bytes of the last stage."""
        # Infinite, not an error: a layer that was taken out did shrink to nothing.
        return self.dense_bytes / self.huffman_bytes if self.huffman_bytes else np.inf


@dataclass(frozen=True, kw_only=True, repr=False)
class SizeReport(Answer):
    """Sizes of every layer and of all together.

    Attributes
    ----------
    network
        Its name.
    layers
        One `Size` each; a layer that was taken out keeps its row, with nothing left.
    total
        Their sum; bits are means over all entries.
    published_as
        Name of the paper's network that the rows are compared with, or None.
    """

    SCHEMA: ClassVar[str] = "eie-compression"

    network: str
    layers: tuple[Size, ...]
    total: Size
    published_as: str | None

    def headline(self) -> str:
        """Say which network takes how much."""
        total = self.total
        return (
            f"{self.network}: {total.dense_bytes:,} bytes dense, {total.huffman_bytes:,} after pruning (P), weight "
            "sharing (Q) and Huffman coding (H); biases, codebooks and tables included"
        )

    def sections(self) -> tuple[Section, ...]:
        """Return a row a layer and the total, published rows under ours."""
        rows: list[dict[str, Value]] = []
        # Ours above, theirs below: a difference is read down a column.
        for size in (*self.layers, self.total):
            rows.append(_ours(size))
            if size.published is not None:
                rows.append(_theirs(size.published))
        lines = self._widths()
        if self.published_as is not None:
            lines += (f"published: {self.published_as} in Deep Compression (ICLR 2016), trained on its own data",)
        return (Section(name="sizes", grids=(Grid(columns=_COLUMNS, rows=tuple(rows)),), lines=lines),)

    def _widths(self) -> tuple[str, ...]:
        """Say where a dense weight does not count as 32 bits."""
        by_bits: dict[str, list[str]] = {}
        for size in self.layers:
            if size.dense_bits != 32:
                by_bits.setdefault(f"{size.dense_bits:.4g}", []).append(size.name)
        return tuple(
            f"dense at {bits} bits a weight, scales included, as in the file: {first_few(names, 6)}"
            "; P+Q+H is of a coded file, which holds weights that are not shared as 32 bits"
            for bits, names in by_bits.items()
        )

    def records(self) -> list[dict[str, Any]]:
        """Return one flat record a layer and one for the total; the columns of Deep Compression's tables among them."""
        records = []
        for size in (*self.layers, self.total):
            record: dict[str, Any] = {
                "network": self.network,
                "layer": size.name,
                "weights": size.weights,
                "kept_pct": size.kept_pct,
                "weight_bits_pq": size.weight_bits_pq,
                "weight_bits_huffman": size.weight_bits_huffman,
                "index_bits_pq": size.index_bits_pq,
                "index_bits_huffman": size.index_bits_huffman,
                "rate_pq_pct": size.rate_pq_pct,
                "rate_pqh_pct": size.rate_pqh_pct,
                "rate_pruned_pct": size.rate_pruned_pct,
                "kept": size.kept,
                "entries": size.entries,
                "dense_bytes": size.dense_bytes,
                "pruned_bytes": size.pruned_bytes,
                "shared_bytes": size.shared_bytes,
                "huffman_bytes": size.huffman_bytes,
                "dense_bits": size.dense_bits,
            }
            if size.published is not None:
                record |= {f"published_{key}": value for key, value in asdict(size.published).items()}
            records.append(record)
        return records

    def content(self) -> dict[str, Any]:
        """Return the records."""
        return {"network": self.network, "published_as": self.published_as, "sizes": self.records()}


_COLUMNS = (
    Column("layer", "layer", "text"),
    Column("weights", "weights", "count"),
    Column("kept", "kept %", "percent"),
    Column("weight_bits_pq", "weight bits P+Q", "fixed1"),
    Column("weight_bits_huffman", "weight bits +H", "fixed1"),
    Column("index_bits_pq", "index bits P+Q", "fixed1"),
    Column("index_bits_huffman", "index bits +H", "fixed1"),
    Column("dense_bytes", "dense B", "count"),
    Column("pruned_bytes", "pruned CSR B", "count"),
    Column("shared_bytes", "P+Q B", "count"),
    Column("huffman_bytes", "P+Q+H B", "count"),
    Column("rate_pq", "rate P+Q %", "percent2"),
    Column("rate_pqh", "rate P+Q+H %", "percent2"),
    Column("ratio", "ratio", "factor"),
)


def _ours(size: Size) -> dict[str, Value]:
    counted = ("weights", "dense_bytes", "pruned_bytes", "shared_bytes", "huffman_bytes")
    bits = ("weight_bits_pq", "weight_bits_huffman", "index_bits_pq", "index_bits_huffman")
    return {
        "layer": size.name,
        **{key: getattr(size, key) for key in (*counted, *bits)},
        # A grid's percent is a fraction; properties and records are in percent, as the paper prints them.
        "kept": size.kept_pct / 100,
        "rate_pq": size.rate_pq_pct / 100,
        "rate_pqh": size.rate_pqh_pct / 100,
        # A layer that was taken out has no bytes left to divide by.
        "ratio": size.ratio if size.huffman_bytes else "-",
    }


def _theirs(row: Published) -> dict[str, Value]:
    """Return a published row as it was printed: its digits are not ours to add to."""
    return {
        "layer": "  published",
        "weights": row.weights,
        "kept": f"{row.kept_pct:g}",
        "weight_bits_pq": f"{row.weight_bits_pq:g}",
        "weight_bits_huffman": f"{row.weight_bits_huffman:g}",
        "index_bits_pq": f"{row.index_bits_pq:g}",
        "index_bits_huffman": f"{row.index_bits_huffman:g}",
        "rate_pq": f"{row.rate_pq_pct:g}",
        "rate_pqh": f"{row.rate_pqh_pct:g}",
        # The paper prints the rate; the column beside ours is its inverse.
        "ratio": factor(100 / row.rate_pqh_pct),
    }
