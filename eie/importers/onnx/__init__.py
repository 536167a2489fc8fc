"""``.onnx`` models (needs the ``onnx`` extra): `reader` is the way in."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from numpy.typing import ArrayLike

from eie.importers.onnx.reader import read_onnx
from eie.importers.options import InputShape, Unsupported
from eie.model.network import Network


def read(
    path: Path,
    unsupported: Unsupported = "refuse",
    input_shape: InputShape | None = None,
    input_values: Mapping[str, ArrayLike] | None = None,
) -> Network:
    """Read a network from ``path``; see `eie.importers.onnx.reader.read_onnx`."""
    return read_onnx(path, unsupported, input_shape, input_values).network
