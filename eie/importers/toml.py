"""``.toml`` models: layers that point at weight files, or that give shapes and densities to be drawn at random.

::

    name = "lenet-300-100"
    weights = "lenet-300-100.npz"        # beside this file
    trace = "../traces/lenet-300-100.npz"
    sequential = true                    # layer i feeds layer i + 1

    [[layer]]
    name = "ip1"
    weights = "W0"                       # array in the weight file; or codes = ..., codebook = ...
    bias = "b0"
    order = "in,out"                     # how weights are stored; "out,in" by default
    relu = true

    [[layer]]                            # or, without weights: synthetic, and labelled so in every report
    name = "Alex-6"
    inputs = 9216
    outputs = 4096
    weight_density = 0.09
    activation_density = 0.351
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from eie.errors import ModelError
from eie.importers.state_dict import read_weights
from eie.importers.synthetic import bernoulli, draw_weights, weight_levels
from eie.matrix import SparseColumns
from eie.network import Layer, Network
from eie.spec import complaint
from eie.storage import Arrays, read_toml
from eie.trace import LayerTrace, Trace

LARGEST_DRAW = 1 << 28


class _LayerEntry(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)

    name: str
    weights: str | None = None
    codes: str | None = None
    codebook: str | None = None
    bias: str | bool | None = None
    bias_codes: str | None = None
    order: Literal["out,in", "in,out"] = "out,in"
    relu: bool = False
    inputs: int | None = Field(None, ge=1, le=1 << 26)
    outputs: int | None = Field(None, ge=1, le=1 << 26)
    weight_density: float | None = Field(None, ge=0, le=1)
    activation_density: float | None = Field(None, ge=0, le=1)


class _ModelFile(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)

    name: str | None = None
    description: str = ""
    weights: str | None = None
    trace: str | None = None
    sequential: bool = False
    seed: int = Field(0, ge=0)
    layer: list[_LayerEntry] = Field(min_length=1)


def read(path: Path, mask: Path | None = None) -> Network:
    """Read a network from ``path``; relative names are looked up in its folder, ``mask`` prunes its weight file.

    Raises
    ------
    ModelError
        Everything that is wrong with the file, a line each.
    """
    values = read_toml(path, ModelError)
    try:
        model = _ModelFile(**values)
    except ValidationError as error:
        known = [*_ModelFile.model_fields, *_LayerEntry.model_fields]
        raise ModelError("\n".join(complaint(item, str(path), known) for item in error.errors())) from None
    arrays, notes = _weight_file(path, model, mask)
    layers, drawn = [], {}
    for i, entry in enumerate(model.layer):
        if entry.weights or entry.codes:
            layers.append(_stored(path, entry, arrays))
        else:
            layer, inputs = _synthetic(path, entry, np.random.default_rng([model.seed, i]))
            layers.append(layer)
            if inputs is not None:
                drawn[layer.name] = inputs
    trace = None
    if model.trace is not None:
        trace = Trace.load(path.parent / model.trace)
    elif drawn:
        trace = Trace(drawn, source=f"synthetic activations, seed {model.seed}", synthetic=True)
    return Network(model.name or path.stem, tuple(layers), model.sequential, trace, path.name, tuple(notes))


def _weight_file(path: Path, model: _ModelFile, mask: Path | None) -> tuple[Arrays, list[str]]:
    if model.weights is not None:
        return read_weights(path.parent / model.weights, mask)
    if mask is not None:
        raise ModelError(f"{path}: names no weight file that a mask could prune")
    return {}, []


def _stored(path: Path, entry: _LayerEntry, arrays: Arrays) -> Layer:
    def array(key: str | None) -> Any:
        if key is None:
            return None
        if key not in arrays:
            raise ModelError(
                f"{path}: layer {entry.name!r}: no array {key!r} in its weight file "
                f"(it holds {', '.join(arrays) or 'nothing; set weights = FILE at the top'})"
            )
        return arrays[key]

    def matrix(key: str | None) -> Any:
        found = array(key)
        return found.T if entry.order == "in,out" else found

    if isinstance(entry.bias, bool):
        raise ModelError(f"{path}: layer {entry.name!r}: bias={entry.bias}: must name an array in the weight file")
    if entry.codes is not None:
        if entry.codebook is None:
            raise ModelError(f"{path}: layer {entry.name!r}: codes need a codebook")
        codes, bias = matrix(entry.codes), array(entry.bias_codes)
        layer = Layer.from_codes(entry.name, codes, array(entry.codebook), bias, relu=entry.relu)
    else:
        layer = Layer.from_weights(entry.name, matrix(entry.weights), array(entry.bias), relu=entry.relu)
    for what, stated, found in (
        ("inputs", entry.inputs, layer.inputs),
        ("outputs", entry.outputs, layer.outputs),
    ):
        if stated is not None and stated != found:
            raise ModelError(f"{path}: layer {entry.name!r}: {what}={stated}, but its weights have {found}")
    return layer


def _synthetic(path: Path, entry: _LayerEntry, rng: np.random.Generator) -> tuple[Layer, LayerTrace | None]:
    """Draw a layer: every weight is kept with probability ``weight_density``; 15 levels, so sharing is exact."""
    if entry.inputs is None or entry.outputs is None or entry.weight_density is None:
        raise ModelError(
            f"{path}: layer {entry.name!r}: must name weights (or codes), or give inputs, outputs and weight_density"
        )
    expected = int(entry.inputs * entry.outputs * entry.weight_density)
    if expected > LARGEST_DRAW:
        raise ModelError(
            f"{path}: layer {entry.name!r}: {expected:,} random weights: at most {LARGEST_DRAW:,} are drawn"
        )
    places = bernoulli(entry.inputs * entry.outputs, entry.weight_density, rng)
    rows, columns = places % entry.outputs, places // entry.outputs
    levels = weight_levels(entry.inputs * entry.weight_density)
    matrix = SparseColumns.of(
        (entry.outputs, entry.inputs),
        np.searchsorted(columns, np.arange(entry.inputs + 1)),
        rows,
        draw_weights(levels, len(places), rng),
    )
    bias = rng.choice(levels, entry.outputs) if entry.bias else None
    layer = replace(Layer(entry.name, matrix, bias=bias, relu=entry.relu), synthetic=True)
    if entry.activation_density is None:
        return layer, None
    inputs = np.zeros(entry.inputs, np.float32)
    active = bernoulli(entry.inputs, entry.activation_density, rng)
    inputs[active] = np.abs(rng.standard_normal(len(active), np.float32)) + np.float32(2**-10)
    return layer, LayerTrace.from_dense(inputs)
