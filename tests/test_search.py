"""Hardware-aware search: budgets, prices against whole simulations, judges, and plans that keep their budget."""

import json
from dataclasses import replace

import numpy as np
import pytest
from small_networks import cnn, images, labelled, mlp, outputs, residual

import eie
from eie.cli.inputs import labelled_network
from eie.errors import EieError
from eie.model.graph import Graph, Node
from eie.model.samples import Samples
from eie.recording.record import record
from eie.studies.search.budget import Budget, Price, pattern_only
from eie.studies.search.judge import Judge, Score, chance, score
from eie.studies.search.search import SearchError, search
from eie.studies.search.strategies import LEAST, Space, greedy, pruned

SPEC = eie.EIE_64PE.replace(n_pe=4)


def recorded(network, samples=4):
    trace = network.trace
    values = next(iter(trace.layers.values())).dense()[:samples]
    return replace(network, trace=record(replace(network, trace=None), Samples.of(values)))


# -- budgets and prices -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("quantity", "text", "limit"),
    [
        ("latency_us", "0.5x", 50),
        ("latency_us", "12us", 12),
        ("latency_us", "1.5ms", 1500),
        ("latency_us", "300 ns", 0.3),
        ("energy_nj", ".25x", 25),
        ("energy_nj", "2uJ", 2000),
        ("energy_nj", "700 pJ", 0.7),
    ],
)
def test_budgets_in_words(quantity, text, limit):
    assert Budget.parse(quantity, text).limit(100) == pytest.approx(limit)


@pytest.mark.parametrize("text", ["", "1x", "1.5x", "0us", "12", "12nJ", "-1us", "0.5"])
def test_wrong_budgets(text):
    with pytest.raises(EieError, match="budget .*must be a share"):
        Budget.parse("latency_us", text)


# 2,048 entries a PE, where 3,000 and more of the larger network's are wanted.
TIGHT = SPEC.replace(n_pe=2, spmat_kib=2, stream_kib=0.5, act_batches="paper")


@pytest.mark.parametrize("quantity", ["latency_us", "energy_nj"])
@pytest.mark.parametrize(
    ("make", "biased", "spec"),
    [(lambda: mlp([30, 20, 10]), True, SPEC), (cnn, False, SPEC), (lambda: mlp([100, 60, 10]), False, TIGHT)],
    ids=["mlp with biases", "cnn", "streamed"],
)
def test_a_price_is_that_of_the_whole_simulation(make, biased, quantity, spec):
    """Layer by layer, weights all alike, by im2col: the same as compiling and running the network with its own."""
    network = make()
    if not biased:
        network = replace(network, layers=tuple(replace(layer, bias=None) for layer in network.layers))
    network = recorded(labelled(network))
    price = Price(network=network, machine="eie", quantity=quantity, spec=spec)
    for one in (network, pruned(network, {network.layers[0].name: 0.3, network.layers[1].name: 0.6}, "fine")):
        result = eie.simulate(eie.compile(replace(one, trace=None), spec, conv="im2col"), network.trace)
        if one is network:
            assert result.memory.fits == (spec is SPEC)
        whole = result.latency_us if quantity == "latency_us" else result.energy().total_nj
        # Of a column the price would not know which small biases are stored as zero; accumulators' are all written.
        assert all(layer.encoded.has_bias is False for layer in result.layers)
        assert all((layer.encoded.bias_writes > 0) == biased for layer in result.layers)
        assert price.total(one) == pytest.approx(whole, rel=1e-12)


def test_the_price_of_other_machines():
    network = recorded(labelled(cnn()))
    ours = Price(network=network, machine="dense", quantity="latency_us", spec=SPEC).total(network)
    # Its biases are in the accumulators, as EIE's are, and so no column takes the dense PEs a cycle.
    assert ours == eie.simulate(replace(network, trace=None), network.trace, spec=SPEC).dense_us
    fewer = pruned(network, {"conv1": 0.5}, "fine")
    assert Price(network=network, machine="dense", quantity="latency_us", spec=SPEC).total(fewer) == ours
    assert Price(network=network, machine="roofline:titan-x:csr", quantity="latency_us", spec=SPEC).total(
        fewer
    ) < Price(network=network, machine="roofline:titan-x:csr", quantity="latency_us", spec=SPEC).total(network)
    for machine, why in (("measured:dense", "modelled machine"), ("report.csv", "modelled machine")):
        with pytest.raises(EieError, match=why):
            Price(network=network, machine=machine, quantity="latency_us", spec=SPEC)
    with pytest.raises(EieError, match="states no energy"):
        Price(network=network, machine="systolic:4x4:ws", quantity="energy_nj", spec=SPEC)


