"""Layers whose weights arrive while they work: by hand, the numbers of the contract, three ways, and laws."""

import naive
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import eie
from eie.activity import PE_CYCLES
from eie.compiler.stream import Stream
from eie.energy.estimate import estimate
from eie.errors import ProgramError
from eie.model.layer_trace import LayerTrace
from eie.simulator import events, fast
from eie.simulator.records import Arrivals, Pattern
from eie.simulator.stages import time_layer

ENGINES = {"fast": fast.time_pass, "events": events.time_pass}
COUNTED = ("cycles", "stall", "dead", "issue", "empty", "load", "starved", "bus", "dram_bits")


def machine(half=4096, rate=8, burst=1, latency=0, **fields):
    """A machine at 1 GHz, where GB/s are bytes a cycle and ns are cycles; entries of a byte, ``half`` in a half."""
    return eie.EIE_64PE.replace(
        **{"clock_mhz": 1000.0, "spmat_row_bits": 8, **fields},
        stream_kib=2 * half / 1024,
        dram_gb_per_s=float(rate),
        dram_burst_bytes=burst,
        dram_latency_ns=float(latency),
    )


def encoded(weights, spec, bias=None):
    return eie.compile(eie.Layer.from_weights("layer", weights, bias), spec).layers[0].passes[0]


def timed(weights, activations, spec, engine="fast", bias=None, streamed=True):
    encoding = encoded(weights, spec, bias)
    pattern = Pattern.of(LayerTrace.from_dense(activations), encoding)
    stream = Stream.of(encoding, spec, "layer") if streamed else None
    return ENGINES[engine](encoding=encoding, pattern=pattern, spec=spec, stream=stream)


def seeded():
    rng = np.random.default_rng(0)
    return (rng.random((96, 64)) < 0.2) * 1.0, rng.random(64) < 0.4


class TestContract:
    """The table of numbers that were got from a cycle-by-cycle machine: cycles, stall cycles, load wait, bus cycles."""

    ROWS = {
        (64, 8, 8, 1): ((148, 63, 21), (173, 115, 16), (192, 105, 2288), (102, 180)),
        (16, 8, 8, 1): ((162, 70, 70), (173, 115, 18), (192, 105, 2288), (102, 180)),
        (16, 8, 64, 1): ((225, 121, 340), (225, 166, 320), (220, 126, 2736), (208, 208)),
        (16, 8, 64, 40): ((445, 287, 1220), (445, 368, 1213), (259, 165, 3360), (208, 208)),
        (12, 4, 16, 10): ((316, 186, 704), (316, 253, 697), (417, 271, 5888), (220, 396)),
        (64, 64, 64, 100): ((293, 159, 605), (300, 242, 535), (151, 105, 1600), (26, 26)),
    }
    IN_PLACE = ((140, 59, 0), (169, 111, 0), (51, 5, 0))
    SIZES = ((4, 8), (4, 2), (16, 8))

    @pytest.mark.parametrize("engine", ENGINES)
    @pytest.mark.parametrize("row", ROWS)
    def test_streamed(self, row, engine):
        half, rate, burst, latency = row
        *expected, (bus_4, bus_16) = self.ROWS[row]
        for (n_pe, depth), numbers in zip(self.SIZES, expected, strict=True):
            spec = machine(half, rate, burst, latency, n_pe=n_pe, act_queue_depth=depth)
            timing = timed(*seeded(), spec, engine)
            assert (timing.cycles[0], timing.stall[0], timing.load.sum()) == numbers
            assert timing.bus[0] == (bus_4 if n_pe == 4 else bus_16)

    @pytest.mark.parametrize("engine", ENGINES)
    def test_in_place(self, engine):
        for (n_pe, depth), numbers in zip(self.SIZES, self.IN_PLACE, strict=True):
            timing = timed(*seeded(), machine(n_pe=n_pe, act_queue_depth=depth), engine, streamed=False)
            assert (timing.cycles[0], timing.stall[0], timing.load.sum()) == numbers
            assert timing.bus[0] == timing.dram_bits[0] == 0


