"""Which spec fields take which values: words and lists into a grid.

Comes in: ``{"n_pe": [1, 2, 4]}``, ``{"n_pe": "1:256:x2"}`` or words ``n_pe=1:256:x2``. Goes out: checked values by
field, and the grid over them. Read by the plan.

A range is ``a:b:xK`` (geometric), ``a:b:+K`` or ``a:b:K`` (linear) or ``a:b`` (steps of 1); ``b`` is included when it
is met. Ranges and single values can be listed with commas.
"""

from __future__ import annotations

import difflib
import itertools
import math
from collections.abc import Iterable, Iterator, Mapping

from eie.errors import SpecError, SweepError
from eie.spec import AcceleratorSpec, plain_value, renamed, word_value

Value = int | float | bool | str
Changes = dict[str, Value]
Vary = dict[str, tuple[Value, ...]]
# A slip as in 1:1e12 must not fill the memory before anybody sees it.
MOST_VALUES = 1_000_000


def read_vary(words: Iterable[str]) -> Vary:
    """Read ``field=values`` words of a command line.

    Raises
    ------
    SpecError
        Everything that is wrong, at once: exit code 2.
    """
    texts: dict[str, str] = {}
    problems = []
    for word in words:
        field, equals, text = word.partition("=")
        if not equals or not field.strip() or not text.strip():
            problems.append(f"--vary {word}: must be field=values, as in n_pe=1:256:x2 or act_queue_depth=2,4,8")
        elif field.strip() in texts:
            problems.append(f"--vary {word}: {field.strip()} is varied twice: list all of its values in one --vary")
        texts[field.strip()] = text
    if problems:
        raise SpecError(problems)
    return check_vary(texts)


def check_vary(vary: Mapping[str, Value | Iterable[Value]]) -> Vary:
    """Expand ranges and check the names of fields; values are checked where they meet the rest of the spec.

    Raises
    ------
    SpecError
        For an unknown field, an empty list or a range that cannot be read.
    """
    checked: Vary = {}
    problems = []
    for name, stated in vary.items():
        field, values = _present(name, stated)
        if complaint := _unknown(field):
            problems.append(complaint)
            continue
        try:
            listed = expand(values) if isinstance(values, str) else _plain(values)
        except SweepError as error:
            problems.append(f"vary.{field}: {error}")
            continue
        if not listed:
            problems.append(f"vary.{field}: no values")
        # Ranges may overlap: each value once, where it stands first.
        checked[field] = tuple(dict.fromkeys(listed))
    # Names that differ in the overwritten field alone would be one machine twice.
    both = [field for field in checked if field.startswith("dram_")] if "dram" in checked else []
    problems += [f"vary.{field}: is a part of vary.dram: vary one of them" for field in both]
    if problems:
        raise SpecError(problems)
    return checked


def expand(text: str) -> tuple[Value, ...]:
    """Expand a list of values and ranges.

    Raises
    ------
    SweepError
        For a range that is not one.

    Examples
    --------
    >>> expand("1:16:x2"), expand("2,4:8:+2"), expand("3:1:-1"), expand("true,false")
    ((1, 2, 4, 8, 16), (2, 4, 6, 8), (3, 2, 1), (True, False))
    """
    values: list[Value] = []
    for part in text.split(","):
        values.extend(_range(part.strip()) if ":" in part else [_value(part.strip())])
    return tuple(values)


def grid(vary: Vary) -> Iterator[Changes]:
    """Every combination of the values, the last field fastest."""
    for combination in itertools.product(*vary.values()):
        yield dict(zip(vary, combination, strict=True))


def _present(field: str, values: Value | Iterable[Value]) -> tuple[str, Value | Iterable[Value]]:
    """Return a field and its values by their present names."""
    if field != "enforce_capacity":
        return field, values
    listed = expand(values) if isinstance(values, str) else _plain(values)
    return "residency", [renamed({field: value})["residency"] for value in listed]


def _unknown(field: str) -> str:
    # A field like others, but rows would differ in it alone.
    if field == "name":
        return "vary.name: a label; vary a field that changes the machine"
    # Not a field but a name of four, which `AcceleratorSpec.replace` takes like one.
    if field == "dram" or field in AcceleratorSpec.model_fields:
        return ""
    near = difflib.get_close_matches(field, AcceleratorSpec.model_fields, 1, 0.6)
    hint = f"did you mean {near[0]}?" if near else f"known: {', '.join(AcceleratorSpec.model_fields)}"
    return f"vary.{field}: unknown spec field; {hint}"


def _plain(values: Value | Iterable[Value]) -> tuple[Value, ...]:
    """Return one or several values as Python's own numbers, which the spec insists on."""
    values = plain_value(values)
    array = values if isinstance(values, Iterable) else [values]
    # Strict fields refuse numpy's integers, which np.arange and a DataFrame's column give.
    return tuple(plain_value(value) for value in array)


def _range(text: str) -> list[Value]:
    parts = text.split(":")
    step = parts[2] if len(parts) == 3 else "1"
    geometric = step.startswith("x")
    try:
        first, last, by = (_number(part) for part in (*parts[:2], step.lstrip("x")))
    except ValueError:
        # Neither rises nor falls, so that one message serves all that is no range.
        first, last, by = 0, 0, 0
    # A factor of 1, a step of 0 or a product from 0 would never arrive.
    rising = by > 1 and first > 0 if geometric else by > 0
    falling = 0 < by < 1 and first > 0 if geometric else by < 0
    if len(parts) > 3 or not (rising or falling) or (last < first if rising else last > first):
        raise SweepError(f"{text!r} is not a range: must be first:last, first:last:step or first:last:xfactor")
    values: list[Value] = []
    at = first
    slack = 1e-9 * abs(last)  # 0.1 + 2 x 0.1 is a little more than 0.3
    while at <= last + slack if rising else at >= last - slack:
        values.append(at)
        # From the first value each time, not from the last one: errors of rounding do not add up.
        at = at * by if geometric else first + len(values) * by
        if len(values) > MOST_VALUES:
            raise SweepError(f"{text!r} has more than {MOST_VALUES:,} values")
    return values


def _number(text: str) -> int | float:
    try:
        # Integers stay integers: the spec's strict counts refuse 2.0.
        return int(text)
    except ValueError:
        value = float(text)
        if not math.isfinite(value):
            raise ValueError(text) from None
        return value


def _value(text: str) -> Value:
    value = word_value(text)
    # TOML also knows dates and lists, which no field takes: left as text, the spec's own complaint quotes what was
    # typed.
    return value if isinstance(value, int | float | bool | str) else text
