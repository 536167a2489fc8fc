"""Recipes followed: counts, order of steps, what is asked of a trainer, sizes by hand."""

import tomllib
from dataclasses import replace

import numpy as np
import pytest
from small_networks import cnn, images, mlp, outputs

import eie
from eie.compression.coding.size import size_report
from eie.compression.pruning.prune import with_mask
from eie.compression.pruning.sensitivity import scan
from eie.compression.recipe import Recipe
from eie.compression.share import share, tied_gradient, with_codebook
from eie.model.geometry import Conv2d
from eie.results.accuracy import float32_accuracy


class Recorder:
    """A trainer that trains nothing: it doubles all weights and notes what it was asked."""

    def __init__(self):
        self.asked = []

    def gradients(self, network):
        self.asked.append("gradients")
        # Large where the weight is small, so that Taylor and magnitude disagree.
        return {layer.name: 1 / np.maximum(np.abs(layer.weights), 1e-3) ** 2 for layer in network.layers}

    def curvature(self, network):
        self.asked.append("curvature")
        return {layer.name: 1 / np.maximum(np.abs(layer.weights), 1e-3) ** 3 for layer in network.layers}

    def finetune(self, network, epochs):
        self.asked.append(f"finetune {epochs}")
        layers = []
        for layer in network.layers:
            if layer.codebook is not None:
                layers.append(with_codebook(layer, layer.codebook * 2))
            else:
                layers.append(replace(layer, matrix=layer.matrix.with_data(layer.matrix.data * 2)))
        return replace(network, layers=tuple(layers))

    def accuracy(self, network):
        return 1 / (1 + len(self.asked))


def prune(*rules, **step):
    return {"step": [{"kind": "prune", **step, "rule": list(rules)}]}


def kept(network):
    return {layer.name: layer.matrix.nnz for layer in network.layers}


def test_rules_by_name_meet_their_counts():
    net, report = eie.compress(mlp([30, 20, 10]), prune({"layers": "fc0", "density": 0.1}, {"sparsity": 0.75}))
    assert kept(net) == {"fc0": 60, "fc1": 50}
    assert report.sizes.total.kept == 110
    assert report.steps[0].kept == kept(net)
    assert net.notes[-1] == "compressed by recipe"
    assert np.array_equal(net.layers[0].bias, mlp([30, 20, 10]).layers[0].bias)


def test_global_scope_meets_the_total_where_it_hurts_least():
    source = mlp([30, 20, 10])
    loud = replace(source.layers[1], matrix=source.layers[1].matrix.with_data(source.layers[1].matrix.data * 100))
    net, _ = eie.compress(replace(source, layers=(source.layers[0], loud)), prune({"density": 0.3}, scope="global"))
    assert sum(kept(net).values()) == 240
    assert kept(net)["fc1"] > 190


def test_balanced_pruning():
    net, _ = eie.compress(mlp([30, 20, 10]), prune({"layers": "fc0", "density": 0.2}, balance_n_pe=4))
    weights = net.layers[0].weights
    assert [np.count_nonzero(weights[pe::4]) for pe in range(4)] == [30, 30, 30, 30]


def test_n_of_m_falls_to_its_target():
    rule = {"granularity": "1:4"}
    net, report = eie.compress(mlp([8, 4]), prune(rule, schedule="iterative", rounds=3, epochs=0))
    assert [record.kept["fc0"] for record in report.steps] == [24, 16, 8]
    assert ((net.layers[0].weights.reshape(4, 2, 4) != 0).sum(axis=2) == 1).all()


def test_channels_shrink_the_network_round_by_round():
    source = cnn()
    rules = {"layers": "conv*", "granularity": "channel", "density": 0.5}
    net, report = eie.compress(source, prune(rules, schedule="iterative", rounds=2, epochs=0, criterion="l2"))
    assert [layer.matrix.shape for layer in net.layers] == [(2, 9), (3, 18), (5, 12), (3, 5)]
    assert outputs(net, images()).shape == (5, 3)
    assert len(report.steps) == 2
    # What is gone counts as gone: "dense" is the network before.
    first = report.sizes.layers[1]
    assert (first.weights, first.kept) == (216, 54)
    norms = (source.layers[0].weights ** 2).sum(axis=1)
    assert np.array_equal(net.layers[0].weights, source.layers[0].weights[np.sort(np.argsort(norms)[2:])])


