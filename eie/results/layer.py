"""One layer on one machine: its `Activity` with everything a user asks of it, and the flat record of all that.

Comes in: an `EncodedLayer`, its `Activity` and the spec. Goes out: `LayerResult` and records. Read by the report and by
sweeps; nothing here is computed twice.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from eie.activity import Activity
from eie.machines.dense import dense_cycles
from eie.compiler.encoded import EncodedLayer
from eie.compiler.passes import Fit
from eie.energy.estimate import Estimate, Method
from eie.model.geometry import Conv2d, fresh_inputs
from eie.simulator.functional import LayerOutputs
from eie.spec import AcceleratorSpec


@dataclass(frozen=True)
class Distribution:
    """Mean, median and 99th percentile over the samples of a batch."""

    mean: float
    p50: float
    p99: float

    @classmethod
    def of(cls, values: NDArray[Any]) -> Distribution:
        """Summarise (N,) numbers."""
        if len(values) == 1:
            return cls(*[float(values[0])] * 3)
        return cls(float(values.mean()), *(float(q) for q in np.percentile(values, (50, 99))))


@dataclass(frozen=True, eq=False, kw_only=True)
class LayerResult:
    """One layer of a result. Numbers are those of the one sample, or means over the batch.

    Attributes
    ----------
    activity
        The counts of every sample.
    computed
        What the layer computed, or None where the trace held no values.
    """

    encoded: EncodedLayer
    spec: AcceleratorSpec
    activity: Activity
    fit: Fit
    computed: LayerOutputs | None

    @property
    def name(self) -> str:
        """The layer's name."""
        return self.encoded.name

    @property
    def shape(self) -> tuple[int, int]:
        """(outputs, inputs)."""
        return self.encoded.outputs, self.encoded.inputs

    @property
    def products(self) -> int:
        """Matrix-vector products a sample; every other number of the row is their sum."""
        return self.activity.products

    @property
    def kind(self) -> str:
        """What the matrix is the lowered form of: linear, conv2d, winograd or lstm."""
        geometry = self.encoded.geometry
        return "linear" if geometry is None else type(geometry).__name__.lower()

    @property
    def groups(self) -> int:
        """Independent products side by side: a convolution's groups, 16 of a Winograd tile, else 1."""
        geometry = self.encoded.geometry
        return geometry.groups if isinstance(geometry, Conv2d) else self.encoded.products_per_row

    @property
    def cycles(self) -> float:
        """Cycles a sample, reloads of capacity passes included; an int for one sample."""
        return _per_sample(self.activity.total_cycles)

    @property
    def latency_us(self) -> float:
        """Microseconds a sample."""
        return self.spec.us(self.cycles)

    @property
    def latency(self) -> Distribution:
        """Microseconds over the batch."""
        return Distribution.of(self.activity.total_cycles / self.spec.clock_mhz)

    @property
    def theoretical_us(self) -> float:
        """Entries of the active columns over PEs: the paper's theoretical time."""
        return self.spec.us(float(self.activity.theoretical_cycles.mean()))

    @property
    def efficiency(self) -> float:
        """Load-balance efficiency: entries over PEs x compute cycles."""
        return float(self.activity.theoretical_cycles.sum() / self.activity.cycles.sum())

    @property
    def counts(self) -> dict[str, float]:
        """Action counts a sample; ints for one sample."""
        return {name: _per_sample(values) for name, values in self.activity.counts.items()}

    @property
    def per_pe(self) -> dict[str, NDArray[Any]]:
        """(P,) cycles of each PE by what it did: issue, empty_column, starved, drain; means for a batch."""
        one = self.activity.samples == 1
        return {name: rows[0] if one else rows.mean(axis=0) for name, rows in self.activity.per_pe.items()}

    @property
    def outputs(self) -> NDArray[np.float32] | None:
        """float32 (outputs,) or (N, outputs): the fixed-point result; None without activation values.

        A convolution gives (out, oh, ow), an LSTM (T, hidden), where the network ran as a graph.
        """
        if self.computed is None or not self.computed.float32.size:
            return None
        values = self.computed.fixed.value
        return values[0] if len(values) == 1 else values

    @property
    def padding_share(self) -> float:
        """Padding entries over all entries of the active columns; 0 where nothing was issued."""
        counts = self.activity.counts
        return float(counts["padding_entries"].sum() / max(1, counts["entries"].sum()))

    @property
    def imbalance(self) -> float:
        """Entries issued by the busiest PE over the mean of all; 1 is perfectly even."""
        issued = self.activity.per_pe["issue"].sum(axis=0)
        return float(issued.max() / issued.mean()) if issued.any() else 1.0

    @property
    def dense_us(self) -> float:
        """The dense equivalent on the same PEs, lowered alike: every weight, every activation."""
        outputs, inputs = self.encoded.dense_shape
        cycles = dense_cycles(
            outputs,
            inputs,
            self.spec,
            has_bias=self.encoded.has_bias,
            products=self.products // self.encoded.products_per_row,
        )
        return self.spec.us(cycles)

    @property
    def speedup_over_dense(self) -> float:
        """Dense time over this layer's."""
        return self.dense_us / self.latency_us


def layer_record(layer: LayerResult, estimates: Mapping[Method, Estimate]) -> dict[str, Any]:
    """Return a layer as one flat record, units in the keys: what CSV, pandas and sweeps show."""
    latency = layer.latency
    record: dict[str, Any] = {
        "layer": layer.name,
        "outputs": layer.shape[0],
        "inputs": layer.shape[1],
        "products": layer.products,
        "kind": layer.kind,
        "groups": layer.groups,
        "fresh_inputs": fresh_inputs(layer.encoded.geometry),
        "bias": layer.encoded.has_bias,
        "samples": layer.activity.samples,
        "weight_density": layer.encoded.weight_density,
        "activation_density": layer.activity.activation_density,
        "synthetic_weights": layer.encoded.synthetic,
        "cycles": layer.cycles,
        "latency_us": latency.mean,
        "latency_p50_us": latency.p50,
        "latency_p99_us": latency.p99,
        "theoretical_us": layer.theoretical_us,
        "efficiency": layer.efficiency,
        "padding_share": layer.padding_share,
        "busiest_over_mean": layer.imbalance,
        "dense_us": layer.dense_us,
        "speedup_over_dense": layer.speedup_over_dense,
        "passes": layer.fit.passes,
        "reload_cycles": layer.activity.reload_cycles,
        "fits": layer.fit.fits,
        **layer.counts,
    }
    for method, priced in estimates.items():
        spread = Distribution.of(priced.nj)
        key = method.replace("-", "_")
        record |= {
            f"energy_{key}_nj": spread.mean,
            f"energy_{key}_p50_nj": spread.p50,
            f"energy_{key}_p99_nj": spread.p99,
        }
    return record


def _per_sample(values: NDArray[np.int64]) -> float:
    return int(values[0]) if len(values) == 1 else float(values.mean())
