"""Where the time went: what each layer, or each point of a sweep, took on both sides, and the change in parts.

Comes in: two `Side` records. Goes out: `Delta` records with cycles as whole numbers of `GRAINS`, so that what PEs did
adds up to the change exactly, in whatever order. Read by the answer.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from eie.energy.estimate import KINDS
from eie.errors import EieError
from eie.machines.rows import ENERGIES, NOT_MODELLED
from eie.results import accounting
from eie.show.brief import Brief
from eie.show.sections import Value
from eie.studies.difference.sides import Side

# Of a cycle: a batch's means are no whole numbers. Sums of them are exact in floating point up to 2**37 cycles.
GRAINS = 1 << 16
_SHARE_GRAINS = round(1 / accounting.GRAIN)


@dataclass(frozen=True, kw_only=True, repr=False)
class Spent(Brief):
    """What something took on one side, a sample.

    Attributes
    ----------
    grains
        Cycles, in whole numbers of 1 / `GRAINS`.
    parts
        The same by what PEs did (the mean PE's cycles), or None where that was not counted.
    bound_by
        What binds, and how much of the time it explains; empty where nothing is known.
    kind_nj
        Nanojoules by kind, where they are known.
    """

    grains: int
    latency_us: float
    energy_nj: float | None = None
    kind_nj: Mapping[str, float] = field(default_factory=dict)
    parts: Mapping[str, int] | None = None
    bound_by: str = ""
    bound_by_share: float | None = None
    weight_density: float | None = None
    activation_density: float | None = None

    @property
    def cycles(self) -> float:
        """Cycles a sample, all that it takes."""
        return self.grains / GRAINS


@dataclass(frozen=True, repr=False)
class Delta(Brief):
    """One layer or point: what says which, and what it took; None where a side has no such thing."""

    names: Mapping[str, Value]
    a: Spent | None
    b: Spent | None

    @property
    def only(self) -> str:
        """The one side that has it, or empty."""
        return "" if self.a and self.b else "A" if self.a else "B"

    @property
    def cycles(self) -> float:
        """Cycles that B takes more; what only A has counts as saved, what only B has as added."""
        return (_grains(self.b) - _grains(self.a)) / GRAINS

    @property
    def parts(self) -> dict[str, float] | None:
        """The same by what PEs did, adding up to `cycles` exactly; None where a side was not accounted."""
        sides = [side for side in (self.a, self.b) if side is not None]
        if any(side.parts is None for side in sides):
            return None
        return {
            name: (_parts(self.b).get(name, 0) - _parts(self.a).get(name, 0)) / GRAINS for name in accounting.SHARES
        }

    @property
    def latency_us(self) -> float:
        """Microseconds that B takes more."""
        return (self.b.latency_us if self.b else 0.0) - (self.a.latency_us if self.a else 0.0)

    @property
    def energy_nj(self) -> float | None:
        """Nanojoules that B takes more, or None where a side has no price."""
        sides = [side.energy_nj for side in (self.a, self.b) if side is not None]
        if None in sides:
            return None
        return ((self.b and self.b.energy_nj) or 0.0) - ((self.a and self.a.energy_nj) or 0.0)

    @property
    def kind_nj(self) -> dict[str, float]:
        """The same by kind (dynamic, clock, leakage, dram), where both sides have them."""
        sides = [side.kind_nj for side in (self.a, self.b) if side is not None]
        kinds = [kind for kind in KINDS if all(kind in side for side in sides)]
        before, after = (side.kind_nj if side else {} for side in (self.a, self.b))
        return {kind: after.get(kind, 0.0) - before.get(kind, 0.0) for kind in kinds}

    @property
    def none(self) -> bool:
        """Whether both sides take the same."""
        return not self.only and not self.cycles and not self.latency_us and not self.energy_nj and not self._moved

    @property
    def _moved(self) -> bool:
        return any((self.parts or {}).values())


def _grains(cost: Spent | None) -> int:
    return 0 if cost is None else cost.grains


def _parts(cost: Spent | None) -> Mapping[str, int]:
    return {} if cost is None or cost.parts is None else cost.parts


def layer_changes(a: Side, b: Side) -> tuple[Delta, ...]:
    """Match the layers of two results by name: those of A in order, then what only B has."""
    energy = _priced(a.values["layers"], b.values["layers"])
    costs = [{(row["layer"],): cost(row, energy) for row in _modelled(side)} for side in (a, b)]
    return _matched(costs[0], costs[1], ("layer",))


def point_changes(a: Side, b: Side) -> tuple[Delta, ...]:
    """Match the rows of two sweeps by workload, varied values and layer.

    A field that one side does not vary has the value of its machine. Two sweeps of one workload each are matched
    whatever these are called: that is what differs.
    """
    fields = tuple(dict.fromkeys([*a.values["vary"], *b.values["vary"]]))
    alone = all(len(side.values["workloads"]) == 1 for side in (a, b))
    energy = _priced(a.values["rows"], b.values["rows"])
    load = () if alone else ("model", "trace")
    costs = []
    for side in (a, b):
        keyed = {}
        for row in side.values["rows"]:
            # A failed point has no numbers, a network whose layers do not add up no total.
            if row.get("error") or row.get("latency_us") is None:
                continue
            at = (row[name] if name in row else getattr(side.spec, name) for name in fields)
            keyed[(*(row[name] for name in load), *at, row["row"], row["layer"] or "")] = cost(row, energy)
        costs.append(keyed)
    return _matched(costs[0], costs[1], (*load, *fields, "row", "layer"))


def _matched(
    a: Mapping[tuple[Any, ...], Spent], b: Mapping[tuple[Any, ...], Spent], names: Sequence[str]
) -> tuple[Delta, ...]:
    keys = dict.fromkeys([*a, *b])
    return tuple(Delta(dict(zip(names, key, strict=True)), a.get(key), b.get(key)) for key in keys)


def total_of(changes: Iterable[Delta]) -> Delta:
    """Add layers up; what is not known of one is not known of the whole."""
    listed = list(changes)
    sides = [[side for side in costs if side is not None] for costs in zip(*((c.a, c.b) for c in listed), strict=True)]
    return Delta({"layer": "total"}, *(_added(side) for side in sides))


def _added(costs: Sequence[Spent]) -> Spent | None:
    if not costs:
        return None
    energies = [cost.energy_nj for cost in costs]
    parts = [cost.parts for cost in costs]
    kinds = [kind for kind in KINDS if all(kind in cost.kind_nj for cost in costs)]
    return Spent(
        grains=sum(cost.grains for cost in costs),
        latency_us=sum(cost.latency_us for cost in costs),
        energy_nj=None if None in energies else sum(filter(None, energies)),
        kind_nj={kind: sum(cost.kind_nj[kind] for cost in costs) for kind in kinds},
        parts=None if None in parts else accounting.added(part for part in parts if part is not None),
    )


def _modelled(side: Side) -> list[Mapping[str, Any]]:
    rows: list[Mapping[str, Any]] = [row for row in side.values["layers"] if not row["layer"].startswith(NOT_MODELLED)]
    if len({row["layer"] for row in rows}) < len(rows):
        raise EieError(f"{side.label}: damaged result: two layers of one name")
    return rows


def _priced(*tables: Sequence[Mapping[str, Any]]) -> str:
    """Return the one method by which all rows of both sides have an energy, or an empty text."""
    numbers = [row for rows in tables for row in rows if row.get("latency_us") is not None and not row.get("error")]
    return next((key for key in ENERGIES if all(row.get(key) is not None for row in numbers)), "")


def cost(row: Mapping[str, Any], energy: str) -> Spent:
    """Read a flat record, as results and sweeps have them.

    Parameters
    ----------
    energy
        Key of the energy to take, or empty.
    """
    grains = round(_cycles(row) * GRAINS)
    shares = {name: row.get(f"share_{name}") for name in accounting.SHARES}
    parts = None
    if all(share is not None for share in shares.values()):
        # Shares are whole numbers of 2**-40, whose sum is one: no cycle is lost on the way.
        weights = {name: round(float(share or 0) * _SHARE_GRAINS) for name, share in shares.items()}
        parts = accounting.apportioned(weights, grains) if any(weights.values()) else None
    kinds = {kind: row.get(energy.replace("_nj", f"_{kind}_nj")) for kind in KINDS} if energy else {}
    return Spent(
        grains=grains,
        latency_us=float(row["latency_us"]),
        energy_nj=float(row[energy]) if energy else None,
        kind_nj={kind: float(nj) for kind, nj in kinds.items() if nj is not None},
        parts=parts,
        bound_by=str(row.get("bound_by") or ""),
        bound_by_share=row.get("bound_by_share"),
        weight_density=row.get("weight_density"),
        activation_density=row.get("activation_density"),
    )


def _cycles(row: Mapping[str, Any]) -> float:
    # Results of eie 0.1 have no others than `cycles`, totals of a sweep have them apart.
    whole = row.get("total_cycles")
    if whole is not None:
        return float(whole)
    return float(row["cycles"]) + float(row.get("act_batch_cycles") or 0) + float(row.get("bus_wait_cycles") or 0)
