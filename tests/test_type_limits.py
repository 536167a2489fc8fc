"""Layers that reach the limits of the narrow numbers the fast engine counts in: wide and nearly empty, tall and full.

Each limit is met by a case done by hand; random layers of the same kinds are held to the naive recurrences.
"""

import naive
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import eie
from eie.kernels.timing import padded
from eie.simulator import fast

WIDE = (3000, 6000)
QUEUES = st.sampled_from([2, 3, 8, 60])


@pytest.mark.parametrize(("least", "most", "lanes"), [(1, 64, 64), (65, 128, 128), (129, 256, 256), (8065, 8192, 8192)])
def test_every_pe_has_a_lane(least, most, lanes):
    """64 of them or a multiple of 128, and no block more than it takes."""
    assert {padded(n_pe) for n_pe in range(least, most + 1)} == {lanes}


def run(mask, active, engine="fast", bias=None, **fields):
    """One layer with a code wherever ``mask`` is not zero; its counts of every sample."""
    layer = eie.Layer.from_codes("layer", np.asarray(mask, np.uint8), [0, 1.0], bias_codes=bias)
    # Tall layers in one piece, with weights in place: limits of the kernels, not of the memories.
    spec = eie.EIE_64PE.replace(**fields, residency="ideal")
    return eie.simulate(layer, np.asarray(active, np.float32), spec=spec, engine=engine).layers[0]


def expected_of(mask, active, bias=None, **fields):
    spec = eie.EIE_64PE.replace(**fields, residency="ideal")
    images = naive.encode(np.asarray(mask), spec.n_pe, spec.index_bits, bias)
    return naive.timing(
        images,
        active,
        np.shape(mask)[1],
        spec.n_pe,
        spec.act_queue_depth,
        bias is not None,
        spec.spmat_row_bits // (spec.weight_bits + spec.index_bits),
    )


# -- by hand ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("engine", ["fast", "events"])
@pytest.mark.parametrize("gap", [255, 256, 258, 514])
def test_more_cycles_between_two_broadcasts_than_a_byte_holds(gap, engine):
    """20 entries, then nothing but zeros, then one more entry: the first are long gone when the second arrives.

    One PE: every scan row has one lane, so a step to the next row is free and W[1] = W[0] + gap = 2 + gap; the entry
    is read a cycle later and written 1 + 5 after that.
    """
    mask = np.zeros((20, gap + 1))
    mask[:, 0] = mask[0, gap] = 1
    row = run(mask, mask.any(axis=0), engine, n_pe=1)
    assert row.cycles == 2 + gap + 1 + 1 + 5
    assert row.per_pe["starved"].tolist() == [2 + gap + 1 + 1 - 21]
    assert row.counts["stall_cycles"] == 0


def test_more_cycles_between_two_broadcasts_than_two_bytes_hold():
    """The same with 2**16 + 40 zeros, and slots that need two bytes: 8 columns of 100 at most in a queue."""
    gap = (1 << 16) + 40
    mask = np.zeros((100, gap + 1), np.uint8)
    mask[:, 0] = mask[0, gap] = 1
    row = run(mask, mask.any(axis=0), n_pe=1)
    assert row.cycles == 2 + gap + 1 + 1 + 5
    assert row.per_pe["starved"].tolist() == [2 + gap + 1 + 1 - 101]


