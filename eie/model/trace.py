"""Recorded activations: which inputs of each layer were non-zero, and perhaps their values.

Comes in: arrays or a ``.npz`` file. Goes out: a frozen `Trace`. Read by the simulator. The timing needs only the
bit mask; outputs and accuracy need the values too.

File format (``.npz``, schema 1): ``header`` (JSON text: schema, source, synthetic, layers with name, width, products,
scale; where known: preprocessing, seed, model_sha256, unmodelled, input_shapes),
``bits/<i>`` uint8 (rows, ceil(width / 8)) packed most significant bit first, ``values/<i>`` (non-zeros,) int16 or
float32 (optional; int16 values are multiplied by the layer's ``scale``), ``labels`` (samples,) (optional).
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from eie.errors import TraceError, clean_texts, printable
from eie.formats.files import Arrays, read_json
from eie.formats.hashed import check_hash, hashed
from eie.formats.npz import read_npz, write_npz
from eie.model.arrays import is_sparse, plain, row_slices
from eie.model.matrix import frozen
from eie.show.face import View
from eie.show.sections import Column, Grid, Section, Value

SCHEMA = 1
# With a hash, as a file of its own has; within a network's file the network's hash covers it.
HASHED = 2


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
        if is_sparse(activations) and len(np.shape(activations)) == 2 and 0 not in np.shape(activations):
            # Slice by slice: a bag of words is a hundred times larger dense.
            _check_rows(np.shape(activations)[0], products, where)
            parts = [cls.from_dense(rows, where) for rows in row_slices(activations)]
            return replace(cls.joined(parts), products=products)
        array = plain(activations)
        if array.dtype.kind not in "fiub":
            raise TraceError(f"{where} has dtype {array.dtype}: must be numbers")
        array = array.reshape(1, -1) if array.ndim < 2 else array
        if array.ndim != 2 or array.size == 0:
            raise TraceError(f"{where} has shape {np.shape(activations)}: must be (inputs,) or (batch, inputs)")
        _check_rows(array.shape[0], products, where)
        # Before the finite check: a float64 beyond float32's range is infinite only now.
        array = frozen(array, np.float32)
        if not np.isfinite(array).all():
            raise TraceError(f"{where} holds NaN or infinity: must be finite")
        # After the cast as well: what is too small for float32 is an input that the machine would skip.
        mask = array != 0
        return cls(
            width=array.shape[1],
            bits=frozen(np.packbits(mask, axis=1), np.uint8),
            values=frozen(array[mask], np.float32),
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
        # All at once: neither where values start nor a copy of the mask is needed.
        if start == 0 and stop is None:
            whole = np.zeros((self.rows, self.width), np.float32)
            whole[np.unpackbits(self.bits, axis=1, count=self.width).view(bool)] = self.values
            return whole
        bits = self.bits[start:stop]
        out = np.zeros((len(bits), self.width), np.float32)
        # Values lie row by row without gaps, so a row's place is the number of bits set before it.
        first = self._value_starts[start]
        mask = np.unpackbits(bits, axis=1, count=self.width).astype(bool)
        out[mask] = self.values[first : first + np.count_nonzero(mask)]
        return out

    @property
    def sample_density(self) -> NDArray[np.float64]:
        """float64 (samples,): non-zero inputs over all inputs of each sample."""
        active = np.bitwise_count(self.bits).sum(axis=1, dtype=np.int64)
        density: NDArray[np.float64] = active.reshape(-1, self.products).mean(axis=1) / self.width
        return density

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
        return (Section(name="inputs", grids=(_layers_grid({"inputs": self}),)),)


@dataclass(frozen=True, eq=False, kw_only=True, repr=False)
class Trace(View):
    """Inputs of some or all layers of a network, by layer name.

    Attributes
    ----------
    layers
        Name to `LayerTrace`; all hold the same number of samples.
    labels
        int64 (samples,), the right class of each sample, or None.
    source
        What was recorded, in words, for reports.
    synthetic
        Whether it was drawn at random.
    preprocessing
        How the inputs were made into numbers, in words; empty where nothing was done or it is not known.
    seed
        Of the random numbers that chose or made the inputs, or None.
    model_sha256
        SHA-256 of the model file it was recorded from, or None.
    unmodelled
        Layers of the model that were not recorded, each in words: without them a total would be of a part.
    input_shapes
        Of one sample, by the model's input, as it was run; empty where it is not known.
    """

    layers: Mapping[str, LayerTrace]
    labels: NDArray[np.int64] | None = None
    source: str = "arrays"
    synthetic: bool = False
    preprocessing: str = ""
    seed: int | None = None
    model_sha256: str | None = None
    unmodelled: tuple[str, ...] = ()
    input_shapes: Mapping[str, tuple[int, ...]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        clean_texts(self, ("source", "preprocessing", "unmodelled", "model_sha256"))
        if not self.layers:
            raise TraceError(f"trace {self.source!r}: no layers")
        if unprintable := [name for name in self.layers if not name.isprintable()]:
            raise TraceError(f"trace {self.source!r}: layer {unprintable[0]!r}: must be printable text")
        if not all(map(str.isprintable, self.input_shapes)):
            shown = {printable(name): shape for name, shape in self.input_shapes.items()}
            object.__setattr__(self, "input_shapes", shown)
        counts = {name: layer.samples for name, layer in self.layers.items()}
        if len(set(counts.values())) > 1:
            listed = ", ".join(f"{name} {count}" for name, count in counts.items())
            raise TraceError(f"trace {self.source!r}: layers hold different numbers of samples: {listed}")
        if self.labels is not None and self.labels.shape != (self.samples,):
            raise TraceError(f"trace {self.source!r}: labels has shape {self.labels.shape}: must be ({self.samples},)")

    @property
    def samples(self) -> int:
        """Number of samples."""
        return next(iter(self.layers.values())).samples

    def head(self, samples: int) -> Trace:
        """Return the first samples only."""
        layers = {name: layer.head(samples) for name, layer in self.layers.items()}
        labels = None if self.labels is None else self.labels[:samples]
        return replace(self, layers=layers, labels=labels)

    def save(self, path: str | Path) -> None:
        """Write the trace as ``.npz``."""
        write_npz(path, hashed(self.to_arrays(), "header", HASHED))

    def to_arrays(self) -> Arrays:
        """Return what `save` writes. Values that are whole multiples of 1/255 are kept as int16."""
        header: dict[str, Any] = {
            "schema": SCHEMA,
            "source": self.source,
            "synthetic": self.synthetic,
            "layers": [],
        }
        stated = {
            "preprocessing": self.preprocessing,
            "seed": self.seed,
            "model_sha256": self.model_sha256,
            "unmodelled": list(self.unmodelled) or None,
            "input_shapes": {name: list(shape) for name, shape in self.input_shapes.items()} or None,
        }
        # Left out where nothing is known: files of before these keys, and their hashes, stay as they are.
        header |= {key: value for key, value in stated.items() if value not in ("", None)}
        arrays: Arrays = {}
        for i, (name, layer) in enumerate(self.layers.items()):
            entry = {"name": name, "width": layer.width, "products": layer.products, "scale": 1.0}
            arrays[f"bits/{i}"] = layer.bits
            if layer.values is not None:
                values, entry["scale"] = _narrowest(layer.values)
                arrays[f"values/{i}"] = values
            header["layers"].append(entry)
        if self.labels is not None:
            arrays["labels"] = self.labels
        arrays["header"] = np.frombuffer(json.dumps(header).encode(), np.uint8)
        return arrays

    @classmethod
    def load(cls, path: str | Path) -> Trace:
        """Read a trace file.

        Raises
        ------
        TraceError
            If it is missing, damaged or not a trace.
        """
        return cls.from_arrays(read_npz(path, TraceError), str(path))

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, NDArray[Any]], path: str) -> Trace:
        """Undo `to_arrays`; ``path`` heads every error, raised as by `load`."""
        if "header" not in arrays or arrays["header"].dtype != np.uint8:
            raise TraceError(f"{path}: not a trace: it has no header")
        header = read_json(arrays["header"].tobytes(), f"{path}: header", TraceError)
        if header.get("schema") not in (SCHEMA, HASHED) or isinstance(header["schema"], bool):
            raise TraceError(f"{path}: trace schema {header.get('schema')!r}: this version reads {SCHEMA} and {HASHED}")
        check_hash(arrays, "header", schema=HASHED, where=path, kind=TraceError)
        try:
            layers = {entry["name"]: _layer(arrays, i, entry) for i, entry in enumerate(header["layers"])}
            labels = arrays.get("labels")
            # Names go to terminals and pages: control characters from a foreign file must not.
            names = [entry["name"] for entry in header["layers"]]
            if not all(isinstance(name, str) and name.isprintable() for name in names):
                raise ValueError(f"its layers are called {names}: must be printable text")
            unmodelled = tuple(header.get("unmodelled", ()))
            if not all(isinstance(text, str) and text.isprintable() for text in unmodelled):
                raise ValueError("unmodelled: must be printable texts")
            return cls(
                layers=layers,
                unmodelled=unmodelled,
                input_shapes=_input_shapes(header.get("input_shapes", {})),
                labels=None if labels is None else class_labels(labels, f"{path}: labels"),
                source=str(header["source"]),
                synthetic=bool(header["synthetic"]),
                preprocessing=str(header.get("preprocessing", "")),
                seed=None if header.get("seed") is None else int(header["seed"]),
                model_sha256=None if header.get("model_sha256") is None else str(header["model_sha256"]),
            )
        # Everything that reading a foreign header can raise: one clear line for a damaged file, never a traceback.
        except (KeyError, TypeError, ValueError, AttributeError, ArithmeticError) as error:
            raise TraceError(f"{path}: damaged trace: {error}") from None

    def headline(self) -> str:
        """Say what was recorded, and for how many samples."""
        many = "1 sample" if self.samples == 1 else f"{self.samples} samples"
        return f"{many}{'' if self.labels is None else ' with labels'}: {self.source}."

    def sections(self) -> tuple[Section, ...]:
        """Return each layer's density over the samples, and where all of it is from."""
        lines = []
        if self.preprocessing:
            lines.append(f"Preprocessing: {self.preprocessing}.")
        if self.input_shapes:
            said = (f"{name} {' x '.join(map(str, shape)) or 'one value'}" for name, shape in self.input_shapes.items())
            lines.append(f"Inputs of one sample: {', '.join(said)}.")
        if self.seed is not None:
            lines.append(f"Seed: {self.seed}.")
        if self.synthetic:
            lines.append("Synthetic: drawn at random, not recorded.")
        if self.model_sha256 is not None:
            lines.append(f"Model file, SHA-256: {self.model_sha256}.")
        lines += [f"Not modelled: {text}." for text in self.unmodelled]
        return (Section(name="layers", grids=(_layers_grid(self.layers),), lines=tuple(lines)),)


