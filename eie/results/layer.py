"""One layer on one machine: its `Activity` with everything a user asks of it.

Comes in: an `EncodedLayer`, its `Activity` and the spec. Goes out: `LayerResult`. Read by the result, its tables, notes
and records, and by sweeps; nothing here is computed twice.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from eie.activity import Account, Activity
from eie.compiler.encoded import EncodedLayer
from eie.compiler.map_rows import LayerMaps
from eie.compiler.passes import Fit
from eie.compiler.places import LayerPlace
from eie.errors import EieError
from eie.machines.records import LayerCost
from eie.results import accounting
from eie.results.distribution import Distribution, per_sample
from eie.show import numbers
from eie.show.face import View
from eie.show.sections import Section, facts
from eie.simulator.functional import LayerOutputs
from eie.spec import AcceleratorSpec


@dataclass(frozen=True, eq=False, kw_only=True, repr=False)
class LayerResult(View):
    """One layer of a result. Numbers are those of the one sample, or means over the batch.

    Attributes
    ----------
    activity
        The counts of every sample, over all uses of the layer.
    fit
        What it asks of the memories, alone.
    place
        Where its weights are beside those of the other layers.
    computed
        What the layer computed, the last time it ran, or None where the trace held no values.
    maps
        What it reads and writes, and where that lies.
    dense
        What the dense equivalent takes, lowered alike: every weight, every activation, the same memories.
    recount
        Makes the account of its cycles on demand, from the inputs of all its uses; None where none are kept.
    count_padding
        Likewise counts the padding entries that each PE issued.
    uses
        How often it runs in a sample, on the same weights.
    computed_uses
        What it computed each time, in order, where that is known: each use has a number format of its own.
    """

    encoded: EncodedLayer
    spec: AcceleratorSpec
    activity: Activity
    fit: Fit
    place: LayerPlace
    computed: LayerOutputs | None
    maps: LayerMaps
    dense: LayerCost
    recount: Callable[[], Account] | None = None
    count_padding: Callable[[], NDArray[np.int64]] | None = None
    uses: int = 1
    computed_uses: tuple[LayerOutputs, ...] = ()

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
        return self.encoded.geometry.kind

    @property
    def groups(self) -> int:
        """Independent products side by side: a convolution's groups, 16 of a Winograd tile, else 1."""
        return self.encoded.geometry.diagonal_blocks

    @property
    def cycles(self) -> float:
        """Cycles a sample by the cycle contract, reloads of capacity passes included; an int for one sample."""
        # Reloads count for time; efficiency below leaves them out, since they are no imbalance.
        return per_sample(self.activity.cycles + self.activity.reload_cycles)

    @property
    def total_cycles(self) -> float:
        """Cycles a sample, with those that batches of activations and a busy bus add; an int for one sample."""
        return per_sample(self.activity.total_cycles)

    @property
    def latency_us(self) -> float:
        """Microseconds a sample: all of `total_cycles`."""
        return self.spec.us(self.total_cycles)

    @property
    def latency(self) -> Distribution:
        """Microseconds over the batch."""
        # cycles / MHz = us.
        return Distribution.of(self.activity.total_cycles / self.spec.clock_mhz)

    @property
    def theoretical_us(self) -> float:
        """Entries of the active columns over PEs: the paper's theoretical time."""
        # Padding entries are included: they take their slot in the pipeline like any other.
        return self.spec.us(float(self.activity.theoretical_cycles.mean()))

    @property
    def efficiency(self) -> float:
        """Load-balance efficiency: entries over PEs x compute cycles."""
        # Sums before the quotient: a mean of the samples' quotients would weigh a short sample like a long one.
        # `cycles` are without reloads, during which no PE has work to be uneven about.
        return float(self.activity.theoretical_cycles.sum() / self.activity.cycles.sum())

    @property
    def counts(self) -> dict[str, float]:
        """Action counts a sample; ints for one sample."""
        return {name: per_sample(values) for name, values in self.activity.counts.items()}

    @property
    def per_pe(self) -> dict[str, NDArray[Any]]:
        """(P,) cycles of each PE by what it did: issue, empty_column, load, starved, drain; means for a batch."""
        single = self.activity.samples == 1
        return {name: rows[0] if single else rows.mean(axis=0) for name, rows in self.activity.per_pe.items()}

    @cached_property
    def account(self) -> Account | None:
        """What PEs idled for; counted when it is first asked for, None where nothing was kept to count it from."""
        if self.activity.account is not None or self.recount is None:
            return self.activity.account
        return self.recount()

    @cached_property
    def padding_per_pe(self) -> NDArray[np.int64]:
        """int64 (N, P): of the entries that each PE issued, those that pad; counted when first asked for.

        Raises
        ------
        EieError
            As `pe_cycles`.
        """
        padding = self._counted().padding
        if padding is None:
            # What has an account without it has kept what it was counted from.
            assert self.count_padding is not None
            return self.count_padding()
        return padding

    def _counted(self) -> Account:
        if self.account is None:
            raise EieError(
                f"layer {self.name!r}: nothing was kept to account from "
                "(keep_outputs=False, or a run too large for it): ask with simulate(..., shares=True)"
            )
        return self.account

    @property
    def pe_cycles(self) -> dict[str, NDArray[np.int64]]:
        """(P,) cycles of each PE over all samples, by the names of `shares`: of all of `total_cycles`.

        Of a convolution that broadcasts each activation once, entries whose outputs lie outside the map are ``useful``
        here: they are counted over all PEs only, and are padding in `shares`.

        Raises
        ------
        EieError
            If outputs were not kept (``keep_outputs``) and ``shares=True`` was not asked.
        """
        parts = accounting.pe_cycles(self.activity, self._counted(), self.padding_per_pe)
        return {name: cycles.sum(axis=0) for name, cycles in parts.items()}

    @property
    def share_cycles(self) -> dict[str, int]:
        """Cycles of all PEs and samples by the names of `shares`, which are made of them."""
        return accounting.share_cycles(self.activity, self._counted())

    @property
    def shares(self) -> dict[str, float]:
        """Shares of all PE cycles by what PEs did, which add up to one exactly; docs/cycle-model.md defines them.

        useful, padding, empty_column, idle_broadcast, idle_scan, idle_stall, idle_load, drain; of a batch over all
        samples.

        Raises
        ------
        EieError
            As `pe_cycles`.
        """
        return accounting.shares_of(self.share_cycles)

    @cached_property
    def bound_parts(self) -> dict[str, float]:
        """Shares of the layer's time by what it is bound by: broadcast, work, balance, queue, scan, load, drain."""
        return dict(accounting.bound_parts(self.activity))

    @property
    def bound_by(self) -> str:
        """What the layer's time is bound by: the largest of `bound_parts`."""
        return accounting.binding(self.bound_parts)

    @property
    def bounds(self) -> dict[str, float]:
        """Cycles that a sample takes at least: broadcast, busiest_pe, work, load."""
        return {name: float(cycles.mean()) for name, cycles in accounting.bounds(self.activity).items()}

    @cached_property
    def lower_bound_cycles(self) -> float:
        """Cycles a sample that no change of the queue can beat: of each sample the largest of `bounds`."""
        return float(accounting.lower_bound(self.activity).mean())

    @property
    def lower_bound_us(self) -> float:
        """Microseconds of them."""
        return self.spec.us(self.lower_bound_cycles)

    @property
    def balance_saves(self) -> float:
        """Share of the layer's time by which the lower bound falls if all PEs had the same work."""
        return float(accounting.balance_saves(self.activity).sum() / self.activity.total_cycles.sum())

    @property
    def outputs(self) -> NDArray[np.float32] | None:
        """float32 (outputs,) or (N, outputs): the fixed-point result; None without activation values, or if let go.

        A convolution gives (out, oh, ow), an LSTM (T, hidden), where the network ran as a graph. Of a layer with
        several uses those of the last; ``computed_uses`` has them all.
        """
        # Outputs of size 0: `summary` has let them go (`keep_outputs`) and kept errors and saturations.
        if self.computed is None or not self.computed.float32.size:
            return None
        values = self.computed.fixed.value
        return values[0] if len(values) == 1 else values

    @property
    def padding_share(self) -> float:
        """Padding entries over all entries of the active columns; 0 where nothing was issued."""
        counts = self.activity.counts
        # At least 1 below: where nothing was active there was no padding either, and 0 / 0 would be NaN in a table.
        return float(counts["padding_entries"].sum() / max(1, counts["entries"].sum()))

    @property
    def imbalance(self) -> float:
        """Entries issued by the busiest PE over the mean of all; 1 is perfectly even."""
        # Over all samples first: what counts is how rows lie on PEs, not which PE a single sample happens to load.
        issued = self.activity.per_pe["issue"].sum(axis=0)
        return float(issued.max() / issued.mean()) if issued.any() else 1.0

    @property
    def dense_us(self) -> float:
        """Microseconds of the dense equivalent."""
        # A modelled machine has a figure for everything.
        assert self.dense.latency_us is not None
        return self.dense.latency_us

    @property
    def fits(self) -> bool:
        """Whether its weights stay on the chip beside the others', its sums fit, and all maps alive meanwhile do."""
        fit = self.fit
        sums = fit.outputs <= fit.output_capacity and fit.inputs <= fit.input_capacity
        return self.place.fits and sums and self.maps.fits

    @property
    def speedup_over_dense(self) -> float:
        """Dense time over this layer's; `dense` says where the other's weights come from."""
        return self.dense_us / self.latency_us

    def headline(self) -> str:
        """Say which layer it is and what it took."""
        rows, columns = self.shape
        return (
            f"{self.name}, {rows} x {columns} ({self.kind}) on {self.spec.name}: {numbers.number(self.latency_us)} us"
        )

    def sections(self) -> tuple[Section, ...]:
        """Return what the layer cost and counted."""
        costs = facts(
            {
                "products a sample": numbers.count(self.products),
                "cycles": numbers.count(self.cycles),
                "cycles with batches and bus": numbers.count(self.total_cycles),
                "latency us": numbers.number(self.latency_us),
                "at least us": numbers.number(self.lower_bound_us),
                "bound by": accounting.in_words(self.bound_parts),
                "theory us": numbers.number(self.theoretical_us),
                "effic. %": numbers.percent(self.efficiency),
                "padding %": numbers.percent(self.padding_share),
                "busiest / mean PE": f"{self.imbalance:.2f}",
                "dense us": numbers.number(self.dense_us),
                "speedup": f"{numbers.factor(self.speedup_over_dense)}, dense weights {self.dense.weights}",
                "fits": fits_in_words(self),
            }
        )
        counts = facts({name.replace("_", " "): numbers.count(value) for name, value in self.counts.items()}, "Counted")
        return (Section(name="layer", grids=(costs, counts), lines=self.fit.problems),)


def fits_in_words(layer: LayerResult) -> str:
    """Say whether a layer fits the PEs' memories beside the others that stay; the reasons are notes."""
    comes = ["streamed"] if layer.place.place == "streamed" else []
    if layer.maps.spilled:
        comes.append("maps in DRAM")
    if comes:
        return ", ".join(comes)
    if not layer.fits:
        return "no"
    return "yes" if layer.fit.passes == 1 else f"{layer.fit.passes} passes"
