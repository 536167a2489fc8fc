"""Progress on stderr: a bar that appears when something takes longer than a second; in logs a line now and then."""

from __future__ import annotations

from threading import Event, Thread, Timer
from types import TracebackType
from typing import Self

from rich.console import Console, RenderableType
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    ProgressColumn,
    SpinnerColumn,
    Task,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.progress import Progress as RichProgress

from eie.show.notebook import PATIENCE_S

# Seconds between lines where stderr is no terminal: a study of minutes is not silent, and its log stays short.
LINE_S = 15.0


class Known(ProgressColumn):
    """A column for stages whose steps are counted; where nobody knows how many there are, it is empty."""

    def __init__(self, column: ProgressColumn) -> None:
        super().__init__()
        self._column = column

    def render(self, task: Task) -> RenderableType:
        """Write the column, or nothing: 0/? is a question and no answer."""
        return "" if task.total is None else self._column.render(task)


class Progress:
    """Shows the stage at hand, and products done within a layer.

    Parameters
    ----------
    lines
        Whether the stage is told in a line now and then where stderr is no terminal; else nothing is.
    """

    def __init__(self, console: Console, *, lines: bool = False) -> None:
        columns = (
            SpinnerColumn(),
            TextColumn("{task.description}", markup=False),
            Known(BarColumn()),
            Known(MofNCompleteColumn()),
            TimeElapsedColumn(),
            Known(TimeRemainingColumn()),
        )
        # Transient and off without a terminal: logs hold results, not the way to them.
        self._bar = RichProgress(*columns, console=console, transient=True, disable=not console.is_terminal)
        self._task = self._bar.add_task("", total=None)
        self._stage = ""
        # A thread that waits: the work itself never looks at a clock.
        self._timer = Timer(PATIENCE_S, self._bar.start)
        # An interrupted program must not wait for it.
        self._timer.daemon = True
        self._console, self._over = console, Event()
        self._teller = Thread(target=self._tell, daemon=True) if lines and not console.is_terminal else None

    def __enter__(self) -> Self:
        self._timer.start()
        if self._teller is not None:
            self._teller.start()
        return self

    def _tell(self) -> None:
        while not self._over.wait(LINE_S):
            # Names of layers and files stand in it: markup in them is text.
            self._console.print(self._stage, markup=False, highlight=False, soft_wrap=True)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, where: TracebackType | None
    ) -> None:
        # Cancelled, joined, then stopped: a timer that fires just now would otherwise start the bar after its end.
        self._timer.cancel()
        self._timer.join()
        self._bar.stop()
        self._over.set()
        if self._teller is not None:
            self._teller.join()

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
