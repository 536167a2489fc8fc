"""The one reader of what ``to_json`` writes: every schema, bounds checked, damage refused.

Comes in: a ``.json`` file or its text. Goes out: a `Document`: the content as it was written, with the face that every
answer has. Called by users as ``eie.read_answer``, and by comparisons, which take results of earlier runs.

Version 1 (release 0.1) had no hash and no command; its results are read too. What a key means: docs/outputs.md.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, TypeVar

from pydantic import ValidationError

from eie.errors import EieError, printable
from eie.formats.answer_schemas import CONTENTS, Checked, Envelope
from eie.formats.arguments import taken
from eie.formats.files import LARGEST_TEXT_BYTES, read_bytes, read_json
from eie.show.envelope import LIBRARY, SCHEMA_VERSION, content_hash, enveloped
from eie.show.face import Answer, written
from eie.show.sections import Column, Format, Grid, Section, Value, facts

EDITED = "edited or damaged since it was written: its content is not what content_hash says"
MOST_ROWS = 30  # of a table; the file holds them all
Part = TypeVar("Part", bound=Checked)
# Which list of a content holds its flat rows.
ROWS = ("layers", "rows", "sizes", "points")


@dataclass(frozen=True, eq=False, kw_only=True, repr=False)
class Document(Answer):
    """What was written, read back.

    Attributes
    ----------
    schema, schema_version
        What it is.
    versions
        Of Python and of the packages that the numbers depend on.
    command
        What made it; empty for version 1.
    values
        The content, key by key as in the file.
    notes
        Says so where the content is not what its hash says.
    """

    SCHEMA: ClassVar[str] = "eie-document"

    schema: str
    schema_version: int
    versions: Mapping[str, str]
    command: str
    values: Mapping[str, Any]
    notes: tuple[str, ...] = ()

    def headline(self) -> str:
        """Say what it is, of which network, and what made it."""
        of = self.values.get("network") or self.values.get("paper") or ""
        made = f", made by {self.command}" if self.command else ""
        return f"{self.schema} {self.schema_version}{f' of {of}' if of else ''}{made}"

    def sections(self) -> tuple[Section, ...]:
        """Return single values, and the rows as they are named in the file."""
        single: dict[str, Value] = {
            key: str(value) for key, value in self.values.items() if isinstance(value, str | int | float)
        }
        records = self.records()
        keys = dict.fromkeys(key for row in records for key in row)
        columns = tuple(Column(key, key, _format([row.get(key) for row in records])) for key in keys)
        grids = [facts(single)]
        if columns:
            grids.append(Grid(columns=columns, rows=tuple(records[:MOST_ROWS])))
        left = len(records) - MOST_ROWS
        notes = (*self.notes, *((f"and {left:,} more rows",) if left > 0 else ()))
        return (Section(name="document", grids=tuple(grids), notes=notes),)

    def records(self) -> list[dict[str, Any]]:
        """Return the flat rows; lists and tables within a row are left out."""
        rows: list[dict[str, Any]] = next(
            (self.values[key] for key in ROWS if isinstance(self.values.get(key), list)), []
        )
        return [{key: value for key, value in row.items() if not isinstance(value, list | dict)} for row in rows]

    def content(self) -> dict[str, Any]:
        """Return the content."""
        return dict(self.values)

    def to_json(self, path: str | Path | None = None, *, command: str = "") -> str:
        """Return (and write, if ``path`` is given) the document under its own schema; made by what made it first."""
        # The instance's schema, not the class's: reading and writing must give the same hash.
        return written(enveloped(self.schema, self.content(), command or self.command or LIBRARY), path)


@taken
def read_answer(source: str | Path, schema: str | None = None) -> Document:
    """Read what ``to_json`` or ``--json`` has written.

    Parameters
    ----------
    source
        A path.
    schema
        What it must be, as in ``"eie-result"``; any by default.

    Returns
    -------
    Document
        Its schema, and its values as typed as they were written.

    Raises
    ------
    EieError
        If the file is missing, foreign, of another schema or version, damaged, or holds a value out of bounds.

    Examples
    --------
    >>> import tempfile, eie, numpy as np
    >>> result = eie.simulate(eie.compile(eie.Layer.from_weights("ones", np.ones((8, 6)))), np.ones(6))
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     _ = result.to_json(f"{folder}/r.json")
    ...     eie.read_answer(f"{folder}/r.json").values["network"]
    'ones'
    """
    where = str(source)
    value = read_json(read_bytes(source, EieError, LARGEST_TEXT_BYTES), where, EieError)
    stated = value.get("schema")
    wanted = (schema,) if schema else tuple(CONTENTS)
    if stated not in wanted:
        raise EieError(f"{where}: schema {stated!r}: must be {' or '.join(map(repr, wanted))}, as --json writes it")
    version = value.get("schema_version")
    # True is an int to Python.
    if type(version) is not int or not 1 <= version <= SCHEMA_VERSION:
        known = " and ".join(map(str, range(1, SCHEMA_VERSION + 1)))
        raise EieError(f"{where}: {stated} version {version!r}: this version reads {known}")
    envelope = _checked(Envelope, value, where)
    if version >= 2 and envelope.content_hash is None:
        raise EieError(f"{where}: damaged: content_hash: missing")
    # A note and no error: people edit such files, and may.
    edited = version >= 2 and envelope.content_hash != content_hash(value)
    _checked(CONTENTS[str(stated)], value, where)
    named = {"schema", "schema_version", "versions", "content_hash", "command"}
    return Document(
        schema=str(stated),
        schema_version=version,
        versions=envelope.versions,
        command=printable(envelope.command),
        notes=(EDITED,) if edited else (),
        values={key: _clean(item) for key, item in value.items() if key not in named},
    )


def _checked(part: type[Part], value: Mapping[str, Any], where: str) -> Part:
    try:
        return part.model_validate(value)
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(map(str, first["loc"]))
        kind = str(value.get("schema", "document")).removeprefix("eie-")
        raise EieError(f"{where}: damaged {kind}: {place}: {first['msg']}") from None


def _clean(value: Any) -> Any:
    """Make every text printable, of whatever depth: a result's names are shown, and written into other files."""
    if isinstance(value, str):
        return printable(value)
    if isinstance(value, list):
        return [_clean(item) for item in value]
    return {printable(key): _clean(item) for key, item in value.items()} if isinstance(value, dict) else value


def _format(values: list[Any]) -> Format:
    known = [value for value in values if value is not None]
    return "text" if not known or any(isinstance(value, str) for value in known) else "number"
