"""Which layers can be pruned, and how far: accuracy, or error of the outputs, against density, one layer at a time.

Comes in: a `Network` and something that measures it. Goes out: a frozen `Sensitivity`. Read by the command
line, and by whoever writes a recipe.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase
from typing import Any, ClassVar, Literal

from eie.compression.pruning.prune import compact, prune_mask, with_mask
from eie.compression.pruning.score import Block, Criterion
from eie.errors import RecipeError
from eie.model.drawn import drawn_layers, drawn_notes
from eie.model.network import Network
from eie.show.brief import Brief
from eie.show.face import Answer
from eie.show.sections import Column, Grid, Section, Value

# What a scan goes by; the error where nothing is labelled.
Measure = Literal["accuracy", "relative_output_error"]
DENSITIES = (0.02, 0.05, 0.1, 0.2, 0.3, 0.5, 0.7, 1.0)


@dataclass(frozen=True, kw_only=True, repr=False)
class SensitivityPoint(Brief):
    """Accuracy (0 to 1) or output error with one layer pruned to ``density`` of its units, the others left alone.

    One of the two is None: what the scan does not go by.
    """

    layer: str
    density: float
    kept: int
    accuracy: float | None = None
    relative_output_error: float | None = None

    @property
    def value(self) -> float:
        """Whichever of the two there is."""
        known = self.accuracy if self.relative_output_error is None else self.relative_output_error
        assert known is not None
        return known


@dataclass(frozen=True, kw_only=True, repr=False)
class Sensitivity(Answer):
    """A scan.

    Attributes
    ----------
    baseline
        Accuracy of the network as it came; None where points are output errors, which are relative to it.
    points
        Layer by layer, densities ascending.
    drawn
        Layers whose weights were drawn at random: what they lose says little of trained ones.
    """

    SCHEMA: ClassVar[str] = "eie-sensitivity"

    network: str
    granularity: str
    criterion: str
    baseline: float | None
    points: tuple[SensitivityPoint, ...]
    drawn: tuple[str, ...] = ()

    @property
    def measure(self) -> Measure:
        """What the points are."""
        return "relative_output_error" if self.baseline is None else "accuracy"

    def lowest_density(self, layer: str, loss: float) -> float | None:
        """Least density of ``layer`` from which on accuracy stays within ``loss`` (0 to 1) of the baseline.

        Of output errors: from which on the error stays within ``loss``.
        """
        fine = None
        for point in reversed([point for point in self.points if point.layer == layer]):
            lost = point.value if self.baseline is None else self.baseline - point.value
            if lost > loss:
                # From the densest down: a lucky sparser point behind one that is too bad proves nothing.
                break
            fine = point.density
        return fine

    def records(self) -> list[dict[str, Any]]:
        """One flat record a point."""
        head = {"network": self.network, "granularity": self.granularity, "criterion": self.criterion}
        return [
            {
                **head,
                **vars(point),
                "accuracy_loss": None
                if self.baseline is None or point.accuracy is None
                else self.baseline - point.accuracy,
            }
            for point in self.points
        ]

    def headline(self) -> str:
        """Say what was pruned how, and how accurate the network was before."""
        if self.baseline is None:
            return (
                f"{self.network}: relative output error in percent, against the unpruned network, with one layer alone "
                f"pruned to a density ({self.granularity}, {self.criterion}), not fine-tuned"
            )
        return (
            f"{self.network}: accuracy in percent with one layer alone pruned to a density ({self.granularity}, "
            f"{self.criterion}), not fine-tuned; {100 * self.baseline:.2f} as it came"
        )

    def sections(self) -> tuple[Section, ...]:
        """Return a row a layer and a column a density."""
        densities = sorted({point.density for point in self.points})
        columns = (
            Column("layer", "layer", "text"),
            *(Column(str(density), f"{100 * density:g} %", "percent2") for density in densities),
        )
        rows: tuple[dict[str, Value], ...] = tuple(
            {"layer": name, **{str(point.density): point.value for point in self.points if point.layer == name}}
            for name in dict.fromkeys(point.layer for point in self.points)
        )
        notes = tuple(f"{note}." for note in drawn_notes(self.drawn))
        return (Section(name="sensitivity", grids=(Grid(columns=columns, rows=rows),), notes=notes),)

    def content(self) -> dict[str, Any]:
        """Return the points and what they are set beside."""
        return {
            "network": self.network,
            "granularity": self.granularity,
            "criterion": self.criterion,
            "measure": self.measure,
            "baseline": self.baseline,
            "drawn": list(self.drawn),
            "points": self.records(),
        }


def scan(
    network: Network,
    evaluate: Callable[[Network], float],
    densities: Sequence[float] = DENSITIES,
    *,
    granularity: str = "fine",
    criterion: Criterion = "magnitude",
    measure: Measure = "accuracy",
    block: Block = (1, 1),
    layers: str = "*",
    progress: Callable[[str], None] | None = None,
) -> Sensitivity:
    """Prune each layer alone to each density, without fine-tuning, and measure.

    Parameters
    ----------
    evaluate
        Accuracy of a network, 0 to 1: a trainer's, or `eie.results.accuracy.float32_accuracy` on a labelled trace. With
        another ``measure``, its error: an `eie.results.output_error.OutputError`.
    measure
        What ``evaluate`` gives.
    densities
        Shares of the units that stay, above 0 and at most 1.
    granularity, criterion, block
        See `eie.compression.pruning.prune.prune_mask`; rows are zeroed in place for ``channel`` too.
    layers
        Pattern of the layers to scan.

    Raises
    ------
    RecipeError
        If a density is out of range or no layer matches.
    """
    wrong = [density for density in densities if not 0 < density <= 1]
    if wrong or not densities:
        raise RecipeError([f"densities={wrong or '[]'}: must be above 0 and at most 1"])
    chosen = [layer for layer in network.layers if fnmatchcase(layer.name, layers)]
    if not chosen:
        names = ", ".join(layer.name for layer in network.layers)
        raise RecipeError([f"layers={layers!r}: matches none of {names}"])
    points = []
    for layer in chosen:
        weights = compact(layer, layer.weights)
        for density in sorted(densities):
            if progress is not None:
                progress(f"{layer.name} at density {density:g}")
            mask = prune_mask(
                weights=weights, granularity=granularity, density=density, criterion=criterion, block=block
            )
            pruned = with_mask(layer, mask)
            changed = replace(network, layers=tuple(pruned if other is layer else other for other in network.layers))
            points.append(
                SensitivityPoint(
                    layer=layer.name, density=density, kept=pruned.matrix.nnz, **{measure: evaluate(changed)}
                )
            )
    return Sensitivity(
        network=network.name,
        granularity=granularity,
        criterion=criterion,
        baseline=evaluate(network) if measure == "accuracy" else None,
        points=tuple(points),
        drawn=drawn_layers(network.layers),
    )
