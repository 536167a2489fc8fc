"""Pruning granularities, side by side: what each leaves, takes, costs on each machine, and loses.

Comes in: a `Network`, variants, machines. Goes out: a frozen `GranularityStudy`. Read by `claims`, `example`,
`granularity_report` and `figures`. Called by users as ``eie.granularity``.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from eie.compression.coding import nm
from eie.compression.coding.size import csr_bytes, float32_bytes, weight_count
from eie.compression.pruning.prune import compact, n_of_m
from eie.compression.training.trainer import Trainer
from eie.errors import EieError
from eie.importers.entrance import Model, as_network
from eie.machines.records import Baseline
from eie.model.network import Layer, Network
from eie.model.trace import Trace
from eie.results.accuracy import float32_accuracy
from eie.spec import EIE_64PE, AcceleratorSpec
from eie.studies.granularity import variants as forms
from eie.studies.granularity.variants import Pruned, Variant, shapes_only
from eie.studies.machines import EIE, SPARSE, Run, check, default_machines, run_all, shared
from eie.studies.search.search import Search, search

FORMATS = ("dense", "csr", "nm", "eie")
SAMPLES = 16
# Trained weights hold a few exact zeros; a network with fewer than this share of its weights was pruned.
ALL_THERE = 0.95


@dataclass(frozen=True, eq=False, kw_only=True)
class Row:
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
        return (self.kept or 0) / (self.weights or 1)


@dataclass(frozen=True, eq=False, kw_only=True)
class GranularityStudy:
    """Variants of a network, side by side.

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
        return None if row.costs is None else row.costs[machine].latency_us

    def energy_nj(self, row: Row, machine: str) -> float | None:
        """Nanojoules a sample, all layers; None where the machine states none."""
        return None if row.costs is None else row.costs[machine].energy_nj

    def speedup(self, row: Row, machine: str) -> float | None:
        """The unpruned network's time over the variant's, on the same machine.

        Sparse storage on a CPU or roofline is set against dense storage there, if that was asked for too: whether to
        use it is the question.
        """
        before = self.latency_us(self.unpruned, self.yardstick(machine))
        after = self.latency_us(row, machine)
        return before / after if before and after else None

    def yardstick(self, machine: str) -> str:
        """The machine on which the unpruned network is run for ``machine``'s speedups."""
        for storage in SPARSE:
            dense = machine.replace(storage, "dense")
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

    def records(self) -> list[dict[str, Any]]:
        """One flat record a variant and machine, units in the keys."""
        listed = []
        for row in self.rows:
            head = {
                "network": self.network,
                "variant": str(row.variant),
                "granularity": row.variant.granularity,
                "sparsity": row.variant.sparsity,
                "weights": row.weights,
                "kept": row.kept,
                "compression": self.compression(row),
                **{f"size_{name}_bytes": (row.size_bytes or {}).get(name) for name in FORMATS},
                "macs": row.macs,
                "kept_macs": row.kept_macs,
                "eie_macs": row.eie_macs,
                "accuracy": row.accuracy,
                "accuracy_shared": row.accuracy_shared,
                "note": row.note,
            }
            listed += [
                {
                    **head,
                    "machine": machine,
                    "latency_us": self.latency_us(row, machine),
                    "speedup": self.speedup(row, machine),
                    "energy_nj": self.energy_nj(row, machine),
                }
                for machine in self.machines
            ]
        return listed


def granularity(
    model: Model,
    variants: Sequence[str | Variant] = forms.DEFAULT,
    machines: Sequence[str] | None = None,
    *,
    spec: AcceleratorSpec = EIE_64PE,
    trainer: Trainer | None = None,
    epochs: int = 0,
    samples: int = SAMPLES,
    with_search: bool = True,
    progress: Callable[[str], None] = lambda _: None,
) -> GranularityStudy:
    """Prune a network at several granularities and set the forms side by side.

    Parameters
    ----------
    model
        A path, the name of a shipped model, a `Layer` or a `Network`. Not pruned yet, if what a granularity can give is
        to be seen; its trace's labels, if it has any, give accuracy.
    variants
        As `Variant.parse` reads them; the unpruned network is added in front.
    machines
        To run on besides EIE, named as in `eie.machines.choose`; measured ones are timed in turns. By default
        `eie.studies.machines.default_machines`.
    spec
        Of EIE, and of the machine ``dense``.
    trainer, epochs
        To fine-tune every variant alike and to measure accuracy; without them accuracy is that of the pruned weights
        as they are, on the network's own labelled trace.
    samples
        Of the trace, for EIE's time; accuracy takes all.
    with_search
        Whether uniform and non-uniform pruning to half of the latency are set side by side, where there are labels.
    progress
        Called with a line of text for each stage.

    Returns
    -------
    GranularityStudy
        A row for each form that fits the network; prints as tables and the checked claims.

    Raises
    ------
    EieError
        For a variant or machine that is not known, and as for compiling and simulating.
    """
    network = as_network(model)
    asked = [Variant.parse(form) if isinstance(form, str) else form for form in variants]
    chosen = list(dict.fromkeys([Variant(), *asked]))
    machines = default_machines() if machines is None else machines
    check(machines, spec)
    pruned = []
    for variant in chosen:
        progress(f"pruning: {variant}")
        pruned.append(forms.prune(network=network, variant=variant, trainer=trainer, epochs=epochs))
    stored = [shared(form.network, spec.weight_bits) for form in pruned if form.network is not None]
    # All forms in one call: what is measured on this computer is timed in turns, so that a busy minute hits all alike.
    runs = run_all(networks=stored, machines=machines, spec=spec, samples=samples, progress=progress)
    left = iter(zip(stored, runs, strict=True))
    measure = trainer.accuracy if trainer is not None else float32_accuracy
    progress("measuring accuracy")
    rows = []
    for form in pruned:
        if form.network is None:
            rows.append(Row(variant=form.variant, note=form.note))
        else:
            small, run = next(left)
            rows.append(
                _row(pruned=form, network=form.network, run=run, accuracy=(measure(form.network), measure(small)))
            )
    budgeted, why = None, "was left out"
    if with_search:
        budgeted, why = _search(network=network, spec=spec, trainer=trainer, epochs=epochs, progress=progress)
    return GranularityStudy(
        network=network.name,
        spec=spec,
        rows=tuple(rows),
        machines=(EIE, *machines),
        epochs=epochs if trainer is not None else 0,
        accuracy_source=_accuracy_source(network, trainer, rows[0]),
        notes=_notes(network, rows[0], runs[0]),
        search=budgeted,
        search_note=why,
    )


