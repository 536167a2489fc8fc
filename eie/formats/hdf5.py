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
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

import numpy as np

from eie.errors import ModelError
from eie.formats.budget import VARIABLE, afford, budget_bytes
from eie.formats.files import LARGEST_BYTES, Arrays, first_line, regular_file

# Of groups in groups, and of what they hold: a hard link may lead back to its own group.
_DEEPEST = 32
_MOST_OBJECTS = 100_000
_LARGEST_TEXT = 16 << 20
# Processor time for a file of no size, and how much of a larger one is read in a second at least.
CPU_S, _BYTES_A_S = 5.0, 5e6
# What texts of a file take that is small, and how often a text is held while it is read: by HDF5, h5py and Python.
_SMALL_TEXTS, _COPIES = 64 << 20, 8
# What reading takes beside the arrays: caches and pieces of them.
_BESIDE_ARRAYS = 64 << 20
_REFUSED = 3
# What the other process runs: a file, its name in messages, seconds, the budget, and where modules are.
_PROBE = f"""
import resource, sys
path, where, seconds, budget, *sys.path = sys.argv[1:]
resource.setrlimit(resource.RLIMIT_CPU, (int(seconds), int(seconds) + 1))
resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
from pathlib import Path
from eie.errors import EieError
from eie.formats import budget as memory, hdf5
memory.set_budget(budget)
try:
    hdf5._read_within(Path(path), where)
except EieError as error:
    sys.stdout.buffer.write(str(error).encode("utf-8", "surrogateescape"))
    sys.exit({_REFUSED})
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


# Makes what limits the memory of what is done within it.
_Limit = Callable[[], AbstractContextManager[None]]


def _read(file: IO[bytes] | Path, where: str, texts: _Limit = nullcontext) -> Hdf5:
    import h5py

    content = Hdf5()
    total = 0
    try:
        with h5py.File(file, "r") as root:
            content.texts.update(_texts("", root, texts))
            for path, item in _items(root, left=[_MOST_OBJECTS]):
                content.texts.update(_texts(f"{path}/", item, texts))
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
        what = first_line(error)
        most = f"unpacks to more than {budget_bytes():,} bytes (--memory or {VARIABLE} sets it)"
        if _lacks_memory(error):
            what = f"what it holds {most}"
        # All that HDF5 says where zlib has no memory, and where it has no sense of the bytes.
        elif "filter returned failure" in what:
            what = f"a compressed piece of an array is damaged, or {most}"
        raise ModelError(f"{where}: not a usable HDF5 file: {what}") from None
    return content


def _lacks_memory(error: Exception) -> bool:
    """Return whether memory was refused: h5py has no exception of its own for it, only HDF5's words."""
    return isinstance(error, MemoryError) or "memory allocation failed" in str(error)


def _read_within(path: Path, where: str) -> None:
    """Read a file in a process of its own, whose memory has a limit: lengths in HDF5 are believed before anything."""
    import h5py  # noqa: F401 - what it takes is no part of the file's

    size = path.stat().st_size
    with _limited(budget_bytes() + _BESIDE_ARRAYS):
        _read(path, where, lambda: _limited(_SMALL_TEXTS + _COPIES * size))


@contextmanager
def _limited(most: int) -> Iterator[None]:
    """Let this process take at most ``most`` bytes more; for a process of its own, since a limit is of all threads."""
    # Not on every system; where it is missing, so is the other process's own.
    import resource

    try:
        pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[0])
    # Where a process is not told its size, no limit can be set on it.
    except OSError:
        yield
        return
    before = resource.getrlimit(resource.RLIMIT_AS)
    limit = pages * resource.getpagesize() + most
    lowest = min([limit, *(bound for bound in before if bound != resource.RLIM_INFINITY)])
    resource.setrlimit(resource.RLIMIT_AS, (lowest, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_AS, before)


def probe(file: Path | bytes, where: str) -> None:
    """Read a file in another process first: on some damage the HDF5 library goes round for ever, or crashes.

    It also takes what memory a file asks for: a text of 4 GiB by its stated length, whatever the file's, and all that
    a compressed piece of an array unpacks to, whatever the array's. The other process has a limit on its memory.

    Raises
    ------
    ModelError
        If that process refused the file, or had to be ended.
    """
    with ExitStack() as stack:
        if isinstance(file, bytes):
            copy = stack.enter_context(tempfile.NamedTemporaryFile(suffix=".h5"))
            copy.write(file)
            copy.flush()
            path, size = Path(copy.name), len(file)
        else:
            path, size = file, file.stat().st_size
        words = [str(path.resolve()), where, str(math.ceil(CPU_S + size / _BYTES_A_S)), str(budget_bytes())]
        # Where this process has its modules from, so that the other has the same.
        words += [entry or os.getcwd() for entry in sys.path]
        try:
            # -P and the path as an argument: nothing is imported from the folder that the file lies in.
            done = subprocess.run([sys.executable, "-P", "-c", _PROBE, *words], capture_output=True, check=False)
        except OSError:
            # No other process can be had: what cannot be tried is read as it is.
            return
    if done.returncode == _REFUSED:
        raise ModelError(done.stdout.decode("utf-8", "surrogateescape"))
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


def _texts(prefix: str, item: Any, limit: _Limit) -> Iterator[tuple[str, str]]:
    for name in item.attrs:
        try:
            with limit():
                value = item.attrs[name]
        except _UNREADABLE as error:
            if not _lacks_memory(error):
                raise
            # Texts are stored as they are, never compressed.
            raise ValueError(f"{prefix}{name}: damaged: states a length beyond the whole file's") from None
        if isinstance(value, bytes):
            value = value.decode("utf-8", "replace")
        if isinstance(value, str) and len(value) <= _LARGEST_TEXT:
            yield f"{prefix}{name}", value
