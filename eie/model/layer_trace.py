"""Recorded activations of one layer: which of its inputs were non-zero, and perhaps their values.

Comes in: an array of rows, dense or sparse. Goes out: a frozen `LayerTrace`. Read by the simulator, machines and
`Trace`. The timing needs only the bit mask; outputs and accuracy need the values too.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
from numpy.typing import ArrayLike, NDArray

from eie.errors import TraceError
from eie.model.arrays import is_sparse, plain, row_slices
from eie.model.matrix import frozen
from eie.show.face import View
from eie.show.sections import Column, Grid, Section, Value


@dataclass(frozen=True, eq=False, kw_only=True, repr=False)
class LayerTrace(View):
    """The inputs of one layer over a batch.

    Attributes
    ----------
    width
        Inputs of the layer.
    bits
        uint8 (rows, ceil(width / 8)): packed mask of non-zeros, one row a matrix-vector product.
    values
        float32 (non-zeros,), row by row, or None when only the pattern was kept.
    products
        Rows that belong to one sample (1 for a fully connected layer).
    size
        Open sizes of a sample, as height and width of the map that its rows were unrolled of; empty if not known.
    """

    width: int
    bits: NDArray[np.uint8]
    values: NDArray[np.float32] | None = None
    products: int = 1
    size: tuple[int, ...] = ()

    @classmethod
    def from_dense(cls, activations: ArrayLike, where: str = "activations", products: int = 1) -> LayerTrace:
        """Pack a numeric array (rows, width) or (width,); its zeros are the inactive inputs, and so is what is masked.

        Raises
        ------
        TraceError
            For a wrong number of dimensions, an empty array, or NaN or infinite values.
        """
        # Here, not above: ``import eie`` must not wait for numba.
        from eie.kernels import rows as kernels

        if is_sparse(activations) and len(np.shape(activations)) == 2 and 0 not in np.shape(activations):
            # Slice by slice: a bag of words is a hundred times larger dense.
            _check_rows(np.shape(activations)[0], products, where)
            parts = [cls.from_dense(rows, where) for rows in row_slices(activations)]
            return replace(cls.joined(parts), products=products)
        try:
            array = plain(activations)
        except ValueError as error:
            raise TraceError(f"{where}: {error}") from None
        if array.dtype.kind not in "fiub":
            raise TraceError(f"{where} has dtype {array.dtype}: must be numbers")
        array = array.reshape(1, -1) if array.ndim < 2 else array
        if array.ndim != 2 or array.size == 0:
            raise TraceError(f"{where} has shape {np.shape(activations)}: must be (inputs,) or (batch, inputs)")
        _check_rows(array.shape[0], products, where)
        # Before the finite check: a float64 beyond float32's range is infinite only now.
        array = frozen(array, np.float32)
        # After the cast as well: what is too small for float32 is an input that the machine would skip.
        count = kernels.count_nonzeros(array.reshape(-1).view(np.int32))
        if count < 0:
            raise TraceError(f"{where} holds NaN or infinity: must be finite")
        values = np.empty(count + 1, np.float32)
        kernels.take_nonzeros(array.reshape(-1), values)
        return cls(
            width=array.shape[1],
            bits=frozen(np.packbits(array != 0, axis=1), np.uint8),
            values=frozen(values[:count], np.float32),
            products=products,
        )

    @classmethod
    def joined(cls, parts: Sequence[LayerTrace]) -> LayerTrace:
        """Return the rows of all parts, one after the other; all have values or none has."""
        kept = [part.values for part in parts if part.values is not None]
        return cls(
            width=parts[0].width,
            bits=frozen(np.concatenate([part.bits for part in parts]), np.uint8),
            values=frozen(np.concatenate(kept), np.float32) if kept else None,
            products=parts[0].products,
        )

    @property
    def rows(self) -> int:
        """Matrix-vector products in all."""
        return len(self.bits)

    @property
    def samples(self) -> int:
        """Network inputs in all."""
        return self.rows // self.products

    @property
    def mask(self) -> NDArray[np.bool_]:
        """bool (rows, width)."""
        return self.mask_of(0, self.width)

    def mask_of(self, start: int, stop: int) -> NDArray[np.bool_]:
        """bool (rows, stop - start): the columns start..stop-1."""
        # Whole bytes are unpacked, from the one that holds the first column; the bits before it are cut off again.
        first = start // 8
        unpacked = np.unpackbits(self.bits[:, first : -(-stop // 8)], axis=1)
        return unpacked[:, start - 8 * first : stop - 8 * first].astype(bool)

    @property
    def density(self) -> float:
        """Non-zero inputs over all inputs."""
        # Bits behind the width are zero, as packed and as checked on load, so they can be counted along.
        return float(np.bitwise_count(self.bits).sum() / (self.rows * self.width))

    def dense(self, start: int = 0, stop: int | None = None) -> NDArray[np.float32] | None:
        """float32 (rows, width), or rows start..stop-1 of it; None when no values were kept."""
        if self.values is None:
            return None
        from eie.kernels import rows as kernels

        bits, values = self.bits[start:stop], self.values
        if start or stop is not None:
            # Values lie row by row without gaps, so a row's place is the number of bits set before it.
            starts = self._value_starts
            values = values[starts[start] : starts[start + len(bits)]]
        marks = np.unpackbits(bits, axis=1, count=self.width)
        if not len(values):
            return np.zeros(marks.shape, np.float32)
        out = np.empty(marks.shape, np.float32)
        kernels.place_nonzeros(frozen(marks, np.uint8).reshape(-1), frozen(values, np.float32), out.reshape(-1))
        return out

    @property
    def active(self) -> NDArray[np.int64]:
        """int64 (samples,): non-zero inputs of each sample, over all products."""
        active: NDArray[np.int64] = np.bitwise_count(self.bits).reshape(self.samples, -1).sum(axis=1, dtype=np.int64)
        return active

    @property
    def sample_density(self) -> NDArray[np.float64]:
        """float64 (samples,): non-zero inputs over all inputs of each sample."""
        return self.active / self.products / self.width

    @cached_property
    def sha256(self) -> str:
        """Of shape, mask and values: equal inputs, equal hashes. Made once: a search asks a thousand times."""
        # Shape first: the same bytes can be the mask of another width or of other samples.
        digest = hashlib.sha256(f"{self.width} {self.products} {self.bits.shape} {self.values is None}".encode())
        digest.update(np.ascontiguousarray(self.bits).data)
        if self.values is not None:
            digest.update(np.ascontiguousarray(self.values).data)
        return digest.hexdigest()

    @cached_property
    def _value_starts(self) -> NDArray[np.int64]:
        """int64 (rows + 1,): where each row's values begin."""
        return np.concatenate(([0], np.cumsum(np.bitwise_count(self.bits).sum(axis=1, dtype=np.int64))))

    def pattern(self, start: int, stop: int) -> LayerTrace:
        """Return rows start..stop-1 without values, each a sample of its own."""
        return LayerTrace(width=self.width, bits=self.bits[start:stop])

    def head(self, samples: int) -> LayerTrace:
        """Return the first samples only."""
        bits = self.bits[: samples * self.products]
        # As many values as there are bits in the rows that stay.
        kept = int(np.bitwise_count(bits).sum())
        return LayerTrace(
            width=self.width,
            bits=bits,
            values=None if self.values is None else self.values[:kept],
            products=self.products,
            size=self.size,
        )

    def without_values(self) -> LayerTrace:
        """Return the pattern alone."""
        if self.values is None:
            return self
        return LayerTrace(width=self.width, bits=self.bits, products=self.products, size=self.size)

    def headline(self) -> str:
        """Say how much was recorded."""
        values = "with values" if self.values is not None else "without values"
        return f"{self.rows:,} rows of {self.width:,} inputs, {100 * self.density:.1f} % non-zero, {values}"

    def sections(self) -> tuple[Section, ...]:
        """Return widths, rows and density over the samples."""
        return (Section(name="inputs", grids=(recorded_grid({"inputs": self}),)),)


def recorded_grid(layers: Mapping[str, LayerTrace]) -> Grid:
    columns = (
        Column("layer", "layer", "text"),
        Column("inputs", "inputs", "count"),
        Column("products", "products a sample", "count"),
        Column("rows", "rows", "count"),
        # The heading ends in no sign, so that three columns can share its words.
        Column("mean", "density %, mean", "fixed1"),
        Column("min", "min", "fixed1"),
        Column("max", "max", "fixed1"),
        Column("values", "values", "yes"),
    )
    rows: list[dict[str, Value]] = []
    for name, layer in layers.items():
        density = 100 * layer.sample_density
        rows.append(
            {
                "layer": name,
                "inputs": layer.width,
                "products": layer.products,
                "rows": layer.rows,
                **{key: float(getattr(density, key)()) for key in ("mean", "min", "max")},
                "values": layer.values is not None,
            }
        )
    return Grid(columns=columns, rows=tuple(rows))


def _check_rows(rows: int, products: int, where: str) -> None:
    # Rows of a sample lie together; a rest would shift every sample behind it.
    if rows % products:
        raise TraceError(f"{where} has {rows} rows: must be a multiple of {products} products a sample")
