"""The compiled network: every PE's images, the codebooks and the machine they were made for.

Comes in: a `Network` or `Layer` and an `AcceleratorSpec`. Goes out: a frozen `Program`, also as a file. Read by the
simulator and the report.

File format: safetensors; the text header's key ``eie`` holds JSON with schema, spec, versions, layers and a content
hash over all tensors and that JSON. Nothing is ever unpickled.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any, get_args

import numpy as np
from numpy.typing import NDArray
from pydantic import ValidationError

from eie.compiler.choice import Conv, check_conv, encode_conv, note_of, sizes_of
from eie.compiler.demand import Demand
from eie.compiler.encode import Encoding
from eie.compiler.encoded import STORED, EncodedLayer, stored_row
from eie.compiler.header import LayerHeader, ProgramHeader, array_of, check_layer, told_apart
from eie.compiler.lower import Lowering, lower
from eie.compiler.memory import placed, plan_of, stated_by
from eie.compiler.passes import Fit, fit
from eie.compiler.places import MemoryPlan
from eie.compression.bias import BiasPlace
from eie.compression.cluster import Initialisation
from eie.compression.share import ShareReport, share
from eie.errors import EieError, ModelError, ProgramError
from eie.formats.files import Arrays, first_line, read_json
from eie.formats.safetensors import read_safetensors, write_safetensors
from eie.importers.entrance import Model, as_network
from eie.model.dataflow import dataflow
from eie.model.drawn import drawn_layers, drawn_notes
from eie.model.geometry import Scatter
from eie.model.geometry import describe as describe_geometry
from eie.model.geometry import from_description as geometry_from
from eie.model.graph import Graph
from eie.model.layer import Layer
from eie.model.matrix import frozen
from eie.model.trace import Trace
from eie.show.face import View
from eie.show.notes import note_lines
from eie.show.sections import Column, Grid, Section
from eie.spec import EIE_64PE, AcceleratorSpec, complaint, fields_of
from eie.version import package_versions

# Counts up with every change of what a reader has to know; an older or newer file is refused, never guessed at.
SCHEMA = 1
# States that PEs behind the rows share one column of pointers; stated only where it is so, since 0.1 refuses it.
SHARED_SCHEMA = 2


@dataclass(frozen=True, eq=False, kw_only=True, repr=False)
class Program(View):
    """A network compiled for one machine. Build it with `compile`, keep it with `save` and `load`.

    Attributes
    ----------
    sha256
        Of the model file it was compiled from, or None.
    alternatives
        Whether the layers are no network but alternatives, of which each has the chip to itself.
    unmodelled
        Layers of the model that are not among ``layers``, each in words.
    """

    name: str
    spec: AcceleratorSpec
    layers: tuple[EncodedLayer, ...]
    sequential: bool
    source: str = "arrays"
    notes: tuple[str, ...] = ()
    trace: Trace | None = None
    graph: Graph | None = None
    sha256: str | None = None
    alternatives: bool = False
    unmodelled: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        names = [layer.name for layer in self.layers]
        if not names or len(set(names)) < len(names):
            raise ProgramError(f"program {self.name!r}: has layers {', '.join(names) or '(none)'}: names must differ")
        if self.graph is not None and sorted(self.graph.layers) != sorted(names):
            raise ProgramError(f"program {self.name!r}: its graph names other layers than it has")

    @cached_property
    def dataflow(self) -> Graph | None:
        """How tensors flow, see `eie.model.dataflow.dataflow`."""
        return dataflow(self)

    def on(self, spec: AcceleratorSpec) -> Program:
        """Return the same images on another machine that stores them alike (other queues, clock, node, row width).

        Raises
        ------
        ProgramError
            If ``spec`` would need other images: compile again.
        """
        stored_by = fields_of("encoded", spec)
        changed = [name for name in stored_by if getattr(spec, name) != getattr(self.spec, name)]
        if changed:
            raise ProgramError(f"the program was compiled for another {', '.join(changed)}: compile it again")
        return replace(self, spec=spec)

    @cached_property
    def fit(self) -> tuple[Fit, ...]:
        """Each layer's demands against the machine's memories."""
        return tuple(
            fit(layer.name, layer.passes, self.spec, reloads=layer.reloads, rounds=layer.rounds)
            for layer in self.layers
        )

    @property
    def memory(self) -> MemoryPlan:
        """What stays on the chip and what comes when, for the whole network, a sample at a time."""
        return self.planned(1)

    def planned(
        self,
        batch: int = 1,
        shapes: Mapping[str, tuple[int, ...]] | None = None,
        products: Mapping[str, int] | None = None,
        sizes: Mapping[str, tuple[int, ...]] | None = None,
    ) -> MemoryPlan:
        """Return the memory plan for ``batch`` samples to each load of a layer; made once.

        Parameters
        ----------
        shapes, products, sizes
            As `eie.compiler.memory.memory_plan` takes them: what a run knows of the sizes of maps.

        Raises
        ------
        ProgramError
            If a column of a layer that has to be streamed exceeds a half of the stream buffer.
        """
        key = batch, tuple((shapes or {}).items()), tuple((products or {}).items()), tuple((sizes or {}).items())
        plan = self._plans.get(key)
        if plan is None:
            plan = self._plans[key] = plan_of(
                demands=self._demands,
                spec=self.spec,
                batch=batch,
                graph=self.dataflow,
                alternatives=self.alternatives,
                shapes=shapes,
                products=products,
                sizes=sizes,
            )
        return plan

    def check_columns(self) -> None:
        """Refuse a program that no run could stream.

        Raises
        ------
        ProgramError
            If a column of a layer that has to be streamed exceeds a half of the stream buffer.
        """
        # Without the maps, which take longer and refuse nothing.
        placed(demands=self._demands, spec=self.spec, batch=1, graph=self.dataflow, alternatives=self.alternatives)

    @cached_property
    def _plans(self) -> dict[tuple[Hashable, ...], MemoryPlan]:
        return {}

    @cached_property
    def _demands(self) -> list[Demand]:
        return [Demand.of(layer) for layer in self.layers]

    def headline(self) -> str:
        """Say what was compiled for what; equal programs have equal content."""
        return f"{self.brief()}, content {self.content_hash[:16]}"

    def brief(self) -> str:
        """Say the same without a hash over every image."""
        return f"{self.name} for {self.spec.name}: {self.spec.n_pe} PEs{self.spec.stated_residency}"

    def sections(self) -> tuple[Section, ...]:
        """Return what the PEs store of each layer, and where the whole network is in their memories."""
        # Of a layer alone: what the layers are together is the plan's to say.
        names = [layer.name for layer in self.layers]
        reasons = note_lines(
            (f"{fit.layer}: alone too large: {'; '.join(fit.problems)}" for fit in self.fit if not fit.fits), names
        )
        rows = tuple(
            {**stored_row(layer, self.spec), "fits": fit.fits} for layer, fit in zip(self.layers, self.fit, strict=True)
        )
        grid = Grid(columns=(*STORED, Column("fits", "fits alone", "yes")), rows=rows, notes=reasons)
        notes = note_lines((*self.notes, *drawn_notes(drawn_layers(self.layers))), names)
        (plan,) = self.memory.sections()
        return (
            Section(name="layers", grids=(grid,), notes=notes),
            replace(plan, lines=(*plan.lines, self.memory.headline())),
        )

    @cached_property
    def content_hash(self) -> str:
        """SHA-256 over every tensor and the description; equal programs have equal hashes."""
        arrays, description = _pack(self)
        return _digest(arrays, description, _pointed(self))

    def save(self, path: str | Path) -> None:
        """Write the program as safetensors; the trace is not part of it."""
        arrays, description = _pack(self)
        arrays |= {name: np.concatenate(list(image.whole_pointers())) for name, image in _pointed(self).items()}
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
        if header.get("schema") not in (SCHEMA, SHARED_SCHEMA):
            read = f"{SCHEMA} and {SHARED_SCHEMA}"
            raise ProgramError(f"{path}: program schema {header.get('schema')!r}: this version reads {read}")
        stated = header.pop("content_hash", None)
        # Outside the hash: the same program compiled by another version is still the same program.
        header.pop("versions", None)
        if stated != _digest(arrays, header):
            raise ProgramError(f"{path}: damaged: its content does not match its hash")
        del header["schema"]
        try:
            return _unpack(arrays, ProgramHeader(**header))
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


def compile(
    model: Model,
    spec: AcceleratorSpec = EIE_64PE,
    *,
    init: Initialisation = "exact",
    conv: Conv = "auto",
    lowering: Lowering | None = None,
    bias: BiasPlace = "auto",
    sizes: Mapping[str, tuple[int, ...]] | None = None,
) -> Program:
    """Compile pruned layers into per-PE images.

    Parameters
    ----------
    model
        A path, the name of a shipped model, a `Layer` or a `Network`. Float weights are clustered to
        ``spec.weight_bits`` first; shared weights pass unchanged.
    spec
        The machine.
    init
        How clustering starts, see `eie.compression.share.share`.
    conv
        How convolutions over maps run (docs/lowering.md): ``"im2col"``, a product an output pixel; ``"scatter"``, each
        activation broadcast once; ``"auto"``, whichever of the two takes fewer cycles, im2col where neither graph nor
        ``sizes`` say the size of the map; ``"winograd"``, 16 smaller products per 2x2 output pixels on a denser matrix,
        for 3x3 kernels of stride 1. Where a way does not apply a layer runs by im2col.
    lowering
        As version 0.1 called it, ``"im2col"`` or ``"winograd"``; overrules ``conv``.
    bias
        Where float biases go: ``"column"``, one more column of the matrix, in the weights' levels and those they leave
        free; ``"accumulator"``, the accumulators start from them in their own format; ``"auto"``, the column where it
        holds them within the weights' own relative error, else the accumulators. Layers that are shared already keep
        what they have.
    sizes
        Height and width of the map that a convolution will read, by its name, where the model leaves them open.

    Returns
    -------
    Program
        Holds the machine, every PE's memories and how full they are; saved and loaded as one file.

    Raises
    ------
    ModelError
        If shared weights have more levels than ``spec.weight_bits`` can name.
    ProgramError
        If a layer has to be streamed and one of its columns exceeds half of the stream buffer.

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
    if not isinstance(spec, AcceleratorSpec):
        raise ProgramError(f"spec {spec!r}: must be an eie.AcceleratorSpec, as eie.EIE_64PE is")
    network = as_network(model)
    spec = stated_by(network, spec)
    if lowering not in (None, *get_args(Lowering)):
        raise ModelError(f"lowering={lowering!r}: must be 'im2col' or 'winograd'")
    conv = lowering or conv
    check_conv(conv)
    lowered = [lower(layer, "winograd" if conv == "winograd" else "im2col") for layer in network.layers]
    # Only the choice asks for sizes, and following a large graph takes a while.
    known = {**(sizes or {}), **sizes_of(network)} if conv == "auto" else {}
    layers = _encoded([layer for layer, _ in lowered], spec, conv=conv, init=init, bias=bias, sizes=known)
    program = Program(
        name=network.name,
        spec=spec,
        layers=layers,
        sequential=network.sequential,
        source=network.source,
        notes=(
            *network.notes,
            *(note for _, note in lowered if note),
            *note_of(layers, conv),
            *_kept_biases([layer for layer, _ in lowered], bias),
        ),
        trace=network.trace,
        graph=network.graph,
        sha256=network.sha256,
        alternatives=network.alternatives,
        unmodelled=network.unmodelled,
    )
    program.check_columns()
    return program


