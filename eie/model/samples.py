"""Inputs of a network with the right class of each, where it is known: what is recorded, trained on, scored and run.

Comes in: arrays, or a way to read samples when they are wanted. Goes out: frozen `Samples`. Read by recording,
fine-tuning, accuracy and runs. What a network's layers saw of them is a `eie.model.trace.Trace`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Protocol, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

from eie.errors import TraceError, clean_texts, printable_names
from eie.formats.arguments import take_fields
from eie.model import arrays
from eie.show.brief import Brief


class Readable(Protocol):
    """An array (samples, ...), or something that becomes one where it is asked."""

    def __len__(self) -> int: ...

    def __getitem__(self, places: slice | NDArray[np.int64], /) -> NDArray[Any]: ...


@dataclass(frozen=True, eq=False, repr=False)
class Lazy(Brief):
    """Samples that are read when they are wanted, such as a folder of pictures: ``read(places)`` gives (n, ...)."""

    count: int
    read: Callable[[NDArray[np.int64]], NDArray[Any]]

    def __len__(self) -> int:
        return self.count

    def __getitem__(self, places: slice | NDArray[np.int64], /) -> NDArray[Any]:
        # Slices and lists of places become one thing, negative and open ends included, before the reader sees them.
        return self.read(np.arange(self.count)[places])

    def taken(self, places: slice | NDArray[np.int64]) -> Lazy:
        """Return some of the samples, still unread."""
        # Bound here: the places of a choice from a choice are looked up through both.
        kept = np.arange(self.count)[places]
        return Lazy(len(kept), lambda some: self.read(kept[some]))


class FileArray(Lazy):
    """An array of a file as a whole; some of its samples are a `Lazy` of their own."""


@dataclass(frozen=True, eq=False, kw_only=True, repr=False)
class Samples(Brief):
    """Inputs of a network.

    Attributes
    ----------
    arrays
        (samples, ...) by the name of the network's input; called ``""`` where it has one and its name is not known.
    labels
        int64 (samples,): classes, or None.
    source, preprocessing
        In words, for reports and a trace's header.
    synthetic
        Whether they were drawn at random.
    """

    arrays: Mapping[str, Readable] = field(default_factory=dict)
    labels: NDArray[np.int64] | None = None
    source: str = "arrays"
    preprocessing: str = "none"
    synthetic: bool = False

    def __post_init__(self) -> None:
        take_fields(self)
        clean_texts(self, ("source", "preprocessing"))
        if fresh := printable_names(self.arrays):
            renamed = {fresh.get(name, name): array for name, array in self.arrays.items()}
            object.__setattr__(self, "arrays", renamed)
        # Lengths alone: to look at a lazy array would read it.
        counts = {name: len(array) for name, array in self.arrays.items()}
        if len(set(counts.values())) > 1:
            listed = ", ".join(f"{name} {count}" for name, count in counts.items())
            raise TraceError(f"the network's inputs hold different numbers of samples: {listed}")
        if self.labels is not None and counts and self.labels.shape != (self.count,):
            labelled = len(self.labels) if self.labels.ndim == 1 else f"{self.labels.shape}"
            raise TraceError(f"{self.source}: {self.count} samples but {labelled} labels")

    @classmethod
    def of(
        cls,
        values: ArrayLike | Mapping[str, ArrayLike],
        source: str = "arrays",
        labels: NDArray[np.int64] | None = None,
    ) -> Self:
        """Wrap an array (samples, ...), also a masked or sparse one, or one for each input by name.

        Fractions become float32, whole numbers stay what they are.

        Raises
        ------
        TraceError
            If it holds no numbers, or another number of labels.
        """
        # One of scipy's formats is a mapping too, of places to values.
        several = isinstance(values, Mapping) and not arrays.is_sparse(values)
        named: Mapping[str, Any] = values if several else {"": values}  # type: ignore[assignment]
        if not named:
            raise TraceError(f"{source}: holds no array")
        return cls(
            arrays={name: _numbers(array, source) for name, array in named.items()}, source=source, labels=labels
        )

    @property
    def count(self) -> int:
        """Samples in all."""
        return len(next(iter(self.arrays.values())))

    @property
    def batched(self) -> bool:
        """Whether the first axis can only be that of samples; an array alone may be one sample without it."""
        # Three grey pictures are not the planes of a coloured one; three planes in an array may be.
        alone = (isinstance(array, np.ndarray | FileArray) for array in self.arrays.values())
        return self.labels is not None or not all(alone)

    @property
    def classes(self) -> NDArray[np.int64]:
        """The labels.

        Raises
        ------
        TraceError
            Without labels.
        """
        if self.labels is None:
            raise TraceError(f"{self.source}: has no labels, which are needed here")
        return self.labels

    @property
    def values(self) -> NDArray[np.float32]:
        """float32 (samples, ...): all of a network's only input."""
        return self.read(slice(None))

    def read(self, places: slice | NDArray[np.int64]) -> NDArray[np.float32]:
        """float32 (n, ...): some samples of a network's only input.

        Raises
        ------
        TraceError
            If there are several inputs.
        """
        if len(self.arrays) != 1 and "inputs" not in self.arrays:
            raise TraceError(f"{self.source}: has inputs {', '.join(self.arrays)}: one is taken here")
        array = self.arrays.get("inputs", next(iter(self.arrays.values())))
        return np.asarray(array[places], np.float32)

    def named(self, names: Sequence[str], where: str) -> Self:
        """Return the arrays by the names of a model's inputs.

        One array is that of the only input, whatever it is called; of several, so is the one called ``inputs``.

        Raises
        ------
        TraceError
            If an input has no array, or an array no input.
        """
        if len(names) == 1 and (len(self.arrays) == 1 or (names[0] not in self.arrays and "inputs" in self.arrays)):
            own = self.arrays["inputs"] if "inputs" in self.arrays else next(iter(self.arrays.values()))
            return replace(self, arrays={names[0]: own})
        missing = [name for name in names if name not in self.arrays]
        unknown = [name for name in self.arrays if name not in names]
        if missing or unknown:
            said = f"holds {', '.join(name or 'one array without a name' for name in self.arrays)}"
            lacking = f"none for {', '.join(missing)}" if missing else f"{', '.join(unknown)} is no input"
            remedy = "give an array for each by its name, in an .npz or a mapping"
            raise TraceError(f"{where} takes {', '.join(names)}; {self.source} {said}: {lacking}; {remedy}")
        return replace(self, arrays={name: self.arrays[name] for name in names})

    def loaded(self) -> dict[str, NDArray[Any]]:
        """Return every input as an array."""
        return {name: array[:] for name, array in self.arrays.items()}

    def taken(self, places: slice | NDArray[np.int64]) -> Self:
        """Return some of the samples."""
        # A lazy one stays unread: choosing ten of a folder's pictures must not open them all.
        arrays = {
            n: array.taken(places) if isinstance(array, Lazy) else array[places] for n, array in self.arrays.items()
        }
        return replace(self, arrays=arrays, labels=None if self.labels is None else self.labels[places])

    def part(self, start: int, stop: int) -> Self:
        """Return samples start..stop-1."""
        return self.taken(slice(start, stop))

    def head(self, count: int) -> Self:
        """Return the first samples."""
        return self.taken(slice(count))

    def tail(self, count: int) -> Self:
        """Return the last samples."""
        # Not slice(-count, None): for a count of 0 that would be everything.
        return self.taken(slice(max(0, self.count - count), None))

    def choose(self, count: int | None, seed: int | None = None) -> Self:
        """Return the first ``count`` samples, or with a seed as many drawn at random, each at most once.

        Raises
        ------
        TraceError
            If there are fewer.
        """
        count = self.count if count is None else count
        if not 1 <= count <= self.count:
            raise TraceError(f"{self.source}: {count} samples asked for: it holds {self.count}")
        # All in their own order is no choice.
        if count == self.count and seed is None:
            return self
        places = np.arange(count)
        if seed is not None:
            # A permutation and its front: with the same seed, fewer samples are the first of more.
            places = np.random.default_rng(seed).permutation(self.count)[:count]
        how = "first" if seed is None else f"drawn with seed {seed}"
        return replace(self.taken(places), source=f"{self.source}, {count} samples, {how}")

    def batches(self, size: int) -> Iterator[NDArray[np.float32]]:
        """Yield a network's only input in order, at most ``size`` samples at a time."""
        for start in range(0, self.count, size):
            yield self.read(slice(start, start + size))


def _numbers(values: ArrayLike, source: str) -> NDArray[Any]:
    try:
        array = arrays.plain(values)
    except ValueError as error:
        raise TraceError(f"{source}: inputs are {error}") from None
    # Text would be parsed by the cast below and complex numbers cut to their real part, both without a word.
    if array.dtype.kind not in "fiub" or array.ndim == 0 or array.size == 0:
        raise TraceError(f"{source}: inputs have shape {array.shape} {array.dtype}: must be numbers (samples, ...)")
    return np.asarray(array, np.float32) if array.dtype.kind == "f" else array
