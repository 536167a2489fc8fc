"""Where compiled kernels are kept, and the one decorator that all of them use.

numba's file cache does not notice when a callee in another module or an imported constant changes, so the
cache folder is keyed by a hash of every kernel source: a changed kernel gets a new folder. The folder is set
only while our functions are decorated; a caller's own numba functions keep their place.
"""

from __future__ import annotations

import atexit
import hashlib
import os
import platform
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar, cast

import numba
import numpy as np

settings: Any = numba.config
F = TypeVar("F", bound=Callable[..., object])


def _sources_digest() -> str:
    digest = hashlib.sha256()
    for path in sorted(Path(__file__).parent.glob("*.py")):
        digest.update(path.read_bytes())
    digest.update(f"{numba.__version__} {np.__version__} {platform.machine()}".encode())
    return digest.hexdigest()[:16]


def _choose_folder() -> Path:
    root = os.environ.get("EIE_CACHE_DIR") or os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    name = f"kernels-{_sources_digest()}"
    folder = Path(root) / "eie" / name
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            return folder
    except OSError:
        # A read-only home still runs; it compiles anew in every process.
        temporary = tempfile.mkdtemp(prefix="eie-")
        atexit.register(shutil.rmtree, temporary, ignore_errors=True)
        return Path(temporary) / name


CACHE_FOLDER = _choose_folder()


def kernels_are_cached() -> bool:
    """Say whether an earlier process left compiled kernels for these sources."""
    return any(CACHE_FOLDER.glob("**/*.nbi"))


def njit(function: F) -> F:
    """Compile ``function`` in nopython mode, releasing the GIL, cached in `CACHE_FOLDER`."""
    before = settings.CACHE_DIR
    settings.CACHE_DIR = str(CACHE_FOLDER)
    try:
        compiled: Any = numba.njit(nogil=True, cache=True)(function)
    finally:
        settings.CACHE_DIR = before
    return cast(F, compiled)


def inlined(function: F) -> F:
    """Mark a leaf that is compiled into its callers, which sit in the same module."""
    compiled: Any = numba.njit(inline="always")(function)
    return cast(F, compiled)
