"""The accelerator as data: every hardware parameter, validated, and which piece of a simulation each decides.

Comes in: keyword values. Goes out: a frozen `AcceleratorSpec`. Read by the compiler (how to encode), the simulator
(when things happen), energy (what they cost) and the report.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Mapping
from fractions import Fraction
from typing import Annotated, Any, ClassVar, Literal, Self

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    ValidationError,
    ValidationInfo,
    computed_field,
    field_validator,
)

from eie.errors import SpecError, printable
from eie.show.face import View
from eie.show.numbers import of
from eie.show.sections import Column, Grid, Section
from eie.spec.rates import bytes_a_cycle, decimal
from eie.spec.stages import Reads
from eie.spec.words import complaint, plain_value, renamed

SUPPORTED_NODES_NM = (28, 32, 45)


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

    # Said to whoever gives its name instead.
    AS_IN: ClassVar[str] = ", as eie.EIE_64PE or eie.load_spec(name) is"

    name: Annotated[
        str,
        AfterValidator(printable),
        Field(description="label used in reports"),
        Reads(costs="nothing"),
    ] = "EIE_64PE"
    n_pe: Annotated[
        int,
        Field(ge=1, le=65536, description="processing elements"),
        Reads(
            by=("encoded",),
            costs="area, clock and leakage in proportion, wires beyond 64; fewer rows a PE, so less even work",
        ),
    ] = 64
    clock_mhz: Annotated[
        float,
        # From 1 Hz: below it a cycle is longer than any number of microseconds.
        Field(ge=1e-6, le=100_000, allow_inf_nan=False, description="clock"),
        # By "streams": DRAM does not follow the clock, so what it brings in a cycle does.
        Reads(
            by=("streams", "plan"),
            costs="power in proportion, but for leakage; too fast for logic and SRAMs, it is flagged",
        ),
    ] = 800.0
    act_queue_depth: Annotated[
        int,
        # At least 2: one slot stays free, and a ring of one could never be written.
        Field(ge=2, le=1 << 20, description="ring slots per queue; one always stays free"),
        Reads(by=("queues", "streams"), costs="clocked registers in every PE"),
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
        Reads(by=("shared",), costs="SRAM bits of every entry; twice the codebook, which is registers"),
    ] = 4
    spmat_row_bits: Annotated[
        int,
        Field(ge=2, le=1 << 16, description="width of the sparse-matrix SRAM"),
        Reads(by=("tallies", "streams", "plan"), costs="energy of a read, area, a row register; fewer reads"),
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
        Reads(
            by=("streams", "activity", "plan"), costs="pointer SRAM for as many columns, energy of a read, registers"
        ),
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
        Reads(by=("plan",), enforced=("encoded",), costs="clocked registers in every PE"),
    ] = 64
    data_bits: Annotated[
        int,
        Field(ge=4, le=32, description="width of activations, codebook and accumulators"),
        # By "inputs": small values round to zero in narrow formats, and a zero is not broadcast.
        Reads(
            by=("inputs", "plan"),
            costs="activation SRAM for as many activations; wider registers; the multiplier with its square",
        ),
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
        Reads(by=("activity",), costs="pins, which have no price here"),
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
        Field(ge=1e-6, le=1_000_000, allow_inf_nan=False, description="DRAM bandwidth, 10^9 bytes a second"),
        Reads(by=("streams", "plan"), costs="pins and DRAM devices, which have no price here", since="0.2"),
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

    clock_gated: Annotated[
        bool,
        Field(description="whether the clock of a PE that waits stands still"),
        Reads(costs="clock gates, which have no price here; the paper's machine has none", since="0.2"),
    ] = False

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
        return bytes_a_cycle(self.dram_gb_per_s, self.clock_mhz)

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
        return math.ceil(decimal(self.dram_latency_ns) * decimal(self.clock_mhz) / 1000)

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
            f"{self.name}: {of(self.n_pe, 'PE')}, {self.clock_mhz:g} MHz, queue {self.act_queue_depth}, "
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


def reads(field: str) -> Reads:
    """Return what a field's annotation says of its readers."""
    return next(fact for fact in AcceleratorSpec.model_fields[field].metadata if isinstance(fact, Reads))


EIE_64PE = AcceleratorSpec()
# The paper's own projection to 28 nm (Table V).
EIE_256PE = AcceleratorSpec(name="EIE_256PE", n_pe=256, clock_mhz=1200, node_nm=28)
PRESETS: Mapping[str, AcceleratorSpec] = {"EIE_64PE": EIE_64PE, "EIE_256PE": EIE_256PE}
