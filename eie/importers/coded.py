"""Coded networks, ``.eie``: a whole network in the bytes that a size report counts in its last column.

Comes in: a `Network`, or a path. Goes out: a ``.eie`` file, and the same `Network` again, through `eie.load`: codes,
codebooks and biases bit for bit. The trace is no part of it.

The file is a safetensors file. Its header's one text, ``eie.coded``, states the schema and the SHA-256 of the whole
file, taken with zeros where the digest stands: every bit counts, blanks and lengths too, and nothing else is read
before the digest agrees. The tensor ``network`` is JSON text, deflated; ``0.codes``, ``0.runs`` and so on are what
`eie.compression.coding.coded_file` makes of layer 0; ``graph.0`` is the first constant of the graph. A tensor of any
other name is refused, so that what a later schema adds (scales per group, as ``0.scales``) is never read as if it were
not there.
"""

from __future__ import annotations

import hashlib
import json
import re
import zlib
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from eie.compression.coding.coded_file import Form, Outline, pack, unpack
from eie.errors import EieError, ModelError
from eie.formats.fields import LARGEST_SIDE, Text
from eie.formats.files import Arrays, first_line, read_bytes
from eie.formats.safetensors import parse_safetensors, safetensors_bytes
from eie.importers.description import describe
from eie.model import geometry
from eie.model.graph import Graph
from eie.model.layer import Layer
from eie.model.network import Network
from eie.show.writing import replacing
from eie.spec import complaint

KEY = "eie.coded"
SCHEMA = 1
# Of the description: 50 times what the largest graph met so far takes. Deflated, a small file could name gigabytes.
LARGEST_TEXT_BYTES = 16 << 20
_NETWORK, _ORDER, _GRAPH = "network", "output_order", "graph"
# Of fixed form, so that its place can be found in the bytes before any JSON is trusted.
_STATED = re.compile(rb'"eie\.coded":"schema (\d{1,9}), sha256 ([0-9a-f]{64})"')
_LENGTH_BYTES = 8

Side = Annotated[int, Field(ge=1, le=LARGEST_SIDE)]


class _Record(BaseModel):
    # Nothing unknown and nothing converted: what a later schema adds must not be passed over.
    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)


class LayerEntry(_Record):
    """One layer without its arrays; ``pattern`` is [N, M] where that is how its weights are stored."""

    name: Text = Field(min_length=1)
    relu: bool
    synthetic: bool
    geometry: dict[str, Any] | None
    outputs: Side
    inputs: Side
    # A run is stored in a byte at most.
    index_bits: int = Field(ge=1, le=8)
    pattern: tuple[int, int] | None = None
    stored_bits: float | None = Field(None, gt=0, le=64)


class NetworkEntry(_Record):
    """A network without its arrays."""

    name: Text
    sequential: bool
    source: Text
    notes: tuple[Text, ...]
    graph: dict[str, Any] | None
    layers: tuple[LayerEntry, ...] = Field(min_length=1)
    alternatives: bool = False
    residency: Literal["auto", "ideal"] | None = None
    unmodelled: tuple[Text, ...] = ()


def write(
    network: Network,
    path: str | Path,
    *,
    index_bits: Mapping[str, int],
    output_order: NDArray[np.int64] | None = None,
) -> None:
    """Write a coded file.

    Parameters
    ----------
    index_bits
        Bits of a zero run, 1 to 8, by name of the layer.
    output_order
        See `eie.importers.stored.save`.

    Raises
    ------
    ModelError
        If a layer cannot be coded, or a name could not be read back.
    """
    description = describe(network)
    arrays: Arrays = {}
    for i, (layer, entry) in enumerate(zip(network.layers, description["layers"], strict=True)):
        run_bits = index_bits[layer.name]
        if not 1 <= run_bits <= 8:
            raise ModelError(f"layer {layer.name!r}: index_bits={run_bits}: must be 1 to 8")
        form, parts = pack(layer, run_bits)
        entry |= {"outputs": layer.outputs, "inputs": layer.inputs, "index_bits": form.index_bits}
        if form.pattern is not None:
            entry["pattern"] = form.pattern
        arrays |= {f"{i}.{part}": array for part, array in parts.items()}
    if network.graph is not None:
        constants = network.graph.constants.values()
        # By number: a constant's own name is free text of some file, and is kept in the description.
        arrays |= {f"{_GRAPH}.{i}": np.asarray(array) for i, array in enumerate(constants)}
    if output_order is not None:
        # Half of int64; rows are fewer than `LARGEST_SIDE`.
        arrays[_ORDER] = output_order.astype(np.uint32)
    # Without blanks, then deflated: the description is the part of the file that the size report does not count.
    text = json.dumps(description, separators=(",", ":"))
    # Read before it is written: what could not be read back must not become a file.
    _entry(text.encode(), f"{path}: network {network.name!r}")
    arrays[_NETWORK] = np.frombuffer(zlib.compress(text.encode(), 9), np.uint8)
    # Zeros in the digest's place: the file has its final length before it is hashed.
    data = _signed(safetensors_bytes(arrays, {KEY: f"schema {SCHEMA}, sha256 {'0' * 64}"}))
    # Whole or not at all: an interrupted write leaves the file of before.
    with replacing(path) as file:
        file.write(data)


