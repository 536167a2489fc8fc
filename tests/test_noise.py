"""Verdicts on timings: of invented machines (steady, noisy, drifting, of two modes) and of a recorded busy one."""

import json
import random
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from test_granularity import made_up, verdict

import eie
from eie.machines import dense_here, measured, noise, timing
from eie.machines.noise import Interval
from eie.machines.records import Baseline, LayerCost
from eie.machines.workload import LayerWork, Workload
from eie.model.geometry import Conv2d, Conv3d, ConvTranspose2d, Gru, Linear, Lstm, Rnn
from eie.studies.granularity.claims import left_open

MACHINES = ("eie", "measured:dense", "measured:csr")
DENSE, CSR = "no speedup on dense hardware", "nor through CSR"
SAMPLES = st.lists(st.floats(1e-3, 1e6), min_size=1, max_size=30)


def timed_study(runs):
    """A study whose measured machines took these microseconds, run by run: variant to machine to runs."""
    study = made_up([(name, 0.9, 100, {"eie": 5.0}) for name in runs if name != "dense"], MACHINES)
    rows = []
    for row, times in zip(study.rows, runs.values(), strict=True):
        costs = dict(row.costs)
        for machine, samples in times.items():
            cost = LayerCost(layer="a", latency_us=noise.middle(samples), samples_us=tuple(samples))
            costs[machine] = Baseline(replace(costs[machine].machine, how="measured", source="cpu, lib 1, OS"), (cost,))
        rows.append(replace(row, costs=costs))
    return replace(study, rows=tuple(rows))


def two_forms(before, after, csr=None):
    runs = {"dense": {"measured:dense": before}, "fine:0.9": {"measured:dense": after}}
    if csr is not None:
        runs["dense"] |= {"measured:csr": [10 * value for value in csr]}
        runs["fine:0.9"] |= {"measured:csr": csr}
    return timed_study(runs)


# -- intervals --------------------------------------------------------------------------------------------------------


@given(SAMPLES)
def test_the_median_is_in_its_interval(samples):
    between = noise.interval(samples)
    assert min(samples) <= between.low <= noise.middle(samples) <= between.high <= max(samples)


@given(SAMPLES, st.randoms(use_true_random=False))
def test_an_interval_is_a_function_of_the_samples(samples, order):
    shuffled = list(samples)
    order.shuffle(shuffled)
    assert noise.interval(shuffled) == noise.interval(samples)


@given(SAMPLES, st.floats(0.5, 8))
def test_what_slows_both_cancels(samples, factor):
    """However the machine drifts, a form that takes twice as long in every run is half as fast, exactly so."""
    assert noise.interval(noise.ratios(samples, [2 * value for value in samples])) == Interval(0.5, 0.5)
    assert noise.all_above([Interval(factor, 2 * factor)], 0.4)


def test_enough_runs_for_an_interval():
    """Fewer would leave a range of which nobody knows how sure it is."""
    for runs in (timing.RUNS, timing.SLOW_RUNS):
        assert noise.coverage(runs, 0) >= noise.CONFIDENCE
    assert noise.coverage(timing.SLOW_RUNS - 1, 0) < noise.CONFIDENCE
    # One run that something else fell upon says nothing; two do.
    assert noise.interval([1] * 12 + [900]) == Interval(1, 1)
    assert noise.interval([1] * 11 + [900] * 2) == Interval(1, 900)


def test_two_looks_are_as_sure_as_one():
    """Whoever stops at the first look where it pleases errs at one of two: both risks together are below the bound."""
    looks = ((timing.FIRST_RUNS, 0), (timing.LAST_RUNS, 1))
    risk = {runs: 1 - noise.coverage(runs, dropped) for runs, dropped in looks}
    assert noise.interval(range(timing.FIRST_RUNS)) == Interval(0, timing.FIRST_RUNS - 1)
    assert noise.interval(range(timing.LAST_RUNS)) == Interval(1, timing.LAST_RUNS - 2)
    assert sum(risk.values()) < 1 - noise.CONFIDENCE


