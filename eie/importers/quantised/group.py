"""What the formats of quantised weights have in common: records, packed integers, scales spread over weights.

Comes in: arrays as a file holds them. Goes out: `Group`, the arrays of one layer's weights, and `Decoded`, the weights.
Read by every format of this room.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from eie.errors import ModelError
from eie.formats.files import Arrays

# Weights of one layer, as for the layers of a shape table.
LARGEST_LAYER = 1 << 31
# Of a block of scales in two dimensions, where the file does not say (DeepSeek-V3's, and most others').
USUAL_BLOCK = 128


@dataclass(frozen=True, kw_only=True)
class Group:
    """Arrays that are one layer's weights together.

    Attributes
    ----------
    weight
        Name under which a float file would hold the weights: ``X.weight``.
    parts
        Names of the arrays by what they are.
    """

    weight: str
    parts: Mapping[str, str]

    def of(self, arrays: Mapping[str, NDArray[Any]]) -> Arrays:
        """Return the arrays by what they are."""
        return {part: arrays[name] for part, name in self.parts.items()}


@dataclass(frozen=True, kw_only=True, eq=False)
class Decoded:
    """Weights, what to say of how they were stored, remarks on this file.

    ``is_final`` is false where only the pattern was undone: what was kept may be quantised itself. ``upright`` says
    that the format fixes the order of axes, and the weights are (outputs, inputs).
    """

    weights: NDArray[Any]
    how: str
    remarks: tuple[str, ...] = ()
    is_final: bool = True
    upright: bool = False


@dataclass(frozen=True, kw_only=True)
class Hints:
    """What stands beside the arrays.

    Attributes
    ----------
    config
        ``quantization_config`` of a model's ``config.json``, or empty.
    bits
        Of an element in the file, for arrays that were widened on reading.
    texts
        Of the file's header.
    """

    config: Mapping[str, Any] = field(default_factory=dict)
    bits: Mapping[str, int] = field(default_factory=dict)
    texts: Mapping[str, str] = field(default_factory=dict)


class Format(Protocol):
    """One format; a module has these three."""

    NAME: str

    def recognise(self, arrays: Mapping[str, NDArray[Any]], hints: Hints) -> list[Group]:
        """Find the layers stored so, by names, shapes and types."""

    def decode(self, parts: Arrays, hints: Hints) -> Decoded:
        """Return a group's weights; ModelError says what does not fit, without the layer's name."""


def with_tail(arrays: Mapping[str, NDArray[Any]], tail: str) -> dict[str, str]:
    """Names that end in ``tail`` as their last part, by what stands before it (with its dot, if any)."""
    return {name.removesuffix(tail): name for name in arrays if name == tail or name.endswith(f".{tail}")}


def beside(arrays: Mapping[str, NDArray[Any]], head: str, **tails: str) -> dict[str, str]:
    """Names of the companions that are there, by what they are."""
    return {part: head + tail for part, tail in tails.items() if head + tail in arrays}


def unpacked(words: NDArray[Any], bits: int, count: int) -> NDArray[np.uint8]:
    """Cut rows of 32-bit words into ``count`` unsigned integers each, the first in the lowest bits.

    Integers that do not divide 32 go on in the next word, so that 32 of them take as many words as they have bits.
    """
    if words.dtype.kind not in "iu" or words.itemsize != 4 or words.ndim != 2:
        raise ModelError(f"packed words are {words.dtype} {words.shape}: must be a matrix of 32-bit integers")
    if words.shape[1] * 32 < count * bits:
        raise ModelError(f"{words.shape[1]} words of 32 bits cannot hold {count} integers of {bits} bits")
    stored = np.ascontiguousarray(words).astype("<u4", copy=False)
    if bits in (1, 2, 4, 8):
        octets = stored.view(np.uint8)
        shifts = np.arange(0, 8, bits, dtype=np.uint8)
        fields = (octets[:, :, None] >> shifts) & np.uint8((1 << bits) - 1)
        return fields.reshape(len(words), -1)[:, :count]
    # Bit by bit: eight times the memory, for widths that hardly anybody uses.
    single = np.unpackbits(stored.view(np.uint8), axis=1, count=count * bits, bitorder="little")
    weights = (1 << np.arange(bits)).astype(np.uint8)
    sums: NDArray[np.uint8] = (single.reshape(len(words), count, bits) * weights).sum(axis=2, dtype=np.uint8)
    return sums


def spread(scale: NDArray[Any], shape: tuple[int, ...], block: int | None = None) -> NDArray[np.float32]:
    """Bring scales to a form that multiplies weights of ``shape``: of the whole, a row, a group of columns or a block.

    Parameters
    ----------
    block
        Elements along an axis that share a scale, where the file says.

    Raises
    ------
    ModelError
        If no such division explains the scale's shape.
    """
    values = scale.astype(np.float32)
    if values.size == 1:
        return values.reshape((1,) * len(shape))
    # One a row may be stored without its axes of 1.
    if values.ndim == 1 and len(values) == shape[0]:
        values = values.reshape(-1, *(1,) * (len(shape) - 1))
    if values.ndim != len(shape):
        raise ModelError(f"scales of shape {scale.shape} do not fit weights of shape {shape}")
    for axis, (size, parts) in enumerate(zip(shape, values.shape, strict=True)):
        if parts in (1, size):
            continue
        each = _block(size, parts, block)
        if each is None:
            raise ModelError(f"scales of shape {scale.shape} do not divide weights of shape {shape}")
        values = np.repeat(values, each, axis)[(slice(None),) * axis + (slice(size),)]
    return values


def granularity(scale: NDArray[Any], shape: tuple[int, ...]) -> str:
    """Say in words what shares a scale."""
    if scale.size == 1:
        return "one scale"
    if scale.size == shape[0]:
        return "a scale a row"
    columns = scale.shape[-1] if scale.ndim > 1 else scale.size
    if scale.ndim > 1 and scale.shape[0] == shape[0]:
        return f"a scale for {-(-shape[-1] // max(1, columns))} columns of a row"
    return "a scale a block"


def _block(size: int, parts: int, stated: int | None) -> int | None:
    if not 1 <= parts < size:
        return None
    for each in (stated, USUAL_BLOCK):
        if each and -(-size // each) == parts:
            return each
    return size // parts if size % parts == 0 else None


def check_size(shape: tuple[int, ...]) -> None:
    """Refuse a shape that a file states and no layer has, before memory is taken."""
    total = 1
    for size in shape:
        total *= int(size)
    if not shape or min(shape) < 1 or total > LARGEST_LAYER:
        raise ModelError(f"states the shape {tuple(map(int, shape))}: must be 1 to {LARGEST_LAYER:,} weights")
