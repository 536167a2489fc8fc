"""What is known without an input: initialisers, Constant nodes and the small sums exporters do on shapes.

Comes in: an ONNX graph and its folder. Goes out: arrays by tensor name. Read by `graph`. Weights pass through
DequantizeLinear here (`scales`), zero points subtracted, so that a stored zero of the file is a zero of the layer.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from eie.errors import ModelError
from eie.formats.budget import Room
from eie.importers.onnx.reference import REFERENCED, check_size, evaluate, result_size
from eie.importers.onnx.scales import dequantise, quantise
from eie.importers.onnx.slim import LARGE
from eie.importers.onnx.tensors import dense_array, sparse_array
from eie.model.operators.from_onnx import LARGEST_TENSOR, OnnxNode, UnsupportedError, axes_of
from eie.model.operators.reshape import target_shape
from eie.model.operators.slice import ranges
from eie.model.operators.squeeze import squeezed
from eie.model.operators.unsqueeze import unsqueezed

if TYPE_CHECKING:
    import onnx

# onnx.TensorProto's UINT4 and INT4, without loading onnx for two numbers.
_FOUR_BITS = (21, 22)
# And its FLOAT16 and BFLOAT16, which are read as float32.
_HALF = (10, 16)

# What is made of large constants only when a layer asks for it: weights of a whole model would be there once more.
_SAME_SHAPE = ("Identity", "Cast", "DequantizeLinear")
_LATER = (*_SAME_SHAPE, "Transpose", "Reshape", "Squeeze", "Unsqueeze")
# What numpy raises on constants that do not belong together.
_MISFITS = (ValueError, TypeError, IndexError, ArithmeticError, KeyError, AttributeError, MemoryError)

Array = NDArray[Any]
Attributes = Mapping[str, Any]


@dataclass(frozen=True, eq=False, kw_only=True)
class _Made:
    """How a large constant is made of another one, and of small ones that are known."""

    node: OnnxNode
    source: str
    others: list[Array | None]
    shape: tuple[int, ...]
    where: str

    def of(self, source: Array) -> Array:
        try:
            return FOLDED[self.node.op]([source, *self.others], self.node.attributes)
        except _MISFITS as error:
            raise ModelError(f"{self.where}: its constant inputs do not fit: {str(error)[:120]}") from None


class Constants:
    """Arrays by tensor name; an initialiser is decoded when it is first asked for."""

    def __init__(self, path: Path, proto: onnx.ModelProto) -> None:
        graph = proto.graph
        self._path = path
        self._proto = proto
        # Bits a weight takes in the file, scales included, of tensors that came out of integers or half precision.
        self.stored_bits: dict[str, float] = {}
        # Tensors of 4-bit integers: their arrays are wider than the file.
        self._narrow: set[str] = set()
        self._waiting: dict[str, Any] = {}
        self._known: dict[str, Array] = {}
        self._origins: dict[str, str] = {}
        # What folding has made and keeps: a few nodes could ask for one large array after the other.
        self._room = Room(path, ModelError, what="has constants that are worked out to")
        # What is made of large ones whenever it is asked for. No functions: what knows this object and is known by it
        # would stay, with all that is known, until somebody collects garbage.
        self._made: dict[str, _Made] = {}
        # Kept as they are: what no layer and no sum asks for is never made an array.
        for tensor in graph.initializer:
            self._add(tensor.name, tensor)
        for sparse in graph.sparse_initializer:
            self._add(sparse.values.name, sparse)

    def __contains__(self, name: str) -> bool:
        return name in self._known or name in self._waiting or name in self._made

    def __getitem__(self, name: str) -> Array:
        if name in self._made:
            return self._made[name].of(self[self._made[name].source])
        if name not in self._known:
            if self._stays(name):
                return self.decode(self._waiting[name], f"{self._path}: tensor {name!r}")
            # From one table to the other: each tensor is decoded once at most.
            self._known[name] = self.decode(self._waiting.pop(name), f"{self._path}: tensor {name!r}")
        return self._known[name]

    def _stays(self, name: str) -> bool:
        """Whether a tensor is read from its file whenever it is asked for: all of them at once would be the model."""
        # TensorProto.EXTERNAL is 1.
        tensor = self._waiting[name]
        # Four bytes each, as a number mostly has.
        return getattr(tensor, "data_location", 0) == 1 and 4 * math.prod(tensor.dims) >= LARGE

    def get(self, name: str) -> Array | None:
        """Return the array called ``name``, or None."""
        return self[name] if name in self else None  # noqa: SIM401 - this is the get

    def shape(self, name: str) -> tuple[int, ...] | None:
        """Return the shape of the array called ``name``, without decoding it; None if there is none."""
        if name in self._known:
            return self._known[name].shape
        if name in self._made:
            return self._made[name].shape
        return tuple(self._waiting[name].dims) if name in self._waiting else None

    def origin(self, name: str) -> str:
        """Return the name under which the same array was known first."""
        return self._origins.get(name, name)

    def decode(self, tensor: Any, where: str) -> Array:
        """Return a dense or sparse protobuf tensor as an array."""
        read = sparse_array if hasattr(tensor, "indices") else dense_array
        return read(tensor, where, self._path.parent)

    def set(self, name: str, array: Array) -> None:
        """Remember the value of a tensor."""
        self._made.pop(name, None)
        # An array of one number seen as many takes what the one does.
        self._room.take(min(array.nbytes, getattr(array.base, "nbytes", array.nbytes)) if array.ndim else 0)
        self._known[name] = array

    def fold(self, node: OnnxNode, where: str) -> bool:
        """Evaluate ``node`` if its inputs are known and its operator is one of those; say whether it was.

        Raises
        ------
        ModelError
            If the inputs do not fit the operator.
        """
        if node.op == "Constant" and len(node.outputs) == 1:
            # Texts are nothing that a layer could hold; whoever reads them is not supported either.
            if any(key.startswith("value_string") for key in node.attributes):
                return False
            self.set(node.outputs[0], self._constant(node.attributes, where))
            self._count_half(node.outputs[0], node.attributes.get("value"))
            return True
        # An empty name is an optional input left out, not a missing constant.
        known = any(node.inputs[:1]) and all(name in self for name in node.inputs if name)
        own = node.op in FOLDED and len(node.outputs) == 1
        if not known or not (own or node.op in REFERENCED):
            return False
        bits = self._bits(node)
        if node.op == "Identity":
            self._origins[node.outputs[0]] = self.origin(node.inputs[0])
        later = own and self._is_large(node)
        if bits is not None:
            self.stored_bits.update(dict.fromkeys(node.outputs, bits))
        if later:
            self._make_later(node, where)
            return True
        inputs = [self[name] if name else None for name in node.inputs]
        try:
            results = self._results(node, inputs)
        except UnsupportedError:
            return False
        except _MISFITS as error:
            raise ModelError(f"{where}: its constant inputs do not fit: {str(error)[:120]}") from None
        for name, result in zip(node.outputs, results, strict=False):
            self.set(name, result)
        return True

    def _is_large(self, node: OnnxNode) -> bool:
        return node.op in _LATER and math.prod(self.shape(node.inputs[0]) or ()) >= LARGE

    def _make_later(self, node: OnnxNode, where: str) -> None:
        """Keep how a large constant is made of others, instead of one more array."""
        made = _Made(
            node=node,
            source=node.inputs[0],
            others=[self[name] if name else None for name in node.inputs[1:]],
            shape=self.shape(node.inputs[0]) or (),
            where=where,
        )
        if node.op not in _SAME_SHAPE:
            # An array of one number seen as many takes no memory, and moves as the large one would.
            made = replace(made, shape=made.of(np.broadcast_to(np.float32(0), made.shape)).shape)
        self._made[node.outputs[0]] = made

    def _results(self, node: OnnxNode, inputs: Sequence[Array | None]) -> list[Array]:
        own = FOLDED.get(node.op)
        if own is None:
            check_size(node.op, inputs)
        # Before it is made, and in numbers of 64 bits: what an array takes while it is worked out.
        self._room.take(0, briefly=8 * _result_size(node, inputs))
        return evaluate(self._proto, node, inputs) if own is None else [own(list(inputs), node.attributes)]

    def _bits(self, node: OnnxNode) -> float | None:
        """Return the bits a weight took in the file before ``node``, if it came out of integers or half precision."""
        first = node.inputs[0]
        if node.op == "DequantizeLinear" and len(node.inputs) > 1:
            return self._integer_bits(node.inputs)
        # What only moves, scales or masks weights leaves them what they were in the file.
        return next((self.stored_bits[name] for name in (first, *node.inputs[1:2]) if name in self.stored_bits), None)

    def _integer_bits(self, inputs: Sequence[str]) -> float | None:
        shape, scale = self.shape(inputs[0]), self.shape(inputs[1])
        if shape is None or scale is None or not math.prod(shape):
            return None
        bits = 4 if inputs[0] in self._narrow else 8 * self[inputs[0]].itemsize
        many = math.prod(scale) / math.prod(shape)
        return bits + many * (32 + (bits if len(inputs) > 2 and inputs[2] else 0))

    def _add(self, name: str, tensor: Any) -> None:
        if not name or name in self._waiting:
            raise ModelError(f"{self._path}: two initialisers are called {name!r}" if name else "unnamed initialiser")
        self._waiting[name] = tensor
        if getattr(tensor, "data_type", None) in _FOUR_BITS:
            self._narrow.add(name)
        self._count_half(name, tensor)

    def _count_half(self, name: str, tensor: Any) -> None:
        if getattr(tensor, "data_type", None) in _HALF:
            self.stored_bits[name] = 16

    def _constant(self, attributes: Attributes, where: str) -> Array:
        for key in ("value", "sparse_value"):
            if key in attributes:
                return self.decode(attributes[key], where)
        for key, kind in (("value_float", np.float32), ("value_int", np.int64)):
            # ONNX has value_float and value_floats, value_int and value_ints.
            for name in (key, key + "s"):
                if name in attributes:
                    return np.asarray(attributes[name], kind)
        raise ModelError(f"{where}: a Constant without a numeric value")


def _result_size(node: OnnxNode, inputs: Sequence[Array | None]) -> int:
    """Return at most how many elements the result of a folded node has; its own rule may refuse it first."""
    arrays = [array for array in inputs if array is not None]
    first = arrays[0]
    if node.op in ("Shape", "ConstantOfShape", "Expand"):
        # A few numbers, or one seen as many.
        return 0
    if node.op == "Gather" and len(arrays) > 1 and first.ndim:
        axis = int(node.attributes.get("axis", 0)) % first.ndim
        return int(first.size // max(1, first.shape[axis]) * arrays[1].size)
    if node.op in REFERENCED:
        return result_size(node.op, inputs)
    # Sums and products broadcast: at most the product of the sizes, and the largest where only one is large.
    try:
        return max(sum(array.size for array in arrays), math.prod(np.broadcast_shapes(*(a.shape for a in arrays))))
    except ValueError:
        return sum(array.size for array in arrays)


def _cast(inputs: list[Any], attributes: Attributes) -> Array:
    from onnx import helper

    kind = np.dtype(helper.tensor_dtype_to_np_dtype(attributes["to"]))
    # Any float type becomes float32, in which weights are kept.
    return np.asarray(inputs[0].astype(kind if kind.kind in "biu" else np.float32))


def _reshape(inputs: list[Any], attributes: Attributes) -> Array:
    sizes, allow_zero = [int(size) for size in inputs[1].ravel()], bool(attributes.get("allowzero", 0))
    wanted = target_shape(inputs[0].shape, sizes, allow_zero=allow_zero)
    return np.asarray(inputs[0].reshape(wanted))


def _slice(inputs: list[Any], attributes: Attributes) -> Array:
    where = [slice(None)] * inputs[0].ndim
    for axis, taken in ranges(inputs, attributes):
        where[axis] = taken
    return np.asarray(inputs[0][tuple(where)])


def _expand(inputs: list[Any], _: Attributes) -> Array:
    shape = np.broadcast_shapes(inputs[0].shape, tuple(int(size) for size in inputs[1].ravel()))
    # Broadcasting takes no memory, but whoever copies it then would.
    if math.prod(shape) > LARGEST_TENSOR:
        raise ValueError(f"{shape} is too large")
    return np.broadcast_to(inputs[0], shape)


def _constant_of_shape(inputs: list[Any], attributes: Attributes) -> Array:
    shape = tuple(int(size) for size in inputs[0].ravel())
    # Both: two negative sizes have a positive product.
    if any(size < 0 for size in shape) or math.prod(shape) > LARGEST_TENSOR:
        raise ValueError(f"{shape} is not a usable shape")
    fill: Array = np.zeros(1, np.float32)
    if "value" in attributes:
        fill = dense_array(attributes["value"], "value", Path())
    return np.broadcast_to(fill.ravel()[0], shape)


def _arithmetic(operator: Callable[[Array, Array], Array]) -> Callable[[list[Any], Attributes], Array]:
    def apply(inputs: list[Any], _: Attributes) -> Array:
        first, second = inputs
        if math.prod(np.broadcast_shapes(first.shape, second.shape)) > LARGEST_TENSOR:
            raise ValueError("the result is too large")
        # numpy may widen, ONNX gives the type that went in.
        return np.asarray(operator(first, second)).astype(first.dtype, copy=False)

    return apply


def _divide(first: Array, second: Array) -> Array:
    # On shapes, which are integers and positive, floor and ONNX's truncation agree.
    return np.asarray(first // second if first.dtype.kind in "iu" else first / second)


FOLDED: dict[str, Callable[[list[Any], Attributes], Array]] = {
    "Identity": lambda inputs, _: inputs[0],
    "Cast": _cast,
    "DequantizeLinear": dequantise,
    "QuantizeLinear": quantise,
    "Transpose": lambda inputs, attributes: np.transpose(inputs[0], attributes.get("perm")),
    "Reshape": _reshape,
    "Squeeze": lambda inputs, attributes: inputs[0].reshape(squeezed(inputs[0].shape, axes_of(inputs, attributes))),
    "Unsqueeze": lambda inputs, attributes: inputs[0].reshape(
        unsqueezed(inputs[0].shape, axes_of(inputs, attributes) or [])
    ),
    "Shape": lambda inputs, attributes: shape_of(inputs[0].shape, attributes),
    "Gather": lambda inputs, attributes: np.asarray(inputs[0].take(inputs[1], int(attributes.get("axis", 0)))),
    "Slice": _slice,
    "Concat": lambda inputs, attributes: np.concatenate(inputs, int(attributes["axis"])),
    "Expand": _expand,
    "ConstantOfShape": _constant_of_shape,
    "Add": _arithmetic(np.add),
    "Sub": _arithmetic(np.subtract),
    "Mul": _arithmetic(np.multiply),
    "Div": _arithmetic(_divide),
}


def shape_of(shape: tuple[int, ...], attributes: Attributes) -> Array:
    """Return what a Shape node gives: int64 (rank,), cut by its ``start`` and ``end``."""
    # A missing end is None, and None is "to the last" for a slice.
    return np.array(shape[slice(int(attributes.get("start", 0)), attributes.get("end"))], np.int64)
