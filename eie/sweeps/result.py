"""The answer of a sweep: tidy rows, one a point and layer and one a point for its totals.

Comes in: rows. Goes out: a frozen `SweepResult`. Read by figures, the command line and notebooks.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from eie.energy.tables import Cell
from eie.errors import SweepError
from eie.model.drawn import drawn_notes
from eie.results.pages import machine_section
from eie.show.face import Answer
from eie.show.records import Record
from eie.show.sections import Column, Format, Grid, Section, Value
from eie.spec import AcceleratorSpec
from eie.sweeps.pages import AXES, front_chart, workload_facts
from eie.sweeps.vary import Vary

# Short names of what is made small; any numeric column of the total rows can be named as well.
OBJECTIVES = {
    "latency": "latency_us",
    "energy": "energy_activity_nj",
    "energy-delay": "energy_delay_nj_us",
    "area": "area_mm2",
}
# Behind all others in every file, whatever columns a failed point's row lacks.
LAST = ("area_mm2", "notes", "error")
# What a table of totals shows: column, heading, how it is written.
SHOWN: tuple[tuple[str, str, Format], ...] = (
    ("cycles", "cycles", "count"),
    ("latency_us", "latency us", "number"),
    ("efficiency", "effic. %", "percent"),
    ("padding_share", "padding %", "percent"),
    ("energy_activity_nj", "nJ by activity", "number"),
    ("area_mm2", "mm2", "number"),
)
MOST_ROWS = 30  # of a table; files hold every point
MOST_PAGE_ROWS = 2000  # of a page's table, which sorts


@dataclass(frozen=True, eq=False, repr=False, kw_only=True)
class SweepResult(Answer):
    """A finished sweep.

    Attributes
    ----------
    rows
        Records with the same keys: ``model``, ``trace``, the varied fields, ``row`` (``"total"`` or ``"layer"``),
        ``layer``, then the columns of `eie.Result.to_csv`, nanojoules by unit, ``area_mm2``, ``notes`` and ``error``
        (totals only). A failed point has one total row with its error and no numbers.
    vary
        The varied fields and their values.
    spec
        The machine that was varied.
    notes
        What a reader must know about how the rows came to be.
    cell
        CACTI memory cell by which SRAMs are priced.
    objectives
        What `pareto` has marked the front of; empty before.
    any_clock
        Whether it took machines in whose clock is too fast.
    evaluated, not_evaluated
        Points in all and points that failed, where ``rows`` are of the front only; else None.
    """

    SCHEMA: ClassVar[str] = "eie-sweep"

    rows: tuple[Record, ...]
    vary: Vary
    spec: AcceleratorSpec
    notes: tuple[str, ...] = ()
    cell: Cell = "itrs-lop"
    objectives: tuple[str, ...] = ()
    any_clock: bool = False
    evaluated: int | None = None
    not_evaluated: int | None = None

    @classmethod
    def of(cls, rows: Sequence[Record], vary: Vary, spec: AcceleratorSpec, *, cell: Cell = "itrs-lop") -> SweepResult:
        """Give all rows the same keys, in the same order."""
        # In order of appearance: a failed point has few keys, so one row's cannot stand for all.
        keys = dict.fromkeys(key for row in rows for key in row if key not in LAST)
        order = (*keys, *LAST)
        same = tuple({key: row.get(key) for key in order} for row in rows)
        return cls(rows=same, vary=vary, spec=spec, cell=cell)

    @property
    def totals(self) -> tuple[Record, ...]:
        """The total rows of points that did not fail."""
        return tuple(row for row in self.rows if row["row"] == "total" and not row["error"])

    @property
    def workloads(self) -> tuple[tuple[str, str], ...]:
        """(model, trace) labels, in order."""
        return tuple(dict.fromkeys((row["model"], row["trace"]) for row in self.rows))

    @property
    def layers(self) -> tuple[Record, ...]:
        """The layer rows."""
        return tuple(row for row in self.rows if row["row"] == "layer")

    @property
    def failed(self) -> tuple[Record, ...]:
        """The rows of points that failed."""
        return tuple(row for row in self.rows if row["error"])

    @property
    def front(self) -> tuple[Record, ...]:
        """Total rows that `pareto` has marked."""
        return tuple(row for row in self.totals if row.get("pareto"))

    def pareto(self, *objectives: str, any_clock: bool = False) -> SweepResult:
        """Mark the points that no other point of the same workload beats in every objective.

        Parameters
        ----------
        *objectives
            ``"latency"``, ``"energy"``, ``"energy-delay"``, ``"area"``, or the name of a numeric column; all are to be
            small.
        any_clock
            Take machines in too whose clock is faster than their logic and SRAMs allow (``timing_met``).

        Returns
        -------
        SweepResult
            With a column ``pareto``: true on every row of such a point. Points without a figure for an objective are
            never marked.

        Raises
        ------
        SweepError
            For an objective that is not a numeric column.
        """
        columns = objective_columns(objectives, self.totals)
        marked: set[tuple[Any, ...]] = set()
        for workload in self.workloads:
            rows = [row for row in self.totals if (row["model"], row["trace"]) == workload]
            # Without a figure a point can neither beat nor be beaten: it is left out, not taken for 0.
            rows = [row for row in rows if all(row[column] is not None for column in columns)]
            # Nobody can build them; they would take the fast end of every front.
            rows = [row for row in rows if any_clock or row.get("timing_met") is not False]
            if not rows:
                continue
            values = np.array([[row[column] for column in columns] for row in rows], np.float64)
            # By point, not by row: its layers' rows are flagged with it.
            marked |= {self.point(row) for row, best in zip(rows, undominated(values), strict=True) if best}
        flagged = tuple({**row, "pareto": self.point(row) in marked} for row in self.rows)
        return replace(self, rows=flagged, objectives=objectives, any_clock=any_clock)

    def point(self, row: Record) -> tuple[Any, ...]:
        """Return what tells the row's point from others: its workload and the values of the varied fields."""
        return (row["model"], row["trace"], *(row[field] for field in self.vary))

    def headline(self) -> str:
        """Say what was varied over what."""
        fields = ", ".join(f"{field} ({len(values)} values)" for field, values in self.vary.items())
        models = ", ".join(dict.fromkeys(model for model, _ in self.workloads))
        count = len(self.totals) if self.evaluated is None else self.evaluated - (self.not_evaluated or 0)
        return f"{models} on {self.spec.name}, {count} points over {fields}"

    def sections(self) -> tuple[Section, ...]:
        """Return the totals of the points, or of the front where one is marked; the first `MOST_ROWS` of them."""
        return (self._points(self.front or self.totals, MOST_ROWS),)

    def page_sections(self) -> tuple[Section, ...]:
        """Return the totals of all points, these in a plane with the front, and the machine."""
        names = self._axes()
        # Where no front was asked for, that of what the plane shows.
        marked = self if self.objectives or not self.totals else self.pareto(*names)
        shown = marked.totals
        if len(shown) > MOST_PAGE_ROWS:
            # Those that are cut shall not be the best.
            shown = tuple(sorted(shown, key=lambda row: not row.get("pareto")))
        points = replace(marked._points(shown, MOST_PAGE_ROWS, front=True), title="Points")
        if self.totals:
            across, up = objective_columns(names, self.totals)
            chart = front_chart(marked.totals, (across, up), varied=tuple(self.vary), objectives=marked.objectives)
            points = replace(points, charts=(chart,) if chart else ())
        return (points, Section(name="figures", title="Figures"), machine_section(self.spec))

    def _axes(self) -> tuple[str, str]:
        """Return two objectives that points have figures for; of a front in more the first two."""
        if len(self.objectives) > 1:
            return self.objectives[0], self.objectives[1]
        for names in AXES:
            columns = objective_columns(names)
            if any(all(row.get(column) is not None for column in columns) for row in self.totals):
                return names
        return AXES[0]

    def provenance(self) -> Mapping[str, Value]:
        """Return the models and inputs."""
        return workload_facts(self.workloads)

    def _points(self, shown: Sequence[Record], most: int, *, front: bool = False) -> Section:
        columns = (
            Column("model", "model", "text"),
            *(Column(field, field, "word") for field in self.vary),
            *([Column("pareto", "front", "yes")] if front else []),
            *(Column(key, heading, format) for key, heading, format in SHOWN),
        )
        # A varied value is shown as it was given: 800.0 is no number to be rounded.
        rows = tuple(
            {
                **row,
                # A dash where there is no total; what else is missing has no figure, and is left empty.
                **({key: "-" for key, _, _ in SHOWN if row[key] is None} if row["cycles"] is None else {}),
                **{field: str(row[field]) for field in self.vary},
            }
            for row in shown[:most]
        )
        notes = []
        if len(shown) > most:
            notes.append(f"and {len(shown) - most:,} more points")
        if self.front:
            count = len(self.totals) if self.evaluated is None else self.evaluated
            notes.append(f"the front of {', '.join(self.objectives)}: {len(self.front)} of {count} points")
        if too_fast := sum(row.get("timing_met") is False for row in self.totals):
            out = "" if self.any_clock or not self.objectives else ", and are kept out of the front"
            notes.append(f"{too_fast} of {len(self.totals)} points have a clock that is too fast (timing_met){out}")
        # By model: a layer's own row says which of its layers.
        notes += drawn_notes(dict.fromkeys(str(row["model"]) for row in shown if row.get("synthetic_weights")))
        # Each once: points of one workload share their reasons.
        notes += dict.fromkeys(
            note for row in shown for note in row["notes"].split("; ") if note.startswith(("no total", "residency"))
        )
        if self.failed:
            notes.append(f"{len(self.failed)} points failed, first: {self.failed[0]['error'].splitlines()[0]}")
        return Section(name="points", grids=(Grid(columns=columns, rows=rows),), notes=tuple(notes))

    def records(self) -> list[dict[str, Any]]:
        """Return the rows, of layers and totals; docs/sweeps.md shows the way on to xarray."""
        return [dict(row) for row in self.rows]

    def about(self) -> dict[str, Any]:
        """Return what was swept, without the rows."""
        return {
            "spec": self.spec.model_dump(),
            "vary": {field: list(values) for field, values in self.vary.items()},
            "sram_cell": self.cell,
            "objectives": list(self.objectives),
            "any_clock": self.any_clock,
            "workloads": [dict(zip(("model", "trace"), workload, strict=True)) for workload in self.workloads],
            "points": len(self.totals) + len(self.failed) if self.evaluated is None else self.evaluated,
            "failed": len(self.failed) if self.not_evaluated is None else self.not_evaluated,
        }

    def content(self) -> dict[str, Any]:
        """Return what was swept, and every row."""
        return {**self.about(), "rows": self.records()}


