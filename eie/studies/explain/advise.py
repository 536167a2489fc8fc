"""Which changes help most: single ones, two together, and all that keep helping.

Comes in: a `Bench`, a setting, the changes that can be made. Goes out: frozen `Advice`, best first, each run on all
inputs. Read by `explain`.

Changes are screened on the first samples, and on windows of large layers; only what is said in the end is run on all.
Beside each number of PEs that does not lose on its own, every other change is tried alone. Given the PEs, effects
nearly multiply: the best values together are tried for the most promising numbers of PEs, and from the best of those
one knob after the other is turned.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Any, Literal

from eie.results.priced import known_or_none
from eie.show.brief import Brief
from eie.studies.explain.bench import Bench, Cost, Setting
from eie.studies.explain.knobs import Change

Objective = Literal["edp", "latency", "energy", "area"]
OBJECTIVES: dict[Objective, str] = {
    "edp": "energy x delay",
    "latency": "latency",
    "energy": "energy",
    "area": "area",
}
# A change is advice from so much of a gain on.
GAIN = 0.01
# Numbers of PEs beside which all other changes are tried: those within so much of the best.
NEAR = 2.0
# Knobs that are turned by one value more on all layers of a deep network, their fields; and by how much a value may
# be worse than the best where a dozen layers stand for all, which were seen to be off by so much.
POLISHED = {"index bits": "index_bits", "queue": "act_queue_depth"}
FAR_OFF = 1.1


@dataclass(frozen=True, kw_only=True)
class Effort:
    """How far is looked: numbers of PEs beside which all is tried, starts from which knobs are turned, in rounds.

    ``pairs``, ``retrained``: that are run on all inputs. ``outward``: whether numbers of PEs are tried from the
    machine's own on, each way until they are far from the best.
    """

    pes: int
    starts: int
    descents: int
    rounds: int
    retrained: int
    pairs: int
    outward: bool


THOROUGH = Effort(pes=4, starts=3, descents=4, rounds=3, retrained=3, pairs=3, outward=False)
# Of a deep network a setting costs as much as a hundred of a small one.
BRIEF = Effort(pes=1, starts=1, descents=1, rounds=1, retrained=1, pairs=1, outward=True)


@dataclass(frozen=True, eq=False, kw_only=True, repr=False)
class Advice(Brief):
    """Changes that are made together, and what they do.

    Attributes
    ----------
    changes
        One, two, or all that kept helping.
    latency, energy, area
        Of a sample and the machine, over those of the setting as it is; ratios.
    by_layer
        (latency, energy) ratios of each layer, in order.
    fits
        Whether all that the network needs then fits the memories.
    fitted
        Whether it did before.
    """

    changes: tuple[Change, ...]
    latency: float
    energy: float
    area: float
    by_layer: tuple[tuple[float, float], ...]
    fits: bool
    fitted: bool

    @property
    def edp(self) -> float:
        """Energy x delay over that of the setting as it is."""
        return self.latency * self.energy

    @property
    def retrains(self) -> bool:
        """Whether the network computes something else afterwards, and needs fine-tuning."""
        return any(change.retrains for change in self.changes)

    @property
    def words(self) -> str:
        """What to do."""
        return "; ".join(change.words for change in self.changes)

    @property
    def typed(self) -> str:
        """How to try it on the command line; empty where part of it takes a recipe."""
        typed = [change.typed for change in self.changes]
        return " ".join(typed) if all(typed) else ""

    def gain(self, objective: Objective) -> tuple[float, ...]:
        """Return what advice is ranked by, the best first: the objective, then energy x delay."""
        # Without prices latency alone is ranked by.
        return float(getattr(self, objective)), 0.0 if math.isnan(self.edp) else self.edp

    def record(self) -> dict[str, Any]:
        """Return it as a flat record."""
        return {
            "change": self.words,
            "knobs": ", ".join(change.knob for change in self.changes),
            "latency_ratio": self.latency,
            "energy_ratio": known_or_none(self.energy),
            "area_ratio": known_or_none(self.area),
            "energy_delay_ratio": known_or_none(self.edp),
            "needs_fine_tuning": self.retrains,
            "fits": self.fits,
            "try": self.typed or None,
        }

    def layer_records(self, layers: Sequence[str]) -> list[dict[str, Any]]:
        """Return what it does to each layer, a flat record each."""
        return [
            {
                "change": self.words,
                "layer": name,
                "latency_ratio": known_or_none(latency),
                "energy_ratio": known_or_none(energy),
            }
            for name, (latency, energy) in zip(layers, self.by_layer, strict=True)
        ]


def compared(changes: Sequence[Change], cost: Cost, base: Cost) -> Advice:
    """Compare a cost with that of the setting as it is."""
    latency, energy = cost.latency_us / base.latency_us, cost.energy_nj / base.energy_nj
    return Advice(
        changes=tuple(changes),
        latency=float(cost.latency_us.sum() / base.latency_us.sum()),
        energy=float(cost.energy_nj.sum() / base.energy_nj.sum()),
        area=cost.area_mm2 / base.area_mm2,
        by_layer=tuple(zip(latency.tolist(), energy.tolist(), strict=True)),
        fits=cost.fits,
        fitted=base.fits,
    )


@dataclass(frozen=True, eq=False, kw_only=True, repr=False)
class Advised(Brief):
    """What was found.

    Attributes
    ----------
    ranked
        Advice that gains, best first.
    useless
        The best of each knob that does not gain.
    dropped
        The best of each knob that gained nothing while it was screened, and was not run on all.
    tried
        Settings that were run.
    """

    ranked: tuple[Advice, ...]
    useless: tuple[Advice, ...]
    dropped: tuple[Advice, ...]
    tried: int


class _Trials:
    """Settings tried on a few samples, by the changes that make them."""

    def __init__(self, bench: Bench, base: Setting, objective: Objective) -> None:
        self.bench, self.base, self.objective = bench, base, objective
        self.effort = BRIEF if bench.sampled else THOROUGH
        self.count = 0
        self._seen: dict[frozenset[int], Advice | None] = {}
        cost = bench.cost(base)
        assert cost is not None, "what has just been run can be run"
        self._base = cost

    def of(self, changes: Sequence[Change]) -> Advice | None:
        """Try changes together; None where they cannot be, or the clock is too fast for them."""
        key = frozenset(map(id, changes))
        if self.effort.outward and {"rows", "PEs"} <= {change.knob for change in changes}:
            # An order of all rows for every number of PEs takes longer than all the rest.
            return None
        if key not in self._seen:
            self.count += 1
            setting = self.base
            for change in changes:
                setting = change.make(setting)
            cost = self.bench.cost(setting)
            self._seen[key] = compared(changes, cost, self._base) if cost and self._can_be(cost) else None
        return self._seen[key]

    def _can_be(self, cost: Cost) -> bool:
        """Whether it can be built: a clock beyond logic and SRAMs is no advice, nor a price that nobody knows.

        Unless that is so already.
        """
        fast_enough = cost.timing_met or not self._base.timing_met
        return fast_enough and (cost.priced or not self._base.priced)

    def score(self, changes: Sequence[Change]) -> float:
        """Return the objective with changes that can be, over that without."""
        advice = self.of(changes)
        return 1.0 if advice is None else advice.gain(self.objective)[0]

    def best(self, candidates: Iterator[Sequence[Change]]) -> list[Advice]:
        """Try candidates; return those that can be, best first."""
        return self.ranked(advice for advice in map(self.of, candidates) if advice is not None)

    def ranked(self, advice: Iterable[Advice]) -> list[Advice]:
        """Return advice, best first."""
        return sorted(advice, key=lambda each: each.gain(self.objective))


def advise(
    bench: Bench,
    base: Setting,
    changes: Sequence[Change],
    *,
    objective: Objective,
    few: Bench,
    progress: Callable[[str], None] = lambda _: None,
) -> Advised:
    """Find what helps most.

    Parameters
    ----------
    bench
        Runs all inputs.
    few
        Runs those that are enough to screen by.
    """
    trials = _Trials(few, base, objective)
    progress("trying single changes")
    singles = trials.best([change] for change in _near(trials, changes))
    first = _best_of_each(singles)
    cut = [advice for advice in first if advice.retrains][: trials.effort.retrained]
    first = [advice for advice in first if advice in cut or not advice.retrains]
    same = [advice.changes[0] for advice in singles if not advice.retrains]
    progress("trying changes together")
    pairs, together = _combined(trials, [advice for advice in singles if not advice.retrains], same)
    alone = next((advice for advice in singles if not advice.retrains), None)
    beside = trials.best([*alone.changes, *each.changes] for each in cut) if alone is not None else []
    chosen = [*first, *_apart(pairs)[: trials.effort.pairs], *together, *beside[:1]]
    if few.sampled or few.forms.samples < bench.forms.samples:
        # What gains nothing on a few is not worth a run on all.
        chosen = [advice for advice in chosen if advice.gain(objective)[0] <= 1 - GAIN / 2]
    dropped = tuple(advice for advice in first if advice not in chosen)
    progress(f"running {len(chosen)} on all inputs")
    whole = trials if few is bench else _Trials(bench, base, objective)
    final = {frozenset(map(id, advice.changes)): whole.of(advice.changes) for advice in chosen}
    ranked = trials.ranked(advice for advice in final.values() if advice)
    if few.sampled:
        ranked = _polished(trials, ranked, changes, whole=whole)
    elif few.forms.cut:
        ranked = _deeper(whole, ranked, changes)
    good = [advice for advice in ranked if advice.gain(objective)[0] <= 1 - GAIN]
    bad = [advice for advice in ranked if advice.gain(objective)[0] > 1 - GAIN and len(advice.changes) == 1]
    tried = trials.count if whole is trials else trials.count + whole.count
    return Advised(ranked=tuple(good), useless=tuple(bad), dropped=dropped, tried=tried)


def _deeper(whole: _Trials, ranked: Sequence[Advice], changes: Sequence[Change]) -> list[Advice]:
    """Add the best with each queue, if one is better: PEs drift apart further than a window is long.

    No image is made anew for a queue.
    """
    best = next((advice for advice in ranked if not advice.retrains), None)
    if best is None:
        return list(ranked)
    tried = whole.best(_turned(best.changes, [change for change in changes if change.knob == "queue"]))
    better = [advice for advice in tried if advice.gain(whole.objective) < best.gain(whole.objective)]
    return whole.ranked([*ranked, *better[:1]])


def _polished(trials: _Trials, ranked: Sequence[Advice], changes: Sequence[Change], *, whole: _Trials) -> list[Advice]:
    """Turn what is cheap to turn by one value more, on all layers: a dozen of them are off by a few percent.

    One value a knob, the better on the sample, and none that is far off there.
    """
    first = best = next((advice for advice in ranked if not advice.retrains), None)
    for knob, name in POLISHED.items():
        if best is None:
            break
        near = trials.best(
            _beside(trials.base, best.changes, [each for each in changes if each.knob == knob], name=name)
        )
        if near and near[0].gain(trials.objective)[0] <= FAR_OFF * trials.score(best.changes):
            turned = whole.of(near[0].changes)
            if turned is not None and turned.gain(whole.objective) < best.gain(whole.objective):
                best = turned
    added = [best] if best is not None and best is not first else []
    return whole.ranked([*ranked, *added])


def _beside(
    base: Setting, made: Sequence[Change], values: Sequence[Change], *, name: str
) -> Iterator[Sequence[Change]]:
    """Yield the changes made with a field of the machine one value lower, and one value higher."""

    def value(those: Sequence[Change]) -> int:
        setting = base
        for change in those:
            setting = change.make(setting)
        return int(getattr(setting.spec, name))

    others = [change for change in made if change not in values]
    settings = sorted(([*others, *turned] for turned in ([], *([change] for change in values))), key=value)
    lower = [each for each in settings if value(each) < value(made)]
    higher = [each for each in settings if value(each) > value(made)]
    yield from (*lower[-1:], *higher[:1])


def _near(trials: _Trials, changes: Sequence[Change]) -> list[Change]:
    """Leave out numbers of PEs that are further from the machine's own than one that is far from the best."""
    if not trials.effort.outward:
        return list(changes)
    own = trials.base.spec.n_pe
    pes = {change.make(trials.base).spec.n_pe: change for change in changes if change.knob == "PEs"}
    kept, least = [], 1.0
    # More PEs first, which are sooner run.
    for way in (sorted(n for n in pes if n > own), sorted((n for n in pes if n < own), reverse=True)):
        for n_pe in way:
            kept.append(pes[n_pe])
            score = trials.score([pes[n_pe]])
            least = min(least, score)
            if score > NEAR * least:
                break
    return [change for change in changes if change.knob != "PEs" or change in kept]


