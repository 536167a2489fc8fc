"""How far a network's outputs are from those that another form of it gives: the measure where there are no labels.

Comes in: a `Network` and inputs. Goes out: an `OutputError`, which measures other forms of that network. Read by
searches and sensitivity scans.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from eie.errors import TraceError
from eie.model.dataflow import dataflow
from eie.model.network import Network
from eie.model.samples import Samples
from eie.simulator.reference import run_given

# Samples at a time: unrolled convolutions of a whole trace do not fit memory.
AT_ONCE = 100


@dataclass(frozen=True, eq=False)
class OutputError:
    """Measures forms of one network by its own outputs, in float32.

    Attributes
    ----------
    samples
        What they are run on.
    outputs
        What the network itself gives: its outputs, sample by sample.
    """

    samples: Samples
    outputs: tuple[NDArray[np.float32], ...]

    @classmethod
    def of(cls, network: Network, samples: Samples) -> OutputError:
        """Take a network as what others are measured against.

        Raises
        ------
        TraceError
            If all of its outputs are zero: nothing can be relative to them.
        """
        outputs = _run(network, samples)
        if not any(part.any() for part in outputs):
            raise TraceError(f"the outputs of {network.name!r} are all zero: no error can be relative to them")
        return cls(samples, outputs)

    def __call__(self, network: Network) -> float:
        """Root of the summed squared differences over that of the summed squares, over all outputs and samples."""
        difference = total = 0.0
        for ours, theirs in zip(_run(network, self.samples), self.outputs, strict=True):
            # In float64, where squares of large outputs do not overflow.
            difference += float(np.square(ours.astype(np.float64) - theirs).sum())
            total += float(np.square(theirs, dtype=np.float64).sum())
        return float(np.sqrt(difference / total))


def _run(network: Network, samples: Samples) -> tuple[NDArray[np.float32], ...]:
    flow = dataflow(network)
    assert flow is not None
    layers = {layer.name: layer for layer in network.layers}
    parts: list[tuple[NDArray[Any], ...]] = [
        run_given(flow, layers, samples.part(start, min(start + AT_ONCE, samples.count)).loaded())
        for start in range(0, samples.count, AT_ONCE)
    ]
    return tuple(np.concatenate(outputs).astype(np.float32, copy=False) for outputs in zip(*parts, strict=True))
