"""The one way from weights to an activity: which stages a field redoes, and that a cache changes no number."""

from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from threading import Barrier, Event

import numpy as np
import pytest

import eie
from eie.errors import EieError, ProgramError
from eie.simulator.cache import ENTRY_BYTES, Cache
from eie.simulator.counting import How
from eie.simulator.stages import Stages
from eie.simulator.workload import Workload
from eie.spec import AFTER, reads

SPEC = eie.EIE_64PE.replace(n_pe=4, residency="ideal")
# Another value of every field; a field without one fails the test below.
OTHER = {
    "name": "other", "n_pe": 2, "clock_mhz": 500.0, "act_queue_depth": 3, "index_bits": 3, "weight_bits": 3,
    "spmat_row_bits": 128, "spmat_kib": 64, "ptr_kib": 16, "ptr_bits": 12, "act_kib": 4, "act_registers": 32,
    "data_bits": 12, "node_nm": 28, "io_bits": 32, "residency": "auto", "stream": "layer",
    "stream_kib": 4.0, "dram_gb_per_s": 12.8, "dram_latency_ns": 100.0, "dram_burst_bytes": 32, "dram_pj_per_bit": 4.0,
    "act_batches": "paper", "act_row_bits": 32, "clock_gated": True,
}  # fmt: skip
# What each field redoes, written out by hand: the stages behind a field's own are those that read its value's value.
ALL = {"shared", "encoded", "demand", "plan", "inputs", "slices", "tallies", "queues", "activity"}
STORED = ALL - {"shared", "inputs"}
# Of networks, and not of layers.
ONCE = ("inputs", "plan")
REDOES = {
    "name": set(),
    "n_pe": STORED,
    # The plan alone: where it comes out the same, nothing has to be counted anew.
    "clock_mhz": {"plan"},
    "act_queue_depth": {"queues", "activity"},
    "index_bits": STORED,
    "weight_bits": ALL,
    "spmat_row_bits": {"plan", "tallies", "activity"},
    "spmat_kib": {"plan"},
    "ptr_kib": {"plan"},
    "ptr_bits": {"plan", "activity"},
    "act_kib": {"plan"},
    "act_registers": {"plan"},
    "data_bits": ALL - {"shared", "encoded", "demand"},
    "node_nm": set(),
    "io_bits": {"activity"},
    "residency": STORED,
    "stream": set(),
    "stream_kib": {"plan"},
    "dram_gb_per_s": {"plan"},
    "dram_latency_ns": set(),
    "dram_burst_bytes": {"plan"},
    "dram_pj_per_bit": set(),
    "act_batches": {"activity"},
    "act_row_bits": {"plan", "activity"},
    # A price alone.
    "clock_gated": set(),
}
# By which layers are cut where residency is not ideal.
SIZES = ("act_registers",)


# The same where SRAMs of 1 KiB hold neither layer: both are streamed, in parts that go by the room for them.
STREAMED_ALL = (ALL - {"queues"}) | {"streams"}
TIMED, CUT = {"streams", "activity"}, {"slices", "tallies", "streams", "activity"}
STREAMED_REDOES = REDOES | {
    "n_pe": STREAMED_ALL - {"shared", "inputs"},
    "clock_mhz": {"plan"} | TIMED,
    "act_queue_depth": TIMED,
    "index_bits": STREAMED_ALL - {"shared", "inputs"},
    "weight_bits": STREAMED_ALL,
    "spmat_row_bits": {"plan", "tallies"} | TIMED,
    "spmat_kib": {"plan"} | CUT,
    "ptr_kib": {"plan"} | CUT,
    "ptr_bits": {"plan"} | CUT,
    "act_registers": STREAMED_ALL - {"shared", "inputs"},
    "data_bits": {"inputs", "plan"} | CUT,
    "stream": TIMED,
    "stream_kib": {"plan"} | TIMED,
    "dram_gb_per_s": {"plan"} | TIMED,
    "dram_latency_ns": TIMED,
    "dram_burst_bytes": {"plan"} | TIMED,
}


class Watched(Cache):
    """Counts the stages that are made."""

    def __init__(self):
        super().__init__()
        self.made = Counter()

    def get_all(self, keys, make):
        def counted(missing):
            for name in missing:
                self.made[keys[name][1]] += 1
            return make(missing)

        return super().get_all(keys, counted)


@pytest.fixture(scope="module")
def network():
    rng = np.random.default_rng(0)

    return chain(rng, (12, 20, 6), density=0.5)


def chain(rng, widths, density):
    """Linear layers a and b from one width to the next."""

    def weights(rows, columns):
        return rng.standard_normal((rows, columns)) * (rng.random((rows, columns)) < density)

    sizes = zip(widths, widths[1:], "ab", strict=False)
    layers = tuple(eie.Layer.from_weights(name, weights(rows, columns), relu=True) for columns, rows, name in sizes)
    return eie.Network(name="n", layers=layers, sequential=True)


@pytest.fixture(scope="module")
def batch():
    return np.maximum(np.random.default_rng(1).standard_normal((3, 12)), 0)


