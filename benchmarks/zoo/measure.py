"""One file of the zoo: read, compared with onnxruntime, run on the accelerator; how long and in how much memory.

Comes in: a path and what packages.toml says of it. Goes out: a line of JSON. Run by `run` as a process of its own, so
that its peak of memory is its own, and one that does not end can be ended: ``python -m zoo.measure FILE [JSON]``.
"""

from __future__ import annotations

import ctypes
import gc
import json
import math
import os
import sys
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from tempfile import TemporaryDirectory
from time import process_time
from typing import Any

import numpy as np

import eie
from eie.importers.options import FedShapes
from zoo.judge import Verdict, as_taken, batch_first, judged_network, onnxruntime_answers, read, session

# By onnxruntime's words for types; all others are floats.
KINDS = {f"tensor({name})": kind for name, kind in (("int64", np.int64), ("int32", np.int32), ("bool", np.bool_))}
# What an open size other than the batch is, and the first number that an integer may not be, if nothing is stated.
OPEN, BELOW = 32, 32
# Nodes of a file that loads what any file does.
WARM = (("MatMul", ["x", "w"], "y"), ("Erf", ["y"], "e"), ("MatMul", ["e", "w"], "z"))


def main(path: Path, said: Mapping[str, Any]) -> None:
    """Measure one file; a line when it is read, one when it was compared, one when it ran."""
    # Loaded before anything is measured: libraries and kernels are the reader's, not the model's.
    from eie.importers.onnx.reader import read_onnx

    warm_up(torch=path.suffix in (".pt", ".pth"))
    batches = said.get("batch", {})
    feed = inputs(path, said) if path.suffix == ".onnx" else {}
    row: dict[str, Any] = {"bytes": path.stat().st_size, "quantised": bool(said.get("quantised"))}
    if feed:
        # The yardstick, on the same machine in the same minute.
        start = process_time()
        session(str(path))
        row["onnxruntime_s"] = process_time() - start
    before, start = resident_mb(), process_time()
    try:
        network = read(path, feed, batches, said.get("numbers")) if feed else eie.load(path)
    except eie.EieError as error:
        print(json.dumps({**row, **asdict(Verdict(reason=str(error).removeprefix(f"{path}: ")))}))
        return
    row |= {"load_s": process_time() - start, "load_mb": peak_mb() - before}
    row |= {"weights": sum(math.prod(layer.geometry.dense_shape) for layer in network.layers)}
    row["constants"] = max(row["weights"], constants(path))
    row |= {"layers": len(network.layers), "unmodelled": list(network.unmodelled), "whole": False, "error": None}
    print(json.dumps(row), flush=True)

    def expanded() -> Any:
        shapes = FedShapes.of(batch_first(feed, batches))
        return read_onnx(path, "refuse", shapes, said.get("numbers")).proto

    if feed:
        row |= asdict(
            judged_network(network, feed=feed, answers=onnxruntime_answers(path, feed, expanded), batches=batches)
        )
    else:
        # A state dict: its layers, and nothing of what lies between them.
        row |= {"reason": "" if network.graph is None else "a graph"}
    print(json.dumps(row), flush=True)
    # Simulating is most of the time: a network of 20 G multiplications takes minutes.
    if row.get("products", 0) >= float(os.environ.get("ZOO_RUN", "inf")):
        return
    start = process_time()
    try:
        # Inputs that are constants of what was read are none of its own.
        inner = None if network.graph is None or not feed else as_taken(network, feed, batches)
        result = eie.simulate(network, inner, keep_outputs=False)
    except eie.EieError as error:
        print(json.dumps({**row, "reason": row["reason"] or f"does not run: {error}"}))
        return
    row |= {
        "run_s": process_time() - start,
        "run_mb": peak_mb() - before,
        "cycles": sum(x.cycles for x in result.layers),
    }
    print(json.dumps(row), flush=True)


