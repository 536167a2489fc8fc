"""The compiled network: every PE's images, the codebooks and the machine they were made for.

Comes in: a `Network` or `Layer` and an `AcceleratorSpec`. Goes out: a frozen `Program`, also as a file. Read by the
simulator and the report.

File format: safetensors; the text header's key ``eie`` holds JSON with schema, spec, versions, layers and a content
hash over all tensors and that JSON. Nothing is ever unpickled.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields, replace
from functools import cached_property
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from eie.compiler.encode import Encoding, encode
from eie.compiler.passes import Fit, fit, split
from eie.compression.share import Initialisation, ShareReport, share
from eie.errors import ProgramError
from eie.matrix import frozen
from eie.network import Layer, Network
from eie.spec import EIE_64PE, AcceleratorSpec
from eie.storage import Arrays, read_json, read_safetensors, write_safetensors
from eie.trace import Trace
from eie.version import __version__

SCHEMA = 1
IMAGE_FIELDS = ("n_pe", "index_bits", "weight_bits", "enforce_capacity")
CAPACITY_FIELDS = (
    "spmat_kib",
    "spmat_row_bits",
    "ptr_kib",
    "ptr_bits",
    "act_kib",
    "act_registers",
    "data_bits",
)


@dataclass(frozen=True, eq=False)
class EncodedLayer:
    """One layer as the accelerator holds it.

    Attributes
    ----------
    outputs, inputs
        Shape of the weight matrix.
    weights
        Non-zero weights, bias not counted.
    codebook
        float32 (2**weight_bits,), level 0 is 0.
    passes
        One `Encoding` unless the layer was split to fit.
    shared
        What weight sharing did.
    """

    name: str
    outputs: int
    inputs: int
    weights: int
    relu: bool
    synthetic: bool
    codebook: NDArray[np.float32]
    passes: tuple[Encoding, ...]
    shared: ShareReport

    @property
    def has_bias(self) -> bool:
        """Whether a bias column is stored."""
        return any(one.has_bias for one in self.passes)

    @property
    def weight_density(self) -> float:
        """Non-zero weights over all weights."""
        return self.weights / (self.outputs * self.inputs)

    @property
    def entries(self) -> int:
        """Stored entries, padding included."""
        return sum(len(one.codes) for one in self.passes)

    @property
    def padding(self) -> int:
        """Stored padding entries."""
        return sum(int(one.padding.sum()) for one in self.passes)

    @property
    def image_bits_per_pass(self) -> list[tuple[int, int]]:
        """(entries, pointers) of every pass, over all PEs: what a reload has to bring in."""
        return [(len(one.codes), one.pointers.size) for one in self.passes]

    def decode(self) -> NDArray[np.float32]:
        """Return the stored weights as float32 (outputs, inputs); the bias is left out."""
        dense = np.zeros((self.outputs, self.inputs), np.float32)
        for one in self.passes:
            block = self.codebook[one.decode().dense()]
            dense[one.row_start : one.row_stop, one.column_start : one.column_stop] = block[:, : one.inputs]
        return dense


@dataclass(frozen=True, eq=False)
class Program:
    """A network compiled for one machine. Build it with `compile`, keep it with `save` and `load`."""

    name: str
    spec: AcceleratorSpec
    layers: tuple[EncodedLayer, ...]
    sequential: bool
    source: str = "arrays"
    notes: tuple[str, ...] = ()
    trace: Trace | None = None

    def on(self, spec: AcceleratorSpec) -> Program:
        """Return the same images on another machine that stores them alike (other queues, clock, node, row width).

        Raises
        ------
        ProgramError
            If ``spec`` would need other images: compile again.
        """
        changed = [name for name in IMAGE_FIELDS if getattr(spec, name) != getattr(self.spec, name)]
        if spec.enforce_capacity:
            changed += [name for name in CAPACITY_FIELDS if getattr(spec, name) != getattr(self.spec, name)]
        if changed:
            raise ProgramError(f"the program was compiled for another {', '.join(changed)}: compile it again")
        return replace(self, spec=spec)

    @property
    def fit(self) -> tuple[Fit, ...]:
        """Each layer's demands against the machine's memories."""
        return tuple(fit(layer.name, layer.passes, self.spec) for layer in self.layers)

    @cached_property
    def content_hash(self) -> str:
        """SHA-256 over every tensor and the description; equal programs have equal hashes."""
        arrays, description = _pack(self)
        return _digest(arrays, description)

    def save(self, path: str | Path) -> None:
        """Write the program as safetensors; the trace is not part of it."""
        arrays, description = _pack(self)
        header = {**description, "versions": package_versions(), "content_hash": _digest(arrays, description)}
        write_safetensors(path, arrays, {"eie": json.dumps(header)})

    @staticmethod
    def is_program(path: str | Path) -> bool:
        """Say whether ``path`` is a readable file with a program's header, damaged or not."""
        try:
            return Path(path).suffix == ".safetensors" and "eie" in read_safetensors(path, ProgramError)[1]
        except ProgramError:
            return False

    @classmethod
    def load(cls, path: str | Path) -> Program:
        """Read a program file.

        Raises
        ------
        ProgramError
            If the file is missing, foreign, damaged or of another schema.
        """
        arrays, texts = read_safetensors(path, ProgramError)
        if "eie" not in texts:
            raise ProgramError(f"{path}: a safetensors file, but not a compiled eie program (see eie compile)")
        header = read_json(texts["eie"], f"{path}: header", ProgramError)
        if header.get("schema") != SCHEMA:
            raise ProgramError(f"{path}: program schema {header.get('schema')!r}: this version reads {SCHEMA}")
        stated = header.pop("content_hash", None)
        header.pop("versions", None)
        if stated != _digest(arrays, header):
            raise ProgramError(f"{path}: damaged: its content does not match its hash")
        try:
            return _unpack(arrays, header)
        except (KeyError, TypeError, ValueError, IndexError) as error:
            raise ProgramError(f"{path}: damaged program: {error}") from None


