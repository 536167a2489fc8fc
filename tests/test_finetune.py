"""The training loop on generated data. Run by `make test-torch`; skipped where torch is not installed."""

import json
from dataclasses import replace

import numpy as np
import pytest
from click.testing import CliRunner

import eie
from eie.cli.app import app
from eie.compression.pruning.prune import prune_mask, with_mask
from eie.compression.recipe import Recipe, Training
from eie.compression.share import share
from eie.errors import EieError, ModelError
from eie.model.graph import Graph
from eie.model.samples import Samples

torch = pytest.importorskip("torch", reason="torch is not installed (make test-torch installs a CPU build)")

from eie.compression.pruning.parameters import LayerParameters  # noqa: E402
from eie.compression.training.finetune import Trainer  # noqa: E402

pytestmark = pytest.mark.torch


def two_rings(count, seed):
    """Points inside and outside a circle, with two inputs that say nothing."""
    rng = np.random.default_rng(seed)
    inputs = rng.normal(size=(count, 4)).astype(np.float32)
    return Samples.of(inputs, labels=(np.hypot(inputs[:, 0], inputs[:, 1]) > 1.2).astype(np.int64))


def mlp(hidden=16, seed=0):
    rng = np.random.default_rng(seed)
    return eie.Network(
        name="rings",
        layers=(
            eie.Layer.from_weights("ip1", rng.normal(0, 0.7, (hidden, 4)), np.zeros(hidden), relu=True),
            eie.Layer.from_weights("ip2", rng.normal(0, 0.3, (2, hidden)), np.zeros(2)),
        ),
        sequential=True,
    )


def convnet(seed=0):
    """A strided, padded, grouped convolution, pooling and a product over 4 x 4 images of two channels."""
    rng = np.random.default_rng(seed)
    geometry = eie.model.geometry.Conv2d(in_channels=2, out_channels=4, kernel=(3, 3), pads=(1, 1, 1, 1), groups=2)
    conv = eie.Layer.from_conv(
        name="conv", weights=rng.normal(size=(4, 1, 3, 3)), bias=rng.normal(size=4), conv=geometry, relu=True
    )
    fc = eie.Layer.from_weights("fc", rng.normal(size=(3, 16)), rng.normal(size=3))
    steps = [("layer", "conv"), ("max_pool", {"kernel": (2, 2)}), ("flatten", {}), ("layer", "fc")]
    return eie.Network(name="small", layers=(conv, fc), graph=Graph.sequence("image", (2, 4, 4), steps))


def trainer(train=None, **training):
    train = train or two_rings(600, 1)
    return Trainer(
        train_set=train,
        test_set=two_rings(400, 2),
        training=Training(**{"batch": 30, "learning_rate": 0.01, **training}),
    )


def pruned(network, density):
    return replace(
        network, layers=tuple(with_mask(one, prune_mask(one.weights, density=density)) for one in network.layers)
    )


def shared(network, bits=2, bias="column"):
    return replace(network, layers=tuple(share(one, bits, bias=bias)[0] for one in network.layers))


def softmax(z):
    e = np.exp(z - z.max(axis=1, keepdims=True))
    return e / e.sum(axis=1, keepdims=True)


def numpy_loss(network, examples):
    """Mean cross-entropy of an MLP in float64, without torch."""
    values = examples.values.astype(np.float64)
    for layer in network.layers:
        values = values @ layer.weights.astype(np.float64).T + layer.bias
        if layer.relu:
            values = np.maximum(values, 0)
    return -np.log(softmax(values)[np.arange(len(values)), examples.labels]).mean()


def test_training_learns_and_the_same_seed_gives_the_same_weights():
    one = trainer(dropout=0.1)
    before, after = one.accuracy(mlp()), one.finetune(mlp(), 8)
    assert one.accuracy(after) > 0.85 > before
    again = one.finetune(mlp(), 8)
    assert all(np.array_equal(a.weights, b.weights) for a, b in zip(after.layers, again.layers, strict=True))
    other = trainer(dropout=0.1, seed=5).finetune(mlp(), 8)
    assert not np.array_equal(after.layers[0].weights, other.layers[0].weights)


def test_training_leaves_torch_as_it_was():
    torch.manual_seed(3)
    threads, state = torch.get_num_threads(), torch.random.get_rng_state()
    trainer(dropout=0.5).finetune(mlp(), 1)
    assert torch.get_num_threads() == threads
    assert torch.equal(torch.random.get_rng_state(), state)


