"""Networks as eie writes them: a state dict that also holds what state dicts leave out.

Comes in: a `Network`. Goes out: a ``.safetensors`` or ``.npz`` file, and an equal `Network` again, through `eie.load`;
or a ``.eie`` file, which `coded` writes. Read by whoever calls `eie.save`.

The arrays are those of any state dict (``X.weight`` and ``X.bias``, or ``X.codes``, ``X.codebook`` and ``X.bias_codes``
or, for the accumulators, ``X.bias``; a convolution's kernel as (out, in / groups, kh, kw)), so that other programs can
read them. The array ``eie.network``
holds JSON text (uint8): schema, name, sequential, source, notes, graph and the layers in order with name, relu,
synthetic and geometry. Recorded activations are stored along as ``eie.trace/...``, constants of the graph as
``eie.graph/...``; where a permutation moved the outputs, ``eie.output_order`` says which one of the original each is.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from eie.compression.coding.size import bits_for
from eie.errors import ModelError
from eie.formats.arguments import taken
from eie.formats.files import Arrays, read_json
from eie.formats.hashed import check_hash, hashed, stated_schema
from eie.formats.npz import write_npz
from eie.formats.safetensors import write_safetensors
from eie.importers import coded
from eie.importers.description import describe
from eie.model import geometry
from eie.model.graph import Graph
from eie.model.layer import Layer
from eie.model.network import Network
from eie.model.trace import Trace

KEY = "eie.network"
# The second is that of networks with a shared layer whose bias is numbers: a reader of the first would pass it over.
SCHEMAS = (1, 2, 3)
# From here on a file has a hash of its content; a flipped bit is then damage and not another weight.
HASHED = 3
_SUFFIXES = (".npz", ".safetensors", ".eie")
_TRACE, _GRAPH, _ORDER = "eie.trace/", "eie.graph/", "eie.output_order"


@taken
def save(
    network: Network | Layer,
    path: str | Path,
    output_order: NDArray[np.int64] | None = None,
    *,
    index_bits: int | Mapping[str, int] | None = None,
) -> None:
    """Write a network so that `eie.load` reads an equal one.

    Parameters
    ----------
    path
        Ends in ``.safetensors`` or ``.npz``: dense arrays that other programs read too, and the trace. Or in ``.eie``:
        a coded file of the size that ``eie compress`` reports, without the trace.
    output_order
        Kept with the network for whoever reads its outputs, where a permutation moved the last layer's rows.
    index_bits
        Of a ``.eie`` file: bits of a relative index, 1 to 8, for all layers or by pattern of their names, as for
        `eie.compression.coding.size.size_report`; 4 by default.

    Raises
    ------
    ModelError
        For another suffix, or if a coded file cannot hold the network.
    """
    network = Network.of(network)
    suffix = Path(path).suffix
    if suffix not in _SUFFIXES:
        raise ModelError(f"{path}: unknown suffix {suffix!r}: must be one of {', '.join(_SUFFIXES)}")
    if suffix == ".eie":
        # By name from here on: a coded file states the width of each layer.
        by_layer = {
            layer.name: bits_for(layer.name, {} if index_bits is None else index_bits) for layer in network.layers
        }
        coded.write(network, path, index_bits=by_layer, output_order=output_order)
        return
    # Refused, not ignored: dense arrays have no indices, and the caller expects a smaller file.
    if index_bits is not None:
        raise ModelError(f"{path}: index_bits does not apply to {suffix} files, only to .eie")
    arrays = to_arrays(network)
    if output_order is not None:
        arrays[_ORDER] = output_order
    arrays = hashed(arrays, KEY, HASHED)
    if suffix == ".npz":
        write_npz(path, arrays)
    else:
        # Said twice: a tensor whose name was damaged would make it anybody's state dict.
        write_safetensors(path, arrays, {KEY: str(HASHED)})


def check(arrays: Mapping[str, NDArray[Any]], texts: Mapping[str, str], source: str) -> None:
    """Refuse a file of `save` that was changed; anybody else's passes.

    Raises
    ------
    ModelError
        If it is not what was written.
    """
    if KEY in arrays and arrays[KEY].dtype == np.uint8:
        check_hash(arrays, KEY, schema=HASHED, where=source, kind=ModelError)
    elif KEY in texts:
        raise ModelError(f"{source}: damaged: it has no {KEY}: write or copy it anew")


def to_arrays(network: Network) -> Arrays:
    """Return what `save` writes into a ``.safetensors`` or ``.npz`` file."""
    numbers = any(layer.codebook is not None and layer.bias is not None for layer in network.layers)
    header = {"schema": SCHEMAS[numbers], **describe(network)}
    # As an array, for want of another place: an .npz has no header of its own.
    arrays: Arrays = {KEY: np.frombuffer(json.dumps(header).encode(), np.uint8)}
    for layer in network.layers:
        arrays |= _layer_arrays(layer)
    if network.graph is not None:
        arrays |= {_GRAPH + name: np.asarray(array) for name, array in network.graph.constants.items()}
    if network.trace is not None:
        arrays |= {_TRACE + name: array for name, array in network.trace.to_arrays().items()}
    return arrays


def from_arrays(arrays: Mapping[str, NDArray[Any]], source: str) -> Network:
    """Undo `to_arrays`.

    Raises
    ------
    ModelError
        If it is damaged or of another schema.
    """
    where = f"{source}: {KEY}"
    # Other programs write state dicts, too: a key of that name may be theirs.
    if arrays[KEY].dtype != np.uint8:
        raise ModelError(f"{where}: has dtype {arrays[KEY].dtype}: must be JSON text as uint8")
    header = read_json(arrays[KEY].tobytes(), where, ModelError)
    if stated_schema(header) not in SCHEMAS:
        raise ModelError(
            f"{where}: schema {header.get('schema')!r}: this version reads {' and '.join(map(str, SCHEMAS))}"
        )
    try:
        layers = tuple(_layer(arrays, entry) for entry in header["layers"])
        graph = None
        if header["graph"] is not None:
            graph = Graph.from_description(header["graph"], _under(_GRAPH, arrays))
        traced = _under(_TRACE, arrays)
        return Network(
            name=str(header["name"]),
            layers=layers,
            sequential=bool(header["sequential"]),
            # A trace has a schema and checks of its own.
            trace=Trace.from_arrays(traced, f"{source}: {_TRACE}") if traced else None,
            source=str(header["source"]),
            notes=tuple(map(str, header["notes"])),
            graph=graph,
            alternatives=bool(header.get("alternatives", False)),
            residency=header.get("residency"),
            unmodelled=tuple(map(str, header.get("unmodelled", ()))),
        )
    except (KeyError, TypeError, ValueError, AttributeError, IndexError) as error:
        raise ModelError(f"{source}: damaged model: {error}") from None


def _layer_arrays(layer: Layer) -> Arrays:
    # Shaped as frameworks have them, so that other programs can load the file as a state dict.
    dense = layer.stored_weights
    if layer.codebook is None:
        parts = {"weight": dense, "bias": layer.bias}
    else:
        parts = {
            "codes": dense,
            "codebook": layer.codebook,
            "bias_codes": layer.bias_codes,
            "bias": layer.bias,
        }
    return {f"{layer.name}.{part}": array for part, array in parts.items() if array is not None}


def _layer(arrays: Mapping[str, NDArray[Any]], entry: Mapping[str, Any]) -> Layer:
    name = str(entry["name"])
    codebook = arrays.get(f"{name}.codebook")
    weights = arrays[f"{name}.weight" if codebook is None else f"{name}.codes"]
    bias = arrays.get(f"{name}.bias" if codebook is None else f"{name}.bias_codes")
    # Kernels have four axes, and a geometry that states its own shape: the (1, 1) is then not looked at.
    shape = geometry.from_description(entry["geometry"], weights.shape if weights.ndim == 2 else (1, 1))
    if weights.shape != shape.weight_shape == shape.matrix_shape and entry["geometry"] is not None:
        raise ValueError(f"layer {name!r} has a matrix of shape {weights.shape}, not {shape.matrix_shape}")
    layer = Layer.of_geometry(
        name=name,
        weights=weights,
        bias=bias,
        geometry=shape,
        codebook=codebook,
        accumulator_bias=None if codebook is None else arrays.get(f"{name}.bias"),
    )
    # Set behind: `of_geometry` knows weights, these are the network's.
    bits = entry.get("stored_bits")
    return replace(
        layer,
        relu=bool(entry["relu"]),
        synthetic=bool(entry["synthetic"]),
        stored_bits=None if bits is None else float(bits),
    )


def _under(prefix: str, arrays: Mapping[str, NDArray[Any]]) -> Arrays:
    return {key.removeprefix(prefix): array for key, array in arrays.items() if key.startswith(prefix)}