def _row(pruned: Pruned, network: Network, run: Run, accuracy: tuple[float | None, float | None]) -> Row:
    layers = run.workload.layers
    as_given, as_shared = accuracy
    return Row(
        variant=pruned.variant,
        note=pruned.note,
        weights=sum(weight_count(layer) for layer in network.layers),
        kept=sum(layer.matrix.nnz for layer in network.layers),
        size_bytes=_sizes(pruned.variant, network, run),
        macs=sum(layer.macs for layer in layers),
        kept_macs=sum(layer.kept_macs for layer in layers),
        eie_macs=sum(layer.counts["macs"] for layer in run.result.layers),
        accuracy=as_given,
        accuracy_shared=as_shared,
        costs=run.costs,
    )


def _sizes(variant: Variant, network: Network, run: Run) -> dict[str, int]:
    layers = network.layers
    image_bits = sum(layer.image_bits(run.program.spec) for layer in run.program.layers)
    codebooks = sum(layer.codebook.size for layer in run.program.layers) * run.program.spec.data_bits
    sizes = {
        "dense": sum(float32_bytes(layer) for layer in layers),
        "csr": sum(csr_bytes(layer) for layer in layers),
        "eie": -(-(image_bits + codebooks) // 8),
    }
    pattern = n_of_m(variant.granularity)
    if pattern is not None:
        sizes["nm"] = sum(_nm_bytes(layer, *pattern) for layer in layers)
    return sizes


def _nm_bytes(layer: Layer, n: int, m: int) -> int:
    # the code holds the non-zero weights and their places; a bias is a float32 beside it
    return nm.encode(compact(layer, layer.weights), n, m).nbytes() + 4 * layer.outputs * layer.has_bias


def _search(
    network: Network, spec: AcceleratorSpec, trainer: Trainer | None, epochs: int, progress: Callable[[str], None]
) -> tuple[Search | None, str]:
    """Set non-uniform pruning beside uniform at half of the latency, on EIE or else by channels on a dense machine."""
    why = []
    for machine in (EIE, "dense"):
        try:
            answer = search(
                network, latency="0.5x", machine=machine, spec=spec, trainer=trainer, epochs=epochs, progress=progress
            )
        except EieError as error:
            why.append(str(error))
        else:
            return answer, ""
    return None, "; ".join(dict.fromkeys(why))


def _accuracy_source(network: Network, trainer: Trainer | None, row: Row) -> str:
    if row.accuracy is None:
        return ""
    if trainer is not None:
        return "the test images of the data set"
    trace = network.trace
    assert isinstance(trace, Trace)
    return f"{trace.samples} labelled samples ({trace.source})"


def _notes(network: Network, unpruned: Row, run: Run) -> tuple[str, ...]:
    notes = []
    if unpruned.density < ALL_THERE:
        notes.append(
            f"{network.name} came with {unpruned.density:.0%} of its weights: every variant starts "
            "from there, and what a granularity takes away was partly gone before"
        )
    if shapes_only(network):
        notes.append("only the layers' shapes are known: weights and inputs are drawn, masks random, accuracy unknown")
    elif run.result.synthetic_inputs:
        notes.append(f"synthetic inputs: {run.result.inputs_source}")
    full = [fit.layer for fit in run.program.fit if not fit.fits]
    if full:
        notes.append(
            f"unpruned, {len(full)} of {len(run.program.layers)} layers do not fit the PEs' memories; EIE's times take "
            "all weights to be in SRAM (--set enforce_capacity=true charges for reloading them)"
        )
    return tuple(notes)
