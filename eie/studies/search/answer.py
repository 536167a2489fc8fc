"""Pruning to one budget, uniformly and not, side by side: the networks, then their layers.

Comes in: plans, from `eie.studies.search.search`. Goes out: a frozen `Search`, also as a recipe. Read by the
command line, notebooks, granularity studies and figures.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from glob import escape
from typing import Any, ClassVar, Literal

from eie.compression.pruning.sensitivity import Sensitivity
from eie.machines.choose import called
from eie.model.drawn import drawn_notes
from eie.model.network import Network
from eie.show.brief import Brief
from eie.show.face import Answer
from eie.show.numbers import percent
from eie.show.sections import Column, Grid, Section, Value
from eie.show.text import section_data
from eie.studies.search.budget import Quantity, unit
from eie.studies.search.judge import Score, chance
from eie.studies.search.strategies import Densities

Method = Literal["greedy", "optuna"]


@dataclass(frozen=True, eq=False, kw_only=True, repr=False)
class Plan(Brief):
    """A network pruned to a density for each layer.

    Attributes
    ----------
    name
        ``"unpruned"``, ``"uniform"`` or ``"non-uniform"``.
    network
        Pruned, and fine-tuned if anything was; with the inputs it came with.
    densities
        By layer; layers that are not pruned are left out.
    cost
        By layer, on the unpruned network's recorded inputs: microseconds or nanojoules.
    verified
        Cost of the whole network run from its own input, layer feeding layer; on machines that do not look at
        activations the sum of ``cost``.
    chosen, reported
        Scores on the samples that choices were made by, and on the others.
    tuned
        Score on the others after fine-tuning, or None.
    """

    name: str
    network: Network
    densities: Densities
    cost: Mapping[str, float]
    verified: float
    chosen: Score
    reported: Score
    tuned: Score | None = None

    @property
    def final(self) -> Score:
        """The score to compare by: after fine-tuning, if there was any."""
        return self.tuned or self.reported


@dataclass(frozen=True, eq=False, kw_only=True, repr=False)
class Search(Answer):
    """Pruning to one budget, uniformly and not.

    Attributes
    ----------
    limit
        The budget in microseconds or nanojoules.
    plans
        Unpruned, uniform, non-uniform.
    sensitivity
        Accuracy, or output error, with one layer alone pruned, on the samples to choose by.
    source
        What was chosen by, and reported on, in words.
    evaluations
        Networks whose loss was computed.
    memory
        Where the unpruned network's weights are on EIE, in words; empty for another machine.
    """

    SCHEMA: ClassVar[str] = "eie-search"

    network: str
    machine: str
    granularity: str
    method: Method
    quantity: Quantity
    limit: float
    plans: tuple[Plan, Plan, Plan]
    sensitivity: Sensitivity
    source: str
    epochs: int
    evaluations: int
    memory: str = ""
    timing: tuple[str, ...] = ()

    @property
    def uniform(self) -> Plan:
        """Every layer alike."""
        return self.plans[1]

    @property
    def found(self) -> Plan:
        """A density for each layer."""
        return self.plans[2]

    @property
    def by_chance(self) -> float | None:
        """Probability of so large a difference between the two plans if neither were better; None without labels."""
        own, alike = self.found.final.right, self.uniform.final.right
        return None if own is None or alike is None else chance(own, alike)

    def recipe(self) -> dict[str, Any]:
        """Return the plan that was found as a recipe for ``eie compress``."""
        rules = [
            # Layers go by patterns there: a name with a bracket would be one.
            {"layers": escape(name), "granularity": self.granularity, "density": round(density, 6)}
            for name, density in self.found.densities.items()
        ]
        name = f"{self.network}-{self.machine.replace(':', '-')}"
        return {"name": name, "step": [{"kind": "prune", "rule": rules}]}

    def recipe_toml(self) -> str:
        """Return the plan that was found as a recipe file for ``eie compress``."""
        recipe = self.recipe()
        measure = f"{self.limit:.4g} {unit(self.quantity)} on {called(self.machine)}"
        lines = [
            f"name = {json.dumps(recipe['name'])}",
            f'description = "found by eie search: {measure}"',
            "",
            "[[step]]",
            'kind = "prune"',
        ]
        for rule in recipe["step"][0]["rule"]:
            lines += ["", "    [[step.rule]]"] + [f"    {key} = {json.dumps(value)}" for key, value in rule.items()]
        return "\n".join(lines) + "\n"

    def headline(self) -> str:
        """Say which network is pruned to which budget on what."""
        return (
            f"{self.network}: {self.granularity} pruning to {self.limit:.4g} {unit(self.quantity)} on "
            f"{called(self.machine)}, the same for every layer or not"
        )

    def sections(self) -> tuple[Section, ...]:
        """Return both plans beside the unpruned network, then the layers of each."""
        return (replace(self.plans_section(), title=""),)

    def records(self) -> list[dict[str, Any]]:
        """Return one flat record a plan and layer."""
        return [
            {
                "network": self.network,
                "machine": self.machine,
                "granularity": self.granularity,
                "plan": plan.name,
                "layer": name,
                "density": plan.densities.get(name, 1.0),
                self.quantity: cost,
                f"network_{self.quantity}": plan.verified,
                "network_accuracy": plan.final.accuracy,
                "network_relative_output_error": plan.final.relative_output_error,
            }
            for plan in self.plans
            for name, cost in plan.cost.items()
        ]

    def content(self) -> dict[str, Any]:
        """Return the budget, the recipe, the records and the tables."""
        return {
            "network": self.network,
            "machine": self.machine,
            "granularity": self.granularity,
            "method": self.method,
            "quantity": self.quantity,
            "limit": self.limit,
            "measure": self.sensitivity.measure,
            "memory": self.memory,
            "timing": list(self.timing),
            "recipe": self.recipe(),
            "rows": self.records(),
            "section": section_data(self.plans_section()),
        }

    def plans_section(self) -> Section:
        """Return uniform and non-uniform pruning side by side, under a title of its own."""
        measure = unit(self.quantity)
        columns = [
            Column("plan", "", "text"),
            Column("kept", "weights %", "percent"),
            Column("cost", measure),
            Column("share", "of unpruned", "percent"),
        ]
        if labelled := self.sensitivity.measure == "accuracy":
            columns += [Column("reported", "accuracy", "percent"), Column("loss", "loss")]
        else:
            columns.append(Column("loss", "relative output error", "percent2"))
        if self.epochs:
            columns.append(Column("tuned", f"after {self.epochs} epochs", "percent"))
        whole = self.plans[0]
        weights = sum(layer.matrix.nnz for layer in whole.network.layers)
        rows: list[dict[str, Value]] = [
            {
                "plan": plan.name,
                "kept": sum(layer.matrix.nnz for layer in plan.network.layers) / weights,
                "cost": plan.verified,
                "share": plan.verified / whole.verified,
                "reported": plan.reported.accuracy,
                "loss": plan.reported.loss,
                "tuned": None if plan.tuned is None else plan.tuned.accuracy,
            }
            for plan in self.plans
        ]
        notes = [f"{self.source}; {self.method}, {self.evaluations} networks evaluated"]
        if labelled:
            notes.append(
                f"a difference in right answers as large as between uniform and non-uniform comes by chance with "
                f"probability {self.by_chance:.2g}"
            )
        if self.memory:
            notes.append(f"unpruned, on EIE: {self.memory}")
        notes += [*drawn_notes(self.sensitivity.drawn), *self.timing]
        over = [plan.name for plan in self.plans[1:] if plan.verified > 1.005 * self.limit]
        if over:
            notes.append(
                f"{' and '.join(over)}: pruned layers feed on other activations than the unpruned network's, by which "
                "the budget was kept"
            )
        return Section(
            name="search",
            title=self.headline(),
            grids=(Grid(caption="The whole network", columns=tuple(columns), rows=tuple(rows)), self._layers()),
            notes=tuple(notes),
        )

    def _layers(self) -> Grid:
        densities = sorted({point.density for point in self.sensitivity.points})
        columns = [Column("layer", "layer", "text"), Column("share", f"{unit(self.quantity)} %", "percent")]
        columns += [Column(f"alone {density}", f"{percent(density, 0)} % alone", "percent") for density in densities]
        columns += [Column("uniform", "uniform", "percent"), Column("found", "non-uniform", "percent")]
        whole = self.plans[0].cost
        rows: list[dict[str, Value]] = []
        for name, cost in whole.items():
            row: dict[str, Value] = {"layer": name, "share": cost / sum(whole.values())}
            row |= {f"alone {point.density}": point.value for point in self.sensitivity.points if point.layer == name}
            row |= {"uniform": self.uniform.densities.get(name), "found": self.found.densities.get(name)}
            rows.append(row)
        what = "accuracy" if self.sensitivity.measure == "accuracy" else "relative output error"
        caption = (
            f"Layers: share of the unpruned cost, {what} with this one alone pruned to a density, densities chosen"
        )
        return Grid(caption=caption, columns=tuple(columns), rows=tuple(rows))
