"""What compression asks of whoever can train: gradients, curvature, fine-tuning, accuracy.

Comes in and goes out: networks and arrays, no framework. Read by `apply`; implemented with torch elsewhere. Pruning and
sharing themselves need none of it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

from numpy.typing import NDArray

from eie.model.network import Network


class Trainer(Protocol):
    """A model in training, seen from a recipe.

    Arrays are shaped as `Layer.weights`, (outputs, inputs), and keyed by layer name.
    """

    def gradients(self, network: Network) -> Mapping[str, NDArray[Any]]:
        """Mean derivative of the loss by each weight of every layer, over the training data or a part of it."""
        ...

    def curvature(self, network: Network) -> Mapping[str, NDArray[Any]]:
        """Diagonal of the loss's Hessian by each weight of every layer; none is negative."""
        ...

    def finetune(self, network: Network, epochs: int) -> Network:
        """Train on for ``epochs`` and return the same layers with better weights.

        Weights that are zero stay zero. A layer with a codebook keeps its codes and moves its levels only, by
        `eie.compression.share.tied_gradient`; level 0 stays 0.
        """
        ...

    def accuracy(self, network: Network) -> float:
        """Share of held-out samples whose largest output is their class, 0 to 1."""
        ...
