"""Who does the work: threads of this process, or the workers of a Dask cluster.

Comes in: `Job` records, a layer at several points each. Goes out: their outcomes, in the order in which they finish;
each job exactly once. Read by the run. One level of parallelism: a job runs on one thread.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Generator, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from queue import Empty, Queue
from socket import gethostname
from threading import Lock
from typing import Any, Protocol

from eie.energy.tables import Cell
from eie.errors import EieError
from eie.formats.arguments import shown
from eie.simulator.cache import Cache
from eie.simulator.stages import Stages
from eie.simulator.workload import Workload
from eie.spec import AcceleratorSpec
from eie.sweeps.outcome import LayerOutcome, layer_outcome
from eie.sweeps.plan import engine_digest

Outcome = LayerOutcome | str
# A job that takes its worker's memory with it would do so for ever.
ATTEMPTS = 4
CONNECT_SECONDS = 15
# Without any news for so long the scheduler is asked for a sign of life, and given so long for it: both together are
# well below half a minute.
PULSE_SECONDS = 5
PROBE_SECONDS = 10
CLOSE_SECONDS = 3
# Names of this machine, to which nobody else listens.
LOOPBACK = ("127.", "localhost", "::1", "[::1]", "0.0.0.0")


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
        if threads is not None and threads < 0:
            raise EieError(f"threads={threads}: must be >= 1")
        # One for all workloads: the budget is of the process.
        cache = Cache()
        self._stages = [Stages(workload, cache) for workload in workloads]
        self.width = threads or os.cpu_count() or 1

    def outcomes(self, jobs: Sequence[Job]) -> Generator[tuple[Job, list[Outcome]]]:
        """See `Workers`. When the caller stops early, jobs that have not begun are dropped."""
        pool = ThreadPoolExecutor(self.width)
        try:
            # No processes: kernels release the lock, and threads share encodings without copies.
            running = {pool.submit(run_job, self._stages[job.workload], job): job for job in jobs}
            for future in as_completed(running):
                # Popped, so that outcomes go as soon as the run has entered them.
                yield running.pop(future), future.result()
        finally:
            # A kernel cannot be stopped midway: the jobs at hand are waited for, those behind them dropped.
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
        Without the ``cluster`` extra, if no scheduler answers, when it is gone, or where a worker has another version
        of ``eie``.
    """

    def __init__(self, workloads: Sequence[Workload], client: Any, security: Any = None) -> None:
        dask = _dask()
        self._workloads = workloads
        self._owned = isinstance(client, str)
        if isinstance(client, str):
            try:
                # Not the default client: the caller may have one of their own in this process.
                client = dask.Client(client, timeout=CONNECT_SECONDS, set_as_default=False, security=security)
            # RuntimeError and TypeError: of addresses and certificates that do not go together.
            except (OSError, ValueError, RuntimeError, TypeError) as error:
                raise EieError(f"scheduler {client}: does not answer: {error}") from None
        if not isinstance(client, dask.Client):
            raise EieError(f"client={shown(client)}: must be a scheduler's address or a dask.distributed.Client")
        self._client, self._address = client, client.scheduler.address
        try:
            self.width = self._meet_workers()
        except BaseException:
            self.close()
            raise

    def _meet_workers(self) -> int:
        """See that there are workers, all of this version; return how many jobs they do at a time."""
        client = self._client
        try:
            client.wait_for_workers(1, timeout=CONNECT_SECONDS)
            # Before any job: rows of other sources must not enter the journal under this one's keys.
            digests = client.run(engine_digest)
            # Workers may leave between the two questions; a width of 0 would ask for chunks without end.
            width: int = max(1, sum(client.nthreads().values()))
        except TimeoutError:
            raise EieError(
                f"scheduler {self._address}: has no workers after {CONNECT_SECONDS} s: start some first, and where "
                "they have to queue, wait for them (client.wait_for_workers)"
            ) from None
        except (OSError, RuntimeError, _dask().CancelledError) as error:
            self._require_scheduler(error)
            raise EieError(f"scheduler {self._address}: its workers left when they were asked: {error}") from None
        others = [name for name, digest in digests.items() if digest != engine_digest()]
        if others:
            raise EieError(f"workers {', '.join(others)}: have another version of eie: install the same everywhere")
        return width

    def outcomes(self, jobs: Sequence[Job]) -> Generator[tuple[Job, list[Outcome]]]:
        """See `Workers`. When the caller stops early, jobs that have not finished are cancelled.

        Raises
        ------
        EieError
            When the scheduler is gone, or a worker that joined later has another version of ``eie``.
        """
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
        # Only what is still wanted: a second attempt may concern one workload of many.
        used = sorted({job.workload for job in jobs})
        try:
            # hash=False: named by content, a workload whose last copy died would be taken for the lost one.
            sent = self._client.scatter([self._workloads[i] for i in used], broadcast=True, hash=False)
        except (dask.CancelledError, OSError, TimeoutError, RuntimeError) as error:
            self._require_scheduler(error)
            # It is there: a worker died while it was sent its copy, so all of it is tried again.
            yield from ((job, None) for job in jobs)
            return
        data = dict(zip(used, sent, strict=True))
        engine = engine_digest()
        running = {
            # pure=False, or a job asked for again would be answered by its lost future. Dask runs higher priorities
            # first: counted down, jobs begin in our order, chunk by chunk.
            self._client.submit(
                _run_on_worker, data[job.workload], job=job, engine=engine, pure=False, priority=-order
            ): job
            for order, job in enumerate(jobs)
        }
        try:
            for future in self._finished(list(running)):
                try:
                    outcomes = future.result(timeout=PROBE_SECONDS)
                # KilledWorker: it died with the job several times over. Cancelled: a workload's last copy is gone. Both
                # are tried again with fresh copies; what a job itself raises comes back as text and never here.
                except (dask.KilledWorker, dask.CancelledError, OSError, TimeoutError) as error:
                    self._require_scheduler(error)
                    outcomes = None
                yield running.pop(future), outcomes
        finally:
            # Nobody is there to be told, and asking would wait for an answer.
            if self._client.status == "running":
                self._client.cancel(list(running))

    def _finished(self, futures: Sequence[Any]) -> Generator[Any]:
        """Give futures as they finish, and look after the scheduler where none does for a while."""
        done: Queue[Any] = Queue()
        for future in futures:
            future.add_done_callback(done.put)
        for _ in futures:
            while True:
                try:
                    future = done.get(timeout=PULSE_SECONDS)
                    break
                except Empty:
                    # Long jobs are no fault: only a scheduler that does not answer is.
                    self._require_scheduler(None)
            yield future

    def _require_scheduler(self, error: BaseException | None) -> None:
        """Raise `EieError` unless the scheduler answers: what else went wrong is then a worker's fault."""
        try:
            if self._client.status == "running":
                self._client.sync(self._client.scheduler.identity, callback_timeout=PROBE_SECONDS)
                return
            reason = "the connection is closed"
        # Whatever kind of failure it is: none of them is an answer. Ours would be shown with its own words.
        except (OSError, TimeoutError, RuntimeError, ValueError, _dask().CancelledError) as silence:
            reason = str(silence) or "no answer"
        raise EieError(
            f"scheduler {self._address}: is gone ({reason}): with a journal the same command goes on from there"
        ) from error

    def close(self) -> None:
        """Close the connection if it was opened here."""
        # A client that was passed in is the caller's, who may have other work on it.
        if self._owned:
            try:
                self._client.close(timeout=CLOSE_SECONDS)
            # To a scheduler that is gone nothing is left to be closed.
            except (OSError, TimeoutError, RuntimeError):
                return


