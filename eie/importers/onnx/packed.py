"""Products with weights of a few bits, packed in blocks: onnxruntime's MatMulNBits.

Comes in: a node and the `Builder`. Goes out: a layer of the float equivalents, with the width that the file has. Called
by `reader`. By onnxruntime's documentation of the operator: B is (N, blocks of K, bytes of a block), the first element
in the lowest bits; a scale a block; zero points packed like B, a row of whole bytes, and half the range where there are
none.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from eie.errors import ModelError
from eie.importers.onnx.builder import Builder
from eie.importers.onnx.products import product
from eie.model.operators.from_onnx import LARGEST_TENSOR, OnnxNode, constant


def matmul_nbits(node: OnnxNode, into: Builder) -> None:
    """``A dequantised(B)'``."""
    outputs, inputs = (int(node.attributes.get(key, 0)) for key in ("N", "K"))
    bits, block = int(node.attributes.get("bits", 4)), int(node.attributes.get("block_size", 0))
    if bits not in (2, 4, 8) or block < 1 or not 1 <= outputs * inputs <= LARGEST_TENSOR or min(outputs, inputs) < 1:
        raise ModelError(f"N={outputs}, K={inputs}, bits={bits}, block_size={block}")
    blocks = -(-inputs // block)
    stored: NDArray[Any] = _unpacked(constant(node, into, 1), bits).reshape(outputs, -1)
    scales = constant(node, into, 2).reshape(-1).astype(np.float32)
    if stored.shape[1] < blocks * block or scales.size != outputs * blocks:
        raise ModelError(
            f"{stored.shape} integers and {scales.size} scales for {outputs} x {inputs} in blocks of {block}"
        )
    zeros, factors = _zeros(node=node, into=into, bits=bits, shape=(outputs, blocks)), scales.reshape(outputs, blocks)
    # In place, and in integers first: what is at the zero point is an exact 0, and so a pruned weight.
    weights = stored[:, : blocks * block].astype(np.float32)
    if (order := _order(node, into, inputs=inputs, blocks=blocks)) is None:
        by_block = weights.reshape(outputs, blocks, block)
        by_block -= zeros[:, :, None]
        by_block *= factors[:, :, None]
        weights = weights[:, :inputs]
    else:
        weights = weights[:, :inputs]
        weights -= zeros[:, order]
        weights *= factors[:, order]
    packed_zeros = bits if any(node.inputs[3:4]) else 0
    product(node, into, weights, bits=bits + (32 + packed_zeros) / block)


def _order(node: OnnxNode, into: Builder, *, inputs: int, blocks: int) -> NDArray[np.int64] | None:
    """Return which block's scale each column has; None where that is the one that it lies in."""
    if not any(node.inputs[4:5]):
        return None
    order = constant(node, into, 4).reshape(-1).astype(np.int64)
    if order.shape != (inputs,) or not 0 <= order.min() <= order.max() < blocks:
        largest = order.max(initial=0)
        raise ModelError(f"g_idx of shape {order.shape} up to {largest}: must be {inputs} of {blocks} blocks")
    return order


def _zeros(node: OnnxNode, into: Builder, bits: int, shape: tuple[int, int]) -> NDArray[Any]:
    if not any(node.inputs[3:4]):
        return np.full(shape, 1 << bits - 1, np.float32)
    stored = constant(node, into, 3)
    if stored.dtype.kind != "f":
        stored = _unpacked(stored, bits).reshape(shape[0], -1)[:, : shape[1]]
    if stored.size != shape[0] * shape[1]:
        raise ModelError(f"{stored.size} zero points for {shape[0]} x {shape[1]} blocks")
    return stored.reshape(shape).astype(np.float32)


def _unpacked(array: NDArray[Any], bits: int) -> NDArray[np.uint8]:
    if array.dtype != np.uint8:
        raise ModelError(f"packed weights of type {array.dtype}: must be uint8")
    shifts = np.arange(0, 8, bits, dtype=np.uint8)
    fields: NDArray[np.uint8] = (array[..., None] >> shifts) & np.uint8((1 << bits) - 1)
    return fields
