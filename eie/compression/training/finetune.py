"""Training, fine-tuning and gradients, with torch (extra ``torch``): what compression needs beyond the weights.

Comes in: a `Network` and labelled `Samples`. Goes out: a `Network` with other values, an accuracy, gradients. Called by
recipes, which see it as their trainer, and by the example scripts. The same seed gives the same weights.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import cached_property
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from eie.compression.pruning.parameters import LayerParameters, parameters_of, values_of
from eie.compression.recipe import Training
from eie.compression.training.checkpoint import Checkpoints
from eie.compression.training.torch_graph import Values, forward
from eie.errors import EieError, ModelError
from eie.model.digest import network_digest, samples_digest
from eie.model.network import Network
from eie.model.samples import Samples
from eie.show.brief import Brief
from eie.version import __version__

if TYPE_CHECKING:
    from torch import Tensor

# Examples at a time where no step is taken: sizes of memory, results do not depend on them. Per-example gradients take
# a copy of all weights an example.
EVALUATION_BATCH = 500
# Of the first learning rate.
FINAL_SHARE = 0.01
PER_EXAMPLE_BATCH = 32


@dataclass(frozen=True, eq=False, kw_only=True, repr=False)
class Trainer(Brief):
    """Trains and measures networks on one data set.

    Attributes
    ----------
    train_set, test_set
        What weights are fitted to, and what `accuracy` is measured on.
    training
        Batch, rates, seed.
    progress
        Called with a line of text after every epoch.
    checkpoints
        Where each epoch's state is kept, so that a fine-tuning that is stopped goes on; None keeps nothing.

    Raises
    ------
    EieError
        If PyTorch is not installed.
    """

    train_set: Samples
    test_set: Samples
    training: Training = field(default_factory=Training)
    progress: Callable[[str], None] = lambda _: None
    checkpoints: Checkpoints | None = None

    def __post_init__(self) -> None:
        if find_spec("torch") is None:
            raise EieError("training needs PyTorch: pip install 'eie[torch]'")

    def finetune(self, network: Network, epochs: int) -> Network:
        """Train on: float layers by weight and bias, shared layers by their codebooks; their codes stay.

        A weight that is zero is pruned and stays zero. Each centroid follows the sum of its weights' gradients (Deep
        Compression, section 3.3), those of a bias column's entries among them; a bias that accumulators start from
        follows its own.

        Parameters
        ----------
        epochs
            Passes over the training set; 0 returns the same values.

        Raises
        ------
        ModelError
            If the network does not fit the examples, or has a part that cannot be trained.
        """
        import torch

        training, examples = self.training, self.train_set
        parameters = parameters_of(network)
        values = values_of(parameters)
        optimiser = torch.optim.AdamW([_group(layer, training) for layer in parameters])
        # NumPy's generator, not torch's: the order of examples does not depend on how many numbers dropout draws.
        order = np.random.default_rng(training.seed)
        a_pass = -(-examples.count // training.batch)
        steps, movable = epochs * a_pass, [tensor for layer in parameters for tensor in layer.movable]
        key = "" if self.checkpoints is None else self._key(network, epochs)
        with self._torch():
            first = 0 if self.checkpoints is None else self.checkpoints.restore(key, movable, optimiser)
            done = first * a_pass
            for layer in parameters:
                layer.spread()
            for epoch in range(epochs):
                total = 0.0
                # Of epochs that are done too: the next one's order follows from theirs.
                shuffled = order.permutation(examples.count)
                if epoch < first:
                    continue
                for inputs, labels in _batches(examples, training.batch, shuffled):
                    for group in optimiser.param_groups:
                        group["lr"] = group["first"] * _decay(done / steps)
                    for value in values.values():
                        value.grad = None
                    outputs = forward(network=network, values=values, batch=inputs, dropout=training.dropout)
                    loss = _loss(outputs, labels)
                    loss.backward()
                    # Gradients go to the codebooks before the step, and their levels to the weights behind it.
                    for layer in parameters:
                        layer.collect()
                    optimiser.step()
                    for layer in parameters:
                        layer.spread()
                    done += 1
                    total += float(loss.detach()) * len(labels)
                if self.checkpoints is not None:
                    last = epoch + 1 == epochs
                    self.checkpoints.keep(key, movable, optimiser, epochs=epoch + 1, last=last)
                self.progress(f"epoch {epoch + 1}/{epochs}: loss {total / examples.count:.4f}")
        return replace(network, layers=tuple(layer.layer() for layer in parameters))

    @cached_property
    def content_hash(self) -> str:
        """SHA-256 of the examples and of how they are trained on."""
        sets = samples_digest(self.train_set), samples_digest(self.test_set)
        return hashlib.sha256(f"{sets} {self.training.model_dump_json()}".encode()).hexdigest()

    def _key(self, network: Network, epochs: int) -> str:
        """SHA-256 of all that a fine-tuning depends on."""
        import torch

        # Versions too: kernels of another one sum in another order.
        words = (network_digest(network), self.content_hash, epochs, torch.__version__, __version__)
        return hashlib.sha256(str(words).encode()).hexdigest()

    def accuracy(self, network: Network, examples: Samples | None = None) -> float:
        """Share of ``examples`` (the test set) whose largest output is the right class, in float32."""
        import torch

        examples = examples or self.test_set
        values = values_of(parameters_of(network))
        right = 0
        with self._torch(), torch.no_grad():
            for inputs, labels in _batches(examples, EVALUATION_BATCH):
                right += int((forward(network, values, inputs).argmax(1) == labels).sum())
        return right / examples.count

    def gradients(self, network: Network) -> dict[str, NDArray[np.float32]]:
        """Gradient of the mean cross-entropy over the training set, by layer name: for the Taylor criterion.

        Returns
        -------
        dict
            float32 (outputs, inputs) a layer.
        """

        values = values_of(parameters_of(network))
        with self._torch():
            for inputs, labels in _batches(self.train_set, EVALUATION_BATCH):
                outputs = forward(network, values, inputs)
                share = len(labels) / self.train_set.count
                (_loss(outputs, labels) * share).backward()  # gradients of batches add up
        return _by_layer(network, {key: value.grad for key, value in values.items()})

    def curvature(self, network: Network) -> dict[str, NDArray[np.float32]]:
        """Second derivative of the mean cross-entropy by each weight alone: what Optimal Brain Damage asks for.

        Exact over the first ``curvature_examples`` training examples. The outputs of products, ReLU and max pooling
        are piecewise linear in any single weight, so that, with p the softmax of the outputs, the second derivative is
        the mean over examples of sum over classes c of p[c] (d loss_c / d w)**2, loss_c being the loss had c been the
        label. It is never negative. In a weight with several uses outputs are not linear, and it is the Gauss-Newton
        part of the derivative.

        Returns
        -------
        dict
            float32 (outputs, inputs) a layer.
        """
        import torch
        from torch.func import grad, vmap

        examples = self.train_set.head(self.training.curvature_examples)
        values = {key: value.detach() for key, value in values_of(parameters_of(network)).items()}

        def loss(values: Values, example: Tensor, label: Tensor) -> Tensor:
            return torch.nn.functional.cross_entropy(forward(network, values, example[None]), label[None])

        each = vmap(grad(loss), in_dims=(None, 0, 0))
        totals = {key: torch.zeros_like(value) for key, value in values.items()}
        with self._torch():
            for inputs, _ in _batches(examples, PER_EXAMPLE_BATCH):
                shares = forward(network, values, inputs).softmax(1)
                # A gradient for each class the example could have had, weighted by how likely the network holds it.
                for c in range(shares.shape[1]):
                    single = each(values, inputs, torch.full((len(inputs),), c))
                    for key, gradient in single.items():
                        totals[key] += torch.tensordot(shares[:, c], gradient.square(), 1)
        return _by_layer(network, {key: total / examples.count for key, total in totals.items()})

    @contextmanager
    def _torch(self) -> Iterator[None]:
        """Run with this trainer's threads and seed, and leave torch as it was."""
        import torch

        threads = torch.get_num_threads()
        torch.set_num_threads(self.training.threads)
        try:
            # So that the caller's own random numbers go on as if nothing had run.
            with torch.random.fork_rng(devices=[]):
                torch.manual_seed(self.training.seed)
                yield
        finally:
            torch.set_num_threads(threads)


