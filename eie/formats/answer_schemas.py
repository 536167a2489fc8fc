"""What a file of each answer must hold: its keys, their types and bounds; what they mean says docs/outputs.md.

Comes in: a parsed document. Goes out: pydantic's word on it. Read by `eie.formats.answers`, which puts that in a line.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Annotated, Any, Self

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator

from eie.show.envelope import SCHEMA_VERSION

Amount = Annotated[float, Field(ge=0, allow_inf_nan=False)]
Count = Annotated[int, Field(ge=0, le=1 << 62)]
Share = Annotated[float, Field(ge=0, le=1, allow_inf_nan=False)]
Sha256 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
# What a row's key ends with, or is, where its value is an amount.
_FIGURE = re.compile(
    r"(\w+_)?(us|nj|cycles|bits|mm2|reads|writes|entries|broadcasts|macs)|(share|energy)_\w+|samples|products|passes"
)
_LARGEST = 1e30
Flat = dict[str, str | int | float | bool | None]


class Checked(BaseModel):
    """Keys that are named are checked; others are let through, so that a later release may add some."""

    model_config = ConfigDict(extra="allow", frozen=True)


class Envelope(Checked):
    """What every document states of itself."""

    schema_name: str = Field(alias="schema", pattern=r"^eie-[a-z]+$")
    schema_version: int = Field(ge=1, le=SCHEMA_VERSION)
    versions: dict[str, str] = {}
    content_hash: Sha256 | None = None
    command: str = Field("", max_length=1 << 20)


def _amounts(row: Mapping[str, Any]) -> Any:
    """Check figures by the unit that their keys end with: none of them can be below 0, or a text."""
    for key, value in row.items():
        # What is told by PE lies in tables of its own.
        if value is None or isinstance(value, list | dict) or not _FIGURE.fullmatch(key):
            continue
        # True is an int to Python.
        if isinstance(value, bool | str) or not 0 <= value <= _LARGEST:
            raise ValueError(f"{key}={str(value)[:40]}: must be 0 to {_LARGEST:g}")
    return row


def _amounts_below(value: Any) -> None:
    """Check figures at any depth, of a document whose figures are all amounts."""
    if isinstance(value, Mapping):
        _amounts(value)
    for inner in value.values() if isinstance(value, Mapping) else value if isinstance(value, list) else ():
        _amounts_below(inner)


Row = Annotated[Flat, AfterValidator(_amounts)]


class LayerRow(Checked):
    """A layer of a result."""

    layer: str
    outputs: Count
    inputs: Count
    products: Count | None = None
    weight_density: Share
    activation_density: Share
    cycles: Amount
    latency_us: Amount
    efficiency: Amount
    reload_cycles: Amount
    per_pe: dict[str, list[Amount]] = {}
    kind: str = "linear"
    groups: int | None = Field(1, ge=1, le=1 << 62)
    bound_by: str | None = None
    bound_by_share: Share | None = None

    @model_validator(mode="after")
    def _figures(self) -> Self:
        _amounts(self.__pydantic_extra__ or {})
        return self


class ResultContent(Checked):
    """``eie-result``."""

    network: str
    spec: Flat
    layers: list[LayerRow] = Field(min_length=1)
    batch: int = Field(1, ge=1)
    batch_latency_us: Amount | None = None
    samples_per_s: Amount | None = None
    latency_us: Amount | None = None
    incomplete: list[str] = []
    unmodelled: list[str] = []
    host: dict[str, Any] | None = None
    inputs: dict[str, Any] | None = None
    memory: dict[str, Any] | None = None
    energy: dict[str, dict[str, Any] | None] | None = None
    bound_by: str | None = None
    bound_parts: dict[str, Amount | None] | None = None
    dense_us: Amount | None = None
    area_mm2: dict[str, Amount] | None = None
    prices_pj: dict[str, Amount] | None = None
    notes: list[str] = []

    @model_validator(mode="after")
    def _figures(self) -> Self:
        _amounts_below([self.host, self.inputs, self.memory, self.energy, self.__pydantic_extra__ or {}])
        return self


class EnergyContent(Checked):
    """``eie-energy``."""

    method: str
    table: str
    cell: str
    low_nj: Amount | None = None
    total_nj: Amount | None
    high_nj: Amount | None = None
    incomplete: list[str] = []
    unit_nj: dict[str, Amount | None]
    kind_nj: dict[str, Amount | None] = {}
    layers: list[Flat] = Field(min_length=1)


class ComparisonContent(Checked):
    """``eie-comparison``."""

    network: str
    reference: str
    machines: list[Flat] = Field(min_length=1)
    warnings: list[str]
    notes: list[str]
    incomplete: list[str] = []
    rows: list[Flat]


class SweepContent(Checked):
    """``eie-sweep``; the file beside ``points.csv`` has no rows."""

    spec: Flat
    vary: dict[str, list[int | float | bool | str]]
    workloads: list[dict[str, str]]
    points: Count
    failed: Count
    rows: list[Row] = []


class DiffContent(Checked):
    """``eie-diff``."""

    kind: str
    a: str
    b: str
    same: bool
    facts: list[Flat]
    rows: list[Flat]
    notes: list[str] = []


class CompressionContent(Checked):
    """``eie-compression``."""

    network: str
    published_as: str | None = None
    sizes: list[Flat] = Field(min_length=1)
    accuracy_before: Share | None = None
    output_order: list[Count] | None = None


class SensitivityPointRow(Checked):
    """A point of a scan."""

    layer: str
    density: Share
    accuracy: Share


class SensitivityContent(Checked):
    """``eie-sensitivity``."""

    baseline: Share
    points: list[SensitivityPointRow] = Field(min_length=1)


class StudyContent(Checked):
    """``eie-granularity``."""

    network: str
    spec: Flat
    epochs: Count
    machines: dict[str, Flat]
    rows: list[Flat] = Field(min_length=1)


class SearchContent(Checked):
    """``eie-search``."""

    network: str
    machine: str
    quantity: str
    limit: Amount
    rows: list[Flat] = Field(min_length=1)


class ExplanationContent(Checked):
    """``eie-explanation``."""

    network: str
    spec: Flat
    objective: str
    layers: list[Flat] = Field(min_length=1)
    changes: list[Flat] | None = None
    by_layer: list[Flat] = []
    settings_tried: Count | None = None
    notes: list[str] = []


class AreaContent(Checked):
    """``eie-area``."""

    spec: Flat
    cell: str
    total_mm2: Amount
    rows: list[Row] = Field(min_length=1)


class TimelineContent(Checked):
    """``eie-timeline``."""

    network: str
    spec: Flat
    first_cycle: Count
    last_cycle: Count
    total_cycles: Count
    spans: Count
    rows: list[Row]


class RtlCheckContent(Checked):
    """``eie-rtlcheck``."""

    program: str
    machine: str
    simulator: str
    equal: bool
    rows: list[Row]


class RtlResourcesContent(Checked):
    """``eie-rtlresources``."""

    program: str
    machine: str
    tool: str
    spec_block_ram: dict[str, Count]
    rows: list[Row]


class PaperContent(Checked):
    """``eie-paper``."""

    paper: str
    data: str
    sections: list[dict[str, Any]] = Field(min_length=1)


CONTENTS: Mapping[str, type[Checked]] = {
    "eie-result": ResultContent,
    "eie-energy": EnergyContent,
    "eie-comparison": ComparisonContent,
    "eie-sweep": SweepContent,
    "eie-diff": DiffContent,
    "eie-compression": CompressionContent,
    "eie-sensitivity": SensitivityContent,
    "eie-granularity": StudyContent,
    "eie-search": SearchContent,
    "eie-explanation": ExplanationContent,
    "eie-paper": PaperContent,
    "eie-area": AreaContent,
    "eie-timeline": TimelineContent,
    "eie-rtlcheck": RtlCheckContent,
    "eie-rtlresources": RtlResourcesContent,
}
