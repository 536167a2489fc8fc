"""The answer: a network's activities on a machine, with everything a user asks of them.

Comes in: a `Program` and the `LayerResult` of each layer. Goes out: `Result`. Read by tables, exports and figures;
nothing here is computed twice.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from eie.compiler.program import Program
from eie.energy.estimate import METHODS, Estimate, Method, estimate, timing_notes
from eie.energy.tables import Cell
from eie.errors import EnergyError
from eie.results.layer import LayerResult, layer_record
from eie.spec import AcceleratorSpec
from eie.formats.files import write_text

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True, eq=False, kw_only=True)
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


@dataclass(frozen=True, eq=False, kw_only=True)
class Accuracy:
    """Share of samples whose largest output is the labelled class.

    ``fixed``: on the accelerator's fixed point; ``float32``: the same shared weights in float32; ``given``: the network
    as it was before weight sharing, float32 (None where it is not at hand).
    """

    samples: int
    fixed: float
    float32: float
    given: float | None = None


@dataclass(frozen=True, eq=False, kw_only=True)
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
    input_notes
        What a reader must know about the inputs.
    inputs_sha256
        Of all inputs' masks and values.
    """

    program: Program
    layers: tuple[LayerResult, ...]
    engine: str
    drive: str
    inputs_source: str
    synthetic_inputs: bool
    accuracy: Accuracy | None = None
    input_notes: tuple[str, ...] = ()
    inputs_sha256: str = ""

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
        layers = tuple(estimate(activity=layer.activity, spec=self.spec, method=method, cell=cell) for layer in self.layers)
        return Energy(layers=layers, table=layers[0].table, method=layers[0].method, cell=layers[0].cell)

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
        notes += self.input_notes
        for layer in self.layers:
            if not layer.fit.fits:
                notes.append(f"{layer.name} does not fit: {'; '.join(layer.fit.problems)} (enforce_capacity splits it)")
            elif layer.fit.passes > 1:
                share = layer.activity.reload_cycles / layer.activity.total_cycles.mean()
                weights = f"reloading weights takes {share:.0%} of it" if share else "its weights stay in the SRAMs"
                notes.append(f"{layer.name} runs in {layer.fit.passes} passes; {weights}")
            if layer.computed is not None and layer.computed.map_density is not None:
                before, after = layer.computed.map_density, layer.activity.activation_density
                notes.append(
                    f"{layer.name}: non-zero activations {before:.1%} before Winograd's transform, {after:.1%} after"
                )
            if layer.computed is not None and layer.computed.saturations:
                notes.append(f"{layer.name}: {layer.computed.saturations} additions saturated")
        for layer in self.layers:
            shared = layer.encoded.shared
            if shared.note:
                notes.append(f"{layer.name}: {shared.note}")
            if shared.bias_max_error > 0:
                notes.append(f"{layer.name}: bias moved to the codebook, by up to {shared.bias_max_error:.2g}")
        return (*notes, *timing_notes(self.spec, cell), *self.energies(cell)[1])

    def records(self, cell: Cell = "itrs-lop") -> list[dict[str, Any]]:
        """One flat record a layer, units in the keys: what CSV, pandas and sweeps show."""
        energies, _ = self.energies(cell)
        return [
            layer_record(layer, {method: energy.layers[i] for method, energy in energies.items()})
            for i, layer in enumerate(self.layers)
        ]

    def to_json(self, path: str | None = None, cell: Cell = "itrs-lop") -> str:
        """Return (and write, if ``path`` is given) the whole result as JSON."""
        from eie.results.export import result_json

        return _write(result_json(self, cell), path)

    def to_csv(self, path: str | None = None, cell: Cell = "itrs-lop") -> str:
        """Return (and write, if ``path`` is given) one row a layer."""
        from eie.formats.records import records_csv

        return _write(records_csv(self.records(cell)), path)

    def to_pandas(self, cell: Cell = "itrs-lop") -> pd.DataFrame:
        """Return one row a layer as a DataFrame (needs the ``data`` extra)."""
        from eie.formats.records import records_frame

        return records_frame(self.records(cell))

    def __str__(self) -> str:
        from eie.results.table import plain

        return plain(self)

    def _repr_html_(self) -> str:
        from eie.results.table import html

        return html(self)


def _write(text: str, path: str | None) -> str:
    if path is not None:
        write_text(path, text)
    return text
