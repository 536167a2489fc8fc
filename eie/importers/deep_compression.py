"""The ``.net`` format of Deep Compression's published models (SqueezeNet, AlexNet), and the table of shapes it lacks.

Comes in: a file and a `ShapeTable`. Goes out: a `Network` with the exact weights. Little-endian, no header: uint32
entries of each layer; then per layer float32 codebook (2**bits), float32 bias (outputs,), the codes (uint8, or two
4-bit ones a byte) and the zero runs (two 4-bit ones a byte, low half first). An entry's place is the one before plus
run + 1 in the flattened weights; a run of 15 with code 0 is a filler.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from eie.errors import ModelError
from eie.formats.files import read_bytes
from eie.importers.shapes import LayerStep, ShapeTable, read_table, shipped_tables
from eie.model.layer import Layer
from eie.model.network import Network

FILLER_RUN = 15
EIE_CODE_BITS = 4


@dataclass(frozen=True, eq=False, kw_only=True)
class StoredLayer:
    """One layer as the file holds it: codebook (2**bits,), bias (outputs,), codes and runs (entries,)."""

    codebook: NDArray[np.float32]
    bias: NDArray[np.float32]
    codes: NDArray[np.uint8]
    runs: NDArray[np.uint8]

    @property
    def fillers(self) -> int:
        """Entries that only bridge a long run of zeros."""
        return int(np.count_nonzero((self.codes == 0) & (self.runs == FILLER_RUN)))


def read(path: Path, shapes: Path | None = None) -> Network:
    """Read a network from ``path``.

    Parameters
    ----------
    shapes
        A table as in `shapes`; without it, the shipped table whose layers fill the file to the byte.

    Raises
    ------
    ModelError
        If no table fits or the file is damaged.
    """
    data = read_bytes(path, ModelError)
    tables = [read_table(shapes)] if shapes else list(shipped_tables())
    # The file names nothing: a table is right if its layers, with the numbers of entries the file states, fill it to
    # the byte.
    fitting = [table for table in tables if _size(data, table.layers) == len(data)]
    if not fitting:
        names = ", ".join(table.name for table in tables)
        raise ModelError(
            f"{path}: {len(data):,} bytes, not what the layers of {names} would fill: damaged, or another network "
            "(give its layer shapes: --shapes FILE.toml)"
        )
    table = fitting[0]
    stored = _split(data, table.layers)
    layers = [_layer(path, step, layer) for step, layer in zip(table.layers, stored, strict=True)]
    return Network(
        name=table.name, layers=tuple(layers), source=path.name, notes=_notes(table, stored), graph=table.graph()
    )


def _entries(data: bytes, layers: Sequence[LayerStep]) -> list[int] | None:
    """How many entries each layer has; None if the file is too short to say."""
    if len(data) < 4 * len(layers):
        return None
    return [int(count) for count in np.frombuffer(data, "<u4", len(layers))]


def _parts(step: LayerStep, entries: int) -> tuple[int, int, int, int]:
    """Bytes of a layer's codebook, bias, codes and runs."""
    # float32 for each of the 2**bits levels and each output; codes and runs rounded up to whole bytes.
    return 4 << step.code_bits, 4 * step.shape[0], -(-entries * step.code_bits // 8), -(-entries // 2)


def _size(data: bytes, layers: Sequence[LayerStep]) -> int | None:
    """Bytes that the layers would fill, given the numbers of entries at the start of the file."""
    entries = _entries(data, layers)
    if entries is None:
        return None
    return 4 * len(layers) + sum(sum(_parts(step, n)) for step, n in zip(layers, entries, strict=True))


def _split(data: bytes, layers: Sequence[LayerStep]) -> list[StoredLayer]:
    """Cut a file, whose size is right, into layers."""
    at = 4 * len(layers)
    stored = []
    for step, entries in zip(layers, _entries(data, layers) or (), strict=True):
        pieces = []
        for size in _parts(step, entries):
            pieces.append(data[at : at + size])
            at += size
        codebook, bias, codes, runs = pieces
        stored.append(
            StoredLayer(
                codebook=np.frombuffer(codebook, "<f4"),
                bias=np.frombuffer(bias, "<f4"),
                codes=np.frombuffer(codes, np.uint8) if step.code_bits == 8 else _nibbles(codes, entries),
                runs=_nibbles(runs, entries),
            )
        )
    return stored


def _nibbles(packed: bytes, count: int) -> NDArray[np.uint8]:
    """Unpack ``count`` 4-bit numbers, the low half of each byte first."""
    pairs = np.frombuffer(packed, np.uint8)
    return np.stack((pairs & 15, pairs >> 4), axis=1).reshape(-1)[:count]


def _layer(path: Path, step: LayerStep, stored: StoredLayer) -> Layer:
    where = f"{path}: layer {step.layer!r}"
    # Shapes that are wrong by chance of equal sizes show here first: some other number is read as level 0.
    if stored.codebook[0] != 0:
        raise ModelError(f"{where}: codebook[0] = {stored.codebook[0]}: must be 0, damaged or wrong shapes")
    # int64: runs are bytes, and their sum passes any narrower type. Each entry lies run + 1 behind the one before, and
    # the first one run behind the start.
    places = np.cumsum(stored.runs.astype(np.int64) + 1) - 1
    if len(places) and places[-1] >= step.weights:
        raise ModelError(
            f"{where}: its last entry is weight {places[-1]:,} of {step.weights:,}: damaged or wrong shapes"
        )
    weights = np.zeros(step.weights, np.float32)
    # Fillers write level 0, which is zero, where zero is anyway.
    weights[places] = stored.codebook[stored.codes]
    dense: NDArray[Any] = weights.reshape(step.shape)
    if step.conv is None:
        return Layer.from_weights(step.layer, dense, stored.bias, relu=step.relu)
    return Layer.from_conv(name=step.layer, weights=dense, bias=stored.bias, conv=step.conv, relu=step.relu)


def _notes(table: ShapeTable, stored: Sequence[StoredLayer]) -> tuple[str, ...]:
    weights = sum(step.weights for step in table.layers)
    entries = sum(len(layer.codes) for layer in stored)
    fillers = sum(layer.fillers for layer in stored)
    notes = [
        f"{table.name}: {len(stored)} layers, {weights:,} weights, {entries:,} stored entries of which {fillers:,} "
        f"fillers, density {(entries - fillers) / weights:.3f}"
    ]
    wide = [step.code_bits for step in table.layers if step.code_bits > EIE_CODE_BITS]
    if wide:
        notes.append(
            f"{len(wide)} layers are stored with {max(wide)}-bit codes: weight_bits = {max(wide)} keeps their weights "
            f"exactly (--set weight_bits={max(wide)}), narrower codes cluster them again"
        )
    return tuple(notes)
