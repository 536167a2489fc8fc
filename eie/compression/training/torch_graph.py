"""A network as a torch function of its weights: what gradients are taken of.

Comes in: a `Network`, tensors in place of its weights, a batch. Goes out: its outputs. Read by fine-tuning. Every
operator follows the table in `eie.model.graph`; LSTM and Winograd layers cannot be trained here.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from eie.errors import ModelError
from eie.model.geometry import Conv2d
from eie.model.graph import Graph
from eie.model.network import Layer, Network, dataflow

if TYPE_CHECKING:
    from torch import Tensor

Values = Mapping[str, "Tensor"]
Attributes = Mapping[str, Any]


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
    found = _start(network, graph, batch)
    for node in graph.nodes:
        inputs = [found[name] for name in node.inputs]
        if node.layer is not None:
            found[node.name] = _layer(layer=layers[node.layer], values=values, batch=inputs[0], dropout=dropout)
        elif node.op in _OPERATORS:
            found[node.name] = _OPERATORS[node.op](inputs, node.attributes)
        else:
            raise ModelError(f"network {network.name!r}: node {node.name!r}: {node.op} cannot be trained through")
    return found[graph.outputs[0]].flatten(1)


def _start(network: Network, graph: Graph, batch: Tensor) -> dict[str, Tensor]:
    import torch

    if len(graph.inputs) != 1:
        raise ModelError(f"network {network.name!r}: has {len(graph.inputs)} inputs: training takes networks with one")
    name, shape = graph.inputs[0]
    if math.prod(shape) != batch.shape[1]:
        wanted = " x ".join("any" if size == -1 else str(size) for size in shape)
        raise ModelError(f"network {network.name!r}: takes {wanted} inputs, the examples have {batch.shape[1]}")
    constants = {key: torch.tensor(array) for key, array in graph.constants.items()}
    return {name: batch.reshape(-1, *shape), **constants}


def _layer(layer: Layer, values: Values, batch: Tensor, dropout: float) -> Tensor:
    from torch.nn import functional

    weight, bias = values[f"{layer.name}.weight"], values.get(f"{layer.name}.bias")
    conv = layer.geometry
    if conv is None:
        batch = functional.linear(batch, weight, bias)
    elif isinstance(conv, Conv2d):
        # The lowered matrix is block-diagonal if there are groups, so one group is right in every case.
        kernel = weight.reshape(conv.out_channels, conv.in_channels, *conv.kernel)
        batch = functional.conv2d(_padded(batch, conv.pads, 0.0), kernel, bias, conv.stride, 0, conv.dilation)
    else:
        raise ModelError(f"layer {layer.name!r}: {type(conv).__name__} layers cannot be trained")
    if layer.relu:
        batch = functional.relu(batch)
        if dropout and conv is None:
            batch = functional.dropout(batch, dropout)
    return batch


def _padded(batch: Tensor, pads: tuple[int, int, int, int], value: float) -> Tensor:
    from torch.nn import functional

    top, left, bottom, right = pads
    return functional.pad(batch, (left, right, top, bottom), value=value) if any(pads) else batch


def _max_pool(inputs: list[Tensor], how: Attributes) -> Tensor:
    from torch.nn import functional

    kernel = how["kernel"]
    batch = _padded(inputs[0], how.get("pads", (0, 0, 0, 0)), float("-inf"))
    return functional.max_pool2d(
        batch, kernel, how.get("stride", kernel), 0, how.get("dilation", 1), how.get("ceil", False)
    )


def _average_pool(inputs: list[Tensor], how: Attributes) -> Tensor:
    from torch.nn import functional

    kernel = how["kernel"]
    if any(how.get("pads", ())) and not how.get("count_pads", False):
        raise ModelError("average_pool with pads that are not counted cannot be trained through")
    batch = _padded(inputs[0], how.get("pads", (0, 0, 0, 0)), 0.0)
    return functional.avg_pool2d(batch, kernel, how.get("stride", kernel), 0, how.get("ceil", False))


def _batch_norm(inputs: list[Tensor], how: Attributes) -> Tensor:
    from torch.nn import functional

    batch, scale, bias, mean, variance = inputs
    return functional.batch_norm(batch, mean, variance, scale, bias, eps=how.get("epsilon", 1e-5))


def _concat(inputs: list[Tensor], how: Attributes) -> Tensor:
    import torch

    return torch.cat(inputs, how["axis"])


_OPERATORS: dict[str, Callable[[list[Tensor], Attributes], Tensor]] = {
    "relu": lambda inputs, _: inputs[0].relu(),
    "sigmoid": lambda inputs, _: inputs[0].sigmoid(),
    "tanh": lambda inputs, _: inputs[0].tanh(),
    "clip": lambda inputs, how: inputs[0].clamp(how.get("low"), how.get("high")),
    "max_pool": _max_pool,
    "average_pool": _average_pool,
    "global_average_pool": lambda inputs, _: inputs[0].mean((2, 3), keepdim=True),
    "flatten": lambda inputs, how: inputs[0].flatten(how.get("axis", 1)),
    "reshape": lambda inputs, how: inputs[0].reshape(
        [inputs[0].shape[i] if size == 0 else size for i, size in enumerate(how["shape"])]
    ),
    "concat": _concat,
    "add": lambda inputs, _: inputs[0] + inputs[1],
    "mul": lambda inputs, _: inputs[0] * inputs[1],
    "batch_norm": _batch_norm,
    "identity": lambda inputs, _: inputs[0],
    "dropout": lambda inputs, _: inputs[0],
}