def test_global_channel_pruning_leaves_every_layer_one():
    source = cnn()
    quiet = replace(source.layers[0], matrix=source.layers[0].matrix.with_data(source.layers[0].matrix.data * 1e-3))
    net, _ = eie.compress(
        replace(source, layers=(quiet, *source.layers[1:])),
        prune({"layers": "conv*", "granularity": "filter", "density": 0.5}, scope="global"),
    )
    assert [layer.outputs for layer in net.layers] == [1, 4, 5, 3]


def test_masks_and_channels_in_one_step():
    rules = ({"layers": "conv1", "granularity": "channel", "density": 0.5}, {"layers": "conv2", "density": 0.5})
    net, _ = eie.compress(cnn(), prune(*rules, {"layers": "fc1", "granularity": "column", "density": 0.5}))
    assert net.layers[1].matrix.shape == (6, 18)
    assert (net.layers[2].weights != 0).any(axis=0).sum() == 12


def test_whole_layers_go():
    net, report = eie.compress(
        mlp([4, 4, 4, 4, 2]), prune({"layers": "fc[012]", "granularity": "layer", "density": 0.34})
    )
    assert len(net.layers) == 2
    gone = [size for size in report.sizes.layers if size.kept == 0]
    assert len(gone) == 2
    assert report.sizes.total.weights == 56
    assert report.sizes.total.dense_bytes == 4 * (56 + 14)


def test_the_loop_of_pruning_and_fine_tuning():
    trainer = Recorder()
    net, report = eie.compress(
        mlp([10, 10]), prune({"density": 0.1}, schedule="iterative", rounds=3, epochs=2), trainer
    )
    assert trainer.asked == ["finetune 2"] * 3
    assert [record.kept["fc0"] for record in report.steps] == [70, 40, 10]
    assert report.accuracy_before == 1
    assert [record.accuracy for record in report.steps] == [1 / 2, 1 / 3, 1 / 4]
    largest = np.sort(np.abs(mlp([10, 10]).layers[0].weights).ravel())[-10:]
    assert np.sort(np.abs(net.layers[0].matrix.data)) == pytest.approx(8 * largest)


@pytest.mark.parametrize(("criterion", "asked"), [("taylor", "gradients"), ("obd", "curvature")])
def test_criteria_that_ask_the_trainer(criterion, asked):
    trainer = Recorder()
    net, _ = eie.compress(mlp([10, 10]), prune({"density": 0.1}, criterion=criterion), trainer)
    assert trainer.asked == [asked]
    smallest = np.sort(np.abs(mlp([10, 10]).layers[0].weights).ravel())[:10]
    assert np.sort(np.abs(net.layers[0].matrix.data)) == pytest.approx(smallest)


def test_sharing_and_moving_the_centroids():
    source = mlp([30, 20, 10], density=0.3)
    recipe = {"step": [{"kind": "share", "epochs": 1, "rule": [{"layers": "fc0", "bits": 5, "init": "density"}]}]}
    net, report = eie.compress(source, recipe, Recorder())
    assert net.layers[1].codebook is None
    assert len(net.layers[0].codebook) <= 32
    assert list(report.steps[0].shared) == ["fc0"]
    reference, _ = share(source.layers[0], 5, "density")
    assert np.array_equal(net.layers[0].codebook, reference.codebook * 2)


