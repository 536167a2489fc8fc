"""Pruning granularities, side by side: what each leaves, takes, costs on each machine, and loses.

Comes in: a `Network`, variants, machines. Goes out: a frozen `GranularityStudy`. Called by users as
``eie.granularity``.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

from eie.compression.coding import nm
from eie.compression.coding.size import csr_bytes, dense_bytes, weight_count
from eie.compression.pruning.prune import compact, n_of_m
from eie.compression.training.trainer import Trainer
from eie.energy.clock import timing_notes
from eie.errors import EieError
from eie.formats.arguments import taken
from eie.importers.entrance import Model, as_network
from eie.model.digest import network_digest
from eie.model.drawn import drawn_layers, drawn_notes
from eie.model.layer import Layer
from eie.model.network import Network
from eie.model.trace import Trace
from eie.results.accuracy import float32_accuracy, labelled_inputs
from eie.show.notebook import told
from eie.show.numbers import percent
from eie.spec import EIE_64PE, AcceleratorSpec
from eie.studies.granularity import variants as forms
from eie.studies.granularity.answer import GranularityStudy
from eie.studies.granularity.claims import left_open
from eie.studies.granularity.rows import ALL_THERE, Row, Rows
from eie.studies.granularity.variants import Pruned, Variant, shapes_only
from eie.studies.machines import EIE, Run, check, default_machines, measure, run_form, shared
from eie.studies.search import search as searching
from eie.studies.search.answer import Search
from eie.studies.search.budget import Budget
from eie.studies.search.search import search_within
from eie.sweeps.steps import Steps, keeping, trainer_id

# EIE is counted product by product, for every form anew: some samples have to do. Accuracy takes all.
SAMPLES = 16


@taken
@told("stage")
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
    journal: str | Path | None = None,
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
    journal
        File that what each form costs is kept in, and beside it the state of fine-tuning, so that a study that is
        stopped goes on when it is started again (docs/journals.md). Nothing is kept by default.
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
    # Unpruned first, since everything is set beside rows[0]; each form once, however often it was named.
    chosen = list(dict.fromkeys([Variant(), *asked]))
    machines = default_machines() if machines is None else machines
    # Before anything is pruned: a name that cannot be had should not cost an hour of training first.
    check(machines, spec)
    command = {
        "granularity": network_digest(network),
        "asked": [[str(form) for form in chosen], machines, epochs, samples, with_search],
        "spec": spec.model_dump(),
        "trainer": trainer_id(trainer),
    }
    with keeping(journal, command) as steps:
        return _study(
            network=network,
            chosen=chosen,
            machines=machines,
            spec=spec,
            trainer=steps.trained(trainer),
            epochs=epochs,
            samples=samples,
            with_search=with_search,
            steps=steps,
            progress=progress,
        )


def _study(
    *,
    network: Network,
    chosen: Sequence[Variant],
    machines: Sequence[str],
    spec: AcceleratorSpec,
    trainer: Trainer | None,
    epochs: int,
    samples: int,
    with_search: bool,
    steps: Steps,
    progress: Callable[[str], None],
) -> GranularityStudy:
    accuracy = steps.each("accuracy", trainer.accuracy if trainer is not None else float32_accuracy)
    rows: list[Row] = []
    runs: list[Run] = []
    # Form by form to the end, and of each no more than its row and its workload stays: the floats and codes of all
    # forms side by side were most of the peak.
    for i, variant in enumerate(chosen, 1):
        progress(f"pruning {i} of {len(chosen)}: {variant}")
        row, small = _stored(
            pruned=forms.prune(network=network, variant=variant, trainer=trainer, epochs=epochs),
            accuracy=accuracy,
            weight_bits=spec.weight_bits,
        )
        if small is not None:
            form = f"simulating {variant}"
            progress(form)
            run = run_form(small, machines, spec, samples=samples, form=form, steps=steps, progress=progress)
            row = _row(row=row, run=run, data_bits=spec.data_bits, accuracy_shared=accuracy(small))
            runs.append(run)
        rows.append(row)
    # What is measured on this computer is timed in turns over all forms, so that a busy minute hits all alike.
    runs = measure(
        runs,
        machines,
        left_open=lambda timed: left_open(_rows(network, spec, rows=_with_costs(rows, timed), machines=machines)),
        steps=steps,
        progress=progress,
    )
    rows = _with_costs(rows, runs)
    budgeted, why = None, "was left out"
    if with_search:
        budgeted, why = _search(
            network=network, spec=spec, trainer=trainer, epochs=epochs, steps=steps, progress=progress
        )
    return GranularityStudy(
        network=network.name,
        spec=spec,
        rows=tuple(rows),
        machines=(EIE, *machines),
        # Without a trainer nothing was tuned, whatever was asked for.
        epochs=epochs if trainer is not None else 0,
        accuracy_source=_accuracy_source(network, trainer, rows[0]),
        notes=(*_notes(network, rows[0], runs[0]), *timing_notes(spec)),
        search=budgeted,
        search_note=why,
        incomplete=runs[0].incomplete,
    )


def _with_costs(rows: Sequence[Row], runs: Sequence[Run]) -> list[Row]:
    # Forms that exist, in the order of `rows`.
    left = iter(runs)
    return [row if row.weights is None else replace(row, costs=next(left).costs) for row in rows]


def _rows(network: Network, spec: AcceleratorSpec, *, rows: Sequence[Row], machines: Sequence[str]) -> Rows:
    """Return the rows as far as times are judged by them."""
    return Rows(
        network=network.name,
        spec=spec,
        rows=tuple(rows),
        machines=(EIE, *machines),
        epochs=0,
        accuracy_source="",
        notes=(),
    )


def _stored(
    *, pruned: Pruned, accuracy: Callable[[Network], float | None], weight_bits: int
) -> tuple[Row, Network | None]:
    """Return what only a form's floats tell, and the form with its weights shared: what EIE runs."""
    network = pruned.network
    if network is None:
        return Row(variant=pruned.variant, note=pruned.note), None
    row = Row(
        variant=pruned.variant,
        note=pruned.note,
        weights=sum(weight_count(layer) for layer in network.layers),
        kept=sum(layer.matrix.nnz for layer in network.layers),
        size_bytes=_sizes(pruned.variant, network),
        accuracy=accuracy(network),
    )
    return row, shared(network, weight_bits)


