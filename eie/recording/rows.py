"""Tensors as a framework gives them into the rows of inputs that a layer's products take, packed as they come.

Comes in: a layer and, batch by batch, what it read. Goes out: `LayerTrace`. Read by `run_onnx` and `run_torch`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from eie.errors import TraceError
from eie.geometry import Conv2d, Lstm
from eie.matrix import frozen
from eie.network import Layer
from eie.trace import LayerTrace


class Recorder:
    """Collects the bits, and on request the values, of every layer; only one batch is ever unrolled.

    Attributes
    ----------
    values
        Whether values are kept beside the bits.
    """

    def __init__(self, *, values: bool) -> None:
        self.values = values
        self._bits: dict[str, list[NDArray[np.uint8]]] = {}
        self._numbers: dict[str, list[NDArray[np.float32]]] = {}
        self._widths: dict[str, tuple[int, int]] = {}

    def add(self, layer: Layer, x: NDArray[Any], hidden: NDArray[Any] | None = None) -> None:
        """Take in what ``layer`` read in one batch.

        Parameters
        ----------
        x
            Batch first: (N, ..., inputs) of a linear layer, (N, C, H, W) or (N, C, W) of a convolution, (N, T, input)
            of an LSTM.
        hidden
            (N, T, hidden): what the LSTM gave.

        Raises
        ------
        TraceError
            If shapes do not fit the layer, or values are not finite.
        """
        where = f"layer {layer.name!r}"
        if not np.isfinite(x).all():
            raise TraceError(f"{where}: its recorded inputs hold NaN or infinity")
        for one in range(len(x)):
            rows = _rows(layer, x[one : one + 1], None if hidden is None else hidden[one : one + 1])
            self.take(layer.name, rows)

    def take(self, name: str, rows: NDArray[Any]) -> None:
        """Take in the rows (products, width) of one sample."""
        shape = (len(rows), rows.shape[1])
        if self._widths.setdefault(name, shape) != shape:
            raise TraceError(f"layer {name!r}: {shape} inputs in one sample, {self._widths[name]} in another")
        mask = rows != 0
        self._bits.setdefault(name, []).append(np.packbits(mask, axis=1))
        if self.values:
            self._numbers.setdefault(name, []).append(rows[mask].astype(np.float32))

    def layers(self) -> Mapping[str, LayerTrace]:
        """Return what was recorded so far, by layer name."""
        return {
            name: LayerTrace(
                width,
                frozen(np.concatenate(self._bits[name]), np.uint8),
                frozen(np.concatenate(self._numbers[name]), np.float32) if self.values else None,
                products,
            )
            for name, (products, width) in self._widths.items()
        }


def _rows(layer: Layer, x: NDArray[Any], hidden: NDArray[Any] | None) -> NDArray[Any]:
    """Unroll one sample, (1, ...), to (products, width)."""
    geometry = layer.geometry
    if isinstance(geometry, Conv2d):
        flat = x.ndim == 3 and geometry.kernel[0] == 1
        return geometry.im2col(x[:, :, None] if flat else x)
    if isinstance(geometry, Lstm) and hidden is not None:
        before = np.zeros_like(hidden)
        if geometry.reverse:
            before[:, :-1] = hidden[:, 1:]
        else:
            before[:, 1:] = hidden[:, :-1]
        x = np.concatenate((x, before), axis=2)
    if x.ndim < 2 or x.shape[-1] != layer.inputs:
        raise TraceError(f"layer {layer.name!r} takes {layer.inputs} inputs a product, recorded was {x.shape}")
    return x.reshape(-1, layer.inputs)
