"""What a layer asks of the memories, told from a layer that is like it: nothing is encoded.

Comes in: a shared layer, a machine, the way and the padding of the layer that stands for it. Goes out: a `Demand`, as
good as the two are alike. Read by `bench`, whose plan has to have all layers of a network in it.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from eie.compiler.demand import Demand, PassDemand
from eie.compiler.scatter import applies, channels_a_group
from eie.model.layer import Layer
from eie.spec import AcceleratorSpec
from eie.studies.explain.grown import by_pe


def demand_told(
    layer: Layer, weights: NDArray[np.int64], spec: AcceleratorSpec, *, scattered: bool, padded: float
) -> Demand:
    """Return what a layer asks for.

    Parameters
    ----------
    weights
        int64 (rows,): of each row.
    scattered
        Whether it is run by scatter, where that applies.
    padded
        Entries for each weight.
    """
    scatter = applies(layer, spec) if scattered else None
    rows, inputs = layer.matrix.shape
    # A bias that has a level is one more column; by scatter, or with a number of its own, the accumulators start there.
    column = layer.bias_codes is not None and scatter is None
    starts = not column and (layer.bias is not None or layer.bias_codes is not None)
    step, depth = rows if spec.residency == "ideal" else spec.n_pe * spec.act_registers, 1
    if scatter is not None:
        inputs, step, depth = scatter.columns, channels_a_group(scatter, spec) * spec.n_pe, scatter.depth
    stored, passes = np.zeros(spec.n_pe, np.int64), []
    for start in range(0, rows, step):
        stop = min(start + step, rows)
        entries = np.rint(by_pe(weights[start:stop], spec.n_pe) * padded).astype(np.int64)
        stored += entries
        passes.append(
            PassDemand(
                inputs=inputs,
                rows=-(-(stop - start) // spec.n_pe) * depth,
                biases=stop - start if starts else 0,
                # Evenly: where a half of the buffer holds no column, the run on all layers says so.
                columns=np.diff(np.arange(inputs + column + 1) * entries.sum() // (inputs + column)),
                longest=(-(-int(entries.max()) // (inputs + column)), 0),
                issue=max(inputs + column, int(entries.max())),
            )
        )
    return Demand(
        name=layer.name,
        entries=stored,
        pointers=len(passes) * (inputs + column + 1),
        passes=tuple(passes),
        rounds=len(passes),
        reloads=False,
        geometry=layer.geometry,
        scatter=scatter,
    )