def _input_shapes(stated: Mapping[str, Sequence[int]]) -> dict[str, tuple[int, ...]]:
    shapes = {name: tuple(int(size) for size in shape) for name, shape in stated.items()}
    if not all(name.isprintable() and len(shape) <= 8 and min(shape, default=1) >= 1 for name, shape in shapes.items()):
        raise ValueError(f"input_shapes {shapes}: must be printable names with up to 8 sizes from 1")
    return shapes


def _layers_grid(layers: Mapping[str, LayerTrace]) -> Grid:
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


def is_trace(arrays: Mapping[str, NDArray[Any]]) -> bool:
    """Whether the arrays of a file are a trace's: its header of bytes and the mask of a layer mark it."""
    return "header" in arrays and arrays["header"].dtype == np.uint8 and "bits/0" in arrays


def class_labels(array: NDArray[Any], where: str) -> NDArray[np.int64]:
    """Return the right class of each sample as int64; TraceError unless they are integers."""
    if array.dtype.kind not in "iu":
        raise TraceError(f"{where} have dtype {array.dtype}: must be integers, one a sample")
    return frozen(array, np.int64)


def _check_rows(rows: int, products: int, where: str) -> None:
    # Rows of a sample lie together; a rest would shift every sample behind it.
    if rows % products:
        raise TraceError(f"{where} has {rows} rows: must be a multiple of {products} products a sample")


