"""What both LeNet scripts do: train densely, compress by a recipe, measure every stage, write the shipped model."""

import argparse
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np

import eie

HERE = Path(__file__).parent
SLICE = 500


def initial(rng: np.random.Generator, shape: Sequence[int], *, relu: bool) -> np.ndarray:
    """Draw uniform weights that keep the variance of what passes through them (He et al., 2015)."""
    bound = np.sqrt((6 if relu else 3) / np.prod(shape[1:]))
    return rng.uniform(-bound, bound, shape)


def run(network: eie.Network, dense: eie.Training, epochs: int, keys: dict[str, tuple[str, str]]) -> None:
    """Train ``network`` for ``epochs``, compress it by the recipe of its name, print a table, write ``models/``.

    ``keys`` names each layer's arrays in the model file: weights and bias.
    """
    arguments = argparse.ArgumentParser(description=f"Train and compress {network.name}.")
    arguments.add_argument("--data", type=Path, default=eie.FASHION_MNIST, help="folder with the four IDX files")
    arguments.add_argument("--out", type=Path, default=HERE.parent / "models", help="folder of the model file")
    arguments.add_argument("--dense", type=Path, help="keep the dense network in this file, or take it from there")
    arguments.add_argument("--only-dense", action="store_true", help="write models/NAME-dense.npz and stop")
    arguments.add_argument("--control", action="store_true", help="train the dense network on as long as the rest")
    options = arguments.parse_args()
    began = time.perf_counter()

    def say(text: str) -> None:
        print(f"[{time.perf_counter() - began:6.0f} s] {text}", flush=True)

    train, test = eie.idx_examples(options.data, "train"), eie.idx_examples(options.data, "test")
    first = eie.TorchTrainer(train_set=train, test_set=test, training=dense, progress=say)
    if options.dense is not None and options.dense.exists():
        network = eie.load(options.dense)
    else:
        network = first.finetune(network, epochs)
        if options.dense is not None:
            eie.save(network, options.dense)
    say(f"dense: {first.accuracy(network):.2%}")
    if options.only_dense:
        target = options.out / f"{network.name}-dense.npz"
        np.savez_compressed(target, **halves(network))
        say(f"wrote {target}")
        return
    recipe = eie.load_recipe(HERE / "recipes" / f"train-{network.name}.toml")
    if options.control:
        say(f"dense, trained on: {first.accuracy(first.finetune(network, training_epochs(recipe))):.2%}")
    compressed, report = eie.compress(
        network,
        recipe,
        eie.TorchTrainer(train_set=train, test_set=test, training=recipe.training, progress=say),
        progress=say,
    )
    target = options.out / f"{network.name}.npz"
    np.savez_compressed(target, **arrays(compressed, keys))
    say(f"wrote {target}")
    print(report)
    fixed, float32 = simulated(compressed, test)
    say(f"simulated on 64 PEs: {fixed:.2%} in 16-bit fixed point, {float32:.2%} in float32")


def training_epochs(recipe: eie.Recipe) -> int:
    """Epochs that a recipe trains for in all."""
    total = 0
    for step in recipe.step:
        if isinstance(step, eie.PruneStep):
            total += step.total_rounds * step.epochs_a_round
        elif isinstance(step, eie.FinetuneStep | eie.ShareStep):
            total += step.epochs
    return total


def simulated(network: eie.Network, examples: eie.Samples) -> tuple[float, float]:
    """Share of right answers of the compiled network: in 16-bit fixed point and in float32."""
    program = eie.compile(network)
    name, shape = program.dataflow.inputs[0]
    right = np.zeros(2)
    for start in range(0, examples.count, SLICE):
        inputs = examples.read(slice(start, start + SLICE)).reshape(-1, *shape)
        labels = examples.classes[start : start + SLICE]
        for i, outputs in enumerate(both(eie.simulate(program, {name: inputs}))):
            right[i] += (outputs.reshape(len(labels), -1).argmax(axis=1) == labels).sum()
    fixed, float32 = right / examples.count
    return float(fixed), float(float32)


def both(result: eie.Result) -> tuple[np.ndarray, np.ndarray]:
    """Return what the last layer computes in fixed point and in float32."""
    last = result.layers[-1].computed
    return last.fixed.raw, last.float32


def halves(network: eie.Network) -> dict[str, np.ndarray]:
    """Weights and biases in half precision, which costs no accuracy and half of the bytes."""
    kept = {}
    for layer in network.layers:
        kept[f"{layer.name}.weight"] = np.float16(layer.weights if layer.geometry.takes_vectors else layer.kernel)
        kept[f"{layer.name}.bias"] = np.float16(layer.bias)
    return kept


def arrays(network: eie.Network, keys: dict[str, tuple[str, str]]) -> dict[str, np.ndarray]:
    """Weights and biases of a shared network as float32: values of the codebooks."""
    kept = {}
    for layer in network.layers:
        weights, bias = keys[layer.name]
        kept[weights] = layer.weights.T if layer.geometry.takes_vectors else layer.kernel
        kept[bias] = layer.codebook[layer.bias_codes]
    return kept
