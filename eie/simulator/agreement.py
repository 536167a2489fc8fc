"""One number format for samples that are run part by part: the largest magnitude of all of them, agreed on.

Comes in: what each part met at each choice of a format. Goes out: what all of them met. Read by the run where a batch
is too large to lie in memory at once.

A format is chosen so that the largest magnitude of the whole batch fits, and what a layer meets depends on the formats
before it. So the first part's magnitudes are taken for everybody's, and where a later part needs another format all
begin again with the larger number. That ends: the first choice depends on no format, each other one on those before it.
The result is that of all samples at once, to the bit.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeVar

from eie.simulator.functional import fraction_bits

# Asked with the largest magnitude that some of the samples have met; answers with that of all.
Agree = Callable[[float], float]
Part = TypeVar("Part")
Made = TypeVar("Made")


class _Agreement:
    """Choices of formats in the order in which a run makes them: what is taken to be met, and what was met."""

    def __init__(self, data_bits: int) -> None:
        self._data_bits = data_bits
        self._taken: list[float] = []
        self._met: list[float] = []
        self._next = 0

    def begin(self) -> None:
        """Begin with a part."""
        self._next = 0

    def __call__(self, largest: float) -> float:
        """Take note of what a part has met; return what all are taken to have met."""
        here, self._next = self._next, self._next + 1
        if here == len(self._taken):
            self._taken.append(largest)
        if here == len(self._met):
            self._met.append(largest)
        self._met[here] = max(self._met[here], largest)
        return self._taken[here]

    def too_small(self) -> bool:
        """Whether a part has met more than a format holds that was chosen."""
        return any(met > taken and self._differ(met, taken) for met, taken in zip(self._met, self._taken, strict=False))

    def settled(self) -> bool:
        """Whether what all parts have met gives the formats that were chosen; if not, begin again with it."""
        wrong = next(
            (i for i, (met, taken) in enumerate(zip(self._met, self._taken, strict=True)) if self._differ(met, taken)),
            None,
        )
        if wrong is not None:
            # What is behind the first wrong one was met in wrong formats: kept as a guess.
            self._taken = [*self._met[: wrong + 1], *map(max, self._met[wrong + 1 :], self._taken[wrong + 1 :])]
        self._met = []
        return wrong is None

    def _differ(self, met: float, taken: float) -> bool:
        # Every format is chosen by this rule, or by one that follows from it.
        return fraction_bits(met, self._data_bits) != fraction_bits(taken, self._data_bits)


def in_agreement(parts: Sequence[Part], run: Callable[[Part, Agree], Made], data_bits: int) -> list[Made]:
    """Run every part in the formats of all of them.

    Parameters
    ----------
    run
        Called with a part and with whom to ask for the largest magnitude of all; called again for parts that were run
        in formats that turned out not to be those.
    """
    agreement = _Agreement(data_bits)
    while True:
        made = []
        for part in parts:
            agreement.begin()
            made.append(run(part, agreement))
            if agreement.too_small():
                break
        if agreement.settled():
            return made
