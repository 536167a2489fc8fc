"""Granularities: each number by hand on small networks, claims on made-up studies, the shipped models as a whole."""

import csv
import io
import json
import math
import statistics
from dataclasses import replace

import numpy as np
import pytest
from small_networks import cnn, images, labelled, mlp, outputs

import eie
from eie.compression.coding import nm
from eie.errors import EieError, TraceError
from eie.machines.records import Baseline, LayerCost, Machine
from eie.model.geometry import Conv2d
from eie.model.graph import Graph, Node
from eie.plots.studies import accuracies
from eie.results.accuracy import float32_accuracy
from eie.show.sections import Statement
from eie.studies.granularity import claims
from eie.studies.granularity.answer import GranularityStudy
from eie.studies.granularity.claims import break_even, statements
from eie.studies.granularity.example import example
from eie.studies.granularity.notes import pruning_notes
from eie.studies.granularity.rows import Row
from eie.studies.granularity.study import granularity
from eie.studies.granularity.variants import DEFAULT, Variant, prune, shapes_only
from eie.studies.search.judge import Judge

RESNET_50 = {"weights": 25_502_912, "macs": 4_089_184_256}


SHAPES = """
name = "shapes"

[[layer]]
name = "a"
kind = "conv"
inputs = 3
outputs = 8
kernel = 3
height = 6
width = 6
weight_density = 1
activation_density = 1

[[layer]]
name = "b"
kind = "conv"
inputs = 8
outputs = 8
kernel = 3
pads = 1
height = 4
width = 4
weight_density = 1
activation_density = 0.5

[[layer]]
name = "c"
inputs = 8
outputs = 10
bias = true
weight_density = 1
activation_density = 0.5
"""


@pytest.fixture
def shape_network(tmp_path):
    """Two convolutions and a fully connected layer of which only shapes are known."""
    (tmp_path / "shapes.toml").write_text(SHAPES)
    return eie.load(tmp_path / "shapes.toml")


# -- variants ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "granularity", "sparsity", "shown"),
    [
        ("dense", "dense", 0, "unpruned"),
        ("fine:0.9", "fine", 0.9, "fine 90 %"),
        ("fine:.975", "fine", 0.975, "fine 97.5 %"),
        ("2:4", "2:4", 0.5, "2:4"),
        ("1:8", "1:8", 0.875, "1:8"),
        ("block4x2:0.8", "block", 0.8, "block 4x2 80 %"),
        ("channel:0.5", "channel", 0.5, "channels 50 %"),
        ("layer:0.5", "layer", 0.5, "layers 50 %"),
    ],
)
def test_variants_in_words(text, granularity, sparsity, shown):
    found = Variant.parse(text)
    assert (found.granularity, found.sparsity, str(found)) == (granularity, pytest.approx(sparsity), shown)


@pytest.mark.parametrize(
    "text", ["", "fine", "fine:1", "fine:90", "block:0.5", "fine4x4:0.5", "x:0.5", "5:4", "fine:.99999999999999999999"]
)
def test_wrong_variants(text):
    with pytest.raises(EieError, match=r"variant '|must be at most 4"):
        Variant.parse(text)


def test_every_default_variant_on_a_network(shape_network):
    network = labelled(cnn())
    for variant in DEFAULT:
        form = prune(network, variant)
        if variant.granularity == "layer":
            assert form.network is None
            assert form.note == "no layer can go: none has outputs of the shape of its inputs"
            continue
        before = [layer.matrix.nnz for layer in network.layers]
        after = [layer.matrix.nnz for layer in form.network.layers]
        if variant.granularity == "fine":
            assert after == [math.floor(count * (1 - variant.sparsity) + 0.5) for count in before]
        elif variant.granularity == "2:4":
            for layer in form.network.layers:
                nm.encode(layer.weights, 2, 4)  # raises if a group holds more
        elif variant.granularity == "channel":
            kept = 1 - variant.sparsity
            rows = [math.floor(layer.outputs * kept + 0.5) for layer in network.layers[:-1]]
            assert [layer.outputs for layer in form.network.layers] == [*rows, 3]
            assert form.note == "layers whose channels stay: fc2 (its outputs are the network's)"
            assert outputs(form.network, images()).shape == (5, 3)


