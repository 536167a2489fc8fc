"""What public functions are called with, held to their signatures: one line where an argument is of another kind.

Comes in: a function. Goes out: the same with a look at its arguments first; a number, a flag or a list that is none of
Python's own but stands for one is made that. What is a model or an input is said by those who read them. Put on every
verb that users call.

Not pydantic's validate_call, tried on every verb: it makes 3 of "3" and 1 of True or, strict, refuses numpy's whole
numbers and flags; takes no list for an array, nor a text for a list of itself; and hands lists and mappings on copied.
Its refusals have several lines and an address, and 11 of 25 verbs, those that take a plain Protocol, it cannot wrap.
"""

from __future__ import annotations

import os
import sys
import types
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache, wraps
from inspect import Parameter, signature, unwrap
from numbers import Real
from operator import index
from pathlib import Path
from typing import Any, Literal, ParamSpec, TypeVar, Union, get_args, get_origin

import numpy as np

from eie.errors import EieError, WordError, folder_gone, printable

P = ParamSpec("P")
R = TypeVar("R")
SHOWN = 40
_LISTS = (Sequence, Iterable, tuple, list)
_SAID: dict[Any, str] = {
    int: "a whole number of at most 63 bits",
    float: "a number",
    bool: "True or False",
    str: "a text",
    types.NoneType: "None",
    range: "a range",
    Path: "a path",
    Callable: "a function",
}
_NO = object()
_HOLDERS = (dict, float, frozenset, list, set, tuple)
_SMALL = range(-1 << 31, 1 << 31)


@dataclass(frozen=True, eq=False)
class _Wanted:
    """What a parameter or field takes, and types whose values it was seen to take whatever they are.

    A call on a small layer takes 250 us: to look at every option of a union for each argument was a fifth of that.
    """

    hint: Any
    sure: set[Any] = field(default_factory=set)


def taken(verb: Callable[P, R]) -> Callable[P, R]:
    """Refuse what a function's annotations do not name, before it does anything.

    Raises
    ------
    WordError
        Naming the argument, what it is and what it must be.
    """

    @wraps(verb)
    def call(*args: P.args, **kwargs: P.kwargs) -> R:
        names, wanted = _wanted_by(verb)
        placed = [_fit(wanted.get(name), value, name) for name, value in zip(names, args, strict=False)]
        # More of them than there are parameters: Python says so itself.
        named = {name: _fit(wanted.get(name), value, name) for name, value in kwargs.items()}
        try:
            return verb(*placed, *args[len(placed) :], **named)  # type: ignore[arg-type]
        except FileNotFoundError as error:
            # Of no file: whoever asked, numba among others, asked for the folder.
            if error.filename is None and (gone := folder_gone()):
                raise EieError(gone) from None
            raise

    return call


def take_fields(record: Any) -> None:
    """Hold a new frozen record to the types of its fields, as `taken` does a call."""
    kind: Any = type(record)  # a class has a hash, of which type checkers know nothing
    for name, wanted in _fields_of(kind).items():
        value = getattr(record, name)
        made = _fit(wanted, value, name)
        if made is not value:
            # The way by which a frozen dataclass sets its own fields.
            object.__setattr__(record, name, made)


@cache
def _fields_of(kind: type) -> dict[str, _Wanted]:
    """Return what each field of a record takes."""
    hints: dict[str, _Wanted] = {}
    for base in reversed(kind.__mro__):
        for name, text in vars(base).get("__annotations__", {}).items():
            if name in getattr(kind, "__dataclass_fields__", {}):
                hints[name] = _Wanted(eval(text, vars(sys.modules[base.__module__])))
    return hints


@cache
def _wanted_by(verb: Callable[..., Any]) -> tuple[list[str], dict[str, _Wanted]]:
    """Return the names of the parameters in order, and what each takes; what is known to type checkers alone is not."""
    parameters = signature(verb).parameters.values()
    names = [each.name for each in parameters if each.kind is not Parameter.VAR_KEYWORD]
    known = {}
    for each in parameters:
        if isinstance(each.annotation, str):
            try:
                known[each.name] = _Wanted(eval(each.annotation, unwrap(verb).__globals__))
            except (NameError, AttributeError):
                continue
    return names, known


def _fit(wanted: _Wanted | None, value: Any, name: str) -> Any:
    """Return the value, or what stands for it, as a parameter takes it."""
    if wanted is None or type(value) in wanted.sure:
        return value
    kind = _kind(value)
    if kind in wanted.sure:
        return value
    made = _as(wanted.hint, value)
    if made is _NO:
        raise WordError(f"{name}={shown(value)}: must be {_must(wanted.hint)}")
    if made is value and _goes_by_type(wanted.hint, kind):
        wanted.sure.add(kind)
    return made


def _kind(value: Any) -> Any:
    """Return what all values have in common that are taken alike: a type; of arrays that of their numbers."""
    kind = type(value)
    if kind is np.ndarray:
        return value.dtype
    if kind is dict and all(type(key) is str for key in value):
        return frozenset(map(_kind, value.values()))
    # Of whole numbers the small ones; how large others are is looked at each time, so the type alone says nothing.
    return kind if kind is not int else _SMALL if value in _SMALL else value


def _goes_by_type(hint: Any, kind: Any) -> bool:
    """Whether all values of a kind are taken as one of them was; of lists and of protocols not."""
    if isinstance(kind, frozenset):
        plain = [each for each in kind if isinstance(each, np.dtype | type) or each is _SMALL]
        return len(plain) == len(kind) and not set(_HOLDERS) & set(plain)
    if isinstance(kind, np.dtype) or kind is _SMALL or kind in (bool, str, types.NoneType):
        return True
    classes = [option for option in _options(hint) if isinstance(option, type) and get_origin(option) is None]
    own = [option for option in classes if option not in _PLAIN and not getattr(option, "_is_protocol", False)]
    return isinstance(kind, type) and issubclass(kind, tuple(own))


