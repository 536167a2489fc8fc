"""Which fields of a machine a stage's value depends on.

Comes in: a stage and a spec. Goes out: names of fields. Read by the stages' caches, sweeps and compiled programs.
"""

from __future__ import annotations

from collections.abc import Collection
from functools import cache

from eie.spec.machine import AcceleratorSpec, reads
from eie.spec.stages import AFTER, Stage


def fields_of(stage: Stage, spec: AcceleratorSpec, without: Collection[Stage] = ()) -> tuple[str, ...]:
    """Name the fields of ``spec`` that decide what a stage makes: those read by it or by a stage before it.

    Two machines that agree in them share the stage's value; this is what caches go by, and what a compiled program
    insists on.

    Parameters
    ----------
    without
        Stages that read nothing here: ``"inputs"`` where every layer's inputs were recorded.
    """
    return _fields_of(stage, frozenset(without), spec.residency == "auto")


# Cached, since every look-up in a stage cache asks; of a spec only `residency` decides the names.
@cache
def _fields_of(stage: Stage, without: frozenset[Stage], enforced: bool) -> tuple[str, ...]:
    path, waiting = set[Stage](), [stage]
    while waiting:
        current = waiting.pop()
        if current not in path and current not in without:
            path.add(current)
            waiting += AFTER[current]
    fields = []
    for name in AcceleratorSpec.model_fields:
        read = reads(name)
        if not path.isdisjoint(read.by) or (enforced and not path.isdisjoint(read.enforced)):
            fields.append(name)
    return tuple(fields)
