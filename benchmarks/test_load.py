"""What loading an ``.onnx`` file takes: 25 M weights in at most 10 s and 3 times their float32 size.

``make bench`` prints it; nothing here is in CI. A process of its own, so that the peak of memory is the loading's.
"""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

onnx = pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")

LAYERS, WIDTH = 24, 1024


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


def test_loading_25_million_weights(perceptron):
    """Seconds of a processor, and memory in terms of the weights at four bytes each."""
    command = [sys.executable, "-m", "zoo.measure", str(perceptron)]
    ran = subprocess.run(command, cwd=Path(__file__).parent, capture_output=True, text=True, check=True)
    row = json.loads(ran.stdout.splitlines()[0])
    share = row["load_mb"] * 2**20 / (4 * row["weights"])
    print(
        f"\nloading {row['weights'] / 1e6:.0f} M weights: {row['load_s']:.1f} s of processor time (target 10), "
        f"{row['load_s'] / row['onnxruntime_s']:.0f} times onnxruntime's session; {share:.1f} times their float32 size "
        f"(target 3)"
    )
