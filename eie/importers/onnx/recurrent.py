"""Recurrent layers of an ONNX graph: LSTM, GRU and RNN, a layer for each direction.

Comes in: a node and the `Builder`. Goes out: layers and their nodes, into the builder. Called by `reader`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from eie.errors import ModelError
from eie.importers.onnx.builder import Builder, Tap
from eie.importers.onnx.parts import expect, weights_of
from eie.model.geometry import Gru, Lstm, Rnn
from eie.model.graph import Node
from eie.model.layer import Layer
from eie.model.matrix import Tile, tiled
from eie.model.operators.from_onnx import OnnxNode, UnsupportedError, Value
from eie.model.weights import checked_bias

# ONNX stacks an LSTM's gates input, output, forget, cell; ours are input, forget, cell, output.
_LSTM_GATES = (0, 2, 3, 1)
_WAYS = {"forward": (False,), "reverse": (True,), "bidirectional": (False, True)}


@dataclass(frozen=True, kw_only=True)
class _Weights:
    """Of one direction: (gates * hidden, inputs), (gates * hidden, hidden), and two biases of as many rows or None."""

    w: NDArray[Any]
    r: NDArray[Any]
    biases: tuple[NDArray[Any], NDArray[Any]] | None


@dataclass(frozen=True, kw_only=True)
class _Kind:
    """What tells the operators apart.

    Attributes
    ----------
    gates
        How many blocks of rows there are.
    activations
        The standard ones, which are the ones that are lowered.
    parts
        A letter for each output: y over time, h and c of the last step.
    layer
        Makes a layer of the weights of one direction.
    """

    gates: int
    activations: tuple[str, ...]
    parts: str
    layer: Callable[[str, _Weights, bool], Layer]


def lstm(node: OnnxNode, into: Builder) -> None:
    """One layer for each direction; the gates must be the standard ones."""
    _read(node, into, _LSTM)


def gru(node: OnnxNode, into: Builder) -> None:
    """One layer for each direction, where the reset gate acts behind the product."""
    if not node.attributes.get("linear_before_reset", 0):
        raise UnsupportedError("linear_before_reset=0: the reset gate acts before a second product")
    _read(node, into, _GRU)


def rnn(node: OnnxNode, into: Builder) -> None:
    """One layer for each direction, with tanh."""
    _read(node, into, _RNN)


def _read(node: OnnxNode, into: Builder, kind: _Kind) -> None:
    w, r = weights_of(node, into, 1), weights_of(node, into, 2)
    way = str(node.attributes.get("direction", "forward"))
    if way not in _WAYS or len(w) != len(_WAYS[way]):
        raise ModelError(f"direction {way!r} with weights for {len(w)} directions")
    # layout=1 has the batch first, the default (time, batch, inputs).
    batch = 0 if node.attributes.get("layout", 0) else 1
    x = into.known(node.inputs[0])
    if x is not None and x.batch != batch and into.open_batch and len(x.shape) == 3:
        # One of any number of samples only looks like one step: with two, time would go over them.
        raise UnsupportedError(f"the file's batch is the time of X, {x.shape}")
    x = None if x is None else x.with_batch(batch)
    _check(node=node, into=into, kind=kind, w=w, r=r, x=x)
    bias_name = node.inputs[3] if len(node.inputs) > 3 else ""
    biases = into.constants[bias_name] if bias_name else None
    if biases is not None and biases.shape != (len(w), 2 * w.shape[1]):
        raise ModelError(f"B has shape {biases.shape}: must be {(len(w), 2 * w.shape[1])}")
    if x is not None:
        if len(x.shape) != 3 or x.batch != batch:
            raise UnsupportedError(f"X of shape {x.shape} with its batch in axis {x.batch}")
        expect(x.shape[2], w.shape[2], "inputs")
    base = into.layer_name(node, node.inputs[1], bias_name)
    names = []
    for i, backwards in enumerate(_WAYS[way]):
        name = base if len(w) == 1 else f"{base}_{'reverse' if backwards else 'forward'}"
        # Half each of W's and R's: (2 * gates * hidden,) in one row.
        both = None if biases is None else (biases[i, : w.shape[1]], biases[i, w.shape[1] :])
        layer = kind.layer(name, _Weights(w=w[i], r=r[i], biases=both), backwards)
        into.add_layer(layer, into.constants.stored_bits.get(node.inputs[1]))
        into.taps.append(Tap(layer=name, tensor=node.inputs[0], batch=batch, node=node.index, direction=i))
        names.append(name)
    if x is not None:
        starts = _starts(node=node, into=into, x=x, shape=(len(w), r.shape[2]), parts=kind.parts)
        _nodes(node=node, into=into, x=x, names=names, hidden=r.shape[2], parts=kind.parts, starts=starts)


def _check(*, node: OnnxNode, into: Builder, kind: _Kind, w: NDArray[Any], r: NDArray[Any], x: Value | None) -> None:
    hidden = r.shape[-1]
    if w.ndim != 3 or r.ndim != 3 or w.shape[:2] != r.shape[:2] or r.shape[1] != kind.gates * hidden:
        wanted = f"(directions, {kind.gates} * hidden, inputs or hidden)"
        raise ModelError(f"W has shape {w.shape} and R {r.shape}: must be {wanted}")
    if int(node.attributes.get("hidden_size", hidden)) != hidden:
        raise ModelError(f"hidden_size={node.attributes['hidden_size']}, but R has shape {r.shape}")
    # Case does not count in ONNX's names of functions.
    standard = list(kind.activations) * len(w)
    functions = [str(name).lower() for name in node.attributes.get("activations", standard)]
    if functions != standard:
        raise UnsupportedError(f"activations {', '.join(functions)}")
    for key in ("clip", "input_forget"):
        if node.attributes.get(key):
            raise UnsupportedError(f"{key}={node.attributes[key]}")
    _check_states(node, into, hidden)
    for place, what in ((5, "initial_h"), (6, "initial_c"), (7, "peepholes")):
        name = node.inputs[place] if len(node.inputs) > place else ""
        # States and peepholes of zero are as good as none; states that are computed are inputs of the layer.
        state = place < 4 + len(kind.parts) and name and into.known(name) is not None
        if name and not state and (name not in into.constants or into.constants[name].any()):
            raise UnsupportedError(f"{what} that is not zero")
    if any(node.inputs[4:5]):
        lengths = into.constants.get(node.inputs[4])
        # Shorter ones would cut the batch apart; those that are all of it say nothing.
        if x is None or lengths is None or (lengths != x.shape[1 - x.batch if x.batch < 2 else 0]).any():
            raise UnsupportedError("sequence_lens other than the whole sequence")


def _check_states(node: OnnxNode, into: Builder, hidden: int) -> None:
    for place, what in ((5, "initial_h"), (6, "initial_c")):
        name = node.inputs[place] if len(node.inputs) > place else ""
        shape = into.constants.shape(name) if name else None
        # A projected LSTM, which ONNX has not, is exported as a wrong one with states of another size.
        if shape is not None and shape[-1:] != (hidden,):
            raise ModelError(f"{what} has shape {shape}: must be (directions, samples, {hidden})")


def _starts(*, node: OnnxNode, into: Builder, x: Value, shape: tuple[int, int], parts: str) -> list[tuple[str, ...]]:
    """Return what each direction begins from, (samples, hidden) for every part of its state; empty for zeros."""
    # In the file (directions, batch, hidden), with layout=1 the batch in front: as Y_h and Y_c are given out.
    batch, directions = (0 if x.batch == 0 else 1), shape[0]
    known = [into.known(name) if name else None for name in (*node.inputs[5:], "", "")[: len(parts) - 1]]
    if all(value is None for value in known):
        return [()] * directions
    wanted = (x.shape[x.batch], *shape)
    made: list[list[str]] = [[] for _ in range(directions)]
    for state, part in zip(known, parts[1:], strict=True):
        value = None if state is None else state.with_batch(batch)
        if value is None or value.batch != batch or value.batch_first != wanted:
            raise UnsupportedError(f"initial_{part} is not known, or not a state for each sample")
        for i, names in enumerate(made):
            name = f"node {node.index} [{part}{i} before]"
            kept = value if directions == 1 else into.emit("slice", [value], f"{name} in", axis=1, start=i, stop=i + 1)
            # One direction is an axis of 1 less.
            names.append(into.emit("squeeze", [Value(kept.name, (wanted[0], 1, wanted[2]), 0)], name, axes=(1,)).name)
    return [tuple(names) for names in made]


def _nodes(
    *,
    node: OnnxNode,
    into: Builder,
    x: Value,
    names: list[str],
    hidden: int,
    parts: str,
    starts: list[tuple[str, ...]],
) -> None:
    """Run each direction, and stack what the file stacks: Y over (time, directions), Y_h and Y_c over directions."""
    steps = x.shape[0] if x.batch == 1 else x.shape[1]
    samples = x.shape[x.batch]
    # Outputs that nobody reads are left out of the graph, with the nodes that would stack them.
    used = [name if into.is_used(name) else "" for name in (*node.outputs, "", "", "")[: len(parts)]]
    for i, name in enumerate(names):
        outputs = tuple(f"node {node.index} [{part}{i}]" for part in parts)
        into.nodes.append(
            Node(
                op="layer",
                inputs=(x.name, *starts[i]),
                outputs=outputs if any(used[1:]) else outputs[:1],
                layer=name,
            )
        )
    for out, part in zip(used, parts, strict=True):
        if not out:
            continue
        at = 2 if part == "y" else 1
        size = (samples, steps, hidden) if part == "y" else (samples, hidden)
        values = [
            into.emit(
                "unsqueeze",
                [Value(f"node {node.index} [{part}{i}]", size, 0)],
                out if len(names) == 1 else f"{out} [{i}]",
                axes=(at,),
            )
            for i in range(len(names))
        ]
        stacked = values[0] if len(values) == 1 else into.emit("concat", values, out, axis=at)
        # In the file: Y (time, directions, batch, hidden), Y_h (directions, batch, hidden), unless layout=1.
        place = 0 if x.batch == 0 else at
        into.set(out, Value(out, (*stacked.shape[1 : place + 1], samples, *stacked.shape[place + 1 :]), place))


def _lstm_layer(name: str, weights: _Weights, reverse: bool) -> Layer:
    # Of two biases a gate, one for the input and one for the hidden part, only their sum matters.
    bias = None
    if weights.biases is not None:
        both = (weights.biases[0] + weights.biases[1]).reshape(4, -1)
        bias = both[list(_LSTM_GATES)].reshape(-1)
    inputs, hidden = weights.w.shape[1], weights.r.shape[1]
    # Errors count each part's own columns, as those of `Layer.from_lstm`.
    parts = [
        _Part(array=weights.w, what="input_weights", gates=_LSTM_GATES, column=0, origin=0),
        _Part(array=weights.r, what="hidden_weights", gates=_LSTM_GATES, column=inputs, origin=inputs),
    ]
    return _layer(name, parts, bias=bias, geometry=Lstm(inputs, hidden, reverse))


def _gru_layer(name: str, weights: _Weights, reverse: bool) -> Layer:
    inputs, hidden = weights.w.shape[1], weights.r.shape[1]
    gates, candidate = slice(0, 2 * hidden), slice(2 * hidden, None)
    bias = None
    if weights.biases is not None:
        first, second = weights.biases
        bias = np.concatenate((first[gates] + second[gates], first[candidate], second[candidate]))
    # ONNX's order is update, reset, candidate; the candidate's halves are kept apart, since one of them is reset.
    parts = [
        _Part(array=weights.w, what="weights", gates=(0, 1, 2), column=0),
        _Part(array=weights.r, what="weights", gates=(0, 1, None, 2), column=inputs),
    ]
    return _layer(name, parts, bias=bias, geometry=Gru(inputs, hidden, reverse))


def _rnn_layer(name: str, weights: _Weights, reverse: bool) -> Layer:
    bias = None if weights.biases is None else weights.biases[0] + weights.biases[1]
    inputs, hidden = weights.w.shape[1], weights.r.shape[1]
    parts = [
        _Part(array=weights.w, what="weights", gates=(0,), column=0),
        _Part(array=weights.r, what="weights", gates=(0,), column=inputs),
    ]
    return _layer(name, parts, bias=bias, geometry=Rnn(inputs, hidden, reverse))


@dataclass(frozen=True, kw_only=True)
class _Part:
    """Columns of a layer's matrix: which of the array's gates stand one below the other, None for zeros."""

    array: NDArray[Any]
    what: str
    gates: tuple[int | None, ...]
    column: int
    origin: int = 0

    def tiles(self, name: str, hidden: int) -> list[Tile]:
        """Return its gates as they lie in the file: in another order, they would be a copy of the weights."""
        return [
            Tile(
                row=place * hidden,
                column=self.column,
                dense=self.array[gate * hidden : (gate + 1) * hidden],
                where=f"layer {name!r}: {self.what}",
                origin=self.origin,
            )
            for place, gate in enumerate(self.gates)
            if gate is not None
        ]


def _layer(name: str, parts: Sequence[_Part], *, bias: NDArray[Any] | None, geometry: Lstm | Gru | Rnn) -> Layer:
    hidden = parts[-1].array.shape[1]
    tiles = [tile for part in parts for tile in part.tiles(name, hidden)]
    matrix = tiled(geometry.matrix_shape, tiles)
    return Layer(
        name=name,
        matrix=matrix,
        bias=None if bias is None else checked_bias(name, bias, matrix.shape[0]),
        geometry=geometry,
    )


_LSTM = _Kind(gates=4, activations=("sigmoid", "tanh", "tanh"), parts="yhc", layer=_lstm_layer)
_GRU = _Kind(gates=3, activations=("sigmoid", "tanh"), parts="yh", layer=_gru_layer)
_RNN = _Kind(gates=1, activations=("tanh",), parts="yh", layer=_rnn_layer)
