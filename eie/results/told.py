"""What a timeline holds: spans in arrays, and the tracks above them.

Comes in: what `eie.results.retelling` wrote down. Goes out: a `Told`. Shown by `eie.results.timeline`, written by
`eie.results.timeline_files`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from eie.spec import AcceleratorSpec

# Events of a file, names of tracks not counted: what a viewer in a browser opens within seconds, some 90 MB of JSON.
LIMIT = 1_000_000
# Tracks above those of the PEs, and what the scanner does, in the order of `eie.kernels.timeline`.
TRACKS = ("layers", "samples", "products", "loads")
SCANNER = ("broadcast", "dead", "stall")


@dataclass(frozen=True, eq=False, kw_only=True, repr=False)
class Told:
    """The fields of `eie.Timeline`, which explains them: what a file of one is written from."""

    network: str
    spec: AcceleratorSpec
    layers: tuple[str, ...]
    cycles: range
    total: int
    pes: range
    spans: NDArray[np.int64]
    layer_of: NDArray[np.int64]
    queues: NDArray[np.int64]
    scanner: NDArray[np.int64]
    tracks: Mapping[str, tuple[tuple[int, int, str], ...]]
    cut: str = ""

    @property
    def whole(self) -> bool:
        """Whether it tells of every cycle of every PE."""
        return self.cycles == range(1, self.total + 1) and self.pes == range(self.spec.n_pe)
