"""Figures of every answer: found by the answer's type, drawn with matplotlib; the only room that imports it.

Comes in: an answer (`eie.Result`, a sweep, a study). Goes out: figures, PNG and SVG files, SVG elements. Called by
``answer.plot()`` and ``answer.to_html()``, which load this room by its name, so that no other one depends on it.
"""

from __future__ import annotations

from collections.abc import Mapping
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING

from eie.errors import EieError
from eie.show.face import View

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from eie.plots.drawing import Drawings

# The class of what is shown, and the function that knows its figures.
# By name: looking a class up must not import the others, nor matplotlib before something is drawn.
HOMES: Mapping[str, str] = {
    "Result": "eie.plots.result:result_drawings",
    "LayerResult": "eie.plots.result:layer_drawings",
    "Energy": "eie.plots.result:energy_drawings",
    "Comparison": "eie.plots.comparison:comparison_drawings",
    "SweepResult": "eie.plots.sweep:sweep_drawings",
    "CompressionReport": "eie.plots.compression:report_drawings",
    "SizeReport": "eie.plots.compression:size_drawings",
    "Sensitivity": "eie.plots.compression:sensitivity_drawings",
    "GranularityStudy": "eie.plots.studies:granularity_drawings",
    "Search": "eie.plots.studies:search_drawings",
    "Explanation": "eie.plots.explanation:explanation_drawings",
    "Paper": "eie.plots.paper:paper_drawings",
}


def figures(answer: View) -> dict[str, Figure]:
    """Draw every figure, by name."""
    return {name: drawing.draw() for name, drawing in _drawings(answer).items()}


def save(answer: View, folder: str | Path) -> list[Path]:
    """Write every figure as PNG and SVG; return the files."""
    from eie.plots.drawing import save_figures

    # Functions, not figures: only one is in memory at a time, and a large network has hundreds.
    return save_figures({name: drawing.draw for name, drawing in _drawings(answer).items()}, folder)


def svgs(answer: View, section: str = "") -> dict[str, str]:
    """Draw what a page shows as SVG elements, by section; of one section alone if it is named."""
    from eie.plots.drawing import svg_element

    elements: dict[str, str] = {}
    # A page needs no figure, so this is no error as it is in `_drawings`.
    if type(answer).__name__ not in HOMES:
        return elements
    for name, drawing in _drawings(answer).items():
        # A drawing without a section is a file only.
        if drawing.section and section in ("", drawing.section):
            elements.setdefault(drawing.section, "")
            elements[drawing.section] += svg_element(drawing.draw(), name, name)
    return elements


def _drawings(answer: View) -> Drawings:
    home = HOMES.get(type(answer).__name__)
    if home is None:
        raise EieError(f"{type(answer).__name__}: no figure shows it; figures exist of {', '.join(HOMES)}")
    module, _, function = home.partition(":")
    drawings: Drawings = getattr(import_module(module), function)(answer)
    return drawings