def test_a_pattern_keeps_zeros_and_bias():
    layer = eie.Layer.from_weights("a", [[0, 2.5], [-1, 0]], [0, 3.0])
    found = pattern_only(layer)
    np.testing.assert_array_equal(found.weights != 0, layer.weights != 0)
    assert found.bias_codes.tolist() == [0, 1]
    assert pattern_only(layer, column=False).bias.tolist() == [0, 0]
    shared = eie.Layer.from_codes(
        name="a", codes=np.array([[0, 2]], np.uint8), codebook=np.array([0, 1, 2.0]), bias_codes=np.array([2], np.uint8)
    )
    assert pattern_only(shared).bias_codes.tolist() == [1]


# -- judges -----------------------------------------------------------------------------------------------------------


def test_scores_by_hand():
    layer = eie.Layer.from_weights("a", np.eye(3))
    samples = Samples(arrays={"a": np.array([[2, 0, 0], [0, 0, 1]], np.float32)}, labels=np.array([0, 1]))
    found = score(eie.Network.of(layer), samples)
    assert found.right.tolist() == [True, False]
    by_hand = -np.log([np.exp(2) / (np.exp(2) + 2), 1 / (np.e + 2)]).mean()
    assert found.loss == pytest.approx(by_hand)


def test_choosing_and_reporting_samples_are_apart():
    network = labelled(mlp([8, 6, 3]), count=9)
    judge = Judge.of(network)
    whole = next(iter(network.trace.layers.values())).dense()
    assert (len(judge.choosing.labels), len(judge.reporting.labels)) == (4, 5)
    np.testing.assert_array_equal(np.concatenate([judge.choosing.arrays["fc0"], judge.reporting.arrays["fc0"]]), whole)
    assert judge.report(network).accuracy == 1
    assert Judge.of(replace(network, trace=None)) is None


def test_chance_of_a_difference():
    yes, no = np.ones(10, bool), np.zeros(10, bool)
    assert chance(yes, yes) == 1
    assert chance(yes, no) == pytest.approx(2 / 2**10)
    assert chance(no, yes) == chance(yes, no)
    assert chance(np.ones(3000, bool), np.zeros(3000, bool)) < 1e-300


# -- strategies -------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def space():
    network = recorded(labelled(mlp([40, 30, 20, 5], seed=1), 80))
    price = Price(network=network, machine="eie", quantity="latency_us", spec=SPEC)
    judge = Judge.of(labelled(mlp([40, 30, 20, 5], seed=1), 80))
    return Space(
        network=network, names=[layer.name for layer in network.layers], granularity="fine", price=price, judge=judge
    )


def test_reach_prunes_as_little_as_meets_the_limit(space):
    whole = space.cost(space.start)
    found = space.reach(space.start, space.names, 0.6 * whole)
    assert len(set(found.values())) == 1
    assert space.cost(found) <= 0.6 * whole
    assert space.cost({name: density / 0.97 for name, density in found.items()}) > 0.6 * whole
    one = space.reach(space.start, ["fc0"], 0.8 * whole)
    assert one["fc1"] == one["fc2"] == 1
    assert space.reach(space.start, ["fc2"], 0.5 * whole) is None
    least = space.cost(dict.fromkeys(space.names, LEAST))
    assert space.reach(space.start, space.names, least)["fc0"] >= LEAST


def test_greedy_meets_the_limit_and_never_does_worse_than_uniform(space):
    whole = space.cost(space.start)
    for share in (0.8, 0.6, 0.5):
        uniform = space.reach(space.start, space.names, share * whole)
        found = greedy(space=space, uniform=uniform, limit=share * whole, trials=0, say=lambda _: None)
        assert space.cost(found) <= share * whole
        assert space.loss(found) <= space.loss(uniform)


# -- the whole --------------------------------------------------------------------------------------------------------