def test_everything_a_trainer_is_missing_for_is_said():
    recipe = {
        "step": [
            {"kind": "prune", "criterion": "taylor", "schedule": "cubic", "rule": [{"density": 0.1}]},
            {"kind": "finetune", "epochs": 3},
            {"kind": "share", "epochs": 2, "rule": [{}]},
        ]
    }
    with pytest.raises(eie.EieError) as failure:
        eie.compress(mlp([4, 4]), recipe)
    assert failure.value.problems == (
        "recipe.step.0.criterion='taylor': needs gradients, and no trainer was given",
        "recipe.step.0.epochs=1: fine-tuning needs a trainer, and none was given; or set epochs = 0",
        "recipe.step.1.epochs=3: fine-tuning needs a trainer, and none was given; or leave the step out",
        "recipe.step.2.epochs=2: fine-tuning needs a trainer, and none was given; or set epochs = 0",
    )


def test_a_trainer_that_brings_weights_back_is_caught():
    class Careless(Recorder):
        def finetune(self, network, epochs):
            return mlp([4, 4])

    with pytest.raises(eie.EieError, match="layer 'fc0': fine-tuning brought 8 pruned weights back"):
        eie.compress(mlp([4, 4]), prune({"density": 0.5}, epochs=1), Careless())


def test_permutations_add_up():
    net = eie.load("lenet-300-100")
    step = {"kind": "permute", "n_pe": 4, "outputs": True}
    once, first = eie.compress(net, {"step": [step]}, evaluate=float32_accuracy)
    twice, both = eie.compress(net, {"step": [step, {**step, "n_pe": 3}]}, evaluate=float32_accuracy)
    x = net.trace.layers["ip1"].dense()
    assert outputs(once, x) == pytest.approx(outputs(net, x)[:, first.output_order], abs=1e-4)
    assert outputs(twice, x) == pytest.approx(outputs(net, x)[:, both.output_order], abs=1e-4)
    assert not np.array_equal(first.output_order, both.output_order)
    assert both.accuracy == both.accuracy_before


def test_recorded_activations_behind_the_first_layer_are_labelled():
    net = mlp([3, 3, 2])
    trace = eie.Trace(layers={name: eie.LayerTrace.from_dense(np.ones((1, 3))) for name in ("fc0", "fc1")})
    compressed, _ = eie.compress(replace(net, trace=trace), prune({"density": 0.5}))
    assert "are those of the network before compression" in compressed.notes[-1]


class TestSize:
    def test_by_hand(self):
        """Entries of 3 x 40: at 2, 3, 22 (gap 18: one padding where runs have 4 bits) and 119 (gap 96: six)."""
        weights = np.zeros((3, 40))
        weights.ravel()[[2, 3, 22, 119]] = [0.5, 0.25, 0.5, 0.5]
        layer, _ = share(eie.Layer.from_weights("fc", weights, bias=[0.5, 0.25, 0]), 4)
        total = size_report(eie.Network.of(layer)).total
        assert (total.weights, total.kept, total.entries) == (120, 4, 11)
        assert total.kept_pct == pytest.approx(100 * 4 / 120)
        assert total.dense_bytes == 4 * (120 + 3)
        assert total.pruned_bytes == 4 * (4 + 4 + (3 + 1) + 3)
        # Three levels (0, 0.25, 0.5) take 2 bits: 11 entries of 2 + 4 bits, 3 biases of 2 bits, 3 floats.
        assert (total.weight_bits_pq, total.index_bits_pq) == (2, 4)
        assert total.shared_bytes == 9 + 1 + 12
        # Codes: 7 x 0, 1 x 0.25, 3 x 0.5: lengths 1, 2, 2. Runs: 7 x 15, 2 x 0, 2 x 2: lengths 1, 2, 2.
        assert total.weight_bits_huffman == (7 + 2 + 6) / 11
        assert total.index_bits_huffman == (7 + 4 + 4) / 11
        # Two streams of 15 bits; tables of 4 and 16 symbols: 1 + 2 + 4 and 1 + 8 + 4 bytes.
        assert total.huffman_bytes == (2 + 7) + (2 + 13) + 1 + 12
        assert total.rate_pqh_pct == pytest.approx(100 * 37 / 492)
        assert total.ratio == pytest.approx(492 / 37)

    def test_index_bits_by_layer(self):
        net = mlp([40, 40, 10], density=0.02)
        sizes = size_report(net, {"fc1": 8, "*": 2}).layers
        assert [size.index_bits_pq for size in sizes] == [2, 8]
        assert sizes[0].entries > sizes[0].kept
        assert size_report(net, {"other": 8}).layers[0].index_bits_pq == 4

    def test_floats_count_as_floats(self):
        size = size_report(mlp([16, 8], density=0.5)).layers[0]
        assert (size.weight_bits_pq, size.weight_bits_huffman) == (32, 32)

    def test_grouped_convolutions_store_their_own_weights_only(self):
        kernel = np.zeros((4, 2, 1, 1))
        kernel[0, 0] = kernel[3, 1] = 1
        layer = eie.Layer.from_conv("c", kernel, conv=Conv2d(in_channels=4, out_channels=4, groups=2))
        size = size_report(eie.Network.of(layer)).layers[0]
        assert (size.weights, size.kept, size.entries) == (8, 2, 2)

    def test_published_rows_stand_beside_ours(self):
        report = size_report(eie.load("lenet-300-100"))
        assert report.published_as == "LeNet-300-100"
        assert [size.published.rate_pqh_pct for size in (*report.layers, report.total)] == [2.32, 3.04, 12.7, 2.49]
        assert size_report(mlp([4, 4])).published_as is None
        # Any name, the right layers at the right sizes:
        other = replace(eie.load("lenet-300-100"), name="mine")
        assert size_report(other).published_as == "LeNet-300-100"

    def test_published_figures_are_those_of_the_reference(self, shared):
        ours = (eie.compression.coding.size._PUBLISHED).read_text().splitlines()
        theirs = (shared / "reference" / "deep_compression.csv").read_text().splitlines()
        assert ours[0].startswith("# S. Han, H. Mao")
        assert ours[1:] == theirs


