"""What binds a layer and by how much, as numbers and as one sentence.

Comes in: an `Activity` with its account, or a layer of a result, or its row in a result's file. Goes out: a frozen
`Diagnosis`, of a layer or of all of them. Read by `advise`, which tries what could help, and by the answer.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from eie.activity import Activity
from eie.errors import EieError
from eie.results import accounting
from eie.results.layer import LayerResult
from eie.show import numbers
from eie.show.brief import Brief

# What the time goes to, by the names of `accounting.BOUND_BY`.
CAUSES = {
    "broadcast": "handing out activations, one a cycle",
    "work": "entries that all PEs have to work off",
    "balance": "what the busiest PE has to do beyond the mean",
    "queue": "broadcasts that a full queue somewhere holds up",
    "scan": "scan cycles that find no activation to hand out",
    "load": "weights and maps that are still on their way from DRAM",
    "drain": "filling and emptying the pipeline",
}
# What PEs do meanwhile is worth a clause from so much of their cycles on.
TOLD = 0.05
DOING = {
    "empty_column": "columns in which the PE holds no weight",
    "padding": "padding",
    "idle_scan": "waiting for the scanner",
    "idle_stall": "waiting for a queue elsewhere",
    "idle_load": "waiting for a load",
    "drain": "waiting for the end",
}


@dataclass(frozen=True, eq=False, kw_only=True, repr=False)
class Diagnosis(Brief):
    """What binds a layer, or a network.

    Attributes
    ----------
    cycles, latency_us
        Of a sample, all that `LayerResult.total_cycles` counts.
    bound_parts
        Shares of the time, as `LayerResult.bound_parts`.
    bounds
        Cycles that no change of the queue can beat, by name; of a network their sums.
    lower_bound_cycles
        Of each sample the largest of them.
    balance_saves
        Share of the time by which the lower bound falls if all PEs had the same work.
    shares
        What PEs did, as `LayerResult.shares`; None where it was not counted.
    """

    name: str
    cycles: float
    latency_us: float
    bound_parts: Mapping[str, float]
    bounds: Mapping[str, float]
    lower_bound_cycles: float
    balance_saves: float
    shares: Mapping[str, float] | None

    @classmethod
    def of_activity(cls, activity: Activity, clock_mhz: float) -> Diagnosis:
        """Diagnose what was counted of a layer; shares where it has an account."""
        cycles = float(activity.total_cycles.mean())
        counted = None if activity.account is None else accounting.share_cycles(activity, activity.account)
        return cls(
            name=activity.layer,
            cycles=cycles,
            # MHz are cycles a microsecond.
            latency_us=cycles / clock_mhz,
            bound_parts=accounting.shares_of(accounting.totals(accounting.bound_by(activity))),
            bounds={name: float(least.mean()) for name, least in accounting.bounds(activity).items()},
            lower_bound_cycles=float(accounting.lower_bound(activity).mean()),
            balance_saves=float(accounting.balance_saves(activity).sum() / activity.total_cycles.sum()),
            shares=None if counted is None else accounting.shares_of(counted),
        )

    @classmethod
    def of_layer(cls, layer: LayerResult) -> Diagnosis:
        """Diagnose a layer of a result."""
        return cls(
            name=layer.name,
            cycles=layer.total_cycles,
            latency_us=layer.latency_us,
            bound_parts=layer.bound_parts,
            bounds=layer.bounds,
            lower_bound_cycles=layer.lower_bound_cycles,
            balance_saves=layer.balance_saves,
            # Without outputs nothing may be left to count from.
            shares=None if layer.account is None else layer.shares,
        )

    @classmethod
    def of_row(cls, row: Mapping[str, Any], clock_mhz: float, where: str) -> Diagnosis:
        """Diagnose a layer from its row in a result's file.

        Raises
        ------
        EieError
            If the file does not say what binds the layer: releases before 0.2 did not.
        """
        try:
            # All of them numbers in a file that `read_answer` has passed; what is text here is damage.
            shares = {name: row[f"share_{name}"] for name in accounting.SHARES}
            return cls(
                name=str(row["layer"]),
                cycles=float(row["total_cycles"]),
                latency_us=float(row["latency_us"]),
                bound_parts={name: float(row["bound_parts"][name]) for name in accounting.BOUND_BY},
                bounds={name: float(row[f"bound_{name}_cycles"]) for name in accounting.BOUNDS},
                lower_bound_cycles=float(row["lower_bound_us"]) * clock_mhz,
                balance_saves=float(row["balance_saves"]),
                shares=None if None in shares.values() else {name: float(part) for name, part in shares.items()},
            )
        except (KeyError, TypeError, ValueError):
            raise EieError(
                f"{where}: says of layer {row.get('layer')} not what binds it, as eie before 0.2 did not: "
                "run the model again (eie run MODEL --json FILE)"
            ) from None

    @classmethod
    def of_all(cls, name: str, layers: Sequence[Diagnosis]) -> Diagnosis:
        """Diagnose layers that run one after the other, each by its share of the time."""
        cycles = sum(layer.cycles for layer in layers)

        def mean(parts: Sequence[Mapping[str, float]]) -> dict[str, float]:
            weighed = zip(layers, parts, strict=True)
            total = dict.fromkeys(parts[0], 0.0)
            for layer, each in weighed:
                for part, share in each.items():
                    total[part] += share * layer.cycles / cycles
            return total

        counted = [layer.shares for layer in layers if layer.shares is not None]
        return cls(
            name=name,
            cycles=cycles,
            latency_us=sum(layer.latency_us for layer in layers),
            bound_parts=mean([layer.bound_parts for layer in layers]),
            bounds={part: sum(layer.bounds[part] for layer in layers) for part in layers[0].bounds},
            lower_bound_cycles=sum(layer.lower_bound_cycles for layer in layers),
            balance_saves=sum(layer.balance_saves * layer.cycles for layer in layers) / cycles,
            shares=mean(counted) if len(counted) == len(layers) else None,
        )

    @property
    def bound_by(self) -> str:
        """What takes the largest part of the time."""
        return accounting.binding(self.bound_parts)

    @property
    def queue_saves(self) -> float:
        """Share of the time that no queue, however deep, can save more than."""
        return max(0.0, 1 - self.lower_bound_cycles / self.cycles)

    def sentence(self, *, cause: bool = True) -> str:
        """Say what binds it and by how much, what PEs do meanwhile, and what even work and deeper queues would save.

        Parameters
        ----------
        cause
            Whether to say what the word for the cause means.
        """
        bound = self.bound_by
        said = (
            f"{self.name}: bound by {bound}, {_percent(self.bound_parts[bound])} of its {numbers.count(self.cycles)} "
            f"cycles{f': {CAUSES[bound]}' if cause else ''}"
        )
        if meanwhile := self._meanwhile():
            said += f"; PEs spend {meanwhile}"
        # Never below what it says: a saving that shows as 0 % is not promised.
        even, queues = _percent(self.balance_saves), _percent(self.queue_saves)
        if even == queues == NOTHING:
            return f"{said}. Neither even work nor deeper queues would save anything."
        if even == NOTHING:
            return f"{said}. Deeper queues would save at most {queues}, even work nothing."
        return f"{said}. Even work would save {even}, deeper queues at most {queues}."

    def _meanwhile(self) -> str:
        """Say what PEs do that is no work, largest first."""
        if self.shares is None:
            return ""
        idle = sorted(((self.shares[key], words) for key, words in DOING.items()), reverse=True)
        told = [f"{_percent(share)} of their cycles on {words}" for share, words in idle[:1] if share >= TOLD]
        told += [f"{_percent(share)} on {words}" for share, words in idle[1:2] if share >= TOLD and told]
        return " and ".join(told)

    def record(self) -> dict[str, Any]:
        """Return all of it as a flat record; None for shares that were not counted."""
        shares = self.shares or dict.fromkeys(accounting.SHARES)
        return {
            "layer": self.name,
            "total_cycles": self.cycles,
            "latency_us": self.latency_us,
            "bound_by": self.bound_by,
            **{f"bound_part_{name}": share for name, share in self.bound_parts.items()},
            **{f"bound_{name}_cycles": cycles for name, cycles in self.bounds.items()},
            "lower_bound_cycles": self.lower_bound_cycles,
            "queue_saves_at_most": self.queue_saves,
            "balance_saves": self.balance_saves,
            **{f"share_{name}": share for name, share in shares.items()},
            "sentence": self.sentence(),
        }


NOTHING = "0 %"


def _percent(share: float) -> str:
    # One digit where a whole number would say nothing.
    return f"{100 * share:.0f} %" if share >= 0.1 or share < 0.0005 else f"{100 * share:.1f} %"
