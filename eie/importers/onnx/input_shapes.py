"""Sizes that a file leaves open, by what is said of them: one shape, shapes by name, arrays about to be fed.

Comes in: the inputs of a file, and `AnyShape`. Goes out: the shape of one sample for each input that something is
said of. Read by `reader`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from eie.errors import ModelError
from eie.importers.options import AnyShape, FedShapes

Sizes = tuple[int | None, ...]
Shape = tuple[int, ...]


def only_open(sizes: Sequence[int | None]) -> int:
    """Return the batch axis: the first, unless that has a size and a later one is the only one that has none."""
    later = [axis for axis, size in enumerate(sizes) if size is None]
    # A stated batch of 1 is one, and what is open behind it the time or the width of a picture.
    return later[0] if len(later) == 1 and sizes[0] not in (None, 1) else 0


def run_shapes(inputs: Mapping[str, tuple[Sizes, int]], input_shape: AnyShape | None) -> dict[str, Shape] | None:
    """Return the sizes of all that a run takes, by what is fed; None where that says no more than of a sample.

    An open axis in front is usually the batch, but it may be the time of a sequence, or the nodes of a graph.
    """
    if not isinstance(input_shape, FedShapes):
        return None
    shapes: dict[str, Shape] = {}
    several = False
    for name, (sizes, batch) in inputs.items():
        fed = input_shape.shapes.get(name) or (input_shape.shapes.get("") if len(inputs) == 1 else None)
        # A trace's samples come with a batch of one, and arrays of many such runs with theirs.
        if fed is not None and len(fed) == len(sizes) + 1:
            fed = fed[1:]
        if fed is None or len(fed) != len(sizes) or any(a not in (None, b) for a, b in zip(sizes, fed, strict=True)):
            continue
        shapes[name] = tuple(fed)
        several = several or (batch >= 0 and sizes[batch] is None and fed[batch] > 1)
    return shapes if several else None


def stated_shapes(
    path: Path, inputs: Mapping[str, tuple[Sizes, int]], input_shape: AnyShape | None
) -> dict[str, Shape]:
    """Return what is known of one sample of each input.

    Parameters
    ----------
    inputs
        Whole shape, None where open, and batch axis.

    Raises
    ------
    ModelError
        If a shape is for no input, or has no name where there are several.
    """
    if input_shape is None:
        return {}
    if isinstance(input_shape, FedShapes):
        fed = {name: _fed(input_shape, name, *entry, only=len(inputs) == 1) for name, entry in inputs.items()}
        return {name: shape for name, shape in fed.items() if shape is not None}
    names = ", ".join(inputs)
    if not isinstance(input_shape, Mapping):
        if len(inputs) > 1:
            raise ModelError(f"{path}: input shape without a name: must be name=SIZES, for one of its inputs {names}")
        return dict.fromkeys(inputs, tuple(input_shape))
    if unknown := [name for name in input_shape if name not in inputs]:
        raise ModelError(f"{path}: input shape of {', '.join(unknown)}: its inputs are {names}")
    return {name: tuple(shape) for name, shape in input_shape.items()}


def _fed(known: FedShapes, name: str, sizes: Sizes, batch: int, *, only: bool) -> Shape | None:
    if not sizes:
        # Of an input without any shape, what comes is what it takes.
        whole = known.shapes.get(name, next(iter(known.shapes.values())) if only and len(known.shapes) == 1 else None)
        # Of a single number there is nothing to fill in.
        return whole[1:] if whole else None
    stated = tuple(-1 if size is None else size for axis, size in enumerate(sizes) if axis != batch)
    return known.sample(name, stated, only=only)
