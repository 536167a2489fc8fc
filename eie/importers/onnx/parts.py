"""What weight layers of an ONNX graph have in common: weights, biases, the node in our graph, a ReLU behind it.

Comes in: nodes and the `Builder`. Goes out: arrays and values. Read by `convolutions`, `products` and `einsum`.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from eie.errors import ModelError
from eie.importers.onnx.builder import Builder
from eie.model.graph import Node
from eie.model.operators.from_onnx import OnnxNode, UnsupportedError, Value


def layer_node(
    into: Builder, name: str, inputs: tuple[str, ...], out: str, shape: tuple[int, ...], batch: int
) -> Value:
    """Add the node that runs a layer, and return its result."""
    into.nodes.append(Node(op="layer", inputs=inputs, outputs=(out,), layer=name))
    return Value(out, shape, batch)


def weights_of(node: OnnxNode, into: Builder, place: int) -> NDArray[Any]:
    """Return a weight input as float32.

    Raises
    ------
    UnsupportedError
        If it is computed from the network's input.
    """
    if len(node.inputs) <= place or not node.inputs[place]:
        raise ModelError(f"input {place} is missing")
    name = node.inputs[place]
    if name not in into.constants:
        raise UnsupportedError(f"its weights {name!r} are not constant")
    array = into.constants[name]
    if array.dtype.kind not in "fiu":
        raise ModelError(f"its weights {name!r} have type {array.dtype}")
    if array.size == 0:
        raise ModelError(f"its weights {name!r} have shape {array.shape}")
    return array.astype(np.float32, copy=False)


def vector(into: Builder, name: str, outputs: int) -> NDArray[Any] | None:
    """Return a constant that broadcasts to (outputs,), spread out; None for anything else."""
    if name not in into.constants:
        return None
    array = into.constants[name]
    # Its last axis has to hold all of it: (outputs, 1) would broadcast over the rows instead.
    if array.dtype.kind not in "fiu" or array.size not in (1, outputs) or array.size != (array.shape or (1,))[-1]:
        return None
    return np.broadcast_to(array.ravel().astype(np.float32), (outputs,))


def scaled(array: NDArray[Any], factor: float) -> NDArray[Any]:
    """Multiply weights or a bias by Gemm's alpha or beta."""
    if not math.isfinite(factor):
        raise ModelError(f"alpha or beta is {factor}")
    # 1 is the rule, and a product with it would copy all weights.
    return array if factor == 1 else array * np.float32(factor)


def relu_behind(into: Builder, out: str) -> tuple[str, bool]:
    """Take in a Relu that alone reads ``out``; return what is then the layer's result."""
    after = into.sole_use(out)
    # Only where nobody else reads the result: before the ReLU it is then not there any more.
    if after is None or after.op != "Relu":
        return out, False
    into.absorbed.add(after.index)
    return after.outputs[0], True


def expect(size: int, wanted: int, what: str) -> None:
    """Raise `ModelError` unless an input has the size that its weights take."""
    if size != wanted:
        raise ModelError(f"takes {wanted} {what}, but its input has {size}")