def test_channels_of_shapes_alone(shape_network):
    assert shapes_only(shape_network)
    form = prune(shape_network, Variant.parse("channel:0.5"))
    found = [(layer.inputs, layer.outputs) for layer in form.network.layers]
    assert found == [(27, 4), (4 * 9, 4), (4, 10)]
    trace = form.network.trace
    assert [trace.layers[name].width for name in "abc"] == [27, 36, 4]
    np.testing.assert_array_equal(trace.layers["b"].mask, shape_network.trace.layers["b"].mask[:, :36])
    assert "only shapes are known" in form.note
    eie.simulate(eie.compile(form.network))


def test_layers_of_shapes_alone(shape_network):
    form = prune(shape_network, Variant.parse("layer:0.5"))
    assert form.network is None
    assert form.note == "no layer goes: 50 % of the 1 that could is less than one"
    form = prune(shape_network, Variant.parse("layer:0.9"))
    assert [layer.name for layer in form.network.layers] == ["a", "c"]
    assert form.note == "gone: b (1 of the layers could go)"
    assert set(form.network.trace.layers) == {"a", "c"}


def test_the_least_layers_go_first():
    rng = np.random.default_rng(0)
    layers = [
        eie.Layer.from_weights(f"fc{i}", scale * rng.standard_normal((6, 6))) for i, scale in enumerate((3, 1, 2, 4))
    ]
    network = eie.Network(name="square", layers=tuple(layers), sequential=True)
    form = prune(network, Variant.parse("layer:0.5"))
    assert [layer.name for layer in form.network.layers] == ["fc0", "fc3"]


def test_drawn_weights_are_pruned_at_random(shape_network):
    """Their 15 magnitudes would leave whole rows to the tie-break."""
    kept = prune(shape_network, Variant.parse("fine:0.5")).network.layers[1]
    counts = np.bincount(kept.matrix.rows, minlength=8)
    assert counts.min() > 24  # of 72 each, 36 in the mean


# -- sizes and costs --------------------------------------------------------------------------------------------------


def test_a_study_by_hand():
    network = labelled(mlp([8, 6, 4]))
    study = granularity(
        network, ["fine:0.5", "2:4", "channel:0.5"], ["dense", "tensor-core"], spec=eie.EIE_64PE.replace(n_pe=2),
        with_search=False,
    )  # fmt: skip
    unpruned, fine, pattern, channels = study.rows
    assert [row.kept for row in study.rows] == [72, 36, 40, 36]  # 2 of the last 2 of 6 inputs stay
    assert [row.weights for row in study.rows] == [72, 72, 72, 36]
    assert [row.macs for row in study.rows] == [72, 72, 72, 36]
    assert fine.kept_macs == 36
    assert unpruned.size_bytes["dense"] == 4 * (72 + 10)
    assert fine.size_bytes["csr"] == 4 * (2 * 36 + (6 + 1) + (4 + 1) + 10)
    assert "nm" not in fine.size_bytes
    # 6 rows of 2 groups and 4 rows of 2: 4 values a row, with 2 bits an index, and the biases.
    assert pattern.size_bytes["nm"] == 6 * 4 * 4 + 6 * 4 * 2 // 8 + 4 * 4 * 4 + 4 * 4 * 2 // 8 + 40
    # EIE: 8-bit entries, biases of 16 bits and 16-bit pointers, one a column and PE and one more; 16 values a layer.
    pointers = 2 * 2 * ((8 + 1) + (6 + 1))
    assert unpruned.size_bytes["eie"] == 72 + 2 * 10 + pointers + 2 * 2 * 16
    # Half of the channels: 8 x 3 and 3 x 4 are left.
    assert study.compression(channels) == 2
    assert study.latency_us(unpruned, "dense") == pytest.approx((3 * 8 + 2 * 6) / 800)
    assert study.speedup(channels, "dense") == pytest.approx((3 * 8 + 2 * 6) / (2 * 8 + 2 * 3))
    assert study.speedup(fine, "dense") == 1
    assert unpruned.accuracy == 1
    assert unpruned.costs["eie"].latency_us == study.latency_us(unpruned, "eie") > study.latency_us(fine, "eie")
    records = study.records()
    assert len(records) == 4 * 3
    assert records[4]["variant"] == "fine 50 %"
    assert records[4]["speedup"] == study.speedup(fine, "dense")


