"""A trace as arrays of a file, and back.

Comes in: a trace's record, or the arrays of a file, of which nothing is trusted. Goes out: arrays, or the fields that a
`Trace` is made of, each checked. Read by `Trace`, and through it by files of networks, which hold one.

File format (``.npz``, schema 1): ``header`` (JSON text: schema, source, synthetic, layers with name, width, products,
scale; where known: preprocessing, seed, model_sha256, unmodelled, input_shapes),
``bits/<i>`` uint8 (rows, ceil(width / 8)) packed most significant bit first, ``values/<i>`` (non-zeros,) int16 or
float32 (optional; int16 values are multiplied by the layer's ``scale``), ``labels`` (samples,) (optional).
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray

from eie.errors import TraceError
from eie.formats.files import Arrays, read_json
from eie.formats.hashed import check_hash, hashed, stated_schema
from eie.formats.npz import read_npz, write_npz
from eie.model.layer_trace import LayerTrace
from eie.model.matrix import frozen

SCHEMA = 1
# With a hash, as a file of its own has; within a network's file the network's hash covers it.
HASHED = 2

T = TypeVar("T")


class Recorded(Protocol):
    """What is written of a trace."""

    @property
    def layers(self) -> Mapping[str, LayerTrace]: ...
    @property
    def labels(self) -> NDArray[np.int64] | None: ...
    @property
    def source(self) -> str: ...
    @property
    def synthetic(self) -> bool: ...
    @property
    def preprocessing(self) -> str: ...
    @property
    def seed(self) -> int | None: ...
    @property
    def model_sha256(self) -> str | None: ...
    @property
    def unmodelled(self) -> tuple[str, ...]: ...
    @property
    def input_shapes(self) -> Mapping[str, tuple[int, ...]]: ...


def save(path: str | Path, trace: Recorded) -> None:
    """Write a trace as ``.npz``, with its hash."""
    write_npz(path, hashed(pack(trace), "header", HASHED))


def load(path: str | Path, make: Callable[..., T]) -> T:
    """Read the file of a trace; as `unpack`."""
    return unpack(read_npz(path, TraceError), str(path), make)


def pack(trace: Recorded) -> Arrays:
    """Return what a trace's file holds, hash apart. Values that are whole multiples of 1/255 are kept as int16."""
    header: dict[str, Any] = {
        "schema": SCHEMA,
        "source": trace.source,
        "synthetic": trace.synthetic,
        "layers": [],
    }
    stated = {
        "preprocessing": trace.preprocessing,
        "seed": trace.seed,
        "model_sha256": trace.model_sha256,
        "unmodelled": list(trace.unmodelled) or None,
        "input_shapes": {name: list(shape) for name, shape in trace.input_shapes.items()} or None,
    }
    # Left out where nothing is known: files of before these keys, and their hashes, stay as they are.
    header |= {key: value for key, value in stated.items() if value not in ("", None)}
    arrays: Arrays = {}
    for i, (name, layer) in enumerate(trace.layers.items()):
        entry = {"name": name, "width": layer.width, "products": layer.products, "scale": 1.0}
        arrays[f"bits/{i}"] = layer.bits
        if layer.values is not None:
            values, entry["scale"] = _narrowest(layer.values)
            arrays[f"values/{i}"] = values
        header["layers"].append(entry)
    if trace.labels is not None:
        arrays["labels"] = trace.labels
    arrays["header"] = np.frombuffer(json.dumps(header).encode(), np.uint8)
    return arrays


def unpack(arrays: Mapping[str, NDArray[Any]], path: str, make: Callable[..., T]) -> T:
    """Undo `pack`; ``path`` heads every error, ``make`` takes a trace's fields by name.

    Raises
    ------
    TraceError
        If the arrays are damaged or no trace's.
    """
    if "header" not in arrays or arrays["header"].dtype != np.uint8:
        raise TraceError(f"{path}: not a trace: it has no header")
    header = read_json(arrays["header"].tobytes(), f"{path}: header", TraceError)
    if stated_schema(header) not in (SCHEMA, HASHED):
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
        return make(
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


def is_trace(arrays: Mapping[str, NDArray[Any]]) -> bool:
    """Whether the arrays of a file are a trace's: its header of bytes and the mask of a layer mark it."""
    return "header" in arrays and arrays["header"].dtype == np.uint8 and "bits/0" in arrays


def class_labels(array: NDArray[Any], where: str) -> NDArray[np.int64]:
    """Return the right class of each sample as int64; TraceError unless they are integers."""
    if array.dtype.kind not in "iu":
        raise TraceError(f"{where} have dtype {array.dtype}: must be integers, one a sample")
    return frozen(array, np.int64)


def _input_shapes(stated: Mapping[str, Sequence[int]]) -> dict[str, tuple[int, ...]]:
    shapes = {name: tuple(int(size) for size in shape) for name, shape in stated.items()}
    if not all(name.isprintable() and len(shape) <= 8 and min(shape, default=1) >= 1 for name, shape in shapes.items()):
        raise ValueError(f"input_shapes {shapes}: must be printable names with up to 8 sizes from 1")
    return shapes


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