@pytest.mark.parametrize("places", [(), (1,), (1, 0)])
def test_fewer_runs_where_nothing_is_open(places, monkeypatch):
    monkeypatch.setattr(measured, "FLOOR_S", 1e-6)
    asked, told = [], []
    work = Workload("w", tuple(LayerWork(name=name, outputs=3, inputs=4, kept_weights=2) for name in "ab"))
    tasks = [measured.Task(work), measured.Task(work, batch=2)]
    made = measured.run_until_known(tasks, lambda first: asked.append(first) or places, told.append)
    assert [line.rpartition(" ")[2] for line in told] == list("abab" if places else "ab")
    for place, (before, after) in enumerate(zip(asked[0], made, strict=True)):
        runs = timing.LAST_RUNS if place in places else timing.FIRST_RUNS
        assert len(before.samples_us) == timing.FIRST_RUNS
        assert len(after.samples_us) == runs
        assert f"median of {runs} runs" in after.notes[0]
        # What was measured first is no less true for what was measured later.
        assert after.samples_us[: timing.FIRST_RUNS] == before.samples_us


def test_a_layer_that_two_forms_have_alike_is_timed_once(monkeypatch):
    """The same product, to the weights, has the same runs; other weights of the same shape have their own."""
    monkeypatch.setattr(measured, "FLOOR_S", 1e-6)
    made = []
    product = measured._product
    monkeypatch.setattr(measured, "_product", lambda *args, **named: made.append(args) or product(*args, **named))
    whole, half, equal = (
        eie.Layer.from_weights("a", w).matrix for w in (np.ones((4, 6)), np.tri(4, 6), np.ones((4, 6)))
    )
    # Kept once it was asked for, and no part of what the matrix is.
    assert len(equal.rows) == 24
    tasks = [
        measured.Task(Workload("w", (LayerWork(name="a", outputs=4, inputs=6, kept_weights=m.nnz, matrix=m),)), storage)
        for m, storage in ((whole, "dense"), (half, "dense"), (equal, "dense"), (whole, "csr"))
    ]
    first, other, again, csr = (baseline.samples_us for baseline in measured.run_together(tasks, 2))
    assert first == again
    assert len({first, other, csr}) == 3
    assert len(made) == 3


def test_a_turn_goes_on_where_the_last_ended(monkeypatch):
    monkeypatch.setattr(timing, "LEAST_S", 0)
    order = []
    timing.timed([lambda: order.append("a"), lambda: order.append("b")], 3, before=1)
    assert "".join(order) == "ab" + "ba" + "ab"


def test_a_call_of_doubtful_length_is_asked_twice(monkeypatch):
    """The first may have waited for memory: only one so long that it cannot matter stands."""
    for first, calls in ((timing.COLD * 1e-3, 1), (timing.COLD * 0.9e-3, 2), (timing.SLOW_S, 2)):
        lasted = iter([first, 1e-4])
        monkeypatch.setattr(timing, "_lasted", lambda _call, lasted=lasted: next(lasted))
        assert timing._warmed(lambda: None, 1e-3) == (first if calls == 1 else 1e-4)


def test_the_interval_holds_the_median_as_often_as_it_says():
    rng = np.random.default_rng(0)
    hits = sum(
        noise.interval(samples).low <= 1 <= noise.interval(samples).high
        for samples in rng.lognormal(0, 1, (2000, timing.RUNS))
    )
    assert 0.99 < hits / 2000 < 1


@pytest.mark.parametrize(
    ("low", "high", "at_most", "above"),
    [(0.9, 1.1, True, False), (1.3, 2.0, False, True), (0.9, 1.3, None, None), (1.2, 1.2, True, False)],
)
def test_verdicts_only_where_the_interval_allows(low, high, at_most, above):
    assert noise.all_at_most([Interval(low, high)], 1.2) is at_most
    assert noise.all_above([Interval(low, high)], 1.2) is above


def test_a_network_takes_the_median_of_its_runs():
    """One layer is late in each run: the sum of the layers' medians would be below the shortest run."""
    layers = [(10.0, 1.0, 1.0), (1.0, 10.0, 1.0), (1.0, 1.0, 10.0)]
    costs = tuple(LayerCost(layer=str(i), latency_us=1.0, samples_us=runs) for i, runs in enumerate(layers))
    machine = made_up([]).rows[0].costs["eie"].machine
    assert Baseline(machine, costs).samples_us == (12.0, 12.0, 12.0)
    assert Baseline(machine, costs).latency_us == 12.0
    # Without runs of one of them it is the sum.
    assert Baseline(machine, (*costs, LayerCost(layer="x", latency_us=2.0))).latency_us == 5.0


# -- statements -------------------------------------------------------------------------------------------------------


def test_a_steady_machine_is_judged():
    steady = [100 + i % 3 for i in range(9)]
    assert verdict(two_forms(steady, steady), DENSE).holds is True
    assert verdict(two_forms(steady, [value / 2 for value in steady]), DENSE).holds is False