def test_sparse_storage_is_set_against_dense():
    study = granularity(mlp([64, 32]), ["fine:0.9"], ["measured:dense", "measured:csr"], with_search=False)
    fine = study.rows[1]
    assert (study.yardstick("measured:csr"), study.yardstick("measured:dense")) == ("measured:dense", "measured:dense")
    # Not every form has as many runs: a pair is two of one turn.
    pairs = zip(study.runs_us(study.unpruned, "measured:dense"), study.runs_us(fine, "measured:csr"), strict=False)
    assert study.speedup(fine, "measured:csr") == statistics.median(dense / csr for dense, csr in pairs)
    assert study.accuracy_source == ""
    assert any("synthetic inputs" in note for note in study.notes)


def test_machines_are_named_once_and_run_the_network():
    for names, why in (
        (["dense", "dense"], "name each once"),
        (["eie"], "name each once"),
        (["systolic:4x4", "systolic:4x4:ws"], "are the same: name it once"),
        (["published:cpu_dense_b1"], "those of one network"),
        (["report.csv"], "those of one network"),
        (["measured:onnx:m.onnx"], "those of one network"),
    ):
        with pytest.raises(EieError, match=why):
            granularity(mlp([4, 4]), ["2:4"], names)


def test_a_pruned_network_is_said_to_be_one():
    study = granularity(eie.load("lenet-300-100"), ["2:4"], ["dense"], samples=1, with_search=False)
    assert "came with 8 % of its weights" in study.notes[0]
    judged = {one.claim: one for one in statements(study)}
    for words in ("highest compression", "9 to 12", "10 times smaller", "through CSR", "made for it"):
        (one,) = [judged[claim] for claim in judged if words in claim]
        assert (one.holds, one.found) == (None, claims.CAME_PRUNED)


def test_a_form_without_weights():
    """It costs what scanning costs, and is in no curve."""
    study = granularity(labelled(mlp([8, 6, 4])), ["fine:0.999", "fine:0.5", "2:4"], ["dense"], with_search=False)
    empty = study.rows[1]
    assert (empty.kept, study.compression(empty)) == (0, None)
    assert study.latency_us(empty, "eie") > 0
    assert "inf" not in verdict(study, "highest compression").found
    assert len(accuracies(study).axes[0].lines[0].get_xdata()) == 2


def test_networks_that_cannot_be_judged_by_classes(tmp_path):
    """Two inputs, labels that are no class, maps as outputs: said, not a traceback."""
    network = labelled(cnn())
    wrong = replace(network, trace=replace(network.trace, labels=network.trace.labels + 5))
    with pytest.raises(TraceError, match="labels from . to .: the network 'cnn' tells 3 classes apart"):
        Judge.of(wrong).choose(wrong)
    steps = [("layer", "conv1"), ("relu", {}), ("global_average_pool", {})]
    pooled = eie.Network(name="maps", layers=(network.layers[0],), graph=Graph.sequence("image", (1, 8, 8), steps))
    x = np.abs(images(30))
    labels = outputs(pooled, x).reshape(30, -1).argmax(axis=1)
    trace = eie.Trace(layers={"image": eie.LayerTrace.from_dense(x.reshape(30, -1))}, labels=labels)
    assert float32_accuracy(replace(pooled, trace=trace)) == 1
    assert eie.simulate(eie.compile(replace(pooled, trace=trace))).accuracy.float32 > 0.5
    nodes = (
        Node(op="layer", inputs=("a",), outputs=("fc:out",), layer="fc"),
        Node(op="add", inputs=("fc:out", "b"), outputs=("sum",)),
    )
    both = eie.Network(
        name="two",
        layers=(eie.Layer.from_weights("fc", np.eye(4)),),
        graph=Graph(inputs=(("a", (4,)), ("b", (4,))), nodes=nodes, outputs=("sum",)),
    )
    rows = eie.LayerTrace.from_dense(np.eye(4))
    both = replace(both, trace=eie.Trace(layers={"a": rows, "b": rows}, labels=np.arange(4)))
    study = granularity(both, ["fine:0.5"], ["dense"])
    assert study.unpruned.accuracy == 1
    # Four weights: nothing meets half of the time, but it was looked for.
    assert "the budget of" in study.search_note


