"""Products with a constant matrix in an ONNX graph: Gemm and MatMul from either side, stacks of matrices, packed ones.

Comes in: a node and the `Builder`. Goes out: layers and their nodes, into the builder. Called by `reader`. A ReLU
that alone reads a layer's result becomes part of the layer.
"""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from eie.errors import ModelError
from eie.importers.onnx.builder import Builder, Tap
from eie.importers.onnx.parts import expect, layer_node, relu_behind, scaled, vector, weights_of
from eie.model.layer import Layer
from eie.model.matrix import frozen
from eie.model.operators.from_onnx import OnnxNode, UnsupportedError, Value

# Layers that one stack of matrices becomes: as many experts or heads as there are in practice.
LARGEST_STACK = 256


def gemm(node: OnnxNode, into: Builder) -> None:
    """``alpha * A' B' + beta * C`` with constant C, and B or A constant."""
    if _left_is_constant(node, into):
        _gemm_from_left(node, into)
        return
    weights = weights_of(node, into, 1)
    if weights.ndim != 2:
        raise ModelError(f"B has shape {weights.shape}: must be a matrix")
    if not node.attributes.get("transB", 0):
        weights = weights.T
    # Into the weights, before they are shared: the accelerator has no factor behind its sums.
    alpha = float(node.attributes.get("alpha", 1.0))
    weights = scaled(weights, alpha)
    bias = None
    bias_name = node.inputs[2] if len(node.inputs) > 2 else ""
    if bias_name:
        bias = vector(into, bias_name, len(weights))
        if bias is None:
            raise UnsupportedError("C is not a constant of one value for each output")
        bias = scaled(bias, float(node.attributes.get("beta", 1.0)))
    x, across = into.known(node.inputs[0]), bool(node.attributes.get("transA", 0))
    if x is not None:
        # A transposed has the samples across; where they are, each is a row in our graph all the same.
        whole = x.batch < 0 and not across
        if len(x.shape) != 2 or not (whole or x.batch == int(across)):
            raise UnsupportedError(f"A has shape {x.shape}, its batch in axis {x.batch}")
        # All rows of one sample, as of a sequence that was merged with its batch: they are the layer's vectors.
        x = x if whole else Value(x.name, (x.shape[x.batch], *x.sample), 0)
    out, relu = relu_behind(into, node.outputs[0])
    made = linear(
        node=node,
        into=into,
        x=x,
        tap=Tap(
            layer="",
            tensor=node.inputs[0],
            batch=-1 if x is not None and x.batch < 0 else int(across),
            node=node.index,
        ),
        weights=weights,
        names=(node.inputs[1], bias_name),
        bias=bias,
        out=out,
        relu=relu,
        same=("Gemm", into.constants.origin(node.inputs[1]), alpha, bool(node.attributes.get("transB", 0))),
    )
    if made is not None:
        into.set(out, made)


def matmul(node: OnnxNode, into: Builder) -> None:
    """``A B`` with a constant A or B, and the Add of a constant vector that alone reads it."""
    if _left_is_constant(node, into):
        weights = unstacked(weights_of(node, into, 0))
        x = into.known(node.inputs[1])
        if weights.ndim == 3 and x is not None:
            _stacked_columns(node=node, into=into, weights=weights, x=x)
            return
        if weights.ndim != 2:
            raise UnsupportedError(f"A has shape {weights.shape}")
        columns(node=node, into=into, weights=weights, x=into.known(node.inputs[1]), out=node.outputs[0])
        return
    weights = weights_of(node, into, 1)
    x = into.known(node.inputs[0])
    # Axes of one in front change nothing, unless they are more than the input has.
    if weights.ndim > 2 and (x is None or weights.ndim <= len(x.shape)):
        weights = unstacked(weights)
    if weights.ndim == 3 and x is not None:
        stacked(node=node, into=into, weights=weights, x=x)
        return
    if weights.ndim != 2:
        raise UnsupportedError(f"B has shape {weights.shape}")
    product(node=node, into=into, weights=weights.T, same=(into.constants.origin(node.inputs[1]), weights.shape))


