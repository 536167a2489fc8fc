"""Activations in whatever form a caller has them, made ready for a run.

Comes in: an array, a mapping, `Samples`, a `Trace` or nothing, and the network's layers and dataflow; files have been
opened by `eie.recording.inputs`. Goes out: a frozen `Given`: either recorded inputs of every layer, or arrays for the
network's own inputs. Read by the run and by sweeps.
"""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from eie.errors import TraceError
from eie.formats.arguments import shown
from eie.model.arrays import is_sparse, plain
from eie.model.dataflow import Link
from eie.model.fitting import Layout, checked_layout, fits, fitted
from eie.model.graph import Graph
from eie.model.layer_trace import LayerTrace
from eie.model.matrix import frozen
from eie.model.samples import Samples
from eie.model.trace import Trace
from eie.model.uses import layer_of

Inputs = Trace | Samples | Mapping[str, ArrayLike] | ArrayLike | Path | None
# Fixed, and named in the source's words: two runs without activations give the same bytes.
SYNTHETIC_SEED = 0


@dataclass(frozen=True, eq=False, kw_only=True)
class Given(Samples):
    """Inputs of a run: samples of the network's own inputs, or what every layer read of them.

    Attributes
    ----------
    layers
        Recorded inputs of every layer; empty where the network runs from its own inputs. The arrays, float32
        (N, *shape) by the name of each of the dataflow's inputs, are empty where every layer has recorded ones.
    """

    layers: Mapping[str, LayerTrace] = field(default_factory=dict)

    @property
    def samples_in_all(self) -> int:
        """N, of arrays or of what layers read."""
        return self.count if self.arrays else next(iter(self.layers.values())).samples

    @property
    def sha256(self) -> str:
        """Of every mask, value and array: equal inputs have equal hashes."""
        digest = hashlib.sha256()
        for name, layer in self.layers.items():
            # Mask and values: these are of the non-zero inputs alone, and only the mask says where they belong.
            digest.update(f"{name} {layer.bits.shape} {layer.products}".encode())
            digest.update(np.ascontiguousarray(layer.bits).data)
            if layer.values is not None:
                digest.update(np.ascontiguousarray(layer.values).data)
        for name, array in self.loaded().items():
            # Whole numbers as they are: large ids that differ may be one float32.
            digest.update(f"{name} {array.shape}{'' if array.dtype == np.float32 else f' {array.dtype}'}".encode())
            digest.update(np.ascontiguousarray(array).data)
        return digest.hexdigest()


_UNLABELLED = Given()


def given_inputs(
    layers: Sequence[Link],
    dataflow: Graph | None,
    activations: Inputs,
    own: Trace | None = None,
    layout: Layout | None = None,
) -> Given:
    """Sort out ``activations``; None means the model's ``own`` trace, else one synthetic sample.

    Parameters
    ----------
    layout
        Of arrays: where their channels are, if that may differ from the network.

    Raises
    ------
    TraceError
        If they do not fit the network.
    """
    if checked_layout(layout) is not None and (activations is None or isinstance(activations, Trace)):
        raise TraceError(
            f"layout={layout!r}: is for arrays; a trace holds every layer's inputs in the layer's own order"
        )
    if activations is None:
        # What was recorded goes before what is drawn: random inputs are too even.
        activations = own if own is not None else _synthetic(layers, dataflow)
    # Of arrays alone nothing is known.
    about = activations if isinstance(activations, Trace | Samples) else _UNLABELLED
    words: dict[str, Any] = {"labels": about.labels, "source": about.source, "synthetic": about.synthetic}
    recorded = _recorded(layers=layers, dataflow=dataflow, activations=activations, layout=layout)
    names = [layer.name for layer in layers]
    uses = _uses({layer.name: layer for layer in layers}, dataflow, recorded)
    by_use = {use: _of_layer(layer, recorded.get(use)) for use, layer in uses.items()}
    kept = {name: rows for name, rows in by_use.items() if rows is not None}
    # All or nothing: with one use missing, the recorded rows of the others would contradict what they are fed.
    if len(kept) == len(by_use):
        return Given(layers=kept, arrays={}, **words)
    if dataflow is None:
        missing = ", ".join(name for name in by_use if name not in kept)
        raise TraceError(f"the layers do not feed each other, so each needs activations: none for {missing}")
    arrays = {
        name: _whole(entrance, recorded=recorded.get(name), first_layer=names[0])
        for name, entrance in _entrances(dataflow).items()
    }
    return Given(layers={}, arrays=arrays, **words)


