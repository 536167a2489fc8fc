"""A whole network, batch-wise: every weight layer on both datapaths, the operators between them in numpy.

Comes in: a `Graph`, its encoded layers and its inputs. Goes out: each layer's inputs (for timing) and outputs, as they
come, and the network's outputs. Called by the run; nothing here knows time.

Fixed point: tensors between operators have ``data_bits`` bits and a format of their own, chosen so that the largest
magnitude met in the batch fits; operators that compute (average, add, sigmoid, ...) do so in float64 and round once.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal, TypeVar, get_args

import numpy as np
from numpy.typing import NDArray

from eie.compiler.encoded import EncodedLayer
from eie.errors import ModelError
from eie.model import host, operators
from eie.model.geometry import Recurrent
from eie.model.graph import Graph, Node
from eie.model.layer_trace import LayerTrace
from eie.model.matrix import frozen
from eie.simulator.agreement import Agree
from eie.simulator.functional import FixedPoint, LayerOutputs, Rows, slices
from eie.simulator.host import Beside, activation, run_host
from eie.simulator.products import multiply
from eie.simulator.recurrence import run_recurrent

Datapath = Literal["fixed", "float32", "none"]
DATAPATHS = get_args(Datapath)
Value = TypeVar("Value")


@dataclass(frozen=True, eq=False)
class Tensor:
    """One tensor on both datapaths, batch first."""

    fixed: FixedPoint
    float32: NDArray[np.float32]

    @classmethod
    def of(cls, values: NDArray[Any], data_bits: int, largest: float = 0.0, agree: Agree = float) -> Tensor:
        """Quantise real numbers in a format that also holds ``largest``."""
        float32 = np.asarray(values, np.float32)
        return cls(FixedPoint.quantise(float32, data_bits, largest, agree=agree), float32)

    def reshape(self, *shape: int) -> Tensor:
        """Return the same numbers in another shape."""
        return Tensor(FixedPoint(self.fixed.raw.reshape(shape), self.fixed.fraction_bits), self.float32.reshape(shape))

    def moveaxis(self, source: int, target: int) -> Tensor:
        """Return the same numbers with one axis elsewhere."""
        raw = np.moveaxis(self.fixed.raw, source, target)
        return Tensor(FixedPoint(raw, self.fixed.fraction_bits), np.moveaxis(self.float32, source, target))


Made = Tensor | Beside
Ran = Callable[[str, LayerTrace, LayerOutputs], None]
_RanUse = Callable[[LayerTrace, LayerOutputs], None]


@dataclass(frozen=True, kw_only=True)
class Settings:
    """How a network is run: number width, whose zeros the layers see, whether values are kept, worker threads.

    ``agree`` says how large the largest magnitude of all samples is, where a part of them is run.
    With the datapath ``"none"`` nothing is computed, so no layer can feed another.
    """

    data_bits: int
    datapath: Datapath = "fixed"
    keep_values: bool = False
    threads: int | None = None
    agree: Agree = float


def run_network(
    graph: Graph, layers: Mapping[str, EncodedLayer], inputs: Mapping[str, NDArray[Any]], settings: Settings, ran: Ran
) -> tuple[Tensor, ...]:
    """Run a graph on a batch.

    Parameters
    ----------
    layers
        By name.
    inputs
        For each graph input (N, *shape).
    ran
        Called after every use of a weight layer as ``ran(use, inputs, outputs)``, by the names of `Graph.uses` and in
        their order. Outputs are
        in the layer's own shape: (N, out, oh, ow) of a convolution, (N, T, hidden) of an LSTM.

    Returns
    -------
    tuple of Tensor
        The graph's outputs.

    Raises
    ------
    ModelError
        For an unknown operator, or shapes that do not fit; names the node.
    """
    started: dict[str, Made | NDArray[Any]] = {
        # Ids and switches stay plain arrays: as fixed-point numbers they would be others.
        name: np.asarray(inputs[name], graph.type_of(name))
        if name in graph.types
        else Tensor.of(
            inputs[name], settings.data_bits, float(_feeds_a_bias(graph, layers, name)), agree=settings.agree
        )
        for name, _ in graph.inputs
    }

    def run(node: Node, values: Sequence[Made | NDArray[Any]]) -> tuple[Made, ...]:
        if node.op == host.OP:
            return _run_host(node, values, settings)
        tensors = [_tensor(value, settings) for value in values]
        if node.layer is None:
            return (_operate(node=node, values=values, tensors=tensors, settings=settings),)
        use = graph.use_of[node.name]
        return _run_layer(
            node=node,
            layer=layers[node.layer],
            tensors=tensors,
            settings=settings,
            ran=lambda inputs, outputs: ran(use, inputs, outputs),
        )

    made = walk(graph=graph, started=started, run=run)
    return tuple(_tensor(value, settings) for value in made)


def walk(
    graph: Graph,
    started: Mapping[str, Value],
    run: Callable[[Node, Sequence[Value | NDArray[Any]]], Sequence[Value]],
) -> tuple[Value | NDArray[Any], ...]:
    """Run the nodes in order and let go of every tensor after its last use; a constant is handed out as it is."""
    values: dict[str, Value | NDArray[Any]] = {**graph.constants, **started}
    uses = Counter(name for node in graph.nodes for name in node.inputs) + Counter(graph.outputs)
    for node in graph.nodes:
        made = run(node, [values[name] for name in node.inputs])
        if len(made) < len(node.outputs):
            raise ModelError(f"node {node.name!r} ({node.op}): makes {len(made)} outputs, not {len(node.outputs)}")
        for name in node.inputs:
            uses[name] -= 1
            if not uses[name]:
                del values[name]
        values.update((name, value) for name, value in zip(node.outputs, made, strict=False) if uses[name])
    return tuple(values[name] for name in graph.outputs)


def _feeds_a_bias(graph: Graph, layers: Mapping[str, EncodedLayer], name: str) -> bool:
    return any(node.layer is not None and layers[node.layer].has_bias for node in graph.nodes if name in node.inputs)


def _tensor(value: Made | NDArray[Any], settings: Settings) -> Tensor:
    """Return what an operator or a layer reads; constants and what stays on the host are quantised for it."""
    if isinstance(value, Beside):
        quantised = FixedPoint.quantise(value.fixed, settings.data_bits, agree=settings.agree)
        return Tensor(quantised, np.asarray(value.float32, np.float32))
    return value if isinstance(value, Tensor) else Tensor.of(value, settings.data_bits)


def _run_host(node: Node, values: Sequence[Made | NDArray[Any]], settings: Settings) -> tuple[Made, ...]:
    made: list[Made] = []
    runs = run_host(node, [_pair(value) for value in values])
    for name, plain, (fixed, real) in zip(node.outputs, node.attributes["plain"], runs, strict=True):
        if plain:
            made.append(Beside(fixed, real))
            continue
        quantised = FixedPoint.quantise(activation(node, name, fixed), settings.data_bits, agree=settings.agree)
        made.append(Tensor(quantised, activation(node, name, real)))
    return tuple(made)


def _pair(value: Made | NDArray[Any]) -> tuple[NDArray[Any], NDArray[Any]]:
    if isinstance(value, Tensor):
        return value.fixed.exact_value, value.float32
    return (value.fixed, value.float32) if isinstance(value, Beside) else (value, value)


def _operate(
    node: Node, values: Sequence[Made | NDArray[Any]], tensors: Sequence[Tensor], settings: Settings
) -> Tensor:
    def result(inputs: Sequence[NDArray[Any]]) -> NDArray[Any]:
        return operators.apply(name=node.name, op=node.op, inputs=inputs, attributes=node.attributes)

    # Constants enter a computation as they are; only results are rounded.
    floats = [
        value.float32 if isinstance(value, Tensor) else np.asarray(_pair(value)[1], np.float32) for value in values
    ]
    float32 = np.asarray(result(floats), np.float32)
    operator = operators.find(node.op)
    if operator is not None and operator.exact:
        first = tensors[0].fixed
        return Tensor(FixedPoint(result([first.raw]), first.fraction_bits), float32)
    exact = [np.asarray(_pair(value)[0], np.float64) for value in values]
    return Tensor(FixedPoint.quantise(result(exact), settings.data_bits, agree=settings.agree), float32)


def _run_layer(
    node: Node, layer: EncodedLayer, tensors: Sequence[Tensor], settings: Settings, ran: _RanUse
) -> tuple[Tensor, ...]:
    recurrence = layer.geometry.recurrence
    try:
        if recurrence is None:
            # Without a state to begin from there is nothing that a second input could be.
            if len(tensors) != 1:
                raise ModelError(f"takes one input, the graph gives it {len(tensors)}")
            (x,) = tensors
            return (_run_at_once(node=node, layer=layer, x=x, settings=settings, ran=ran),)
        return _run_recurrent(
            node=node, layer=layer, recurrence=recurrence, tensors=tensors, settings=settings, ran=ran
        )
    except (ModelError, ValueError, IndexError, TypeError) as error:  # the node's attributes come from a file
        raise ModelError(f"node {node.name!r}, layer {layer.name!r}: {error}") from None


def _run_at_once(node: Node, layer: EncodedLayer, x: Tensor, settings: Settings, ran: _RanUse) -> Tensor:
    """Run a layer all of whose rows can be made of its input."""
    geometry, axis = layer.geometry, node.attributes.get("batch_axis", 0)
    x = x.moveaxis(axis, 0)
    fixed = x.fixed.with_room_for(float(layer.has_bias), settings.data_bits)
    raw, real = geometry.windows(fixed.raw), geometry.windows(x.float32)
    n, size = len(x.float32), geometry.output_size(*geometry.sizes(x.float32.shape))
    rows = Rows(
        count=geometry.rows(raw),
        fixed=lambda start, stop: geometry.unroll(raw, start, stop),
        float32=lambda start, stop: geometry.unroll(real, start, stop),
        fraction_bits=fixed.fraction_bits,
    )
    if geometry.transforms:
        rows = _narrowed(rows, layer.inputs, settings)
    sums = multiply(
        layer=layer, rows=rows, data_bits=settings.data_bits, threads=settings.threads, agree=settings.agree
    )
    folded, density = FixedPoint(geometry.fold(sums.fixed.raw, n, size), sums.fixed.fraction_bits), None
    if geometry.transforms:
        folded = _narrow(folded, settings)
        density = float(np.count_nonzero(fixed.raw) / fixed.raw.size)
    real_map = geometry.fold(sums.float32, n, size)
    outputs = sums.outputs(folded, real_map, relu=layer.relu, map_density=density)
    made = Tensor(outputs.fixed, outputs.float32).moveaxis(0, axis)
    if geometry.takes_vectors:
        # Shown as the list of vectors that they are, whatever axes the graph has around them.
        flat = Tensor(outputs.fixed, outputs.float32).reshape(-1, layer.outputs)
        outputs = replace(outputs, fixed=flat.fixed, float32=flat.float32)
    if not settings.keep_values and not geometry.transforms:
        # Only what is zero is asked for: a byte a number is unrolled in an eighth of the time of eight.
        active = geometry.windows((fixed.raw if settings.datapath == "fixed" else x.float32) != 0)
        pattern = lambda start, stop: geometry.unroll(active, start, stop)  # noqa: E731
        rows = replace(rows, fixed=pattern, float32=pattern)
    read = seen(rows=rows, width=layer.inputs, products=rows.count // n, settings=settings)
    ran(replace(read, size=geometry.sizes(x.float32.shape)), outputs)
    return made


def _run_recurrent(
    node: Node,
    layer: EncodedLayer,
    recurrence: Recurrent,
    tensors: Sequence[Tensor],
    settings: Settings,
    ran: _RanUse,
) -> tuple[Tensor, ...]:
    axis = node.attributes.get("batch_axis", 0)
    x = tensors[0].moveaxis(axis, 0)
    state = [tensor.float32 for tensor in tensors[1:]]
    run = run_recurrent(
        layer=layer,
        recurrence=recurrence,
        fixed_x=x.fixed,
        float_x=x.float32,
        state=state,
        data_bits=settings.data_bits,
        agree=settings.agree,
    )
    ran(seen(rows=run.rows, width=layer.inputs, products=x.float32.shape[1], settings=settings), run.outputs)
    made = Tensor(run.outputs.fixed, run.outputs.float32).moveaxis(0, axis)
    return (made, *(Tensor(fixed, float32) for fixed, float32 in run.last))


def unrolled(layer: EncodedLayer, x: NDArray[np.float32]) -> LayerTrace:
    """Record which inputs of a layer's products are non-zero, without computing it; ``x`` is its input, batch first."""
    geometry = layer.geometry
    windows = geometry.windows(x)
    count = geometry.rows(windows)
    real = lambda start, stop: geometry.unroll(windows, start, stop)  # noqa: E731
    read = seen(
        rows=Rows(count=count, fixed=real, float32=real, fraction_bits=0),
        width=layer.inputs,
        products=count // len(x),
        settings=Settings(data_bits=0, datapath="float32"),
    )
    return replace(read, size=geometry.sizes(x.shape))


