"""What a study of granularities has measured: a row a variant, a cost a machine.

Comes in: numbers, from `eie.studies.granularity.study`. Goes out: frozen `Row` records and `Rows`. Read by `claims`,
`example` and `tables`, which say what they mean.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from eie.machines import noise
from eie.machines.noise import Interval
from eie.machines.records import Baseline
from eie.show.brief import Brief
from eie.spec import AcceleratorSpec
from eie.studies.granularity.variants import Variant
from eie.studies.machines import SPARSE
from eie.studies.search.answer import Search

# In the order of the tables' columns.
FORMATS = ("dense", "csr", "nm", "eie")
# Trained weights hold a few exact zeros; a network with fewer than this share of its weights was pruned.
ALL_THERE = 0.95


@dataclass(frozen=True, eq=False, kw_only=True, repr=False)
class Row(Brief):
    """One variant.

    Attributes
    ----------
    note
        What was left alone, or why the network has no such form; then all else is None or empty.
    weights
        Weights of the form's dense layers, and how many of them are not zero.
    size_bytes
        By format of `FORMATS`, biases included; a format that cannot hold it is missing. See docs/granularities.md.
    macs
        Multiplications a sample on a machine that skips nothing.
    kept_macs
        With weights that are not zero.
    eie_macs
        Those that EIE does, both factors being non-zero.
    accuracy
        Share of labelled samples classified correctly in float32, or None without labels.
    accuracy_shared
        The same with weights shared as EIE stores them.
    costs
        Machine, as it was asked for, to what it takes.
    """

    variant: Variant
    note: str = ""
    weights: int | None = None
    kept: int | None = None
    size_bytes: Mapping[str, int] | None = None
    macs: int | None = None
    kept_macs: int | None = None
    eie_macs: float | None = None
    accuracy: float | None = None
    accuracy_shared: float | None = None
    costs: Mapping[str, Baseline] | None = None

    @property
    def density(self) -> float:
        """Non-zero weights over all weights of the form's layers."""
        # A form that does not exist has neither number: 0, and no division by it.
        return (self.kept or 0) / (self.weights or 1)


@dataclass(frozen=True, eq=False, kw_only=True, repr=False)
class Rows:
    """Variants of a network, side by side: what a study has measured.

    Attributes
    ----------
    rows
        One a variant; the unpruned network is first.
    machines
        As asked for, EIE first.
    accuracy_source
        On what accuracy was measured, in words; empty where it was not.
    search
        Uniform and non-uniform pruning at one latency, or None.
    search_note
        Why there is none.
    incomplete
        Why the layers do not add up to the network, in words: then times, energies and speedups are None.
    """

    network: str
    spec: AcceleratorSpec
    rows: tuple[Row, ...]
    machines: tuple[str, ...]
    epochs: int
    accuracy_source: str
    notes: tuple[str, ...]
    search: Search | None = None
    search_note: str = ""
    incomplete: tuple[str, ...] = ()

    @property
    def unpruned(self) -> Row:
        """What the others are set beside."""
        return self.rows[0]

    @property
    def found(self) -> tuple[Row, ...]:
        """The variants that exist."""
        return tuple(row for row in self.rows if row.costs is not None)

    def latency_us(self, row: Row, machine: str) -> float | None:
        """Microseconds a sample, all layers."""
        return None if row.costs is None or self.incomplete else row.costs[machine].latency_us

    def energy_nj(self, row: Row, machine: str) -> float | None:
        """Nanojoules a sample, all layers; None where the machine states none."""
        return None if row.costs is None or self.incomplete else row.costs[machine].energy_nj

    def speedup(self, row: Row, machine: str) -> float | None:
        """The unpruned network's time over the variant's, on the same machine.

        Sparse storage on a CPU or roofline is set against dense storage there, if that was asked for too: whether to
        use it is the question. Of measured machines it is the median over pairs of runs.
        """
        before = self.latency_us(self.unpruned, self.yardstick(machine))
        after = self.latency_us(row, machine)
        # None as soon as either is missing, or is 0: a measured time may be below the clock's step.
        if not before or not after:
            return None
        pairs = self._pairs(row, machine)
        return noise.middle(pairs) if pairs else before / after

    def speedup_interval(self, row: Row, machine: str) -> Interval | None:
        """Where the speedup is, by the runs that were measured; of no width where none were."""
        speedup = self.speedup(row, machine)
        if speedup is None:
            return None
        pairs = self._pairs(row, machine)
        return noise.interval(pairs) if pairs else Interval.exactly(speedup)

    def runs_us(self, row: Row, machine: str) -> tuple[float, ...]:
        """Microseconds a sample of every run; empty where nothing was measured, or layers do not add up."""
        return () if row.costs is None or self.incomplete else row.costs[machine].samples_us

    def _pairs(self, row: Row, machine: str) -> list[float]:
        """Speedups run by run, the unpruned network's beside the variant's."""
        return noise.ratios(self.runs_us(self.unpruned, self.yardstick(machine)), self.runs_us(row, machine))

    def yardstick(self, machine: str) -> str:
        """The machine on which the unpruned network is run for ``machine``'s speedups."""
        for storage in SPARSE:
            # The same words with another storage: measured:csr beside measured:dense, roofline:titan-x:csr beside its
            # dense form.
            dense = machine.replace(storage, "dense")
            # By whole words, as `is_sparse` does: a name may contain "csr" within another word.
            if storage in machine.split(":") and dense in self.machines:
                return dense
        return machine

    @property
    def came_pruned(self) -> bool:
        """Whether the network had lost weights before, so that a form's sparsity is not what this study took away."""
        return self.unpruned.density < ALL_THERE

    def compression(self, row: Row) -> float | None:
        """Weights of the unpruned network over the weights left."""
        return self.unpruned.kept / row.kept if self.unpruned.kept and row.kept else None
