"""Arrays with a JSON header among them, and in the header a hash of all: what eie writes tells its own damage.

Comes in: named arrays, and the name of the header (JSON text as uint8). Goes out: the same with a hash, or an error.
Read by traces, stored networks and programs. Version 0.1 wrote no hash: its schemas are read without one.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from eie.errors import EieError
from eie.formats.files import Arrays, read_json

_HASH = "content_hash"


def hashed(arrays: Mapping[str, NDArray[Any]], name: str, schema: int) -> Arrays:
    """Return arrays whose header ``name`` states ``schema`` and the hash of everything."""
    header = {**json.loads(arrays[name].tobytes()), "schema": schema}
    header.pop(_HASH, None)
    header[_HASH] = _digest(arrays, name, header)
    # In the order as it was: writing twice gives the same bytes.
    return {**arrays, name: np.frombuffer(json.dumps(header).encode(), np.uint8)}


def stated_schema(header: Mapping[str, Any]) -> int | None:
    """Return the schema that a header states; None if it states no whole number."""
    schema = header.get("schema")
    # Not isinstance: JSON's true is an int to Python, equal to 1, and so is 1.0.
    return schema if type(schema) is int else None


def check_hash(arrays: Mapping[str, NDArray[Any]], name: str, *, schema: int, where: str, kind: type[EieError]) -> None:
    """Refuse what was changed since it was written, from ``schema`` on.

    Raises
    ------
    EieError
        Of ``kind``, if the header is no JSON, states no hash where it must, or another than the content's.
    """
    header = read_json(arrays[name].tobytes(), f"{where}: {name}", kind)
    stated = header.pop(_HASH, None)
    version = stated_schema(header)
    # A hash that is there counts whatever the schema says: a flipped bit makes a 1 of a 3.
    if stated is None and version is not None and version < schema:
        return
    if stated != _digest(arrays, name, header):
        what = "states no hash" if stated is None else "its content is not what its hash says"
        raise kind(f"{where}: damaged: {what}: write or copy it anew")


def _digest(arrays: Mapping[str, NDArray[Any]], name: str, header: Mapping[str, Any]) -> str:
    # Sorted, so that a file that was rewritten in another order is the same.
    digest = hashlib.sha256(json.dumps(header, sort_keys=True).encode())
    for key in sorted(set(arrays) - {name}):
        array = arrays[key]
        # Bytes alone would not tell two arrays from one with another cut.
        digest.update(json.dumps([key, array.dtype.str, array.shape]).encode())
        digest.update(np.ascontiguousarray(array).data)
    return digest.hexdigest()
