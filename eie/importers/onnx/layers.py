"""Weight layers of an ONNX graph: Gemm, MatMul with the Add behind it, Conv, LSTM.

Comes in: a node and the `Builder`. Goes out: layers and their nodes, into the builder. Called by `reader`. A ReLU
that alone reads a layer's result becomes part of the layer.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from eie.errors import ModelError
from eie.importers.onnx.builder import Builder, Tap
from eie.model.geometry import Conv2d
from eie.model.graph import Node
from eie.model.network import Layer
from eie.model.operators.from_onnx import OnnxNode, UnsupportedError, Value, integers, padding

# ONNX stacks an LSTM's gates input, output, forget, cell; ours are input, forget, cell, output.
_GATES = (0, 2, 3, 1)
_LSTM_ACTIVATIONS = ["sigmoid", "tanh", "tanh"]


def gemm(node: OnnxNode, into: Builder) -> None:
    """``alpha * A' B' + beta * C`` with constant B and C."""
    weights = _weights(node, into, 1)
    # A transposed has the samples across: each sample would no longer be a row.
    if node.attributes.get("transA", 0):
        raise UnsupportedError("transA=1")
    if weights.ndim != 2:
        raise ModelError(f"B has shape {weights.shape}: must be a matrix")
    if not node.attributes.get("transB", 0):
        weights = weights.T
    # Into the weights, before they are shared: the accelerator has no factor behind its sums.
    weights = _scaled(weights, float(node.attributes.get("alpha", 1.0)))
    bias = None
    bias_name = node.inputs[2] if len(node.inputs) > 2 else ""
    if bias_name:
        bias = _vector(into, bias_name, len(weights))
        if bias is None:
            raise UnsupportedError("C is not a constant of one value for each output")
        bias = _scaled(bias, float(node.attributes.get("beta", 1.0)))
    x = into.known(node.inputs[0])
    if x is not None and (len(x.shape) != 2 or x.batch != 0):
        raise UnsupportedError(f"A has shape {x.shape}")
    _linear(node=node, into=into, weights=weights, bias=bias, bias_name=bias_name, out=node.outputs[0])


def matmul(node: OnnxNode, into: Builder) -> None:
    """``A B`` with a constant matrix B, and the Add of a constant vector that alone reads it."""
    weights = _weights(node, into, 1)
    if weights.ndim != 2:
        raise UnsupportedError(f"B has shape {weights.shape}")
    bias, bias_name, out = None, "", node.outputs[0]
    # The sum without bias must be wanted by nobody else, since it is then never made.
    add = into.sole_use(out)
    if add is not None and add.op == "Add" and len(add.inputs) == 2:
        # An Add has its constant on either side.
        name = add.inputs[1] if add.inputs[0] == out else add.inputs[0]
        bias = _vector(into, name, weights.shape[1]) if name in into.constants else None
        if bias is not None:
            bias_name, out = name, add.outputs[0]
            # A bias is one more column of the matrix; as an Add of its own it would run outside the accelerator.
            into.absorbed.add(add.index)
    _linear(node=node, into=into, weights=weights.T, bias=bias, bias_name=bias_name, out=out)


def conv(node: OnnxNode, into: Builder) -> None:
    """A 2-D convolution, or a 1-D one as a map of height 1."""
    kernel = _weights(node, into, 1)
    if kernel.ndim not in (3, 4):
        raise UnsupportedError(f"W has shape {kernel.shape}")
    x = into.known(node.inputs[0])
    # Unknown x is no error: behind a skipped node the layer is kept for recorded activations.
    if x is not None and (len(x.shape) != kernel.ndim or x.batch != 0):
        raise UnsupportedError(f"X has shape {x.shape}")
    bias_name = node.inputs[2] if len(node.inputs) > 2 else ""
    bias = _vector(into, bias_name, len(kernel)) if bias_name else None
    if bias_name and bias is None:
        raise UnsupportedError("B is not a constant of one value for each output")
    spatial = None if x is None else x.shape[2:]
    shape = _conv2d(node, kernel, spatial)
    flat = kernel.ndim == 3
    name = into.layer_name(node, node.inputs[1], bias_name)
    out, relu = _relu_behind(into, node.outputs[0])
    kernel = kernel[:, :, None] if flat else kernel
    into.layers.append(Layer.from_conv(name=name, weights=kernel, bias=bias, conv=shape, relu=relu))
    into.taps.append(Tap(layer=name, tensor=node.inputs[0], batch=0, node=node.index))
    if x is None:
        return
    size = (1, x.shape[2]) if flat else (x.shape[2], x.shape[3])
    _expect(x.shape[1], shape.in_channels, "channels")
    full = (x.shape[0], shape.out_channels, *shape.output_size(*size))
    if not flat:
        into.set(out, _layer_node(into=into, name=name, inputs=(x.name,), out=out, shape=full, batch=0))
        return
    # A 1-D convolution is a map of height 1 inside; around it the graph keeps the file's shapes.
    raised = into.emit("unsqueeze", [x], f"{out} [in]", axes=(2,))
    made = _layer_node(into=into, name=name, inputs=(raised.name,), out=f"{out} [map]", shape=full, batch=0)
    into.set(out, into.emit("squeeze", [made], out, axes=(2,)))


def lstm(node: OnnxNode, into: Builder) -> None:
    """One layer for each direction; initial states must be zero, the gates the standard ones."""
    w, r = _weights(node, into, 1), _weights(node, into, 2)
    _check_lstm(node=node, into=into, w=w, r=r)
    directions = {"forward": (False,), "reverse": (True,), "bidirectional": (False, True)}
    way = str(node.attributes.get("direction", "forward"))
    if way not in directions or len(w) != len(directions[way]):
        raise ModelError(f"direction {way!r} with weights for {len(w)} directions")
    bias_name = node.inputs[3] if len(node.inputs) > 3 else ""
    # Two a gate, one for the input and one for the hidden part; only their sum matters.
    biases = into.constants[bias_name] if bias_name else np.zeros((len(w), 2 * w.shape[1]), np.float32)
    if biases.shape != (len(w), 2 * w.shape[1]):
        raise ModelError(f"B has shape {biases.shape}: must be {(len(w), 2 * w.shape[1])}")
    # layout=1 has the batch first, the default (time, batch, inputs).
    first = bool(node.attributes.get("layout", 0))
    x = into.known(node.inputs[0])
    if x is not None:
        if len(x.shape) != 3 or x.batch != (0 if first else 1):
            raise UnsupportedError(f"X of shape {x.shape} with its batch in axis {x.batch}")
        _expect(x.shape[2], w.shape[2], "inputs")
    base = into.layer_name(node, node.inputs[1], bias_name)
    names = []
    for i, backwards in enumerate(directions[way]):
        name = base if len(w) == 1 else f"{base}_{'reverse' if backwards else 'forward'}"
        # Half each of W's and R's: (2 * 4 * hidden,) in one row.
        bias = _gates(biases[i].reshape(2, -1).sum(axis=0)) if bias_name else None
        into.layers.append(
            Layer.from_lstm(
                name=name, input_weights=_gates(w[i]), hidden_weights=_gates(r[i]), bias=bias, reverse=backwards
            )
        )
        into.taps.append(Tap(layer=name, tensor=node.inputs[0], batch=0 if first else 1, node=node.index, direction=i))
        names.append(name)
    if x is not None:
        _lstm_nodes(node=node, into=into, x=x, names=names, hidden=r.shape[2])


def _check_lstm(node: OnnxNode, into: Builder, w: NDArray[Any], r: NDArray[Any]) -> None:
    hidden = r.shape[-1]
    if w.ndim != 3 or r.ndim != 3 or w.shape[:2] != r.shape[:2] or r.shape[1] != 4 * hidden:
        raise ModelError(f"W has shape {w.shape} and R {r.shape}: must be (directions, 4 * hidden, inputs or hidden)")
    if int(node.attributes.get("hidden_size", hidden)) != hidden:
        raise ModelError(f"hidden_size={node.attributes['hidden_size']}, but R has shape {r.shape}")
    # Case does not count in ONNX's names of functions.
    functions = [str(name).lower() for name in node.attributes.get("activations", _LSTM_ACTIVATIONS * len(w))]
    if functions != _LSTM_ACTIVATIONS * len(w):
        raise UnsupportedError(f"activations {', '.join(functions)}")
    for key in ("clip", "input_forget"):
        if node.attributes.get(key):
            raise UnsupportedError(f"{key}={node.attributes[key]}")
    for place, what in ((4, "sequence_lens"), (5, "initial_h"), (6, "initial_c"), (7, "peepholes")):
        name = node.inputs[place] if len(node.inputs) > place else ""
        # Sequence lengths cut the batch apart, whatever they are; states and peepholes of zero are as good as none.
        if name and (place == 4 or name not in into.constants or into.constants[name].any()):
            raise UnsupportedError(f"{what} that is not zero")


def _lstm_nodes(node: OnnxNode, into: Builder, x: Value, names: list[str], hidden: int) -> None:
    """Run each direction, and stack what the file stacks: Y over (time, directions), Y_h and Y_c over directions."""
    steps = x.shape[0] if x.batch == 1 else x.shape[1]
    samples = x.shape[x.batch]
    # Outputs that nobody reads are left out of the graph, with the nodes that would stack them.
    used = [name if into.is_used(name) else "" for name in (*node.outputs, "", "", "")[:3]]
    for i, name in enumerate(names):
        outputs = tuple(f"node {node.index} [{part}{i}]" for part in ("y", "h", "c"))
        into.nodes.append(
            Node(op="layer", inputs=(x.name,), outputs=outputs if any(used[1:]) else outputs[:1], layer=name)
        )
    for out, part, at in zip(used, "yhc", (2, 1, 1), strict=True):
        if not out:
            continue
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


def _linear(
    node: OnnxNode,
    into: Builder,
    weights: NDArray[Any],
    bias: NDArray[Any] | None,
    bias_name: str,
    out: str,
) -> None:
    x = into.known(node.inputs[0])
    if x is not None:
        # The last axis is multiplied: a batch there would be mixed.
        if len(x.shape) < 2 or x.batch == len(x.shape) - 1:
            raise UnsupportedError(f"its input has shape {x.shape}, batch included")
        _expect(x.shape[-1], weights.shape[1], "inputs")
    name = into.layer_name(node, node.inputs[1], bias_name)
    out, relu = _relu_behind(into, out)
    into.layers.append(Layer.from_weights(name, weights, bias, relu=relu))
    into.taps.append(Tap(layer=name, tensor=node.inputs[0], batch=0 if x is None else x.batch, node=node.index))
    if x is not None:
        into.set(
            out,
            _layer_node(
                into=into, name=name, inputs=(x.name,), out=out, shape=(*x.shape[:-1], len(weights)), batch=x.batch
            ),
        )


def _layer_node(
    into: Builder, name: str, inputs: tuple[str, ...], out: str, shape: tuple[int, ...], batch: int
) -> Value:
    into.nodes.append(Node(op="layer", inputs=inputs, outputs=(out,), layer=name))
    return Value(out, shape, batch)


def _weights(node: OnnxNode, into: Builder, place: int) -> NDArray[Any]:
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


def _vector(into: Builder, name: str, outputs: int) -> NDArray[Any] | None:
    """Return a constant that broadcasts to (outputs,), spread out; None for anything else."""
    if name not in into.constants:
        return None
    array = into.constants[name]
    # Its last axis has to hold all of it: (outputs, 1) would broadcast over the rows instead.
    if array.dtype.kind not in "fiu" or array.size not in (1, outputs) or array.size != (array.shape or (1,))[-1]:
        return None
    return np.broadcast_to(array.ravel().astype(np.float32), (outputs,))


def _scaled(array: NDArray[Any], factor: float) -> NDArray[Any]:
    if not math.isfinite(factor):
        raise ModelError(f"alpha or beta is {factor}")
    # 1 is the rule, and a product with it would copy all weights.
    return array if factor == 1 else array * np.float32(factor)


def _relu_behind(into: Builder, out: str) -> tuple[str, bool]:
    """Take in a Relu that alone reads ``out``; return what is then the layer's result."""
    after = into.sole_use(out)
    # Only where nobody else reads the result: before the ReLU it is then not there any more.
    if after is None or after.op != "Relu":
        return out, False
    into.absorbed.add(after.index)
    return after.outputs[0], True