class TestByHand:
    """Entries of a byte and pointers of two: a column of n entries in all is n + 2 P bytes. docs/cycle-model.md."""

    THREE = np.ones((2, 3))  # on one PE: three columns of two entries, four bytes each

    @pytest.mark.parametrize("engine", ENGINES)
    @pytest.mark.parametrize(
        ("half", "rate", "latency", "cycles", "load", "bus"),
        [
            # in place: read in cycles 3, 5 and 7; done in 7 + 2 + 5
            (4096, 8, 0, 14, 0, 3),
            # the first is there in 3 and read in 4, the others wait for nothing
            (4096, 4, 1, 15, 1, 3),
            # a column takes four cycles: there in 6, 10, 14; read in 7, 11, 15
            (4096, 1, 1, 22, 4 + 2 + 2, 12),
            # a column a half, latency 3: there in 5 and 6, read in 6 and 8; the third is asked for in 8, when the first
            # has left, is there in 11 and read in 12
            (2, 4, 3, 19, 3 + 0 + 2, 3),
            # two columns a half: the third is the first of its block and waits for none
            (4, 4, 3, 17, 3, 3),
        ],
    )
    def test_three_columns(self, engine, half, rate, latency, cycles, load, bus):
        timing = timed(self.THREE, np.ones(3), machine(half, rate, 1, latency, n_pe=1), engine)
        assert (timing.cycles[0], timing.load.sum(), timing.bus[0]) == (cycles, load, bus)
        assert timing.dram_bits[0] == 3 * 4 * 8
        assert timing.issue.sum() == 6

    @pytest.mark.parametrize("engine", ENGINES)
    @pytest.mark.parametrize(
        ("stream", "cycles", "load", "bus"),
        [
            # The third of four columns is active, broadcast in cycle 4. Asked for then, it is there in 6 and read in 7.
            ("columns", 7 + 2 + 5, 2, 2),
            # Two columns were there before; the third, asked for in cycle 1, is there in 3: read in 5, as if in place.
            ("layer", 5 + 2 + 5, 0, 8),
        ],
    )
    def test_one_active_column(self, engine, stream, cycles, load, bus):
        spec = machine(4, 2, 1, 1, n_pe=1, stream=stream)
        timing = timed(np.ones((2, 4)), [0, 0, 1, 0], spec, engine)
        assert (timing.cycles[0], timing.load.sum(), timing.bus[0]) == (cycles, load, bus)

    @pytest.mark.parametrize("engine", ENGINES)
    def test_a_whole_layer_lasts_as_long_as_its_bus(self, engine):
        """At a byte a cycle four columns take 16, half of them before the layer began: it owes those to the next."""
        timing = timed(np.ones((2, 4)), [0, 0, 1, 0], machine(4, 1, 1, 1, n_pe=1, stream="layer"), engine)
        assert (timing.cycles[0], timing.bus[0], timing.load.sum()) == (16, 16, 1)

    @pytest.mark.parametrize("engine", ENGINES)
    def test_nothing_active(self, engine):
        """Nothing comes; where all comes, the last column is there in cycle 1 - 1 + 1 + 2 x 4, and the bus takes 16."""
        spec = machine(4, 1, 1, 1, n_pe=1)
        idle = timed(np.ones((2, 4)), np.zeros(4), spec, engine)
        assert (idle.cycles[0], idle.bus[0], idle.dram_bits[0]) == (5, 0, 0)
        whole = timed(np.ones((2, 4)), np.zeros(4), spec.replace(stream="layer"), engine)
        assert (whole.cycles[0], whole.bus[0], whole.dram_bits[0]) == (16, 16, 128)

    @pytest.mark.parametrize("engine", ENGINES)
    def test_a_whole_layer_lasts_until_its_last_column_is_there(self, engine):
        """Columns 2 and 3 are asked for in cycle 1 and come behind the latency, long after all that was active."""
        spec = machine(4, 1, 1, 30, n_pe=1, stream="layer")
        timing = timed(np.ones((2, 4)), [1, 0, 0, 0], spec, engine)
        assert (timing.cycles[0], timing.bus[0], timing.load.sum()) == (1 + 30 - 1 + 2 * 4, 16, 0)

    @pytest.mark.parametrize("engine", ENGINES)
    def test_a_bias_comes_like_any_column(self, engine):
        """Scan rows 0 and 1: the bias is asked for in cycle 3, two bytes and an entry behind an empty column."""
        spec = machine(n_pe=1, rate=1, latency=1)
        timing = timed(np.zeros((1, 1)), [1.0], spec, engine, bias=np.ones(1))
        # the empty column's pointer comes in 3 and 4, the bias in 5 to 7
        assert (timing.cycles[0], timing.bus[0], timing.dram_bits[0]) == (8 + 1 + 5, 2 + 3, 5 * 8)
        assert (timing.load.sum(), timing.empty.sum()) == (2 + 2, 1)

    def test_bursts(self):
        """Two PEs: 2 + 4 bytes of a column are a burst of 64; at 6.4 GB/s and 800 MHz it takes 8 cycles."""
        spec = eie.EIE_64PE.replace(n_pe=2)
        stream = Stream.of(encoded(np.ones((2, 3)), spec), spec)
        assert stream.bits.tolist() == [512] * 3
        assert stream.cycles.tolist() == [8] * 3
        assert (stream.half, stream.latency_cycles, stream.whole) == (4096, 41, False)
        tall = Stream.of(encoded(np.ones((80, 1)), spec.replace(dram_gb_per_s=7.0)), spec.replace(dram_gb_per_s=7.0))
        # 80 + 4 bytes: two bursts, at 8.75 bytes a cycle
        assert (tall.bits.tolist(), tall.cycles.tolist()) == ([1024], [15])

    def test_a_column_longer_than_a_half_is_refused(self):
        spec = machine(2, n_pe=1)
        weights = np.zeros((3, 4))
        weights[:2] = 1
        Stream.of(encoded(weights, spec), spec)
        weights[2, 3] = 1
        with pytest.raises(
            ProgramError,
            match=r"^layer 'fc': column 3 has 3 entries in one PE, half a stream buffer holds 2: "
            r"use a larger stream_kib or more PEs$",
        ):
            Stream.of(encoded(weights, spec), spec, "fc")