def _must(hint: Any) -> str:
    # What comes with an example last: "or None" behind that would be of the example.
    options = sorted(_options(hint), key=lambda option: hasattr(option, "AS_IN"))
    wanted = list(dict.fromkeys(map(_said, options)))
    return " or ".join([", ".join(wanted[:-1]), wanted[-1]] if wanted[1:] else wanted)


def shown(value: Any) -> str:
    """Return a value in a few words of one line, whatever it is."""
    if value is None or isinstance(value, bool | int | float | str | bytes):
        text = printable(repr(value))
        return text if len(text) <= SHOWN else f"{text[:SHOWN]}..."
    shape = getattr(value, "shape", None)
    what = value.__name__ if isinstance(value, type) else type(value).__name__
    return f"<{what} {shape}>" if isinstance(shape, tuple) else f"<{what}>"


def _options(hint: Any) -> tuple[Any, ...]:
    return get_args(hint) if get_origin(hint) in (Union, types.UnionType) else (hint,)


def _said(hint: Any) -> str:
    origin, parts = get_origin(hint), get_args(hint)
    if origin is Literal:
        said = ", ".join(map(repr, parts))
    elif origin is Mapping:
        said = f"a mapping of names to {_must(parts[1])}"
    elif origin in _LISTS:
        said = f"a list, each {_must(parts[0])}"
    elif origin is np.ndarray:
        said = "an array of whole numbers" if "int" in str(hint) else "an array of numbers"
    else:
        whose = "an eie." if hint.__module__.startswith("eie.") else "a "
        said = _SAID.get(origin or hint) or whose + hint.__name__ + getattr(hint, "AS_IN", "")
    return said


def _as(hint: Any, value: Any) -> Any:
    """Return ``value`` as ``hint`` takes it, `_NO` where it does not; as it is where the hint says nothing."""
    if hint is None:
        return value
    for option in _options(hint):
        made = _as_one(option, value)
        if made is not _NO:
            return made
    return _NO


def _as_one(hint: Any, value: Any) -> Any:
    made = value
    origin = get_origin(hint)
    if hint in _PLAIN:
        made = _PLAIN[hint](value)
    elif origin is Literal:
        # Which word it is says the function: it knows what goes together.
        made = value if isinstance(value, str) else _NO
    elif origin is Callable:
        made = value if callable(value) else _NO
    elif origin is Mapping:
        made = _mapping(get_args(hint), value)
    elif origin in _LISTS:
        made = _list(hint, value)
    elif origin is np.ndarray:
        made = _array(hint, value)
    elif isinstance(hint, type):
        made = _instance(hint, value)
    return made


def _instance(kind: type, value: Any) -> Any:
    if kind is Path:
        return Path(value) if isinstance(value, os.PathLike) else _NO
    if getattr(kind, "_is_protocol", False):
        # What it has to have; anything like an array is looked at by who reads it.
        own = {"__init__", "__subclasshook__"}
        needed = [name for name, part in vars(kind).items() if callable(part) and name not in own]
        return value if all(hasattr(value, name) for name in needed) else _NO
    return value if isinstance(value, kind) else _NO


def _mapping(kinds: Sequence[Any], value: Any) -> Any:
    if not isinstance(value, Mapping):
        return _NO
    made = {key: _as(kinds[1], inner) for key, inner in value.items() if _as(kinds[0], key) is not _NO}
    if len(made) < len(value) or any(inner is _NO for inner in made.values()):
        return _NO
    return value if all(made[key] is inner for key, inner in value.items()) else made


def _list(hint: Any, value: Any) -> Any:
    kind = get_args(hint)[0]
    single = tuple(option for option in _options(kind) if isinstance(option, type))
    # One alone stands for a list of itself; a text's letters are never meant.
    if isinstance(value, str | bytes) or (single and isinstance(value, single)):
        value = (value,)
    if not isinstance(value, Iterable) or isinstance(value, Mapping):
        return _NO
    made = tuple(_as(kind, inner) for inner in value)
    return _NO if any(inner is _NO for inner in made) else made


def _array(hint: Any, value: Any) -> Any:
    """Return numbers in a list as an array of them; what is no number is nothing that an array of ours holds."""
    if not isinstance(value, np.ndarray | list | tuple) and not hasattr(value, "__array__"):
        return _NO
    try:
        array = np.asarray(value)
    # Lists of unequal length.
    except ValueError:
        return _NO
    kind = get_args(get_args(hint)[1])[0]
    if isinstance(kind, type) and issubclass(kind, np.integer):
        return array.astype(kind, copy=False) if array.dtype.kind in "iu" else _NO
    return array if array.dtype.kind in "fiub" else _NO


def _whole(value: Any) -> Any:
    try:
        whole = index(value)
    except TypeError:
        return _NO
    # As in files: no count, size or seed has more bits. True is no count, nor an array of a single number.
    fits = not isinstance(value, bool | np.bool_ | np.ndarray) and -(1 << 63) <= whole < 1 << 63
    return whole if fits else _NO


def _number(value: Any) -> Any:
    return _NO if isinstance(value, bool) or not isinstance(value, Real) else value


def _flag(value: Any) -> Any:
    return bool(value) if isinstance(value, bool | np.bool_) else _NO


_PLAIN: dict[Any, Callable[[Any], Any]] = {
    Any: lambda value: value,
    object: lambda value: value,
    int: _whole,
    float: _number,
    bool: _flag,
    str: lambda value: value if isinstance(value, str) else _NO,
    types.NoneType: lambda value: value if value is None else _NO,
}