def test_what_is_open_is_what_a_verdict_hangs_on():
    """More runs are for a form that noise keeps a statement from being judged by, and what it is compared with."""
    steady = [100 + i % 3 for i in range(9)]
    noisy = [30, 300] * 4 + [100]
    for after in (steady, [value / 2 for value in steady]):
        assert left_open(two_forms(steady, after)) == set()
    assert left_open(two_forms(steady, noisy)) == {(0, "measured:dense"), (1, "measured:dense")}
    # Noisy, and yet at least 1.8 times as fast on a dense machine: the statement is refuted, nothing is open.
    assert left_open(two_forms(steady, [value / 6 for value in noisy])) == set()
    # CSR is compared with the dense layers; those of the form itself are not in question.
    assert left_open(two_forms(steady, steady, noisy)) == {(0, "measured:dense"), (1, "measured:csr")}


def test_noise_gives_no_verdict_and_says_its_range():
    """The same mask on a busy machine: 7.15, 0.31, 0.40, 0.29 and 0.96 times were a pass and four times a FAIL."""
    draw = random.Random(0)
    busy = lambda: [100 * draw.uniform(1, 8) for _ in range(9)]  # noqa: E731
    statement = verdict(two_forms(busy(), busy()), DENSE)
    assert statement.holds is None
    assert statement.found.startswith("too noisy (0.")


def test_a_drift_is_no_noise():
    """A machine that grows three times as slow while it is measured: pairs of runs do not see it."""
    drift = np.linspace(1, 3, 9)
    assert verdict(two_forms(100 * drift, 99 * drift), DENSE).holds is True


def test_two_modes_give_no_verdict():
    """A clock that is either slow or fast, for each run anew."""
    fast_or_slow = [1, 2, 1, 2, 2, 1, 1, 2, 1]
    other = [2, 1, 1, 2, 1, 2, 1, 1, 2]
    assert verdict(two_forms(fast_or_slow, other), DENSE).holds is None
    # Both in the same mode are pairs again.
    assert verdict(two_forms(fast_or_slow, fast_or_slow), DENSE).holds is True


def test_csr_is_judged_against_the_dense_layers_and_names_them():
    steady = [100.0] * 9
    lost = verdict(two_forms(steady, steady, [150.0] * 9), CSR)
    assert lost.holds is True
    assert "at best 0.67x of the dense layers' speed (lib 1)" in lost.found
    assert verdict(two_forms(steady, steady, [50.0] * 9), CSR).holds is False
    # As fast as the dense layers is no loss.
    assert verdict(two_forms(steady, steady, steady), CSR).holds is False
    assert verdict(two_forms(steady, steady, [50.0, 150.0, 90.0] * 3), CSR).holds is None


def test_a_recorded_busy_machine(root):
    """Two cores with a load of seven: what was timed there decides nothing, and every number says how noisy it was."""
    recorded = json.loads((root / "tests" / "fixtures" / "busy_timings.json").read_text())
    forms = {"unpruned": "dense", "fine 50 %": "fine:0.5", "fine 90 %": "fine:0.9", "channels 50 %": "channel:0.5"}
    study = timed_study(
        {form: {machine: runs[name] for machine, runs in recorded.items()} for name, form in forms.items()}
    )
    for words in (DENSE, CSR, "channel pruning is faster on any"):
        assert verdict(study, words).holds is None
        assert "too noisy" in verdict(study, words).found
    for record in study.records():
        if record["machine"].startswith("measured"):
            assert record["runs"] == 9
            assert record["latency_least_us"] <= record["latency_us"]
            assert record["speedup_low"] <= record["speedup"] <= record["speedup_high"]
            assert record["latency_spread"] > 0.5
        else:
            assert record["runs"] is record["latency_spread"] is record["speedup_low"] is None
    text = str(study)
    assert "spread %" in text
    assert "not shown" in text


def test_measured_numbers_have_error_bars():
    from eie.plots.studies import speedups

    runs = [100.0, 110, 120, 130, 140, 150, 160, 170, 180]
    axes = speedups(two_forms(runs, runs[::-1])).axes[0]
    bars = [segment for lines in axes.collections for segment in lines.get_segments()]
    assert any(bar[0][1] < 1 < bar[1][1] for bar in bars)


