"""A recipe: how to compress a network, as data.

Comes in: a TOML file or a mapping. Goes out: a frozen `Recipe`. Read by `apply`. The format is explained with examples
in ``docs/recipes.md``.

A recipe is a list of steps, done in order. In each step the first rule whose pattern (`fnmatch`) matches a layer's name
is that layer's; a layer without a rule is left alone.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Annotated, Any, Literal, Self, TypeVar

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError, model_validator

from eie.compression.bias import BiasPlace
from eie.compression.cluster import Initialisation
from eie.compression.pruning.prune import UNITS, n_of_m
from eie.compression.pruning.score import Criterion
from eie.errors import EieError, RecipeError
from eie.formats.arguments import taken
from eie.formats.files import read_toml
from eie.model.layer import Layer
from eie.show.brief import LONGEST_REPR
from eie.show.face import View
from eie.show.sections import Column, Grid, Section
from eie.spec import complaint

Schedule = Literal["one-shot", "iterative", "cubic"]
# They take rows or layers out, so shapes change; in a round they come behind the masks, which have the shapes before.
SHRINKING = ("channel", "filter", "layer")


def _not_empty(items: tuple[Any, ...]) -> tuple[Any, ...]:
    if not items:
        raise ValueError("must hold at least one")
    return items


# TOML gives lists where a frozen record holds tuples: strict checks would refuse them.
_Many = (Field(strict=False), AfterValidator(_not_empty))


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    def __repr__(self) -> str:
        # a step may hold a rule for each of a hundred layers
        text = super().__repr__()
        return text if len(text) <= LONGEST_REPR else f"{text[:LONGEST_REPR]}..."


class PruneRule(_Part):
    """What pruning does to the layers that ``layers`` matches.

    Attributes
    ----------
    layers
        Pattern of layer names, as in ``"conv*"``.
    granularity
        One of `eie.compression.pruning.prune.UNITS` or ``"N:M"``.
    density, sparsity
        Share of the units that stays or goes, one of the two; none for ``"N:M"``, which says it itself.
    block
        Rows and columns of a ``"block"``.
    """

    layers: str = "*"
    granularity: str = "fine"
    density: float | None = Field(None, ge=0, le=1)
    sparsity: float | None = Field(None, ge=0, le=1)
    block: Annotated[tuple[int, int], Field(strict=False)] | None = None

    @model_validator(mode="after")
    def _fields_fit_each_other(self) -> Self:
        try:
            pattern = n_of_m(self.granularity)
        except RecipeError as error:
            # Pydantic collects ValueErrors of several fields; ours would leave at the first.
            raise ValueError(str(error)) from None
        if pattern is None and self.granularity not in UNITS:
            raise ValueError(f"granularity={self.granularity!r}: must be N:M, as in 2:4, or one of {', '.join(UNITS)}")
        stated = [name for name in ("density", "sparsity") if getattr(self, name) is not None]
        if pattern is not None and stated:
            raise ValueError(f"{stated[0]}: not with granularity {self.granularity}, which says it itself")
        if pattern is None and len(stated) != 1:
            raise ValueError(f"density: must be given, or sparsity ({' and '.join(stated) or 'neither'} given)")
        if (self.granularity == "block") != (self.block is not None):
            raise ValueError('block: must be given as [rows, columns] with granularity = "block", and only then')
        if self.block is not None and min(self.block) < 1:
            raise ValueError(f"block={list(self.block)}: must be >= 1")
        return self

    @property
    def target(self) -> float:
        """Share of the units that stays."""
        pattern = n_of_m(self.granularity)
        if pattern is not None:
            return pattern[0] / pattern[1]
        if self.density is not None:
            return self.density
        assert self.sparsity is not None
        return 1 - self.sparsity


class PruneStep(_Part):
    """Take weights away.

    Attributes
    ----------
    criterion
        What is least is pruned first; see `eie.compression.pruning.score.block_scores`.
    scope
        ``"layer"``: every layer meets its rule's density; ``"global"``: the layers of a rule are ranked together and
        meet it together.
    schedule
        ``"one-shot"``; ``"iterative"``: in ``rounds`` equal parts; ``"cubic"``: fast first, then slower (Zhu and
        Gupta, 2017). Each round ends with ``epochs`` of fine-tuning.
    rounds
        Of the schedule; 1 for one shot.
    epochs
        Of fine-tuning after each round; 0 needs no trainer.
    balance_n_pe
        Keep equally many non-zeros for each of so many PEs (fine-grained, one layer at a time).
    seed
        Of the random criterion.
    """

    kind: Literal["prune"]
    criterion: Criterion = "magnitude"
    scope: Literal["layer", "global"] = "layer"
    schedule: Schedule = "one-shot"
    rounds: int | None = Field(None, ge=1, le=1000)
    epochs: int | None = Field(None, ge=0, le=10_000)
    balance_n_pe: int | None = Field(None, ge=1, le=65536)
    seed: int = Field(0, ge=0)
    rule: Annotated[tuple[PruneRule, ...], *_Many]

    @model_validator(mode="after")
    def _fields_fit_each_other(self) -> Self:
        if self.schedule == "one-shot" and self.rounds not in (None, 1):
            raise ValueError(f"rounds={self.rounds}: one shot has one; set schedule to iterative or cubic")
        patterns = [rule.granularity for rule in self.rule if n_of_m(rule.granularity)]
        if self.scope == "global" and patterns:
            raise ValueError(f"scope='global': {patterns[0]} holds for every group by itself; use scope = \"layer\"")
        if self.balance_n_pe is not None:
            other = [rule.granularity for rule in self.rule if rule.granularity != "fine"]
            if other or self.scope == "global":
                raise ValueError(
                    f"balance_n_pe={self.balance_n_pe}: only fine-grained pruning with scope 'layer' can be balanced "
                    f"(here: {other[0] if other else 'scope global'})"
                )
        return self

    @property
    def total_rounds(self) -> int:
        """Rounds, the default filled in: 1 for one shot, else 5."""
        return self.rounds or (1 if self.schedule == "one-shot" else 5)

    @property
    def epochs_a_round(self) -> int:
        """Epochs, the default filled in: 0 for one shot, else 1."""
        if self.epochs is not None:
            return self.epochs
        return 0 if self.schedule == "one-shot" else 1


class FinetuneStep(_Part):
    """Train what is left (or, after sharing, the codebooks)."""

    kind: Literal["finetune"]
    epochs: int = Field(ge=1, le=10_000)


class ShareRule(_Part):
    """Bits of a code, how clustering starts and where the bias goes, for the layers that ``layers`` matches."""

    layers: str = "*"
    bits: int = Field(4, ge=2, le=8)
    init: Initialisation = "exact"
    bias: BiasPlace = "auto"


class ShareStep(_Part):
    """Cluster weights into codebooks, then fine-tune these for ``epochs`` by summed gradients."""

    kind: Literal["share"]
    epochs: int = Field(0, ge=0, le=10_000)
    seed: int = Field(0, ge=0)
    rule: Annotated[tuple[ShareRule, ...], *_Many]


class PermuteStep(_Part):
    """Reorder rows so that ``n_pe`` PEs carry alike; ``outputs`` lets the last layer's rows move too."""

    kind: Literal["permute"]
    n_pe: int = Field(64, ge=1, le=65536)
    outputs: bool = False


