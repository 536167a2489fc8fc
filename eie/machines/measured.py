"""The same layers on the computer at hand: onnxruntime or numpy's BLAS for dense weights, scipy for CSR and CSC.

Comes in: a `Workload`, or an ONNX file. Goes out: a `Baseline` with the machine's name and every run. scipy comes with
the ``compare`` extra, onnxruntime with ``onnx``. A layer's own weights are used where they are at hand, zeros in place;
else they are drawn. `timing` times, `noise` says what the times allow to be said.
"""

from __future__ import annotations

import os
import platform
from collections import Counter
from collections.abc import Callable, Collection, Hashable, Iterator, Sequence
from dataclasses import dataclass, fields, replace
from hashlib import sha256
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np
from numpy.typing import NDArray

from eie.errors import EieError
from eie.machines import dense_here, noise
from eie.machines.dense_here import Drawn
from eie.machines.records import WHOLE, Baseline, LayerCost, Machine
from eie.machines.timing import FIRST_RUNS, LAST_RUNS, LEAST_S, RUNS, timed
from eie.machines.workload import LayerWork, Workload

Storage = Literal["dense", "csr", "csc"]
# Where many products are timed, all of their runs together last no longer than this, as long as each still lasts
# thousands of looks at the clock.
ALL_S = 4.0
FLOOR_S = 2e-4
# Columns of a product that are timed: a wider one is done in blocks of so many, or no cache would hold its rows. Fewer
# columns do where they are multiplications enough for the call itself not to count: on six matrices a column took -3 to
# +27 % more time among 256 than among 1024.
WIDEST, NARROWEST = 1024, 256
ENOUGH = 1 << 21
SEED = 0
# Of weights that are timed in turns.
MOST_BYTES = 1 << 31


@dataclass(frozen=True)
class Task:
    """Layers to measure in one storage."""

    workload: Workload
    storage: Storage = "dense"
    batch: int = 1

    def __post_init__(self) -> None:
        if self.storage not in get_args(Storage):
            raise EieError(f"measured storage {self.storage!r}: must be dense, csr, csc or onnx")


def run(workload: Workload, storage: Storage = "dense", batch: int = 1, runs: int = RUNS) -> Baseline:
    """Measure every layer in float32; the time is the median of ``runs``, per sample.

    Dense layers run as onnxruntime's own operator on one thread, zeros in place; without the ``onnx`` extra, and in CSR
    and CSC, as products on numpy's BLAS and scipy, convolutions with their inputs unrolled beforehand. Activation
    sparsity is not used.

    Raises
    ------
    EieError
        For an unknown storage, or where scipy is missing.
    """
    return run_together([Task(workload, storage, batch)], runs)[0]


def run_together(tasks: Sequence[Task], runs: int = RUNS) -> list[Baseline]:
    """Measure several workloads or storages as `run` does, layer by layer in turns.

    A layer (by name) is timed in all tasks before the next one, one run of each after the other, so that what else the
    machine does meanwhile meets them all alike: ratios between them are steadier than the times. Large layers are timed
    in groups of at most 2 GiB of weights.
    """
    return _baselines(tasks, _samples_us(tasks, range(runs)))


def run_until_known(
    tasks: Sequence[Task],
    left_open: Callable[[list[Baseline]], Collection[int]],
    progress: Callable[[str], None] = lambda _: None,
) -> list[Baseline]:
    """Measure as `run_together` does, in fewer runs where they have told what was asked.

    Parameters
    ----------
    left_open
        Asked after `FIRST_RUNS`, with what they say: the places of those tasks that are to have all runs. Of where a
        median is, either look is `noise.CONFIDENCE` sure.
    progress
        Called with a line of text before each layer.
    """
    samples_us = _samples_us(tasks, range(FIRST_RUNS), progress)
    first = _baselines(tasks, samples_us)
    places = sorted(left_open(first))
    more = _samples_us([tasks[place] for place in places], range(FIRST_RUNS, LAST_RUNS), progress)
    for place, layers in zip(places, more, strict=True):
        pairs = zip(samples_us[place], layers, strict=True)
        samples_us[place] = [before + after for before, after in pairs]
    return _baselines(tasks, samples_us) if places else first


def _samples_us(
    tasks: Sequence[Task], turns: range, progress: Callable[[str], None] = lambda _: None
) -> list[list[tuple[float, ...]]]:
    """Return the microseconds a sample of each run, by task and layer."""
    products = sum(len(task.workload.layers) for task in tasks)
    least_s = min(LEAST_S, max(FLOOR_S, ALL_S / (RUNS * max(1, products))))
    samples_us: list[list[tuple[float, ...]]] = [[()] * len(task.workload.layers) for task in tasks]
    for group in _in_turns(tasks):
        place, i = group[0]
        again = " again" if turns.start else ""
        progress(f"measuring on this computer{again}, {len(group)} ways: {tasks[place].workload.layers[i].name}")
        for (place, i), runs_us in zip(group, _timed_group(tasks, group, turns, least_s=least_s), strict=True):
            samples_us[place][i] = runs_us
    return samples_us


