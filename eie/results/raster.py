"""PEs over time as a picture has them: what each did, and how full its queue was, bin by bin.

Comes in: a layer that kept which inputs were non-zero, or a `Timeline`. Goes out: a `Raster`. Read by `eie.plots`.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from eie.kernels.timeline import fill_bins
from eie.results.accounting import SHARES
from eie.results.layer import LayerResult
from eie.results.timeline import Timeline
from eie.simulator.recount import Recount
from eie.simulator.replay import pieces

# Bins of a picture, some two pixels each, and PE cycles that are told for one: a quarter of a second.
BINS = 480
MOST = 1 << 22
STRIDE = 256

Parts = Iterator[tuple[NDArray[np.int64], NDArray[np.int64]]]


@dataclass(frozen=True, eq=False, kw_only=True)
class Raster:
    """What some PEs did from one cycle to another.

    Attributes
    ----------
    cycles
        Those that are shown; the last bin may reach beyond.
    cycles_a_bin
        How many are one bin.
    pes
        Which PEs.
    did
        float64 (P, B, names of shares): cycles of each bin.
    queued
        float64 (P, B): activations in the queue, on average over the bin.
    title
        What is shown, in words.
    """

    cycles: range
    cycles_a_bin: int
    pes: range
    did: NDArray[np.float64]
    queued: NDArray[np.float64]
    title: str

    @property
    def most_of(self) -> NDArray[np.int64]:
        """int64 (P, B): which share a PE spent most of a bin on."""
        most: NDArray[np.int64] = self.did.argmax(axis=2)
        return most

    @property
    def shares(self) -> NDArray[np.float64]:
        """float64 (B, names of shares): of all PE cycles of a bin."""
        of_bin = self.did.sum(axis=0)
        shares: NDArray[np.float64] = of_bin / of_bin.sum(axis=1, keepdims=True)
        return shares

    @classmethod
    def of_layer(cls, layer: LayerResult) -> Raster:
        """Show the first sample (the first batch) of a layer that can be told again; its beginning if it takes long."""
        recount = layer.recount
        assert isinstance(recount, Recount)
        use, activity = next(iter(recount.activities.items()))
        samples = slice(0, min(recount.plan.batch, activity.samples))
        lasts = int(activity.total_cycles[samples].sum())
        # At least one bin each: a machine of many PEs has few cycles to a picture.
        cycles = range(1, 1 + min(lasts, max(BINS, MOST // layer.spec.n_pe)))
        which = "sample 0" if samples.stop == 1 else f"samples 0 to {samples.stop - 1}"
        shown = "" if len(cycles) == lasts else f", cycles 1 to {len(cycles):,} of {lasts:,}"
        title = f"{layer.name}: {which}{shown}" if activity.samples > 1 or shown else layer.name
        return cls._of(_told(recount, use, samples, cycles=cycles), cycles, range(layer.spec.n_pe), title=title)

    @classmethod
    def of_timeline(cls, timeline: Timeline) -> Raster:
        """Show what a timeline tells."""
        title = f"{timeline.network}: cycles {timeline.cycles.start:,} to {timeline.cycles.stop - 1:,}"
        parts = iter([(timeline.spans, timeline.queues)])
        return cls._of(parts, timeline.cycles, timeline.pes, title=title)

    @classmethod
    def _of(cls, parts: Parts, cycles: range, pes: range, *, title: str) -> Raster:
        each = -(-len(cycles) // BINS)
        bins = -(-len(cycles) // each)
        did, queued = np.zeros((len(pes), bins, len(SHARES))), np.zeros((len(pes), bins, 1))
        for spans, queues in parts:
            fill_bins(spans, cycles.start, each, pes.start, False, did)
            fill_bins(queues, cycles.start, each, pes.start, True, queued)
        # The last bin is as long as what is left.
        lengths = np.full(bins, each)
        lengths[-1] = len(cycles) - each * (bins - 1)
        return cls(cycles=cycles, cycles_a_bin=each, pes=pes, did=did, queued=queued[:, :, 0] / lengths, title=title)


def _told(recount: Recount, use: str, samples: slice, *, cycles: range) -> Parts:
    pes = range(recount.spec.n_pe)
    for piece in pieces(recount, use, samples):
        last = int(np.searchsorted(piece.begins, cycles.stop))
        for start in range(0, last, STRIDE):
            spans = piece.spans(range(start, min(start + STRIDE, last)), pes, cycles)
            yield spans.pes, spans.queues
        waits = piece.idle(pes, cycles)
        yield waits, waits[:0]
        if piece.stop >= cycles.stop:
            return
