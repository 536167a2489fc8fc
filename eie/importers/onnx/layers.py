"""Weight layers of an ONNX graph that are more than a product: Conv, LSTM.

Comes in: a node and the `Builder`. Goes out: layers and their nodes, into the builder. Called by `reader`. A ReLU
that alone reads a layer's result becomes part of the layer.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from eie.errors import ModelError
from eie.importers.onnx.builder import Builder, Tap
from eie.importers.onnx.parts import expect, layer_node, relu_behind, vector, weights_of
from eie.model.geometry import Conv2d
from eie.model.graph import Node
from eie.model.network import Layer
from eie.model.operators.from_onnx import OnnxNode, UnsupportedError, Value, integers, padding

# ONNX stacks an LSTM's gates input, output, forget, cell; ours are input, forget, cell, output.
_GATES = (0, 2, 3, 1)
_LSTM_ACTIVATIONS = ["sigmoid", "tanh", "tanh"]


def conv(node: OnnxNode, into: Builder) -> None:
    """A 2-D convolution, or a 1-D one as a map of height 1."""
    kernel = weights_of(node, into, 1)
    if kernel.ndim not in (3, 4):
        raise UnsupportedError(f"W has shape {kernel.shape}")
    x = into.known(node.inputs[0])
    # Unknown x is no error: behind a skipped node the layer is kept for recorded activations.
    if x is not None and (len(x.shape) != kernel.ndim or x.batch != 0):
        raise UnsupportedError(f"X has shape {x.shape}")
    bias_name = node.inputs[2] if len(node.inputs) > 2 else ""
    bias = vector(into, bias_name, len(kernel)) if bias_name else None
    if bias_name and bias is None:
        raise UnsupportedError("B is not a constant of one value for each output")
    spatial = None if x is None else x.shape[2:]
    shape = _conv2d(node, kernel, spatial)
    flat = kernel.ndim == 3
    name = into.layer_name(node, node.inputs[1], bias_name)
    out, relu = relu_behind(into, node.outputs[0])
    kernel = kernel[:, :, None] if flat else kernel
    into.layers.append(Layer.from_conv(name=name, weights=kernel, bias=bias, conv=shape, relu=relu))
    into.taps.append(Tap(layer=name, tensor=node.inputs[0], batch=0, node=node.index))
    if x is None:
        return
    size = (1, x.shape[2]) if flat else (x.shape[2], x.shape[3])
    expect(x.shape[1], shape.in_channels, "channels")
    full = (x.shape[0], shape.out_channels, *shape.output_size(*size))
    if not flat:
        into.set(out, layer_node(into=into, name=name, inputs=(x.name,), out=out, shape=full, batch=0))
        return
    # A 1-D convolution is a map of height 1 inside; around it the graph keeps the file's shapes.
    raised = into.emit("unsqueeze", [x], f"{out} [in]", axes=(2,))
    made = layer_node(into=into, name=name, inputs=(raised.name,), out=f"{out} [map]", shape=full, batch=0)
    into.set(out, into.emit("squeeze", [made], out, axes=(2,)))


def lstm(node: OnnxNode, into: Builder) -> None:
    """One layer for each direction; initial states must be zero, the gates the standard ones."""
    w, r = weights_of(node, into, 1), weights_of(node, into, 2)
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
        expect(x.shape[2], w.shape[2], "inputs")
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
