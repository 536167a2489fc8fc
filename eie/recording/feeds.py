"""Samples as a model's inputs take them: each array under its input's name, in its shape and of its type.

Comes in: `Samples` and a model's `Entrance`s. Goes out: batches, arrays by name. Read by the recorders. Whole numbers
stay whole: ids pass no float on their way.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

from eie.errors import TraceError
from eie.model.fitting import Layout, fitted
from eie.model.samples import Samples
from eie.recording.inputs import with_batch

Array = NDArray[Any]


@dataclass(frozen=True, kw_only=True)
class Entrance:
    """An input of a model: its name, the shape of one sample (-1 where open; None: not stated), its elements' type."""

    name: str
    shape: tuple[int, ...] | None
    kind: DTypeLike = np.float32


@dataclass(frozen=True, eq=False, kw_only=True)
class Feeds:
    """Samples for the inputs of one model.

    Attributes
    ----------
    samples
        Arrays by the inputs' names.
    layout
        Of the arrays.
    where
        The model's file, for errors.
    """

    samples: Samples
    entrances: tuple[Entrance, ...]
    layout: Layout | None
    where: str

    @classmethod
    def of(cls, samples: Samples, entrances: Sequence[Entrance], *, layout: Layout | None, where: str) -> Feeds:
        """Give each input its array.

        Raises
        ------
        TraceError
            If there is none for an input, or one for none.
        """
        matched = samples.named([entrance.name for entrance in entrances], where)
        if len(entrances) == 1 and entrances[0].shape is not None:
            matched = with_batch(matched, entrances[0].shape, layout)
        return cls(samples=matched, entrances=tuple(entrances), layout=layout, where=where)

    def shapes(self) -> dict[str, tuple[int, ...]]:
        """Return the shape of one sample by input, with no size open."""
        return {name: array.shape[1:] for name, array in self._taken(slice(1)).items()}

    def batches(self, size: int, *, fill: bool) -> Iterator[tuple[dict[str, Array], int]]:
        """Yield up to ``size`` samples, and how many count; with ``fill`` all are as large, the last one repeated."""
        for start in range(0, self.samples.count, size):
            batch = self._taken(slice(start, start + size))
            kept = len(next(iter(batch.values())))
            if fill and kept < size:
                # Any sample would do, its rows are thrown away; a real one raises nothing that a row of zeros might.
                places = np.minimum(np.arange(size), kept - 1)
                batch = {name: array[places] for name, array in batch.items()}
            yield batch, kept

    def _taken(self, places: slice) -> dict[str, Array]:
        batch = {}
        for entrance in self.entrances:
            where = f"{self.where}: input {entrance.name!r}"
            values = np.asarray(self.samples.arrays[entrance.name][places])
            if entrance.shape is not None:
                # Several arrays have the samples in front; one alone has been asked for them already.
                values = fitted(values, entrance.shape, where, layout=self.layout, batched=True)
            batch[entrance.name] = converted(values, entrance.kind, where)
        return batch


def converted(values: Array, kind: DTypeLike, where: str) -> Array:
    """Return numbers as a type that an input takes.

    Raises
    ------
    TraceError
        If whole numbers are wanted and some are none, or beyond the type's range.
    """
    wanted = np.dtype(kind)
    if wanted.kind == "f" or wanted == values.dtype:
        return values.astype(wanted, copy=False)
    # Floats that are whole lose nothing: files of floats hold ids, too.
    if values.dtype.kind == "f" and not (values == np.rint(values)).all():
        worst = values[values != np.rint(values)].ravel()[0]
        raise TraceError(f"{where} takes whole numbers ({wanted}): the array holds {worst:g}, give it as integers")
    low, high = (0, 1) if wanted.kind == "b" else (np.iinfo(wanted).min, np.iinfo(wanted).max)
    if values.size and not low <= values.min() <= values.max() <= high:
        worst = values.max() if values.max() > high else values.min()
        raise TraceError(f"{where} takes {low} to {high} ({wanted}): the array holds {worst}")
    return values.astype(wanted)