def read(path: Path) -> Network:
    """Read a coded file.

    Raises
    ------
    ModelError
        If the file is missing, foreign, damaged in any bit or of another schema.
    """
    data = read_bytes(path, ModelError)
    # Before anything is parsed: a flipped bit is called damage and not some error that it leads to.
    _verify(data, path)
    arrays = parse_safetensors(data, str(path), ModelError)
    try:
        return _network(_entry(_inflated(arrays[_NETWORK]), "network"), arrays)
    except EieError as error:
        raise ModelError(f"{path}: damaged network: {error}") from None
    except MemoryError as error:
        raise ModelError(f"{path}: too large for this machine: {first_line(error)}") from None
    except (KeyError, TypeError, ValueError, AttributeError, IndexError, ArithmeticError, RecursionError) as error:
        raise ModelError(f"{path}: damaged network: {first_line(error)}") from None


def _signed(data: bytes) -> bytes:
    """Put the digest of ``data`` where its zeros stand."""
    start, stop = _digest_place(data)
    return data[:start] + _digest(data, start, stop).encode() + data[stop:]


def _digest_place(data: bytes) -> tuple[int, int]:
    stated = _STATED.search(data, _LENGTH_BYTES, _header_end(data))
    assert stated is not None
    return stated.span(2)


def _digest(data: bytes, start: int, stop: int) -> str:
    """SHA-256 of the file with zeros for the digest itself, which cannot know its own value."""
    view = memoryview(data)
    digest = hashlib.sha256(view[:start])
    digest.update(b"0" * (stop - start))
    digest.update(view[stop:])
    return digest.hexdigest()


def _header_end(data: bytes) -> int:
    return _LENGTH_BYTES + int.from_bytes(data[:_LENGTH_BYTES], "little")


def _verify(data: bytes, path: Path) -> None:
    # Within the header alone: the same text in a tensor would be somebody's data.
    stated = _STATED.search(data, _LENGTH_BYTES, min(len(data), _header_end(data)))
    if stated is None:
        raise ModelError(f"{path}: not a coded network of eie, or damaged: its header states no schema and digest")
    # Before the digest: a later schema may count it in another way.
    if int(stated[1]) != SCHEMA:
        raise ModelError(f"{path}: coded network of schema {int(stated[1])}: this version reads {SCHEMA}")
    if stated[2].decode() != _digest(data, *stated.span(2)):
        raise ModelError(f"{path}: damaged: its content does not match its hash")


def _inflated(deflated: NDArray[Any]) -> bytes:
    """Inflate the description, no further than it may be long."""
    stream = zlib.decompressobj()
    try:
        text = stream.decompress(deflated.tobytes(), LARGEST_TEXT_BYTES)
    except zlib.error as error:
        raise ModelError(f"its description: {error}") from None
    # At the bound decompress just stops: that the stream ended is what tells a whole text.
    if not stream.eof or stream.unused_data:
        raise ModelError(f"its description is cut short, or longer than {LARGEST_TEXT_BYTES:,} bytes")
    return text


def _entry(text: bytes, where: str) -> NetworkEntry:
    if len(text) > LARGEST_TEXT_BYTES:
        raise ModelError(f"{where}: {len(text):,} bytes of description: must be at most {LARGEST_TEXT_BYTES:,}")
    try:
        return NetworkEntry.model_validate_json(text)
    except ValidationError as error:
        raise ModelError(complaint(error.errors()[0], where, ())) from None


def _network(entry: NetworkEntry, arrays: Arrays) -> Network:
    left = {name: array for name, array in arrays.items() if name != _NETWORK}
    layers = tuple(_layer(layer, _taken(left, f"{i}.")) for i, layer in enumerate(entry.layers))
    graph = None
    if entry.graph is not None:
        values = _taken(left, f"{_GRAPH}.")
        names = entry.graph["constants"]
        if sorted(values) != sorted(map(str, range(len(names)))):
            raise ModelError(f"its graph has {len(names)} constants, and {len(values)} are stored")
        graph = Graph.from_description(entry.graph, {str(name): values[str(i)] for i, name in enumerate(names)})
    # Sorted it must be 0, 1, 2, ...: each output once.
    order = left.pop(_ORDER, None)
    if order is not None and not np.array_equal(np.sort(order), np.arange(layers[-1].outputs)):
        raise ModelError(f"{_ORDER} is no order of the last layer's {layers[-1].outputs} outputs")
    if left:
        raise ModelError(f"has tensors that this version does not know: {', '.join(map(ascii, sorted(left)))}")
    return Network(
        name=entry.name,
        layers=layers,
        sequential=entry.sequential,
        source=entry.source,
        notes=entry.notes,
        graph=graph,
        alternatives=entry.alternatives,
        residency=entry.residency,
        unmodelled=entry.unmodelled,
    )


def _layer(entry: LayerEntry, parts: Arrays) -> Layer:
    outline = Outline(
        name=entry.name,
        shape=(entry.outputs, entry.inputs),
        relu=entry.relu,
        synthetic=entry.synthetic,
        geometry=geometry.from_description(entry.geometry, (entry.outputs, entry.inputs)),
    )
    try:
        layer = unpack(outline, Form(entry.index_bits, entry.pattern), parts)
        return replace(layer, stored_bits=entry.stored_bits)
    except EieError as error:
        said = str(error)
        # Errors of the layer's own checks name it already.
        raise ModelError(said if repr(entry.name) in said else f"layer {entry.name!r}: {said}") from None


def _taken(arrays: Arrays, prefix: str) -> Arrays:
    """Take the arrays under ``prefix`` out, so that what is left in the end is what nobody knows."""
    names = [name for name in arrays if name.startswith(prefix)]
    return {name.removeprefix(prefix): arrays.pop(name) for name in names}
