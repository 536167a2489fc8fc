"""Recording with forward hooks on a ``torch.nn.Module``.

Comes in: a module and inputs. Goes out: a `Trace`. Layers are called as their modules are; `eie.record_torch`.
"""

from __future__ import annotations

import inspect
from collections import Counter
from collections.abc import Hashable, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from eie.errors import ModelError, TraceError
from eie.formats.arguments import shown, taken
from eie.model.fitting import Layout, checked_layout, moved
from eie.model.geometry import Conv2d, Conv3d, ConvTranspose2d
from eie.model.layer import Layer
from eie.model.samples import Samples
from eie.model.trace import Trace
from eie.model.uses import use_name
from eie.recording.attribution import Read, attributed
from eie.recording.feeds import Entrance, Feeds
from eie.recording.inputs import as_samples
from eie.recording.rows import Recorder
from eie.recording.torch_attention import attentions, projections, watched
from eie.recording.torch_recurrent import copied_state, recurrent_layers, recurrent_reads
from eie.recording.torch_work import unmodelled_modules

if TYPE_CHECKING:
    import torch

BATCH = 16


@taken
def record_torch(
    module: torch.nn.Module,
    inputs: ArrayLike | Mapping[str, ArrayLike] | Samples | Path,
    *,
    values: bool = False,
    layout: Layout | None = None,
    batch: int = BATCH,
    source: str = "",
    seed: int | None = None,
) -> Trace:
    """Run a module and record what its Linear, LSTM, GRU, (transposed) convolution and attention modules read.

    Parameters
    ----------
    module
        Is put into evaluation mode for the run, and back. Each of those modules must run; one that runs several times,
        or another with the same weights, is one layer with as many uses, ``fc``, ``fc#2`` and so on. The projections of
        a MultiheadAttention are layers: ``in_proj`` (or ``in_proj.q`` and so on, for each tensor) and ``out_proj``.
    inputs
        (samples, ...), a mapping of the arguments' names to such arrays, a file of `eie.read_samples`, or `Samples`.
        Whole numbers stay whole where the module has an embedding or several inputs, and are made float32 otherwise.
    values
        Whether values are kept beside the bits of non-zeros.
    layout
        ``"nhwc"`` where samples have their channels last: they are moved to the front, as torch's modules take them.
    batch
        Samples at a time.
    source, seed
        For the trace's header.

    Returns
    -------
    Trace
        What each of those modules read, by the module's name; their order is that of the run. Other modules with
        matrices, and products outside of modules, are its ``unmodelled``.

    Raises
    ------
    TraceError
        If the module has none of those, one does not run or not as often for all samples, or is one the lowering does
        not know.
    """
    try:
        from torch.utils.flop_counter import FlopCounterMode
    except ImportError:
        raise ModelError("record_torch needs the torch extra: pip install 'eie[torch]'") from None
    if batch < 1:
        raise TraceError(f"batch={batch}: must be >= 1")
    from torch.nn import Module

    if not isinstance(module, Module):
        raise ModelError(f"module={shown(module)}: must be a torch.nn.Module; eie.record takes models of other kinds")
    samples = as_samples(inputs)
    layout, recorder = checked_layout(layout), Recorder(values=values)
    hooks = _Hooks(module)
    if not hooks.names and not attentions(module):
        raise TraceError(f"{type(module).__name__}: has no Linear, LSTM, GRU or convolution module")
    feeds = _feeds(module, samples)
    runner = _Runner(module=module, hooks=hooks, feeds=feeds, layout=layout)
    # Part by part: a module may be trained with some of its layers frozen, and goes back as it was.
    trained = [part for part in module.modules() if part.training]
    # Dropout draws, and batch norm learns, in training mode: neither belongs into a trace.
    module.eval()
    counts: Mapping[str, Mapping[Any, int]] = {}
    first = 0
    try:
        taken = attributed(runner, feeds, size=min(batch, samples.count), fixed=False)
        for part, kept in feeds.batches(taken.size, fill=True):
            # Counted once: all batches do the same work.
            counter = FlopCounterMode(display=False) if not counts else nullcontext()
            with counter:
                reads = taken.run(part)
            for use, layer, read, places in zip(hooks.order, hooks.layers, reads, taken.places, strict=True):
                recorder.add(
                    layer,
                    taken.size,
                    read.x,
                    hidden=read.hidden,
                    first=read.first,
                    kept=kept,
                    places=places,
                    use=use,
                )
            if isinstance(counter, FlopCounterMode):
                counts, first = counter.get_flop_counts(), recorder.multiplications()
    finally:
        hooks.remove()
        for part_of in trained:
            part_of.training = True
    words = source or f"{type(module).__name__} on {samples.source}, torch hooks"
    return Trace(
        layers=recorder.layers(),
        labels=samples.labels,
        source="; ".join(filter(None, (words, taken.said))),
        preprocessing=samples.preprocessing,
        seed=seed,
        unmodelled=unmodelled_modules(module, hooks.names, counts=counts, own=first, attentions=hooks.projections),
        input_shapes=_input_shapes(module, feeds, layout),
    )