def _uses(layers: Mapping[str, Link], dataflow: Graph | None, recorded: Collection[str]) -> dict[str, Link]:
    """Return the layer of each use that needs inputs, layer by layer."""
    stated = {} if dataflow is None else dataflow.uses_by_layer
    uses = {use: layer for name, layer in layers.items() for use in stated.get(name, (name,))}
    # Of layers without a graph only a recording knows how often they run.
    uses |= {use: layers[name] for use in recorded if (name := layer_of(use, layers)) is not None}
    return uses


def _recorded(
    *,
    layers: Sequence[Link],
    dataflow: Graph | None,
    activations: Inputs,
    layout: Layout | None,
) -> Mapping[str, LayerTrace | NDArray[Any]]:
    """Return by name rows of uses of layers, and arrays of the network's inputs in their shape."""
    entrances = _entrances(dataflow)
    arrays = [] if isinstance(activations, Trace) else _named(layers, entrances, activations)
    names = activations.layers if isinstance(activations, Trace) else [name for name, _, _ in arrays]
    # Refused and not passed over: a misspelt layer would run on other inputs without a word.
    own = [layer.name for layer in layers]
    known = dict.fromkeys([*entrances, *({} if dataflow is None else dataflow.uses), *own])
    # A chain, whose input is called like its first layer, is what somebody took the layers to be; a graph knows.
    counted = dataflow is not None and own[0] not in entrances
    if unknown := [name for name in names if name not in known and (counted or layer_of(name, own) is None)]:
        raise TraceError(f"trace names {', '.join(unknown)}: the network has {', '.join(known)}")
    if isinstance(activations, Trace):
        return activations.layers
    batched = isinstance(activations, Samples) and activations.batched
    return {
        name: _read(_Place.of(layers, entrances, name), array=array, where=where, layout=layout, batched=batched)
        for name, array, where in arrays
    }


def read_array(
    layers: Sequence[Link], dataflow: Graph | None, array: Any, *, source: str, layout: Layout | None = None
) -> Trace | Samples:
    """Label an array that is not yet said to be what: rows of the first layer, or samples of the network's input.

    Raises
    ------
    TraceError
        If it does not fit, or the network has several inputs.
    """
    entrances = _entrances(dataflow)
    place = _Place.of(layers, entrances, _only_entrance(layers, entrances))
    read = _read(place, array=array, where=source, layout=checked_layout(layout), batched=False)
    if isinstance(read, LayerTrace):
        return Trace(layers={place.name: read}, source=source)
    return Samples(arrays={place.name: read}, source=source)


@dataclass(frozen=True)
class _Entrance:
    """One of the network's inputs: the shape of a sample, and the type of its numbers."""

    name: str
    shape: tuple[int, ...]
    kind: np.dtype[Any]

    def cast(self, values: NDArray[Any], where: str) -> NDArray[Any]:
        """Return numbers in the input's type; floats that are whole pass for integers."""
        with np.errstate(invalid="ignore"):
            cast = frozen(values, self.kind)
        if self.kind != np.float32 and not np.array_equal(cast, values):
            raise TraceError(f"{where}: must be {self.kind} numbers, as the network's input {self.name!r} takes them")
        return cast


def _entrances(dataflow: Graph | None) -> dict[str, _Entrance]:
    if dataflow is None:
        return {}
    return {name: _Entrance(name, shape, dataflow.type_of(name)) for name, shape in dataflow.inputs}


@dataclass(frozen=True)
class _Place:
    """Where an array goes: a layer's rows of ``width``, the network's input, or, in a chain, either."""

    name: str
    width: int | None
    entrance: _Entrance | None

    @classmethod
    def of(cls, layers: Sequence[Link], entrances: Mapping[str, _Entrance], name: str) -> _Place:
        of = layer_of(name, {layer.name for layer in layers})
        width = next((layer.inputs for layer in layers if layer.name == of), None)
        return cls(name, width, entrances.get(name))


def _only_entrance(layers: Sequence[Link], entrances: Mapping[str, _Entrance]) -> str:
    if len(entrances) > 1:
        raise TraceError(f"the network has several inputs, {', '.join(entrances)}: give a mapping of name to array")
    return next(iter(entrances), layers[0].name)


def _named(layers: Sequence[Link], entrances: Mapping[str, _Entrance], activations: Any) -> list[tuple[str, Any, str]]:
    """Return each array with its name and with what errors call it."""
    if isinstance(activations, Samples):
        arrays = {name or _only_entrance(layers, entrances): array for name, array in activations.loaded().items()}
    # One of scipy's formats is a mapping too, of places to values.
    elif isinstance(activations, Mapping) and not is_sparse(activations):
        arrays = dict(activations)
        if other := [name for name in arrays if not isinstance(name, str)]:
            raise TraceError(f"activations are a mapping with the name {shown(other[0])}: names must be texts")
    else:
        # A bare array can only mean the one entrance; its name then goes the way of a mapping's.
        return [(_only_entrance(layers, entrances), activations, "activations")]
    return [(name, array, f"activations of {name}") for name, array in arrays.items()]


