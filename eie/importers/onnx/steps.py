"""A recurrent node step by step: the forms that no recurrent layer has, as products, sums and functions of a step.

Comes in: a GRU, LSTM or RNN node with constant weights. Goes out: plain nodes. Called by `expansions`, once it is found
that no layer expresses the node: a GRU whose reset gate acts before its product, peepholes, other functions or a clip,
a state or lengths that are computed. Its matrices are then layers with a use for every step.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from eie.errors import ModelError
from eie.importers.onnx.builder import Builder
from eie.importers.onnx.normalise import LARGEST_UNROLLED
from eie.importers.onnx.rewriting import add_constant, clipped, new_node, with_axes
from eie.model.operators.from_onnx import Known, OnnxNode

if TYPE_CHECKING:
    import onnx

Array = NDArray[Any]
GATES = {"GRU": 3, "LSTM": 4, "RNN": 1}
# Nodes that a step takes, about.
NODES_A_STEP = 20
_STANDARD = {"GRU": ("Sigmoid", "Tanh"), "LSTM": ("Sigmoid", "Tanh", "Tanh"), "RNN": ("Tanh",)}
# ONNX's operators for the functions, with the attributes that activation_alpha and activation_beta give them.
_FUNCTIONS: dict[str, tuple[str, ...]] = {
    "Elu": ("alpha",),
    "HardSigmoid": ("alpha", "beta"),
    "LeakyRelu": ("alpha",),
    "Relu": (),
    "Sigmoid": (),
    "Softplus": (),
    "Softsign": (),
    "Tanh": (),
    "ThresholdedRelu": ("alpha",),
}
_WAYS = {"forward": (False,), "reverse": (True,), "bidirectional": (False, True)}


def steps_of(node: OnnxNode, into: Builder) -> int | None:
    """Return how many steps a recurrent node has, if it can be taken apart; None if not."""
    # Which state goes on where lengths are read is chosen by a Where, which came with operator set 9.
    late = any(node.inputs[4:5]) and node.attributes["opset"] < 9
    if node.op not in GATES or len(node.inputs) < 3 or late:
        return None
    constant = (*node.inputs[1:4], *node.inputs[7:8])
    x, way = into.known(node.inputs[0]), str(node.attributes.get("direction", "forward"))
    if x is None or way not in _WAYS or any(name and name not in into.constants for name in constant):
        return None
    batch = 0 if node.attributes.get("layout", 0) else 1
    if x.batch != batch and into.open_batch:
        # One of any number of samples only looks like one step.
        return None
    x = x.with_batch(batch)
    if len(x.shape) != 3 or x.batch != batch or _functions(node) is None:
        return None
    w, r = into.constants.shape(node.inputs[1]), into.constants.shape(node.inputs[2])
    if w is None or r is None or len(w) != 3 or len(r) != 3 or w[:2] != r[:2] or r[1] != GATES[node.op] * r[2]:
        return None
    trips = x.shape[1 - batch]
    return trips if trips * w[0] * NODES_A_STEP <= LARGEST_UNROLLED else None


def taken_apart(graph: onnx.GraphProto, node: OnnxNode, *, constants: Known, trips: int) -> list[onnx.NodeProto]:
    """Return the nodes that compute what ``node`` does in ``trips`` steps; their constants go into ``graph``."""
    functions = _functions(node)
    if functions is None:
        raise ModelError(f"node {node.name!r} ({node.op}): functions that nobody knows")
    names = (*node.inputs, *([""] * 8))[:8]
    arrays = [constants[name] if name else None for name in (*names[1:4], names[7])]
    cell = _Cell(graph=graph, plain=node, kind=_kind(graph, node.inputs[1]))
    cell.begin(names[0], lengths=names[4])
    ways = _WAYS[str(node.attributes.get("direction", "forward"))]
    made = []
    for i, backwards in enumerate(ways):
        weights = _Weights.of(arrays, i, functions[i * len(functions) // len(ways) :])
        starts = [_start(cell, name, constants, direction=i) for name in names[5:7]]
        order = range(trips - 1, -1, -1) if backwards else range(trips)
        label = "reverse " if backwards else ""
        made.append(cell.run(weights, starts, order, label=label))
    cell.give(made)
    return cell.nodes


def _kind(graph: onnx.GraphProto, weights: str) -> np.dtype[Any]:
    from onnx import TensorProto

    half = any(tensor.name == weights and tensor.data_type == TensorProto.FLOAT16 for tensor in graph.initializer)
    return np.dtype(np.float16 if half else np.float32)


def _functions(node: OnnxNode) -> list[tuple[str, dict[str, float]]] | None:
    """Return operators and attributes of all directions' functions; None if one of them is none of ONNX's operators."""
    ways = len(_WAYS[str(node.attributes.get("direction", "forward"))])
    stated = node.attributes.get("activations") or list(_STANDARD[node.op]) * ways
    # Case does not count in ONNX's names of functions.
    known = {name.lower(): name for name in _FUNCTIONS}
    names = [known.get(str(name).lower()) for name in stated]
    values = {key: list(node.attributes.get(f"activation_{key}", ())) for key in ("alpha", "beta")}
    functions = []
    for name in names:
        if name is None or len(names) != ways * len(_STANDARD[node.op]):
            return None
        # Consumed in the order of the functions that take one; what is not stated is the operator's own default.
        taken = [key for key in _FUNCTIONS[name] if values[key]]
        functions.append((name, {key: float(values[key].pop(0)) for key in taken}))
    return functions


def _start(cell: _Cell, name: str, constants: Known, *, direction: int) -> str:
    """Return the (samples, hidden) that a state begins with; nothing for zeros, whose products are left out."""
    if not name or (name in constants and not constants[name].any()):
        return ""
    # In the file (directions, batch, hidden), or the batch in front.
    return cell.add("Gather", [name, cell.number(direction)], axis=1 if cell.layout else 0)


@dataclass(frozen=True, eq=False, kw_only=True)
class _Weights:
    """Of one direction: (inputs, gates * hidden) and the rest, and one sum of biases for both products."""

    w: Array
    r: Array
    input_bias: Array
    hidden_bias: Array
    peepholes: Array | None
    functions: list[tuple[str, dict[str, float]]]

    @classmethod
    def of(cls, arrays: Sequence[Array | None], i: int, functions: list[tuple[str, dict[str, float]]]) -> _Weights:
        w, r, b, p = arrays
        assert w is not None
        assert r is not None
        rows = w.shape[1]
        both = np.zeros(2 * rows, np.float32) if b is None else b[i]
        if both.shape != (2 * rows,):
            raise ModelError(f"B has shape {None if b is None else b.shape}: must be {(len(w), 2 * rows)}")
        return cls(
            w=w[i].T,
            r=r[i].T,
            input_bias=both[:rows],
            hidden_bias=both[rows:],
            peepholes=None if p is None else p[i].reshape(3, -1),
            functions=functions,
        )

    @property
    def hidden(self) -> int:
        return len(self.r)


class _Cell:
    """Nodes of all steps, with names that nobody else has; ``kind`` is the type of the file's numbers."""

    def __init__(self, *, graph: onnx.GraphProto, plain: OnnxNode, kind: np.dtype[Any]) -> None:
        self.graph, self.plain, self.kind = graph, plain, kind
        self.prefix = f"{next((out for out in plain.outputs if out), '')}/"
        self.nodes: list[onnx.NodeProto] = []
        self._made: dict[str, str] = {}
        self._uses: dict[str, int] = {}
        self._x = self._lengths = ""

    @property
    def layout(self) -> int:
        return int(self.plain.attributes.get("layout", 0))

    def begin(self, x: str, lengths: str) -> None:
        self._x = self.add("Transpose", [x], perm=[1, 0, 2]) if self.layout else x
        if lengths:
            # (samples,) to (samples, 1), beside (samples, hidden).
            self._lengths = self.add("Reshape", [lengths, self.constant("column", np.array([-1, 1], np.int64))])

    def add(self, op: str, inputs: Sequence[str], out: str = "", called: str = "", **attributes: Any) -> str:
        name = out or f"{self.prefix}{len(self.nodes)} {op}"
        self.nodes.append(new_node(op, inputs, name, name=called or name, **attributes))
        return name

    def product(self, x: str, label: str, matrix: Array) -> str:
        """Multiply by a matrix, as a layer that is called after the node and what it holds of it."""
        use = self._uses[label] = self._uses.get(label, 0) + 1
        # Numbered, since onnxruntime takes no two nodes of one name; the layer is called after the first.
        called = f"{self.plain.name} {label}" if use == 1 else f"{self.plain.name} {label} {use}"
        return self.add("MatMul", [x, self.constant(label, matrix)], called=called)

    def constant(self, label: str, value: Array) -> str:
        if label not in self._made:
            value = value.astype(self.kind) if value.dtype.kind == "f" else value
            self._made[label] = add_constant(self.graph, f"{self.prefix}{label}", value)
        return self._made[label]

    def number(self, i: int) -> str:
        return self.constant(f"number {i}", np.array(i, np.int64))

    def run(self, weights: _Weights, starts: Sequence[str], order: Sequence[int], *, label: str) -> list[Any]:
        """Return the states of all steps in the file's order of time, and the last ones."""
        # One product for all steps: time is one more axis of its rows.
        product = self.product(self._x, f"{label}W", weights.w)
        gates = self.add("Add", [product, self.constant(f"{label}bias", self._input_bias(weights))])
        step = {"GRU": self._gru, "LSTM": self._lstm, "RNN": self._rnn}[self.plain.op]
        h, c = starts[0], starts[1] if self.plain.op == "LSTM" else ""
        over: dict[int, str] = {}
        for t in order:
            x = self.add("Gather", [gates, self.number(t)], axis=0)
            before = h, c
            h, c = step(weights, x, states=(h, c), label=label)
            y = h
            if self._lengths:
                runs = self.add("Less", [self.constant(f"time {t}", np.array([t], np.int32)), self._lengths])
                zero = self.constant("zero", np.zeros(1, np.float32))
                y = self.add("Where", [runs, h, zero])
                h, c = (
                    self.add("Where", [runs, now, then or zero]) if now else now
                    for now, then in zip((h, c), before, strict=True)
                )
            over[t] = y
        return [[over[t] for t in range(len(over))], h, c]

    def _input_bias(self, weights: _Weights) -> Array:
        """Return all that is added once: of a GRU that resets behind its product, the candidate's other half is not."""
        inner = weights.hidden_bias.copy()
        if self.plain.op == "GRU" and self.plain.attributes.get("linear_before_reset", 0):
            inner[2 * weights.hidden :] = 0
        return weights.input_bias + inner

    def _part(self, gates: str, first: int, count: int, *, hidden: int) -> str:
        indices = np.arange(first * hidden, (first + count) * hidden, dtype=np.int64)
        return self.add("Gather", [gates, self.constant(f"gates {first} {count}", indices)], axis=1)

    def _function(self, weights: _Weights, i: int, value: str, *, limited: bool = True) -> str:
        op, attributes = weights.functions[i]
        named: dict[str, Any] = dict(attributes)
        bound = float(self.plain.attributes.get("clip", 0))
        if bound and limited:
            out = f"{self.prefix}{len(self.nodes)} Clip"
            self.nodes.append(
                clipped(self.graph, value, out, low=-bound, high=bound, opset=int(self.plain.attributes["opset"]))
            )
            value = out
        return self.add(op, [value], **named)

    def _plus(self, gates: str, h: str, *, label: str, matrix: Array) -> str:
        """Add the product of a state and a matrix; of zeros there is none."""
        return self.add("Add", [gates, self.product(h, label, matrix)]) if h else gates

    def _rnn(self, weights: _Weights, x: str, *, states: tuple[str, str], label: str) -> tuple[str, str]:
        return self._function(weights, 0, self._plus(x, states[0], label=f"{label}R", matrix=weights.r)), ""

    def _gru(self, weights: _Weights, x: str, *, states: tuple[str, str], label: str) -> tuple[str, str]:
        h, size, behind = states[0], weights.hidden, bool(self.plain.attributes.get("linear_before_reset", 0))
        both = self._part(x, 0, 2, hidden=weights.hidden)
        both = self._plus(both, h, label=f"{label}R of the gates", matrix=weights.r[:, : 2 * size])
        both = self._function(weights, 0, both)
        z, r = (self._part(both, i, 1, hidden=weights.hidden) for i in range(2))
        inner = self._part(x, 2, 1, hidden=weights.hidden)
        if h or behind:
            reset = h if behind or not h else self.add("Mul", [r, h])
            made = self.product(reset, f"{label}R of the candidate", weights.r[:, 2 * size :]) if h else ""
            if behind:
                bias = self.constant(f"{label}bias of R", weights.hidden_bias[2 * size :])
                made = self.add("Mul", [r, self.add("Add", [made, bias]) if made else bias])
            inner = self.add("Add", [inner, made])
        candidate = self._function(weights, 1, inner)
        # (1 - z) * candidate + z * h.
        kept = self.add("Sub", [candidate, self.add("Mul", [z, candidate])])
        return self.add("Add", [kept, self.add("Mul", [z, h])]) if h else kept, ""

    def _lstm(self, weights: _Weights, x: str, *, states: tuple[str, str], label: str) -> tuple[str, str]:
        h, c = states
        gates = self._plus(x, h, label=f"{label}R", matrix=weights.r)
        i, o, f, g = (self._part(gates, k, 1, hidden=weights.hidden) for k in range(4))
        i = self._function(weights, 0, self._peep(i, c, weights, place=0, label=label))
        if self.plain.attributes.get("input_forget", 0):
            f = self.add("Sub", [self.constant("one", np.ones(1, np.float32)), i])
        else:
            f = self._function(weights, 0, self._peep(f, c, weights, place=2, label=label))
        fresh = self.add("Mul", [i, self._function(weights, 1, g)])
        c = self.add("Add", [self.add("Mul", [f, c]), fresh]) if c else fresh
        o = self._function(weights, 0, self._peep(o, c, weights, place=1, label=label))
        return self.add("Mul", [o, self._function(weights, 2, c, limited=False)]), c

    def _peep(self, gate: str, c: str, weights: _Weights, *, place: int, label: str) -> str:
        """Add what a gate sees of the cell; peepholes come in the order input, output, forget."""
        if weights.peepholes is None or not c:
            return gate
        seen = self.constant(f"{label}peephole {place}", weights.peepholes[place])
        return self.add("Add", [gate, self.add("Mul", [c, seen])])

    def give(self, made: Sequence[Sequence[Any]]) -> None:
        """Stack what the file stacks: Y over time and directions, Y_h and Y_c over directions."""
        outputs = (*self.plain.outputs, "", "")[:3]
        if outputs[0]:
            ways = [self._stacked(states, 0) for states, *_ in made]
            # (time, directions, batch, hidden), or (batch, time, directions, hidden).
            over = self._stacked(ways, 1)
            self._placed(over, outputs[0], [2, 0, 1, 3])
        for out, place in zip(outputs[1:], (1, 2), strict=True):
            if out:
                self._placed(self._stacked([states[place] for states in made], 0), out, [1, 0, 2])

    def _placed(self, name: str, out: str, perm: list[int]) -> None:
        """Give a result its name in the file; with layout=1 the batch stands in front."""
        if self.layout:
            self.add("Transpose", [name], out, perm=perm)
        else:
            self.add("Identity", [name], out)

    def _raised(self, name: str, axis: int) -> str:
        out, label = f"{self.prefix}{len(self.nodes)} Unsqueeze", f"{self.prefix}axis {axis}"
        opset = int(self.plain.attributes["opset"])
        self.nodes.append(
            with_axes(self.graph, "Unsqueeze", inside=name, out=out, axes=[axis], opset=opset, label=label)
        )
        return out

    def _stacked(self, names: Sequence[str], axis: int) -> str:
        parts = [self._raised(name, axis) for name in names]
        return self.add("Concat", parts, axis=axis) if len(parts) > 1 else parts[0]