def compile(
    net_or_layer: Network | Layer, spec: AcceleratorSpec = EIE_64PE, *, init: Initialisation = "exact"
) -> Program:
    """Compile pruned layers into per-PE images.

    Parameters
    ----------
    net_or_layer
        Float weights are clustered to ``spec.weight_bits`` first; shared weights pass unchanged.
    spec
        The machine.
    init
        How clustering starts, see `eie.compression.share.share`.

    Returns
    -------
    Program

    Raises
    ------
    ModelError
        If shared weights have more levels than ``spec.weight_bits`` can name.
    ProgramError
        If ``spec.enforce_capacity`` and a single column does not fit a PE.

    Examples
    --------
    The example of the EIE paper, section III-B: a zero run longer than 15 costs a padding entry.

    >>> import numpy as np, eie
    >>> column = np.array([0, 0, 1, 2] + 18 * [0] + [3.0])[:, None]
    >>> program = eie.compile(eie.Layer.from_weights("v", column), eie.EIE_64PE.replace(n_pe=1))
    >>> codes, runs, pointers = program.layers[0].passes[0].pe_image(0)
    >>> codes.tolist(), runs.tolist()
    ([1, 2, 0, 3], [2, 0, 15, 2])
    """
    network = Network.of(net_or_layer)
    layers = tuple(_compile_layer(layer, spec, init) for layer in network.layers)
    return Program(network.name, spec, layers, network.sequential, network.source, network.notes, network.trace)


def _compile_layer(layer: Layer, spec: AcceleratorSpec, init: Initialisation) -> EncodedLayer:
    shared, report = share(layer, spec.weight_bits, init)
    assert shared.codebook is not None
    codebook = np.zeros(1 << spec.weight_bits, np.float32)
    levels = min(len(shared.codebook), len(codebook))
    codebook[:levels] = shared.codebook[:levels]
    codes = shared.matrix
    has_bias = shared.bias_codes is not None
    if shared.bias_codes is not None:
        codes = codes.append_column(shared.bias_codes)
    if spec.enforce_capacity:
        passes = split(layer.name, codes, spec, has_bias=has_bias)
    else:
        passes = (encode(codes, spec.n_pe, spec.index_bits, has_bias=has_bias),)
    return EncodedLayer(
        layer.name,
        layer.outputs,
        layer.inputs,
        layer.matrix.nnz,
        layer.relu,
        layer.synthetic,
        frozen(codebook, np.float32),
        passes,
        report,
    )


