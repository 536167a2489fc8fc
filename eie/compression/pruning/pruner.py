"""A prune step: which layers, how far in which round, and the masks or smaller layers that follow.

Comes in: a `PruneStep` and the network it starts from. Goes out: the network after each round. Read by `apply`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from eie.compression.pruning.balance import balanced_mask
from eie.compression.pruning.channels import Shrinking
from eie.compression.pruning.prune import (
    Mask,
    compact,
    global_masks,
    kept_count,
    n_of_m,
    nm_mask,
    unit_block,
    weight_shape,
    with_mask,
)
from eie.compression.pruning.score import PRUNED, Block, Evidence, block_scores, expand
from eie.compression.pruning.selection import layer_named
from eie.compression.pruning.structure import remove_layer
from eie.compression.recipe import SHRINKING, PruneRule, PruneStep, Schedule, assign
from eie.compression.training.trainer import Trainer
from eie.model.layer import Layer
from eie.model.network import Network

CHANNELS = ("channel", "filter")


def scheduled_density(schedule: Schedule, start: float, target: float, round_: int, rounds: int) -> float:
    """Density after round ``round_`` of ``rounds``, on the way from ``start`` to ``target``.

    ``"iterative"`` takes the same share away in each round; ``"cubic"`` most of it in the first rounds, as in Zhu and
    Gupta, To prune or not to prune, 2017, equation 1.

    Examples
    --------
    >>> [round(scheduled_density("iterative", 1.0, 0.1, i, 3), 3) for i in (1, 2, 3)]
    [0.7, 0.4, 0.1]
    >>> [round(scheduled_density("cubic", 1.0, 0.1, i, 3), 3) for i in (1, 2, 3)]
    [0.367, 0.133, 0.1]
    """
    # Not computed: rounding would move the exact count of the target.
    if round_ == rounds:
        return target
    left = 1 - round_ / rounds
    return target + (start - target) * (left**3 if schedule == "cubic" else left)


@dataclass(frozen=True, kw_only=True)
class _Group:
    """Layers that are ranked together; one alone unless the scope is global.

    Attributes
    ----------
    units
        Units (weights, blocks, rows, layers) when the step began.
    start
        Share of them with something left.
    """

    names: tuple[str, ...]
    rule: PruneRule
    units: int
    start: float


class Pruner:
    """Follows one prune step.

    Raises
    ------
    RecipeError
        If a rule matches no layer, or a layer cannot shrink.
    """

    def __init__(self, network: Network, step: PruneStep, where: str) -> None:
        self._step = step
        self._numbers = {layer.name: i for i, layer in enumerate(network.layers)}
        rules = assign(step.rule, network.layers, where)
        together: dict[tuple[int, str], list[str]] = {}
        for name, rule in rules.items():
            alone = step.scope == "layer" and rule.granularity != "layer"
            # By the rule's identity: two rules of equal content are still two groups. Layers are a unit only beside
            # others, so granularity "layer" ranks together in either scope.
            together.setdefault((id(rule), name if alone else ""), []).append(name)
        # Counted once, at the start of the step: densities are shares of what there was, however much went in earlier
        # rounds.
        self._groups = [_group(network, tuple(names), rules[names[0]]) for names in together.values()]
        shrunk = [group.names for group in self._groups if group.rule.granularity in CHANNELS]
        # Raises where a layer behind cannot give up inputs: before the first round, not after hours of training.
        self._shrinking = Shrinking(network, shrunk) if shrunk else None

    def round(self, network: Network, number: int, trainer: Trainer | None) -> Network:
        """Prune to where round ``number`` (from 1) is to end."""
        step = self._step
        gradients: Mapping[str, NDArray[Any]] = {}
        curvature: Mapping[str, NDArray[Any]] = {}
        if trainer is not None and step.criterion == "taylor":
            gradients = trainer.gradients(network)
        if trainer is not None and step.criterion == "obd":
            curvature = trainer.curvature(network)
        current = {layer.name: layer for layer in network.layers}
        scored = []
        for group in self._groups:
            # An earlier round may have taken whole layers out.
            names = [name for name in group.names if name in current]
            density = scheduled_density(
                schedule=step.schedule,
                start=group.start,
                target=group.rule.target,
                round_=number,
                rounds=step.total_rounds,
            )
            scores = {
                name: self._scores(
                    layer=current[name], rule=group.rule, gradient=gradients.get(name), curvature=curvature.get(name)
                )
                for name in names
            }
            scored.append((group, density, scores))
        # Masks come first: they have the shapes of the network as it was scored.
        for group, density, scores in scored:
            if group.rule.granularity not in SHRINKING:
                masks = self._masks(scores, group.rule, density)
                network = _masked(network, group.rule, masks)
        if self._shrinking is not None:
            of_rows = [(density, scores) for group, density, scores in scored if group.rule.granularity in CHANNELS]
            network = self._shrinking.without(network, of_rows)
        for group, density, scores in scored:
            if group.rule.granularity == "layer":
                network = _without_layers(network, scores, kept_count(density, group.units))
        return network

    def _scores(
        self, layer: Layer, rule: PruneRule, gradient: NDArray[Any] | None, curvature: NDArray[Any] | None
    ) -> NDArray[np.float64]:
        evidence = Evidence(
            None if gradient is None else compact(layer, gradient),
            None if curvature is None else compact(layer, curvature),
            (self._step.seed, self._numbers[layer.name]),
        )
        return block_scores(
            weights=compact(layer, layer.weights),
            block=_unit(rule, layer),
            criterion=self._step.criterion,
            evidence=evidence,
        )

    def _masks(self, scores: Mapping[str, NDArray[np.float64]], rule: PruneRule, density: float) -> dict[str, Mask]:
        """Units of each layer that stay; layers given together are ranked together."""
        pattern = n_of_m(rule.granularity)
        if pattern is not None:
            # On the way to N:M each round keeps whole weights of every group, and never fewer than the N of the end.
            kept = max(pattern[0], kept_count(density, pattern[1]))
            return {name: nm_mask(layer_scores, kept, pattern[1]) for name, layer_scores in scores.items()}
        if self._step.balance_n_pe is not None:
            return {
                name: balanced_mask(layer_scores, density, self._step.balance_n_pe)
                for name, layer_scores in scores.items()
            }
        return dict(zip(scores, global_masks(list(scores.values()), density), strict=True))


def _masked(network: Network, rule: PruneRule, masks: Mapping[str, Mask]) -> Network:
    layers = []
    for layer in network.layers:
        if layer.name in masks:
            mask = expand(masks[layer.name], _unit(rule, layer), weight_shape(layer))
            layers.append(with_mask(layer, mask))
        else:
            layers.append(layer)
    return replace(network, layers=tuple(layers))


def _without_layers(network: Network, scores: Mapping[str, NDArray[np.float64]], count: int) -> Network:
    """Take out the least of these layers until ``count`` are left."""
    worst_first = sorted(scores, key=lambda name: float(scores[name][0, 0]))
    for name in worst_first[: max(0, len(scores) - count)]:
        network = remove_layer(network, name)
    return network


def _group(network: Network, names: tuple[str, ...], rule: PruneRule) -> _Group:
    units = alive = 0
    for name in names:
        layer = layer_named(network, name)
        unit, shape = _unit(rule, layer), weight_shape(layer)
        # Counted from the sparse matrix: scores of single weights would make a dense float64 copy of the layer.
        if unit == (1, 1):
            units, alive = units + shape[0] * shape[1], alive + layer.matrix.nnz
        else:
            left = block_scores(compact(layer, layer.weights), unit) != PRUNED
            units, alive = units + left.size, alive + int(left.sum())
    return _Group(names=names, rule=rule, units=units, start=alive / units)


def _unit(rule: PruneRule, layer: Layer) -> Block:
    if n_of_m(rule.granularity) is not None:
        return (1, 1)
    return unit_block(rule.granularity, weight_shape(layer), rule.block or (1, 1))
