"""The numbers of a whole network on a machine: its layers' added up, and priced.

Comes in: a `Program` and the `LayerResult` of each layer. Goes out: `Totals`, what `Result` shows and writes. Nothing
here is computed twice.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from eie.compiler.places import MemoryPlan
from eie.compiler.program import Program
from eie.energy.estimate import METHODS, Method, estimate
from eie.energy.tables import Cell
from eie.errors import EnergyError
from eie.model.host import HostWork, host_work
from eie.results import accounting
from eie.results.beside import Transfer, transfers
from eie.results.distribution import Distribution
from eie.results.layer import LayerResult
from eie.results.priced import Energy
from eie.spec import AcceleratorSpec


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


@dataclass(frozen=True, eq=False, kw_only=True, repr=False)
class Totals:
    """The fields of `eie.Result`, which explains them, and what the layers come to together."""

    program: Program
    layers: tuple[LayerResult, ...]
    engine: str
    drive: str
    inputs_source: str
    synthetic_inputs: bool
    memory: MemoryPlan
    accuracy: Accuracy | None = None
    input_notes: tuple[str, ...] = ()
    inputs_sha256: str = ""
    cell: Cell = "itrs-lop"
    incomplete: tuple[str, ...] = ()
    unmodelled: tuple[str, ...] = ()

    @property
    def spec(self) -> AcceleratorSpec:
        """The machine."""
        return self.program.spec

    @property
    def host(self) -> HostWork | None:
        """What a host computes between the layers, which no number here counts; None where there is nothing."""
        return host_work(self.program.graph)

    @property
    def samples(self) -> int:
        """Samples in the batch."""
        return self.layers[0].activity.samples

    @cached_property
    def sample_us(self) -> NDArray[np.float64]:
        """float64 (N,): microseconds of each sample, all layers one after the other; NaN where `incomplete`."""
        if self.incomplete:
            return np.full(self.samples, np.nan)
        # Added up by sample, layers in turn: a layer is drained before the next begins. Integers up to here; the one
        # division makes us of them (cycles / MHz).
        cycles: NDArray[np.int64] = np.sum([layer.activity.total_cycles for layer in self.layers], axis=0)
        return cycles / self.spec.clock_mhz

    @property
    def latency(self) -> Distribution:
        """Microseconds over the batch, all layers."""
        return Distribution.of(self.sample_us)

    @property
    def latency_us(self) -> float:
        """Microseconds a sample, all layers."""
        return float(self.sample_us.mean())

    @property
    def batch_us(self) -> NDArray[np.float64]:
        """float64 (M,): microseconds of each batch, the last of which may be smaller; NaN where `incomplete`."""
        return np.add.reduceat(self.sample_us, np.arange(0, self.samples, self.memory.batch))

    @property
    def batch_latency(self) -> Distribution:
        """Microseconds of a batch: what each of its samples waits for, since layers take them all in turn."""
        return Distribution.of(self.batch_us)

    @property
    def samples_per_s(self) -> float:
        """Samples a second, batch after batch; NaN where `incomplete`."""
        return 1e6 / self.latency_us

    @property
    def dense_us(self) -> float:
        """Microseconds of the dense equivalent, all layers."""
        return math.nan if self.incomplete else sum(layer.dense_us for layer in self.layers)

    @property
    def shares(self) -> dict[str, float]:
        """Shares of the PE cycles of all layers, as `LayerResult.shares`; NaN where `incomplete`.

        Raises
        ------
        EieError
            As `LayerResult.shares`.
        """
        return dict.fromkeys(accounting.SHARES, math.nan) if self.incomplete else shares_of(self.layers)

    @cached_property
    def bound_parts(self) -> dict[str, float]:
        """Shares of the network's time by what its layers are bound by; NaN where `incomplete`."""
        return dict.fromkeys(accounting.BOUND_BY, math.nan) if self.incomplete else bound_parts(self.layers)

    @property
    def bound_by(self) -> str:
        """What the network's time is bound by: the largest of `bound_parts`; empty where `incomplete`."""
        return "" if self.incomplete else accounting.binding(self.bound_parts)

    @property
    def lower_bound_us(self) -> float:
        """Microseconds a sample that no change of the queue can beat, all layers; NaN where `incomplete`."""
        return math.nan if self.incomplete else sum(layer.lower_bound_us for layer in self.layers)

    @cached_property
    def transfers(self) -> tuple[Transfer, ...]:
        """What crosses the chip's border beside the layers and is not in the latency; empty with ideal residency."""
        return transfers(self.program.layers, memory=self.memory, spec=self.spec, cell=self.cell)

    def energy(self, method: Method = "activity", cell: Cell | None = None) -> Energy:
        """Price the result; ``cell`` is the result's own by default.

        ``"activity"`` is the estimate to trust: actions, clock and leakage, with `Energy.low_nj` and `Energy.high_nj`.
        ``"published-power"`` is the paper's method, time x Table II's power, for reference.

        Raises
        ------
        EnergyError
            For an unknown method, or where no figure exists for an SRAM of the spec.
        """
        cell = cell or self.cell
        layers = tuple(
            estimate(activity=layer.activity, spec=self.spec, method=method, cell=cell) for layer in self.layers
        )
        return Energy(
            layers=layers,
            table=layers[0].table,
            method=layers[0].method,
            cell=layers[0].cell,
            incomplete=self.incomplete,
        )

    def energies(self, cell: Cell | None = None) -> tuple[dict[Method, Energy], tuple[str, ...]]:
        """Price by every method that can; the second value says why one could not."""
        priced: dict[Method, Energy] = {}
        problems = []
        for method in METHODS:
            try:
                # Each method on its own: an SRAM beyond CACTI's rows stops the price by activity, not that by power.
                priced[method] = self.energy(method, cell)
            except EnergyError as error:
                problems.append(f"no energy by {method}: {error}")
        return priced, tuple(problems)


def bound_parts(layers: Sequence[LayerResult]) -> dict[str, float]:
    """Return shares of the time of all layers by what each is bound by."""
    return accounting.shares_of(
        accounting.added(accounting.totals(accounting.bound_by(layer.activity)) for layer in layers)
    )


def shares_of(layers: Sequence[LayerResult]) -> dict[str, float]:
    """Return shares of the PE cycles of all layers."""
    return accounting.shares_of(accounting.added(layer.share_cycles for layer in layers))