def test_all_layers_cannot_go(tmp_path):
    layer = 'kind = "linear"\ninputs = 8\noutputs = 8\nweight_density = 1\nactivation_density = 1\n'
    (tmp_path / "sq.toml").write_text(f'[[layer]]\nname = "a"\n{layer}[[layer]]\nname = "b"\n{layer}')
    form = prune(eie.load(tmp_path / "sq.toml"), Variant.parse("layer:0.9"))
    assert len(form.network.layers) == 1


def test_residual_networks_lose_the_channels_that_are_not_added():
    rng = np.random.default_rng(0)

    def conv(name, inputs, out):
        how = Conv2d(in_channels=inputs, out_channels=out, kernel=(3, 3), pads=(1, 1, 1, 1))
        return eie.Layer.from_conv(name=name, weights=rng.standard_normal(how.weight_shape), bias=None, conv=how)

    graph = Graph.sequence("x", (4, 6, 6), [("layer", "a"), ("relu", {}), ("layer", "b")])
    last = graph.nodes[-1]
    added = replace(last, op="add", inputs=("x", last.name), outputs=("sum",), layer=None)
    graph = replace(graph, nodes=(*graph.nodes, added), outputs=("sum",))
    network = eie.Network(name="res", layers=(conv("a", 4, 8), conv("b", 8, 4)), graph=graph)
    form = prune(network, Variant.parse("channel:0.5"))
    assert [layer.outputs for layer in form.network.layers] == [4, 4]
    assert form.network.layers[1].geometry.in_channels == 4
    assert form.note == "layers whose channels stay: b (joined with the network's input)"


def test_every_form_is_fine_tuned_alike():
    pytest.importorskip("torch")
    from eie.compression.recipe import Training
    from eie.compression.training.finetune import Trainer
    from eie.model.samples import Samples

    network = mlp([20, 16, 3], seed=2)
    x = np.maximum(np.random.default_rng(0).standard_normal((400, 20)), 0).astype(np.float32)
    labels = outputs(network, x).argmax(axis=1)
    train, test = Samples.of(x[:300], labels=labels[:300]), Samples.of(x[300:], labels=labels[300:])
    trainer = Trainer(train_set=train, test_set=test, training=Training(learning_rate=0.02))
    how = {"machines": ["dense"], "with_search": False, "trainer": trainer}
    study = granularity(network, ["fine:0.8", "channel:0.5"], epochs=10, **how)
    as_pruned = granularity(network, ["fine:0.8", "channel:0.5"], **how)
    assert (study.epochs, study.accuracy_source) == (10, "the test images of the data set")
    assert as_pruned.epochs == 0
    for tuned, raw in zip(study.rows[1:], as_pruned.rows[1:], strict=True):
        assert tuned.kept == raw.kept
        assert tuned.accuracy > raw.accuracy
    assert verdict(study, "9 to 12 times").holds is False


# -- claims -----------------------------------------------------------------------------------------------------------


def made_up(rows, machines=("eie", "dense"), epochs=0, unpruned=0.9):
    """A study from (variant, accuracy, kept of 1000, {machine: us})."""
    found = []
    for text, accuracy, kept, times in [("dense", unpruned, 1000, dict.fromkeys(machines, 10.0)), *rows]:
        costs = {
            name: Baseline(
                Machine(name=name, how="modelled", source="test"),
                (LayerCost(layer="a", latency_us=times.get(name, 10.0)),),
            )
            for name in machines
        }
        sizes = {"dense": 4000, "csr": 8 * kept + 4, "eie": kept}
        row = Row(
            variant=Variant.parse(text),
            note="",
            weights=1000,
            kept=kept,
            size_bytes=sizes,
            macs=1000,
            kept_macs=kept,
            eie_macs=kept,
            accuracy=accuracy,
            accuracy_shared=accuracy,
            costs=costs,
        )
        found.append(row)
    return GranularityStudy(
        network="n",
        spec=eie.EIE_64PE,
        rows=tuple(found),
        machines=machines,
        epochs=epochs,
        accuracy_source="test",
        notes=(),
        search=None,
        search_note="no search",
    )


