"""The table of a SCALE-Sim topology as people write it: which cell of a line is what.

Comes in: a path. Goes out: a frozen `Table` of sizes, N:M patterns and batches, with notes on what was passed over.
Read by `topology`, which makes layers of it.

The first columns go by their place, since SCALE-Sim reads them so and files head them in many ways; those behind by
their names. SCALE-Sim takes a fifth cell of a GEMM's line as its batch or, with a colon, its pattern, whatever heads
it; so does this.
"""

from __future__ import annotations

import csv
import re
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from eie.errors import ModelError
from eie.formats.files import LARGEST_TEXT_BYTES, read_bytes
from eie.show.listing import first_few

Column = Literal["stride width", "pattern", "batch"]
Kind = Literal["conv", "gemm"]
# Behind the name: M, N, K; or map, filter, channels, filters, stride.
SIZES: dict[Kind, int] = {"gemm": 3, "conv": 7}
DELIMITERS = (",", ";", "\t")
MOST_LISTED = 5


@dataclass(frozen=True, kw_only=True)
class Row:
    """A layer's line.

    Attributes
    ----------
    kind
        ``"conv"`` or ``"gemm"``.
    sizes
        M, N, K of a GEMM; of a convolution height, width, filter height and width, channels, filters, stride down and
        stride across.
    pattern
        (N, M): of each M weights N are kept; (1, 1) for all.
    batch
        How often the layer runs on other inputs.
    groups
        Of a convolution's channels; filters are those of each group.
    """

    kind: Kind
    name: str
    sizes: tuple[int, ...]
    pattern: tuple[int, int] = (1, 1)
    batch: int = 1
    groups: int = 1


@dataclass(frozen=True)
class Table:
    """The lines of a topology, their names different, and what was not read of it."""

    rows: tuple[Row, ...]
    notes: tuple[str, ...]


def read_table(path: Path) -> Table:
    """Read a topology's table.

    Raises
    ------
    ModelError
        Naming the line and column of what cannot be used.
    """
    lines = _lines(path)
    if len(lines) < 2:
        raise ModelError(f"{path}: holds no layers: a header line and a line a layer are needed")
    header = _Header.of(path, lines[0][1])
    unread = _Unread()
    rows: list[Row] = []
    for number, cells in lines[1:]:
        if not any(cells[1:]):
            unread.titles.append(cells[0])
        # Files put together of several repeat it.
        elif _words(cells[: len(header.names)]) != header.names:
            rows.append(_row(header=header, cells=cells, where=f"{path}: line {number}", unread=unread))
    if not rows:
        raise ModelError(f"{path}: holds no layers: no line below its header has sizes")
    named, renamed = told_apart(rows)
    return Table(named, (*unread.notes(header), *renamed, *_depthwise(named)))


def _lines(path: Path) -> list[tuple[int, list[str]]]:
    """Return the lines that hold something, by their number in the file, as stripped cells without empty last ones."""
    try:
        text = read_bytes(path, ModelError, LARGEST_TEXT_BYTES).decode("utf-8-sig")
        # What the header is written with; a name below it may hold any of the others.
        first = next((line for line in text.splitlines() if line.strip() and not line.startswith("#")), "")
        delimiter = max(DELIMITERS, key=first.count)
        lines = [[cell.strip() for cell in line] for line in csv.reader(text.splitlines(), delimiter=delimiter)]
    except (UnicodeDecodeError, csv.Error) as error:
        raise ModelError(f"{path}: not a CSV file: {error}") from None
    filled = [(i, cells) for i, cells in enumerate(lines, 1) if any(cells) and not cells[0].startswith("#")]
    return [(i, cells[: max(k for k, cell in enumerate(cells, 1) if cell)]) for i, cells in filled]


def _words(cells: list[str]) -> tuple[str, ...]:
    return tuple(" ".join(re.split(r"[\s_]+", cell.lower())) for cell in cells)


@dataclass(frozen=True, kw_only=True)
class _Header:
    kind: Kind
    cells: list[str]
    names: tuple[str, ...]
    order: tuple[int, ...]
    known: dict[int, Column]

    @classmethod
    def of(cls, path: Path, cells: list[str]) -> _Header:
        names = _words(cells)
        # M, N and K by name, for they are often in another order than a convolution's sizes could be.
        gemm = sorted(names[1:4]) == ["k", "m", "n"]
        if any("intraline" in name for name in names):
            raise ModelError(f"{path}: a SCALE-Sim layout, which says where data lies: give the topology beside it")
        if not gemm and not (len(names) > SIZES["conv"] and names[SIZES["conv"]].startswith("stride")):
            raise ModelError(
                f"{path}: not a topology: the header must be layer name, ifmap height, ifmap width, filter height, "
                f"filter width, channels, num filter, strides; or layer, M, N, K (it is {', '.join(cells)})"
            )
        kind: Kind = "gemm" if gemm else "conv"
        order = tuple(1 + names[1:4].index(letter) for letter in "mnk") if gemm else tuple(range(1, 1 + SIZES["conv"]))
        behind = range(1 + SIZES[kind], len(names))
        known = {place: column for place in behind if (column := _known(names[place]))}
        return cls(kind=kind, cells=cells, names=names, order=order, known=known)


