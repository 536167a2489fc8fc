"""A network as a graph: which tensors feed which operator, weight layers among them.

Comes in: nodes from an importer. Goes out: a frozen `Graph`, checked for order and names. Read by the interpreter
(`eie.simulator.network`), and kept in program files. Every tensor carries the batch as its first axis (LSTM layers may
say otherwise); shapes of graph inputs are those of one sample, without it.

An operator ``layer`` runs the weight layer ``Node.layer``, which several nodes may name (`Graph.uses`); all others,
with their attributes, are in `eie.model.operators`. Linear layers work on the last axis, convolutions on (N, C, H, W);
an LSTM takes x (N, T, input) to (N, T, hidden) and has the optional inputs ``h0, c0`` (N, hidden) and the optional
further outputs last h and last c. The attribute ``batch_axis`` (0) says where the inputs have the batch, e.g. 1 for
(T, N, input).
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence, Set
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from eie.errors import ModelError, printable, printable_names
from eie.model.uses import by_layer, numbered
from eie.show.brief import Brief

# Graphs come from files: a size or a product beyond these is damage, and would only fail later, for want of memory.
LARGEST_SIZE = 1 << 26
LARGEST_INPUT = 1 << 31
# Of an input whose numbers are no activations: ids, shapes, switches. No number format of the machine holds them.
PLAIN_TYPES = frozenset(("bool", "int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64"))


@dataclass(frozen=True, eq=False, kw_only=True, repr=False)
class Node(Brief):
    """One operator.

    Attributes
    ----------
    op
        ``layer``, or an operator's name.
    inputs, outputs
        Names of tensors: graph inputs, constants or outputs of earlier nodes.
    layer
        Name of the weight layer, for ``op="layer"``.
    attributes
        Plain numbers, texts and tuples of them.
    """

    op: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    layer: str | None = None
    attributes: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        # Words of a file, too: a host's operators are shown with every report.
        object.__setattr__(self, "attributes", {key: _printable(value) for key, value in self.attributes.items()})

    @property
    def name(self) -> str:
        """What errors call it: its first output."""
        return self.outputs[0]


@dataclass(frozen=True, eq=False, kw_only=True, repr=False)
class Graph:
    """Nodes in an order in which they can run.

    Names that cannot be printed are changed to ones that can, wherever they stand: names are a file's.

    Attributes
    ----------
    inputs
        (name, shape of one sample) of each graph input; -1 stands for any size.
    outputs
        Names of the tensors that the network gives; accuracy is read from the first.
    constants
        Named arrays that nodes use as inputs (no batch axis).
    types
        numpy's name for the numbers of an input that are no activations, such as ids; they stay as they are. An input
        that is not named here holds float32.

    Raises
    ------
    ModelError
        If a name is used before it is made, made twice, or missing, an input has an impossible shape, or a constant
        holds other than finite numbers.
    """

    inputs: tuple[tuple[str, tuple[int, ...]], ...]
    nodes: tuple[Node, ...]
    outputs: tuple[str, ...]
    constants: Mapping[str, NDArray[Any]] = field(default_factory=dict)
    types: Mapping[str, str] = field(default_factory=dict)

    def __repr__(self) -> str:
        inputs = ", ".join(name for name, _ in self.inputs)
        return f"<Graph: {len(self.nodes)} nodes from {inputs[:80]!r} to {', '.join(self.outputs)[:80]!r}>"

    def __post_init__(self) -> None:
        self._clean_names()
        if not self.inputs or not self.outputs:
            raise ModelError("graph: needs at least one input and one output")
        for name, shape in self.inputs:
            _check_shape(name, shape)
        # Inputs and constants share one space of names with everything that nodes make.
        known = {name for name, _ in self.inputs} | set(self.constants)
        if len(known) != len(self.inputs) + len(self.constants):
            raise ModelError("graph: two inputs or constants have the same name")
        _check_types(self.types, {name for name, _ in self.inputs})
        for name, array in self.constants.items():
            _check_constant(name, array)
        for node in self.nodes:
            _check(node, known)
            # Only after its own check: a node that reads what it makes has no order in which it could run.
            known.update(node.outputs)
        if len(self.uses) < sum(node.layer is not None for node in self.nodes):
            # Traces go by the names of uses: one that is a layer's name too would be two rows under one.
            clash = next(name for name, many in Counter(self._runs).items() if many > 1)
            raise ModelError(f"graph: layer {clash!r} is called like a further use of another: name it otherwise")
        for name in self.outputs:
            if name not in known:
                raise ModelError(f"graph: its output {name!r} is made by no node")

    def _clean_names(self) -> None:
        made = (name for node in self.nodes for name in (*node.inputs, *node.outputs))
        stated = (name for name, _ in self.inputs)
        fresh = printable_names((*stated, *self.constants, *self.types, *made, *self.outputs))
        if not fresh:
            return

        def clean(names: Iterable[str]) -> tuple[str, ...]:
            return tuple(fresh.get(name, name) for name in names)

        nodes = (replace(node, inputs=clean(node.inputs), outputs=clean(node.outputs)) for node in self.nodes)
        fields = {
            "inputs": tuple((fresh.get(name, name), shape) for name, shape in self.inputs),
            "nodes": tuple(nodes),
            "outputs": clean(self.outputs),
            "constants": dict(zip(clean(self.constants), self.constants.values(), strict=True)),
            "types": dict(zip(clean(self.types), self.types.values(), strict=True)),
        }
        for name, value in fields.items():
            # The way by which a frozen dataclass sets its own fields.
            object.__setattr__(self, name, value)

    @classmethod
    def sequence(cls, name: str, shape: Sequence[int], steps: Sequence[tuple[str, str | Mapping[str, Any]]]) -> Graph:
        """Chain steps, each fed by the one before: ``("layer", name of the layer)`` or ``(operator, attributes)``.

        Examples
        --------
        >>> steps = [("layer", "conv1"), ("max_pool", {"kernel": (2, 2)}), ("flatten", {}), ("layer", "fc1")]
        >>> [node.name for node in Graph.sequence("image", (1, 28, 28), steps).nodes]
        ['conv1:out', 'max_pool_1', 'flatten_2', 'fc1:out']
        """
        nodes: list[Node] = []
        at = name
        runs = iter(numbered(what for _, what in steps if isinstance(what, str)))
        for i, (op, what) in enumerate(steps):
            if isinstance(what, str):
                # Not the layer's bare name: a chain's input is called like its first layer.
                nodes.append(Node(op=op, inputs=(at,), outputs=(f"{next(runs)}:out",), layer=what))
            else:
                nodes.append(Node(op=op, inputs=(at,), outputs=(f"{op}_{i}",), layer=None, attributes=dict(what)))
            at = nodes[-1].name
        return cls(inputs=((name, tuple(shape)),), nodes=tuple(nodes), outputs=(at,))

    @property
    def layers(self) -> tuple[str, ...]:
        """Weight layers in the order in which they first run."""
        return tuple(dict.fromkeys(node.layer for node in self.nodes if node.layer is not None))

    @cached_property
    def uses(self) -> Mapping[str, Node]:
        """Nodes that run a weight layer, in order, by the name of the use: ``fc``, the second time ``fc#2``."""
        return dict(zip(self._runs, (node for node in self.nodes if node.layer is not None), strict=True))

    @property
    def _runs(self) -> list[str]:
        return numbered(node.layer for node in self.nodes if node.layer is not None)

    @cached_property
    def use_of(self) -> Mapping[str, str]:
        """Names of uses by the name of the node."""
        return {node.name: use for use, node in self.uses.items()}

    @cached_property
    def uses_by_layer(self) -> Mapping[str, tuple[str, ...]]:
        """Names of uses by layer, in order."""
        return by_layer({use: str(node.layer) for use, node in self.uses.items()})

    def type_of(self, name: str) -> np.dtype[Any]:
        """Return the type of the numbers of an input."""
        return np.dtype(self.types.get(name, "float32"))

    def describe(self) -> dict[str, Any]:
        """Return everything but the constants' values, ready for JSON; `from_description` reads it."""
        return {
            "inputs": [[name, list(shape)] for name, shape in self.inputs],
            # Left out where all are float32: so are the files of before, whose hashes must stay.
            **({"types": dict(self.types)} if self.types else {}),
            "outputs": list(self.outputs),
            # Names alone, in order: the arrays go where the file keeps arrays, and `coded` numbers them by this order.
            "constants": list(self.constants),
            "nodes": [
                {
                    "op": node.op,
                    "inputs": list(node.inputs),
                    "outputs": list(node.outputs),
                    "layer": node.layer,
                    "attributes": {key: _plain(value) for key, value in node.attributes.items()},
                }
                for node in self.nodes
            ],
        }

    @classmethod
    def from_description(cls, value: Mapping[str, Any], constants: Mapping[str, NDArray[Any]]) -> Graph:
        """Undo `describe`."""
        nodes = tuple(
            Node(
                op=str(entry["op"]),
                inputs=tuple(map(str, entry["inputs"])),
                outputs=tuple(map(str, entry["outputs"])),
                layer=entry["layer"],
                attributes={str(key): _tupled(item) for key, item in entry["attributes"].items()},
            )
            for entry in value["nodes"]
        )
        inputs = tuple((str(name), tuple(int(size) for size in shape)) for name, shape in value["inputs"])
        # Those it names and no others: what else lies in the file belongs to somebody else.
        arrays = {name: np.asarray(constants[name]) for name in value["constants"]}
        types = {str(name): str(kind) for name, kind in value.get("types", {}).items()}
        outputs = tuple(map(str, value["outputs"]))
        return cls(inputs=inputs, nodes=nodes, outputs=outputs, constants=arrays, types=types)


