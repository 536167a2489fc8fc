"""``.onnx`` models (needs the ``onnx`` extra): `reader` is the way in."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from numpy.typing import ArrayLike

from eie.importers.onnx.drawn import SEED
from eie.importers.onnx.reader import read_onnx
from eie.importers.options import AnyShape, Unsupported
from eie.model.network import Network


def read(
    path: Path,
    unsupported: Unsupported = "refuse",
    input_shape: AnyShape | None = None,
    input_values: Mapping[str, ArrayLike] | None = None,
    density: float | None = None,
) -> Network:
    """Read a network from ``path``; see `eie.importers.onnx.reader.read_onnx`."""
    network = read_onnx(path, unsupported, input_shape=input_shape, input_values=input_values, density=density).network
    if density is None:
        return network
    # Said where the rest of what was assumed is; each drawn layer says so itself, in every report of a run.
    note = f"weights that the file lacks were drawn at random: density {density:g}, seed {SEED}"
    return replace(network, notes=(*network.notes, note))
