"""EIE: what a pruned, weight-shared network costs on a sparse accelerator, and why.

The names below are all a caller needs; each is loaded on first use, so that ``import eie`` stays instant.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

from eie.version import __version__ as __version__

if TYPE_CHECKING:
    from eie.compiler.program import Program, compile
    from eie.compression.apply import CompressionReport, compress
    from eie.compression.recipe import Recipe, load_recipe
    from eie.errors import EieError
    from eie.importers import load
    from eie.importers.stored import save
    from eie.layer_result import LayerResult
    from eie.network import Layer, Network
    from eie.recording.run_torch import record_torch
    from eie.report.compare import compare
    from eie.report.result import Result
    from eie.report.run import simulate
    from eie.spec import EIE_64PE, EIE_256PE, AcceleratorSpec, load_spec
    from eie.studies.granularity import granularity
    from eie.studies.search import search
    from eie.sweeps.result import SweepResult
    from eie.sweeps.run import sweep
    from eie.trace import LayerTrace, Trace

_HOMES = {
    "AcceleratorSpec": "eie.spec",
    "EIE_64PE": "eie.spec",
    "EIE_256PE": "eie.spec",
    "CompressionReport": "eie.compression.apply",
    "EieError": "eie.errors",
    "Layer": "eie.network",
    "LayerResult": "eie.layer_result",
    "LayerTrace": "eie.trace",
    "Network": "eie.network",
    "Program": "eie.compiler.program",
    "Recipe": "eie.compression.recipe",
    "Result": "eie.report.result",
    "SweepResult": "eie.sweeps.result",
    "Trace": "eie.trace",
    "compare": "eie.report.compare",
    "compile": "eie.compiler.program",
    "compress": "eie.compression.apply",
    "granularity": "eie.studies.granularity",
    "load": "eie.importers",
    "load_recipe": "eie.compression.recipe",
    "load_spec": "eie.spec",
    "record_torch": "eie.recording.run_torch",
    "save": "eie.importers.stored",
    "search": "eie.studies.search",
    "simulate": "eie.report.run",
    "sweep": "eie.sweeps.run",
}

__all__ = [
    "EIE_64PE",
    "EIE_256PE",
    "AcceleratorSpec",
    "CompressionReport",
    "EieError",
    "Layer",
    "LayerResult",
    "LayerTrace",
    "Network",
    "Program",
    "Recipe",
    "Result",
    "SweepResult",
    "Trace",
    "compare",
    "compile",
    "compress",
    "granularity",
    "load",
    "load_recipe",
    "load_spec",
    "record_torch",
    "save",
    "search",
    "simulate",
    "sweep",
]


def __getattr__(name: str) -> object:
    if name in _HOMES:
        value = getattr(import_module(_HOMES[name]), name)
        globals()[name] = value
        return value
    raise AttributeError(f"module 'eie' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