def _combined(
    trials: _Trials, singles: Sequence[Advice], changes: Sequence[Change]
) -> tuple[list[Advice], list[Advice]]:
    """Return pairs, best first, and the best of all changes together, if it is more than a pair."""
    if not singles:
        return [], []
    pairs: list[Advice] = []
    starts: list[tuple[float, list[Change]]] = []
    for beside in _anchors(trials, singles):
        alone = trials.score(beside)
        tried = trials.best([*beside, change] for change in changes if _other(change, beside))
        pairs += tried if beside else []
        # What each knob's best value gains, as if effects multiplied.
        best = [each.changes[-1] for each in _best_of_each(tried) if trials.score(each.changes) < alone]
        scores = [trials.score([*beside, change]) / alone for change in best]
        starts.append((alone * math.prod(scores), [*beside, *best]))
    pairs = trials.ranked(pairs)
    promising = sorted(starts, key=lambda start: start[0])[: trials.effort.starts]
    tried = trials.ranked([*pairs[:1], *trials.best(start for _, start in promising if start)])
    # From each of them: what is best among few knobs need not be so in the end.
    ends = [_descended(trials, start, changes) for start in tried[: trials.effort.descents]]
    return pairs, trials.ranked(ends)[:1]


def _anchors(trials: _Trials, singles: Sequence[Advice]) -> list[list[Change]]:
    """Return the numbers of PEs beside which other changes are tried, that of the machine as it is first."""
    scored = [(trials.score(each.changes), each.changes[0]) for each in singles if each.changes[0].knob == "PEs"]
    least = min([1.0, *(score for score, _ in scored)])
    near = [change for score, change in sorted(scored, key=lambda pair: pair[0]) if score <= NEAR * least]
    # As it is: then the singles are the answers, and cost nothing more.
    return [[], *([change] for change in near[: trials.effort.pes])]


