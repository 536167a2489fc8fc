"""Recording with onnxruntime: the inputs of every weight layer are added to the graph's outputs.

Comes in: an ``.onnx`` file and `Samples`. Goes out: layer traces. Called by `record`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from eie.errors import ModelError, TraceError
from eie.importers.onnx.reader import OnnxInput, OnnxModel, read_onnx
from eie.importers.onnx.tensors import embed_external
from eie.model.fitting import Layout, fitted
from eie.model.samples import Samples
from eie.model.uses import numbered
from eie.recording.inputs import with_batch
from eie.recording.rows import Recorder

if TYPE_CHECKING:
    import onnxruntime

# By onnxruntime's words for types; it refuses an array of another.
_KINDS = {
    "tensor(float)": np.float32,
    "tensor(double)": np.float64,
    "tensor(float16)": np.float16,
    "tensor(int64)": np.int64,
    "tensor(int32)": np.int32,
    "tensor(uint8)": np.uint8,
    "tensor(int8)": np.int8,
}


class NoKernelError(ModelError):
    """onnxruntime has no kernel for something in the file, as for most of bfloat16; nothing was recorded."""


def run_onnx(path: Path, samples: Samples, batch: int, recorder: Recorder, layout: Layout | None = None) -> None:
    """Record all samples.

    Parameters
    ----------
    batch
        Samples at a time; a file whose batch is fixed takes as many as it says.

    Raises
    ------
    NoKernelError
        If onnxruntime cannot load the file.
    ModelError
        If the file cannot be read or run.
    TraceError
        If the samples do not fit its input.
    """
    # Recording needs layers and taps, not the graph: what is not supported here still runs in onnxruntime.
    model = read_onnx(path, "skip")
    if len(model.inputs) != 1:
        names = ", ".join(entry.name for entry in model.inputs)
        raise TraceError(f"{path}: has {len(model.inputs)} inputs ({names}): recording feeds networks with one")
    # Open sizes are those of the first sample; reading once more makes shapes, and so the layers behind, known.
    if model.inputs[0].sizes is None:
        model = read_onnx(path, "skip", _first_shape(samples, model.inputs[0], path=path, layout=layout))
    entry, hidden = model.inputs[0], _with_outputs(path, model)
    samples = with_batch(samples, _wanted(entry), layout)
    session = _session(path, model)
    kind = session.get_inputs()[0].type
    if kind not in _KINDS:
        raise TraceError(f"{path}: its input is a {kind}, which cannot be fed")
    # Each once: layers can share an input, and an LSTM's two directions do.
    wanted = [name for name in dict.fromkeys((*(tap.tensor for tap in model.taps), *hidden.values())) if name]
    # A graph input is no output of a node; it is fed and so known.
    asked = [name for name in wanted if name != entry.name]
    layers = {layer.name: layer for layer in model.network.layers}
    for values, kept in _batches(samples=samples, batch=batch, entry=entry, path=path, layout=layout):
        # Samples come batch first; an LSTM's file has time first.
        feed = np.moveaxis(values, 0, entry.batch).astype(_KINDS[kind])
        try:
            results = session.run(asked, {entry.name: feed}) if asked else []
        # onnxruntime's exceptions share no base class but Exception.
        except Exception as error:
            raise ModelError(f"{path}: onnxruntime cannot run it: {str(error).splitlines()[0][:200]}") from None
        tensors = {**dict(zip(asked, results, strict=True)), entry.name: feed}
        # Taps are in the order of the nodes, and so of the uses of a layer.
        for use, tap in zip(numbered(tap.layer for tap in model.taps), model.taps, strict=True):
            # The layer's own batch axis, which need not be the input's.
            x, states = tap.read(tensors[tap.tensor]), None
            if tap.node in hidden:
                y = tensors[hidden[tap.node]]
                # Y is (time, directions, batch, hidden), or (batch, time, directions, hidden) with layout=1.
                states = (np.moveaxis(y, 2, 0) if tap.batch == 1 else y)[:, :, tap.direction]
            rows = np.asarray(x, np.float32)
            recorder.add(layers[tap.layer], len(values), rows, hidden=states, kept=kept, use=use)


def _wanted(entry: OnnxInput) -> tuple[int, ...]:
    """Return the shape of one sample, -1 where the file leaves it open."""
    return tuple(-1 if size is None else size for i, size in enumerate(entry.shape) if i != entry.batch)


def _first_shape(samples: Samples, entry: OnnxInput, *, path: Path, layout: Layout | None) -> tuple[int, ...]:
    """Return the shape that the first sample is taken in; as it is where the file states none at all."""
    if not entry.shape:
        return samples.read(slice(1)).shape[1:]
    first = with_batch(samples, _wanted(entry), layout).read(slice(1))
    return fitted(first, _wanted(entry), f"{path}: input {entry.name!r}", layout=layout, batched=True).shape[1:]


def _batches(
    *, samples: Samples, batch: int, entry: OnnxInput, path: Path, layout: Layout | None
) -> Iterator[tuple[NDArray[np.float32], int]]:
    """Yield (N, ...) in the input's shape, and how many of them count; a fixed batch is filled up with the last one."""
    fixed = entry.shape[entry.batch] if entry.shape else None
    for part in samples.batches(fixed or batch):
        kept = len(part)
        values = fitted(part, _wanted(entry), f"{path}: input {entry.name!r}", layout=layout, batched=True)
        if fixed and kept < fixed:
            # Any sample would do, its rows are thrown away; a real one cannot raise what a row of zeros might.
            values = np.concatenate((values, np.repeat(values[-1:], fixed - kept, axis=0)))
        yield values, kept


def _with_outputs(path: Path, model: OnnxModel) -> Mapping[int, str]:
    """Add the taps to the outputs of ``model.proto``; return the name of each LSTM's hidden states by its node."""
    from onnx import helper

    proto = model.proto
    # Here, where each path is checked: onnxruntime gets bytes and no folder, so it follows nothing.
    embed_external(proto, path)
    hidden: dict[int, str] = {}
    recurrent = {layer.name for layer in model.network.layers if layer.geometry.recurrence is not None}
    for tap in model.taps:
        if tap.layer in recurrent:
            node = proto.graph.node[tap.node]
            # An output that nobody reads may be left without a name, and cannot be asked for then.
            if not node.output:
                node.output.append("")
            node.output[0] = node.output[0] or f"hidden states of node {tap.node}"
            hidden[tap.node] = node.output[0]
    outputs = {value.name for value in (*proto.graph.output, *proto.graph.input)}
    for name in dict.fromkeys((*(tap.tensor for tap in model.taps), *hidden.values())):
        if name not in outputs:
            # Without type and shape: onnxruntime infers them, and a wrong one would be refused.
            proto.graph.output.append(helper.make_empty_tensor_value_info(name))
    return hidden


def _session(path: Path, model: OnnxModel) -> onnxruntime.InferenceSession:
    try:
        import onnxruntime
    except ImportError:
        raise ModelError(f"{path}: recording from .onnx needs the onnx extra: pip install 'eie[onnx]'") from None
    options: Any = onnxruntime.SessionOptions()
    # Fatal only: what fails is raised anyway, and nobody here can mend what it warns of.
    options.log_severity_level = 4
    # What the file says, operator by operator: fusions would round differently.
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    try:
        # As bytes: the file itself does not have the outputs that were added.
        content = model.proto.SerializeToString()
        return onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
    except Exception as error:
        raise NoKernelError(f"{path}: onnxruntime cannot load it: {str(error).splitlines()[0][:200]}") from None