def _narrowest(values: NDArray[np.float32]) -> tuple[NDArray[Any], float]:
    # Pixels divided by 255 fit two bytes a value instead of four, and come back to the bit.
    pixels = np.rint(values * 255)
    if np.abs(pixels).max(initial=0) <= 32767 and np.array_equal(pixels / np.float32(255), values):
        # The scale stands in the header as 1/255; `_layer` divides by its inverse again, as the pixels were divided.
        return pixels.astype(np.int16), 1 / 255
    return values, 1.0


def _layer(arrays: Mapping[str, NDArray[Any]], i: int, entry: Mapping[str, Any]) -> LayerTrace:
    width, products, bits = int(entry["width"]), int(entry["products"]), arrays[f"bits/{i}"]
    if bits.dtype != np.uint8 or bits.ndim != 2 or width < 1 or bits.shape[1] != -(-width // 8) or not len(bits):
        raise ValueError(f"bits/{i} has shape {bits.shape} {bits.dtype}, which is not a mask of width {width}")
    if products < 1 or len(bits) % products:
        raise ValueError(f"layer {i}: {len(bits)} rows in groups of {products}")
    # Counts go over whole bytes, so a bit behind the width would be an input that does not exist.
    if width % 8 and (bits[:, -1] & (0xFF >> width % 8)).any():
        raise ValueError(f"bits/{i} has bits set beyond its width {width}")
    values = arrays.get(f"values/{i}")
    if values is not None:
        if values.dtype.kind not in "fi":
            raise ValueError(f"values/{i} has dtype {values.dtype}: must be int16 or float32")
        scale = float(entry["scale"])
        # A damaged scale may be 0 or NaN: what comes of it is refused below, without a warning before.
        with np.errstate(all="ignore"):
            # Divided by 255, not multiplied by 1/255: only that gives the recorded float32 to the last bit.
            values = (values / np.float32(1 / scale)) if scale != 1 else values
        values = frozen(values, np.float32)
        if values.shape != (int(np.bitwise_count(bits).sum()),) or not np.isfinite(values).all():
            raise ValueError(f"values/{i} does not hold one finite number for each set bit")
    return LayerTrace(width=width, bits=frozen(bits, np.uint8), values=values, products=products)
