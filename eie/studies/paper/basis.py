"""What each cell of the reproduction is: printed, predicted, calibrated, by construction, or held against words only.

Comes in: a `Section` of ours beside the printed. Goes out: the same with a word for each cell. Read by `reproduce`; the
renderers put marks beside headings or cells, JSON and CSV hold the words.

*printed*: the paper's own. *predicted*: nothing in it was fitted to what is printed beside it. *calibrated*: a constant
was chosen so that it agrees. *by construction*: it is the printed figure, or follows from that and what a layer was
drawn from. *textual claim only*: predicted, too, but the paper draws curves whose values are not printed, so that
there is nothing but a sentence to hold them against.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

from eie.show.sections import MARKS, Basis, Grid, Section, Value

Row = Mapping[str, Value]


@dataclass(frozen=True)
class At:
    """A cell: its row, its column's key, and whether fc8's own data are there."""

    row: Row
    key: str
    real: bool


Rule = Callable[[At], Basis]

_DRAWN = "The paper prints no values of these curves: ours are predicted, and held against what its text says."
# What a section's marks cannot say: why a cell is what it is.
REASONS = {
    "table2": "Milliwatts on Alex-8 are calibrated where they are of its real data, the mean of nine layers is "
    "predicted from those prices; um2 and the chip's mm2, mW and GOP/s by construction; CACTI's um2 predicted.",
    "table3": "Densities and FLOP % of drawn layers by construction; of real data as it is.",
    "table4": "Theoretical and actual times and their ratio predicted; acts % needed by construction; "
    "the other platforms printed.",
    "table5": "Frames/s predicted; mm2 and the 64 PEs' W by construction, the 256 PEs' W calibrated; "
    "frames/s/mm2 and frames/J predicted, from those.",
    "figure6": "EIE's speedups predicted (over the printed CPU times); the other platforms by construction.",
    "figure7": "EIE's efficiencies predicted in time, by construction in power, which is Table II's; "
    "by activity predicted from calibrated prices; the other platforms by construction.",
    "figure8": _DRAWN,
    "figure9": _DRAWN + " The price of a read of 64 bits is calibrated on Table II.",
    "figure10": "Printed for AlexNet; ours predicted, of other networks.",
    "figure11": _DRAWN,
    "figure12": _DRAWN,
    "figure13": _DRAWN,
    "contradictions": "Predicted, by both readings.",
}


def labelled(section: Section, *, real: bool) -> Section:
    """Give each cell of a section its word, and say under the tables what the marks mean.

    Parameters
    ----------
    section
        Ours beside the printed.
    real
        Whether fc8's own data are there, on which the prices of actions were calibrated.
    """
    rules = RULES[section.name]
    if len(rules) == 1:
        rules *= len(section.grids)
    grids = tuple(
        replace(grid, basis=tuple(_words(grid, row, rule=rule, real=real) for row in grid.rows))
        for grid, rule in zip(section.grids, rules, strict=True)
    )
    used = {word for grid in grids for row in grid.basis for word in row.values()}
    marks = [f"({mark}) {word}" for word, mark in MARKS.items() if mark and word in used]
    unmarked = ["unmarked: printed"] if "printed" in used else []
    note = f"What the cells are: {', '.join([*marks, *unmarked])}. {REASONS[section.name]}"
    return replace(section, grids=grids, notes=(*section.notes, note))


def _words(grid: Grid, row: Row, *, rule: Rule, real: bool) -> Mapping[str, Basis]:
    """One row's words by column; a deviation, and whether it is small, are of the cell that they stand behind."""
    words: dict[str, Basis] = {}
    value: Basis = "printed"
    for column in grid.columns[grid.keys :]:
        if row.get(column.key) is None:
            continue
        if column.format not in ("deviation", "yes"):
            value = "printed" if "printed" in column.key.split("_") else rule(At(row, column.key, real))
        words[column.key] = value
    return words


def summary(words: Mapping[str, Basis]) -> str:
    """Return a row's words in one cell of a CSV: one where all are alike, else each with its columns."""
    columns: dict[Basis, list[str]] = {}
    for key, word in words.items():
        columns.setdefault(word, []).append(key)
    if len(columns) == 1:
        return next(iter(columns))
    return "; ".join(f"{word}: {', '.join(keys)}" for word, keys in columns.items())


def _always(word: Basis) -> Rule:
    return lambda _: word


def _units(at: At) -> Basis:
    if at.key.endswith("um2"):
        return "by construction"
    # The prices make the sum on fc8's data what Table II prints, and on no drawn layer.
    return "calibrated" if at.key == "fc8_mw" and at.real else "predicted"


def _densities(at: At) -> Basis:
    return "predicted" if at.row["mask"] == "real" else "by construction"


def _times(at: At) -> Basis:
    return "by construction" if at.key == "acts_needed" else "predicted"


def _quantities(at: At) -> Basis:
    """Table V's first table, whose rows are quantities of a machine."""
    what = str(at.row["what"])
    if what.startswith("area"):
        return "by construction"
    return _watts(at.row) if what.startswith("power") else "predicted"


def _machines(at: At) -> Basis:
    if not str(at.row["machine"]).startswith("ours"):
        return "printed"
    if at.key in ("node_nm", "area_mm2"):
        return "by construction"
    return _watts(at.row) if at.key == "power_w" else "predicted"


def _watts(row: Row) -> Basis:
    return "calibrated" if "256" in str(row["machine"]) else "by construction"


def _platforms(at: At) -> Basis:
    return "predicted" if str(at.row["row"]).endswith("(ours)") else "printed"


def _labels(at: At) -> Basis:
    return "printed" if str(at.row["row"]).endswith("(printed label)") else "by construction"


def _read_prices(at: At) -> Basis:
    return "calibrated" if at.key == "64" else "textual claim only"


def _networks(at: At) -> Basis:
    if at.key == "samples":
        return "by construction"
    return "printed" if "(printed)" in str(at.row.get("network", at.row.get("series"))) else "predicted"


_PREDICTED, _GIVEN, _CLAIMED = _always("predicted"), _always("by construction"), _always("textual claim only")
# A rule a table, or one for all of them.
RULES: Mapping[str, tuple[Rule, ...]] = {
    "table2": (_units, _GIVEN, _PREDICTED),
    "table3": (_densities,),
    "table4": (_times, _times, _PREDICTED, _platforms),
    "table5": (_quantities, _machines),
    "figure6": (_PREDICTED, _labels),
    "figure7": (_PREDICTED, _labels),
    "figure8": (_CLAIMED,),
    "figure9": (_CLAIMED, _read_prices, _CLAIMED),
    "figure10": (_networks,),
    "figure11": (_CLAIMED,),
    "figure12": (_CLAIMED,),
    "figure13": (_CLAIMED,),
    "contradictions": (_PREDICTED,),
}
