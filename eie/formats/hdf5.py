"""HDF5 files as named arrays; needs the ``keras`` extra (h5py).

Comes in: a path, or the bytes of a file. Goes out: arrays by path inside the file, and its texts. Read by the importer
of Keras files. Nothing outside the file is followed: HDF5 has links to other files, and data kept in them.
"""

from __future__ import annotations

import io
import math
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

import numpy as np

from eie.errors import ModelError
from eie.formats.budget import afford, budget_bytes
from eie.formats.files import LARGEST_BYTES, Arrays, first_line, regular_file

# Of groups in groups, and of what they hold: a hard link may lead back to its own group.
_DEEPEST = 32
_MOST_OBJECTS = 100_000
_LARGEST_TEXT = 16 << 20
# Processor time for a file of no size, and how much of a larger one is read in a second at least.
CPU_S, _BYTES_A_S = 5.0, 5e6
# What the other process runs: a file, seconds, the budget, and where modules are.
_PROBE = """
import resource, sys
path, seconds, budget, *sys.path = sys.argv[1:]
resource.setrlimit(resource.RLIMIT_CPU, (int(seconds), int(seconds) + 1))
resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
from pathlib import Path
from eie.errors import EieError
from eie.formats import budget as memory, hdf5
memory.set_budget(budget)
try:
    hdf5._read(Path(path), path)
except EieError:
    pass
"""
# What h5py raises on cut, flipped and made-up files.
_UNREADABLE = (
    OSError,
    KeyError,
    RuntimeError,
    ValueError,
    TypeError,
    AttributeError,
    IndexError,
    ArithmeticError,
    MemoryError,
    NotImplementedError,
)


@dataclass(frozen=True, kw_only=True)
class Hdf5:
    """Arrays by path, texts (attributes that are text) by path of their group or array and name, both with slashes."""

    arrays: Arrays = field(default_factory=dict)
    texts: dict[str, str] = field(default_factory=dict)


def read_hdf5(file: Path | bytes, where: str) -> Hdf5:
    """Read every array of numbers and every text.

    Raises
    ------
    ModelError
        If h5py is not installed, the file is damaged, holds links out of itself or unpacks to more than
        ``LARGEST_BYTES``.
    """
    try:
        import h5py  # noqa: F401 - asked for here, so that one line says what is missing
    except ImportError:
        raise ModelError(f"{where}: reading HDF5 files needs h5py: pip install 'eie[keras]'") from None
    if isinstance(file, Path):
        regular_file(file, ModelError)
    probe(file, where)
    return _read(io.BytesIO(file) if isinstance(file, bytes) else file, where)


def _read(file: IO[bytes] | Path, where: str) -> Hdf5:
    import h5py

    content = Hdf5()
    total = 0
    try:
        with h5py.File(file, "r") as root:
            content.texts.update(_texts("", root))
            for path, item in _items(root, left=[_MOST_OBJECTS]):
                content.texts.update(_texts(f"{path}/", item))
                if not isinstance(item, h5py.Dataset) or item.dtype.kind not in "fiub":
                    continue
                if item.is_virtual or item.external:
                    raise ValueError(f"{path} keeps its data in another file")
                total += item.size * item.dtype.itemsize
                if total > LARGEST_BYTES:
                    raise ValueError(f"unpacks to more than {LARGEST_BYTES:,} bytes")
                afford(total, where, ModelError)
                content.arrays[path] = np.asarray(item[()])
    except _UNREADABLE as error:
        raise ModelError(f"{where}: not a usable HDF5 file: {first_line(error)}") from None
    return content


def probe(file: Path | bytes, where: str) -> None:
    """Read a file in another process first: on some damage the HDF5 library goes round for ever, or crashes.

    Raises
    ------
    ModelError
        If that process had to be ended. What else is wrong is said where the file is read.
    """
    with ExitStack() as stack:
        if isinstance(file, bytes):
            copy = stack.enter_context(tempfile.NamedTemporaryFile(suffix=".h5"))
            copy.write(file)
            copy.flush()
            path, size = Path(copy.name), len(file)
        else:
            path, size = file, file.stat().st_size
        words = [str(path.resolve()), str(math.ceil(CPU_S + size / _BYTES_A_S)), str(budget_bytes())]
        # Where this process has its modules from, so that the other has the same.
        words += [entry or os.getcwd() for entry in sys.path]
        try:
            # -P and the path as an argument: nothing is imported from the folder that the file lies in.
            done = subprocess.run([sys.executable, "-P", "-c", _PROBE, *words], capture_output=True, check=False)
        except OSError:
            # No other process can be had: what cannot be tried is read as it is.
            return
    # A negative code is a signal's: of the limit on its time, or of a crash.
    if done.returncode < 0:
        what = "does not end" if -done.returncode in (signal.SIGXCPU, signal.SIGKILL) else "crashes"
        raise ModelError(f"{where}: not a usable HDF5 file: damaged: reading it {what}: write or copy it anew")


def _items(group: Any, prefix: str = "", *, depth: int = _DEEPEST, left: list[int]) -> Iterator[tuple[str, Any]]:
    """Groups and arrays below ``group``; ``left`` counts down what may still be visited."""
    import h5py

    for name in group:
        left[0] -= 1
        if left[0] < 0 or depth == 0:
            raise ValueError(f"more than {_MOST_OBJECTS:,} objects, or groups nested deeper than {_DEEPEST}")
        # A soft or external link leads anywhere, to other files too.
        if not isinstance(group.get(name, getlink=True), h5py.HardLink):
            raise ValueError(f"{prefix}{name} is a link, not data of this file")
        item = group[name]
        yield f"{prefix}{name}", item
        if isinstance(item, h5py.Group):
            yield from _items(item, f"{prefix}{name}/", depth=depth - 1, left=left)


def _texts(prefix: str, item: Any) -> Iterator[tuple[str, str]]:
    for name in item.attrs:
        value = item.attrs[name]
        if isinstance(value, bytes):
            value = value.decode("utf-8", "replace")
        if isinstance(value, str) and len(value) <= _LARGEST_TEXT:
            yield f"{prefix}{name}", value
