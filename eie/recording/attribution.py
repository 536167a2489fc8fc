"""From rows of a batch to rows of samples: how a model is fed, and which of its rows are whose.

Comes in: a model that runs batches, and samples. Goes out: how many samples to run at a time, and the places of their
rows. Read by `run_onnx`, `run_own` and `run_torch`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from eie.errors import EieError, TraceError
from eie.recording.feeds import Feeds
from eie.recording.owners import MixedError, Places, UnclearError, owned_places

Batch = Mapping[str, NDArray[Any]]
Axes = Mapping[str, int]
TURNED = "time before the batch"


@dataclass(frozen=True, eq=False)
class Read:
    """What a layer read, and of a recurrent one what it made of it, and from what it began, if not from zeros.

    (rows, ...), rows of several samples; the beginning is (rows, hidden).
    """

    x: NDArray[Any]
    hidden: NDArray[Any] | None = None
    first: NDArray[Any] | None = None


class Runner(Protocol):
    """A model that says what its layers read of a batch; ``axes`` is where each input has the samples."""

    @property
    def names(self) -> Sequence[str]: ...
    def axes(self) -> Axes: ...
    def turned(self) -> Axes | None: ...
    def run(self, batch: Batch, axes: Axes) -> Sequence[Read]: ...


@dataclass(frozen=True, eq=False, kw_only=True)
class Attribution:
    """How samples are run: how many at a time, on which axes, and whose each tensor's rows then are.

    Attributes
    ----------
    places
        For each tensor int64 (size, rows of one sample).
    said
        What is out of the ordinary, in words; empty if nothing is.
    """

    size: int
    run: Callable[[Batch], Sequence[Read]]
    places: Sequence[Places]
    said: str = ""


def attributed(runner: Runner, feeds: Feeds, *, size: int, fixed: bool) -> Attribution:
    """Find how a model is fed, and which rows are whose.

    The axes that the model is taken to have the batch in are tried first, then those with time before the batch. If
    rows are mixed with both, or it cannot be told, samples run one at a time, and all rows are that sample's.

    Parameters
    ----------
    size
        Samples at a time.
    fixed
        Whether the model runs only as many.

    Raises
    ------
    TraceError
        If the model cannot run one sample then.
    """
    first, _ = next(feeds.batches(size, fill=True))
    usual, turned = runner.axes(), runner.turned()
    if size == 1:
        # Nothing moves against another; which axis is whose is asked of two, where there is a choice.
        axes = usual if fixed or turned is None else _of_two(runner, first, usual=usual, turned=turned)
        return _alone(runner, first, axes=axes, said="" if axes == usual else TURNED)
    try:
        return Attribution(size=size, run=partial(runner.run, axes=usual), places=_places(runner, first, usual))
    except (MixedError, UnclearError) as error:
        problem, mixed = error, isinstance(error, MixedError)
    if mixed and turned is not None:
        try:
            places = _places(runner, first, turned)
            return Attribution(size=size, run=partial(runner.run, axes=turned), places=places, said=TURNED)
        # Or it does not run that way round.
        except EieError:
            pass
    if fixed:
        raise TraceError(f"{problem}, and the model runs {size} at a time: export it with an open batch, or one of 1")
    alone = {name: values[:1] for name, values in first.items()}
    return _alone(
        runner, alone, axes=usual, said=f"one sample at a time, since a batch does not tell them apart ({problem})"
    )


def _of_two(runner: Runner, sample: Batch, *, usual: Axes, turned: Axes) -> Axes:
    """Return the axes on which two samples are not mixed."""
    pair = {name: np.repeat(values, 2, axis=0) for name, values in sample.items()}
    for axes in (usual, turned):
        try:
            _places(runner, pair, axes)
        # What runs one sample only is run as it says.
        except EieError:
            continue
        return axes
    return usual


def _places(runner: Runner, batch: Batch, axes: Axes) -> list[Places]:
    def rows(fed: Batch) -> list[NDArray[Any]]:
        return [read.x.reshape(len(read.x), -1) for read in runner.run(fed, axes)]

    return owned_places(rows, batch, runner.names)


def _alone(runner: Runner, sample: Batch, *, axes: Axes, said: str) -> Attribution:
    """Run one sample at a time: every row is its own."""
    places = [np.arange(len(read.x))[None] for read in runner.run(sample, axes)]
    return Attribution(size=1, run=partial(runner.run, axes=axes), places=places, said=said)
