"""What a user may ask of an importer beyond the file. Read by `eie.importers` and the importers it applies to."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, Self

import numpy as np

from eie.model.fitting import Layout, filled
from eie.model.samples import Samples
from eie.model.trace import Trace

Unsupported = Literal["refuse", "skip"]
Shape = tuple[int, ...]


@dataclass(frozen=True, kw_only=True)
class FedShapes:
    """Shapes of what a model is about to be fed: they fill in the sizes that its file leaves open, and no others.

    Attributes
    ----------
    shapes
        By the input's name, or ``""``: of whole arrays, or of a trace's samples with a batch of 1 in front.
    batched
        Whether the first axis is known to be the batch.
    """

    shapes: Mapping[str, Shape]
    layout: Layout | None = None
    batched: bool = False

    @classmethod
    def of(cls, activations: object, layout: Layout | None = None) -> Self | None:
        """Return what arrays, `Samples` or a `Trace` say; None if that is nothing."""
        if isinstance(activations, Trace):
            return cls(shapes={n: (1, *shape) for n, shape in activations.input_shapes.items()}, batched=True)
        arrays: Any = activations
        if isinstance(activations, Samples):
            arrays = {name: array[:1] for name, array in activations.arrays.items()}
            counts = activations.count
            shapes = {name: (counts, *array.shape[1:]) for name, array in arrays.items()}
            return cls(shapes=shapes, layout=layout, batched=activations.batched or len(arrays) > 1)
        if activations is None:
            return None
        # One of scipy's formats is a mapping too; what has a shape is an array, whatever else it is.
        if not isinstance(arrays, Mapping) or hasattr(arrays, "shape"):
            arrays = {"": arrays}
        return cls(shapes={str(name): np.shape(array) for name, array in arrays.items()}, layout=layout)

    def sample(self, name: str, stated: Shape, *, only: bool) -> Shape | None:
        """Return the shape of one sample of an input, ``stated`` with -1 where it is open; None if nothing is known.

        ``only`` says whether the model has no other input: one array is then its, whatever it is called.
        """
        shape = self.shapes.get(name)
        if shape is None and only:
            shape = self.shapes.get("inputs", next(iter(self.shapes.values())) if len(self.shapes) == 1 else None)
        if shape is None or -1 not in stated:
            return None
        return filled(shape, stated, layout=self.layout, batched=self.batched)


# Of one sample: of the only input, or by name.
if TYPE_CHECKING:
    InputShape = Sequence[int] | Mapping[str, Sequence[int]]
else:
    # Looked at where `eie.load` is called, also by the verbs that know what a model is about to be fed.
    InputShape = Sequence[int] | Mapping[str, Sequence[int]] | FedShapes
# Or by what is about to be fed; callers outside state shapes.
AnyShape = InputShape | FedShapes
