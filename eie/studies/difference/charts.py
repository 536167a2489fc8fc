"""What a page draws of a difference: the change of each layer by what PEs do, of each point as a whole.

Comes in: `Delta` records. Goes out: `Bars`. Read by the answer; `eie.plots.difference` draws the same as a file.
"""

from __future__ import annotations

from collections.abc import Sequence

from eie.show.charts import Bars
from eie.studies.difference.changes import Delta

MOST_BARS = 100  # those that changed most


def part_bars(changes: Sequence[Delta]) -> Bars:
    """Return a bar a layer: right of the line what B does more, left of it what it does less."""
    drawn = _most(changes)
    return Bars(
        caption="Cycles of the mean PE that B takes more (right) and less (left)",
        rows={name_of(change): change.parts or {} for change in drawn},
        unit="cycles",
        whole=False,
    )


def point_bars(changes: Sequence[Delta]) -> Bars:
    """Return a bar a point that both sides have."""
    drawn = _most([change for change in changes if not change.only])
    return Bars(
        caption="Cycles that B takes more (right) and less (left)",
        rows={name_of(change): {"change": change.cycles} for change in drawn},
        unit="cycles",
        whole=False,
    )


def name_of(change: Delta) -> str:
    """Say which layer or point it is, in one line."""
    names = {key: value for key, value in change.names.items() if key != "row" and value != ""}
    # A field needs its name, a model and a layer are names.
    return ", ".join(str(value) if isinstance(value, str) else f"{key} {value}" for key, value in names.items())


def _most(changes: Sequence[Delta]) -> list[Delta]:
    """Return those that changed most, in their order."""
    chosen = sorted(range(len(changes)), key=lambda i: -abs(changes[i].cycles))[:MOST_BARS]
    return [changes[i] for i in sorted(chosen)]