def test_pruned_weights_stay_zero_and_the_others_move():
    start = pruned(mlp(), 0.5)
    after = trainer().finetune(start, 2)
    for a, b in zip(start.layers, after.layers, strict=True):
        assert a.weight_density == 0.5
        np.testing.assert_array_equal(b.weights[a.weights == 0], 0)
        assert (a.weights != b.weights)[a.weights != 0].mean() > 0.5  # a neuron that never fires stays as it is


def test_a_grouped_convolution_keeps_its_structural_zeros():
    images = Samples.of(np.random.default_rng(0).normal(size=(60, 32)), labels=np.arange(60) % 3)
    after = Trainer(train_set=images, test_set=images, training=Training(batch=10)).finetune(convnet(), 1)
    assert after.layers[0].weight_density == 1.0
    assert after.layers[0].geometry == convnet().layers[0].geometry
    assert (after.layers[0].kernel != convnet().layers[0].kernel).all()


@pytest.mark.parametrize("network", [mlp(), shared(mlp())], ids=["float", "shared"])
def test_accuracy_is_what_numpy_counts(network):
    examples = two_rings(333, 9)
    values = examples.values
    for layer in network.layers:
        bias = layer.bias if layer.bias is not None else layer.codebook[layer.bias_codes]
        values = values @ layer.weights.T + bias
        values = np.maximum(values, 0) if layer.relu else values
    assert trainer().accuracy(network, examples) == (values.argmax(axis=1) == examples.labels).mean()


def test_tied_gradients_are_the_sums_over_each_level_biases_included():
    layer = shared(pruned(mlp(), 0.5)).layers[0]
    assert layer.bias_codes is not None
    layer = replace(layer, bias_codes=(np.arange(layer.outputs) % 3).astype(np.uint8))
    one = LayerParameters.of(layer)
    rng = np.random.default_rng(4)
    gradients = {key: rng.normal(size=tuple(value.shape)).astype(np.float32) for key, value in one.values.items()}
    for key, value in one.values.items():
        value.grad = torch.tensor(gradients[key])
    one.collect()
    codes = layer.matrix.dense()
    for level in range(1, len(layer.codebook)):
        by_hand = sum(gradients["ip1.weight"][codes == level]) + sum(gradients["ip1.bias"][layer.bias_codes == level])
        assert float(one.codebook.grad[level]) == pytest.approx(by_hand, rel=1e-5, abs=1e-6)
    assert float(one.codebook.grad[0]) == 0


@pytest.mark.parametrize("bias", ["column", "accumulator"])
def test_training_centroids_keeps_codes_and_zero_and_lowers_the_loss(bias):
    one = trainer(centroid_rate=0.01)
    trained = pruned(one.finetune(mlp(), 6), 0.7)
    start = shared(trained, bias=bias)
    after = one.finetune(start, 4)
    for a, b in zip(start.layers, after.layers, strict=True):
        np.testing.assert_array_equal(a.matrix.data, b.matrix.data)
        np.testing.assert_array_equal(a.bias_codes, b.bias_codes)
        assert (b.bias_codes is None) == (bias == "accumulator")
        # A bias in the accumulators is a number of its own, which follows its own gradient.
        assert bias == "column" or not np.array_equal(a.bias, b.bias)
        assert b.codebook[0] == 0
        assert not np.array_equal(a.codebook, b.codebook)

    def loss(network):
        floats = [
            x if x.bias_codes is None else replace(x, bias=x.codebook[x.bias_codes], bias_codes=None)
            for x in network.layers
        ]
        floats = [replace(x, codebook=None, matrix=x.matrix.with_data(x.codebook[x.matrix.data])) for x in floats]
        return numpy_loss(replace(network, layers=tuple(floats)), one.train_set)

    assert loss(after) < loss(start)


def test_gradients_of_softmax_regression_by_hand():
    examples = two_rings(700, 3)  # more than one evaluation batch
    layer = eie.Layer.from_weights("only", np.random.default_rng(1).normal(size=(2, 4)), np.array([0.1, -0.2]))
    p = softmax(examples.values @ layer.weights.T + layer.bias)
    one_hot = np.eye(2)[examples.labels]
    expected = (p - one_hot).T @ examples.values / len(p)
    found = trainer(examples).gradients(eie.Network.of(layer))
    np.testing.assert_allclose(found["only"], expected, rtol=1e-4, atol=1e-6)


