"""Figure 10: accuracy over the number format.

Comes in: the shipped LeNets with their labelled traces; the paper's AlexNet is not public with its weights. Goes out: a
`Section`.
"""

from __future__ import annotations

import math
import os
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from eie.compiler.compile import compile as compile_network
from eie.importers import load
from eie.results.totals import Accuracy
from eie.show.sections import Column, Curves, Grid, Section, Statement, Value
from eie.simulation import simulate
from eie.spec import EIE_64PE
from eie.studies.paper.bench import Bench

NETWORKS = ("lenet-300-100", "lenet-5")  # pruned and shared, as what the paper measured
DATA_BITS = (32, 16, 8)
FINER_BITS = (32, 16, 12, 8, 7, 6, 5, 4)


@dataclass(frozen=True, kw_only=True)
class Precision:
    """Accuracy of measured network: float32, and fixed point by ``data_bits``."""

    network: str
    samples: int
    float32: float
    fixed: dict[int, float]

    @property
    def standard_error(self) -> float:
        """Of an accuracy, from the number of samples alone."""
        return math.sqrt(self.float32 * (1 - self.float32) / self.samples)


def figure10(bench: Bench) -> Section:
    """Accuracy in 32-bit float and in 32-, 16- and 8-bit fixed point."""
    networks: list[Precision] = []
    for name in NETWORKS:
        bench.progress(f"number formats: {name}")
        networks += [measured] if (measured := _measure(name)) else []
    printed = bench.published.precision_pct
    rows: list[dict[str, Value]] = [_row("AlexNet top-5 (printed)", None, printed)]
    for measured in networks:
        ours = {"float32": measured.float32, **{f"int{bits}": measured.fixed[bits] for bits in DATA_BITS}}
        rows.append(_row(f"{measured.network} (ours)", measured, {key: 100 * value for key, value in ours.items()}))
    columns = (
        Column("network", "accuracy, %", "text"),
        Column("float32", "32-bit float"),
        *(Column(f"int{bits}", f"{bits}-bit fixed") for bits in DATA_BITS),
        *(Column(f"lost{bits}", f"lost at {bits}") for bits in (16, 8)),
        Column("samples", "samples"),
        Column("error", "std. error"),
    )
    series: dict[str, tuple[float | None, ...]] = {
        measured.network: tuple(100 * measured.fixed[bits] for bits in FINER_BITS) for measured in networks
    }
    series["AlexNet top-5 (printed)"] = tuple(printed.get(f"int{bits}") for bits in FINER_BITS)
    curves = Curves(
        x_label="bits of activations, codebook and accumulators", x=FINER_BITS, y_label="accuracy (%)", series=series
    )
    grids = (
        Grid(caption="Printed, and ours", columns=columns, rows=tuple(rows)),
        curves.grid("Fixed point in finer steps, %"),
    )
    notes = (
        "Another network and task than the paper's: losses can be compared, accuracies cannot. In each layer the "
        "fraction bits are chosen so that the largest magnitude fits, which moves the fall to fewer bits "
        "than on AlexNet.",
    )
    return Section(
        name="figure10",
        title="Figure 10: precision",
        grids=grids,
        curves=(curves,),
        statements=_statements(networks),
        notes=notes,
    )


def _measure(name: str) -> Precision | None:
    """Run a shipped model at every width; None where its accuracy is not known."""
    network = load(name)
    if network.trace is None or network.trace.labels is None:
        return None
    program = compile_network(network, EIE_64PE)

    def run(bits: int) -> Accuracy | None:
        return simulate(program.on(EIE_64PE.replace(data_bits=bits)), threads=1).accuracy

    # a thread a width: the kernels let go of the interpreter, and one run of a LeNet is too short to be cut up itself
    with ThreadPoolExecutor(os.cpu_count() or 1) as pool:
        by_bits = {
            bits: accuracy for bits, accuracy in zip(FINER_BITS, pool.map(run, FINER_BITS), strict=True) if accuracy
        }
    if not by_bits:
        return None
    fixed = {bits: accuracy.fixed for bits, accuracy in by_bits.items()}
    return Precision(network=name, samples=len(network.trace.labels), float32=by_bits[32].float32, fixed=fixed)


def _row(label: str, measured: Precision | None, values: Mapping[str, float]) -> dict[str, Value]:
    row: dict[str, Value] = {"network": label, **values}
    row |= {f"lost{bits}": values["float32"] - values[f"int{bits}"] for bits in (16, 8)}
    if measured is not None:
        row |= {"samples": measured.samples, "error": 100 * measured.standard_error}
    return row


def _statements(networks: list[Precision]) -> tuple[Statement, ...]:
    lost = {measured.network: measured.float32 - measured.fixed[16] for measured in networks}
    collapse = {measured.network: _collapse(measured) for measured in networks}
    return (
        Statement(
            place="figure 10",
            claim="16-bit fixed point loses at most 0.5 points of accuracy (printed: 80.3 to 79.8)",
            holds=all(loss <= 0.005 for loss in lost.values()),
            found=", ".join(f"{name}: {100 * loss:.2f} points" for name, loss in lost.items()),
        ),
        Statement(
            place="figure 10",
            claim="8-bit fixed point loses much (more than 5 points; printed: 80.3 to 53.0)",
            holds=all(measured.float32 - measured.fixed[8] > 0.05 for measured in networks),
            found=", ".join(
                f"{measured.network}: {100 * (measured.float32 - measured.fixed[8]):.1f} points at 8 bits; "
                f"more than 5 from {collapse[measured.network]} bits down"
                for measured in networks
            ),
        ),
    )


def _collapse(measured: Precision) -> int:
    """The widest format that loses more than 5 points; 0 if none does."""
    return max((bits for bits, accuracy in measured.fixed.items() if measured.float32 - accuracy > 0.05), default=0)
