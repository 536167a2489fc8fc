"""A systolic array, weight-, output- or input-stationary, in closed form.

Comes in: a `Workload`. Goes out: a `Baseline`. The cycles are those of SCALE-Sim v3 with memory that never stalls, to
the cycle; docs/baselines.md derives them. An operand that does not fit its SRAM is charged by bandwidth, which
SCALE-Sim simulates in detail.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

from eie.errors import EieError
from eie.machines.records import Baseline, LayerCost, Machine
from eie.machines.workload import LayerWork, Workload

Dataflow = Literal["ws", "os", "is"]
ACTIVE_SHARE = 0.9
SOURCE = "closed form of SCALE-Sim v3 (scalesim 3.0.0), equal in all 255 measured runs"


def dataflow_of(text: str) -> Dataflow | None:
    """Return the dataflow of that name, or None."""
    dataflow: Dataflow | None = next((flow for flow in get_args(Dataflow) if flow == text), None)
    return dataflow


@dataclass(frozen=True, kw_only=True)
class SystolicArray:
    """The machine.

    Attributes
    ----------
    rows, columns
        Of processing elements; inputs enter from the left, one a row and cycle.
    dataflow
        Which operand stays: ``"ws"`` weights, ``"os"`` outputs, ``"is"`` inputs.
    ifmap_kib, filter_kib, ofmap_kib
        SRAM of inputs, weights and outputs, of which 90 % is the active half of the double buffer.
    word_bytes
        Size of a value.
    read_words, write_words
        DRAM bandwidth: words a cycle to each of the two input SRAMs, and from the output SRAM.
    clock_mhz
        Cycles become time with it; 800 is EIE's clock, since SCALE-Sim knows cycles only.

    Raises
    ------
    EieError
        For sizes below 1 or an unknown dataflow.
    """

    rows: int
    columns: int
    dataflow: Dataflow = "ws"
    ifmap_kib: int = 1024
    filter_kib: int = 1024
    ofmap_kib: int = 1024
    word_bytes: int = 1
    read_words: int = 50
    write_words: int = 1024
    clock_mhz: float = 800.0

    def __post_init__(self) -> None:
        if self.dataflow not in get_args(Dataflow):
            raise EieError(f"systolic dataflow {self.dataflow!r}: must be ws, os or is")
        for name in ("rows", "columns", "ifmap_kib", "filter_kib", "ofmap_kib", "word_bytes", "read_words",
                     "write_words", "clock_mhz"):  # fmt: skip
            if getattr(self, name) <= 0:
                raise EieError(f"systolic {name}={getattr(self, name)}: must be positive")

    @property
    def name(self) -> str:
        """As the command line writes it."""
        return f"systolic:{self.rows}x{self.columns}:{self.dataflow}"


@dataclass(frozen=True, kw_only=True)
class SystolicRun:
    """A product (m x k) by (k x n) on the array; percentages as SCALE-Sim reports them.

    Attributes
    ----------
    total_cycles
        From the first operand's entry to the last output, memory never stalling.
    cycles_incl_prefetch
        With the first fill of the SRAMs and the emptying of the last outputs.
    overall_util_pct, mapping_efficiency_pct, compute_util_pct
        MACs over PEs x cycles; PEs that hold something; the two combined fold by fold.
    dram_words
        Words that the SRAMs bring in, and that outputs and partial sums take out.
    """

    total_cycles: int
    cycles_incl_prefetch: int
    stall_cycles: int
    overall_util_pct: float
    mapping_efficiency_pct: float
    compute_util_pct: float
    dram_words: int


def gemm(m: int, n: int, k: int, array: SystolicArray) -> SystolicRun:
    """Count an (m x k) by (k x n) product: ``m`` vectors of ``k`` inputs, ``n`` outputs each.

    Every fold maps a (rows x columns) piece of the two stationary dimensions and streams the third. It takes
    ``streamed + rows + columns - 2`` cycles for the skewed wave front to pass, and ``rows`` more where the stationary
    operand is loaded first. Folds do not overlap; cycles count from 0, hence the last - 1.
    """
    high, wide = array.rows, array.columns
    loaded = array.dataflow != "os"
    # Which dimension lies along the array's rows, which along its columns, and which streams through.
    down, across, streamed = {"ws": (k, n, m), "os": (m, n, k), "is": (k, m, n)}[array.dataflow]
    row_folds, column_folds = -(-down // high), -(-across // wide)
    fold = streamed + high + wide - 2 + (high if loaded else 0)
    total = row_folds * column_folds * fold - 1
    # What enters along rows is padded to whole folds of rows, what enters along columns to whole folds of columns.
    along_rows = streamed * high * row_folds
    along_columns = (streamed if array.dataflow == "os" else down) * wide * column_folds
    ifmap, filters = (along_columns, along_rows) if array.dataflow == "is" else (along_rows, along_columns)
    # Where outputs do not stay in the array, every fold of rows writes partial sums.
    out = m * n * (row_folds if loaded else 1)
    first = max(_fill(ifmap, array.ifmap_kib, array), _fill(filters, array.filter_kib, array))
    last = -(-min(out, _words(array.ofmap_kib, array)) // array.write_words) - 1
    # The column loop is the outer one: what enters along the rows is needed again in each of its rounds.
    row_kib = array.filter_kib if array.dataflow == "is" else array.ifmap_kib
    again = column_folds if along_rows > _words(row_kib, array) else 1
    fetched = along_rows * again, along_columns
    # The slower operand sets the pace; what the first fill brought in and what arrives while the array computes is not
    # waited for.
    stall = max(0, *(-(-words // array.read_words) - first - total for words in fetched))
    mapped = down * across / (high * row_folds * wide * column_folds)
    return SystolicRun(
        total_cycles=total + stall,
        cycles_incl_prefetch=total + stall + first + last,
        stall_cycles=stall,
        overall_util_pct=100 * m * n * k / (max(1, total + stall) * high * wide),
        mapping_efficiency_pct=100 * mapped,
        # Per fold, as SCALE-Sim averages it: its fold has the columns' skew once more where an operand is loaded.
        compute_util_pct=100 * mapped * streamed / (fold + (wide - 1 if loaded else 0)),
        dram_words=sum(fetched) + out,
    )


def run(workload: Workload, array: SystolicArray, batch: int = 1) -> Baseline:
    """Run every layer; ``batch`` samples share the weights, costs are per sample.

    Zeros cost as much as any other value. An LSTM's steps follow each other, groups too.
    """
    layers = tuple(_layer(layer, array, batch) for layer in workload.layers)
    machine = Machine(
        name=array.name,
        how="modelled",
        source=SOURCE,
        clock_mhz=array.clock_mhz,
        batch=batch,
        dram=any(layer.details["stall_cycles"] > 0 for layer in layers),
        memory="own DRAM",
        weight_bits=8 * array.word_bytes,
    )
    notes = [
        f"{layer.layer}: operands exceed the SRAMs; {layer.details['stall_cycles']:,.0f} cycles of waiting by bandwidth"
        for layer in layers
        if layer.details["stall_cycles"]
    ]
    return Baseline(machine, layers, tuple(notes))


def _layer(layer: LayerWork, array: SystolicArray, batch: int) -> LayerCost:
    product = gemm(m=layer.products * batch, n=layer.outputs, k=layer.inputs, array=array)
    # A step needs the one before, so steps do not share the weights; samples do.
    times = layer.steps * layer.groups / batch
    cycles = product.total_cycles * times
    return LayerCost(
        layer=layer.name,
        latency_us=cycles / array.clock_mhz,
        cycles=cycles,
        utilisation=product.overall_util_pct / 100,
        bytes_moved=product.dram_words * array.word_bytes * times,
        shape=layer.shape,
        details={
            "cycles_incl_prefetch": product.cycles_incl_prefetch * times,
            "stall_cycles": product.stall_cycles * times,
            "mapping_efficiency_pct": product.mapping_efficiency_pct,
            "compute_util_pct": product.compute_util_pct,
        },
    )


def _words(kib: int, array: SystolicArray) -> int:
    """Words in the active part of a double-buffered SRAM."""
    return int(kib * 1024 * ACTIVE_SHARE) // array.word_bytes


def _fill(words: int, kib: int, array: SystolicArray) -> int:
    """Cycles of the first fill: the whole operand, or as much as the active part holds."""
    return -(-min(words, _words(kib, array)) // array.read_words)