def test_curvature_of_softmax_regression_by_hand():
    examples = two_rings(100, 3)
    layer = eie.Layer.from_weights("only", np.random.default_rng(1).normal(size=(2, 4)), np.array([0.1, -0.2]))
    p = softmax(examples.values[:70] @ layer.weights.T + layer.bias)
    expected = (p * (1 - p)).T @ np.square(examples.values[:70]) / 70
    found = trainer(examples, curvature_examples=70).curvature(eie.Network.of(layer))
    np.testing.assert_allclose(found["only"], expected, rtol=1e-4, atol=1e-7)


def test_curvature_behind_relu_is_the_second_difference_of_the_loss():
    network, examples = trainer().finetune(mlp(6), 5), two_rings(40, 3)
    found = trainer(examples).curvature(network)
    step = 1e-5
    for at, layer in enumerate(network.layers):
        for place in np.ndindex(*layer.matrix.shape):
            losses = []
            for sign in (-1, 0, 1):
                values = examples.values.astype(np.float64)
                for i, each in enumerate(network.layers):
                    weights = each.weights.astype(np.float64)
                    if i == at:
                        weights[place] += sign * step
                    values = values @ weights.T + each.bias
                    values = np.maximum(values, 0) if each.relu else values
                losses.append(-np.log(softmax(values)[np.arange(40), examples.labels]).mean())
            second = (losses[0] - 2 * losses[1] + losses[2]) / step**2
            assert found[layer.name][place] == pytest.approx(second, rel=1e-2, abs=2e-4)