def test_without_labels_the_outputs_are_compared():
    """The error of both plans is the relative output error against the unpruned network, on samples nobody chose by."""
    network = labelled(cnn())
    network = replace(network, trace=replace(network.trace, labels=None))
    answer = search(network, latency="0.8x", machine="dense", spec=SPEC)
    images = network.trace.layers["image"].dense().reshape(-1, 1, 8, 8)[30:]
    whole = outputs(network, images)
    for plan in answer.plans[1:]:
        off = np.linalg.norm(outputs(plan.network, images) - whole) / np.linalg.norm(whole)
        assert plan.final.relative_output_error == pytest.approx(off, rel=1e-4)
        assert plan.final.accuracy is None
    assert answer.found.chosen.loss <= answer.uniform.chosen.loss
    assert answer.plans[0].final.relative_output_error == 0
    assert answer.sensitivity.measure == "relative_output_error"
    assert "no labels: by the relative output error against the unpruned network" in str(answer)
    assert "accuracy" not in str(answer)
    assert {row["network_accuracy"] for row in answer.records()} == {None}


def two_inputs():
    """fc(a) + ids * b: several inputs, one of them whole numbers."""
    rng = np.random.default_rng(0)
    nodes = (
        Node(op="layer", inputs=("a",), outputs=("fc:out",), layer="fc"),
        Node(op="add", inputs=("fc:out", "b"), outputs=("sum",)),
    )
    graph = Graph(inputs=(("a", (24,)), ("b", (16,))), nodes=nodes, outputs=("sum",))
    layer = eie.Layer.from_weights("fc", rng.standard_normal((16, 24)))
    return eie.Network(name="two", layers=(layer,), graph=graph)


def test_arrays_by_name_are_searched_by(cli, tmp_path):
    rng = np.random.default_rng(1)
    eie.save(two_inputs(), tmp_path / "two.safetensors")
    np.savez(tmp_path / "in.npz", a=rng.standard_normal((8, 24)), b=rng.standard_normal((8, 16)))
    words = ("--energy-budget", "0.9x", "--trace", "in.npz", "--json", "s.json", "--set", "n_pe=4")
    assert cli("search", "two.safetensors", *words)[0] == 0
    rows = json.loads((tmp_path / "s.json").read_text())["rows"]
    assert {row["network_relative_output_error"] > 0 for row in rows if row["plan"] != "unpruned"} == {True}


def test_a_layout_is_taken_by_studies_too(cli, tmp_path):
    """The refusal of maps with their channels last names the option."""
    eie.save(cnn(), tmp_path / "cnn.safetensors")
    np.save(tmp_path / "x.npy", images(6).reshape(6, 8, 8, 1))
    words = ("compress", "cnn.safetensors", "--sensitivity", "--densities", "0.5", "--trace", "x.npy")
    assert cli(*words, "--layout", "nhwc")[0] == 0
    network = labelled_network(str(tmp_path / "cnn.safetensors"), str(tmp_path / "x.npy"), {}, layout="nhwc")
    assert network.trace.layers["image"].samples == 6


def test_ids_beyond_float32_are_refused(cli, tmp_path):
    network = replace(two_inputs(), graph=replace(two_inputs().graph, types={"b": "int64"}))
    eie.save(network, tmp_path / "two.safetensors")
    np.savez(tmp_path / "in.npz", a=np.ones((4, 24)), b=np.full((4, 16), 2**24 + 1))
    code, _, err = cli("search", "two.safetensors", "--energy-budget", "0.9x", "--trace", "in.npz")
    assert (code, "input 'b' has whole numbers beyond 2^24" in err) == (1, True), err


def test_layers_that_are_added_are_one_choice():
    """A residual network by channels: both layers of a sum have one density, in the plan and in its recipe."""
    network = labelled(residual())
    answer = search(network, latency="0.6x", machine="dense", spec=SPEC)
    assert answer.found.densities["a"] == answer.found.densities["c"]
    assert answer.found.verified <= answer.limit
    followed, _ = eie.compress(network, answer.recipe())
    assert [layer.outputs for layer in followed.layers] == [layer.outputs for layer in answer.found.network.layers]


