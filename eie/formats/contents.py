"""What a container of named arrays holds, whatever its format.

Comes in: what a reader of one format found. Goes out: a frozen `Contents`. Read by the importers of state dicts.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from eie.formats.files import Arrays


@dataclass(frozen=True, kw_only=True)
class Contents:
    """Named arrays and what their container says besides.

    Attributes
    ----------
    arrays
        By name, in the file's order.
    notes
        What was assumed or left out.
    bits
        Bits of an element in the file, by name of an array that was widened on reading (8-bit floats, bfloat16).
    texts
        The texts of the file's header.
    upright
        Whether the format itself says that matrices are (outputs, inputs).
    """

    arrays: Arrays
    notes: tuple[str, ...] = ()
    bits: Mapping[str, int] = field(default_factory=dict)
    texts: Mapping[str, str] = field(default_factory=dict)
    upright: bool = False