def _timed_group(
    tasks: Sequence[Task], group: Sequence[tuple[int, int]], turns: range, *, least_s: float
) -> list[tuple[float, ...]]:
    """Return the microseconds a sample of each run of each product of a group.

    What is called is made here and gone with the group: weights of all layers together would not fit memory, and those
    of two groups are twice as much as those of one.
    """
    rng = np.random.default_rng(SEED)
    # Inputs are the same for all of one shape: drawing them anew for each took as long as multiplying by them.
    drawn: Drawn = {}
    # A layer that two forms have alike, to the weights, is one product: it runs once a turn, for both.
    same = [_content(tasks[place].workload.layers[i], tasks[place]) for place, i in group]
    calls = {
        key: _product(tasks[place].workload.layers[i], tasks[place], rng, drawn=drawn)
        for key, (place, i) in dict(zip(same, group, strict=True)).items()
    }
    samples_s = timed([call for call, _ in calls.values()], turns.stop, least_s, before=turns.start)
    samples_us = {
        key: tuple(run_s * times * 1e6 for run_s in seconds)
        for (key, (_, times)), seconds in zip(calls.items(), samples_s, strict=True)
    }
    return [samples_us[key] for key in same]


def _content(layer: LayerWork, task: Task) -> Hashable:
    """Return what two products must agree in to be the same product; drawn weights are like no others."""
    if layer.matrix is None:
        return object()
    digest = sha256()
    # Fields alone: what a matrix has worked out since says nothing of what it holds.
    for name in sorted(entry.name for entry in fields(layer.matrix)):
        value = getattr(layer.matrix, name)
        digest.update(f"{name} {getattr(value, 'dtype', value)}".encode())
        digest.update(np.ascontiguousarray(value).data)
    ran = layer.outputs, layer.inputs, layer.products, layer.steps, layer.groups, layer.uses, layer.geometry
    return task.storage, task.batch, ran, digest.digest()


def _in_turns(tasks: Sequence[Task]) -> Iterator[list[tuple[int, int]]]:
    """Group (task, layer) by the layer's name, no group holding more than `MOST_BYTES` of weights at a time."""
    by_name: dict[tuple[str, int], list[tuple[int, int]]] = {}
    for place, task in enumerate(tasks):
        seen: Counter[str] = Counter()
        for i, layer in enumerate(task.workload.layers):
            by_name.setdefault((layer.name, seen[layer.name]), []).append((place, i))
            seen[layer.name] += 1
    for members in by_name.values():
        group: list[tuple[int, int]] = []
        group_bytes = 0
        for place, i in members:
            layer, storage = tasks[place].workload.layers[i], tasks[place].storage
            # float32: an index beside each of sparse ones, and onnxruntime packs dense ones a second time.
            size = 8 * (layer.weights if storage == "dense" else layer.kept_weights)
            if group and group_bytes + size > MOST_BYTES:
                yield group
                group, group_bytes = [], 0
            group.append((place, i))
            group_bytes += size
        yield group


def _baselines(tasks: Sequence[Task], samples_us: Sequence[Sequence[tuple[float, ...]]]) -> list[Baseline]:
    return [_baseline(task, runs_us) for task, runs_us in zip(tasks, samples_us, strict=True)]


def _baseline(task: Task, samples_us: Sequence[tuple[float, ...]]) -> Baseline:
    library, how = _library(task.storage)
    layers = tuple(_cost(layer, task, runs) for layer, runs in zip(task.workload.layers, samples_us, strict=True))
    # Slow layers have fewer.
    runs = max(map(len, samples_us), default=0)
    notes = [f"measured here, {library}, {how}, median of {runs} runs taken in turns"]
    drawn = [layer.name for layer in task.workload.layers if layer.matrix is None]
    if drawn and task.storage != "dense":
        notes.append(f"weights drawn at the layer's density, since only that is known: {', '.join(drawn)}")
    return Baseline(_machine(f"measured {task.storage} b{task.batch}", library, task.batch), layers, tuple(notes))


def _library(storage: Storage) -> tuple[str, str]:
    """Return what measures, with its version, and on how many threads."""
    if storage != "dense":
        return f"scipy {_scipy().__version__}", "one thread, a convolution as a product with its inputs unrolled"
    if dense_here.has_onnxruntime():
        return dense_here.library(), "one thread, each layer as its own operator with its zeros in place"
    return f"numpy {np.__version__}", f"{os.environ.get('OPENBLAS_NUM_THREADS', 'all')} BLAS threads"


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
    feeds = {
        argument.name: _feed(path=path, argument=argument, batch=batch, rng=rng) for argument in session.get_inputs()
    }
    try:
        seconds = timed([lambda: session.run(None, feeds)], runs)[0]
    except Exception as error:
        raise EieError(f"{path}: onnxruntime cannot run it: {str(error).splitlines()[0]}") from None
    # A model file may hold any type: only the products above are known to be float32.
    machine = replace(
        _machine(f"measured onnxruntime b{batch}", f"onnxruntime {ort.__version__}", batch), weight_bits=None
    )
    note = (
        f"measured here, onnxruntime {ort.__version__}, as many threads as it takes, random inputs, median of {runs}; "
        "the model as a whole"
    )
    samples_us = tuple(run_s * 1e6 / batch for run_s in seconds)
    cost = LayerCost(layer=WHOLE, latency_us=noise.middle(samples_us), samples_us=samples_us)
    return Baseline(machine, (cost,), (note,))


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
    return Machine(
        name=name,
        how="measured",
        source=f"{cpu_name()}, {library}, {platform.system()}",
        batch=batch,
        dram=True,
        memory="own DRAM",
        weight_bits=32,
    )


