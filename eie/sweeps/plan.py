"""What a sweep is made of: workloads (a model on its inputs) and points (a workload on one machine).

Comes in: models, traces, a base spec and changes to it. Goes out: `Workload` and `Point` records with content keys.
Read by the stages, the journal and the run.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from importlib.resources import files
from importlib.resources.abc import Traversable
from typing import Any

from eie.compiler.choice import Conv, check_conv
from eie.compiler.memory import stated_by
from eie.compression.bias import BiasPlace, check_place
from eie.energy.tables import Cell
from eie.errors import ModelError, SpecError
from eie.importers.entrance import as_network
from eie.model.fitting import Layout
from eie.model.network import Network
from eie.recording.inputs import opened
from eie.simulator.workload import Workload
from eie.spec import AcceleratorSpec
from eie.sweeps.vary import Changes
from eie.version import __version__

# Rooms that no row of a sweep depends on, since nothing that makes rows imports them: they ask for results or show
# them. All else counts, a new module too: a row that was made before a change of it is made again.
OUTSIDE = ("__main__.py", "cli", "plots", "shipped", "studies")


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


def workloads(
    models: object,
    traces: object,
    *,
    layout: Layout | None = None,
    bias: BiasPlace = "auto",
    conv: Conv = "auto",
) -> tuple[Workload, ...]:
    """Pair every model with every trace.

    Parameters
    ----------
    models
        One or a list of: `Network`, `Layer`, path or name of a shipped model, or a pair (model, inputs).
    traces
        None, or one or a list of inputs as `eie.simulate` takes them, for the models without inputs of their own.
    layout
        Of arrays, as `eie.simulate` takes it.
    bias
        Where float biases go, as of `eie.compile`.
    conv
        How convolutions run, as of `eie.compile`.
    """
    check_place(bias)
    check_conv(conv)
    # Lists only are several: a tuple is a pair, an array or a mapping is one input.
    shared = list(traces) if isinstance(traces, list) else [traces]
    loads: list[Workload] = []
    for model in models if isinstance(models, list) else [models]:
        if isinstance(model, tuple) and len(model) != 2:
            raise ModelError(f"a tuple of {len(model)}: must be a pair (model, inputs); several models go in a list")
        # A pair has its own inputs, so `traces` does not multiply it.
        pairs = [model] if isinstance(model, tuple) else [(model, inputs) for inputs in shared]
        for weights, given in pairs:
            inputs = opened(given)
            network = as_network(weights, examples=inputs, layout=layout)
            loads.append(Workload.of(network, inputs, layout=layout, bias=bias, conv=conv))
    labels: dict[tuple[str, str], int] = {}
    for i, load in enumerate(loads):
        count = labels[load.model, load.trace] = labels.get((load.model, load.trace), 0) + 1
        # Rows are told apart by their labels, in tables and by `SweepResult.point`.
        if count > 1:
            loads[i] = replace(load, model=f"{load.model} ({count})")
    return tuple(loads)


def points(
    loads: Sequence[Workload], base: AcceleratorSpec, changes: Iterable[Changes], cell: Cell
) -> tuple[Point, ...]:
    """Make the points of every workload under every set of changes.

    A set that makes no machine becomes a point with an error, so that the others still run.
    """
    machines: list[tuple[Changes, AcceleratorSpec | None, str]] = []
    for change in changes:
        try:
            machines.append((change, base.replace(**change), ""))
        except SpecError as error:
            machines.append((change, None, str(error)))
    made = []
    # Workloads outside, changes inside: `search` counts on this order.
    for i, load in enumerate(loads):
        for change, machine, why in machines:
            spec, values = machine, {**base.model_dump(exclude={"name"}), **change}
            # Where there is no spec to dump, base and changes are what the error follows from, and are its key.
            if machine is not None:
                spec = stated_by(load.network, machine) if isinstance(load.network, Network) else machine
                # Without its name, a label: the same machine called otherwise is found in the journal.
                values = spec.model_dump(exclude={"name"})
            key = _key(load.content_hash, values, cell)
            made.append(Point(workload=i, changes=change, spec=spec, error=why, key=key))
    return tuple(made)


def refuse_useless_values(grid: Sequence[Point]) -> None:
    """Raise `SpecError` for a value that makes no machine in any combination: a slip, not a corner of the grid."""
    # Corners of a grid fail by combination (8-bit entries in a 7-bit SRAM row) and become rows with an error.
    good = {(name, value) for point in grid if point.spec for name, value in point.changes.items()}
    bad: dict[tuple[str, Any], str] = {}
    for point in grid:
        for name, value in point.changes.items():
            if (name, value) not in good:
                bad.setdefault((name, value), point.error)
    if bad:
        # Each complaint once, in order: the value fails with every value of the other fields alike.
        raise SpecError(list(dict.fromkeys(line for error in bad.values() for line in error.splitlines())))


@cache
def engine_digest() -> str:
    """SHA-256 over the package's version and whatever may decide a row: see `digest_of`."""
    return digest_of(files("eie"))


def digest_of(package: Traversable, outside: Sequence[str] = OUTSIDE) -> str:
    """SHA-256 over the package's version, and name and content of its modules and tables but for those ``outside``."""
    # Sources and not the version alone: a change without a new version must not hand out old rows.
    digest = hashlib.sha256(__version__.encode())
    # Sorted, since folders are listed in another order on another machine and workers compare digests.
    for path, file in sorted(_files(package, "", outside), key=lambda pair: pair[0]):
        digest.update(path.encode() + b"\0" + file.read_bytes() + b"\0")
    return digest.hexdigest()


def _files(folder: Traversable, prefix: str, outside: Sequence[str]) -> Iterator[tuple[str, Traversable]]:
    """Path and file of everything below; what Python or an editor leaves behind is no part of the package."""
    for child in folder.iterdir():
        path = f"{prefix}{child.name}"
        if path in outside or child.name == "__pycache__" or child.name.startswith(".") or child.name.endswith("~"):
            continue
        if child.is_dir():
            yield from _files(child, f"{path}/", outside)
        else:
            yield path, child


def _key(content_hash: str, spec: Mapping[str, Any], cell: Cell) -> str:
    parts = {"spec": spec, "workload": content_hash, "cell": cell, "engine": engine_digest()}
    # Keys are compared between runs and machines: sorted, so that no order of fields enters. `repr` for values that are
    # no JSON, which only a spec that failed can hold.
    return hashlib.sha256(json.dumps(parts, sort_keys=True, default=repr).encode()).hexdigest()
