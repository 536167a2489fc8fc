"""What a layer asks of a PE's memories and where it is cut, counted by hand on small machines."""

from dataclasses import asdict

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import eie
from eie.model.geometry import Conv2d

# 256 activations of 32 bits in 1 KiB; 3 PEs hold 768 inputs in 256 rows.
NARROW = eie.EIE_64PE.replace(n_pe=3, act_kib=1, data_bits=32, enforce_capacity=True)


def passes(program):
    return [(one.column_start, one.column_stop, one.has_bias) for one in program.layers[0].passes]


def full(outputs, inputs, *, bias):
    return eie.Layer.from_weights("full", np.ones((outputs, inputs)), np.ones(outputs) if bias else None)


@pytest.mark.parametrize(
    ("inputs", "cut"),
    [
        (765, [(0, 765, True)]),  # 255 rows, and one for the bias
        (766, [(0, 766, False), (766, 766, True)]),  # 256 rows: full
        (768, [(0, 768, False), (768, 768, True)]),
        (769, [(0, 768, False), (768, 769, True)]),
        (768 + 765, [(0, 768, False), (768, 1533, True)]),
        (768 + 766, [(0, 768, False), (768, 1534, False), (1534, 1534, True)]),
        (768 + 767, [(0, 768, False), (768, 1535, False), (1535, 1535, True)]),
        (768 + 768, [(0, 768, False), (768, 1536, False), (1536, 1536, True)]),
    ],
)
def test_the_bias_takes_a_scan_row_of_its_own_in_the_pass_that_has_it(inputs, cut):
    program = eie.compile(full(4, inputs, bias=True), NARROW)
    assert passes(program) == cut
    rows = [-(-(stop - start) // 3) + bias for start, stop, bias in cut]
    assert [one.scan_rows for one in program.layers[0].passes] == rows
    assert max(rows) <= 256
    # The bias sits in lane 0 of the row behind the last one of the inputs in its own pass.
    assert program.layers[0].passes[-1].bias_position == 3 * (rows[-1] - 1)
    result = eie.simulate(program, np.ones(inputs, np.float32)).layers[0]
    assert result.outputs.tolist() == [inputs + 1.0] * 4
    # Each pass scans from its first row: a cycle to load it, then as `simulate` counts for the pass alone.
    assert result.counts["broadcasts"] == inputs + 1


def test_without_a_bias_all_rows_are_for_inputs():
    assert passes(eie.compile(full(4, 768, bias=False), NARROW)) == [(0, 768, False)]
    assert passes(eie.compile(full(4, 769, bias=False), NARROW)) == [(0, 768, False), (768, 769, False)]


@pytest.mark.parametrize(("ptr_kib", "columns"), [(1, 511), (2, 768)])
def test_a_pass_has_one_pointer_more_than_columns(ptr_kib, columns):
    """1 KiB holds 512 pointers of 16 bits, 511 columns; 2 KiB more than the activations allow."""
    program = eie.compile(full(2, 900, bias=False), NARROW.replace(ptr_kib=ptr_kib))
    assert passes(program)[0] == (0, columns, False)
    assert program.fit[0].pointer_capacity == ptr_kib * 512


def test_rows_are_cut_where_the_accumulators_end_and_entries_where_the_sram_does():
    """2 PEs x 5 registers: groups of 10 rows, 5 entries a PE and column; pointers of 5 bits reach 31 entries."""
    spec = eie.EIE_64PE.replace(n_pe=2, act_registers=5, ptr_bits=5, enforce_capacity=True)
    program = eie.compile(full(23, 13, bias=False), spec)
    found = [(one.row_start, one.row_stop, one.column_start, one.column_stop) for one in program.layers[0].passes]
    # 6 columns of 5 entries are 30; in the last group, 3 rows, 2 entries a column: 13 columns are 26.
    assert found == [
        (0, 10, 0, 6),
        (0, 10, 6, 12),
        (0, 10, 12, 13),
        (10, 20, 0, 6),
        (10, 20, 6, 12),
        (10, 20, 12, 13),
        (20, 23, 0, 13),
    ]
    assert asdict(program.fit[0]) == {
        "layer": "full",
        "passes": 7,
        "entries": 30,
        "entry_capacity": 31,
        "pointers": 14,
        "pointer_capacity": 32 * 8192 // 5,
        "outputs": 5,
        "output_capacity": 5,
        "inputs": 7,
        "input_capacity": 1024,
    }
    # Reloaded whole for each sample: 299 entries of 8 bits, pointers of 5.
    assert program.layers[0].reloads
    pointers = 2 * (4 * 7 + 2 * 2 + 14)
    assert program.layers[0].image_bits(spec) == 299 * 8 + pointers * 5


def test_what_fits_together_is_loaded_once():
    """The same rows with pointers of 8 bits: all three groups together hold 2 x 65 + 26 = 156 entries a PE."""
    spec = eie.EIE_64PE.replace(n_pe=2, act_registers=5, ptr_bits=8, enforce_capacity=True)
    program = eie.compile(full(23, 13, bias=False), spec)
    assert not program.layers[0].reloads
    fit = program.fit[0]
    assert (fit.passes, fit.entries, fit.pointers, fit.fits) == (3, 156, 3 * 14, True)
    assert eie.simulate(program, np.ones(13, np.float32)).layers[0].activity.reload_bits == 0


@pytest.mark.parametrize(("ptr_bits", "reloads"), [(7, True), (8, False)])
def test_entries_one_beyond_the_sram_are_reloaded(ptr_bits, reloads):
    """156 entries against 2**7 - 1 = 127 and 2**8 - 1 = 255."""
    spec = eie.EIE_64PE.replace(n_pe=2, act_registers=5, ptr_bits=ptr_bits, enforce_capacity=True)
    assert eie.compile(full(23, 13, bias=False), spec).layers[0].reloads is reloads


@pytest.mark.parametrize("enforce", [False, True])
def test_a_winograd_tile_keeps_sixteen_matrices_and_their_pointers(enforce):
    """10 channels in, 7 out, on 3 PEs: each of 16 matrices has 10 columns and one pointer more, one has the bias."""
    rng = np.random.default_rng(1)
    conv = Conv2d(in_channels=10, out_channels=7, kernel=(3, 3), pads=(1, 1, 1, 1))
    layer = eie.Layer.from_conv(name="c", weights=rng.integers(1, 8, (7, 10, 3, 3)) / 8, bias=np.ones(7), conv=conv)
    spec = eie.EIE_64PE.replace(n_pe=3, weight_bits=8, enforce_capacity=enforce)
    program = eie.compile(layer, spec, lowering="winograd")
    # Rows of a matrix go to PEs from PE 0 on: rows 0, 3, 6 of all sixteen, and three of the bias, to the first.
    stored = [np.count_nonzero(part.decode().dense(), axis=1) for part in program.layers[0].passes]
    busiest = max(sum(int(rows[pe::3].sum()) for rows in stored) for pe in range(3))
    assert asdict(program.fit[0]) == {
        "layer": "c",
        "passes": 1,
        "entries": busiest,
        "entry_capacity": 65535,
        "pointers": 15 * 11 + 12,
        "pointer_capacity": 16384,
        "outputs": 3,
        "output_capacity": 64,
        "inputs": 15 * 4 + 5,
        "input_capacity": 1024,
    }
    tiny = spec.replace(ptr_kib=1, ptr_bits=32, enforce_capacity=False)  # 256 pointers
    assert eie.compile(layer, tiny, lowering="winograd").fit[0].fits
    wide = eie.Layer.from_conv("c", np.ones((7, 16, 3, 3)))  # 16 x 17 = 272
    (problem,) = eie.compile(wide, tiny, lowering="winograd").fit[0].problems
    assert problem == "272 column pointers a PE, room for 256"


def test_every_demand_is_named_with_its_room():
    spec = eie.EIE_64PE.replace(n_pe=2, act_registers=3, ptr_bits=6, ptr_kib=1, act_kib=1, data_bits=32)
    (fit,) = eie.compile(full(7, 1400, bias=True), spec).fit
    assert fit.problems == (
        "5,604 entries a PE, room for 63",
        "1,402 column pointers a PE, room for 1,365",
        "4 outputs a PE, room for 3",
        "701 inputs a PE, room for 256",
    )
    edge = eie.EIE_64PE.replace(n_pe=1, act_registers=3, ptr_bits=4, spmat_kib=1)
    assert eie.compile(full(3, 5, bias=False), edge).fit[0].fits  # 15 entries, room for 15; 3 outputs, room for 3
    assert not eie.compile(full(3, 6, bias=False), edge).fit[0].fits


@given(
    rows=st.integers(1, 40),
    columns=st.integers(1, 200),
    n_pe=st.sampled_from([1, 2, 3, 5]),
    registers=st.integers(1, 9),
    seed=st.integers(0, 2**32 - 1),
    has_bias=st.booleans(),
)
@settings(max_examples=30)
def test_passes_are_as_large_as_the_memories_allow(rows, columns, n_pe, registers, seed, has_bias):
    """Every pass fits; with one more column it would not, unless its rows end there."""
    rng = np.random.default_rng(seed)
    codes = (rng.random((rows, columns)) < rng.choice([0.02, 0.3, 1.0])).astype(np.uint8)
    bias = np.ones(rows, np.uint8) if has_bias else None
    layer = eie.Layer.from_codes("a", codes, [0, 1.0], bias_codes=bias)
    # 4-bit pointers reach 15 entries; 1 KiB of 32-bit activations holds 256 rows, never the bound here.
    spec = eie.EIE_64PE.replace(n_pe=n_pe, act_registers=registers, ptr_bits=4, data_bits=32, enforce_capacity=True)
    program = eie.compile(layer, spec)
    parts = program.layers[0].passes
    stored = codes if bias is None else np.column_stack((codes, bias))
    assert program.fit[0].fits
    for one, following in zip(parts, [*parts[1:], None], strict=True):
        block = stored[one.row_start : one.row_stop]
        ends = one.column_stop + one.has_bias
        here = [np.count_nonzero(block[pe::n_pe, one.column_start : ends]) for pe in range(n_pe)]
        assert max(one.entries_per_pe) <= 15
        assert [int(size) for size in one.entries_per_pe] == here
        if following is not None and following.row_start == one.row_start:
            more = [np.count_nonzero(block[pe::n_pe, one.column_start : ends + 1]) for pe in range(n_pe)]
            assert max(more) > 15
    assert np.array_equal(program.layers[0].decode(), codes.astype(np.float32))
