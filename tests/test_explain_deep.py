"""Deep networks and large maps: what stands for what while changes are screened, and what a band comes to."""

import io
import math
import re
from dataclasses import replace

import numpy as np
import pytest
from rich.console import Console

import eie
from eie.compiler.demand import Demand
from eie.compiler.encoded import encode_layer
from eie.importers.synthetic import draw_map
from eie.model.drawn import drawn_notes
from eie.model.geometry import Conv2d
from eie.studies.explain.advise import _beside, advise
from eie.studies.explain.answer import Explanation
from eie.studies.explain.band import band_of
from eie.studies.explain.base import Asked, base_run
from eie.studies.explain.bench import changed
from eie.studies.explain.explain import FEW_BROADCASTS, _few
from eie.studies.explain.knobs import changes_of
from eie.studies.explain.sample import stand_ins
from eie.studies.explain.told import demand_told


def conv_network(layers, size, channels=16, density=0.3, seed=0):
    """Convolutions that are no chain, each on a map of its own."""
    rng = np.random.default_rng(seed)
    conv = Conv2d(in_channels=channels, out_channels=32, kernel=(3, 3), pads=(1, 1, 1, 1))
    made, inputs = [], {}
    for place in range(layers):
        kept = rng.random(conv.weight_shape) < density
        weights = np.where(kept, rng.standard_normal(conv.weight_shape), 0).astype(np.float32)
        made.append(eie.Layer.from_conv(f"conv{place}", weights, conv=conv))
        inputs[f"conv{place}"] = draw_map(conv, size, size, 0.5, rng)
    return eie.Network(name="deep", layers=tuple(made)), eie.Trace(layers=inputs)


def ran_on(network, trace, conv="auto"):
    return base_run(
        network,
        Asked(
            spec=eie.EIE_64PE,
            activations=trace,
            layout=None,
            bias="auto",
            conv=conv,
            batch=1,
            cell="itrs-lop",
            threads=1,
            progress=lambda _: None,
        ),
    )


def assert_near(ran, few, changes, rel):
    """With each of these fields changed, few rows cost what all of them do."""
    for fields in changes:
        setting = changed(ran.setting, fields)
        whole, part = ran.bench.cost(setting), few.cost(setting)
        assert part.latency_us.sum() == pytest.approx(whole.latency_us.sum(), rel=rel)
        assert part.energy_nj.sum() == pytest.approx(whole.energy_nj.sum(), rel=rel)


@pytest.fixture(scope="module")
def deep():
    ran = ran_on(*conv_network(20, 12))
    return ran, _few(ran, 1)


def test_every_layer_has_one_that_stands_for_it(deep):
    ran, few = deep
    stands = stand_ins(ran.layers, ran.kinds, 5)
    assert set(stands) == {layer.name for layer in ran.layers}
    assert len(set(stands.values())) == 5
    assert few.sampled


def test_few_layers_stand_for_themselves(deep):
    ran, _ = deep
    assert stand_ins(ran.layers[:5], ran.kinds, 5) == {layer.name: layer.name for layer in ran.layers[:5]}


def test_the_machine_as_it_is_costs_the_same_in_a_sample(deep):
    ran, few = deep
    whole, part = ran.bench.cost(ran.setting), few.cost(ran.setting)
    assert np.allclose(whole.latency_us, part.latency_us)
    assert np.allclose(whole.energy_nj, part.energy_nj)


def test_what_the_run_counted_is_what_the_bench_would_count(deep):
    ran, _ = deep
    kept, counted = ran.bench.cost(ran.setting), ran.bench._run(ran.setting)
    assert np.allclose(kept.latency_us, counted.latency_us, rtol=1e-12)
    assert np.allclose(kept.energy_nj, counted.energy_nj, rtol=1e-12)
    assert (kept.fits, kept.timing_met) == (counted.fits, counted.timing_met)


def test_a_sample_tells_what_other_numbers_of_pes_do(deep):
    assert_near(*deep, [{"n_pe": 16}, {"n_pe": 128}], rel=0.05)


def test_rows_of_the_table_are_runs_of_all_layers(deep):
    ran, few = deep
    changes = changes_of(ran.setting, ran.bench.forms, ran.bench.whole, layers=ran.layers, streams={})
    best = advise(ran.bench, ran.setting, changes, objective="latency", few=few).ranked[0]
    setting = ran.setting
    for change in best.changes:
        setting = change.make(setting)
    whole, now = ran.bench._run(setting), ran.bench.cost(ran.setting)
    assert best.latency == pytest.approx(whole.latency_us.sum() / now.latency_us.sum(), rel=1e-12)


