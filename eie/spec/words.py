"""How a machine's fields are said: words of a command line, old spellings, DRAMs by name, and what is wrong with them.

Comes in: values as people, files and numpy give them. Goes out: values by their present names, or one line for each
complaint. Read by `eie.spec`, sweeps, and all that reads TOML through pydantic.
"""

from __future__ import annotations

import difflib
import tomllib
import warnings
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

from eie.errors import SpecError
from eie.formats.dram import drams

_BOUNDS = {"ge": ">=", "gt": ">", "le": "<=", "lt": "<"}


def plain_value(value: Any) -> Any:
    """Return numpy's scalars, and arrays without axes, as Python's own numbers, which strict fields insist on."""
    scalar = isinstance(value, np.generic) or (isinstance(value, np.ndarray) and value.ndim == 0)
    return value.item() if scalar else value


def word_value(text: str) -> Any:
    """Return what a word of a command line says, read as a TOML value; text where it is none.

    ``True`` and ``False`` too, as Python and numpy print them.
    """
    text = text.strip().lower() if text.strip() in ("True", "False") else text
    try:
        return tomllib.loads(f"value = {text}")["value"]
    except ValueError:
        # No TOML value: text, so that name=mine needs no quotes; a count's strict field refuses it by name.
        return text


def renamed(values: Mapping[str, Any]) -> dict[str, Any]:
    """Return fields by their present names, and those that ``dram`` stands for.

    ``enforce_capacity`` of 0.1 is ``residency``, true "auto", false "ideal". ``dram="hbm2"`` sets the four fields of a
    DRAM by its name; one that is there too wins.

    Raises
    ------
    SpecError
        If both residencies are there, the old one is neither true nor false, or the DRAM is not known.
    """
    if "dram" in values:
        values = {**_dram(values["dram"]), **{name: value for name, value in values.items() if name != "dram"}}
    if "enforce_capacity" not in values:
        return dict(values)
    enforced = plain_value(values["enforce_capacity"])
    if not isinstance(enforced, bool):
        raise SpecError([f"spec.enforce_capacity={_shown(enforced)}: must be true or false"])
    meant = "auto" if enforced else "ideal"
    rest = {name: value for name, value in values.items() if name != "enforce_capacity"}
    if "residency" in values:
        if values["residency"] != meant:
            raise SpecError(["spec.enforce_capacity: is an old spelling of spec.residency: give one of them"])
        return rest
    warnings.warn(
        f'spec.enforce_capacity={str(enforced).lower()}: is an old spelling, read as residency = "{meant}"',
        FutureWarning,
        stacklevel=3,
    )
    return {**rest, "residency": meant}


def _dram(name: object) -> dict[str, Any]:
    """Return the fields that the name of a DRAM sets."""
    if name not in drams():
        known = ", ".join(drams())
        raise SpecError([f"spec.dram={_shown(name)}: must be one of {known}"])
    # As their fields take them: TOML writes a whole number of GB/s or pJ without a point.
    return {row.name: row.value for row in drams()[str(name)]}


def complaint(item: Mapping[str, Any], prefix: str, keys: Iterable[str]) -> str:
    """Turn one pydantic error into ``prefix.key=value: bound``; ``keys`` are the known ones, for suggestions."""
    # Raised by the validators above: their text is complete already.
    if item["type"] == "value_error":
        return str(item["ctx"]["error"])
    # Of a whole record that is no table there is no key.
    key = str(item["loc"][-1]) if item["loc"] else ""
    head = ".".join([prefix, *map(str, item["loc"])])
    if item["type"] == "missing":
        return f"{head}: missing"
    head += f"={_shown(item['input'])}"
    if item["type"] == "extra_forbidden":
        near = difflib.get_close_matches(key, keys, 1, 0.6)
        return f"{head}: unknown key; " + (f"did you mean {near[0]}?" if near else f"known: {', '.join(keys)}")
    # The bound itself stands under the name of its constraint: no need to take pydantic's sentence apart.
    for name, sign in _BOUNDS.items():
        if name in item.get("ctx", {}):
            return f"{head}: must be {sign} {item['ctx'][name]}"
    kinds: dict[str, str] = {
        "int_type": "an integer",
        "float_type": "a number",
        "bool_type": "true or false",
        "string_type": "text",
        "finite_number": "finite",
    }
    message = str(item["msg"])
    wanted = message.removeprefix("Input should be ")
    return f"{head}: must be " + kinds.get(item["type"], message.lower() if wanted == message else wanted)


def _shown(value: object) -> str:
    """What a user's file says, as Python writes it: one line of printable text, cut short."""
    if isinstance(value, dict | list) and value:
        return f"a {type(value).__name__} of {len(value)}"
    text = repr(value)
    return text if len(text) <= 80 else f"{text[:80]}..."
