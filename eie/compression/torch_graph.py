"""A network as a differentiable function of its weights, in torch.

Comes in: a `Network`. Goes out: its parameters as tensors, its outputs for a batch, and a `Network` with new values.
Read by fine-tuning; nothing else in the package computes gradients.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from eie.matrix import SparseColumns, frozen
from eie.network import Layer, Network

if TYPE_CHECKING:
    from torch import Tensor


def tensors(network: Network) -> list[Tensor]:
    """Return weights (outputs, inputs) and bias (outputs,) of every layer in order, as float32 copies.

    A layer without bias has one entry less; `forward` knows which.
    """
    import torch

    found: list[Tensor] = []
    for layer in network.layers:
        found.append(torch.tensor(layer.weights))
        bias = bias_of(layer)
        if bias is not None:
            found.append(torch.tensor(bias))
    return found


def bias_of(layer: Layer) -> NDArray[np.float32] | None:
    """Return the layer's bias as numbers, shared or not; None without bias."""
    if layer.bias_codes is not None and layer.codebook is not None:
        return layer.codebook[layer.bias_codes]
    return layer.bias


def forward(network: Network, values: list[Tensor], batch: Tensor, dropout: float = 0.0) -> Tensor:
    """Run a batch (N, features) through the network with ``values`` in place of its own weights.

    ``dropout`` is the share of activations dropped behind every fully connected layer with ReLU; 0 to evaluate.
    """
    from torch.nn import functional

    remaining = iter(values)
    for layer in network.layers:
        weight = next(remaining)
        bias = next(remaining) if layer.has_bias else None
        batch = functional.linear(batch, weight, bias)
        if layer.relu:
            batch = functional.relu(batch)
            if dropout:
                batch = functional.dropout(batch, dropout)
    return batch


def with_values(network: Network, values: list[Tensor]) -> Network:
    """Return the network with float weights and biases taken from ``values``, in the order of `tensors`."""
    remaining = iter(values)
    layers = []
    for layer in network.layers:
        weights = next(remaining).detach().numpy()
        bias = frozen(next(remaining).detach().numpy().copy(), np.float32) if layer.has_bias else None
        matrix = SparseColumns.from_dense(weights, f"layer {layer.name!r}: trained weights")
        layers.append(replace(layer, matrix=matrix, codebook=None, bias=bias, bias_codes=None))
    return replace(network, layers=tuple(layers))