@pytest.mark.parametrize("columns", [256, 257, 511, 512, 600])
def test_more_entries_of_narrow_columns_than_two_bytes_hold(columns):
    """255 entries a column, the most a byte holds: from the 258th column on their sum takes more than two bytes."""
    row = run(np.ones((255, columns)), np.ones(columns), n_pe=1)
    assert row.per_pe["issue"].tolist() == [255 * columns]
    assert row.per_pe["empty_column"].tolist() == [0]
    assert row.counts["entries"] == 255 * columns
    # Rows of 8 entries; the one that holds the end of a column is not read again for the next.
    assert row.counts["spmat_reads"] == -(-255 * columns // 8)
    # One broadcast a column, 255 cycles each; the first is read in cycle 3, the last written five after its slot.
    assert row.cycles == 3 + 255 * columns + 5


@pytest.mark.parametrize("row_bits", [8, 64])
def test_more_sram_rows_than_two_bytes_name(row_bits):
    """One entry a row: 66,300 rows of SRAM, where 65,535 is the mark of a column without any."""
    mask = np.ones((255, 260))
    mask[:, 130] = 0
    row = run(mask, np.ones(260), n_pe=1, spmat_row_bits=row_bits)
    assert row.counts["spmat_reads"] == -(-255 * 259 // (row_bits // 8))
    assert row.per_pe["empty_column"].tolist() == [1]
    assert row.per_pe["issue"].tolist() == [255 * 259]


def test_more_empty_columns_than_two_bytes_hold():
    """70,000 broadcasts to a PE that holds one entry."""
    mask = np.zeros((2, 70_000), np.uint8)
    mask[0] = 1
    mask[1, 69_999] = 1
    row = run(mask, np.ones(70_000), n_pe=2)
    assert row.per_pe["empty_column"].tolist() == [0, 69_999]
    assert row.per_pe["issue"].tolist() == [70_000, 1]
    # 8 entries a row in PE 0, in PE 1 a single one; 70,000 entries in all but one column of one row.
    assert row.counts["spmat_reads"] == 70_000 // 8 + 1


@pytest.mark.parametrize(
    ("slots", "depth", "number"),
    [
        (1, 255, np.uint8),
        (51, 5, np.uint8),  # 5 x 51 = 255
        (64, 4, np.uint16),  # 4 x 64 = 256
        (255, 257, np.uint16),  # 257 x 255 = 65,535
        (255, 258, np.int64),  # 258 x 255 = 65,790
        (256, 2, np.int64),  # slots beyond 8 bits have one type of backlog
        (13107, 5, np.int64),
    ],
)
def test_a_backlog_gets_the_narrowest_type_that_holds_a_full_queue(slots, depth, number):
    layer = eie.Layer.from_codes("layer", np.ones((slots, 300 if slots in (1, 255) else 6), np.uint8), [0, 1.0])
    (encoding,) = eie.compile(layer, eie.EIE_64PE.replace(n_pe=1, residency="ideal")).layers[0].passes
    assert fast.backlog_type(encoding, depth) is number
    # A layer of fewer columns than the queue has slots never fills it.
    assert fast.backlog_type(encoding, 1 << 20) is fast.backlog_type(encoding, len(encoding.counts))


# -- drawn ------------------------------------------------------------------------------------------------------------


@st.composite
def nearly_empty(draw):
    """Thousands of columns, 0 to 30 entries and at most one full column; few activations, often far apart."""
    rows, columns, n_pe = draw(st.integers(1, 40)), draw(st.integers(*WIDE)), draw(st.sampled_from([1, 2, 5]))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    mask = np.zeros((rows, columns), np.uint8)
    entries = draw(st.integers(0, 30))
    mask[rng.integers(0, rows, entries), rng.integers(0, columns, entries)] = 1
    active = np.zeros(columns)
    active[rng.integers(0, columns, draw(st.sampled_from([0, 1, 12, 300])))] = 1
    if draw(st.booleans()):
        # A full column, and the next activation about a multiple of 256 rows of activations behind it.
        full = int(rng.integers(0, columns // 4))
        after = full + n_pe * (256 * draw(st.integers(1, 2)) + draw(st.integers(-2, 4)))
        mask[:, full] = active[full] = 1
        active[full + 1 : after] = 0
        active[after : after + 1] = mask[0, after : after + 1] = 1
    bias = (rng.random(rows) < 0.5).astype(np.uint8) if draw(st.booleans()) else None
    fields = {"n_pe": n_pe, "act_queue_depth": draw(QUEUES), "index_bits": draw(st.sampled_from([1, 4, 8]))}
    return mask, active, bias, fields


@given(nearly_empty())
@settings(max_examples=20)
def test_wide_and_nearly_empty_layers(case):
    mask, active, bias, fields = case
    naive.assert_timing(run(mask, active, bias=bias, **fields).activity, 0, expected_of(mask, active, bias, **fields))


@given(nearly_empty())
@settings(max_examples=4)
def test_wide_and_nearly_empty_layers_on_events(case):
    mask, active, bias, fields = case
    naive.assert_timing(
        run(mask, active, "events", bias=bias, **fields).activity, 0, expected_of(mask, active, bias, **fields)
    )


@given(
    rows=st.integers(2, 8),
    columns=st.integers(*WIDE),
    n_pe=st.sampled_from([1, 2, 4]),
    depth=QUEUES,
    density=st.sampled_from([0.3, 0.9, 1.0]),
    seed=st.integers(0, 2**32 - 1),
)
@settings(max_examples=8)
def test_many_entries_in_few_rows(rows, columns, n_pe, depth, density, seed):
    rng = np.random.default_rng(seed)
    mask, active = rng.random((rows, columns)) < density, rng.random(columns) < density
    fields = {"n_pe": n_pe, "act_queue_depth": depth, "spmat_row_bits": int(rng.choice([8, 64]))}
    naive.assert_timing(run(mask, active, **fields).activity, 0, expected_of(mask, active, **fields))


@given(
    rows=st.integers(200, 300),
    columns=st.integers(258, 560),
    n_pe=st.sampled_from([1, 2]),
    depth=QUEUES,
    row_bits=st.sampled_from([8, 24, 64]),
    seed=st.integers(0, 2**32 - 1),
)
@settings(max_examples=8)
def test_more_than_256_active_columns_of_tall_layers(rows, columns, n_pe, depth, row_bits, seed):
    """Slots on both sides of what a byte holds, over more columns than the counts can wait for."""
    rng = np.random.default_rng(seed)
    mask, active = rng.random((rows, columns)) < rng.choice([0.97, 1.0]), rng.random(columns) < 0.98
    mask[:, rng.random(columns) < 0.02] = 0
    fields = {"n_pe": n_pe, "act_queue_depth": depth, "spmat_row_bits": row_bits}
    naive.assert_timing(run(mask, active, **fields).activity, 0, expected_of(mask, active, **fields))
