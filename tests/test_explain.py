"""``eie.explain``: sentences on layers whose trouble is known, advice that helps there, effects run afresh, files."""

import io
import json
import re
import shlex
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rich.console import Console
from small_networks import cnn, mlp, outputs

import eie
from eie.compression.pruning.balance import permute
from eie.energy.clock import fastest_mhz, timing_met
from eie.errors import EieError
from eie.studies.explain.base import Asked, base_run
from eie.studies.explain.bench import Setting
from eie.studies.explain.explain import ExplainError, _few
from eie.studies.explain.forms import Pruning, kept_entries
from eie.studies.explain.models import model_of
from eie.studies.explain.window import BLOCK, _blocks, columns_of, window_of

SPEC = eie.EIE_64PE.replace(n_pe=4)


def layer(keep):
    """A layer of ones where ``keep`` says so: (name, layer)."""
    return eie.Layer.from_weights("fc", np.asarray(keep, float))


def ones(columns):
    return np.ones(columns)


def hot(rows=32, columns=100):
    """Row 0 of each four holds everything: PE 0 of four."""
    keep = np.zeros((rows, columns))
    keep[::4] = 1
    return keep


def in_turns(rows=16, columns=200):
    """Column j lies in PE j mod 4 alone, four entries: even on the whole, never at a time."""
    return (np.arange(rows)[:, None] % 4 == np.arange(columns)[None, :] % 4).astype(float)


def late(columns=800):
    """Every tenth scan row has an activation."""
    inputs = np.zeros(columns)
    inputs[::40] = 1
    return inputs


# By what binds: weights, inputs, and the machine on which it is so.
KNOWN = {
    "broadcast": (np.eye(100), ones(100), SPEC),
    "work": (np.ones((64, 50)), ones(50), SPEC),
    "balance": (hot(), ones(100), SPEC),
    "queue": (in_turns(), ones(200), SPEC.replace(act_queue_depth=2)),
    "scan": (np.eye(800), late(), SPEC),
    "load": (np.ones((256, 50)), ones(50), SPEC.replace(spmat_kib=2, stream_kib=0.5, dram_gb_per_s=0.05)),
    "drain": (np.eye(4), np.array([1.0, 0, 0, 0]), SPEC),
}


@pytest.mark.parametrize("cause", KNOWN)
def test_what_binds_is_what_was_built_in(cause):
    keep, inputs, spec = KNOWN[cause]
    answer = eie.explain(layer(keep), inputs, spec=spec)
    (diagnosis,) = answer.layers
    assert diagnosis.bound_by == cause
    share = re.search(r"bound by (\w+), ([\d.]+) % of its ([\d,]+) cycles", diagnosis.sentence())
    assert share[1] == cause
    assert float(share[2]) == pytest.approx(100 * diagnosis.bound_parts[cause], abs=0.5)
    assert int(share[3].replace(",", "")) == eie.simulate(layer(keep), inputs, spec=spec).layers[0].total_cycles


@pytest.mark.parametrize(
    ("cause", "objective", "knob"),
    [
        ("balance", "latency", "rows"),
        ("queue", "latency", "queue"),
        ("work", "latency", "PEs"),
        ("broadcast", "energy", "PEs"),
        ("broadcast", "area", "PEs"),
    ],
)
def test_the_cause_is_what_advice_mends(cause, objective, knob):
    """The single change that helps most, among those that leave the network as it is, is of the knob that binds."""
    keep, inputs, spec = KNOWN[cause]
    answer = eie.explain(layer(keep), inputs, spec=spec, objective=objective)
    single = next(each for each in answer.advice if len(each.changes) == 1 and not each.retrains)
    assert single.changes[0].knob == knob
    gain = getattr(single, objective)
    assert gain < 0.8
    assert gain == min(
        getattr(each, objective) for each in answer.advice if len(each.changes) == 1 and not each.retrains
    )


