"""Training, fine-tuning and gradients, with torch (extra ``torch``): what compression needs beyond the weights.

Comes in: a `Network` and `Examples`. Goes out: a `Network` with other values, an accuracy, gradients. Called by
recipes, which see it as their trainer, and by the example scripts. The same seed gives the same weights.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from eie.compression import torch_graph
from eie.compression.dataset import Examples
from eie.errors import EieError, ModelError
from eie.matrix import frozen
from eie.network import Layer, Network

if TYPE_CHECKING:
    from torch import Tensor

EVALUATION_BATCH = 500
PER_SAMPLE_BATCH = 32


@dataclass(frozen=True)
class Settings:
    """How to train.

    Attributes
    ----------
    batch
        Examples a step.
    learning_rate, final_rate
        Of Adam; each call of `Trainer.train` goes from the first to the second along half a cosine.
    dropout
        Share of activations dropped behind fully connected layers with ReLU, while training weights.
    seed
        Of the order of the examples and of dropout.
    threads
        Torch threads; one is enough for small networks, and then sums do not depend on the machine.
    """

    batch: int = 128
    learning_rate: float = 1e-3
    final_rate: float = 1e-5
    dropout: float = 0.0
    seed: int = 0
    threads: int = 1

    def __post_init__(self) -> None:
        for name, least in (("batch", 1), ("seed", 0), ("threads", 1)):
            if getattr(self, name) < least:
                raise EieError(f"training: {name}={getattr(self, name)}: must be >= {least}")
        if not 0 < self.final_rate <= self.learning_rate:
            raise EieError(
                f"training: learning_rate={self.learning_rate}, final_rate={self.final_rate}: "
                f"must be positive and not rise"
            )
        if not 0 <= self.dropout < 1:
            raise EieError(f"training: dropout={self.dropout}: must be in [0, 1)")


@dataclass(frozen=True, eq=False)
class Trainer:
    """Trains and measures networks on one data set.

    Attributes
    ----------
    train_set, test_set
        What weights are fitted to, and what `accuracy` is measured on.
    settings
        Batch, rates, seed.
    progress
        Called with a line of text after every epoch.
    """

    train_set: Examples
    test_set: Examples
    settings: Settings = Settings()
    progress: Callable[[str], None] = lambda _: None

    def train(self, network: Network, epochs: int, learning_rate: float | None = None) -> Network:
        """Fit weights and biases; a weight that is zero now is pruned and stays zero.

        Parameters
        ----------
        network
            Its shared weights, if any, become float again: use `train_centroids` to keep them shared.
        epochs
            Passes over the training set; 0 returns the network as it is.
        learning_rate
            In place of the one in the settings.

        Raises
        ------
        ModelError
            If the network does not fit the examples.
        """
        import torch

        values = [value.requires_grad_() for value in torch_graph.tensors(network)]
        kept = [(value != 0).float() if value.ndim == 2 else torch.ones_like(value) for value in values]

        def hold_pruned() -> None:
            for value, mask in zip(values, kept, strict=True):
                value.grad.mul_(mask)  # Adam starts at rest, so what never has a gradient never moves

        self._descend(network, values, values, hold_pruned, epochs, learning_rate, self.settings.dropout)
        return torch_graph.with_values(network, values)

    def train_centroids(self, network: Network, epochs: int, learning_rate: float | None = None) -> Network:
        """Fit the codebooks of a shared network: codes stay, each centroid follows the sum of its weights' gradients.

        A bias is one more column in the same codebook, so its gradients add to the same sums. Level 0 stays zero.
        Deep Compression, section 3.3.

        Raises
        ------
        ModelError
            If a layer is not shared.
        """
        import torch

        for layer in network.layers:
            if layer.codebook is None:
                raise ModelError(f"layer {layer.name!r}: not shared: share it before its centroids are trained")
        values = [value.requires_grad_() for value in torch_graph.tensors(network)]
        tables = [torch.tensor(layer.codebook) for layer in network.layers]
        owners = _owners(network)

        def sum_gradients() -> None:
            for i, table in enumerate(tables):
                table.grad = torch.zeros_like(table)
                for value, (layer, codes) in zip(values, owners, strict=True):
                    if layer == i and value.grad is not None:
                        table.grad += tied_gradient(codes, value.grad, len(table))

        def spread() -> None:
            with torch.no_grad():
                for value, (layer, codes) in zip(values, owners, strict=True):
                    torch.index_select(tables[layer], 0, codes.flatten(), out=value.data.view(-1))

        self._descend(network, values, tables, sum_gradients, epochs, learning_rate, 0.0, spread)
        layers = [
            replace(layer, codebook=frozen(table.numpy().copy(), np.float32))
            for layer, table in zip(network.layers, tables, strict=True)
        ]
        return replace(network, layers=tuple(layers))

    def accuracy(self, network: Network, examples: Examples | None = None) -> float:
        """Share of ``examples`` (the test set) whose largest output is the right class, in float32."""
        import torch

        examples = examples or self.test_set
        values = torch_graph.tensors(network)
        right = 0
        with self._torch(), torch.no_grad():
            for inputs, labels in _batches(examples, EVALUATION_BATCH):
                right += int((torch_graph.forward(network, values, inputs).argmax(1) == labels).sum())
        return right / len(examples.labels)

    def gradients(self, network: Network, examples: Examples | None = None) -> dict[str, NDArray[np.float32]]:
        """Gradient of the mean cross-entropy over ``examples`` (the training set), by layer name.

        Returns
        -------
        dict
            float32 (outputs, inputs) a layer; the first-order Taylor criterion is |weight x gradient|.
        """
        import torch

        examples = examples or self.train_set
        values = [value.requires_grad_() for value in torch_graph.tensors(network)]
        with self._torch():
            for inputs, labels in _batches(examples, EVALUATION_BATCH):
                outputs = torch_graph.forward(network, values, inputs)
                loss = torch.nn.functional.cross_entropy(outputs, labels, reduction="sum")
                (loss / len(examples.labels)).backward()  # gradients of batches add up
        return _by_layer(network, [value.grad for value in values])

    def hessian_diagonal(self, network: Network, examples: Examples | None = None) -> dict[str, NDArray[np.float32]]:
        """Second derivatives of the mean cross-entropy by each weight alone: what Optimal Brain Damage asks for.

        The outputs of a network of products, ReLU and max pooling are piecewise linear in any single weight, so the
        derivative is exact, not an approximation: with p the softmax of the outputs, it is the mean over examples of
        sum over classes c of p[c] (d loss_c / d w)**2, where loss_c is the loss had c been the label.

        Parameters
        ----------
        examples
            The training set by default; a few hundred examples rank weights well, at the cost of classes x examples
            single gradients.
        """
        import torch
        from torch.func import grad, vmap

        examples = examples or self.train_set
        values = torch_graph.tensors(network)

        def loss(values: list[Tensor], one: Tensor, label: Tensor) -> Tensor:
            outputs = torch_graph.forward(network, values, one[None])
            return torch.nn.functional.cross_entropy(outputs, label[None])

        each = vmap(grad(loss), in_dims=(None, 0, 0))
        totals = [torch.zeros_like(value) for value in values]
        with self._torch():
            for inputs, _ in _batches(examples, PER_SAMPLE_BATCH):
                with torch.no_grad():
                    shares = torch_graph.forward(network, values, inputs).softmax(1)
                for c in range(shares.shape[1]):
                    single = each(values, inputs, torch.full((len(inputs),), c))
                    for total, gradient in zip(totals, single, strict=True):
                        total += torch.tensordot(shares[:, c], gradient.square_(), 1)
        return _by_layer(network, [total / len(examples.labels) for total in totals])

    def _descend(
        self,
        network: Network,
        values: list[Tensor],
        parameters: list[Tensor],
        before_step: Callable[[], None],
        epochs: int,
        learning_rate: float | None,
        dropout: float,
        after_step: Callable[[], None] = lambda: None,
    ) -> None:
        """Run Adam on ``parameters``; gradients reach them from ``values`` through ``before_step``."""
        import torch

        settings = self.settings
        first = learning_rate or settings.learning_rate
        examples = self.train_set
        steps = -(-len(examples.labels) // settings.batch)
        optimiser = torch.optim.Adam(parameters, lr=first)
        order = np.random.default_rng(settings.seed)
        with self._torch():
            for epoch in range(epochs):
                total = 0.0
                shuffled = order.permutation(len(examples.labels))
                for step, (inputs, labels) in enumerate(_batches(examples, settings.batch, shuffled)):
                    for group in optimiser.param_groups:
                        group["lr"] = _cosine(first, min(first, settings.final_rate), (epoch * steps + step) / (epochs * steps))
                    for value in values:
                        value.grad = None
                    outputs = torch_graph.forward(network, values, inputs, dropout)
                    loss = torch.nn.functional.cross_entropy(outputs, labels)
                    loss.backward()
                    before_step()
                    optimiser.step()
                    after_step()
                    total += float(loss.detach()) * len(labels)
                self.progress(f"epoch {epoch + 1}/{epochs}: loss {total / len(examples.labels):.4f}")

    @contextmanager
    def _torch(self) -> Iterator[None]:
        """Run with this trainer's threads and seed, and leave torch as it was."""
        import torch

        threads = torch.get_num_threads()
        torch.set_num_threads(self.settings.threads)
        try:
            with torch.random.fork_rng(devices=[]):
                torch.manual_seed(self.settings.seed)
                yield
        finally:
            torch.set_num_threads(threads)


