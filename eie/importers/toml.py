"""``.toml`` models: layers that point at weight files, or that give shapes and densities to be drawn at random.

::

    name = "lenet-5"
    weights = "lenet-5.npz"              # beside this file
    trace = "../traces/lenet-5.npz"      # recorded inputs, of the layers or of the network ("input")
    input = [1, 28, 28]                  # shape of one sample: the layers form a chain, each feeding the next

    [[layer]]
    name = "conv1"
    kind = "conv"                        # "linear" by default, or "lstm"
    weights = "W0"                       # array in the weight file; or codes = ..., codebook = ...
    bias = "b0"
    relu = true
    pool = "max2"                        # behind the ReLU: max or average, window, perhaps stride as in "max3s2"

    [[layer]]
    name = "ip1"                         # maps are flattened before a fully connected layer
    weights = "W2"
    bias = "b2"
    order = "in,out"                     # how weights are stored; "out,in" by default
    relu = true

Convolutions have ``kernel``, ``stride``, ``pads``, ``dilation`` (a number, or a list: rows and columns; pads top, left,
bottom, right) and ``groups``; their weights are (out, in / groups, kh, kw). LSTMs have ``weights`` (4 hidden, input),
``hidden_weights`` (4 hidden, hidden), gates in the order input, forget, cell, output, and ``reverse``.

Without ``input``, layers with ``sequential = true`` at the top form a chain of vectors; else each runs on inputs of
its own. They share the chip all the same, unless ``alternatives = true`` says that they are no network: each has it to
itself. ``residency = "ideal"`` (or ``"auto"``) states what the spec's field is to be where the caller does not.

Without weights a layer is synthetic, and labelled so in every report::

    [[layer]]
    name = "Alex-6"
    inputs = 9216                        # channels of a convolution, input size of an LSTM
    outputs = 4096                       # channels of a convolution, hidden size of an LSTM
    weight_density = 0.09
    activation_density = 0.351           # with it height and width of a convolution's input, steps of an LSTM
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from pydantic import ValidationError

from eie.errors import ModelError
from eie.formats.budget import Room
from eie.formats.fields import LARGEST_SIDE
from eie.formats.files import Arrays, file_sha256, read_toml
from eie.importers.roles.prefixes import without_wrappers
from eie.importers.state_dict import Weights, read_all
from eie.importers.synthetic import afford_draw, draw_layer, draw_map, draw_sequence, draw_vector
from eie.importers.toml_fields import ONLY_FOR, LayerEntry, ModelFile, Size
from eie.model.geometry import Conv2d, Geometry, Linear, Lstm
from eie.model.graph import Graph
from eie.model.layer import Layer
from eie.model.layer_trace import LayerTrace
from eie.model.network import Network
from eie.model.trace import Trace
from eie.spec import complaint

# Of what is drawn: a slip in a density or size must not take the machine's memory.
LARGEST_DRAW = 1 << 28
LARGEST_PATTERN = 1 << 33


def read(path: Path, mask: Path | None = None, density: float | None = None) -> Network:
    """Read a network from ``path``; relative names are looked up in its folder, ``mask`` prunes its weight file.

    Layers that are drawn and state no density have ``density``.

    Raises
    ------
    ModelError
        Everything that is wrong with the file, a line each.
    """
    values = read_toml(path, ModelError)
    try:
        model = ModelFile(**values)
    except ValidationError as error:
        known = [*ModelFile.model_fields, *LayerEntry.model_fields]
        raise ModelError("\n".join(complaint(item, str(path), known) for item in error.errors())) from None
    if density is not None and not any(_takes_density(entry) for entry in model.layer):
        raise ModelError(
            f"{path}: density={density:g}: no layer takes it, each has weights or a weight_density of its own: leave "
            "it out, or prune (eie compress)"
        )
    weights = _weight_file(path, model, mask)
    layers, drawn = [], {}
    room = Room(path, ModelError, what="asks for drawn layers of")
    for i, entry in enumerate(model.layer):
        try:
            _check_belongs(entry, chained=model.input is not None)
            if entry.weights or entry.codes:
                layers.append(_stored(entry, weights))
            else:
                # A stream for each layer: a layer's draw does not change with those above it.
                rng = np.random.default_rng([model.seed, i])
                layers.append(_synthetic(entry, rng, density, room=room))
                if entry.activation_density is not None and model.input is None:
                    drawn[entry.name] = _synthetic_inputs(
                        entry=entry, layer=layers[-1], density=entry.activation_density, rng=rng, room=room
                    )
        except ModelError as error:
            # Some errors name the layer themselves, once is enough.
            own = f"layer {entry.name!r}: "
            raise ModelError(f"{path}: {own}{str(error).removeprefix(own)}") from None
    trace = None
    if model.trace is not None:
        trace = Trace.load(path.parent / model.trace)
    elif drawn:
        trace = Trace(layers=drawn, source=f"synthetic activations, seed {model.seed}", synthetic=True)
    graph = None if model.input is None else _chain(path=path, shape=model.input, entries=model.layer, layers=layers)
    sequential = model.sequential and graph is None
    if model.alternatives and (sequential or graph is not None):
        raise ModelError(f"{path}: alternatives=true: layers that feed each other are a network: leave one of them out")
    return Network(
        name=model.name or path.stem,
        layers=tuple(layers),
        sequential=sequential,
        trace=trace,
        source=path.name,
        notes=weights.notes,
        graph=graph,
        # Shapes and weights are several files, and a change of any makes a trace foreign.
        sha256=file_sha256(path, *weights.files),
        alternatives=model.alternatives,
        residency=model.residency,
    )


def _takes_density(entry: LayerEntry) -> bool:
    return entry.weights is None and entry.codes is None and entry.weight_density is None


def _check_belongs(entry: LayerEntry, *, chained: bool) -> None:
    """Refuse fields that would be ignored."""
    # By what the file sets, not by value: a stride of 1 that was written down is a misunderstanding too.
    for kind, names in ONLY_FOR.items():
        stray = sorted(entry.model_fields_set.intersection(names)) if entry.kind != kind else []
        if stray:
            raise ModelError(f"{', '.join(stray)}: only a layer of kind = {kind!r} has that")
    if entry.kind == "lstm" and (entry.relu or entry.codes is not None):
        raise ModelError("an LSTM has no relu and no codes")
    if entry.pool is not None and not chained:
        raise ModelError("pool needs the shape of the network's input: set input = [...] at the top")


def _chain(path: Path, shape: list[int], entries: list[LayerEntry], layers: list[Layer]) -> Graph:
    """String the layers up, with pools behind them and a flattening where maps meet a fully connected layer."""
    steps: list[tuple[str, str | dict[str, Any]]] = []
    # More than one dimension: what a fully connected layer takes only flattened.
    maps = len(shape) > 1
    for entry, layer in zip(entries, layers, strict=True):
        if maps and layer.geometry.takes_vectors:
            steps.append(("flatten", {}))
        steps.append(("layer", layer.name))
        maps = layer.geometry.takes_maps
        if entry.pool is not None:
            steps.append(_pool(f"{path}: layer {entry.name!r}", entry.pool))
    return Graph.sequence("input", shape, steps)


def _pool(where: str, text: str) -> tuple[str, dict[str, Any]]:
    match = re.fullmatch(r"(max|average)([1-9][0-9]{0,4})(?:s([1-9][0-9]{0,4}))?", text)
    if match is None:
        raise ModelError(
            f"{where}: pool={text[:40]!r}: must be max or average, a window and perhaps a stride, as in max3s2"
        )
    # The words before the window are the operators' names without their common ending.
    size, stride = int(match[2]), int(match[3] or match[2])
    return f"{match[1]}_pool", {"kernel": (size, size), "stride": (stride, stride)}


def _weight_file(path: Path, model: ModelFile, mask: Path | None) -> Weights:
    if model.weights is not None:
        return read_all(path.parent / model.weights, mask)
    if mask is not None:
        raise ModelError(f"{path}: names no weight file that a mask could prune")
    return Weights(arrays={}, notes=())


@dataclass(frozen=True)
class _Named:
    """The arrays that one layer's entry names in the weight file."""

    entry: LayerEntry
    arrays: Arrays

    def name(self, key: str | bool) -> str:
        """Return the name under which the file has an array."""
        if not isinstance(key, str):
            raise ModelError(f"bias={key}: must name an array in the weight file")
        # Written down when names still had the wrapper that reading takes off.
        known = next((form for form in without_wrappers(key) if form in self.arrays), None)
        if known is None:
            listed = ", ".join(self.arrays) or "nothing; set weights = FILE at the top"
            raise ModelError(f"no array {key!r} in its weight file (it holds {listed})")
        return known

    def array(self, key: str | bool | None) -> Any:
        """Return an array by its name; None where the entry names none."""
        return None if key is None else self.arrays[self.name(key)]

    def matrix(self, key: str | None) -> Any:
        """Return a matrix as (outputs, inputs), whichever way round the file has it."""
        stored = self.array(key)
        return stored.T if self.entry.order == "in,out" else stored


