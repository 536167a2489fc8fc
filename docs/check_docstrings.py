"""Hold the docstrings of what ``eie`` exports to numpydoc: ``python docs/check_docstrings.py`` (``make docstrings``).

Comes in: the names of ``eie.__all__`` and the public methods and properties of exported classes. Goes out: a line for
each thing that is wrong, and exit code 1. Read by whoever changes a signature.
"""

from __future__ import annotations

import inspect
import sys
from collections.abc import Iterator
from functools import cached_property
from types import FunctionType

# No docstring; summary without a full stop; unknown parameters; their order; Returns missing; not described; Yields.
CODES = {"GL08", "SS03", "PR02", "PR03", "RT01", "RT03", "YD01"}
# The one line of a method says what it returns or yields ("Return ..."); a section that repeats it would help nobody.
METHOD_CODES = CODES - {"RT01", "YD01"}
METHODS = (FunctionType, property, cached_property, classmethod, staticmethod)


def documented() -> Iterator[tuple[str, set[str]]]:
    """Yield the full name of everything that a caller of ``import eie`` can look up, with the rules it is held to."""
    import eie

    for name in eie.__all__:
        thing = getattr(eie, name)
        if not (inspect.isclass(thing) or inspect.isfunction(thing)):
            continue  # a preset: an instance, whose class is exported too
        path = f"{thing.__module__}.{thing.__qualname__}"
        yield path, CODES
        if inspect.isclass(thing):
            # Own members only: what a base class defines is documented there. A plain field is no object of its own;
            # it stands under Attributes of its class.
            fields = getattr(thing, "__dataclass_fields__", {})  # a field may have a function as its default
            for member, value in vars(thing).items():
                if not member.startswith("_") and member not in fields and isinstance(value, METHODS):
                    yield f"{path}.{member}", METHOD_CODES


def main() -> int:
    """Print what is wrong; return the exit code."""
    from numpydoc.validate import validate

    wrong = [
        f"{path}: {code} {text}"
        for path, codes in documented()
        for code, text in validate(path)["errors"]
        if code in codes
    ]
    sys.stdout.write("".join(f"{line}\n" for line in wrong))
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
