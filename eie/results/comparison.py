"""EIE beside other machines: one record a layer and machine, with totals, geometric means and what is unfair.

Comes in: what each machine took, layer by layer. Goes out: a frozen `Comparison`. Made by
`eie.studies.compare`, read by the command line and `eie.plots.comparison`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from statistics import geometric_mean
from typing import Any, ClassVar

from eie.machines import noise
from eie.machines.records import LayerCost, Machine, machines_grid
from eie.show.brief import Brief
from eie.show.face import Answer
from eie.show.notes import note_lines
from eie.show.numbers import known
from eie.show.sections import Column as TableColumn
from eie.show.sections import Grid, Section

# Stand in the layers' column; `speedup` and `efficiency` take them where they take a layer's name.
TOTAL, MEAN = "total", "geometric mean"


@dataclass(frozen=True, kw_only=True, repr=False)
class Column(Brief):
    """One machine; ``costs`` by our layers' names, missing where it has no figure; the total None where one misses.

    ``samples_us`` is the total of a measured machine, run by run.
    """

    machine: Machine
    costs: Mapping[str, LayerCost]
    latency_us: float | None
    energy_nj: float | None
    samples_us: tuple[float, ...] = ()
    energy_bounds_nj: tuple[float, float] | None = None


@dataclass(frozen=True, kw_only=True, repr=False)
class Comparison(Answer):
    """Machines side by side.

    Attributes
    ----------
    layers
        Our layers, in order.
    columns
        EIE first, then the baselines as they were asked for.
    reference
        Place in ``columns`` of the machine that speedups and efficiencies are over.
    warnings
        Where the comparison is unfair.
    notes
        What a machine assumes, what was matched how, and what was not.
    incomplete
        Why the layers do not add up to the network, in words: then there is no total and no mean.
    """

    SCHEMA: ClassVar[str] = "eie-comparison"

    network: str
    layers: tuple[str, ...]
    columns: tuple[Column, ...]
    reference: int
    warnings: tuple[str, ...]
    notes: tuple[str, ...]
    incomplete: tuple[str, ...] = ()

    def speedup(self, column: Column, layer: str) -> float | None:
        """The reference's time over the machine's, of a layer, `TOTAL` or `MEAN`."""
        return self._ratio(column, layer, "latency_us")

    def efficiency(self, column: Column, layer: str) -> float | None:
        """The reference's energy over the machine's, of a layer, `TOTAL` or `MEAN`."""
        return self._ratio(column, layer, "energy_nj")

    def _ratio(self, column: Column, layer: str, quantity: str) -> float | None:
        reference = self.columns[self.reference]
        if layer == MEAN and self.incomplete:
            return None
        if layer == MEAN:
            # Over the layers both machines have figures for: a missing one, or a time of 0, has no logarithm. Ratios
            # are averaged geometrically, as in the paper's Figure 6: then the choice of reference does not change their
            # order.
            ratios = [self._ratio(column, name, quantity) for name in self.layers]
            figures = [ratio for ratio in ratios if ratio]
            return geometric_mean(figures) if figures else None
        pairs = self._pairs(column, layer) if quantity == "latency_us" else []
        if pairs:
            return noise.middle(pairs)
        theirs, ours = _value(reference, layer, quantity), _value(column, layer, quantity)
        # Theirs over ours: above 1 the column is faster than the reference, 1 for the reference itself.
        return theirs / ours if theirs is not None and ours else None

    def speedup_interval(self, column: Column, layer: str) -> noise.Interval | None:
        """Where a speedup is that was measured, of a layer or `TOTAL`; None where neither machine was."""
        pairs = self._pairs(column, layer)
        return noise.interval(pairs) if pairs else None

    def _pairs(self, column: Column, layer: str) -> list[float]:
        """Speedups run by run; a machine that was not measured takes as long in every run."""
        reference = self.columns[self.reference]
        runs = [_runs(side, layer) for side in (reference, column)]
        times = [_value(side, layer, "latency_us") for side in (reference, column)]
        if not any(runs) or None in times:
            return []
        count = max(map(len, runs))
        theirs, ours = (known or (us or 0.0,) * count for known, us in zip(runs, times, strict=True))
        return noise.ratios(theirs, ours)

    def records(self) -> list[dict[str, Any]]:
        """One flat record a layer and machine, units in the keys; totals and geometric means last."""
        rows = []
        for layer in (*self.layers, TOTAL, MEAN):
            for column in self.columns:
                # None of TOTAL and MEAN, and of a machine that is known as a whole only.
                cost = column.costs.get(layer)
                machine, latency = column.machine, _value(column, layer, "latency_us")
                # us a frame into frames a second; a rate per mm2 is how the paper's Table V sets chips of unequal size
                # side by side.
                rate = 1e6 / latency if latency else None
                runs, between = _runs(column, layer), self.speedup_interval(column, layer)
                low, high = _bounds(column, layer) or (None, None)
                rows.append(
                    {
                        "layer": layer,
                        "machine": machine.name,
                        "how": machine.how,
                        "clock_mhz": machine.clock_mhz,
                        "node_nm": machine.node_nm,
                        "batch": machine.batch,
                        "dram": machine.dram,
                        "memory": machine.memory,
                        "weight_bits": machine.weight_bits,
                        "cycles": None if cost is None else cost.cycles,
                        "latency_us": latency,
                        "speedup": self.speedup(column, layer),
                        "latency_least_us": min(runs) if runs else None,
                        "latency_spread": noise.spread(runs) if runs else None,
                        "speedup_low": None if between is None else between.low,
                        "speedup_high": None if between is None else between.high,
                        "runs": len(runs) or None,
                        "energy_nj": _value(column, layer, "energy_nj"),
                        "energy_low_nj": low,
                        "energy_high_nj": high,
                        "energy_efficiency": self.efficiency(column, layer),
                        "frames_per_s_mm2": rate / machine.area_mm2 if rate and machine.area_mm2 else None,
                        "utilisation": None if cost is None else cost.utilisation,
                        "bytes_moved": None if cost is None else cost.bytes_moved,
                        "dram_bytes": None if cost is None else cost.dram_bytes,
                    }
                )
        return rows

    def headline(self) -> str:
        """Say what is compared, and over which machine."""
        machine = self.columns[self.reference].machine
        bits = "" if machine.weight_bits is None else f"{machine.weight_bits}-bit weights, "
        paid = f"({bits}memory: {machine.memory or 'not known'})"
        return f"{self.network}: speedup and energy efficiency over {machine.name} {paid}"

    def sections(self) -> tuple[Section, ...]:
        """Return the machines, then each layer on each of them, then what is unfair."""
        # Beside measured numbers, and in no table without any.
        noisy = any(_runs(column, layer) for column in self.columns for layer in (*self.layers, TOTAL))
        headings = {key: text for key, text in _HEADINGS.items() if noisy or key not in _NOISE}
        columns = (
            TableColumn("layer", "layer", "text"),
            TableColumn("machine", "machine", "text"),
            # Words and not numbers: a figure a source does not state is a dash, not an empty cell or a 0.
            *(TableColumn(key, heading, "word") for key, heading in headings.items()),
        )
        rows = tuple(
            {
                **row,
                "latency_us": known(row["latency_us"]),
                "memory": row["memory"] or "?",
                "speedup": known(row["speedup"], "x"),
                "latency_least_us": known(row["latency_least_us"]),
                "latency_spread": known(None if row["latency_spread"] is None else 100 * row["latency_spread"]),
                "range": _range(row["speedup_low"], row["speedup_high"]),
                "energy_nj": known(row["energy_nj"]),
                "energy_efficiency": known(row["energy_efficiency"], "x"),
                "frames_per_s_mm2": known(row["frames_per_s_mm2"]),
                "utilisation": known(None if row["utilisation"] is None else 100 * row["utilisation"]),
            }
            for row in self.records()
        )
        # Layer and machine together name a row: a table that is split for its width repeats both.
        layers = Grid(columns=columns, rows=rows, keys=2, grouped=True).without_empty()
        lines = tuple(f"Unfair: {text}." for text in self.warnings)
        notes = note_lines(self.notes, [column.machine.name for column in self.columns], what="machines")
        machines = machines_grid([column.machine for column in self.columns])
        return (Section(name="comparison", grids=(machines, layers), lines=lines, notes=notes),)

    def content(self) -> dict[str, Any]:
        """Return the machines, what is unfair, and the records."""
        return {
            "network": self.network,
            "reference": self.columns[self.reference].machine.name,
            "machines": [column.machine.content() for column in self.columns],
            "warnings": list(self.warnings),
            "notes": list(self.notes),
            "incomplete": list(self.incomplete),
            "rows": self.records(),
        }


_HEADINGS = {
    "latency_us": "latency us",
    "latency_least_us": "least",
    "latency_spread": "spread %",
    "speedup": "speedup",
    "range": "from to",
    # In the same line, since a speedup means another thing where the weights came for nothing.
    "memory": "memory",
    "energy_nj": "energy nJ",
    "energy_efficiency": "energy efficiency",
    "frames_per_s_mm2": "frames/s/mm2",
    "utilisation": "utilisation %",
}


_NOISE = ("latency_least_us", "latency_spread", "range")


def _range(low: float | None, high: float | None) -> str:
    return "-" if low is None or high is None else f"{low:.3g} to {high:.3g}"


def _runs(column: Column, layer: str) -> tuple[float, ...]:
    """Microseconds of every run, of a layer or `TOTAL`; empty where nothing was measured."""
    if layer == TOTAL:
        # Without a total there is nothing that its runs would be of.
        return () if column.latency_us is None else column.samples_us
    cost = column.costs.get(layer)
    return () if cost is None else cost.samples_us


def _value(column: Column, layer: str, quantity: str) -> float | None:
    if layer == MEAN:
        return None
    if layer == TOTAL:
        # The column's own total and not a sum of `costs`: a machine known as a whole has no layers to add up.
        return column.latency_us if quantity == "latency_us" else column.energy_nj
    cost = column.costs.get(layer)
    return None if cost is None else getattr(cost, quantity)


def _bounds(column: Column, layer: str) -> tuple[float, float] | None:
    if layer == TOTAL:
        return column.energy_bounds_nj
    cost = column.costs.get(layer)
    return None if cost is None else cost.energy_bounds_nj
