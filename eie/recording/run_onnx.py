"""Recording with onnxruntime: the inputs of every weight layer are added to the graph's outputs.

Comes in: an ``.onnx`` file and `Samples`. Goes out: layer traces. Called by `record`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from eie.errors import ModelError, TraceError
from eie.importers.onnx.builder import Tap
from eie.importers.onnx.graph_inputs import OnnxInput
from eie.importers.onnx.reader import OnnxModel, read_onnx
from eie.importers.onnx.tensors import embed_external
from eie.importers.options import FedShapes, InputShape
from eie.model.fitting import Layout
from eie.model.host import open_session, run_stoppably
from eie.model.layer import Layer
from eie.model.samples import Samples
from eie.model.uses import numbered
from eie.recording.attribution import Read, attributed
from eie.recording.feeds import Entrance, Feeds
from eie.recording.rows import Ran, Recorder

if TYPE_CHECKING:
    import onnxruntime


class NoKernelError(ModelError):
    """onnxruntime has no kernel for something in the file, as for most of bfloat16; nothing was recorded."""


def run_onnx(
    path: Path,
    samples: Samples,
    batch: int,
    recorder: Recorder,
    *,
    layout: Layout | None = None,
    input_shape: InputShape | None = None,
) -> Ran:
    """Record all samples.

    Parameters
    ----------
    batch
        Samples at a time; a file whose batch is fixed takes as many as it says.
    input_shape
        Of one sample, where it is stated.

    Raises
    ------
    NoKernelError
        If onnxruntime cannot load the file.
    ModelError
        If the file cannot be read or run.
    TraceError
        If the samples do not fit its inputs, or a batch is mixed.
    """
    # Recording needs layers and taps, not the graph: what is not supported here still runs in onnxruntime.
    model = read_onnx(path, "skip", input_shape)
    feeds, stated = feeds_of(model, samples, layout=layout, where=str(path)), model.inputs
    shapes = feeds.shapes()
    # Open sizes are those of the first sample; reading once more makes shapes, and so the layers behind, known.
    if any(entry.sizes is None for entry in model.inputs):
        model = read_onnx(path, "skip", shapes)
    if input_shape is None and not _is_whole(model):
        # Perhaps it is once it is known how much a run takes.
        fed = read_onnx(path, "skip", FedShapes.of(samples, layout))
        if _is_whole(fed):
            model, feeds, stated = fed, feeds_of(fed, samples, layout=layout, where=str(path)), fed.inputs
            shapes = feeds.shapes()
    hidden = _with_outputs(path, model)
    runner = _Runner(path=path, model=model, stated=stated, hidden=hidden, session=_session(path, model))
    # All of an input without a batch is a sample, so that samples run one at a time.
    states = [entry.shape[entry.batch] if entry.batch >= 0 else 1 for entry in stated if entry.shape]
    sizes = sorted({size for size in states if size is not None})
    if len(sizes) > 1:
        raise TraceError(f"{path}: its inputs have batches of {' and '.join(map(str, sizes))}: export it with one")
    fixed = sizes[0] if sizes else None
    size = fixed or min(batch, samples.count)
    taken = attributed(runner, feeds, size=size, fixed=fixed is not None)
    for values, kept in feeds.batches(taken.size, fill=True):
        read = zip(runner.names, model.taps, taken.run(values), taken.places, strict=True)
        for use, tap, tensors, places in read:
            recorder.add(
                runner.layers[tap.layer],
                taken.size,
                tensors.x,
                hidden=tensors.hidden,
                first=tensors.first,
                kept=kept,
                places=places,
                use=use,
            )
    return Ran(shapes=shapes, said=taken.said)


def _is_whole(model: OnnxModel) -> bool:
    return model.network.graph is not None and not model.network.unmodelled


def feeds_of(model: OnnxModel, samples: Samples, *, layout: Layout | None, where: str) -> Feeds:
    """Give each input of a file its array of the samples."""
    from onnx import helper

    entrances = []
    kinds = {entry.name: entry.type.tensor_type.elem_type for entry in model.proto.graph.input}
    for entry in model.inputs:
        try:
            kind = helper.tensor_dtype_to_np_dtype(kinds[entry.name])
        except KeyError:
            kind = np.dtype(object)
        # NumPy's arrays have no such type, so that onnxruntime could not be fed even where it has kernels.
        if kind.name == "bfloat16":
            raise NoKernelError(
                f"{where}: input {entry.name!r} is bfloat16, which onnxruntime cannot be fed from Python"
            )
        if kind.kind not in "fiub":
            raise TraceError(
                f"{where}: input {entry.name!r} is of element type {kinds[entry.name]}, which cannot be fed"
            )
        entrances.append(Entrance(name=entry.name, shape=_wanted(entry), kind=kind))
    return Feeds.of(samples, entrances, layout=layout, where=where)


def _wanted(entry: OnnxInput) -> tuple[int, ...] | None:
    """Return the shape of one sample, -1 where the file leaves it open; None if it states none at all."""
    if not entry.shape:
        return None
    return tuple(-1 if size is None else size for i, size in enumerate(entry.shape) if i != entry.batch)


@dataclass(frozen=True, eq=False, kw_only=True)
class _Runner:
    """A file in onnxruntime, and what its layers read of a batch."""

    path: Path
    model: OnnxModel
    # Inputs as the file has them, with its open sizes.
    stated: Sequence[OnnxInput]
    hidden: Mapping[int, str]
    session: onnxruntime.InferenceSession

    @cached_property
    def layers(self) -> Mapping[str, Layer]:
        """Layers by name."""
        return {layer.name: layer for layer in self.model.network.layers}

    @property
    def names(self) -> list[str]:
        """The use of a layer that each tap is at: taps are in the order of the nodes, and so of the uses."""
        return numbered(tap.layer for tap in self.model.taps)

    def turned(self) -> Mapping[str, int] | None:
        """Return the batch axes with time before the batch, where the file leaves that open; None if it does not."""
        axes = {
            entry.name: 1
            if len(entry.shape) > 2 and entry.batch == 0 and entry.shape[:2] == (None, None)
            else entry.batch
            for entry in self.stated
        }
        return None if axes == self.axes() else axes

    def axes(self) -> Mapping[str, int]:
        """Return where each input is taken to have the batch."""
        return {entry.name: entry.batch for entry in self.stated}

    def run(self, batch: Mapping[str, NDArray[Any]], axes: Mapping[str, int]) -> list[Read]:
        """Return what each tap reads of samples (N, ...)."""
        fed = {
            name: values[0] if axes[name] < 0 else np.moveaxis(values, 0, axes[name]) for name, values in batch.items()
        }
        # Each once: layers can share an input, and an LSTM's two directions do.
        begins = [_begin(self.model, tap) or "" for tap in self.model.taps if tap.node in self.hidden]
        wanted = dict.fromkeys((*(tap.tensor for tap in self.model.taps), *self.hidden.values(), *begins))
        # A graph input is no output of a node; it is fed and so known.
        asked = [name for name in wanted if name and name not in fed]
        try:
            results = run_stoppably(self.session, asked, fed) if asked else []
        # onnxruntime's exceptions share no base class but Exception.
        except Exception as error:
            raise ModelError(f"{self.path}: onnxruntime cannot run it: {str(error).splitlines()[0][:200]}") from None
        tensors = {**dict(zip(asked, results, strict=True)), **fed}
        return [self._read(tap, tensors) for tap in self.model.taps]

    def _read(self, tap: Tap, tensors: Mapping[str, NDArray[Any]]) -> Read:
        # The layer's own batch axis, which need not be the input's.
        x, states, first = np.asarray(tap.read(tensors[tap.tensor]), np.float32), None, None
        if tap.node in self.hidden:
            y = tensors[self.hidden[tap.node]]
            # Y is (time, directions, batch, hidden), or (batch, time, directions, hidden) with layout=1.
            states = (np.moveaxis(y, 2, 0) if tap.batch == 1 else y)[:, :, tap.direction]
            if (name := _begin(self.model, tap)) is not None:
                # (directions, batch, hidden), or the batch in front with layout=1.
                state = np.asarray(tensors[name], np.float32)
                first = state[tap.direction] if tap.batch == 1 else state[:, tap.direction]
        # Vectors lie along the last axis, whatever stands before it; of maps and sequences the first axis is the batch.
        vectors = self.layers[tap.layer].geometry.takes_vectors
        return Read(x=x.reshape(-1, x.shape[-1]) if vectors else x, hidden=states, first=first)


def _begin(model: OnnxModel, tap: Tap) -> str | None:
    """Return the name of the state that a recurrent node begins from; None for a constant, which is zeros."""
    name = next(iter(model.proto.graph.node[tap.node].input[5:6]), "")
    constant = any(tensor.name == name for tensor in model.proto.graph.initializer)
    return None if constant or not name else name


def _with_outputs(path: Path, model: OnnxModel) -> Mapping[int, str]:
    """Add the taps to the outputs of ``model.proto``; return the name of each LSTM's hidden states by its node."""
    from onnx import helper

    proto = model.proto
    # Here, where each path is checked: onnxruntime gets bytes and no folder, so it follows nothing.
    embed_external(proto, path)
    # Steps that a node was taken apart into share its name, by which their layer is called; a session wants none twice.
    often = Counter(node.name for node in proto.graph.node)
    for node in proto.graph.node:
        if often[node.name] > 1:
            node.ClearField("name")
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
    begins = [_begin(model, tap) or "" for tap in model.taps if tap.node in hidden]
    for name in dict.fromkeys((*(tap.tensor for tap in model.taps), *hidden.values(), *begins)):
        if name and name not in outputs:
            # Without type and shape: onnxruntime infers them, and a wrong one would be refused.
            proto.graph.output.append(helper.make_empty_tensor_value_info(name))
    return hidden


def _session(path: Path, model: OnnxModel) -> onnxruntime.InferenceSession:
    try:
        # The file itself does not have the outputs that were added.
        return open_session(model.proto.SerializeToString())
    except ImportError:
        raise ModelError(f"{path}: recording from .onnx needs the onnx extra: pip install 'eie[onnx]'") from None
    # onnxruntime's exceptions share no base class but Exception.
    except Exception as error:
        raise NoKernelError(f"{path}: onnxruntime cannot load it: {str(error).splitlines()[0][:200]}") from None