class TestSharing:
    @pytest.mark.parametrize("init", ["exact", "linear", "density", "random"])
    @pytest.mark.parametrize("bits", [2, 5, 8])
    def test_every_start_gives_a_usable_codebook(self, init, bits):
        weights = np.random.default_rng(0).standard_normal((60, 50))
        layer = eie.Layer.from_weights("a", weights)
        shared, report = share(layer, bits, init, seed=3)
        assert report.levels <= 2**bits - 1
        assert np.array_equal(share(layer, bits, init, seed=3)[0].codebook, shared.codebook)
        exact = share(layer, bits)[1].rms_error
        assert report.rms_error >= 0.999 * exact

    def test_random_start_depends_on_its_seed(self):
        layer = eie.Layer.from_weights("a", np.random.default_rng(0).standard_normal((60, 50)))
        books = [share(layer, 4, "random", seed=seed)[0].codebook for seed in (1, 2)]
        assert not np.array_equal(*books)

    def test_density_start_leaves_no_level_unused(self):
        """On heavy-tailed weights evenly spaced levels do, most of them far from all weights."""
        layer = eie.Layer.from_weights("a", np.random.default_rng(0).standard_normal((80, 80)) ** 5)
        used = {init: len(np.unique(share(layer, 5, init)[0].matrix.data)) for init in ("density", "linear")}
        assert used["density"] == 31
        assert used["linear"] < 31

    def test_tied_gradient(self):
        codes = np.array([[0, 1, 2], [1, 1, 0]], np.uint8)
        gradient = np.array([[5.0, 1, 2], [3, -1, 7]])
        assert tied_gradient(codes, gradient, 5).tolist() == [0, 3, 2, 0, 0]
        with pytest.raises(eie.EieError, match=r"gradient has shape \(3,\)"):
            tied_gradient(codes, np.ones(3))

    def test_a_step_along_the_tied_gradient_lowers_the_loss(self):
        """Least squares: the codebook's gradient must be that of the loss."""
        layer, _ = share(eie.Layer.from_weights("a", np.random.default_rng(0).standard_normal((6, 8))), 2)
        x, y = np.ones(8), np.zeros(6)
        codes = layer.matrix.dense()

        def loss(codebook):
            return 0.5 * ((codebook[codes] @ x - y) ** 2).sum()

        book = layer.codebook.astype(float)
        gradient = tied_gradient(codes, np.outer(book[codes] @ x - y, x), len(book))
        for level in range(1, len(book)):
            nudge = np.eye(len(book))[level] * 1e-6
            assert (loss(book + nudge) - loss(book - nudge)) / 2e-6 == pytest.approx(gradient[level], rel=1e-5)
        moved = with_codebook(layer, book - 1e-3 * gradient)
        assert loss(moved.codebook.astype(float)) < loss(book)
        assert moved.codebook[0] == 0