def _printable(value: Any) -> Any:
    if isinstance(value, str):
        return printable(value)
    return type(value)(map(_printable, value)) if type(value) in (list, tuple) else value


def _plain(value: Any) -> Any:
    """Undo what JSON cannot hold: tuples and numpy's numbers."""
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    return value.item() if isinstance(value, np.generic) else value


def _tupled(value: Any) -> Any:
    # JSON has lists only: an attribute comes back as the tuple that it was.
    return tuple(map(_tupled, value)) if isinstance(value, list) else value


def _check_shape(name: str, shape: tuple[int, ...]) -> None:
    # No 0: an empty tensor has nothing to run.
    if not all(size == -1 or 1 <= size <= LARGEST_SIZE for size in shape):
        raise ModelError(f"graph: input {name!r} has shape {shape}: sizes must be 1 to {LARGEST_SIZE}, or -1")
    # an open size counts as 1 here: what it comes to is known with the samples only
    if math.prod(map(abs, shape)) > LARGEST_INPUT:
        raise ModelError(f"graph: input {name!r} has shape {shape}: at most {LARGEST_INPUT:,} numbers a sample")


def _check_types(types: Mapping[str, str], inputs: Set[str]) -> None:
    for name, kind in types.items():
        if name not in inputs or kind not in PLAIN_TYPES:
            known = ", ".join(sorted(PLAIN_TYPES))
            raise ModelError(f"graph: types[{name!r}]={kind!r}: must be one of {known}, of an input")


def _check_constant(name: str, array: NDArray[Any]) -> None:
    # By its ends: magnitudes would be the array once more. A NaN is in both, compares false with everything, and is
    # refused together with infinity.
    largest = np.finfo(np.float32).max
    fits = np.can_cast(array.dtype, np.float64)
    if not fits or (array.size and not (-largest <= array.min() and array.max() <= largest)):
        raise ModelError(f"graph: constant {name!r} ({array.dtype}): must hold finite numbers in float32's range")


def _check(node: Node, known: Set[str]) -> None:
    if not node.outputs:
        raise ModelError(f"graph: a node {node.op!r} has no output")
    where = f"graph: node {node.name!r} ({node.op})"
    if not node.inputs:
        raise ModelError(f"{where}: has no input")
    for name in node.inputs:
        if name not in known:
            raise ModelError(f"{where}: its input {name!r} is not made by an earlier node")
    for name in node.outputs:
        if name in known:
            raise ModelError(f"{where}: {name!r} exists already")
    # Both ways: a layer without a name runs nothing, a name beside another operator would be left unread.
    if (node.op == "layer") != (node.layer is not None):
        raise ModelError(f"{where}: op 'layer' and only it names a layer, this one names {node.layer!r}")
