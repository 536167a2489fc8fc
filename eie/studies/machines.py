"""Several forms of a network on several machines: EIE simulated, the others from `eie.machines`.

Comes in: networks, names of machines, EIE's spec. Goes out: a `Baseline` for each network and machine. Read by
`granularity`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from importlib.util import find_spec
from itertools import combinations

import numpy as np

from eie.compiler.places import MemoryPlan
from eie.compiler.program import compile as compile_network
from eie.compression.share import share
from eie.errors import EieError
from eie.machines import measured
from eie.machines.choose import choose, depends_on_the_network, measured_task
from eie.machines.records import Baseline
from eie.machines.workload import Workload, layer_work
from eie.model.network import Layer, Network
from eie.simulation import simulate
from eie.spec import AcceleratorSpec
from eie.studies.compare import as_baseline, rows_of

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
    image_bits, codebook_values, macs
        What EIE stored and multiplied. Programs and results of all forms together would be most of a study's memory.
    memory, incomplete, synthetic_inputs, inputs_source
        As the result had them.
    workload
        What the other machines ran, matrices put away.
    costs
        Machine, as it was asked for, to what it took; `EIE` first.
    """

    image_bits: int
    codebook_values: int
    macs: float
    memory: MemoryPlan
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
    EieError
        If one is not known, is published or imported, lacks its library, or is named twice.
    """
    fixed = [name for name in machines if name != EIE and not depends_on_the_network(name)]
    if fixed:
        raise EieError(
            f"machine {fixed[0]}: must be dense, systolic, nm, tensor-core, roofline or measured: other costs are "
            "those of one network, whatever is pruned (eie compare takes them)"
        )
    if EIE in machines or len(set(machines)) < len(machines):
        raise EieError(f"machines {', '.join(machines)}: name each once; eie is there already")
    # Small enough that measuring it takes no time; what cannot be had fails here as it would on the network.
    layer = Layer.from_weights("probe", np.ones((2, 2)))
    probe = Workload("probe", (layer_work(layer, 1, 4, matrix=layer.matrix),))
    chosen = {name: choose(name, probe, spec).machine for name in machines}
    # By what they are: tensor-core and tensor-core:b1 are spelt apart, but are one machine.
    for name, twin in combinations(chosen, 2):
        if chosen[name] == chosen[twin]:
            raise EieError(f"machines {name} and {twin} are the same: name it once")


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
) -> Run:
    """Run a network, weights shared already, on EIE and the machines that are modelled; `measure` does the others.

    Parameters
    ----------
    machines
        Names that `check` has passed.
    samples
        Of the network's trace, for EIE.
    form
        The network, in words for ``progress``.
    """
    program = compile_network(network, spec)
    # The first samples and not drawn ones: every form then runs on the same.
    inputs = None if network.trace is None else network.trace.head(samples)
    # Counts only are read from here on; accuracy is measured in float32 elsewhere.
    result = simulate(program, inputs, keep_outputs=False, progress=_by_layer(form, progress))
    ours, workload = as_baseline(rows_of(result), network)
    modelled = {name: choose(name, workload, spec) for name in machines if measured_task(name, workload) is None}
    return Run(
        image_bits=sum(layer.image_bits(spec) for layer in program.layers),
        codebook_values=sum(layer.codebook.size for layer in program.layers),
        macs=sum(layer.counts["macs"] for layer in result.layers),
        memory=result.memory,
        incomplete=result.incomplete,
        synthetic_inputs=result.synthetic_inputs,
        inputs_source=result.inputs_source,
        # All forms wait for the last one: as they run, their matrices were the largest part of a study.
        workload=workload.put_away(),
        costs={EIE: ours, **modelled},
    )


def measure(
    runs: Sequence[Run], machines: Sequence[str], progress: Callable[[str], None] = lambda _: None
) -> list[Run]:
    """Return the runs with what is measured on this computer too, in the order of ``machines``.

    All together, when every form is there: timed in turns, a busy minute of the computer meets every form alike.
    """
    timed = [(i, name, measured_task(name, run.workload)) for i, run in enumerate(runs) for name in machines]
    tasks = [(i, name, task) for i, name, task in timed if task is not None]
    costs = [dict(run.costs) for run in runs]
    if tasks:
        progress(f"measuring on this computer, {len(tasks)} ways")
        timings = measured.run_together([task for *_, task in tasks])
        for (i, name, _), timing in zip(tasks, timings, strict=True):
            costs[i][name] = timing
    # What was measured came last; tables have the columns as they were asked for.
    order = (EIE, *machines)
    return [replace(run, costs={name: of[name] for name in order}) for run, of in zip(runs, costs, strict=True)]
