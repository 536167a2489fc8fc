"""A timeline as a file: Chrome trace events for Perfetto, or value changes for waveform viewers.

Comes in: what a `Timeline` holds and a path, whose ending says which. Goes out: the file. Cycle n is at n microseconds
of the trace events, and at n nanoseconds of the value changes; docs/timeline.md says what every track is.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from eie.errors import WordError
from eie.formats import trace_events, value_changes
from eie.formats.value_changes import Change, Signal
from eie.results.accounting import SHARES
from eie.results.told import SCANNER, TRACKS, Told
from eie.simulator.replay import BIAS, UNNAMED
from eie.version import __version__

# Groups of tracks, from the top; threads have numbers of their own, for equal ones would be a "main thread".
NETWORK, PES, QUEUES = 1, 2, 3
TRACK_IDS = {name: 11 + i for i, name in enumerate((*TRACKS, "scanner"))}
FIRST_PE = 100
# What all counters count.
COUNTED = "activations"
ENDINGS = ".json, .json.gz or .vcd"


def check_ending(path: str | Path) -> str:
    """Return which kind of file a name asks for: its ending.

    Raises
    ------
    WordError
        If it is none of them.
    """
    for ending in (".json", ".json.gz", ".vcd"):
        if Path(path).name.lower().endswith(ending):
            return ending
    raise WordError(f"{path}: a timeline's file must end in {ENDINGS}")


def save(timeline: Told, path: str | Path) -> None:
    """Write a timeline; see `Timeline.save`."""
    if check_ending(path) == ".vcd":
        value_changes.write(
            path,
            _signals(timeline),
            _changes(timeline),
            times=timeline.cycles,
            comment="\n".join(f"{name}: {text}" for name, text in _about(timeline, "1 ns").items()),
        )
        return
    trace_events.write(path, _events(timeline), _about(timeline, "1 us"))


def _about(timeline: Told, unit: str) -> dict[str, str]:
    """Return what a reader of the file must know; both formats have room for it."""
    return {
        "made by": f"eie {__version__}",
        "network": timeline.network,
        "machine": timeline.spec.name,
        "unit": f"{unit} is 1 cycle; cycle n begins at n {unit[2:]}",
        "cycles": f"{timeline.cycles.start} to {timeline.cycles.stop - 1} of {timeline.total}",
        "pes": f"{timeline.pes.start} to {timeline.pes.stop - 1} of {timeline.spec.n_pe}",
        "cut": timeline.cut or "nothing",
    }


def _events(timeline: Told) -> Iterator[str]:
    yield from trace_events.process(NETWORK, f"{timeline.network} on {timeline.spec.name}")
    for name, tid in TRACK_IDS.items():
        if name == "scanner" or timeline.tracks[name]:
            yield from trace_events.thread(NETWORK, tid, name)
    yield from trace_events.process(PES, "PEs")
    for pe in timeline.pes:
        yield from trace_events.thread(PES, FIRST_PE + pe, _name(timeline, pe))
    yield from trace_events.process(QUEUES, "queues")
    yield from _above(timeline)
    yield from _spans(timeline)
    yield from _fullness(timeline)


def _name(timeline: Told, pe: int) -> str:
    # Digits alike in number, so that viewers that sort by name sort by PE.
    return f"PE {pe:0{len(str(timeline.spec.n_pe - 1))}d}"


def _above(timeline: Told) -> Iterator[str]:
    """Tracks of layers, samples, products and loads, the scanner's, and the counter of broadcasts."""
    for track, stretches in timeline.tracks.items():
        for start, stop, name in stretches:
            head = trace_events.span_head(NETWORK, TRACK_IDS[track], name=name, category=track)
            yield trace_events.span(head, start, stop)
    heads = [trace_events.span_head(NETWORK, TRACK_IDS["scanner"], name=name, category="scanner") for name in SCANNER]
    counter = trace_events.counter_head(NETWORK, "broadcast")
    for start, stop, what in timeline.scanner.tolist():
        yield trace_events.span(heads[what], start, stop)
        if what == 0:
            yield trace_events.counted(counter, COUNTED, at=start, value=1)
            yield trace_events.counted(counter, COUNTED, at=stop, value=0)


