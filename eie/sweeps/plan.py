"""What a sweep is made of: workloads (a model on its inputs) and points (a workload on one machine).

Comes in: models, traces, a base spec and changes to it. Goes out: `Workload` and `Point` records with content keys.
Read by the stages, the journal and the run.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from importlib.resources import files
from importlib.resources.abc import Traversable
from typing import Any

from eie.energy.tables import Cell
from eie.errors import ModelError, SpecError
from eie.importers.entrance import as_network
from eie.simulator.workload import Workload
from eie.spec import AcceleratorSpec
from eie.sweeps.vary import Changes
from eie.version import __version__

# Everything between weights and a row of the table: where one of these changes, old journal lines no longer count.
ENGINE_SOURCES = (
    "activity.py",
    "compiler",
    "compression",
    "energy",
    "formats",
    "kernels",
    "machines",
    "model",
    "results",
    "simulator",
    "spec.py",
    "sweeps",
)


@dataclass(frozen=True, kw_only=True)
class Point:
    """One workload on one machine.

    Attributes
    ----------
    workload
        Its place in the sweep's list.
    changes
        The varied fields and their values.
    spec
        The machine, or None where the changes do not make one: ``error`` says why.
    key
        SHA-256 over spec, workload, energy cell and engine: equal keys, equal rows.
    """

    workload: int
    changes: Mapping[str, Any]
    spec: AcceleratorSpec | None
    error: str
    key: str


def workloads(models: object, traces: object) -> tuple[Workload, ...]:
    """Pair every model with every trace.

    Parameters
    ----------
    models
        One or a list of: `Network`, `Layer`, path or name of a shipped model, or a pair (model, inputs).
    traces
        None, or one or a list of inputs as `eie.simulate` takes them, for the models without inputs of their own.
    """
    shared = list(traces) if isinstance(traces, list) else [traces]
    loads: list[Workload] = []
    for model in models if isinstance(models, list) else [models]:
        if isinstance(model, tuple) and len(model) != 2:
            raise ModelError(f"a tuple of {len(model)}: must be a pair (model, inputs); several models go in a list")
        pairs = [model] if isinstance(model, tuple) else [(model, inputs) for inputs in shared]
        loads += [Workload.of(as_network(weights), inputs) for weights, inputs in pairs]
    labels: dict[tuple[str, str], int] = {}
    for i, load in enumerate(loads):
        count = labels[load.model, load.trace] = labels.get((load.model, load.trace), 0) + 1
        if count > 1:
            loads[i] = replace(load, model=f"{load.model} ({count})")
    return tuple(loads)


def points(
    loads: Sequence[Workload], base: AcceleratorSpec, changes: Iterable[Changes], cell: Cell
) -> tuple[Point, ...]:
    """Make the points of every workload under every set of changes.

    A set that makes no machine becomes a point with an error, so that the others still run.
    """
    machines: list[tuple[Changes, AcceleratorSpec | None, str, Mapping[str, Any]]] = []
    for change in changes:
        try:
            spec = base.replace(**change)
            machines.append((change, spec, "", spec.model_dump(exclude={"name"})))
        except SpecError as error:
            machines.append((change, None, str(error), {**base.model_dump(exclude={"name"}), **change}))
    return tuple(
        Point(workload=i, changes=change, spec=spec, error=error, key=_key(load.content_hash, values, cell))
        for i, load in enumerate(loads)
        for change, spec, error, values in machines
    )


def refuse_useless_values(found: Sequence[Point]) -> None:
    """Raise `SpecError` for a value that makes no machine in any combination: a slip, not a corner of the grid."""
    good = {(name, value) for point in found if point.spec for name, value in point.changes.items()}
    bad: dict[tuple[str, Any], str] = {}
    for point in found:
        for name, value in point.changes.items():
            if (name, value) not in good:
                bad.setdefault((name, value), point.error)
    if bad:
        raise SpecError(list(dict.fromkeys(line for error in bad.values() for line in error.splitlines())))


@cache
def engine_digest() -> str:
    """SHA-256 over the sources and tables that decide a row, and the package's version."""
    digest = hashlib.sha256(__version__.encode())
    for name in ENGINE_SOURCES:
        _digest_sources(files("eie") / name, digest)
    return digest.hexdigest()


def _digest_sources(place: Traversable, digest: Any) -> None:
    if place.is_dir():
        for child in sorted(place.iterdir(), key=lambda one: one.name):
            if child.is_dir() or child.name.endswith((".py", ".toml", ".csv")):
                _digest_sources(child, digest)
        return
    digest.update(place.name.encode() + b"\0" + place.read_bytes())


def _key(content_hash: str, spec: Mapping[str, Any], cell: Cell) -> str:
    parts = {"spec": spec, "workload": content_hash, "cell": cell, "engine": engine_digest()}
    return hashlib.sha256(json.dumps(parts, sort_keys=True, default=repr).encode()).hexdigest()