Step = PruneStep | FinetuneStep | ShareStep | PermuteStep


class Training(_Part):
    """How the steps that fine-tune do it, with `eie.compression.training.finetune.Trainer`.

    Attributes
    ----------
    batch
        Examples a step.
    learning_rate, centroid_rate
        Of AdamW, for float weights and for the codebooks of shared layers. Every fine-tuning begins at this rate and
        ends at 1 % of it, along half a cosine.
    dropout
        Share of activations dropped behind fully connected layers with ReLU.
    weight_decay
        Of float weights and biases: the share of each that a step takes away, in units of the learning rate.
    seed
        Of the order of the examples and of dropout.
    threads
        Torch threads; one is enough for small networks, and then sums do not depend on the machine.
    curvature_examples
        Training examples whose second derivatives are computed, one gradient for each of them and each class.
    """

    batch: int = Field(default=128, ge=1)
    learning_rate: float = Field(default=1e-3, gt=0, allow_inf_nan=False)
    centroid_rate: float = Field(default=1e-3, gt=0, allow_inf_nan=False)
    dropout: float = Field(default=0.0, ge=0, lt=1)
    weight_decay: float = Field(default=0.0, ge=0, allow_inf_nan=False)
    seed: int = Field(default=0, ge=0)
    threads: int = Field(default=1, ge=1)
    curvature_examples: int = Field(default=1000, ge=1)