def _narrowed(rows: Rows, width: int, settings: Settings) -> Rows:
    """Sums of inputs need more bits than inputs: shift all rows right until the largest fits again."""
    largest = 0
    for start, stop in slices(rows.count, width):
        largest = max(largest, int(np.abs(rows.fixed(start, stop)).max(initial=0)))
    lost = _excess(int(settings.agree(largest)), settings.data_bits)
    if not lost:
        return rows
    half = 1 << (lost - 1)
    return replace(
        rows,
        fixed=lambda start, stop: (rows.fixed(start, stop) + half) >> lost,
        fraction_bits=rows.fraction_bits - lost,
    )


def _narrow(numbers: FixedPoint, settings: Settings) -> FixedPoint:
    lost = _excess(int(settings.agree(int(np.abs(numbers.raw).max(initial=0)))), settings.data_bits)
    return FixedPoint((numbers.raw + (1 << (lost - 1))) >> lost, numbers.fraction_bits - lost) if lost else numbers


def _excess(largest: int, data_bits: int) -> int:
    """Bits to drop, rounding halves up, so that ``largest`` fits."""
    lost = 0
    while (largest + (1 << lost >> 1)) >> lost >= 1 << (data_bits - 1):
        lost += 1
    return lost


def seen(rows: Rows, width: int, products: int, settings: Settings) -> LayerTrace:
    """Record which inputs of a layer are non-zero on the chosen datapath, and their values if they are kept."""
    bits = np.empty((rows.count, -(-width // 8)), np.uint8)
    values: list[NDArray[np.float32]] = []
    for start, stop in slices(rows.count, width):
        part: NDArray[Any] = rows.fixed(start, stop) if settings.datapath == "fixed" else rows.float32(start, stop)
        bits[start:stop] = np.packbits(part != 0, axis=1)
        if settings.keep_values:
            kept = part[part != 0]
            scale = -rows.fraction_bits if settings.datapath == "fixed" else 0
            values.append(np.ldexp(kept.astype(np.float32), scale))
    kept_values = frozen(np.concatenate(values), np.float32) if settings.keep_values else None
    return LayerTrace(width=width, bits=frozen(bits, np.uint8), values=kept_values, products=products)
