"""Sections on a terminal: tables as wide as it is, split into blocks where they are wider.

Comes in: a headline and `Section` records, a width. Goes out: a rich renderable, all of it `Text`: rich reads markup
and emoji codes in every bare string, and names come from files. Read by the command line through `eie.show.face`.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import zip_longest

from rich.console import Console, Group
from rich.text import Text

from eie.errors import printable
from eie.show.cells import LONGEST, MARK, SHORTEST, Cells, broken, cells_of, shortened
from eie.show.sections import Grid, Section
from eie.show.text import GAP, row_line, tally, verdict


def rendered(headline: str, sections: Sequence[Section], claims: str, width: int) -> Group:
    """Return everything for a terminal ``width`` characters wide."""
    lines = [*prose(headline, width, style="bold"), Text()] if headline else []
    for section in sections:
        lines += section_texts(section, width)
    statements = [statement for section in sections for statement in section.statements]
    if claims and statements:
        lines += prose(tally(statements, claims), width)
    while lines and not lines[-1].plain:
        lines.pop()
    return Group(*lines)


def show(console: Console, headline: str, sections: Sequence[Section], claims: str = "") -> None:
    """Print on a terminal."""
    group = rendered(headline, sections, claims=claims, width=console.width)
    if console.options.ascii_only:
        for text in group.renderables:
            assert isinstance(text, Text)
            text.plain = text.plain.translate(_ASCII)
    # Lines are broken already; rich would break them once more, and in the middle of a number.
    console.print(group, highlight=False, markup=False, soft_wrap=True)


# As wide as what they stand for, so that columns stay under their headings.
_ASCII = str.maketrans({"─": "-", MARK: "~"})


def section_texts(section: Section, width: int) -> list[Text]:
    """Lay a section out: title, tables, claims, notes."""
    lines = [*prose(section.title, width, style="bold"), Text()] if section.title else []
    for grid in section.grids:
        lines += prose(grid.caption, width, style="italic") if grid.caption else []
        for block in blocks(grid, width):
            lines += [*block, Text()]
        for note in grid.notes:
            lines += prose(note, width, indent=2)
        lines += [Text()] * bool(grid.notes)
    for claim in section.statements:
        style = {True: "green", False: "bold red", None: "dim"}[claim.holds]
        first, *rest = prose(f"{verdict(claim)}  {claim.claim}", width, indent=6)
        first.stylize(style, 0, len(verdict(claim)))
        lines += [first, *rest, *prose(f"      found: {claim.found}", width, indent=13)]
    lines += [Text()] * bool(section.statements)
    for line in (*section.lines, *(f"Note: {note}" for note in section.notes)):
        lines += prose(line, width, indent=2)
    return [*lines, Text()] if section.lines or section.notes else lines


def prose(text: str, width: int, *, indent: int = 0, style: str = "") -> list[Text]:
    """Break a sentence between words; a word longer than a line (a path, a hash) stays whole."""
    lines = broken(printable(text), width, indent)
    return [Text(line, style=style, no_wrap=True, overflow="ignore") for line in lines]


def blocks(grid: Grid, width: int) -> Iterator[list[Text]]:
    """Split a table into blocks that fit, each with the columns that say what a row is of."""
    columns = shortened(cells_of(grid), grid.keys, width)
    keys, rest = columns[: grid.keys], columns[grid.keys :]
    key_widths = _key_widths(keys, rest, width)
    room = width - sum(key_widths) - len(GAP) * len(keys)
    chosen: list[Cells] = []
    widths: list[int] = []
    left = room
    for column in rest:
        # A sentence takes what is left, if that is enough to be read.
        least = min(column.width, LONGEST) if column.format == "prose" else column.width
        if chosen and least > left:
            yield _block([*keys, *chosen], [*key_widths, *widths], grid)
            chosen, widths, left = [], [], room
        chosen.append(column)
        widths.append(max(least, min(column.width, left)))
        left -= widths[-1] + len(GAP)
    yield _block([*keys, *chosen], [*key_widths, *widths], grid)


def _key_widths(keys: Sequence[Cells], rest: Sequence[Cells], width: int) -> list[int]:
    """Return what the columns that say what a row is of take: a sentence at most half of the line.

    Less where it would leave the widest of the others no room, or where all columns then stand side by side and the
    sentence can still be read.
    """
    sentences = sum(column.format == "prose" for column in keys)
    needed = [min(column.width, LONGEST) if column.format == "prose" else column.width for column in rest]
    named = sum(column.width for column in keys if column.format != "prose")
    room = width - named - max(needed, default=0) - len(GAP) * len(keys)
    most = min(width // 2, max(SHORTEST, room // max(sentences, 1)))
    widths = [min(column.width, most) if column.format == "prose" else column.width for column in keys]
    others = sum(column.width if column.format != "prose" else LONGEST for column in rest)
    lacking = sum(widths) + others + len(GAP) * (len(keys) + len(rest) - 1) - width
    place = next((place for place, column in enumerate(keys) if column.format == "prose"), None)
    if place is not None and 0 < lacking <= widths[place] - LONGEST:
        widths[place] -= lacking
    return widths


def _block(columns: Sequence[Cells], widths: Sequence[int], grid: Grid) -> list[Text]:
    lines = []
    columns = [column.within(width) for column, width in zip(columns, widths, strict=True)]
    if any(column.heading for column in columns):
        heads = [column.head(width) for column, width in zip(columns, widths, strict=True)]
        height = max(map(len, heads))
        # Headings stand on the line, as in print: short ones are filled up from above.
        lines += _row(columns, widths, [[""] * (height - len(head)) + head for head in heads], style="bold")
        lines.append(Text("─" * (sum(widths) + len(GAP) * (len(widths) - 1)), style="dim", no_wrap=True))
    for i in range(len(grid.rows)):
        cells = [column.lines(column.cells[i], width) for column, width in zip(columns, widths, strict=True)]
        lines += _row(columns, widths, cells)
    # A block whose columns have no totals needs no row of them.
    if any(column.total for column in columns[grid.keys :]):
        totals = [column.lines(column.total, width) for column, width in zip(columns, widths, strict=True)]
        lines += _row(columns, widths, totals, style="bold")
    return lines


def _row(
    columns: Sequence[Cells], widths: Sequence[int], cells: Sequence[Sequence[str]], *, style: str = ""
) -> list[Text]:
    """Lay out one row, as many lines high as its highest cell."""
    texts = zip_longest(*cells, fillvalue="")
    return [Text(row_line(columns, widths, line), style=style, no_wrap=True, overflow="ignore") for line in texts]
