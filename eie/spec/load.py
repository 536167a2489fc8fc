"""A machine by its name: presets, TOML files over them, and ``key=value`` words on top.

Comes in: a name, a path or a spec, and words. Goes out: a frozen `AcceleratorSpec`. Read by the command line and
whoever takes a machine by name.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from eie.errors import EieError, SpecError
from eie.formats.arguments import taken
from eie.formats.files import read_toml
from eie.spec.machine import PRESETS, AcceleratorSpec
from eie.spec.words import word_value

# How the spec begins what it says of a field.
_FIELD = re.compile(r"spec\.(\w+)")


@taken
def load_spec(source: str | Path | AcceleratorSpec = "EIE_64PE", overrides: Iterable[str] = ()) -> AcceleratorSpec:
    """Read a specification: a preset's name or a TOML file, then ``key=value`` words on top.

    Parameters
    ----------
    source
        A spec, ``"EIE_64PE"``, ``"EIE_256PE"``, or a ``.toml`` file whose keys overlay a preset (its optional key
        ``preset`` names which; EIE_64PE otherwise).
    overrides
        Words like ``"n_pe=128"``; values are read as TOML values.

    Returns
    -------
    AcceleratorSpec
        With every bound checked.

    Raises
    ------
    SpecError
        Everything that is wrong, at once.
    """
    values: dict[str, Any] = {}
    overlaid: set[str] = set()
    problems: list[str] = []
    if isinstance(source, AcceleratorSpec):
        base = source
    elif str(source) in PRESETS:
        base = PRESETS[str(source)]
    else:
        # A file's keys and the words overlay in one dictionary: the words, read later, win.
        base, values = _overlay(Path(source))
        overlaid = set(values)
    for word in overrides:
        key, equals, text = word.partition("=")
        if not equals or not key.strip():
            problems.append(f"--set {word}: must be key=value, as in n_pe=128")
            continue
        values[key.strip()] = word_value(text)
        overlaid.discard(key.strip())
    try:
        spec = base.replace(**values)
    except SpecError as error:
        # Joined to what was wrong with the words: everything at once.
        problems += [_placed(problem, source, overlaid) for problem in error.problems]
    if problems:
        raise SpecError(problems)
    return spec


def _placed(problem: str, source: object, overlaid: set[str]) -> str:
    """Say in which file a field is wrong, where it is the file's and no word's."""
    field = _FIELD.match(problem)
    return f"{source}: {problem}" if field and field[1] in overlaid else problem


def _overlay(path: Path) -> tuple[AcceleratorSpec, dict[str, Any]]:
    presets = ", ".join(PRESETS)
    if path.suffix != ".toml":
        # Presets are in capitals, people type eie_64pe. A low cut-off, as there are few names to confuse.
        near = difflib.get_close_matches(str(path).upper(), PRESETS, 1, 0.5)
        hint = f"; did you mean {near[0]}?" if near else ""
        raise SpecError([f"spec {path}: must be one of {presets} or a .toml file{hint}"])
    try:
        values = read_toml(path, EieError)
    except EieError as error:
        raise SpecError([str(error)]) from None
    preset = values.pop("preset", "EIE_64PE")
    if not isinstance(preset, str) or preset not in PRESETS:
        raise SpecError([f"{path}: preset={preset}: must be one of {presets}"])
    # The file's own name, or every report would call it by the preset it differs from.
    values.setdefault("name", path.stem)
    return PRESETS[preset], values