def _encoded(
    lowered: Sequence[Layer],
    spec: AcceleratorSpec,
    *,
    conv: Conv,
    init: Initialisation,
    bias: BiasPlace,
    sizes: Mapping[str, tuple[int, ...]],
) -> tuple[EncodedLayer, ...]:
    """Share and encode the layers of a network, lowered already."""
    return tuple(
        encode_conv(*share(layer, spec.weight_bits, init, bias=bias), spec, conv=conv, size=sizes.get(layer.name, ()))
        for layer in lowered
    )


def _kept_biases(layers: Sequence[Layer], bias: BiasPlace) -> list[str]:
    """Name the layers whose bias stays elsewhere than was asked, since they are shared already."""
    if bias == "auto":
        return []
    shared = [layer for layer in layers if layer.codebook is not None]
    where, part = ("accumulators", "bias") if bias == "column" else ("column", "bias_codes")
    names = [layer.name for layer in shared if getattr(layer, part) is not None]
    return (
        [f"bias {bias}: {', '.join(names)} shared already, with the bias in the {where}, and kept so"] if names else []
    )


_LAYER_FIELDS = ("name", "outputs", "inputs", "weights", "relu", "synthetic", "reloads")
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


def _unpack(arrays: Arrays, header: ProgramHeader) -> Program:
    spec = AcceleratorSpec.of_file(header.spec)
    layers = tuple(
        _unpack_layer(arrays=arrays, prefix=f"{i}.", entry=entry, spec=spec) for i, entry in enumerate(header.layers)
    )
    graph = None
    if header.graph is not None:
        constants = {name.removeprefix("graph."): array for name, array in arrays.items() if name.startswith("graph.")}
        graph = Graph.from_description(header.graph, constants)
    return Program(
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


def _pointed(program: Program) -> dict[str, Encoding]:
    """Return the images whose files hold more pointers than they do themselves, by the pointers' name."""
    return {
        f"{i}.{k}.pointers": image
        for i, layer in enumerate(program.layers)
        for k, image in enumerate(layer.passes)
        if image.pointers.shape[1] < image.n_pe and image.listed_whole
    }


def _digest(
    arrays: Mapping[str, NDArray[Any]], description: Mapping[str, Any], pointed: Mapping[str, Encoding] | None = None
) -> str:
    """Hash what a file holds; ``pointed`` are those of `_pointed` whose arrays are not written out."""
    # Sorted, so that the hash depends on what is said and not on the order in which it was written.
    digest = hashlib.sha256(json.dumps(description, sort_keys=True).encode())
    for name in sorted(arrays):
        image, array = (pointed or {}).get(name), arrays[name]
        shape = array.shape if image is None else (len(array), image.n_pe)
        # Name, type and shape go in as well: bytes alone would not tell two arrays from one with another cut.
        digest.update(f"{name} {array.dtype} {shape}".encode())
        for part in (array,) if image is None else image.whole_pointers():
            digest.update(np.ascontiguousarray(part).data)
    return digest.hexdigest()