def _known(name: str) -> Column | None:
    if name.startswith("stride"):
        return "stride width"
    if "sparsity" in name or name == "n:m":
        return "pattern"
    return "batch" if name.startswith("batch") else None


class _Unread:
    """Collects, line by line, what a table holds that no column of ours is for."""

    def __init__(self) -> None:
        self.titles: list[str] = []
        self.cells: list[str] = []
        self.batches = 0

    def notes(self, header: _Header) -> tuple[str, ...]:
        places = range(1 + SIZES[header.kind], len(header.names))
        columns = [header.cells[place] for place in places if place not in header.known and header.cells[place]]
        notes = [
            f"{what} not read: {listed(texts)}"
            for what, texts in (
                ("columns of the table", columns),
                ("cells of the table without a column", list(dict.fromkeys(self.cells))),
                ("lines of the table without sizes, taken as titles,", self.titles),
            )
            if texts
        ]
        if self.batches:
            notes.append(f"{self.batches} GEMMs have a number behind K, taken as their batch as SCALE-Sim takes it")
        return tuple(notes)


def _row(*, header: _Header, cells: list[str], where: str, unread: _Unread) -> Row:
    wanted = 1 + SIZES[header.kind]
    if len(cells) < wanted:
        raise ModelError(f"{where} has {len(cells)} cells, the header {wanted}")
    sizes = [_integer(cells[place], where) for place in header.order]
    known: dict[Column, str] = {}
    for place, cell in enumerate(cells[wanted:], wanted):
        headed = place < len(header.names) and header.names[place] != ""
        column = header.known.get(place)
        if place == wanted and not headed:
            column = _unnamed(header.kind, cell)
            unread.batches += column == "batch"
        if column is not None and cell:
            known[column] = cell
        elif cell and not headed:
            unread.cells.append(cell)
    if header.kind == "conv":
        sizes.append(_integer(known["stride width"], where) if "stride width" in known else sizes[-1])
    batch = _integer(known["batch"], where) if "batch" in known else 1
    return Row(
        kind=header.kind,
        name=cells[0],
        sizes=tuple(sizes),
        pattern=_pattern(known.get("pattern", "1"), where),
        batch=batch,
        # By the name, as SCALE-Sim tells a depthwise convolution.
        groups=sizes[4] if header.kind == "conv" and "DP" in cells[0] else 1,
    )


def _unnamed(kind: Kind, cell: str) -> Column | None:
    """Say what the first cell behind the sizes is, where nothing heads it."""
    if re.fullmatch(r"[0-9]+:[0-9]+", cell):
        return "pattern"
    return "batch" if kind == "gemm" and re.fullmatch(r"[0-9]+", cell) else None


def _integer(cell: str, where: str) -> int:
    if not re.fullmatch(r"[0-9]{1,9}", cell) or int(cell) < 1:
        raise ModelError(f"{where}: {cell!r}: must be an integer >= 1")
    return int(cell)


def _pattern(cell: str, where: str) -> tuple[int, int]:
    # Alone it is written for dense.
    if cell == "1":
        return 1, 1
    kept = re.fullmatch(r"([0-9]{1,4}):([0-9]{1,4})", cell)
    if not kept or not 1 <= int(kept[1]) <= int(kept[2]):
        raise ModelError(f"{where}: sparsity {cell!r}: must be N:M with 1 <= N <= M")
    return int(kept[1]), int(kept[2])


def told_apart(rows: list[Row]) -> tuple[tuple[Row, ...], tuple[str, ...]]:
    """Number names that stand twice, in the order of the lines; give a name to lines without."""
    taken, seen, renamed, apart = {row.name for row in rows}, set[str](), [], []
    counts: dict[str, int] = {}
    for i, row in enumerate(rows, 1):
        name = row.name or f"layer {i}"
        while name in seen or (name != row.name and name in taken):
            counts[row.name] = counts.get(row.name, 1) + 1
            name = f"{row.name} ({counts[row.name]})"
        seen.add(name)
        if name != row.name:
            renamed.append(name)
        apart.append(replace(row, name=name))
    notes = (f"layers numbered, since their names stand twice or not at all: {listed(renamed)}",) if renamed else ()
    return tuple(apart), notes


def _depthwise(rows: tuple[Row, ...]) -> tuple[str, ...]:
    names = [row.name for row in rows if row.groups > 1]
    return (f"depthwise, since DP stands in their names: {listed(names)}",) if names else ()


def listed(texts: list[str]) -> str:
    """Quote the first few."""
    return first_few(map(repr, texts), MOST_LISTED)
