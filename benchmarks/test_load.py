"""What loading an ``.onnx`` file takes: 25 M weights in at most 10 s, and any file 3 times its float32 size.

``make bench`` prints it; nothing here is in CI. A process of its own, so that the peak of memory is the loading's.
"""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

onnx = pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")

LAYERS, WIDTH = 24, 1024
BLOCKS, CHANNELS, MAP = 24, 128, (16, 48)
SHARE = 3


@pytest.fixture(scope="module")
def perceptron(tmp_path_factory):
    """A file of fully connected layers, 25 M weights."""
    rng, nodes, constants = np.random.default_rng(0), [], []
    for i in range(LAYERS):
        weights = rng.standard_normal((WIDTH, WIDTH), np.float32)
        constants.append(onnx.numpy_helper.from_array(weights, f"w{i}"))
        nodes.append(onnx.helper.make_node("MatMul", [f"x{i}", f"w{i}"], [f"x{i + 1}"]))
    ends = [onnx.helper.make_tensor_value_info(f"x{i}", 1, ["n", WIDTH]) for i in (0, LAYERS)]
    graph = onnx.helper.make_graph(nodes, "perceptron", ends[:1], ends[1:], constants)
    path = tmp_path_factory.mktemp("load") / "perceptron.onnx"
    onnx.save(onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 17)], ir_version=8), str(path))
    return path


@pytest.fixture(scope="module")
def convolutions(tmp_path_factory):
    """A file as some exporters write it, weights in nodes: what it makes of two samples is more than its weights."""
    rng, nodes = np.random.default_rng(0), []
    for i in range(BLOCKS):
        weights = rng.standard_normal((CHANNELS, CHANNELS, 3, 3), np.float32) / 30
        constant = onnx.numpy_helper.from_array(weights)
        nodes += [
            onnx.helper.make_node("Constant", [], [f"w{i}"], value=constant),
            onnx.helper.make_node("Conv", [f"x{i}", f"w{i}"], [f"c{i}"], pads=[1, 1, 1, 1]),
            # None of our operators: each goes to the host.
            onnx.helper.make_node("HardSwish", [f"c{i}"], [f"x{i + 1}"]),
        ]
    sizes = ["n", CHANNELS, "height", "width"]
    ends = [onnx.helper.make_tensor_value_info(f"x{i}", 1, sizes) for i in (0, BLOCKS)]
    graph = onnx.helper.make_graph(nodes, "convolutions", ends[:1], ends[1:])
    path = tmp_path_factory.mktemp("load") / "convolutions.onnx"
    onnx.save(onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 17)], ir_version=8), str(path))
    return path


def loaded(path, **said):
    """Measure in a process of its own; returns its row, and the most memory in terms of the weights."""
    command = [sys.executable, "-m", "zoo.measure", str(path), json.dumps(said)]
    ran = subprocess.run(
        command,
        cwd=Path(__file__).parent,
        capture_output=True,
        text=True,
        check=True,
        env={**os.environ, "ZOO_RUN": "0"},
    )
    row = json.loads(ran.stdout.splitlines()[0])
    return row, row["load_mb"] * 2**20 / (4 * row["weights"])


def test_loading_25_million_weights(perceptron):
    """Seconds of a processor, and memory in terms of the weights at four bytes each."""
    row, share = loaded(perceptron)
    print(
        f"\nloading {row['weights'] / 1e6:.0f} M weights: {row['load_s']:.1f} s of processor time (target 10), "
        f"{row['load_s'] / row['onnxruntime_s']:.0f} times onnxruntime's session; {share:.1f} times their float32 size "
        f"(target {SHARE})"
    )
    assert share <= SHARE


def test_loading_what_makes_more_than_it_holds(convolutions):
    """The same of maps: for two samples, the results of all nodes together are nearly three times the weights."""
    row, share = loaded(convolutions, shapes={"x0": [1, CHANNELS, *MAP]})
    print(
        f"\nloading {row['weights'] / 1e6:.1f} M weights with a map of {MAP[0]} x {MAP[1]}: {row['load_s']:.1f} s of "
        f"processor time; {share:.1f} times their float32 size (target {SHARE})"
    )
    assert share <= SHARE
