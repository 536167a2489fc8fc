"""``.pt2`` archives of ``torch.export.save`` as networks (needs the ``torch`` extra).

Comes in: a path. Goes out: a `Network`, as `torch_module` makes it. Read by `eie.importers`.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from eie.errors import ModelError
from eie.formats.exported_program import read_program
from eie.formats.files import file_sha256
from eie.importers.options import Unsupported
from eie.importers.torch_module import from_torch
from eie.model.network import Network


def read(path: Path, unsupported: Unsupported = "refuse", density: float | None = None) -> Network:
    """Read a network from ``path``.

    Raises
    ------
    ModelError
        If the archive is damaged or could run code, or torch cannot export what it holds.
    """
    try:
        network = from_torch(read_program(path), name=path.stem, unsupported=unsupported, density=density)
    except ModelError as error:
        raise (error if str(error).startswith(str(path)) else ModelError(f"{path}: {error}")) from None
    # Of the archive: the ONNX file in between names torch's version.
    return replace(network, source=path.name, sha256=file_sha256(path))
