"""Where compiled kernels are kept, and the one decorator that all of them use.

numba's file cache does not notice when a callee in another module or an imported constant changes, so the
cache folder is keyed by a hash of every kernel source: a changed kernel gets a new folder. The folder is set
only while our functions are decorated; a caller's own numba functions keep their place. The same holds for the one
compiler switch that some kernels need, `paired`: it is set while they are compiled, and at no other time.
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
from llvmlite import ir
from numba.core.compiler_lock import global_compiler_lock
from numba.core.runtime import rtsys  # type: ignore[attr-defined]
from numba.extending import intrinsic
from numpy.typing import NDArray

from eie.kernels.checked import CheckedFile, is_ours, say
from eie.kernels.folders import clear_away, hold

# Any: numba makes the attributes of its configuration at run time, where no type checker sees them.
settings: Any = numba.config
F = TypeVar("F", bound=Callable[..., object])


def _sources_digest() -> str:
    digest = hashlib.sha256()
    for path in sorted(Path(__file__).parent.glob("*.py")):
        digest.update(path.read_bytes())
    # The machine code depends on these as well, and a home folder can be shared by several machines.
    digest.update(f"{numba.__version__} {np.__version__} {platform.machine()}".encode())
    return digest.hexdigest()[:16]


def _choose_folder() -> Path:
    name = f"kernels-{_sources_digest()}"
    try:
        root = os.environ.get("EIE_CACHE_DIR") or os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
        folder = Path(root) / "eie" / name
        is_new = not folder.exists()
        # Nobody else may put a file there, whatever the umask: what lies there is run.
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        # Tried, not asked: the folder can be there on a full disk or one mounted read-only.
        with tempfile.TemporaryFile(dir=folder):
            if _is_closed(folder):
                hold(folder)
                # Each change of the kernels makes a folder; only then are there more than before.
                if is_new:
                    clear_away(folder)
                return folder
    # RuntimeError: no HOME, and a user without an entry that would name one.
    except (OSError, RuntimeError):
        pass
    # A read-only home still runs; it compiles anew in every process.
    temporary = tempfile.mkdtemp(prefix="eie-")
    atexit.register(shutil.rmtree, temporary, ignore_errors=True)
    return Path(temporary) / name


def _is_closed(folder: Path) -> bool:
    """Whether a folder is this user's alone; one of ours that others could write is emptied and closed to them."""
    status = folder.stat()
    if is_ours(status):
        return True
    if status.st_uid != os.geteuid():
        say(f"{folder}: belongs to another user: kernels are compiled anew in every run (EIE_CACHE_DIR sets a folder)")
        return False
    folder.chmod(0o700)
    for path in folder.iterdir():
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path, ignore_errors=True)
        else:
            path.unlink()
    say(f"{folder}: others could write it: closed to them, kernels are compiled anew")
    return True


CACHE_FOLDER = _choose_folder()


def kernels_are_cached() -> bool:
    """Say whether an earlier process left compiled kernels for these sources."""
    # Index files, one a kernel; numba puts them into folders of its own below ours.
    return any(CACHE_FOLDER.glob("**/*.nbi"))


def njit(function: F) -> F:
    """Compile ``function`` in nopython mode, releasing the GIL, cached in `CACHE_FOLDER`."""
    before = settings.CACHE_DIR
    settings.CACHE_DIR = str(CACHE_FOLDER)
    try:
        compiled: Any = numba.njit(nogil=True, cache=True)(function)
    finally:
        settings.CACHE_DIR = before
    # Uncompiled, a kernel is the plain function: there is nothing to load and no cache to speak of.
    if not settings.DISABLE_JIT:
        _load_checked(compiled)
        _load_lightly(compiled)
    return cast(F, compiled)


def _load_checked(compiled: Any) -> None:
    """Have a kernel's files checked before they are unpickled."""
    file = getattr(compiled._cache, "_cache_file", None)
    # Names of numba's own, which a later version may not have: then kernels are cached as numba does it, unchecked.
    if all(hasattr(file, name) for name in ("_load_index", "_save_index", "_load_data", "_save_data", "_dump")):
        file.__class__ = CheckedFile


