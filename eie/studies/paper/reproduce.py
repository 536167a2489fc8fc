"""Every table and figure, by name, in the paper's order.

Comes in: names, and fc8's data if there is any. Goes out: a frozen `Paper`. Called by the command line,
notebooks and tests.
"""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from eie.errors import SpecError
from eie.formats.arguments import taken
from eie.show.face import Answer
from eie.show.notebook import told
from eie.show.numbers import percent
from eie.show.sections import Section, Statement, statements_of
from eie.show.text import section_data, tally
from eie.studies.paper.basis import labelled, summary
from eie.studies.paper.bench import Bench
from eie.studies.paper.contradictions import contradictions
from eie.studies.paper.masks import measured_spread
from eie.studies.paper.power import table2, table5
from eie.studies.paper.precision import figure10
from eie.studies.paper.ratios import figure6, figure7
from eie.studies.paper.scaling import figure8, figure9, figure11, figure12, figure13
from eie.studies.paper.times import table3, table4

SECTIONS: dict[str, Callable[[Bench], Section]] = {
    "table2": table2,
    "table3": table3,
    "table4": table4,
    "table5": table5,
    "figure6": figure6,
    "figure7": figure7,
    "figure8": figure8,
    "figure9": figure9,
    "figure10": figure10,
    "figure11": figure11,
    "figure12": figure12,
    "figure13": figure13,
    "contradictions": contradictions,
}


@dataclass(frozen=True, kw_only=True, repr=False)
class Paper(Answer):
    """The tables and figures asked for, in the paper's order, ours beside the printed.

    Attributes
    ----------
    paper
        What is reproduced.
    data
        Which data the layers ran on, in words.
    parts
        A section a table or figure.
    """

    SCHEMA: ClassVar[str] = "eie-paper"
    CLAIMS: ClassVar[str] = "Claims of the text"

    paper: str
    data: str
    parts: tuple[Section, ...]

    @property
    def statements(self) -> tuple[Statement, ...]:
        """The claims of all sections."""
        return statements_of(self.parts)

    def headline(self) -> str:
        """Say what is reproduced."""
        return f"The EIE paper, reproduced: {self.paper}"

    def sections(self) -> tuple[Section, ...]:
        """Return which data the layers ran on, then the tables and figures."""
        return (Section(name="data", lines=(self.data,)), *self.parts)

    def claims(self) -> str:
        """Say how many claims of the paper's text hold."""
        return tally(self.statements, self.CLAIMS)

    def records(self) -> list[dict[str, Any]]:
        """Return one record a row of a table: section, table, what its cells are, and the row's own columns."""
        return [
            {"section": section.name, "table": grid.caption, "basis": summary(words), **row}
            for section in self.parts
            for grid in section.grids
            for row, words in zip(grid.rows, grid.basis, strict=True)
        ]

    def content(self) -> dict[str, Any]:
        """Return every section as data."""
        return {
            "paper": self.paper,
            "data": self.data,
            "sections": [section_data(section) for section in self.parts],
        }


@taken
@told("stage")
def reproduce(
    names: Iterable[str] = (), fc8: str | Path | None = None, progress: Callable[[str], None] = lambda _: None
) -> Paper:
    """Reproduce the named tables and figures (all of them by default).

    Parameters
    ----------
    names
        Keys of `SECTIONS`, or one; ``"Table 4"`` and ``"figure-11"`` are understood too.
    fc8
        The public data of AlexNet fc8 (``alexnet_fc8.npz``), or None.
    progress
        Called with a line of text for each stage.

    Returns
    -------
    Paper
        The named sections in the paper's order, ours beside the printed.

    Raises
    ------
    SpecError
        For a name that is not a section, with a suggestion.
    ModelError
        If ``fc8`` is not that data.
    """
    wanted = {_section_name(name) for name in names} or set(SECTIONS)
    fc8 = None if fc8 is None else Path(fc8)
    bench = Bench(fc8, progress)
    sections = []
    for name, section in SECTIONS.items():
        if name in wanted:
            progress(name)
            sections.append(labelled(section(bench), real=fc8 is not None))
    return Paper(paper=bench.published.source, data=_data(fc8), parts=tuple(sections))


def _section_name(name: str) -> str:
    plain = "".join(char for char in name.lower() if char.isalnum())
    if plain in SECTIONS:
        return plain
    near = difflib.get_close_matches(plain, SECTIONS, 1, 0.6)
    hint = f"did you mean {near[0]}?" if near else f"known: {', '.join(SECTIONS)}"
    raise SpecError([f"paper {name!r}: no such table or figure; {hint}"])


def _data(fc8: Path | None) -> str:
    spread = measured_spread()
    real = f"Alex-8 also on its real data ({fc8.name})" if fc8 else "no real data (Alex-8's public data: --fc8 FILE)"
    return (
        "Weights and inputs are synthetic, from Table III's shapes and densities: random masks (every weight kept "
        f"independently), and masks with the measured spread: rows as on {spread.source} (coefficient of variation of "
        f"the non-zeros {percent(spread.row_cv, 0)} %), columns as on real layers of the same kind, fc6 where a "
        f"feature map is read and fc7 where a vector is, cut at one threshold; {real}. "
        "Residency ideal, as the paper's times have it: weights and maps are where they are needed, whatever the "
        "memories hold; in Table IV vectors go through the activation registers in batches (section IV)."
    )
