"""The accelerator as data: every hardware parameter, validated, and which piece of a simulation each decides.

Comes in: keyword values, a TOML file or ``key=value`` words. Goes out: a frozen `AcceleratorSpec`. Read by the
compiler (how to encode), the simulator (when things happen), energy (what they cost) and the report.
"""

from __future__ import annotations

import difflib
import math
import tomllib
import warnings
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from fractions import Fraction
from functools import cache
from pathlib import Path
from typing import Annotated, Any, Literal, Self

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, ValidationError, ValidationInfo, computed_field, field_validator

from eie.errors import EieError, SpecError
from eie.formats.dram import drams
from eie.formats.files import read_toml
from eie.show.face import View
from eie.show.sections import Column, Grid, Section

_BOUNDS = {"ge": ">=", "gt": ">", "le": "<=", "lt": "<"}
SUPPORTED_NODES_NM = (28, 32, 45)

# Named here and not in the simulator, so that each field can say beside its bounds who reads it, and caches, program
# files and docs take it from one place.
Stage = Literal["shared", "encoded", "demand", "plan", "inputs", "slices", "tallies", "queues", "streams", "activity"]
# The stages between weights and an `eie.Activity`, each with those whose values it is made from.
AFTER: Mapping[Stage, tuple[Stage, ...]] = {
    "shared": (),
    "encoded": ("shared",),
    "demand": ("encoded",),
    # What a layer has to do follows from the plan, not from the plan's fields: two machines on which it stays share it.
    "plan": ("demand",),
    # Not after "encoded": what a layer computes follows from its codes, however they are laid out on PEs.
    "inputs": ("shared",),
    "slices": ("encoded", "inputs"),
    "tallies": ("slices",),
    "queues": ("slices",),
    # In the place of "queues" where a layer's weights arrive while it works. Apart from it, so that a sweep over DRAMs
    # counts no layer anew whose weights are in place.
    "streams": ("slices",),
    "activity": ("tallies", "queues", "streams"),
}


@dataclass(frozen=True, kw_only=True)
class Reads:
    """Which stages a field decides, and what more of it costs.

    Attributes
    ----------
    by
        The first stages that read the field; those after them are made anew with them. Empty: time, energy and area
        are computed from the activity, later.
    enforced
        Stages that read it too where ``residency`` is ``"auto"``: the size then decides how layers are cut.
    costs
        What one pays for more of it, in words.
    since
        The release that brought the field. Files of earlier ones do not state it and mean its default.
    """

    by: tuple[Stage, ...] = ()
    enforced: tuple[Stage, ...] = ()
    costs: str
    since: str = "0.1"


def plain_value(value: Any) -> Any:
    """Return numpy's scalars, and arrays without axes, as Python's own numbers, which strict fields insist on."""
    scalar = isinstance(value, np.generic) or (isinstance(value, np.ndarray) and value.ndim == 0)
    return value.item() if scalar else value


def word_value(text: str) -> Any:
    """Return what a word of a command line says, read as a TOML value; text where it is none.

    ``True`` and ``False`` too, as Python and numpy print them.
    """
    text = text.strip().lower() if text.strip() in ("True", "False") else text
    try:
        return tomllib.loads(f"value = {text}")["value"]
    except ValueError:
        # No TOML value: text, so that name=mine needs no quotes; a count's strict field refuses it by name.
        return text


