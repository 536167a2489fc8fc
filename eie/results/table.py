"""The per-layer table of a result.

Comes in: layers and what they cost. Goes out: a `Grid`, and lines under it. Read by `Result.sections`; README explains
each column.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from eie.energy.estimate import Method
from eie.machines.rows import NOT_MODELLED
from eie.model.host import HostWork, counted
from eie.results import accounting
from eie.results.distribution import Distribution
from eie.results.layer import LayerResult, fits_in_words
from eie.results.priced import Energy, trust
from eie.results.totals import bound_parts, shares_of
from eie.show.numbers import percent
from eie.show.sections import Column, Grid, Value

_PRICED: dict[Method, str] = {"published-power": "nJ by power", "activity": "nJ by activity"}

# What the row under the line shows, energies apart.
_TOTALLED = (
    "cycles",
    "latency_us",
    "p50",
    "p99",
    "lower_bound_us",
    "bound_by",
    "theoretical_us",
    "efficiency",
    "dense_us",
    "speedup_over_dense",
)


def layers_grid(
    layers: Sequence[LayerResult],
    energies: Mapping[Method, Energy],
    whole: Distribution | None,
    *,
    batch: int = 1,
    unmodelled: Sequence[str] = (),
) -> Grid:
    """Return one row a layer and the totals.

    Parameters
    ----------
    whole
        The network's latency over the samples; None where the layers do not add up to it.
    batch
        Samples that share a load of a layer: of theirs none has a latency of its own.
    unmodelled
        Layers of the model that were not run: a row each, so that nothing vanishes.
    """
    columns = (
        Column("layer", "layer", "text"),
        Column("shape", "out x in", "word"),
        *([Column("uses", "uses", "count")] if any(layer.uses > 1 for layer in layers) else []),
        *([Column("products", "products", "count")] if any(layer.products > 1 for layer in layers) else []),
        Column("weight_density", "weights %", "percent"),
        Column("activation_density", "acts %", "percent"),
        Column("cycles", "cycles", "count"),
        # What the contract does not count, where there is any of it.
        *(
            Column(key, heading, "count")
            for key, heading in (("act_batches", "+ batches"), ("bus_wait", "+ bus"))
            if any(_layer_row(layer)[key] for layer in layers)
        ),
        Column("latency_us", "latency us"),
        # One sample has no spread.
        *([Column("p50", "p50 us"), Column("p99", "p99 us")] if layers[0].activity.samples > 1 and batch == 1 else []),
        Column("lower_bound_us", "at least us"),
        Column("bound_by", "bound by", "word"),
        Column("theoretical_us", "theory us"),
        Column("efficiency", "effic. %", "percent"),
        Column("padding_share", "padding %", "percent"),
        Column("busiest_over_mean", "busiest / mean PE", "fixed2"),
        *(Column(method, _PRICED[method]) for method in energies),
        Column("dense_us", "dense us"),
        Column("speedup_over_dense", "speedup", "factor"),
        # Beside it, in every row: a speedup over weights that nobody pays for is another number.
        # Only where they come from anywhere else than from the chip: the line under the table says it for all.
        *(
            [Column("dense_weights", "dense weights", "word")]
            if any(layer.dense.weights != "on chip" for layer in layers)
            else []
        ),
        Column("fits", "fits", "word"),
    )
    rows: tuple[Mapping[str, Value], ...] = tuple(
        # By place: `Energy.layers` keeps the order of the layers.
        _layer_row(layer) | {method: float(energy.layers[i].nj.mean()) for method, energy in energies.items()}
        for i, layer in enumerate(layers)
    )
    if whole is None:
        total: dict[str, Value] = {"layer": "total", **dict.fromkeys([*_TOTALLED, *energies], "-")}
    else:
        total = _total(layers, energies, whole)
    return Grid(columns=columns, rows=(*rows, *map(unmodelled_row, unmodelled)), total=total)


def _layer_row(layer: LayerResult) -> dict[str, Value]:
    """Return what a layer's row of a table shows."""
    latency = layer.latency
    return {
        "layer": layer.name,
        "shape": "{} x {}".format(*layer.shape),
        "uses": layer.uses,
        "products": layer.products,
        "weight_density": layer.encoded.weight_density,
        "activation_density": layer.activity.activation_density,
        "cycles": layer.cycles,
        "latency_us": layer.latency_us,
        "p50": latency.p50,
        "p99": latency.p99,
        "lower_bound_us": layer.lower_bound_us,
        "bound_by": accounting.in_words(layer.bound_parts),
        "theoretical_us": layer.theoretical_us,
        "efficiency": layer.efficiency,
        "padding_share": layer.padding_share,
        "busiest_over_mean": layer.imbalance,
        "dense_us": layer.dense_us,
        "speedup_over_dense": layer.speedup_over_dense,
        "dense_weights": layer.dense.weights,
        "act_batches": layer.counts["act_batch_cycles"],
        "bus_wait": layer.counts["bus_wait_cycles"],
        "fits": fits_in_words(layer),
    }


