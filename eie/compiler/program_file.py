"""A compiled network as a file, and back; what its content hash is over.

Comes in: a program's record, or a path. Goes out: a file, or the fields that a `Program` is made of, each checked. Read
by `Program`.

File format: safetensors; the text header's key ``eie`` holds JSON with schema, spec, versions, layers and a content
hash over all tensors and that JSON. Nothing is ever unpickled.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any, Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray
from pydantic import ValidationError

from eie.compiler.encode import Encoding
from eie.compiler.encoded import EncodedLayer
from eie.compiler.header import LayerHeader, ProgramHeader, array_of, check_layer, told_apart
from eie.compression.share import ShareReport
from eie.errors import EieError, ProgramError
from eie.formats.files import Arrays, first_line, read_json
from eie.formats.hashed import stated_schema
from eie.formats.safetensors import read_safetensors, write_safetensors
from eie.model.geometry import Scatter
from eie.model.geometry import describe as describe_geometry
from eie.model.geometry import from_description as geometry_from
from eie.model.graph import Graph
from eie.model.matrix import frozen
from eie.spec import AcceleratorSpec, complaint
from eie.version import package_versions

# Counts up with every change of what a reader has to know; an older or newer file is refused, never guessed at.
SCHEMA = 1
# States that PEs behind the rows share one column of pointers; stated only where it is so, since 0.1 refuses it.
SHARED_SCHEMA = 2

P = TypeVar("P")


class Compiled(Protocol):
    """What is written of a program."""

    @property
    def name(self) -> str: ...
    @property
    def spec(self) -> AcceleratorSpec: ...
    @property
    def layers(self) -> tuple[EncodedLayer, ...]: ...
    @property
    def sequential(self) -> bool: ...
    @property
    def source(self) -> str: ...
    @property
    def notes(self) -> tuple[str, ...]: ...
    @property
    def graph(self) -> Graph | None: ...
    @property
    def sha256(self) -> str | None: ...
    @property
    def alternatives(self) -> bool: ...
    @property
    def unmodelled(self) -> tuple[str, ...]: ...


def save(path: str | Path, program: Compiled) -> None:
    """Write a program as safetensors."""
    arrays, description = pack(program)
    arrays |= {name: np.concatenate(list(image.whole_pointers())) for name, image in _pointed(program).items()}
    header = {**description, "versions": package_versions(), "content_hash": digest(arrays, description)}
    write_safetensors(path, arrays, {"eie": json.dumps(header)})


def content_hash(program: Compiled) -> str:
    """SHA-256 over every tensor and the description: what a file of the program holds, not written."""
    arrays, description = pack(program)
    return digest(arrays, description, _pointed(program))


def is_program(path: str | Path) -> bool:
    """Say whether ``path`` is a readable file with a program's header, damaged or not."""
    try:
        return Path(path).suffix == ".safetensors" and "eie" in read_safetensors(path, ProgramError)[1]
    except ProgramError:
        return False


def load(path: str | Path, make: Callable[..., P]) -> P:
    """Read a program file; ``make`` takes a program's fields by name.

    Raises
    ------
    ProgramError
        If the file is missing, foreign, damaged or of another schema.
    """
    arrays, texts = read_safetensors(path, ProgramError)
    if "eie" not in texts:
        raise ProgramError(f"{path}: a safetensors file, but not a compiled eie program (see eie compile)")
    header = read_json(texts["eie"], f"{path}: header", ProgramError)
    if stated_schema(header) not in (SCHEMA, SHARED_SCHEMA):
        known = f"{SCHEMA} and {SHARED_SCHEMA}"
        raise ProgramError(f"{path}: program schema {header.get('schema')!r}: this version reads {known}")
    stated = header.pop("content_hash", None)
    # Outside the hash: the same program compiled by another version is still the same program.
    header.pop("versions", None)
    if stated != digest(arrays, header):
        raise ProgramError(f"{path}: damaged: its content does not match its hash")
    del header["schema"]
    try:
        return _unpack(arrays, ProgramHeader(**header), make)
    except ValidationError as error:
        raise ProgramError(f"{path}: damaged program: {complaint(error.errors()[0], 'header', ())}") from None
    except (
        # The hash is right but the content is not, which only a hand-made file is: whatever the constructors then
        # raise.
        KeyError,
        TypeError,
        ValueError,
        IndexError,
        AttributeError,
        ArithmeticError,
        RecursionError,
        EieError,
    ) as error:
        raise ProgramError(f"{path}: damaged program: {first_line(error)}") from None


_LAYER_FIELDS = ("name", "outputs", "inputs", "weights", "relu", "synthetic", "reloads")
_PASS_FIELDS = ("row_start", "row_stop", "column_start", "column_stop", "has_bias", "index_bits")
_PASS_ARRAYS = {
    "bases": np.int64,
    "pointers": np.int32,
    "padding": np.int64,
    "codes": np.uint8,
    "runs": np.uint8,
}


