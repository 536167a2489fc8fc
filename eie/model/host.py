"""What a host computes beside the accelerator: parts of an ONNX file that lie between weight layers.

Comes in: a node ``host`` of a graph, the bytes of its sub-model and arrays. Goes out: arrays. Read by the interpreter
and by the ONNX reader, which makes such nodes.

A part's first input is the constant that holds the sub-model (uint8), the others are tensors in the sub-model's order.
Its attributes:

- ``engine``: ``"onnxruntime"``, or ``"reference"`` for operators that onnxruntime has no kernel for;
- ``batch``: for each of those inputs the axis that the sub-model has and a sample has not; `WHOLE` where a sample is
  all of the tensor, `CONSTANT` where it is the same for all samples;
- ``made``: the same for each output;
- ``plain``: for each output whether it stays on the host, in its own type: it never has a fixed-point format;
- ``shapes``: of each output, of one sample;
- ``operators``: pairs of an operator's name and how many there are;
- ``products``: triples of an operator that multiplies two activations, how many, and multiplications for one sample.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import lru_cache, partial
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from eie.errors import ModelError
from eie.model.graph import Graph, Node
from eie.show.brief import Brief

if TYPE_CHECKING:
    import onnx
    import onnxruntime

OP = "host"
WHOLE, CONSTANT = -1, -2
ENGINES = ("onnxruntime", "reference")
# Large tensors are constants of the graph; what is left are nodes and shapes.
LARGEST_PART = 64 << 20
LARGEST_NODES = 50_000
# Of onnxruntime's own domains; whatever else there is would be looked up in libraries of the user.
_DOMAINS = frozenset(("", "ai.onnx", "ai.onnx.ml", "com.microsoft"))
# Those that hand over to another program or to a file that they name.
_FOREIGN = frozenset(("ATen", "EPContext", "PythonOp", "PythonOpGrad", "TritonOp", "TorchEmbedding"))
# Whatever an operator written in Python raises on numbers that it does not like.
_PYTHON = (ArithmeticError, AttributeError, LookupError, RuntimeError, TypeError, ValueError)
# Sessions kept open: each holds little but its nodes.
_OPEN = 256

Array = NDArray[Any]


def is_known(domain: str, op_type: str) -> bool:
    """Whether an operator is of ONNX's or onnxruntime's own, and stays within the process."""
    return domain in _DOMAINS and op_type not in _FOREIGN


class NoKernelError(ModelError):
    """onnxruntime has no kernel for a node of a part; ``node`` is its name there."""

    def __init__(self, text: str, node: str) -> None:
        super().__init__(text)
        self.node = node


@dataclass(frozen=True, kw_only=True, repr=False)
class HostWork(Brief):
    """What all parts of a network do, for one sample; nothing of it runs on the accelerator.

    Attributes
    ----------
    operators
        How many there are of each kind.
    products
        Operators that multiply two activations, by kind.
    multiplications
        Of those.
    """

    operators: Mapping[str, int]
    products: Mapping[str, int]
    multiplications: int


def work_lines(work: HostWork | None) -> tuple[str, ...]:
    """Say in a line each what the host computes, and which products of two activations are among it."""
    if work is None:
        return ()
    lines = [f"host, not on the accelerator: {counted(work.operators)}"]
    if work.products:
        many = f"{work.multiplications:,} multiplications a sample"
        lines.append(f"products of two activations, not on the accelerator: {counted(work.products)}, {many}")
    return tuple(lines)


def counted(counts: Mapping[str, int]) -> str:
    """Return operators in words, the most frequent first."""
    ordered = sorted(counts.items(), key=lambda item: (-item[1], item[0]))
    return ", ".join(f"{count} {name}" for name, count in ordered)


def host_work(graph: Graph | None) -> HostWork | None:
    """Add up what the parts of a graph do; None where it has none."""
    parts = [] if graph is None else [node for node in graph.nodes if node.op == OP]
    if not parts:
        return None
    operators: dict[str, int] = {}
    products: dict[str, int] = {}
    multiplications = 0
    for node in parts:
        for name, count in node.attributes["operators"]:
            operators[name] = operators.get(name, 0) + count
        for name, count, many in node.attributes["products"]:
            products[name] = products.get(name, 0) + count
            multiplications += many
    return HostWork(operators=operators, products=products, multiplications=multiplications)


def run_part(node: Node, values: Sequence[Array]) -> list[Array]:
    """Run a part on a batch: constants as they are, all others (N, ...); outputs (N, ...).

    Raises
    ------
    ModelError
        If the sub-model is damaged or unsafe, cannot be run, or makes other shapes than the graph says.
    """
    where = f"node {node.name!r} (host)"
    try:
        content = values[0].tobytes()
        places, made = node.attributes["batch"], node.attributes["made"]
        part = opened(content, str(node.attributes["engine"]), where)
        inputs = list(zip(values[1:], places, strict=True))
        samples = next((len(value) for value, place in inputs if place != CONSTANT), 1)
        runs = [part([_of_sample(value, place, i) for value, place in inputs]) for i in range(samples)]
        shapes = [tuple(shape) for shape in node.attributes["shapes"]]
        results = []
        for k, (place, shape) in enumerate(zip(made, shapes, strict=True)):
            outputs = [run[k] if place < 0 else run[k].reshape(_without(run[k].shape, place)) for run in runs]
            if wrong := next((output.shape for output in outputs if output.shape != shape), None):
                raise ModelError(f"{where}: its output {node.outputs[k]!r} has shape {wrong}: must be {shape}")
            results.append(np.stack(outputs))
    # The node's attributes come from a file.
    except (KeyError, ValueError, TypeError, IndexError, AttributeError) as error:
        raise ModelError(f"{where}: {(str(error).splitlines() or ['damaged'])[0][:200]}") from None
    return results


def _of_sample(value: Array, place: int, i: int) -> Array:
    if place == CONSTANT:
        return value
    return value[i] if place == WHOLE else np.expand_dims(value[i], place)


def _without(shape: tuple[int, ...], place: int) -> tuple[int, ...]:
    if shape[place] != 1:
        raise ValueError(f"an output of shape {shape} has no axis of one sample at {place}")
    return shape[:place] + shape[place + 1 :]


Part = Callable[[Sequence[Array]], list[Array]]


@lru_cache(maxsize=_OPEN)
def opened(content: bytes, engine: str, where: str) -> Part:
    """Return a sub-model, ready to run.

    Raises
    ------
    NoKernelError
        If onnxruntime has no kernel for a node.
    ModelError
        If it is damaged or unsafe, or the onnx extra is missing.
    """
    return _opened(content, engine, where, brief=False)


def opened_briefly(content: bytes, engine: str, where: str) -> Part:
    """As `opened`, for a few runs: it is not kept, and takes the memory of a run in a piece that goes with it.

    Raises
    ------
    NoKernelError
        As `opened` does.
    ModelError
        As `opened` does.
    """
    return _opened(content, engine, where, brief=True)


def _opened(content: bytes, engine: str, where: str, *, brief: bool) -> Part:
    model = _parsed(content, where)
    if engine not in ENGINES:
        raise ModelError(f"{where}: engine {engine!r}: must be {' or '.join(ENGINES)}")
    return _session(model, content, where, brief=brief) if engine == "onnxruntime" else _reference(model, where)


def check_extra(where: str) -> None:
    """Say in one line what is missing, before anything is tried that would fail for want of it.

    Raises
    ------
    ModelError
        Without onnx or onnxruntime.
    """
    try:
        import onnx  # noqa: F401
        import onnxruntime  # noqa: F401
        from google.protobuf import message  # noqa: F401
    except ImportError:
        needs = "what lies between the layers needs the onnx extra: pip install 'eie[onnx]'"
        raise ModelError(f"{where}: {needs}") from None


def _parsed(content: bytes, where: str) -> onnx.ModelProto:
    check_extra(where)
    import onnx
    from google.protobuf.message import DecodeError

    if len(content) > LARGEST_PART:
        raise ModelError(f"{where}: a sub-model of {len(content):,} bytes: at most {LARGEST_PART:,}")
    try:
        model: onnx.ModelProto = onnx.ModelProto.FromString(content)
    except (DecodeError, ValueError):
        raise ModelError(f"{where}: damaged sub-model") from None
    if model.functions or model.metadata_props or model.training_info or not model.graph.node:
        raise ModelError(f"{where}: not a part that eie writes: it has functions, metadata, training or no nodes")
    count = _check(model.graph, where)
    if count > LARGEST_NODES:
        raise ModelError(f"{where}: {count:,} nodes: at most {LARGEST_NODES:,}")
    return model


def _check(graph: onnx.GraphProto, where: str) -> int:
    """Count the nodes of a graph and its bodies; ModelError for what would leave the process or the file."""
    tensors = list(graph.initializer)
    tensors += [part for sparse in graph.sparse_initializer for part in (sparse.values, sparse.indices)]
    count = len(graph.node)
    for node in graph.node:
        if not is_known(node.domain, node.op_type):
            named = f"{node.domain}.{node.op_type}"
            raise ModelError(f"{where}: {named[:200]!r}: only operators of ONNX and onnxruntime are run")
        for entry in node.attribute:
            sparse = (entry.sparse_tensor, *entry.sparse_tensors)
            tensors += [entry.t, *entry.tensors, *(part for both in sparse for part in (both.values, both.indices))]
            count += sum(_check(body, where) for body in (entry.g, *entry.graphs))
    if any(tensor.external_data or tensor.data_location for tensor in tensors):
        raise ModelError(f"{where}: a tensor outside of its file: that is not followed")
    return count


def open_session(content: bytes, *, threads: int = 0, brief: bool = False) -> onnxruntime.InferenceSession:
    """Open a session that runs what a model says; of 0 ``threads`` onnxruntime takes as many as it likes.

    One that is ``brief`` is run a few times and closed.

    From bytes: it then knows no folder, and follows nothing out of the file. Raises whatever onnxruntime raises.
    """
    import onnxruntime

    options: Any = onnxruntime.SessionOptions()
    # Fatal only: what fails is raised anyway, and nobody here can mend what it warns of.
    options.log_severity_level = 4
    # Operator by operator: fusions would round differently.
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.intra_op_num_threads = options.inter_op_num_threads = threads
    # What a run needed goes back when it is over: the arena keeps the most that there ever was. Of a session that is
    # closed soon that is less than what single pieces leave in the heap.
    options.enable_cpu_mem_arena, options.enable_mem_pattern = brief, False
    return onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])


def run_stoppably(session: onnxruntime.InferenceSession, names: Sequence[str] | None, feeds: Mapping[str, Any]) -> Any:
    """Run a session so that Ctrl-C ends it: a Loop may go round for ever, and a signal waits for what is no Python."""
    import onnxruntime

    options = onnxruntime.RunOptions()
    with ThreadPoolExecutor(1) as aside:
        try:
            return aside.submit(partial(session.run, names, feeds, run_options=options)).result()
        finally:
            # Of a run that is over it means nothing; of one that was left, its next node is the last.
            options.terminate = True


def _goes_round(graph: onnx.GraphProto) -> bool:
    bodies = [body for node in graph.node for entry in node.attribute for body in (entry.g, *entry.graphs)]
    return any(node.op_type in ("Loop", "Scan") for node in graph.node) or any(map(_goes_round, bodies))


def _session(model: onnx.ModelProto, content: bytes, where: str, *, brief: bool) -> Part:
    try:
        # On one thread: the same numbers on every machine.
        session = open_session(content, threads=1, brief=brief)
    # onnxruntime's exceptions share no base class but Exception.
    except Exception as error:
        text = _said(error)
        if "Could not find an implementation" in text or "NOT_IMPLEMENTED" in text:
            raise NoKernelError(f"{where}: onnxruntime cannot load it: {text}", _named(text, model)) from None
        raise ModelError(f"{where}: onnxruntime cannot load it: {text}") from None
    kinds, names = _kinds(model), [entry.name for entry in model.graph.input]
    # All else ends; a thread for each run would be most of a short one.
    calls = partial(run_stoppably, session) if _goes_round(model.graph) else session.run

    def run(values: Sequence[Array]) -> list[Array]:
        feeds = {name: np.asarray(value, kinds[name], order="C") for name, value in zip(names, values, strict=True)}
        try:
            return list(map(np.asarray, calls(None, feeds)))
        except Exception as error:
            raise ModelError(f"{where}: onnxruntime cannot run it: {_said(error)}") from None

    return run


def _reference(model: onnx.ModelProto, where: str) -> Part:
    from onnx.reference import ReferenceEvaluator

    try:
        evaluator = ReferenceEvaluator(model)
    except (NotImplementedError, RuntimeError, ValueError, TypeError) as error:
        raise ModelError(f"{where}: neither onnxruntime nor onnx's reference runs it: {_said(error)}") from None
    kinds, names = _kinds(model), [entry.name for entry in model.graph.input]

    def run(values: Sequence[Array]) -> list[Array]:
        feeds = {name: np.asarray(value, kinds[name]) for name, value in zip(names, values, strict=True)}
        try:
            return list(map(np.asarray, evaluator.run(None, feeds)))
        except _PYTHON as error:
            raise ModelError(f"{where}: onnx's reference cannot run it: {_said(error)}") from None

    return run


def _kinds(model: onnx.ModelProto) -> dict[str, np.dtype[Any]]:
    from onnx import helper

    return {
        entry.name: np.dtype(helper.tensor_dtype_to_np_dtype(entry.type.tensor_type.elem_type))
        for entry in model.graph.input
    }


def _named(text: str, model: onnx.ModelProto) -> str:
    """Return which node an error of onnxruntime's is about; the first if it names none."""
    quoted = text.split("'")[1::2]
    return str(next((node.name for node in model.graph.node if node.name in quoted), model.graph.node[0].name))


def _said(error: BaseException) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0][:240]
