"""Layers whose weights arrive while they work: by hand, the numbers of the contract, three ways, and laws."""

import naive
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import eie
from eie.compiler.stream import Stream
from eie.model.trace import LayerTrace
from eie.simulator import events, fast
from eie.simulator.records import Arrivals, Pattern

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
        "rate": draw(st.sampled_from([1, 3, 8, 100, 1_000_000])),
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