def product(
    node: OnnxNode, into: Builder, weights: NDArray[Any], bits: float | None = None, same: Hashable = None
) -> None:
    """Multiply the first input's last axis by (outputs, inputs), and take in the Add of a constant vector behind."""
    bias, bias_name, out = None, "", node.outputs[0]
    # The sum without bias must be wanted by nobody else, since it is then never made.
    add = into.sole_use(out)
    if add is not None and add.op == "Add" and len(add.inputs) == 2:
        # An Add has its constant on either side.
        name = add.inputs[1] if add.inputs[0] == out else add.inputs[0]
        bias = vector(into, name, len(weights)) if name in into.constants else None
        if bias is not None:
            bias_name, out = name, add.outputs[0]
            # A bias is one more column of the matrix; as an Add of its own it would run outside the accelerator.
            into.absorbed.add(add.index)
    x = into.known(node.inputs[0])
    out, relu = relu_behind(into, out)
    made = linear(
        node=node,
        into=into,
        x=x,
        tap=Tap(layer="", tensor=node.inputs[0], batch=0 if x is None else x.batch, node=node.index),
        weights=weights,
        names=(node.inputs[1], bias_name),
        bias=bias,
        out=out,
        bits=bits,
        relu=relu,
        same=same,
    )
    if made is not None:
        into.set(out, made)


def columns(
    node: OnnxNode,
    into: Builder,
    weights: NDArray[Any],
    x: Value | None,
    out: str,
    bias: NDArray[Any] | None = None,
) -> None:
    """``W X``: the columns of X, (..., inputs, columns), are the vectors."""
    if x is None:
        raise UnsupportedError("the shape of its input is not known")
    rank = len(x.shape)
    if rank < 2 or x.batch == rank - 2:
        raise UnsupportedError(f"its input has shape {x.shape}, its batch in axis {x.batch}")
    # Inputs last, in our graph and where they are recorded: in both the batch is in front already.
    ours = (*(axis for axis in range(rank) if axis not in (rank - 2, x.batch)), rank - 2)
    order = (0, *(x.axis(axis) for axis in ours))
    turned = order != tuple(range(len(order)))
    out, relu = relu_behind(into, out)
    rows = Value(x.name, x.batch_first, 0)
    made = linear(
        node=node,
        into=into,
        x=into.emit("transpose", [rows], f"{out} [in]", axes=order) if turned else rows,
        tap=Tap(layer="", tensor=node.inputs[1], batch=x.batch, node=node.index, order=order if turned else ()),
        weights=weights,
        names=(node.inputs[0], ""),
        bias=bias,
        out=f"{out} [turned]" if turned else out,
        relu=relu,
    )
    assert made is not None
    if turned:
        # Back to where the file has them.
        made = into.emit("transpose", [made], out, axes=tuple(int(axis) for axis in np.argsort(order)))
    into.set(out, Value(made.name, (*x.shape[:-2], len(weights), x.shape[-1]), x.batch))


def stacked(node: OnnxNode, into: Builder, weights: NDArray[Any], x: Value) -> None:
    """Multiply by (heads, inputs, outputs): a layer each on its part of the input, or on all of it."""
    out, relu = relu_behind(into, node.outputs[0])
    tap = Tap(layer="", tensor=node.inputs[0], batch=x.batch, node=node.index)
    into.set(out, _stack(node=node, into=into, weights=weights, x=x, tap=tap, out=out, relu=relu))


def _stacked_columns(node: OnnxNode, into: Builder, weights: NDArray[Any], x: Value) -> None:
    """Multiply (heads, outputs, inputs) by the columns of X, (..., heads, inputs, columns)."""
    rank = len(x.shape)
    if rank < 3 or x.batch >= rank - 2:
        raise UnsupportedError(f"A has shape {weights.shape}, its input {x.shape}")
    out, relu = relu_behind(into, node.outputs[0])
    # Inputs last, as rows; the batch is in front in our graph, where the last two axes stay the last.
    last = len(x.batch_first)
    order = (*range(last - 2), last - 1, last - 2)
    rows = into.emit("transpose", [Value(x.name, x.batch_first, 0)], f"{out} [in]", axes=order)
    turned = Value(rows.name, (*x.shape[:-2], x.shape[-1], x.shape[-2]), x.batch)
    tap = Tap(layer="", tensor=node.inputs[1], batch=x.batch, node=node.index, order=order)
    made = _stack(
        node=node,
        into=into,
        weights=weights.swapaxes(1, 2),
        x=turned,
        tap=tap,
        out=f"{out} [turned]",
        relu=relu,
        name=node.inputs[0],
    )
    back = into.emit("transpose", [Value(made.name, made.batch_first, 0)], out, axes=order)
    into.set(out, Value(back.name, (*made.shape[:-2], made.shape[-1], made.shape[-2]), x.batch))


