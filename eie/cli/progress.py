"""A progress bar on stderr that appears only when something takes longer than a second."""

from __future__ import annotations

from threading import Timer
from types import TracebackType
from typing import Self

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, SpinnerColumn, TextColumn, TimeElapsedColumn
from rich.progress import Progress as RichProgress

# Seconds. Shorter work is over before a bar could be read, and the bar would only flicker.
PATIENCE_S = 1.0


class Progress:
    """Shows the stage at hand, and products done within a layer; silent where stderr is not a terminal."""

    def __init__(self, console: Console) -> None:
        columns = (
            SpinnerColumn(),
            TextColumn("{task.description}", markup=False),
            BarColumn(),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
        )
        # Transient and off without a terminal: logs hold results, not the way to them.
        self._bar = RichProgress(*columns, console=console, transient=True, disable=not console.is_terminal)
        self._task = self._bar.add_task("", total=None)
        self._stage = ""
        # A thread that waits: the work itself never looks at a clock.
        self._timer = Timer(PATIENCE_S, self._bar.start)
        # An interrupted program must not wait for it.
        self._timer.daemon = True

    def __enter__(self) -> Self:
        self._timer.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, where: TracebackType | None
    ) -> None:
        # Cancelled, joined, then stopped: a timer that fires just now would otherwise start the bar after its end.
        self._timer.cancel()
        self._timer.join()
        self._bar.stop()

    def stage(self, text: str, total: int | None = None) -> None:
        """Begin something else, of ``total`` steps if that is known."""
        self._stage = text
        self._bar.reset(self._task, description=text, total=total)

    def advance(self, layer: str, done: int, total: int) -> None:
        """Count products of a layer."""
        # Layers run one after the other, so another name is the next one beginning.
        if layer != self._stage:
            self.stage(layer, total)
        self._bar.advance(self._task, done)