def _load_lightly(compiled: Any) -> None:
    """Have a kernel come from the cache without everything that only a compilation needs.

    Before numba loads a kernel it registers all that a caller might compile, and imports scipy.linalg for it: half of
    the time of a small run. A compiled kernel asks for numba's memory manager alone; whoever compiles something later
    still gets the rest, since numba registers it then. Kernels must not use functions whose code numba keeps in modules
    of its own, such as np.iinfo, np.sum or np.sort: those modules would be imported with the kernel.
    """
    cache = compiled._cache
    # A name of numba's own, which a later version may not have: then kernels load as numba does it, slower.
    load = getattr(cache, "_load_overload", None)
    if load is None:
        return

    def load_overload(signature: Any, target: Any) -> Any:
        rtsys.initialize(target)
        return load(signature, target)

    cache.load_overload = load_overload


def paired(function: F) -> F:
    """Compile as `njit` does, and put neighbouring scalars of straight-line code into one vector instruction.

    That is LLVM's SLP vectoriser. numba leaves it off since it has miscompiled other people's code (numba #8852), so
    it is on for the kernels that gain from it and nowhere else; the tests hold those to plain Python, to the bit. The
    sources name these kernels, so the folder's key covers the switch.
    """
    compiled: Any = njit(function)
    if settings.DISABLE_JIT:
        return cast(F, compiled)
    compile_as_set = compiled.compile

    def compile_paired(signature: Any) -> Any:
        # numba reads the switch when it compiles, at the first call; its own lock keeps other threads' compilations out
        with global_compiler_lock:
            before = settings.SLP_VECTORIZE
            settings.SLP_VECTORIZE = 1
            try:
                return compile_as_set(signature)
            finally:
                settings.SLP_VECTORIZE = before

    compiled.compile = compile_paired
    return cast(F, compiled)


def inlined(function: F) -> F:
    """Mark a leaf that is compiled into its callers."""
    # No cache of its own: it is part of each caller's code. The folder's key, of all sources, notices it change.
    compiled: Any = numba.njit(inline="always")(function)
    return cast(F, compiled)


@intrinsic
def _fetch(_context: Any, array: Any, at: Any) -> Any:
    """Emit LLVM's prefetch of ``array[at]``, for reading, into the nearest cache."""

    def generate(target: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        address, number = ir.IntType(8).as_pointer(), ir.IntType(32)
        data = target.make_array(signature.args[0])(target, builder, arguments[0]).data
        kind = ir.FunctionType(ir.VoidType(), [address, number, number, number])
        prefetch = builder.module.declare_intrinsic("llvm.prefetch", [address], kind)
        place = builder.bitcast(builder.gep(data, [arguments[1]]), address)
        # To be read (0), kept as near as can be (3), data and not code (1): the arguments of llvm.prefetch.
        builder.call(prefetch, [place, number(0), number(3), number(1)])
        return target.get_dummy_value()

    return numba.types.void(array, at), generate


def _fetch_nothing(array: NDArray[Any], at: int) -> None:
    """Stand in for `_fetch` in plain Python."""


# Columns that are walked lie apart, so the processor's own prefetcher starts anew at each: asking for the next one's
# entries ahead of time made the walk of Alex-6 1.6 times faster.
fetch: Any = _fetch_nothing if settings.DISABLE_JIT else _fetch


@intrinsic
def _ones(_context: Any, word: Any) -> Any:
    """Emit LLVM's count of the bits that are set."""

    def generate(_target: Any, builder: Any, _signature: Any, arguments: Any) -> Any:
        return builder.ctpop(arguments[0])

    return word(word), generate


def _ones_of(word: Any) -> Any:
    """Stand in for `_ones` in plain Python."""
    return np.bitwise_count(word).astype(word.dtype)


# One instruction, for 8 words at once where the processor has it; numba knows no function that becomes it.
ones: Any = _ones_of if settings.DISABLE_JIT else _ones
