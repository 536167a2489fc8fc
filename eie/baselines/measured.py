"""The same layers on the computer at hand: numpy's BLAS for dense weights, scipy for CSR and CSC, onnxruntime.

Comes in: a `Workload`, or an ONNX file. Goes out: a `Baseline` with the machine's name. scipy comes with the
``compare`` extra, onnxruntime with ``onnx``. Values do not change the time, so they are drawn where only the pattern is
known.
"""

from __future__ import annotations

import os
import platform
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import Any, Literal, get_args

import numpy as np
from numpy.typing import NDArray

from eie.baselines.records import WHOLE, Baseline, LayerCost, Machine
from eie.baselines.workload import LayerWork, Workload
from eie.errors import EieError

Storage = Literal["dense", "csr", "csc"]
RUNS = 7
LEAST_S = 2e-3
SEED = 0


def run(workload: Workload, storage: Storage = "dense", batch: int = 1, runs: int = RUNS) -> Baseline:
    """Measure every layer in float32; the time is the median of ``runs``, per sample.

    Convolutions are the product alone, their inputs being unrolled beforehand. Activation sparsity is not used.

    Raises
    ------
    EieError
        For an unknown storage, or where scipy is missing.
    """
    if storage not in get_args(Storage):
        raise EieError(f"measured storage {storage!r}: must be dense, csr, csc or onnx")
    rng = np.random.default_rng(SEED)
    layers = tuple(_layer(layer, storage, batch, runs, rng) for layer in workload.layers)
    library = f"numpy {np.__version__}" if storage == "dense" else f"scipy {_scipy().__version__}"
    notes = [
        f"measured here, {library}, {os.environ.get('OPENBLAS_NUM_THREADS', 'all')} BLAS threads, median of {runs}"
    ]
    drawn = [layer.name for layer in workload.layers if layer.matrix is None]
    if drawn and storage != "dense":
        notes.append(f"weights drawn at the layer's density, since only that is known: {', '.join(drawn)}")
    return Baseline(_machine(f"measured {storage} b{batch}", library, batch), layers, tuple(notes))


def run_onnx(path: str | Path, batch: int = 1, runs: int = RUNS) -> Baseline:
    """Measure a whole ONNX model on onnxruntime's CPU provider, with random inputs; one cost for all of it.

    Raises
    ------
    EieError
        If onnxruntime is missing, the file cannot be used, or an input has an open size other than its first.
    """
    try:
        import onnxruntime as ort
    except ModuleNotFoundError:
        raise EieError("measured:onnx needs onnxruntime: pip install 'eie[onnx]'") from None
    if not Path(path).is_file():
        raise EieError(f"{path}: cannot be read: no such file")
    try:
        session = ort.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    except Exception as error:  # onnxruntime's own exceptions share no other base
        reason = str(error).splitlines()[0]
        raise EieError(f"{path}: onnxruntime cannot use it: {reason}") from None
    rng = np.random.default_rng(SEED)
    feeds = {one.name: _feed(path, one, batch, rng) for one in session.get_inputs()}
    try:
        seconds = _median_s(lambda: session.run(None, feeds), runs)
    except Exception as error:
        raise EieError(f"{path}: onnxruntime cannot run it: {str(error).splitlines()[0]}") from None
    machine = _machine(f"measured onnxruntime b{batch}", f"onnxruntime {ort.__version__}", batch)
    note = f"measured here, onnxruntime {ort.__version__}, random inputs, median of {runs}; the model as a whole"
    return Baseline(machine, (LayerCost(WHOLE, seconds * 1e6 / batch),), (note,))


def cpu_name() -> str:
    """The processor's name, as the system gives it."""
    try:
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    except OSError:
        pass  # not Linux
    return platform.processor() or platform.machine()


def _machine(name: str, library: str, batch: int) -> Machine:
    return Machine(name, "measured", f"{cpu_name()}, {library}, {platform.system()}", batch=batch, dram=True)


def _layer(layer: LayerWork, storage: Storage, batch: int, runs: int, rng: np.random.Generator) -> LayerCost:
    vectors = layer.products * batch
    if storage == "dense":
        weights: Any = rng.standard_normal((layer.outputs, layer.inputs), np.float32)
        times = layer.steps * layer.groups
    else:
        weights, times = _sparse(layer, storage, rng), layer.steps
    x: NDArray[np.float32] = rng.standard_normal((weights.shape[1], vectors), np.float32)
    if vectors == 1:
        x = x[:, 0]
    seconds = _median_s(lambda: weights @ x, runs) * times / batch
    stored = layer.weights if storage == "dense" else 2 * layer.kept_weights
    values = layer.input_values + layer.output_values
    return LayerCost(
        layer.name, seconds * 1e6, bytes_moved=4 * (stored * layer.steps / batch + values), shape=layer.shape
    )


def _sparse(layer: LayerWork, storage: Storage, rng: np.random.Generator) -> Any:
    """Return all groups in one matrix, block-diagonal as the layer holds it."""
    sparse = _scipy().sparse
    if layer.matrix is not None:
        held = layer.matrix
        data = held.data.astype(np.float32)
        found = sparse.csc_array((data, held.rows, held.starts.astype(np.int32)), shape=held.shape)
    else:
        blocks = [
            sparse.random_array((layer.outputs, layer.inputs), density=layer.weight_density, dtype=np.float32, rng=rng)
            for _ in range(layer.groups)
        ]
        found = sparse.csc_array(sparse.block_diag(blocks))
    return found.tocsr() if storage == "csr" else found


def _scipy() -> Any:
    try:
        import scipy
        import scipy.sparse
    except ModuleNotFoundError:
        raise EieError("measured:csr and measured:csc need scipy: pip install 'eie[compare]'") from None
    return scipy


def _median_s(call: Callable[[], Any], runs: int) -> float:
    """Median seconds of one call, each run repeating it until the clock can tell."""
    call()
    start = time.perf_counter()
    call()
    repeats = max(1, round(LEAST_S / max(time.perf_counter() - start, 1e-7)))
    found = []
    for _ in range(runs):
        start = time.perf_counter()
        for _ in range(repeats):
            call()
        found.append((time.perf_counter() - start) / repeats)
    return median(found)


def _feed(path: str | Path, one: Any, batch: int, rng: np.random.Generator) -> NDArray[Any]:
    """Draw an array for an input; an open first size is the batch."""
    first, *rest = one.shape or [1]
    if any(not isinstance(size, int) for size in rest):
        raise EieError(f"{path}: input {one.name!r} has shape {one.shape}: only the first size may be open")
    if isinstance(first, int) and first != batch:
        raise EieError(f"{path}: input {one.name!r} has shape {one.shape}: its batch is fixed at {first}, not {batch}")
    shape = (batch, *rest) if one.shape else ()
    if "float" in one.type:
        dtype = {"tensor(float)": np.float32, "tensor(double)": np.float64, "tensor(float16)": np.float16}[one.type]
        return rng.standard_normal(shape).astype(dtype)
    kinds = {"tensor(int64)": np.int64, "tensor(int32)": np.int32, "tensor(uint8)": np.uint8, "tensor(int8)": np.int8}
    if one.type not in kinds:
        raise EieError(f"{path}: input {one.name!r} is {one.type}: only numbers can be drawn")
    return np.zeros(shape, kinds[one.type])