def test_gradients_and_curvature_of_a_convolution_match_differences_of_the_loss():
    rng = np.random.default_rng(6)
    images = Samples.of(rng.normal(size=(20, 32)), labels=rng.integers(0, 3, 20))
    network = convnet()
    one = Trainer(train_set=images, test_set=images, training=Training())
    gradient, curvature = one.gradients(network)["conv"], one.curvature(network)["conv"]
    assert gradient.shape == curvature.shape == network.layers[0].matrix.shape
    assert (curvature >= 0).all()

    def loss(place, step):
        kernel = torch.tensor(network.layers[0].kernel, dtype=torch.float64)
        kernel[place] += step
        x = torch.tensor(images.values, dtype=torch.float64).reshape(-1, 2, 4, 4)
        bias, fc = torch.tensor(network.layers[0].bias).double(), network.layers[1]
        x = torch.nn.functional.conv2d(x, kernel, bias, padding=1, groups=2).relu()
        x = torch.nn.functional.max_pool2d(x, 2).flatten(1) @ torch.tensor(fc.weights).double().T
        x = x + torch.tensor(fc.bias).double()
        return float(torch.nn.functional.cross_entropy(x, torch.tensor(images.labels)))

    step = 1e-4
    for out, row, column in [(0, 0, 0), (1, 1, 2), (2, 2, 1), (3, 0, 2)]:
        below, at, above = (loss((out, 0, row, column), sign * step) for sign in (-1, 0, 1))
        place = (out, (out // 2) * 9 + row * 3 + column)
        assert gradient[place] == pytest.approx((above - below) / (2 * step), rel=1e-3, abs=1e-5)
        assert curvature[place] == pytest.approx((above - 2 * at + below) / step**2, rel=1e-2, abs=1e-4)


def test_orders_of_taylor_and_obd_by_hand():
    """Two inputs, the second never active: it has no gradient and no curvature, and goes first, though it is larger."""
    inputs = np.array([[1.0, 0.0], [2.0, 0.0]], np.float32)
    examples = Samples.of(inputs, labels=np.array([0, 1]))
    layer = eie.Layer.from_weights("only", [[0.1, 3.0], [-0.1, 2.0]])
    one = Trainer(train_set=examples, test_set=examples, training=Training())
    network = eie.Network.of(layer)
    evidence = eie.compression.pruning.score.Evidence(one.gradients(network)["only"], one.curvature(network)["only"])
    for criterion in ("taylor", "obd"):
        mask = prune_mask(layer.weights, density=0.5, criterion=criterion, evidence=evidence)
        np.testing.assert_array_equal(mask, [[True, False], [True, False]])
    magnitude = prune_mask(layer.weights, density=0.5)
    np.testing.assert_array_equal(magnitude, [[False, True], [False, True]])


def test_what_cannot_be_trained_is_refused():
    one = trainer()
    with pytest.raises(ModelError, match=r"is 5 a sample, the activations have shape \(\d+, 4\)"):
        one.accuracy(eie.Network.of(eie.Layer.from_weights("x", np.ones((2, 5)))))
    apart = eie.Network(name="apart", layers=(eie.Layer.from_weights("x", np.ones((2, 4))),))
    with pytest.raises(ModelError, match="do not feed each other"):
        one.finetune(apart, 1)
    with pytest.raises(ModelError, match="tells 1 classes apart, a label is 1"):
        one.finetune(eie.Network.of(eie.Layer.from_weights("x", np.ones((1, 4)))), 1)
    lstm = eie.Layer.from_lstm("cell", np.ones((8, 4)), np.ones((8, 2)))
    graph = Graph.sequence("x", (1, 4), [("layer", "cell")])
    with pytest.raises(ModelError, match="Lstm layers cannot be trained"):
        one.finetune(eie.Network(name="lstm", layers=(lstm,), graph=graph), 1)


@pytest.mark.parametrize(
    ("wrong", "text"),
    [
        ({"batch": 0}, "recipe.training.batch=0: must be >= 1"),
        ({"learning_rate": 0.0}, "recipe.training.learning_rate=0.0: must be > 0"),
        ({"dropout": 1.0}, "recipe.training.dropout=1.0: must be < 1"),
        ({"dropuot": 0.1}, "recipe.training.dropuot.*dropout"),
    ],
)
def test_wrong_settings_are_refused(wrong, text):
    with pytest.raises(EieError, match=text):
        Recipe.from_mapping({"training": wrong, "step": [{"kind": "finetune", "epochs": 1}]})


def write_idx(path, array):
    head = bytes((0, 0, 8, array.ndim)) + b"".join(size.to_bytes(4, "big") for size in array.shape)
    path.write_bytes(head + array.astype(np.uint8).tobytes())


def test_the_command_line_trains_on_a_folder_of_idx_files(tmp_path):
    """The class of a 2 x 2 image is whether its first pixel is brighter than its last."""
    rng = np.random.default_rng(0)
    for stem, count in (("train", 400), ("t10k", 100)):
        images = rng.integers(0, 256, (count, 2, 2))
        write_idx(tmp_path / f"{stem}-images-idx3-ubyte", images)
        write_idx(tmp_path / f"{stem}-labels-idx1-ubyte", images[:, 0, 0] > images[:, 1, 1])
    weights = {"a.weight": rng.normal(size=(8, 4)), "a.bias": np.zeros(8), "b.weight": rng.normal(size=(2, 8))}
    np.savez(tmp_path / "model.npz", **weights)
    (tmp_path / "recipe.toml").write_text(
        """
        training = { batch = 20, learning_rate = 0.02, centroid_rate = 0.01, curvature_examples = 50 }
        step = [
            { kind = "finetune", epochs = 10 },
            { kind = "prune", criterion = "obd", schedule = "iterative", rounds = 2, rule = [{ density = 0.625 }] },
            { kind = "share", epochs = 3, rule = [{ bits = 3 }] },
        ]
        """
    )
    files = {name: str(tmp_path / name) for name in ("model.npz", "recipe.toml", "out.npz", "report.json")}
    call = ["compress", files["model.npz"], files["recipe.toml"], "--data", str(tmp_path)]
    result = CliRunner().invoke(app, [*call, "-o", files["out.npz"], "--json", files["report.json"]])
    assert result.exit_code == 0, result.output
    report = json.loads((tmp_path / "report.json").read_text())
    accuracies = [step["accuracy"] for step in report["steps"]]
    assert accuracies[0] > 0.9
    assert accuracies[-1] > 0.8 > report["accuracy_before"]
    network = eie.load(tmp_path / "out.npz")
    assert [layer.matrix.nnz for layer in network.layers] == [20, 10]
    assert all(len(np.unique(layer.weights)) <= 8 for layer in network.layers)


def test_iterative_pruning_reaches_its_target_and_recovers():
    one = trainer()
    trained = one.finetune(mlp(), 10)
    step = {"kind": "prune", "rounds": 4, "epochs": 2, "rule": [{"density": 0.25}]}
    for schedule in ("iterative", "cubic"):
        network, report = eie.compress(trained, {"step": [{**step, "schedule": schedule}]}, one)
        assert [layer.matrix.nnz for layer in network.layers] == [16, 8]
        kept = [sum(record.kept.values()) for record in report.steps]
        assert kept == sorted(kept, reverse=True)
        shot, _ = eie.compress(trained, {"step": [{"kind": "prune", "rule": [{"density": 0.25}]}]})
        assert report.accuracy > one.accuracy(shot)