def _feeds(module: torch.nn.Module, samples: Samples) -> Feeds:
    """Give each argument its array; a lone one has no name, and is the first."""
    import torch

    # Whole numbers are ids where something looks them up, or where whoever names the arguments says so.
    ids = len(samples.arrays) > 1 or any(
        isinstance(part, torch.nn.Embedding | torch.nn.EmbeddingBag) for part in module.modules()
    )
    entrances = []
    for name, array in samples.arrays.items():
        kind = array[:1].dtype
        whole = {"i": np.dtype(np.int64), "u": np.dtype(np.int64), "b": kind}.get(kind.kind) if ids else None
        entrances.append(Entrance(name=name, shape=None, kind=whole or np.float32))
    return Feeds.of(samples, entrances, layout=None, where=type(module).__name__)


def _input_shapes(module: torch.nn.Module, feeds: Feeds, layout: Layout | None) -> dict[str, tuple[int, ...]]:
    arguments = list(inspect.signature(module.forward).parameters)
    shapes = {name: moved(np.broadcast_to(0, (1, *shape)), layout).shape[1:] for name, shape in feeds.shapes().items()}
    return {name or (arguments[0] if arguments else "input"): shape for name, shape in shapes.items()}


@dataclass(frozen=True, eq=False, kw_only=True)
class _Runner:
    """A module under hooks, and what its layers read of a batch."""

    module: torch.nn.Module
    hooks: _Hooks
    feeds: Feeds
    layout: Layout | None

    @property
    def names(self) -> list[str]:
        """Layers in the order in which they ran last: one list, since before the first run nobody knows it."""
        return self.hooks.order

    def axes(self) -> Mapping[str, int]:
        """Take the batch to be in front."""
        return {entrance.name: 0 for entrance in self.feeds.entrances}

    def turned(self) -> Mapping[str, int] | None:
        """Return the axes with time before the batch; None where no array has an axis for it."""
        shapes = self.feeds.shapes()
        return (
            {name: 1 if len(shape) > 1 else 0 for name, shape in shapes.items()}
            if max(map(len, shapes.values())) > 1
            else None
        )

    def run(self, batch: Mapping[str, NDArray[Any]], axes: Mapping[str, int]) -> Sequence[Read]:
        """Return what each layer reads of samples (N, ...).

        Raises
        ------
        TraceError
            If torch refuses them, or a layer does not run.
        """
        import torch

        # For each batch anew: one that does not run is no layer.
        before = dict(self.hooks.runs)
        self.hooks.clear()
        fed = {
            name: torch.from_numpy(np.ascontiguousarray(np.moveaxis(moved(values, self.layout), 0, axes[name])))
            for name, values in batch.items()
        }
        try:
            with torch.no_grad(), watched(self.module, self.hooks.projected):
                # Names are keywords; what has none comes first.
                self.module(*(fed[name] for name in fed if not name), **{name: fed[name] for name in fed if name})
        except (RuntimeError, IndexError, TypeError) as error:
            what = ", ".join(f"{name or 'input'} {tuple(value.shape)} {value.dtype}" for name, value in fed.items())
            said = (str(error).splitlines() or [type(error).__name__])[0][:200]
            raise TraceError(f"{type(self.module).__name__}: cannot run on {what}: {said}") from None
        idle = [name for name in self.hooks.names if name not in self.hooks.ran]
        if idle:
            way = "eie.from_torch(module, example_inputs) reads what functions do with them"
            raise TraceError(f"{type(self.module).__name__}: {', '.join(idle)} did not run as modules; {way}")
        for name, many in before.items():
            if many != self.hooks.runs[name]:
                raise TraceError(
                    f"module {name!r} runs {many} times for some samples, {self.hooks.runs[name]} for others: "
                    "record those apart"
                )
        return self.hooks.reads


