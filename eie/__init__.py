"""EIE: what a pruned, weight-shared network costs on a sparse accelerator, and why.

The names below are all a caller needs; each is loaded on first use, so that ``import eie`` stays instant.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

from eie.version import __version__ as __version__

if TYPE_CHECKING:
    from eie.compiler.program import Program, compile
    from eie.compression.recipe import Recipe, load_recipe
    from eie.compression.report import CompressionReport
    from eie.errors import EieError
    from eie.formats.answers import read_answer
    from eie.importers import load
    from eie.importers.stored import save
    from eie.model.network import Layer, Network
    from eie.model.trace import LayerTrace, Trace
    from eie.recording.run_torch import record_torch
    from eie.results.layer import LayerResult
    from eie.results.result import Result
    from eie.simulation import simulate
    from eie.spec import EIE_64PE, EIE_256PE, AcceleratorSpec, load_spec
    from eie.studies.compare import compare
    from eie.studies.compress import compress
    from eie.studies.granularity.study import granularity
    from eie.studies.search.search import search
    from eie.sweeps.result import SweepResult
    from eie.sweeps.run import sweep

_HOMES = {
    "AcceleratorSpec": "eie.spec",
    "EIE_64PE": "eie.spec",
    "EIE_256PE": "eie.spec",
    "CompressionReport": "eie.compression.report",
    "EieError": "eie.errors",
    "Layer": "eie.model.network",
    "LayerResult": "eie.results.layer",
    "LayerTrace": "eie.model.trace",
    "Network": "eie.model.network",
    "Program": "eie.compiler.program",
    "Recipe": "eie.compression.recipe",
    "Result": "eie.results.result",
    "SweepResult": "eie.sweeps.result",
    "Trace": "eie.model.trace",
    "compare": "eie.studies.compare",
    "compile": "eie.compiler.program",
    "compress": "eie.studies.compress",
    "granularity": "eie.studies.granularity.study",
    "load": "eie.importers",
    "load_recipe": "eie.compression.recipe",
    "load_spec": "eie.spec",
    "read_answer": "eie.formats.answers",
    "record_torch": "eie.recording.run_torch",
    "save": "eie.importers.stored",
    "search": "eie.studies.search.search",
    "simulate": "eie.simulation",
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
    "read_answer",
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
