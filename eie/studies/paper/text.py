"""The reproduction as plain text and JSON.

Comes in: a `Reproduction`. Goes out: text. Read by the command line.
"""

from __future__ import annotations

import json
from typing import Any

from eie.show.sections import Statement
from eie.show.text import section_data, section_lines, tally, wrapped
from eie.studies.paper.reproduce import Reproduction
from eie.version import package_versions

SCHEMA_NAME = "eie-paper"
SCHEMA = 1


def plain(found: Reproduction) -> str:
    """Return everything as aligned text."""
    parts = [found.paper, *wrapped(found.data), ""]
    for section in found.sections:
        parts += section_lines(section)
    if found.statements:
        parts += [*wrapped(claims(found.statements)), ""]
    return "\n".join(parts)


def claims(statements: tuple[Statement, ...]) -> str:
    """Say how many claims of the paper's text hold."""
    return tally(statements, "Claims of the text")


def to_json(found: Reproduction) -> str:
    """Return everything as JSON (schema ``eie-paper`` 1)."""
    value: dict[str, Any] = {
        "schema": SCHEMA_NAME,
        "schema_version": SCHEMA,
        "paper": found.paper,
        "data": found.data,
        "versions": package_versions(),
        "sections": [section_data(section) for section in found.sections],
    }
    return json.dumps(value, indent=2, allow_nan=False) + "\n"