def verdict(study, words):
    (found,) = [one for one in statements(study) if words in one.claim]
    return found


def test_every_claim_is_judged_or_says_what_is_missing():
    found = statements(made_up([]))
    assert len(found) == 12
    assert all(isinstance(one, Statement) and one.holds is None and one.found for one in found)


def test_highest_compression():
    fine = [("fine:0.5", 0.88, 500, {}), ("fine:0.9", 0.7, 100, {})]
    worse, better = ("2:4", 0.80, 500, {}), ("2:4", 0.895, 500, {})
    words = "highest compression"
    assert verdict(made_up([*fine, worse]), words).holds is True
    assert verdict(made_up([*fine, better]), words).holds is False
    assert "+1.5 % (2:4)" in verdict(made_up([*fine, better]), words).found
    assert verdict(made_up([*fine, ("block4x4:0.95", 0.9, 50, {})]), words).holds is None  # sparser than any fine one
    # Half-way in logarithms between 500 and 100 of 1000.
    between = round(math.sqrt(500 * 100))
    assert "-0.0 %" in verdict(made_up([*fine, ("2:4", 0.79, between, {})]), words).found
    assert verdict(made_up([("fine:0.5", None, 500, {})], unpruned=None), words).holds is None


def test_nine_times_fewer_needs_fine_tuning():
    rows = [("fine:0.9", 0.895, 100, {}), ("fine:0.95", 0.85, 50, {})]
    words = "9 to 12 times"
    assert verdict(made_up(rows), words).holds is None
    assert verdict(made_up(rows, epochs=2), words).holds is True
    assert verdict(made_up([("fine:0.8", 0.895, 200, {})], epochs=2), words).holds is False


def test_no_speedup_on_dense_machines():
    words = "no speedup on dense hardware"
    assert verdict(made_up([("fine:0.9", 0.9, 100, {"dense": 9.0})]), words).holds is True
    assert verdict(made_up([("fine:0.9", 0.9, 100, {"dense": 8.0})]), words).holds is False
    # A tensor core that takes a sparse layer for 2:4 is no dense machine there.
    study = made_up([("fine:0.9", 0.9, 100, {"tensor-core": 5.0})], ("eie", "tensor-core"))
    assert verdict(study, words).holds is False
    cost = study.rows[1].costs["tensor-core"]
    layers = tuple(replace(layer, details={"n_of_m": True}) for layer in cost.layers)
    row = replace(study.rows[1], costs={**study.rows[1].costs, "tensor-core": replace(cost, layers=layers)})
    assert verdict(replace(study, rows=(study.rows[0], row)), words).holds is None


def test_ninety_percent_is_ninety_percent():
    rows = [("fine:0.98", 0.9, 20, {"eie": 1.0}), ("fine:0.9", 0.9, 100, {"eie": 9.0})]
    assert verdict(made_up(rows), "made for it").holds is False
    assert verdict(made_up(rows[:1]), "made for it").holds is None


def test_break_even_is_interpolated_over_density():
    machines = ("eie", "measured:dense", "measured:csr")
    rows = [("fine:0.5", 0.9, 500, {"measured:csr": 40.0}), ("fine:0.75", 0.9, 250, {"measured:csr": 20.0})]
    slow = made_up(rows, machines)
    assert break_even(slow, "measured:csr") is None
    assert verdict(slow, "through CSR").holds is True
    assert "nowhere up to 75 %" in verdict(slow, "through CSR").found
    rows.append(("fine:0.9375", 0.9, 62, {"measured:csr": 5.0}))
    # From 2 times too slow at a density of 1/4 to 2 times as fast at 1/16: even at 1/8.
    even = made_up(rows, machines)
    assert break_even(even, "measured:csr") == pytest.approx(1 - 1 / 8)
    rows.append(("fine:0.9", 0.9, 100, {"measured:csr": 9.0}))
    assert verdict(made_up(rows, machines), "through CSR").holds is False