def inputs(path: Path, said: Mapping[str, Any]) -> dict[str, np.ndarray]:
    """Draw inputs by name, as the file takes them."""
    rng, feed = np.random.default_rng(0), {}
    for entry in session(str(path)).get_inputs():
        sizes = said.get("shapes", {}).get(entry.name)
        if sizes is None:
            first = said.get("batch", {}).get(entry.name, 0)
            # An open size is a name or None.
            opened = [1 if axis == first else OPEN for axis in range(len(entry.shape))]
            sizes = [size if isinstance(size, int) and size > 0 else opened[i] for i, size in enumerate(entry.shape)]
        kind = KINDS.get(entry.type, np.float32)
        if entry.name in said.get("numbers", {}):
            feed[entry.name] = np.asarray(said["numbers"][entry.name], kind).reshape(sizes)
        elif kind is np.float32:
            feed[entry.name] = rng.standard_normal(sizes).astype(np.float32) * said.get("scale", 1)
        elif "mask" in entry.name:
            feed[entry.name] = np.ones(sizes, kind)
        else:
            feed[entry.name] = rng.integers(1, said.get("below", BELOW), sizes).astype(kind)
        if entry.name in said.get("below_each", {}):
            feed[entry.name] = rng.integers(0, said["below_each"][entry.name], sizes).astype(feed[entry.name].dtype)
    return feed


def warm_up(*, torch: bool) -> None:
    """Read a file of two layers with an operator for the host between them: what any reading loads is then loaded."""
    import onnx
    import onnx.reference
    from onnx import TensorProto, helper, numpy_helper

    if torch:
        import torch as _  # noqa: F401
    nodes = [helper.make_node(op, inputs, [out]) for op, inputs, out in WARM]
    ends = [helper.make_tensor_value_info(name, TensorProto.FLOAT, ["n", 2]) for name in ("x", "z")]
    weights = [numpy_helper.from_array(np.eye(2, dtype=np.float32), "w")]
    graph = helper.make_graph(nodes, "warm", ends[:1], ends[1:], weights)
    with TemporaryDirectory() as folder:
        file = Path(folder) / "warm.onnx"
        onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), str(file))
        eie.load(file)


def constants(path: Path) -> int:
    """Count the numbers that a file holds, those of tables and of Constant nodes among them."""
    if path.suffix != ".onnx":
        return sum(math.prod(shape) for shape in stored_shapes(path))
    import onnx

    graph = onnx.load(str(path), load_external_data=False).graph
    inside = [entry.t for node in graph.node for entry in node.attribute if entry.HasField("t")]
    return sum(math.prod(tensor.dims) for tensor in (*graph.initializer, *inside))


def stored_shapes(path: Path) -> list[tuple[int, ...]]:
    """Return the shapes of a state dict's tensors."""
    if path.suffix == ".safetensors":
        from safetensors import safe_open

        with safe_open(path, "np") as file:
            return [tuple(file.get_slice(name).get_shape()) for name in file.keys()]  # noqa: SIM118 - no mapping
    import torch

    waiting, shapes = [torch.load(path, map_location="meta", weights_only=True)], []
    while waiting:
        value = waiting.pop()
        waiting += value.values() if isinstance(value, Mapping) else ()
        shapes += [tuple(value.shape)] if isinstance(value, torch.Tensor) else []
    return shapes


def peak_mb() -> float:
    """Return the most memory this process has had since `resident_mb` was asked."""
    status = Path("/proc/self/status").read_text()
    return int(status.split("VmHWM:")[1].split()[0]) / 1024


def resident_mb() -> float:
    """Return the memory this process has now, and let the peak begin from it."""
    gc.collect()
    # What the allocator kept for later would be taken for what was there.
    ctypes.CDLL(None).malloc_trim(0)
    # Linux takes a 5 for that: what was built and thrown away before would hide what reading takes.
    Path("/proc/self/clear_refs").write_text("5")
    return peak_mb()


if __name__ == "__main__":
    main(Path(sys.argv[1]), json.loads(sys.argv[2]) if len(sys.argv) > 2 else {})
