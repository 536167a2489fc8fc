"""A layer's work as hardware: the sizes of its memories, their images, and what is expected of a run.

Comes in: a `LayerWork`. Goes out: the generated files, by name. Read by `write`, which puts the Verilog beside them.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from eie.rtl import streams
from eie.rtl.hexfile import hex_words, padded
from eie.rtl.passes import Matrix, address_bits
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


def parameters(work: LayerWork) -> dict[str, int]:
    """Return what config.vh states: the machine's parameters, the depth of each memory, the layer's numbers.

    Memories are as deep as the layer needs. What the spec has room for was checked before; more of it would change no
    count, and take long to simulate.
    """
    spec, encoding, layout = work.spec, work.layer.passes[0], work.layout
    matrix, scatter = Matrix(passes=work.layer.passes, spec=spec), work.size is not None
    pointers = len(work.layer.passes) * matrix.pointers_a_pass
    # A bank is chosen by as many bits of a column's number.
    least = layout.settings.get("SELECT_BITS", 1)
    column_bits = max(least, address_bits(pointers - 1 if len(work.layer.passes) == 1 else pointers))
    banks = layout.settings.get("BANKS", 2)
    depths = {
        "BANK_DEPTH": -(-pointers // banks),
        "SPMAT_DEPTH": matrix.depth if work.streaming is None else work.streaming.depth,
        "SCAN_DEPTH": work.batches.largest if work.batches.count > 1 else layout.sources.shape[1],
        "SUMS": layout.sums,
    }
    bits = {
        "COLUMN_BITS": column_bits,
        # Pointer j + 1 of the last column is one beyond what COLUMN_BITS count.
        "BANK_BITS": column_bits,
        "SPMAT_BITS": address_bits(depths["SPMAT_DEPTH"]),
        "SCAN_BITS": address_bits(depths["SCAN_DEPTH"]),
        "SUM_BITS": address_bits(depths["SUMS"]),
        "LANE_BITS": address_bits(spec.n_pe),
        "ROW_NUMBER_BITS": address_bits(matrix.depth),
        "SHIFT_BITS": (2 * spec.data_bits).bit_length(),
    }
    stored = _stored(work, bits)
    memories = (bits[name] for name in ("BANK_BITS", "SPMAT_BITS", "SCAN_BITS", "SUM_BITS"))
    more = (stored[name] for name in ("START_BITS", "PASS_BITS", "MAP_ROW_BITS", "MAP_COLUMN_BITS"))
    return {
        "PES": spec.n_pe,
        "QUEUE_SLOTS": spec.act_queue_depth,
        "INDEX_BITS": spec.index_bits,
        "WEIGHT_BITS": spec.weight_bits,
        "DATA_BITS": spec.data_bits,
        "ROW_BITS": spec.spmat_row_bits,
        # With ideal residency a PE may hold more than a pointer of the spec reaches.
        "POINTER_BITS": max(spec.ptr_bits, matrix.last_entry.bit_length()),
        **depths,
        **bits,
        **stored,
        "HOST_BITS": max(*memories, *more, bits["BANK_BITS"] + stored["SELECT_BITS"], spec.weight_bits)
        if scatter
        else max(*memories, *more, spec.weight_bits),
        "SCAN_ROWS": layout.sources.shape[1],
        "BATCHES": work.batches.count,
        "BATCH_ROWS": work.batches.rows,
        "ACT_ROW_BITS": spec.act_row_bits,
        "HAS_BIAS": int(encoding.has_bias),
        "BIAS_COLUMN": encoding.inputs if encoding.has_bias else 0,
        "LAST_SUM": depths["SUMS"] - 1,
        "SHIFT": work.shift,
        "RELU": int(work.layer.relu),
        "OUTPUTS": int(layout.is_output.sum()),
        "PRODUCTS": work.products,
        "IMAGE_ROWS": matrix.depth,
        "COLUMNS": len(encoding.pointers) - 1,
        **streams.parameters(work.streaming, spec),
        "MOST_CYCLES": PATIENCE * int(work.activity.cycles.max())
        + len(layout.passes) * (2 + stored["LAST_EPOCH"]) * (depths["SUMS"] + SLACK_CYCLES),
    }


def _stored(work: LayerWork, bits: Mapping[str, int]) -> dict[str, int]:
    """Return what only layers of several passes, or by scatter, have more of than the least."""
    layout, scatter = work.layout, work.size is not None
    several = len(layout.passes) > 1 or scatter
    depths = {
        "STARTS": len(layout.starts),
        "RESULTS": layout.results,
        "PASSES": len(layout.passes),
        "MAP_ROWS": max(1, len(layout.map_rows)),
        "MAP_COLUMNS": max(1, len(layout.map_columns)),
    }
    names = ("START_BITS", "RESULT_BITS", "PASS_BITS", "MAP_ROW_BITS", "MAP_COLUMN_BITS")
    made = {
        "STORED": int(several),
        "SCATTER": int(scatter),
        **depths,
        **{name: address_bits(depth) for name, depth in zip(names, depths.values(), strict=True)},
        **{name: 1 for name in ("EPOCH_BITS", "MORE_BITS", "SELECT_BITS", "ROW_DEPTH", "LANE_COLUMNS", "PART_BITS")},
        "BANKS": 2,
        "LAST_EPOCH": 0,
        **layout.settings,
        "LAST_PASS": len(layout.passes) - 1,
    }
    words = (sum(fields) for fields in _word_bits({**bits, **made}).values())
    return {**made, "HOST_WORD_BITS": max(words), "HOST_WORDS": max(depths[name] for name in ("PASSES", "MAP_ROWS", "MAP_COLUMNS"))}


def _word_bits(sizes: Mapping[str, int]) -> dict[str, tuple[int, ...]]:
    """Return the bits of each field of the words of pass control and of the walk over a map, the first in the highest bits."""
    place, column = sizes["SUM_BITS"] + 1, sizes["COLUMN_BITS"]
    return {
        # last_part, last_map_column, first_map_column, first_map_row, skew, channels, pitch, ring, first_result,
        # first_start, origin, last_row, first_row: the reverse of `Pass`
        "passes": (
            sizes["PART_BITS"],
            sizes["MAP_COLUMN_BITS"],
            sizes["MAP_COLUMN_BITS"],
            sizes["MAP_ROW_BITS"],
            *(place,) * 4,
            sizes["RESULT_BITS"],
            sizes["START_BITS"],
            column,
            sizes["SCAN_BITS"],
            sizes["SCAN_BITS"],
        ),
        "map_rows": (column, sizes["EPOCH_BITS"], place, place, place),
        "map_columns": (place, sizes["MORE_BITS"], column),
    }


def config(work: LayerWork) -> str:
    """Return config.vh, which the bench includes."""
    lines = [f"// {work.use!r} for {work.spec.name}: what the machine and the layer are, and how deep memories are."]
    lines += [f"localparam {name} = {value};" for name, value in parameters(work).items()]
    return "\n".join(lines) + "\n"


def files(work: LayerWork) -> Mapping[str, str]:
    """Return every generated file: config.vh, images, expectations."""
    sizes, layout, bits = parameters(work), work.layout, work.spec.data_bits
    made = {
        "config.vh": config(work),
        "images/codebook.hex": hex_words(work.levels[:, None], bits),
        "images/activations.hex": hex_words(layout.sources.reshape(-1, work.spec.n_pe), bits),
        "expected/outputs.hex": hex_words(layout.outputs.reshape(-1, work.spec.n_pe), bits),
        "expected/is_output.hex": hex_words(layout.is_output, 1),
        "expected/counts.hex": hex_words(expected(work).reshape(-1, 1), 32),
    }
    matrix = Matrix(passes=work.layer.passes, spec=work.spec)
    for pe in range(work.spec.n_pe):
        made |= _pe_images(matrix, pe, sizes)
        made[f"images/starts_{pe}.hex"] = hex_words(layout.starts[:, pe, None], bits)
    if sizes["STORED"]:
        fields = np.array([list(vars(word).values())[::-1] for word in layout.passes])
        made["images/passes.hex"] = _words(fields, _word_bits(sizes)["passes"])
    if sizes["SCATTER"]:
        made["images/map_rows.hex"] = _words(layout.map_rows, _word_bits(sizes)["map_rows"])
        made["images/map_columns.hex"] = _words(layout.map_columns, _word_bits(sizes)["map_columns"])
    return made


def expected(work: LayerWork) -> NDArray[np.int64]:
    """Return (products, words): `COUNTS`, then `PE_COUNTS` of each PE."""
    counts, per_pe = work.activity.counts, work.activity.per_pe
    whole = {**counts, "cycles": work.activity.cycles, "saturations": work.saturations}
    whole["register_cycles"] = np.full(work.products, work.batches.register_cycles)
    whole["empty_column"] = per_pe["empty_column"].sum(axis=1)
    of_pes = np.stack([per_pe[name] for name in PE_COUNTS], axis=2)
    return np.concatenate((np.stack([whole[name] for name in COUNTS], axis=1), of_pes.reshape(work.products, -1)), 1)


def _pe_images(matrix: Matrix, pe: int, sizes: Mapping[str, int]) -> dict[str, str]:
    """Return what one PE stores: entries in whole SRAM rows, pointers spread over banks."""
    spec, (rows, pointers) = matrix.spec, matrix.image(pe)
    banks = padded(pointers, sizes["BANKS"] * sizes["BANK_DEPTH"]).reshape(-1, sizes["BANKS"])
    names = range(sizes["BANKS"]) if sizes["SCATTER"] else ("even", "odd")
    return {
        f"images/spmat_{pe}.hex": hex_words(rows, spec.entry_bits, spec.spmat_row_bits),
        **{
            f"images/ptr_{name}_{pe}.hex": hex_words(banks[:, bank, None], sizes["POINTER_BITS"])
            for bank, name in enumerate(names)
        },
    }


def _words(fields: NDArray[np.int64], widths: tuple[int, ...]) -> str:
    """Write words of fields of several widths, the first field in the highest bits."""
    bits = [(fields[:, [i]] >> np.arange(width)[::-1]) & 1 for i, width in enumerate(widths)]
    # The lowest bit first, as `hex_words` takes fields.
    return hex_words(np.concatenate(bits, axis=1)[:, ::-1], 1)
