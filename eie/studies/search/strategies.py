"""How to look for the densities of a network's layers: step by step where it hurts least, or by Optuna's proposals.

Comes in: a `Space` that knows cost and loss of every choice, and a limit. Goes out: a density for each layer. Read by
`search`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from glob import escape
from itertools import permutations

import numpy as np

from eie.compression.pruning.pruner import Pruner
from eie.compression.pruning.structure import coupled
from eie.compression.recipe import PruneStep
from eie.errors import EieError
from eie.model.network import Network
from eie.studies.search.budget import Price
from eie.studies.search.judge import Judge

STEPS = 12
# Densities that are tried: powers of this factor, down to the least.
FACTOR = 0.97
LEAST = 0.02
# Exchanging density between two layers is tried in networks of up to so many, this often at most.
MOST_TO_EXCHANGE = 8
EXCHANGES = 10
RAISES = (1.05, 1.2, 2.0)
SEED = 0

Densities = Mapping[str, float]
Say = Callable[[str], None]
# Gives what a step of that name came to, or takes it.
Take = Callable[[str, Callable[[], float]], float]


def pruned(network: Network, densities: Densities, granularity: str) -> Network:
    """Prune each layer to its density by magnitude; layers at 1 stay as they are."""
    if granularity == "channel":
        densities = for_all(densities, coupled(network))
    rules = [
        {"layers": escape(name), "granularity": granularity, "density": density}
        for name, density in densities.items()
        if density < 1
    ]
    if not rules:
        return network
    step = PruneStep.model_validate({"kind": "prune", "rule": rules})
    return Pruner(network, step, "search").round(network, 1, None)


def for_all(densities: Densities, mates: Sequence[Sequence[str]]) -> Densities:
    """Give a density to all layers that lose channels together with the one that has it."""
    shared = {name: densities[together[0]] for together in mates if together[0] in densities for name in together}
    return {**densities, **shared}


class Space:
    """Every way to prune a network's layers at one granularity: what it costs and what it loses.

    Attributes
    ----------
    names
        Layers that may be pruned.
    evaluations
        Networks whose loss was computed so far.
    """

    def __init__(
        self,
        *,
        network: Network,
        names: Sequence[str],
        granularity: str,
        price: Price,
        judge: Judge,
        take: Take = lambda _, make: make(),
    ) -> None:
        self.names = tuple(names)
        self.evaluations = 0
        self._network, self._granularity, self._price, self._judge = network, granularity, price, judge
        self._losses: dict[tuple[float, ...], float] = {}
        self._take = take

    @property
    def start(self) -> dict[str, float]:
        """Nothing pruned."""
        return dict.fromkeys(self.names, 1.0)

    def network(self, densities: Densities) -> Network:
        """Prune by magnitude."""
        return pruned(self._network, densities, self._granularity)

    def cost(self, densities: Densities) -> float:
        """Microseconds or nanojoules."""
        return self._take(f"cost {self._key(densities)}", lambda: self._price.total(self.network(densities)))

    def loss(self, densities: Densities) -> float:
        """Cross-entropy on the samples to choose by."""
        key = self._key(densities)
        if key not in self._losses:
            self.evaluations += 1
            self._losses[key] = self._take(f"loss {key}", lambda: self._judge.choose(self.network(densities)).loss)
        return self._losses[key]

    def _key(self, densities: Densities) -> tuple[float, ...]:
        # Python's own floats: numpy's are written otherwise, and steps go by their names.
        return tuple(float(densities[name]) for name in self.names)

    def reach(self, densities: Densities, changed: Sequence[str], limit: float) -> dict[str, float] | None:
        """Prune the layers ``changed`` further, all by one factor, as little as meets ``limit``; None if none does.

        Costs are taken to fall with density; where they do not quite, the answer still meets the limit.
        """

        def at(step: int) -> dict[str, float]:
            return {**densities, **{name: max(LEAST, densities[name] * FACTOR**step) for name in changed}}

        # steps after which every changed layer has come down to LEAST: one more changes nothing
        high = max(int(np.ceil(np.log(LEAST / densities[name]) / np.log(FACTOR))) for name in changed)
        if self.cost(at(high)) > limit:
            return None
        return at(_first(lambda step: self.cost(at(step)) <= limit, 0, high))

    def raised(self, densities: Densities, name: str, limit: float) -> dict[str, float]:
        """Give one layer back as much as ``limit`` allows: where it is not the bottleneck, that is free."""

        def at(step: int) -> dict[str, float]:
            return {**densities, name: min(1.0, densities[name] / FACTOR**step)}

        most = int(np.ceil(np.log(densities[name]) / np.log(FACTOR)))
        # the first step that costs too much, less one; beyond `most` the density is 1 and no step is asked for
        return at(_first(lambda step: step > most or self.cost(at(step)) > limit, 0, most + 1) - 1)


def _first(holds: Callable[[int], bool], low: int, high: int) -> int:
    """Return the first number behind ``low`` for which ``holds``; it does for ``high``, and from the first on."""
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if holds(middle) else (middle, high)
    return high


def greedy(space: Space, uniform: Densities, limit: float, trials: int, say: Say) -> Densities:
    """Take the cost down in equal steps, each in the layer where it hurts least; then refine.

    Refines ``uniform`` instead where that loses less, so that the answer never does worse than it on the samples that
    choices go by.
    """
    del trials  # its steps are its own; the parameter keeps both strategies callable alike
    densities: Densities = space.start
    cost = whole = space.cost(densities)
    step = (whole - limit) / STEPS
    while cost > limit:
        say(f"pruning where it hurts least: {cost:.4g} down to {limit:.4g}")
        target = max(limit, cost - step)
        candidates = [space.reach(densities, [name], target) for name in space.names]
        reached = [candidate for candidate in candidates if candidate is not None]
        if reached:
            densities = min(reached, key=space.loss)
            cost = space.cost(densities)
        elif step > whole * 1e-3:
            step /= 2  # no layer alone can give so much any more
        else:
            return uniform
    return _refined(space=space, densities=min(uniform, densities, key=space.loss), limit=limit, say=say)


def _refined(space: Space, densities: Densities, limit: float, say: Say) -> Densities:
    """Give back what is free; then, in small networks, take from one layer and give to another while that helps."""
    densities = _filled(space, densities, limit)
    if len(space.names) > MOST_TO_EXCHANGE:
        return densities
    for count in range(EXCHANGES):
        say(f"exchanging between layers, {count + 1} of at most {EXCHANGES}")
        tried = []
        for more, less in permutations(space.names, 2):
            for factor in RAISES:
                raised = {**densities, more: min(1.0, densities[more] * factor)}
                paid = space.reach(raised, [less], limit) if raised[more] > densities[more] else None
                tried += [] if paid is None else [paid]
        best = min(tried, key=space.loss, default=densities)
        if space.loss(best) >= space.loss(densities):
            break
        # An exchange pays in whole powers of FACTOR, so a little of the budget is left over each time.
        densities = _filled(space, best, limit)
    return densities


def _filled(space: Space, densities: Densities, limit: float) -> Densities:
    """Give back density that the limit still allows, where it helps most first."""
    while True:
        more = [space.raised(densities, name, limit) for name in space.names]
        best = min(more, key=space.loss)
        if space.loss(best) >= space.loss(densities):
            return densities
        densities = best


def optuna(space: Space, uniform: Densities, limit: float, trials: int, say: Say) -> Densities:
    """Try ``trials`` proposals of Optuna, each pruned further by one factor until it meets the limit; refine the best.

    Raises
    ------
    EieError
        Without the ``dse`` extra.
    """
    try:
        import optuna as library
    except ModuleNotFoundError:
        raise EieError("method optuna needs Optuna: pip install 'eie[dse]'") from None
    library.logging.set_verbosity(library.logging.WARNING)
    study = library.create_study(sampler=library.samplers.TPESampler(seed=SEED))
    # The first trial is the uniform answer, so that the search cannot end worse than it.
    study.enqueue_trial(dict(uniform))
    best: Densities = uniform
    for count in range(trials):
        say(f"trial {count + 1} of {trials}")
        trial = study.ask()
        asked = {name: trial.suggest_float(name, LEAST, 1.0, log=True) for name in space.names}
        met = asked if space.cost(asked) <= limit else space.reach(asked, space.names, limit)
        if met is None:
            study.tell(trial, state=library.trial.TrialState.FAIL)
            continue
        study.tell(trial, space.loss(met))
        best = min(best, met, key=space.loss)
    return _refined(space=space, densities=best, limit=limit, say=say)