def test_two_of_four_is_bounded_by_layer():
    machines = ("eie", "tensor-core")
    words = "at most twice"
    assert verdict(made_up([("2:4", 0.9, 500, {"tensor-core": 5.0})], machines), words).holds is True
    assert verdict(made_up([("2:4", 0.9, 500, {"tensor-core": 4.9})], machines), words).holds is False
    practice = verdict(made_up([("2:4", 0.9, 500, {"tensor-core": 6.0})], machines), "in practice")
    assert practice.holds is None
    assert "tensor-core (bound) 1.67x" in practice.found
    assert all(one.what in practice.found for one in pruning_notes().two_of_four)


def test_channels_on_all_machines():
    alike = made_up([("channel:0.5", 0.9, 500, {"eie": 5.0, "dense": 4.0})])
    assert verdict(alike, "channel pruning is faster").holds is True
    assert verdict(alike, "all machines alike").holds is True
    apart = made_up([("channel:0.5", 0.9, 500, {"eie": 9.9, "dense": 4.0})])
    assert verdict(apart, "channel pruning is faster").holds is False
    assert verdict(apart, "all machines alike").holds is False
    assert "dense 2.50x" in verdict(apart, "all machines alike").found


def test_csr_is_not_ten_times_smaller():
    found = verdict(made_up([("fine:0.9", 0.9, 100, {})]), "10 times smaller")
    assert found.holds is False
    assert found.found.startswith("4.98 times")


# -- the shipped models -----------------------------------------------------------------------------------------------


def test_lenet_end_to_end(cli, tmp_path):
    words = ("--samples", 2, "--json", "g.json", "--csv", "g.csv", "--html", "g.html", "--plot", "figures")
    code, out, err = cli("granularity", "lenet-300-100-dense", *words)
    assert code == 0
    assert "wrote 6 figures" in err
    value = json.loads((tmp_path / "g.json").read_text())
    assert (value["schema"], value["schema_version"]) == ("eie-granularity", 2)
    rows = {(row["variant"], row["machine"]): row for row in value["rows"]}
    assert len(rows) == len(DEFAULT) * 7
    fine = rows["fine 90 %", "eie"]
    assert (fine["kept"], fine["compression"]) == (26_620, 10)
    assert fine["speedup"] > 2
    for name in ("dense", "systolic:32x32:ws", "tensor-core"):
        # A bias may be a column in one form and not in the other, on the dense PEs too.
        assert rows["fine 90 %", name]["speedup"] == pytest.approx(1, abs=0.002 if name == "dense" else 0)
    assert rows["2:4", "tensor-core"]["speedup"] == pytest.approx(1.8, abs=0.05)
    assert rows["unpruned", "eie"]["accuracy"] == pytest.approx(0.899, abs=0.002)
    assert rows["layers 50 %", "eie"]["note"].startswith("no layer can go")
    (judged,) = (section["claims"] for section in value["sections"] if section["name"] == "claims")
    holds = {one["claim"]: one["holds"] for one in judged}
    assert len(holds) == 12
    for words in ("highest compression", "made for it, such as EIE", "at most twice", "a density for each layer"):
        assert next(holds[claim] for claim in holds if words in claim) is True
    for words in ("10 times smaller", "all machines alike"):
        assert next(holds[claim] for claim in holds if words in claim) is False
    assert set(value["break_even_sparsity"]) == {"measured:csr"}
    assert len(list(csv.DictReader(io.StringIO((tmp_path / "g.csv").read_text())))) == len(rows)
    page = (tmp_path / "g.html").read_text()
    assert page.count("<svg") == 3
    assert "not shown" in page
    for text in ("unpruned", "Speedup over the unpruned network", "FAIL", "pass", "non-uniform", "Claims: "):
        assert text in out