@st.composite
def cases(draw):
    """Small layers of every awkward kind and small buffers: one PE, more PEs than rows, empty columns, all zeros."""
    rows, columns = draw(st.integers(1, 50)), draw(st.integers(1, 40))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    weights = (rng.random((rows, columns)) < draw(st.sampled_from([0, 0.05, 0.2, 0.5, 1]))) * 1.0
    weights[:, rng.random(columns) < draw(st.sampled_from([0, 0.3]))] = 0
    activations = (rng.random((draw(st.integers(1, 2)), columns)) < draw(st.sampled_from([0, 0.05, 0.4, 1]))) * 1.0
    bias = draw(st.sampled_from([None, 0.0, 0.5, 1.0]))
    bias = None if bias is None else (rng.random(rows) < bias) * 1.0
    fields = {
        "n_pe": draw(st.sampled_from([1, 2, 3, 4, 7, 16, 60])),
        "act_queue_depth": draw(st.sampled_from([2, 3, 4, 8, 60])),
        "stream": draw(st.sampled_from(["columns", "layer"])),
    }
    longest = max(np.diff(image[2]).max() for image in naive.encode(weights > 0, fields["n_pe"], 4, bias))
    fields |= {
        # from a half that holds one column to one that holds the layer
        "half": max(1, int(longest)) + draw(st.sampled_from([0, 1, 3, 10, 10_000])),
        # What every PE of sixty waits for at a byte a cycle takes the event engine minutes, and shows no more.
        "rate": draw(st.sampled_from([1, 3, 8, 100, 1_000_000][2 * (fields["n_pe"] > 16) :])),
        "burst": draw(st.sampled_from([1, 4, 64])),
        "latency": draw(st.sampled_from([0, 1, 2, 7, 60])),
    }
    return weights, activations, bias, fields


def stream_of(images, fields, **more):
    """The keywords of `naive.Bus` for a machine of ``fields``."""
    sizes, cycles = naive.column_bursts(images, fields["n_pe"], fields["burst"], fields["rate"])
    whole = fields["stream"] == "layer"
    return {
        "half": fields["half"],
        "latency": fields["latency"],
        "whole": whole,
        "sizes": sizes,
        "cycles": cycles,
    } | more


def assert_equal(timing, sample, expected, engine):
    for name, value in expected.items():
        assert np.array_equal(getattr(timing, name)[sample], value), (engine, name)


class TestThreeWays:
    @given(cases())
    @settings(max_examples=60)
    def test_engines_equal_the_naive_recurrences(self, case):
        weights, activations, bias, fields = case
        spec = machine(**fields)
        encoding = encoded(weights, spec, bias)
        images = [encoding.pe_image(pe) for pe in range(spec.n_pe)]
        rest = (weights.shape[1], spec.n_pe, spec.act_queue_depth, bias is not None, 1, stream_of(images, fields))
        for engine in ENGINES:
            timing = timed(weights, activations, spec, engine, bias)
            for s, row in enumerate(activations):
                assert_equal(timing, s, naive.timing(images, row, *rest), engine)

    @given(cases(), st.integers(1, 3))
    @settings(max_examples=40)
    def test_columns_that_stay_come_once_a_group(self, case, group):
        weights, activations, bias, fields = case
        activations = np.vstack([activations, activations[::-1], activations[:1]])
        spec = machine(**fields)
        encoding = encoded(weights, spec, bias)
        images = [encoding.pe_image(pe) for pe in range(spec.n_pe)]
        pattern = Pattern.of(LayerTrace.from_dense(activations), encoding)
        stream = Stream.of(encoding, spec, held=True)
        seen = np.full(len(encoding.pointers), -1)
        groups = np.arange(len(activations)) // group
        arrivals = Arrivals.first_uses(pattern, encoding.inputs, groups, seen)
        timings = {
            name: engine(encoding=encoding, pattern=pattern, spec=spec, stream=stream, arrivals=arrivals)
            for name, engine in ENGINES.items()
        }
        for s, row in enumerate(activations):
            if s % group == 0:
                there = set()
            keywords = stream_of(images, fields, there=there, held=True)
            expected = naive.timing(
                images, row, weights.shape[1], spec.n_pe, spec.act_queue_depth, bias is not None, 1, keywords
            )
            for name, timing in timings.items():
                assert_equal(timing, s, expected, name)
            used = set(np.flatnonzero(row)) | ({weights.shape[1]} if bias is not None else set())
            there = there | (set(range(len(encoding.pointers) - 1)) if keywords["whole"] else used)


