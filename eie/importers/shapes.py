"""Layer-shape tables: what a file of bare weights leaves unsaid.

Comes in: a ``.toml`` table, shipped in ``data/`` or the user's. Goes out: frozen `ShapeTable`, which also builds the
network's graph. Read by `deep_compression`.

::

    name = "my net"
    input = [3, 32, 32]       # one sample; leave it out if tensors do not simply flow from step to step
    step = [
      { layer = "conv1", shape = [16, 3, 3, 3], stride = 1, pad = 1, groups = 1, relu = true, bits = 8 },
      { name = "pool1", op = "max_pool", kernel = 2, stride = 2, ceil = true },
      { layer = "fc1", shape = [10, 4096], from = ["pool1"] },       # from: the step before, by default
    ]

A step with ``layer`` is a layer of the weight file, in its order; ``shape`` is (out, in) or (out, in / groups, kh, kw),
``bits`` the width of its codes: by default 8 for a convolution and 4 otherwise. A step with ``op`` is an operator
of `eie.model.operators`; the attributes are its own.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from importlib.resources import files
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError
from pydantic_core import PydanticCustomError

from eie.errors import ModelError
from eie.formats.files import read_toml
from eie.model import operators
from eie.model.geometry import Conv2d
from eie.model.graph import Graph, Node
from eie.spec import complaint

LARGEST_LAYER = 1 << 31
_Size = Annotated[int, Field(ge=1, le=1 << 26)]
_Frozen = ConfigDict(extra="forbid", strict=True, frozen=True, populate_by_name=True)


class LayerStep(BaseModel):
    """One layer of the weight file; see the module's table."""

    model_config = _Frozen

    layer: str
    shape: list[_Size]
    stride: int = Field(1, ge=1, le=1 << 16)
    pad: int = Field(0, ge=0, le=1 << 16)
    groups: int = Field(1, ge=1, le=1 << 26)
    relu: bool = False
    bits: Literal[4, 8] | None = None
    sources: list[str] | None = Field(None, alias="from", min_length=1, max_length=1)

    @property
    def weights(self) -> int:
        """Weights before pruning."""
        return math.prod(self.shape)

    @property
    def code_bits(self) -> int:
        """Bits of a stored code."""
        # As the published files have it: wide codes for convolutions, which lose more by sharing.
        return self.bits or (8 if len(self.shape) == 4 else 4)

    @property
    def conv(self) -> Conv2d | None:
        """The convolution's geometry; None for a fully connected layer."""
        if len(self.shape) == 2:
            return None
        out, channels, *kernel = self.shape
        return Conv2d(
            in_channels=channels * self.groups,
            out_channels=out,
            kernel=(kernel[0], kernel[1]),
            stride=(self.stride, self.stride),
            pads=(self.pad, self.pad, self.pad, self.pad),
            groups=self.groups,
        )


def _known_operator(name: str) -> str:
    if operators.find(name) is None:
        *others, last = map(repr, operators.known())
        raise PydanticCustomError("operator", "Input should be {names}", {"names": f"{', '.join(others)} or {last}"})
    return name


class OperatorStep(BaseModel):
    """One operator between layers; see the module's table."""

    model_config = _Frozen

    name: str
    op: Annotated[str, AfterValidator(_known_operator)]
    kernel: int | None = Field(None, ge=1, le=1 << 16)
    stride: int | None = Field(None, ge=1, le=1 << 16)
    pad: int | None = Field(None, ge=0, le=1 << 16)
    ceil: bool | None = None
    axis: int | None = None
    sources: list[str] | None = Field(None, alias="from", min_length=1)

    @property
    def attributes(self) -> dict[str, Any]:
        """What the operator of the graph is given."""
        stated: dict[str, Any] = {}
        if self.kernel is not None:
            stated["kernel"] = (self.kernel, self.kernel)
        if self.stride is not None:
            stated["stride"] = (self.stride, self.stride)
        if self.pad is not None:
            stated["pads"] = (self.pad, self.pad, self.pad, self.pad)
        if self.ceil is not None:
            stated["ceil"] = self.ceil
        if self.axis is not None:
            stated["axis"] = self.axis
        return stated


class ShapeTable(BaseModel):
    """The shapes of a weight file's layers, and perhaps how tensors flow between them."""

    model_config = _Frozen

    name: str
    input: list[_Size] | None = None
    step: list[LayerStep | OperatorStep] = Field(min_length=1)

    @property
    def layers(self) -> list[LayerStep]:
        """The layers, in the order of the weight file."""
        return [step for step in self.step if isinstance(step, LayerStep)]

    def graph(self) -> Graph | None:
        """Return how tensors flow, or None if the table does not say."""
        if self.input is None:
            return None
        nodes = []
        at = "input"
        for step in self.step:
            inputs = tuple(step.sources or (at,))
            if isinstance(step, LayerStep):
                nodes.append(Node(op="layer", inputs=inputs, outputs=(step.layer,), layer=step.layer))
            else:
                nodes.append(
                    Node(op=step.op, inputs=inputs, outputs=(step.name,), layer=None, attributes=step.attributes)
                )
            at = nodes[-1].name
        return Graph(inputs=(("input", tuple(self.input)),), nodes=tuple(nodes), outputs=(at,))


def shipped_tables() -> Iterator[ShapeTable]:
    """Every table that comes with the package."""
    folder = files("eie.importers") / "data"
    for file in sorted(folder.iterdir(), key=lambda entry: entry.name):
        yield read_table(Path(str(file)))


def read_table(path: Path) -> ShapeTable:
    """Read a table.

    Raises
    ------
    ModelError
        Everything that is wrong with it, a line each.
    """
    values = read_toml(path, ModelError)
    steps = values.get("step")
    if not isinstance(steps, list) or not all(isinstance(step, dict) for step in steps):
        raise ModelError(f"{path}: step: must be a list of tables, as in step = [{{ layer = ..., shape = ... }}]")
    problems = []
    parsed: list[LayerStep | OperatorStep] = []
    for i, step in enumerate(steps):
        # Chosen here and not left to the union, which would complain of both kinds at once.
        kind = LayerStep if "layer" in step else OperatorStep
        try:
            parsed.append(kind(**step))
        except ValidationError as error:
            problems += [complaint(item, f"{path}: step {i + 1}", kind.model_fields) for item in error.errors()]
    try:
        table = ShapeTable(**{**values, "step": parsed})
    except ValidationError as error:
        # A wrong step makes the table wrong as well: its own line says where, this one would not.
        if not problems:
            problems = [complaint(item, str(path), ShapeTable.model_fields) for item in error.errors()]
    if problems:
        raise ModelError("\n".join(problems))
    for layer in table.layers:
        if len(layer.shape) not in (2, 4) or layer.weights > LARGEST_LAYER:
            raise ModelError(
                f"{path}: layer {layer.layer!r}: shape={layer.shape}: must be (out, in) or (out, in, kh, kw), at most "
                f"{LARGEST_LAYER:,} weights"
            )
    if not table.layers:
        raise ModelError(f"{path}: no step names a layer")
    return table
