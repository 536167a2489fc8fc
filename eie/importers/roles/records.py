"""What is decided about a file: a role for each array, a plan for each layer.

Filled in by `decide`. Read by `eie.importers.tensors`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from numpy.typing import NDArray

Arrays = Mapping[str, NDArray[Any]]
Kind = Literal["linear", "conv", "transposed", "bilinear"]

# How a note speaks of what was left out, by role: the reason, in the plural.
REASONS = {
    "adapter": "low-rank factors that are not merged into their weights",
    "ema": "moving averages of weights that are here themselves",
    "embedding": "embeddings, which are looked up and not multiplied",
    "excluded": "as --exclude says",
    "gradient": "gradients",
    "mask": "mask buffers",
    "moment": "an optimiser's state",
    "norm": "normalisations",
    "packed": "packed weights of a format that is not read",
    "position": "position tables",
    "queue": "queues of features",
    "recurrent": "recurrent layers that are no LSTM",
    "scale": "scales and zero points",
    "small": "of one axis or none, and part of no layer",
    "statistic": "statistics",
    "table": "constant tables",
    "token": "learned inputs and states",
    "unnamed": "not named as a layer's weights",
    "volume": "weights of more than four dimensions",
}
# Of these an array may look like a layer, so a note says how to have it as one.
IN_DOUBT = ("embedding", "position", "token", "queue", "unnamed", "ema")


# These are work that the network does and that no layer here stands for: without it there is no total.
MISSING = ("adapter", "packed", "recurrent", "volume")


@dataclass(frozen=True, kw_only=True)
class Decision:
    """What one array is.

    Attributes
    ----------
    role
        ``"layer"`` for a part of a layer, else a key of `REASONS`.
    layer, part
        Which layer's, and what of it; also of a normalisation. Empty where it is neither.
    """

    role: str
    layer: str = ""
    part: str = ""


@dataclass(frozen=True, kw_only=True)
class Group:
    """Arrays that one owner has: a module of the network that made the file.

    Attributes
    ----------
    name
        The owner, which is the layer's name.
    family
        The naming convention of its weight, a key of `families.FAMILIES`.
    parts
        Part, as ``"weight"``, to the array's name in the file.
    """

    name: str
    family: str
    parts: Mapping[str, str]

    @property
    def main(self) -> str | None:
        """Name of the array that makes it a layer."""
        return self.parts.get("weight", self.parts.get("codes"))


@dataclass(frozen=True, kw_only=True)
class Plan:
    """How a layer is built from arrays.

    Attributes
    ----------
    axes
        Order in which the stored axes become (outputs, inputs, kernel rows, kernel columns), as of numpy's transpose.
    groups
        Of a convolution.
    norm
        The batch normalisation that is folded into it.
    """

    name: str
    kind: Kind
    parts: Mapping[str, str]
    axes: tuple[int, ...]
    groups: int = 1
    norm: Group | None = None


@dataclass(frozen=True, eq=False, kw_only=True)
class Reading:
    """All that was decided about one file.

    Attributes
    ----------
    arrays
        By the names that plans use: attention's joint matrix is split there.
    decisions
        By array; a pure function of names, shapes and values, not of their order.
    notes
        What a report should show, what was left out among it.
    """

    arrays: Arrays
    plans: tuple[Plan, ...]
    decisions: Mapping[str, Decision]
    notes: tuple[str, ...] = field(default=())
