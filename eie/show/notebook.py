"""Whether a notebook runs us, and bars there: what is done, shown below the cell while it works.

Comes in: what is counted. Goes out: HTML that a kernel updates in place. Read by the verbs that take long, and by
figures. IPython is never imported here unless it runs already.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from contextvars import ContextVar
from functools import wraps
from html import escape
from inspect import signature
from types import TracebackType
from typing import Any, Literal, ParamSpec, Self, TypeVar

from eie.errors import printable

P = ParamSpec("P")
R = TypeVar("R")
Kind = Literal["stage", "points", "products"]
_told: ContextVar[bool] = ContextVar("_told", default=False)

# Seconds. Shorter work is over before a bar could be read; faster updates than five a second would slow the kernel.
PATIENCE_S = 1.0
BETWEEN_S = 0.2


def in_notebook() -> bool:
    """Say whether this runs in a kernel (Jupyter, VS Code, Colab), which shows pictures; a terminal does not."""
    ipython = sys.modules.get("IPython")
    shell = None if ipython is None else ipython.get_ipython()
    # Kernels have a `kernel`, IPython on a terminal has none.
    return shell is not None and hasattr(shell, "kernel")


class NotebookBar:
    """A bar below the cell, from the second second on; gone when the work is done.

    Parameters
    ----------
    clock
        Seconds, of any beginning.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._begun = self._shown = clock()
        self._handle: Any = None
        self._stage, self._done = "", 0

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, where: TracebackType | None
    ) -> None:
        if self._handle is not None:
            # Nothing at all, so that a stored notebook keeps no bar.
            self._handle.update({"text/plain": ""}, raw=True)

    def stage(self, text: str) -> None:
        """Say what is done now, of nobody knows how many steps."""
        self._show(text, None, None)

    def points(self, done: int, total: int) -> None:
        """Say how many points of all are done."""
        self._show("points", done, total)

    def products(self, layer: str, done: int, total: int) -> None:
        """Count products of a layer, ``done`` more of ``total``; another layer begins anew."""
        if layer != self._stage:
            self._stage, self._done = layer, 0
        self._done += done
        self._show(layer, self._done, total)

    def _show(self, text: str, done: int | None, total: int | None) -> None:
        now = self._clock()
        if now - self._begun < PATIENCE_S or now - self._shown < BETWEEN_S:
            return
        self._shown = now
        drawn = {"text/html": bar_html(text, done, total), "text/plain": printable(text)}
        if self._handle is None:
            from IPython.display import display

            self._handle = display(drawn, raw=True, display_id=True)  # type: ignore[no-untyped-call]
        else:
            self._handle.update(drawn, raw=True)


def bar_html(text: str, done: int | None, total: int | None) -> str:
    """Return a bar with its label; without numbers where nobody knows them."""
    label = escape(printable(text))
    if done is None or not total:
        return f"<progress></progress> {label}"
    return f'<progress value="{done}" max="{total}"></progress> {label} {done:,}/{total:,}'


def told(kind: Kind) -> Callable[[Callable[P, R]], Callable[P, R]]:
    """Give a verb its bar where a notebook calls it without a ``progress`` of its own.

    Parameters
    ----------
    kind
        How the verb calls its ``progress``: the method of `NotebookBar` that takes the same.
    """

    def decorated(verb: Callable[P, R]) -> Callable[P, R]:
        place = list(signature(verb).parameters).index("progress")

        @wraps(verb)
        def call(*args: P.args, **kwargs: P.kwargs) -> R:
            # A verb within a verb is a step of it: one bar is enough.
            if "progress" in kwargs or len(args) > place or _told.get() or not in_notebook():
                return verb(*args, **kwargs)
            inside = _told.set(True)
            try:
                with NotebookBar() as bar:
                    kwargs["progress"] = getattr(bar, kind)
                    return verb(*args, **kwargs)
            finally:
                _told.reset(inside)

        return call

    return decorated