def _other(change: Change, beside: Sequence[Change]) -> bool:
    return change.knob != "PEs" and all(change.turns != other.turns for other in beside)


def _best_of_each(tried: Sequence[Advice]) -> list[Advice]:
    """Of advice that is sorted, return the first of each knob of its last change."""
    seen: dict[tuple[str, str], Advice] = {}
    for advice in tried:
        seen.setdefault(advice.changes[-1].turns, advice)
    return list(seen.values())


def _apart(pairs: Sequence[Advice]) -> list[Advice]:
    """Return the best pair of each two knobs."""
    seen: dict[frozenset[tuple[str, str]], Advice] = {}
    for advice in pairs:
        seen.setdefault(frozenset(change.turns for change in advice.changes), advice)
    return list(seen.values())


def _descended(trials: _Trials, start: Advice, changes: Sequence[Change]) -> Advice:
    """Turn one knob after the other while that gains."""
    best = start
    for _ in range(trials.effort.rounds):
        candidates = trials.best(chain(_turned(best.changes, changes), _left_out(best.changes)))
        if not candidates or candidates[0].gain(trials.objective)[0] > best.gain(trials.objective)[0] * (1 - GAIN):
            break
        best = candidates[0]
    return best


def _turned(made: Sequence[Change], changes: Sequence[Change]) -> Iterator[Sequence[Change]]:
    """Yield the changes made with each knob turned to each of its values."""
    for change in changes:
        others = [other for other in made if other.turns != change.turns]
        if change not in made:
            yield [*others, change]


def _left_out(made: Sequence[Change]) -> Iterator[Sequence[Change]]:
    """Yield the changes made without each of them."""
    for change in made if len(made) > 1 else ():
        yield [other for other in made if other is not change]