class AcceleratorSpec(View, BaseModel):
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

    # strict: "64", 64.0 or True for a count is a slip to be named and not to be guessed. forbid: so is a misspelt
    # field, which would leave the default in force.
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    name: Annotated[
        str,
        Field(description="label used in reports"),
        Reads(costs="nothing"),
    ] = "EIE_64PE"
    n_pe: Annotated[
        int,
        Field(ge=1, le=65536, description="processing elements"),
        Reads(by=("encoded",), costs="area and leakage in proportion; fewer rows a PE, so less even work"),
    ] = 64
    clock_mhz: Annotated[
        float,
        Field(gt=0, le=100_000, allow_inf_nan=False, description="clock"),
        # By "streams": DRAM does not follow the clock, so what it brings in a cycle does.
        Reads(by=("streams", "plan"), costs="dynamic power in proportion"),
    ] = 800.0
    act_queue_depth: Annotated[
        int,
        # At least 2: one slot stays free, and a ring of one could never be written.
        Field(ge=2, le=1 << 20, description="ring slots per queue; one always stays free"),
        Reads(by=("queues", "streams"), costs="queue registers in every PE (not in the area model)"),
    ] = 8
    index_bits: Annotated[
        int,
        # Up to 8: runs are stored as uint8, and so are codes below.
        Field(ge=1, le=8, description="bits of a relative row index (zero run)"),
        Reads(by=("encoded",), costs="SRAM bits of every entry; fewer of them, more padding entries"),
    ] = 4
    weight_bits: Annotated[
        int,
        Field(ge=1, le=8, description="bits of a shared-weight code; code 0 is zero"),
        # Not "encoded" as well: what comes after a stage is made anew with it (`AFTER`).
        Reads(by=("shared",), costs="SRAM bits of every entry; twice the codebook"),
    ] = 4
    spmat_row_bits: Annotated[
        int,
        Field(ge=2, le=1 << 16, description="width of the sparse-matrix SRAM"),
        Reads(by=("tallies", "streams", "plan"), costs="energy of a read; fewer reads"),
    ] = 64
    spmat_kib: Annotated[
        int,
        Field(ge=1, le=1 << 20, description="sparse-matrix SRAM per PE"),
        # By "streams": the buffer is part of it, and never larger.
        Reads(by=("streams", "plan"), costs="area, energy of a read and leakage"),
    ] = 128
    ptr_kib: Annotated[
        int,
        Field(ge=1, le=1 << 20, description="pointer SRAM per PE, both banks together"),
        Reads(by=("plan",), costs="area, energy of a read and leakage"),
    ] = 32
    ptr_bits: Annotated[
        int,
        Field(ge=4, le=32, description="width of a column pointer"),
        # By "streams": what is loaded has pointers too. By "activity": so had the reloads of 0.1.
        Reads(by=("streams", "activity", "plan"), costs="pointer SRAM for as many columns"),
    ] = 16
    act_kib: Annotated[
        int,
        Field(ge=1, le=1 << 20, description="activation SRAM per PE"),
        # By "activity": which maps go to DRAM is counted there.
        Reads(by=("plan",), costs="area and leakage; fewer maps in DRAM"),
    ] = 2
    act_registers: Annotated[
        int,
        Field(ge=1, le=1 << 20, description="entries of each activation register file"),
        Reads(by=("plan",), enforced=("encoded",), costs="registers in every PE (not in the area model)"),
    ] = 64
    data_bits: Annotated[
        int,
        Field(ge=4, le=32, description="width of activations, codebook and accumulators"),
        # By "inputs": small values round to zero in narrow formats, and a zero is not broadcast.
        Reads(by=("inputs", "plan"), costs="activation SRAM for as many activations, wider arithmetic"),
    ] = 16
    node_nm: Annotated[
        int,
        Field(description="process node, for energy and area"),
        Reads(costs="area with its square, energy and leakage by table"),
    ] = 45
    io_bits: Annotated[
        int,
        Field(ge=1, le=1 << 16, description="bits a cycle between the host and the chip"),
        # By "activity": a program file of eie 0.1 that was cut into passes reloads them over the same link.
        Reads(by=("activity",), costs="pins (not in the energy model)"),
    ] = 64
    residency: Annotated[
        Literal["auto", "ideal"],
        Field(description="auto: what does not fit the chip comes from DRAM; ideal: all is where it is needed"),
        Reads(by=("encoded",), costs="with auto, DRAM traffic of what does not fit", since="0.2"),
    ] = "auto"
    stream: Annotated[
        Literal["layer", "columns"],
        Field(description="columns of a streamed layer that are fetched: all, or those of non-zero activations"),
        Reads(by=("streams",), costs="with layer, traffic of columns that nobody reads", since="0.2"),
    ] = "columns"
    stream_kib: Annotated[
        float,
        # A fraction of a KiB is a buffer too; one that holds no entry refuses every column, where it is used.
        Field(gt=0, le=1 << 20, allow_inf_nan=False, description="stream buffer per PE, both halves together"),
        Reads(by=("streams", "plan"), costs="so much sparse-matrix SRAM where a layer is streamed", since="0.2"),
    ] = 8.0
    dram_gb_per_s: Annotated[
        float,
        Field(gt=0, le=1_000_000, allow_inf_nan=False, description="DRAM bandwidth, 10^9 bytes a second"),
        Reads(by=("streams", "plan"), costs="pins, DRAM devices", since="0.2"),
    ] = 6.4
    dram_latency_ns: Annotated[
        float,
        Field(ge=0, le=1_000_000, allow_inf_nan=False, description="from a request to its first byte"),
        Reads(by=("streams",), costs="less of it costs another memory", since="0.2"),
    ] = 51.0
    dram_burst_bytes: Annotated[
        int,
        Field(ge=1, le=1 << 16, description="the least that DRAM hands out; a column is rounded up to bursts"),
        Reads(by=("streams", "plan"), costs="traffic of short columns", since="0.2"),
    ] = 64
    dram_pj_per_bit: Annotated[
        float,
        Field(ge=0, le=1_000_000, allow_inf_nan=False, description="energy of a bit from or to DRAM"),
        Reads(costs="energy of all DRAM traffic in proportion", since="0.2"),
    ] = 20.0
    act_batches: Annotated[
        Literal["free", "paper"],
        Field(description="vectors longer than the activation registers: no cycles, or batches through the SRAM"),
        Reads(by=("activity",), costs="with paper, cycles to drain and fill the registers", since="0.2"),
    ] = "free"
    act_row_bits: Annotated[
        int,
        Field(ge=1, le=1 << 16, description="width of the activation SRAM"),
        Reads(
            by=("activity", "plan"),
            costs="energy of a read; fewer reads, fewer cycles to fill the registers",
            since="0.2",
        ),
    ] = 16

    def __init__(self, /, **values: Any) -> None:
        try:
            super().__init__(**renamed({name: plain_value(value) for name, value in values.items()}))
        except ValidationError as error:
            known = type(self).model_fields
            # `from None`: pydantic's own account would only repeat this in other words.
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
        # `info.data` holds the fields declared above this one that passed: the order of fields matters, and a wrong
        # weight_bits counts as 0 so that it is complained of once.
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
        # Rounded down: an entry does not straddle two rows, the rest of a row stays unused.
        return self.spmat_row_bits // self.entry_bits

    # Part of every dump, since readers of what 0.1 wrote look for it; `renamed` takes both where they agree.
    @computed_field  # type: ignore[prop-decorator]
    @property
    def enforce_capacity(self) -> bool:
        """The spelling of 0.1: whether what does not fit is charged for, ``residency == "auto"``."""
        return self.residency == "auto"

    @property
    def entry_capacity(self) -> int:
        """Entries one PE can hold, of all layers that are in it together."""
        # 1 KiB = 8192 bits. Rows first, then entries, since a row holds whole entries only.
        return self.spmat_kib * 8192 // self.spmat_row_bits * self.entries_per_row

    @property
    def pointer_reach(self) -> int:
        """Entries one PE can address with ``ptr_bits``, of one layer: each counts from a base register of its own."""
        # Minus 1: the last pointer is one past the end and must be written in ptr_bits as well.
        return (1 << self.ptr_bits) - 1

    @property
    def pointer_capacity(self) -> int:
        """Column pointers one PE can hold."""
        return self.ptr_kib * 8192 // self.ptr_bits

    @property
    def activation_capacity(self) -> int:
        """Input activations one PE can hold in its SRAM."""
        return self.act_kib * 8192 // self.data_bits

    @property
    def stream_half_entries(self) -> int:
        """Entries one PE can hold in a half of the stream buffer, whole SRAM rows of them."""
        # Part of the sparse-matrix SRAM, so never more than there is of it.
        kib = min(self.stream_kib, float(self.spmat_kib))
        return int(kib * 8192 / 2) // self.spmat_row_bits * self.entries_per_row

    @property
    def dram_bytes_per_cycle(self) -> Fraction:
        """Bytes that DRAM delivers in a cycle of this clock, exactly: a fraction."""
        return _bytes_a_cycle(self.dram_gb_per_s, self.clock_mhz)

    def in_bursts(self, bits: int) -> int:
        """Return the bits that DRAM moves for so many neighbouring ones: whole bursts."""
        burst = 8 * self.dram_burst_bytes
        return -(-bits // burst) * burst

    def bus_cycles(self, bits: int) -> int:
        """Whole cycles for which one transfer of so many bits keeps the bus busy."""
        rate = 8 * self.dram_bytes_per_cycle
        return -(-bits * rate.denominator // rate.numerator)

    @property
    def dram_latency_cycles(self) -> int:
        """Cycles from a request to its first byte at this clock, rounded up."""
        return math.ceil(_decimal(self.dram_latency_ns) * _decimal(self.clock_mhz) / 1000)

    @property
    def lnzd_units(self) -> int:
        """Leading-non-zero-detect units: a quadtree over the PEs (16 + 4 + 1 = 21 for 64 PEs)."""
        units, nodes = 0, self.n_pe
        while nodes > 1:
            # Rounded up: a node with fewer than four children is a unit too.
            nodes = -(-nodes // 4)
            units += nodes
        # A single PE has no tree, but still something to scan its activations with.
        return max(units, 1)

    def replace(self, /, **changes: Any) -> Self:
        """Return a copy with ``changes`` applied and everything validated again.

        ``dram="lpddr5"`` sets the four fields of a DRAM by its name: lpddr2 (the default), lpddr5, hbm2, hbm2e, hbm3.
        """
        # Not pydantic's `model_copy`, which takes changes unchecked. Renamed first, or both spellings would meet.
        # Only what was said so far, so that `model_fields_set` stays true.
        return type(self)(**{**self.model_dump(include=self.model_fields_set), **renamed(changes)})

    def stated(self) -> dict[str, Any]:
        """Return the fields as a file states them: those of later releases only where they differ from the default.

        So a file that an earlier release wrote is the same file, with the same hash, when it is written again.
        """
        fields = type(self).model_fields
        later = {
            name: value
            for name, value in self.model_dump(exclude={"residency", "enforce_capacity"}).items()
            if reads(name).since == "0.1" or value != fields[name].default
        }
        # As 0.1 spelt the residency.
        return {**later, "enforce_capacity": self.enforce_capacity}

    @classmethod
    def of_file(cls, values: Mapping[str, Any]) -> Self:
        """Undo `stated`: a file's fields are taken as they were meant, without a word on old spellings."""
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", FutureWarning)
            return cls(**values)

    def us(self, cycles: float) -> float:
        """Convert cycles to microseconds at this clock."""
        # A MHz is a cycle a microsecond, so no factor is needed.
        return cycles / self.clock_mhz

    def headline(self) -> str:
        """Say which machine it is, in the numbers that matter most."""
        return (
            f"{self.name}: {self.n_pe} PEs, {self.clock_mhz:g} MHz, queue {self.act_queue_depth}, "
            f"{self.weight_bits}+{self.index_bits}-bit entries, {self.node_nm} nm{self.stated_residency}"
        )

    @property
    def stated_residency(self) -> str:
        """What a headline says of it: that it is ideal, for no machine is; nothing otherwise."""
        return ", residency ideal" if self.residency == "ideal" else ""

    def sections(self) -> tuple[Section, ...]:
        """Return every field with its value and what it means."""
        columns = (Column("field", "field", "text"), Column("value", "value", "word"), Column("what", "what", "prose"))
        rows = tuple(
            {"field": name, "value": str(getattr(self, name)), "what": field.description or ""}
            for name, field in type(self).model_fields.items()
        )
        return (Section(name="spec", grids=(Grid(columns=columns, rows=rows),)),)


def renamed(values: Mapping[str, Any]) -> dict[str, Any]:
    """Return fields by their present names, and those that ``dram`` stands for.

    ``enforce_capacity`` of 0.1 is ``residency``, true "auto", false "ideal". ``dram="hbm2"`` sets the four fields of a
    published DRAM; one that is there too wins.

    Raises
    ------
    SpecError
        If both residencies are there, the old one is neither true nor false, or the DRAM is not known.
    """
    if "dram" in values:
        values = {**_dram(values["dram"]), **{name: value for name, value in values.items() if name != "dram"}}
    if "enforce_capacity" not in values:
        return dict(values)
    enforced = plain_value(values["enforce_capacity"])
    if not isinstance(enforced, bool):
        raise SpecError([f"spec.enforce_capacity={_shown(enforced)}: must be true or false"])
    meant = "auto" if enforced else "ideal"
    rest = {name: value for name, value in values.items() if name != "enforce_capacity"}
    if "residency" in values:
        if values["residency"] != meant:
            raise SpecError(["spec.enforce_capacity: is an old spelling of spec.residency: give one of them"])
        return rest
    warnings.warn(
        f'spec.enforce_capacity={str(enforced).lower()}: is an old spelling, read as residency = "{meant}"',
        FutureWarning,
        stacklevel=3,
    )
    return {**rest, "residency": meant}


def _dram(name: object) -> dict[str, Any]:
    """Return the fields that a published DRAM sets."""
    if name not in drams():
        known = ", ".join(drams())
        raise SpecError([f"spec.dram={_shown(name)}: must be one of {known}"])
    # As their fields take them: TOML writes a whole number of GB/s or pJ without a point.
    return {row.name: row.value for row in drams()[str(name)]}


# Cached: every layer of every call asks, and reading a number's digits takes longer than counting a small layer.
@cache
def _decimal(value: float) -> Fraction:
    """Return the decimal number that was written: floats may be a hair off, and a full bus then takes a cycle more."""
    return Fraction(str(value))


def reads(field: str) -> Reads:
    """Return what a field's annotation says of its readers."""
    return next(fact for fact in AcceleratorSpec.model_fields[field].metadata if isinstance(fact, Reads))


def fields_of(stage: Stage, spec: AcceleratorSpec, without: Collection[Stage] = ()) -> tuple[str, ...]:
    """Name the fields of ``spec`` that decide what a stage makes: those read by it or by a stage before it.

    Two machines that agree in them share the stage's value; this is what caches go by, and what a compiled program
    insists on.

    Parameters
    ----------
    without
        Stages that read nothing here: ``"inputs"`` where every layer's inputs were recorded.
    """
    return _fields_of(stage, frozenset(without), spec.residency == "auto")


# Cached, since every look-up in a stage cache asks; of a spec only `residency` decides the names.
@cache
def _fields_of(stage: Stage, without: frozenset[Stage], enforced: bool) -> tuple[str, ...]:
    path, waiting = set[Stage](), [stage]
    while waiting:
        current = waiting.pop()
        if current not in path and current not in without:
            path.add(current)
            waiting += AFTER[current]
    fields = []
    for name in AcceleratorSpec.model_fields:
        read = reads(name)
        if not path.isdisjoint(read.by) or (enforced and not path.isdisjoint(read.enforced)):
            fields.append(name)
    return tuple(fields)


# Cached, since every call asks, and fractions are slow.
@cache
def _bytes_a_cycle(gb_per_s: float, clock_mhz: float) -> Fraction:
    # GB/s over MHz is 1000 bytes a cycle.
    return _decimal(gb_per_s) * 1000 / _decimal(clock_mhz)


EIE_64PE = AcceleratorSpec()
# The paper's own projection to 28 nm (Table V).
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
        # A file's keys and the words overlay in one dictionary: the words, read later, win.
        base, values = _overlay(Path(source))
    for word in overrides:
        key, equals, text = word.partition("=")
        if not equals or not key.strip():
            problems.append(f"--set {word}: must be key=value, as in n_pe=128")
            continue
        values[key.strip()] = word_value(text)
    try:
        spec = base.replace(**values)
    except SpecError as error:
        # Joined to what was wrong with the words: everything at once.
        problems.extend(error.problems)
    if problems:
        raise SpecError(problems)
    return spec


def _overlay(path: Path) -> tuple[AcceleratorSpec, dict[str, Any]]:
    presets = ", ".join(PRESETS)
    if path.suffix != ".toml":
        # Presets are in capitals, people type eie_64pe. A low cut-off, as there are few names to confuse.
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
    # The file's own name, or every report would call it by the preset it differs from.
    values.setdefault("name", path.stem)
    return PRESETS[preset], values


def complaint(item: Mapping[str, Any], prefix: str, keys: Iterable[str]) -> str:
    """Turn one pydantic error into ``prefix.key=value: bound``; ``keys`` are the known ones, for suggestions."""
    # Raised by the validators above: their text is complete already.
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
    # The bound itself stands under the name of its constraint: no need to take pydantic's sentence apart.
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
