"""Weights that a model uses several times, found by their values: one layer with as many uses.

Comes in: layers, the nodes that run them, the graph's constants. Goes out: the same with each matrix once. Read by the
readers of ONNX files, which go by values and not by names (an unrolled loop, a tied initialiser, one behind a Transpose
and a copy that an exporter wrote are all alike then), and of state dicts. The machine stores columns, so a matrix and
its transpose are two layers.

What uses do not have in common leaves the layer: a ReLU that only some have becomes an operator behind them, and so
does the bias where it differs. A convolution of other strides or borders, or a recurrent layer of another bias or
direction, stays a layer of its own.
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from eie.model.dataflow import dataflow
from eie.model.graph import Node
from eie.model.layer import Layer
from eie.model.matrix import SparseColumns
from eie.model.network import Network
from eie.show.listing import first_few

# Bytes of the weights that tell most matrices apart before all of them are compared.
_FEW = 256
# Names that a note lists: of an unrolled loop there may be hundreds.
_LISTED = 4


class Matrices:
    """Matrices met so far, each kept once."""

    def __init__(self) -> None:
        self._known: dict[Hashable, list[SparseColumns]] = {}

    def of(self, matrix: SparseColumns) -> SparseColumns:
        """Return the first matrix that was equal to this one."""
        key = matrix.shape, matrix.nnz, matrix.data.dtype.str, matrix.data[:_FEW].tobytes()
        alike = self._known.setdefault(key, [])
        for known in alike:
            if _equal(known, matrix):
                return known
        alike.append(matrix)
        return matrix


@dataclass(frozen=True, eq=False, kw_only=True)
class Tied:
    """What is left when each matrix is there once; ``names`` say which layer took the place of another."""

    layers: tuple[Layer, ...]
    nodes: tuple[Node, ...]
    constants: Mapping[str, NDArray[Any]]
    names: Mapping[str, str]

    @property
    def notes(self) -> tuple[str, ...]:
        """Say under which layer's name others of the file are: none goes without a word."""
        others: dict[str, list[str]] = {}
        for name, layer in self.names.items():
            if name != layer:
                others.setdefault(layer, []).append(name)
        return tuple(
            f"{layer} has the weights of {first_few(names, _LISTED)} too: one layer" for layer, names in others.items()
        )


def tie_chain(network: Network, places: Mapping[str, Hashable]) -> Network:
    """Put the layers of a sequence that are one array together; its order then stands in a graph.

    Of layers in no order nobody knows how often they run: each stays, and a note says so.

    Parameters
    ----------
    places
        Where the weights of layers lie in memory, by name: copies may be equal by chance, one array is meant.
    """
    groups = [group for group in _groups(network.layers, places) if len(group) > 1]
    if network.graph is not None or not groups:
        return network
    chain = dataflow(network)
    if chain is None:
        names = "; ".join(first_few((layer.name for layer in group), _LISTED) for group in groups)
        note = f"counted as a layer each, though one array, since nothing says how often they run: {names}"
        return replace(network, notes=(*network.notes, note))
    tied = tie(network.layers, chain.nodes, chain.constants, places=places)
    graph = replace(chain, nodes=tied.nodes, constants=tied.constants)
    notes = (*network.notes, *tied.notes)
    return replace(network, layers=tied.layers, sequential=False, graph=graph, notes=notes)


def tie(
    layers: Sequence[Layer],
    nodes: Sequence[Node],
    constants: Mapping[str, NDArray[Any]],
    places: Mapping[str, Hashable] | None = None,
) -> Tied:
    """Put layers of the same weights together; the layer that is first among ``layers`` gives the name.

    ``places`` as of `tie_chain`; without them equal weights are one.
    """
    groups = [group for group in _groups(layers, places) if len(group) > 1]
    if not groups:
        return Tied(layers=tuple(layers), nodes=tuple(nodes), constants=constants, names={})
    members = {layer.name: layer for group in groups for layer in group}
    common = {group[0].name: _common(group) for group in groups}
    names = {layer.name: group[0].name for group in groups for layer in group}
    kept, made = dict(constants), []
    for node in nodes:
        if node.layer is None or node.layer not in members:
            made.append(node)
            continue
        more, biases = _use(node, members[node.layer], common[names[node.layer]])
        made += more
        kept |= biases
    left = (common.get(layer.name, layer) for layer in layers if names.get(layer.name, layer.name) == layer.name)
    return Tied(layers=tuple(left), nodes=tuple(made), constants=kept, names=names)


def _groups(layers: Sequence[Layer], places: Mapping[str, Hashable] | None) -> list[list[Layer]]:
    matrices, groups = Matrices(), dict[Hashable, list[Layer]]()
    for layer in layers:
        if places is not None and layer.name not in places:
            continue
        key: Hashable = id(matrices.of(layer.matrix)), layer.geometry, layer.codebook is None
        if layer.codebook is not None or layer.geometry.recurrence is not None:
            # Codes mean nothing without their levels; and a bias within a recurrence cannot stand behind it.
            key = key, *(None if part is None else part.tobytes() for part in (layer.codebook, layer.bias))
        groups.setdefault((key, None if places is None else places[layer.name]), []).append(layer)
    return list(groups.values())


def _common(group: Sequence[Layer]) -> Layer:
    """Return the layer that all uses have in common."""
    first = group[0]
    alike = all(_same_bias(first, layer) for layer in group)
    return replace(first, relu=all(layer.relu for layer in group), bias=first.bias if alike else None)


def _use(node: Node, layer: Layer, common: Layer) -> tuple[list[Node], dict[str, NDArray[Any]]]:
    """Run the common layer, and behind it what is the use's own."""
    steps: list[tuple[str, tuple[str, ...]]] = []
    biases: dict[str, NDArray[Any]] = {}
    if layer.bias is not None and common.bias is None:
        name = f"{node.name} [bias]"
        # Along the channels: the axis behind the batch of maps, the last of vectors.
        biases[name] = layer.bias.reshape(-1, *(1 for _ in layer.geometry.weight_shape[2:]))
        steps.append(("add", (name,)))
    if layer.relu and not common.relu:
        steps.append(("relu", ()))
    # The last has the name that is read; those before it are new.
    outputs = [*(f"{node.name} before {op}" for op, _ in steps), node.name]
    nodes = [replace(node, layer=common.name, outputs=(outputs[0], *node.outputs[1:]))]
    for (op, more), source, out in zip(steps, outputs, outputs[1:], strict=False):
        nodes.append(Node(op=op, inputs=(source, *more), outputs=(out,), layer=None, attributes={}))
    return nodes, biases


def _same_bias(first: Layer, second: Layer) -> bool:
    if first.bias is None or second.bias is None:
        return first.bias is second.bias
    return np.array_equal(first.bias, second.bias)


def _equal(first: SparseColumns, second: SparseColumns) -> bool:
    if first.is_full and second.is_full:
        return first.data is second.data or np.array_equal(first.data, second.data)
    # Where both note their rows as bits, neither needs a list for it.
    noted = first.bits is not None and second.bits is not None
    return all(
        getattr(first, part) is getattr(second, part) or np.array_equal(getattr(first, part), getattr(second, part))
        for part in ("data", "starts", "bits" if noted else "rows")
    )
