"""What both LeNet scripts do: train densely, compress by a recipe, measure every stage, write the shipped model."""

import argparse
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np

import eie
from eie.compression.recipe import FinetuneStep, PruneStep, Recipe, ShareStep, Training, load_recipe
from eie.compression.training.dataset import FASHION_MNIST, Examples, idx_examples
from eie.compression.training.finetune import Trainer
from eie.formats.npz import write_npz
from eie.simulator.network import Settings as NumberSettings
from eie.simulator.network import run_network

HERE = Path(__file__).parent
SLICE = 500


def initial(rng: np.random.Generator, shape: Sequence[int], *, relu: bool) -> np.ndarray:
    """Draw uniform weights that keep the variance of what passes through them (He et al., 2015)."""
    bound = np.sqrt((6 if relu else 3) / np.prod(shape[1:]))
    return rng.uniform(-bound, bound, shape)


def run(network: eie.Network, dense: Training, epochs: int, keys: dict[str, tuple[str, str]]) -> None:
    """Train ``network`` for ``epochs``, compress it by the recipe of its name, print a table, write ``models/``.

    ``keys`` names each layer's arrays in the model file: weights and bias.
    """
    arguments = argparse.ArgumentParser(description=f"Train and compress {network.name}.")
    arguments.add_argument("--data", type=Path, default=FASHION_MNIST, help="folder with the four IDX files")
    arguments.add_argument("--out", type=Path, default=HERE.parent / "models", help="folder of the model file")
    arguments.add_argument("--dense", type=Path, help="keep the dense network in this file, or take it from there")
    arguments.add_argument("--only-dense", action="store_true", help="write models/NAME-dense.npz and stop")
    arguments.add_argument("--control", action="store_true", help="train the dense network on as long as the rest")
    given = arguments.parse_args()
    began = time.perf_counter()

    def say(text: str) -> None:
        print(f"[{time.perf_counter() - began:6.0f} s] {text}", flush=True)

    train, test = idx_examples(given.data, "train"), idx_examples(given.data, "test")
    first = Trainer(train_set=train, test_set=test, training=dense, progress=say)
    if given.dense is not None and given.dense.exists():
        network = eie.load(given.dense)
    else:
        network = first.finetune(network, epochs)
        if given.dense is not None:
            eie.save(network, given.dense)
    say(f"dense: {first.accuracy(network):.2%}")
    if given.only_dense:
        target = given.out / f"{network.name}-dense.npz"
        write_npz(target, halves(network))
        say(f"wrote {target}")
        return
    recipe = load_recipe(HERE / "recipes" / f"train-{network.name}.toml")
    if given.control:
        say(f"dense, trained on: {first.accuracy(first.finetune(network, training_epochs(recipe))):.2%}")
    compressed, report = eie.compress(
        network, recipe, Trainer(train_set=train, test_set=test, training=recipe.training, progress=say), progress=say
    )
    target = given.out / f"{network.name}.npz"
    write_npz(target, arrays(compressed, keys))
    say(f"wrote {target}")
    print(report)
    fixed, float32 = simulated(compressed, test)
    say(f"simulated on 64 PEs: {fixed:.2%} in 16-bit fixed point, {float32:.2%} in float32")


def training_epochs(recipe: Recipe) -> int:
    """Epochs that a recipe trains for in all."""
    total = 0
    for step in recipe.step:
        if isinstance(step, PruneStep):
            total += step.total_rounds * step.epochs_a_round
        elif isinstance(step, FinetuneStep | ShareStep):
            total += step.epochs
    return total


def simulated(network: eie.Network, examples: Examples) -> tuple[float, float]:
    """Share of right answers of the compiled network: in 16-bit fixed point and in float32. No time is simulated."""
    program = eie.compile(network)
    layers = {layer.name: layer for layer in program.layers}
    name, shape = program.dataflow.inputs[0]
    numbers = NumberSettings(data_bits=program.spec.data_bits)
    right = np.zeros(2)
    for start in range(0, len(examples.labels), SLICE):
        inputs = {name: examples.inputs[start : start + SLICE].reshape(-1, *shape)}
        outputs = run_network(
            graph=program.dataflow, layers=layers, inputs=inputs, settings=numbers, ran=lambda *_: None
        )
        for i, found in enumerate((outputs[0].fixed.raw, outputs[0].float32)):
            right[i] += (found.argmax(axis=1) == examples.labels[start : start + SLICE]).sum()
    fixed, float32 = right / len(examples.labels)
    return float(fixed), float(float32)


def halves(network: eie.Network) -> dict[str, np.ndarray]:
    """Weights and biases in half precision, which costs no accuracy and half of the bytes."""
    found = {}
    for layer in network.layers:
        found[f"{layer.name}.weight"] = np.float16(layer.weights if layer.geometry.takes_vectors else layer.kernel)
        found[f"{layer.name}.bias"] = np.float16(layer.bias)
    return found


def arrays(network: eie.Network, keys: dict[str, tuple[str, str]]) -> dict[str, np.ndarray]:
    """Weights and biases of a shared network as float32: values of the codebooks."""
    found = {}
    for layer in network.layers:
        weights, bias = keys[layer.name]
        found[weights] = layer.weights.T if layer.geometry.takes_vectors else layer.kernel
        found[bias] = layer.codebook[layer.bias_codes]
    return found
