"""Which changes help most: single ones, two together, and all that keep helping.

Comes in: a `Bench`, a setting, the changes that can be made. Goes out: frozen `Advice`, best first, each run on all
inputs. Read by `explain`.

Changes are screened on the first samples; only what is said in the end is run on all. From the best single changes
others are tried beside each; from the best pair one knob after the other is turned while that helps.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Any, Literal

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
# Knobs whose best value is tried with all values of the others.
FIRST = 3
PAIRS = 3
RETRAINED = 3
ROUNDS = 4
MOST_TOGETHER = 6


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

    @classmethod
    def of(cls, changes: Sequence[Change], cost: Cost, base: Cost) -> Advice:
        """Compare a cost with that of the setting as it is."""
        return cls(
            changes=tuple(changes),
            latency=float(cost.latency_us.sum() / base.latency_us.sum()),
            energy=float(cost.energy_nj.sum() / base.energy_nj.sum()),
            area=cost.area_mm2 / base.area_mm2,
            by_layer=tuple(
                zip(
                    (cost.latency_us / base.latency_us).tolist(),
                    (cost.energy_nj / base.energy_nj).tolist(),
                    strict=True,
                )
            ),
            fits=cost.fits,
            fitted=base.fits,
        )

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
        return float(getattr(self, objective)), self.edp

    def record(self, layers: Sequence[str]) -> dict[str, Any]:
        """Return it as a flat record."""
        return {
            "change": self.words,
            "knobs": ", ".join(change.knob for change in self.changes),
            "latency_ratio": self.latency,
            "energy_ratio": self.energy,
            "area_ratio": self.area,
            "energy_delay_ratio": self.edp,
            "needs_fine_tuning": self.retrains,
            "fits": self.fits,
            "try": self.typed or None,
            **{
                f"{what}_ratio_of_{name}": ratio
                for name, ratios in zip(layers, self.by_layer, strict=True)
                for what, ratio in zip(("latency", "energy"), ratios, strict=True)
            },
        }


@dataclass(frozen=True, eq=False, kw_only=True, repr=False)
class Advised(Brief):
    """What was found.

    Attributes
    ----------
    ranked
        Advice that gains, best first.
    useless
        The best of each knob that does not gain.
    tried
        Settings that were run.
    """

    ranked: tuple[Advice, ...]
    useless: tuple[Advice, ...]
    tried: int


class _Trials:
    """Settings tried on a few samples, by the changes that make them."""

    def __init__(self, bench: Bench, base: Setting, objective: Objective) -> None:
        self.bench, self.base, self.objective = bench, base, objective
        self.count = 0
        self._seen: dict[frozenset[int], Advice | None] = {}
        cost = bench.cost(base)
        assert cost is not None, "what has just been run can be run"
        self._base = cost

    def of(self, changes: Sequence[Change]) -> Advice | None:
        """Try changes together; None where they cannot be, or the clock is too fast for them."""
        key = frozenset(map(id, changes))
        if key not in self._seen:
            self.count += 1
            setting = self.base
            for change in changes:
                setting = change.make(setting)
            cost = self.bench.cost(setting)
            # A clock beyond logic and SRAMs is no advice, unless it is so already.
            slow = cost is not None and self._base.timing_met and not cost.timing_met
            self._seen[key] = None if cost is None or slow else Advice.of(changes, cost, self._base)
        return self._seen[key]

    def best(self, candidates: Iterator[Sequence[Change]]) -> list[Advice]:
        """Try candidates; return those that can be, best first."""
        tried = [advice for advice in map(self.of, candidates) if advice is not None]
        return sorted(tried, key=lambda advice: advice.gain(self.objective))


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
    singles = trials.best([change] for change in changes)
    first = _one_each(singles)
    progress("trying changes of two")
    kept = [advice.changes[0] for advice in first if not advice.retrains][:FIRST]
    same = [change for change in changes if not change.retrains]
    pairs = trials.best([a, b] for a in kept for b in same if a.turns != b.turns)
    progress("turning one knob after the other")
    start = next(iter(pairs), None) or next(iter(singles), None)
    together = [] if start is None else _descended(trials, start, same)
    retrained = [advice for advice in first if advice.retrains][:RETRAINED]
    beside = trials.best([*best.changes, *cut.changes] for best in first[:1] if not best.retrains for cut in retrained)
    chosen = [*first, *_apart(pairs)[:PAIRS], *together, *beside[:1]]
    progress(f"running {len(chosen)} on all inputs")
    whole = _Trials(bench, base, objective)
    final = {frozenset(map(id, advice.changes)): whole.of(advice.changes) for advice in chosen}
    ranked = sorted((advice for advice in final.values() if advice), key=lambda advice: advice.gain(objective))
    good = [advice for advice in ranked if advice.gain(objective)[0] <= 1 - GAIN]
    bad = [advice for advice in ranked if advice.gain(objective)[0] > 1 - GAIN and len(advice.changes) == 1]
    return Advised(ranked=tuple(good), useless=tuple(bad), tried=trials.count + whole.count)


def _one_each(singles: Sequence[Advice]) -> list[Advice]:
    """Return the best change of each knob."""
    seen: dict[tuple[str, str], Advice] = {}
    for advice in singles:
        seen.setdefault(advice.changes[0].turns, advice)
    return list(seen.values())


def _apart(pairs: Sequence[Advice]) -> list[Advice]:
    """Return the best pair of each two knobs."""
    seen: dict[frozenset[tuple[str, str]], Advice] = {}
    for advice in pairs:
        seen.setdefault(frozenset(change.turns for change in advice.changes), advice)
    return list(seen.values())


def _descended(trials: _Trials, start: Advice, changes: Sequence[Change]) -> list[Advice]:
    """Turn one knob after the other while that gains; return the end, and the best pair on the way if it is another."""
    best = start
    for _ in range(ROUNDS):
        candidates = trials.best(chain(_turned(best.changes, changes), _left_out(best.changes)))
        if not candidates or candidates[0].gain(trials.objective)[0] > best.gain(trials.objective)[0] * (1 - GAIN):
            break
        best = candidates[0]
    return [best]


def _turned(made: Sequence[Change], changes: Sequence[Change]) -> Iterator[Sequence[Change]]:
    """Yield the changes made with each knob turned to each of its values."""
    for change in changes:
        others = [other for other in made if other.turns != change.turns]
        if change not in made and len(others) < MOST_TOGETHER:
            yield [*others, change]


def _left_out(made: Sequence[Change]) -> Iterator[Sequence[Change]]:
    """Yield the changes made without each of them."""
    for change in made if len(made) > 1 else ():
        yield [other for other in made if other is not change]