def test_what_cannot_be_searched():
    network = labelled(mlp([16, 12, 4]))
    for given in ({}, {"latency": "0.5x", "energy": "0.5x"}):
        with pytest.raises(EieError, match="give a latency or an energy"):
            search(network, **given)
    with pytest.raises(SearchError, match="a search needs inputs, two samples or more"):
        search(mlp([16, 12, 4]), latency="0.5x")
    with pytest.raises(SearchError, match="match none that can be pruned"):
        search(network, latency="0.5x", layers="conv*")
    with pytest.raises(SearchError, match=r"cannot be met: with 2 % of every layer it still takes"):
        search(network, latency="1ns")
    with pytest.raises(SearchError, match="must be one of greedy, optuna"):
        search(network, latency="0.5x", method="annealing")
    with pytest.raises(SearchError, match="must be one of fine, channel"):
        search(network, latency="0.5x", granularity="2:4")


def test_a_loose_budget_prunes_nothing():
    found = search(labelled(mlp([16, 12, 4])), latency="1s", spec=SPEC)
    assert set(found.found.densities.values()) == {1}
    assert found.found.final.accuracy == 1


def test_channels_on_a_dense_machine():
    """Single zeros gain nothing there, so channels go by default."""
    network, spec = labelled(cnn()), eie.EIE_64PE.replace(n_pe=1)
    found = search(network, latency="0.6x", machine="dense", spec=spec)
    assert found.granularity == "channel"
    assert set(found.found.densities) == {"conv1", "conv2", "fc1"}  # fc2's outputs are the classes
    for plan in found.plans[1:]:
        traced = recorded(replace(plan.network, trace=network.trace))
        # The search decides once, on the unpruned layers, that biases go to the accumulators.
        cost = eie.simulate(replace(traced, trace=None), traced.trace, spec=spec, bias="accumulator").dense_us
        assert plan.verified == pytest.approx(cost)
        assert plan.verified <= found.limit == pytest.approx(0.6 * found.plans[0].verified)
    assert {point.layer for point in found.sensitivity.points} == {"conv1", "conv2", "fc1"}


def test_energy_and_optuna():
    pytest.importorskip("optuna")
    network = labelled(mlp([40, 30, 20, 5], seed=1), 80)
    found = search(network, energy="0.6x", spec=SPEC, method="optuna", trials=12)
    again = search(network, energy="0.6x", spec=SPEC, method="optuna", trials=12)
    assert found.found.densities == again.found.densities
    assert sum(found.found.cost.values()) <= found.limit
    assert found.found.chosen.loss <= found.uniform.chosen.loss


def test_what_was_found_as_a_recipe(tmp_path):
    network = labelled(mlp([40, 30, 20, 5], seed=1), 80)
    found = search(network, latency="0.6x", spec=SPEC)
    (tmp_path / "found.toml").write_text(found.recipe_toml())
    again, _ = eie.compress(network, eie.load_recipe(tmp_path / "found.toml"))
    for one, other in zip(again.layers, found.found.network.layers, strict=True):
        np.testing.assert_array_equal(one.weights, other.weights)


def test_plans_are_fine_tuned_alike():
    pytest.importorskip("torch")
    from eie.compression.training.finetune import Trainer

    network = mlp([40, 30, 3], seed=2)
    x = np.maximum(np.random.default_rng(0).standard_normal((300, 40)), 0).astype(np.float32)
    labels = outputs(network, x).argmax(axis=1)
    trainer = Trainer(
        train_set=Samples.of(x[:200], labels=labels[:200]), test_set=Samples.of(x[200:], labels=labels[200:])
    )
    found = search(network, latency="0.6x", spec=SPEC, trainer=trainer, epochs=2)
    assert found.source == "chosen by the last 200 training images, reported on the test images"
    for plan in found.plans:
        assert plan.tuned is plan.final
        assert len(plan.tuned.right) == 100
    assert found.uniform.tuned.loss < found.uniform.reported.loss
    # Pruned weights stayed pruned.
    assert sum(layer.matrix.nnz for layer in found.uniform.network.layers) < 40 * 30 + 30 * 3
    assert "after 2 epochs" in [column.heading for column in found.plans_section().grids[0].columns]


