"""What happened in a layer: cycles and counts of actions.

Comes in: what an engine counted. Goes out: a frozen `Activity`. Written by the simulator, read by energy and report;
they meet nowhere else. Integers only; nobody here knows a joule or a microsecond.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

COUNTS = (
    "broadcasts",
    "ptr_reads",
    "spmat_reads",
    "entries",
    "padding_entries",
    "stall_cycles",
    "dead_scan_cycles",
    "macs",
    "bias_writes",
    "load_wait_cycles",
    "dram_bits",
    "bus_cycles",
    "map_dram_bits",
    "map_bus_cycles",
    "act_sram_reads",
    "act_sram_writes",
    "act_batch_cycles",
    "bus_wait_cycles",
)
# A PE is in exactly one of these in every cycle, so for each PE they add up to the layer's cycles (tested as a law).
PE_CYCLES = ("issue", "empty_column", "load", "starved", "drain")
# Counts of a whole sample, which add up over the uses of a layer as those of each sample do.
_ADDED = ("reload_bits", "reload_cycles", "possible_inputs", "products")


@dataclass(frozen=True, eq=False, kw_only=True, repr=False)
class Account:
    """What PEs were idle for, and which of their entries were padding; int64 (N, P), within an `Activity`'s cycles.

    Attributes
    ----------
    broadcast
        Of the starved cycles, those in which the scanner handed out an activation: it goes no faster.
    stall
        Of the starved cycles, those in which a full queue elsewhere held the broadcast. In the rest the scanner had
        nothing to hand out.
    padding
        Of the issued entries, those that pad; None where it is counted when somebody asks for it, as
        `eie.LayerResult.pe_cycles` does.
    """

    broadcast: NDArray[np.int64]
    stall: NDArray[np.int64]
    padding: NDArray[np.int64] | None = None

    def __repr__(self) -> str:
        samples, n_pe = self.broadcast.shape
        return f"<Account: {samples} samples on {n_pe} PEs>"

    @classmethod
    def blank(cls, samples: int, n_pe: int) -> Account:
        """Make zeroed arrays to fill."""
        broadcast, stall = np.zeros((2, samples, n_pe), np.int64)
        return cls(broadcast=broadcast, stall=stall)

    @classmethod
    def put(cls, accounts: Sequence[Account | None], how: Callable[[list[NDArray[np.int64]]], Any]) -> Account | None:
        """Put accounts together, array by array; None where one is missing."""
        known = [account for account in accounts if account is not None]
        if len(known) < len(accounts):
            return None
        padding = [account.padding for account in known if account.padding is not None]
        return cls(
            broadcast=how([account.broadcast for account in known]),
            stall=how([account.stall for account in known]),
            padding=how(padding) if len(padding) == len(known) else None,
        )


@dataclass(frozen=True, eq=False, kw_only=True, repr=False)
class Activity:
    """One layer over a batch of N samples on P PEs.

    Attributes
    ----------
    layer
        Name.
    cycles
        int64 (N,): compute cycles of each sample by the cycle contract, summed over products and passes.
    counts
        The keys of `COUNTS`, int64 (N,) each. ``ptr_reads`` are pairs; ``entries`` include ``padding_entries``;
        ``bias_writes`` are accumulators that started from a bias, a bias column counts as any other;
        ``load_wait_cycles`` are summed over PEs; ``dram_bits`` come in whole bursts and take ``bus_cycles``, weights
        and maps together, of which ``map_dram_bits`` and ``map_bus_cycles`` are those of maps; ``act_sram_reads`` and
        ``act_sram_writes`` are rows. ``act_batch_cycles`` drain, fill and empty the activation registers, and in
        ``bus_wait_cycles`` nothing is left to do but to wait for the bus; neither is part of ``cycles``.
    per_pe
        The keys of `PE_CYCLES`, int64 (N, P) each; they add up to ``cycles``. ``load``: the activation is there, its
        column not yet.
    passes
        Capacity passes the layer was cut into.
    reload_bits
        Bits brought in from outside for each sample when there is more than one pass.
    reload_cycles
        What that takes at the machine's I/O width.
    active_inputs
        int64 (N,): non-zero inputs of each sample, over all products; the bias is not counted.
    possible_inputs
        Inputs of one sample, over all products.
    walks
        int64 (N,): products of each sample, over all passes, in which anything was broadcast. Each fills the pipeline
        and drains it once.
    account
        What PEs were idle for, where it was counted along: the event engine does, the fast one on demand
        (`eie.LayerResult`).
    products
        Matrix-vector products of one sample: 1 of a fully connected layer, output pixels of a convolution, time steps
        of an LSTM.
    """

    layer: str
    n_pe: int
    cycles: NDArray[np.int64]
    counts: Mapping[str, NDArray[np.int64]]
    per_pe: Mapping[str, NDArray[np.int64]]
    passes: int
    reload_bits: int
    reload_cycles: int
    active_inputs: NDArray[np.int64]
    possible_inputs: int
    walks: NDArray[np.int64]
    account: Account | None = None
    products: int = 1

    @classmethod
    def together(cls, layer: str, uses: Sequence[Activity]) -> Activity:
        """Add up the uses of a layer, which run one after the other on the same weights."""
        if len(uses) == 1:
            return uses[0]
        first = uses[0]
        return cls(
            layer=layer,
            n_pe=first.n_pe,
            cycles=_sum([use.cycles for use in uses]),
            counts={name: _sum([use.counts[name] for use in uses]) for name in first.counts},
            per_pe={name: _sum([use.per_pe[name] for use in uses]) for name in first.per_pe},
            passes=first.passes,
            active_inputs=_sum([use.active_inputs for use in uses]),
            walks=_sum([use.walks for use in uses]),
            account=Account.put([use.account for use in uses], _sum),
            **{name: sum(getattr(use, name) for use in uses) for name in _ADDED},
        )

    def __repr__(self) -> str:
        return (
            f"<Activity: {self.layer} on {self.n_pe} PEs, {len(self.cycles)} samples, {self.cycles.mean():,.0f} cycles>"
        )

    @property
    def samples(self) -> int:
        """N."""
        return len(self.cycles)

    # Once: what is asked of a layer at a clock begins with it, a dozen times.
    @cached_property
    def total_cycles(self) -> NDArray[np.int64]:
        """int64 (N,): all that a sample takes: computing, batches of activations, the bus, reloads."""
        # Reloads do not overlap: an SRAM has one buffer, and a pass begins when all its weights are there.
        return self.cycles + self.reload_cycles + self.counts["act_batch_cycles"] + self.counts["bus_wait_cycles"]

    @property
    def theoretical_cycles(self) -> NDArray[np.float64]:
        """float64 (N,): entries over PEs, the time of a perfectly balanced machine that never waits."""
        return self.counts["entries"] / self.n_pe

    @property
    def activation_density(self) -> float:
        """Non-zero inputs over all inputs."""
        return float(self.active_inputs.sum() / (self.samples * self.possible_inputs))


def _sum(arrays: Sequence[NDArray[np.int64]]) -> NDArray[np.int64]:
    total: NDArray[np.int64] = np.sum(arrays, axis=0)
    return total
