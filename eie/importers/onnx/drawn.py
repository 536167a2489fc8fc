"""Weights that a graph does not bring along, drawn at random: of lost external data, or left as inputs by an exporter.

Comes in: a parsed model and a density. Goes out: the same one with initialisers, and which layers hang on them. Called
by `reader`. Matrices and kernels are drawn as all synthetic layers are; vectors that are added are zeros, those that
multiply ones. Integers, such as shapes, cannot be drawn.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from eie.errors import ModelError
from eie.importers.onnx.builder import Tap
from eie.importers.onnx.nodes import printable
from eie.importers.onnx.tensors import LARGEST_FILE, is_missing
from eie.importers.synthetic import weight_levels
from eie.model.operators.from_onnx import LARGEST_TENSOR

if TYPE_CHECKING:
    import onnx

SEED = 0
# By operator, which of its inputs are parameters: matrices and kernels, and vectors that are added or multiply.
_MATRICES: dict[str, tuple[int, ...]] = {
    "Conv": (1,),
    "ConvTranspose": (1,),
    "Gemm": (1,),
    "MatMul": (1,),
    "Gather": (0,),
}
_RECURRENT = ("LSTM", "GRU", "RNN")
_MATRICES |= dict.fromkeys(_RECURRENT, (1, 2))
_SHIFTS = {"Conv": (2,), "ConvTranspose": (2,), "Gemm": (2,), "BatchNormalization": (2, 3), "Add": (0, 1)}
_SHIFTS |= {"LayerNormalization": (2,), "InstanceNormalization": (2,), **dict.fromkeys(_RECURRENT, (3,))}
_SCALES = {"BatchNormalization": (1, 4), "LayerNormalization": (1,), "InstanceNormalization": (1,), "PRelu": (1,)}
_SCALES |= {"Mul": (0, 1)}
# What only moves numbers: whoever reads its result reads them.
_MOVING = ("Transpose", "Identity", "Reshape", "Squeeze", "Unsqueeze", "Cast")


def draw_missing(path: Path, proto: onnx.ModelProto, density: float) -> frozenset[str]:
    """Make initialisers of the weights that are not there, in place; return their names.

    Raises
    ------
    ModelError
        If all are there, or one cannot be drawn.
    """
    from onnx import TensorProto, numpy_helper

    uses = _uses(proto.graph)
    missing = {
        tensor.name: (tensor.data_type, tuple(tensor.dims))
        for tensor in proto.graph.initializer
        if tensor.data_location == TensorProto.EXTERNAL
        and is_missing(tensor, f"{path}: tensor {tensor.name!r}", path.parent)
    }
    inside = {tensor.name for tensor in proto.graph.initializer}
    unfilled = _parameters(proto.graph, uses, inside)
    missing |= unfilled
    if not missing:
        raise ModelError(f"{path}: density={density:g}: all of its weights are there; threshold prunes them")
    if 4 * sum(math.prod(shape) for _, shape in missing.values()) > LARGEST_FILE:
        raise ModelError(f"{path}: more than {LARGEST_FILE:,} bytes of weights to draw: too large")
    kept = [tensor for tensor in proto.graph.initializer if tensor.name not in missing]
    del proto.graph.initializer[:]
    proto.graph.initializer.extend(kept)
    for i, (name, (kind, shape)) in enumerate(missing.items()):
        where = f"{path}: tensor {printable(name)!r}"
        if kind not in (TensorProto.FLOAT, TensorProto.DOUBLE, TensorProto.FLOAT16, TensorProto.BFLOAT16):
            raise ModelError(f"{where}: is missing, of element type {kind}: only floats can be drawn")
        if math.prod(shape) > LARGEST_TENSOR or 0 in shape:
            raise ModelError(f"{where}: {shape}: must hold 1 to {LARGEST_TENSOR:,} values")
        # A stream for each tensor, as for each layer of other formats.
        values = _drawn(shape, density=density, uses=uses.get(name, ()), rng=np.random.default_rng([SEED, i]))
        tensor = numpy_helper.from_array(values, name)
        proto.graph.initializer.append(tensor)
    left = [entry for entry in proto.graph.input if entry.name not in unfilled]
    del proto.graph.input[:]
    proto.graph.input.extend(left)
    return frozenset(missing)


def left_as_inputs(graph: onnx.GraphProto) -> list[str]:
    """Return the inputs that can only be weights, which an exporter left out of the file."""
    return list(_parameters(graph, _uses(graph), {tensor.name for tensor in graph.initializer}))


def drawn_layers(proto: onnx.ModelProto, taps: Iterable[Tap], drawn: Collection[str]) -> set[str]:
    """Return the layers whose nodes read a drawn tensor, as it is or through others that are constant."""
    constant = {tensor.name for tensor in proto.graph.initializer}
    tainted = set(drawn)
    # In the order of the nodes, in which a result comes before its reader.
    for node in proto.graph.node:
        if all(name in constant for name in node.input if name):
            constant.update(node.output)
            if tainted.intersection(node.input):
                tainted.update(node.output)
    return {tap.layer for tap in taps if tainted.intersection(proto.graph.node[tap.node].input)}


def _uses(graph: onnx.GraphProto) -> dict[str, list[tuple[str, int]]]:
    """Return operator and place of whatever reads a tensor, as it is or moved."""
    uses: dict[str, list[tuple[str, int]]] = {}
    for node in reversed(graph.node):
        for place, name in enumerate(node.input):
            moved = node.op_type in _MOVING and place == 0
            uses.setdefault(name, []).extend(uses.get(node.output[0], ()) if moved else [(node.op_type, place)])
    return uses


def _parameters(
    graph: onnx.GraphProto, uses: Mapping[str, list[tuple[str, int]]], inside: Collection[str]
) -> dict[str, tuple[int, tuple[int, ...]]]:
    """Return type and shape of the inputs that can only be weights: read as such alone, and without an open size."""
    parameters = {}
    for entry in graph.input:
        sizes = [int(dim.dim_value) for dim in entry.type.tensor_type.shape.dim]
        read = uses.get(entry.name, [])
        if (
            entry.name in inside
            or not read
            or not all(sizes)
            or not all(_is_parameter(*use, len(sizes)) for use in read)
        ):
            continue
        parameters[entry.name] = (entry.type.tensor_type.elem_type, tuple(sizes))
    return parameters


def _is_parameter(op: str, place: int, axes: int) -> bool:
    if place in _MATRICES.get(op, ()):
        return axes >= 2
    # Of an Add's two sides, the vector is the parameter.
    vector = axes == 1 or op in _RECURRENT
    return vector and place in (*_SHIFTS.get(op, ()), *_SCALES.get(op, ()))


def _drawn(
    shape: tuple[int, ...], *, density: float, uses: Collection[tuple[str, int]], rng: np.random.Generator
) -> NDArray[Any]:
    if len(shape) < 2:
        shifts = any(place in _SHIFTS.get(op, ()) for op, place in uses)
        return np.full(shape, 0 if shifts else 1, np.float32)
    # Behind weights and bias come lengths and the states to begin from.
    if uses and all(op in _RECURRENT and place > 3 for op, place in uses):
        return np.zeros(shape, np.float32)
    inputs = math.prod(shape) / shape[0]
    if any(op in _RECURRENT for op, _ in uses):
        # One matrix in the end, of both its parts: by what they share, the gates' outputs, they get the same levels.
        inputs = shape[1]
    kept = rng.random(shape, np.float32) < density
    return np.where(kept, rng.choice(weight_levels(inputs * density), shape), np.float32(0)).astype(np.float32)
