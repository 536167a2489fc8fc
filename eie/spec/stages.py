"""Which piece of a simulation each field of a machine decides, and what more of it costs.

Goes out: `Reads`, which a field carries beside its bounds, and the stages in their order. Read by caches, program files
and docs through `eie.spec.reads` and `eie.spec.fields_of`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

# Named here and not in the simulator, so that each field can say beside its bounds who reads it, and caches, program
# files and docs take it from one place.
Stage = Literal["shared", "encoded", "demand", "plan", "inputs", "slices", "tallies", "queues", "streams", "activity"]
# The stages between weights and an `eie.Activity`, each with those whose values it is made from.
AFTER: Mapping[Stage, tuple[Stage, ...]] = {
    "shared": (),
    "encoded": ("shared",),
    "demand": ("encoded",),
    # What a layer has to do follows from the plan, not from the plan's fields: two machines on which it stays share it.
    "plan": ("demand",),
    # Not after "encoded": what a layer computes follows from its codes, however they are laid out on PEs.
    "inputs": ("shared",),
    "slices": ("encoded", "inputs"),
    "tallies": ("slices",),
    "queues": ("slices",),
    # In the place of "queues" where a layer's weights arrive while it works. Apart from it, so that a sweep over DRAMs
    # counts no layer anew whose weights are in place.
    "streams": ("slices",),
    "activity": ("tallies", "queues", "streams"),
}


@dataclass(frozen=True, kw_only=True)
class Reads:
    """Which stages a field decides, and what more of it costs.

    Attributes
    ----------
    by
        The first stages that read the field; those after them are made anew with them. Empty: time, energy and area
        are computed from the activity, later.
    enforced
        Stages that read it too where ``residency`` is ``"auto"``: the size then decides how layers are cut.
    costs
        What one pays for more of it, in words.
    since
        The release that brought the field. Files of earlier ones do not state it and mean its default.
    """

    by: tuple[Stage, ...] = ()
    enforced: tuple[Stage, ...] = ()
    costs: str
    since: str = "0.1"
