"""A network as a torch function of its weights: what gradients are taken of.

Comes in: a `Network`, tensors in place of its weights, a batch. Goes out: its outputs. Read by fine-tuning. Every
operator and every kind of layer brings its own rule for it; LSTM and Winograd layers have none.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np

from eie.errors import ModelError, TraceError
from eie.model import host, operators
from eie.model.dataflow import dataflow
from eie.model.fitting import shape_of
from eie.model.graph import Graph
from eie.model.layer import Layer
from eie.model.network import Network

if TYPE_CHECKING:
    from torch import Tensor

Values = Mapping[str, "Tensor"]


def forward(network: Network, values: Values, batch: Tensor, dropout: float = 0.0) -> Tensor:
    """Run a batch (N, features) through the network.

    Parameters
    ----------
    values
        ``NAME.weight`` (outputs, inputs) and perhaps ``NAME.bias`` (outputs,) of every layer.
    dropout
        Share of activations dropped behind every fully connected layer with ReLU; 0 to evaluate.

    Returns
    -------
    Tensor (N, classes): the network's (first) output.

    Raises
    ------
    ModelError
        If the network has no order to run in, or an operator has no torch counterpart here.
    """
    layers = {layer.name: layer for layer in network.layers}
    graph = dataflow(network)
    if graph is None:
        raise ModelError(f"network {network.name!r}: its layers do not feed each other: it cannot be trained")
    tensors = _start(network, graph, batch)
    for node in graph.nodes:
        inputs = [tensors[name] for name in node.inputs]
        if node.layer is not None:
            tensors[node.name] = _layer(layer=layers[node.layer], values=values, batch=inputs[0], dropout=dropout)
            continue
        if node.op == host.OP:
            kinds = ", ".join(str(name) for name, *_ in node.attributes.get("operators", ()))
            raise ModelError(
                f"network {network.name!r}: node {node.name!r}: a host part ({kinds}) has no gradients here: train the "
                "module in PyTorch and read it with eie.from_torch"
            )
        operator = operators.find(node.op)
        if operator is None or operator.torch is None:
            raise ModelError(f"network {network.name!r}: node {node.name!r}: {node.op} cannot be trained through")
        tensors[node.name] = operator.torch(inputs, node.attributes)
    return tensors[graph.outputs[0]].flatten(1)


def _start(network: Network, graph: Graph, batch: Tensor) -> dict[str, Tensor]:
    import torch

    if len(graph.inputs) != 1:
        raise ModelError(f"network {network.name!r}: has {len(graph.inputs)} inputs: training takes networks with one")
    name, shape = graph.inputs[0]
    try:
        whole = shape_of(tuple(batch.shape), shape, f"network {network.name!r}: input {name!r}")
    except TraceError as error:
        raise ModelError(str(error)) from None
    # In float32 as the weights are, whatever the file has: torch joins no two types in a product.
    constants = {
        key: torch.tensor(array.astype(np.float32) if array.dtype.kind == "f" else array)
        for key, array in graph.constants.items()
    }
    return {name: batch.reshape(whole), **constants}


def _layer(layer: Layer, values: Values, batch: Tensor, dropout: float) -> Tensor:
    from torch.nn import functional

    weight, bias = values[f"{layer.name}.weight"], values.get(f"{layer.name}.bias")
    made = layer.geometry.torch_forward(batch, weight, bias)
    if made is None:
        raise ModelError(f"layer {layer.name!r}: {type(layer.geometry).__name__} layers cannot be trained")
    if layer.relu:
        made = functional.relu(made)
        if dropout and layer.geometry.takes_vectors:
            made = functional.dropout(made, dropout)
    return made
