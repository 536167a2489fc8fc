"""The EIE paper's own figures: Tables II to V, figures 6 and 7, as printed.

Comes in: ``data/eie_paper.toml``. Goes out: a `Baseline` for a column of Table IV, and the tables as frozen records.
Read by comparisons, and by `roofline` for checking itself.
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Any

from eie.errors import EieError
from eie.machines.records import Baseline, LayerCost, Machine

SOURCE = "Han et al., EIE, ISCA 2016 (arXiv 1602.01528v2)"
_PLATFORMS = {"cpu": "Core i7-5930K", "gpu": "GeForce Titan X", "mgpu": "Tegra K1", "eie": "EIE 64PE"}


@dataclass(frozen=True, kw_only=True)
class Platform:
    """A row of Table V; None where the paper leaves the field empty."""

    name: str
    node_nm: int
    power_w: float
    frames_per_s: float
    frames_per_joule: float
    mhz: float | None = None
    area_mm2: float | None = None

    @property
    def frames_per_s_mm2(self) -> float | None:
        """Area efficiency, from the printed figures."""
        return None if self.area_mm2 is None else self.frames_per_s / self.area_mm2


@dataclass(frozen=True)
class Figure:
    """Bars of figure 6 or 7: a value for each benchmark layer, and their geometric mean as printed."""

    layers: tuple[str, ...]
    bars: Mapping[str, tuple[float, ...]]
    geometric_mean: Mapping[str, float]


@cache
def paper_values() -> dict[str, Any]:
    """Everything in ``data/eie_paper.toml``; not to be changed."""
    return tomllib.loads((files("eie.machines") / "data" / "eie_paper.toml").read_text(encoding="utf-8"))


def platform(name: str) -> Platform:
    """Return a row of Table V; ``name`` is as printed, or cpu, gpu, mgpu, eie."""
    wanted = _PLATFORMS.get(name, name)
    for row in paper_values()["table5_platform"]:
        if row["name"] == wanted:
            return Platform(**row)
    raise EieError(
        f"platform {name!r}: Table V has {', '.join(row['name'] for row in paper_values()['table5_platform'])}"
    )


def platforms() -> tuple[Platform, ...]:
    """Table V."""
    return tuple(Platform(**row) for row in paper_values()["table5_platform"])


def columns() -> tuple[str, ...]:
    """Names of Table IV's rows: what may follow ``published:``."""
    return tuple(name for name in paper_values()["table4_us"] if name != "columns")


def figure(number: int) -> Figure:
    """Figure 6 (speedup) or 7 (energy efficiency), both over the CPU running dense, batch 1."""
    keys = {6: "figure6_speedup_vs_cpu_dense_b1", 7: "figure7_energy_efficiency_vs_cpu_dense_b1"}
    if number not in keys:
        raise EieError(f"figure {number}: only the bars of figures 6 and 7 are published as numbers")
    bars = paper_values()[keys[number]]
    return Figure(
        tuple(paper_values()["table4_us"]["columns"]),
        # The last bar of each row is the geometric mean.
        {name: tuple(values[:-1]) for name, values in bars.items()},
        {name: values[-1] for name, values in bars.items()},
    )


def shapes() -> dict[str, tuple[int, int, float]]:
    """(outputs, inputs, weight density) of Table III's layers."""
    return {
        row["name"]: (row["outputs"], row["inputs"], row["weight_pct"] / 100)
        for row in paper_values()["table3_benchmark"]
    }


def pe_power_mw() -> float:
    """Table II: one PE, as it is at 45 nm."""
    return float(paper_values()["table2_pe_45nm"]["total"]["mw"])


def run(column: str) -> Baseline:
    """Return a row of Table IV as a baseline; energy is Table V's power for the published time.

    Raises
    ------
    EieError
        If there is no such row.
    """
    table = paper_values()["table4_us"]
    if column not in columns():
        raise EieError(f"published:{column}: must be one of {', '.join(columns())}")
    place = platform(column.partition("_")[0])
    known = shapes()
    machine = Machine(
        name=f"{place.name} {' '.join(column.split('_')[1:])} (Table IV)",
        how="published",
        source=SOURCE,
        clock_mhz=place.mhz,
        node_nm=place.node_nm,
        batch=64 if column.endswith("b64") else 1,
        # The paper's EIE times leave out loading the weights; those of CPU and GPU fetch them.
        dram=not column.startswith("eie"),
        memory="not paid" if column.startswith("eie") else "own DRAM",
        area_mm2=place.area_mm2,
        power_w=place.power_w,
    )
    layers = tuple(
        # us x W = uJ, and 1e3 makes nJ of them.
        LayerCost(layer=name, latency_us=us, energy_nj=us * place.power_w * 1e3, shape=(*known[name][:2], 1))
        for name, us in zip(table["columns"], table[column], strict=True)
    )
    return Baseline(machine, layers)
