"""How well a pruned network still does: on samples to choose by, and on others to report.

Comes in: inputs, labelled or not; without labels it goes by the error of the outputs against the unpruned network's.
Goes out: `Score`. Read by `search`. What is chosen by looking at some samples is flattered by them, so the accuracy
that is reported is that of samples no choice has seen.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from fractions import Fraction

import numpy as np
from numpy.typing import NDArray

from eie.compression.pruning.sensitivity import Measure
from eie.compression.training.finetune import Trainer as DataTrainer
from eie.compression.training.trainer import Trainer
from eie.errors import TraceError
from eie.model import operators
from eie.model.dataflow import dataflow
from eie.model.fitting import fitted
from eie.model.network import Network
from eie.model.samples import Samples
from eie.results.accuracy import float32_outputs, given_samples
from eie.results.output_error import OutputError
from eie.show.brief import Brief

MOST_TO_CHOOSE_BY = 500
ERROR = "the relative output error against the unpruned network"


@dataclass(frozen=True, eq=False, repr=False)
class Score(Brief):
    """A network on some samples.

    Attributes
    ----------
    right
        bool (N,): whether each sample's largest output is its class; None without labels.
    loss
        Mean cross-entropy, finer than accuracy, so choices go by it; without labels the relative output error.
    """

    right: NDArray[np.bool_] | None
    loss: float

    @property
    def accuracy(self) -> float | None:
        """Share of right answers; None without labels."""
        return None if self.right is None else float(self.right.mean())

    @property
    def relative_output_error(self) -> float | None:
        """Of the outputs, against the unpruned network's; None with labels."""
        return self.loss if self.right is None else None


@dataclass(frozen=True, eq=False, kw_only=True)
class Judge:
    """Two sets of samples: to choose by, and to report on.

    Attributes
    ----------
    errors
        Without labels: what measures output errors on the one and on the other.
    """

    choosing: Samples
    reporting: Samples
    source: str
    errors: tuple[OutputError, OutputError] | None = None

    @classmethod
    def of(cls, network: Network, trainer: Trainer | None = None) -> Judge | None:
        """Split what there is: half of the network's own samples each, or training and test examples of a trainer.

        Returns
        -------
        None without values, or with fewer than two samples.
        """
        flow = dataflow(network)
        if isinstance(trainer, DataTrainer) and flow is not None and len(flow.inputs) == 1:
            train, test = trainer.train_set.tail(MOST_TO_CHOOSE_BY), trainer.test_set
            name, shape = flow.inputs[0]
            where = f"the network's input {name!r}"
            choosing, reporting = (
                replace(part, arrays={name: fitted(part.values, shape, where, batched=True)}) for part in (train, test)
            )
            return cls(
                choosing=choosing,
                reporting=reporting,
                source=f"chosen by the last {train.count} training images, reported on the test images",
            )
        own = given_samples(network)
        if own is None or own.count < 2:
            return None
        half = min(own.count // 2, MOST_TO_CHOOSE_BY)
        first, rest = own.part(0, half), own.part(half, own.count)
        source = f"chosen by the first {half} samples, reported on the other {rest.count}"
        if own.labels is not None:
            return cls(choosing=first, reporting=rest, source=source)
        errors = OutputError.of(network, first), OutputError.of(network, rest)
        return cls(choosing=first, reporting=rest, source=f"{source}; no labels: by {ERROR}", errors=errors)

    @property
    def measure(self) -> Measure:
        """What it judges by."""
        return "accuracy" if self.errors is None else "relative_output_error"

    def choose(self, network: Network) -> Score:
        """Score a network on the samples to choose by."""
        return score(network, self.choosing) if self.errors is None else Score(None, self.errors[0](network))

    def report(self, network: Network) -> Score:
        """Score a network on the samples to report on."""
        return score(network, self.reporting) if self.errors is None else Score(None, self.errors[1](network))


def score(network: Network, samples: Samples) -> Score:
    """Run a network in float32 and compare with the labels; ``samples`` may be many, they run in slices.

    Raises
    ------
    TraceError
        If a label is none of the network's classes.
    """
    size = 1000  # samples at a time: unrolled convolutions of a whole test set do not fit memory
    parts = [samples.part(start, start + size) for start in range(0, samples.count, size)]
    outputs = np.concatenate([float32_outputs(network, part.loaded()) for part in parts]).astype(np.float64)
    outputs = outputs.reshape(samples.count, -1)
    if not 0 <= samples.classes.min() <= samples.classes.max() < outputs.shape[1]:
        raise TraceError(
            f"labels from {samples.classes.min()} to {samples.classes.max()}: the network {network.name!r} tells "
            f"{outputs.shape[1]} classes apart"
        )
    if not _ends_in_probabilities(network):
        # softmax with its largest exponent at 0, which cannot overflow
        shifted = outputs - outputs.max(axis=1, keepdims=True)
        outputs = np.exp(shifted) / np.exp(shifted).sum(axis=1, keepdims=True)
    of_class = outputs[np.arange(len(outputs)), samples.classes]
    loss = float(-np.log(np.maximum(of_class, 1e-30)).mean())
    return Score(outputs.argmax(axis=1) == samples.classes, loss)


def chance(first: NDArray[np.bool_], second: NDArray[np.bool_]) -> float:
    """Probability, if neither were better, of a difference at least this large in right answers (McNemar, exact).

    Examples
    --------
    >>> first, second = np.array([True] * 9 + [False]), np.array([False] * 8 + [True, True])
    >>> round(chance(first, second), 4)  # 8 samples only the first gets right, 1 only the second
    0.0391
    """
    # Samples that both get right, or both wrong, say nothing of the difference: the test is on those that tell.
    only_first, only_second = int((first & ~second).sum()), int((second & ~first).sum())
    trials = only_first + only_second
    tail = sum(math.comb(trials, k) for k in range(min(only_first, only_second) + 1))
    # two-sided; a fraction of integers, since 2**trials leaves floats behind at 1,024 samples
    return min(1.0, float(Fraction(2 * tail, 1 << trials)))


def _ends_in_probabilities(network: Network) -> bool:
    flow = dataflow(network)
    assert flow is not None
    last = [operators.find(node.op) for node in flow.nodes if flow.outputs[0] in node.outputs]
    return any(operator is not None and operator.gives_probabilities for operator in last)