class TestLaws:
    @given(cases())
    @settings(max_examples=60)
    def test_never_faster_than_in_place(self, case):
        weights, activations, bias, fields = case
        spec = machine(**fields)
        here, there = (timed(weights, activations, spec, bias=bias, streamed=streamed) for streamed in (False, True))
        assert (there.cycles >= here.cycles).all()
        assert (there.bus <= there.cycles).all()
        # Waiting changes no work.
        for name in ("issue", "empty", "reads", "entries", "padding"):
            assert np.array_equal(getattr(here, name), getattr(there, name)), name
        drain = there.cycles[:, None] - there.issue - there.empty - there.load - there.starved
        assert (drain >= 0).all()
        assert (there.load >= 0).all()
        assert (there.starved >= 0).all()

    @given(cases())
    @settings(max_examples=40)
    def test_an_unbounded_bus_without_latency_changes_nothing(self, case):
        """A column takes a cycle at least, and is asked for in the cycle of its broadcast: it is there in time."""
        weights, activations, bias, fields = case
        spec = machine(**{**fields, "half": 10_000, "rate": 1_000_000, "latency": 0})
        here, there = (timed(weights, activations, spec, bias=bias, streamed=streamed) for streamed in (False, True))
        assert not there.load.any()
        assert np.array_equal(there.stall, here.stall)
        # Where the whole layer comes, so fast a bus still takes a cycle a column.
        longest = np.maximum(here.cycles, there.bus) if fields["stream"] == "layer" else here.cycles
        assert np.array_equal(there.cycles, longest)

    @given(cases())
    @settings(max_examples=40)
    def test_what_is_loaded_is_what_is_touched(self, case):
        weights, activations, bias, fields = case
        spec = machine(**fields)
        encoding = encoded(weights, spec, bias)
        sizes, cycles = naive.column_bursts(
            [encoding.pe_image(pe) for pe in range(spec.n_pe)], spec.n_pe, fields["burst"], fields["rate"]
        )
        touched = activations > 0 if fields["stream"] == "columns" else np.ones_like(activations, bool)
        if bias is not None:
            touched = np.hstack([touched, np.ones((len(touched), 1), bool)])
        timing = timed(weights, activations, spec, bias=bias)
        assert timing.dram_bits.tolist() == (touched @ (8 * np.array(sizes))).tolist()
        assert timing.bus.tolist() == (touched @ np.array(cycles)).tolist()

    @given(cases())
    @settings(max_examples=30)
    def test_a_faster_bus_is_never_slower(self, case):
        weights, activations, bias, fields = case
        cycles = [
            timed(weights, activations, machine(**{**fields, "rate": rate, "latency": latency}), bias=bias).cycles
            for rate, latency in ((1, 60), (1, 7), (8, 7), (8, 0), (64, 0))
        ]
        assert (np.diff(cycles, axis=0) <= 0).all()

    def test_counts_do_not_depend_on_threads(self):
        rng = np.random.default_rng(5)
        spec = machine(half=64, n_pe=4)
        encoding = encoded((rng.random((40, 30)) < 0.3) * 1.0, spec)
        pattern = Pattern.of(LayerTrace.from_dense(rng.random((700, 30)) < 0.4), encoding)
        stream = Stream.of(encoding, spec)
        single, two = (fast.time_pass(encoding, pattern, spec, threads=n, stream=stream) for n in (1, 2))
        for name in COUNTED:
            assert np.array_equal(getattr(single, name), getattr(two, name)), name