class Recipe(View, _Part):
    """Everything that is done to a network, in order.

    Attributes
    ----------
    training
        For the trainer of steps that fine-tune.
    index_bits
        Bits of a relative index in the size report, by layer pattern; the first that matches counts, 4 otherwise.

    Raises
    ------
    RecipeError
        With one line per wrong field, when made by `from_mapping` or `load_recipe`.
    """

    name: str = "recipe"
    description: str = ""
    index_bits: dict[str, Annotated[int, Field(ge=1, le=8)]] = {}
    training: Training = Training()
    step: Annotated[tuple[Annotated[Step, Field(discriminator="kind")], ...], *_Many]

    @classmethod
    def from_mapping(cls, values: Mapping[str, Any], where: str = "recipe") -> Recipe:
        """Check a mapping as TOML gives it; ``where`` heads every complaint."""
        try:
            return cls(**values)
        except ValidationError as error:
            raise RecipeError([_complaint(item, where) for item in error.errors()]) from None
        except TypeError as error:
            raise RecipeError([f"{where}: {error}"]) from None

    def headline(self) -> str:
        """Say what is done, in order."""
        return f"{self.name}: {', '.join(step.kind for step in self.step)}"

    def sections(self) -> tuple[Section, ...]:
        """Return a row a rule, or a step without rules: what was set, and what it was set to."""
        rows = []
        for number, step in enumerate(self.step):
            settings = step.model_dump(exclude_none=True, exclude={"kind", "rule"})
            head = {"step": str(number), "kind": step.kind, "settings": _listed(settings)}
            rules = getattr(step, "rule", ())
            rows += [head] if not rules else []
            rows += [{**head, "rule": _listed(rule.model_dump(exclude_none=True))} for rule in rules]
        columns = (
            Column("step", "step", "text"),
            Column("kind", "kind", "text"),
            Column("settings", "settings", "prose"),
            Column("rule", "rule", "prose"),
        )
        lines = (self.description,) if self.description else ()
        return (Section(name="recipe", grids=(Grid(columns=columns, rows=tuple(rows)),), lines=lines),)


def _listed(settings: Mapping[str, Any]) -> str:
    return ", ".join(f"{name} {value}" for name, value in settings.items())


@taken
def load_recipe(path: str | Path) -> Recipe:
    """Read a recipe from a ``.toml`` file.

    Returns
    -------
    Recipe
        Checked as far as that goes without a network; called after its file where it has no name.

    Raises
    ------
    RecipeError
        Everything that is wrong with it, a line each.
    """
    path = Path(path)
    try:
        values = read_toml(path, EieError)
    except EieError as error:
        raise RecipeError([str(error)]) from None
    values.setdefault("name", path.stem)
    return Recipe.from_mapping(values, str(path))


Rule = TypeVar("Rule", PruneRule, ShareRule)


def assign(rules: Sequence[Rule], layers: Iterable[Layer], where: str) -> dict[str, Rule]:
    """Give each layer the first rule that matches its name; layers without one are left out.

    Raises
    ------
    RecipeError
        For every rule whose pattern matches no layer at all.
    """
    names = [layer.name for layer in layers]
    # A pattern that matches nothing is a typing error far more often than a wish; a rule shadowed by an earlier one is
    # fine.
    unmatched = [rule.layers for rule in rules if not any(fnmatchcase(name, rule.layers) for name in names)]
    if unmatched:
        raise RecipeError([f"{where}: layers={pattern!r}: matches none of {', '.join(names)}" for pattern in unmatched])
    matching = {name: [rule for rule in rules if fnmatchcase(name, rule.layers)] for name in names}
    return {name: matches[0] for name, matches in matching.items() if matches}


_KINDS: dict[str, type[BaseModel]] = {
    "prune": PruneStep,
    "finetune": FinetuneStep,
    "share": ShareStep,
    "permute": PermuteStep,
}
_SHAPES = {
    "model_attributes_type": "a table",
    "model_type": "a table",
    "dict_type": "a table",
    "tuple_type": "a list",
}


def _complaint(item: Any, where: str) -> str:
    """One line in the style of the spec's, as ``file.step.0.rule.1.density=2: must be <= 1``."""
    # Pydantic puts the chosen kind of a step into the path, where the file has no such level.
    kind = next((part for part in item["loc"] if part in _KINDS), None)
    place = tuple(part for part in item["loc"] if part not in _KINDS)
    head = ".".join([where, *map(str, place)])
    if item["type"] == "value_error":
        return f"{head}: {item['ctx']['error']}"
    if item["type"] in ("union_tag_invalid", "union_tag_not_found"):
        stated = item["input"].get("kind") if isinstance(item["input"], Mapping) else item["input"]
        return f"{head}.kind={stated!r}: must be one of {', '.join(_KINDS)}"
    if item["type"] in _SHAPES:
        return f"{head}={item['input']!r}: must be {_SHAPES[item['type']]}"
    ruled: type[BaseModel] = PruneRule if kind == "prune" else ShareRule
    outermost = Training if "training" in place else Recipe
    known: type[BaseModel] = ruled if "rule" in place else _KINDS.get(str(kind), outermost)
    return complaint({**item, "loc": place}, where, known.model_fields)
