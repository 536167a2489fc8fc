"""A network's weights as torch tensors that an optimiser can move.

Comes in: a `Network`. Goes out: `LayerParameters` a layer, and layers with new values. Read by fine-tuning.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from eie.compression.share import tied_gradient, with_codebook
from eie.model.layer import Layer
from eie.model.matrix import SparseColumns, frozen
from eie.model.network import Network

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True, eq=False, kw_only=True)
class LayerParameters:
    """One layer's tensors, and which of them an optimiser may move.

    Float weights move themselves, except where they are zero: those are pruned. Shared weights follow their codebook,
    and biases that are codes with them; there the codebook is what moves, by the sums of its weights' gradients. A bias
    that accumulators start from moves itself.

    Attributes
    ----------
    source
        The layer as it was.
    values
        ``NAME.weight`` (outputs, inputs) and, with a bias, ``NAME.bias`` (outputs,): what outputs are computed from.
    kept
        float32 (outputs, inputs): 1 where a weight may move, 0 where it is pruned.
    codes
        int64 tensors of the same keys and shapes as ``values``, for those of them that are codes.
    codebook
        float32 (levels,), or None for float weights.
    """

    source: Layer
    values: dict[str, Tensor]
    kept: Tensor
    codes: dict[str, Tensor]
    codebook: Tensor | None

    @classmethod
    def of(cls, layer: Layer) -> LayerParameters:
        """Copy a layer's weights and bias."""
        import torch

        weights, bias = f"{layer.name}.weight", f"{layer.name}.bias"
        numbers: dict[str, NDArray[np.float32]] = {weights: layer.weights}
        codes: dict[str, NDArray[np.uint8]] = {}
        if layer.codebook is not None:
            codes[weights] = layer.matrix.dense()
            if layer.bias_codes is not None:
                codes[bias] = layer.bias_codes
                numbers[bias] = layer.codebook[layer.bias_codes]
        if layer.bias is not None:
            numbers[bias] = layer.bias
        return cls(
            source=layer,
            values={key: torch.tensor(array).requires_grad_() for key, array in numbers.items()},
            kept=torch.tensor((layer.weights != 0).astype(np.float32)),
            # Torch indexes by int64 only: uint8 would be read as a mask.
            codes={key: torch.tensor(array.astype(np.int64)) for key, array in codes.items()},
            codebook=None if layer.codebook is None else torch.tensor(layer.codebook),
        )

    @property
    def movable(self) -> list[Tensor]:
        """What the optimiser moves."""
        floats = [value for key, value in self.values.items() if key not in self.codes]
        return floats if self.codebook is None else [self.codebook, *floats]

    def collect(self) -> None:
        """After a backward pass: give ``movable`` its gradients."""
        import torch

        if self.codebook is None:
            # Adam starts at rest, so a weight that never has a gradient never moves.
            self.values[f"{self.source.name}.weight"].grad.mul_(self.kept)
            return
        total = sum(
            tied_gradient(codes.numpy(), self.values[key].grad.numpy(), len(self.codebook))
            for key, codes in self.codes.items()
        )
        self.codebook.grad = torch.tensor(total, dtype=self.codebook.dtype)

    def spread(self) -> None:
        """After a step: bring ``values`` up to date with the codebook."""
        import torch

        if self.codebook is not None:
            with torch.no_grad():
                for key, codes in self.codes.items():
                    self.values[key].copy_(self.codebook[codes])

    def layer(self) -> Layer:
        """Return the layer with the numbers as they are now, shared if it was."""
        name = self.source.name
        source = self.source
        if source.bias is not None:
            source = replace(source, bias=frozen(self.values[f"{name}.bias"].detach().numpy().copy(), np.float32))
        if self.codebook is not None:
            return with_codebook(source, self.codebook.numpy())
        weights = self.values[f"{name}.weight"].detach().numpy()
        return replace(source, matrix=SparseColumns.from_dense(weights, f"layer {name!r}: trained weights"))


def parameters_of(network: Network) -> list[LayerParameters]:
    """Return every layer's parameters in order."""
    return [LayerParameters.of(layer) for layer in network.layers]


def values_of(parameters: Sequence[LayerParameters]) -> dict[str, Tensor]:
    """Return all tensors that outputs are computed from, by name."""
    return {key: value for layer in parameters for key, value in layer.values.items()}
