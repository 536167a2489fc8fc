"""How figures are drawn and written: one style, the same bytes for the same figure.

Comes in: functions that draw. Goes out: matplotlib figures, PNG and SVG files, SVG elements for pages. Read by the
other modules of this room. Nothing here opens a window; pyplot hears of a figure only in a notebook, see `shown`.
"""

from __future__ import annotations

import re
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from html import escape
from io import BytesIO
from pathlib import Path
from typing import Any

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from rich.cells import cell_len

from eie.errors import EieError
from eie.show.cells import LONGEST, short_names
from eie.show.notebook import in_notebook
from eie.show.writing import replacing

STYLE: Any = {
    # matplotlib draws ids in SVG at random without it, and no two runs would give the same file.
    "svg.hashsalt": "eie",
    "font.size": 9,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "legend.frameon": False,
    "figure.constrained_layout.use": True,
}


@dataclass(frozen=True)
class Drawing:
    """A figure that is drawn when it is asked for.

    Attributes
    ----------
    section
        The answer's section whose page shows it; empty for figures that are files only.
    """

    draw: Callable[[], Figure]
    section: str = ""


# Drawn late: a page or a folder draws what it needs.
Drawings = Mapping[str, Drawing]  # by file name


def save_figures(drawings: Mapping[str, Callable[[], Figure]], folder: str | Path) -> list[Path]:
    """Draw figures, one at a time, and write each into ``folder`` as PNG and SVG; return the files.

    Raises
    ------
    EieError
        If the folder cannot be made.
    """
    folder = Path(folder)
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise EieError(f"{folder}: cannot be made a folder: {error.strerror or error}") from None
    written = []
    for name, draw in drawings.items():
        figure = draw()
        for suffix in ("png", "svg"):
            # PNG to look at, SVG to print and to put into a page.
            written.append(folder / f"{name}.{suffix}")
            _save(figure, written[-1])
    return written


def shown(figure: Figure) -> Figure:
    """Hand a figure to pyplot where a notebook runs, which shows it below the cell as it is when the cell ends.

    Elsewhere nothing happens: a program that draws hundreds of figures would keep them all in pyplot's list.
    """
    if in_notebook():
        from matplotlib import pyplot

        # pyplot makes its figures by calling FigureClass; this one is drawn already.
        pyplot.figure(FigureClass=lambda **_: figure)  # type: ignore[arg-type]
    return figure


def svg_element(figure: Figure, prefix: str, label: str) -> str:
    """Return a figure as an SVG element for a page, its ids made unique; the same figure, the same text."""
    stream = BytesIO()
    with mpl.rc_context(STYLE), _any_letters():
        # A date would make two runs differ.
        figure.savefig(stream, format="svg", metadata={"Date": None})
    text = stream.getvalue().decode()
    # Without the XML head: an element in a page, not a document.
    text = text[text.index("<svg") :].strip()
    # Ids are known to the whole page: two figures would clip and mark by each other's.
    for before in (' id="', 'href="#', "url(#"):
        text = text.replace(before, f"{before}{prefix}-")
    named = f'<svg role="img" aria-label="{escape(label)}"'
    # It names matplotlib's version, and so differs where nothing else does.
    return re.sub(r"<metadata>.*?</metadata>", "", text, flags=re.DOTALL).replace("<svg", named, 1)


def in_words(draw: Callable[[], Figure]) -> str:
    """Say what a figure shows, for those who do not see it: what the function that draws it says of itself."""
    function = getattr(draw, "func", draw)
    shows = (function.__doc__ or "").split("\n", 1)[0].removeprefix("Show ").rstrip(".")
    return f"Figure: {shows or file_name(function.__name__)}"


def short(name: str) -> str:
    """Return a name as a title has room for it."""
    return short_names([name], LONGEST)[0]


def name_ticks(axes: Axes, names: Sequence[str], *, most: int) -> None:
    """Name the places of an axis, aslant where the names have more than ``most`` letters; long ones are shortened."""
    names = short_names(names, LONGEST)
    crowded = sum(map(cell_len, names)) > most
    axes.set_xticks(range(len(names)), names, rotation=45 if crowded else 0, ha="right" if crowded else "center")


def file_name(name: str) -> str:
    """Return a layer's name as part of a file's."""
    # A layer's name has slashes and colons in many a framework.
    return "".join(char if char.isalnum() or char in "-_." else "_" for char in name)


@contextmanager
def _any_letters() -> Iterator[None]:
    """Draw names in a script that matplotlib's font lacks as its boxes; it would warn of each letter."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", r"Glyph .* missing from font", UserWarning)
        yield


def _save(figure: Figure, path: Path) -> None:
    """Write a figure whole or not at all; the same figure gives the same bytes."""
    stream = BytesIO()
    with mpl.rc_context(STYLE), _any_letters():
        # A date or a version would make two runs differ.
        metadata = {"Date": None} if path.suffix == ".svg" else {"Software": None}
        figure.savefig(stream, format=path.suffix[1:], dpi=150, metadata=metadata)
    # Drawn into memory first, or an error half way would leave half a picture.
    with replacing(path) as file:
        file.write(stream.getvalue())
