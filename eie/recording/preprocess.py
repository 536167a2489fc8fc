"""How pictures and raw bytes become the numbers a network takes; every step is named, so that a trace can state it.

Comes in: ``KEY=VALUE`` words. Goes out: a frozen `Preprocess`. Read by `inputs`.
"""

from __future__ import annotations

import difflib
import math
from collections.abc import Iterable
from dataclasses import dataclass, fields, replace
from fractions import Fraction
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from eie.errors import TraceError

if TYPE_CHECKING:
    from PIL.Image import Image

# 268 million pixels at most: a typing error must not fill the memory.
LARGEST_SIDE = 1 << 14
# Pillow has no BGR: read as RGB and turned round afterwards.
COLOURS = {"rgb": "RGB", "bgr": "RGB", "gray": "L"}
LAYOUTS = ("chw", "hwc")


@dataclass(frozen=True, kw_only=True)
class Preprocess:
    """Steps, in this order: resize, crop, colour order, ``x * scale``, ``- mean``, ``/ std``, layout.

    Attributes
    ----------
    resize
        (width, height) in pixels, bilinear; (side,): the shorter side becomes that long. None: as it is.
    crop
        (width, height) cut from the middle, or None.
    scale
        Factor for every value; None: 1/255 for 8-bit pixels, 1 for arrays.
    mean, std
        One number, or one for each channel, in colour order; applied to the scaled values.
    layout
        ``"chw"`` or ``"hwc"``: the order of channels, height and width the network takes.
    colour
        ``"rgb"``, ``"bgr"`` or ``"gray"``.
    """

    resize: tuple[int, ...] | None = None
    crop: tuple[int, int] | None = None
    scale: float | None = None
    mean: tuple[float, ...] = (0.0,)
    std: tuple[float, ...] = (1.0,)
    layout: str = "chw"
    colour: str = "rgb"

    @classmethod
    def parse(cls, words: Iterable[str]) -> Preprocess:
        """Read ``KEY=VALUE`` words, e.g. ``resize=256``, ``crop=224x224``, ``scale=1/255``, ``mean=0.5,0.5,0.5``.

        Raises
        ------
        TraceError
            For an unknown key or an impossible value.
        """
        steps = cls()
        for word in words:
            key, equals, text = word.partition("=")
            # Either spelling; the other keys have one.
            key = "colour" if key.strip() == "color" else key.strip()
            known = [field.name for field in fields(cls)]
            if not equals or key not in known:
                near = difflib.get_close_matches(key, known, 1)
                hint = f"; did you mean {near[0]}?" if near else ""
                raise TraceError(f"preprocess {word!r}: must be KEY=VALUE with one of {', '.join(known)}{hint}")
            try:
                value = _READ[key](text.strip().lower())
            except (ValueError, ZeroDivisionError, OverflowError) as error:
                raise TraceError(f"preprocess {word!r}: {error}") from None
            steps = replace(steps, **{key: value})
        return steps

    def image(self, picture: Image, where: str) -> NDArray[np.float32]:
        """Return float32 (channels, height, width), or (height, width, channels) with layout ``"hwc"``."""
        from PIL.Image import Resampling

        # Before it is resized: a palette's numbers cannot be averaged.
        picture = picture.convert(COLOURS[self.colour])
        if self.resize is not None:
            picture = picture.resize(_target(picture.size, self.resize), Resampling.BILINEAR)
        if self.crop is not None:
            picture = picture.crop(_middle(picture.size, self.crop, where))
        # Gray pictures come without a channel axis.
        pixels = np.atleast_3d(np.asarray(picture, np.float32))
        if self.colour == "bgr":
            pixels = pixels[:, :, ::-1]
        pixels = self._normalised(pixels, 1 / 255, where)
        # Last of all: mean and std broadcast over channels only while these are the last axis.
        return np.ascontiguousarray(pixels.transpose(2, 0, 1) if self.layout == "chw" else pixels)

    def array(self, values: NDArray[Any], default_scale: float, where: str) -> NDArray[np.float32]:
        """Scale and normalise numbers that are no pictures.

        Raises
        ------
        TraceError
            If a step was asked for that needs a picture.
        """
        # Compared with the defaults, since a step does not know whether it was asked for.
        plain = Preprocess()
        asked = [key for key in ("resize", "crop", "layout", "colour") if getattr(self, key) != getattr(plain, key)]
        if asked or len(self.mean) > 1 or len(self.std) > 1:
            what = ", ".join(asked) or "a mean or std for each channel"
            raise TraceError(
                f"{where}: preprocess {what} is for PNG and JPEG; arrays take scale, mean and std, "
                "and --layout says where their channels are"
            )
        return self._normalised(values.astype(np.float32), default_scale, where)

    def stated(self, default_scale: float, *, pictures: bool) -> str:
        """Say in words what is done."""
        steps = []
        if self.resize is not None:
            steps.append(f"resize={'x'.join(map(str, self.resize))} bilinear")
        if self.crop is not None:
            steps.append("crop={}x{} from the middle".format(*self.crop))
        if pictures:
            steps.append(f"colour={self.colour}")
        scale = default_scale if self.scale is None else self.scale
        if scale != 1:
            # 1/255 rather than 0.00392157, as it was most likely given.
            steps.append(f"scale={Fraction(scale).limit_denominator(100_000)}")
        if any(self.mean):
            steps.append(f"mean={','.join(f'{value:g}' for value in self.mean)}")
        if set(self.std) != {1.0}:
            steps.append(f"std={','.join(f'{value:g}' for value in self.std)}")
        if pictures:
            steps.append(f"layout={self.layout}")
        return "; ".join(steps) or "none"

    def _normalised(self, values: NDArray[np.float32], default_scale: float, where: str) -> NDArray[np.float32]:
        # The last axis, as for pictures here; arrays take one number for all.
        channels = values.shape[-1] if values.ndim else 1
        for key in ("mean", "std"):
            if len(getattr(self, key)) not in (1, channels):
                raise TraceError(f"{where}: {channels} channels, but preprocess {key} has {len(getattr(self, key))}")
        scale = default_scale if self.scale is None else self.scale
        # Division by the whole number, as training code does it, so that the values are the same to the last bit.
        # Exactly 1 / n and not near it: 0.0039 is a factor of its own.
        divisor = round(1 / scale)
        whole = divisor > 1 and 1 / divisor == scale
        scaled: NDArray[Any] = values / np.float32(divisor) if whole else values * np.float32(scale)
        # Skipped at 0 and 1, where they would change nothing but copy everything.
        if any(self.mean):
            scaled = scaled - np.array(self.mean, np.float32)
        if set(self.std) != {1.0}:
            scaled = scaled / np.array(self.std, np.float32)
        return np.asarray(scaled, np.float32)