def test_eie_compare_says_how_noisy_it_was():
    pytest.importorskip("scipy")
    found = eie.compare("lenet-300-100", ["measured:dense", "measured:csr"])
    for record in found.records():
        if record["how"] == "measured" and record["layer"] != "geometric mean":
            assert record["runs"] >= timing.SLOW_RUNS
            assert record["latency_least_us"] <= record["latency_us"]
            assert record["speedup_low"] <= record["speedup"] <= record["speedup_high"]
    assert "spread %" in str(found)
    from eie.plots.comparison import speedup

    assert speedup(found).axes[0].collections


# -- the dense layer that people run ----------------------------------------------------------------------------------

KINDS = [
    (Conv2d(in_channels=4, out_channels=6, kernel=(3, 3), stride=(2, 2), pads=(1, 1, 1, 1), groups=2), 100),
    (Conv2d(in_channels=3, out_channels=8, kernel=(7, 7), stride=(2, 2), pads=(3, 3, 3, 3)), 112 * 112),
    (Conv2d(in_channels=2, out_channels=2, kernel=(1, 5), pads=(0, 2, 0, 2)), 30),
    (Conv3d(in_channels=2, out_channels=3, kernel=(3, 3, 3), pads=(1, 1, 1, 1, 1, 1)), 64),
    (ConvTranspose2d(in_channels=4, out_channels=2, kernel=(2, 2), stride=(2, 2)), 64),
    (Lstm(10, 20), 7),
    (Gru(10, 20), 7),
    (Rnn(10, 20), 5),
    (Linear(inputs=30, outputs=10), 4),
]


@pytest.mark.parametrize(("geometry", "products"), KINDS, ids=lambda kind: type(kind).__name__)
@pytest.mark.parametrize("batch", [1, 3])
def test_a_layer_runs_as_its_own_operator(geometry, products, batch):
    """As many results as the layer has in so many products: nothing is left out, nothing done twice."""
    pytest.importorskip("onnxruntime")
    side_by_side, steps = geometry.products_and_steps(products)
    outputs, inputs = (size // geometry.diagonal_blocks for size in geometry.matrix_shape)
    layer = LayerWork(
        name="l",
        outputs=outputs,
        inputs=inputs,
        products=side_by_side,
        steps=steps,
        groups=geometry.diagonal_blocks,
        geometry=geometry,
    )
    rng = np.random.default_rng(0)
    form = dense_here.form_of(layer, products, batch=batch, rng=rng)
    (made, *_) = dense_here._session(form, "l").run(None, {"x": rng.standard_normal(form.input_shape, np.float32)})
    assert made.size == batch * products * geometry.channels[0]


def test_weights_are_the_layers_own_with_zeros_in_place():
    pytest.importorskip("onnxruntime")
    geometry = Conv2d(in_channels=4, out_channels=6, kernel=(3, 3), groups=2)
    weights = np.random.default_rng(0).choice([0.0, 0.0, 1.5], geometry.weight_shape).astype(np.float32)
    layer = eie.Layer.from_conv("c", weights, conv=geometry)
    work = LayerWork(
        name="c", outputs=3, inputs=18, products=16, groups=2, matrix=layer.matrix, geometry=layer.geometry
    )
    form = dense_here.form_of(work, 16, batch=1, rng=np.random.default_rng(0))
    assert form.op == "Conv"
    np.testing.assert_array_equal(form.weights[0], weights)


def test_uses_that_are_alike_run_one_by_one():
    layer = LayerWork(name="a", outputs=4, inputs=2, products=1, steps=6, uses=3, geometry=Lstm(1, 1))
    assert dense_here._rows(layer) == (2, 3)
    # Of an unknown kind a step is a run: nothing else would keep them apart.
    assert dense_here._rows(replace(layer, geometry=None)) == (1, 6)
    assert dense_here._rows(replace(layer, uses=4)) == (6, 1)


def test_without_the_onnx_extra_blas_runs(monkeypatch):
    monkeypatch.setattr(dense_here, "has_onnxruntime", lambda: False)
    work = Workload("w", (LayerWork(name="a", outputs=3, inputs=4, kept_weights=2),))
    assert "numpy" in measured.run(work, runs=1).machine.source


def test_what_onnxruntime_refuses_is_named():
    pytest.importorskip("onnxruntime")
    odd = SimpleNamespace(op="Convolve", weights=(np.ones((1, 1), np.float32),), input_shape=(1, 1), attributes={})
    with pytest.raises(eie.EieError, match="layer 'c': onnxruntime cannot run it as Convolve: "):
        dense_here._session(odd, "c")