def test_nothing_is_said_twice():
    """What a cause means once, and changes that are best for several layers with all of them."""
    layers = tuple(eie.Layer.from_weights(f"fc{i}", np.ones((64, 50))) for i in range(6))
    network = eie.Network(name="six", layers=layers, alternatives=True)
    inputs = eie.Trace(layers={each.name: eie.LayerTrace.from_dense(np.ones((1, 50))) for each in layers})
    text = str(eie.explain(network, inputs, spec=SPEC, objective="latency"))
    assert text.count("entries that all PEs have to work off") == 1
    assert len(re.findall(r"fc\d: bound by work, ", text)) == 6
    (alone,) = [line for line in text.splitlines() if line.startswith("Best for each layer alone: ")]
    assert "5 layers (fc1, fc2, ... fc5): 16 PEs instead of 4 (" in alone
    # One area is that of every layer.
    assert "Best for each layer alone" not in str(eie.explain(network, inputs, spec=SPEC, objective="area"))


def test_a_layer_that_is_called_by_a_number_takes_none_out_of_the_words():
    """As layers of PyTorch files are: "3 index bits" is no change of layer 3."""
    rng = np.random.default_rng(0)
    keep = [(rng.random(shape) < 0.9).astype(float) for shape in ((64, 50), (10, 64))]
    layers = tuple(eie.Layer.from_weights(name, each, relu=True) for name, each in zip("13", keep, strict=True))
    network = eie.Network(name="numbers", layers=layers, sequential=True)
    text = str(eie.explain(network, np.ones(50), spec=SPEC, objective="energy"))
    (alone,) = [line for line in text.splitlines() if line.startswith("Best for each layer alone: ")]
    assert "3 index bits instead of 4" in text
    assert ": index bits" not in alone
    assert "; index bits" not in alone


def test_rows_in_another_order_take_what_even_work_would_save():
    keep, inputs, spec = KNOWN["balance"]
    answer = eie.explain(layer(keep), inputs, spec=spec, objective="latency")
    rows = next(each for each in answer.advice if [change.knob for change in each.changes] == ["rows"])
    # Even work takes the mean of the slots there are; rows that move also fill columns that were empty.
    assert rows.latency <= 1 - answer.layers[0].balance_saves + 0.02


def test_nothing_is_advised_where_nothing_helps():
    """Fewer PEs than one there are none, and one column is one broadcast."""
    answer = eie.explain(layer([[1.0]]), [1.0], spec=SPEC.replace(n_pe=1, act_queue_depth=2), objective="latency")
    assert answer.advice == ()
    assert "No change that was tried takes 1 % less latency" in str(answer)
    assert "Tried without a gain in latency" in str(answer)


# -- effects ----------------------------------------------------------------------------------------------------------


def check_effects(network, inputs, spec, answer, conv="auto"):
    before = eie.simulate(eie.compile(network, spec, conv=conv), inputs)
    checked = set()
    for each in (*answer.advised.ranked, *answer.advised.useless):
        setting = Setting(spec=spec, conv=conv)
        for change in each.changes:
            setting = change.make(setting)
        if setting.pruned or setting.permuted:
            continue
        assert each.typed
        after = eie.simulate(eie.compile(network, setting.spec, conv=setting.conv), inputs)
        assert each.latency == pytest.approx(after.latency_us / before.latency_us, rel=1e-12)
        assert each.energy == pytest.approx(after.energy().total_nj / before.energy().total_nj, rel=1e-9)
        assert each.area == pytest.approx(eie.area(after.spec).total_mm2 / eie.area(spec).total_mm2, rel=1e-12)
        assert each.fits == after.memory.fits
        ratios = [now.latency_us / was.latency_us for now, was in zip(after.layers, before.layers, strict=True)]
        assert [latency for latency, _ in each.by_layer] == pytest.approx(ratios, rel=1e-12)
        checked |= {change.knob for change in each.changes}
    return checked