def test_lenet_5_has_convolutions_to_prune(cli):
    words = ("--variant", "fine:0.5,2:4", "--variant", "channel:0.5", "--machine", "dense", "--machine", "tensor-core")
    code, out, _ = cli("granularity", "lenet-5-dense", *words, "--samples", 1, "--no-search", "--csv", "-")
    assert code == 0
    rows = {(row["variant"], row["machine"]): row for row in csv.DictReader(io.StringIO(out))}
    assert len(rows) == 4 * 3
    # conv1 20 to 10, conv2 50 to 25, ip1 500 to 250 outputs; 10 classes stay.
    assert int(rows["channels 50 %", "eie"]["kept"]) == 10 * 25 + 25 * 10 * 25 + 250 * 25 * 16 + 10 * 250
    assert float(rows["fine 50 %", "tensor-core"]["speedup"]) == 1
    assert float(rows["channels 50 %", "dense"]["speedup"]) > 1.5


@pytest.mark.long
def test_resnet_50_beside_the_text():
    network = eie.load("resnet-50")
    assert len(network.layers) == 54
    variants = ["fine:0.9", "2:4", "channel:0.5"]
    study = granularity(network, variants, ["tensor-core", "tensor-core:b64"], samples=1)
    unpruned = study.unpruned
    assert (unpruned.weights, unpruned.macs) == (RESNET_50["weights"], RESNET_50["macs"])
    assert study.search is None
    assert "labelled inputs" in study.search_note
    grid = example(study)
    rows = {(row["variant"], row["what"]): row for row in grid.rows}
    for place, row in rows.items():
        ours = "" if row.get("ours") is None else f"{row['ours']:.4g} ({row['deviation']:+.1%})"
        print(*place, row["printed"], ours, row["verdict"])
    reproduced = [place for place, row in rows.items() if row["verdict"] == "reproduced"]
    differs = [place for place, row in rows.items() if row["verdict"] == "differs"]
    assert len(reproduced) == 9
    assert differs == [
        ("2:4", "speedup, tensor-core (bound)"),
        ("2:4", "speedup, tensor-core:b64 (bound)"),
        ("channels 50 %", "parameters, million"),
        ("channels 50 %", "speedup, tensor-core (bound)"),
        ("channels 50 %", "speedup, tensor-core:b64 (bound)"),
    ]
    assert all(rows[place]["why"] for place in differs)
    # 64 x 3 x 49 and 1000 x 2048 halve once, everything between them twice.
    ends = 64 * 3 * 49, 1000 * 2048
    quarter = (RESNET_50["weights"] - sum(ends)) / 4
    assert rows["channels 50 %", "parameters, million"]["ours"] == pytest.approx((quarter + sum(ends) / 2) / 1e6)
    assert [row["verdict"] for row in rows.values() if "top-1" in row["what"]] == ["not shown"] * 4
    assert example(replace(study, network="other")) is None


@pytest.mark.parametrize(
    ("words", "code", "text"),
    [
        (["lenet-300-100-dense", "--variant", "fine"], 2, "eie: variant 'fine': must be dense, N:M"),
        (["lenet-300-100-dense", "--machine", "none"], 2, "eie: machine none: must be dense, systolic"),
        (["nothing"], 1, "eie: nothing: no such file or shipped model"),
        (["lenet-300-100-dense", "--set", "n_pe=0"], 2, "n_pe"),
        (["lenet-300-100-dense", "--data", "nowhere"], 1, "eie: nowhere: no train-images-idx3-ubyte"),
        (["lenet-300-100-dense", "--json", "a", "--csv", "a"], 2, "is written twice"),
        (["lenet-300-100-dense", "--json", "-", "--csv", "-"], 2, "only one of --json, --csv and --html"),
        (["lenet-300-100-dense", "--epochs", "2"], 2, "--epochs needs --data"),
    ],
)
def test_wrong_words(cli, words, code, text):
    found, _, err = cli("granularity", *words, "--samples", 1, "--no-search")
    assert (found, text in err) == (code, True), err
