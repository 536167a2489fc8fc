"""``eie doctor``: whether everything that eie needs is here, and what could be."""

from __future__ import annotations

import os
import platform
import re
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, requires, version
from pathlib import Path

import click

from eie.cli.help import examples
from eie.cli.outputs import show

# What each extra is for, in the order in which most people come to need them.
EXTRAS = {
    "onnx": "ONNX files",
    "torch": "PyTorch modules and fine-tuning",
    "notebook": "JupyterLab",
    "data": "DataFrames and Parquet",
    "compare": "measured CSR machines",
    "cluster": "sweeps on Dask",
    "dse": "searches by Optuna",
    "keras": "Keras files",
    "workloads": "ZigZag's and Timeloop's workloads",
    "images": "folders of photos",
}
_REQUIREMENT = re.compile(r"^([A-Za-z0-9._-]+)[^;>=]*(?:>=([0-9.]+))?[^;]*(?:;.*extra *== *['\"]([^'\"]+))?")


@dataclass(frozen=True, kw_only=True)
class Check:
    """One thing that was looked at; ``ok`` is None where nothing is wrong with it either way."""

    what: str
    value: str
    ok: bool | None = True
    remedy: str = ""


@click.command(epilog=examples("eie doctor || echo something is missing"))
def doctor() -> None:
    """Check the installation: versions, kernels and their cache, threads, memory, extras.

    The exit code is 1 if something that every command needs is missing, else 0.
    """
    from eie.show.face import Part
    from eie.show.sections import Column, Grid, Section

    needed = [*_packages(), _shipped(), _kernels()]
    beside = [_threads(), _memory()]
    # The sentence last: on a narrow terminal it takes what is left of the line.
    columns = (Column("what", "", "text"), Column("state", "", "text"), Column("value", "", "prose"))
    grids = (
        Grid(columns=columns, rows=tuple(map(_row, (*needed, *beside)))),
        Grid(
            caption="Extras (pip install '.[NAME]' in the source tree):",
            columns=columns,
            rows=tuple(map(_row, _extras())),
        ),
    )
    broken = [check for check in needed if check.ok is False]
    remedies = tuple(f"{check.what}: {check.remedy}" for check in needed if check.remedy)
    title = f"{len(broken)} things are wrong" if len(broken) > 1 else "1 thing is wrong" if broken else "All is well"
    show(Part(Section(name="doctor", title=title, grids=grids, lines=remedies), dict))
    if broken:
        raise click.exceptions.Exit(1)


def _row(check: Check) -> dict[str, str]:
    return {
        "what": check.what,
        "value": check.value,
        "state": {True: "ok", False: "WRONG", None: "-"}[check.ok],
    }


def _requirements() -> list[tuple[str, str, str]]:
    """Name, least version and extra ("" for the core) of everything that the installed package asks for."""
    try:
        listed = requires("eie") or []
    except PackageNotFoundError:
        # Run from a source tree that was never installed: nothing says what it asks for.
        return []
    matches = [match for match in map(_REQUIREMENT.match, listed) if match is not None]
    return [(match[1], match[2] or "", match[3] or "") for match in matches]


def _packages() -> Iterator[Check]:
    from eie.version import __version__

    yield Check(what="eie", value=__version__)
    python = platform.python_version()
    yield Check(
        what="python", value=f"{python}, {platform.machine()} {platform.system()}", ok=sys.version_info >= (3, 11)
    )
    for name, least, extra in _requirements():
        if not extra:
            installed = _version(name)
            ok = bool(installed) and _numbers(installed) >= _numbers(least)
            remedy = "" if ok else f"pip install '{name}>={least}'"
            yield Check(what=name, value=installed or "missing", ok=ok, remedy=remedy)


def _extras() -> Iterator[Check]:
    by_extra: dict[str, list[str]] = {}
    for name, _, extra in _requirements():
        # An extra that asks for another one of ours (torch for onnx) is told under that.
        if name != "eie":
            by_extra.setdefault(extra, []).append(name)
    for extra, what in EXTRAS.items():
        names = by_extra.get(extra, [])
        missing = [name for name in names if not _version(name)]
        there = ", ".join(f"{name} {_version(name)}" for name in names if name not in missing)
        value = "; ".join(filter(None, (what, there, f"missing: {', '.join(missing)}" if missing else "")))
        yield Check(what=extra, value=value, ok=None if missing or not names else True)


def _version(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return ""


def _numbers(text: str) -> tuple[int, ...]:
    return tuple(map(int, re.findall(r"\d+", text)[:3]))


def _shipped() -> Check:
    from eie.importers.shipped import shipped_models

    names = shipped_models()
    return Check(
        what="models", value=f"{len(names)} shipped", ok=bool(names), remedy="" if names else "install eie anew"
    )


def _kernels() -> Check:
    try:
        from eie.kernels.jit import CACHE_FOLDER, kernels_are_cached, settings
    except ImportError as error:
        # What a doctor is asked for: a package that is there and does not load.
        return Check(
            what="kernels",
            value=f"numba does not load: {error}",
            ok=False,
            remedy="pip install --force-reinstall numba",
        )
    if settings.DISABLE_JIT:
        return Check(
            what="kernels", value="not compiled: NUMBA_DISABLE_JIT is set", ok=None, remedy="unset it: runs are slow"
        )
    if kernels_are_cached():
        return Check(what="kernels", value=f"compiled, in {CACHE_FOLDER} ({_sizes(CACHE_FOLDER)})")
    if not CACHE_FOLDER.exists():
        # A read-only home still runs, so this is slow and not wrong.
        remedy = "no folder can be written: set EIE_CACHE_DIR, or every process compiles anew"
        return Check(what="kernels", value="cannot be kept", ok=None, remedy=remedy)
    return Check(
        what="kernels",
        value=f"to be compiled, into {CACHE_FOLDER}",
        ok=None,
        remedy="eie warmup does it now (10 s and more)",
    )


def _sizes(folder: Path) -> str:
    """Say what a folder of kernels takes, and what those of other versions beside it do."""
    from eie.kernels.folders import beside, size_bytes

    others = list(beside(folder))
    size = f"{size_bytes(folder) / 2**20:.1f} MiB"
    if not others:
        return size
    many = "one of another version" if len(others) == 1 else f"{len(others)} of other versions"
    return f"{size}; {many} {sum(map(size_bytes, others)) / 2**20:.1f} MiB"


def _threads() -> Check:
    usable = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    blas = os.environ.get("OPENBLAS_NUM_THREADS")
    said = f"; OPENBLAS_NUM_THREADS={blas}" if blas else ""
    return Check(what="threads", value=f"{os.cpu_count()} cores, {usable} usable{said}", ok=None)


def _memory() -> Check:
    try:
        pages = os.sysconf("SC_PAGE_SIZE")
        # The second is missing on some systems.
        whole, free = (pages * os.sysconf(name) / 2**30 for name in ("SC_PHYS_PAGES", "SC_AVPHYS_PAGES"))
    except (AttributeError, ValueError, OSError):
        return Check(what="memory", value="not known on this system", ok=None)
    return Check(what="memory", value=f"{whole:.1f} GiB, {free:.1f} GiB free", ok=None)
