"""The answer: a network's activities on a machine, with everything a user asks of them.

Comes in: a `Program` and the `Activity` of each layer. Goes out: `Result` and its `LayerResult` rows. Read by tables,
exports and figures; nothing here is computed twice.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from eie.activity import Activity
from eie.baselines.dense import dense_cycles
from eie.compiler.passes import Fit
from eie.compiler.program import EncodedLayer, Program
from eie.energy.estimate import METHODS, Estimate, Method, estimate, timing_notes
from eie.energy.tables import Cell
from eie.errors import EnergyError
from eie.geometry import Conv2d
from eie.simulator.functional import LayerOutputs
from eie.spec import AcceleratorSpec
from eie.storage import write_text

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True)
class Distribution:
    """Mean, median and 99th percentile over the samples of a batch."""

    mean: float
    p50: float
    p99: float

    @classmethod
    def of(cls, values: NDArray[Any]) -> Distribution:
        """Summarise (N,) numbers."""
        return cls(float(values.mean()), *(float(q) for q in np.percentile(values, (50, 99))))


@dataclass(frozen=True, eq=False)
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
        if self.computed is None:
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


@dataclass(frozen=True, eq=False)
class Energy:
    """A result priced by one method.

    Attributes
    ----------
    layers
        An `Estimate` for each layer, in order.
    table, method, cell
        What it was computed with; shown in every output.
    """

    layers: tuple[Estimate, ...]
    table: str
    method: Method
    cell: Cell

    @property
    def samples_nj(self) -> NDArray[np.float64]:
        """float64 (N,): nanojoules of each sample, all layers."""
        total: NDArray[np.float64] = np.sum([layer.nj for layer in self.layers], axis=0)
        return total

    @property
    def total_nj(self) -> float:
        """Nanojoules a sample, all layers."""
        return float(self.samples_nj.mean())

    def unit_nj(self) -> dict[str, float]:
        """Nanojoules a sample by unit, all layers."""
        units = self.layers[0].unit_nj
        return {unit: float(sum(layer.unit_nj[unit].mean() for layer in self.layers)) for unit in units}


@dataclass(frozen=True, eq=False)
class Accuracy:
    """Share of samples whose largest output is the labelled class.

    ``fixed``: on the accelerator's fixed point; ``float32``: the same shared weights in float32; ``given``: the network
    as it was before weight sharing, float32 (None where it is not at hand).
    """

    samples: int
    fixed: float
    float32: float
    given: float | None = None


@dataclass(frozen=True, eq=False)
class Result:
    """A simulated network.

    Attributes
    ----------
    layers
        One `LayerResult` each.
    engine
        Which timing engine counted.
    drive
        ``"execution"``: each layer's outputs fed the next; ``"trace"``: every layer had recorded inputs.
    inputs_source
        What the inputs were, in words.
    synthetic_inputs
        Whether they were drawn at random.
    accuracy
        Where the trace has labels and the network ran in sequence.
    """

    program: Program
    layers: tuple[LayerResult, ...]
    engine: str
    drive: str
    inputs_source: str
    synthetic_inputs: bool
    accuracy: Accuracy | None = None

    @property
    def spec(self) -> AcceleratorSpec:
        """The machine."""
        return self.program.spec

    @property
    def samples(self) -> int:
        """Samples in the batch."""
        return self.layers[0].activity.samples

    @cached_property
    def sample_us(self) -> NDArray[np.float64]:
        """float64 (N,): microseconds of each sample, all layers one after the other."""
        cycles: NDArray[np.int64] = np.sum([layer.activity.total_cycles for layer in self.layers], axis=0)
        return cycles / self.spec.clock_mhz

    @property
    def latency_us(self) -> float:
        """Microseconds a sample, all layers."""
        return float(self.sample_us.mean())

    @property
    def dense_us(self) -> float:
        """Microseconds of the dense equivalent, all layers."""
        return sum(layer.dense_us for layer in self.layers)

    def energy(self, method: Method = "activity", cell: Cell = "itrs-lop") -> Energy:
        """Price the result by ``"activity"`` or ``"published-power"``.

        Raises
        ------
        EnergyError
            For an unknown method, or where no figure exists for an SRAM of the spec.
        """
        layers = tuple(estimate(layer.activity, self.spec, method, cell) for layer in self.layers)
        return Energy(layers, layers[0].table, layers[0].method, layers[0].cell)

    def energies(self, cell: Cell = "itrs-lop") -> tuple[dict[Method, Energy], tuple[str, ...]]:
        """Price by every method that can; the second value says why one could not."""
        found: dict[Method, Energy] = {}
        problems = []
        for method in METHODS:
            try:
                found[method] = self.energy(method, cell)
            except EnergyError as error:
                problems.append(f"no energy by {method}: {error}")
        return found, tuple(problems)

    def notes(self, cell: Cell = "itrs-lop") -> tuple[str, ...]:
        """What a reader must know before believing the numbers: synthetic data, capacity, clock, saturation."""
        drawn = [layer.name for layer in self.layers if layer.encoded.synthetic]
        notes = list(self.program.notes)
        if drawn:
            notes.append(f"synthetic weights (random masks are more even than real pruned layers): {', '.join(drawn)}")
        if self.synthetic_inputs:
            notes.append(f"synthetic inputs: {self.inputs_source}")
        for layer in self.layers:
            if not layer.fit.fits:
                notes.append(f"{layer.name} does not fit: {'; '.join(layer.fit.problems)} (enforce_capacity splits it)")
            elif layer.fit.passes > 1:
                share = layer.activity.reload_cycles / layer.activity.total_cycles.mean()
                notes.append(
                    f"{layer.name} runs in {layer.fit.passes} passes; reloading weights takes {share:.0%} of it"
                )
            if layer.computed is not None and layer.computed.map_density is not None:
                before, after = layer.computed.map_density, layer.activity.activation_density
                notes.append(
                    f"{layer.name}: non-zero activations {before:.1%} before Winograd's transform, {after:.1%} after"
                )
            if layer.computed is not None and layer.computed.saturations:
                notes.append(f"{layer.name}: {layer.computed.saturations} additions saturated")
        for layer in self.layers:
            shared = layer.encoded.shared
            if not shared.exact:
                error = f"relative error {shared.relative_error:.1%}"
                notes.append(f"{layer.name}: weights clustered to {shared.levels} values, {error}")
            if shared.bias_max_error > 0:
                notes.append(f"{layer.name}: bias moved to the codebook, by up to {shared.bias_max_error:.2g}")
        return (*notes, *timing_notes(self.spec, cell), *self.energies(cell)[1])

    def records(self, cell: Cell = "itrs-lop") -> list[dict[str, Any]]:
        """One flat record a layer, units in the keys: what CSV, pandas and sweeps show."""
        energies, _ = self.energies(cell)
        return [_record(layer, i, energies) for i, layer in enumerate(self.layers)]

    def to_json(self, path: str | None = None, cell: Cell = "itrs-lop") -> str:
        """Return (and write, if ``path`` is given) the whole result as JSON."""
        from eie.report.export import result_json

        return _write(result_json(self, cell), path)

    def to_csv(self, path: str | None = None, cell: Cell = "itrs-lop") -> str:
        """Return (and write, if ``path`` is given) one row a layer."""
        from eie.report.export import records_csv

        return _write(records_csv(self.records(cell)), path)

    def to_pandas(self, cell: Cell = "itrs-lop") -> pd.DataFrame:
        """Return one row a layer as a DataFrame (needs the ``data`` extra)."""
        from eie.report.export import records_frame

        return records_frame(self.records(cell))

    def __str__(self) -> str:
        from eie.report.table import plain

        return plain(self)

    def _repr_html_(self) -> str:
        from eie.report.table import html

        return html(self)


def _per_sample(values: NDArray[np.int64]) -> float:
    return int(values[0]) if len(values) == 1 else float(values.mean())


def _write(text: str, path: str | None) -> str:
    if path is not None:
        write_text(path, text)
    return text


def _record(layer: LayerResult, i: int, energies: Mapping[Method, Energy]) -> dict[str, Any]:
    latency = layer.latency
    record: dict[str, Any] = {
        "layer": layer.name,
        "outputs": layer.shape[0],
        "inputs": layer.shape[1],
        "products": layer.products,
        "kind": layer.kind,
        "groups": layer.groups,
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
    for method, energy in energies.items():
        spread = Distribution.of(energy.layers[i].nj)
        key = method.replace("-", "_")
        record |= {
            f"energy_{key}_nj": spread.mean,
            f"energy_{key}_p50_nj": spread.p50,
            f"energy_{key}_p99_nj": spread.p99,
        }
    return record
