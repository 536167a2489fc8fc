"""Why is it slow, and what should I change?

Comes in: a model with its inputs, a `Result`, or a result's file. Goes out: an `Explanation`. Called by users as
``eie.explain``, and by ``eie explain``.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from eie.compiler.choice import Conv
from eie.compression.bias import BiasPlace
from eie.energy.clock import timing_notes
from eie.energy.tables import Cell
from eie.errors import EieError
from eie.formats.answers import Document, read_answer
from eie.formats.arguments import taken
from eie.importers.entrance import Model, as_network
from eie.model.drawn import drawn_layers, drawn_notes
from eie.model.fitting import Layout
from eie.recording.inputs import opened
from eie.results.result import Result
from eie.simulator.inputs import Inputs
from eie.spec import EIE_64PE, AcceleratorSpec
from eie.studies.explain.advise import OBJECTIVES, Objective, advise
from eie.studies.explain.answer import Explanation
from eie.studies.explain.base import Asked, BaseRun, base_run
from eie.studies.explain.bench import Bench
from eie.studies.explain.capacity import larger
from eie.studies.explain.diagnosis import Diagnosis
from eie.studies.explain.knobs import changes_of
from eie.studies.explain.models import model_of, names_of
from eie.studies.explain.sample import stand_ins


class ExplainError(EieError):
    """A model is not the one that a result is of, or was not run as it was."""


# Rows of inputs that are enough to screen by: many more only take longer.
FEW_ROWS = 64
# Entries of a fully connected layer that are enough: more cost an encoding for each number of PEs.
FEW_ENTRIES = 1 << 17
# Broadcasts of a sample that are enough, of a layer of many products.
FEW_BROADCASTS = 1 << 17


@taken
def explain(
    model: Model | Result,
    activations: Inputs = None,
    *,
    network: Model | None = None,
    layout: Layout | None = None,
    spec: AcceleratorSpec | None = None,
    bias: BiasPlace = "auto",
    conv: Conv = "auto",
    batch: int = 1,
    objective: Objective = "edp",
    cell: Cell = "itrs-lop",
    threads: int | None = None,
    progress: Callable[[str], None] = lambda _: None,
) -> Explanation:
    """Say what binds each layer and by how much, and what to change.

    Each change, and each two, is run again on the inputs of all layers as they are; docs/explain.md tells what is tried
    and what is not.

    Parameters
    ----------
    model
        As `eie.compile` takes it; or a `Result`, or the path of its ``.json``. A result alone gives what binds it;
        advice needs its model, which is looked for by the hash in it.
    activations
        As of `eie.simulate`; of a result those that it was run with.
    network
        The model that a result is of.
    layout
        As of `eie.simulate`.
    spec
        The machine, `eie.EIE_64PE` by default; a result has one already.
    bias, conv, batch
        As of `eie.simulate`; of a result as it was run.
    objective
        What advice is ranked by: ``"edp"`` (energy x delay), ``"latency"``, ``"energy"`` or ``"area"``.
    cell
        CACTI memory cell by which SRAMs are priced.
    threads
        Of the first run; the machine's cores by default.
    progress
        Called with what is done next, in words.

    Returns
    -------
    Explanation
        A sentence a layer, and changes, best first, with what each does to latency, energy and area.

    Raises
    ------
    ExplainError
        If ``network`` does not give the cycles of the result.
    EieError
        For an objective that is not known, or a result of a release that did not say what binds.
    """
    if objective not in OBJECTIVES:
        raise EieError(f"objective {objective!r}: must be one of {', '.join(OBJECTIVES)}")
    if batch < 1:
        raise EieError(f"batch={batch}: must be >= 1")
    activations = opened(activations)
    asked = Asked(
        spec=EIE_64PE if spec is None else spec,
        activations=activations,
        layout=layout,
        bias=bias,
        conv=conv,
        batch=batch,
        cell=cell,
        threads=threads,
        progress=progress,
    )
    stated = _stated(model)
    if stated is not None:
        if spec is not None:
            raise EieError("spec: the result was run on a machine already: leave spec out, or explain its model")
        return _of_result(stated, network, asked, objective=objective)
    if network is not None:
        raise EieError("network: is for results; a model is its own")
    assert not isinstance(model, Result)
    ran = base_run(as_network(model, "an eie.Result", examples=activations, layout=layout), asked)
    return _advised(ran, asked, objective)


def _advised(ran: BaseRun, asked: Asked, objective: Objective) -> Explanation:
    """Look for what helps."""
    bench, base, load = ran.bench, ran.setting, ran.workload
    advised, unpriced = None, []
    now = bench.cost(base)
    if objective == "latency" or (now is not None and now.priced):
        streams = larger(ran.plan, base.spec)
        changes = changes_of(base, bench.forms, bench.whole, layers=ran.layers, streams=streams)
        few = _few(ran, asked.batch)
        advised = advise(bench, base, changes, objective=objective, few=few, progress=asked.progress)
    else:
        unpriced.append(f"no advice for {OBJECTIVES[objective]}: an SRAM has no price; latency can be asked for")
    notes = [
        *drawn_notes(drawn_layers(bench.forms.layer(name) for name in bench.forms.names)),
        *([f"synthetic inputs: {load.given.source}"] if load.given.synthetic else []),
        *(f"no total of the network: {reason}; ratios are of the layers that are here" for reason in load.incomplete),
        *timing_notes(base.spec, asked.cell),
        *unpriced,
    ]
    return Explanation(
        network=load.model,
        spec=base.spec,
        layers=ran.layers,
        whole=None if load.incomplete else Diagnosis.of_all(load.model, ran.layers),
        objective=objective,
        advised=advised,
        notes=tuple(notes),
    )


def _few(ran: BaseRun, batch: int) -> Bench:
    """Return a bench with as much as is enough to screen by; the whole one where there is no more."""
    forms = ran.bench.forms
    rows = max(inputs.products for name in forms.names for inputs in forms.uses(name).values())
    # Whole batches: what is streamed is loaded once for each.
    samples = -(-max(1, FEW_ROWS // rows) // batch) * batch
    window = FEW_ENTRIES if forms.larger_than(FEW_ENTRIES) else None
    band = FEW_BROADCASTS if forms.longer_than(FEW_BROADCASTS) else None
    stands = stand_ins(ran.layers, ran.kinds)
    alike = len(set(stands.values())) < len(stands)
    if samples >= forms.samples and window is None and band is None and not alike:
        return ran.bench
    return ran.bench.screening(ran.setting, min(samples, forms.samples), window=window, band=band, stands=stands)


@dataclass(frozen=True, eq=False, kw_only=True)
class _Stated:
    """What a result says: of itself, and of the model and inputs it was run with."""

    name: str
    spec: AcceleratorSpec
    layers: tuple[Diagnosis, ...]
    incomplete: tuple[str, ...]
    batch: int
    samples: int
    sha256: str | None
    names: Sequence[str]
    beside: Path | None = None


def _stated(model: object) -> _Stated | None:
    """Read a result, in hand or in a file; None for anything else."""
    if isinstance(model, Result):
        return _Stated(
            name=model.program.name,
            spec=model.spec,
            layers=tuple(map(Diagnosis.of_layer, model.layers)),
            incomplete=model.incomplete,
            batch=model.memory.batch,
            samples=model.samples,
            sha256=model.program.sha256,
            names=names_of(model.program.source, model.program.name),
        )
    if isinstance(model, str | Path) and Path(model).suffix.lower() == ".json" and Path(model).is_file():
        # A checkpoint's index is a model, and ends alike.
        return None if str(model).lower().endswith(".index.json") else _written(read_answer(model, "eie-result"), model)
    return None


def _written(document: Document, file: str | Path) -> _Stated:
    values = document.values
    spec = AcceleratorSpec.of_file(values["spec"])
    inputs: Mapping[str, Any] = values.get("inputs") or {}
    return _Stated(
        name=str(values["network"]),
        spec=spec,
        layers=tuple(Diagnosis.of_row(row, spec.clock_mhz, str(file)) for row in values["layers"]),
        incomplete=tuple(values.get("incomplete", ())),
        batch=int(values.get("batch", 1)),
        samples=int(inputs.get("samples", 1)),
        sha256=values.get("model_sha256"),
        names=names_of(str(values.get("source", "")), str(values["network"])),
        beside=Path(file).parent,
    )


def _of_result(stated: _Stated, network: Model | None, asked: Asked, *, objective: Objective) -> Explanation:
    model = model_of(stated.sha256, stated.names, stated.beside) if network is None else as_network(network)
    whole = None if stated.incomplete else Diagnosis.of_all(stated.name, stated.layers)
    alone = Explanation(
        network=stated.name,
        spec=stated.spec,
        layers=stated.layers,
        whole=whole,
        objective=objective,
        advised=None,
        notes=tuple(f"no total of the network: {reason}" for reason in stated.incomplete),
    )
    if model is None:
        return _without(alone, "the model of this result is not at hand: name it with --model (network=)")
    # The result's machine, batch and samples; its other options are the caller's to say.
    inputs = asked.activations
    if inputs is None and model.trace is not None:
        inputs = model.trace.head(stated.samples)
    asked = replace(asked, spec=stated.spec, batch=stated.batch, activations=inputs)
    ran = base_run(model, asked)
    if [(each.name, each.cycles) for each in ran.layers] == [(each.name, each.cycles) for each in stated.layers]:
        # Shares that the file may not have are counted again.
        return _advised(ran, asked, objective)
    why = (
        "the model does not give the cycles of the result: say with which inputs and options it was run "
        "(--trace, --conv, --bias, --mask ...)"
    )
    if network is not None:
        raise ExplainError(f"{stated.name}: {why}")
    return _without(alone, why)


def _without(explanation: Explanation, why: str) -> Explanation:
    return replace(explanation, notes=(*explanation.notes, f"no advice: {why}"))
