"""The same numbers with ``axes`` in another order.

Takes one tensor; gives one of the same size.
"""

from __future__ import annotations

from collections.abc import Sequence

from eie.errors import ModelError
from eie.model.operators.from_onnx import Builder, OnnxNode, Value
from eie.model.operators.registry import Array, Attributes, Operator, register


def _compute(x: Sequence[Array], at: Attributes) -> Array:
    moved: Array = x[0].transpose(at["axes"])
    return moved


def _read(node: OnnxNode, into: Builder, x: Value) -> None:
    """Reorder the axes; where only the batch moves, nothing happens to a sample."""
    rank = len(x.shape)
    # Without perm, ONNX reverses all axes.
    order = [int(axis) for axis in node.attributes.get("perm", range(rank)[::-1])]
    if sorted(order) != list(range(rank)):
        raise ModelError(f"perm={order}: must reorder {rank} axes")
    batch = order.index(x.batch)
    # Ours keep the batch in front; only the order of the other axes is news to the graph.
    ours = (0, *(x.axis(axis) for axis in order if axis != x.batch))
    out = node.outputs[0]
    if ours == tuple(range(rank)):
        into.set(out, Value(x.name, tuple(x.shape[axis] for axis in order), batch))
    else:
        into.set(out, into.emit("transpose", [x], out, batch=batch, axes=ours))


register(
    Operator(
        name="transpose",
        compute=_compute,
        exact=True,
        shape=lambda shapes, at: tuple(shapes[0][axis] for axis in at["axes"]),
        onnx={"Transpose": _read},
    )
)
