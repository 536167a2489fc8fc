"""What a ``.toml`` model may say, field by field, with the bounds of each; `toml` says what it means.

Comes in: a parsed file. Goes out: `ModelFile`, or pydantic's complaints. Read by `eie.importers.toml`.
"""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

# Fields that mean nothing for layers of another kind, and are refused there.
ONLY_FOR = {
    "conv": ("kernel", "stride", "pads", "dilation", "groups", "height", "width"),
    "lstm": ("hidden_weights", "reverse", "steps"),
}

Size = int | list[int]


class LayerEntry(BaseModel):
    """One ``[[layer]]``; which of the fields go together, the reader says."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)

    name: str
    kind: Literal["linear", "conv", "lstm"] = "linear"
    weights: str | None = None
    hidden_weights: str | None = None
    codes: str | None = None
    codebook: str | None = None
    bias: str | bool | None = None
    bias_codes: str | None = None
    order: Literal["out,in", "in,out"] = "out,in"
    relu: bool = False
    pool: str | None = None
    kernel: Size | None = None
    stride: Size = 1
    pads: Size = 0
    dilation: Size = 1
    groups: int = Field(1, ge=1)
    reverse: bool = False
    inputs: int | None = Field(None, ge=1, le=1 << 26)
    outputs: int | None = Field(None, ge=1, le=1 << 26)
    height: int | None = Field(None, ge=1, le=1 << 16)
    width: int | None = Field(None, ge=1, le=1 << 16)
    steps: int | None = Field(None, ge=1, le=1 << 20)
    weight_density: float | None = Field(None, ge=0, le=1)
    activation_density: float | None = Field(None, ge=0, le=1)


class ModelFile(BaseModel):
    """The whole file."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)

    name: str | None = None
    description: str = ""
    weights: str | None = None
    trace: str | None = None
    input: list[int] | None = Field(None, min_length=1)
    sequential: bool = False
    alternatives: bool = False
    residency: Literal["auto", "ideal"] | None = None
    seed: int = Field(0, ge=0)
    layer: list[LayerEntry] = Field(min_length=1)
