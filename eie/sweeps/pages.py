"""What a page shows of a sweep: every point in a table that sorts, and the points in a plane with the front drawn.

Comes in: a `SweepResult`'s rows. Goes out: charts. Read by `SweepResult.page_sections`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from eie.show.charts import Point, Points
from eie.show.numbers import count
from eie.show.records import Record

# What the two axes are where no front was asked for: the first pair that the points have.
AXES: tuple[tuple[str, str], ...] = (("latency", "energy"), ("latency", "area"))
# Of points that are not on the front: each has a name, and a page of more takes long to open.
MOST_DOTS = 2000
# Of axes, on pages and in figures.
LABELS = {
    "n_pe": "processing elements",
    "act_queue_depth": "activation queue depth (ring slots)",
    "spmat_row_bits": "sparse-matrix SRAM row (bits)",
    "clock_mhz": "clock (MHz)",
    "latency_us": "latency (us)",
    "energy_activity_nj": "energy by activity (nJ)",
    "energy_published_power_nj": "energy by published power (nJ)",
    "energy_delay_nj_us": "energy x delay (nJ us)",
    "area_mm2": "area (mm2)",
}


def front_chart(
    rows: Sequence[Record], columns: tuple[str, str], *, varied: Sequence[str], objectives: Sequence[str]
) -> Points | None:
    """Return points over two columns, those marked that `SweepResult.pareto` marked; None without any.

    Parameters
    ----------
    varied
        Fields that say which point it is.
    objectives
        What the front is of.
    """
    x, y = columns
    known = [row for row in rows if row.get(x) is not None and row.get(y) is not None]
    front = [row for row in known if row.get("pareto")]
    others = [row for row in known if not row.get("pareto")]
    step = max(1, -(-len(others) // MOST_DOTS))
    series: dict[str, list[Point]] = {}
    for row in (*front, *others[::step]):
        name = ", ".join(f"{field} {_said(row[field])}" for field in varied)
        point = Point(x=float(row[x]), y=float(row[y]), name=name, marked=bool(row.get("pareto")))
        series.setdefault(_workload(row, rows), []).append(point)
    if not series:
        return None
    return Points(
        caption=f"{_drawn(step)}, and the front of {' and '.join(objectives)}",
        x_label=axis_label(x),
        y_label=axis_label(y),
        series=series,
        marked="front",
    )


def _drawn(step: int) -> str:
    return "All points" if step == 1 else f"One in {count(step)} points"


def _workload(row: Record, rows: Sequence[Record]) -> str:
    # The inputs only where a model ran on several.
    traces = {other["trace"] for other in rows if other["model"] == row["model"]}
    return str(row["model"]) if len(traces) == 1 else f"{row['model']}, {row['trace']}"


def axis_label(column: str) -> str:
    """Say in words, with its unit, what a column of a sweep is."""
    return LABELS.get(column, column.replace("_", " "))


def _said(value: Any) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value)


def workload_facts(workloads: Sequence[tuple[str, str]]) -> Mapping[str, str]:
    """Say what was swept, for the foot of a page."""
    return {
        "models": ", ".join(dict.fromkeys(model for model, _ in workloads)),
        "inputs": ", ".join(dict.fromkeys(trace for _, trace in workloads)),
    }