def _sizes(text: str) -> tuple[int, ...]:
    sizes = tuple(int(part) for part in text.split("x"))
    if len(sizes) > 2 or not all(1 <= size <= LARGEST_SIDE for size in sizes):
        raise ValueError(f"must be SIDE or WIDTHxHEIGHT, 1 to {LARGEST_SIDE} pixels")
    return sizes


def _crop(text: str) -> tuple[int, ...]:
    sizes = _sizes(text)
    return sizes * 2 if len(sizes) == 1 else sizes


def _number(text: str) -> float:
    # Fraction reads 1/255 as well as 0.5 and 1e-3.
    value = float(Fraction(text))
    if not math.isfinite(value):
        raise ValueError("must be finite")
    return value


def _scale(text: str) -> float:
    value = _number(text)
    if value == 0:
        raise ValueError("must not be 0: every input would be inactive")
    return value


def _numbers(text: str) -> tuple[float, ...]:
    return tuple(_number(part) for part in text.split(","))


def _divisors(text: str) -> tuple[float, ...]:
    values = _numbers(text)
    if 0 in values:
        raise ValueError("must not be 0")
    return values


def _one_of(*choices: str) -> Any:
    def read(text: str) -> str:
        if text not in choices:
            raise ValueError(f"must be one of {', '.join(choices)}")
        return text

    return read


_READ: dict[str, Any] = {
    "resize": _sizes,
    "crop": _crop,
    "scale": _scale,
    "mean": _numbers,
    "std": _divisors,
    "layout": _one_of(*LAYOUTS),
    "colour": _one_of(*COLOURS),
}


def _target(size: tuple[int, int], wanted: tuple[int, ...]) -> tuple[int, int]:
    if len(wanted) == 2:
        return wanted[0], wanted[1]
    # The shorter side becomes exactly what was asked for; rounding must not leave it a pixel short for a crop.
    factor = wanted[0] / min(size)
    return max(round(size[0] * factor), wanted[0]), max(round(size[1] * factor), wanted[0])


def _middle(size: tuple[int, int], wanted: tuple[int, int], where: str) -> tuple[int, int, int, int]:
    if wanted[0] > size[0] or wanted[1] > size[1]:
        raise TraceError("{}: {}x{} pixels, too small for crop={}x{}: resize first".format(where, *size, *wanted))
    # Odd rests go to the right and bottom.
    left, top = (size[0] - wanted[0]) // 2, (size[1] - wanted[1]) // 2
    return left, top, left + wanted[0], top + wanted[1]