class _Hooks:
    """Forward hooks on every weight module; a module's input is copied before it runs, since ReLU may be in place."""

    def __init__(self, module: torch.nn.Module) -> None:
        import torch

        nn = torch.nn
        maps = (nn.Conv1d, nn.Conv2d, nn.Conv3d, nn.ConvTranspose1d, nn.ConvTranspose2d)
        kinds = (nn.Linear, *maps, nn.LSTM, nn.GRU)
        self.names: list[str] = []
        self.ran: set[str] = set()
        self.layers: list[Layer] = []
        self.order: list[str] = []
        self.reads: list[Read] = []
        # By layer: modules that share their parameters are one.
        self.runs: Counter[str] = Counter()
        self._handles: list[Any] = []
        self._seen: dict[str, Any] = {}
        self._owners: dict[Hashable, list[Layer]] = {}
        # Multiplications of the projections inside of an attention, by its name.
        self.projections: Counter[str] = Counter()
        inner = projections(module)
        for name, part in module.named_modules():
            if isinstance(part, kinds) and id(part) not in inner:
                # A bare module has no name inside itself.
                self.names.append(name or type(part).__name__.lower())
                self._watch(self.names[-1], part)

    def clear(self) -> None:
        """Forget the run before."""
        self.ran.clear()
        self.runs.clear()
        self.projections.clear()
        self.order.clear()
        self.layers, self.reads = [], []

    def projected(self, name: str, owner: str, weight: torch.Tensor, x: torch.Tensor) -> None:
        """Take what a projection of an attention reads."""
        rows = x.detach().reshape(-1, x.shape[-1]).clone()
        self.projections[owner] += len(rows) * weight.numel()
        (layer,) = self._owners.setdefault((weight.data_ptr(), weight.shape), [_projection(name, weight)])
        self._add(layer, Read(rows.numpy()))

    def remove(self) -> None:
        """Take all hooks off."""
        for handle in self._handles:
            handle.remove()

    def _add(self, layer: Layer, read: Read) -> None:
        self.layers.append(layer)
        self.runs[layer.name] += 1
        self.order.append(use_name(layer.name, self.runs[layer.name]))
        self.reads.append(read)

    def _watch(self, name: str, module: Any) -> None:
        import torch

        recurrent = isinstance(module, torch.nn.LSTM | torch.nn.GRU)
        layers = recurrent_layers(name, module) if recurrent else [_layer(name, module)]
        # By the matrix and what it is lowered to: what is added behind it is the use's own. In a recurrence it is not.
        shared = module.parameters(recurse=False) if recurrent else [module.weight]
        layers = self._owners.setdefault((*map(id, shared), *(layer.geometry for layer in layers)), layers)

        def before(_: Any, inputs: tuple[Any, ...], named: Mapping[str, Any]) -> None:
            # Either may come by its keyword.
            x, *state = *inputs, *(named[key] for key in ("input", "hx") if key in named)
            self.ran.add(name)
            if isinstance(x, torch.nn.utils.rnn.PackedSequence):
                way = "eie.from_torch(module, example_inputs) runs it step by step"
                raise TraceError(f"module {name!r}: reads a packed sequence, whose rows are no samples: {way}")
            self._seen[name] = x.detach().clone(), copied_state(state[0]) if recurrent and state else None

        def after(_: Any, __: Any, outputs: Any) -> None:
            x, state = self._seen.pop(name)
            if recurrent:
                reads = recurrent_reads(module, x=x, state=state, made=outputs[0])
            else:
                # Vectors lie along the last axis; of maps and sequences the first axis is the batch.
                reads = [Read((x.reshape(-1, x.shape[-1]) if layers[0].geometry.takes_vectors else x).numpy())]
            for layer, read in zip(layers, reads, strict=True):
                self._add(layer, read)

        self._handles += [
            module.register_forward_pre_hook(before, with_kwargs=True),
            module.register_forward_hook(after),
        ]


def _projection(name: str, weight: torch.Tensor) -> Layer:
    return Layer.from_weights(name, weight.detach().numpy())


def _layer(name: str, module: Any) -> Layer:
    """Lower a Linear or a convolution; only its shape matters here."""
    # Shape and zeros: the trace says what a layer reads, not what it weighs.
    weights = module.weight.detach().numpy()
    if weights.ndim == 2:
        return Layer.from_weights(name, weights)
    # Other borders would be inputs that im2col does not make.
    if module.padding_mode != "zeros" or isinstance(module.padding, str):
        raise TraceError(f"module {name!r}: padding {module.padding!r} {module.padding_mode}: must be numbers of zeros")
    if module.transposed:
        return _transposed(name, module)
    if weights.ndim == 5:
        geometry = Conv3d(
            in_channels=module.in_channels,
            out_channels=module.out_channels,
            kernel=module.kernel_size,
            stride=module.stride,
            pads=(*module.padding, *module.padding),
            dilation=module.dilation,
            groups=module.groups,
        )
        return Layer.of_geometry(name=name, weights=weights, geometry=geometry)
    weights = weights[:, :, None] if weights.ndim == 3 else weights
    pad = _pair(module.padding, 0)
    conv = Conv2d(
        in_channels=module.in_channels,
        out_channels=module.out_channels,
        kernel=_pair(module.kernel_size, 1),
        stride=_pair(module.stride, 1),
        pads=(*pad, *pad),
        dilation=_pair(module.dilation, 1),
        groups=module.groups,
    )
    return Layer.from_conv(name=name, weights=weights, bias=None, conv=conv)


def _pair(value: tuple[int, ...], missing: int) -> tuple[int, int]:
    """Height and width of a module's setting: a 1-D convolution is one over maps of height 1."""
    return (missing, value[0]) if len(value) == 1 else (value[0], value[1])


def _transposed(name: str, module: Any) -> Layer:
    pad = _pair(module.padding, 0)
    geometry = ConvTranspose2d(
        in_channels=module.in_channels,
        out_channels=module.out_channels,
        kernel=_pair(module.kernel_size, 1),
        stride=_pair(module.stride, 1),
        pads=(*pad, *pad),
        output_padding=_pair(module.output_padding, 0),
        dilation=_pair(module.dilation, 1),
        groups=module.groups,
    )
    return Layer.of_geometry(name=name, weights=np.ones(geometry.weight_shape), geometry=geometry)