def _spans(timeline: Told) -> Iterator[str]:
    # One head for each PE and name, not one a span.
    heads = {
        (pe, what): trace_events.span_head(PES, FIRST_PE + pe, name=name, category="pe")
        for pe in timeline.pes
        for what, name in enumerate(SHARES)
    }
    for pe, start, stop, what, label in timeline.spans.tolist():
        arguments = "" if label == UNNAMED else f'"input":{json.dumps("bias") if label == BIAS else label}'
        yield trace_events.span(heads[pe, what], start, stop, arguments=arguments)


def _fullness(timeline: Told) -> Iterator[str]:
    heads = {pe: trace_events.counter_head(QUEUES, f"queue of {_name(timeline, pe)}") for pe in timeline.pes}
    for pe, at, value in _queue_changes(timeline).tolist():
        yield trace_events.counted(heads[pe], COUNTED, at=at, value=value)


def _queue_changes(timeline: Told) -> NDArray[np.int64]:
    """int64 (M, 3): PE, cycle and how full its queue is from then on, PE by PE."""
    queues = timeline.queues[np.lexsort((timeline.queues[:, 1], timeline.queues[:, 0]))]
    # A span that no other follows at once ends in an empty queue.
    follows = np.zeros(len(queues), np.bool_)
    follows[:-1] = (queues[:-1, 0] == queues[1:, 0]) & (queues[:-1, 2] == queues[1:, 1])
    ends = queues[~follows & (queues[:, 2] < timeline.cycles.stop)]
    emptied = np.column_stack((ends[:, 0], ends[:, 2], np.zeros(len(ends), np.int64)))
    changes = np.concatenate((queues[:, [0, 1, 3]], emptied))
    return changes[np.lexsort((changes[:, 1], changes[:, 0]))]


def _signals(timeline: Told) -> list[Signal]:
    """Layer, sample, product and scanner, then for each PE what it does, for which input, and its queue."""
    network = ("eie", "network")
    signals = [Signal(scope=network, name=name, kind="string") for name in (*TRACKS, "scanner")]
    for pe in timeline.pes:
        scope = ("eie", _name(timeline, pe).replace(" ", "_"))
        signals += [
            Signal(scope=scope, name="does", kind="string"),
            Signal(scope=scope, name="input", kind="integer", bits=32),
            Signal(scope=scope, name="queue", kind="integer", bits=16),
        ]
    return signals


def _changes(timeline: Told) -> Iterator[Change]:
    """Every change of every signal, in order of time."""
    changes: list[Change] = []
    for i, name in enumerate(TRACKS):
        changes += _words(timeline, i, timeline.tracks[name])
    scanner = [(start, stop, SCANNER[what]) for start, stop, what in timeline.scanner.tolist()]
    changes += _words(timeline, len(TRACKS), scanner)
    first = len(TRACKS) + 1
    for pe, start, _, what, label in timeline.spans.tolist():
        signal = first + 3 * (pe - timeline.pes.start)
        changes.append((start, signal, SHARES[what]))
        # -1 where there is none, -2 of the bias.
        changes.append((start, signal + 1, label))
    for pe, at, value in _queue_changes(timeline).tolist():
        changes.append((at, first + 3 * (pe - timeline.pes.start) + 2, value))
    yield from sorted(changes, key=lambda change: change[0])


def _words(timeline: Told, signal: int, stretches: Any) -> list[Change]:
    changes: list[Change] = []
    # Where one ends and the next begins there is one change.
    starts = {start for start, _, _ in stretches}
    for start, stop, name in stretches:
        changes.append((start, signal, name))
        if stop < timeline.cycles.stop and stop not in starts:
            changes.append((stop, signal, ""))
    return changes
