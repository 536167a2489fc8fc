"""Where a layer's time goes: shares of PE cycles by what PEs did, lower bounds, and which of them binds.

Comes in: an `Activity`, and for the shares its `Account`. Goes out: PE cycles and cycles by name, integers a sample.
Read by `eie.results.layer` and `eie.results.result`, which make shares of them; docs/cycle-model.md, "Where the cycles
go", defines every name.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from functools import wraps
from typing import TypeVar
from weakref import WeakKeyDictionary

import numpy as np
from numpy.typing import NDArray

from eie.activity import Account, Activity
from eie.kernels.timing import FILL_CYCLES, PIPELINE_CYCLES

# What a PE does in a cycle: it works, or it is idle for a cause.
SHARES = ("useful", "padding", "empty_column", "idle_broadcast", "idle_scan", "idle_stall", "idle_load", "drain")
# What a layer's time is bound by; of equals the first is named.
BOUND_BY = ("broadcast", "work", "balance", "queue", "scan", "load", "drain")
BOUNDS = ("broadcast", "busiest_pe", "work", "load")
# Shares are whole numbers of these: sums of them are exact in floating point, in whatever order they are added.
GRAIN = 2.0**-40

Cycles = NDArray[np.int64]
T = TypeVar("T")


def _once(make: Callable[[Activity], T]) -> Callable[[Activity], T]:
    """Remember what was made of an activity as long as it lives: points of a sweep that differ in clock share it."""
    known: WeakKeyDictionary[Activity, T] = WeakKeyDictionary()

    @wraps(make)
    def asked(activity: Activity) -> T:
        value = known.get(activity)
        if value is None:
            value = known[activity] = make(activity)
        return value

    return asked


def pe_cycles(activity: Activity, account: Account, padding: Cycles) -> dict[str, Cycles]:
    """Return, by the names of `SHARES`, int64 (N, P) cycles of each PE; over all names they are `total_cycles`."""
    return {"useful": activity.per_pe["issue"] - padding, "padding": padding, **_others(activity, account)}


def _others(activity: Activity, account: Account) -> dict[str, Cycles]:
    per_pe = activity.per_pe
    # Outside the contract's cycles nothing is left to do but to fill registers and to wait for the bus.
    beyond = (activity.total_cycles - activity.cycles)[:, None]
    return {
        "empty_column": per_pe["empty_column"],
        "idle_broadcast": account.broadcast,
        "idle_scan": per_pe["starved"] - account.broadcast - account.stall,
        "idle_stall": account.stall,
        "idle_load": per_pe["load"] + beyond,
        "drain": per_pe["drain"],
    }


def share_cycles(activity: Activity, account: Account) -> dict[str, int]:
    """Add up `pe_cycles` over samples and PEs; whatever writes nothing is padding."""
    # Over all PEs every engine has counted it, and of strips also the entries whose outputs lie outside the map.
    padding = int(activity.counts["padding_entries"].sum())
    issued = int(activity.per_pe["issue"].sum())
    return {"useful": issued - padding, "padding": padding, **totals(_others(activity, account))}


@_once
def bounds(activity: Activity) -> Mapping[str, NDArray[np.float64]]:
    """Return, by the names of `BOUNDS`, float64 (N,) cycles that a sample takes at least, whatever the queue."""
    counts = activity.counts
    # Each product loads a row before it scans; it fills the pipeline once, and drains it.
    scanned = counts["broadcasts"] + counts["dead_scan_cycles"] + activity.walks
    taken = (activity.per_pe["issue"] + activity.per_pe["empty_column"]).max(axis=1)
    return {
        "broadcast": scanned.astype(np.float64),
        "busiest_pe": (taken + (FILL_CYCLES + PIPELINE_CYCLES) * activity.walks).astype(np.float64),
        "work": activity.theoretical_cycles,
        "load": _load(activity).astype(np.float64),
    }


@_once
def lower_bound(activity: Activity) -> NDArray[np.float64]:
    """Return float64 (N,): the largest of `bounds`, never above `total_cycles`."""
    least: NDArray[np.float64] = np.max(list(bounds(activity).values()), axis=0)
    return least


@_once
def balance_saves(activity: Activity) -> NDArray[np.float64]:
    """Return float64 (N,): cycles by which the lower bound falls if every PE takes the mean of all PEs' slots."""
    least = bounds(activity)
    slots = (activity.per_pe["issue"] + activity.per_pe["empty_column"]).mean(axis=1)
    even = slots + (FILL_CYCLES + PIPELINE_CYCLES) * activity.walks
    others = np.maximum(least["broadcast"], least["load"])
    saved: NDArray[np.float64] = np.maximum(least["busiest_pe"], others) - np.maximum(even, others)
    return saved


