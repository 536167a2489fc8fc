"""Tables as cells of text: formatted, made harmless, measured; names shortened where there is little room.

Comes in: a `Grid`. Goes out: `Cells`, a list of texts a column. Read by the three renderers, so that a terminal, a pipe
and a page print the same numbers.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from textwrap import wrap

from rich.cells import cell_len, chop_cells

from eie.errors import printable
from eie.show import numbers
from eie.show.sections import MARKS, Column, Format, Grid, Value

SHORTEST = 8
LONGEST = 24
MARK = "…"


def cell(value: Value, column: Column) -> str:
    """Write one value as its column says; empty for None."""
    if value is None or isinstance(value, str):
        return printable(value or "")
    if isinstance(value, bool):
        return "yes" if value else "no"
    text = _WRITERS.get(column.format, numbers.number)(value)
    # A heading that ends with the sign says it for all its cells.
    return f"{text} %" if column.format in _SHARES and not column.heading.endswith("%") else text


_SHARES = ("percent", "percent2", "deviation", "change_percent")
_WRITERS: Mapping[Format, Callable[[float], str]] = {
    "percent": numbers.percent,
    "percent2": partial(numbers.percent, digits=2),
    "deviation": partial(numbers.percent, sign="+"),
    "factor": numbers.factor,
    "change": numbers.signed,
    "change_percent": partial(numbers.percent, sign="+"),
    "count": numbers.count,
    "fixed1": "{:,.1f}".format,
    "fixed2": "{:,.2f}".format,
}


@dataclass(frozen=True, kw_only=True)
class Cells:
    """One column ready to be laid out: heading, cells, the cell under the line; its format as the column's.

    With a ``limit`` names that are longer are broken between their words.
    """

    heading: str
    cells: tuple[str, ...]
    total: str
    format: Format
    limit: int | None = None

    @property
    def left(self) -> bool:
        """Whether cells stand to the left."""
        return self.format in ("text", "prose")

    @property
    def width(self) -> int:
        """Room the cells take, headings broken between words."""
        words = self.heading.split() or [""]
        names = self.format == "text" and self.limit is not None
        lines = [line for text in self.cells for line in self.lines(text, 0)] if names else self.cells
        return max(map(cell_len, (*words, self.total, *lines)))

    @property
    def whole_width(self) -> int:
        """Room the cells take with the heading on one line."""
        return max(self.width, cell_len(self.heading))

    def head(self, width: int) -> list[str]:
        """Return the heading's lines; words stay whole."""
        return broken(self.heading, width)

    def lines(self, text: str, width: int) -> list[str]:
        """Return a cell's lines: sentences and long names are broken between words, everything else stays whole."""
        if self.format == "text" and self.limit is not None and cell_len(text) > self.limit:
            return broken(text, self.limit)
        return broken(text, width) if self.format == "prose" else [text]

    def within(self, width: int) -> Cells:
        """Return the column with words of its sentences shortened that are longer than a line of it."""
        texts = (*self.cells, self.total)
        words = dict.fromkeys(word for text in texts for word in text.split(" ") if cell_len(word) > width)
        if self.format != "prose" or not words:
            return self
        cut = dict(zip(words, short_names(list(words), width), strict=True))
        *cells, total = (" ".join(cut.get(word, word) for word in text.split(" ")) for text in texts)
        return replace(self, cells=tuple(cells), total=total)

    def padded(self, text: str, width: int) -> str:
        """Return a cell filled up to ``width``; wide characters count twice."""
        blank = " " * (width - cell_len(text))
        return text + blank if self.left else blank + text


# What follows a number and a blank is a unit where it is a sign or short; neither stands alone on the next line.
_UNIT = re.compile(r"(?<=\d) (?=(?:%|[kMGunpm]?(?:s|W|J|B|m2|Hz)|[KMG]iB)(?![\w]))")
# `wrap` breaks at blanks of ASCII alone.
_TIED = "\N{NO-BREAK SPACE}"
# No character: `printable` has written it out wherever a name held it.
_SECOND = "\ufdd0"


