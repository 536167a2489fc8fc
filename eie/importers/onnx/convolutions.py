"""Convolutions of an ONNX graph, plain and transposed, in one to three dimensions.

Comes in: a node and the `Builder`. Goes out: layers and their nodes, into the builder. Called by `reader`. A ReLU that
alone reads a layer's result becomes part of the layer.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from eie.errors import ModelError
from eie.importers.onnx.builder import Builder, Tap
from eie.importers.onnx.parts import expect, layer_node, relu_behind, vector, weights_of
from eie.model.geometry import Conv2d, Conv3d, ConvTranspose2d, Geometry
from eie.model.layer import Layer
from eie.model.operators.from_onnx import OnnxNode, UnsupportedError, Value, integers, padding


def conv(node: OnnxNode, into: Builder) -> None:
    """A 2-D or 3-D convolution, or a 1-D one as a map of height 1."""
    kernel = weights_of(node, into, 1)
    whole_if_one(node, into)
    if kernel.ndim not in (3, 4, 5):
        raise UnsupportedError(f"W has shape {kernel.shape}")
    spatial = _spatial(node, into, kernel.ndim)
    if kernel.ndim == 5:
        geometry: Geometry = _conv3d(node, kernel, spatial)
    elif kernel.ndim == 4 and _is_stack(node, into):
        kernel, geometry = kernel[:, :, None], _deeper(_conv2d(node, kernel, spatial))
    else:
        geometry = _conv2d(node, kernel, spatial)
    _add(node=node, into=into, kernel=kernel, geometry=geometry)


@dataclass(frozen=True, eq=False, kw_only=True)
class TransposedForm:
    """A transposed convolution as a plain one over a stretched map: its kernel, turned by half, and its attributes."""

    kernel: NDArray[Any]
    size: tuple[int, ...]
    stride: tuple[int, ...]
    dilation: tuple[int, ...]
    more: tuple[int, ...]
    pads: tuple[int, ...]
    groups: int


def conv_transpose(node: OnnxNode, into: Builder) -> None:
    """A 2-D transposed convolution, or a 1-D one as a map of height 1: a convolution over a stretched map."""
    # Not the weights themselves, which the form is another copy of.
    shape = weights_of(node, into, 1).shape
    whole_if_one(node, into)
    if len(shape) not in (3, 4):
        raise UnsupportedError(f"W has shape {shape}")
    form = transposed_form(node, into)
    size, stride, dilation, more, pads = form.size, form.stride, form.dilation, form.more, form.pads
    if len(shape) == 3:
        size, stride, dilation, more, pads = (
            (1, *size),
            (1, *stride),
            (1, *dilation),
            (0, *more),
            (0, pads[0], 0, pads[1]),
        )
    geometry = ConvTranspose2d(
        in_channels=form.kernel.shape[1] * form.groups,
        out_channels=len(form.kernel),
        kernel=(size[0], size[1]),
        stride=(stride[0], stride[1]),
        pads=(pads[0], pads[1], pads[2], pads[3]),
        output_padding=(more[0], more[1]),
        dilation=(dilation[0], dilation[1]),
        groups=form.groups,
    )
    _add(node=node, into=into, kernel=form.kernel, geometry=geometry)


def transposed_form(node: OnnxNode, into: Builder) -> TransposedForm:
    """Return what the plain convolution has."""
    stored = weights_of(node, into, 1)
    rank, groups = stored.ndim - 2, int(node.attributes.get("group", 1))
    spatial = _spatial(node, into, stored.ndim)
    if groups < 1 or stored.shape[0] % groups:
        raise ModelError(f"group={groups}: must divide {stored.shape[0]} channels")
    # Stored (in, out / groups, ...), the kernel as it is stamped on the result: turned by half it is a convolution's.
    parts = np.flip(stored, tuple(range(2, stored.ndim))).reshape(groups, -1, *stored.shape[1:])
    kernel = np.ascontiguousarray(parts.swapaxes(1, 2)).reshape(groups * stored.shape[1], -1, *stored.shape[2:])
    size = _kernel_size(node, kernel)
    stride, dilation = integers(node, "strides", (1,) * rank), integers(node, "dilations", (1,) * rank)
    more = tuple(int(pad) for pad in node.attributes.get("output_padding", (0,) * rank))
    if node.attributes.get("output_shape") or str(node.attributes.get("auto_pad", "NOTSET")) not in (
        "NOTSET",
        "VALID",
        "",
    ):
        pads, more = _pads_for_size(node, size=size, stride=stride, dilation=dilation, more=more, spatial=spatial)
    else:
        pads = padding(node=node, size=size, stride=stride, dilation=dilation, spatial=spatial)
    return TransposedForm(
        kernel=kernel, size=size, stride=stride, dilation=dilation, more=more, pads=pads, groups=groups
    )


def _pads_for_size(
    node: OnnxNode,
    *,
    size: tuple[int, ...],
    stride: tuple[int, ...],
    dilation: tuple[int, ...],
    more: tuple[int, ...],
    spatial: tuple[int, ...] | None,
) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Return pads and output padding for a stated size of the result, or ``auto_pad``'s: inputs times stride."""
    if spatial is None:
        raise UnsupportedError("a stated size of the result on a map of unknown size")
    mode = str(node.attributes.get("auto_pad", "NOTSET"))
    stated = tuple(int(n) for n in node.attributes.get("output_shape", ()))[-len(size) :]
    wanted = stated or tuple(n * step for n, step in zip(spatial, stride, strict=True))
    reach = [
        step * (n - 1) + extra + gap * (kernel - 1) + 1
        for step, n, extra, gap, kernel in zip(stride, spatial, more, dilation, size, strict=True)
    ]
    totals = [full - n for full, n in zip(reach, wanted, strict=True)]
    # What is missing is padded, what is too much cut off; of an odd number the larger half behind with SAME_UPPER.
    extra = tuple(a + max(0, -total) for a, total in zip(more, totals, strict=True))
    less, larger = [max(0, total) // 2 for total in totals], [max(0, total) - max(0, total) // 2 for total in totals]
    return ((*less, *larger) if mode == "SAME_UPPER" else (*larger, *less)), extra


def _spatial(node: OnnxNode, into: Builder, rank: int) -> tuple[int, ...] | None:
    x = into.known(node.inputs[0])
    # Unknown x is no error: behind a skipped node the layer is kept for recorded activations.
    if x is not None and (len(x.shape) != rank or x.batch != (-1 if _is_stack(node, into) else 0)):
        raise UnsupportedError(f"X has shape {x.shape}")
    return None if x is None else x.shape[2:]


def whole_if_one(node: OnnxNode, into: Builder) -> None:
    """Take a batch of one for what it may be as well where no input has an open one: channels, if there is one."""
    x = into.known(node.inputs[0])
    if x is None or x.batch < 1 or into.open_batch or x.shape[x.batch] != 1:
        return
    made = into.emit("unsqueeze", [Value(x.name, x.batch_first, 0)], f"{node.outputs[0]} [all]", axes=(x.batch + 1,))
    into.values[node.inputs[0]] = Value(made.name, x.shape, -1)


def _is_stack(node: OnnxNode, into: Builder) -> bool:
    """Whether all of a run is one sample: its maps then lie behind each other, as one of one axis more."""
    x, transposed = into.known(node.inputs[0]), node.op == "ConvTranspose"
    return x is not None and x.batch < 0 and len(x.shape) in ((3,) if transposed else (3, 4))


def _deeper(flat: Conv2d) -> Conv3d:
    """Return a convolution that runs over each map of a stack by itself."""
    top, left, bottom, right = flat.pads
    return Conv3d(
        in_channels=flat.in_channels,
        out_channels=flat.out_channels,
        kernel=(1, *flat.kernel),
        stride=(1, *flat.stride),
        pads=(0, top, left, 0, bottom, right),
        dilation=(1, *flat.dilation),
        groups=flat.groups,
    )


def _add(node: OnnxNode, into: Builder, kernel: NDArray[Any], geometry: Geometry) -> None:
    """Add the layer, and around a 1-D one the axis of height 1."""
    x, outputs = into.known(node.inputs[0]), geometry.channels[0]
    bias_name = node.inputs[2] if len(node.inputs) > 2 else ""
    bias = vector(into, bias_name, outputs) if bias_name else None
    if bias_name and bias is None:
        raise UnsupportedError("B is not a constant of one value for each output")
    flat, stack = kernel.ndim == 3, _is_stack(node, into)
    name = into.layer_name(node, node.inputs[1], bias_name)
    out, relu = relu_behind(into, node.outputs[0])
    kernel = kernel[:, :, None] if flat else kernel
    layer = Layer.of_geometry(name=name, weights=kernel, bias=bias, geometry=geometry, relu=relu)
    into.add_layer(layer, into.constants.stored_bits.get(node.inputs[1]))
    # Channels in front of the stack.
    order = (0, 2, 1, *range(3, len(x.shape) + 1)) if stack and x is not None else ()
    into.taps.append(Tap(layer=name, tensor=node.inputs[0], batch=-1 if stack else 0, node=node.index, order=order))
    if x is None:
        return
    if stack:
        expect(x.shape[1], geometry.channels[1], "channels")
        turned = into.emit("transpose", [Value(x.name, x.batch_first, 0)], f"{out} [stack]", axes=order)
        full = (1, outputs, *geometry.output_size(*turned.shape[2:]))
        made = layer_node(into=into, name=name, inputs=(turned.name,), out=f"{out} [maps]", shape=full, batch=0)
        # The same exchange of two axes puts them back.
        back = into.emit("transpose", [made], out, axes=order)
        into.set(out, Value(back.name, back.shape[1:], -1))
        return
    size = (1, x.shape[2]) if flat else x.shape[2:]
    expect(x.shape[1], geometry.channels[1], "channels")
    full = (x.shape[0], outputs, *geometry.output_size(*size))
    if not flat:
        into.set(out, layer_node(into=into, name=name, inputs=(x.name,), out=out, shape=full, batch=0))
        return
    # A 1-D convolution is a map of height 1 inside; around it the graph keeps the file's shapes.
    raised = into.emit("unsqueeze", [x], f"{out} [in]", axes=(2,))
    made = layer_node(into=into, name=name, inputs=(raised.name,), out=f"{out} [map]", shape=full, batch=0)
    into.set(out, into.emit("squeeze", [made], out, axes=(2,)))


def _kernel_size(node: OnnxNode, kernel: NDArray[Any]) -> tuple[int, ...]:
    size = tuple(kernel.shape[2:])
    stated = tuple(node.attributes.get("kernel_shape", size))
    # Redundant in ONNX, so a contradiction is damage.
    if stated != size:
        raise ModelError(f"kernel_shape={stated}, but its weights have {size}")
    return size


def _conv2d(node: OnnxNode, kernel: NDArray[Any], spatial: tuple[int, ...] | None) -> Conv2d:
    rank = kernel.ndim - 2
    size = _kernel_size(node, kernel)
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


def _conv3d(node: OnnxNode, kernel: NDArray[Any], spatial: tuple[int, ...] | None) -> Conv3d:
    size = _kernel_size(node, kernel)
    stride, dilation = integers(node, "strides", (1, 1, 1)), integers(node, "dilations", (1, 1, 1))
    pads = padding(node=node, size=size, stride=stride, dilation=dilation, spatial=spatial)
    groups = int(node.attributes.get("group", 1))
    return Conv3d(
        in_channels=kernel.shape[1] * groups,
        out_channels=len(kernel),
        kernel=(size[0], size[1], size[2]),
        stride=(stride[0], stride[1], stride[2]),
        pads=(pads[0], pads[1], pads[2], pads[3], pads[4], pads[5]),
        dilation=(dilation[0], dilation[1], dilation[2]),
        groups=groups,
    )