@settings(max_examples=10)
@given(
    seed=st.integers(0, 1000),
    n_pe=st.sampled_from([1, 3, 8, 16]),
    depth=st.sampled_from([2, 5, 8]),
    density=st.floats(0.05, 0.9),
    objective=st.sampled_from(["edp", "latency", "energy", "area"]),
    ideal=st.booleans(),
)
def test_every_effect_is_that_of_a_run_afresh(seed, n_pe, depth, density, objective, ideal):
    rng = np.random.default_rng(seed)
    network = mlp([40, 24, 10], seed=seed, density=density)
    spec = eie.EIE_64PE.replace(
        n_pe=n_pe, act_queue_depth=depth, residency="ideal" if ideal else "auto", spmat_kib=2, stream_kib=0.5
    )
    inputs = np.maximum(0, rng.standard_normal((3, 40)))
    answer = eie.explain(network, inputs, spec=spec, objective=objective)
    assert check_effects(network, inputs, spec, answer)
    goal = [each.gain(objective) for each in answer.advice]
    assert goal == sorted(goal)
    assert all(first <= 0.99 for first, _ in goal)


@pytest.mark.parametrize("conv", ["auto", "im2col", "scatter"])
def test_effects_on_convolutions(conv):
    network, spec = cnn(), SPEC
    inputs = np.maximum(0, np.random.default_rng(0).standard_normal((2, 1, 8, 8)))
    answer = eie.explain(network, inputs, spec=spec, conv=conv, objective="latency")
    assert check_effects(network, inputs, spec, answer, conv=conv)


def test_screening_on_few_samples_says_what_all_give():
    network = mlp([40, 24, 10], density=0.3)
    inputs = np.maximum(0, np.random.default_rng(1).standard_normal((100, 40)))
    answer = eie.explain(network, inputs, spec=SPEC)
    assert check_effects(network, inputs, SPEC, answer)
    assert answer.whole.latency_us == pytest.approx(eie.simulate(network, inputs, spec=SPEC).latency_us)


def large(active: float = 0.4) -> tuple[eie.Network, np.ndarray]:
    """A layer of 307,200 entries, and a small one."""
    rng = np.random.default_rng(4)
    first = np.where(rng.random((400, 1536)) < 0.5, rng.standard_normal((400, 1536)), 0)
    second = np.where(rng.random((10, 400)) < 0.5, rng.standard_normal((10, 400)), 0)
    layers = [eie.Layer.from_weights("fc0", first, relu=True), eie.Layer.from_weights("fc1", second)]
    return eie.Network(name="large", layers=tuple(layers), sequential=True), np.abs(rng.standard_normal((1, 1536))) * (
        rng.random((1, 1536)) < active
    )


# Weights in place, and weights that come from DRAM: the first layer does not fit.
MACHINES = {
    "ideal": SPEC.replace(residency="ideal"),
    "resident": SPEC.replace(spmat_kib=128),
    "streamed": SPEC.replace(spmat_kib=16, stream_kib=2),
    "all columns": SPEC.replace(spmat_kib=16, stream_kib=2, stream="layer"),
}


@pytest.mark.parametrize("machine", MACHINES)
def test_screening_on_a_window_says_what_all_columns_give(machine):
    network, inputs = large()
    answer = eie.explain(network, inputs, spec=MACHINES[machine])
    assert check_effects(network, inputs, MACHINES[machine], answer)


def benches(spec, inputs, batch=1, **asked):
    """The large network on all columns, and screened."""
    asked = Asked(
        spec=spec, activations=inputs, layout=None, bias="auto", conv="auto", batch=batch, cell="itrs-lop", threads=1,
        progress=lambda _: None, **asked,
    )  # fmt: skip
    ran = base_run(large()[0], asked)
    return ran, _few(ran, batch)


