"""Several forms of a network on several machines: EIE simulated, the others from `eie.machines`.

Comes in: networks, names of machines, EIE's spec. Goes out: a `Baseline` for each network and machine. Read by
`granularity`.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from importlib.util import find_spec
from itertools import combinations
from typing import Any

import numpy as np

from eie.compression.share import share
from eie.errors import WordError
from eie.machines import measured
from eie.machines.choose import choose, depends_on_the_network, measured_task
from eie.machines.records import Baseline, LayerCost, Machine
from eie.machines.workload import Workload, layer_work
from eie.model.layer import Layer
from eie.model.network import Network
from eie.spec import AcceleratorSpec
from eie.studies.compare import as_baseline
from eie.studies.counted import Counted, count
from eie.sweeps.steps import Steps

EIE = "eie"
SPARSE = ("csr", "csc")
# Every kind that the checked statements speak of: dense hardware, 2:4 on a tensor core (alone and filled by a batch),
# and CSR beside the dense product on the same CPU.
DEFAULT = ("dense", "systolic:32x32:ws", "tensor-core", "tensor-core:b64", "measured:dense", "measured:csr")


def is_sparse(machine: str) -> bool:
    """Whether a machine, by its name, stores weights sparsely, so that single zeros count."""
    return any(storage in machine.split(":") for storage in SPARSE)


def default_machines() -> tuple[str, ...]:
    """Return `DEFAULT`, without CSR on the CPU where scipy (extra ``compare``) is not installed."""
    # Looked for and not imported: finding is instant, importing is not.
    return DEFAULT if find_spec("scipy") is not None else tuple(name for name in DEFAULT if name != "measured:csr")


@dataclass(frozen=True, eq=False, kw_only=True)
class Run:
    """A network on all machines.

    Attributes
    ----------
    image_bits, codebook_values, macs, memory, synthetic_inputs, inputs_source
        As `Counted` has them.
    incomplete
        As the result had it.
    workload
        What the other machines ran, matrices put away.
    costs
        Machine, as it was asked for, to what it took; `EIE` first.
    """

    image_bits: int
    codebook_values: int
    macs: float
    memory: str
    incomplete: tuple[str, ...]
    synthetic_inputs: bool
    inputs_source: str
    workload: Workload
    costs: Mapping[str, Baseline]


def shared(network: Network, weight_bits: int) -> Network:
    """Return the network with its weights shared, as compiling it would."""
    return replace(network, layers=tuple(share(layer, weight_bits)[0] for layer in network.layers))


def check(machines: Sequence[str], spec: AcceleratorSpec) -> None:
    """See that every machine can be had, before anything is pruned or trained: run each on a layer of four weights.

    Raises
    ------
    WordError
        If one is not known, is published or imported, lacks its library, or is named twice.
    """
    fixed = [name for name in machines if name != EIE and not depends_on_the_network(name)]
    if fixed:
        raise WordError(
            f"machine {fixed[0]}: must be dense, systolic, nm, tensor-core, roofline or measured: other costs are "
            "those of one network, whatever is pruned (eie compare takes them)"
        )
    if EIE in machines or len(set(machines)) < len(machines):
        raise WordError(f"machines {', '.join(machines)}: name each once; eie is there already")
    # Small enough that measuring it takes no time; what cannot be had fails here as it would on the network.
    layer = Layer.from_weights("probe", np.ones((2, 2)))
    probe = Workload("probe", (layer_work(layer, 1, 4, matrix=layer.matrix),))
    chosen = {name: choose(name, probe, spec).machine for name in machines}
    # By what they are: tensor-core and tensor-core:b1 are spelt apart, but are one machine.
    for name, twin in combinations(chosen, 2):
        if chosen[name] == chosen[twin]:
            raise WordError(f"machines {name} and {twin} are the same: name it once")


def _by_layer(form: str, progress: Callable[[str], None]) -> Callable[[str, int, int], None]:
    """Return what tells each layer of a form once."""
    told = ""

    def advanced(layer: str, _done: int, _total: int) -> None:
        nonlocal told
        if layer != told:
            told = layer
            progress(f"{form}: {layer}")

    return advanced


def run_form(
    network: Network,
    machines: Sequence[str],
    spec: AcceleratorSpec,
    *,
    samples: int,
    form: str = "",
    progress: Callable[[str], None] = lambda _: None,
    steps: Steps | None = None,
) -> Run:
    """Run a network, weights shared already, on EIE and the machines that are modelled; `measure` does the others.

    Parameters
    ----------
    machines
        Names that `check` has passed.
    samples
        Of the network's trace, for EIE.
    form
        The network, in words for ``progress``, and as a step of ``steps``.
    """
    counted = _counted(network, spec, samples=samples, steps=steps, form=form, progress=progress)
    ours, workload = as_baseline(counted.rows, network)
    modelled = {name: choose(name, workload, spec) for name in machines if measured_task(name, workload) is None}
    return Run(
        image_bits=counted.image_bits,
        codebook_values=counted.codebook_values,
        macs=counted.macs,
        memory=counted.memory,
        incomplete=counted.rows.incomplete,
        synthetic_inputs=counted.synthetic_inputs,
        inputs_source=counted.inputs_source,
        # All forms wait for the last one: as they run, their matrices were the largest part of a study.
        workload=workload.put_away(),
        costs={EIE: ours, **modelled},
    )


def measure(
    runs: Sequence[Run],
    machines: Sequence[str],
    *,
    left_open: Callable[[list[Run]], Collection[tuple[int, str]]],
    steps: Steps | None = None,
    progress: Callable[[str], None] = lambda _: None,
) -> list[Run]:
    """Return the runs with what is measured on this computer too, in the order of ``machines``.

    All together, when every form is there: timed in turns, a busy minute of the computer meets every form alike. After
    some runs ``left_open`` is asked with what would be returned: only which of the runs, on which machine, it names is
    measured further.
    """
    timed = [(i, name, measured_task(name, run.workload)) for i, run in enumerate(runs) for name in machines]
    tasks = [(i, name, task) for i, name, task in timed if task is not None]

    def with_timings(timings: Sequence[Baseline]) -> list[Run]:
        costs = [dict(run.costs) for run in runs]
        for (i, name, _), timing in zip(tasks, timings, strict=True):
            costs[i][name] = timing
        # What was measured came last; tables have the columns as they were asked for.
        order = (EIE, *machines)
        return [replace(run, costs={name: of[name] for name in order}) for run, of in zip(runs, costs, strict=True)]

    if not tasks:
        return with_timings([])
    progress(f"measuring on this computer, {len(tasks)} ways")
    places = {(i, name): place for place, (i, name, _) in enumerate(tasks)}

    def further(timings: Sequence[Baseline]) -> list[int]:
        return [places[name] for name in left_open(with_timings(timings))]

    return with_timings(_timed([task for *_, task in tasks], further, steps, progress=progress))


def _counted(
    network: Network,
    spec: AcceleratorSpec,
    *,
    samples: int,
    steps: Steps | None,
    form: str,
    progress: Callable[[str], None],
) -> Counted:
    """Run a form on EIE, or return what a journal kept of it."""
    steps = steps or Steps()
    plain = steps.take(form, lambda: count(network, spec, samples=samples, advanced=_by_layer(form, progress)).plain())
    return Counted.of_plain(plain, spec)


def _timed(
    tasks: Sequence[measured.Task],
    left_open: Callable[[list[Baseline]], Collection[int]],
    steps: Steps | None,
    *,
    progress: Callable[[str], None],
) -> list[Baseline]:
    """Measure, or return what a journal kept: another look at the clock would give other numbers."""

    def plain() -> list[dict[str, Any]]:
        return [
            {"machine": vars(timing.machine), "layers": [asdict(cost) for cost in timing.layers], "notes": timing.notes}
            for timing in measured.run_until_known(tasks, left_open, progress)
        ]

    return [
        Baseline(
            Machine(**timing["machine"]),
            tuple(
                LayerCost(**{**cost, **{key: tuple(cost[key]) for key in ("shape", "samples_us")}})
                for cost in timing["layers"]
            ),
            tuple(timing["notes"]),
        )
        for timing in (steps or Steps()).take("measured", plain)
    ]
