"""`sweep`: plan, journal, workers and table put together.

Comes in: models, fields to vary and a base spec. Goes out: a `SweepResult`. Called by the command line and notebooks.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any, get_args

from eie.compiler.choice import Conv
from eie.compression.bias import BiasPlace
from eie.energy.tables import Cell
from eie.errors import EnergyError
from eie.formats.arguments import taken
from eie.model.fitting import Layout
from eie.show.notebook import told
from eie.spec import EIE_64PE, AcceleratorSpec
from eie.sweeps.journal import Journal
from eie.sweeps.large import LargeJournal, sweep_front
from eie.sweeps.plan import points, refuse_useless_values, workloads
from eie.sweeps.result import SweepResult
from eie.sweeps.search import search
from eie.sweeps.session import Session
from eie.sweeps.vary import Value, check_vary, grid
from eie.sweeps.workers import Cluster, Threads, Workers


class SweepInterrupted(KeyboardInterrupt):
    """Ctrl-C during a sweep with a journal; the text says how to go on."""


@taken
@told("points")
def sweep(
    models: Any,
    vary: Mapping[str, Value | Iterable[Value]],
    *,
    spec: AcceleratorSpec = EIE_64PE,
    trace: Any = None,
    layout: Layout | None = None,
    journal: str | Path | None = None,
    retry_failed: bool = False,
    threads: int | None = None,
    client: Any = None,
    cell: Cell = "itrs-lop",
    bias: BiasPlace = "auto",
    conv: Conv = "auto",
    optimise: str | Sequence[str] = (),
    trials: int = 100,
    any_clock: bool = False,
    front: str | Sequence[str] = (),
    security: Any = None,
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
    layout
        Of arrays among the inputs, as `eie.simulate` takes it.
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
    bias
        Where float biases go, as of `eie.compile`.
    conv
        How convolutions run, as of `eie.compile`.
    optimise
        Objectives (see `SweepResult.pareto`): instead of the whole grid, ``trials`` of its points are evaluated that
        Optuna picks (``dse`` extra).
    any_clock
        Let it pick machines too whose clock is faster than their logic and SRAMs allow; ``front`` too.
    front
        Objectives: every combination is evaluated and kept in the journal, but only the points on their front are
        returned and stay in memory, so that a million fit in 1 GiB.
    security
        A ``distributed.Security``, where ``client`` is an address with ``tls://``.
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
    # Everything that can be wrong with the call is found before a file is opened or a thread started.
    values = check_vary(vary)
    if cell not in get_args(Cell):
        raise EnergyError(f"sram cell {cell!r}: must be one of {', '.join(get_args(Cell))}")
    loads = workloads(models, trace, layout=layout, bias=bias, conv=conv)
    with ExitStack() as stack:
        # Journal before workers: a folder that another sweep uses is refused before models are sent anywhere.
        # Entries of a grid that only a front is wanted of stay on the disk.
        large = stack.enter_context(LargeJournal(journal)) if journal is not None and front else None
        small = stack.enter_context(Journal(journal)) if journal is not None and not front else None
        book = large or small
        # Around all that follows: from here on there is something to go on from.
        stack.enter_context(_telling(book))
        workers: Workers = Threads(loads, threads) if client is None else Cluster(loads, client, security)
        # Leaves before the journal does (last in, first out): nobody works any more when the lock is given back.
        stack.callback(workers.close)
        if front:
            best = sweep_front(
                loads=loads,
                vary=values,
                spec=spec,
                objectives=(front,) if isinstance(front, str) else tuple(front),
                cell=cell,
                workers=workers,
                book=large,
                any_clock=any_clock,
                retry_failed=retry_failed,
                progress=progress,
            )
            return replace(best, cell=cell)
        session = Session(
            loads=loads, cell=cell, workers=workers, journal=book, retry_failed=retry_failed, progress=progress
        )
        if optimise:
            objectives = (optimise,) if isinstance(optimise, str) else tuple(optimise)
            asked = search(
                session=session,
                vary=values,
                spec=spec,
                objectives=objectives,
                trials=trials,
                any_clock=any_clock,
            )
        else:
            asked = points(loads=loads, base=spec, changes=grid(values), cell=cell)
            # For grids only: a search meets a few of the combinations, too few to call a value useless.
            refuse_useless_values(asked)
            session.evaluate(asked)
        return replace(session.result(asked, values, spec), cell=cell)


@contextmanager
def _telling(book: Journal | None) -> Iterator[None]:
    """On Ctrl-C, say what is kept and how to go on."""
    try:
        yield
    except KeyboardInterrupt:
        # Without a journal nothing was kept that one could go on from.
        if book is None:
            raise
        raise SweepInterrupted(
            f"interrupted; {book.kept()} points are kept in {book.path}: the same command goes on from there"
        ) from None
