"""Flat records as CSV, DataFrames and Parquet.

Comes in: records, one dict a row with units in the keys. Goes out: text, a DataFrame or a file. Read by results and
sweeps.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from eie.errors import EieError
from eie.show.writing import replacing

if TYPE_CHECKING:
    import pandas as pd

Record = Mapping[str, Any]


def record_keys(records: Iterable[Record]) -> list[str]:
    """Return every key in the order in which it first appears."""
    return list(dict.fromkeys(key for record in records for key in record))


# What spreadsheets take for the beginning of a formula, also behind blanks.
_FORMULA = ("=", "+", "-", "@")


def records_csv(records: Iterable[Record], *, quote_formulas: bool = False) -> str:
    """Return records as CSV text with a header line; ``quote_formulas`` puts ' before texts that would be run."""
    records = list(records)
    if quote_formulas:
        records = [{key: _quoted(value) for key, value in record.items()} for record in records]
    text = io.StringIO()
    # "\n" on every system, so that tables are equal byte by byte.
    writer = csv.DictWriter(text, record_keys(records), lineterminator="\n")
    writer.writeheader()
    writer.writerows(records)
    return text.getvalue()


def _quoted(value: object) -> object:
    # Texts alone: a number below 0 is one, not a formula.
    runs = isinstance(value, str) and value.lstrip().startswith(_FORMULA)
    return f"'{value}" if runs else value


def records_frame(records: Iterable[Record]) -> pd.DataFrame:
    """Return records as a DataFrame.

    Raises
    ------
    EieError
        If pandas is not installed.
    """
    try:
        import pandas as pd
    except ModuleNotFoundError:
        raise EieError("to_pandas needs pandas: pip install 'eie[data]'") from None
    return pd.DataFrame.from_records([dict(record) for record in records])


def write_parquet(records: Iterable[Record], path: str | Path) -> None:
    """Write records as a Parquet file, one column a key.

    Raises
    ------
    EieError
        If pyarrow is not installed, or the file cannot be written.
    """
    try:
        import pyarrow as pa
        import pyarrow.parquet as pq
    except ModuleNotFoundError:
        raise EieError("Parquet needs pyarrow: pip install 'eie[data]'") from None
    records = list(records)
    # A row lacks what does not apply to it; `Table.from_pylist` would take the first row's keys for all.
    table = pa.table({key: [record.get(key) for record in records] for key in record_keys(records)})
    with replacing(path) as file:
        pq.write_table(table, file)
