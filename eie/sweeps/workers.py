"""Who does the work: threads of this process, or the workers of a Dask cluster.

Comes in: `Job` records, a layer at several points each. Goes out: their outcomes, in the order in which they finish;
each job exactly once. Read by the run. One level of parallelism: a job runs on one thread.
"""

from __future__ import annotations

import os
from collections.abc import Generator, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass
from importlib import import_module
from threading import Lock
from typing import Any, Protocol

from eie.energy.tables import Cell
from eie.errors import EieError
from eie.simulator.cache import Cache
from eie.simulator.stages import Stages
from eie.simulator.workload import Workload
from eie.spec import AcceleratorSpec
from eie.sweeps.outcome import LayerOutcome, layer_outcome
from eie.sweeps.plan import engine_digest

Outcome = LayerOutcome | str
ATTEMPTS = 4
CONNECT_SECONDS = 15


@dataclass(frozen=True, kw_only=True)
class Job:
    """One layer on several machines that share its encoding; ``chunk`` tells the run which points these are."""

    chunk: int
    workload: int
    layer: int
    specs: tuple[AcceleratorSpec, ...]
    cell: Cell


class Workers(Protocol):
    """Something that does jobs; ``width`` of them at a time."""

    width: int

    def outcomes(self, jobs: Sequence[Job]) -> Generator[tuple[Job, list[Outcome]]]:
        """Do the jobs; a point that failed gives its error as text."""

    def close(self) -> None:
        """Let go of threads or connections."""


class Threads:
    """Threads of this process; kernels run without the interpreter lock."""

    def __init__(self, workloads: Sequence[Workload], threads: int | None) -> None:
        cache = Cache()
        self._stages = [Stages(workload, cache) for workload in workloads]
        self.width = threads or os.cpu_count() or 1

    def outcomes(self, jobs: Sequence[Job]) -> Generator[tuple[Job, list[Outcome]]]:
        """See `Workers`. When the caller stops early, jobs that have not begun are dropped."""
        pool = ThreadPoolExecutor(self.width)
        try:
            running = {pool.submit(run_job, self._stages[job.workload], job): job for job in jobs}
            for future in as_completed(running):
                yield running.pop(future), future.result()
        finally:
            pool.shutdown(wait=True, cancel_futures=True)

    def close(self) -> None:
        """Nothing is held between calls."""


class Cluster:
    """The workers of a Dask scheduler.

    Workloads are scattered to all workers. A job whose worker dies is done again by another one; if that took the last
    copy of a workload with it, the workload is scattered again.

    Raises
    ------
    EieError
        Without the ``cluster`` extra, if no scheduler answers, or where a worker has another version of ``eie``.
    """

    def __init__(self, workloads: Sequence[Workload], client: Any) -> None:
        dask = _dask()
        self._workloads = workloads
        self._owned = isinstance(client, str)
        if isinstance(client, str):
            try:
                client = dask.Client(client, timeout=CONNECT_SECONDS, set_as_default=False)
            except (OSError, ValueError) as error:
                raise EieError(f"scheduler {client}: does not answer: {error}") from None
        self._client, address = client, client.scheduler.address
        try:
            client.wait_for_workers(1, timeout=CONNECT_SECONDS)
            digests = client.run(engine_digest)
        except TimeoutError:
            self.close()
            raise EieError(f"scheduler {address}: has no workers") from None
        others = [name for name, digest in digests.items() if digest != engine_digest()]
        if others:
            self.close()
            raise EieError(f"workers {', '.join(others)}: have another version of eie: install the same everywhere")
        self.width = max(1, sum(client.nthreads().values()))

    def outcomes(self, jobs: Sequence[Job]) -> Generator[tuple[Job, list[Outcome]]]:
        """See `Workers`. When the caller stops early, jobs that have not finished are cancelled."""
        waiting = list(jobs)
        for _ in range(ATTEMPTS):
            lost: list[Job] = []
            for job, outcomes in self._attempt(waiting):
                if outcomes is None:
                    lost.append(job)
                else:
                    yield job, outcomes
            waiting = lost
            if not waiting:
                return
        for job in waiting:
            yield job, [f"the cluster lost this job {ATTEMPTS} times" for _ in job.specs]

    def _attempt(self, jobs: Sequence[Job]) -> Generator[tuple[Job, list[Outcome] | None]]:
        """Do the jobs once; None stands for one that was lost together with its worker."""
        dask = _dask()
        used = sorted({job.workload for job in jobs})
        data = dict(
            zip(used, self._client.scatter([self._workloads[i] for i in used], broadcast=True, hash=False), strict=True)
        )
        running = {
            self._client.submit(_run_on_worker, data[job.workload], job, pure=False, priority=-order): job
            for order, job in enumerate(jobs)
        }
        try:
            for future in dask.as_completed(list(running), loop=self._client.loop):
                try:
                    outcomes = future.result()
                except (dask.KilledWorker, dask.CancelledError, OSError):
                    outcomes = None
                yield running.pop(future), outcomes
        finally:
            self._client.cancel(list(running))

    def close(self) -> None:
        """Close the connection if it was opened here."""
        if self._owned:
            self._client.close()


def _dask() -> Any:
    try:
        return import_module("distributed")
    except ModuleNotFoundError:
        raise EieError("a cluster needs Dask: pip install 'eie[cluster]'") from None


def run_job(stages: Stages, job: Job) -> list[Outcome]:
    """Evaluate a layer at every point of a job."""
    return [_outcome_or_error(stages, job, spec) for spec in job.specs]


def _outcome_or_error(stages: Stages, job: Job, spec: AcceleratorSpec) -> Outcome:
    try:
        return layer_outcome(stages=stages, layer=job.layer, spec=spec, cell=job.cell)
    except EieError as error:
        return str(error)
    except MemoryError:
        return f"layer {stages.workload.layers[job.layer].name!r}: out of memory"
    except Exception as error:
        # A defect of ours must not end a sweep of hours; it is kept with the point, and --retry-failed tries again.
        return f"{type(error).__name__}: {error}"


_lock = Lock()
_known: dict[str, Stages] = {}
_cache: list[Cache] = []


def _run_on_worker(workload: Workload, job: Job) -> list[Outcome]:
    """Run a job in a worker process, which keeps its stages from job to job."""
    with _lock:
        if not _cache:
            _cache.append(Cache())
        stages = _known.get(workload.content_hash)
        if stages is None:
            stages = _known[workload.content_hash] = Stages(workload.refrozen(), _cache[0])
    return run_job(stages, job)
