"""The accelerator as data: every hardware parameter, validated.

Comes in: keyword values, a TOML file or ``key=value`` words. Goes out: a frozen `AcceleratorSpec`. Read by the
compiler (how to encode), the simulator (when things happen), energy (what they cost) and the report.
"""

from __future__ import annotations

import difflib
import tomllib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, ValidationInfo, field_validator

from eie.errors import EieError, SpecError
from eie.formats.files import read_toml

_BOUNDS = {"ge": ">=", "gt": ">", "le": "<=", "lt": "<"}
SUPPORTED_NODES_NM = (28, 32, 45)


class AcceleratorSpec(BaseModel):
    """One EIE-style machine.

    Defaults are the 64-PE machine of Han et al., ISCA 2016 (sections IV and VI). Bare numbers are counts; every
    other field carries its unit in its name.

    Raises
    ------
    SpecError
        With one line per wrong field, as ``spec.act_queue_depth=1: must be >= 2``.

    Examples
    --------
    >>> EIE_64PE.replace(n_pe=32).n_pe
    32
    >>> EIE_64PE.replace(act_queue_depth=1, n_pes=2)
    Traceback (most recent call last):
    ...
    eie.errors.SpecError: spec.act_queue_depth=1: must be >= 2
    spec.n_pes=2: unknown key; did you mean n_pe?
    """

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    name: str = Field("EIE_64PE", description="label used in reports")
    n_pe: int = Field(64, ge=1, le=65536, description="processing elements")
    clock_mhz: float = Field(800.0, gt=0, le=100_000, allow_inf_nan=False, description="clock")
    act_queue_depth: int = Field(8, ge=2, le=1 << 20, description="ring slots per queue; one always stays free")
    index_bits: int = Field(4, ge=1, le=8, description="bits of a relative row index (zero run)")
    weight_bits: int = Field(4, ge=1, le=8, description="bits of a shared-weight code; code 0 is zero")
    spmat_row_bits: int = Field(64, ge=2, le=1 << 16, description="width of the sparse-matrix SRAM")
    spmat_kib: int = Field(128, ge=1, le=1 << 20, description="sparse-matrix SRAM per PE")
    ptr_kib: int = Field(32, ge=1, le=1 << 20, description="pointer SRAM per PE, both banks together")
    ptr_bits: int = Field(16, ge=4, le=32, description="width of a column pointer")
    act_kib: int = Field(2, ge=1, le=1 << 20, description="activation SRAM per PE")
    act_registers: int = Field(64, ge=1, le=1 << 20, description="entries of each activation register file")
    data_bits: int = Field(16, ge=4, le=32, description="width of activations, codebook and accumulators")
    node_nm: int = Field(45, description="process node, for energy and area")
    io_bits: int = Field(64, ge=1, le=1 << 16, description="bits a cycle for reloading weights (capacity passes)")
    enforce_capacity: bool = Field(False, description="split layers that do not fit the SRAMs into passes")

    def __init__(self, /, **values: Any) -> None:
        try:
            super().__init__(**values)
        except ValidationError as error:
            known = type(self).model_fields
            raise SpecError([complaint(item, "spec", known) for item in error.errors()]) from None

    @field_validator("node_nm")
    @classmethod
    def _node_has_energy_data(cls, node_nm: int) -> int:
        if node_nm not in SUPPORTED_NODES_NM:
            nodes = ", ".join(map(str, SUPPORTED_NODES_NM))
            raise ValueError(f"spec.node_nm={node_nm}: must be one of {nodes} (nodes with energy data)")
        return node_nm

    @field_validator("spmat_row_bits")
    @classmethod
    def _row_holds_an_entry(cls, spmat_row_bits: int, info: ValidationInfo) -> int:
        entry_bits = info.data.get("weight_bits", 0) + info.data.get("index_bits", 0)
        if spmat_row_bits < entry_bits:
            raise ValueError(
                f"spec.spmat_row_bits={spmat_row_bits}: must be >= {entry_bits}, one entry of weight_bits + index_bits"
            )
        return spmat_row_bits

    @property
    def entry_bits(self) -> int:
        """Bits of one stored entry: code and zero run."""
        return self.weight_bits + self.index_bits

    @property
    def entries_per_row(self) -> int:
        """Whole entries in one row of the sparse-matrix SRAM."""
        return self.spmat_row_bits // self.entry_bits

    @property
    def entry_capacity(self) -> int:
        """Entries one PE can hold *and* address with ``ptr_bits``."""
        held = self.spmat_kib * 8192 // self.spmat_row_bits * self.entries_per_row
        return min(held, (1 << self.ptr_bits) - 1)

    @property
    def pointer_capacity(self) -> int:
        """Column pointers one PE can hold."""
        return self.ptr_kib * 8192 // self.ptr_bits

    @property
    def activation_capacity(self) -> int:
        """Input activations one PE can hold in its SRAM."""
        return self.act_kib * 8192 // self.data_bits

    @property
    def lnzd_units(self) -> int:
        """Leading-non-zero-detect units: a quadtree over the PEs (16 + 4 + 1 = 21 for 64 PEs)."""
        units, nodes = 0, self.n_pe
        while nodes > 1:
            nodes = -(-nodes // 4)
            units += nodes
        return max(units, 1)

    def replace(self, /, **changes: Any) -> Self:
        """Return a copy with ``changes`` applied and everything validated again."""
        return type(self)(**{**self.model_dump(), **changes})

    def us(self, cycles: float) -> float:
        """Convert cycles to microseconds at this clock."""
        return cycles / self.clock_mhz


EIE_64PE = AcceleratorSpec()
EIE_256PE = AcceleratorSpec(name="EIE_256PE", n_pe=256, clock_mhz=1200, node_nm=28)
PRESETS: Mapping[str, AcceleratorSpec] = {"EIE_64PE": EIE_64PE, "EIE_256PE": EIE_256PE}


def load_spec(source: str | Path | AcceleratorSpec = "EIE_64PE", overrides: Iterable[str] = ()) -> AcceleratorSpec:
    """Read a specification: a preset's name or a TOML file, then ``key=value`` words on top.

    Parameters
    ----------
    source
        A spec, ``"EIE_64PE"``, ``"EIE_256PE"``, or a ``.toml`` file whose keys overlay a preset (its optional key
        ``preset`` names which; EIE_64PE otherwise).
    overrides
        Words like ``"n_pe=128"``; values are read as TOML values.

    Returns
    -------
    AcceleratorSpec
        With every bound checked.

    Raises
    ------
    SpecError
        Everything that is wrong, at once.
    """
    values: dict[str, Any] = {}
    problems: list[str] = []
    if isinstance(source, AcceleratorSpec):
        base = source
    elif str(source) in PRESETS:
        base = PRESETS[str(source)]
    else:
        base, values = _overlay(Path(source))
    for word in overrides:
        key, found, text = word.partition("=")
        if not found or not key.strip():
            problems.append(f"--set {word}: must be key=value, as in n_pe=128")
            continue
        try:
            values[key.strip()] = tomllib.loads(f"value = {text}")["value"]
        except ValueError:
            values[key.strip()] = text
    try:
        spec = base.replace(**values)
    except SpecError as error:
        problems.extend(error.problems)
    if problems:
        raise SpecError(problems)
    return spec


def _overlay(path: Path) -> tuple[AcceleratorSpec, dict[str, Any]]:
    presets = ", ".join(PRESETS)
    if path.suffix != ".toml":
        near = difflib.get_close_matches(str(path).upper(), PRESETS, 1, 0.5)
        hint = f"; did you mean {near[0]}?" if near else ""
        raise SpecError([f"spec {path}: must be one of {presets} or a .toml file{hint}"])
    try:
        values = read_toml(path, EieError)
    except EieError as error:
        raise SpecError([str(error)]) from None
    preset = values.pop("preset", "EIE_64PE")
    if not isinstance(preset, str) or preset not in PRESETS:
        raise SpecError([f"{path}: preset={preset}: must be one of {presets}"])
    values.setdefault("name", path.stem)
    return PRESETS[preset], values


def complaint(item: Mapping[str, Any], prefix: str, keys: Iterable[str]) -> str:
    """Turn one pydantic error into ``prefix.key=value: bound``; ``keys`` are the known ones, for suggestions."""
    if item["type"] == "value_error":
        return str(item["ctx"]["error"])
    key = str(item["loc"][-1])
    head = ".".join([prefix, *map(str, item["loc"])])
    if item["type"] == "missing":
        return f"{head}: missing"
    head += f"={_shown(item['input'])}"
    if item["type"] == "extra_forbidden":
        near = difflib.get_close_matches(key, keys, 1, 0.6)
        return f"{head}: unknown key; " + (f"did you mean {near[0]}?" if near else f"known: {', '.join(keys)}")
    for name, sign in _BOUNDS.items():
        if name in item.get("ctx", {}):
            return f"{head}: must be {sign} {item['ctx'][name]}"
    kinds: dict[str, str] = {
        "int_type": "an integer",
        "float_type": "a number",
        "bool_type": "true or false",
        "string_type": "text",
        "finite_number": "finite",
    }
    message = str(item["msg"])
    wanted = message.removeprefix("Input should be ")
    return f"{head}: must be " + kinds.get(item["type"], message.lower() if wanted == message else wanted)


def _shown(value: object) -> str:
    """What a user's file says, as Python writes it: one line of printable text, cut short."""
    if isinstance(value, dict | list) and value:
        return f"a {type(value).__name__} of {len(value)}"
    text = repr(value)
    return text if len(text) <= 80 else f"{text[:80]}..."