def bound_by(activity: Activity) -> dict[str, Cycles]:
    """Split, by the names of `BOUND_BY`, the P x `total_cycles` PE cycles of each sample; int64 (N,).

    The largest bound takes what it explains; what is left goes to loading, to the queues, and to the drain.
    """
    n_pe, counts = activity.n_pe, activity.counts
    entries, sent, dead = counts["entries"], counts["broadcasts"] * n_pe, counts["dead_scan_cycles"] * n_pe
    slots = activity.per_pe["issue"] + activity.per_pe["empty_column"]
    busiest, fullest = activity.per_pe["issue"].max(axis=1) * n_pe, slots.max(axis=1) * n_pe
    load = _load(activity) * n_pe
    least = bounds(activity)
    by_load = least["load"] >= np.maximum(least["broadcast"], least["busiest_pe"])
    by_scan = ~by_load & (sent + dead >= busiest)
    by_work = ~(by_load | by_scan)
    # Beyond the scanner's pace lie columns of several entries: those of the mean PE are work, the rest is imbalance.
    mean = np.maximum(slots.sum(axis=1), sent + dead)
    parts = {
        "broadcast": by_scan * sent + by_work * (fullest - busiest),
        "work": by_scan * (mean - sent - dead) + by_work * entries,
        "balance": by_scan * (np.maximum(fullest, mean) - mean) + by_work * (busiest - entries),
        "queue": np.zeros_like(sent),
        "scan": by_scan * dead + by_work * np.maximum(0, sent + dead - fullest),
        "load": by_load * load,
        "drain": np.zeros_like(sent),
    }
    left = activity.total_cycles * n_pe - sum(parts.values())
    beyond = (activity.total_cycles - activity.cycles) * n_pe
    for name, cause in (
        ("load", beyond),
        ("load", counts["load_wait_cycles"]),
        ("queue", counts["stall_cycles"] * n_pe),
    ):
        part = np.minimum(left, cause)
        parts[name] = parts[name] + part
        left = left - part
    parts["drain"] = left
    return parts


@_once
def bound_parts(activity: Activity) -> Mapping[str, float]:
    """Return the shares that `bound_by` makes of the time of all samples."""
    return shares_of(totals(bound_by(activity)))


def totals(cycles: Mapping[str, Cycles]) -> dict[str, int]:
    """Add up samples and PEs."""
    return {name: int(values.sum()) for name, values in cycles.items()}


def added(parts: Iterable[Mapping[str, int]]) -> dict[str, int]:
    """Add up layers."""
    total: dict[str, int] = {}
    for part in parts:
        for name, value in part.items():
            total[name] = total.get(name, 0) + value
    return total


def shares_of(cycles: Mapping[str, int]) -> dict[str, float]:
    """Return each number's share of their sum; the shares add up to one exactly, in whatever order."""
    return {name: count * GRAIN for name, count in apportioned(cycles, round(1 / GRAIN)).items()}


def apportioned(parts: Mapping[str, int], total: int) -> dict[str, int]:
    """Split a whole number in proportion to whole numbers, into whole numbers that add up to it."""
    whole = sum(parts.values())
    floors = {name: value * total // whole for name, value in parts.items()}
    # What rounding down has left goes to those that lost most: fewer than there are names.
    losers = sorted(parts, key=lambda name: -(parts[name] * total % whole))
    for name in losers[: total - sum(floors.values())]:
        floors[name] += 1
    return floors


def binding(shares: Mapping[str, float]) -> str:
    """Return which name of `BOUND_BY` has the largest share."""
    return max(shares, key=lambda name: shares[name])


def in_words(shares: Mapping[str, float]) -> str:
    """Say what binds and by how much: ``broadcast 87 %``."""
    name = binding(shares)
    return f"{name} {100 * shares[name]:.0f} %"


def _load(activity: Activity) -> Cycles:
    """Cycles in which the bus was busy, or weights were brought in between passes."""
    return np.maximum(activity.counts["bus_cycles"], activity.reload_cycles)