def _stored(entry: LayerEntry, weights: Weights) -> Layer:
    named = _Named(entry, weights.arrays)
    # A bias that is not there is said before what is wrong with the weights.
    bias = named.array(entry.bias)
    if entry.kind == "lstm":
        layer = _lstm(named, bias)
    elif entry.codes is not None and entry.codebook is None:
        raise ModelError("codes need a codebook")
    elif entry.kind == "conv":
        layer = _convolution(named, bias)
    elif entry.codes is not None:
        codes, table = named.matrix(entry.codes), named.array(entry.codebook)
        layer = Layer.from_codes(
            name=entry.name, codes=codes, codebook=table, bias_codes=named.array(entry.bias_codes), relu=entry.relu
        )
    else:
        layer = Layer.from_weights(entry.name, named.matrix(entry.weights), bias, relu=entry.relu)
    _check_stated(entry, layer)
    # An LSTM is two arrays, which may differ: it has no width of its own.
    if entry.weights is None or entry.kind == "lstm":
        return layer
    return replace(layer, stored_bits=weights.stored_bits.get(named.name(entry.weights)))


def _lstm(named: _Named, bias: Any) -> Layer:
    entry = named.entry
    if entry.hidden_weights is None:
        raise ModelError("an LSTM needs weights and hidden_weights")
    return Layer.from_lstm(
        name=entry.name,
        input_weights=named.matrix(entry.weights),
        hidden_weights=named.matrix(entry.hidden_weights),
        bias=bias,
        reverse=entry.reverse,
    )