@pytest.mark.parametrize("batch", [1, 3])
@pytest.mark.parametrize("machine", MACHINES)
def test_a_window_costs_what_the_layer_costs(machine, batch):
    """Elsewhere than where it was weighed: on more PEs, and where the other of resident and streamed is so."""
    ran, few = benches(MACHINES[machine], np.repeat(large()[1], batch, axis=0), batch)
    assert few.forms.cut == {"fc0"}
    for changes in ({}, {"n_pe": 16}, {"index_bits": 6}, {"spmat_kib": 512}, {"spmat_kib": 16, "stream_kib": 2}):
        for pruning in ({}, {"fc0": Pruning(0.5)}, {"fc0": Pruning(0.9, even=True)}):
            setting = Setting(spec=ran.setting.spec.replace(**changes), pruned=pruning)
            whole, part = ran.bench.cost(setting), few.cost(setting)
            assert part.latency_us == pytest.approx(whole.latency_us, rel=0.05)
            assert part.energy_nj == pytest.approx(whole.energy_nj, rel=0.05)
            assert part.fits == whole.fits


@pytest.mark.parametrize("pruning", [None, Pruning(0.5), Pruning(0.9, even=True)])
@pytest.mark.parametrize("n_pe", [1, 4, 64, 500])
def test_a_window_asks_of_the_memories_what_the_layer_asks(n_pe, pruning):
    ran, few = benches(SPEC, large()[1])
    setting = Setting(spec=SPEC.replace(n_pe=n_pe), pruned={} if pruning is None else {"fc0": pruning})
    whole, part = (bench._images("fc0", setting).demand for bench in (ran.bench, few))
    assert part.entries.sum() == pytest.approx(whole.entries.sum(), rel=0.03)
    # Which rows lose more than others when the smallest weights go, the window tells only about.
    assert part.entries == pytest.approx(whole.entries, rel=0.15 if pruning else 0.03, abs=12)
    assert part.fullest == pytest.approx(whole.fullest, rel=0.1 if pruning else 0.03)
    assert part.pointers == whole.pointers
    assert part.geometry == whole.geometry
    for mine, true in zip(part.passes, whole.passes, strict=True):
        assert (mine.inputs, mine.rows, mine.biases) == (true.inputs, true.rows, true.biases)
        assert len(mine.columns) == len(true.columns)
        assert mine.columns.sum() == pytest.approx(true.columns.sum(), rel=0.03)
        assert mine.issue == pytest.approx(true.issue, rel=0.05)


def test_a_window_is_a_fair_part_of_the_layer():
    network, inputs = large()
    (layer, _), read = network.layers, eie.LayerTrace.from_dense(inputs)
    part, reads = window_of(layer, {"fc0": read}, entries=100_000)
    columns = part.matrix.shape[1]
    assert part.matrix.shape[0] == 400
    assert 256 <= columns < 1536
    assert part.matrix.nnz == pytest.approx(100_000, rel=0.05)
    # Chance decides where too few are active: then all of it is taken.
    few = eie.LayerTrace.from_dense(inputs * (np.arange(1536) % 9 == 0))
    assert window_of(layer, {"fc0": few}, entries=100_000)[0] is layer
    assert reads["fc0"].width == columns
    assert reads["fc0"].density == pytest.approx(read.density, abs=1 / columns)


@given(columns=st.integers(64, 3000), share=st.floats(0.05, 0.75), samples=st.integers(1, 3), seed=st.integers(0, 99))
def test_blocks_lie_within_the_layer_in_order(columns, share, samples, seed):
    count = max(BLOCK, int(columns * share))
    if 4 * count > 3 * columns:
        return
    mask = np.random.default_rng(seed).random((samples, columns)) < 0.4
    kept = _blocks(mask, count)
    assert len(kept) == count
    assert (np.diff(kept) > 0).all()
    assert kept[0] >= 0
    assert kept[-1] < columns


def test_columns_of_a_matrix_are_those_of_the_dense_one():
    matrix = large()[0].layers[1].matrix
    kept = np.array([0, 3, 4, 399])
    assert (columns_of(matrix, kept).dense() == matrix.dense()[:, kept]).all()


def test_convolutions_and_small_layers_are_screened_whole():
    conv = eie.Conv2d(in_channels=64, out_channels=4, kernel=(3, 3))
    tied = eie.Layer.from_conv("conv", np.ones((4, 64, 3, 3), np.float32), conv=conv)
    for layer in (tied, *mlp([40, 24, 10], density=0.3).layers):
        assert window_of(layer, {}, entries=1)[0] is layer