def unmodelled_row(text: str) -> dict[str, Value]:
    """Return the row of a layer that was not run, in tables and records."""
    return {"layer": f"{NOT_MODELLED}{text}"}


def host_grid(work: HostWork) -> Grid:
    """Return a row for what a host computes, and one for the products of two activations among it."""
    columns = (
        Column("what", "not on the accelerator", "text"),
        Column("operators", "operators", "text"),
        Column("multiplications", "multiplications a sample", "count"),
    )
    rows: list[dict[str, Value]] = [{"what": "host", "operators": counted(work.operators), "multiplications": None}]
    if work.products:
        named = {"what": "products of two activations", "operators": counted(work.products)}
        rows.append({**named, "multiplications": work.multiplications})
    return Grid(columns=columns, rows=tuple(rows))


def _total(layers: Sequence[LayerResult], energies: Mapping[Method, Energy], whole: Distribution) -> dict[str, Value]:
    theoretical_us = sum(layer.theoretical_us for layer in layers)
    # Efficiency is of computing: reloading weights between passes is no imbalance.
    compute_us = sum(layer.spec.us(float(layer.activity.cycles.mean())) for layer in layers)
    dense_us = sum(layer.dense_us for layer in layers)
    return {
        "layer": "total",
        "cycles": sum(layer.cycles for layer in layers),
        "act_batches": sum(layer.counts["act_batch_cycles"] for layer in layers),
        "bus_wait": sum(layer.counts["bus_wait_cycles"] for layer in layers),
        "latency_us": whole.mean,
        # Of whole samples: percentiles of layers do not add up to those of the network.
        "p50": whole.p50,
        "p99": whole.p99,
        "lower_bound_us": sum(layer.lower_bound_us for layer in layers),
        "bound_by": accounting.in_words(bound_parts(layers)),
        "theoretical_us": theoretical_us,
        "efficiency": theoretical_us / compute_us,
        **{method: energy.total_nj for method, energy in energies.items()},
        "dense_us": dense_us,
        "speedup_over_dense": dense_us / whole.mean,
    }


def shares_grid(layers: Sequence[LayerResult], *, whole: bool) -> Grid:
    """Return where the PE cycles went, a row a layer; with ``whole`` all layers under the line."""
    columns = (
        Column("layer", "layer", "text"),
        *(Column(name, f"{name.replace('_', ' ')} %", "percent") for name in accounting.SHARES),
        Column("balance_saves", "balance would save %", "percent"),
        Column("bound_by", "bound by", "word"),
    )
    rows: tuple[dict[str, Value], ...] = tuple(
        {
            **layer.shares,
            "layer": layer.name,
            "balance_saves": layer.balance_saves,
            "bound_by": accounting.in_words(layer.bound_parts),
        }
        for layer in layers
    )
    total: dict[str, Value] = {"layer": "total"}
    if whole:
        total |= shares_of(layers) | {"bound_by": accounting.in_words(bound_parts(layers))}
    return Grid(caption="Where the cycles of all PEs went", columns=columns, rows=rows, total=total if whole else None)


def energy_lines(energies: Mapping[Method, Energy]) -> list[str]:
    """Say of each method what it is good for, which table it takes and where the energy goes, if that is known."""
    # The one to trust first.
    first = sorted(energies.items(), key=lambda item: item[0] != "activity")
    return [
        f"Energy by {method}{_bounds(energy)}: {trust(method)}. Table {energy.table}{_cell(energy)}; {_units(energy)}."
        for method, energy in first
    ]


def _bounds(energy: Energy) -> str:
    if energy.incomplete or not energy.kind_nj() or not energy.total_nj:
        return ""
    return f", {energy.bounds_in_words()} nJ ({_shares(energy.kind_nj(), energy.total_nj)})"


def _cell(energy: Energy) -> str:
    # The published power is that of the paper's own SRAMs, whatever their size: no cell enters it.
    return f", SRAM ratios CACTI 7 {energy.cell}" if energy.method == "activity" else ""


def _units(energy: Energy) -> str:
    if energy.incomplete:
        return "no total"
    total = energy.total_nj
    if not total:
        return "nothing was done"
    return _shares(energy.unit_nj(), total)


def _shares(parts: Mapping[str, float], total: float) -> str:
    shares = {name: nj / total for name, nj in parts.items() if nj}
    # Largest first; sorting is stable, so equal shares keep the table's order and output stays the same byte for byte.
    return ", ".join(
        f"{name} {percent(share, 0)} %" for name, share in sorted(shares.items(), key=lambda item: -item[1])
    )
