"""One network pruned in many ways: the forms that a study sets side by side.

Comes in: a `Network` and a `Variant`. Goes out: a `Pruned`: the network in that form, or why it does not exist. Read
by `granularity`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from glob import escape
from typing import Any

from eie.compression.apply import follow
from eie.compression.pruning.prune import UNITS, kept_count, n_of_m
from eie.compression.pruning.score import Block, block_scores
from eie.compression.pruning.selection import layer_named
from eie.compression.pruning.structure import (
    keeps_shape,
    narrowed,
    reasons_to_stay,
    removable,
    remove_layer,
    shrinkable,
)
from eie.compression.training.trainer import Trainer
from eie.errors import RecipeError, WordError
from eie.formats.shares import share_of
from eie.model.dataflow import dataflow
from eie.model.network import Network
from eie.model.uses import layer_of
from eie.show.listing import first_few
from eie.show.numbers import percent

# Sizes from 1 on and of at most five digits: more is a slip. Shares below 1 only.
_FORM = re.compile(r"([a-z]+)(?:([1-9]\d{0,4})x([1-9]\d{0,4}))?:(0?\.\d+|\d{1,2}(?:\.\d+)?%)")
_SHOWN = {"channel": "channels", "filter": "channels", "layer": "layers", "row": "rows", "column": "columns"}


@dataclass(frozen=True)
class Variant:
    """A way to prune.

    Attributes
    ----------
    granularity
        ``"dense"`` (nothing is pruned), ``"N:M"`` or one of `eie.compression.pruning.prune.UNITS`.
    sparsity
        Share of the units that goes.
    block
        Rows and columns of a ``"block"``.
    """

    granularity: str = "dense"
    sparsity: float = 0.0
    block: Block | None = None

    @classmethod
    def parse(cls, text: str) -> Variant:
        """Read ``dense``, ``fine:0.9``, ``2:4``, ``block4x4:0.8``, ``channel:0.5``, ``layer:0.5``.

        Raises
        ------
        WordError
            If it has none of these forms.
        """
        if text == "dense":
            return cls()
        pattern = n_of_m(text)
        if pattern is not None:
            # The share follows from the pattern: 2:4 takes half.
            return cls(text, 1 - pattern[0] / pattern[1])
        words = _FORM.fullmatch(text)
        share = 0.0 if words is None else share_of(words[4])
        # .99999999999999999 matches the form and is 1.0 as a float: nothing would be left.
        if (
            words is None
            or not 0 <= share < 1
            or words[1] not in UNITS
            or (words[1] == "block") != (words[2] is not None)
        ):
            raise WordError(
                f"variant {text!r}: must be dense, N:M as in 2:4, or a granularity and the share that goes, as in "
                f"fine:0.9 or fine:90%, block4x4:0.8, channel:0.5 (granularities: {', '.join(UNITS)})"
            )
        block = None if words[2] is None else (int(words[2]), int(words[3]))
        return cls(words[1], share, block)

    def __str__(self) -> str:
        if self.granularity == "dense":
            return "unpruned"
        # 2:4 says its share itself.
        if n_of_m(self.granularity):
            return self.granularity
        what = _SHOWN.get(self.granularity, self.granularity)
        size = "" if self.block is None else f" {self.block[0]}x{self.block[1]}"
        return f"{what}{size} {100 * self.sparsity:g} %"

    @property
    def family(self) -> str:
        """The granularity, whatever the sparsity: what a line of a figure joins."""
        if self.granularity == "block" and self.block is not None:
            return f"block {self.block[0]}x{self.block[1]}"
        return _SHOWN.get(self.granularity, self.granularity)


DEFAULT = tuple(
    Variant.parse(text)
    for text in (
        "dense",
        *(f"fine:{share}" for share in ("0.5", "0.7", "0.8", "0.9", "0.95", "0.98")),
        "2:4",
        *(f"block4x4:{share}" for share in ("0.5", "0.7", "0.8", "0.9")),
        *(f"channel:{share}" for share in ("0.3", "0.5", "0.7")),
        "layer:0.5",
    )
)


@dataclass(frozen=True, eq=False)
class Pruned:
    """A variant of a network.

    Attributes
    ----------
    network
        None if the network has no such form.
    note
        Why not, or what was left alone; may be empty.
    """

    variant: Variant
    network: Network | None
    note: str = ""


def prune(network: Network, variant: Variant, trainer: Trainer | None = None, epochs: int = 0) -> Pruned:
    """Prune a network, every layer alike, and fine-tune it.

    Weights drawn at random are pruned at random: their magnitudes mean nothing. With ``epochs``, half of them go into
    a cubic ramp of as many rounds, the rest into fine-tuning behind it; the unpruned network is trained on as long.

    Parameters
    ----------
    trainer
        Needed if there are ``epochs``.
    """
    # Epochs without a trainer would be a recipe that `follow` refuses; the study says that it is not tuned.
    if trainer is None:
        epochs = 0
    try:
        if variant.granularity == "layer":
            pruned, note = _without_layers(network, variant)
        # Without a graph nothing says who reads a channel, so no layer could be shrunk by rules; shapes can be, all
        # alike.
        elif variant.granularity in ("channel", "filter") and shapes_only(network):
            pruned = narrowed(network, 1 - variant.sparsity)
            note = "only shapes are known: the first layer keeps its inputs, the last its outputs"
        else:
            rules, note = _rules(network, variant)
            return Pruned(variant, _followed(network=network, rules=rules, epochs=epochs, trainer=trainer), note)
    except RecipeError as error:
        # The first line: a note is a cell of a table.
        return Pruned(variant, None, str(error).splitlines()[0])
    return Pruned(variant, _followed(network=pruned, rules=[], epochs=epochs, trainer=trainer), note)


def shapes_only(network: Network) -> bool:
    """Whether nothing is known of a network but its layers' shapes."""
    return dataflow(network) is None and all(layer.synthetic for layer in network.layers)


