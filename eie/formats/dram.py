"""DRAMs by name, as data: ``data/dram.toml``, each number with its source.

Comes in: the data file. Goes out: rows by name of the DRAM. Read by `eie.spec`, whose fields the rows are named after.
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from functools import cache
from importlib.resources import files

from eie.formats.sourced import Row


@cache
def drams() -> Mapping[str, tuple[Row, ...]]:
    """Every DRAM by its name."""
    text = (files("eie.formats") / "data" / "dram.toml").read_text(encoding="utf-8")
    return {dram["name"]: tuple(Row(**row) for row in dram["row"]) for dram in tomllib.loads(text)["dram"]}
