"""EIE: what a pruned, weight-shared network costs on a sparse accelerator, and why.

The names below are all a caller needs; each is loaded on first use, so that ``import eie`` stays instant.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

from eie.version import __version__ as __version__

if TYPE_CHECKING:
    from eie.compiler.program import Program, compile
    from eie.errors import EieError
    from eie.importers import load
    from eie.network import Layer, Network
    from eie.report.compare import compare
    from eie.report.result import LayerResult, Result
    from eie.report.run import simulate
    from eie.spec import EIE_64PE, EIE_256PE, AcceleratorSpec, load_spec
    from eie.trace import LayerTrace, Trace

_HOMES = {
    "AcceleratorSpec": "eie.spec",
    "EIE_64PE": "eie.spec",
    "EIE_256PE": "eie.spec",
    "EieError": "eie.errors",
    "Layer": "eie.network",
    "LayerResult": "eie.report.result",
    "LayerTrace": "eie.trace",
    "Network": "eie.network",
    "Program": "eie.compiler.program",
    "Result": "eie.report.result",
    "Trace": "eie.trace",
    "compare": "eie.report.compare",
    "compile": "eie.compiler.program",
    "load": "eie.importers",
    "load_spec": "eie.spec",
    "simulate": "eie.report.run",
}

__all__ = [
    "EIE_64PE",
    "EIE_256PE",
    "AcceleratorSpec",
    "EieError",
    "Layer",
    "LayerResult",
    "LayerTrace",
    "Network",
    "Program",
    "Result",
    "Trace",
    "compare",
    "compile",
    "load",
    "load_spec",
    "simulate",
]


def __getattr__(name: str) -> object:
    if name in _HOMES:
        value = getattr(import_module(_HOMES[name]), name)
        globals()[name] = value
        return value
    raise AttributeError(f"module 'eie' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