def test_demand_is_told_without_encoding():
    network, _ = conv_network(1, 12, density=1.0)
    layer, report = eie.compression.share.share(network.layers[0], 4, bias="auto")
    true = Demand.of(encode_layer(layer, report, eie.EIE_64PE))
    weights = np.bincount(layer.matrix.rows, minlength=layer.matrix.shape[0])
    told = demand_told(layer, weights, eie.EIE_64PE, scattered=False, padded=1.0)
    assert told.entries.tolist() == true.entries.tolist()
    assert (told.pointers, told.rounds, told.channels_a_pe) == (true.pointers, true.rounds, true.channels_a_pe)
    assert [part.columns.sum() for part in told.passes] == [part.columns.sum() for part in true.passes]


def test_a_band_is_as_active_as_its_map():
    conv = Conv2d(in_channels=8, out_channels=8, kernel=(3, 3), stride=(2, 2), pads=(1, 1, 1, 1))
    read = draw_map(conv, 200, 60, 0.5, np.random.default_rng(0))
    band = band_of(conv, read, 1 << 14)
    cut = band.of(read)
    assert math.prod(conv.output_size(*band.size)) == cut.products == band.stop - band.start
    assert cut.density == pytest.approx(read.density, rel=0.05)
    assert band_of(conv, read, 1 << 30) is None


@pytest.mark.parametrize("conv", ["im2col", "scatter"])
def test_a_band_comes_to_what_the_whole_map_counts(conv):
    ran = ran_on(*conv_network(1, 96), conv=conv)
    few = _few(ran, 1)
    assert few.forms.grown["conv0"] > 1
    assert ran.bench.forms.longer_than(FEW_BROADCASTS)
    assert_near(ran, few, [{"act_queue_depth": 2}, {"n_pe": 16}, {"n_pe": 128}], rel=0.03)


def test_a_deep_network_is_told_in_one_table_and_few_sentences(deep):
    ran, few = deep
    changes = changes_of(ran.setting, ran.bench.forms, ran.bench.whole, layers=ran.layers, streams={})
    # As long as names of such networks are.
    layers = tuple(replace(layer, name=f"layer1.downsample.{layer.name}") for layer in ran.layers)
    names = [layer.name for layer in layers]
    answer = Explanation(
        network="deep",
        spec=ran.setting.spec,
        layers=layers,
        whole=None,
        objective="edp",
        advised=advise(ran.bench, ran.setting, changes, objective="edp", few=few),
        notes=drawn_notes(names),
    )
    console = Console(file=io.StringIO(), width=80, force_terminal=True, color_system=None)
    answer.show(console)
    text = console.file.getvalue()
    # A second block would begin with the layers again.
    assert len(re.findall(rf"^{names[0]} ", text, re.MULTILINE)) == 1
    assert text.count("bound by ") < len(names)
    assert f"{names[0]}, {names[1]}, ... {names[-1]} (20 layers)" in " ".join(text.split())


def test_what_gains_nothing_on_the_sample_is_told_and_not_run_on_all(deep):
    ran, few = deep
    changes = changes_of(ran.setting, ran.bench.forms, ran.bench.whole, layers=ran.layers, streams={})
    # One that loses, and nothing else to try.
    (fewer,) = [change for change in changes if change.words.startswith("4 PEs")]
    advised = advise(ran.bench, ran.setting, [fewer], objective="latency", few=few)
    assert [each.words for each in advised.dropped] == [fewer.words]
    assert advised.ranked == advised.useless == ()


def test_the_best_of_a_deep_network_is_turned_once_more_on_all_layers(deep, monkeypatch):
    """A sample that errs: of two widths of the index it takes the worse for the better."""
    ran, few = deep
    base = changed(ran.setting, {"index_bits": 8})
    changes = changes_of(base, ran.bench.forms, ran.bench.whole, layers=ran.layers, streams={})
    five, six = (next(each for each in changes if each.words.startswith(f"{bits} index")) for bits in (5, 6))
    assert ran.bench.cost(five.make(base)).energy_nj.sum() < ran.bench.cost(six.make(base)).energy_nj.sum()
    right = few.cost
    worse = 1.01 * right(six.make(base)).energy_nj.sum() / right(five.make(base)).energy_nj.sum()

    def wrong(setting):
        cost = right(setting)
        return replace(cost, energy_nj=cost.energy_nj * (worse if setting.spec.index_bits == 5 else 1))

    monkeypatch.setattr(few, "cost", wrong)
    assert advise(ran.bench, base, [five, six], objective="energy", few=few).ranked[0].changes == (five,)


@pytest.mark.parametrize(("made", "beside"), [("", ["4", "16"]), ("4", ["2", ""]), ("64", ["32"])])
def test_one_value_more_each_way(deep, made, beside):
    ran, _ = deep
    changes = changes_of(ran.setting, ran.bench.forms, ran.bench.whole, layers=ran.layers, streams={})
    queues = [change for change in changes if change.knob == "queue"]
    other = next(change for change in changes if change.knob == "PEs")
    now = [other, *(change for change in queues if made and change.words.startswith(f"{made} "))]
    turned = [list(each) for each in _beside(ran.setting, now, queues, name="act_queue_depth")]
    assert all(each[0] is other for each in turned)
    assert [each[1].words.split()[0] if len(each) > 1 else "" for each in turned] == beside