def redone(workload, spec, other, stages_made=frozenset(ALL)):
    """The stages that ``other`` makes after ``spec`` has made all of them."""
    cache = Watched()
    stages = Stages(workload, cache)
    for layer in range(2):
        stages.activity(layer, spec)
    assert cache.made == Counter(
        dict.fromkeys(stages_made, 2) | {"inputs": 0 if workload.given.layers else 1, "plan": 1}
    )
    cache.made.clear()
    for layer in range(2):
        stages.activity(layer, other)
    assert all(count == (1 if stage in ONCE else 2) for stage, count in cache.made.items())
    return set(cache.made)


def test_every_field_is_written_out():
    assert set(OTHER) == set(REDOES) == set(eie.AcceleratorSpec.model_fields)
    assert set(AFTER) == ALL | {"streams"}


@pytest.mark.parametrize("field", OTHER)
def test_a_field_redoes_its_stages_and_no_others(network, batch, field):
    workload, other = Workload.of(network, batch), SPEC.replace(**{field: OTHER[field]})
    assert redone(workload, SPEC, other) == REDOES[field]
    # Where residency is not ideal, a size decides how layers are cut: the images, and all that is made of them.
    auto = SPEC.replace(residency="auto")
    if field != "residency":
        expected = REDOES[field] | (STORED if field in SIZES else set())
        assert redone(workload, auto, auto.replace(**{field: OTHER[field]})) == expected


@pytest.fixture(scope="module")
def streamed():
    """Layers that are too large for the SRAMs, on a batch, and the machine."""
    rng = np.random.default_rng(0)
    layers, batch = chain(rng, (60, 200, 60), density=0.9), np.maximum(rng.standard_normal((3, 60)), 0)
    return Workload.of(layers, batch), SPEC.replace(residency="auto", spmat_kib=1, ptr_kib=1, stream_kib=0.5)


@pytest.mark.parametrize("field", [field for field in OTHER if field != "residency"])
def test_a_field_redoes_its_stages_of_streamed_layers_and_no_others(streamed, field):
    workload, spec = streamed
    other = spec.replace(**{field: {"spmat_kib": 2, "ptr_kib": 2, "stream_kib": 0.25}.get(field, OTHER[field])})
    assert redone(workload, spec, other, STREAMED_ALL) == STREAMED_REDOES[field]


@pytest.mark.parametrize("field", OTHER)
def test_recorded_inputs_do_not_depend_on_the_machine(network, batch, field):
    recorded = eie.Trace(
        layers={"a": eie.LayerTrace.from_dense(batch), "b": eie.LayerTrace.from_dense(np.eye(3, 20) + 1)}
    )
    other = SPEC.replace(**{field: OTHER[field]})
    expected = {"plan"} if field == "data_bits" else REDOES[field] - {"inputs"}
    assert redone(Workload.of(network, recorded), SPEC, other) == expected


@pytest.mark.parametrize("field", OTHER)
def test_what_is_shared_is_right(network, batch, field):
    """A point that reuses stages has the numbers of one that was simulated alone: no field is forgotten."""
    stages = Stages(Workload.of(network, batch), Cache())
    for spec in (SPEC, SPEC.replace(residency="auto")):
        for changed in (spec, spec.replace(**{field: OTHER[field]})):
            alone = eie.simulate(network, batch, spec=changed)
            for place, layer in enumerate(alone.layers):
                activity = stages.activity(place, changed)
                np.testing.assert_array_equal(activity.total_cycles, layer.activity.total_cycles)
                for name, counts in activity.counts.items():
                    np.testing.assert_array_equal(counts, layer.activity.counts[name], name)


def test_a_program_holds_for_every_machine_that_stores_it_alike(network):
    """`Program.on` and the cache go by the same fields."""
    for spec in (SPEC, SPEC.replace(residency="auto")):
        program = eie.compile(network, spec)
        for field, other_value in OTHER.items():
            value = "ideal" if field == "residency" and spec.residency == "auto" else other_value
            other = spec.replace(**{field: value})
            sizes = spec.residency == "auto" and field in SIZES
            if "encoded" in REDOES[field] or sizes:
                with pytest.raises(ProgramError, match=f"compiled for another {field}: compile it again"):
                    program.on(other)
            else:
                assert program.on(other).spec == other


@pytest.mark.parametrize("engine", ["fast", "events"])
def test_engines_with_and_without_a_cache(network, batch, engine):
    workload = Workload.of(network, batch)
    kept, plain = (Stages(workload, cache, How(engine=engine)) for cache in (Watched(), None))
    for _ in range(2):
        for layer in range(2):
            one, other = kept.activity(layer, SPEC), plain.activity(layer, SPEC)
            np.testing.assert_array_equal(one.cycles, other.cycles)
            for name, counts in one.per_pe.items():
                np.testing.assert_array_equal(counts, other.per_pe[name])
    if engine == "events":
        assert kept._cache.made["events"] == 2
        assert "queues" not in kept._cache.made
    with pytest.raises(EieError, match="engine 'slow': must be 'fast' or 'events'"):
        How(engine="slow")


