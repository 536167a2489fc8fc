"""What a layer asks of a PE's memories and where it is cut, counted by hand on small machines."""

from dataclasses import asdict

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import eie
from eie.compiler.encoded import stored_row
from eie.model.geometry import Conv2d


def full(outputs, inputs, *, bias):
    return eie.Layer.from_weights("full", np.ones((outputs, inputs)), np.ones(outputs) if bias else None)


def test_rows_are_cut_where_the_accumulators_end_and_columns_nowhere():
    """2 PEs x 5 registers: groups of 10 rows, each with all 13 columns, whatever the other memories hold."""
    spec = eie.EIE_64PE.replace(n_pe=2, act_registers=5, ptr_bits=5)
    program = eie.compile(full(23, 13, bias=False), spec)
    cut = [
        (image.row_start, image.row_stop, image.column_start, image.column_stop) for image in program.layers[0].passes
    ]
    assert cut == [(0, 10, 0, 13), (10, 20, 0, 13), (20, 23, 0, 13)]
    assert asdict(program.fit[0]) == {
        "layer": "full",
        "passes": 3,
        "entries": 156,
        "entry_capacity": 131072,
        "pointer_reach": 31,
        "pointers": 3 * 14,
        "pointer_capacity": 32 * 8192 // 5,
        "outputs": 5,
        "output_capacity": 5,
        "inputs": 3 * 7,
        "input_capacity": 1024,
    }
    # Two groups of 5 rows a PE and one of 2 in PE 0: 65 + 65 + 26 entries there.
    assert program.layers[0].image_bits(spec) == 299 * 8 + 2 * 3 * 14 * 5
    # In the table of what is stored: 8 bits a byte, 1,024 bytes a KiB.
    assert stored_row(program.layers[0], spec)["image_kib"] == (299 * 8 + 2 * 3 * 14 * 5) / 8 / 1024


def test_what_fits_together_stays():
    """With pointers of 8 bits all three groups together are within reach: 156 of 255 entries a PE."""
    spec = eie.EIE_64PE.replace(n_pe=2, act_registers=5, ptr_bits=8)
    program = eie.compile(full(23, 13, bias=False), spec)
    assert program.memory.fits
    fit = program.fit[0]
    assert (fit.passes, fit.entries, fit.pointers, fit.fits) == (3, 156, 3 * 14, True)
    assert eie.simulate(program, np.ones(13, np.float32)).layers[0].counts["dram_bits"] == 0


@pytest.mark.parametrize(("ptr_bits", "place"), [(7, "streamed"), (8, "resident")])
def test_entries_one_beyond_a_pointers_reach_come_from_dram(ptr_bits, place):
    """156 entries against 2**7 - 1 = 127 and 2**8 - 1 = 255."""
    spec = eie.EIE_64PE.replace(n_pe=2, act_registers=5, ptr_bits=ptr_bits)
    assert eie.compile(full(23, 13, bias=False), spec).memory.layers[0].place == place


@pytest.mark.parametrize("residency", ["auto", "ideal"])
def test_a_winograd_tile_keeps_sixteen_matrices_and_their_pointers(residency):
    """10 channels in, 7 out, on 3 PEs: each of 16 matrices has 10 columns and one pointer more, one has the bias."""
    rng = np.random.default_rng(1)
    conv = Conv2d(in_channels=10, out_channels=7, kernel=(3, 3), pads=(1, 1, 1, 1))
    layer = eie.Layer.from_conv(name="c", weights=rng.integers(1, 8, (7, 10, 3, 3)) / 8, bias=np.ones(7), conv=conv)
    spec = eie.EIE_64PE.replace(n_pe=3, weight_bits=8, residency=residency)
    program = eie.compile(layer, spec, lowering="winograd")
    # Rows of a matrix go to PEs from PE 0 on: rows 0, 3, 6 of all sixteen, and three of the bias, to the first.
    stored = [np.count_nonzero(part.decode().dense(), axis=1) for part in program.layers[0].passes]
    busiest = max(sum(int(rows[pe::3].sum()) for rows in stored) for pe in range(3))
    assert asdict(program.fit[0]) == {
        "layer": "c",
        "passes": 1,
        "entries": busiest,
        "entry_capacity": 128 * 1024 // 8 * 5,  # rows of 64 bits hold 5 entries of 12
        "pointer_reach": 65535,
        "pointers": 15 * 11 + 12,
        "pointer_capacity": 16384,
        "outputs": 3,
        "output_capacity": 64,
        "inputs": 15 * 4 + 5,
        "input_capacity": 1024,
    }
    tiny = spec.replace(ptr_kib=1, ptr_bits=32)  # 256 pointers
    assert eie.compile(layer, tiny, lowering="winograd").fit[0].fits
    wide = eie.Layer.from_conv("c", np.ones((7, 16, 3, 3)))  # 16 x 17 = 272
    (problem,) = eie.compile(wide, tiny, lowering="winograd").fit[0].problems
    assert problem == "272 column pointers a PE, room for 256"


def test_every_demand_is_named_with_its_room():
    spec = eie.EIE_64PE.replace(
        n_pe=2, act_registers=3, ptr_bits=6, ptr_kib=1, act_kib=1, data_bits=32, residency="ideal"
    )
    (fit,) = eie.compile(full(7, 1400, bias=True), spec).fit
    assert fit.problems == (
        "5,604 entries a PE, a pointer reaches 63",
        "1,402 column pointers a PE, room for 1,365",
        "4 outputs a PE, room for 3",
        "701 inputs a PE, room for 256",
    )
    edge = eie.EIE_64PE.replace(n_pe=1, act_registers=3, ptr_bits=4, spmat_kib=1)
    assert eie.compile(full(3, 5, bias=False), edge).fit[0].fits  # 15 entries, room for 15; 3 outputs, room for 3
    assert not eie.compile(full(3, 6, bias=False), edge).fit[0].fits


@given(
    rows=st.integers(1, 40),
    columns=st.integers(1, 60),
    n_pe=st.sampled_from([1, 2, 3, 5]),
    registers=st.integers(1, 9),
    seed=st.integers(0, 2**32 - 1),
    has_bias=st.booleans(),
)
@settings(max_examples=30)
def test_passes_are_as_large_as_the_accumulators_allow(rows, columns, n_pe, registers, seed, has_bias):
    """Every pass has as many rows as there are accumulators, but for the last; and its own entries."""
    rng = np.random.default_rng(seed)
    codes = (rng.random((rows, columns)) < rng.choice([0.02, 0.3, 1.0])).astype(np.uint8)
    bias = np.ones(rows, np.uint8) if has_bias else None
    layer = eie.Layer.from_codes("a", codes, [0, 1.0], bias_codes=bias)
    spec = eie.EIE_64PE.replace(n_pe=n_pe, act_registers=registers)
    program = eie.compile(layer, spec)
    parts = program.layers[0].passes
    stored = codes if bias is None else np.column_stack((codes, bias))
    assert [part.row_start for part in parts] == list(range(0, rows, n_pe * registers))
    for part in parts:
        block = stored[part.row_start : part.row_stop]
        here = [np.count_nonzero(block[pe::n_pe]) for pe in range(n_pe)]
        assert [int(size) for size in part.entries_per_pe] == here
    assert np.array_equal(program.layers[0].decode(), codes.astype(np.float32))