def _group(parameters: LayerParameters, training: Training) -> dict[str, Any]:
    """How the optimiser treats one layer."""
    shared = parameters.codebook is not None
    return {
        "params": parameters.movable,
        "first": training.centroid_rate if shared else training.learning_rate,
        # Decay would draw levels to zero, where the reserved one is.
        "weight_decay": 0.0 if shared else training.weight_decay,
    }


def _decay(done: float) -> float:
    """Share of the first learning rate that is left when ``done`` (0 to 1) of the steps are."""
    return FINAL_SHARE + (1 - FINAL_SHARE) * (1 + math.cos(math.pi * done)) / 2


def _batches(examples: Samples, size: int, order: NDArray[np.int64] | None = None) -> Iterator[tuple[Tensor, Tensor]]:
    import torch

    for start in range(0, examples.count, size):
        chosen = slice(start, start + size) if order is None else order[start : start + size]
        yield torch.tensor(examples.read(chosen)), torch.tensor(examples.classes[chosen])


def _loss(outputs: Tensor, labels: Tensor) -> Tensor:
    """Mean cross-entropy of a batch."""
    import torch

    # Torch's own error would not say which of the two is too small.
    if int(labels.max()) >= outputs.shape[1]:
        raise ModelError(f"the network tells {outputs.shape[1]} classes apart, a label is {int(labels.max())}")
    return torch.nn.functional.cross_entropy(outputs, labels)


def _by_layer(network: Network, values: Values) -> dict[str, NDArray[np.float32]]:
    return {layer.name: values[f"{layer.name}.weight"].numpy() for layer in network.layers}
