"""`sweep`: plan, journal, workers and table put together.

Comes in: models, fields to vary and a base spec. Goes out: a `SweepResult`. Called by the command line and notebooks.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import ExitStack, closing
from pathlib import Path
from typing import Any, get_args

from eie.energy.tables import Cell
from eie.errors import EnergyError
from eie.records import Record
from eie.spec import EIE_64PE, AcceleratorSpec
from eie.sweeps.journal import Entry, Journal
from eie.sweeps.outcome import LayerOutcome, total_record
from eie.sweeps.plan import Point, Workload, points, refuse_useless_values, workloads
from eie.sweeps.result import SweepResult
from eie.sweeps.stages import encoding_key
from eie.sweeps.vary import Value, Vary, check_vary, grid
from eie.sweeps.workers import Cluster, Job, Outcome, Threads, Workers

LARGEST_CHUNK = 64


class SweepInterrupted(KeyboardInterrupt):
    """Ctrl-C during a sweep with a journal; the text says how to go on."""


def sweep(
    models: Any,
    vary: Mapping[str, Value | Iterable[Value]],
    *,
    spec: AcceleratorSpec = EIE_64PE,
    trace: Any = None,
    journal: str | Path | None = None,
    retry_failed: bool = False,
    threads: int | None = None,
    client: Any = None,
    cell: Cell = "itrs-lop",
    optimise: str | Sequence[str] = (),
    trials: int = 100,
    progress: Callable[[int, int], None] | None = None,
) -> SweepResult:
    """Run models on every combination of spec values, with the fast engine.

    Parameters
    ----------
    models
        One or a list of: `eie.Network`, `eie.Layer`, a path, the name of a shipped model, or a pair (model, inputs).
    vary
        Spec fields and their values: a list, or text as in ``"1:256:x2"``, ``"2:16:+2"``, ``"64,128"``.
    spec
        The machine whose fields are varied.
    trace
        Inputs as `eie.simulate` takes them, or a list of such, for models given without; the model's own by default.
    journal
        File that finished points are appended to and looked up in, so that an interrupted sweep goes on. In memory
        only by default.
    retry_failed
        Try points again that the journal holds as failed.
    threads
        Worker threads; the machine's cores by default.
    client
        A ``distributed.Client``, or the address of a Dask scheduler (``"tcp://host:8786"``), instead of threads.
    cell
        CACTI cell that scales SRAM energy and area to other sizes.
    optimise
        Objectives (see `SweepResult.pareto`): instead of the whole grid, ``trials`` of its points are evaluated that
        Optuna picks (``dse`` extra).
    progress
        Called as ``progress(done, total)``, in points.

    Returns
    -------
    SweepResult
        Rows in the order of models, traces and values; the same bytes whoever did the work, in whatever order.

    Raises
    ------
    SpecError
        For unknown fields and values that make no machine.
    SweepError
        For a journal that is locked or not one.
    ModelError, TraceError
        If a model or its inputs cannot be used. What goes wrong in a single point is kept in its row.

    Examples
    --------
    >>> import numpy as np, eie
    >>> layer = eie.Layer.from_weights("ones", np.ones((8, 6)))
    >>> result = eie.sweep((layer, np.ones(6)), {"n_pe": [2], "act_queue_depth": "2,3,8"})
    >>> [(row["act_queue_depth"], row["cycles"], row["stall_cycles"]) for row in result.layers]
    [(2, 32, 13), (3, 32, 9), (8, 32, 0)]
    """
    values = check_vary(vary)
    if cell not in get_args(Cell):
        raise EnergyError(f"sram cell {cell!r}: must be one of {', '.join(get_args(Cell))}")
    loads = workloads(models, trace)
    with ExitStack() as stack:
        book = stack.enter_context(Journal(journal)) if journal is not None else None
        workers: Workers = Threads(loads, threads) if client is None else Cluster(loads, client)
        stack.callback(workers.close)
        session = Session(loads, cell, workers, book, retry_failed, progress)
        try:
            if optimise:
                from eie.sweeps.search import search

                objectives = (optimise,) if isinstance(optimise, str) else tuple(optimise)
                found = search(session, values, spec, objectives, trials)
            else:
                found = points(loads, spec, grid(values), cell)
                refuse_useless_values(found)
                session.evaluate(found)
        except KeyboardInterrupt:
            if book is None:
                raise
            raise SweepInterrupted(
                f"interrupted; {len(book.entries)} points are kept in {book.path}: the same command goes on from there"
            ) from None
        return session.result(found, values, spec)


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
    ) -> None:
        self.loads, self.cell = loads, cell
        self._workers, self._journal, self._progress = workers, journal, progress
        kept = journal.entries if journal else {}
        self.entries: dict[str, Entry] = {
            key: entry for key, entry in kept.items() if not (retry_failed and "error" in entry)
        }

    def evaluate(self, wanted: Sequence[Point], before: int = 0, total: int | None = None) -> None:
        """Make an entry for every point that has none; ``before`` and ``total`` are for the progress of a search."""
        missing = {point.key: point for point in wanted if point.key not in self.entries}
        total = len(wanted) if total is None else total
        done = before + len(wanted) - len(missing)
        self._report(done, total)
        for point in missing.values():
            if point.spec is None:
                self._keep(self._entry(point, [point.error]))
                done += 1
        chunks = self._chunks([point for point in missing.values() if point.spec is not None])
        jobs = [
            Job(i, chunk[0].workload, layer, tuple(one.spec for one in chunk if one.spec), self.cell)
            for i, chunk in enumerate(chunks)
            for layer in range(len(self.loads[chunk[0].workload].network.layers))
        ]
        arrived: dict[int, dict[int, list[Outcome]]] = defaultdict(dict)
        with closing(self._workers.outcomes(jobs)) as arriving:
            for job, outcomes in arriving:
                layers = arrived[job.chunk]
                layers[job.layer] = outcomes
                if len(layers) == len(self.loads[job.workload].network.layers):
                    del arrived[job.chunk]
                    chunk = chunks[job.chunk]
                    for i, point in enumerate(chunk):
                        self._keep(self._entry(point, [layers[layer][i] for layer in sorted(layers)]))
                    done += len(chunk)
                    self._report(done, total)

    def result(self, found: Sequence[Point], vary: Vary, spec: AcceleratorSpec) -> SweepResult:
        """Return the rows of ``found``, sorted by workload and values."""
        places = {field: {value: at for at, value in enumerate(values)} for field, values in vary.items()}

        def order(point: Point) -> tuple[int, ...]:
            return (point.workload, *(places[field][value] for field, value in point.changes.items()))

        rows: list[Record] = []
        for point in sorted({(point.workload, point.key): point for point in found}.values(), key=order):
            load = self.loads[point.workload]
            who = {"model": load.model, "trace": load.trace, **point.changes}
            entry = self.entries[point.key]
            if "error" in entry:
                rows.append({**who, "row": "total", "layer": None, "error": entry["error"]})
            else:
                rows.append({**who, "row": "total", **entry["total"]})
                rows += [{**who, "row": "layer", **record} for record in entry["layers"]]
        return SweepResult.of(rows, vary, spec)

    def _chunks(self, missing: Sequence[Point]) -> list[list[Point]]:
        """Put points together that share their encodings; where those are few, cut them up for the workers."""
        groups: dict[Any, list[Point]] = defaultdict(list)
        for point in missing:
            assert point.spec is not None
            groups[point.workload, encoding_key(point.spec)].append(point)
        chunks = []
        for group in groups.values():
            layers = len(self.loads[group[0].workload].network.layers)
            pieces = -(-self._workers.width * 2 // (len(groups) * layers))
            size = min(LARGEST_CHUNK, -(-len(group) // pieces))
            chunks += [group[i : i + size] for i in range(0, len(group), size)]
        return chunks

    def _entry(self, point: Point, outcomes: Sequence[Outcome]) -> dict[str, Any]:
        failed = [one for one in outcomes if isinstance(one, str)]
        who = {"key": point.key, "model": self.loads[point.workload].model, "changes": dict(point.changes)}
        if failed:
            return {**who, "error": failed[0]}
        good = [one for one in outcomes if isinstance(one, LayerOutcome)]
        assert point.spec is not None
        given = self.loads[point.workload].given
        note = f"synthetic inputs: {given.source}" if given.synthetic else ""
        total = total_record(good, point.spec, self.cell, note)
        return {**who, "total": total, "layers": [one.record for one in good]}

    def _keep(self, entry: Entry) -> None:
        self.entries[entry["key"]] = entry
        if self._journal is not None:
            self._journal.append(entry)

    def _report(self, done: int, total: int) -> None:
        if self._progress is not None:
            self._progress(done, total)