_LAYER_FIELDS = ("name", "outputs", "inputs", "weights", "relu", "synthetic")
_PASS_FIELDS = ("row_start", "row_stop", "column_start", "column_stop", "has_bias", "index_bits")
_PASS_ARRAYS = {
    "bases": np.int64,
    "pointers": np.int32,
    "padding": np.int64,
    "codes": np.uint8,
    "runs": np.uint8,
}


def _pack(program: Program) -> tuple[Arrays, dict[str, Any]]:
    arrays: Arrays = {}
    layers = []
    for i, layer in enumerate(program.layers):
        arrays[f"{i}.codebook"] = layer.codebook
        for k, one in enumerate(layer.passes):
            for name in _PASS_ARRAYS:
                arrays[f"{i}.{k}.{name}"] = getattr(one, name)
        layers.append(
            {
                **{name: getattr(layer, name) for name in _LAYER_FIELDS},
                "shared": asdict(layer.shared),
                "passes": [{name: getattr(one, name) for name in _PASS_FIELDS} for one in layer.passes],
            }
        )
    description = {
        "schema": SCHEMA,
        "name": program.name,
        "spec": program.spec.model_dump(),
        "source": program.source,
        "sequential": program.sequential,
        "notes": list(program.notes),
        "layers": layers,
    }
    return arrays, description


def _unpack(arrays: Arrays, header: Mapping[str, Any]) -> Program:
    layers = []
    for i, entry in enumerate(header["layers"]):
        passes = tuple(
            _check_pass(
                Encoding(
                    *(one[name] for name in _PASS_FIELDS),
                    *(frozen(arrays[f"{i}.{k}.{name}"], kind) for name, kind in _PASS_ARRAYS.items()),
                )
            )
            for k, one in enumerate(entry["passes"])
        )
        shared = ShareReport(**{field.name: entry["shared"][field.name] for field in fields(ShareReport)})
        layers.append(
            EncodedLayer(
                **{name: entry[name] for name in _LAYER_FIELDS},
                codebook=frozen(arrays[f"{i}.codebook"], np.float32),
                passes=passes,
                shared=shared,
            )
        )
    spec = AcceleratorSpec(**header["spec"])
    return Program(header["name"], spec, tuple(layers), header["sequential"], header["source"], tuple(header["notes"]))


def _check_pass(one: Encoding) -> Encoding:
    """The kernels index without bounds: refuse images whose pointers leave their arrays."""
    ends = one.pointers[-1] if one.pointers.ndim == 2 and len(one.pointers) else np.full(1, -1)
    if (
        not np.array_equal(np.diff(one.bases), ends)
        or (np.diff(one.pointers, axis=0) < 0).any()
        or one.pointers[0].any()
        or not len(one.codes) == len(one.runs) == one.bases[-1]
        or len(one.padding) != len(one.pointers) - 1
        or one.inputs + one.has_bias != len(one.padding)
    ):
        raise ValueError("its pointers and entries do not belong together")
    rows = one.decode().rows if len(one.codes) else np.zeros(0)
    if len(rows) and rows.max() >= one.row_stop - one.row_start:
        raise ValueError("an entry lies outside its layer")
    return one


def _digest(arrays: Mapping[str, NDArray[Any]], description: Mapping[str, Any]) -> str:
    digest = hashlib.sha256(json.dumps(description, sort_keys=True).encode())
    for name in sorted(arrays):
        array = np.ascontiguousarray(arrays[name])
        digest.update(f"{name} {array.dtype} {array.shape}".encode())
        digest.update(array.data)
    return digest.hexdigest()


def package_versions() -> dict[str, str]:
    """Versions that a result or program file names."""
    return {"eie": __version__, **{name: version(name) for name in ("numpy", "numba")}}
