"""What compression did, for people and for programs: size tables, sensitivity tables, CSV, JSON.

Comes in: a `SizeReport`, `CompressionReport` or `Sensitivity`. Goes out: text; units in the keys. Read by the command
line and notebooks.
"""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import Any

from eie.compression.apply import CompressionReport
from eie.compression.pruning.sensitivity import Sensitivity
from eie.compression.coding.size import Size, SizeReport
from eie.formats.records import records_csv
from eie.version import package_versions

SCHEMA_NAME = "eie-compression"
SCHEMA = 1
_HEADINGS = (
    "layer",
    "weights",
    "kept %",
    "weight bits P+Q",
    "weight bits +H",
    "index bits P+Q",
    "index bits +H",
    "dense B",
    "pruned CSR B",
    "P+Q B",
    "P+Q+H B",
    "rate P+Q %",
    "rate P+Q+H %",
    "ratio",
)


def size_records(report: SizeReport) -> list[dict[str, Any]]:
    """One flat record a layer and one for the total; the columns of Deep Compression's tables among them."""
    records = []
    for size in (*report.layers, report.total):
        record: dict[str, Any] = {
            "network": report.network,
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
        }
        if size.published is not None:
            record |= {f"published_{key}": value for key, value in asdict(size.published).items()}
        records.append(record)
    return records


def size_csv(report: SizeReport) -> str:
    """Return `size_records` as CSV."""
    return records_csv(size_records(report))


def compression_json(sizes: SizeReport, report: CompressionReport | None = None) -> str:
    """Return sizes, and what the recipe did, as JSON text (schema ``eie-compression`` 1)."""
    value: dict[str, Any] = {
        "schema": SCHEMA_NAME,
        "schema_version": SCHEMA,
        "network": sizes.network,
        "versions": package_versions(),
        "published_as": sizes.published_as,
        "sizes": size_records(sizes),
    }
    if report is not None:
        value |= {
            "recipe": report.recipe.model_dump(exclude_none=True),
            "accuracy_before": report.accuracy_before,
            "steps": [asdict(record) for record in report.records],
            "output_order": None if report.output_order is None else report.output_order.tolist(),
        }
    return json.dumps(value, indent=1, allow_nan=False) + "\n"


def size_table(report: SizeReport) -> str:
    """Return the sizes as plain text, published rows under ours."""
    rows = [list(_HEADINGS)]
    for size in (*report.layers, report.total):
        rows.append(_ours(size))
        if size.published is not None:
            rows.append(_theirs(size))
    lines = [
        f"{report.network}: bytes after pruning (P), weight sharing (Q) and Huffman coding (H); biases, codebooks and "
        "tables included",
        "",
        *_aligned(rows),
    ]
    if report.published_as is not None:
        lines += ["", f"published: {report.published_as} in Deep Compression (ICLR 2016), trained on its own data"]
    return "\n".join(lines) + "\n"


def steps_table(report: CompressionReport) -> str:
    """Return what each step and round left, as plain text."""
    names = list(report.records[0].kept)
    rows = [["step", "", "round", *names, "accuracy"]]
    if report.accuracy_before is not None:
        rows.append(["before", "", "", *[""] * len(names), f"{report.accuracy_before:.2%}"])
    for record in report.records:
        kept = [f"{record.kept[name]:,}" if name in record.kept else "gone" for name in names]
        accuracy = "" if record.accuracy is None else f"{record.accuracy:.2%}"
        rows.append([str(record.step), record.kind, str(record.round), *kept, accuracy])
    return "\n".join(["weights left after each step", "", *_aligned(rows)]) + "\n"


def sensitivity_table(scan: Sensitivity) -> str:
    """Return accuracy by layer and density, as plain text."""
    densities = sorted({point.density for point in scan.points})
    rows = [["layer", *(f"{100 * density:g} %" for density in densities)]]
    for name in dict.fromkeys(point.layer for point in scan.points):
        found = {point.density: point.accuracy for point in scan.points if point.layer == name}
        rows.append([name, *(f"{100 * found[density]:.2f}" for density in densities)])
    head = (
        f"{scan.network}: accuracy in percent with one layer alone pruned to a density ({scan.granularity}, "
        f"{scan.criterion}), not fine-tuned; {100 * scan.baseline:.2f} as it came"
    )
    return "\n".join([head, "", *_aligned(rows)]) + "\n"


def sensitivity_json(scan: Sensitivity) -> str:
    """Return a scan as JSON text (schema ``eie-sensitivity`` 1)."""
    value = {"schema": "eie-sensitivity", "schema_version": 1, "baseline": scan.baseline, "points": scan.records()}
    return json.dumps(value, indent=1, allow_nan=False) + "\n"


def _ours(size: Size) -> list[str]:
    return [
        size.name,
        f"{size.weights:,}",
        f"{size.kept_pct:.1f}",
        f"{size.weight_bits_pq:.1f}",
        f"{size.weight_bits_huffman:.1f}",
        f"{size.index_bits_pq:.1f}",
        f"{size.index_bits_huffman:.1f}",
        f"{size.dense_bytes:,}",
        f"{size.pruned_bytes:,}",
        f"{size.shared_bytes:,}",
        f"{size.huffman_bytes:,}",
        f"{size.rate_pq_pct:.2f}",
        f"{size.rate_pqh_pct:.2f}",
        f"{size.ratio:.1f}x" if size.huffman_bytes else "-",
    ]


def _theirs(size: Size) -> list[str]:
    row = size.published
    assert row is not None
    bits = (row.weight_bits_pq, row.weight_bits_huffman, row.index_bits_pq, row.index_bits_huffman)
    rates = (row.rate_pq_pct, row.rate_pqh_pct)
    return [
        "  published",
        row.weights,
        f"{row.kept_pct:g}",
        *(f"{one:g}" for one in bits),
        *[""] * 4,
        *(f"{one:g}" for one in rates),
        f"{100 / row.rate_pqh_pct:.1f}x",
    ]


def _aligned(rows: list[list[str]]) -> list[str]:
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return [
        "  ".join(
            cell.ljust(width) if i == 0 else cell.rjust(width)
            for i, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in rows
    ]
