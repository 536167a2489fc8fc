"""The cycle contract, to the cycle: hand-made cases on both engines, AlexNet fc8, and the naive recurrences."""

import naive
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import eie
from eie.activity import PE_CYCLES
from eie.compiler.encode import encode
from eie.model.layer_trace import LayerTrace
from eie.model.matrix import SparseColumns
from eie.simulator import events, fast, spread
from eie.simulator.records import Pattern
from eie.simulator.stages import time_layer

ENGINES = ("fast", "events")
ones = np.ones
BOTTOM = np.eye(40)[:, 39:]  # 40 x 1, only the last row
FIRST_ROW = np.eye(4)[:, :1] @ ones((1, 8))


def activity(weights, activations, n_pe, depth=8, engine="fast", bias=None, **spec):
    # As the contract has it: accumulators for any layer, and weights in place.
    spec = eie.EIE_64PE.replace(n_pe=n_pe, act_queue_depth=depth, **{"residency": "ideal", **spec})
    program = eie.compile(eie.Layer.from_weights("layer", weights, bias), spec)
    return time_layer(layer=program.layers[0], inputs=LayerTrace.from_dense(activations), spec=spec, engine=engine)


@given(st.integers(0, 20), st.integers(1, 40), st.integers(1, 3), st.booleans(), st.integers(0, 2**32 - 1))
def test_positions_are_those_of_the_set_bits(first, inputs, rows, has_bias, seed):
    """Blocks of columns begin anywhere in a byte of the mask and end anywhere."""
    mask = np.random.default_rng(seed).random((rows, first + inputs)) < 0.4
    codes = SparseColumns.from_dense(ones((2, first + inputs + has_bias), np.uint8), "codes")
    block = encode(codes, 4, 4, has_bias=has_bias).columns(first, first + inputs, with_bias=has_bias)
    pattern = Pattern.of(LayerTrace.from_dense(mask * 1.0), block)
    bias = [block.bias_position] if has_bias else []
    for row, start, stop in zip(mask, pattern.starts[:-1], pattern.starts[1:], strict=True):
        assert pattern.positions[start:stop].tolist() == [*np.flatnonzero(row[first:]), *bias]


@pytest.mark.parametrize("engine", ENGINES)
class TestByHand:
    @pytest.mark.parametrize(
        ("weights", "activations", "n_pe", "depth", "cycles", "stall"),
        [
            ([[1]], [1], 1, 8, 9, 0),
            ([[0]], [1], 1, 8, 9, 0),
            ([[1]], [0], 1, 8, 2, 0),
            (ones((4, 1)), [1], 1, 8, 12, 0),
            (BOTTOM, [1], 1, 8, 11, 0),
            (ones((4, 4)), [1, 0, 0, 1], 4, 8, 10, 0),
            (ones((4, 4)), [1, 0, 1, 0], 4, 8, 10, 0),
            (ones((8, 6)), ones(6), 2, 2, 32, 13),
            (ones((8, 6)), ones(6), 2, 3, 32, 9),
            (ones((8, 6)), ones(6), 2, 8, 32, 0),
            (FIRST_ROW, ones(8), 4, 2, 23, None),
            (FIRST_ROW, ones(8), 4, 8, 16, None),
        ],
    )
    def test_cycles(self, engine, weights, activations, n_pe, depth, cycles, stall):
        found = activity(weights, activations, n_pe, depth, engine)
        assert found.cycles.tolist() == [cycles]
        if stall is not None:
            assert found.counts["stall_cycles"].tolist() == [stall]

    def test_padding_is_issued_like_any_entry(self, engine):
        found = activity(BOTTOM, [1], 1, engine=engine)
        assert found.counts["entries"].tolist() == [3]
        assert found.counts["padding_entries"].tolist() == [2]
        assert found.counts["macs"].tolist() == [1]

    @pytest.mark.parametrize(
        ("n_pe", "depth", "bias", "cycles"),
        [(4, 2, 0, 169), (4, 8, 0, 140), (16, 2, 0, 82), (16, 8, 0, 51), (16, 8, 1, 57)],
    )
    def test_seeded_case(self, engine, n_pe, depth, bias, cycles):
        rng = np.random.default_rng(0)
        mask = rng.random((96, 64)) < 0.2
        act = rng.random(64) < 0.4
        found = activity(mask * 1.0, act, n_pe, depth, engine, bias=ones(96) if bias else None)
        assert found.cycles.tolist() == [cycles]

    def test_an_engine_finishes_exactly_when_the_last_entry_is_written(self, engine):
        """One more entry in the busiest PE is one more cycle; one more in an idle PE is none."""
        weights = np.zeros((8, 1))
        weights[[0, 2, 4]] = 1  # PE 0 of 2 holds three
        base = activity(weights, [1], 2, engine=engine).cycles[0]
        busier, idler = weights.copy(), weights.copy()
        busier[6], idler[1] = 1, 1
        assert activity(busier, [1], 2, engine=engine).cycles[0] == base + 1
        assert activity(idler, [1], 2, engine=engine).cycles[0] == base


