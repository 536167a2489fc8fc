"""How large every tensor of a network is, a sample: what a memory plan needs to know before anything runs.

Comes in: a graph, the geometries of its layers, the shapes of its inputs. Goes out: a shape by tensor, the batch in
front and 1. Read by `eie.compiler.lifetimes`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from eie.errors import ModelError
from eie.model import host, operators
from eie.model.geometry import Geometry
from eie.model.graph import Graph, Node

Shape = tuple[int, ...]
Shapes = Mapping[str, Shape]


def tensor_shapes(graph: Graph, geometries: Mapping[str, Geometry], inputs: Shapes) -> dict[str, Shape]:
    """Return the shape of every tensor that nodes read or make, for one sample.

    Parameters
    ----------
    geometries
        By layer.
    inputs
        Shape of one sample of each graph input, where it is known better than the graph states it.

    Raises
    ------
    ModelError
        If a size is open, or an operator has no rule for its shape; says which.
    """
    shapes: dict[str, Shape] = {name: tuple(array.shape) for name, array in graph.constants.items()}
    for name, stated in graph.inputs:
        shape = tuple(inputs.get(name, stated))
        if -1 in shape:
            raise ModelError(f"the size of input {name!r} is open")
        shapes[name] = (1, *shape)
    for node in graph.nodes:
        try:
            _add(node, shapes, geometries)
        # Attributes come from files: what a rule cannot work with is no reason to stop a run, only to plan without it.
        except (ModelError, ValueError, TypeError, IndexError, KeyError, ArithmeticError) as error:
            raise ModelError(f"the size of {node.name!r} is not known: {error}") from None
    return shapes


def _add(node: Node, shapes: dict[str, Shape], geometries: Mapping[str, Geometry]) -> None:
    known = [shapes[name] for name in node.inputs]
    if node.layer is not None:
        geometry = geometries[node.layer]
        made = _of_layer(geometry, known[0], node.attributes.get("batch_axis", 0))
        shapes[node.outputs[0]] = made
        # The state after the last step: as many numbers as a step gives.
        shapes.update(dict.fromkeys(node.outputs[1:], (1, geometry.channels[0])))
        return
    if node.op == host.OP:
        # Stated, since nobody here knows ONNX's rules.
        shapes.update((name, (1, *made)) for name, made in zip(node.outputs, node.attributes["shapes"], strict=True))
        return
    operator = operators.find(node.op)
    if operator is None:
        raise ModelError(f"operator {node.op!r} is not supported")
    shapes[node.outputs[0]] = tuple(int(size) for size in operator.shape(known, node.attributes))


def _of_layer(geometry: Geometry, shape: Shape, axis: int) -> Shape:
    """Shape of a layer's output; ``axis`` is where its input has the batch."""
    first = _moved(shape, axis, 0)
    return _moved(geometry.output_shape(first), 0, axis)


def _moved(shape: Sequence[int], source: int, target: int) -> Shape:
    sizes = list(shape)
    sizes.insert(target, sizes.pop(source))
    return tuple(sizes)


def batch_first(shape: Shape, axis: int) -> Shape:
    """Return a layer's input shape with the batch in front."""
    return _moved(shape, axis, 0)
