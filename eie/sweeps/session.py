"""Points evaluated by workers and kept in a journal: what a grid and a search have in common.

Comes in: workloads, points, workers. Goes out: entries and the `SweepResult` made of them. Read by `run` and `search`.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence, Set
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

from eie.compiler.places import IDEAL
from eie.energy.tables import Cell
from eie.show.records import Record
from eie.simulator.images import encoding_key
from eie.simulator.workload import Workload
from eie.spec import AcceleratorSpec
from eie.sweeps import plan
from eie.sweeps.compact import Columns
from eie.sweeps.journal import Entry, Journal
from eie.sweeps.outcome import LayerOutcome, total_record
from eie.sweeps.plan import Point
from eie.sweeps.result import SweepResult
from eie.sweeps.vary import Vary
from eie.sweeps.workers import Job, Outcome, Workers

# Points between two writes to the journal, and so what a kill may cost.
LARGEST_CHUNK = 64
_MOST_NAMED = 5


class Session:
    """Evaluates points and remembers them; the journal, where there is one, outlives it."""

    def __init__(
        self,
        loads: Sequence[Workload],
        cell: Cell,
        workers: Workers,
        journal: Journal | None = None,
        retry_failed: bool = False,
        progress: Callable[[int, int], None] | None = None,
        wanted: Sequence[Point] | None = None,
    ) -> None:
        """Begin with what the journal holds; of a large one with that of the points ``wanted``."""
        self.loads, self.cell = loads, cell
        self._workers, self._journal, self._progress = workers, journal, progress
        # A large journal has columns of its own, which outlive its sessions.
        self._columns: Columns = getattr(journal, "columns", None) or Columns()
        kept = _kept(journal, self._columns, wanted)
        # Keys hold the whole digest; 16 digits are enough to tell a reader that lines are of another state.
        self._engine = plan.engine_digest()[:16]
        self.notes: tuple[str, ...] = ()
        if journal is not None and wanted is None:
            self.notes = not_continued(journal.path, Counter(e.get("engine") for e in journal.entries.values()))
            self.notes += _not_used(journal, {load.model for load in loads})
        # Left out, failed points are missing again; their new lines replace the old ones in the journal.
        self.entries: dict[str, Entry] = {
            key: entry for key, entry in kept.items() if not (retry_failed and "error" in entry)
        }

    def evaluate(self, wanted: Sequence[Point], before: int = 0, total: int | None = None) -> None:
        """Make an entry for every point that has none; ``before`` and ``total`` are for the progress of a search."""
        # By key: a point asked for twice is made once.
        missing = {point.key: point for point in wanted if point.key not in self.entries}
        total = len(wanted) if total is None else total
        done = before + len(wanted) - len(missing)
        self._report(done, total)
        for point in missing.values():
            if point.spec is None:
                # First, since they need no worker.
                self._keep(self._entry(point, [point.error]))
                done += 1
        chunks = self._chunks([point for point in missing.values() if point.spec is not None])
        jobs = [
            Job(
                chunk=i,
                workload=chunk[0].workload,
                layer=layer,
                specs=tuple(point.spec for point in chunk if point.spec),
                cell=self.cell,
            )
            for i, chunk in enumerate(chunks)
            # All layers of a chunk before the next chunk: its points are whole, and in the journal, as early as can be.
            for layer in range(len(self.loads[chunk[0].workload].layers))
        ]
        arrived: dict[int, dict[int, list[Outcome]]] = defaultdict(dict)
        # Closed on Ctrl-C too: the generator's `finally` drops the jobs that wait, now and not when it is collected.
        with closing(self._workers.outcomes(jobs)) as arriving:
            for job, outcomes in arriving:
                layers = arrived[job.chunk]
                layers[job.layer] = outcomes
                if len(layers) == len(self.loads[job.workload].layers):
                    # What is entered is let go: samples of all points would fill the memory.
                    del arrived[job.chunk]
                    chunk = chunks[job.chunk]
                    for i, point in enumerate(chunk):
                        # Sorted, since layers arrive in any order and sums of floats depend on it.
                        self._keep(self._entry(point, [layers[layer][i] for layer in sorted(layers)]))
                    done += len(chunk)
                    self._report(done, total)

    def result(self, asked: Sequence[Point], vary: Vary, spec: AcceleratorSpec) -> SweepResult:
        """Return the rows of the points asked for, sorted by workload and values."""
        places = {field: {value: at for at, value in enumerate(values)} for field, values in vary.items()}

        def order(point: Point) -> tuple[int, ...]:
            return (point.workload, *(places[field][value] for field, value in point.changes.items()))

        rows: list[Record] = []
        # Once each: a search proposes points twice. Workloads of the same content share keys, but keep rows of their
        # own.
        for point in sorted({(point.workload, point.key): point for point in asked}.values(), key=order):
            rows += rows_of_point(self.loads[point.workload], point, self.entries[point.key])
        return replace(SweepResult.of(rows, vary, spec), notes=self.notes)

    def _chunks(self, missing: Sequence[Point]) -> list[list[Point]]:
        """Put points together that share their encodings; where those are few, cut them up for the workers."""
        groups: dict[Any, list[Point]] = defaultdict(list)
        for point in missing:
            assert point.spec is not None
            # The encoding is what is dear: points that share it are worked on together, while it is in the cache.
            groups[point.workload, encoding_key(point.spec)].append(point)
        chunks = []
        for group in groups.values():
            layers = len(self.loads[group[0].workload].layers)
            # Two jobs a worker at the least, rounded up: with one each, all would wait for the slowest.
            pieces = -(-self._workers.width * 2 // (len(groups) * layers))
            size = min(LARGEST_CHUNK, -(-len(group) // pieces))
            chunks += [group[i : i + size] for i in range(0, len(group), size)]
        return chunks

    def _entry(self, point: Point, outcomes: Sequence[Outcome]) -> dict[str, Any]:
        failed = [outcome for outcome in outcomes if isinstance(outcome, str)]
        # Keys alone say what is current; the engine tells a reader why older lines are not.
        who = {
            "key": point.key,
            "engine": self._engine,
            "model": self.loads[point.workload].model,
            "changes": dict(point.changes),
        }
        # One layer that failed leaves no total, so the point fails; the first says why, the others mostly repeat it.
        if failed:
            return {**who, "error": failed[0]}
        good = [outcome for outcome in outcomes if isinstance(outcome, LayerOutcome)]
        assert point.spec is not None
        load = self.loads[point.workload]
        notes = [f"synthetic inputs: {load.given.source}"] if load.given.synthetic else []
        if point.spec.residency == "ideal":
            notes.append(IDEAL)
        total = total_record(good, point.spec, self.cell, notes=notes, incomplete=load.incomplete)
        return {**who, "total": total, "layers": [outcome.record for outcome in good]}

    def _keep(self, entry: Entry) -> None:
        self.entries[entry["key"]] = entry
        if self._journal is not None:
            self._journal.append(self._columns.packed(entry))

    def _report(self, done: int, total: int) -> None:
        if self._progress is not None:
            self._progress(done, total)


def rows_of_point(load: Workload, point: Point, entry: Entry) -> list[Record]:
    """Return a point's rows: its total, then its layers, or its error."""
    who = {"model": load.model, "trace": load.trace, **point.changes}
    if "error" in entry:
        return [{**who, "row": "total", "layer": None, "error": entry["error"]}]
    layers: list[Record] = [{**who, "row": "layer", **record} for record in entry["layers"]]
    return [{**who, "row": "total", **entry["total"]}, *layers]