def _rules(network: Network, variant: Variant) -> tuple[list[dict[str, Any]], str]:
    """Return the rules of a prune step, and which layers have none."""
    if variant.granularity == "dense":
        return [], ""
    rule: dict[str, Any] = {"granularity": variant.granularity}
    if n_of_m(variant.granularity) is None:
        rule["density"] = 1 - variant.sparsity
    if variant.block is not None:
        rule["block"] = list(variant.block)
    if variant.granularity not in ("channel", "filter"):
        return [rule], ""
    names, staying = shrinkable(network), reasons_to_stay(network)
    said = _said(staying)
    if not names:
        raise RecipeError([f"no layer's channels can be taken out: {said or 'nothing says who reads them'}"])
    note = f"layers whose channels stay: {said}" if said else ""
    # Rules name layers by glob patterns, and names from files may hold * and [.
    return [{**rule, "layers": escape(name)} for name in names], note


def _said(staying: Mapping[str, str]) -> str:
    """Say which layers stay, those that stay for one reason together."""
    by_reason: dict[str, list[str]] = {}
    for name, reason in staying.items():
        by_reason.setdefault(reason, []).append(name)
    return _listed([f"{_listed(names)} ({reason})" for reason, names in by_reason.items()], between="; ")


def _without_layers(network: Network, variant: Variant) -> tuple[Network, str]:
    """Take out the share of the layers that can go, the least weighty first."""
    known = removable(network)
    if shapes_only(network) and len(network.layers) > 1:
        known = tuple(layer.name for layer in network.layers if keeps_shape(layer))
    # Rounded as pruning rounds elsewhere, by what stays. At least one layer stays of the network.
    count = min(len(known) - kept_count(1 - variant.sparsity, len(known)), len(network.layers) - 1)
    if not known:
        raise RecipeError(["no layer can go: none has outputs of the shape of its inputs"])
    if count == 0:
        raise RecipeError(
            [f"no layer goes: {percent(variant.sparsity, 0)} % of the {len(known)} that could is less than one"]
        )
    weights = {name: layer_named(network, name).weights for name in known}
    # The whole matrix as one block: layers are scored by the rule that scores blocks, per weight.
    scores = {
        name: float(block_scores(matrix, (matrix.shape[0], matrix.shape[1]))[0, 0]) for name, matrix in weights.items()
    }
    # Stable: of equals the earlier goes, so a study gives the same rows again.
    gone = sorted(known, key=lambda name: scores[name])[:count]
    if shapes_only(network):
        network = _left(network, [layer.name for layer in network.layers if layer.name not in gone])
    else:
        # One after another: taking one out joins its neighbours, and the graph is a new one.
        for name in gone:
            network = remove_layer(network, name)
    return network, f"gone: {_listed(gone)} ({len(known)} of the layers could go)"


def _left(network: Network, names: Sequence[str]) -> Network:
    """Return the layers called ``names`` on their own, with what was recorded for them."""
    trace = network.trace
    if trace is not None:
        recorded = {use: rows for use, rows in trace.layers.items() if layer_of(use, names) is not None}
        trace = replace(trace, layers=recorded)
    return replace(network, layers=tuple(layer for layer in network.layers if layer.name in names), trace=trace)


def _followed(network: Network, rules: list[dict[str, Any]], epochs: int, trainer: Trainer | None) -> Network:
    steps: list[dict[str, Any]] = []
    # half of the epochs while weights go, half behind: as much training as the unpruned network gets
    rounds = epochs // 2 if rules else 0
    if rules:
        criterion = "random" if all(layer.synthetic for layer in network.layers) else "magnitude"
        steps.append({"kind": "prune", "criterion": criterion, "rule": rules})
        if rounds:
            steps[0] |= {"schedule": "cubic", "rounds": rounds, "epochs": 1}
    if epochs > rounds:
        steps.append({"kind": "finetune", "epochs": epochs - rounds})
    if not steps:
        return network
    followed, _ = follow(network, {"name": "variant", "step": steps}, trainer)
    # what the recipe did is the variant itself; notes would repeat it for every row of the study
    return replace(followed, notes=network.notes)


def _listed(names: Sequence[str], between: str = ", ") -> str:
    return first_few(names, 4, between)
