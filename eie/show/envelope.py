"""The one envelope of every JSON file: what it is, who wrote it with what, and a hash that tells damage.

Comes in: an answer's content. Goes out: JSON text, its content's keys beside those of the envelope, as readers of 0.1
expect them. Read by every answer's ``to_json``; `eie.formats.answers` is the one reader.
"""

from __future__ import annotations

import hashlib
import json
import platform
from collections.abc import Mapping
from typing import Any

from eie.version import package_versions

SCHEMA_VERSION = 2
LIBRARY = "python"
# What a hash cannot cover: itself, and what differs between two runs that give the same answer.
UNHASHED = ("versions", "content_hash", "command")


def enveloped(schema: str, content: Mapping[str, Any], command: str = LIBRARY) -> str:
    """Return content as JSON text.

    Parameters
    ----------
    schema
        What the content is, as in ``eie-result``.
    command
        The command that made it, as typed, or ``"python"`` for a call of the library.
    """
    # Through text once, so that tuples and numpy's floats hash as the reader will see them.
    plain = json.loads(json.dumps({"schema": schema, "schema_version": SCHEMA_VERSION, **content}, allow_nan=False))
    whole = {
        "schema": schema,
        "schema_version": SCHEMA_VERSION,
        "versions": versions(),
        "content_hash": content_hash(plain),
        "command": command,
        **{key: value for key, value in plain.items() if key not in ("schema", "schema_version")},
    }
    return json.dumps(whole, indent=1, allow_nan=False) + "\n"


def versions() -> dict[str, str]:
    """Return the versions of Python and of the packages that results depend on."""
    return {"python": platform.python_version(), **package_versions()}


def made_with(command: str) -> dict[str, str]:
    """Say by which command and with which versions something was made."""
    return {"command": command, "versions": ", ".join(f"{name} {version}" for name, version in versions().items())}


def content_hash(document: Mapping[str, Any]) -> str:
    """SHA-256 of a document's canonical form: keys sorted, no blanks, without the keys of `UNHASHED`."""
    hashed = {key: value for key, value in document.items() if key not in UNHASHED}
    text = json.dumps(hashed, sort_keys=True, separators=(",", ":"), ensure_ascii=True, allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()
