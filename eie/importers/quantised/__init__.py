"""Quantised weights of a state dict, dequantised: a format a module, all in one table.

Comes in: named arrays as a container holds them. Goes out: the same with each group of arrays that are one layer's
weights replaced by float32 weights, how many bits a weight took in the file, and notes. Read by `state_dict`. Zeros
stay zeros exactly: where the stored integer is the zero point, or a bitmask has no bit.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from eie.errors import ModelError
from eie.formats.files import LARGEST_BYTES, Arrays, first_line
from eie.importers.quantised import awq, bitmask, bitsandbytes, fp4, gptq, packed, scaled, torchao
from eie.importers.quantised.group import Decoded, Format, Group, Hints
from eie.show.listing import first_few

# In this order: a bitmask gives back weights that may have scales of their own; what is left of one byte is last.
FORMATS: tuple[Format, ...] = (gptq, awq, bitmask, packed, fp4, bitsandbytes, torchao, scaled)
# Formats that are told by these arrays of a layer, all together, and not read: their integers have an order of their
# own.
UNREAD = {
    "HQQ": ("W_q",),
    "AQLM": ("codes", "codebooks", "scales"),
    "Quanto": ("weight._data", "weight._scale"),
    "EETQ": ("weight", "weight_scales"),
    "QuIP#": ("Qidxs", "SU", "SV"),
    "Marlin (GPTQ)": ("B", "s", "workspace"),
    "Marlin 2:4": ("scale_packed", "meta"),
    "packed weights of another kind": ("weight_packed",),
    "qweight of a kind that is neither GPTQ's nor AWQ's (GEMM)": ("qweight",),
    "4-bit blocks without their quant_state": ("weight.absmax",),
}
_WAY_OUT = "load it with the library that wrote it and save the dequantised weights"
# What such files say of activations, under the same layer.
_OF_ACTIVATIONS = (
    "input_scale",
    "input_global_scale",
    "input_zero_point",
    "output_scale",
    "output_zero_point",
    "k_scale",
    "v_scale",
)
_LISTED = 6


@dataclass(frozen=True, kw_only=True)
class Dequantised:
    """Plain arrays, bits a weight took in the file by its name, and notes.

    ``upright`` says whether a format was among them that fixes the order of axes, (outputs, inputs).
    """

    arrays: Arrays
    stored_bits: dict[str, float]
    upright: bool
    notes: tuple[str, ...]


def dequantise(arrays: Mapping[str, NDArray[Any]], hints: Hints, source: str) -> Dequantised:
    """Replace every group of arrays that are quantised weights by the weights.

    Parameters
    ----------
    source
        The file, for messages.

    Raises
    ------
    ModelError
        If arrays of a group do not fit together, or are of a format that is told and not read.
    """
    left, element_bits = dict(arrays), dict(hints.bits)
    stored: dict[str, float] = {}
    told: dict[str, list[str]] = {}
    upright, total = False, 0
    for form in FORMATS:
        known = replace(hints, bits=element_bits)
        for group in _groups(form, left, known, source=source):
            # A weight that a bitmask gave back is no array of the file: it has been counted.
            names = [name for name in group.parts.values() if name not in stored]
            size = sum(left[name].size * element_bits.get(name, 8 * left[name].itemsize) for name in names)
            kept_as = element_bits.get(group.parts.get("data", ""))
            decoded = _decoded(form, group, left, hints=known, source=source)
            total += decoded.weights.nbytes
            if total > LARGEST_BYTES:
                most = f"more than {LARGEST_BYTES:,} bytes"
                raise ModelError(f"{source}: as float32 its weights are {most}: give its shards one by one")
            stored[group.weight] = stored.get(group.weight, 0.0) + size / decoded.weights.size
            if kept_as is not None and not decoded.is_final:
                element_bits[group.weight] = kept_as
            upright = upright or decoded.upright
            for what in (f"dequantised from {form.NAME} ({decoded.how}", *decoded.remarks):
                told.setdefault(what, []).append(group.weight)
    _refuse_unread(left, source)
    dropped = [name for weight in stored for name in _activations(weight, left)]
    for name in dropped:
        left.pop(name, None)
    notes = [_note(what, names, stored) for what, names in told.items()]
    if dropped:
        notes.append(f"scales of activations left out: {_listed(dropped)}")
    return Dequantised(arrays=left, stored_bits=stored, upright=upright, notes=tuple(notes))


def _groups(form: Format, left: Arrays, hints: Hints, *, source: str) -> list[Group]:
    try:
        return form.recognise(left, hints)
    except ModelError as error:
        raise ModelError(f"{source}: {error}") from None


def _note(what: str, names: list[str], stored: Mapping[str, float]) -> str:
    if not what.startswith("dequantised"):
        return f"{what}: {_listed(names)}"
    # Layers of one format differ a little: the fewer the columns, the more a row's scale weighs.
    low, high = (f"{bound([stored[name] for name in names]):.4g}" for bound in (min, max))
    width = low if low == high else f"{low} to {high}"
    return f"{what}; {width} bits a weight in the file, scales included): {_listed(names)}"


def _decoded(form: Format, group: Group, left: Arrays, *, hints: Hints, source: str) -> Decoded:
    """Decode a group and put its weights in the place of its arrays."""
    where = f"{source}: {group.weight!r} ({form.NAME})"
    if group.weight in left and group.weight not in group.parts.values():
        raise ModelError(f"{where}: the file holds the plain weights as well: which ones are meant?")
    parts = group.of(left)
    for name, array in parts.items():
        if array.dtype.kind not in "fiub":
            raise ModelError(f"{where}: its {name} is {array.dtype}: must be numbers")
        if not np.isfinite(array).all():
            raise ModelError(f"{where}: its {name} holds NaN or infinity: must be finite")
    try:
        # A product beyond float32 becomes infinite, which no layer takes.
        with np.errstate(over="ignore"):
            decoded = form.decode(parts, hints)
    except ModelError as error:
        raise ModelError(f"{where}: {error}") from None
    except MemoryError as error:
        raise ModelError(f"{where}: too large for this machine: {first_line(error)}") from None
    # Shapes and numbers that only a damaged file has.
    except (ValueError, TypeError, IndexError, ArithmeticError) as error:
        raise ModelError(f"{where}: damaged: {first_line(error)}") from None
    # Taken out at once, not at the end: packed and float weights of all layers would be in memory together.
    for name in group.parts.values():
        del left[name]
    left[group.weight] = decoded.weights
    return decoded


def _activations(weight: str, left: Mapping[str, NDArray[Any]]) -> list[str]:
    head = weight.removesuffix("weight")
    return [head + tail for tail in _OF_ACTIVATIONS if head + tail in left]


def _refuse_unread(left: Mapping[str, NDArray[Any]], source: str) -> None:
    for kind, tails in UNREAD.items():
        first = tails[0]
        for name in left:
            head = name.removesuffix(first)
            if not name.endswith(first) or (head and not head.endswith(".")):
                continue
            if all(head + tail in left for tail in tails):
                raise ModelError(f"{source}: {head.rstrip('.') or 'its weights'}: {kind}: not read: {_WAY_OUT}")


def _listed(names: list[str]) -> str:
    return first_few((name.removesuffix(".weight") for name in names), _LISTED)