def _stack(
    *,
    node: OnnxNode,
    into: Builder,
    weights: NDArray[Any],
    x: Value,
    tap: Tap,
    out: str,
    relu: bool,
    name: str = "",
) -> Value:
    axis = len(x.shape) - 3
    if axis < 0 or axis == x.batch or x.shape[axis] not in (1, len(weights)) or len(weights) > LARGEST_STACK:
        raise UnsupportedError(f"B has shape {weights.shape}, its input {x.shape}")
    ours, parts = x.axis(axis), []
    for i, matrix in enumerate(weights):
        # One that all matrices multiply is read by all.
        shared, label = x.shape[axis] == 1, f"{out} [{i}]"
        made = linear(
            node=node,
            into=into,
            x=x if shared else into.emit("slice", [x], f"{label} in", axis=ours, start=i, stop=i + 1),
            tap=replace(tap, part=None if shared else (ours, i)),
            weights=matrix.T,
            names=(name or node.inputs[1], ""),
            out=label,
            relu=relu,
        )
        assert made is not None
        parts.append(made)
    return into.emit("concat", parts, out, axis=ours)


def unstacked(weights: NDArray[Any]) -> NDArray[Any]:
    """Take axes of one off the front."""
    while weights.ndim > 2 and weights.shape[0] == 1:
        weights = weights[0]
    return weights


def _left_is_constant(node: OnnxNode, into: Builder) -> bool:
    return len(node.inputs) > 1 and node.inputs[0] in into.constants and node.inputs[1] not in into.constants


def _gemm_from_left(node: OnnxNode, into: Builder) -> None:
    weights = weights_of(node, into, 0)
    if weights.ndim != 2:
        raise ModelError(f"A has shape {weights.shape}: must be a matrix")
    weights = scaled(
        weights.T if node.attributes.get("transA", 0) else weights, float(node.attributes.get("alpha", 1.0))
    )
    x, bias = into.known(node.inputs[1]), None
    if len(node.inputs) > 2 and node.inputs[2]:
        # A value for each output is a column here.
        bias = into.constants.get(node.inputs[2])
        if bias is None or bias.shape not in ((len(weights), 1), (1,), ()):
            raise UnsupportedError("C is not a constant of one value for each output")
        bias = scaled(np.broadcast_to(bias.ravel(), len(weights)), float(node.attributes.get("beta", 1.0)))
    if x is not None and node.attributes.get("transB", 0):
        x = Value(x.name, x.shape[::-1], len(x.shape) - 1 - x.batch)
    columns(node=node, into=into, weights=weights, x=x, out=node.outputs[0], bias=bias)


def linear(
    *,
    node: OnnxNode,
    into: Builder,
    x: Value | None,
    tap: Tap,
    weights: NDArray[Any],
    names: tuple[str, str],
    out: str,
    bias: NDArray[Any] | None = None,
    bits: float | None = None,
    relu: bool = False,
    same: Hashable = None,
) -> Value | None:
    """Add a fully connected layer over the last axis of ``x``; return its result, None if ``x`` is not known.

    Parameters
    ----------
    tap
        Where its inputs are in the file; the layer's name is filled in.
    names
        Of weights and bias in the file.
    bits
        Of a weight in the file, where the constants do not know it.
    same
        What is equal for nodes of the same weights, so that these are brought into columns once.
    """
    if x is not None:
        # The last axis is multiplied: a batch there would be mixed.
        if len(x.batch_first) < 2 or x.batch == len(x.shape) - 1:
            raise UnsupportedError(f"its input has shape {x.shape}, batch included")
        expect(x.shape[-1], weights.shape[1], "inputs")
    name = into.layer_name(node, *names)
    before = None if same is None else into.of_weights.get(same)
    if before is None or (bias is not None and not np.isfinite(bias).all()):
        layer = Layer.from_weights(name, weights, bias, relu=relu)
    else:
        layer = replace(before, name=name, bias=None if bias is None else frozen(bias, np.float32), relu=relu)
    if same is not None:
        into.of_weights[same] = layer
    into.add_layer(layer, bits or into.constants.stored_bits.get(names[0]))
    into.taps.append(replace(tap, layer=name))
    if x is None:
        return None
    shape = (*x.shape[:-1], len(weights))
    return layer_node(into=into, name=name, inputs=(x.name,), out=out, shape=shape, batch=x.batch)
