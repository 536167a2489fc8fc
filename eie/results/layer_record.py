"""One layer as one flat record, units in the keys: what CSV, pandas and sweeps show.

Comes in: a `LayerResult` and what it costs. Goes out: a mapping of plain numbers. Read by `Result.records` and sweeps;
docs/outputs.md explains each key.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from eie.energy.estimate import Estimate, Method
from eie.results import accounting
from eie.results.distribution import Distribution
from eie.results.layer import LayerResult


def layer_record(layer: LayerResult, estimates: Mapping[Method, Estimate], *, timing_met: bool) -> dict[str, Any]:
    """Return a layer as one flat record, units in the keys: what CSV, pandas and sweeps show.

    ``timing_met``: whether the machine can run at its clock, which is of the machine and stands in every row.
    """
    latency = layer.latency
    record: dict[str, Any] = {
        "layer": layer.name,
        "outputs": layer.shape[0],
        "inputs": layer.shape[1],
        "products": layer.products,
        "kind": layer.kind,
        "conv": layer.encoded.conv or None,
        "groups": layer.groups,
        "fresh_inputs": layer.encoded.geometry.fresh_inputs,
        "bias": layer.encoded.has_bias,
        "samples": layer.activity.samples,
        "weight_density": layer.encoded.weight_density,
        "activation_density": layer.activity.activation_density,
        "synthetic_weights": layer.encoded.synthetic,
        "cycles": layer.cycles,
        "total_cycles": layer.total_cycles,
        "latency_us": latency.mean,
        "latency_p50_us": latency.p50,
        "latency_p99_us": latency.p99,
        "theoretical_us": layer.theoretical_us,
        "lower_bound_us": layer.lower_bound_us,
        "bound_by": layer.bound_by,
        "bound_by_share": layer.bound_parts[layer.bound_by],
        **{f"bound_{name}_cycles": cycles for name, cycles in layer.bounds.items()},
        "balance_saves": layer.balance_saves,
        "efficiency": layer.efficiency,
        "padding_share": layer.padding_share,
        "busiest_over_mean": layer.imbalance,
        "dense_us": layer.dense_us,
        "speedup_over_dense": layer.speedup_over_dense,
        "dense_weights": layer.dense.weights,
        "passes": layer.fit.passes,
        "reload_cycles": layer.activity.reload_cycles,
        "residency": layer.place.place,
        "fits": layer.fits,
        "timing_met": timing_met,
        # Behind the named columns: the keys of `eie.activity.COUNTS` keep their names from kernel to CSV.
        **layer.counts,
    }
    for method, priced in estimates.items():
        spread = Distribution.of(priced.nj)
        # A column's name has to be an attribute and a query's word in pandas: no hyphen.
        key = method.replace("-", "_")
        record |= {
            f"energy_{key}_nj": spread.mean,
            f"energy_{key}_p50_nj": spread.p50,
            f"energy_{key}_p99_nj": spread.p99,
        }
        # By published power there are neither kinds nor bounds.
        if priced.kind_nj:
            record |= {f"energy_{key}_low_nj": priced.low_nj, f"energy_{key}_high_nj": priced.high_nj}
            record |= {f"energy_{key}_{kind}_nj": float(nj.mean()) for kind, nj in priced.kind_nj.items()}
    return record


def shares_record(layer: LayerResult) -> dict[str, float | None]:
    """Return a layer's shares as keys of a flat record; None where they were not counted."""
    shares = dict.fromkeys(accounting.SHARES) if layer.account is None else layer.shares
    return {f"share_{name}": share for name, share in shares.items()}
