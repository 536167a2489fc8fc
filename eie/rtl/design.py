"""A layer's work as hardware: the sizes of its memories, their images, and what is expected of a run.

Comes in: a `LayerWork`. Goes out: the generated files, by name. Read by `write`, which puts the Verilog beside them.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from eie.rtl import streams
from eie.rtl.hexfile import hex_words, padded
from eie.rtl.work import LayerWork

# In the order in which the bench has them.
COUNTS = (
    "cycles",
    "broadcasts",
    "stall_cycles",
    "dead_scan_cycles",
    "ptr_reads",
    "spmat_reads",
    "entries",
    "padding_entries",
    "empty_column",
    "saturations",
    "load_wait_cycles",
    "bus_cycles",
    "dram_bits",
    "register_cycles",
)
PE_COUNTS = ("issue", "empty_column", "starved", "load")
# A run that has not ended after so many times what it should take never will.
PATIENCE = 2
SLACK_CYCLES = 1000


def address_bits(depth: int) -> int:
    """Bits that tell so many words apart; one at least, since Verilog has no wires of none."""
    return max(1, (depth - 1).bit_length())


def parameters(work: LayerWork) -> dict[str, int]:
    """Return what config.vh states: the machine's parameters, the depth of each memory, the layer's numbers.

    Memories are as deep as the layer needs. What the spec has room for was checked before; more of it would change no
    count, and take long to simulate.
    """
    spec, encoding = work.spec, work.layer.passes[0]
    columns = len(encoding.pointers) - 1
    column_bits = address_bits(columns)
    rows = -(-encoding.entries_per_pe // spec.entries_per_row)
    image_rows = max(1, int(rows.max()))
    depths = {
        "BANK_DEPTH": columns // 2 + 1,
        "SPMAT_DEPTH": image_rows if work.streaming is None else work.streaming.depth,
        "SCAN_DEPTH": work.batches.largest,
        "SUMS": -(-work.layer.outputs // spec.n_pe),
    }
    bits = {
        "COLUMN_BITS": column_bits,
        # Pointer j + 1 of the last column is one beyond what COLUMN_BITS count.
        "BANK_BITS": column_bits,
        "SPMAT_BITS": address_bits(depths["SPMAT_DEPTH"]),
        "SCAN_BITS": address_bits(depths["SCAN_DEPTH"]),
        "SUM_BITS": address_bits(depths["SUMS"]),
        "LANE_BITS": address_bits(spec.n_pe),
        "ROW_NUMBER_BITS": address_bits(image_rows),
        "SHIFT_BITS": (2 * spec.data_bits).bit_length(),
    }
    memories = (bits[name] for name in ("BANK_BITS", "SPMAT_BITS", "SCAN_BITS", "SUM_BITS"))
    return {
        "PES": spec.n_pe,
        "QUEUE_SLOTS": spec.act_queue_depth,
        "INDEX_BITS": spec.index_bits,
        "WEIGHT_BITS": spec.weight_bits,
        "DATA_BITS": spec.data_bits,
        "ROW_BITS": spec.spmat_row_bits,
        # With ideal residency a PE may hold more than a pointer of the spec reaches.
        "POINTER_BITS": max(spec.ptr_bits, int(encoding.entries_per_pe.max()).bit_length()),
        **depths,
        **bits,
        "HOST_BITS": max(*memories, spec.weight_bits),
        "SCAN_ROWS": encoding.scan_rows,
        "BATCHES": work.batches.count,
        "BATCH_ROWS": work.batches.rows,
        "ACT_ROW_BITS": spec.act_row_bits,
        "HAS_BIAS": int(encoding.has_bias),
        "BIAS_COLUMN": encoding.inputs if encoding.has_bias else 0,
        "LAST_SUM": depths["SUMS"] - 1,
        "SHIFT": work.shift,
        "RELU": int(work.layer.relu),
        "OUTPUTS": work.layer.outputs,
        "PRODUCTS": work.products,
        "IMAGE_ROWS": image_rows,
        "COLUMNS": columns,
        **streams.parameters(work.streaming, spec),
        "MOST_CYCLES": PATIENCE * int(work.activity.cycles.max()) + depths["SUMS"] + SLACK_CYCLES,
    }


def config(work: LayerWork) -> str:
    """Return config.vh, which the bench includes."""
    lines = [f"// {work.use!r} for {work.spec.name}: what the machine and the layer are, and how deep memories are."]
    lines += [f"localparam {name} = {value};" for name, value in parameters(work).items()]
    return "\n".join(lines) + "\n"


def files(work: LayerWork) -> Mapping[str, str]:
    """Return every generated file: config.vh, images, expectations."""
    sizes = parameters(work)
    made = {
        "config.vh": config(work),
        "images/codebook.hex": hex_words(work.levels[:, None], work.spec.data_bits),
        "images/activations.hex": hex_words(_scan_rows(work).reshape(-1, work.spec.n_pe), work.spec.data_bits),
        "expected/outputs.hex": hex_words(
            _interleaved(work.outputs, sizes["SUMS"], work.spec.n_pe).reshape(-1, work.spec.n_pe), work.spec.data_bits
        ),
        "expected/counts.hex": hex_words(expected(work).reshape(-1, 1), 32),
    }
    starts = np.zeros(work.layer.outputs, np.int64) if work.starts is None else work.starts
    by_pe = _interleaved(starts[None], sizes["SUMS"], work.spec.n_pe)[0]
    for pe in range(work.spec.n_pe):
        made |= _pe_images(work, pe, sizes)
        made[f"images/starts_{pe}.hex"] = hex_words(by_pe[:, pe, None], work.spec.data_bits)
    return made


def expected(work: LayerWork) -> NDArray[np.int64]:
    """Return (products, words): `COUNTS`, then `PE_COUNTS` of each PE."""
    counts, per_pe = work.activity.counts, work.activity.per_pe
    whole = {**counts, "cycles": work.activity.cycles, "saturations": work.saturations}
    whole["register_cycles"] = np.full(work.products, work.batches.register_cycles)
    whole["empty_column"] = per_pe["empty_column"].sum(axis=1)
    of_pes = np.stack([per_pe[name] for name in PE_COUNTS], axis=2)
    return np.concatenate((np.stack([whole[name] for name in COUNTS], axis=1), of_pes.reshape(work.products, -1)), 1)


def _pe_images(work: LayerWork, pe: int, sizes: Mapping[str, int]) -> dict[str, str]:
    """Return what one PE stores: entries in whole SRAM rows, pointers in two banks."""
    spec = work.spec
    codes, runs, pointers = work.layer.passes[0].pe_image(pe)
    entries = (codes.astype(np.int64) << spec.index_bits) | runs
    rows = padded(entries, sizes["IMAGE_ROWS"] * spec.entries_per_row).reshape(-1, spec.entries_per_row)
    banks = padded(pointers.astype(np.int64), 2 * sizes["BANK_DEPTH"]).reshape(-1, 2)
    return {
        f"images/spmat_{pe}.hex": hex_words(rows, spec.entry_bits, spec.spmat_row_bits),
        f"images/ptr_even_{pe}.hex": hex_words(banks[:, :1], sizes["POINTER_BITS"]),
        f"images/ptr_odd_{pe}.hex": hex_words(banks[:, 1:], sizes["POINTER_BITS"]),
    }


def _scan_rows(work: LayerWork) -> NDArray[np.int64]:
    """Return (products, scan rows, PEs): activation j in row j // P, lane j % P; the bias in a row of its own."""
    encoding, n_pe = work.layer.passes[0], work.spec.n_pe
    flat = np.zeros((work.products, encoding.scan_rows * n_pe), np.int64)
    flat[:, : encoding.inputs] = work.inputs
    if encoding.has_bias:
        flat[:, encoding.bias_position] = work.unit
    return flat.reshape(work.products, encoding.scan_rows, n_pe)


def _interleaved(outputs: NDArray[np.int64], sums: int, n_pe: int) -> NDArray[np.int64]:
    """Return (products, accumulators, PEs) of (products, outputs): output i is accumulator i // P of PE i % P."""
    flat = np.zeros((len(outputs), sums * n_pe), np.int64)
    flat[:, : outputs.shape[1]] = outputs
    return flat.reshape(len(outputs), sums, n_pe)