def objective_columns(objectives: Iterable[str], rows: Sequence[Mapping[str, Any]] = ()) -> tuple[str, ...]:
    """Return the columns that objectives stand for.

    Raises
    ------
    SweepError
        Without objectives, or, where there are rows, for one that is not a numeric column of theirs.
    """
    columns = tuple(OBJECTIVES.get(name, name) for name in objectives)
    if not columns:
        raise SweepError(f"no objectives: name one or more of {', '.join(OBJECTIVES)}")
    for name in columns:
        values = [row.get(name) for row in rows]
        # bool apart: True is an int to Python, yet "fits" has no small and large.
        if any(isinstance(value, str | bool) for value in values) or (rows and name not in rows[0]):
            raise SweepError(f"objective {name!r}: must be {', '.join(OBJECTIVES)} or a numeric column")
    return columns


def undominated(values: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Say of each row of (N, M) whether no other row is as small everywhere and smaller somewhere; equals all stay."""
    # lexsort's last key counts first: reversed, the first objective leads.
    order = np.lexsort(values.T[::-1])
    best = np.zeros(len(values), bool)
    front = np.empty((0, values.shape[1]))
    for i in order:
        # Whatever beats a row sorts before it, and what beats that is on the front.
        beaten = (front <= values[i]).all(axis=1) & (front < values[i]).any(axis=1)
        if not beaten.any():
            best[i] = True
            front = np.vstack((front, values[i]))
    return best