def _product(
    layer: LayerWork,
    task: Task,
    rng: np.random.Generator,
    *,
    drawn: Drawn,
) -> tuple[Callable[[], Any], float]:
    """Return a call of the layer's product, and how often a sample needs it; ``drawn`` keeps inputs by shape."""
    if task.storage == "dense" and dense_here.has_onnxruntime():
        return dense_here.operator_call(layer, task.batch, rng, drawn=drawn)
    if task.storage == "dense":
        weights, times = _dense(layer, rng), layer.steps * layer.groups
    else:
        weights, times = _sparse(layer, task.storage, rng), layer.steps
    vectors = layer.products * task.batch
    stored = weights.size if task.storage == "dense" else weights.nnz
    widest = min(WIDEST, max(NARROWEST, ENOUGH // max(1, stored)))
    blocks = max(1.0, vectors / widest)
    x = dense_here.inputs_of((weights.shape[1], min(vectors, widest)), rng, drawn)
    # One vector as a vector: libraries have a routine of their own for it.
    if vectors == 1:
        x = x[:, 0]
    return lambda: weights @ x, times * blocks / task.batch


def _cost(layer: LayerWork, task: Task, samples_us: tuple[float, ...]) -> LayerCost:
    stored = layer.weights if task.storage == "dense" else 2 * layer.kept_weights
    values = layer.input_values + layer.output_values
    moved = 4 * (stored * layer.steps / task.batch + values)
    return LayerCost(
        layer=layer.name,
        latency_us=noise.middle(samples_us),
        bytes_moved=moved,
        shape=layer.shape,
        samples_us=samples_us,
    )


def _dense(layer: LayerWork, rng: np.random.Generator) -> Any:
    """Return the weights of one group: the layer's own if it has one group only, else drawn."""
    if layer.groups == 1 and (matrix := layer.columns) is not None:
        return matrix.dense().astype(np.float32, copy=False)
    return rng.standard_normal((layer.outputs, layer.inputs), np.float32)


def _sparse(layer: LayerWork, storage: Storage, rng: np.random.Generator) -> Any:
    """Return all groups in one matrix, block-diagonal as the layer holds it."""
    sparse = _scipy().sparse
    matrix = layer.columns
    if matrix is not None:
        # Codes are numbers too: the pattern decides the time, not the values.
        data = matrix.data.astype(np.float32)
        stored = sparse.csc_array((data, matrix.rows, matrix.starts.astype(np.int32)), shape=matrix.shape)
    else:
        blocks = [
            sparse.random_array((layer.outputs, layer.inputs), density=layer.weight_density, dtype=np.float32, rng=rng)
            for _ in range(layer.groups)
        ]
        stored = sparse.csc_array(sparse.block_diag(blocks))
    return stored.tocsr() if storage == "csr" else stored


def _scipy() -> Any:
    try:
        import scipy
        import scipy.sparse
    except ModuleNotFoundError:
        raise EieError("measured:csr and measured:csc need scipy: pip install 'eie[compare]'") from None
    return scipy


def _feed(path: str | Path, argument: Any, batch: int, rng: np.random.Generator) -> NDArray[Any]:
    """Draw an array for an input; an open first size is the batch."""
    first, *rest = argument.shape or [1]
    if any(not isinstance(size, int) for size in rest):
        raise EieError(f"{path}: input {argument.name!r} has shape {argument.shape}: only the first size may be open")
    if isinstance(first, int) and first != batch:
        raise EieError(
            f"{path}: input {argument.name!r} has shape {argument.shape}: its batch is fixed at {first}, not {batch}"
        )
    shape = (batch, *rest) if argument.shape else ()
    if "float" in argument.type:
        dtype = {"tensor(float)": np.float32, "tensor(double)": np.float64, "tensor(float16)": np.float16}[
            argument.type
        ]
        return rng.standard_normal(shape).astype(dtype)
    kinds = {"tensor(int64)": np.int64, "tensor(int32)": np.int32, "tensor(uint8)": np.uint8, "tensor(int8)": np.int8}
    if argument.type not in kinds:
        raise EieError(f"{path}: input {argument.name!r} is {argument.type}: only numbers can be drawn")
    # Indices most likely: zero is valid in any table.
    return np.zeros(shape, kinds[argument.type])
