"""What a recipe did, step by step, and what is left.

Comes in: networks and step records, from `eie.compression.apply`. Goes out: a frozen `CompressionReport`. Read by the
command line, figures and notebooks.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from functools import cached_property
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from eie.compression.coding.size import size_report
from eie.compression.coding.sizes import SizeReport
from eie.compression.recipe import Recipe
from eie.compression.share import ShareReport
from eie.model.drawn import drawn_layers, drawn_notes
from eie.model.network import Network
from eie.show.brief import Brief
from eie.show.face import Answer
from eie.show.numbers import factor
from eie.show.sections import Column, Grid, Section, Value


@dataclass(frozen=True, kw_only=True, repr=False)
class StepRecord(Brief):
    """The network after a step of the recipe, or after one round of it.

    Attributes
    ----------
    step
        Number in the recipe, from 0.
    kind, round
        What was done; rounds count from 1.
    kept
        Weights left, by layer.
    accuracy
        Share of samples classified correctly, or None where nothing measures it.
    shared
        What weight sharing did, by layer; empty for other steps.
    """

    step: int
    kind: str
    round: int
    kept: Mapping[str, int]
    accuracy: float | None
    shared: Mapping[str, ShareReport]


@dataclass(frozen=True, eq=False, kw_only=True, repr=False)
class CompressionReport(Answer):
    """What a recipe did.

    Attributes
    ----------
    recipe
        As it was followed.
    original, network
        As it came, and compressed.
    steps
        A record for each step and round, in order.
    accuracy_before
        Of the network as it came, or None.
    output_order
        Where a permutation moved the last layer's rows: ``y_new = y_old[output_order]``; else None.
    """

    SCHEMA: ClassVar[str] = "eie-compression"

    recipe: Recipe
    original: Network
    network: Network
    steps: tuple[StepRecord, ...]
    accuracy_before: float | None
    output_order: NDArray[np.int64] | None

    @cached_property
    def sizes(self) -> SizeReport:
        """Bytes by layer and stage."""
        return size_report(self.network, self.recipe.index_bits, self.original)

    @property
    def accuracy(self) -> float | None:
        """Accuracy in the end."""
        return self.steps[-1].accuracy

    def headline(self) -> str:
        """Say how much smaller the network has become."""
        total = self.sizes.total
        return (
            f"{self.sizes.network} by {self.recipe.name}: {factor(total.weights / max(1, total.kept))} fewer "
            f"weights, {total.dense_bytes:,} to {total.huffman_bytes:,} bytes ({factor(total.ratio)})"
        )

    def sections(self) -> tuple[Section, ...]:
        """Return what each step left, then the sizes."""
        return (self._steps(), *self.sizes.sections())

    def records(self) -> list[dict[str, Any]]:
        """Return the sizes, one flat record a layer and one for the total."""
        return self.sizes.records()

    def content(self) -> dict[str, Any]:
        """Return the sizes, the recipe and what each of its steps did."""
        return {
            **self.sizes.content(),
            "drawn": list(drawn_layers(self.network.layers)),
            "recipe": self.recipe.model_dump(exclude_none=True),
            "accuracy_before": self.accuracy_before,
            "steps": [asdict(record) for record in self.steps],
            "output_order": None if self.output_order is None else self.output_order.tolist(),
        }

    def _steps(self) -> Section:
        """Return weights left and accuracy after each step and round."""
        names = list(self.steps[0].kept)
        columns = (
            Column("step", "step", "text"),
            Column("kind", "", "text"),
            Column("round", "round", "count"),
            *(Column(f"kept {name}", name, "count") for name in names),
            Column("accuracy", "accuracy %", "percent2"),
        )
        rows: list[dict[str, Value]] = []
        if self.accuracy_before is not None:
            rows.append({"step": "before", "accuracy": self.accuracy_before})
        for record in self.steps:
            kept: dict[str, Value] = {f"kept {name}": record.kept.get(name, "gone") for name in names}
            head: dict[str, Value] = {"step": str(record.step), "kind": record.kind, "round": record.round}
            rows.append({**head, **kept, "accuracy": record.accuracy})
        grid = Grid(caption="weights left after each step", columns=columns, rows=tuple(rows), keys=3)
        notes = tuple(f"{note}." for note in drawn_notes(drawn_layers(self.network.layers)))
        return Section(name="steps", grids=(grid,), notes=notes)