@pytest.fixture(scope="module")
def compiled(fc8):
    return eie.compile(fc8[0])


@pytest.fixture(scope="module")
def trace(fc8):
    return LayerTrace.from_dense(fc8[1])


class TestAlexNetFc8:
    """The one real layer whose cycles the authors' own simulator gives (EIE paper, Table IV: 9.9 us)."""

    DEPTHS = {2: 10194, 3: 8827, 4: 8386, 5: 8160, 6: 8018, 7: 7954, 8: 7926, 9: 7896, 12: 7822, 16: 7794, 4096: 7794}
    ROW_READS = {8: 453748, 16: 258386, 32: 158921, 64: 100900, 128: 60396, 256: 32551, 512: 16468}

    @pytest.mark.parametrize("depth", DEPTHS)
    def test_cycles_over_queue_depth(self, compiled, trace, depth):
        spec = compiled.spec.replace(act_queue_depth=depth)
        assert time_layer(compiled.layers[0], trace, spec).cycles.tolist() == [self.DEPTHS[depth]]

    @pytest.mark.parametrize("width", ROW_READS)
    def test_row_reads_over_sram_width(self, compiled, trace, width):
        spec = compiled.spec.replace(spmat_row_bits=width)
        assert time_layer(compiled.layers[0], trace, spec).counts["spmat_reads"].tolist() == [self.ROW_READS[width]]

    def test_counts_at_depth_8(self, compiled, trace):
        found = time_layer(compiled.layers[0], trace, compiled.spec)
        counts = {name: int(values[0]) for name, values in found.counts.items()}
        assert counts["broadcasts"] == 1760
        assert counts["ptr_reads"] == 112640
        assert counts["entries"] == counts["macs"] == 453748
        assert counts["padding_entries"] == 0
        assert found.theoretical_cycles[0] == pytest.approx(7089.8, abs=0.05)
        assert found.theoretical_cycles[0] / found.cycles[0] == pytest.approx(0.8945, abs=5e-5)
        assert found.per_pe["issue"].max() == 7778
        assert found.per_pe["issue"].min() == 6460

    def test_paper_times(self, compiled, fc8):
        result = eie.simulate(compiled, fc8[1])
        printed = {"actual": (result.latency_us, 9.9), "theoretical": (result.layers[0].theoretical_us, 8.9)}
        for name, (ours, paper) in printed.items():
            print(f"fc8 {name}: {ours:.3f} us, Table IV {paper} us, deviation {ours / paper - 1:+.1%}")
            assert ours == pytest.approx(paper, rel=0.006)

    @pytest.mark.long
    def test_events_agree(self, compiled, trace):
        layer, spec = compiled.layers[0], compiled.spec
        assert_same(
            time_layer(layer=layer, inputs=trace, spec=spec, engine="events"),
            time_layer(layer=layer, inputs=trace, spec=spec, engine="fast"),
        )


def assert_same(left, right):
    assert left.cycles.tolist() == right.cycles.tolist()
    for name in left.counts:
        assert left.counts[name].tolist() == right.counts[name].tolist(), name
    for name in PE_CYCLES:
        assert left.per_pe[name].tolist() == right.per_pe[name].tolist(), name


