"""The two sides of a difference, whether they were computed just now or read from files.

Comes in: a `Result`, a `SweepResult`, what `eie.read_answer` gave, or a path. Goes out: a `Side`: plain values, as a
file holds them. Read by `facts` and `changes`, which need not know where they are from.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from eie.errors import EieError, SpecError
from eie.formats.answers import Document, read_answer
from eie.formats.csv_table import CsvTable
from eie.formats.files import first_line
from eie.results.result import Result
from eie.show.brief import Brief
from eie.show.envelope import versions
from eie.spec import AcceleratorSpec
from eie.sweeps.result import SweepResult

Kind = Literal["result", "sweep"]
KINDS: Mapping[str, Kind] = {"eie-result": "result", "eie-sweep": "sweep"}
# What `eie sweep -o` leaves in its folder; the rows lie in the second.
SWEEP_JSON, SWEEP_CSV = "sweep.json", "points.csv"
# Columns of a sweep that are words, whatever they look like: a trace may be called 7.
WORDS = ("model", "trace", "row", "layer", "notes", "error", "kind", "residency", "dense_weights", "bound_by")


@dataclass(frozen=True, kw_only=True, repr=False)
class Side(Brief):
    """One of the two.

    Attributes
    ----------
    label
        The file it is from, or what it is.
    version
        Of eie, which computed it.
    values
        Its content, key by key as docs/outputs.md explains it.
    """

    kind: Kind
    label: str
    version: str
    spec: AcceleratorSpec
    values: Mapping[str, Any]


def side_of(answer: Result | SweepResult | Document | str | Path) -> Side:
    """Return what a side holds.

    Raises
    ------
    EieError
        If a file is missing, damaged, or neither a result nor a sweep.
    """
    if isinstance(answer, str | Path):
        return _of_path(Path(answer))
    if isinstance(answer, Document):
        return _of_document(answer, answer.headline(), None)
    label = answer.program.name if isinstance(answer, Result) else "sweep"
    return _side(answer.SCHEMA, {**_plain(answer.content()), "versions": versions()}, label)


def _plain(value: Any) -> Any:
    """Return content as a file would give it back: a tuple is no difference from the list that was read."""
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    return [_plain(item) for item in value] if isinstance(value, list | tuple) else value


def _of_path(path: Path) -> Side:
    if path.is_dir():
        path = path / SWEEP_JSON
    elif path.suffix != ".json":
        raise EieError(
            f"{path}: must be a .json file of eie run or eie sweep, or the folder of a sweep: "
            f"eie run {path} --json FILE writes one"
        )
    return _of_document(read_answer(path), str(path), path)


def _of_document(document: Document, label: str, path: Path | None) -> Side:
    values = {"rows": [], **document.values, "versions": document.versions}
    if document.schema == "eie-sweep" and not values["rows"] and path is not None:
        values["rows"] = _rows_beside(path)
    return _side(document.schema, values, label)


def _side(schema: str, values: Mapping[str, Any], label: str) -> Side:
    if schema not in KINDS:
        raise EieError(
            f"{label}: schema {schema!r}: must be {' or '.join(map(repr, KINDS))}, as eie run and eie sweep write them"
        )
    try:
        spec = AcceleratorSpec.of_file(values["spec"])
    except SpecError as error:
        raise EieError(f"{label}: damaged {KINDS[schema]}: {first_line(error)}") from None
    return Side(
        kind=KINDS[schema],
        label=label,
        version=str(values.get("versions", {}).get("eie", "")),
        spec=spec,
        values=values,
    )


def _rows_beside(path: Path) -> list[dict[str, Any]]:
    """Read the rows that lie beside a sweep's file, as typed as they were."""
    table = CsvTable.read(path.parent / SWEEP_CSV)
    return [
        {key: text if key in WORDS else _typed(text) for key, text in zip(table.header, row, strict=True)}
        for row in table.rows
    ]


def _typed(text: str) -> str | float | bool | None:
    if text in ("", "True", "False"):
        return {"": None, "True": True, "False": False}[text]
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            continue
    return text
