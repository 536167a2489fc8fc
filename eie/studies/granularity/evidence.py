"""What statements on granularities read of a study, and how their numbers and verdicts are put.

Comes in: a `Rows`. Goes out: forms, speedups, intervals; a `Statement`. Read by `claims`.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from eie.machines import noise
from eie.machines.noise import Interval
from eie.machines.records import LayerCost
from eie.show.sections import Statement
from eie.studies.granularity.rows import Row, Rows
from eie.studies.machines import is_sparse

TOO_NOISY = "too noisy"


def forms_of(study: Rows, family: str) -> list[Row]:
    """Return the forms of a family that exist."""
    return [row for row in study.found if row.variant.family == family]


def speedups_of(study: Rows, rows: Iterable[Row], machine: str) -> list[float]:
    """Return the speedups that are known."""
    return [speedup for row in rows if (speedup := study.speedup(row, machine)) is not None]


def intervals_of(study: Rows, rows: Iterable[Row], machine: str) -> list[Interval]:
    """Return where the speedups are that are known."""
    return [value for row in rows if (value := study.speedup_interval(row, machine)) is not None]


def in_times(value: Interval) -> str:
    """Write a speedup, or from where to where it may be."""
    return f"{value.low:.2f}x" if value.low == value.high else f"{value.low:.2f}x to {value.high:.2f}x"


def in_figures(value: Interval) -> str:
    """Write a number, or from where to where it may be."""
    return f"{value.low:.2f}" if value.low == value.high else str(value)


def judged(place: str, claim: str, holds: bool | None, *, numbers: str, doubtful: Sequence[Interval]) -> Statement:
    """Return a verdict, or where noise lets there be none, over what it reaches."""
    if holds is None:
        numbers = f"{TOO_NOISY} ({noise.hull(doubtful)}): {numbers}"
    return Statement(place=place, claim=claim, holds=holds, found=numbers)


def dense_forms(study: Rows) -> list[str]:
    """Return the machines on which a smaller dense layer is a smaller dense layer."""
    # Sparse storage is left out: it pays indices for weights that are all there.
    return [machine for machine in study.machines if not is_sparse(machine)]


def kept_share(study: Rows, row: Row) -> float:
    """Weights left over those of the unpruned network."""
    return (row.kept or 0) / (study.unpruned.kept or 1)


def has_n_of_m(row: Row, machine: str) -> bool:
    """Say whether some layer happens to satisfy N:M, so that a tensor core is no dense machine for it."""
    assert row.costs is not None
    return any(layer.details.get("n_of_m") for layer in row.costs[machine].layers)


def accuracy_by_density(study: Rows) -> list[tuple[float, float]]:
    """Return share of weights left and accuracy of the fine-grained variants and the unpruned network, ascending."""
    rows = [study.unpruned, *forms_of(study, "fine")]
    # Ascending: np.interp needs it and does not check.
    return sorted((kept_share(study, row), row.accuracy) for row in rows if row.accuracy is not None and row.kept)


def layer_speedups(study: Rows) -> list[float]:
    """Return the speedups of single layers by 2:4 on machines that know it."""
    speedups = []
    for row in forms_of(study, "2:4"):
        for machine in study.machines:
            if machine.startswith("tensor-core"):
                speedups += _ratios(study.unpruned, row, machine)
    return speedups


def _ratios(before: Row, after: Row, machine: str) -> list[float]:
    assert before.costs is not None
    assert after.costs is not None
    # By place and strictly: 2:4 changes no layer's shape and takes none out.
    pairs: Sequence[tuple[LayerCost, LayerCost]] = list(
        zip(before.costs[machine].layers, after.costs[machine].layers, strict=True)
    )
    return [full.latency_us / less.latency_us for full, less in pairs if full.latency_us and less.latency_us]


def tuning(study: Rows) -> str:
    """Say how long forms were fine-tuned."""
    return f"fine-tuned for {study.epochs} epochs" if study.epochs else "not fine-tuned"


def not_shown(place: str, claim: str, why: str) -> Statement:
    """Return a claim that the study cannot show, with the reason."""
    return Statement(place=place, claim=claim, holds=None, found=why)
