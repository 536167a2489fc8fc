"""The record that an operator registers, and the one table of them.

Comes in: an `Operator`, where it is defined. Goes out: its rules, by name. Written by the modules beside this; read by
the simulator, fine-tuning, the ONNX reader and channel pruning.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from eie.errors import ModelError
from eie.model.operators.channels import ChannelRule, TakeRule, mixed, unchanged
from eie.model.operators.from_onnx import Handler

if TYPE_CHECKING:
    from torch import Tensor

Array = NDArray[Any]
Attributes = Mapping[str, Any]
Shape = tuple[int, ...]
Rule = Callable[[Sequence[Array], Attributes], Array]
ShapeRule = Callable[[Sequence[Shape], Attributes], Shape]
TorchRule = Callable[[Sequence["Tensor"], Attributes], "Tensor"]


def same_shape(shapes: Sequence[Shape], _: Attributes) -> Shape:
    """Shape rule of what changes numbers only."""
    return shapes[0]


@dataclass(frozen=True, eq=False, kw_only=True)
class Operator:
    """All rules of one operator.

    Attributes
    ----------
    compute
        Arrays and attributes to an array.
    exact
        Whether it only moves, picks or zeroes numbers, so that it runs on raw fixed-point integers as they are. Others
        take real numbers, and their fixed-point results are rounded again.
    inputs
        How many it takes; None for any number.
    shape
        Shapes of the inputs (batch first) and attributes to the shape of the output.
    channels
        Does a channel survive it? The channels of its inputs, constants as they are, to those of its output; None if
        they are not kept apart.
    take
        Where channels were taken out before it: constants, by their place, and attributes as they are then.
    keeps_places
        Whether every number stays where it was, though it depends on others: the outputs are those of the same rows.
    joins
        Whether its output is its inputs side by side, so that it needs no place but theirs.
    gives_probabilities
        Whether its outputs add up to one, so that no softmax is taken of them again.
    torch
        Tensors and attributes to a tensor; None if it cannot be trained through. It imports torch itself.
    onnx
        What reads a node, by the node's type in an ONNX file.
    stays
        Those of its ONNX types that an accelerator does to what a layer gives, so that they are ours even where a host
        alone reads on; nodes of other types then go to the host with their readers.
    """

    name: str
    compute: Rule
    exact: bool = False
    inputs: int | None = 1
    shape: ShapeRule = same_shape
    channels: ChannelRule = mixed
    take: TakeRule = unchanged
    keeps_places: bool = False
    joins: bool = False
    gives_probabilities: bool = False
    torch: TorchRule | None = None
    onnx: Mapping[str, Handler] = field(default_factory=dict)
    stays: Sequence[str] = ()


_OPERATORS: dict[str, Operator] = {}
_HANDLERS: dict[str, Handler] = {}
_STAYING: set[str] = set()


def register(operator: Operator) -> Operator:
    """Make an operator known.

    Raises
    ------
    ModelError
        If there is one of that name, or another one reads the same ONNX nodes.
    """
    # The one name that the graph keeps for itself: nodes that run weights.
    if operator.name == "layer" or operator.name in _OPERATORS:
        raise ModelError(f"operator {operator.name!r}: is registered already")
    for op_type in operator.onnx:
        if op_type in _HANDLERS:
            raise ModelError(f"operator {operator.name!r}: another one reads ONNX's {op_type!r} already")
    _OPERATORS[operator.name] = operator
    _HANDLERS.update(operator.onnx)
    _STAYING.update(operator.stays)
    return operator


def find(op: str) -> Operator | None:
    """Return the operator called ``op``, or None."""
    return _OPERATORS.get(op)


def onnx_handler(op_type: str) -> Handler | None:
    """Return what reads nodes of an ONNX type, or None."""
    return _HANDLERS.get(op_type)


def stays(op_type: str) -> bool:
    """Whether nodes of an ONNX type stay with the layers before them where a host alone reads what they give."""
    return op_type in _STAYING


def known() -> list[str]:
    """Every operator but ``layer``."""
    return sorted(_OPERATORS)


def apply(name: str, op: str, inputs: Sequence[Array], attributes: Attributes) -> Array:
    """Run one operator in numpy.

    Raises
    ------
    ModelError
        For an operator that is not known, or attributes and shapes it cannot work with; names the node.
    """
    operator = find(op)
    if operator is None:
        raise ModelError(f"node {name!r}: operator {op!r} is not supported: known are layer, {', '.join(known())}")
    if operator.inputs is not None and len(inputs) != operator.inputs:
        raise ModelError(f"node {name!r} ({op}): takes {operator.inputs} inputs, has {len(inputs)}")
    try:
        # Overflow and 0 / 0 are looked for in the result, where they become an error with the node's name.
        with np.errstate(all="ignore"):
            made = operator.compute(inputs, attributes)
    # On its own: its text is the bare key, which says nothing without the words around it.
    except KeyError as error:
        raise ModelError(f"node {name!r} ({op}): attribute {error} is missing") from None
    # MemoryError too: attributes come from files, and a damaged one can ask for any amount.
    except (ValueError, TypeError, IndexError, AttributeError, ArithmeticError, MemoryError) as error:
        shapes = ", ".join(str(array.shape) for array in inputs)
        raise ModelError(f"node {name!r} ({op}) on {shapes}: {error}") from None
    # Integers, raw fixed point, are always finite, and isfinite on them would only take time.
    if made.size == 0 or (made.dtype.kind == "f" and not np.isfinite(made).all()):
        what = "is empty" if made.size == 0 else "holds NaN or infinity"
        raise ModelError(f"node {name!r} ({op}): its result {what}")
    return made
