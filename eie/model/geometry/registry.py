"""Which kinds of layers there are, by the name that files give them.

Comes in: a class, where it is defined. Goes out: geometries from descriptions, the class of a record. Written by the
modules beside this, read by whatever reads files and records.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeVar

from eie.errors import ModelError
from eie.model.geometry.protocol import Alternative, Geometry

_KINDS: dict[str, type[Geometry]] = {}
_LOWERINGS: dict[str, type[Alternative]] = {}

Kind = TypeVar("Kind", bound=type[Geometry])


def register(kind: Kind) -> Kind:
    """Make a class of geometries known by its name; a decorator.

    Raises
    ------
    ModelError
        If there is one of that name, whatever its case: records know kinds in lower case.
    """
    name = kind.__name__
    if name.lower() in map(str.lower, _KINDS):
        raise ModelError(f"geometry {name!r}: is registered already")
    _KINDS[name] = kind
    # By its lower-case name: that is what users write as a lowering.
    if issubclass(kind, Alternative):
        _LOWERINGS[name.lower()] = kind
    return kind


def describe(geometry: Geometry) -> dict[str, Any] | None:
    """Return a geometry as plain numbers, ready for JSON; `from_description` reads it. A linear layer's is None."""
    return geometry.description()


def from_description(value: Mapping[str, Any] | None, shape: tuple[int, int]) -> Geometry:
    """Undo `describe` for a matrix of ``shape``; ValueError for another kind."""
    if value is None:
        # By name, not by import: the kinds import this module to register.
        return _KINDS["Linear"].from_numbers({"inputs": shape[1], "outputs": shape[0]})
    if value["kind"] not in _KINDS:
        raise ValueError(f"unknown geometry {value['kind']!r}")
    return _KINDS[value["kind"]].from_numbers({key: item for key, item in value.items() if key != "kind"})


def kind_of_record(name: str | None) -> type[Geometry]:
    """Return the class whose layers a record calls ``name``; linear for a record that does not say."""
    # Files and records have always told a fully connected layer by saying nothing.
    return {kind.lower(): cls for kind, cls in _KINDS.items()}.get(str(name), _KINDS["Linear"])


def lowering(name: str) -> type[Alternative] | None:
    """Return the other way to lower layers that is called ``name``, or None if it is no other way."""
    return _LOWERINGS.get(name)
