"""One file of the zoo: read, compared with onnxruntime, run on the accelerator; how long and in how much memory.

Comes in: a path and what packages.toml says of it. Goes out: a line of JSON. Run by `run` as a process of its own, so
that its peak of memory is its own, and one that does not end can be ended: ``python -m zoo.measure FILE [JSON]``.
"""

from __future__ import annotations

import json
import os
import resource
import sys
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np

import eie
from eie.importers.options import FedShapes
from zoo.judge import Verdict, batch_first, judged_network, onnxruntime_answers, read, session

# By onnxruntime's words for types; all others are floats.
KINDS = {f"tensor({name})": kind for name, kind in (("int64", np.int64), ("int32", np.int32), ("bool", np.bool_))}
# What an open size other than the batch is, and the first number that an integer may not be, if nothing is stated.
OPEN, BELOW = 32, 32


def main(path: Path, said: Mapping[str, Any]) -> None:
    """Measure one file; a line when it is read, one when it was compared, one when it ran."""
    # Loaded before anything is measured: they are the reader's, not the model's.
    import onnxruntime  # noqa: F401

    from eie.importers.onnx.reader import read_onnx

    batches = said.get("batch", {})
    feed = inputs(path, said) if path.suffix == ".onnx" else {}
    row: dict[str, Any] = {"bytes": path.stat().st_size, "quantised": bool(said.get("quantised"))}
    before, start = peak_mb(), perf_counter()
    try:
        network = read(path, feed, batches, said.get("numbers")) if feed else eie.load(path)
    except eie.EieError as error:
        print(json.dumps({**row, **asdict(Verdict(reason=str(error).removeprefix(f"{path}: ")))}))
        return
    row |= {"load_s": perf_counter() - start, "load_mb": peak_mb() - before}
    row |= {"weights": sum(layer.matrix.shape[0] * layer.matrix.shape[1] for layer in network.layers)}
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
    # Inputs that are constants of what was read are none of its own.
    inner = {name: x for name, x in batch_first(feed, batches).items() if name not in said.get("numbers", {})}
    # For a look at what is whole: simulating is most of the time.
    if os.environ.get("ZOO_RUN") == "0":
        return
    start = perf_counter()
    try:
        result = eie.simulate(
            network,
            inner or None,
            keep_outputs=False,
        )
    except eie.EieError as error:
        print(json.dumps({**row, "reason": row["reason"] or f"does not run: {error}"}))
        return
    row |= {
        "run_s": perf_counter() - start,
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


def peak_mb() -> float:
    """Return the most memory this process has had so far."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


if __name__ == "__main__":
    main(Path(sys.argv[1]), json.loads(sys.argv[2]) if len(sys.argv) > 2 else {})
