"""Activations in whatever form a caller has them, made ready for a run.

Comes in: an array, a mapping, a `Trace` or nothing, and the network's layers and dataflow. Goes out: a frozen `Given`:
either recorded inputs of every layer, or arrays for the network's own inputs. Read by the run and by
sweeps.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from eie.errors import TraceError
from eie.model.graph import Graph
from eie.model.network import Link
from eie.model.samples import Samples
from eie.model.trace import LayerTrace, Trace

Inputs = Trace | Mapping[str, ArrayLike] | ArrayLike | None
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
            digest.update(f"{name} {array.shape}".encode())
            digest.update(np.ascontiguousarray(array, np.float32).data)
        return digest.hexdigest()


def given_inputs(
    layers: Sequence[Link], dataflow: Graph | None, activations: Inputs, own: Trace | None = None
) -> Given:
    """Sort out ``activations``; None means the model's ``own`` trace, else one synthetic sample.

    Raises
    ------
    TraceError
        If they do not fit the network.
    """
    if activations is None:
        # What was recorded goes before what is drawn: random inputs are too even.
        activations = own if own is not None else _synthetic(layers, dataflow)
    entrances = {} if dataflow is None else dict(dataflow.inputs)
    where = "activations of {}"
    # A bare array can only mean the one entrance; its name then goes the way of a mapping's.
    if not isinstance(activations, Trace | Mapping):
        activations, where = {_only_entrance(layers, entrances): activations}, "activations"
    if isinstance(activations, Trace):
        recorded: Mapping[str, LayerTrace | NDArray[np.float32]] = activations.layers
        labels, source, synthetic = activations.labels, activations.source, activations.synthetic
    else:
        recorded = {name: _packed(where.format(name), array) for name, array in activations.items()}
        labels, source, synthetic = None, "arrays", False
    names = [layer.name for layer in layers]
    # Refused and not passed over: a misspelt layer would run on other inputs without a word.
    unknown = [name for name in recorded if name not in names and name not in entrances]
    if unknown:
        known = dict.fromkeys([*entrances, *names])
        raise TraceError(f"trace names {', '.join(unknown)}: the network has {', '.join(known)}")
    by_layer = {layer.name: _of_layer(layer, recorded.get(layer.name)) for layer in layers}
    kept = {name: rows for name, rows in by_layer.items() if rows is not None}
    # All or nothing: with one layer missing, the recorded rows of the others would contradict what they are fed.
    if len(kept) == len(names):
        return Given(layers=kept, arrays={}, labels=labels, source=source, synthetic=synthetic)
    if dataflow is None:
        missing = ", ".join(name for name in names if name not in kept)
        raise TraceError(f"the layers do not feed each other, so each needs activations: none for {missing}")
    arrays = {
        name: _shaped(name=name, shape=shape, recorded=recorded.get(name), first_layer=names[0])
        for name, shape in entrances.items()
    }
    return Given(layers={}, arrays=arrays, labels=labels, source=source, synthetic=synthetic)


def rows_or_maps(
    layers: Sequence[Link], dataflow: Graph | None, array: NDArray[Any], source: str
) -> Trace | dict[str, NDArray[Any]]:
    """Label an array file: a `Trace` of rows, or a mapping where a map's size is known from the array only."""
    entrances = {} if dataflow is None else dict(dataflow.inputs)
    name = _only_entrance(layers, entrances)
    # Flattened to rows, a map with two open sides could not be shaped again: 6 numbers are 2 x 3 or 3 x 2.
    if array.ndim > 2 and entrances.get(name, ()).count(-1) > 1:
        return {name: array}
    if array.ndim > 2:
        # The first axis is a batch only if there is one axis more than a sample has; else the file is one sample.
        array = array.reshape(len(array) if array.ndim > len(entrances.get(name, ())) else 1, -1)
    return Trace(layers={name: LayerTrace.from_dense(array, source)}, source=source)


def _only_entrance(layers: Sequence[Link], entrances: Mapping[str, tuple[int, ...]]) -> str:
    if len(entrances) > 1:
        raise TraceError(f"the network has several inputs, {', '.join(entrances)}: give a mapping of name to array")
    return next(iter(entrances), layers[0].name)


def _packed(where: str, activations: ArrayLike) -> LayerTrace | NDArray[np.float32]:
    """Pack rows; keep maps and sequences as they are."""
    array = np.asarray(activations)
    if array.ndim <= 2:
        return LayerTrace.from_dense(array, where)
    # Floats, integers, booleans: complex numbers would lose their imaginary half in the cast below.
    if array.dtype.kind not in "fiub" or array.size == 0:
        raise TraceError(f"{where} has shape {array.shape} {array.dtype}: must be numbers, and some of them")
    # float32 first: what is finite in float64 may be infinite here.
    array = array.astype(np.float32)
    if not np.isfinite(array).all():
        raise TraceError(f"{where} holds NaN or infinity: must be finite")
    return array


def _of_layer(layer: Link, recorded: LayerTrace | NDArray[np.float32] | None) -> LayerTrace | None:
    """Return recorded rows of a layer; maps and sequences are inputs of the network, not rows."""
    if not isinstance(recorded, LayerTrace):
        return None
    if recorded.width != layer.inputs:
        # A window's width says little to somebody who gave a map: the geometry adds what it wanted.
        problem = f"layer {layer.name!r} takes {layer.inputs} inputs, the activations have {recorded.width}"
        raise TraceError(problem + layer.geometry.width_hint)
    return recorded


def _shaped(
    name: str, shape: tuple[int, ...], recorded: LayerTrace | NDArray[np.float32] | None, first_layer: str
) -> NDArray[np.float32]:
    """Bring recorded activations into the shape (N, *shape); -1 stands for any size."""
    if recorded is None:
        what = "the first layer" if name == first_layer else "the network's input"
        raise TraceError(f"no activations for {what}, {name!r}")
    if isinstance(recorded, LayerTrace):
        values = recorded.dense()
        if values is None:
            raise TraceError(
                "the trace holds only which inputs are non-zero: a network run in sequence needs their values"
            )
    else:
        values = recorded
    # A batch first, one sample without a batch axis second; their numbers of axes differ, so only one can match.
    for batch, rest in ((values.shape[0], values.shape[1:]), (1, values.shape)):
        if len(rest) == len(shape) and all(want in (-1, have) for want, have in zip(shape, rest, strict=True)):
            return values.reshape(batch, *rest)
    if values.ndim == 2 and shape.count(-1) <= 1:
        # 1 (numpy's float 1.0) where every size is open.
        known = int(np.prod([size for size in shape if size != -1]))
        if values.shape[1] % known == 0 and (-1 in shape or values.shape[1] == known):
            # numpy finds one open size itself from -1; that is why no more than one is let through.
            return values.reshape(len(values), *shape)
    wanted = " x ".join("any" if size == -1 else str(size) for size in shape)
    raise TraceError(f"the network's input {name!r} is {wanted} a sample, the activations have shape {values.shape}")


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
    if dataflow is None and any(layer.geometry.takes_maps for layer in layers):
        source += "; of each convolution one window only, since the size of its maps is not known"
    return Trace(layers=drawn, source=source, synthetic=True)
