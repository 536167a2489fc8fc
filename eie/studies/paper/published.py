"""What the paper printed, as data: ``eie/machines/data/eie_paper.toml``.

Comes in: the data file. Goes out: one frozen `Published`. Read by every section of the reproduction; nothing here is
ours.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any

from eie.machines.published import Platform, paper_values, platforms


@dataclass(frozen=True, kw_only=True)
class BenchmarkLayer:
    """A row of Table III; percentages as printed, so rounded."""

    name: str
    inputs: int
    outputs: int
    weight_pct: float
    act_pct: float
    flop_pct: float


@dataclass(frozen=True, kw_only=True)
class Published:
    """Everything the paper gives in numbers or claims in words.

    Attributes
    ----------
    source
        The paper.
    units_mw, units_um2
        Table II: one PE by unit, and its ``total``; ``lnzd_unit`` is one LNZD unit.
    chip
        Table II and section VI: ``mm2``, ``mw``, ``gops`` of 64 PEs.
    benchmark
        Table III.
    times_us
        Table IV: row name to microseconds by layer.
    platforms
        Table V.
    speedups, savings
        Labels of Figures 6 and 7: row name to factor by layer, ``"geomean"`` last.
    precision_pct
        Figure 10: AlexNet top-5 accuracy by number format.
    headline_speedup, headline_saving
        The abstract's factors over CPU, GPU and mobile GPU, all without compression.
    claims, contradictions
        What the text says of the drawn figures; where the paper disagrees with itself.
    """

    source: str
    units_mw: Mapping[str, float]
    units_um2: Mapping[str, float]
    chip: Mapping[str, float]
    benchmark: tuple[BenchmarkLayer, ...]
    times_us: Mapping[str, Mapping[str, float]]
    platforms: tuple[Platform, ...]
    speedups: Mapping[str, Mapping[str, float]]
    savings: Mapping[str, Mapping[str, float]]
    precision_pct: Mapping[str, float]
    headline_speedup: Mapping[str, float]
    headline_saving: Mapping[str, float]
    claims: Mapping[str, str]
    contradictions: Mapping[str, str]

    @property
    def layers(self) -> tuple[str, ...]:
        """The nine layers, in the order of the tables."""
        return tuple(layer.name for layer in self.benchmark)

    def layer(self, name: str) -> BenchmarkLayer:
        """Return a row of Table III."""
        return next(layer for layer in self.benchmark if layer.name == name)

    def platform(self, name: str) -> Platform:
        """Return the row of Table V whose name begins with ``name``."""
        return next(row for row in self.platforms if row.name.startswith(name))


GEOMEAN = "geomean"


@cache
def published() -> Published:
    """Read the data file."""
    values = paper_values()
    pe = values["table2_pe_45nm"]
    units = {name: row for name, row in pe.items() if isinstance(row, dict) and "um2" in row}
    times = dict(values["table4_us"])
    layers: list[str] = times.pop("columns")

    # rows hold nine layers, and figures 6 and 7 a geometric mean behind them
    def by_layer(row: list[float]) -> dict[str, float]:
        return dict(zip([*layers, GEOMEAN][: len(row)], row, strict=True))

    def labelled(rows: Mapping[str, Any]) -> dict[str, dict[str, float]]:
        return {name: by_layer(row) for name, row in rows.items()}

    return Published(
        source=values["source"],
        units_mw={name: row["mw"] for name, row in units.items() if "mw" in row},
        units_um2={name: row["um2"] for name, row in units.items()},
        chip=pe["chip_64pe"],
        benchmark=tuple(BenchmarkLayer(**row) for row in values["table3_benchmark"]),
        times_us=labelled(times),
        platforms=platforms(),
        speedups=labelled(values["figure6_speedup_vs_cpu_dense_b1"]),
        savings=labelled(values["figure7_energy_efficiency_vs_cpu_dense_b1"]),
        precision_pct=values["figure10_precision"],
        headline_speedup=values["headline"]["speedup"],
        headline_saving=values["headline"]["energy_efficiency"],
        claims=values["claims"],
        contradictions=values["contradictions"],
    )