def broken(text: str, width: int, indent: int = 0) -> list[str]:
    """Break text between words, never within one nor between a number and its unit; at least one line."""
    if cell_len(text) > len(text):
        # `wrap` counts characters: one that takes two cells gets a second.
        text = "".join(char + _SECOND if cell_len(char) == 2 else char for char in text)
    lines = wrap(
        _UNIT.sub(_TIED, text), width, break_long_words=False, break_on_hyphens=False,
        subsequent_indent=" " * indent, replace_whitespace=False,
    )  # fmt: skip
    return [line.replace(_TIED, " ").replace(_SECOND, "") for line in lines] or [""]


def cells_of(grid: Grid) -> list[Cells]:
    """Format every column of a table."""
    listed = []
    for place, column in enumerate(grid.columns):
        texts = [cell(row.get(column.key), column) for row in grid.rows]
        if grid.grouped and place == 0:
            texts = [text if i == 0 or text != texts[i - 1] else "" for i, text in enumerate(texts)]
        total = "" if grid.total is None else cell(grid.total.get(column.key), column)
        texts, heading = _marked(grid, column, texts)
        listed.append(Cells(heading=heading, cells=tuple(texts), total=total, format=column.format))
    return listed


def _marked(grid: Grid, column: Column, texts: list[str]) -> tuple[list[str], str]:
    """Say what cells are beside the heading where they are all alike, else beside each of them."""
    heading = printable(column.heading)
    # A deviation is of the cell before it, which says so already.
    if not grid.basis or column.format in ("deviation", "yes"):
        return texts, heading
    marks = [MARKS[words[column.key]] if column.key in words else None for words in grid.basis]
    stated = {mark for mark in marks if mark is not None}
    if len(stated) == 1:
        return texts, " ".join(filter(None, (heading, *(f"({mark})" for mark in stated if mark))))
    # As wide without a mark, so that digits stay below one another.
    return [f"{text} ({mark})" if mark else f"{text}    " for text, mark in zip(texts, marks, strict=True)], heading


def shortened(columns: Sequence[Cells], keys: int, width: int) -> list[Cells]:
    """Shorten names (columns to the left), so that the key columns and the widest other one fit side by side."""
    others = max((min(column.width, LONGEST) if column.left else column.width for column in columns[keys:]), default=0)
    # keys x (limit + 2 blanks) + others <= width
    limit = max(SHORTEST, min(LONGEST, (width - others) // max(keys, 1) - 2))
    headings = short_names([column.heading for column in columns], limit, whole=False)
    short = []
    for column, heading in zip(columns, headings, strict=True):
        cells, total = column.cells, column.total
        if column.format == "text":
            *cut, total = short_names((*cells, total), limit, whole=False)
            # Labels of several words are broken between them rather than cut; where that does not do, cut they are.
            lines = [line for text in cut for line in broken(text, limit)]
            if max(map(cell_len, (*lines, total))) > limit:
                *cut, total = short_names((*cells, total), limit)
            cells = tuple(cut)
        short.append(replace(column, heading=heading, cells=cells, total=total, limit=limit))
    return short


def short_names(names: Sequence[str], limit: int, *, whole: bool = True) -> list[str]:
    """Cut names over ``limit`` cells in the middle; names that differ stay different.

    Ends are kept because that is where layers differ (``model.layers.11.mlp.down_proj``). Where two would still read
    alike, a number takes the place of the mark. Without ``whole`` a name may be long, but none of its words.
    """

    def fits(name: str) -> bool:
        return all(cell_len(word) <= limit for word in ([name] if whole else name.split()))

    chosen: dict[str, str] = {name: name for name in names if fits(name)}
    taken = set(chosen.values())
    for name in names:
        if name in chosen:
            continue
        short, i = _cut(name, limit, MARK), 1
        while short in taken:
            i += 1
            short = _cut(name, limit, f"{MARK}{i}{MARK}")
        chosen[name] = short
        taken.add(short)
    return [chosen[name] for name in names]


def _cut(name: str, limit: int, mark: str) -> str:
    """Keep as much of both ends as fits around the mark."""
    room = max(limit - cell_len(mark), 2)
    head = chop_cells(name, room // 2)[0]
    # Chopping the reversed name keeps whole characters at the end too, two cells wide or one.
    tail = chop_cells(name[::-1], room - room // 2)[0][::-1]
    return f"{head}{mark}{tail}"
