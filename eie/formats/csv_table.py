"""CSV tables that other programs wrote: header and rows, with errors that name file, line and column.

Comes in: a path. Goes out: a frozen `CsvTable`. Read by `scalesim` and `reports`.
"""

from __future__ import annotations

import csv
import math
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from eie.errors import EieError, printable
from eie.formats.files import LARGEST_TEXT_BYTES, read_bytes

# Beyond any cycles or joules; sums and products of such numbers stay finite.
LARGEST = 1e30


@dataclass(frozen=True)
class CsvTable:
    """A header and rows of the same width; cells are stripped, a trailing comma is no column."""

    path: str
    header: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]

    @classmethod
    def read(cls, path: str | Path) -> CsvTable:
        """Read a file.

        Raises
        ------
        EieError
            If it cannot be read, is no text, has no rows, or a row has another width than the header.
        """
        try:
            # -sig: spreadsheets write a byte order mark, which would stick to the first column's name.
            text = read_bytes(path, EieError, LARGEST_TEXT_BYTES).decode("utf-8-sig")
        except UnicodeDecodeError:
            raise EieError(f"{path}: not a CSV file: it is not UTF-8 text") from None
        try:
            lines = [[printable(cell.strip()) for cell in line] for line in csv.reader(text.splitlines())]
        except csv.Error as error:
            raise EieError(f"{path}: not a CSV file: {error}") from None
        # Numbered before empty lines are dropped, so that errors name the line an editor shows.
        numbered = [(i, line) for i, line in enumerate(lines, 1) if any(line)]
        if len(numbered) < 2:
            raise EieError(f"{path}: holds no rows: a header line and at least one row are needed")
        (_, header), *rest = numbered
        # SCALE-Sim ends every line with a comma. A row that is as wide as the header just has an empty cell there.
        header = header if header[-1] else header[:-1]
        rows = [(i, line[:-1] if len(line) == len(header) + 1 and not line[-1] else line) for i, line in rest]
        for i, line in rows:
            if len(line) != len(header):
                raise EieError(f"{path}: line {i} has {len(line)} cells, the header has {len(header)}")
        return cls(str(path), tuple(header), tuple(tuple(line) for _, line in rows))

    def has(self, column: str) -> bool:
        """Whether there is such a column."""
        return column in self.header

    def texts(self, column: str) -> list[str]:
        """Return a column's cells.

        Raises
        ------
        EieError
            If there is no such column.
        """
        if column not in self.header:
            raise EieError(f"{self.path}: no column {column!r}: it has {', '.join(self.header)}")
        self.check_columns([column])
        place = self.header.index(column)
        return [row[place] for row in self.rows]

    def check_columns(self, columns: Iterable[str]) -> None:
        """Refuse columns that stand twice.

        Raises
        ------
        EieError
            Naming the first.
        """
        for column in columns:
            if self.header.count(column) > 1:
                raise EieError(f"{self.path}: two columns are called {column!r}: names must differ")

    def numbers(self, column: str) -> list[float]:
        """Return a column as finite numbers of at least 0.

        Raises
        ------
        EieError
            If there is no such column, or a cell is no such number.
        """
        values = []
        for i, cell in enumerate(self.texts(column), 1):
            try:
                value = float(cell)
            except ValueError:
                # Falls into the test below, so that there is one message for what is no number and for NaN.
                value = math.nan
            # Written so that NaN is refused, too.
            if not 0 <= value <= LARGEST:
                raise EieError(
                    f"{self.path}: row {i}, column {column!r}: {cell[:40]!r}: must be a number >= 0, <= {LARGEST:g}"
                )
            values.append(value)
        return values