def pack(program: Compiled) -> tuple[Arrays, dict[str, Any]]:
    """Return the tensors of a program's file and what its header says, hash and versions apart."""
    arrays: Arrays = {}
    layers = []
    for i, layer in enumerate(program.layers):
        arrays[f"{i}.codebook"] = layer.codebook
        for k, image in enumerate(layer.passes):
            for name in _PASS_ARRAYS:
                arrays[f"{i}.{k}.{name}"] = getattr(image, name)
            if image.accumulator_bias is not None:
                arrays[f"{i}.{k}.accumulator_bias"] = image.accumulator_bias
        layers.append(
            {
                **{name: getattr(layer, name) for name in _LAYER_FIELDS},
                "geometry": describe_geometry(layer.geometry),
                "shared": _shared_fields(layer.shared),
                "passes": [_pass_fields(image) for image in layer.passes],
                # Stated only where it is so: version 0.1 would take the images for others.
                **({"scatter": True, "coded_bias": layer.coded_bias} if layer.scatter else {}),
            }
        )
    listed = all(image.listed_whole for layer in program.layers for image in layer.passes)
    description = {
        "schema": SCHEMA if listed else SHARED_SCHEMA,
        "name": program.name,
        "spec": program.spec.stated(),
        "source": program.source,
        "sequential": program.sequential,
        "notes": list(program.notes),
        "layers": layers,
        "graph": None if program.graph is None else program.graph.describe(),
    }
    # Left out where they say nothing: so are the files of version 0.1.
    if program.sha256 is not None:
        description["sha256"] = program.sha256
    if program.alternatives:
        description["alternatives"] = True
    if program.unmodelled:
        description["unmodelled"] = list(program.unmodelled)
    if program.graph is not None:
        arrays |= {f"graph.{name}": array for name, array in program.graph.constants.items()}
    return arrays, description


def _pass_fields(image: Encoding) -> dict[str, Any]:
    fields = {name: getattr(image, name) for name in _PASS_FIELDS}
    return fields if image.accumulator_bias is None else {**fields, "accumulator_bias": True}


def _shared_fields(report: ShareReport) -> dict[str, Any]:
    # Left out where empty: so are the files of version 0.1, and their content hash must not change by loading.
    later = ("tenths", "bias_relative_error")
    return {name: value for name, value in asdict(report).items() if name not in later or value}


def _unpack(arrays: Arrays, header: ProgramHeader, make: Callable[..., P]) -> P:
    spec = AcceleratorSpec.of_file(header.spec)
    layers = tuple(
        _unpack_layer(arrays=arrays, prefix=f"{i}.", entry=entry, spec=spec) for i, entry in enumerate(header.layers)
    )
    graph = None
    if header.graph is not None:
        constants = {name.removeprefix("graph."): array for name, array in arrays.items() if name.startswith("graph.")}
        graph = Graph.from_description(header.graph, constants)
    return make(
        name=header.name,
        spec=spec,
        layers=layers,
        sequential=header.sequential,
        source=header.source,
        notes=tuple(header.notes),
        trace=None,
        graph=graph,
        sha256=header.sha256,
        alternatives=header.alternatives,
        unmodelled=tuple(header.unmodelled),
    )


def _unpack_layer(arrays: Arrays, prefix: str, entry: LayerHeader, spec: AcceleratorSpec) -> EncodedLayer:
    def array(name: str, dtype: Any) -> NDArray[Any]:
        return frozen(array_of(arrays[f"{prefix}{name}"], dtype, f"{prefix}{name}"), dtype)

    shape = (entry.outputs, entry.inputs)
    geometry = geometry_from(entry.geometry, shape)
    if geometry.matrix_shape != shape:
        raise ValueError(f"a {shape} matrix cannot be a {geometry}")
    codebook = array("codebook", np.float32)
    passes = []
    for k, described in enumerate(entry.passes):
        images: dict[str, Any] = {name: array(f"{k}.{name}", kind) for name, kind in _PASS_ARRAYS.items()}
        images["pointers"] = frozen(told_apart(images["pointers"], described.row_stop - described.row_start), np.int32)
        if described.accumulator_bias:
            images["accumulator_bias"] = array(f"{k}.accumulator_bias", np.float32)
        passes.append(Encoding(**described.model_dump(exclude={"accumulator_bias"}), **images))
    scatter = Scatter.of(geometry) if entry.scatter else None
    if entry.scatter and scatter is None:
        raise ValueError(f"a {geometry} cannot run by scatter")
    check_layer(layer=entry, codebook=codebook, passes=passes, spec=spec, scatter=scatter)
    return EncodedLayer(
        **{name: getattr(entry, name) for name in _LAYER_FIELDS},
        codebook=codebook,
        passes=tuple(passes),
        shared=ShareReport(**{**entry.shared.model_dump(), "tenths": tuple(entry.shared.tenths or ())}),
        geometry=geometry,
        scatter=scatter,
        coded_bias=entry.coded_bias,
    )


def _pointed(program: Compiled) -> dict[str, Encoding]:
    """Return the images whose files hold more pointers than they do themselves, by the pointers' name."""
    return {
        f"{i}.{k}.pointers": image
        for i, layer in enumerate(program.layers)
        for k, image in enumerate(layer.passes)
        if image.pointers.shape[1] < image.n_pe and image.listed_whole
    }


def digest(
    arrays: Mapping[str, NDArray[Any]], description: Mapping[str, Any], pointed: Mapping[str, Encoding] | None = None
) -> str:
    """Hash what a file holds; ``pointed`` are those of `_pointed` whose arrays are not written out."""
    # Sorted, so that the hash depends on what is said and not on the order in which it was written.
    whole = hashlib.sha256(json.dumps(description, sort_keys=True).encode())
    for name in sorted(arrays):
        image, array = (pointed or {}).get(name), arrays[name]
        shape = array.shape if image is None else (len(array), image.n_pe)
        # Name, type and shape go in as well: bytes alone would not tell two arrays from one with another cut.
        whole.update(f"{name} {array.dtype} {shape}".encode())
        for part in (array,) if image is None else image.whole_pointers():
            whole.update(np.ascontiguousarray(part).data)
    return whole.hexdigest()
