"""A network run part by part over its samples, where all at once would not fit memory: results put together.

Comes in: the maps of a memory plan, samples, a way to run some of them. Goes out: `Activity`, `LayerOutputs` and
patterns of all.
Called by `eie.simulation`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from eie.activity import COUNTS, PE_CYCLES, Account, Activity
from eie.compiler.map_rows import MapPlan
from eie.model.layer_trace import LayerTrace
from eie.simulator.functional import FixedPoint, LayerOutputs

# Numbers of the largest map that lie in memory at a time: some 12 bytes each, and as much again while it is made.
PART_NUMBERS = 1 << 21


def sample_parts(samples: int, batch: int, maps: MapPlan) -> list[slice]:
    """Cut samples into parts of whole batches; one part where nothing is known of the maps."""
    largest = max((placed.elements for placed in maps.maps), default=0)
    if not largest:
        return [slice(0, samples)]
    # A batch is loaded for together, so none is cut.
    step = max(1, PART_NUMBERS // largest // batch) * batch
    return [slice(start, min(start + step, samples)) for start in range(0, samples, step)]


def joined_activity(parts: Sequence[Activity]) -> Activity:
    """Return the activity of one layer over the samples of all parts, in order."""
    first = parts[0]
    if len(parts) == 1:
        return first
    return replace(
        first,
        cycles=np.concatenate([part.cycles for part in parts]),
        counts={name: np.concatenate([part.counts[name] for part in parts]) for name in COUNTS},
        per_pe={name: np.concatenate([part.per_pe[name] for part in parts]) for name in PE_CYCLES},
        active_inputs=np.concatenate([part.active_inputs for part in parts]),
        walks=np.concatenate([part.walks for part in parts]),
        account=Account.put([part.account for part in parts], np.concatenate),
    )


def joined_patterns(parts: Sequence[LayerTrace]) -> LayerTrace:
    """Return which inputs of one layer were non-zero over the samples of all parts; their maps are of one size."""
    return replace(LayerTrace.joined(parts), size=parts[0].size)


def joined_outputs(parts: Sequence[LayerOutputs], samples: Sequence[int]) -> LayerOutputs:
    """Return one layer's outputs over all parts, or their summary where no more was kept of the parts.

    Formats are the same in all of them.
    """
    densities = [part.map_density for part in parts if part.map_density is not None]
    return replace(
        parts[0],
        fixed=FixedPoint(np.concatenate([part.fixed.raw for part in parts]), parts[0].fixed.fraction_bits),
        float32=np.concatenate([part.float32 for part in parts]),
        saturations=sum(part.saturations for part in parts),
        max_abs_error=max(part.max_abs_error for part in parts),
        map_density=float(np.average(densities, weights=samples)) if densities else None,
    )