def test_moved_rows_are_those_of_the_permute_step():
    """A chain of two: rows of the first move, the columns of the second follow; run from the same input."""
    network = mlp([40, 24, 10], density=0.3)
    keep = network.layers[0].matrix.dense() * ((np.arange(24) % 4 == 0)[:, None] | (np.arange(40) % 7 == 0)[None, :])
    first = eie.Layer.from_weights("fc0", keep, relu=True)
    second = eie.Layer.from_weights("fc1", network.layers[1].matrix.dense())
    network = replace(network, layers=(first, second))
    inputs = np.abs(np.random.default_rng(2).standard_normal((1, 40)))
    answer = eie.explain(network, inputs, spec=SPEC, objective="latency")
    rows = next(each for each in answer.advice if [change.knob for change in each.changes] == ["rows"])
    before = eie.simulate(network, inputs, spec=SPEC)
    # The order follows how often inputs are not zero, as a trace of this network tells.
    recorded = eie.Trace(
        layers={
            "fc0": eie.LayerTrace.from_dense(inputs),
            "fc1": eie.LayerTrace.from_dense(before.layers[0].outputs),
        }
    )
    from eie.studies.machines import shared

    moved = permute(replace(shared(network, 4), trace=recorded), 4, outputs=True).network
    after = eie.simulate(replace(moved, trace=None), inputs, spec=SPEC)
    assert rows.latency == pytest.approx(after.latency_us / before.latency_us, rel=1e-12)
    assert np.allclose(np.sort(outputs(moved, inputs)), np.sort(outputs(shared(network, 4), inputs)))


@given(
    seed=st.integers(0, 10_000),
    count=st.integers(1, 60),
    share=st.floats(0.05, 1),
    n_pe=st.integers(1, 5),
    even=st.booleans(),
)
def test_pruning_keeps_the_largest_and_as_many_in_each(seed, count, share, n_pe, even):
    rng = np.random.default_rng(seed)
    sizes, rows = rng.random(count).astype(np.float32), rng.integers(0, 20, count).astype(np.int32)
    keep = kept_entries(sizes, rows, n_pe=n_pe, pruning=Pruning(share, even))
    assert keep.sum() == int(share * count + 0.5)
    for pe in range(n_pe) if even else [None]:
        mine = slice(None) if pe is None else rows % n_pe == pe
        assert sizes[mine][keep[mine]].min(initial=1) >= sizes[mine][~keep[mine]].max(initial=0)
    if even:
        kept = np.bincount(rows[keep] % n_pe, minlength=n_pe)
        stored = np.bincount(rows % n_pe, minlength=n_pe)
        # A PE that has less than another keeps all it has, but for the remainder of one.
        assert all(kept[pe] >= min(stored[pe], kept.max() - 1) for pe in range(n_pe))


def test_fewer_weights_are_marked():
    answer = eie.explain(layer(np.ones((64, 50))), ones(50), spec=SPEC, objective="latency")
    cut = [each for each in answer.advice if each.retrains]
    assert cut
    assert all("pruned to" in each.words and not each.typed for each in cut)
    half = next(each for each in cut if each.words == "fc pruned to 50 % of its weights")
    assert half.latency == pytest.approx(0.5, abs=0.05)
    assert "computes something else, needs fine-tuning" in str(answer)
    assert {row["needs_fine_tuning"] for row in answer.records() if row["what"] == "change"} == {True, False}


def test_a_clock_that_logic_and_srams_do_not_allow_is_not_advised():
    """At the fastest clock of the machine as it is, every wider or larger SRAM that is slower is left out."""
    spec = SPEC.replace(spmat_kib=64)
    spec = spec.replace(clock_mhz=fastest_mhz(spec))
    assert not timing_met(spec.replace(spmat_row_bits=256))
    answer = eie.explain(layer(np.ones((64, 50))), ones(50), spec=spec, objective="energy")
    for each in (*answer.advised.ranked, *answer.advised.useless):
        setting = Setting(spec=spec)
        for change in each.changes:
            setting = change.make(setting)
        assert timing_met(setting.spec)