class TestSensitivity:
    def test_one_layer_at_a_time(self):
        net = eie.load("lenet-300-100")
        net = replace(net, trace=net.trace.head(64))
        found = scan(net, float32_accuracy, (1.0, 0.01, 0.26), layers="ip[13]")
        assert [(point.layer, point.density) for point in found.points] == [
            (name, density) for name in ("ip1", "ip3") for density in (0.01, 0.26, 1.0)
        ]
        assert found.baseline == float32_accuracy(net)
        assert found.points[0].kept == 2352
        assert found.points[0].accuracy < found.baseline - 0.1
        assert found.points[2].accuracy == found.points[-1].accuracy == found.baseline
        by_hand = with_mask(
            net.layers[2], np.abs(net.layers[2].weights) >= np.sort(np.abs(net.layers[2].weights).ravel())[-10]
        )
        pruned = replace(net, layers=(*net.layers[:2], by_hand))
        assert found.points[3].accuracy == float32_accuracy(pruned)
        assert found.lowest_density("ip3", 0.0) == 0.26
        assert found.lowest_density("ip3", 1.0) == 0.01

    def test_wrong_requests(self):
        with pytest.raises(eie.EieError, match=r"densities=\[0, 2\]: must be above 0 and at most 1"):
            scan(mlp([2, 2]), lambda _: 1.0, (0, 0.5, 2))
        with pytest.raises(eie.EieError, match="layers='x': matches none of fc0"):
            scan(mlp([2, 2]), lambda _: 1.0, layers="x")


class TestExamples:
    def test_balanced_weights_take_fewer_cycles(self):
        net = eie.load("lenet-300-100")
        plain, balanced = (
            eie.simulate(eie.compile(eie.compress(net, prune({"density": 0.06}, **step))[0]))
            for step in ({}, {"balance_n_pe": 64})
        )
        for one, other in zip(balanced.layers, plain.layers, strict=True):
            assert one.encoded.weights == other.encoded.weights
            assert one.cycles < other.cycles
            assert one.imbalance < other.imbalance

    def test_balanced_pruning_of_alexnet_fc8(self, fc8):
        layer, activations = fc8
        plain, balanced = (
            eie.simulate(eie.compile(eie.compress(layer, prune({"density": 0.12}, **step))[0]), activations).layers[0]
            for step in ({}, {"balance_n_pe": 64})
        )
        assert plain.encoded.weights == balanced.encoded.weights == 491520
        assert balanced.cycles < 0.985 * plain.cycles

    def test_the_example_recipe_does_what_its_page_says(self, root):
        net, report = eie.compress(
            eie.load("lenet-300-100"), root / "examples" / "recipes" / "lenet-300-100.toml", evaluate=float32_accuracy
        )
        page = (root / "docs" / "recipes.md").read_text()
        cycles = eie.simulate(eie.compile(net, eie.EIE_64PE.replace(n_pe=16))).latency_us * 800
        row = f"| {cycles:,.0f} | {report.accuracy:.2%} | {report.sizes.total.huffman_bytes:,} ("
        assert row.replace("%", " %") in page
        assert f"({report.sizes.total.ratio:.1f} times fewer)" in page

    def test_every_toml_snippet_of_the_page_is_a_recipe(self, root):
        page = (root / "docs" / "recipes.md").read_text()
        snippets = [part.split("```")[0] for part in page.split("```toml\n")[1:]]
        assert len(snippets) == 2
        for snippet in snippets:
            Recipe.from_mapping(tomllib.loads(snippet))
