"""Tensors as a framework gives them into the rows of inputs that a layer's products take, packed as they come.

Comes in: a layer and, batch by batch, what it read. Goes out: `LayerTrace`. Read by the modules beside that run models.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from eie.errors import TraceError
from eie.model.layer import Layer
from eie.model.layer_trace import LayerTrace
from eie.model.matrix import frozen


@dataclass(frozen=True, kw_only=True)
class Ran:
    """How a model was run: the shape of one sample by input, and what was out of the ordinary, in words."""

    shapes: Mapping[str, tuple[int, ...]]
    said: str = ""


class Recorder:
    """Collects the bits, and on request the values, of every layer; only one batch is ever unrolled.

    Attributes
    ----------
    values
        Whether values are kept beside the bits.
    """

    def __init__(self, *, values: bool) -> None:
        self.values = values
        self._parts: dict[str, list[LayerTrace]] = {}
        self._weights: dict[str, int] = {}

    def add(
        self,
        layer: Layer,
        samples: int,
        x: NDArray[Any],
        hidden: NDArray[Any] | None = None,
        *,
        first: NDArray[Any] | None = None,
        kept: int | None = None,
        places: NDArray[np.int64] | None = None,
        use: str = "",
    ) -> None:
        """Take in what ``layer`` read in one batch of ``samples``.

        Parameters
        ----------
        x
            Batch first: (N, ..., inputs) of a linear layer, (N, C, H, W) or (N, C, W) of a convolution, (N, T, input)
            of an LSTM. N is ``samples``; a network that folds other axes into the batch is recorded one at a time.
        hidden
            What the layer made of it, (N, T, hidden); only a recurrent layer needs it.
        first
            The state (N, hidden) that it began from; None for zeros.
        kept
            How many of the samples count; None for all.
        places
            (samples, k): which k entries of the first axis are each sample's; None where that is the batch.
        use
            Name of the layer's use, where it has several; its own by default.

        Raises
        ------
        TraceError
            If shapes do not fit the layer, or values are not finite.
        """
        name = use or layer.name
        where = f"layer {name!r}"
        # Before anything is packed: NaN is not 0 and would count as an active input.
        if not np.isfinite(x).all():
            raise TraceError(f"{where}: its recorded inputs hold NaN or infinity")
        # A layer may see windows or heads folded into the batch; with one sample at a time all of them are its own.
        if places is None and samples > 1 and len(x) != samples:
            raise TraceError(f"{where}: got {x.shape} for {samples} samples: record one at a time (--batch 1)")
        self._weights[name] = math.prod(layer.geometry.dense_shape)
        # Sample by sample: unrolled, a batch of maps is many times its size. Samples filled in are left out.
        for i in range(samples if kept is None else kept):
            # A slice, so that the batch axis stays; with one sample everything is its own, folded axes too.
            part = places[i] if places is not None else slice(i, i + 1) if samples > 1 else slice(None)
            states = None if hidden is None else hidden[part]
            rows = _rows(layer, x[part], hidden=states, first=None if first is None else first[part])
            mask = rows != 0
            # Non-zeros only, in the order of the bits: the mask says where they belong.
            values = frozen(rows[mask], np.float32) if self.values else None
            self._append(
                name,
                LayerTrace(width=layer.inputs, bits=np.packbits(mask, axis=1), values=values, products=len(rows)),
            )

    def multiplications(self) -> int:
        """Count the products of dense weights with the inputs recorded so far."""
        return sum(self._weights[name] * sum(part.rows for part in parts) for name, parts in self._parts.items())

    def layers(self) -> Mapping[str, LayerTrace]:
        """Return what was recorded so far, by layer name."""
        # All parts have values or none has: the recorder decides it once.
        return {name: LayerTrace.joined(parts) for name, parts in self._parts.items()}

    def _append(self, name: str, recorded: LayerTrace) -> None:
        """Take in some more samples of a layer.

        Raises
        ------
        TraceError
            If they have another number of products or inputs than those before.
        """
        # All samples of a trace have the same shape: its rows are one table, cut by a number of products.
        first = self._parts.setdefault(name, [recorded])[0]
        if first is recorded:
            return
        if (first.width, first.products) != (recorded.width, recorded.products):
            raise TraceError(
                f"layer {name!r}: {recorded.products} products of {recorded.width} inputs in one sample, "
                f"{first.products} of {first.width} in another"
            )
        self._parts[name].append(recorded)


def _rows(layer: Layer, x: NDArray[Any], hidden: NDArray[Any] | None, first: NDArray[Any] | None) -> NDArray[Any]:
    """Unroll one sample, (1, ...), to (products, width)."""
    rows, cell = layer.geometry.recorded(x, hidden), layer.geometry.recurrence
    if first is not None and cell is not None and rows.size:
        # Geometry puts zeros before the first step, which is the last one of a walk backwards.
        rows[:, cell.order(rows.shape[1])[0], -first.shape[-1] :] = first
    if rows.ndim < 2 or rows.shape[-1] != layer.inputs:
        raise TraceError(f"layer {layer.name!r} takes {layer.inputs} inputs a product, recorded was {rows.shape}")
    return rows.reshape(-1, layer.inputs)