def _kept(journal: Journal | None, columns: Columns, wanted: Sequence[Point] | None) -> dict[str, Entry]:
    """Return the entries of a journal with their columns' names."""
    if journal is None:
        return {}
    entries: Mapping[str, Entry] = journal.entries
    if wanted is None:
        # All first: any line may have the names, behind those that point to it too.
        for entry in entries.values():
            columns.learn(entry)
        keys: Iterable[str] = list(entries)
    else:
        keys = (point.key for point in wanted if point.key in entries)
    kept = {}
    for key in keys:
        packed = entries.get(key)
        whole = None if packed is None else columns.unpacked(packed)
        # Whose names are lost is evaluated again.
        if whole is not None:
            kept[key] = whole
    return kept


def not_continued(path: Path, engines: Mapping[str | None, int]) -> tuple[str, ...]:
    """Say how many lines of a journal are of another version of eie, whose numbers need not be this one's."""
    engine = plan.engine_digest()[:16]
    old, other = engines.get(None, 0), sum(n for stamp, n in engines.items() if stamp not in (None, engine))
    notes = []
    if old:
        notes.append(f"{path}: {old} points of eie 0.1 in this journal are not continued")
    if other:
        notes.append(f"{path}: {other} points of another state of eie in this journal are not continued")
    return tuple(notes)


def _not_used(journal: Journal, models: Set[str]) -> tuple[str, ...]:
    """Say which lines of a journal are of other models, or no points at all."""
    notes = []
    foreign = sorted(
        {name for entry in journal.entries.values() if (name := entry.get("model")) and name not in models}
    )
    if foreign:
        shown = ", ".join(foreign[:_MOST_NAMED]) + (" and more" if len(foreign) > _MOST_NAMED else "")
        notes.append(f"{journal.path}: points of other models are in this journal and stay: {shown}")
    if journal.damaged:
        notes.append(f"{journal.path}: {journal.damaged} lines are no points of a sweep: passed over")
    return tuple(notes)
