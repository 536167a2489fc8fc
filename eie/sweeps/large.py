"""Grids too large for memory: evaluated slab by slab, every point in the journal, only the front in memory.

Comes in: a grid and objectives. Goes out: a `SweepResult` of the front. Called by `run` where a front is asked for.
"""

from __future__ import annotations

import math
import os
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np

from eie.energy.tables import Cell
from eie.show.records import Record
from eie.simulator.workload import Workload
from eie.spec import AcceleratorSpec
from eie.sweeps.compact import Columns
from eie.sweeps.journal import HEADER, Entry, Journal, checked_entry_of, entry_of, line_of
from eie.sweeps.plan import Point, points
from eie.sweeps.result import SweepResult, objective_columns, undominated
from eie.sweeps.session import Session, not_continued, rows_of_point
from eie.sweeps.vary import Vary, grid
from eie.sweeps.workers import Workers

# Points planned at a time: their specs are what takes the memory, some kilobytes each.
SLAB = 4096
# Of a key's 32 bytes as many as tell a million million points apart.
KEY_BYTES = 16


class OnDisk(Mapping[str, Entry]):
    """Entries of a journal, of which only the places are in memory."""

    def __init__(self, handle: int) -> None:
        self._handle = handle
        # A dict of short bytes and ints: 200 bytes a point, where the entry itself has some kilobytes.
        self._places: dict[bytes, int] = {}

    def place(self, key: str, at: int) -> None:
        """Note where the last entry of a key begins."""
        self._places[_short(key)] = at

    def __getitem__(self, key: str) -> Entry:
        at = self._places[_short(key)]
        line = bytearray()
        while not line.endswith(b"\n"):
            piece = os.pread(self._handle, 1 << 13, at + len(line))
            if not piece:
                break
            end = piece.find(b"\n")
            line += piece if end < 0 else piece[: end + 1]
        entry = entry_of(bytes(line[:-1]))
        # Damaged since it was read, or of another key with the same beginning.
        if entry is None or entry["key"] != key:
            raise KeyError(key)
        return entry

    def __contains__(self, key: object) -> bool:
        return isinstance(key, str) and _short(key) in self._places

    def __iter__(self) -> Iterator[str]:
        """Iterate over nothing: keys are not kept whole."""
        return iter(())

    def __len__(self) -> int:
        return len(self._places)


def _short(key: str) -> bytes:
    try:
        return bytes.fromhex(key)[:KEY_BYTES]
    # Steps of other commands have other names.
    except ValueError:
        return key.encode()


class LargeJournal(Journal):
    """A journal whose entries stay on the disk; ``engines`` counts the states of eie that its points are of."""

    entries: OnDisk  # type: ignore[assignment]

    def __init__(self, path: str | Path) -> None:
        self.engines: Counter[str | None] = Counter()
        self.columns = Columns()
        super().__init__(path)

    def _remember(self, entry: Entry, at: int) -> None:
        self.entries.place(entry["key"], at)

    def kept(self) -> int:
        """Points that the file holds."""
        return len(self.entries)

    def _read(self) -> None:
        first = line_of(HEADER)
        size = os.fstat(self._handle).st_size
        self.entries = OnDisk(self._handle)
        # A short file is begun, judged or refused as every journal is.
        if size <= len(first) or os.pread(self._handle, len(first), 0) != first:
            super()._read()
            self.entries = OnDisk(self._handle)
            return
        at = len(first)
        with self.path.open("rb") as lines:
            lines.seek(at)
            for line in lines:
                if not line.endswith(b"\n"):
                    break
                # Of a second journal that was put behind the first.
                if line != first:
                    self._note(checked_entry_of(line[:-1]), at)
                at += len(line)
        # What follows the last line end is torn.
        os.ftruncate(self._handle, at)

    def _note(self, entry: Entry | None, at: int) -> None:
        if entry is None:
            self.damaged += 1
            return
        self.columns.learn(entry)
        self.engines[entry.get("engine")] += 1
        self.entries.place(entry["key"], at)


