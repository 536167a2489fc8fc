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

# Neither is an option: another seed or batch would propose other points, and a search could not go on.
SEED = 0
BATCH = 8


def search(
    session: Session,
    vary: Vary,
    spec: AcceleratorSpec,
    objectives: Sequence[str],
    *,
    trials: int,
    any_clock: bool = False,
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
        # Loaded here and not above: it is an extra, and grids do without.
        raise EieError("a search needs Optuna: pip install 'eie[dse]'") from None
    if trials < 1:
        raise SweepError(f"trials={trials}: must be >= 1")
    # Names can be checked against rows once there are some; see `_goal`.
    columns = objective_columns(objectives)
    # A sampler proposes points twice: a whole grid this small costs less than the search of it.
    if math.prod(map(len, vary.values())) <= trials:
        everything = points(loads=session.loads, base=spec, changes=grid(vary), cell=session.cell)
        session.evaluate(everything)
        return everything
    # It would write a line a trial to stderr, where our progress goes.
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    sampler = optuna.samplers.TPESampler(seed=SEED)
    study = optuna.create_study(directions=["minimize"] * len(columns), sampler=sampler)
    tried: list[Point] = []
    loads = len(session.loads)
    for start in range(0, trials, BATCH):
        # All of a batch are asked before any is told: proposals then depend on no thread's speed.
        asked = [study.ask() for _ in range(min(BATCH, trials - start))]
        # An index into the values keeps their order, of whatever type they are.
        changes = [
            {field: values[trial.suggest_int(field, 0, len(values) - 1)] for field, values in vary.items()}
            for trial in asked
        ]
        batch = points(loads=session.loads, base=spec, changes=changes, cell=session.cell)
        # Progress counts points, a trial has one for every workload.
        session.evaluate(batch, before=start * loads, total=trials * loads)
        for i, trial in enumerate(asked):
            # `points` lists all trials of the first workload, then of the second: a trial's own lie len(asked) apart.
            goal = _goal(session, batch[i :: len(asked)], columns, any_clock=any_clock)
            # A failed trial is told as failed, so that the sampler learns from it no figure that was made up.
            study.tell(trial, goal, state=None if goal else optuna.trial.TrialState.FAIL)
        tried += batch
    return tuple(tried)


def _goal(session: Session, trial: Sequence[Point], columns: Sequence[str], *, any_clock: bool) -> list[float] | None:
    """Sum each objective over the workloads; None where a point failed, has no such figure or too fast a clock."""
    entries = [session.entries[point.key] for point in trial]
    if any("error" in entry for entry in entries):
        return None
    totals = [entry["total"] for entry in entries]
    # The first rows are the first chance to see that an objective is no numeric column.
    objective_columns(columns, totals)
    if any(total[column] is None for total in totals for column in columns):
        return None
    if not any_clock and not all(total["timing_met"] for total in totals):
        return None
    return [sum(total[column] for total in totals) for column in columns]