def plain_tcp(address: str) -> str | None:
    """Say what is to be feared of a scheduler's address: None for TLS, and within this machine.

    Examples
    --------
    >>> plain_tcp("tls://host:8786"), plain_tcp("tcp://127.0.0.1:8786"), plain_tcp("localhost:8786")
    (None, None, None)
    >>> plain_tcp("tcp://host:8786")
    'scheduler tcp://host:8786: plain TCP beyond this machine: ... use tls://'
    """
    kind, separated, place = address.rpartition("://")
    if separated and kind not in ("tcp", "ucx"):
        return None
    if place.startswith((*LOOPBACK, f"{gethostname()}:")):
        return None
    return (
        f"scheduler {address}: plain TCP beyond this machine: whoever reaches it can read the models and run code on "
        "the workers; use tls://"
    )


def quiet() -> None:
    """Keep Dask's own logs, with tracebacks of every lost connection, off a command's standard error."""
    # Imported first: it sets levels of its own then.
    _dask()
    for name in ("distributed", "distributed.client", "tornado", "tornado.application", "asyncio"):
        logging.getLogger(name).setLevel(logging.CRITICAL)


def tls(*, ca_file: str | None, cert: str | None, key: str | None) -> Any:
    """Return what Dask needs for an encrypted connection; None without any file.

    Raises
    ------
    EieError
        For a file that is not there, or without the ``cluster`` extra.
    """
    named = {"--tls-ca-file": ca_file, "--tls-cert": cert, "--tls-key": key}
    if not any(named.values()):
        return None
    for option, file in named.items():
        if file is not None and not Path(file).is_file():
            raise EieError(f"{option} {file}: no such file")
    if cert is None and key is not None:
        raise EieError("--tls-key: belongs to --tls-cert")
    return _dask().security.Security(
        tls_ca_file=ca_file, tls_client_cert=cert, tls_client_key=key, require_encryption=True
    )


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
    # No text of its own, and `Exception` below would give an empty one.
    except MemoryError:
        return f"layer {stages.workload.layers[job.layer].name!r}: out of memory"
    except Exception as error:
        # A defect of ours must not end a sweep of hours; it is kept with the point, and --retry-failed tries again.
        return f"{type(error).__name__}: {error}"


# Of a worker process, not of an object: Dask unpickles the workload for each job, and stages kept with it would go with
# it. The lock, since a worker may have several threads.
_lock = Lock()
_known: dict[str, Stages] = {}
_cache: list[Cache] = []


def _run_on_worker(workload: Workload, job: Job, engine: str) -> list[Outcome]:
    """Run a job in a worker process, which keeps its stages from job to job.

    Raises
    ------
    EieError
        Where the sources of ``eie`` are not those of the digest ``engine``: workers join at any time.
    """
    if engine_digest() != engine:
        raise EieError(f"a worker on {gethostname()}: has another version of eie: install the same everywhere")
    with _lock:
        if not _cache:
            _cache.append(Cache())
        stages = _known.get(workload.content_hash)
        if stages is None:
            # By content: a workload that was scattered again is the same one.
            stages = _known[workload.content_hash] = Stages(workload.refrozen(), _cache[0])
    return run_job(stages, job)
