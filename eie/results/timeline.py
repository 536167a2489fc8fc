"""What happened when: every PE's cycles as spans, how full queues were, what the scanner did, with layers above.

Comes in: spans, as `eie.results.retelling` writes them down. Goes out: a `Timeline`, whose spans add up to the shares
of the result where nothing is cut. Written as files by `eie.results.timeline_files`.
"""

from __future__ import annotations

from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from eie.results import accounting
from eie.results.told import Told
from eie.show.face import Answer
from eie.show.sections import Column, Grid, Section


class Timeline(Told, Answer):
    """Spans of a run, in cycles that count from 1 over all its layers and samples; a span ends before ``stop``.

    Attributes
    ----------
    network
        Name.
    layers
        Names, in order.
    cycles
        The window that is told.
    total
        Cycles of the whole run.
    pes
        The PEs that are told of.
    spans
        int64 (M, 5), a row a span of a PE: PE, start, stop, which of ``accounting``'s shares, and which input of the
        layer (of strips, which channel) it works on; -1 for none, -2 for the bias.
    layer_of
        int64 (M,): the layer of each.
    queues
        int64 (M, 4): PE, start, stop, activations in its queue; it is empty where there is no row.
    scanner
        int64 (M, 3): start, stop, and whether it broadcasts (0), passes a dead cycle (1) or is stalled (2).
    tracks
        Start, stop and name of layers, samples, products and of what is on the bus or waited for.
    cut
        What is missing of the window, in words; empty if nothing is.
    """

    SCHEMA: ClassVar[str] = "eie-timeline"

    @cached_property
    def pe_cycles(self) -> dict[str, dict[str, NDArray[np.int64]]]:
        """By layer and by the names of `LayerResult.shares`: int64 (PEs,) cycles."""
        summed = np.zeros((len(self.layers), len(self.pes), len(accounting.SHARES)), np.int64)
        lasts = self.spans[:, 2] - self.spans[:, 1]
        np.add.at(summed, (self.layer_of, self.spans[:, 0] - self.pes.start, self.spans[:, 3]), lasts)
        return {
            layer: dict(zip(accounting.SHARES, rows.T, strict=True))
            for layer, rows in zip(self.layers, summed, strict=True)
        }

    @property
    def share_cycles(self) -> dict[str, dict[str, int]]:
        """The same over all PEs; equal to `LayerResult.share_cycles` where all is told."""
        return {layer: accounting.totals(cycles) for layer, cycles in self.pe_cycles.items()}

    def save(self, path: str | Path) -> None:
        """Write Chrome trace events (``.json``, ``.json.gz``), which Perfetto opens, or value changes (``.vcd``).

        The same timeline gives the same bytes.

        Raises
        ------
        EieError
            For another ending, without pyvcd for ``.vcd``, or if the file cannot be written.
        """
        from eie.results.timeline_files import save

        save(self, path)

    def headline(self) -> str:
        """Say what is told of which run."""
        window = "all" if len(self.cycles) == self.total else f"{self.cycles.start:,} to {self.cycles.stop - 1:,} of"
        some = "all" if len(self.pes) == self.spec.n_pe else f"{self.pes.start} to {self.pes.stop - 1} of"
        return (
            f"{self.network} on {self.spec.name}: cycles: {window} {self.total:,}; PEs: {some} {self.spec.n_pe}; "
            f"{len(self.spans):,} spans"
        )

    def sections(self) -> tuple[Section, ...]:
        """Return where the cycles that are told went, layer by layer."""
        columns = (
            Column("layer", "layer", "text"),
            Column("told_pe_cycles", "PE cycles", "count"),
            *(Column(f"share_{name}", f"{name.replace('_', ' ')} %", "percent") for name in accounting.SHARES),
        )
        lines = (f"Note: {self.cut}.",) if self.cut else ()
        return (Section(name="timeline", grids=(Grid(columns=columns, rows=tuple(self.records())),), lines=lines),)

    def records(self) -> list[dict[str, Any]]:
        """Return one flat record a layer of which something is told: cycles of its PEs, and where they went."""
        return [
            {
                "layer": layer,
                "told_pe_cycles": sum(cycles.values()),
                **{f"share_{name}": share for name, share in accounting.shares_of(cycles).items()},
            }
            for layer, cycles in self.share_cycles.items()
            if any(cycles.values())
        ]

    def content(self) -> dict[str, Any]:
        """Return what is told of which run, and the rows; every span is in the files of `save`."""
        return {
            "network": self.network,
            "spec": self.spec.model_dump(),
            "first_cycle": self.cycles.start,
            "last_cycle": self.cycles.stop - 1,
            "total_cycles": self.total,
            "first_pe": self.pes.start,
            "last_pe": self.pes.stop - 1,
            "spans": len(self.spans),
            "cut": self.cut,
            "rows": self.records(),
        }