class _Front:
    """The front of one workload so far, and how many points it is the front of."""

    def __init__(self, columns: tuple[str, ...], *, any_clock: bool) -> None:
        self.columns, self.any_clock = columns, any_clock
        self.best: list[tuple[Point, Entry]] = []
        self.seen = self.failed = 0
        self.first_error = ""

    def take(self, evaluated: Sequence[tuple[Point, Entry]]) -> None:
        """Let points in and those out that they beat."""
        good = []
        for point, entry in evaluated:
            self.seen += 1
            if "error" in entry:
                self.failed += 1
                self.first_error = self.first_error or str(entry["error"])
                continue
            total = entry["total"]
            buildable = self.any_clock or total.get("timing_met") is not False
            if buildable and all(total[column] is not None for column in self.columns):
                good.append((point, entry))
        rivals = [*self.best, *good]
        if rivals:
            values = np.array([[entry["total"][column] for column in self.columns] for _, entry in rivals], np.float64)
            self.best = [rival for rival, best in zip(rivals, undominated(values), strict=True) if best]


def sweep_front(
    loads: Sequence[Workload],
    vary: Vary,
    spec: AcceleratorSpec,
    *,
    objectives: Sequence[str],
    cell: Cell,
    workers: Workers,
    book: LargeJournal | None,
    any_clock: bool = False,
    retry_failed: bool = False,
    progress: Callable[[int, int], None] | None = None,
) -> SweepResult:
    """Evaluate every combination and return the front of each workload; memory holds a slab and the front.

    Raises
    ------
    SweepError
        For an objective that is not a numeric column.
    """
    columns = objective_columns(objectives)
    fronts = [_Front(columns, any_clock=any_clock) for _ in loads]
    total = len(loads) * math.prod(map(len, vary.values()))
    changes, done = grid(vary), 0
    while slab := list(islice(changes, max(1, SLAB // len(loads)))):
        asked = points(loads=loads, base=spec, changes=slab, cell=cell)
        # One for each slab: what a session remembers goes with it.
        session = Session(
            loads=loads,
            cell=cell,
            workers=workers,
            journal=book,
            retry_failed=retry_failed,
            progress=_shifted(progress, done, total),
            wanted=asked,
        )
        session.evaluate(asked)
        for i, front in enumerate(fronts):
            evaluated = [(point, session.entries[point.key]) for point in asked if point.workload == i]
            objective_columns(columns, [entry["total"] for _, entry in evaluated if "total" in entry])
            front.take(evaluated)
        done += len(asked)
    return _result(loads=loads, fronts=fronts, vary=vary, spec=spec, book=book, objectives=tuple(objectives))


def _shifted(progress: Callable[[int, int], None] | None, before: int, total: int) -> Callable[[int, int], None] | None:
    return None if progress is None else lambda done, _: progress(before + done, total)


def _result(
    *,
    loads: Sequence[Workload],
    fronts: Sequence[_Front],
    vary: Vary,
    spec: AcceleratorSpec,
    book: LargeJournal | None,
    objectives: tuple[str, ...],
) -> SweepResult:
    places = {name: {value: at for at, value in enumerate(values)} for name, values in vary.items()}

    def order(rival: tuple[Point, Any]) -> tuple[int, ...]:
        return tuple(places[name][value] for name, value in rival[0].changes.items())

    rows: list[Record] = []
    for load, front in zip(loads, fronts, strict=True):
        for point, entry in sorted(front.best, key=order):
            rows += [{**row, "pareto": True} for row in rows_of_point(load, point, entry)]
    failed = sum(front.failed for front in fronts)
    notes = [f"of {sum(front.seen for front in fronts):,} points only the front is here; the journal holds every one"]
    if failed:
        first = next(front.first_error for front in fronts if front.first_error)
        notes.append(f"{failed:,} points failed, first: {first.splitlines()[0]}")
    if book is not None:
        notes += not_continued(book.path, book.engines)
    made = SweepResult.of(rows, vary, spec)
    return replace(
        made,
        notes=tuple(notes),
        objectives=objectives,
        any_clock=fronts[0].any_clock,
        evaluated=sum(front.seen for front in fronts),
        not_evaluated=failed,
    )