def _convolution(named: _Named, bias: Any) -> Layer:
    entry = named.entry
    kernel = named.array(entry.weights or entry.codes)
    if kernel.ndim != 4:
        raise ModelError(f"a convolution's weights have shape {kernel.shape}: must be (out, in / groups, kh, kw)")
    conv = _conv(
        entry=entry,
        in_channels=kernel.shape[1] * entry.groups,  # a group's filters see its own channels only
        out_channels=kernel.shape[0],
        kernel=list(kernel.shape[2:]),
    )
    if entry.codes is None:
        return Layer.from_conv(name=entry.name, weights=kernel, bias=bias, conv=conv, relu=entry.relu)
    table, bias = named.array(entry.codebook), named.array(entry.bias_codes)
    return Layer.from_conv(name=entry.name, weights=kernel, bias=bias, conv=conv, codebook=table, relu=entry.relu)


def _check_stated(entry: LayerEntry, layer: Layer) -> None:
    outputs, inputs = layer.geometry.channels
    for what, stated, size in (("inputs", entry.inputs, inputs), ("outputs", entry.outputs, outputs)):
        if stated is not None and stated != size:
            raise ModelError(f"{what}={stated}, but its weights have {size}")


def _conv(entry: LayerEntry, in_channels: int, out_channels: int, kernel: list[int]) -> Conv2d:
    stated = None if entry.kernel is None else _sizes("kernel", entry.kernel, 2)
    if stated is not None and stated != tuple(kernel):
        raise ModelError(f"kernel={entry.kernel}, but its weights have {tuple(kernel)}")
    height, width = kernel
    rows, columns = _sizes("stride", entry.stride, 2)
    top, left, bottom, right = _sizes("pads", entry.pads, 4)
    down, across = _sizes("dilation", entry.dilation, 2)
    return Conv2d(
        in_channels=in_channels,
        out_channels=out_channels,
        kernel=(height, width),
        stride=(rows, columns),
        pads=(top, left, bottom, right),
        dilation=(down, across),
        groups=entry.groups,
    )