def _row(*, row: Row, run: Run, data_bits: int, accuracy_shared: float | None) -> Row:
    layers = run.workload.layers
    codebooks = run.codebook_values * data_bits
    return replace(
        row,
        # Rounded up to bytes once: images are bit-packed and their parts do not end on bytes.
        size_bytes={**(row.size_bytes or {}), "eie": -(-(run.image_bits + codebooks) // 8)},
        macs=sum(layer.macs for layer in layers),
        kept_macs=sum(layer.kept_macs for layer in layers),
        eie_macs=run.macs,
        accuracy_shared=accuracy_shared,
    )


def _sizes(variant: Variant, network: Network) -> dict[str, int]:
    """Bytes in the formats that hold floats."""
    layers = network.layers
    sizes = {
        "dense": sum(dense_bytes(layer) for layer in layers),
        "csr": sum(csr_bytes(layer) for layer in layers),
    }
    # N:M only where the form was pruned so: that other masks satisfy it somewhere is chance.
    pattern = n_of_m(variant.granularity)
    if pattern is not None:
        sizes["nm"] = sum(_nm_bytes(layer, *pattern) for layer in layers)
    return sizes


def _nm_bytes(layer: Layer, n: int, m: int) -> int:
    # the code holds the non-zero weights and their places; a bias is a float32 beside it
    return nm.encode(compact(layer, layer.weights), n, m).nbytes() + 4 * layer.outputs * layer.has_bias


def _search(
    *,
    network: Network,
    spec: AcceleratorSpec,
    trainer: Trainer | None,
    epochs: int,
    steps: Steps,
    progress: Callable[[str], None],
) -> tuple[Search | None, str]:
    """Set non-uniform pruning beside uniform at half of the latency, on EIE or else by channels on a dense machine."""
    # Only where accuracy is known: of that the claims speak, and errors of large networks take hours to search by.
    if trainer is None and labelled_inputs(network) is None:
        return (
            None,
            f"{network.name}: accuracy needs labelled inputs, with values, of a network whose layers feed each other",
        )
    why = []
    # Single weights on EIE first; where none of them meets half of its time, since broadcasts bind, channels on a dense
    # machine may.
    for machine in (EIE, "dense"):
        try:
            answer = search_within(
                network=network,
                budget=Budget.parse("latency_us", "0.5x"),
                machine=machine,
                granularity=None,
                layers="*",
                spec=spec,
                trainer=trainer,
                epochs=epochs,
                samples=searching.SAMPLES,
                method="greedy",
                trials=searching.TRIALS,
                steps=steps.under(f"search on {machine}"),
                progress=progress,
            )
        except EieError as error:
            # A study is not to fail for want of a search: the reason takes the place of the answer.
            why.append(str(error))
        else:
            return answer, ""
    # Both machines may fail for one reason, such as no labels: said once.
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
            f"{network.name} came with {percent(unpruned.density, 0)} % of its weights: every variant starts "
            "from there, and what a granularity takes away was partly gone before"
        )
    if shapes_only(network):
        notes.append("only the layers' shapes are known: weights and inputs are drawn, masks random, accuracy unknown")
    notes += drawn_notes(drawn_layers(network.layers))
    if run.synthetic_inputs:
        notes.append(f"synthetic inputs: {run.inputs_source}")
    # Of the unpruned network: speedups are over its time.
    if run.memory:
        notes.append(f"unpruned, on EIE: {run.memory}")
    return tuple(notes)