@st.composite
def cases(draw):
    """Small layers of every awkward kind: one PE, more PEs than rows, short queues, empty columns, all zeros."""
    rows, columns = draw(st.integers(1, 70)), draw(st.integers(1, 50))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    weights = (rng.random((rows, columns)) < draw(st.sampled_from([0, 0.02, 0.1, 0.5, 1]))) * 1.0
    weights[:, rng.random(columns) < draw(st.sampled_from([0, 0.3]))] = 0
    activations = (rng.random((draw(st.integers(1, 3)), columns)) < draw(st.sampled_from([0, 0.05, 0.4, 1]))) * 1.0
    bias = draw(st.sampled_from([None, 0.0, 0.5, 1.0]))
    bias = None if bias is None else (rng.random(rows) < bias) * 1.0
    spec = {
        "n_pe": draw(st.sampled_from([1, 2, 3, 4, 7, 16, 65, 100])),
        "act_queue_depth": draw(st.sampled_from([2, 3, 4, 8, 60])),
        "index_bits": draw(st.integers(1, 8)),
        "spmat_row_bits": draw(st.sampled_from([16, 24, 64, 512])),
    }
    return weights, activations, bias, spec


class TestEngines:
    @given(cases())
    @settings(max_examples=40)
    def test_events_equal_fast_and_both_equal_the_naive_recurrences(self, case):
        weights, activations, bias, fields = case
        spec = eie.EIE_64PE.replace(**fields, residency="ideal")
        encoding = eie.compile(eie.Layer.from_weights("layer", weights, bias), spec).layers[0].passes[0]
        pattern = Pattern.of(LayerTrace.from_dense(activations), encoding)
        timings = [fast.time_pass(encoding, pattern, spec), events.time_pass(encoding, pattern, spec)]
        images = [encoding.pe_image(pe) for pe in range(spec.n_pe)]
        for s, row in enumerate(activations):
            expected = naive.timing(
                images, row, weights.shape[1], spec.n_pe, spec.act_queue_depth, bias is not None, spec.entries_per_row
            )
            for timing in timings:
                for name, value in expected.items():
                    assert np.array_equal(getattr(timing, name)[s], value), name

    @given(cases())
    @settings(max_examples=15)
    def test_pe_cycles_add_up(self, case):
        weights, activations, bias, fields = case
        found = activity(weights, activations, fields.pop("n_pe"), fields.pop("act_queue_depth"), bias=bias, **fields)
        assert (sum(found.per_pe[name] for name in PE_CYCLES) == found.cycles[:, None]).all()
        assert (found.per_pe["drain"] >= 0).all()

    @given(cases())
    @settings(max_examples=15)
    def test_passes_that_are_streamed_agree_too(self, case):
        weights, activations, bias, fields = case
        spec = eie.EIE_64PE.replace(
            **{**fields, "spmat_row_bits": 64},
            residency="auto",
            act_registers=3,
            spmat_kib=1,
            ptr_kib=1,
            ptr_bits=6,
        )
        program = eie.compile(eie.Layer.from_weights("layer", weights, bias), spec)
        trace = LayerTrace.from_dense(activations)
        assert_same(
            time_layer(layer=program.layers[0], inputs=trace, spec=spec, engine="events"),
            time_layer(program.layers[0], trace, spec),
        )

    @pytest.mark.parametrize("largest", [1, 3, 40, 300, 70_000])
    def test_every_number_type_gives_the_same(self, largest):
        """Backlogs beyond 8 and 16 bits fall back to wider numbers: compare with one PE's plain sums."""
        weights = np.ones((largest, 3))
        for depth in (4, 8, 4096):
            found = activity(weights, [1, 1, 1], 1, depth)
            assert found.cycles.tolist() == [3 + 3 * largest + 5]
            assert found.counts["spmat_reads"].tolist() == [-(-3 * largest // 8)]

    @pytest.mark.parametrize("rows", [1, 255, 256])
    def test_counts_outgrow_narrow_numbers(self, rows):
        """600 full columns on one PE: 255 entries each fill 16 bits after 257 columns, their number 8 after 255."""
        found = activity(ones((rows, 600)), ones(600), 1)
        assert found.per_pe["issue"].tolist() == [[600 * rows]]
        assert found.counts["spmat_reads"].tolist() == [-(-600 * rows // 8)]
        assert found.per_pe["empty_column"].tolist() == [[0]]
        first = np.zeros((1, 600))
        first[0, :rows] = 1
        empty = activity(first, ones(600), 1)
        assert empty.per_pe["empty_column"].tolist() == [[600 - rows]]
        assert empty.counts["spmat_reads"].tolist() == [-(-rows // 8)]

    @pytest.mark.parametrize("first", [100, 127, 255])  # a backlog of two columns in 8 bits, and in 16
    @pytest.mark.parametrize("zeros", [0, 150, 250, 256, 300, 511, 512, 600])
    def test_a_long_wait_empties_a_narrow_backlog(self, first, zeros):
        """A column, zeros of a cycle each, and one entry more: after 256 cycles none of the first column is left."""
        weights = np.zeros((first, zeros + 2))
        weights[:, 0] = weights[0, -1] = 1
        active = np.zeros(zeros + 2)
        active[[0, -1]] = 1
        found = activity(weights, active, 1, depth=2)
        broadcast = max(2 + 1 + zeros, 3 + 1)  # of the last one: the first is broadcast in cycle 2 and read in 3
        assert found.cycles.tolist() == [max(3 + first, broadcast + 1) + 1 + 5]

    @given(
        st.integers(0, 2**32 - 1),
        st.sampled_from([(2, 3000, 0.002), (5, 900, 0.01), (300, 40, 0.9), (4200, 4, 0.7), (64, 700, 0.02)]),
        st.sampled_from([1, 2, 64, 130, 256]),
        st.sampled_from([0.01, 0.3, 1]),
    )
    @settings(max_examples=20)
    def test_wide_and_tall_layers_equal_the_naive_recurrences(self, seed, size, n_pe, density):
        """Rows of the SRAM that reach over hundreds of columns, columns with hundreds of entries, long silences."""
        rows, columns, filled = size
        rng = np.random.default_rng(seed)
        spec = eie.EIE_64PE.replace(n_pe=n_pe, act_queue_depth=int(rng.choice([2, 8])), residency="ideal")
        weights = (rng.random((rows, columns)) < filled) * 1.0
        active = (rng.random(columns) < density) * 1.0
        encoding = eie.compile(eie.Layer.from_weights("layer", weights), spec).layers[0].passes[0]
        timing = fast.time_pass(encoding, Pattern.of(LayerTrace.from_dense(active), encoding), spec)
        images = [encoding.pe_image(pe) for pe in range(n_pe)]
        expected = naive.timing(images, active, columns, n_pe, spec.act_queue_depth, False, spec.entries_per_row)
        for name, value in expected.items():
            assert np.array_equal(getattr(timing, name)[0], value), name

    def test_counts_do_not_depend_on_threads(self):
        rng = np.random.default_rng(5)
        spec = eie.EIE_64PE.replace(n_pe=4)
        weights = rng.random((40, 30)) < 0.3
        layer = eie.compile(eie.Layer.from_weights("layer", weights * 1.0), spec).layers[0]
        trace = LayerTrace.from_dense(rng.random((700, 30)) < 0.4)
        one, two = (time_layer(layer, trace, spec, threads=n) for n in (1, 2))
        assert_same(one, two)

    def test_a_small_batch_is_spread_over_threads(self, monkeypatch):
        pools, pool = [], spread._pool
        monkeypatch.setattr(spread, "_pool", lambda workers: (pools.append(workers), pool(workers))[1])
        program = eie.compile(eie.Layer.from_weights("layer", np.eye(8)))
        eie.simulate(program, np.ones((64, 8)), threads=2)
        assert set(pools) == {2}
        assert len(pools) >= 3  # queues, tallies and the arithmetic

    def test_products_of_a_sample_are_added_up(self):
        rng = np.random.default_rng(6)
        spec = eie.EIE_64PE.replace(n_pe=4)
        layer = eie.compile(eie.Layer.from_weights("layer", (rng.random((20, 30)) < 0.3) * 1.0), spec).layers[0]
        rows = rng.random((6, 30)) < 0.5
        single = time_layer(layer, LayerTrace.from_dense(rows), spec)
        grouped = time_layer(layer, LayerTrace.from_dense(rows, products=3), spec)
        assert grouped.cycles.tolist() == single.cycles.reshape(2, 3).sum(axis=1).tolist()
        assert grouped.counts["macs"].tolist() == single.counts["macs"].reshape(2, 3).sum(axis=1).tolist()

    def test_a_line_a_cycle(self):
        lines = []
        spec = eie.EIE_64PE.replace(n_pe=2)
        program = eie.compile(eie.Layer.from_weights("layer", np.ones((4, 2))), spec)
        result = eie.simulate(program, [1.0, 1.0], engine="events", log=lines.append)
        assert len(lines) == result.layers[0].cycles
        assert [line for line in lines if "broadcast" in line] == [lines[1], lines[2]]
        assert lines[1] == "cycle     2  broadcast     0  queues [ 0  0]  to issue [ 0  0]  in flight [ 0  0]"
