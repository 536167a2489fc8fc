"""Hardware-aware pruning: how far to prune each layer so that a simulated machine meets a budget at the least loss.

Comes in: a labelled `Network`, a budget, a machine. Goes out: a frozen `Search`: the unpruned network, the same density
for every layer, and a density for each, side by side. Read by `granularity` and `claims`. Called by
users as ``eie.search``. It plays the role of AMC (He et al., ECCV 2018) and works as NetAdapt does (Yang et al., ECCV
2018): the cost is the machine's, not a count of multiplications, and is taken down step by step where it hurts least.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Protocol

from eie.compiler.compile import compile as compile_network
from eie.compiler.memory import stated_by
from eie.compiler.places import memory_line
from eie.compression.pruning.sensitivity import scan
from eie.compression.pruning.structure import coupled, shrinkable
from eie.compression.training.trainer import Trainer
from eie.energy.clock import timing_notes
from eie.errors import EieError
from eie.formats.arguments import taken
from eie.importers.entrance import Model, as_network
from eie.model.digest import network_digest
from eie.model.network import Network
from eie.recording.record import record
from eie.results.accuracy import INPUTS_NEEDED
from eie.show.notebook import told
from eie.show.numbers import percent
from eie.simulation import simulate
from eie.spec import EIE_64PE, AcceleratorSpec
from eie.studies.machines import EIE, is_sparse, shared
from eie.studies.search.answer import Method, Plan, Search
from eie.studies.search.budget import Budget, Price, Quantity, unit
from eie.studies.search.judge import Judge, Score
from eie.studies.search.strategies import LEAST, Densities, Say, Space, for_all, greedy, optuna, pruned
from eie.sweeps.steps import Steps, keeping, trainer_id

GRANULARITIES = ("fine", "channel")
SAMPLES = 8
TRIALS = 100
SCANNED = (0.05, 0.1, 0.2, 0.3, 0.5, 0.7)


class SearchError(EieError):
    """A network cannot be searched, or the budget not met."""


@taken
@told("stage")
def search(
    model: Model,
    *,
    latency: str | None = None,
    energy: str | None = None,
    machine: str = EIE,
    granularity: str | None = None,
    layers: str = "*",
    spec: AcceleratorSpec = EIE_64PE,
    trainer: Trainer | None = None,
    epochs: int = 0,
    samples: int = SAMPLES,
    method: Method = "greedy",
    trials: int = TRIALS,
    journal: str | Path | None = None,
    progress: Callable[[str], None] = lambda _: None,
) -> Search:
    """Find per-layer densities that meet a latency or energy on a machine at the least loss, beside uniform ones.

    Layers are pruned by magnitude, without training in between. Choices go by the cross-entropy on one part of the
    labelled samples; accuracy is reported on the rest, which no choice has seen. Without labels both go by the relative
    output error against the unpruned network.

    Parameters
    ----------
    model
        A path, the name of a shipped model, a `Layer` or a `Network`. With inputs, labelled or not, its layers feeding
        each other.
    latency, energy
        The budget, one of the two: ``"0.5x"`` of the unpruned network's, or ``"120us"``, ``"300nJ"``.
    machine
        ``"eie"``, or a modelled machine of `eie.machines.choose`.
    granularity
        ``"fine"`` or ``"channel"``; by default fine on EIE and rooflines with CSR, channels elsewhere, since there
        single zeros gain nothing.
    layers
        Pattern of the layers that may be pruned.
    trainer, epochs
        Choose and report on its examples, and fine-tune all plans alike in the end.
    samples
        Whose activations the cost is that of.
    method
        ``"greedy"``: from the unpruned network down in twelve steps of equal cost, each in the layer where it hurts
        least; ``"optuna"``: ``trials`` proposals, each scaled to the budget. Either is then refined.
    journal
        File that costs and losses are kept in, and beside it the state of fine-tuning, so that a search that is stopped
        goes on when it is started again (docs/journals.md). Nothing is kept by default.

    Returns
    -------
    Search
        The plan that was found and the uniform ones beside it, each with cost, loss and accuracy.

    Raises
    ------
    SearchError
        If there are no inputs, nothing can be pruned, the budget cannot be met, or a word is not known.
    EieError
        For a budget or machine that cannot be used.
    """
    network = as_network(model)
    command = {
        "search": network_digest(network),
        "asked": [latency, energy, machine, granularity, layers, epochs, samples, method, trials],
        "spec": spec.model_dump(),
        "trainer": trainer_id(trainer),
    }
    with keeping(journal, command) as steps:
        return search_within(
            network=network,
            budget=_budget(latency, energy),
            machine=machine,
            granularity=granularity,
            layers=layers,
            spec=spec,
            trainer=steps.trained(trainer),
            epochs=epochs,
            samples=samples,
            method=method,
            trials=trials,
            steps=steps,
            progress=progress,
        )


def search_within(
    *,
    network: Network,
    budget: Budget,
    machine: str,
    granularity: str | None,
    layers: str,
    spec: AcceleratorSpec,
    trainer: Trainer | None,
    epochs: int,
    samples: int,
    method: Method,
    trials: int,
    steps: Steps,
    progress: Callable[[str], None],
) -> Search:
    """Search as a part of another command, whose steps it takes; parameters as of `search`."""
    if granularity is None:
        granularity = "fine" if machine == EIE or is_sparse(machine) else "channel"
    for what, word, known in (("granularity", granularity, GRANULARITIES), ("method", method, tuple(_STRATEGIES))):
        if word not in known:
            raise SearchError(f"{what} {word!r}: must be one of {', '.join(known)}")
    if network.unmodelled:
        missing = ", ".join(network.unmodelled)
        raise SearchError(f"{network.name}: no total that a budget could be of: not modelled: {missing}")
    spec = stated_by(network, spec)
    judge = _judge(network, trainer)
    names = _prunable(network, granularity, layers)
    progress("recording activations")
    recorded = _recorded(network, judge, samples)
    price = Price(network=recorded, machine=machine, quantity=budget.quantity, spec=spec)
    space = Space(network=recorded, names=names, granularity=granularity, price=price, judge=judge, take=steps.take)
    limit = budget.limit(space.cost(space.start))
    uniform = _uniform(space=space, limit=limit, where=f"{network.name} on {machine}", quantity=budget.quantity)
    progress("scanning how sensitive each layer is")
    sensitivity = scan(
        network,
        steps.each("scan", lambda form: _scanned(judge.choose(form))),
        SCANNED,
        granularity=granularity,
        layers=layers,
        measure=judge.measure,
    )
    sensitivity = replace(sensitivity, points=tuple(point for point in sensitivity.points if point.layer in names))
    chosen = _STRATEGIES[method](space=space, uniform=uniform, limit=limit, trials=trials, say=progress)

    def plan(name: str, densities: Densities) -> Plan:
        progress(f"verifying: {name}")
        form = pruned(network, densities, granularity)
        cost = price.by_layer(space.network(densities))
        verified = sum(cost.values())
        # Costs were taken on what the unpruned layers read. On EIE time also follows the activations, and pruning
        # changes those, so the answer is run once as a whole; machines that skip no activation cost the same.
        if machine == EIE:
            verified = steps.take(
                f"verify {name}",
                lambda: _executed(network=form, judge=judge, samples=samples, spec=spec, quantity=budget.quantity),
            )
        made = Plan(
            name=name,
            network=form,
            densities=densities,
            cost=cost,
            verified=verified,
            chosen=judge.choose(form),
            reported=judge.report(form),
        )
        if trainer is None or not epochs:
            return made
        progress(f"fine-tuning: {name}")
        tuned = trainer.finetune(form, epochs)
        return replace(made, network=tuned, tuned=judge.report(tuned))

    mates = coupled(network) if granularity == "channel" else ()
    plans = (
        plan("unpruned", for_all(space.start, mates)),
        plan("uniform", for_all(uniform, mates)),
        plan("non-uniform", for_all(chosen, mates)),
    )
    return Search(
        network=network.name,
        machine=machine,
        granularity=granularity,
        method=method,
        quantity=budget.quantity,
        limit=limit,
        plans=plans,
        sensitivity=sensitivity,
        source=judge.source,
        epochs=epochs if trainer is not None else 0,
        evaluations=space.evaluations,
        memory=memory_line(price.plan(recorded)).removesuffix(".") if machine == EIE else "",
        timing=timing_notes(spec) if machine == EIE else (),
    )


def _judge(network: Network, trainer: Trainer | None) -> Judge:
    judge = Judge.of(network, trainer)
    if judge is None:
        raise SearchError(
            f"{network.name}: a search needs inputs, two samples or more, with values, of a network whose layers feed "
            f"each other: {INPUTS_NEEDED}"
        )
    return judge


def _scanned(score: Score) -> float:
    return score.loss if score.accuracy is None else score.accuracy


def _uniform(space: Space, limit: float, where: str, quantity: Quantity) -> Densities:
    """Return the highest density for all layers that meets the limit."""
    whole = space.cost(space.start)
    uniform = space.start if whole <= limit else space.reach(space.start, space.names, limit)
    if uniform is None:
        least = space.cost(dict.fromkeys(space.names, LEAST))
        raise SearchError(
            f"{where}: the budget of {limit:.4g} {unit(quantity)} cannot be met: with {percent(LEAST, 0)} % of "
            "every layer it "
            f"still takes {least:.4g} of {whole:.4g}"
        )
    return uniform


def _budget(latency: str | None, energy: str | None) -> Budget:
    budgets: list[tuple[Quantity, str | None]] = [("latency_us", latency), ("energy_nj", energy)]
    asked = [(quantity, text) for quantity, text in budgets if text is not None]
    if len(asked) != 1:
        raise EieError(f"{'two budgets' if asked else 'no budget'}: give a latency or an energy, as 0.5x or 120us")
    quantity, text = asked[0]
    return Budget.parse(quantity, text)


def _prunable(network: Network, granularity: str, layers: str) -> tuple[str, ...]:
    """Layers that match the pattern and can be pruned so."""
    can = shrinkable(network) if granularity == "channel" else tuple(layer.name for layer in network.layers)
    names = tuple(name for name in can if fnmatchcase(name, layers))
    # Layers that lose channels together are one choice, under the name of the first; all of them have to be chosen.
    for together in coupled(network) if granularity == "channel" else ():
        chosen = set(names) & set(together)
        names = tuple(name for name in names if name not in together[len(chosen) == len(together) :])
    if not names:
        listed = ", ".join(can) or "none"
        raise SearchError(f"{network.name}: layers {layers!r} match none that can be pruned ({granularity}: {listed})")
    return names


def _recorded(network: Network, judge: Judge, samples: int) -> Network:
    """Return the network with what every layer reads recorded, for its first samples; patterns only."""
    first = replace(judge.choosing.head(samples), source=judge.source)
    # Without its own trace, so that what is recorded stands in no doubt.
    plain = replace(network, trace=None)
    return replace(network, trace=record(plain, first))


def _executed(network: Network, judge: Judge, samples: int, spec: AcceleratorSpec, quantity: Quantity) -> float:
    """Simulate the network on EIE from its own input, pruned layers feeding pruned layers."""
    first = judge.choosing.head(samples).loaded()
    result = simulate(
        compile_network(shared(network, spec.weight_bits), spec, conv="im2col"), first, keep_outputs=False
    )
    return result.latency_us if quantity == "latency_us" else result.energy().total_nj


class Strategy(Protocol):
    """Finds densities that meet ``limit``: `greedy` or `optuna`."""

    def __call__(self, *, space: Space, uniform: Densities, limit: float, trials: int, say: Say) -> Densities: ...


_STRATEGIES: Mapping[Method, Strategy] = {
    "greedy": greedy,
    "optuna": optuna,
}
