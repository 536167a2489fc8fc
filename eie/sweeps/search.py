"""Which points to evaluate where a grid would be too large: Optuna's proposals.

Comes in: a session, the values of each field and objectives. Goes out: the points that were tried. Read by the run.

The study keeps nothing of its own. Its sampler is seeded and asked in batches of fixed size, so a search that is
started again proposes the same points, finds them in the journal, and goes on behind them.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from eie.errors import EieError, SweepError
from eie.spec import AcceleratorSpec
from eie.sweeps.plan import Point, points
from eie.sweeps.result import objective_columns
from eie.sweeps.session import Session
from eie.sweeps.vary import Vary, grid

SEED = 0
BATCH = 8


def search(
    session: Session, vary: Vary, spec: AcceleratorSpec, objectives: Sequence[str], trials: int
) -> tuple[Point, ...]:
    """Evaluate ``trials`` points that make the objectives small; with several, along their front.

    With several workloads a trial is all of them, and its objectives are the sums. A space of no more than ``trials``
    points is evaluated as a whole.

    Raises
    ------
    SweepError
        For fewer than one trial, or an objective that is not a numeric column.
    EieError
        Without the ``dse`` extra.
    """
    try:
        import optuna
    except ModuleNotFoundError:
        raise EieError("a search needs Optuna: pip install 'eie[dse]'") from None
    if trials < 1:
        raise SweepError(f"trials={trials}: must be >= 1")
    columns = objective_columns(objectives)
    if math.prod(map(len, vary.values())) <= trials:
        everything = points(loads=session.loads, base=spec, changes=grid(vary), cell=session.cell)
        session.evaluate(everything)
        return everything
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    sampler = optuna.samplers.TPESampler(seed=SEED)
    study = optuna.create_study(directions=["minimize"] * len(columns), sampler=sampler)
    tried: list[Point] = []
    loads = len(session.loads)
    for start in range(0, trials, BATCH):
        asked = [study.ask() for _ in range(min(BATCH, trials - start))]
        # An index into the values keeps their order, of whatever type they are.
        changes = [
            {field: values[trial.suggest_int(field, 0, len(values) - 1)] for field, values in vary.items()}
            for trial in asked
        ]
        batch = points(loads=session.loads, base=spec, changes=changes, cell=session.cell)
        session.evaluate(batch, before=start * loads, total=trials * loads)
        for i, trial in enumerate(asked):
            goal = _goal(session, batch[i :: len(asked)], columns)
            study.tell(trial, goal, state=None if goal else optuna.trial.TrialState.FAIL)
        tried += batch
    return tuple(tried)


def _goal(session: Session, trial: Sequence[Point], columns: Sequence[str]) -> list[float] | None:
    """Sum each objective over the workloads; None where a point failed or has no such figure."""
    entries = [session.entries[point.key] for point in trial]
    if any("error" in entry for entry in entries):
        return None
    totals = [entry["total"] for entry in entries]
    objective_columns(columns, totals)
    if any(total[column] is None for total in totals for column in columns):
        return None
    return [sum(total[column] for total in totals) for column in columns]
