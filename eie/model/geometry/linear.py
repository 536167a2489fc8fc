"""Fully connected layers: the matrix is the layer, a vector its row.

Comes in: inputs and outputs. Goes out: a frozen `Linear`. Read as `protocol` says.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from eie.errors import ModelError
from eie.model.geometry.dense_form import DenseForm, float32
from eie.model.geometry.protocol import Array, Geometry, Product
from eie.model.geometry.registry import register

if TYPE_CHECKING:
    from torch import Tensor


@register
@dataclass(frozen=True, kw_only=True)
class Linear(Geometry):
    """``W a``: each vector along the last axis is one product."""

    inputs: int
    outputs: int

    @property
    def matrix_shape(self) -> tuple[int, int]:
        """(outputs, inputs)."""
        return self.outputs, self.inputs

    @property
    def entrance(self) -> tuple[int, ...]:
        """One vector."""
        return (self.inputs,)

    @property
    def tied(self) -> str | None:
        """Nothing ties a neuron."""
        return None

    @property
    def keeps_shape(self) -> bool:
        """Whether there are as many outputs as inputs."""
        return self.inputs == self.outputs

    def fitted(self, shape: tuple[int, int]) -> Linear:
        """Take the shape of the matrix: a linear layer has no other."""
        return self if shape == self.matrix_shape else Linear(inputs=shape[1], outputs=shape[0])

    def check(self, x: Array) -> None:
        """Raise `ModelError` unless ``x`` is (N, ..., inputs)."""
        if x.ndim < 2 or x.shape[-1] != self.inputs:
            raise ModelError(f"takes {self.inputs} inputs, its input has shape {x.shape}")

    def dense_form(self, weights: Array, products: int, batch: int) -> DenseForm:
        """As exporters write it: ``Gemm`` with the weights as they are stored."""
        shape = (products * batch, self.inputs)
        return DenseForm(op="Gemm", weights=(float32(weights),), input_shape=shape, attributes={"transB": 1})

    def windows(self, x: Array) -> Array:
        """(N, ..., inputs) into its vectors, (products, inputs)."""
        self.check(x)
        # Every axis but the last is a kind of batch: ONNX's MatMul and torch's Linear take any number of them.
        return x.reshape(-1, self.inputs)

    def apply(self, x: Array, product: Product, step: int) -> Array:
        """Compute over the last axis.

        The batch goes to ``product`` as it is, whatever ``step``: flattened, or cut in parts, BLAS may sum in another
        order, and float32 results would depend on how a batch was cut.
        """
        del step
        self.check(x)
        return product(x)

    def recorded(self, x: Array, outputs: Array | None) -> Array:
        """Return the vectors as they are."""
        del outputs
        return x

    def torch_forward(self, batch: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        """As ``torch.nn.Linear``."""
        from torch.nn import functional

        return functional.linear(batch, weight, bias)

    def with_outputs(self, count: int) -> Linear:
        """Return one with other outputs."""
        return replace(self, outputs=count)

    def with_inputs(self, channels: int, before: int) -> Linear:
        """Return one with other inputs; where a map was flattened, a channel is a block of them."""
        # Multiplied first: the share alone is a fraction.
        return replace(self, inputs=self.inputs * channels // before)

    def description(self) -> None:
        """Nothing: files have always told a linear layer by the absence of a geometry, and hashes depend on it."""
        return


# What a layer has that does not say: `fitted` gives it the shape of its matrix.
LINEAR = Linear(inputs=1, outputs=1)
