"""The one face of everything this package returns.

Comes in: a subclass's `sections`, headline, records and content. Goes out: ``str``, a short ``repr``, what notebooks
show, HTML, JSON, CSV, DataFrames, figures. Subclassed by every answer and by what users hold in their hands (specs,
networks, programs, traces); read by the command line.

Renderers and figures are loaded when they are called: ``import eie`` stays instant, and no room below `eie.plots` needs
matplotlib.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import replace
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, overload

from eie.errors import EieError, printable
from eie.show.envelope import LIBRARY, enveloped, made_with
from eie.show.records import records_csv, records_frame, write_parquet
from eie.show.sections import Section, Value
from eie.show.writing import write_text

if TYPE_CHECKING:
    import pandas as pd
    from rich.console import Console

REPR_LENGTH = 240
PLOTS = "eie.plots"


class View(ABC):
    """What can be shown: a subclass says what its sections are, every form of them comes from here."""

    CLAIMS: ClassVar[str] = ""  # heads the count of claims that hold, where sections hold claims

    @abstractmethod
    def headline(self) -> str:
        """Say in one line what this is."""

    @abstractmethod
    def sections(self) -> tuple[Section, ...]:
        """Return tables, figures, claims and notes, in order."""

    def page_sections(self) -> tuple[Section, ...]:
        """Return what a page of its own shows: `sections`, and what is too wide for a table on a terminal."""
        return self.sections()

    def brief(self) -> str:
        """Say the same in the few words of a ``repr``: nothing that has to be computed first."""
        return self.headline()

    def section(self, name: str) -> View:
        """Return one section, with its figure, to be shown on its own.

        Raises
        ------
        EieError
            If there is none of that name.
        """
        sections = self.page_sections()
        for section in sections:
            if section.name == name:
                return Part(section, lambda: self._drawings(name))
        raise EieError(f"section {name!r}: must be one of {', '.join(section.name for section in sections)}")

    def show(self, console: Console) -> None:
        """Print on a rich console: fitted to a terminal's width, or one line a row where it is none."""
        if console.is_terminal:
            from eie.show import terminal

            terminal.show(console, self.headline(), self.sections(), claims=self.CLAIMS)
        else:
            console.file.write(str(self))

    def provenance(self) -> Mapping[str, Value]:
        """Return where the numbers are from, for the foot of a page: files and hashes, by what they are of."""
        return {}

    def to_html(self, path: str | Path | None = None, *, command: str = LIBRARY) -> str:
        """Return (and write, if ``path`` is given) one self-contained page, figures inside as SVG.

        Parameters
        ----------
        command
            What made it: the command line says its words.
        """
        from eie.show.page import page

        text = page(
            self.headline(),
            self.page_sections(),
            claims=self.CLAIMS,
            drawings=self._drawings(),
            made={**self.provenance(), **made_with(command)},
        )
        return written(text, path)

    @overload
    def plot(self, folder: None = None, *, only: str | None = None) -> Any: ...

    @overload
    def plot(self, folder: str | Path, *, only: str | None = None) -> list[Path]: ...

    def plot(self, folder: str | Path | None = None, *, only: str | None = None) -> Any:
        """Draw the figures, or write them into a folder as PNG and SVG.

        Parameters
        ----------
        folder
            Where to write them; without it they are drawn, in a notebook below the cell.
        only
            The name of one figure, as its file is called.

        Returns
        -------
        matplotlib Axes, array of Axes or list of Path
            The Axes; an array of them, in order, where there are several; with a folder its new files.

        Raises
        ------
        EieError
            If the folder cannot be made, no figure shows this kind of answer, or there is none of that name.
        """
        # By name, so that figures stay above the answers they show.
        plots = import_module(PLOTS)
        return plots.axes(self, only) if folder is None else plots.save(self, folder, only)

    def _drawings(self, section: str = "") -> Mapping[str, str]:
        """Return figures, of all sections or of one, as SVG elements by section name."""
        drawings: Mapping[str, str] = import_module(PLOTS).svgs(self, section)
        return drawings

    def __str__(self) -> str:
        from eie.show.text import plain

        return plain(self.headline(), self.sections(), self.CLAIMS)

    def __repr__(self) -> str:
        text = self.brief()
        short = text if len(text) <= REPR_LENGTH else f"{text[:REPR_LENGTH]}..."
        # A name in the headline may hold anything; what is printed must not move a terminal's cursor.
        return f"<{type(self).__name__}: {printable(short)}>"

    def _repr_html_(self) -> str:
        from eie.show.page import fragment

        return fragment(self.headline(), self.sections())


class Answer(View):
    """What a public function returns: a view that is also data."""

    SCHEMA: ClassVar[str]

    @abstractmethod
    def records(self) -> list[dict[str, Any]]:
        """Return flat rows, units in the keys: what CSV and DataFrames hold."""

    @abstractmethod
    def content(self) -> dict[str, Any]:
        """Return everything as plain data, ready for JSON; docs/outputs.md explains each key."""

    def to_json(self, path: str | Path | None = None, *, command: str = LIBRARY) -> str:
        """Return (and write, if ``path`` is given) everything as JSON; `eie.read_answer` reads it back.

        Parameters
        ----------
        command
            What made it: the command line says its words.
        """
        return written(enveloped(self.SCHEMA, self.content(), command), path)

    def to_csv(self, path: str | Path | None = None, *, quote_formulas: bool = False) -> str:
        """Return (and write, if ``path`` is given) `records` as CSV.

        Parameters
        ----------
        quote_formulas
            Put ``'`` before texts that a spreadsheet would run: names of a foreign file may begin with ``=``.
        """
        return written(records_csv(self.records(), quote_formulas=quote_formulas), path)

    def to_pandas(self) -> pd.DataFrame:
        """Return `records` as a DataFrame (needs the ``data`` extra)."""
        return records_frame(self.records())

    def to_parquet(self, path: str | Path) -> None:
        """Write `records` as Parquet (needs the ``data`` extra)."""
        write_parquet(self.records(), path)


class Part(View):
    """One section of an answer, on its own."""

    def __init__(self, section: Section, draw: Callable[[], Mapping[str, str]]) -> None:
        self._section, self._draw = section, draw

    def headline(self) -> str:
        """The section's title."""
        return self._section.title or self._section.name

    def sections(self) -> tuple[Section, ...]:
        """The section alone; its title is the headline."""
        return (replace(self._section, title=""),)

    def _drawings(self, section: str = "") -> Mapping[str, str]:
        return self._draw() if section in ("", self._section.name) else {}

    def _repr_html_(self) -> str:
        from eie.show.page import fragment

        return fragment(self.headline(), self.sections(), self._drawings())


def written(text: str, path: str | Path | None) -> str:
    """Write a text where a path is given; return it either way."""
    if path is not None:
        write_text(path, text)
    return text