def test_without_a_cache_one_slice_is_alive_at_a_time(monkeypatch):
    """A large batch is cut into slices, each made once, counted by all and let go before the next."""
    from eie.simulator import layer as cut
    from eie.simulator import stages as path

    monkeypatch.setattr(cut, "SLICE_ELEMENTS", 64)
    alive, most, made = [0], [0], [0]
    really = cut.slices

    def watched(*given):
        for part in really(*given):
            made[0] += 1
            alive[0] += 1
            most[0] = max(most[0], alive[0])
            yield part
            alive[0] -= 1

    monkeypatch.setattr(path, "slices", watched)
    weights = eie.Layer.from_weights("a", np.eye(16))
    advanced = []
    result = eie.simulate(weights, np.ones((40, 16)), spec=SPEC, progress=lambda *done: advanced.append(done))
    assert (made[0], most[0]) == (10, 1)
    assert sum(count for _, count, _ in advanced) == 40
    assert {(layer, total) for layer, _, total in advanced} == {("a", 40)}
    assert len(set(result.layers[0].activity.cycles)) == 1


class TestCache:
    def test_two_halves_of_one_walk(self):
        """Two threads that each miss what the other makes wait for one another's half, and neither makes it twice."""
        cache, both, made = Cache(), Barrier(2, timeout=20), []

        def ask(mine, names):
            def make(missing):
                both.wait()
                made.extend(missing)
                return {name: f"{name} by {mine}" for name in missing}

            return cache.get_all({name: name for name in names}, make)

        started = Event()

        def first():
            return cache.get_all({"a": "a"}, lambda _: (started.set(), both.wait(), {"a": "a by 1"})[2])

        with ThreadPoolExecutor(2) as pool:
            one = pool.submit(first)
            assert started.wait(20)
            two = pool.submit(ask, 2, ["a", "b"])
            assert one.result() == {"a": "a by 1"}
            assert two.result() == {"a": "a by 1", "b": "b by 2"}
        assert made == ["b"]

    def test_a_failure_is_forgotten_for_all_names(self):
        cache = Cache()

        def fail(_):
            raise ValueError("boom")

        with pytest.raises(ValueError, match="boom"):
            cache.get_all({"a": 1, "b": 2}, fail)
        assert cache.get_all({"a": 1, "b": 2}, lambda names: dict.fromkeys(names, 7)) == {"a": 7, "b": 7}

    def test_numbers_outlive_arrays(self):
        cache = Cache(budget_bytes=100_000)
        cache.get("price", lambda: 1.5)
        for key in range(5):
            cache.get(key, lambda: np.zeros(10_000))
        assert cache.get("price", lambda: 0.0) == 1.5
        assert cache.get(0, lambda: "made again") == "made again"

    def test_counts_outlive_the_encodings_they_were_made_from(self):
        cache = Cache(budget_bytes=1 << 20)
        cache.get("counts", lambda: np.zeros(25))
        for key in range(3):
            cache.get(key, lambda: np.zeros(1 << 16))
        assert isinstance(cache.get("counts", lambda: "made again"), np.ndarray)
        assert cache.get(0, lambda: "made again") == "made again"

    @pytest.mark.parametrize("value", [1.5, np.zeros(10)])
    def test_small_values_go_too_where_they_are_many(self, value):
        """Points without end, each with counts of its own: a quarter of the budget, records and keys weighed."""
        cache = Cache(budget_bytes=64 * ENTRY_BYTES)
        cache.get("large", lambda: np.zeros(ENTRY_BYTES))
        for key in range(100):
            cache.get(key, lambda: value)
        kept = [key for key in reversed(range(100)) if cache.get(key, lambda: "made again") is value]
        assert 8 <= len(kept) <= 16
        assert kept[0] == 99
        assert isinstance(cache.get("large", lambda: "made again"), np.ndarray)

    def test_what_is_asked_for_again_stays(self):
        cache = Cache(budget_bytes=64 * ENTRY_BYTES)
        for key in range(100):
            cache.get(key, lambda: 1)
            assert cache.get(0, lambda: "made again") == 1


def test_every_field_says_what_it_costs():
    assert all(reads(field).costs for field in OTHER)


def test_what_a_recording_missed_is_said_of_the_inputs_that_are_run(network, batch):
    """A network's own recording where no inputs are given; of others what *they* missed, and of arrays nothing."""

    def recording(*missed):
        layers = {"a": eie.LayerTrace.from_dense(batch), "b": eie.LayerTrace.from_dense(np.eye(3, 20))}
        return eie.Trace(layers=layers, unmodelled=missed)

    recorded = replace(network, trace=recording("an attention"))
    assert Workload.of(recorded).unmodelled == ("an attention",)
    assert Workload.of(recorded).incomplete == ("not modelled: an attention",)
    assert Workload.of(recorded, recording("a table", "a table")).unmodelled == ("a table",)
    assert Workload.of(recorded, batch).unmodelled == ()
