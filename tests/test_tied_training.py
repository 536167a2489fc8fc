"""Fine-tuning of a weight with several uses: one weight, whose gradient is the sum over its uses."""

from dataclasses import replace

import numpy as np
import pytest

import eie
from eie.compression.recipe import Recipe, Training
from eie.compression.share import share
from eie.model.graph import Graph
from eie.model.samples import Samples

torch = pytest.importorskip("torch", reason="torch is not installed (make test-torch installs a CPU build)")

from eie.compression.training.finetune import Trainer  # noqa: E402

pytestmark = pytest.mark.torch

SIDE, CLASSES, COUNT, USES = 6, 3, 40, 3


def layers(seed=0):
    rng = np.random.default_rng(seed)
    cell = eie.Layer.from_weights("cell", rng.normal(0, 0.5, (SIDE, SIDE)), rng.normal(0, 0.1, SIDE), relu=True)
    return cell, eie.Layer.from_weights("last", rng.normal(0, 0.5, (CLASSES, SIDE)), rng.normal(0, 0.1, CLASSES))


def network(cells, last):
    """``cells`` by name in the order in which they run; a name that stands there again is another use."""
    steps = [("layer", cell.name) for cell in (*cells, last)]
    once = {cell.name: cell for cell in cells}
    return eie.Network(name="net", layers=(*once.values(), last), graph=Graph.sequence("x", (SIDE,), steps))


def tied():
    cell, last = layers()
    return network([cell] * USES, last)


def untied():
    cell, last = layers()
    return network([replace(cell, name=f"copy{i}") for i in range(USES)], last)


def trainer(**training):
    rng = np.random.default_rng(1)
    x = rng.normal(size=(COUNT, SIDE)).astype(np.float32)
    samples = Samples.of(x, labels=x[:, :CLASSES].argmax(1))
    settings = Training(**{"batch": 10, "learning_rate": 0.01, "dropout": 0.0, **training})
    return Trainer(train_set=samples, test_set=samples, training=settings)


def uses(net):
    return {name: len(many) for name, many in net.graph.uses_by_layer.items()}


def test_the_gradient_is_the_sum_over_all_uses():
    together, apart = trainer().gradients(tied()), trainer().gradients(untied())
    each = [apart[f"copy{i}"] for i in range(USES)]
    assert all(np.abs(gradient).max() > 1e-4 for gradient in each)
    np.testing.assert_allclose(together["cell"], sum(each), rtol=1e-4, atol=1e-7)
    np.testing.assert_allclose(together["last"], apart["last"], rtol=1e-4, atol=1e-7)


def test_a_step_is_that_of_a_torch_module_that_is_called_as_often():
    cell, last = layers()
    one, two = torch.nn.Linear(SIDE, SIDE), torch.nn.Linear(SIDE, CLASSES)
    with torch.no_grad():
        for module, layer in ((one, cell), (two, last)):
            module.weight.copy_(torch.tensor(layer.weights))
            module.bias.copy_(torch.tensor(layer.bias))
    setting = trainer(batch=COUNT, weight_decay=0.0)
    samples = setting.train_set
    # The rate of the first step of one: nothing has decayed yet.
    optimiser = torch.optim.AdamW([*one.parameters(), *two.parameters()], lr=0.01, weight_decay=0.0)
    x = torch.tensor(samples.values)
    for _ in range(USES):
        x = torch.relu(one(x))
    torch.nn.functional.cross_entropy(two(x), torch.tensor(samples.classes)).backward()
    optimiser.step()
    after = setting.finetune(tied(), 1)
    np.testing.assert_allclose(after.layers[0].weights, one.weight.detach(), atol=1e-5)
    np.testing.assert_allclose(after.layers[0].bias, one.bias.detach(), atol=1e-5)


def test_weights_stay_one_layer_through_pruning_sharing_and_training():
    recipe = Recipe.from_mapping(
        {
            "step": [
                {"kind": "prune", "rule": [{"density": 0.5}]},
                {"kind": "finetune", "epochs": 2},
                {"kind": "share", "rule": [{"bits": 3}]},
                {"kind": "finetune", "epochs": 2},
            ],
        }
    )
    before = tied()
    after, _ = eie.compress(before, recipe, trainer())
    assert [layer.name for layer in after.layers] == ["cell", "last"]
    assert uses(after) == uses(before) == {"cell": USES, "last": 1}
    cell = after.layers[0]
    assert (cell.weights != before.layers[0].weights).any()
    assert cell.codebook is not None
    assert cell.weight_density <= 0.5


def test_levels_follow_the_sum_over_all_uses():
    """One step of Adam moves each level against the sign of its gradient, which is summed over codes and uses."""
    both = [
        replace(net, layers=tuple(share(layer, 2, bias="accumulator")[0] for layer in net.layers))
        for net in (tied(), untied())
    ]
    setting = trainer(batch=COUNT, centroid_rate=0.001)
    apart, before = setting.gradients(both[1]), both[0].layers[0]
    total = sum(apart[f"copy{i}"] for i in range(USES))
    codes = before.matrix.dense()
    summed = np.array([total[codes == level].sum() for level in range(len(before.codebook))])
    after = setting.finetune(both[0], 1).layers[0]
    np.testing.assert_array_equal(after.matrix.dense(), codes)
    # Level 0 is the reserved zero and stays.
    assert (np.sign(after.codebook - before.codebook)[1:] == -np.sign(summed)[1:]).all()
    # Of the uses apart at least one alone would have moved some level the other way, or this shows nothing.
    signs = {tuple(np.sign([apart[f"copy{i}"][codes == level].sum() for level in (1, 2, 3)])) for i in range(USES)}
    assert len(signs) > 1


def test_layers_that_an_onnx_file_ties_train_as_one(tmp_path):
    pytest.importorskip("onnx", reason="needs the onnx extra")
    import onnx_models as models

    cell, last = layers()
    arrays = {"cell.weight": cell.weights, "cell.bias": cell.bias, "last.weight": last.weights, "last.bias": last.bias}
    nodes, at = [], "x"
    for i in range(USES):
        nodes.append(models.node("Gemm", [at, "cell.weight", "cell.bias"], [f"g{i}"], f"g{i}", transB=1))
        nodes.append(models.node("Relu", [f"g{i}"], [f"r{i}"]))
        at = f"r{i}"
    nodes.append(models.node("Gemm", [at, "last.weight", "last.bias"], ["y"], "last", transB=1))
    proto = models.model(nodes, {"x": ["n", SIDE]}, {"y": ["n", CLASSES]}, arrays)
    read = eie.load(models.saved(proto, tmp_path / "m.onnx"))
    of_file, of_ours = trainer().finetune(read, 2), trainer().finetune(tied(), 2)
    assert uses(of_file) == {"cell": USES, "last": 1}
    np.testing.assert_allclose(of_file.layers[0].weights, of_ours.layers[0].weights, atol=1e-5)
