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
    import numpy as np
    from matplotlib.axes import Axes
    from numpy.typing import NDArray

    from eie.plots.drawing import Drawings

# The class of what is shown, and the function that knows its figures.
# By name: looking a class up must not import the others, nor matplotlib before something is drawn.
HOMES: Mapping[str, str] = {
    "Result": "eie.plots.result:result_drawings",
    "LayerResult": "eie.plots.result:layer_drawings",
    "Energy": "eie.plots.result:energy_drawings",
    "Comparison": "eie.plots.comparison:comparison_drawings",
    "SweepResult": "eie.plots.sweep:sweep_drawings",
    "Difference": "eie.plots.difference:difference_drawings",
    "CompressionReport": "eie.plots.compression:report_drawings",
    "SizeReport": "eie.plots.compression:size_drawings",
    "Sensitivity": "eie.plots.compression:sensitivity_drawings",
    "GranularityStudy": "eie.plots.studies:granularity_drawings",
    "Search": "eie.plots.studies:search_drawings",
    "Explanation": "eie.plots.explanation:explanation_drawings",
    "Paper": "eie.plots.paper:paper_drawings",
    "Timeline": "eie.plots.timeline:timeline_drawings",
    "Area": "eie.plots.machine:area_drawings",
    "RtlCheck": "eie.plots.machine:check_drawings",
    "RtlResources": "eie.plots.machine:resources_drawings",
}


def axes(answer: View, only: str | None = None) -> Axes | NDArray[np.object_]:
    """Draw the figures, or one of them, and return their Axes: alone where there is one, else an array."""
    import numpy as np

    from eie.plots.drawing import shown

    drawn = [part for drawing in _chosen(answer, only).values() for part in shown(drawing.draw()).axes]
    if len(drawn) == 1:
        return drawn[0]
    # Filled one by one: numpy would look for an array in each.
    several = np.empty(len(drawn), dtype=np.object_)
    several[:] = drawn
    return several


def save(answer: View, folder: str | Path, only: str | None = None) -> list[Path]:
    """Write every figure, or one of them, as PNG and SVG; return the files."""
    from eie.plots.drawing import save_figures

    # Functions, not figures: only one is in memory at a time, and a large network has hundreds.
    return save_figures({name: drawing.draw for name, drawing in _chosen(answer, only).items()}, folder)


def _chosen(answer: View, only: str | None) -> Drawings:
    drawings = _drawings(answer)
    if only is None:
        return drawings
    if only not in drawings:
        raise EieError(f"figure {only!r}: must be one of {', '.join(drawings)}")
    return {only: drawings[only]}


def svgs(answer: View, section: str = "") -> dict[str, str]:
    """Draw what a page shows as SVG elements, by section; of one section alone if it is named."""
    from eie.plots.drawing import in_words, svg_element

    elements: dict[str, str] = {}
    # A page needs no figure, so this is no error as it is in `_drawings`.
    if type(answer).__name__ not in HOMES:
        return elements
    for name, drawing in _drawings(answer).items():
        # A drawing without a section is a file only.
        if drawing.section and section in ("", drawing.section):
            elements.setdefault(drawing.section, "")
            elements[drawing.section] += svg_element(drawing.draw(), name, in_words(drawing.draw))
    return elements


def _drawings(answer: View) -> Drawings:
    home = HOMES.get(type(answer).__name__)
    if home is None:
        raise EieError(f"{type(answer).__name__}: no figure shows it; figures exist of {', '.join(HOMES)}")
    module, _, function = home.partition(":")
    drawings: Drawings = getattr(import_module(module), function)(answer)
    return drawings