def test_memories_that_hold_all_are_advised_to_fit():
    keep, inputs, spec = KNOWN["load"]
    answer = eie.explain(layer(keep), inputs, spec=spec)
    larger = next(each for each in answer.advice if [change.knob for change in each.changes] == ["residency"])
    assert (larger.fits, larger.fitted, larger.area > 1) == (True, False, True)
    assert "--set spmat_kib=" in larger.typed
    assert "fits" in [column.key for column in answer.section("advice").sections()[0].grids[0].columns]


# -- results ----------------------------------------------------------------------------------------------------------


def test_a_result_alone_gives_what_binds(tmp_path):
    network = mlp([40, 24, 10], density=0.3)
    inputs = np.maximum(0, np.random.default_rng(3).standard_normal((5, 40)))
    result = eie.simulate(network, inputs, spec=SPEC, keep_outputs=False, shares=True)
    result.to_json(tmp_path / "r.json")
    live = eie.explain(network, inputs, spec=SPEC)
    for answer in (eie.explain(tmp_path / "r.json"), eie.explain(result)):
        assert answer.advised is None
        assert "no advice: the model of this result is not at hand" in str(answer)
        assert [each.sentence() for each in answer.layers] == [each.sentence() for each in live.layers]
        assert answer.whole.sentence() == live.whole.sentence()
    advised = eie.explain(tmp_path / "r.json", inputs, network=network)
    assert str(advised) == str(live)


