"""Following a recipe, step by step.

Comes in: a `Network`, a `Recipe` and, where the recipe trains, a `Trainer`. Goes out: the compressed `Network` and a
`CompressionReport`. Called by `eie.studies.compress`, which users call as ``eie.compress``, and by other studies.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from eie.compression.pruning.balance import permute
from eie.compression.pruning.pruner import Pruner
from eie.compression.recipe import (
    FinetuneStep,
    PruneStep,
    Recipe,
    ShareStep,
    Step,
    assign,
    load_recipe,
)
from eie.compression.report import CompressionReport, StepRecord
from eie.compression.share import ShareReport, share
from eie.compression.training.trainer import Trainer
from eie.errors import RecipeError
from eie.model.layer import Layer
from eie.model.network import Network

Evaluate = Callable[[Network], float]
# Gives what a step of that name came to, or takes it.
Take = Callable[[str, Callable[[], float]], float]


def follow(
    network: Network,
    recipe: Recipe | Mapping[str, Any] | str | Path,
    trainer: Trainer | None = None,
    *,
    evaluate: Evaluate | None = None,
    progress: Callable[[str], None] | None = None,
    take: Take = lambda _, make: make(),
) -> tuple[Network, CompressionReport]:
    """Compress a network by a recipe; ``take`` remembers accuracies.

    Other parameters, what comes back and errors as of `eie.compress`.
    """
    recipe = recipe_of(recipe)
    _check_trainer(recipe, trainer)
    original = network
    measure = evaluate if trainer is None else trainer.accuracy
    before = None if measure is None else take("accuracy before", lambda: measure(original))
    records: list[StepRecord] = []
    output_order: NDArray[np.int64] | None = None
    for number, step in enumerate(recipe.step):
        where = f"{recipe.name}.step.{number}"
        for done in _follow(
            network=network, step=step, where=where, trainer=trainer, progress=progress or (lambda _: None)
        ):
            network = done.network
            if done.output_order is not None:
                # y1 = y0[first], y2 = y1[second] = y0[first[second]]: orders compose by indexing, the later one
                # outside.
                output_order = done.output_order if output_order is None else output_order[done.output_order]
            kept = {layer.name: layer.matrix.nnz for layer in network.layers}
            accuracy = None if measure is None else _measured(done, measure=measure, take=take, step=number)
            records.append(
                StepRecord(
                    step=number, kind=step.kind, round=done.round, kept=kept, accuracy=accuracy, shared=done.shared
                )
            )
    network = replace(network, notes=(*network.notes, *_notes(network, recipe)))
    return network, CompressionReport(
        recipe=recipe,
        original=original,
        network=network,
        steps=tuple(records),
        accuracy_before=before,
        output_order=output_order,
    )


def _measured(done: _Done, *, measure: Evaluate, take: Take, step: int) -> float:
    return take(f"accuracy of step {step} round {done.round}", lambda: measure(done.network))


@dataclass(frozen=True, eq=False, kw_only=True)
class _Done:
    """One round of one step."""

    network: Network
    round: int
    shared: Mapping[str, ShareReport]
    output_order: NDArray[np.int64] | None = None


def _follow(
    network: Network, step: Step, where: str, trainer: Trainer | None, progress: Callable[[str], None]
) -> Iterator[_Done]:
    if isinstance(step, PruneStep):
        pruner = Pruner(network, step, where)
        for number in range(1, step.total_rounds + 1):
            progress(f"pruning, round {number} of {step.total_rounds}")
            network = _tuned(pruner.round(network, number, trainer), step.epochs_a_round, trainer)
            yield _Done(network=network, round=number, shared={})
    elif isinstance(step, FinetuneStep):
        progress(f"fine-tuning, {step.epochs} epochs")
        yield _Done(network=_tuned(network, step.epochs, trainer), round=1, shared={})
    elif isinstance(step, ShareStep):
        progress("sharing weights")
        network, shared = _share(network, step, where)
        network = replace(network, notes=(*network.notes, *_moved_biases(shared, network)))
        yield _Done(network=_tuned(network, step.epochs, trainer), round=1, shared=shared)
    else:
        progress(f"evening out {step.n_pe} PEs")
        permuted = permute(network, step.n_pe, outputs=step.outputs)
        network = permuted.network
        if permuted.kept:
            network = replace(
                network, notes=(*network.notes, f"rows that kept their order: {', '.join(permuted.kept)}")
            )
        yield _Done(network=network, round=1, shared={}, output_order=permuted.output_order)


def _share(network: Network, step: ShareStep, where: str) -> tuple[Network, dict[str, ShareReport]]:
    rules = assign(step.rule, network.layers, where)
    layers, reports = [], {}
    for i, layer in enumerate(network.layers):
        rule = rules.get(layer.name)
        if rule is not None:
            # A draw of its own for each layer, and the same one whatever other layers have a rule.
            layer, reports[layer.name] = share(  # noqa: PLW2901
                layer, rule.bits, rule.init, seed=step.seed + i, bias=rule.bias
            )
        layers.append(layer)
    return replace(network, layers=tuple(layers)), reports


def _moved_biases(shared: Mapping[str, ShareReport], network: Network) -> list[str]:
    """Name the layers whose bias sharing left to the accumulators, since the levels hold it worse than the weights."""
    numbers = {layer.name for layer in network.layers if layer.bias is not None}
    names = [name for name, report in shared.items() if name in numbers and report.bias_relative_error]
    return [f"accumulators start from the biases of {', '.join(names)}, which no level is near to"] if names else []


def _tuned(network: Network, epochs: int, trainer: Trainer | None) -> Network:
    """Fine-tune, and see that the trainer kept its word: what is pruned stays pruned."""
    if epochs == 0 or trainer is None:
        return network
    tuned = trainer.finetune(network, epochs)
    if len(tuned.layers) != len(network.layers):
        raise RecipeError([f"{len(network.layers)} layers went into fine-tuning and {len(tuned.layers)} came back"])
    for before, after in zip(network.layers, tuned.layers, strict=True):
        if before.name != after.name or before.matrix.shape != after.matrix.shape:
            raise RecipeError(
                [f"layer {before.name!r}: came back from fine-tuning as {after.name!r}, of another shape"]
            )
        # A trainer is the user's own; one that forgets the mask would give an accuracy that the compressed network
        # does not have.
        grown = ~np.isin(_places(after), _places(before), assume_unique=True)
        if grown.any():
            raise RecipeError([f"layer {before.name!r}: fine-tuning brought {grown.sum()} pruned weights back"])
    return tuned


def _places(layer: Layer) -> NDArray[np.int64]:
    # Column times rows plus row in 64 bits: a layer can have more than 2**31 places.
    places: NDArray[np.int64] = layer.matrix.column_of * np.int64(layer.outputs) + layer.matrix.rows
    return places


def recipe_of(recipe: Recipe | Mapping[str, Any] | str | Path) -> Recipe:
    """Return a recipe, read where it is not one yet."""
    if isinstance(recipe, Recipe):
        return recipe
    return Recipe.from_mapping(recipe) if isinstance(recipe, Mapping) else load_recipe(recipe)


def _check_trainer(recipe: Recipe, trainer: Trainer | None) -> None:
    if trainer is not None:
        return
    # All at once, and before anything runs: the first training step may come after an hour of pruning.
    problems = []
    for number, step in enumerate(recipe.step):
        where = f"{recipe.name}.step.{number}"
        if isinstance(step, PruneStep) and step.criterion in ("taylor", "obd"):
            problems.append(f"{where}.criterion={step.criterion!r}: needs gradients, and no trainer was given")
        epochs = step.epochs_a_round if isinstance(step, PruneStep) else getattr(step, "epochs", 0)
        if epochs:
            remedy = "leave the step out" if isinstance(step, FinetuneStep) else "set epochs = 0"
            problems.append(f"{where}.epochs={epochs}: fine-tuning needs a trainer, and none was given; or {remedy}")
    if problems:
        raise RecipeError(problems)


def _notes(network: Network, recipe: Recipe) -> list[str]:
    notes = [f"compressed by {recipe.name}"]
    if network.trace is not None and len(network.trace.layers) > 1:
        notes.append("the recorded activations behind the first layer are those of the network before compression")
    return notes
