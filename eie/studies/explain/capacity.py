"""Memories in which a network would stay.

Comes in: a memory plan and its machine. Goes out: fields of a larger machine. Read by `explain`.
"""

from __future__ import annotations

from eie.compiler.places import MemoryPlan
from eie.spec import AcceleratorSpec

# By the names of the plan's rows; accumulators follow the registers, which need other images.
FIELDS = {"sparse matrix": "spmat_kib", "pointers": "ptr_kib", "activations": "act_kib"}
LARGEST_KIB = 1 << 14


def larger(plan: MemoryPlan, spec: AcceleratorSpec) -> dict[str, int]:
    """Return sizes, powers of two, with which nothing has to come while the network runs; empty where nothing does."""
    if plan.residency == "ideal":
        return {}
    sizes = {}
    for row in plan.memories:
        name = FIELDS.get(row.memory)
        if row.fits or name is None:
            continue
        kib = int(getattr(spec, name))
        while kib < row.wanted_kib:
            kib *= 2
        if kib > LARGEST_KIB:
            return {}
        sizes[name] = kib
    return {name: kib for name, kib in sizes.items() if kib > getattr(spec, name)}