def test_a_result_finds_its_model_by_the_hash(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    rng = np.random.default_rng(0)
    # A foreign file: what eie wrote itself keeps the source that it had.
    np.savez("m.npz", **{"fc.weight": rng.standard_normal((24, 40)) * (rng.random((24, 40)) < 0.3)})
    inputs = np.abs(np.random.default_rng(3).standard_normal((1, 40)))
    eie.simulate("m.npz", inputs, keep_outputs=False).to_json("r.json")
    assert eie.explain("r.json", inputs).advice
    # Another model of that name is not it.
    np.savez("m.npz", **{"fc.weight": rng.standard_normal((24, 40))})
    assert eie.explain("r.json", inputs).advised is None
    assert model_of(None, ["m.npz"]) is None
    assert model_of(eie.load("lenet-300-100").sha256, ["no.npz", "lenet-300-100"]).name == "lenet-300-100"


def test_a_model_that_gives_other_cycles_is_refused(tmp_path):
    network = mlp([40, 24, 10], density=0.3)
    inputs = np.maximum(0, np.random.default_rng(3).standard_normal((1, 40)))
    eie.simulate(network, inputs, spec=SPEC).to_json(tmp_path / "r.json")
    with pytest.raises(ExplainError, match="mlp: the model does not give the cycles of the result: say with which"):
        eie.explain(tmp_path / "r.json", inputs, network=mlp([40, 24, 10], seed=5, density=0.3))
    with pytest.raises(ExplainError, match="the model does not give the cycles"):
        eie.explain(tmp_path / "r.json", np.ones(40), network=network)


def test_wrong_calls(tmp_path):
    result = eie.simulate(layer(np.eye(4)), ones(4))
    with pytest.raises(EieError, match="objective 'speed': must be one of edp, latency, energy, area"):
        eie.explain(layer(np.eye(4)), ones(4), objective="speed")
    with pytest.raises(EieError, match="spec: the result was run on a machine already"):
        eie.explain(result, spec=SPEC)
    with pytest.raises(EieError, match="network: is for results"):
        eie.explain(layer(np.eye(4)), ones(4), network=layer(np.eye(4)))
    value = json.loads(result.to_json())
    value["layers"][0].pop("bound_parts")
    old = {key: item for key, item in value.items() if key not in ("content_hash", "command")} | {"schema_version": 1}
    (tmp_path / "old.json").write_text(json.dumps(old))
    with pytest.raises(EieError, match=r"old.json: says of layer fc not what binds it.*run the model again"):
        eie.explain(tmp_path / "old.json")


# -- the command ------------------------------------------------------------------------------------------------------


@pytest.fixture
def model(tmp_path):
    rng = np.random.default_rng(0)
    np.savez(tmp_path / "m.npz", **{"fc.weight": rng.standard_normal((40, 30)) * (rng.random((40, 30)) < 0.2)})
    np.save(tmp_path / "x.npy", np.abs(rng.standard_normal((2, 30))))
    return "m.npz"


def test_explain_on_the_command_line(cli, model, tmp_path):
    code, out, _ = cli("explain", model, "--trace", "x.npy", "--json", "e.json", "--csv", "e.csv", "--for", "energy")
    assert code == 0
    assert "fc: bound by" in out
    assert "for less energy" in out
    document = eie.read_answer(tmp_path / "e.json", "eie-explanation")
    assert document.values["objective"] == "energy"
    assert document.command == "eie explain m.npz --trace x.npy --json e.json --csv e.csv --for energy"
    typed = next(row["try"] for row in document.values["changes"] if row["try"])
    before, after = (tmp_path / "before.json", tmp_path / "after.json")
    cli("run", model, "--trace", "x.npy", "--json", before)
    cli("run", model, "--trace", "x.npy", "--json", after, *shlex.split(typed))
    energy = [eie.read_answer(file).values["energy"]["activity"]["total_nj"] for file in (before, after)]
    ratio = next(row["energy_ratio"] for row in document.values["changes"] if row["try"] == typed)
    assert ratio == pytest.approx(energy[1] / energy[0], rel=1e-9)


def test_a_result_on_the_command_line(cli, model):
    cli("run", model, "--trace", "x.npy", "--samples", 1, "--json", "r.json", "--set", "n_pe=8")
    code, out, _ = cli("explain", "r.json")
    assert code == 0
    assert "8 PEs" in out
    # Found, with its trace, where the result's own command says.
    assert "What to change" in out
    assert "Run again with each change" in out
    code, _, err = cli("explain", "r.json", "--set", "n_pe=4")
    assert (code, "--set: r.json was run with its own already" in err) == (2, True)
    code, _, err = cli("explain", model, "--model", model)
    assert (code, "--model: m.npz is a model itself" in err) == (2, True)
    code, _, err = cli("explain", "r.json", "--model", "lenet-300-100")
    assert (code, "does not give the cycles of the result" in err or "inputs" in err) == (1, True)


def test_a_result_whose_model_is_gone(cli, model, tmp_path):
    cli("run", model, "--trace", "x.npy", "--json", "r.json")
    (tmp_path / "m.npz").unlink()
    code, out, _ = cli("explain", "r.json")
    assert code == 0
    assert "no advice: the model of this result is not at hand" in out
    code, _, err = cli("explain", "r.json", "--model", "m.npz")
    assert (code, "m.npz" in err) == (1, True)


def test_explain_fits_a_terminal_of_80_columns():
    answer = eie.explain("lenet-300-100")
    console = Console(file=io.StringIO(), width=80, force_terminal=True, color_system=None)
    answer.show(console)
    lines = console.file.getvalue().splitlines()
    assert max(map(len, lines)) <= 80
    assert "16 PEs instead of 64" in console.file.getvalue()
    # No table is split into blocks: each heading stands once.
    assert sum("change" in line and "latency" in line for line in lines) <= 2


def test_what_is_done_to_another_layer_is_no_advice_for_this_one():
    said = next(line for line in str(eie.explain("lenet-300-100")).splitlines() if line.startswith("Best for each"))
    (of_ip3,) = re.findall(r"ip3: ([^.]*(?:\d\.\d[^.]*)*)", said)
    assert "PEs instead of 64" in of_ip3
    assert "ip1" not in of_ip3
    assert "ip2" not in of_ip3