def _read(place: _Place, *, array: Any, where: str, layout: Layout | None, batched: bool) -> LayerTrace | NDArray[Any]:
    """Pack rows of a layer; bring the network's own input into its shape, (N, *shape)."""
    try:
        # Rows that are sparse are packed so; maps cannot be.
        values = array if is_sparse(array) and len(array.shape) == 2 else plain(array)
    except ValueError as error:
        raise TraceError(f"{where}: {error}") from None
    if place.entrance is None or _are_rows(place, values.shape, batched):
        if layout is not None:
            raise TraceError(
                f"layout={layout!r}: {where} has shape {values.shape}, which are rows of a layer, not maps"
            )
        return LayerTrace.from_dense(values, where)
    values = plain(values)
    # Floats, integers, booleans: complex numbers would lose their imaginary half in the cast below.
    if values.dtype.kind not in "fiub" or values.size == 0:
        raise TraceError(f"{where} has shape {values.shape} {values.dtype}: must be numbers, and some of them")
    # Cast first: what is finite in float64 may be infinite in float32.
    values = place.entrance.cast(values, where)
    if not np.isfinite(values).all():
        raise TraceError(f"{where} holds NaN or infinity: must be finite")
    shape = place.entrance.shape
    return fitted(values, shape, f"the network's input {place.name!r}", layout=layout, batched=batched)


def _are_rows(place: _Place, shape: tuple[int, ...], batched: bool) -> bool:
    if place.width is None or len(shape) > 2:
        return False
    # What fits neither as rows nor as the network's input is refused as rows, whose width says most.
    wanted = () if place.entrance is None else place.entrance.shape
    return shape[-1:] == (place.width,) or not fits(shape, wanted, batched=batched)


def _of_layer(layer: Link, recorded: LayerTrace | NDArray[Any] | None) -> LayerTrace | None:
    """Return recorded rows of a layer; maps and sequences are inputs of the network, not rows."""
    if not isinstance(recorded, LayerTrace):
        return None
    if recorded.width != layer.inputs:
        # A window's width says little to somebody who gave a map: the geometry adds what it wanted.
        problem = f"layer {layer.name!r} takes {layer.inputs} inputs, the activations have {recorded.width}"
        raise TraceError(problem + layer.geometry.width_hint)
    return recorded


def _whole(entrance: _Entrance, recorded: LayerTrace | NDArray[Any] | None, first_layer: str) -> NDArray[Any]:
    """Return all samples of one of the network's inputs, (N, *shape)."""
    if recorded is None:
        what = "the first layer" if entrance.name == first_layer else "the network's input"
        raise TraceError(f"no activations for {what}, {entrance.name!r}")
    if not isinstance(recorded, LayerTrace):
        return recorded
    values = recorded.dense()
    if values is None:
        raise TraceError("the trace holds only which inputs are non-zero: a network run in sequence needs their values")
    where = f"the network's input {entrance.name!r}"
    return entrance.cast(fitted(values, entrance.shape, where), where)


def _synthetic(layers: Sequence[Link], dataflow: Graph | None) -> Trace | Mapping[str, ArrayLike]:
    rng = np.random.default_rng(SYNTHETIC_SEED)
    widths = {layer.name: layer.inputs for layer in layers}
    if dataflow is not None:
        for name, shape in dataflow.inputs:
            # A size that is made up would decide cycles: better none than any.
            if -1 in shape:
                raise TraceError(f"no activations were given, and the size of input {name!r} is open: give some")
        widths = {name: int(np.prod(shape)) for name, shape in dataflow.inputs}
    # As behind a ReLU, but without zeros: nothing says how many there would be. 2^-10 is above half a unit of
    # 16-bit fixed point for any magnitude a normal draw reaches, so none becomes a zero there.
    drawn = {
        name: LayerTrace.from_dense(np.abs(rng.standard_normal(width)) + 2.0**-10) for name, width in widths.items()
    }
    source = f"no activations were given: one random input without zeros, seed {SYNTHETIC_SEED}"
    if dataflow is not None and dataflow.types:
        # A 1 is an id that every table has, and a mask that hides nothing.
        drawn |= {name: LayerTrace.from_dense(np.ones(widths[name])) for name in dataflow.types}
        source += f"; ones for {', '.join(dataflow.types)}"
    if dataflow is None and any(layer.geometry.takes_maps for layer in layers):
        source += "; of each convolution one window only, since the size of its maps is not known"
    return Trace(layers=drawn, source=source, synthetic=True)