class TestWholeLayers:
    """Through the memory plan, in row passes and over batches: what `eie.simulate` reports."""

    # 30 rows on 2 PEs with 4 accumulators: four passes; 4-bit pointers reach 15 entries, so the layer is streamed.
    SPEC = eie.EIE_64PE.replace(n_pe=2, act_registers=4, ptr_bits=4, dram_burst_bytes=4)

    def run(self, engine="fast", batch=1, activations=None, **fields):
        rng = np.random.default_rng(3)
        weights = (rng.random((30, 12)) < 0.5) * 1.0
        inputs = (rng.random((4, 12)) < 0.5) * 1.0 if activations is None else activations
        program = eie.compile(eie.Layer.from_weights("fc", weights, np.ones(30)), self.SPEC.replace(**fields))
        layer = eie.simulate(program, inputs, engine=engine, batch=batch).layers[0]
        assert layer.place.place == ("ideal" if fields.get("residency") == "ideal" else "streamed")
        return program.layers[0], inputs, layer.activity

    @pytest.mark.parametrize("stream", ["columns", "layer"])
    @pytest.mark.parametrize("batch", [1, 2, 4])
    @pytest.mark.parametrize("act_batches", ["free", "paper"])
    def test_engines_agree(self, stream, batch, act_batches):
        _, _, quick = self.run("fast", batch, stream=stream, act_batches=act_batches)
        _, _, slow = self.run("events", batch, stream=stream, act_batches=act_batches)
        assert quick.cycles.tolist() == slow.cycles.tolist()
        for name in quick.counts:
            assert quick.counts[name].tolist() == slow.counts[name].tolist(), name
        for name in PE_CYCLES:
            assert quick.per_pe[name].tolist() == slow.per_pe[name].tolist(), name
        assert (sum(quick.per_pe.values()) == quick.cycles[:, None]).all()
        assert quick.counts["load_wait_cycles"].tolist() == quick.per_pe["load"].sum(axis=1).tolist()

    def test_passes_add_up(self):
        layer, inputs, activity = self.run()
        assert len(layer.passes) == 4
        spec = self.SPEC
        parts = [
            fast.time_pass(
                encoding=encoding,
                pattern=Pattern.of(LayerTrace.from_dense(inputs), encoding),
                spec=spec,
                stream=Stream.of(encoding, spec),
            )
            for encoding in layer.passes
        ]
        assert activity.cycles.tolist() == sum(part.cycles for part in parts).tolist()
        assert activity.counts["bus_cycles"].tolist() == sum(part.bus for part in parts).tolist()
        assert activity.counts["dram_bits"].tolist() == sum(part.dram_bits for part in parts).tolist()

    def test_ideal_waits_for_nothing(self):
        _, _, activity = self.run(residency="ideal")
        for name in ("load_wait_cycles", "dram_bits", "bus_cycles"):
            assert not activity.counts[name].any()
        assert not activity.per_pe["load"].any()

    def test_dram_costs_what_the_machine_says(self):
        for pj in (20.0, 4.0):
            _, _, activity = self.run(dram_pj_per_bit=pj)
            for method in ("activity", "published-power"):
                # on SRAMs that have prices
                priced = estimate(activity, eie.EIE_64PE.replace(n_pe=2, dram_pj_per_bit=pj), method)
                np.testing.assert_allclose(priced.unit_nj["dram"], activity.counts["dram_bits"] * pj / 1000)

    def test_a_slower_clock_waits_less(self):
        """DRAM does not follow the clock: at half of it a cycle brings twice the bytes."""
        cycles = [self.run(clock_mhz=mhz)[2].cycles.sum() for mhz in (1600.0, 800.0, 400.0)]
        assert cycles == sorted(cycles, reverse=True)
        assert len(set(cycles)) == 3


def test_the_figure_of_a_half_dense_layer():
    """4096 x 4096, half of the weights and activations, 512 bits a cycle: 7 % more than with weights in place."""
    rng = np.random.default_rng(0)
    weights, active = (rng.random((4096, 4096)) < 0.5).astype(np.float32), rng.random(4096) < 0.5
    spec = eie.EIE_64PE.replace(dram_gb_per_s=51.2)
    layer = eie.compile(eie.Layer.from_weights("fc", weights), spec).layers[0]
    inputs = LayerTrace.from_dense(active)
    for changes, cycles in (
        ({"residency": "ideal"}, 66_243),
        ({"stream": "columns"}, 70_890),
        ({"stream": "layer"}, 141_249),
        # The buffer's size is not what it waits for.
        ({"stream_kib": 2.0}, 70_890),
        ({"stream_kib": 64.0}, 70_890),
    ):
        assert time_layer(layer, inputs, spec.replace(**changes)).cycles.tolist() == [cycles], changes
