"""``.onnx`` models (needs the ``onnx`` extra): `reader` is the way in."""

from __future__ import annotations

from pathlib import Path

from eie.importers.onnx.reader import read_onnx
from eie.importers.options import InputShape, Unsupported
from eie.model.network import Network


def read(path: Path, unsupported: Unsupported = "refuse", input_shape: InputShape | None = None) -> Network:
    """Read a network from ``path``; see `eie.importers.onnx.reader.read_onnx`."""
    return read_onnx(path, unsupported, input_shape).network
