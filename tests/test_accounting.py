"""Where PE cycles go and what binds: shares, bounds and the split of the time, on both engines."""

import naive_account
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import eie
from eie.model.layer_trace import LayerTrace
from eie.results import accounting
from eie.simulator import accounting as counting
from eie.simulator import events, fast, parts
from eie.simulator.records import Pattern
from eie.simulator.stages import time_layer

ENGINES = ("fast", "events")
KINDS = ("resident", "streamed", "batched", "passes", "conv", "strips", "recurrent", "registers")


def run(weights, inputs, engine="fast", **spec):
    """Simulate a layer with weights in place."""
    spec = eie.EIE_64PE.replace(**{"residency": "ideal", **spec})
    return eie.simulate(eie.Layer.from_weights("layer", weights), inputs, spec=spec, engine=engine).layers[0]


@st.composite
def cases(draw):
    """A network of a drawn kind with its inputs, a machine and how to run it."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    kind = draw(st.sampled_from(KINDS))
    fields = {
        "n_pe": draw(st.sampled_from([1, 2, 3, 5, 16])),
        "act_queue_depth": draw(st.sampled_from([2, 3, 8])),
        "index_bits": draw(st.sampled_from([1, 2, 4])),
    }
    how = {"conv": "scatter"} if kind == "strips" else {}
    share = draw(st.sampled_from([0, 0.05, 0.3, 1]))
    seen = draw(st.sampled_from([0, 0.1, 0.5, 1]))

    def some(*shape, of=share):
        return ((rng.random(shape) < of) * 1.0).astype(np.float32)

    if kind in ("conv", "strips"):
        conv = eie.Conv2d(in_channels=3, out_channels=4, kernel=(2, 3), pads=(1, 1, 0, 1))
        layer = eie.Layer.from_conv("conv", some(4, 3, 2, 3), conv=conv)
        # Without a bus, and with one: strips that are streamed are another walk.
        fields |= draw(st.sampled_from([{}, {"ptr_bits": 5, "dram_burst_bytes": 4, "dram_gb_per_s": 1.6}]))
        return layer, some(2, 3, 5, 4, of=seen), fields, how
    if kind == "recurrent":
        layer = eie.Layer.from_lstm("lstm", some(12, 4), some(12, 3))
        return layer, some(2, 3, 4, of=seen), fields, how
    rows, columns = draw(st.integers(1, 40)), draw(st.integers(1, 30))
    if kind in ("streamed", "batched"):
        fields |= {"ptr_bits": 5, "dram_burst_bytes": 4, "stream": draw(st.sampled_from(["columns", "layer"]))}
        fields |= {"dram_gb_per_s": draw(st.sampled_from([0.8, 6.4])), "index_bits": 8, "n_pe": fields["n_pe"] + 3}
        how = {"batch": 2} if kind == "batched" else {}
    if kind == "passes":
        fields |= {"act_registers": 3}
    if kind == "registers":
        fields |= {"act_registers": 16, "act_batches": "paper"}
    return eie.Layer.from_weights("fc", some(rows, columns)), some(3, columns, of=seen), fields, how


def simulated(case, engine="fast"):
    layer, inputs, fields, how = case
    spec = eie.EIE_64PE.replace(**fields)
    return eie.simulate(layer, inputs, spec=spec, engine=engine, **how).layers[0]


class TestLaws:
    @given(cases())
    @settings(max_examples=12, deadline=None)
    def test_both_engines_account_alike(self, case):
        quick, slow = (simulated(case, engine) for engine in ENGINES)
        assert slow.activity.account is not None
        for name in ("broadcast", "stall"):
            assert getattr(quick.account, name).tolist() == getattr(slow.account, name).tolist(), name
        assert quick.padding_per_pe.tolist() == slow.padding_per_pe.tolist()
        assert quick.shares == slow.shares
        assert quick.bound_parts == slow.bound_parts

    @given(cases())
    @settings(max_examples=15, deadline=None)
    def test_shares_add_up_to_one_exactly_and_none_is_negative(self, case):
        layer = simulated(case)
        parts = accounting.pe_cycles(layer.activity, layer.account, layer.padding_per_pe)
        assert (sum(parts.values()) == layer.activity.total_cycles[:, None]).all()
        assert all((cycles >= 0).all() for cycles in parts.values())
        for shares in (layer.shares, layer.bound_parts):
            assert sum(shares.values()) == 1
            assert sum(reversed(shares.values())) == 1
            assert min(shares.values()) >= 0
        assert layer.share_cycles["padding"] == layer.activity.counts["padding_entries"].sum()
        assert tuple(layer.shares) == accounting.SHARES
        assert tuple(layer.bound_parts) == accounting.BOUND_BY

    @given(cases())
    @settings(max_examples=15, deadline=None)
    def test_the_parts_of_each_sample_add_up_to_its_time(self, case):
        activity = simulated(case).activity
        parts = accounting.bound_by(activity)
        assert all((part >= 0).all() for part in parts.values())
        assert (sum(parts.values()) == activity.n_pe * activity.total_cycles).all()

    @given(cases())
    @settings(max_examples=12, deadline=None)
    def test_no_sample_beats_its_lower_bound(self, case):
        activity = simulated(case).activity
        assert (accounting.lower_bound(activity) <= activity.total_cycles).all()
        for name in accounting.BOUNDS:
            assert (accounting.bounds(activity)[name] <= activity.total_cycles).all(), name
        assert (accounting.balance_saves(activity) >= 0).all()

    @given(cases(), st.sampled_from([16, 512]))
    @settings(max_examples=12, deadline=None)
    def test_no_queue_beats_the_lower_bound(self, case, depth):
        layer, inputs, fields, how = case
        bound = accounting.lower_bound(simulated(case).activity)
        deeper = simulated((layer, inputs, {**fields, "act_queue_depth": depth}, how)).activity
        assert (bound <= deeper.total_cycles).all()

    @given(cases())
    @settings(max_examples=15, deadline=None)
    def test_the_causes_are_those_of_the_scanner_in_the_same_cycle(self, case):
        """Against a third count, cycle by cycle, of what the recurrences say."""
        layer, inputs, fields, _ = case
        if layer.geometry.kind != "linear":
            return
        spec = eie.EIE_64PE.replace(**fields, residency="ideal")
        encoding = eie.compile(layer, spec).layers[0].passes[0]
        pattern = Pattern.of(LayerTrace.from_dense(inputs), encoding)
        account = counting.account_pass(encoding, pattern, spec.act_queue_depth)
        timing = fast.time_pass(encoding, pattern, spec)
        for s in range(pattern.products):
            expected = naive_account.idle(encoding, pattern, s, spec)
            assert account.broadcast[s].tolist() == expected["broadcast"]
            assert account.stall[s].tolist() == expected["stall"]
            assert timing.starved[s].tolist() == [sum(each) for each in zip(*expected.values(), strict=True)]


class TestByHand:
    @pytest.mark.parametrize("engine", ENGINES)
    def test_one_pe(self, engine):
        """Two columns of one and none: broadcast in cycles 2 and 3, issued in 4, empty in 5, done in 10."""
        layer = run([[1, 0]], [1, 1], engine, n_pe=1)
        parts = {name: int(cycles[0]) for name, cycles in layer.pe_cycles.items() if cycles[0]}
        # Cycle 1 loads the scan row; in 2 and 3 the scanner broadcasts, and nothing has reached the pipeline.
        assert parts == {"useful": 1, "empty_column": 1, "idle_scan": 1, "idle_broadcast": 2, "drain": 5}
        assert layer.cycles == 10

    @pytest.mark.parametrize("engine", ENGINES)
    def test_a_full_queue_elsewhere(self, engine):
        """PE 0 has four entries a column, PE 1 one; a queue of one slot holds the broadcast back."""
        weights = np.zeros((8, 3))
        weights[::2] = weights[1] = 1
        layer = run(weights, [1, 1, 1], engine, n_pe=2, act_queue_depth=2)
        # Broadcasts in 2, 4 and 8, the last scan row closed in 9, stalls in between; PE 1 issues in 4, 6 and 10.
        idle = {name: cycles.tolist() for name, cycles in layer.pe_cycles.items() if name.startswith("idle")}
        assert idle == {"idle_broadcast": [1, 2], "idle_scan": [1, 2], "idle_stall": [1, 3], "idle_load": [0, 0]}

    @pytest.mark.parametrize("engine", ENGINES)
    def test_padding_and_zeros(self, engine):
        layer = run(np.eye(40)[:, 39:], [1], engine, n_pe=1)
        assert layer.pe_cycles["padding"].tolist() == [2]
        assert layer.pe_cycles["useful"].tolist() == [1]
        nothing = run([[1]], [0], engine, n_pe=1)
        assert nothing.shares["idle_scan"] == 1
        assert nothing.bounds["broadcast"] == 1  # of two cycles: one loads the row

    @pytest.mark.parametrize("engine", ENGINES)
    def test_waiting_for_weights_is_load(self, engine):
        """Three columns of ten entries on a bus of half a byte a cycle: two times as long as they are issued."""
        spec = eie.EIE_64PE.replace(
            n_pe=1, ptr_bits=4, stream="columns", dram_gb_per_s=0.4, dram_burst_bytes=1, dram_latency_ns=0
        )
        layer = eie.simulate(eie.Layer.from_weights("fc", np.ones((10, 3))), np.ones(3), spec=spec, engine=engine)
        layer = layer.layers[0]
        assert layer.pe_cycles["idle_load"].tolist() == [layer.counts["load_wait_cycles"]]
        assert layer.bound_by == "load"


class TestWhatBinds:
    def test_fc8_is_bound_by_its_work(self, fc8):
        layer = eie.simulate(eie.compile(fc8[0]), fc8[1]).layers[0]
        assert layer.bound_by == "work"
        # 453,748 entries over 64 PEs and 7,926 cycles.
        assert layer.bound_parts["work"] == pytest.approx(453_748 / 64 / 7_926, abs=1e-9)
        assert layer.shares["useful"] == pytest.approx(layer.efficiency, abs=1e-9)
        assert layer.lower_bound_cycles == max(layer.bounds.values())
        # What queues of 16 and more take (TestAlexNetFc8): nothing is left to gain there.
        assert layer.lower_bound_cycles == 7_794

    def test_lenet_is_bound_by_broadcasts(self):
        result = eie.simulate("lenet-300-100")
        assert [f"{layer.shares['empty_column']:.0%}" for layer in result.layers] == ["70%", "76%", "85%"]
        assert [layer.bound_by for layer in result.layers] == ["broadcast"] * 3
        assert result.bound_by == "broadcast"
        assert "broadcast 87 %" in str(result)
        assert sum(result.shares.values()) == 1

    def test_each_name_can_bind(self):
        one_heavy = np.zeros((64, 40))
        one_heavy[0] = one_heavy[8] = one_heavy[16] = one_heavy[24] = 1
        ones = np.ones((64, 40))
        staggered = np.zeros((80, 40))
        for column in range(40):
            staggered[column % 8 :: 8, column] = 1
        found = {
            "work": run(ones, np.ones(40), n_pe=8).bound_by,
            "balance": run(one_heavy, np.ones(40), n_pe=8).bound_by,
            "broadcast": run(np.eye(40), np.ones(40), n_pe=8).bound_by,
            "scan": run(np.ones((1, 200)), np.eye(200)[0], n_pe=1, act_queue_depth=8).bound_by,
            "drain": run(np.ones((1, 1)), [1], n_pe=1).bound_by,
            "queue": run(staggered, np.ones(40), n_pe=8, act_queue_depth=2).bound_by,
        }
        assert found == {name: name for name in found}

    def test_even_work_has_nothing_to_save(self):
        assert run(np.ones((16, 8)), np.ones(8), n_pe=4).balance_saves == 0
        # Twelve entries in one PE of four, three each if they were even, and the same eight cycles around.
        uneven = np.zeros((16, 3))
        uneven[::4] = 1
        layer = run(uneven, np.ones(3), n_pe=4)
        slots = (12 + 3 * 3) / 4
        assert layer.balance_saves == pytest.approx((12 - slots) / layer.cycles)


class TestManySamplesAndPEs:
    def test_a_part_at_a_time_accounts_as_all_at_once(self, monkeypatch):
        network = eie.load("lenet-5")
        samples = network.trace.layers["input"].dense()[:3].reshape(3, 1, 28, 28)
        kept = eie.simulate(network, samples)
        # A sample a part.
        monkeypatch.setattr(parts, "PART_NUMBERS", 1)
        cut = eie.simulate(network, samples, keep_outputs=False, shares=True)
        for whole, layer in zip(kept.layers, cut.layers, strict=True):
            assert layer.activity.walks.tolist() == whole.activity.walks.tolist()
            assert layer.account.broadcast.tolist() == whole.account.broadcast.tolist()
            assert layer.padding_per_pe.tolist() == whole.padding_per_pe.tolist()
            assert layer.shares == whole.shares
            assert layer.bounds == whole.bounds

    @pytest.mark.parametrize("fields", [{}, {"residency": "auto", "ptr_bits": 4}])
    def test_pes_behind_the_rows_wait_as_one(self, fields):
        """Three rows on 70 PEs: four are told apart, in lanes and where columns arrive meanwhile."""
        rng = np.random.default_rng(0)
        weights, seen = (rng.random((3, 150)) < 0.6) * 1.0, (rng.random((2, 150)) < 0.5) * 1.0
        quick, slow = (run(weights, seen, engine, n_pe=70, **fields) for engine in ENGINES)
        assert quick.encoded.passes[0].pointers.shape[1] == 4
        assert {name: cycles.tolist() for name, cycles in quick.pe_cycles.items()} == {
            name: cycles.tolist() for name, cycles in slow.pe_cycles.items()
        }

    def test_inputs_alike_are_accounted_alike(self):
        """A map without zeros: its windows are timed once, and handed on with their broadcasts."""
        weights = (np.random.default_rng(0).random((40, 12)) < 0.5) * 1.0
        alike = run(weights, np.ones((3, 12)), n_pe=4, act_queue_depth=2)
        single = run(weights, np.ones(12), n_pe=4, act_queue_depth=2)
        assert alike.account.stall.tolist() == single.account.stall.tolist() * 3
        assert alike.shares == single.shares
        encoding = alike.encoded.passes[0]
        pattern = Pattern.of(LayerTrace.from_dense(np.ones((3, 12))), encoding)
        sent = counting.schedule_pass(encoding, pattern, 2).sent.reshape(3, 12)
        assert (sent == sent[0]).all()
        assert sent[0, 0] == 2


class TestWhatIsKept:
    PROGRAM = eie.compile(eie.Layer.from_weights("fc", np.eye(8)))

    def test_it_is_counted_on_demand_or_at_once(self):
        later = eie.simulate(self.PROGRAM, np.ones(8))
        assert later.layers[0].activity.account is None
        now = eie.simulate(self.PROGRAM, np.ones(8), keep_outputs=False, shares=True)
        assert now.layers[0].activity.account is not None
        assert now.shares == later.shares
        assert now.to_json() == later.to_json()

    def test_nothing_is_kept_without_outputs(self):
        result = eie.simulate(self.PROGRAM, np.ones(8), keep_outputs=False)
        with pytest.raises(eie.EieError, match=r"keep_outputs=False.* shares=True"):
            _ = result.shares
        assert result.bound_by == "broadcast"
        assert result.records()[0]["share_useful"] is None
        assert result.content()["shares"] is None
        assert "shares" not in {section.name for section in result.page_sections()}

    def test_an_incomplete_network_has_no_total(self):
        result = eie.simulate(self.PROGRAM, np.ones(8))
        part = eie.Result(**{**vars(result), "incomplete": ("a reason",)})
        assert part.bound_by == ""
        assert np.isnan(list(part.shares.values())).all()
        assert part.content()["bound_by"] is None

    def test_shares_are_in_csv_json_and_on_the_page(self):
        result = eie.simulate(self.PROGRAM, np.ones(8))
        row = result.records()[0]
        assert sum(row[f"share_{name}"] for name in accounting.SHARES) == 1
        content = result.content()
        assert content["shares"] == result.shares
        assert content["layers"][0]["bound_parts"] == result.layers[0].bound_parts
        assert sum(map(sum, content["layers"][0]["pe_cycles"].values())) == 64 * result.layers[0].cycles
        assert "empty column %" in result.to_html()
        assert "empty column %" not in str(result)
        assert "empty column %" in str(result.section("shares"))


@pytest.mark.parametrize("depth", [2, 8, 4096])
@pytest.mark.parametrize("gaps", [0, 250, 256, 300, 70_000])
def test_narrow_numbers_count_long_gaps(depth, gaps):
    """One PE with 200 entries, then rows of zeros, then one more: every number type, and windows beyond each."""
    weights = np.zeros((200, gaps + 2))
    weights[:, 0] = weights[0, -1] = 1
    active = np.zeros(gaps + 2)
    active[[0, -1]] = 1
    spec = eie.EIE_64PE.replace(n_pe=1, act_queue_depth=depth, residency="ideal")
    encoding = eie.compile(eie.Layer.from_weights("layer", weights), spec).layers[0].passes[0]
    pattern = Pattern.of(LayerTrace.from_dense(active), encoding)
    account = counting.account_pass(encoding, pattern, depth)
    expected = naive_account.idle(encoding, pattern, 0, spec)
    assert [account.broadcast[0].tolist(), account.stall[0].tolist()] == [expected["broadcast"], expected["stall"]]


def test_the_schedule_is_that_of_the_event_engine():
    """What is noted of each broadcast is the cycle in which the event engine logs it."""
    rng = np.random.default_rng(0)
    spec = eie.EIE_64PE.replace(n_pe=4, act_queue_depth=3, residency="ideal")
    weights = (rng.random((60, 30)) < 0.4) * 1.0
    encoding = eie.compile(eie.Layer.from_weights("layer", weights), spec).layers[0].passes[0]
    pattern = Pattern.of(LayerTrace.from_dense(rng.random(30) < 0.6), encoding)
    lines = []
    events.time_pass(encoding, pattern, spec, log=lines.append)
    logged = [i for i, line in enumerate(lines, 1) if "broadcast" in line]
    assert counting.schedule_pass(encoding, pattern, 3).sent.tolist() == logged


def test_shares_are_exact_whatever_the_numbers():
    for numbers in ([1, 1, 1], [7, 0, 3, 3], [10**15 + 1, 1, 1], [0, 5]):
        shares = accounting.shares_of(dict(enumerate(numbers)))
        assert sum(shares.values()) == 1
        assert all(abs(shares[i] - number / sum(numbers)) < 2**-39 for i, number in enumerate(numbers))


def test_an_account_says_what_it_is():
    layer = run(np.eye(4), np.ones((3, 4)), n_pe=2)
    assert repr(layer.account) == "<Account: 3 samples on 2 PEs>"
    again = time_layer(layer.encoded, LayerTrace.from_dense(np.ones((3, 4))), layer.spec, engine="events")
    assert again.account.broadcast.tolist() == layer.account.broadcast.tolist()