def _sizes(what: str, value: Size, count: int) -> tuple[int, ...]:
    sizes = (value,) * count if isinstance(value, int) else tuple(value)
    if len(sizes) != count:
        raise ModelError(f"{what}={value}: must be a number or {count} of them")
    return sizes


def _synthetic(entry: LayerEntry, rng: np.random.Generator, density: float | None, *, room: Room) -> Layer:
    density = density if entry.weight_density is None else entry.weight_density
    if entry.inputs is None or entry.outputs is None or density is None:
        raise ModelError("must name weights (or codes), or give inputs, outputs and weight_density (or --density)")
    geometry: Geometry = Linear(inputs=entry.inputs, outputs=entry.outputs)
    if entry.kind == "conv":
        if entry.kernel is None:
            raise ModelError("a convolution without weights needs a kernel")
        geometry = _conv(
            entry=entry,
            in_channels=entry.inputs,
            out_channels=entry.outputs,
            kernel=list(_sizes("kernel", entry.kernel, 2)),
        )
    elif entry.kind == "lstm":
        geometry = Lstm(entry.inputs, entry.outputs, entry.reverse)
    shape = geometry.dense_shape
    expected = int(shape[0] * shape[1] * density)
    if max(*shape, geometry.matrix_shape[1]) > LARGEST_SIDE:
        raise ModelError(f"{shape[0]:,} x {shape[1]:,} weights: at most {LARGEST_SIDE:,} a side")
    if expected > LARGEST_DRAW:
        raise ModelError(f"{expected:,} random weights: at most {LARGEST_DRAW:,} are drawn")
    afford_draw(room, expected)
    # A pointer a column, and its count while they are made.
    room.take(8 * geometry.matrix_shape[1], briefly=8 * geometry.matrix_shape[1])
    return draw_layer(
        name=entry.name,
        shape=shape,
        density=density,
        rng=rng,
        bias=bool(entry.bias),
        relu=entry.relu,
        geometry=geometry,
    )


def _synthetic_inputs(
    *, entry: LayerEntry, layer: Layer, density: float, rng: np.random.Generator, room: Room
) -> LayerTrace:
    geometry = layer.geometry
    if geometry.takes_maps:
        if entry.height is None or entry.width is None:
            raise ModelError("activation_density of a convolution needs height and width of its input")
        products = geometry.products(entry.height, entry.width)
        _check_pattern(max(products * layer.inputs, geometry.channels[1] * entry.height * entry.width), room)
        return draw_map(geometry=geometry, height=entry.height, width=entry.width, density=density, rng=rng)
    if geometry.recurrence is not None:
        if entry.steps is None:
            raise ModelError("activation_density of an LSTM needs steps")
        _check_pattern(entry.steps * layer.inputs, room)
        return draw_sequence(geometry=geometry, steps=entry.steps, density=density, rng=rng)
    return draw_vector(layer.inputs, density, rng)


def _check_pattern(size: int, room: Room) -> None:
    if size > LARGEST_PATTERN:
        raise ModelError(f"{size:,} random activations: at most {LARGEST_PATTERN:,} are drawn")
    # A bit each, and once more while its pieces are joined.
    room.take(size // 8, briefly=size // 8)