def tied_gradient(codes: Tensor, gradient: Tensor, levels: int) -> Tensor:
    """Sum the gradients of all weights that share a level; level 0, the pruned weights, gets none.

    Parameters
    ----------
    codes, gradient
        Of one shape: each weight's level, and the loss's derivative by that weight.
    """
    import torch

    sums = torch.bincount(codes.flatten(), weights=gradient.flatten(), minlength=levels)
    sums[0] = 0
    return sums


def _owners(network: Network) -> list[tuple[int, Tensor]]:
    """For each tensor of `torch_graph.tensors`: the layer it belongs to, and its codes."""
    import torch

    found: list[tuple[int, Tensor]] = []
    for i, layer in enumerate(network.layers):
        found.append((i, torch.tensor(layer.matrix.dense().astype(np.int64))))
        if layer.bias_codes is not None:
            found.append((i, torch.tensor(layer.bias_codes.astype(np.int64))))
    return found


def _batches(
    examples: Examples, size: int, order: NDArray[np.int64] | None = None
) -> Iterator[tuple[Tensor, Tensor]]:
    import torch

    for start in range(0, len(examples.labels), size):
        chosen = slice(start, start + size) if order is None else order[start : start + size]
        yield torch.tensor(examples.inputs[chosen]), torch.tensor(examples.labels[chosen])


def _by_layer(network: Network, values: list[Tensor]) -> dict[str, NDArray[np.float32]]:
    """Keep the weights' share of ``values`` (in the order of `torch_graph.tensors`), by layer name."""
    weights = [value for value in values if value.ndim == 2]
    return {layer.name: value.numpy() for layer, value in zip(network.layers, weights, strict=True)}


def _cosine(first: float, last: float, done: float) -> float:
    return last + (first - last) * 0.5 * (1 + float(np.cos(np.pi * done)))
