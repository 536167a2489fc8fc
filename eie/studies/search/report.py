"""A search as text, JSON, CSV and a recipe.

Comes in: a `Search`. Goes out: a `Section` and text. Read by the command line, notebooks and `granularity_report`.
"""

from __future__ import annotations

import json
from typing import Any

from eie.show.records import records_csv
from eie.show.sections import Column, Grid, Section, Value
from eie.show.text import section_data, section_lines
from eie.studies.search.budget import unit
from eie.studies.search.search import Search
from eie.version import package_versions

SCHEMA_NAME = "eie-search"
SCHEMA = 1


def plans_section(search: Search) -> Section:
    """Uniform and non-uniform pruning side by side: the networks, then their layers."""
    measure = unit(search.quantity)
    columns = [
        Column("plan", "", "text"),
        Column("kept", "weights %", "percent"),
        Column("cost", measure),
        Column("share", "of unpruned", "percent"),
        Column("reported", "accuracy", "percent"),
        Column("loss", "loss"),
    ]
    if search.epochs:
        columns.append(Column("tuned", f"after {search.epochs} epochs", "percent"))
    whole = search.plans[0]
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
        for plan in search.plans
    ]
    notes = [
        f"{search.source}; {search.method}, {search.evaluations} networks evaluated",
        f"a difference in right answers as large as between uniform and non-uniform comes by chance with probability "
        f"{search.by_chance:.2g}",
    ]
    over = [plan.name for plan in search.plans[1:] if plan.verified > 1.005 * search.limit]
    if over:
        notes.append(
            f"{' and '.join(over)}: pruned layers feed on other activations than the unpruned network's, by which the "
            f"budget was kept"
        )
    title = (
        f"{search.network}: {search.granularity} pruning to {search.limit:.4g} {measure} on {search.machine}, the same "
        "for every layer or not"
    )
    return Section(
        name="search",
        title=title,
        grids=(Grid(caption="The whole network", columns=tuple(columns), rows=tuple(rows)), _layers(search)),
        notes=tuple(notes),
    )


def _layers(search: Search) -> Grid:
    densities = sorted({point.density for point in search.sensitivity.points})
    columns = [Column("layer", "layer", "text"), Column("share", f"{unit(search.quantity)} %", "percent")]
    columns += [Column(f"alone {density}", f"{density:.0%} alone", "percent") for density in densities]
    columns += [Column("uniform", "uniform", "percent"), Column("found", "non-uniform", "percent")]
    whole = search.plans[0].cost
    rows: list[dict[str, Value]] = []
    for name, cost in whole.items():
        row: dict[str, Value] = {"layer": name, "share": cost / sum(whole.values())}
        row |= {f"alone {point.density}": point.accuracy for point in search.sensitivity.points if point.layer == name}
        row |= {"uniform": search.uniform.densities.get(name), "found": search.found.densities.get(name)}
        rows.append(row)
    caption = "Layers: share of the unpruned cost, accuracy with this one alone pruned to a density, densities chosen"
    return Grid(caption=caption, columns=tuple(columns), rows=tuple(rows))


def records(search: Search) -> list[dict[str, Any]]:
    """One flat record a plan and layer."""
    return [
        {
            "network": search.network,
            "machine": search.machine,
            "granularity": search.granularity,
            "plan": plan.name,
            "layer": name,
            "density": plan.densities.get(name, 1.0),
            search.quantity: cost,
            f"network_{search.quantity}": plan.verified,
            "network_accuracy": plan.final.accuracy,
        }
        for plan in search.plans
        for name, cost in plan.cost.items()
    ]


def plain(search: Search) -> str:
    """Return everything as aligned text."""
    return "\n".join(section_lines(plans_section(search)))


def to_csv(search: Search) -> str:
    """Return one row a plan and layer as CSV."""
    return records_csv(records(search))


def to_json(search: Search) -> str:
    """Return everything as JSON (schema ``eie-search`` 1)."""
    value = {
        "schema": SCHEMA_NAME,
        "schema_version": SCHEMA,
        "network": search.network,
        "machine": search.machine,
        "granularity": search.granularity,
        "method": search.method,
        "quantity": search.quantity,
        "limit": search.limit,
        "recipe": search.recipe(),
        "rows": records(search),
        "section": section_data(plans_section(search)),
        "versions": package_versions(),
    }
    return json.dumps(value, indent=1, allow_nan=False) + "\n"


def recipe_toml(search: Search) -> str:
    """Return the plan that was found as a recipe file for ``eie compress``."""
    recipe = search.recipe()
    measure = f"{search.limit:.4g} {unit(search.quantity)} on {search.machine}"
    lines = [f"name = {json.dumps(recipe['name'])}", f'description = "found by eie search: {measure}"', "", "[[step]]"]
    lines += ['kind = "prune"']
    for rule in recipe["step"][0]["rule"]:
        lines += ["", "    [[step.rule]]"] + [f"    {key} = {json.dumps(value)}" for key, value in rule.items()]
    return "\n".join(lines) + "\n"
