"""What happens in the slices of a layer, counted by one engine or the other, and added up to samples.

Comes in: slices of a layer's inputs, each with the images it meets and how they arrive. Goes out: a `Counted` for each
stage that counts. Called by `eie.simulator.stages`, and by `eie.simulator.batches` for batches of activations.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from eie.errors import EieError
from eie.simulator.arriving import Arriving
from eie.simulator.fast import queue_pass, tally_pass
from eie.simulator.layer import ENGINES, Engine, Slice
from eie.simulator.network import Datapath
from eie.simulator.records import EventTiming, PassTiming, QueueTiming, StreamTiming, Tally
from eie.spec import AcceleratorSpec

Counting = Literal["tallies", "queues", "streams", "events"]
_BLANK: Mapping[Counting, Callable[[int, int], Tally | QueueTiming | PassTiming]] = {
    "tallies": Tally.blank,
    "queues": QueueTiming.blank,
    "streams": StreamTiming.blank,
    "events": EventTiming.blank,
}


@dataclass(frozen=True, kw_only=True)
class How:
    """How the stages do their work; no number depends on it but for ``datapath``.

    Attributes
    ----------
    engine
        ``"fast"`` or ``"events"``.
    batch
        Samples for which a layer that is streamed is loaded once.
    datapath
        Whose zeros the layers see where they feed each other.
    threads
        Of the arithmetic and the fast engine; None for the machine's cores.
    advanced
        Called as ``advanced(layer, products)`` with the products just timed.
    log
        With the event engine: called with a line for every cycle.
    """

    engine: Engine = "fast"
    batch: int = 1
    datapath: Datapath = "fixed"
    threads: int | None = None
    advanced: Callable[[str, int], None] = lambda _layer, _products: None
    log: Callable[[str], None] | None = None

    def __post_init__(self) -> None:
        if self.engine not in ENGINES:
            raise EieError(f"engine {self.engine!r}: must be 'fast' or 'events'")


@dataclass(frozen=True, eq=False)
class Counted:
    """What a counting stage made of all slices: broadcasts and walks (samples,), and its record, a row a sample."""

    sent: NDArray[np.int64]
    walks: NDArray[np.int64]
    record: Tally | QueueTiming | PassTiming


def blank(stage: Counting, samples: int, n_pe: int) -> Counted:
    """Return a record of nothing, to add to."""
    sent, walks = np.zeros((2, samples), np.int64)
    return Counted(sent, walks, _BLANK[stage](samples, n_pe))


def count_slices(
    stages: Sequence[Counting],
    parts: Iterable[Slice],
    *,
    how: How,
    spec: AcceleratorSpec,
    name: str,
    samples: int,
    arriving: Arriving | None,
) -> dict[str, Counted]:
    """Count a layer's slices by several stages in one walk, so that a slice is made once and let go before the next."""
    totals: dict[str, Counted] = {stage: blank(stage, samples, spec.n_pe) for stage in stages}
    for part in parts:
        for stage in stages:
            total = totals[stage]
            part.add(total.sent, part.pattern.broadcasts)
            part.add(total.walks, np.minimum(part.pattern.broadcasts, 1))
            made = count_slice(how, stage=stage, part=part, spec=spec, name=name, arriving=arriving)
            part.add_record(total.record, made)
    return totals


def count_whole(
    stages: Sequence[Counting],
    whole: Slice,
    *,
    how: How,
    spec: AcceleratorSpec,
    name: str,
    arriving: Arriving | None,
) -> dict[str, Counted]:
    """Count a layer whose inputs are one slice with a product a sample: there is nothing to add up.

    On a small layer adding up took longer than counting.
    """
    sent = whole.pattern.broadcasts
    walks = np.minimum(sent, 1)
    return {
        stage: Counted(sent, walks, count_slice(how, stage=stage, part=whole, spec=spec, name=name, arriving=arriving))
        for stage in stages
    }


def count_slice(
    how: How, *, stage: Counting, part: Slice, spec: AcceleratorSpec, name: str, arriving: Arriving | None = None
) -> Tally | QueueTiming | PassTiming:
    """One slice in one pass, by one stage; progress goes by the stage that takes longest."""
    if stage == "tallies":
        # Without `advanced`: progress would count every product twice.
        return tally_pass(part.encoding, part.pattern, spec.entries_per_row, threads=how.threads)

    def advanced(products: int) -> None:
        how.advanced(name, products)

    stream, arrivals = (None, None) if arriving is None else arriving.next(part)
    if stage in ("queues", "streams"):
        return queue_pass(
            encoding=part.encoding,
            pattern=part.pattern,
            act_queue_depth=spec.act_queue_depth,
            threads=how.threads,
            advanced=advanced,
            stream=stream,
            arrivals=arrivals,
        )
    from eie.simulator import events  # SimPy is loaded for those who ask for it

    return events.time_pass(
        encoding=part.encoding,
        pattern=part.pattern,
        spec=spec,
        advanced=advanced,
        log=how.log,
        stream=stream,
        arrivals=arrivals,
    )


def contract_cycles(
    how: How, part: Slice, *, spec: AcceleratorSpec, name: str, arriving: Arriving | None
) -> NDArray[np.int64]:
    """Time one slice by the cycle contract, without telling anybody of progress."""
    quiet = replace(how, advanced=lambda _layer, _products: None, log=None)
    stage: Counting = "queues" if how.engine == "fast" else "events"
    counted = count_slice(quiet, stage=stage, part=part, spec=spec, name=name, arriving=arriving)
    assert isinstance(counted, QueueTiming | PassTiming)
    return counted.cycles
