"""`compress`: a model, in whatever form it comes, made smaller by a recipe.

Comes in: a model and a recipe. Goes out: the compressed `Network` and a `CompressionReport`. Called by users as
``eie.compress``. It stands here and not in `eie.compression`, since that room takes networks and opens no file.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from eie.compression.apply import Evaluate, follow, recipe_of
from eie.compression.recipe import Recipe
from eie.compression.report import CompressionReport
from eie.compression.training.trainer import Trainer
from eie.formats.arguments import taken
from eie.importers.entrance import Model, as_network
from eie.model.digest import network_digest
from eie.model.network import Network
from eie.show.notebook import told
from eie.sweeps.steps import keeping, trainer_id


@taken
@told("stage")
def compress(
    model: Model,
    recipe: Recipe | Mapping[str, Any] | str | Path,
    trainer: Trainer | None = None,
    *,
    evaluate: Evaluate | None = None,
    progress: Callable[[str], None] | None = None,
    journal: str | Path | None = None,
) -> tuple[Network, CompressionReport]:
    """Compress a network by a recipe.

    Parameters
    ----------
    model
        A path, the name of a shipped model, a `Layer` or a `Network`.
    recipe
        A `Recipe`, a mapping of the same form, or a ``.toml`` file; see docs/recipes.md.
    trainer
        For steps that fine-tune or need gradients.
    evaluate
        Measures accuracy after each step where there is no trainer to ask.
    progress
        Called with a line of text before each step and round.
    journal
        File that accuracies are kept in, and beside it a folder with the state of fine-tuning after each epoch, so that
        a compression that is stopped goes on when it is started again (docs/journals.md). Nothing is kept by default.

    Returns
    -------
    tuple
        The compressed network, and the `CompressionReport`: sizes, accuracies and what each step did.

    Raises
    ------
    RecipeError
        If the recipe is wrong, asks for training and there is no trainer, or does not fit the network.

    Examples
    --------
    >>> import eie
    >>> recipe = {"step": [{"kind": "prune", "rule": [{"density": 0.04}]}]}
    >>> network, report = eie.compress("lenet-300-100", recipe)
    >>> [layer.matrix.nnz for layer in network.layers], report.sizes.total.kept
    ([9408, 1200, 40], 10648)
    """
    network = as_network(model)
    recipe = recipe_of(recipe)
    command = {
        "compress": network_digest(network),
        "recipe": recipe.model_dump_json(),
        "trainer": trainer_id(trainer),
        "evaluate": evaluate is not None,
    }
    with keeping(journal, command) as steps:
        trainer = steps.trained(trainer)
        return follow(network, recipe, trainer, evaluate=evaluate, progress=progress, take=steps.take)