def _conv2d(node: OnnxNode, kernel: NDArray[Any], spatial: tuple[int, ...] | None) -> Conv2d:
    rank = kernel.ndim - 2
    size = tuple(kernel.shape[2:])
    stated = tuple(node.attributes.get("kernel_shape", size))
    # Redundant in ONNX, so a contradiction is damage.
    if stated != size:
        raise ModelError(f"kernel_shape={stated}, but its weights have {size}")
    stride = integers(node, "strides", (1,) * rank)
    dilation = integers(node, "dilations", (1,) * rank)
    pads = padding(node=node, size=size, stride=stride, dilation=dilation, spatial=spatial)
    groups = int(node.attributes.get("group", 1))
    if rank == 1:
        # One row of height, without pads above or below; pads are (top, left, bottom, right).
        size, stride, dilation, pads = (1, *size), (1, *stride), (1, *dilation), (0, pads[0], 0, pads[1])
    return Conv2d(
        in_channels=kernel.shape[1] * groups,
        out_channels=kernel.shape[0],
        kernel=(size[0], size[1]),
        stride=(stride[0], stride[1]),
        pads=(pads[0], pads[1], pads[2], pads[3]),
        dilation=(dilation[0], dilation[1]),
        groups=groups,
    )


def _gates(stacked: NDArray[Any]) -> NDArray[Any]:
    """Reorder (4 * hidden, ...) from the file's order of gates to ours."""
    blocks = stacked.reshape(4, -1, *stacked.shape[1:])
    return blocks[list(_GATES)].reshape(stacked.shape)


def _expect(size: int, wanted: int, what: str) -> None:
    if size != wanted:
        raise ModelError(f"takes {wanted} {what}, but its input has {size}")
