"""``add``, ``sub``, ``mul``, ``div``: two tensors, or a tensor and a constant, broadcast against each other.

Takes two tensors, without attributes; gives one of the shape to which they broadcast. One file, since only the sign
differs.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from eie.errors import ModelError
from eie.model.operators.channels import constants_too, joined
from eie.model.operators.from_onnx import Builder, Handler, OnnxNode, UnsupportedError, Value, constant
from eie.model.operators.registry import Array, Attributes, Operator, Shape, TorchRule, register


def _shape(shapes: Sequence[Shape], _: Attributes) -> Shape:
    return np.broadcast_shapes(*shapes)


def _reader(op: str) -> Handler:
    def read(node: OnnxNode, into: Builder, x: Value) -> None:
        out = node.outputs[0]
        if len(node.inputs) != 2:
            raise ModelError(f"{len(node.inputs)} inputs: must be 2")
        operands: list[Value | str] = []
        for place, name in enumerate(node.inputs):
            part = into.known(name)
            if part is None:
                # Named after the output: a file may use one constant at several places, each turned in its own way.
                operands.append(into.hold(f"{out} [{place}]", _beside(constant(node, into, place), x)))
                continue
            # Of unlike ranks, broadcasting would pair the batch with some other axis.
            if len(part.shape) != len(x.shape) or part.batch != x.batch:
                raise UnsupportedError(f"shapes {x.shape} and {part.shape}")
            operands.append(part)
        into.set(out, into.emit(op, operands, out, batch=x.batch))

    return read


def _beside(array: Array, x: Value) -> Array:
    """Turn a constant that broadcasts over ``x`` as the file has it into one that broadcasts with the batch first."""
    rank = len(x.shape)
    if array.ndim > rank or np.broadcast_shapes(array.shape, x.shape) != x.shape:
        raise UnsupportedError(f"a constant of shape {array.shape} beside {x.shape}")
    # Ones in front, as broadcasting would add them, so that the constant's axes can be named.
    full = array.reshape((1,) * (rank - array.ndim) + array.shape)
    if x.batch < 0:
        return full
    first = full.take([0], x.batch)
    # A state that was spread over a fixed batch is the same for all samples.
    if full.shape[x.batch] != 1 and not np.array_equal(full, np.broadcast_to(first, full.shape)):
        raise UnsupportedError(f"a constant of shape {array.shape} differs over the batch")
    # The batch's own axis is taken away: a graph's constants have none.
    moved: Array = np.moveaxis(first, x.batch, 0)[0]
    return moved


def _register(name: str, rule: Callable[[Any, Any], Any], op_type: str, torch: TorchRule | None) -> None:
    register(
        Operator(
            name=name,
            compute=lambda x, _: rule(x[0], x[1]),
            inputs=2,
            shape=_shape,
            channels=joined,
            take=constants_too,
            torch=torch,
            onnx={op_type: _reader(name)},
            # Of a residual block. The other three mostly stand in normalisations, which a host does.
            stays=[op_type] if op_type == "Add" else (),
        )
    )


_register(name="add", rule=operator.add, op_type="Add", torch=lambda x, _: x[0] + x[1])
_register(name="sub", rule=operator.sub, op_type="Sub", torch=None)
_register(name="mul", rule=operator.mul, op_type="Mul", torch=lambda x, _: x[0] * x[1])
_register(name="div", rule=operator.truediv, op_type="Div", torch=None)