def test_the_report_says_when_the_budget_is_not_quite_kept():
    found = search(labelled(mlp([40, 30, 5])), latency="0.7x", spec=SPEC)
    over = replace(found.found, verified=1.1 * found.limit)
    notes = replace(found, plans=(*found.plans[:2], over)).plans_section().notes
    assert any("other activations" in note for note in notes)
    right = np.ones(4, bool)
    assert Score(right, 0.0).accuracy == 1


def test_lenet_end_to_end(cli, tmp_path):
    """Non-uniform pruning beats uniform at half of the latency, with real accuracy on images no choice has seen."""
    code, out, err = cli(
        "search", "lenet-300-100-dense", "--latency-budget", "0.5x", "-o", "small.safetensors", "--recipe", "r.toml",
        "--json", "s.json", "--csv", "s.csv", "--plot", "figures",
    )  # fmt: skip
    assert code == 0
    assert "wrote 2 figures to figures" in err
    assert out.startswith("lenet-300-100-dense: fine pruning to 1.3")
    value = json.loads((tmp_path / "s.json").read_text())
    rows = {(row["plan"], row["layer"]): row for row in value["rows"]}
    assert len(rows) == 9
    accuracy = {plan: rows[plan, "ip1"]["network_accuracy"] for plan in ("unpruned", "uniform", "non-uniform")}
    print(accuracy)
    assert accuracy["non-uniform"] > accuracy["uniform"] + 0.02
    assert accuracy["unpruned"] - accuracy["non-uniform"] < 0.03
    for plan in ("uniform", "non-uniform"):
        cost = sum(rows[plan, name]["latency_us"] for name in ("ip1", "ip2", "ip3"))
        assert 0.97 * value["limit"] < cost <= value["limit"]
    small = eie.load(tmp_path / "small.safetensors")
    assert (small.trace.samples, len(small.trace.labels)) == (1000, 1000)  # it can be run and judged again
    assert [layer.weight_density for layer in small.layers] == pytest.approx(
        [rows["non-uniform", name]["density"] for name in ("ip1", "ip2", "ip3")], abs=0.002
    )
    again, _ = eie.compress(eie.load("lenet-300-100-dense"), str(tmp_path / "r.toml"))
    assert [layer.matrix.nnz for layer in again.layers] == [layer.matrix.nnz for layer in small.layers]


@pytest.mark.parametrize(
    ("words", "code", "text"),
    [
        (
            ["lenet-300-100-dense", "--latency-budget", "0.5x", "--trials", "3"],
            2,
            "--trials belongs to --method optuna",
        ),
        (["lenet-300-100-dense"], 2, "give --latency-budget or --energy-budget, one of them"),
        (["lenet-300-100-dense", "--latency-budget", "half"], 2, "eie: budget 'half': must be a share"),
        (["resnet-50", "--latency-budget", "0.5x"], 1, "eie: resnet-50: a search needs inputs"),
        (
            ["lenet-300-100-dense", "--latency-budget", "0.5x", "--machine", "measured:csr"],
            2,
            "needs a modelled machine",
        ),
        (["lenet-300-100-dense", "--latency-budget", "1ns"], 1, "cannot be met"),
        (["lenet-300-100-dense", "--latency-budget", "0.5x", "--machine", "syst"], 2, "eie: machine syst"),
    ],
)
def test_wrong_words(cli, words, code, text):
    found, _, err = cli("search", *words)
    assert (found, text in err) == (code, True), err


def test_the_dense_machine_prices_layers_together():
    """Whether one layer's weights stay depends on the other: of two equal layers the first does."""
    layers = tuple(eie.Layer.from_weights(name, np.ones((64, 64))) for name in "ab")
    network = eie.Network(name="n", layers=layers, sequential=True)
    traced = {name: eie.LayerTrace.from_dense(np.ones((1, 64))) for name in "ab"}
    network = replace(network, trace=eie.Trace(layers=traced))
    # 4 PEs of 1 + 1 KiB hold one layer of 65,536 bits beside no buffer to speak of; 1,024 cycles of computing each.
    spec = eie.EIE_64PE.replace(n_pe=4, spmat_kib=2, ptr_kib=1, stream_kib=0.1, dram_gb_per_s=0.8)
    price = Price(network=network, machine="dense", quantity="latency_us", spec=spec)
    # 8,192 bytes at a byte a cycle.
    assert price.by_layer(network) == {"a": 1024 / 800, "b": 8192 / 800}
